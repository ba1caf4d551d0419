//! What a statement may hold at most, and in which forms names and text are accepted.
//!
//! Checked both when a statement is made here and when one arrives, so nobody can sign what others
//! refuse. Names have been normalised by their format; here they are only bounded and kept free of
//! what could mislead a reader or a path: control, bidirectional and zero-width characters, empty
//! and dotted path segments.
//!
//! Not a matter of form, and so not here: a counter above [`MAX_COUNTER`] or a root that is not
//! sound are kept and have no effect.
//!
//! Source: trust.md sections 3, 11, 12; index.md section 2.6.

use unicode_normalization::is_nfc;

use super::{Body, File, Grant, Grantee, IdList, MetaBody, Receipt, Release, Root, RouteSource};
use crate::{Error, PackageId};

/// Bytes of one payload.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Bytes of inline meta in one release, over all its files.
pub const MAX_INLINE_META_BYTES: usize = 16 * 1024;
/// Nesting of CBOR maps and arrays.
pub const MAX_DEPTH: usize = 8;
/// Signatures beside one payload.
pub const MAX_SIGNATURES: usize = 16;
/// Root keys of a realm.
pub const MAX_ROOTS: usize = 15;
/// Ids of releases in a statement itself; a longer list is a blob.
pub const MAX_INLINE_IDS: usize = 500;
/// Ids of releases in the blob of a list: 64 MB.
pub const MAX_LISTED_IDS: u64 = 2_000_000;
/// The largest counter within an epoch that has an effect.
pub const MAX_COUNTER: u64 = 1 << 53;
/// Bytes of one envelope: a payload, sixteen keys and signatures, and what frames them.
pub const MAX_ENVELOPE_BYTES: usize = MAX_PAYLOAD_BYTES + 2048;
/// Bytes of a package name, a version, a tag, a pattern or a file name. With the type in front, a
/// document's key stays within 256.
pub const MAX_NAME_BYTES: usize = 240;
/// Bytes of the id of a format, a role, a type or an extractor.
pub const MAX_ID_BYTES: usize = 32;
/// Bytes of a title.
pub const MAX_TITLE_BYTES: usize = 256;
/// Bytes of a reason or a URL.
pub const MAX_TEXT_BYTES: usize = 2048;
/// Bytes of the key of an upstream's document.
pub const MAX_DOCUMENT_BYTES: usize = 512;
/// Bytes of the variant of an upstream's document.
pub const MAX_VARIANT_BYTES: usize = 32;
/// Bytes of a content type.
pub const MAX_CONTENT_TYPE_BYTES: usize = 128;
/// Bytes of an upstream's `ETag` or `Last-Modified`.
pub const MAX_VALIDATOR_BYTES: usize = 256;
/// Bytes of a libp2p peer id.
const MAX_PEER_BYTES: usize = 64;

pub(super) fn body(body: &Body) -> Result<(), Error> {
    match body {
        Body::Root(content) => root(content),
        Body::Release(content) => release(content),
        Body::Withdraw { reason, .. } | Body::Yank { reason, .. } | Body::Unyank { reason, .. } => {
            text("reason", reason, MAX_TEXT_BYTES)
        }
        Body::Tag { tag, .. } => name("tag", tag),
        Body::Route { format, pattern: names, source, .. } => {
            format_or_any(format)?;
            pattern(&names.0)?;
            match source {
                RouteSource::Upstream { format, url, .. } => {
                    id("format", format)?;
                    text("URL", url, MAX_TEXT_BYTES)
                }
                RouteSource::Realm(_) | RouteSource::Deny => Ok(()),
            }
        }
        Body::Revoke { keep, reason, .. } => {
            id_list(keep)?;
            text("reason", reason, MAX_TEXT_BYTES)
        }
        Body::Seal { releases } => id_list(releases),
        Body::Receipt(content) => receipt(content),
        Body::Beat(_) | Body::Unknown => Ok(()),
    }
}

fn id_list(list: &IdList) -> Result<(), Error> {
    match list {
        IdList::Inline(ids) => {
            at_most("number of releases in a list", ids.len(), MAX_INLINE_IDS)?;
            ascending("releases of a list", ids)
        }
        IdList::Blob { count: 0, .. } => Err(malformed("an empty list has no blob")),
        IdList::Blob { count, .. } if *count > MAX_LISTED_IDS => {
            Err(Error::OverLimit { what: "number of releases in a list", limit: MAX_LISTED_IDS })
        }
        IdList::Blob { .. } => Ok(()),
    }
}

