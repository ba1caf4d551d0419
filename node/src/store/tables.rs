//! Every redb table: name, key, value, encoding.
//!
//! Fixed-width keys come first and in big-endian order, so that a prefix is a range. "CBOR" is
//! serde's data model by `minicbor-serde`; it appears only where the value is read whole and never
//! compared. Digests, keys and ids are their raw bytes. Tables marked *derived* can be deleted:
//! they are rebuilt from `stmt` and `sig`. Tables marked *local* belong to this node alone.
//! The same list for people: `docs/reference/disk.md`. Source: index.md section 2.4.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

use super::Error;

/// 32 raw bytes: a digest, a statement id, a realm, a document id.
pub(super) type Id = &'static [u8; 32];
/// 33 raw bytes: a public key.
pub(super) type Key = &'static [u8; 33];
/// What seals or revocations say of releases.
pub(super) type Rulings = TableDefinition<'static, (Id, Id, Id), ()>;

/// The layout of the tables; a home with an older one is brought here by `migration`.
pub(super) const SCHEMA_VERSION: u64 = 3;

/// `meta`: the names are the constants below; value: u64, little-endian.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// In `meta`: layout of the tables.
pub(super) const META_SCHEMA: &str = "schema";
/// In `meta`: rules by which the derived tables were computed.
pub(super) const META_FOLD: &str = "fold";
/// In `meta`: random, drawn when the store is made; peers resume only within one epoch.
pub(super) const META_EPOCH: &str = "epoch";
/// In `meta`: the last admission sequence that was given out.
pub(super) const META_SEQUENCE: &str = "sequence";
/// In `meta`: counters that are signed here are above it; raised by a restore, so that none is used
/// a second time.
pub(super) const META_COUNTERS: &str = "counters";
/// In `meta`: log entries up to here were cut.
pub(super) const META_FLOOR: &str = "floor";
/// In `meta`: the sum of all blobs' sizes.
pub(super) const META_BLOB_BYTES: &str = "blob_bytes";

/// digest → [`super::BlobInfo`], CBOR. A row means: the file is complete and was verified.
pub(super) const BLOB: TableDefinition<Id, &[u8]> = TableDefinition::new("blob");

/// statement id → (type, payload).
pub(super) const STMT: TableDefinition<Id, (&str, &[u8])> = TableDefinition::new("stmt");
/// (statement id, key) → signature; only verified ones, at most 16 a statement.
pub(super) const SIG: TableDefinition<(Id, Key), &[u8; 64]> = TableDefinition::new("sig");
/// (document id, statement id) → (): the statements of a package.
pub(super) const DOC_STMT: TableDefinition<(Id, Id), ()> = TableDefinition::new("doc_stmt");
/// (realm, format, name) → document id: the packages of a realm, standing or not.
pub(super) const DOC: TableDefinition<(Id, &str, &str), Id> = TableDefinition::new("doc");
/// (collection id, item hash) → (statement id, key).
pub(super) const COLL: TableDefinition<(Id, Id), (Id, Key)> = TableDefinition::new("coll");
/// (realm, part) → fingerprint: count u64 ‖ 1,024 × u16. Parts: see [`super::collections`].
pub(super) const COLL_STATE: TableDefinition<(Id, &str), &[u8]> =
    TableDefinition::new("coll_state");
/// admission sequence → (realm, part, statement id, key).
pub(super) const LOG: TableDefinition<u64, (Id, &str, Id, Key)> = TableDefinition::new("log");
/// (realm, digest of a subject, author) → (statement id, admission sequence): the newest receipt of
/// each author for a document, the only one that is kept.
pub(super) const LATEST: TableDefinition<(Id, Id, Key), (Id, u64)> = TableDefinition::new("latest");
/// (realm, statement id, key) → payload size: pairs whose key no root of the realm has granted.
pub(super) const STRANGER: TableDefinition<(Id, Id, Key), u64> = TableDefinition::new("stranger");
/// (digest, release id) → (): which releases name these bytes.
pub(super) const ARTIFACT: TableDefinition<(Id, Id), ()> = TableDefinition::new("artifact");
/// (digest of the blob of a list, statement id) → realm: seals and revocations whose list is one.
pub(super) const LIST: TableDefinition<(Id, Id), Id> = TableDefinition::new("list");
/// realm → (statements, bytes of their payloads): how much room it takes; without receipts, beats.
pub(super) const TAKEN: TableDefinition<Id, (u64, u64)> = TableDefinition::new("taken");
/// peer id → (its store epoch, its sequence up to which we have its log).
pub(super) const PEER_SEEN: TableDefinition<&[u8], (u64, u64)> = TableDefinition::new("peer_seen");

