//! What a package is, computed once for each change and read many times.
//!
//! After each admission, pin or change of authority the touched packages are derived inside the
//! same transaction, so a reader never sees statements without their view. A view is one row for
//! its head and one for each version; only rows that changed are written, so that one more release
//! of a package with a thousand costs one row (flash wears by the byte).
//!
//! Everything here can be thrown away. It is thrown away, and derived anew at open, when
//! [`FOLD_VERSION`] is not the one it was written by. Packages of realms that are not followed, or
//! for their authority alone, have no views. Which packages a change of authority touches is in
//! `grounds`.
//!
//! Source: trust.md section 5, index.md section 2.4.

use std::collections::BTreeMap;

use crdt::derive::{FallenRelease, Ground, VersionView};
use crdt::statement::{Counter, MetaBody};
use crdt::{PackageId, PackageView, RealmId};
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::standings::Standings;
use super::statements::{document_id, of_package};
use super::tables::{self, Tables};
use super::{Error, Inner, Store, delegates, grounds, pins, rulings, version_rows};

/// The rules of `crdt::derive` and the layout of the rows here: raise it when either changes.
pub(super) const FOLD_VERSION: u64 = 4;
/// Packages that a rebuild derives in one transaction.
const REBUILD_BATCH: usize = 256;
/// A description longer than this is cut: it is one line of a list.
const DESCRIPTION_CHARS_MAX: usize = 240;

/// The part of a view that is not about one version.
#[derive(Serialize, Deserialize)]
struct Head {
    realm: RealmId,
    package: PackageId,
    tags: BTreeMap<String, String>,
    tag_counters: BTreeMap<String, Counter>,
    yank_counters: BTreeMap<String, Counter>,
    fallen: BTreeMap<String, Vec<FallenRelease>>,
}

impl Store {
    /// The derived view with this node's pins applied. `None`: no version, standing or pinned.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn package(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Option<PackageView>, Error> {
        Ok(self.derived(realm, package)?.filter(|view| !view.versions.is_empty()))
    }

    /// The same, also when no version is left: whoever signs next must continue its counters.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn derived(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Option<PackageView>, Error> {
        self.reading(|txn| load(txn, &document_id(realm, package)))
    }

    /// Every followed realm that has a version of the name, sorted by realm.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn realms_with(&self, package: &PackageId) -> Result<Vec<RealmId>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::PACKAGE)?;
            let (format, name) = (package.format.as_str(), package.name.as_str());
            let mut found = Vec::new();
            for row in table.range((format, name, &[0; 32])..=(format, name, &[0xff; 32]))? {
                found.push(RealmId(crdt::Digest::from_bytes(*row?.0.value().2)));
            }
            Ok(found)
        })
    }

    /// Bumped by each admission or pin that touches the package, in any realm: an `ETag` seed that
    /// survives a restart.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn revision(&self, package: &PackageId) -> Result<u64, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::REVISION)?;
            let row = table.get((package.format.as_str(), package.name.as_str()))?;
            Ok(row.map_or(0, |row| row.value()))
        })
    }
}

/// Derives one package and keeps the view.
pub(super) fn derive(
    inner: &Inner,
    txn: &WriteTransaction,
    standings: &mut Standings<'_>,
    (realm, package): (&RealmId, &PackageId),
) -> Result<(), Error> {
    let document = document_id(realm, package);
    let statements = of_package(txn, &document)?;
    let ids: Vec<_> = statements.iter().map(|verified| verified.statement().id()).collect();
    let pins = pins::of_package(txn, realm, package)?;
    let standing = standings.now(realm)?;
    let ground = Ground {
        authority: standing.authority(),
        publishers: grounds::publishers(txn, &standings.reached(realm)?, package, &ids)?,
        firm: rulings::firm(txn, realm, &ids)?,
    };
    let view = crdt::derive::package(&ground, package, &statements, &pins);
    keep_versions(txn, &document, &view)?;
    keep_summary(inner, txn, &view)?;
    let PackageView { realm, package, tags, tag_counters, yank_counters, fallen, .. } = view;
    let head = Head { realm, package, tags, tag_counters, yank_counters, fallen };
    let bytes = tables::encode("view", &head)?;
    txn.open_table(tables::VIEW)?.insert(&document, bytes.as_slice())?;
    touch(txn, &head.package)
}

/// A view from its rows.
pub(super) fn load(txn: &impl Tables, document: &[u8; 32]) -> Result<Option<PackageView>, Error> {
    let table = txn.table(tables::VIEW)?;
    let Some(row) = table.get(document)? else { return Ok(None) };
    let head: Head = tables::decode("view", row.value())?;
    let table = txn.table(tables::VIEW_VERSION)?;
    let mut versions: BTreeMap<String, VersionView> = BTreeMap::new();
    for row in table.range((document, "")..)? {
        let (key, value) = row?;
        let (of, version) = key.value();
        if of != document {
            break;
        }
        versions.insert(version.to_owned(), version_rows::decode(value.value())?);
    }
    let Head { realm, package, tags, tag_counters, yank_counters, fallen } = head;
    Ok(Some(PackageView { realm, package, versions, tags, tag_counters, yank_counters, fallen }))
}

