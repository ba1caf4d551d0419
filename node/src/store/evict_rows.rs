//! The cached rows that go with an evicted blob.
//!
//! A row knows its digests, and a digest only a hash of its rows: so the rows that name some
//! digests are found in one pass over all of them, for many digests at once. What changed between
//! that pass and the transaction is seen by whoever evicts: the digest is named still.
//!
//! *Invariant kept:* `cached_digest` has exactly what the rows name: see `cached_rows`.

use std::collections::BTreeSet;

use crdt::{Digest, PackageId};
use redb::{ReadableTable as _, WriteTransaction};

use super::cached::{CachedDocument, CachedFile};
use super::cached_rows::{self, document_key, exchange, row_id};
use super::tables::{self, Tables};
use super::{Error, Store, blocking, kinds};

/// Rows that name one of some digests.
#[derive(Debug, Default)]
pub(super) struct Rows {
    documents: Vec<CachedDocument>,
    files: Vec<CachedFile>,
}

/// One pass over all rows.
pub(super) fn naming(txn: &impl Tables, digests: &BTreeSet<Digest>) -> Result<Rows, Error> {
    let mut found = Rows::default();
    for row in txn.table(tables::CACHED_DOCUMENT)?.iter()? {
        let row: CachedDocument = tables::decode("cached document", row?.1.value())?;
        if bodies(&row).iter().any(|digest| digests.contains(digest)) {
            found.documents.push(row);
        }
    }
    for row in txn.table(tables::CACHED_FILE)?.iter()? {
        let row: CachedFile = tables::decode("cached file", row?.1.value())?;
        if digests.contains(&row.digest) {
            found.files.push(row);
        }
    }
    Ok(found)
}

/// Forgets what the rows, if they are still as they were, say of `going`. A document whose newest
/// body goes is forgotten whole; says which other bodies it had.
pub(super) fn forget(
    txn: &WriteTransaction,
    rows: &Rows,
    going: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, Error> {
    let mut let_go = BTreeSet::new();
    for old in &rows.documents {
        if cached_rows::document(txn, &old.subject)?.as_ref() == Some(old) {
            forget_body(txn, old, going, &mut let_go)?;
        }
    }
    for old in &rows.files {
        let key = (old.origin.as_bytes(), &*old.format, &*old.package, &*old.file);
        let mut table = txn.open_table(tables::CACHED_FILE)?;
        let held = table.get(key)?.map(|row| tables::decode::<CachedFile>("file", row.value()));
        if going.contains(&old.digest) && held.transpose()?.as_ref() == Some(old) {
            table.remove(key)?;
            if !cached_rows::has_file(&table, key)? {
                kinds::count_package(txn, false)?;
            }
            let row = row_id("file", key.0, [key.1, key.2, key.3]);
            let before = BTreeSet::from([old.digest]);
            exchange(txn, &row, (&before, &BTreeSet::new()), &mut let_go)?;
        }
    }
    Ok(let_go.difference(going).copied().collect())
}

fn forget_body(
    txn: &WriteTransaction,
    old: &CachedDocument,
    going: &BTreeSet<Digest>,
    let_go: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let key = document_key(&old.subject);
    let row = row_id("document", key.0, [key.1, key.2, key.3]);
    let mut table = txn.open_table(tables::CACHED_DOCUMENT)?;
    let before = bodies(old);
    if old.body.is_some_and(|body| going.contains(&body)) {
        table.remove(key)?;
        return exchange(txn, &row, (&before, &BTreeSet::new()), let_go);
    }
    let mut new = old.clone();
    new.earlier.retain(|digest| !going.contains(digest));
    let bytes = tables::encode("cached document", &new)?;
    table.insert(key, bytes.as_slice())?;
    exchange(txn, &row, (&before, &bodies(&new)), let_go)
}

fn bodies(row: &CachedDocument) -> BTreeSet<Digest> {
    row.body.iter().chain(&row.earlier).copied().collect()
}

impl Store {
    /// The cached rows that name a blob, earlier bodies of documents too. Reads all rows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cached_naming(
        &self,
        digest: Digest,
    ) -> Result<(Vec<CachedDocument>, Vec<CachedFile>), Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        let named = BTreeSet::from([digest]);
        let rows = blocking(move || naming(&inner.read()?, &named)).await?;
        Ok((rows.documents, rows.files))
    }

    /// What is cached of a package of any upstream: its documents, and its files.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_of(
        &self,
        package: &PackageId,
    ) -> Result<(Vec<CachedDocument>, Vec<CachedFile>), Error> {
        let (txn, mut found) = (self.read()?, Rows::default());
        let (format, name) = (package.format.as_str(), package.name.as_str());
        for origin in origins(&txn)? {
            for row in txn.table(tables::CACHED_DOCUMENT)?.range((&origin, format, name, "")..)? {
                let (key, row) = row?;
                if (key.value().0, key.value().1, key.value().2) != (&origin, format, name) {
                    break;
                }
                found.documents.push(tables::decode("cached document", row.value())?);
            }
            found.files.extend(self.cached_files(&Digest::from_bytes(origin), format, name)?);
        }
        Ok((found.documents, found.files))
    }
}

/// Every upstream of which something is cached: one look-up for each.
fn origins(txn: &impl Tables) -> Result<BTreeSet<[u8; 32]>, Error> {
    let mut found = BTreeSet::new();
    macro_rules! look {
        ($table:expr) => {
            let (table, mut from) = (txn.table($table)?, [0; 32]);
            while let Some(row) = table.range((&from, "", "", "")..)?.next() {
                let origin = *row?.0.value().0;
                found.insert(origin);
                let Some(next) = successor(origin) else { break };
                from = next;
            }
        };
    }
    look!(tables::CACHED_DOCUMENT);
    look!(tables::CACHED_FILE);
    Ok(found)
}

/// The next key of 32 bytes.
fn successor(mut key: [u8; 32]) -> Option<[u8; 32]> {
    for byte in key.iter_mut().rev() {
        let (next, over) = byte.overflowing_add(1);
        *byte = next;
        if !over {
            return Some(key);
        }
    }
    None
}
