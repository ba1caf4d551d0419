//! The handlers of an upstream's files: by this node's URLs, by the upstream's own, and METADATA.
//!
//! METADATA of a wheel that is held is taken from the wheel, unless the page declares another one:
//! then the page's word counts, as for every file. What the page does not advertise, or the
//! upstream cannot give now, comes from the wheel too, if that can be had.
//!
//! A name of a realm is never answered from an upstream: its files are in `files.rs`.
//!
//! Source: formats/pypi.md section 3.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use crdt::PackageId;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::files::{KIND, absent, missing, send};
use super::outline::{self, METADATA, SIGNATURE, checksum};
use super::upstream_page::{UNKNOWN, wheel_of};
use super::{FORMAT, name, simple};
use crate::formats::Context;
use crate::http::arriving;
use crate::http::body::{self, joined};
use crate::http::error::Error;
use crate::registry::{Declared, Document, Obtained};

/// Places at which the name of a file is parted, to find its project.
const PARTS_MAX: usize = 8;

/// A file by the name that clients have for it.
struct Wanted<'a> {
    package: &'a PackageId,
    version: String,
    file: &'a str,
    /// The checksum in the URL.
    sha256: Option<[u8; 32]>,
}

/// `GET files/{project}/{sha256}/{filename}`, of an upstream.
///
/// # Errors
/// 404 for what the upstream does not have under this checksum, 424 for what cannot be had now.
pub(super) async fn serve(
    context: &Context,
    head: &Parts,
    package: &PackageId,
    (sha256, file): (&str, &str),
) -> Result<Response<Body>, Error> {
    let sum = checksum(sha256);
    if sum.is_none() && sha256 != UNKNOWN {
        return Err(missing(context, package, file).await);
    }
    let version = outline::version_of(&package.name, file);
    let beside = [METADATA, SIGNATURE].iter().find_map(|ending| file.strip_suffix(ending));
    if let Some(of) = beside {
        // The checksum in its URL is that of the file beside which it is.
        let said = context.registry.declared(context.door, package, (&version, of)).await?;
        let said = said.and_then(|said| said.sha256);
        if sum.is_some_and(|sum| said.is_some_and(|said| said != sum)) {
            return Err(absent(file));
        }
    }
    let wanted = Wanted { package, version, file, sha256: sum.filter(|_| beside.is_none()) };
    match wheel_of(&package.name, file) {
        Some(wheel) => metadata(context, head, &wanted, wheel).await,
        None => whole(context, head, &wanted).await,
    }
}

/// `GET at?url=…`: the file that an adopted upstream's page has at a URL.
///
/// # Errors
/// 404 when no page that is held has it.
pub(super) async fn at(context: &Context, head: &Parts) -> Result<Response<Body>, Error> {
    let url = context.path.parameter("url").unwrap_or_default();
    let Ok(url) = Url::parse(url) else { return Err(absent(url)) };
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let last = percent_decode_str(last).decode_utf8_lossy().into_owned();
    for project in projects(&last) {
        let package = context.registry.package_id(FORMAT.id, &project)?;
        if context.check_read(&package).is_err() {
            continue;
        }
        // A name without a source here has no file here.
        let found = context.registry.file_at(context.door, &package, &url).await;
        if let Ok(Some((_, file))) = found {
            return serve(context, head, &package, (UNKNOWN, &file)).await;
        }
    }
    Err(absent(&last))
}

/// The projects that a file of that name may be of, in their normal form.
fn projects(file: &str) -> Vec<String> {
    let file = [METADATA, SIGNATURE].iter().find_map(|e| file.strip_suffix(e)).unwrap_or(file);
    let cuts = file.match_indices('-').map(|(at, _)| at).take(PARTS_MAX);
    let mut names: Vec<String> = cuts.filter_map(|at| name::canonical(&file[..at]).ok()).collect();
    names.dedup();
    names
}

