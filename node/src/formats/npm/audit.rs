//! `npm audit`: the upstream's advisories, and what is known of them when it is away.
//!
//! | path below `/-/npm/v1/security/` | who asks | body |
//! |---|---|---|
//! | `advisories/bulk` | npm ≥ 7, berry, pnpm ≥ 11 | `{name: [versions]}` |
//! | `audits`, `audits/quick` | older npm, yarn 1, pnpm | the tree of the lockfile |
//!
//! Names of realms are taken out of what is sent: they are nobody's business outside. A bulk answer
//! is remembered, name by name, together with the versions that it was about. While the upstream
//! is away an audit is answered from that if every version asked was answered once, and refused
//! otherwise: an empty report would read as "no vulnerabilities", and a 5xx would hang npm.
//!
//! Remembered answers are notes of this node alone. They age: who wants today's asks the upstream.
//!
//! Source: formats/npm.md sections 2 and 5.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::routes::answer;
use super::{FORMAT, version};
use crate::formats::Context;
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::Outcome;

/// Below the base URL.
const SECURITY: &str = "-/npm/v1/security";
/// A question: a list of names, or a lockfile's tree.
const ASKED_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The deepest tree that is looked through; the parser stops before.
const DEPTH_MAX: usize = 128;
/// What is remembered of one name: bytes, versions and advisories. Each of the one is compared with
/// each of the other.
const NOTE_MAX_BYTES: usize = 256 * 1024;
const VERSIONS_MAX: usize = 512;
const ADVISORIES_MAX: usize = 128;

/// `{name: [versions]}`.
type Asked = BTreeMap<String, BTreeSet<String>>;

/// What an upstream once said of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The versions that it was asked about.
    asked: BTreeSet<String>,
    /// As it answered.
    advisories: Vec<Value>,
}

/// `POST /-/npm/v1/security/…`.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    body: Body,
    tail: &[&str],
) -> Result<Response<Body>, Error> {
    let path = match tail {
        ["advisories", "bulk"] => "advisories/bulk",
        ["audits"] => "audits",
        ["audits", "quick"] => "audits/quick",
        _ => {
            let refused = Error::no_such_path().into_response();
            return Ok(upload::refuse(&head.headers, body, refused).await);
        }
    };
    let asked = upload::small(&head.headers, body, ASKED_MAX_BYTES).await?;
    if path == "advisories/bulk" {
        bulk(context, &asked).await
    } else {
        tree(context, path, &asked).await
    }
}

async fn bulk(context: &Context, body: &[u8]) -> Result<Response<Body>, Error> {
    let mut asked: Asked = serde_json::from_slice(body)
        .map_err(|_| Error::invalid("the body is an object of names with lists of versions"))?;
    asked.retain(|name, _| is_outside(context, name));
    // Nobody outside knows anything about the packages of realms, so there is nothing to ask.
    if asked.is_empty() {
        return Ok(answer(StatusCode::OK, &json!({})));
    }
    let sent = Bytes::from(json!(asked).to_string());
    let path = format!("{SECURITY}/advisories/bulk");
    let said = context.registry.upstream_post(FORMAT.id, &path, sent).await;
    let why = match said {
        Ok((_, bytes)) => match serde_json::from_slice::<BTreeMap<String, Vec<Value>>>(&bytes) {
            Ok(said) => {
                remember(context, &asked, &said).await?;
                return Ok(json_bytes(bytes));
            }
            Err(_) => "the upstream's answer was no list of advisories".to_owned(),
        },
        Err(error) => error.message,
    };
    match recall(context, &asked)? {
        Ok(known) => Ok(answer(StatusCode::OK, &known)),
        Err(unknown) => Err(unanswered(&format!("{why}; and nothing is known of {unknown}"))),
    }
}

/// A 4xx, whatever the reason: npm shows it, and an install goes on.
fn unanswered(why: &str) -> Error {
    Error::new(StatusCode::FAILED_DEPENDENCY, format!("the audit cannot be answered now: {why}"))
        .with_hint("run npm audit again when the upstream is in reach")
}

/// Whether a name may be named to the upstream that is asked.
pub(super) fn is_outside(context: &Context, name: &str) -> bool {
    let package = context.registry.package_id(FORMAT.id, name);
    package.is_ok_and(|package| context.registry.may_name(&package).unwrap_or(false))
}

fn key(name: &str) -> String {
    format!("advisories/{name}")
}

/// Keeps what was answered, with all that was asked: no advisory is an answer too.
async fn remember(
    context: &Context,
    asked: &Asked,
    said: &BTreeMap<String, Vec<Value>>,
) -> Result<(), Error> {
    let mut notes = Vec::new();
    for (name, versions) in asked {
        let told = said.get(name).map_or(&[][..], Vec::as_slice);
        if versions.len() > VERSIONS_MAX || told.len() > ADVISORIES_MAX {
            continue;
        }
        let before = known(context, name)?;
        let after = merged(&before, versions, told);
        if after == before {
            continue;
        }
        let bytes = serde_json::to_vec(&after).map_err(|e| Error::invalid(e.to_string()))?;
        if bytes.len() <= NOTE_MAX_BYTES {
            notes.push((key(name), bytes));
        }
    }
    // Together: a project has a thousand names, and each commit waits for the disk.
    Ok(context.registry.put_notes(FORMAT.id, notes).await?)
}