/// Whose view it is; `None` if there is none that can be read.
pub(super) fn package_of(
    txn: &impl Tables,
    document: &[u8; 32],
) -> Result<Option<(RealmId, PackageId)>, Error> {
    let table = txn.table(tables::VIEW)?;
    let Some(row) = table.get(document)? else { return Ok(None) };
    let head: Option<Head> = tables::decode("view", row.value()).ok();
    Ok(head.map(|head| (head.realm, head.package)))
}

/// Writes the versions that changed, removes those that are gone.
fn keep_versions(
    txn: &WriteTransaction,
    document: &[u8; 32],
    view: &PackageView,
) -> Result<(), Error> {
    let mut table = txn.open_table(tables::VIEW_VERSION)?;
    let mut gone = Vec::new();
    for row in table.range((document, "")..)? {
        let key = row?.0;
        let (of, version) = key.value();
        if of != document {
            break;
        }
        if !view.versions.contains_key(version) {
            gone.push(version.to_owned());
        }
    }
    for version in gone {
        table.remove((document, version.as_str()))?;
    }
    for (version, content) in &view.versions {
        let bytes = version_rows::encode(content)?;
        let key = (document, version.as_str());
        if table.get(key)?.is_none_or(|row| row.value() != bytes) {
            table.insert(key, bytes.as_slice())?;
        }
    }
    Ok(())
}

/// The row for search; none for a package without versions.
fn keep_summary(inner: &Inner, txn: &WriteTransaction, view: &PackageView) -> Result<(), Error> {
    let mut table = txn.open_table(tables::PACKAGE)?;
    let package = &view.package;
    let key = (package.format.as_str(), package.name.as_str(), view.realm.0.as_bytes());
    if view.versions.is_empty() {
        table.remove(key)?;
        return Ok(());
    }
    let latest = view.tags.get("latest").map_or("", String::as_str);
    let count = view.versions.len() as u64;
    table.insert(key, (latest, count, describe(inner, view).as_str()))?;
    Ok(())
}

/// One line about the package, from its latest version or, without that tag, the last by key.
fn describe(inner: &Inner, view: &PackageView) -> String {
    let latest = view.tags.get("latest").and_then(|version| view.versions.get(version));
    let Some(version) = latest.or_else(|| view.versions.values().last()) else {
        return String::new();
    };
    let metas = version.files.values().flat_map(|file| &file.candidates);
    let inline = metas.filter_map(|candidate| match candidate.meta.as_ref().map(|it| &it.body) {
        Some(MetaBody::Inline(bytes)) => Some(bytes),
        _ => None,
    });
    let text = inline.map(|meta| (inner.describe)(&view.package.format, meta));
    let line = text.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    line.chars().take(DESCRIPTION_CHARS_MAX).collect()
}

/// Another revision of the name.
pub(super) fn touch(txn: &WriteTransaction, package: &PackageId) -> Result<(), Error> {
    let mut table = txn.open_table(tables::REVISION)?;
    let key = (package.format.as_str(), package.name.as_str());
    let old = table.get(key)?.map_or(0, |row| row.value());
    table.insert(key, old + 1)?;
    Ok(())
}

/// Removes the view of a package whose statements go.
pub(super) fn remove(
    txn: &WriteTransaction,
    realm: &RealmId,
    package: &PackageId,
) -> Result<(), Error> {
    let document = document_id(realm, package);
    txn.open_table(tables::VIEW)?.remove(&document)?;
    txn.open_table(tables::AM_DOC)?.remove(&document)?;
    let none = PackageView {
        realm: *realm,
        package: package.clone(),
        versions: BTreeMap::new(),
        tags: BTreeMap::new(),
        tag_counters: BTreeMap::new(),
        yank_counters: BTreeMap::new(),
        fallen: BTreeMap::new(),
    };
    keep_versions(txn, &document, &none)?;
    let name = (package.format.as_str(), package.name.as_str(), realm.0.as_bytes());
    txn.open_table(tables::PACKAGE)?.remove(name)?;
    touch(txn, package)
}

/// Derives everything anew if it was derived by other rules. Cut short, it starts again.
pub(super) fn rebuild_if_outdated(inner: &Inner) -> Result<(), Error> {
    if inner.read()?.meta(tables::META_FOLD)? == FOLD_VERSION {
        return Ok(());
    }
    let mut all = Vec::new();
    for realm in delegates::bases(&inner.read()?)? {
        let packages = grounds::of_realm(&inner.read()?, &realm)?;
        all.extend(packages.into_iter().map(|package| (realm, package)));
    }
    if !all.is_empty() {
        tracing::info!(packages = all.len(), "deriving all views by new rules");
    }
    for batch in all.chunks(REBUILD_BATCH) {
        let txn = inner.begin_write()?;
        let mut standings = Standings::new(inner, &txn);
        for (realm, package) in batch {
            derive(inner, &txn, &mut standings, (realm, package))?;
        }
        txn.commit()?;
    }
    let txn = inner.begin_write()?;
    tables::set_meta(&txn, tables::META_FOLD, FOLD_VERSION)?;
    Ok(txn.commit()?)
}
