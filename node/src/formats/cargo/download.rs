//! The handler of `.crate` files.
//!
//! Their URLs name the checksum beside crate and version, so that whoever asks gets exactly the
//! bytes of his index or lockfile, or is told that these are others. A version that is yanked stays
//! where it is. A big file that has to come from an upstream flows to its client while it comes.
//!
//! Source: cargo's `registry-index.md` (`dl`); formats/cargo.md section 2.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use crdt::PackageId;
use crdt::digest::{from_hex, to_hex};

use super::{FORMAT, name, upstream_index, version};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::registry::Obtained;

const KIND: &str = "application/octet-stream";

/// `dl/{crate}/{version}/{sha256}`, or without a checksum what stands there now.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    (crate_name, written): (&str, &str),
    checksum: Option<&str>,
) -> Result<Response<Body>, Error> {
    let absent = |why: String| Error::new(StatusCode::NOT_FOUND, why);
    let package = context.registry.package_id(FORMAT.id, crate_name);
    let package = package.map_err(|error| absent(error.message))?;
    context.check_read(&package)?;
    let wanted = checksum.map(|text| {
        from_hex::<32>(text).ok_or_else(|| absent(format!("{text:.80} is no SHA-256")))
    });
    let wanted = wanted.transpose()?;
    let (normal, file) = slot(context, &package, written, wanted.as_ref()).await?;
    let (registry, door) = (&context.registry, context.door);
    let artifact = if arriving::may_flow(head) {
        match registry.obtain(door, &package, &normal, &file).await? {
            Obtained::Held(artifact) => *artifact,
            // cargo compares it with its checksum when it has all of it.
            Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, false)),
        }
    } else {
        registry.artifact(door, &package, &normal, &file).await?
    };
    let sha256 = artifact.info.checksums.sha256;
    if wanted.is_some_and(|wanted| wanted != sha256) {
        let sha256 = to_hex(&sha256);
        let message =
            format!("{crate_name} {written} has the checksum {sha256} here, not that one");
        let hint = format!("griot why {crate_name} --format {}", FORMAT.id);
        return Err(absent(message).with_hint(hint));
    }
    let label = Label {
        content_type: KIND,
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: wanted.is_some(),
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

/// Normal version, and the one file that it may have; of an upstream's versions that differ by
/// build metadata alone, the one with the checksum.
async fn slot(
    context: &Context,
    package: &PackageId,
    written: &str,
    sha256: Option<&[u8; 32]>,
) -> Result<(String, String), Error> {
    let normal = version::canonical(written);
    let normal = normal.map_err(|why| Error::new(StatusCode::NOT_FOUND, why))?;
    let file = name::file_name(&package.name, &normal);
    let Some(sha256) = sha256.filter(|_| normal != written) else { return Ok((normal, file)) };
    let door = (&context.registry, context.door);
    // Without an index file there is the plain one.
    let found = upstream_index::file_with(door, package, &normal, sha256).await;
    Ok((normal, found.ok().flatten().unwrap_or(file)))
}
