//! The upstream's keys, and what was attested of a version: passed through, cached like documents.
//!
//! `npm audit signatures` asks for both. Nothing of them is judged here: the client does that, and
//! the registry with the rules of `signature.rs`. A version of a realm has the attestation that
//! came with its publish, if one did and this node has it.
//!
//! Source: formats/npm.md sections 2 and 4; npm's `REGISTRY-API.md`.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::PackageId;
use crdt::routes::Source;
use serde_json::{Value, json};

use super::routes::{answer, readable};
use super::{FORMAT, signature, upstream_rules, version};
use crate::formats::Context;
use crate::http::error::Error;
use crate::registry::{Door, Registry, Side};

/// Keys and attestations are small.
const SIDE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// `GET /-/npm/v1/keys`.
pub(super) async fn keys(context: &Context) -> Result<Response<Body>, Error> {
    if context.door == Door::Hosted {
        return Err(Error::new(
            StatusCode::NOT_FOUND,
            "packages of realms are signed by statements",
        )
        .with_hint("griot info NAME --format npm"));
    }
    side(context, None, signature::RULES.keys).await
}

/// `GET /-/npm/v1/attestations/{pkg}@{version}`.
pub(super) async fn serve(context: &Context, tail: &[&str]) -> Result<Response<Body>, Error> {
    let (name, number) = split(&tail.join("/")).ok_or_else(Error::no_such_path)?;
    let package = readable(context, &name)?;
    context.check_read(&package)?;
    let decision = context.registry.decide(&package)?;
    let outside = matches!(decision.source, Source::Upstream { .. });
    if context.door == Door::Upstream || (outside && context.door != Door::Hosted) {
        let path = upstream_rules::attestations(&package.name, &number);
        return side(context, Some(&package), &path).await;
    }
    let bundle = context.registry.note(FORMAT.id, &key(&package, &number))?;
    let bundle: Option<Value> = bundle.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let bundle = bundle.ok_or_else(|| {
        let message = format!("no attestation of {name}@{number} came to this node");
        Error::new(StatusCode::NOT_FOUND, message)
    })?;
    let predicate = predicate_type(&bundle);
    let attestation = json!({ "predicateType": predicate, "bundle": bundle });
    Ok(answer(StatusCode::OK, &json!({ "attestations": [attestation] })))
}

/// `@scope/name@1.0.0` in two.
fn split(text: &str) -> Option<(String, String)> {
    let at = text.rfind('@').filter(|at| *at > 0)?;
    let number = version::canonical(&text[at + 1..]).ok()?;
    Some((text[..at].to_owned(), number))
}

async fn side(
    context: &Context,
    package: Option<&PackageId>,
    path: &str,
) -> Result<Response<Body>, Error> {
    let side = Side {
        key: path,
        path,
        accept: "application/json",
        never_html: true,
        limit: SIDE_MAX_BYTES,
    };
    let found = context.registry.side_document(FORMAT.id, package, side).await?;
    let mut response = Response::new(Body::from(found.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if found.stale {
        headers.insert("x-griot-stale", HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn key(package: &PackageId, number: &str) -> String {
    format!("attestations/{}@{number}", package.name)
}

/// What a bundle attests; empty if it does not say.
fn predicate_type(bundle: &Value) -> String {
    let payload = bundle.get("dsseEnvelope").and_then(|envelope| envelope.get("payload"));
    let payload = payload.and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    let statement: Option<Value> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let predicate = statement.as_ref().and_then(|said| said.get("predicateType"));
    predicate.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Which versions of a package have a bundle here, and of what kind: normal version → predicate.
pub(super) type Attested = BTreeMap<String, String>;

/// Keeps the bundle of a version that was just published.
pub(super) async fn keep(
    registry: &Registry,
    package: &PackageId,
    number: &str,
    bundle: &Value,
) -> Result<(), Error> {
    let bytes = bundle.to_string().into_bytes();
    let mut all = attested(registry, package)?;
    all.insert(number.to_owned(), predicate_type(bundle));
    let list = format!("attested/{}", package.name);
    let notes = vec![(key(package, number), bytes), (list, json!(all).to_string().into_bytes())];
    Ok(registry.put_notes(FORMAT.id, notes).await?)
}

/// The bundles that this node has.
pub(super) fn attested(registry: &Registry, package: &PackageId) -> Result<Attested, Error> {
    let list = registry.note(FORMAT.id, &format!("attested/{}", package.name))?;
    Ok(list.and_then(|list| serde_json::from_slice(&list).ok()).unwrap_or_default())
}

/// What a packument says of a bundle.
pub(super) fn in_dist(name: &str, number: &str, predicate: &str, door: &str) -> Value {
    let url = format!("{door}/{}", upstream_rules::attestations(name, number));
    json!({ "url": url, "provenance": { "predicateType": predicate } })
}
