//! `uv.lock`: every package names where it is from, and the URL of each of its files.
//!
//! Source: uv's documentation of its lockfile, and files that it wrote.

use toml_edit::Item;

use super::List;
use super::table::{File, Lock, Package, tables, text};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// The newest format that is known.
const VERSION: i64 = 1;

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    super::head(text).contains("requires-python = ")
        && text.contains("[[package]]")
        && text.contains("\nsource = { ")
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let lock = Lock::read(text, "uv.lock")?;
    let version = lock.at(&["version"]).and_then(Item::as_integer).unwrap_or(VERSION);
    if version > VERSION {
        let why = format!("its version is {version}; {VERSION} is known here");
        return Err(LockError::whole(why));
    }
    let mut list = List::default();
    for package in lock.packages("package")? {
        add(&package, &mut list)?;
    }
    Ok(list.into_vec())
}

fn add(package: &Package<'_>, list: &mut List) -> Result<(), LockError> {
    let source = package.table.get("source").and_then(Item::as_table_like);
    let source = source.ok_or_else(|| package.error("does not say where it is from"))?;
    let of = |key: &str| text(source, key);
    if ["editable", "virtual", "directory"].iter().any(|key| of(key).is_some()) {
        return Ok(());
    }
    let elsewhere = [
        (of("git"), LockedFrom::Git),
        (of("url"), LockedFrom::Url),
        (of("path"), LockedFrom::File),
    ];
    if let Some((Some(place), from)) = elsewhere.into_iter().find(|(place, _)| place.is_some()) {
        let url = Some(place.to_owned());
        list.add(Locked { url, ..package.locked(from)? });
        return Ok(());
    }
    let index = of("registry").ok_or_else(|| package.error("is from a place unknown here"))?;
    // A folder of wheels is no registry.
    let is_url = index.contains("://");
    let from = if is_url { LockedFrom::Registry } else { LockedFrom::File };
    let locked = Locked { index: is_url.then(|| index.to_owned()), ..package.locked(from)? };
    let sdist = package.table.get("sdist").and_then(Item::as_table_like);
    let wheels = package.table.get("wheels").map(tables).unwrap_or_default();
    let files: Vec<File<'_>> = sdist.into_iter().chain(wheels).map(File::of).collect();
    package.add(list, &locked, &files)
}
