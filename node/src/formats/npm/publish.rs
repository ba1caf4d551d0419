//! PUT of a package: four meanings, told apart by what the body holds.
//!
//! | the body holds | meaning |
//! |---|---|
//! | `_attachments` | publish: the tarball goes into the store while it arrives |
//! | `versions`, no attachments | deprecate or un-deprecate: compared with what stands |
//! | the same, under `-rev/` | unpublish what is left out |
//! | `users` or `maintainers` alone | stars and owners: refused, they do not exist here |
//!
//! Everything that the body claims about its tarball is compared with the bytes: integrity, shasum,
//! length, name and version. The tarball's URL and the attachment's key are made anew, since
//! clients write both wrongly for scopes.
//!
//! Source: formats/npm.md section 4.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::digest::to_hex;
use crdt::{Checksums, PackageId};
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::Value;

use super::attachment::{self, DOCUMENT_MAX_BYTES, Event, Scanner};
use super::{attestation, metadata, name, version};
use crate::formats::Context;
use crate::http::error::Error;
use crate::http::upload;
use crate::registry::{BlobWriter, Metadata, Publication, Published, Registry, Scope, Staged};

/// The longest body: the largest artifact in base64, and the document.
const BODY_MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024 / 3 * 4 + DOCUMENT_MAX_BYTES as u64;

/// What matters of the document; the rest is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    name: Option<String>,
    #[serde(rename = "dist-tags")]
    tags: BTreeMap<String, String>,
    versions: BTreeMap<String, Version>,
    #[serde(rename = "_attachments")]
    attachments: BTreeMap<String, Attachment>,
    users: Option<Value>,
    maintainers: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    name: Option<String>,
    version: Option<String>,
    deprecated: Option<Value>,
    dist: Dist,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dist {
    integrity: Option<String>,
    shasum: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attachment {
    length: Option<u64>,
    /// Of what is no tarball; a tarball's was taken out on the way.
    data: Option<String>,
}

/// What an attachment with a bundle of attestations is called.
const BUNDLE: &str = ".sigstore";

/// A body that was read to its end.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) document: Document,
    /// The one tarball, by its attachment's key.
    tarball: Option<(String, Staged)>,
}

/// What can be refused before the body is read.
pub(super) async fn may_put(context: &Context, package: &PackageId) -> Result<(), Error> {
    // Who may yank and not publish may still deprecate; a tarball of theirs is refused below.
    if context.who.may(Scope::Yank) && !context.who.may(Scope::Publish) {
        return Ok(());
    }
    context.registry.check_publish(&context.who, &package.format, &package.name, None).await?;
    Ok(())
}

/// Reads a body; its tarball is staged while it arrives.
pub(super) async fn read(
    registry: &Registry,
    headers: &HeaderMap,
    body: Body,
) -> Result<Upload, Error> {
    let mut chunks = upload::Chunks::new(headers, body)?;
    let inflate = upload::Inflate::new(headers, BODY_MAX_BYTES)?;
    let announced = chunks.announced();
    if announced.is_some_and(|bytes| bytes > BODY_MAX_BYTES) {
        chunks.refuse(headers).await;
        return Err(Error::too_large(BODY_MAX_BYTES));
    }
    // Base64 of all of it, at most; what is not used is given back.
    let room = announced.filter(|_| inflate.is_plain()).map(|bytes| bytes / 4 * 3);
    let mut files = Files { registry, room, open: None, done: None };
    let document = match scan(&mut chunks, inflate, &mut files).await {
        Ok(document) => document,
        Err(error) => {
            chunks.drain().await;
            return Err(error);
        }
    };
    let document = serde_json::from_slice(&document)
        .map_err(|error| Error::invalid(format!("the body cannot be read: {error}")))?;
    Ok(Upload { document, tarball: files.done })
}

/// Takes a body to pieces while it arrives; gives the document.
async fn scan(
    chunks: &mut upload::Chunks,
    mut inflate: upload::Inflate,
    files: &mut Files<'_>,
) -> Result<Vec<u8>, Error> {
    let mut scanner = Scanner::new();
    let mut events = Vec::new();
    while let Some(bytes) = chunks.next().await? {
        for piece in inflate.pieces(&bytes) {
            let plain = inflate.push(piece)?;
            scanner.push(&plain, &mut events).map_err(unreadable)?;
            for event in events.drain(..) {
                files.take(event).await?;
            }
        }
    }
    scanner.push(&inflate.finish()?, &mut events).map_err(unreadable)?;
    for event in events {
        files.take(event).await?;
    }
    scanner.finish().map_err(unreadable)
}

