//! `pylock.toml`: the lockfile that all tools may write.
//!
//! Source: packaging.python.org, "pylock.toml Specification" (PEP 751).

use toml_edit::Item;

use super::List;
use super::table::{File, Lock, Package, tables, text};
use crate::formats::lockfile::LockError;
use crate::registry::{Locked, LockedFrom};

/// Whether the text is such a file.
pub(super) fn is(text: &str) -> bool {
    super::head(text).contains("lock-version = ")
        && ["[[packages]]", "\npackages = ["].iter().any(|key| text.contains(key))
}

/// What it locks.
pub(super) fn parse(text: &str) -> Result<Vec<Locked>, LockError> {
    let lock = Lock::read(text, "pylock.toml")?;
    let version = lock.at(&["lock-version"]).and_then(Item::as_str).unwrap_or("1.0");
    if version.split('.').next() != Some("1") {
        let why = format!("its lock-version is {version:.20}; 1 is known here");
        return Err(LockError::whole(why));
    }
    let mut list = List::default();
    for package in lock.packages("packages")? {
        add(&package, &mut list)?;
    }
    Ok(list.into_vec())
}

fn add(package: &Package<'_>, list: &mut List) -> Result<(), LockError> {
    let table = |key: &str| package.table.get(key).and_then(Item::as_table_like);
    if table("directory").is_some() {
        return Ok(());
    }
    let place = |of| text(of, "url").or_else(|| text(of, "path")).map(str::to_owned);
    if let Some(vcs) = table("vcs") {
        list.add(Locked { url: place(vcs), ..package.locked(LockedFrom::Git)? });
        return Ok(());
    }
    if let Some(archive) = table("archive") {
        let from = if text(archive, "url").is_some() { LockedFrom::Url } else { LockedFrom::File };
        list.add(Locked { url: place(archive), ..package.locked(from)? });
        return Ok(());
    }
    let index = package.text("index").map(str::to_owned);
    let locked = Locked { index, ..package.locked(LockedFrom::Registry)? };
    let wheels = package.table.get("wheels").map(tables).unwrap_or_default();
    let files: Vec<File<'_>> = table("sdist").into_iter().chain(wheels).map(File::of).collect();
    package.add(list, &locked, &files)
}
