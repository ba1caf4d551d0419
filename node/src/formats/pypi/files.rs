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

use super::simple::{self, Asked, looked};
use super::{dist, provenance};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, Label};
use crate::http::error::Error;
use crate::http::ready::Seed;
use crate::registry::{Document, Door, Metadata, Obtained};

const KIND: &str = "application/octet-stream";
const METADATA: &str = ".metadata";
const PROVENANCE: &str = ".provenance";
/// In place of a checksum, where the upstream says none.
const UNKNOWN: &str = "-";

/// A file by its place.
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
    let (file, beside) = match [METADATA, PROVENANCE].iter().find(|end| name.ends_with(**end)) {
        Some(end) => (&name[..name.len() - end.len()], Some(*end)),
        None => (name, None),
    };
    let Some(dist) = dist::parse(&asked.package.name, file) else {
        return Err(missing(context, &asked.package, name).await);
    };
    let place =
        Place { version: dist.version, file: file.to_owned(), sha256: sha256.to_lowercase() };
    match beside {
        Some(PROVENANCE) => match provenance::serve(context, head, &asked.package, file)? {
            Some(found) => Ok(found),
            None => Err(missing(context, &asked.package, name).await),
        },
        Some(_) if is_realms(context, &asked.package)? => {
            metadata(context, head, asked, place).await
        }
        // Of an upstream it is one more file of the version.
        Some(_) => whole(context, head, &asked.package, (&place, name, false)).await,
        None => whole(context, head, &asked.package, (&place, file, true)).await,
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

/// The bytes of a file; `is_named`: the checksum of the path is that of these bytes.
async fn whole(
    context: &Context,
    head: &Parts,
    package: &PackageId,
    (place, file, is_named): (&Place, &str, bool),
) -> Result<Response<Body>, Error> {
    let (registry, door, version) = (&context.registry, context.door, &place.version);
    let artifact = if arriving::may_flow(head) {
        match registry.obtain(door, package, version, file).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(file) => {
                let declared = declared(context, package, place).await?;
                if is_named && place.sha256 != declared {
                    return Err(absent(&place.file));
                }
                return Ok(arriving::arriving(*file, KIND, false));
            }
        }
    } else {
        registry.artifact(door, package, version, file).await?
    };
    let is_other = to_hex(&artifact.info.checksums.sha256) != place.sha256;
    if is_named && is_other && (place.sha256 != UNKNOWN || is_realms(context, package)?) {
        return Err(absent(file));
    }
    let label = Label {
        content_type: KIND,
        etag: format!("\"{}\"", artifact.info.digest),
        attachment: None,
        immutable: true,
    };
    body::blob(&head.method, &head.headers, artifact, &label).await
}

/// The SHA-256 of a file before it is here, as its source declares it.
async fn declared(context: &Context, package: &PackageId, place: &Place) -> Result<String, Error> {
    let found = match simple::document(context, package).await? {
        Document::Hosted(metadata) => content(&metadata, place).map(|c| c.checksums.sha256),
        Document::Upstream(document) => {
            let mut files = document.outline.versions.iter().flat_map(|version| &version.files);
            let found = files.find(|file| file.file == place.file);
            found.and_then(|file| file.declared.sha256)
        }
    };
    Ok(found.map_or(UNKNOWN.to_owned(), |sha256| to_hex(&sha256)))
}

fn content<'m>(metadata: &'m Metadata, place: &Place) -> Option<&'m Content> {
    let version = metadata.view.versions.get(&place.version)?;
    version.files.get(&place.file)?.serves.as_ref()
}

/// The core metadata of a realm's file: what was extracted from it.
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
            let named = content(&metadata, &place).map(|content| to_hex(&content.checksums.sha256));
            let meta = metadata.meta(&place.version, &place.file);
            let Some(meta) = meta.filter(|_| named.as_ref() == Some(&place.sha256)) else {
                return Err(absent(&place.file));
            };
            let seed = Seed::of("pypi metadata 1", &[meta]);
            let (bytes, stamp) = (meta.to_vec(), metadata.stamp);
            Ok(looked((seed, stamp), ("text/plain; charset=utf-8", 0), move || bytes))
        }
    };
    asked.answer((context, head), &what, false, look).await
}

/// The answer for what the project does not have; of one that is not there it tells no more than
/// its page does.
async fn missing(context: &Context, package: &PackageId, file: &str) -> Error {
    simple::document(context, package).await.map_or_else(|error| error, |_| absent(file))
}

fn absent(file: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("there is no file {file:?} with this checksum"))
}
