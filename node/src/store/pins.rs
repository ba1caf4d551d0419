//! What this node has committed itself to: the content of a slot, the source of a name.
//!
//! Pins are state of this node alone: never gossiped, never rebuilt, and they outlive an unfollow.
//! They are an input of `derive`, so setting one derives its package in the same transaction. A
//! pin is set once; only a person's accept replaces it. Which events set pins is decided in
//! `registry`. The chain pin is in `chains`. Source: trust.md section 5.

use crdt::routes::Source;
use crdt::{Content, PackageId, Pins, RealmId};
use redb::{ReadableTable, WriteTransaction};

use super::batch::{Change, Kept};
use super::changes::Scope;
use super::standings::Standings;
use super::tables::{self, Tables};
use super::{Error, FollowKind, Followed, Inner, Store, views};

/// A file of a version of a package of a realm: what one pin is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Where.
    pub realm: RealmId,
    /// Which package.
    pub package: PackageId,
    /// Normal version.
    pub version: String,
    /// File name.
    pub file: String,
}

impl Store {
    /// What is pinned in a package: (version, file) → content.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pins(&self, realm: &RealmId, package: &PackageId) -> Result<Pins, Error> {
        self.reading(|txn| of_package(txn, realm, package))
    }

    /// Sets a pin only if the slot has none (`replace` = a person's accept). Says whether it
    /// changed. The view follows.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pin_content(
        &self,
        slot: &Slot,
        content: Content,
        replace: bool,
    ) -> Result<bool, Error> {
        // Every completed download asks; nearly always the pin is there, and no writer is needed.
        if !replace && self.read()?.table(tables::PIN_CONTENT)?.get(key(slot))?.is_some() {
            return Ok(false);
        }
        let (slot, scope) = (slot.clone(), Scope::of(&slot.package));
        if !replace {
            // An install pins hundreds of them at once.
            let change = Change::Content(Box::new((slot, content)));
            return Ok(matches!(self.keep(vec![change]).await?, Kept::Pin(true)));
        }
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let changed = put_content(txn, &slot, &content, true)?;
            if changed {
                follow_up(inner, txn, &slot.realm, &slot.package)?;
            }
            Ok(changed)
        };
        self.write_scoped(|changed| changed.then_some(scope), change, |_, _| {}).await
    }

    /// Forgets a pin, outside of a withdraw. Says whether there was one. The view follows.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unpin_content(&self, slot: &Slot) -> Result<bool, Error> {
        let (slot, scope) = (slot.clone(), Scope::of(&slot.package));
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let changed = remove_content(txn, &slot)?;
            if changed {
                follow_up(inner, txn, &slot.realm, &slot.package)?;
            }
            Ok(changed)
        };
        self.write_scoped(|changed| changed.then_some(scope), change, |_, _| {}).await
    }

    /// The source that a name was first taken from.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pinned_source(&self, package: &PackageId) -> Result<Option<Source>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::PIN_SOURCE)?;
            let row = table.get((package.format.as_str(), package.name.as_str()))?;
            row.map(|row| tables::decode("pinned source", row.value())).transpose()
        })
    }

    /// Sets it only if the name has none (`replace` = a person's accept). Says whether it changed.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pin_source(
        &self,
        package: &PackageId,
        source: Source,
        replace: bool,
    ) -> Result<bool, Error> {
        if !replace && self.pinned_source(package)?.is_some() {
            return Ok(false);
        }
        let package = package.clone();
        if !replace {
            // An install pins hundreds of names at once.
            let change = Change::Source(Box::new((package, source)));
            return Ok(matches!(self.keep(vec![change]).await?, Kept::Pin(true)));
        }
        let scope = Scope::of(&package);
        let change =
            move |_: &Inner, txn: &WriteTransaction| put_source(txn, &package, &source, true);
        self.write_scoped(|changed| changed.then_some(scope), change, |_, _| {}).await
    }
}

/// Sets a pin, without the view. Says whether it changed anything.
pub(super) fn put_content(
    txn: &WriteTransaction,
    slot: &Slot,
    content: &Content,
    replace: bool,
) -> Result<bool, Error> {
    let bytes = tables::encode("pin", content)?;
    let mut table = txn.open_table(tables::PIN_CONTENT)?;
    let held = table.get(key(slot))?.map(|row| row.value().to_vec());
    if held.is_some_and(|held| !replace || held == bytes) {
        return Ok(false);
    }
    table.insert(key(slot), bytes.as_slice())?;
    Ok(true)
}

/// Forgets a pin, without the view (an owner's own withdraw). Says whether there was one.
pub(super) fn remove_content(txn: &WriteTransaction, slot: &Slot) -> Result<bool, Error> {
    Ok(txn.open_table(tables::PIN_CONTENT)?.remove(key(slot))?.is_some())
}

/// Says whether it changed anything.
pub(super) fn put_source(
    txn: &WriteTransaction,
    package: &PackageId,
    source: &Source,
    replace: bool,
) -> Result<bool, Error> {
    let bytes = tables::encode("pinned source", source)?;
    let key = (package.format.as_str(), package.name.as_str());
    {
        let mut table = txn.open_table(tables::PIN_SOURCE)?;
        let held = table.get(key)?.map(|row| row.value().to_vec());
        if held.is_some_and(|held| !replace || held == bytes) {
            return Ok(false);
        }
        table.insert(key, bytes.as_slice())?;
    }
    views::touch(txn, package).map(|()| true)
}

/// The pins of one package, as `derive` takes them.
pub(super) fn of_package(
    txn: &impl Tables,
    realm: &RealmId,
    package: &PackageId,
) -> Result<Pins, Error> {
    let table = txn.table(tables::PIN_CONTENT)?;
    let prefix = (realm.0.as_bytes(), package.format.as_str(), package.name.as_str());
    let mut pins = Pins::new();
    for row in table.range((prefix.0, prefix.1, prefix.2, "", "")..)? {
        let (key, content) = row?;
        let (realm, format, name, version, file) = key.value();
        if (realm, format, name) != prefix {
            break;
        }
        let content = tables::decode("pin", content.value())?;
        pins.insert((version.to_owned(), file.to_owned()), content);
    }
    Ok(pins)
}

/// Derives the package again; a realm that is not followed has no views.
pub(super) fn follow_up(
    inner: &Inner,
    txn: &WriteTransaction,
    realm: &RealmId,
    package: &PackageId,
) -> Result<(), Error> {
    let row = txn.table(tables::FOLLOWED)?;
    let row = row.get(realm.0.as_bytes())?;
    let row =
        row.map(|row| tables::decode::<Followed>("followed realm", row.value())).transpose()?;
    if row.is_none_or(|followed| followed.kind == FollowKind::Delegate) {
        return Ok(());
    }
    views::derive(inner, txn, &mut Standings::new(inner, txn), (realm, package))
}

fn key(slot: &Slot) -> (&[u8; 32], &str, &str, &str, &str) {
    let package = &slot.package;
    (slot.realm.0.as_bytes(), &package.format, &package.name, &slot.version, &slot.file)
}
