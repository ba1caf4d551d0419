//! `cargo search`: the crates of realms, or behind the upstream's door those that the upstream
//! finds.
//!
//! The upstream is asked with little patience, where its `config.json` says that its API is, and
//! what it said is cached like any document; while it is away the crates whose index file is held
//! stand in for it. A question that names a crate of a realm is not sent out.
//!
//! Source: cargo's `registry-web-api.md`; formats/cargo.md section 2.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use crdt::PackageId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::answer;
use super::upstream_rules::{CONFIG, CONFIG_MAX_BYTES, INDEX};
use super::{FORMAT, index, version};
use crate::formats::{Context, url_segment};
use crate::http::error::Error;
use crate::registry::{
    Document, DocumentAsk, Door, Error as RegistryError, Outline, PackageSummary, Side,
};

const SIZE: usize = 10;
const SIZE_MAX: usize = 100;
/// How long a list waits for the upstream.
const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What was asked.
struct Query<'a> {
    text: &'a str,
    size: usize,
    /// From 1.
    page: usize,
}

impl Query<'_> {
    const fn from(&self) -> usize {
        (self.page - 1).saturating_mul(self.size)
    }
}

/// What was found, and how many there are in all.
type Page = (Vec<Value>, u64);

/// `GET api/v1/crates?q=&per_page=`.
pub(super) async fn serve(context: &Context) -> Result<Response<Body>, Error> {
    let number = |key: &str| context.path.parameter(key).and_then(|text| text.parse().ok());
    let query = Query {
        text: context.path.parameter("q").unwrap_or_default(),
        size: number("per_page").unwrap_or(SIZE).clamp(1, SIZE_MAX),
        page: number("page").unwrap_or(1).max(1),
    };
    let (crates, total) = match context.door {
        Door::Upstream => elsewhere(context, &query).await?,
        _ => hosted(context, &query).await?,
    };
    Ok(answer(&json!({ "crates": crates, "meta": { "total": total } })))
}

async fn hosted(context: &Context, query: &Query<'_>) -> Result<Page, Error> {
    let place = (query.size, query.from());
    let registry = &context.registry;
    let (rows, total) = registry.search(&context.who, query.text, Some(FORMAT.id), place).await?;
    let mut crates = Vec::with_capacity(rows.len());
    for row in &rows {
        crates.push(found(context, row).await);
    }
    Ok((crates, total as u64))
}

async fn found(context: &Context, row: &PackageSummary) -> Value {
    let metadata = context.registry.metadata(context.door, &row.package).await.ok();
    // The list has names in lower case; the crate says how it is written.
    let written = metadata.and_then(|metadata| {
        metadata.offered.iter().rev().find_map(|normal| Some(index::meta(&metadata, normal)?.name))
    });
    let name = written.as_ref().unwrap_or(&row.package.name);
    line(name, row.latest.as_deref().unwrap_or_default(), &row.description)
}

fn line(name: &str, version: &str, description: &str) -> Value {
    json!({ "name": name, "max_version": version, "description": description })
}

async fn elsewhere(context: &Context, query: &Query<'_>) -> Result<Page, Error> {
    let known = context.registry.default_endpoint(FORMAT.id)?;
    if known.is_none() {
        let none = RegistryError::not_found("no upstream of cargo is adopted here");
        return Err(none.with_hint("griot upstream add cargo URL").into());
    }
    match asked(context, query).await {
        Some(page) => Ok(page),
        None => held(context, query).await,
    }
}

/// Where the API is.
#[derive(Deserialize)]
struct Config {
    api: String,
}

/// An answer of the API; unknown fields are passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    crates: Vec<FoundCrate>,
    meta: FoundMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundMeta {
    total: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundCrate {
    name: String,
    max_version: String,
    description: Option<String>,
}

/// What the upstream finds; `None` if it cannot be asked now, or should not hear the question.
async fn asked(context: &Context, query: &Query<'_>) -> Option<Page> {
    let Query { text, size, page } = *query;
    let ours = |word: &str| id(context, word).is_some() && !is_outside(context, word);
    if text.split_whitespace().any(ours) {
        return None;
    }
    let all = async {
        let config = document(context, (CONFIG, CONFIG), CONFIG_MAX_BYTES).await?;
        let api = serde_json::from_slice::<Config>(&config).ok()?.api;
        let key = format!("api/v1/crates?q={}&per_page={size}&page={page}", url_segment(text));
        let url = format!("{}/{key}", api.trim_end_matches('/'));
        document(context, (&key, &url), ANSWER_MAX_BYTES).await
    };
    let answer = tokio::time::timeout(PATIENCE, all).await.ok()??;
    let found: Found = serde_json::from_slice(&answer).ok()?;
    // A name that it does not supply here is none that it may show.
    let shown = found.crates.iter().filter(|one| is_outside(context, &one.name)).take(size);
    let lines = shown.map(|one| {
        line(&one.name, &one.max_version, one.description.as_deref().unwrap_or_default())
    });
    Some((lines.collect(), found.meta.total))
}

async fn document(
    context: &Context,
    (key, path): (&str, &str),
    limit: u64,
) -> Option<bytes::Bytes> {
    let side = Side { key, path, accept: "application/json, */*", never_html: true, limit };
    let found = context.registry.side_document(FORMAT.id, None, side).await;
    found.ok().map(|found| found.bytes)
}

fn id(context: &Context, name: &str) -> Option<PackageId> {
    context.registry.package_id(FORMAT.id, name).ok()
}

/// Whether a name comes from the upstream that is asked.
fn is_outside(context: &Context, name: &str) -> bool {
    id(context, name).is_some_and(|id| context.registry.may_name(&id).unwrap_or(false))
}

/// Crates of upstreams of which this node holds the index file.
async fn held(context: &Context, query: &Query<'_>) -> Result<Page, Error> {
    let documents = context.registry.store().cached_documents(FORMAT.id);
    let text = query.text.to_lowercase();
    let names: BTreeSet<String> = documents
        .map_err(RegistryError::from)?
        .into_iter()
        .filter(|held| held.body.is_some() && held.subject.variant == INDEX)
        .map(|held| held.subject.document)
        .filter(|name| text.split_whitespace().all(|word| name.contains(word)))
        .collect();
    let mut lines = Vec::new();
    for name in names.iter().skip(query.from()).take(query.size) {
        let Some(package) = id(context, name) else { continue };
        let ask = DocumentAsk { variant: INDEX, refresh: false, wanted: false };
        let found = context.registry.document(Door::Upstream, &package, ask).await;
        if let Ok(Document::Upstream(found)) = found {
            lines.push(line(&found.outline.name, newest(&found.outline), ""));
        }
    }
    Ok((lines, names.len() as u64))
}

/// The highest version that is not yanked, as it is written; one that is finished before others.
fn newest(outline: &Outline) -> &str {
    let live = outline.versions.iter().filter(|found| found.yanked.is_none());
    let best = live.max_by(|a, b| {
        let finished = |text: &str| !version::is_prerelease(text);
        let (a, b) = (a.version.as_str(), b.version.as_str());
        finished(a).cmp(&finished(b)).then_with(|| version::compare(a, b))
    });
    best.map_or("", |found| &found.written)
}