/// The tarballs of one body: one, or the body is refused.
struct Files<'r> {
    registry: &'r Registry,
    /// Bytes that the tarball has at most, where that is known.
    room: Option<u64>,
    open: Option<(String, BlobWriter)>,
    done: Option<(String, Staged)>,
}

impl Files<'_> {
    async fn take(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Begin(key) => {
                if self.done.is_some() {
                    return Err(Error::invalid("the body holds several tarballs"));
                }
                let mut writer = self.registry.stage(super::FORMAT.id).await?;
                if let Some(room) = self.room {
                    upload::expect(&mut writer, room).await?;
                }
                self.open = Some((key, writer));
            }
            Event::Data(bytes) => {
                if let Some((_, writer)) = &mut self.open {
                    upload::write(writer, bytes).await?;
                }
            }
            Event::End => {
                if let Some((key, writer)) = self.open.take() {
                    self.done = Some((key, upload::finish(writer).await?));
                }
            }
        }
        Ok(())
    }
}

fn unreadable(error: attachment::Error) -> Error {
    match error {
        attachment::Error::TooLarge => Error::too_large(DOCUMENT_MAX_BYTES as u64),
        other => Error::invalid(other.to_string()),
    }
}

/// Does what the body means. `rev`: the request came to a `-rev` path.
pub(super) async fn apply(
    context: &Context,
    package: &PackageId,
    upload: Upload,
    rev: bool,
) -> Result<StatusCode, Error> {
    let Upload { document, tarball } = upload;
    if let Some(name) = &document.name
        && *name != package.name
    {
        let message = format!("the body is about {name:?}, the path about {:?}", package.name);
        return Err(Error::invalid(message));
    }
    if let Some(tarball) = tarball {
        publish(context, package, document, tarball).await?;
        return Ok(StatusCode::CREATED);
    }
    if !document.attachments.is_empty() {
        return Err(Error::invalid("no attachment of the body is a .tgz"));
    }
    if document.versions.is_empty() {
        return Err(without_versions(&document));
    }
    let metadata = context.registry.metadata(context.door, package).await?;
    if rev {
        unpublish(context, package, &metadata, &document).await?;
    } else {
        deprecate(context, package, &metadata, &document).await?;
    }
    Ok(StatusCode::OK)
}

fn without_versions(document: &Document) -> Error {
    if document.users.is_some() {
        return Error::invalid("stars are not kept here");
    }
    if document.maintainers.is_some() {
        return Error::invalid("a package has no owners here: a realm grants keys")
            .with_hint("griot realm grant --role publish FORMAT:PATTERN KEY");
    }
    Error::invalid("the body holds neither a tarball nor versions")
}

async fn publish(
    context: &Context,
    package: &PackageId,
    document: Document,
    (key, staged): (String, Staged),
) -> Result<Published, Error> {
    let (written, said) = the_version(package, &document, &key)?;
    let normal = version::canonical(&written).map_err(Error::invalid)?;
    let length = document.attachments.get(&key).and_then(|attachment| attachment.length);
    check_claims(said, length, &staged)?;
    let tags = document.tags.iter();
    let tags = tags.filter(|(_, target)| **target == written).map(|(tag, _)| tag.clone());
    let bundle = bundle(&document)?;
    let publication = Publication {
        format: super::FORMAT.id,
        name: package.name.clone(),
        version: written.clone(),
        files: vec![(name::file_name(&package.name, &normal), staged)],
        tags: tags.collect(),
        realm: None,
        claimed_time: None,
    };
    let published = context.registry.publish(&context.who, publication).await?;
    if published.new {
        if let Some(bundle) = bundle {
            attestation::keep(&context.registry, package, &normal, &bundle).await?;
        }
        return Ok(published);
    }
    // npm calls it a failure whether or not the bytes are the same.
    let message = format!("{}@{written} exists already, with these same bytes", package.name);
    Err(Error::new(StatusCode::CONFLICT, message))
}

/// The provenance that came with the tarball: JSON as text, or that in base64.
fn bundle(document: &Document) -> Result<Option<Value>, Error> {
    let found = document.attachments.iter().find(|(key, _)| key.ends_with(BUNDLE));
    let Some(text) = found.and_then(|(_, attachment)| attachment.data.as_ref()) else {
        return Ok(None);
    };
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Map<String, Value>>(bytes).ok();
    let decoded = || STANDARD.decode(text).ok().and_then(|bytes| read(&bytes));
    let bundle = read(text.as_bytes()).or_else(decoded);
    bundle.map(|bundle| Some(Value::Object(bundle))).ok_or_else(|| {
        Error::invalid("the attestation that came with the tarball is not a bundle in JSON")
    })
}

