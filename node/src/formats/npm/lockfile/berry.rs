//! `yarn.lock` as yarn 2 and later write it: YAML with `__metadata`.
//!
//! `resolution` is a locator, `name@protocol:reference`. `checksum` is that of the zip archive
//! which berry makes itself, so it says nothing of the registry's file and there is no integrity
//! here. A `patch:` wraps another locator; workspaces and links are the project's own.
//!
//! Source: yarn's documentation of its lockfile and protocols.

use super::yaml::{self, Pair};
use super::{List, Spec, spec, split_at};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// Patches of patches that are followed.
const WRAPS_MAX: usize = 8;

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    text.lines().take(50).any(|line| line.starts_with("__metadata:"))
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let documents = yaml::documents(text)?;
    let [document] = documents.as_slice() else {
        return Err(LockError::whole("it is no yarn.lock: not one document"));
    };
    if document.get("__metadata").is_none() {
        return Err(LockError::whole("it is no yarn.lock of yarn 2 or later: no __metadata"));
    }
    let mut list = List::default();
    for pair in document.pairs().iter().filter(|pair| pair.key != "__metadata") {
        let resolution = pair.value.text("resolution");
        let resolution = resolution.ok_or_else(|| bad(pair, "it has no resolution"))?;
        let optional = pair.value.text("conditions").is_some();
        if let Some(locked) = locator(pair, resolution, optional)? {
            list.add(locked);
        }
    }
    Ok(list.into_vec())
}

fn bad(pair: &Pair, why: &str) -> LockError {
    LockError::at(pair.line, format!("{}: {why}", pair.key))
}

/// What a locator says; none for the project's own folders.
fn locator(pair: &Pair, text: &str, optional: bool) -> Result<Option<Locked>, LockError> {
    let mut text = text.to_owned();
    for _ in 0..WRAPS_MAX {
        let split = split_at(&text).map(|(name, rest)| (name.to_owned(), rest.to_owned()));
        let (name, reference) = split.ok_or_else(|| bad(pair, "its resolution is no locator"))?;
        let Some(wrapped) = reference.strip_prefix("patch:") else {
            return plain(pair, &name, &reference, optional);
        };
        // `patch:name@npm%3A1.0.0#file::params`
        text = decoded(wrapped.split('#').next().unwrap_or_default());
    }
    Err(bad(pair, "patches of patches of patches"))
}

fn plain(
    pair: &Pair,
    name: &str,
    reference: &str,
    optional: bool,
) -> Result<Option<Locked>, LockError> {
    let (reference, parameters) = reference.split_once("::").unwrap_or((reference, ""));
    let (name, version, from) = match spec(reference) {
        Spec::Range(version) => (name, version, LockedFrom::Registry),
        Spec::Alias(real, version) => (real, version, LockedFrom::Registry),
        Spec::Elsewhere(from) => (name, reference, from),
        Spec::Own => return Ok(None),
    };
    let stated = pair.value.text("version").filter(|_| !from.is_registry());
    let version = stated.unwrap_or(version);
    if version.is_empty() {
        return Err(bad(pair, "its resolution has no version"));
    }
    let archive = parameters.split('&').find_map(|one| one.strip_prefix("__archiveUrl="));
    let url = archive.map(decoded).or((!from.is_registry()).then(|| reference.to_owned()));
    Ok(Some(Locked {
        name: name.to_owned(),
        version: version.to_owned(),
        url,
        integrity: None,
        optional,
        from,
        ..Locked::default()
    }))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
