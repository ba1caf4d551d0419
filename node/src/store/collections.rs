//! Collections at rest: their names, their items, their fingerprints.
//!
//! A collection's *part* is its text within a realm: `authority`, `other`, `beats`, `format/<id>`
//! or `receipts/<id>`. The fingerprint is kept up to date by each admission, so that comparing with
//! a peer reads one row a collection. Source: index.md sections 5, 7.1 and 7.6.

use crdt::reconcile::Fingerprint;
use crdt::{Collection, Digest, Item, RealmId, StatementId};
use redb::{ReadableTable, WriteTransaction};

use super::Error;
use super::statements::{IDS, public_key};
use super::tables::{self, Tables};

/// The part of `root`, `route`, `revoke` and `seal` statements.
pub(super) const AUTHORITY: &str = "authority";
/// The part of statements of unknown types without a format.
const OTHER: &str = "other";
/// What the part of a format begins with.
const FORMAT: &str = "format/";
/// What the part of a format's receipts begins with.
const RECEIPTS: &str = "receipts/";
/// The part of beats.
const BEATS: &str = "beats";

/// A collection's text within its realm.
pub(super) fn part(collection: &Collection) -> String {
    match collection {
        Collection::Authority(_) => AUTHORITY.to_owned(),
        Collection::Format(_, format) => format!("{FORMAT}{format}"),
        Collection::Other(_) => OTHER.to_owned(),
        Collection::Receipts(_, format) => format!("{RECEIPTS}{format}"),
        Collection::Beats(_) => BEATS.to_owned(),
    }
}

/// The collection that [`part`] named.
pub(super) fn parse(realm: RealmId, part: &str) -> Collection {
    if let Some(format) = part.strip_prefix(FORMAT) {
        return Collection::Format(realm, format.to_owned());
    }
    if let Some(format) = part.strip_prefix(RECEIPTS) {
        return Collection::Receipts(realm, format.to_owned());
    }
    match part {
        AUTHORITY => Collection::Authority(realm),
        BEATS => Collection::Beats(realm),
        _ => Collection::Other(realm),
    }
}

/// The collections held of a realm.
pub(super) fn of_realm(
    txn: &impl Tables,
    realm: &RealmId,
) -> Result<Vec<(Collection, Fingerprint)>, Error> {
    let table = txn.table(tables::COLL_STATE)?;
    let mut found = Vec::new();
    for row in table.range((realm.0.as_bytes(), "")..)? {
        let (key, state) = row?;
        let (of, part) = key.value();
        if of != realm.0.as_bytes() {
            break;
        }
        found.push((parse(*realm, part), fingerprint(state.value())?));
    }
    Ok(found)
}

/// A collection's fingerprint; of the empty set if nothing is held.
pub(super) fn state(txn: &impl Tables, collection: &Collection) -> Result<Fingerprint, Error> {
    let table = txn.table(tables::COLL_STATE)?;
    let realm = collection.realm();
    let row = table.get((realm.0.as_bytes(), part(collection).as_str()))?;
    row.map_or_else(|| Ok(Fingerprint::empty()), |row| fingerprint(row.value()))
}

/// Keeps a collection's fingerprint.
pub(super) fn set_state(
    txn: &WriteTransaction,
    collection: &Collection,
    state: &Fingerprint,
) -> Result<(), Error> {
    let realm = collection.realm();
    let key = (realm.0.as_bytes(), part(collection));
    let bytes = state.to_bytes();
    txn.open_table(tables::COLL_STATE)?.insert((key.0, key.1.as_str()), bytes.as_slice())?;
    Ok(())
}

/// All items of a collection, in the order of their hashes.
pub(super) fn items(txn: &impl Tables, collection: &Collection) -> Result<Vec<Item>, Error> {
    let table = txn.table(tables::COLL)?;
    let id = collection.id();
    let id = id.0.as_bytes();
    let mut found = Vec::new();
    for row in table.range((id, &IDS.0)..=(id, &IDS.1))? {
        let (_, item) = row?;
        let (id, key) = item.value();
        found.push(item_of(id, key)?);
    }
    Ok(found)
}

/// A pair from its bytes.
pub(super) fn item_of(id: &[u8; 32], key: &[u8; 33]) -> Result<Item, Error> {
    Ok(Item { id: StatementId(Digest::from_bytes(*id)), key: public_key(key)? })
}

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, Error> {
    Fingerprint::from_bytes(bytes).ok_or_else(|| Error::unreadable("fingerprint", "wrong length"))
}