/// The bytes of a file.
async fn whole(
    context: &Context,
    head: &Parts,
    wanted: &Wanted<'_>,
) -> Result<Response<Body>, Error> {
    let (registry, door) = (&context.registry, context.door);
    let Wanted { package, version, file, sha256 } = wanted;
    let declared = registry.declared(door, package, (version, file)).await?;
    let declared = declared.and_then(|declared| declared.sha256);
    if sha256.is_some_and(|sum| declared.is_some_and(|said| said != sum)) {
        return Err(absent(file));
    }
    // What is not known by its checksum yet is looked at before a byte of it goes out.
    let artifact = if arriving::may_flow(head) && (sha256.is_none() || declared.is_some()) {
        match registry.obtain(door, package, version, file).await? {
            Obtained::Held(artifact) => *artifact,
            Obtained::Arriving(file) => return Ok(arriving::arriving(*file, KIND, false)),
        }
    } else {
        registry.artifact(door, package, version, file).await?
    };
    if sha256.is_some_and(|sum| sum != artifact.info.checksums.sha256) {
        return Err(absent(file));
    }
    send(head, artifact).await
}

/// METADATA of a wheel: what the page declares, else what is in the wheel.
async fn metadata(
    context: &Context,
    head: &Parts,
    wanted: &Wanted<'_>,
    wheel: &str,
) -> Result<Response<Body>, Error> {
    let (registry, door) = (&context.registry, context.door);
    let Wanted { package, version, file, .. } = wanted;
    let Known { said, shown } = known(context, wanted, wheel).await?;
    let is_it = |bytes: &Vec<u8>| fits(bytes, said.as_ref());
    if let Some(bytes) = from_held(context, wanted, wheel).await?.filter(is_it) {
        return small(head, bytes);
    }
    let why = match &said {
        None => absent(file),
        Some(_) => match registry.artifact(door, package, version, file).await {
            Ok(artifact) => return send(head, artifact).await,
            Err(why) => Error::from(why),
        },
    };
    if !shown {
        return Err(why);
    }
    registry.artifact(door, package, version, wheel).await?;
    let bytes = from_held(context, wanted, wheel).await?;
    small(head, bytes.filter(is_it).ok_or(why)?)
}

/// What the page says of a wheel's METADATA.
struct Known {
    /// Its checksum, if the page advertises it.
    said: Option<Declared>,
    /// Whether the wheel is one that the page shows now.
    shown: bool,
}

async fn known(context: &Context, wanted: &Wanted<'_>, wheel: &str) -> Result<Known, Error> {
    let document = simple::document(context, wanted.package).await?;
    let Document::Upstream(document) = document else { return Err(absent(wanted.file)) };
    let of = document.outline.versions.iter().find(|of| of.version == wanted.version);
    let find = |file: &str| of.and_then(|of| of.files.iter().find(|found| found.file == file));
    let slot = (wanted.version.clone(), wheel.to_owned());
    let in_reach = document.files.as_ref().is_none_or(|files| files.contains(&slot));
    Ok(Known {
        said: find(wanted.file).map(|found| found.declared.clone()),
        shown: find(wheel).is_some() && in_reach,
    })
}

/// Whether bytes are the METADATA that is declared, if any is.
fn fits(bytes: &[u8], said: Option<&Declared>) -> bool {
    let sum = said.and_then(|said| said.sha256);
    sum.is_none_or(|sum| sum == <[u8; 32]>::from(Sha256::digest(bytes)))
}

/// Out of the wheel that is held.
async fn from_held(
    context: &Context,
    wanted: &Wanted<'_>,
    wheel: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let held = context.registry.held_files(context.door, wanted.package)?;
    let Some(info) = held.get(&(wanted.version.clone(), wheel.to_owned())) else {
        return Ok(None);
    };
    Ok(context.registry.meta_of(FORMAT.id, wheel, &info.digest).await?)
}

/// Bytes that are in memory; a HEAD has their length.
fn small(head: &Parts, bytes: Vec<u8>) -> Result<Response<Body>, Error> {
    let etag = body::etag_of(&bytes);
    let known = joined(&head.headers, header::IF_NONE_MATCH);
    let same = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag));
    let length = HeaderValue::from(bytes.len());
    let empty = head.method == Method::HEAD || same;
    let mut response = Response::new(if empty { Body::empty() } else { Body::from(bytes) });
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if !same {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    let etag = HeaderValue::from_str(&etag).map_err(|_| Error::no_such_path())?;
    headers.insert(header::ETAG, etag);
    Ok(response)
}