fn receipt(receipt: &Receipt) -> Result<(), Error> {
    let subject = &receipt.subject;
    id("format", &subject.format)?;
    if subject.document.is_empty() {
        return Err(malformed("a receipt for no document"));
    }
    text("document", &subject.document, MAX_DOCUMENT_BYTES)?;
    text("variant", &subject.variant, MAX_VARIANT_BYTES)?;
    text("content type", &receipt.content_type, MAX_CONTENT_TYPE_BYTES)?;
    let validators = [("etag", &receipt.etag), ("last-modified", &receipt.last_modified)];
    validators.into_iter().try_for_each(|(what, value)| {
        value.as_ref().map_or(Ok(()), |value| text(what, value, MAX_VALIDATOR_BYTES))
    })
}

pub(super) fn package(package: &PackageId) -> Result<(), Error> {
    id("format", &package.format)?;
    name("package name", &package.name)
}

fn root(root: &Root) -> Result<(), Error> {
    at_most("number of roots", root.roots.len(), MAX_ROOTS)?;
    at_most("number of recovery keys", root.recovery.len(), MAX_ROOTS)?;
    ascending("roots", &root.roots)?;
    ascending("recovery keys", &root.recovery)?;
    ascending("cleared", &root.cleared)?;
    ascending("seals", root.seals.as_deref().unwrap_or_default())?;
    text("title", &root.title, MAX_TITLE_BYTES)?;
    root.grants.iter().try_for_each(grant)
}

fn grant(grant: &Grant) -> Result<(), Error> {
    format_or_any(&grant.format)?;
    pattern(&grant.pattern.0)?;
    id("role", &grant.role)?;
    match &grant.to {
        Grantee::Peer(peer) => at_most("length of a peer id", peer.len(), MAX_PEER_BYTES),
        Grantee::Key(_) | Grantee::Realm(_) => Ok(()),
    }
}

fn release(release: &Release) -> Result<(), Error> {
    name("version", &release.version)?;
    name("version", &release.written)?;
    if release.files.is_empty() {
        return Err(malformed("a release has one file or more"));
    }
    if !release.files.is_sorted_by(|a, b| a.name < b.name) {
        return Err(malformed("file names are not distinct and ascending"));
    }
    release.files.iter().try_for_each(file)?;
    let inline =
        release.files.iter().filter_map(|file| file.meta.as_ref()).map(|meta| match &meta.body {
            MetaBody::Inline(bytes) => bytes.len(),
            MetaBody::Blob(_) => 0,
        });
    at_most("inline meta of a release", inline.sum(), MAX_INLINE_META_BYTES)
}

fn file(file: &File) -> Result<(), Error> {
    name("file name", &file.name)?;
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    if file.name.contains('\\') || !file.name.split('/').all(plain) {
        return Err(Error::BadName(format!("not a plain relative file name: {:.80}", file.name)));
    }
    file.meta.as_ref().map_or(Ok(()), |meta| id("extractor", &meta.extractor))
}

pub(super) fn pattern(text: &str) -> Result<(), Error> {
    name("pattern", text)?;
    match text.find('*') {
        Some(at) if at + 1 != text.len() => {
            Err(Error::BadName(format!("a pattern has `*` only at its end: {text:.80}")))
        }
        _ => Ok(()),
    }
}

fn format_or_any(format: &str) -> Result<(), Error> {
    if format == "*" { Ok(()) } else { id("format", format) }
}

/// An id that the program itself gives: `[a-z0-9-]`, 1 to 32.
pub(super) fn id(what: &'static str, text: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > MAX_ID_BYTES || !text.bytes().all(plain) {
        return Err(Error::BadName(format!("not a {what}: {text:.80}")));
    }
    Ok(())
}

fn name(what: &'static str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.trim() != name {
        return Err(Error::BadName(format!("not a {what}: {name:?}")));
    }
    text(what, name, MAX_NAME_BYTES)
}

fn text(what: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    at_most(what, text.len(), limit)?;
    if text.chars().any(misleads) {
        return Err(Error::BadName(format!("a {what} has control or invisible characters")));
    }
    if !is_nfc(text) {
        return Err(Error::BadName(format!("a {what} is not in normal form (NFC)")));
    }
    Ok(())
}

/// Control, bidirectional and zero-width characters: they show another text than the one compared.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn ascending<T: Ord>(what: &'static str, list: &[T]) -> Result<(), Error> {
    if list.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(malformed(&format!("{what} are not distinct and ascending")))
    }
}

pub(super) fn at_most(what: &'static str, value: usize, limit: usize) -> Result<(), Error> {
    if value <= limit { Ok(()) } else { Err(Error::OverLimit { what, limit: limit as u64 }) }
}

pub(super) fn malformed(why: &str) -> Error {
    Error::Malformed { what: "statement", why: why.to_owned() }
}
