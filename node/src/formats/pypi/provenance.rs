//! What a publisher attested of a file: kept as it came, and shown as its provenance.
//!
//! Nothing of it is judged here: clients that care verify it against the file. It came to this
//! node with the upload, so other nodes do not have it; a file without it is none the worse.
//!
//! Source: PEP 740.

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use crdt::{PackageId, RealmId};
use serde_json::{Value, json};

use super::FORMAT;
use crate::formats::Context;
use crate::http::body;
use crate::http::error::Error;
use crate::registry::Registry;

/// The largest list of attestations.
pub(super) const ATTESTATIONS_MAX_BYTES: u64 = 512 * 1024;

/// The media type of PEP 740.
const KIND: &str = "application/vnd.pypi.integrity.v1+json";

/// Reads the field of an upload: a list of attestations.
pub(super) fn parse(field: &[u8]) -> Result<Vec<Value>, Error> {
    let list: Result<Vec<Value>, _> = serde_json::from_slice(field);
    let list = list.map_err(|error| {
        Error::invalid(format!("the field attestations is no list in JSON: {error}"))
    })?;
    if list.is_empty() || !list.iter().all(Value::is_object) {
        return Err(Error::invalid("the field attestations is no list of attestations"));
    }
    Ok(list)
}

/// Keeps those of a file that is about to be published: its page is made when it is, and not
/// again when they come.
pub(super) async fn keep(
    registry: &Registry,
    file: Attested<'_>,
    realm: RealmId,
    attestations: &[Value],
) -> Result<(), Error> {
    let publisher = json!({ "kind": "griot", "claims": { "realm": realm } });
    let bundle = json!({ "publisher": publisher, "attestations": attestations });
    let provenance = json!({ "version": 1, "attestation_bundles": [bundle] });
    let mut all = attested(registry, file.0)?;
    let row = row(file.1, file.2);
    if !all.contains(&row) {
        all.push(row);
    }
    let notes = vec![
        (key(file), provenance.to_string().into_bytes()),
        (list_key(file.0), json!(all).to_string().into_bytes()),
    ];
    Ok(registry.put_notes(FORMAT.id, notes).await?)
}

/// Project, SHA-256 in hexadecimal, and name of a file.
pub(super) type Attested<'a> = (&'a PackageId, &'a str, &'a str);

/// The files of a project with attestations here, each as its [`row`].
pub(super) fn attested(registry: &Registry, package: &PackageId) -> Result<Vec<String>, Error> {
    let list = registry.note(FORMAT.id, &list_key(package))?;
    Ok(list.and_then(|list| serde_json::from_slice(&list).ok()).unwrap_or_default())
}

/// A file in the list of those with attestations.
pub(super) fn row(sha256: &str, file: &str) -> String {
    format!("{sha256}/{file}")
}

/// `GET files/…/{file}.provenance`; `None`: none came to this node.
pub(super) fn serve(
    context: &Context,
    head: &Parts,
    file: Attested<'_>,
) -> Result<Option<Response<Body>>, Error> {
    let found = context.registry.note(FORMAT.id, &key(file))?;
    Ok(found.map(|found| body::document(&head.method, &head.headers, KIND, found)))
}

fn key((package, sha256, file): Attested<'_>) -> String {
    format!("provenance/{}/{}", package.name, row(sha256, file))
}

fn list_key(package: &PackageId) -> String {
    format!("attested/{}", package.name)
}