/// The version that the tarball is for.
fn the_version<'d>(
    package: &PackageId,
    document: &'d Document,
    key: &str,
) -> Result<(String, &'d Version), Error> {
    let only = document.versions.len() == 1;
    let wanted = |version: &str| only || name::version_in(&package.name, key) == Some(version);
    let found = document.versions.iter().find(|(version, _)| wanted(version));
    let Some((written, said)) = found else {
        return Err(Error::invalid(format!("no version of the body has the tarball {key:?}")));
    };
    let other = |said: &Option<String>, is: &str| said.as_ref().is_some_and(|said| said != is);
    if other(&said.name, &package.name) || other(&said.version, written) {
        let message = format!("the manifest of {written} in the body says something else");
        return Err(Error::invalid(message));
    }
    Ok((written.clone(), said))
}

/// Compares what the body says about the bytes with the bytes.
fn check_claims(said: &Version, length: Option<u64>, staged: &Staged) -> Result<(), Error> {
    let info = staged.info();
    if let Some(length) = length.filter(|length| *length != info.size) {
        let message = format!("the tarball has {} bytes, the body says {length}", info.size);
        return Err(Error::invalid(message));
    }
    if let Some(integrity) = &said.dist.integrity
        && !integrity_holds(integrity, &info.checksums)
    {
        return Err(Error::invalid("the tarball does not have the integrity that the body says"));
    }
    let sha1 = info.checksums.sha1.as_ref().map(|sha1| to_hex(sha1));
    if let (Some(said), Some(sha1)) = (&said.dist.shasum, sha1)
        && !said.eq_ignore_ascii_case(&sha1)
    {
        return Err(Error::invalid("the tarball does not have the shasum that the body says"));
    }
    Ok(())
}

/// Every hash of an algorithm that was computed must fit; options after `?` mean nothing.
pub(super) fn integrity_holds(integrity: &str, checksums: &Checksums) -> bool {
    integrity.split_whitespace().all(|item| {
        let Some((algorithm, digest)) = item.split_once('-') else { return false };
        let ours: &[u8] = match (algorithm, &checksums.sha512, &checksums.sha1) {
            ("sha512", Some(sha512), _) => sha512,
            ("sha1", _, Some(sha1)) => sha1,
            ("sha256", ..) => &checksums.sha256,
            _ => return true,
        };
        let digest = digest.split('?').next().unwrap_or_default();
        STANDARD.decode(digest).is_ok_and(|theirs| theirs == ours)
    })
}

/// Yanks and unyanks until each version's `deprecated` is what the body says.
async fn deprecate(
    context: &Context,
    package: &PackageId,
    metadata: &Metadata,
    document: &Document,
) -> Result<(), Error> {
    let mut changes = Vec::new();
    for (written, said) in &document.versions {
        let Ok(version) = version::canonical(written) else { continue };
        let Some(view) = metadata.view.versions.get(&version) else { continue };
        let wanted = match &said.deprecated {
            Some(Value::String(reason)) if !reason.is_empty() => Some(reason.as_str()),
            Some(Value::Bool(true)) => Some("deprecated"),
            _ => None,
        };
        if wanted == metadata::deprecated(view) {
            continue;
        }
        changes.push((version, wanted));
    }
    // At once, as they share a commit then.
    let yanks = changes
        .iter()
        .map(|(version, wanted)| context.registry.yank(&context.who, package, version, *wanted));
    try_join_all(yanks).await?;
    Ok(())
}

/// Withdraws the versions that were shown and that the body leaves out.
async fn unpublish(
    context: &Context,
    package: &PackageId,
    metadata: &Metadata,
    document: &Document,
) -> Result<(), Error> {
    let kept: Vec<String> =
        document.versions.keys().filter_map(|version| version::canonical(version).ok()).collect();
    let gone = metadata.offered.iter().filter(|version| !kept.contains(version));
    withdraw_all(context, package, gone).await
}

/// Takes this node's signature back from versions; at once, as they share a commit then.
pub(super) async fn withdraw_all<'v>(
    context: &Context,
    package: &PackageId,
    versions: impl Iterator<Item = &'v String>,
) -> Result<(), Error> {
    let withdraw = |version: &'v String| {
        context.registry.withdraw(&context.who, package, (version, None), "unpublished")
    };
    try_join_all(versions.map(withdraw)).await?;
    Ok(())
}
