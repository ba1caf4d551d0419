//! `cargo owner`: keys take the place of users.
//!
//! Nobody owns a crate by a list here: a realm grants keys, and only its root key can. So the list
//! shows the keys whose word counts, and a change is answered with the command that does it.
//!
//! Source: cargo's `registry-web-api.md`; formats/cargo.md section 2.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use crdt::routes::Source;
use serde_json::{Value, json};

use super::FORMAT;
use super::routes::{answer, readable};
use crate::formats::Context;
use crate::http::error::Error;
use crate::registry::Error as RegistryError;

/// `api/v1/crates/{crate}/owners`.
pub(super) async fn serve(
    context: &Context,
    method: &Method,
    name: &str,
) -> Result<Response<Body>, Error> {
    match *method {
        Method::GET | Method::HEAD => list(context, name).await,
        Method::PUT | Method::DELETE => Err(refused(method, name)),
        _ => Err(Error::method_not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

async fn list(context: &Context, name: &str) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    context.check_read(&package)?;
    let metadata = context.registry.metadata(context.door, &package).await?;
    let mut keys: BTreeMap<String, &str> = BTreeMap::new();
    for version in metadata.offered.iter().filter_map(|v| metadata.view.versions.get(v)) {
        let candidates = version.files.values().flat_map(|file| &file.candidates);
        let signers = candidates.flat_map(|candidate| &candidate.signers);
        keys.extend(signers.map(|key| (key.to_string(), "has signed it")));
    }
    if let Source::Realm { realm } = &metadata.decision.source {
        let granted = context.registry.store().publishers(realm, &package);
        let granted = granted.map_err(RegistryError::from)?;
        keys.extend(granted.keys.keys().map(|key| (key.to_string(), "may publish it")));
    }
    let user = |(id, (key, name))| json!({ "id": id, "login": key, "name": name });
    let users: Vec<Value> = (1_u32..).zip(keys).map(user).collect();
    Ok(answer(&json!({ "users": users })))
}

fn refused(method: &Method, name: &str) -> Error {
    let message = "a crate has no list of owners here: a realm grants keys, with its root key";
    let verb = if *method == Method::PUT { "grant" } else { "ungrant" };
    let hint = format!("griot realm {verb} --role publish {}:{name} KEY", FORMAT.id);
    Error::new(StatusCode::FORBIDDEN, message).with_hint(hint)
}
