//! What lockfiles of TOML share: they are read with the places of their parts, for the lines of
//! errors, and each package has a few tables of files.

use std::ops::Range;

use toml_edit::{Document, Item, Key, TableLike};

use super::{List, file_of, integrity};
use crate::formats::lockfile::{LockError, line_of};
use crate::registry::{Locked, LockedFrom};

/// The largest lockfile of TOML, in bytes: read with its places it takes some twenty times that.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A lockfile with its text.
pub(super) struct Lock<'t> {
    text: &'t str,
    document: Document<&'t str>,
}

/// A package of it.
pub(super) struct Package<'t> {
    lock: &'t Lock<'t>,
    pub(super) table: &'t dyn TableLike,
    pub(super) name: &'t str,
}

/// A file of a package: what the lockfile says of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct File<'t> {
    pub(super) name: Option<&'t str>,
    pub(super) url: Option<&'t str>,
    pub(super) path: Option<&'t str>,
    /// With its algorithm.
    pub(super) hash: Option<&'t str>,
    /// SHA-256 alone.
    pub(super) sha256: Option<&'t str>,
}

impl<'t> Lock<'t> {
    pub(super) fn read(text: &'t str, title: &str) -> Result<Self, LockError> {
        if text.len() > BYTES_MAX {
            let bytes = text.len();
            let why = format!("it has {bytes} bytes; a {title} has at most {BYTES_MAX}");
            return Err(LockError::whole(why));
        }
        let document = Document::parse(text).map_err(|error| {
            let why = format!("it is no sound {title}: {}", error.message());
            match error.span() {
                Some(span) => LockError::at(line_of(text, span.start), why),
                None => LockError::whole(why),
            }
        })?;
        Ok(Self { text, document })
    }

    /// The item at a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Item> {
        let (last, folders) = path.split_last()?;
        let mut table: &dyn TableLike = self.document.as_table();
        for key in folders {
            table = table.get(key)?.as_table_like()?;
        }
        table.get(last)
    }

    /// The packages of `key`, each with its name.
    pub(super) fn packages(&'t self, key: &str) -> Result<Vec<Package<'t>>, LockError> {
        let mut all = Vec::new();
        for table in self.at(&[key]).map(tables).unwrap_or_default() {
            let name = text(table, "name");
            let name = name.ok_or_else(|| self.error(span(table), "a package without a name"))?;
            all.push(Package { lock: self, table, name });
        }
        Ok(all)
    }

    fn error(&self, at: Option<Range<usize>>, why: impl Into<String>) -> LockError {
        match at {
            Some(at) => LockError::at(line_of(self.text, at.start), why),
            None => LockError::whole(why),
        }
    }
}

impl<'t> Package<'t> {
    pub(super) fn text(&self, key: &str) -> Option<&'t str> {
        text(self.table, key)
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.table.get(key).and_then(Item::as_bool) == Some(true)
    }

    pub(super) fn error(&self, why: &str) -> LockError {
        self.lock.error(span(self.table), format!("{} {why}", self.name))
    }

    /// The package with nothing said yet of its files.
    pub(super) fn locked(&self, from: LockedFrom) -> Result<Locked, LockError> {
        let version = self.text("version");
        // What no registry serves may have none.
        let version = version.or((!from.is_registry()).then_some(""));
        Ok(Locked {
            name: self.name.to_owned(),
            version: version.ok_or_else(|| self.error("has no version"))?.to_owned(),
            from,
            ..Locked::default()
        })
    }

    /// Adds an entry for each file; without any, one for the version.
    pub(super) fn add(
        &self,
        list: &mut List,
        locked: &Locked,
        files: &[File<'t>],
    ) -> Result<(), LockError> {
        if files.is_empty() {
            list.add(locked.clone());
            return Ok(());
        }
        for file in files {
            let place = file.url.or(file.path);
            let name = file.name.map(str::to_owned).or_else(|| file_of(place?));
            let name = name.ok_or_else(|| self.error("has a file without a name"))?;
            let hash = file.hash.map(str::to_owned);
            let hash = hash.or_else(|| Some(format!("sha256:{}", file.sha256?)));
            let sum = hash.as_deref().map(integrity).transpose();
            let url = file.url.map(|url| url.split('#').next().unwrap_or_default().to_owned());
            let beside = file.path.is_some() && file.url.is_none();
            list.add(Locked {
                file: Some(name),
                url: url.or_else(|| file.path.map(str::to_owned)),
                integrity: sum.map_err(|why| self.error(&format!("is locked badly: {why}")))?,
                from: if beside { LockedFrom::File } else { locked.from },
                ..locked.clone()
            });
        }
        Ok(())
    }
}

impl<'t> File<'t> {
    /// As uv and pylock.toml have it: a table with a URL or a path, and its checksum.
    pub(super) fn of(table: &'t dyn TableLike) -> Self {
        let hashes = table.get("hashes").and_then(Item::as_table_like);
        Self {
            name: text(table, "name").or_else(|| text(table, "filename")),
            url: text(table, "url"),
            path: text(table, "path"),
            hash: text(table, "hash"),
            sha256: hashes.and_then(|all| text(all, "sha256")),
        }
    }
}

/// A text of a table.
pub(super) fn text<'t>(table: &'t dyn TableLike, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// The tables of an array in whichever notation.
pub(super) fn tables(item: &Item) -> Vec<&dyn TableLike> {
    if let Some(all) = item.as_array_of_tables() {
        return all.iter().map(|table| table as &dyn TableLike).collect();
    }
    let inline = item.as_array().into_iter().flatten();
    inline.filter_map(|one| one.as_inline_table().map(|table| table as &dyn TableLike)).collect()
}

/// Where a table begins.
fn span(table: &dyn TableLike) -> Option<Range<usize>> {
    let (key, _) = table.iter().next()?;
    table.key(key).and_then(Key::span)
}