/// The newer word counts where both speak of the same version.
fn merged(before: &Known, versions: &BTreeSet<String>, said: &[Value]) -> Known {
    let mut known = Known { asked: versions.clone(), advisories: said.to_vec() };
    let room = VERSIONS_MAX.saturating_sub(versions.len());
    let others: BTreeSet<String> = before.asked.difference(versions).take(room).cloned().collect();
    let id = |advisory: &Value| advisory.get("id").cloned();
    let told: Vec<Option<Value>> = said.iter().map(id).collect();
    let of_others = |advisory: &&Value| {
        let mut others = others.iter();
        others.any(|version| affects(advisory, version)) && !told.contains(&id(advisory))
    };
    let room = ADVISORIES_MAX.saturating_sub(said.len());
    let earlier: Vec<&Value> = before.advisories.iter().filter(of_others).collect();
    if earlier.len() > room {
        // Rather nothing of the others than a part: a part would read as all there is.
        return known;
    }
    known.advisories.extend(earlier.into_iter().cloned());
    known.asked.extend(others);
    known
}

/// Whether an advisory is about a version; one whose range cannot be read is about all.
fn affects(advisory: &Value, number: &str) -> bool {
    let range = advisory.get("vulnerable_versions").and_then(Value::as_str).unwrap_or("*");
    let found = version::resolve(range, &[number.to_owned()]);
    found.is_ok_and(|found| found.is_some()) || version::resolve(range, &[]).is_err()
}

fn known(context: &Context, name: &str) -> Result<Known, Error> {
    let note = context.registry.note(FORMAT.id, &key(name))?;
    Ok(note.and_then(|note| serde_json::from_slice(&note).ok()).unwrap_or_default())
}

/// The report from what is remembered, or the first thing that is not.
fn recall(context: &Context, asked: &Asked) -> Result<Result<Value, String>, Error> {
    let mut report = Map::new();
    for (name, versions) in asked {
        let known = known(context, name)?;
        if let Some(unknown) = versions.difference(&known.asked).next() {
            return Ok(Err(format!("{name}@{unknown}")));
        }
        let about = |advisory: &&Value| versions.iter().any(|number| affects(advisory, number));
        if versions.len() > VERSIONS_MAX {
            return Ok(Err(format!("so many versions of {name}")));
        }
        let advisories: Vec<Value> = known.advisories.iter().filter(about).cloned().collect();
        if !advisories.is_empty() {
            report.insert(name.clone(), Value::Array(advisories));
        }
    }
    Ok(Ok(Value::Object(report)))
}

/// The older forms: passed on without the names of realms, and never answered from memory.
async fn tree(context: &Context, path: &str, body: &[u8]) -> Result<Response<Body>, Error> {
    let mut asked: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| Error::invalid("the body is the tree of a lockfile"))?;
    // The project's own name is as private as those of its packages.
    for own in ["name", "version"] {
        asked.remove(own);
    }
    without_ours(context, &mut asked, DEPTH_MAX);
    let sent = Bytes::from(Value::Object(asked).to_string());
    let path = format!("{SECURITY}/{path}");
    match context.registry.upstream_post(FORMAT.id, &path, sent).await {
        Ok((_, bytes)) if is_object(&bytes) => Ok(json_bytes(bytes)),
        Ok(_) => Err(unanswered("the upstream's answer was no report")),
        // What the upstream itself refuses is its word: a client falls back by the status.
        Err(error) if error.outcome == Outcome::NotFound => Err(error.into()),
        Err(error) => Err(unanswered(&error.message)),
    }
}

/// Whether it is an object, without making one of it.
fn is_object(bytes: &[u8]) -> bool {
    serde_json::from_slice::<BTreeMap<String, serde::de::IgnoredAny>>(bytes).is_ok()
}

/// Takes the names of realms out of `requires` and `dependencies`, at every level.
fn without_ours(context: &Context, level: &mut Map<String, Value>, depth: usize) {
    for list in ["requires", "dependencies"] {
        let Some(Value::Object(names)) = level.get_mut(list) else { continue };
        // A workspace of pnpm stands among the names by its path, which is no name.
        let is_name = |name: &str| context.registry.package_id(FORMAT.id, name).is_ok();
        names.retain(|name, _| !is_name(name) || is_outside(context, name));
        for value in names.values_mut() {
            if let (Value::Object(below), true) = (value, depth > 0) {
                without_ours(context, below, depth - 1);
            }
        }
    }
}

fn json_bytes(bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