/// Derived. (realm, type, statement id) → how it counts: see [`super::rulings`]. Statements of a
/// realm's authority, so that its roots are found without its seals.
pub(super) const AUTHORITY: TableDefinition<(Id, &str, Id), u64> =
    TableDefinition::new("authority");
/// Derived. (realm, release id, seal) → (): what the seals that count name.
pub(super) const SEALED: Rulings = TableDefinition::new("sealed");
/// Derived. (realm, release id, revocation) → (): what the revocations that count keep.
pub(super) const KEPT: Rulings = TableDefinition::new("kept");
/// Derived. (realm, key, format, name) → (): packages of which the key has signed something.
pub(super) const SIGNED: TableDefinition<(Id, Key, &str, &str), ()> =
    TableDefinition::new("signed");
/// Derived. (realm, epoch above 0, format, name) → (): packages with a counter of that epoch.
pub(super) const COUNTED: TableDefinition<(Id, u64, &str, &str), ()> =
    TableDefinition::new("counted");
/// Derived. document id → realm, package, tags and counters, CBOR.
pub(super) const VIEW: TableDefinition<Id, &[u8]> = TableDefinition::new("view");
/// Derived. (document id, normal version) → `VersionView`: see [`super::version_rows`].
pub(super) const VIEW_VERSION: TableDefinition<(Id, &str), &[u8]> =
    TableDefinition::new("view_version");
/// Derived. (format, name, realm) → (latest or empty, number of versions, description): packages
/// that have a version, for search.
pub(super) const PACKAGE: TableDefinition<(&str, &str, Id), (&str, u64, &str)> =
    TableDefinition::new("package");
/// Derived. document id → (fold version, statements applied, saved automerge document).
pub(super) const AM_DOC: TableDefinition<Id, (u64, u64, &[u8])> = TableDefinition::new("am_doc");

/// Local. realm → [`super::Followed`], CBOR.
pub(super) const FOLLOWED: TableDefinition<Id, &[u8]> = TableDefinition::new("followed");
/// Local. (format, pattern) → `routes::Rule`, CBOR.
pub(super) const ROUTE: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("route");
/// Local. (realm, format, name, version, file) → `Content`, CBOR.
pub(super) const PIN_CONTENT: TableDefinition<(Id, &str, &str, &str, &str), &[u8]> =
    TableDefinition::new("pin_content");
/// Local. (format, name) → `routes::Source`, CBOR.
pub(super) const PIN_SOURCE: TableDefinition<(&str, &str), &[u8]> =
    TableDefinition::new("pin_source");
/// Local. realm → root ids of the accepted chain, genesis first, 32 bytes each.
pub(super) const PIN_CHAIN: TableDefinition<Id, &[u8]> = TableDefinition::new("pin_chain");
/// Local. (format, name) → how often an admission or a pin has touched the package.
pub(super) const REVISION: TableDefinition<(&str, &str), u64> = TableDefinition::new("revision");
/// Local. (origin, format, document, variant) → [`super::cached::CachedDocument`], CBOR.
pub(super) const CACHED_DOCUMENT: TableDefinition<(Id, &str, &str, &str), &[u8]> =
    TableDefinition::new("cached_document");
/// Local. (origin, format, package, file) → [`super::cached::CachedFile`], CBOR.
pub(super) const CACHED_FILE: TableDefinition<(Id, &str, &str, &str), &[u8]> =
    TableDefinition::new("cached_file");
/// Local. (digest, digest of the key of a cached row) → (): which of those rows have these bytes.
pub(super) const CACHED_DIGEST: TableDefinition<(Id, Id), ()> =
    TableDefinition::new("cached_digest");
