//! The handler of tarballs, and the many paths under which they are asked for.
//!
//! Whatever stands before `NAME/-/FILE.tgz` is passed over: the registry's own path once more (npm
//! 8 to 10), none of it (`npm pack`), or the path that the upstream's URL has (any npm that puts
//! our host into it). The bytes are those of the name either way. A big one that has to come from
//! an upstream flows to its client while it comes; who asks for a part, or for the head, waits.
//!
//! Source: formats/npm.md sections 2 and 3.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use crdt::PackageId;

use super::routes::readable;
use super::{MOUNT, name, packument, version};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::registry::Obtained;

const KIND: &str = "application/octet-stream";

/// Package and file of a path, if it is a tarball's.
pub(super) fn of_path<'p>(parts: &'p [&'p str]) -> Option<(String, &'p str)> {
    let (before, file) = match parts {
        [before @ .., "-", file] => (before, file),
        // Some clients write the scope into the file's name once more.
        [before @ .., "-", scope, file] if scope.starts_with('@') => (before, file),
        _ => return None,
    };
    if !file.ends_with(".tgz") {
        return None;
    }
    let name = match before {
        [.., scope, base] if scope.starts_with('@') && !scope.contains('/') => {
            format!("{scope}/{base}")
        }
        [.., name] => (*name).to_owned(),
        // The package `npm` asked for at the root has the path of this format's mount.
        [] => MOUNT.to_owned(),
    };
    Some((name, file))
}

/// The version in a standard file name.
pub(super) fn version_of(package: &PackageId, file: &str) -> Result<String, Error> {
    let version = name::version_in(&package.name, file);
    version.and_then(|version| version::canonical(version).ok()).ok_or_else(|| {
        let message = format!("{file:?} is not a tarball of {}", package.name);
        Error::new(StatusCode::NOT_FOUND, message)
    })
}

/// `GET /{pkg}/-/{file}.tgz`.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    name: &str,
    file: &str,
) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    context.check_read(&package)?;
    let along = arriving::may_flow(head);
    let found = match version_of(&package, file) {
        Ok(version) => named(context, &package, &version, along).await,
        Err(absent) => Err(absent),
    };
    let found = match found {
        // The upstream may have named it in its own way.
        Err(error) if error.status == StatusCode::NOT_FOUND => {
            let odd = packument::odd_version(context, &package, file).await;
            match odd {
                Ok(Some(version)) => named(context, &package, &version, along).await?,
                _ => return Err(error),
            }
        }
        other => other?,
    };
    let artifact = match found {
        Obtained::Held(artifact) => *artifact,
        Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, false)),
    };
    let label = Label {
        content_type: KIND,
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

/// The one file that a version may have; `along`: it may still be arriving.
async fn named(
    context: &Context,
    package: &PackageId,
    version: &str,
    along: bool,
) -> Result<Obtained, Error> {
    let (registry, door) = (&context.registry, context.door);
    let file = name::file_name(&package.name, version);
    if along {
        return Ok(registry.obtain(door, package, version, &file).await?);
    }
    Ok(Obtained::Held(Box::new(registry.artifact(door, package, version, &file).await?)))
}
