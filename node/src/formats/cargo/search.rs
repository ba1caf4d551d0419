//! `cargo search`: the crates of realms.
//!
//! An upstream is not asked: cargo itself finds what its own registry has, by its own name.
//!
//! Source: cargo's `registry-web-api.md`; formats/cargo.md section 2.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::routes::answer;
use super::{FORMAT, index};
use crate::formats::Context;
use crate::http::error::Error;
use crate::registry::{Door, PackageSummary};

const SIZE: usize = 10;
const SIZE_MAX: usize = 100;

/// `GET api/v1/crates?q=&per_page=`.
pub(super) async fn serve(context: &Context) -> Result<Response<Body>, Error> {
    if context.door == Door::Upstream {
        let message = "this door has the upstream's crates, and the upstream is searched itself";
        return Err(Error::new(StatusCode::NOT_FOUND, message)
            .with_hint("cargo search WORD, with the --registry that names it"));
    }
    let number = |key: &str| context.path.parameter(key).and_then(|text| text.parse().ok());
    let size = number("per_page").unwrap_or(SIZE).clamp(1, SIZE_MAX);
    let from = number("page").unwrap_or(1).saturating_sub(1).saturating_mul(size);
    let text = context.path.parameter("q").unwrap_or_default();
    let registry = &context.registry;
    let (rows, total) = registry.search(&context.who, text, Some(FORMAT.id), (size, from)).await?;
    let mut crates = Vec::with_capacity(rows.len());
    for row in &rows {
        crates.push(found(context, row).await);
    }
    Ok(answer(&json!({ "crates": crates, "meta": { "total": total } })))
}

async fn found(context: &Context, row: &PackageSummary) -> Value {
    let metadata = context.registry.metadata(context.door, &row.package).await.ok();
    // The list has names in lower case; the crate says how it is written.
    let written = metadata.and_then(|metadata| {
        metadata.offered.iter().rev().find_map(|normal| Some(index::meta(&metadata, normal)?.name))
    });
    json!({
        "name": written.as_ref().unwrap_or(&row.package.name),
        "max_version": row.latest.as_deref().unwrap_or_default(),
        "description": row.description,
    })
}
