//! `npm search`: the packages of realms, then the upstream's, as one list.
//!
//! The upstream is asked with little patience, and its answer is cached like any document; while
//! it is away the names of its documents that are held here stand in for it. A name that a realm
//! supplies is listed once, as the realm's, and a question that names it stays here.
//!
//! Source: formats/npm.md section 2; npm's `REGISTRY-API.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::FORMAT;
use super::audit::is_outside;
use super::metadata::timestamp;
use super::routes::answer;
use crate::formats::{Context, url_segment};
use crate::http::error::Error;
use crate::registry::{Door, PackageSummary, Side};

const SIZE: usize = 20;
const SIZE_MAX: usize = 250;
/// How long a list waits for the upstream's part of it.
const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What was asked.
struct Query<'a> {
    text: &'a str,
    size: usize,
    from: usize,
}

/// `GET /-/v1/search?text=`.
pub(super) async fn serve(context: &Context) -> Result<Response<Body>, Error> {
    let number = |key: &str, default: usize| {
        context.path.parameter(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let query = Query {
        text: context.path.parameter("text").unwrap_or_default(),
        size: number("size", SIZE).min(SIZE_MAX),
        from: number("from", 0),
    };
    let (mut objects, hosted) = match context.door {
        Door::Upstream => (Vec::new(), 0),
        _ => hosted(context, &query).await?,
    };
    let others = match context.door {
        Door::Hosted => Vec::new(),
        _ => match upstreams(context, &query).await {
            Some(found) => found,
            None => held(context, &query)?,
        },
    };
    let ours: BTreeSet<String> = objects.iter().filter_map(name_of).collect();
    let others: Vec<Value> = others
        .into_iter()
        .filter(|object| name_of(object).is_some_and(|name| !ours.contains(&name)))
        .collect();
    let total = hosted + others.len();
    objects.extend(others);
    objects.truncate(query.size);
    let found = json!({ "objects": objects, "total": total, "time": "" });
    Ok(answer(StatusCode::OK, &found))
}

fn name_of(object: &Value) -> Option<String> {
    Some(object.get("package")?.get("name")?.as_str()?.to_owned())
}

async fn hosted(context: &Context, query: &Query<'_>) -> Result<(Vec<Value>, usize), Error> {
    let Query { text, size, from } = *query;
    let (rows, total) =
        context.registry.search(&context.who, text, Some(FORMAT.id), (size, from)).await?;
    let objects = rows.iter().map(|row| {
        let mut object = object(&row.package.name, row.latest.as_deref().unwrap_or_default());
        object["package"]["description"] = json!(row.description);
        object["package"]["publisher"] = json!({ "username": row.realm });
        object["package"]["date"] = json!(timestamp(published(context, row)));
        object
    });
    Ok((objects.collect(), total))
}

/// Seconds since 1970 when the shown version was published, as its publisher said.
fn published(context: &Context, row: &PackageSummary) -> u64 {
    let view = context.registry.store().package(&row.realm, &row.package).ok().flatten();
    let versions = view.into_iter().flat_map(|view| view.versions.into_values());
    let shown = versions.filter(|version| Some(&version.written) == row.latest.as_ref());
    shown.map(|version| version.claimed_time).max().unwrap_or(0)
}

fn object(name: &str, version: &str) -> Value {
    let scope = name.strip_prefix('@').and_then(|name| name.split_once('/'));
    json!({
        "package": {
            "name": name,
            "scope": scope.map_or("unscoped", |(scope, _)| scope),
            "version": version,
            "description": "",
            "keywords": [],
            "maintainers": [],
            "links": {},
        },
        "score": { "final": 1, "detail": { "quality": 1, "popularity": 1, "maintenance": 1 } },
        "searchScore": 1,
    })
}

/// Whether a name comes from elsewhere than the upstream that is asked.
fn is_ours(context: &Context, name: &str) -> bool {
    context.registry.package_id(FORMAT.id, name).is_ok() && !is_outside(context, name)
}

/// Whether a word of the question is such a name, or a scope of such names.
fn names_ours(context: &Context, text: &str) -> bool {
    text.split_whitespace().any(|word| {
        let scope = word.trim_start_matches("scope:").trim_start_matches('@').trim_end_matches('/');
        is_ours(context, word) || is_ours(context, &format!("@{scope}/x"))
    })
}

/// What the upstream finds; `None` if it cannot be asked now, or should not hear the question.
async fn upstreams(context: &Context, query: &Query<'_>) -> Option<Vec<Value>> {
    let Query { text, size, from } = *query;
    if names_ours(context, text) {
        return None;
    }
    let path = format!("-/v1/search?text={}&size={size}&from={from}", url_segment(text));
    let side = Side {
        key: &path,
        path: &path,
        accept: "application/json",
        never_html: true,
        limit: ANSWER_MAX_BYTES,
    };
    let asked = context.registry.side_document(FORMAT.id, None, side);
    let found = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let mut found: Value = serde_json::from_slice(&found.bytes).ok()?;
    match found.get_mut("objects")?.take() {
        Value::Array(mut objects) => {
            // A name that it does not supply here is none that it may show.
            objects.retain(|one| name_of(one).is_some_and(|name| !is_ours(context, &name)));
            Some(objects)
        }
        _ => None,
    }
}

/// Packages of upstreams of which this node holds a document.
fn held(context: &Context, query: &Query<'_>) -> Result<Vec<Value>, Error> {
    let documents = context.registry.store().cached_documents(FORMAT.id);
    let documents = documents.map_err(crate::registry::Error::from)?;
    let text = query.text.to_lowercase();
    let names: BTreeSet<String> = documents
        .into_iter()
        .filter(|held| held.body.is_some() && held.subject.variant != "side")
        .map(|held| held.subject.document)
        .filter(|name| name.to_lowercase().contains(&text))
        .collect();
    let page = names.iter().skip(query.from).take(query.size);
    Ok(page.map(|name| object(name, "")).collect())
}
