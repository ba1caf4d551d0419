//! The handlers of documents: packument, one manifest, tags; of a realm or of an upstream.
//!
//! A realm's are rendered whole (`metadata.rs`), an upstream's by spans (`render.rs`). Both carry
//! the same headers: a validator of exactly this rendering, what it depends on, and how many
//! versions are not offered now. What is asked for by its exact number is never hidden.
//!
//! Source: formats/npm.md sections 1, 2, 3 and 5.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use crdt::PackageId;
use serde_json::{Value, json};

use super::attestation::{self, Attested};
use super::metadata::{self, Beside, Form};
use super::mode::{self, Mode};
use super::render::{self, Segment};
use super::routes::{answer, readable};
use super::upstream_rules::{FULL, SHORT};
use super::{FORMAT, MOUNT, name, spans, stream, version, whole};
use crate::formats::Context;
use crate::http::body;
use crate::http::error::Error;
use crate::http::range;
use crate::registry::{Document, DocumentAsk, Metadata, UpstreamDocument};

/// The package behind this door, as the request wants it.
pub(super) async fn document(
    context: &Context,
    head: &Parts,
    package: &PackageId,
    form: Form,
) -> Result<Document, Error> {
    let ask = DocumentAsk {
        variant: if form == Form::Full { FULL } else { SHORT },
        refresh: says_no_cache(head),
        wanted: !is_update_check(head, &package.name),
    };
    Ok(context.registry.document(context.door, package, ask).await?)
}

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

fn attested(context: &Context, package: &PackageId) -> Result<Attested, Error> {
    attestation::attested(&context.registry, package)
}

/// An answer without its body.
fn described(
    document: &UpstreamDocument,
    etag: &str,
    kind: &'static str,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::AGE, HeaderValue::from(document.age));
    let etag = HeaderValue::from_str(etag).map_err(|_| Error::no_such_path())?;
    headers.insert(header::ETAG, etag);
    if document.stale {
        headers.insert("x-griot-stale", HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Turns the answer into 304 if the client has these bytes.
fn is_known(head: &Parts, response: &mut Response<Body>) -> bool {
    let etag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
    let list = body::joined(&head.headers, header::IF_NONE_MATCH);
    let known = etag.zip(list).is_some_and(|(etag, list)| range::names(&list, etag));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    known
}

/// With the bytes of the segments, and their exact number before them.
async fn filled(
    context: &Context,
    head: &Parts,
    document: &UpstreamDocument,
    (mut response, segments): (Response<Body>, Arc<[Segment]>),
) -> Result<Response<Body>, Error> {
    let length: u64 = segments.iter().map(Segment::len).sum();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if head.method != Method::HEAD {
        let file = context.registry.open_document(&document.digest).await?.into_std().await;
        *response.body_mut() = stream::body(file, segments);
    }
    Ok(response)
}

/// One version, by number, tag or range.
pub(super) async fn manifest(
    context: &Context,
    head: &Parts,
    name: &str,
    wanted: &str,
) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    match document(context, head, &package, Form::Full).await? {
        Document::Hosted(metadata) => {
            hosted_manifest(context, head, &package, (&metadata, wanted)).await
        }
        Document::Upstream(document) => upstream_manifest(context, head, &document, wanted).await,
    }
}

async fn hosted_manifest(
    context: &Context,
    head: &Parts,
    package: &PackageId,
    (metadata, wanted): (&Metadata, &str),
) -> Result<Response<Body>, Error> {
    let exact = version::canonical(wanted).ok();
    let found = match exact.filter(|exact| metadata.view.versions.contains_key(exact)) {
        Some(exact) => exact,
        None => context.registry.resolve(metadata, wanted)?,
    };
    let (door, attested) = (context.door_url(MOUNT), attested(context, package)?);
    let beside = Beside { door: &door, attested: &attested };
    let manifest = metadata::manifest(metadata, beside, &found);
    let Some(manifest) = manifest else {
        // The registry knows why its bytes are not served: disputed, refused, out of reach.
        let file = name::file_name(&package.name, &found);
        let asked = context.registry.artifact(context.door, package, &found, &file).await;
        return Err(asked.err().map_or_else(Error::no_such_path, Error::from));
    };
    let bytes = Value::Object(manifest).to_string().into_bytes();
    Ok(body::document(&head.method, &head.headers, "application/json", bytes))
}

async fn upstream_manifest(
    context: &Context,
    head: &Parts,
    document: &UpstreamDocument,
    wanted: &str,
) -> Result<Response<Body>, Error> {
    let found = pick(document, wanted)?;
    let door = context.door_url(MOUNT);
    let look = whole::look(document, Form::Full, Mode::of(&head.headers), &door);
    let mut response =
        described(document, &whole::etag(document, &look, &found), "application/json")?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(mode::VARY));
    if is_known(head, &mut response) {
        return Ok(response);
    }
    let table = spans::table(&context.registry, &document.digest).await?;
    let segments = render::manifest(&table, &found, &look).ok_or_else(Error::no_such_path)?;
    filled(context, head, document, (response, segments.into())).await
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
    package: &PackageId,
) -> Result<Response<Body>, Error> {
    let tags = match document(context, head, package, Form::Abbreviated).await? {
        Document::Hosted(metadata) => metadata.tags,
        Document::Upstream(document) => {
            document.tags.clone().unwrap_or_else(|| document.outline.tags.clone())
        }
    };
    Ok(answer(StatusCode::OK, &json!(tags)))
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
