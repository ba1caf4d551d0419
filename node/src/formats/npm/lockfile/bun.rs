//! `bun.lock`: JSON with comments and trailing commas.
//!
//! Each value of `packages` is a list: `name@version`, then for a registry's package the URL of the
//! tarball (empty for the default registry), an object, and the integrity; what comes from
//! elsewhere has no URL. The older `bun.lockb` is binary and is not read.
//!
//! Source: bun's documentation of bun.lock, and files that it wrote.

use jsonc_parser::{JsonArray, JsonObject, JsonValue, ParseOptions, parse_to_value};

use super::{List, Spec, platform, spec, split_at};
use crate::formats::lockfile::{LockError, line_of};
use crate::registry::{Locked, LockedFrom};

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    let head = super::head(text);
    head.trim_start().starts_with('{')
        && head.contains("\"lockfileVersion\"")
        && head.contains("\"workspaces\": {")
        && !head.contains("\"requires\":")
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        ..ParseOptions::default()
    };
    let value = parse_to_value(text, &options).map_err(|error| {
        LockError::at(error.line_display(), format!("it is no sound bun.lock: {}", error.kind()))
    })?;
    let Some(JsonValue::Object(mut lock)) = value else {
        return Err(LockError::whole("it is no bun.lock: not an object"));
    };
    match lock.get_number("lockfileVersion") {
        Some("0" | "1" | "2") => {}
        version => {
            let version = version.unwrap_or("absent");
            let why = format!("its lockfileVersion is {version}; 0, 1 and 2 are known here");
            return Err(LockError::whole(why));
        }
    }
    let mut list = List::default();
    let Some(packages) = lock.take_object("packages") else { return Ok(Vec::new()) };
    for (key, value) in packages.take_inner() {
        let bad = |why: &str| at_key(text, &key, why);
        let JsonValue::Array(entry) = value else { return Err(bad("it is no list")) };
        if let Some(locked) = package(&entry).map_err(bad)? {
            list.add(locked);
        }
    }
    Ok(list.into_vec())
}

fn string<'a>(entry: &'a JsonArray<'_>, index: usize) -> Option<&'a str> {
    match entry.get(index)? {
        JsonValue::String(text) => Some(text),
        _ => None,
    }
}

/// One entry; none for the project's own folders and for what lies in another's tarball.
fn package(entry: &JsonArray<'_>) -> Result<Option<Locked>, &'static str> {
    let locator = string(entry, 0).ok_or("it does not begin with name@version")?;
    let (name, reference) = split_at(locator).ok_or("it does not begin with name@version")?;
    let details = entry.iter().find_map(|part| match part {
        JsonValue::Object(details) => Some(details),
        _ => None,
    });
    if details.and_then(|details| details.get_boolean("bundled")).unwrap_or(false) {
        return Ok(None);
    }
    let registry_url = string(entry, 1);
    let integrity = (1..entry.len()).filter_map(|index| string(entry, index));
    let integrity = integrity.filter(|text| text.starts_with("sha")).find(|t| t.contains('-'));
    let (name, version, from) = match spec(reference) {
        Spec::Alias(real, version) => (real, version, LockedFrom::Registry),
        Spec::Range(version) if registry_url.is_some() => (name, version, LockedFrom::Registry),
        // Without a place for a URL it is a path; one without a checksum is a folder.
        Spec::Range(_) | Spec::Elsewhere(LockedFrom::File) if integrity.is_none() => {
            return Ok(None);
        }
        Spec::Range(_) => (name, reference, LockedFrom::File),
        Spec::Elsewhere(from) => (name, reference, from),
        Spec::Own => return Ok(None),
    };
    let url = if from.is_registry() {
        registry_url.filter(|url| !url.is_empty())
    } else {
        Some(reference)
    };
    Ok(Some(Locked {
        name: name.to_owned(),
        version: version.to_owned(),
        url: url.map(str::to_owned),
        integrity: integrity.map(str::to_owned),
        // bun does not write down what is optional; what is for one platform says so.
        optional: details.is_some_and(|one| one.get("os").is_some() || one.get("cpu").is_some()),
        systems: platform::systems(said(details, "os").as_ref(), said(details, "cpu").as_ref()),
        from,
        ..Locked::default()
    }))
}

/// A text or a list of texts.
fn said(details: Option<&JsonObject<'_>>, key: &str) -> Option<serde_json::Value> {
    match details?.get(key)? {
        JsonValue::String(one) => Some(one.as_ref().into()),
        JsonValue::Array(all) => (0..all.len())
            .map(|index| string(all, index))
            .collect::<Option<Vec<_>>>()
            .map(Into::into),
        _ => None,
    }
}

fn at_key(text: &str, key: &str, why: &str) -> LockError {
    let quoted = format!("\"{key}\":");
    let why = format!("{key}: {why}");
    match memchr::memmem::find(text.as_bytes(), quoted.as_bytes()) {
        Some(offset) => LockError::at(line_of(text, offset), why),
        None => LockError::whole(why),
    }
}
