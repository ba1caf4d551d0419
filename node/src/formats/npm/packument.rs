//! The handlers of small documents: one manifest, tags; of a realm or of an upstream.
//!
//! A realm's are rendered whole (`metadata.rs`), an upstream's by spans (`render.rs`). They are
//! kept ready like the packument, and carry the same headers: a validator of exactly this
//! rendering, and what it depends on. What is asked for by its exact number is never hidden.
//!
//! Source: formats/npm.md sections 1, 2, 3 and 5.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use crdt::PackageId;
use serde_json::{Value, json};

use super::asked::{self, Asked, What};
use super::attestation;
use super::metadata::{self, Beside, Form};
use super::pieces::Pieces;
use super::upstream_rules::SHORT;
use super::{FORMAT, name, version};
use crate::formats::Context;
use crate::http::body;
use crate::http::error::Error;
use crate::http::ready::{Looked, Wish};
use crate::registry::{Document, DocumentAsk, Metadata, Stamp, UpstreamDocument};

pub(super) fn says_no_cache(head: &Parts) -> bool {
    let control = body::joined(&head.headers, header::CACHE_CONTROL).unwrap_or_default();
    control.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// A client that looks whether there is a newer one of itself: nobody waits for that.
pub(super) fn is_update_check(head: &Parts, name: &str) -> bool {
    let agent = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let client = agent.unwrap_or_default().split('/').next();
    name == "npm" || client == Some(name)
}

/// One version, by number, tag or range.
pub(super) async fn manifest(
    context: &Context,
    head: &Parts,
    name: &str,
    wanted: &str,
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, head, name)?;
    // A package may have many: who asks next makes the one that is wanted.
    let what = What { parts: &["manifest", wanted], early: false };
    let wanted = wanted.to_owned();
    let look = move |asked: Asked, wish| look_at_one(asked, wish, wanted.clone());
    asked.answer(context, head, what, look).await
}

async fn look_at_one(asked: Asked, wish: Wish, wanted: String) -> Result<Looked, Error> {
    match asked.document(Form::Full, wish).await? {
        Document::Hosted(metadata) => hosted_manifest(&asked, &metadata, &wanted).await,
        Document::Upstream(document) => {
            let found = pick(&document, &wanted)?;
            Ok(Pieces::manifest(asked, *document, found).looked())
        }
    }
}

async fn hosted_manifest(
    asked: &Asked,
    metadata: &Metadata,
    wanted: &str,
) -> Result<Looked, Error> {
    let Asked { registry, package, url, door, .. } = asked;
    let exact = version::canonical(wanted).ok();
    let found = match exact.filter(|exact| metadata.view.versions.contains_key(exact)) {
        Some(exact) => exact,
        None => registry.resolve(metadata, wanted)?,
    };
    let attested = attestation::attested(registry, package)?;
    let beside = Beside { door: url, attested: &attested };
    let Some(manifest) = metadata::manifest(metadata, beside, &found) else {
        // The registry knows why its bytes are not served: disputed, refused, out of reach.
        let file = name::file_name(&package.name, &found);
        let why = registry.artifact(*door, package, &found, &file).await;
        return Err(why.err().map_or_else(Error::no_such_path, Error::from));
    };
    Ok(small(Value::Object(manifest).to_string(), metadata.stamp))
}

/// What is made faster than its seed: the bytes are the seed.
fn small(text: String, stamp: Option<Stamp>) -> Looked {
    let seed = asked::seed(&[b"small", text.as_bytes()]);
    let render = asked::rendered(("application/json", 0), move || text.into_bytes());
    Looked { seed, stamp, age: None, stale: false, render, lies: None }
}

/// The normal version that a number, a tag or a range means.
fn pick(document: &UpstreamDocument, wanted: &str) -> Result<String, Error> {
    let versions = &document.outline.versions;
    let exact = version::canonical(wanted).ok();
    if let Some(exact) = exact.filter(|exact| versions.iter().any(|v| v.version == *exact)) {
        return Ok(exact);
    }
    let tags = document.tags.as_ref().unwrap_or(&document.outline.tags);
    if let Some(target) = tags.get(wanted) {
        return Ok(target.clone());
    }
    let offered = |version: &str| document.offered.as_ref().is_none_or(|o| o.contains(version));
    let candidates = versions.iter().filter(|found| offered(&found.version));
    let (yanked, live): (Vec<_>, Vec<_>) = candidates.partition(|found| found.yanked.is_some());
    for group in [live, yanked] {
        let numbers: Vec<String> = group.into_iter().map(|found| found.version.clone()).collect();
        if let Ok(Some(best)) = version::resolve(wanted, &numbers) {
            return Ok(best);
        }
    }
    let name = &document.package.name;
    // Of an old copy nobody knows what the upstream has meanwhile.
    let (status, where_) = if document.stale {
        (
            StatusCode::FAILED_DEPENDENCY,
            "in the copy that is held, and the upstream is out of reach",
        )
    } else {
        (StatusCode::NOT_FOUND, "at the upstream")
    };
    Err(Error::new(status, format!("there is no {name}@{wanted} {where_}"))
        .with_hint(format!("griot info {name} --format npm")))
}

/// `GET /-/package/{pkg}/dist-tags`.
pub(super) async fn tags(
    context: &Context,
    head: &Parts,
    name: &str,
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, head, name)?;
    let what = What { parts: &["tags"], early: true };
    asked.answer(context, head, what, look_at_tags).await
}

async fn look_at_tags(asked: Asked, wish: Wish) -> Result<Looked, Error> {
    Ok(match asked.document(Form::Abbreviated, wish).await? {
        Document::Hosted(metadata) => small(json!(metadata.tags).to_string(), metadata.stamp),
        Document::Upstream(document) => {
            let UpstreamDocument { tags, outline, stamp, age, stale, .. } = *document;
            let tags = json!(tags.as_ref().unwrap_or(&outline.tags)).to_string();
            Looked { age: Some(age), stale, ..small(tags, stamp) }
        }
    })
}

/// The version whose tarball the upstream has under another name than the standard one.
pub(super) async fn odd_version(
    context: &Context,
    package: &PackageId,
    file: &str,
) -> Result<Option<String>, Error> {
    let ask = DocumentAsk { variant: SHORT, refresh: false, wanted: true };
    let Document::Upstream(document) =
        context.registry.document(context.door, package, ask).await?
    else {
        return Ok(None);
    };
    let is = |url: &str| {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
        let base = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        base(&last) == base(file)
    };
    let mut versions = document.outline.versions.iter();
    let found = versions.find(|version| version.files.iter().any(|file| is(&file.url)));
    Ok(found.map(|version| version.version.clone()))
}

/// The answer to whoever wants to change a package of an upstream.
pub(super) fn not_ours(name: &str) -> Error {
    let message = format!("{name} is the upstream's: this node mirrors it and forwards nothing");
    Error::new(StatusCode::CONFLICT, message).with_hint(format!(
        "to publish your own under this name: griot route add {}:{name} REALM",
        FORMAT.id
    ))
}
