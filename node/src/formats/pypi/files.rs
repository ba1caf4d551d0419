//! The handlers of files, of the metadata beside them and of their provenance.
//!
//! The path holds all that finds a file: project, SHA-256, name; the version is in the name. A
//! checksum that is not that of the file is another file, and is not there. A big one that has to
//! come from elsewhere flows to its client while it comes.
//!
//! Source: formats/pypi.md section 3.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use crdt::digest::to_hex;
use crdt::routes::Source;
use crdt::{Content, PackageId};

use super::accept::VARY;
use super::simple::{self, Asked, looked};
use super::{dist, provenance, upstream_files};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::http::ready::Seed;
use crate::registry::{Document, Door, Metadata, Obtained, VerifiedBytes};

/// Of every file.
pub(super) const KIND: &str = "application/octet-stream";
const METADATA: &str = ".metadata";
const PROVENANCE: &str = ".provenance";

/// A realm's file by its place.
#[derive(Clone)]
struct Place {
    version: String,
    file: String,
    /// In hexadecimal, as the client has it.
    sha256: String,
}

/// `GET files/{project}/{sha256}/{filename}`, and what lies beside it.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    (project, sha256, name): (&str, &str, &str),
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, project)?;
    if !is_realms(context, &asked.package)? {
        return upstream_files::serve(context, head, &asked.package, (sha256, name)).await;
    }
    let (file, beside) = match [METADATA, PROVENANCE].iter().find(|end| name.ends_with(**end)) {
        Some(end) => (&name[..name.len() - end.len()], Some(*end)),
        None => (name, None),
    };
    let Some(dist) = dist::parse(&asked.package.name, file) else {
        return Err(missing(context, &asked.package, name).await);
    };
    let place =
        Place { version: dist.version, file: file.to_owned(), sha256: sha256.to_lowercase() };
    let found = match beside {
        Some(METADATA) => return metadata(context, head, asked, place).await,
        Some(_) => provenance::serve(context, head, (&asked.package, &place.sha256, file))?,
        None => Some(whole(context, head, &asked.package, &place).await?),
    };
    match found {
        Some(found) => Ok(found),
        None => Err(missing(context, &asked.package, name).await),
    }
}

/// Whether a realm supplies the project behind this door, if anybody does.
fn is_realms(context: &Context, package: &PackageId) -> Result<bool, Error> {
    Ok(match context.door {
        Door::Hosted => true,
        Door::Upstream => false,
        Door::Virtual => {
            let decision = context.registry.decide(package)?;
            !matches!(decision.source, Source::Upstream { .. })
        }
    })
}

/// The bytes of a file.
async fn whole(
    context: &Context,
    head: &Parts,
    package: &PackageId,
    place: &Place,
) -> Result<Response<Body>, Error> {
    let (registry, door) = (&context.registry, context.door);
    let (version, file) = (&place.version, &place.file);
    let artifact = if arriving::may_flow(head) {
        match registry.obtain(door, package, version, file).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(arriving) => {
                let Document::Hosted(metadata) = simple::document(context, package).await? else {
                    return Err(absent(file));
                };
                place.content(&metadata).ok_or_else(|| absent(file))?;
                return Ok(arriving::arriving(*arriving, KIND, false));
            }
        }
    } else {
        registry.artifact(door, package, version, file).await?
    };
    if to_hex(&artifact.info.checksums.sha256) != place.sha256 {
        return Err(absent(file));
    }
    send(head, artifact).await
}

/// The bytes of a file that is held.
pub(super) async fn send(head: &Parts, artifact: VerifiedBytes) -> Result<Response<Body>, Error> {
    let label = Label {
        content_type: KIND,
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

impl Place {
    /// What is served here, if it has the checksum.
    fn content<'m>(&self, metadata: &'m Metadata) -> Option<&'m Content> {
        let version = metadata.view.versions.get(&self.version)?;
        let content = version.files.get(&self.file)?.serves.as_ref()?;
        (to_hex(&content.checksums.sha256) == self.sha256).then_some(content)
    }
}

/// The core metadata of a file: what was extracted from it.
async fn metadata(
    context: &Context,
    head: &Parts,
    asked: Asked,
    place: Place,
) -> Result<Response<Body>, Error> {
    let what = ["metadata", &place.sha256, &place.file].map(str::to_owned);
    let what: Vec<&str> = what.iter().map(String::as_str).collect();
    let look = move |asked: Asked, _| {
        let place = place.clone();
        async move {
            let metadata = asked.metadata().await?;
            let meta = place.content(&metadata);
            let meta = meta.and_then(|_| metadata.meta(&place.version, &place.file));
            let meta = meta.ok_or_else(|| absent(&place.file))?;
            let seed = Seed::of("pypi metadata 1", &[meta]);
            let (bytes, stamp) = (meta.to_vec(), metadata.stamp);
            Ok(looked((seed, stamp), ("text/plain; charset=utf-8", VARY, 0), move || bytes))
        }
    };
    asked.answer((context, head), &what, false, look).await
}

/// The answer for what the project does not have; of one that is not there it tells no more than
/// its page does.
pub(super) async fn missing(context: &Context, package: &PackageId, file: &str) -> Error {
    simple::document(context, package).await.map_or_else(|error| error, |_| absent(file))
}

/// The answer for a file that is not there, or not with these bytes.
pub(super) fn absent(file: &str) -> Error {
    let file: String = file.chars().take(120).collect();
    Error::new(StatusCode::NOT_FOUND, format!("there is no file {file:?} with this checksum"))
}