/// Local. sha512 → digest, of blobs of which it was computed.
pub(super) const SHA512: TableDefinition<&[u8; 64], Id> = TableDefinition::new("sha512");
/// Local. sha256 → digest, of all blobs.
pub(super) const SHA256: TableDefinition<Id, Id> = TableDefinition::new("sha256");
/// Local. digest → day since 1970 of the last use: see [`super::usage`].
pub(super) const LAST_USE: TableDefinition<Id, u64> = TableDefinition::new("last_use");
/// Derived. `own` → which keys and realms are this node's own, `kinds` → how much is held of each
/// kind, by those; both CBOR. See [`super::kinds`].
pub(super) const HELD: TableDefinition<&str, &[u8]> = TableDefinition::new("held");
/// Local. (kind, key) → bytes of other layers.
pub(super) const ROW: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("row");

/// Calls a macro with all tables: whoever must see each of them (a new file, a backup) has one
/// list.
macro_rules! every_table {
    ($each:ident) => {
        $each!(META BLOB STMT SIG DOC_STMT DOC COLL COLL_STATE LOG LATEST STRANGER ARTIFACT);
        $each!(LIST TAKEN AUTHORITY SEALED KEPT SIGNED COUNTED);
        $each!(PEER_SEEN VIEW VIEW_VERSION PACKAGE AM_DOC);
        $each!(CACHED_DOCUMENT CACHED_FILE CACHED_DIGEST SHA512 SHA256);
        $each!(FOLLOWED ROUTE PIN_CONTENT PIN_SOURCE PIN_CHAIN REVISION ROW LAST_USE HELD);
    };
}
pub(super) use every_table;

/// Makes the tables that lack, so that a reader never meets a missing one.
pub(super) fn create(txn: &WriteTransaction) -> Result<(), Error> {
    macro_rules! open {
        ($($table:ident)*) => {$( txn.open_table($table)?; )*};
    }
    every_table!(open);
    Ok(())
}

/// Names of the tables that this program knows and the file lacks.
pub(super) fn lacking(txn: &WriteTransaction) -> Result<Vec<String>, Error> {
    let there: std::collections::BTreeSet<String> =
        txn.list_tables()?.map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    let mut known = Vec::new();
    macro_rules! name {
        ($($table:ident)*) => {$( known.push(redb::TableHandle::name(&$table).to_owned()); )*};
    }
    every_table!(name);
    known.retain(|name: &String| !there.contains(name));
    Ok(known)
}

/// A value as CBOR.
pub(super) fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, Error> {
    minicbor_serde::to_vec(value).map_err(|why| Error::unreadable(what, why))
}

/// A value from CBOR that we wrote.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    minicbor_serde::from_slice(bytes).map_err(|why| Error::unreadable(what, why))
}

/// Opens tables for reading, whether or not the reader is also the writer.
pub(super) trait Tables {
    /// What `table` gives.
    type Table<'a, K: redb::Key + 'static, V: redb::Value + 'static>: ReadableTable<K, V>
    where
        Self: 'a;

    /// Opens one table.
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, Error>;

    /// A number of `meta`; absent is 0.
    fn meta(&self, name: &str) -> Result<u64, Error> {
        let table = self.table(META)?;
        let row = table.get(name)?;
        Ok(row.map_or(0, |row| row.value()))
    }
}

impl Tables for ReadTransaction {
    type Table<'a, K: redb::Key + 'static, V: redb::Value + 'static> = ReadOnlyTable<K, V>;

    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, Error> {
        Ok(self.open_table(definition)?)
    }
}

impl Tables for WriteTransaction {
    type Table<'a, K: redb::Key + 'static, V: redb::Value + 'static> = redb::Table<'a, K, V>;

    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, Error> {
        Ok(self.open_table(definition)?)
    }
}

/// Sets a number of `meta`.
pub(super) fn set_meta(txn: &WriteTransaction, name: &str, value: u64) -> Result<(), Error> {
    txn.open_table(META)?.insert(name, value)?;
    Ok(())
}
