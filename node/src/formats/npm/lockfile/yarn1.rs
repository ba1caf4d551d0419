//! `yarn.lock` as yarn 1 writes it: almost YAML, so it is read line by line.
//!
//! An entry begins at the margin with its descriptors (`name@range`, some in quotes, apart by
//! commas) and a colon; its fields are indented by two, deeper lines are its dependencies. yarn 1
//! fetches `resolved` verbatim, so the URL is part of what is locked.
//!
//! Source: yarn 1's documentation of yarn.lock, and files that it wrote.

use super::{List, Spec, fragment_integrity, spec, split_at, without_fragment};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// An entry while it is read.
#[derive(Debug)]
struct Entry {
    line: usize,
    descriptors: Vec<String>,
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
}

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    text.lines().take(10).any(|line| line.starts_with("# yarn lockfile v1"))
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let mut list = List::default();
    let mut entry: Option<Entry> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
            return Err(LockError::at(number, "a merge conflict that nobody has settled"));
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        match (indent, entry.as_mut()) {
            (0, _) => {
                finish(entry.take(), &mut list)?;
                entry = Some(begin(line, number)?);
            }
            (2, Some(entry)) => field(entry, line.trim(), number)?,
            (_, None) => return Err(LockError::at(number, "a field before any package")),
            // Dependencies: each has an entry of its own.
            (4, Some(_)) => {}
            _ => return Err(LockError::at(number, format!("indented by {indent}"))),
        }
    }
    finish(entry, &mut list)?;
    Ok(list.into_vec())
}

fn begin(line: &str, number: usize) -> Result<Entry, LockError> {
    let bad = || LockError::at(number, "a package whose line is not `name@range:`");
    let keys = line.trim_end().strip_suffix(':').ok_or_else(bad)?;
    let mut descriptors = Vec::new();
    for key in keys.split(", ") {
        descriptors.push(unquoted(key).ok_or_else(bad)?);
    }
    if descriptors.iter().any(|descriptor| split_at(descriptor).is_none()) {
        return Err(bad());
    }
    Ok(Entry { line: number, descriptors, version: None, resolved: None, integrity: None })
}

fn field(entry: &mut Entry, line: &str, number: usize) -> Result<(), LockError> {
    // `dependencies:` and its like.
    if line.ends_with(':') {
        return Ok(());
    }
    let bad = || LockError::at(number, "a field that is not `name value`");
    let (key, value) = line.split_once(' ').ok_or_else(bad)?;
    let value = Some(unquoted(value).ok_or_else(bad)?);
    match key {
        "version" => entry.version = value,
        "resolved" => entry.resolved = value,
        "integrity" => entry.integrity = value,
        // `uid`, `registry`, `fetchSpec`: of no use here.
        _ => {}
    }
    Ok(())
}

/// A value without its quotes, which are those of JSON.
fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('"') { serde_json::from_str(text).ok() } else { Some(text.to_owned()) }
}

fn finish(entry: Option<Entry>, list: &mut List) -> Result<(), LockError> {
    let Some(Entry { line, descriptors, version, resolved, integrity }) = entry else {
        return Ok(());
    };
    let Some((name, range)) = descriptors.first().and_then(|first| split_at(first)) else {
        return Ok(());
    };
    let (name, from) = match spec(range) {
        Spec::Alias(real, _) => (real, LockedFrom::Registry),
        Spec::Range(_) => (name, LockedFrom::Registry),
        Spec::Elsewhere(from) => (name, from),
        Spec::Own => return Ok(()),
    };
    // A folder has a version and nothing to fetch.
    if from == LockedFrom::File && resolved.is_none() {
        return Ok(());
    }
    let version = version.ok_or_else(|| LockError::at(line, format!("{name} has no version")))?;
    let integrity = integrity.or_else(|| resolved.as_deref().and_then(fragment_integrity));
    list.add(Locked {
        name: name.to_owned(),
        version,
        url: match from {
            LockedFrom::Registry => resolved.as_deref().map(without_fragment),
            _ => resolved,
        },
        integrity,
        optional: false,
        from,
        ..Locked::default()
    });
    Ok(())
}
