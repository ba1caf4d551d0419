//! `pnpm-lock.yaml`, versions 6 and 9.
//!
//! The keys of `packages` say name and version; version 6 begins them with a slash and adds the
//! peers, version 9 keeps the peers and `optional` in `snapshots`. URLs follow from the name,
//! except where `resolution.tarball` has one. A file may hold two documents.
//!
//! Source: pnpm's documentation of the lockfile.

use std::collections::BTreeMap;

use super::yaml::{self, Node, Pair};
use super::{List, Spec, spec, split_at};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    text.lines().take(50).any(|line| line.starts_with("lockfileVersion:"))
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let mut list = List::default();
    let documents = yaml::documents(text)?;
    if documents.iter().all(|document| document.get("lockfileVersion").is_none()) {
        return Err(LockError::whole("it is no pnpm-lock.yaml: there is no lockfileVersion"));
    }
    for document in &documents {
        let version = document.text("lockfileVersion").unwrap_or_default();
        let major = version.split('.').next().unwrap_or_default();
        if !matches!(major, "6" | "9") {
            return Err(LockError::whole(format!(
                "its lockfileVersion is {version:?}; 6 and 9 are known here (pnpm 8 and later)"
            )));
        }
        read(document, &mut list)?;
    }
    Ok(list.into_vec())
}

fn read(document: &Node, list: &mut List) -> Result<(), LockError> {
    let needed = needed(document);
    for pair in document.get("packages").map_or(&[][..], Node::pairs) {
        let optional = needed.get(without_peers(&pair.key)).is_some_and(|needed| !needed)
            || pair.value.is_true("optional");
        if let Some(locked) = package(pair, optional)? {
            list.add(locked);
        }
    }
    Ok(())
}

/// Version 9: key without peers → whether some snapshot of it is not optional.
fn needed(document: &Node) -> BTreeMap<&str, bool> {
    let mut needed = BTreeMap::new();
    for pair in document.get("snapshots").map_or(&[][..], Node::pairs) {
        let key = needed.entry(without_peers(&pair.key)).or_insert(false);
        *key |= !pair.value.is_true("optional");
    }
    needed
}

/// `name@1.0.0(react@18.2.0)` without what is in brackets.
fn without_peers(key: &str) -> &str {
    key.split('(').next().unwrap_or_default()
}

/// One entry; none for a folder of the project.
fn package(pair: &Pair, optional: bool) -> Result<Option<Locked>, LockError> {
    let bad = |why: &str| LockError::at(pair.line, format!("{}: {why}", pair.key));
    let entry = &pair.value;
    let resolution = entry.get("resolution").ok_or_else(|| bad("it has no resolution"))?;
    let key = without_peers(&pair.key);
    let key = key.strip_prefix('/').unwrap_or(key);
    let tarball = resolution.text("tarball");
    let from = match resolution.text("type") {
        Some("git") => LockedFrom::Git,
        Some("directory") => return Ok(None),
        Some(other) => return Err(bad(&format!("a resolution of type {other} is not known here"))),
        None => elsewhere(key, tarball),
    };
    // Where the key is no name and version, the entry says them.
    let split = split_at(key).filter(|_| from.is_registry());
    let name = entry.text("name").or(split.or_else(|| split_at(key)).map(|(name, _)| name));
    let version = entry.text("version").or(split.map(|(_, version)| version));
    let repository = resolution
        .text("repo")
        .map(|repo| format!("{repo}#{}", resolution.text("commit").unwrap_or_default()));
    if from.is_registry() && (name.is_none() || version.is_none_or(str::is_empty)) {
        return Err(bad("it is no name and version"));
    }
    Ok(Some(Locked {
        name: name.unwrap_or(key).to_owned(),
        version: version.unwrap_or_default().to_owned(),
        url: tarball.map(str::to_owned).or(repository),
        integrity: resolution.text("integrity").map(str::to_owned),
        optional,
        from,
        ..Locked::default()
    }))
}

/// What has the bytes, by the key: only a registry's package is a name with a version.
fn elsewhere(key: &str, tarball: Option<&str>) -> LockedFrom {
    let by_url = |url: &str| match spec(url) {
        Spec::Elsewhere(from) => from,
        _ => LockedFrom::Url,
    };
    let Some((name, rest)) = split_at(key) else {
        // `file:…` and the `host/user/repository/commit` of version 6.
        return match spec(key) {
            Spec::Elsewhere(LockedFrom::File) => LockedFrom::File,
            _ => tarball.map_or(LockedFrom::Git, by_url),
        };
    };
    match spec(rest) {
        Spec::Elsewhere(from) => from,
        // Version 6 writes a URL as `@host/path`: a scope has no dot and no second slash.
        _ if name.matches('/').count() > 1 => tarball.map_or(LockedFrom::Git, by_url),
        _ => LockedFrom::Registry,
    }
}
