//! What a package may be called, and how names lie in paths.
//!
//! Two rules. Of an upstream, every name that a package there may have: old ones hold capitals and
//! signs such as `~`, and keep them, since `JSONStream` and `jsonstream` are two packages. For what
//! is published here, the rules for new packages: lower case, and nothing that a client's disk or
//! JavaScript would take for something else.
//!
//! Source: validate-npm-package-name's documentation; formats/npm.md sections 2 and 8.

use crate::formats::text;

const NAME_MAX_BYTES: usize = 214;
/// No package at all.
const REFUSED: [&str; 3] = ["node_modules", "favicon.ico", "-"];
/// Words of JavaScript: there are such packages, but no new ones.
const REFUSED_NEW: [&str; 2] = ["constructor", "prototype"];
/// What an unscoped old name may hold beside letters and digits.
const OLD_SIGNS: &str = "-._~!'()";

/// Normal form of a name, or why it is not one.
pub(super) fn canonical(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(format!("an npm name has 1 to {NAME_MAX_BYTES} bytes"));
    }
    match name.strip_prefix('@') {
        None => check(name, name, &|c| c.is_ascii_alphanumeric() || OLD_SIGNS.contains(c))?,
        Some(scoped) => {
            let (scope, base) = scoped
                .split_once('/')
                .ok_or_else(|| format!("{name:?} has a scope but no name after it"))?;
            check(scope, name, &is_new)?;
            check(base, name, &is_new)?;
        }
    }
    Ok(name.to_owned())
}

/// Why a package of this normal name may not be published, if so.
pub(super) fn publishable(name: &str) -> Result<(), String> {
    let bare = name.trim_start_matches('@');
    for part in bare.split('/') {
        check(part, name, &is_new)?;
        if REFUSED_NEW.contains(&part) || text::is_device(part) {
            return Err(format!("{name:?} is no name for a package: {part} means something else"));
        }
    }
    Ok(())
}

fn is_new(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c)
}

fn check(part: &str, name: &str, allowed: &dyn Fn(char) -> bool) -> Result<(), String> {
    if part.is_empty() || !part.chars().all(allowed) {
        return Err(format!(
            "{name:?} is not an npm name: lower-case letters, digits, - . _ alone"
        ));
    }
    // Such as `~hosted`, the door of this node.
    if part.starts_with(['.', '_', '~']) {
        return Err(format!(
            "{name:?} is not an npm name: no part starts with a dot or underscore"
        ));
    }
    if part.ends_with('.') {
        return Err(format!("{name:?} is not an npm name: some disks cannot hold {part}"));
    }
    if REFUSED.contains(&part) {
        return Err(format!("{name:?} is not an npm name: {part} means something else"));
    }
    Ok(())
}

/// The name without its scope.
pub(super) fn base(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}

/// The one tarball name that a version may have.
pub(super) fn file_name(name: &str, version: &str) -> String {
    format!("{}-{version}.tgz", base(name))
}

/// The version in a tarball's name.
pub(super) fn version_in<'f>(name: &str, file: &'f str) -> Option<&'f str> {
    // Some clients write the scope into the file's name once more.
    let file = base_of_file(file);
    file.strip_prefix(base(name))?.strip_prefix('-')?.strip_suffix(".tgz")
}

fn base_of_file(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, base)| base)
}

/// Splits segments into a package's name and what follows it: `@scope/name` comes as one segment
/// (`%2f`) or as two.
pub(super) fn split<'p, 's>(parts: &'p [&'s str]) -> Option<(String, &'p [&'s str])> {
    match parts {
        [first, rest @ ..] if !first.starts_with('@') || first.contains('/') => {
            Some(((*first).to_owned(), rest))
        }
        [scope, name, rest @ ..] => Some((format!("{scope}/{name}"), rest)),
        _ => None,
    }
}
