//! The rows of what came from upstreams, each with the digests that it names.
//!
//! They are written in batches: see `batch`.
//!
//! *Invariant:* `cached_digest` has (digest, row) exactly for the bodies that rows name, earlier
//! ones too. A blob that the last row let go of is removed, unless a release names it.

use std::collections::BTreeSet;

use crdt::Digest;
use crdt::statement::Subject;
use redb::{ReadableTable, WriteTransaction};

use super::cached::{CachedDocument, CachedFile, EARLIER_MAX};
use super::statements::IDS;
use super::tables::{self, Tables};
use super::{Error, kinds};

/// A document's row.
pub(super) fn document(
    txn: &impl Tables,
    subject: &Subject,
) -> Result<Option<CachedDocument>, Error> {
    let table = txn.table(tables::CACHED_DOCUMENT)?;
    let row = table.get(document_key(subject))?;
    row.map(|row| tables::decode("cached document", row.value())).transpose()
}

/// Whether a cached row names these bytes.
pub(super) fn is_used(txn: &impl Tables, digest: &Digest) -> Result<bool, Error> {
    let table = txn.table(tables::CACHED_DIGEST)?;
    let digest = digest.as_bytes();
    let first = table.range((digest, &IDS.0)..=(digest, &IDS.1))?.next().transpose()?;
    Ok(first.is_some())
}

/// Whether a release names these bytes.
pub(super) fn is_released(txn: &impl Tables, digest: &Digest) -> Result<bool, Error> {
    let table = txn.table(tables::ARTIFACT)?;
    let digest = digest.as_bytes();
    let first = table.range((digest, &IDS.0)..=(digest, &IDS.1))?.next().transpose()?;
    Ok(first.is_some())
}

/// Origin, format, document, variant.
pub(super) type DocumentKey<'a> = (&'a [u8; 32], &'a str, &'a str, &'a str);

pub(super) fn document_key(subject: &Subject) -> DocumentKey<'_> {
    let Subject { origin, format, document, variant } = subject;
    (origin.as_bytes(), format, document, variant)
}

pub(super) fn put_document(
    txn: &WriteTransaction,
    new: &CachedDocument,
    dropped: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let old = document(txn, &new.subject)?;
    let earlier = earlier(old.as_ref(), new);
    let new = CachedDocument { earlier, ..new.clone() };
    let bytes = tables::encode("cached document", &new)?;
    let key = document_key(&new.subject);
    txn.open_table(tables::CACHED_DOCUMENT)?.insert(key, bytes.as_slice())?;
    let bodies = |document: &CachedDocument| -> BTreeSet<Digest> {
        document.body.iter().chain(&document.earlier).copied().collect()
    };
    let before = old.as_ref().map(bodies).unwrap_or_default();
    let row = row_id("document", key.0, [key.1, key.2, key.3]);
    exchange(txn, &row, (&before, &bodies(&new)), dropped)
}

/// Bodies that are held beside the newest, newest first.
fn earlier(old: Option<&CachedDocument>, new: &CachedDocument) -> Vec<Digest> {
    let mut kept: Vec<Digest> = Vec::new();
    for digest in old.into_iter().flat_map(|old| old.body.iter().chain(&old.earlier)) {
        if Some(digest) != new.body.as_ref() && !kept.contains(digest) && kept.len() < EARLIER_MAX {
            kept.push(*digest);
        }
    }
    kept
}

pub(super) fn put_file(
    txn: &WriteTransaction,
    new: &CachedFile,
    dropped: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let key = (new.origin.as_bytes(), new.format.as_str(), new.package.as_str(), new.file.as_str());
    let bytes = tables::encode("cached file", new)?;
    let before: Option<CachedFile> = {
        let mut table = txn.open_table(tables::CACHED_FILE)?;
        if !has_file(&table, key)? {
            kinds::count_package(txn, true)?;
        }
        let old = table.insert(key, bytes.as_slice())?;
        old.map(|old| tables::decode("cached file", old.value())).transpose()?
    };
    let before = before.map(|old| old.digest).into_iter().collect();
    let row = row_id("file", key.0, [key.1, key.2, key.3]);
    exchange(txn, &row, (&before, &BTreeSet::from([new.digest])), dropped)
}

/// Whether a file of the key's package is recorded.
pub(super) fn has_file(
    table: &impl ReadableTable<DocumentKey<'static>, &'static [u8]>,
    (origin, format, package, _): DocumentKey<'_>,
) -> Result<bool, Error> {
    let next = table.range((origin, format, package, "")..)?.next().transpose()?;
    Ok(next.is_some_and(|(key, _)| {
        let (its, its_format, its_package, _) = key.value();
        (its, its_format, its_package) == (origin, format, package)
    }))
}

/// Moves a row from the digests that it named to those that it names.
pub(super) fn exchange(
    txn: &WriteTransaction,
    row: &Digest,
    (before, after): (&BTreeSet<Digest>, &BTreeSet<Digest>),
    dropped: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let changed = before.symmetric_difference(after).copied().collect();
    kinds::around_all(txn, changed, || {
        let mut table = txn.open_table(tables::CACHED_DIGEST)?;
        for digest in before.difference(after) {
            table.remove((digest.as_bytes(), row.as_bytes()))?;
            dropped.insert(*digest);
        }
        for digest in after {
            table.insert((digest.as_bytes(), row.as_bytes()), ())?;
        }
        Ok(())
    })
}

/// A name of fixed width for a row.
pub(super) fn row_id(kind: &str, origin: &[u8; 32], names: [&str; 3]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(origin);
    for name in names {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}
