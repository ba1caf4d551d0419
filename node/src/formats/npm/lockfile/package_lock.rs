//! `package-lock.json` and `npm-shrinkwrap.json`, versions 1, 2 and 3.
//!
//! Version 1 has a tree under `dependencies`, where `version` may be a URL; versions 2 and 3 have
//! `packages` by folder, where a dependency on a URL is known only by the specifier of who asks for
//! it. Names and URLs are not judged here.
//!
//! Source: npm's documentation of package-lock.json.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{List, Spec, platform, spec, split_at};
use crate::formats::lockfile::{LockError, line_of};
use crate::registry::{Locked, LockedFrom};

type Specs = BTreeMap<String, serde_json::Value>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    lockfile_version: Option<u64>,
    packages: Option<BTreeMap<String, Entry>>,
    dependencies: Option<BTreeMap<String, Old>>,
}

/// A folder of versions 2 and 3.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<serde_json::Value>,
    integrity: Option<String>,
    link: bool,
    in_bundle: bool,
    optional: bool,
    dev_optional: bool,
    os: Option<serde_json::Value>,
    cpu: Option<serde_json::Value>,
    dependencies: Specs,
    dev_dependencies: Specs,
    optional_dependencies: Specs,
}

/// A package of version 1.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Old {
    version: Option<String>,
    resolved: Option<serde_json::Value>,
    integrity: Option<String>,
    bundled: bool,
    optional: bool,
    dependencies: BTreeMap<String, Self>,
}

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    let head = super::head(text);
    let ours = ["\"packages\":", "\"dependencies\":"].iter().any(|key| text.contains(key));
    head.trim_start().starts_with('{')
        && head.contains("\"lockfileVersion\"")
        && ours
        && !super::bun::is(text)
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let lock: Lock = serde_json::from_str(text).map_err(|error| {
        // The library says the place once more behind its sentence.
        let why = error.to_string();
        let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why).to_owned();
        LockError::at(error.line().max(1), format!("it is no sound package-lock.json: {why}"))
    })?;
    let version = lock.lockfile_version.unwrap_or(1);
    if version > 3 {
        return Err(LockError::whole(format!(
            "its lockfileVersion is {version}; 1, 2 and 3 are known here"
        )));
    }
    let mut list = List::default();
    match (lock.packages, lock.dependencies) {
        (Some(packages), _) => folders(text, &packages, &mut list)?,
        (None, Some(dependencies)) => tree(text, dependencies, &mut list)?,
        // A project without dependencies locks nothing.
        (None, None) => {}
    }
    Ok(list.into_vec())
}

/// Versions 2 and 3.
fn folders(
    text: &str,
    packages: &BTreeMap<String, Entry>,
    list: &mut List,
) -> Result<(), LockError> {
    let urls = urls_asked_for(packages);
    for (folder, entry) in packages {
        let Some((_, name)) = folder.rsplit_once("node_modules/") else { continue };
        if entry.link || entry.in_bundle {
            continue;
        }
        let name = entry.name.as_deref().unwrap_or(name);
        let resolved = entry.resolved.as_ref().and_then(serde_json::Value::as_str);
        let from = resolved.map_or(LockedFrom::Registry, |url| source(url, &urls));
        let version = entry.version.as_deref().or(resolved.filter(|_| !from.is_registry()));
        let version = version.ok_or_else(|| no_version(text, folder))?;
        list.add(Locked {
            name: name.to_owned(),
            version: version.to_owned(),
            url: resolved.map(str::to_owned),
            integrity: entry.integrity.clone(),
            optional: entry.optional || entry.dev_optional,
            systems: platform::systems(entry.os.as_ref(), entry.cpu.as_ref()),
            from,
            ..Locked::default()
        });
    }
    Ok(())
}

/// Every URL that some package asks for instead of a version.
fn urls_asked_for(packages: &BTreeMap<String, Entry>) -> BTreeSet<&str> {
    let specs = packages.values().flat_map(|entry| {
        [&entry.dependencies, &entry.dev_dependencies, &entry.optional_dependencies]
    });
    let texts = specs.flat_map(BTreeMap::values).filter_map(serde_json::Value::as_str);
    texts.filter(|text| spec(text) == Spec::Elsewhere(LockedFrom::Url)).map(plain).collect()
}

fn plain(url: &str) -> &str {
    url.split('#').next().unwrap_or_default()
}

/// What has the bytes, by the URL that was written down.
fn source(resolved: &str, urls: &BTreeSet<&str>) -> LockedFrom {
    match spec(resolved) {
        Spec::Elsewhere(LockedFrom::Url) if !urls.contains(plain(resolved)) => LockedFrom::Registry,
        Spec::Elsewhere(from) => from,
        // Anything else that is no URL is a path.
        _ => LockedFrom::File,
    }
}

/// Version 1. Depth is bounded by the reader of JSON.
fn tree(text: &str, dependencies: BTreeMap<String, Old>, list: &mut List) -> Result<(), LockError> {
    let mut rest: Vec<(String, Old)> = dependencies.into_iter().collect();
    while let Some((name, old)) = rest.pop() {
        rest.extend(old.dependencies);
        if old.bundled {
            continue;
        }
        let written = old.version.ok_or_else(|| no_version(text, &name))?;
        let resolved = old.resolved.as_ref().and_then(serde_json::Value::as_str);
        let (name, version, from) = match spec(&written) {
            Spec::Alias(real, version) => (real.to_owned(), version.to_owned(), None),
            Spec::Own => continue,
            // A folder of the project has no checksum.
            Spec::Elsewhere(LockedFrom::File) if old.integrity.is_none() => continue,
            Spec::Elsewhere(from) => (name, written.clone(), Some(from)),
            Spec::Range(_) => (name, written.clone(), None),
        };
        let url = if from.is_some() { Some(written.as_str()) } else { resolved };
        list.add(Locked {
            name,
            version,
            url: url.map(str::to_owned),
            integrity: old.integrity,
            optional: old.optional,
            from: from.unwrap_or_default(),
            ..Locked::default()
        });
    }
    Ok(())
}

fn no_version(text: &str, key: &str) -> LockError {
    let quoted = format!("\"{key}\"");
    let why = format!("{} has no version", split_at(key).map_or(key, |_| key));
    match memchr::memmem::find(text.as_bytes(), quoted.as_bytes()) {
        Some(offset) => LockError::at(line_of(text, offset), why),
        None => LockError::whole(why),
    }
}
