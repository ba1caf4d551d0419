//! A realm's view of a project → what clients read: pure, the same bytes for the same view.
//!
//! What is listed is what can be had: files that are held here or by a connected peer. What a page
//! says of a file comes out of its own metadata and its signed checksums. A yank is of a version,
//! so each of its files shows it.
//!
//! Source: formats/pypi.md section 3.

use crdt::Content;
use crdt::digest::to_hex;
use sha2::{Digest as _, Sha256};

use super::metadata::Head;
use super::page::{CoreMetadata, Page, PageFile};
use super::{dist, provenance};
use crate::formats::url_segment;
use crate::registry::Metadata;

/// The page; `url` is that of the door, without a slash at its end, `attested` are the files with
/// attestations here.
pub(super) fn page<'m>(metadata: &'m Metadata, url: &str, attested: &[String]) -> Page<'m> {
    let name = &metadata.view.package.name;
    let files = metadata.offered.iter().flat_map(|version| files(metadata, version));
    let files = files.map(|(file, content, meta)| {
        let mut shown = listed(metadata, (file, content, meta));
        if attested.contains(&provenance::row(&to_hex(&content.checksums.sha256), file)) {
            let path = path(name, &content.checksums.sha256, file);
            shown.provenance = Some(format!("{url}/{path}.provenance").into());
        }
        shown
    });
    Page {
        name: name.into(),
        files: files.collect(),
        versions: metadata.offered.iter().map(Into::into).collect(),
        status: None,
    }
}

/// The files of a version that can be had: name, content, meta.
fn files<'m>(
    metadata: &'m Metadata,
    version: &'m str,
) -> impl Iterator<Item = (&'m String, &'m Content, &'m [u8])> {
    let of = metadata.view.versions.get(version).into_iter().flat_map(|found| &found.files);
    of.filter_map(move |(file, slot)| {
        let content = slot.serves.as_ref().filter(|content| metadata.is_in_reach(content))?;
        // What is named otherwise could not be asked for.
        let named = dist::parse(&metadata.view.package.name, file)?;
        let meta = metadata.meta(version, file)?;
        (named.version == version).then_some((file, content, meta))
    })
}

fn listed<'m>(
    metadata: &'m Metadata,
    (file, content, meta): (&'m String, &Content, &'m [u8]),
) -> PageFile<'m> {
    let name = &metadata.view.package.name;
    let named = dist::parse(name, file);
    let view = named.as_ref().and_then(|named| metadata.view.versions.get(&named.version));
    // An sdist may say one thing and build another.
    let is_wheel = named.is_some_and(|named| named.kind == dist::Kind::Wheel);
    let core_metadata = if is_wheel {
        CoreMetadata::Sha256(to_hex(&Sha256::digest(meta)))
    } else {
        CoreMetadata::No
    };
    PageFile {
        filename: file.into(),
        url: format!("../../{}", path(name, &content.checksums.sha256, file)).into(),
        sha256: Some(to_hex(&content.checksums.sha256)),
        size: Some(content.size),
        upload_time: view.map(|view| timestamp(view.claimed_time).into()),
        requires_python: requires_python(meta).map(Into::into),
        yanked: view.and_then(|view| view.yanked.as_deref()).map(Into::into),
        core_metadata,
        ..PageFile::default()
    }
}

/// Where a file lies below a door.
fn path(name: &str, sha256: &[u8; 32], file: &str) -> String {
    format!("files/{name}/{}/{}", to_hex(sha256), url_segment(file))
}

fn requires_python(meta: &[u8]) -> Option<&str> {
    Head::of(meta).ok()?.first("Requires-Python")
}

/// As PEP 700 has it; a claimed time beyond its years is shown as the epoch.
fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()
}
