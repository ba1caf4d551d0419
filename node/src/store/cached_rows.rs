//! How cached rows are written: many in one commit, each with its digests.
//!
//! An install brings hundreds of rows at once, and each commit costs a sync of the disk. So rows
//! wait in a list; whoever finds nobody writing starts a writer on a thread of its own, which
//! takes all that wait, again and again until none does. It goes on when its starter goes away. A
//! call returns when the commit with its row is durable, or with the error of that commit.
//!
//! *Invariant:* `cached_digest` has (digest, row) exactly for the bodies that rows name, earlier
//! ones too. A blob that the last row let go of is removed, unless a release names it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::Digest;
use crdt::statement::Subject;
use redb::{ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use super::cached::{CachedDocument, CachedFile, EARLIER_MAX};
use super::statements::IDS;
use super::tables::{self, Tables};
use super::{Error, Inner, Store, blob, lock};

/// Rows of one commit.
const BATCH_MAX: usize = 1024;

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Row {
    Document(Box<CachedDocument>),
    File(Box<CachedFile>),
    /// A small row of another layer: kind, key, value.
    Named(Box<(String, String, Vec<u8>)>),
}

/// Rows that wait, and whether somebody writes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    rows: Vec<(Row, oneshot::Sender<Result<(), Error>>)>,
    writing: bool,
}

impl Store {
    /// Keeps a small named row, as [`Store::put_row`] does; calls at the same time share one
    /// commit, and hold one thread together.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_shared_row(&self, kind: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        self.keep_row(Row::Named(Box::new((kind.to_owned(), key.to_owned(), value)))).await
    }

    /// Keeps a row; durable when it returns.
    pub(super) async fn keep_row(&self, row: Row) -> Result<(), Error> {
        let (done, told) = oneshot::channel();
        let starts = {
            let mut waiting = lock(&self.inner.cached);
            waiting.rows.push((row, done));
            !std::mem::replace(&mut waiting.writing, true)
        };
        if starts {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || Writer { inner }.write_all());
        }
        let stopping = || Err(std::io::Error::other("the node is stopping").into());
        told.await.unwrap_or_else(|_| stopping())
    }
}

/// The one that writes.
struct Writer {
    inner: Arc<Inner>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Those that wait hear that nothing was kept, and the next row finds nobody writing.
            *lock(&self.inner.cached) = Waiting::default();
        }
    }
}

impl Writer {
    fn write_all(self) {
        loop {
            let turn = lock(&self.inner.writer);
            let batch: Vec<_> = {
                let mut waiting = lock(&self.inner.cached);
                let size = waiting.rows.len().min(BATCH_MAX);
                waiting.rows.drain(..size).collect()
            };
            let (rows, done): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let result = self.commit(&rows);
            drop(turn);
            let ends = {
                // Under one lock, or a row could come that nobody writes.
                let mut waiting = lock(&self.inner.cached);
                waiting.writing = !waiting.rows.is_empty();
                !waiting.writing
            };
            let tell = || {
                for done in done {
                    // Who went away does not want to know.
                    let _ = done.send(result.as_ref().map_err(again).copied());
                }
            };
            if ends {
                // Before the answer: who drops the store after it may open the home again.
                drop(self);
                return tell();
            }
            tell();
        }
    }

    fn commit(&self, rows: &[Row]) -> Result<(), Error> {
        let explain = |why| self.inner.explain(why, 0);
        let txn = self.inner.begin_write()?;
        let mut dropped = BTreeSet::new();
        for row in rows {
            put(&txn, row, &mut dropped).map_err(explain)?;
        }
        let mut removed = Vec::new();
        for digest in dropped {
            if !is_used(&txn, &digest)?
                && !is_released(&txn, &digest)?
                && blob::record(&txn, &digest)?.is_some()
            {
                blob::unlist(&self.inner, &txn, &digest).map_err(explain)?;
                removed.push(digest);
            }
        }
        txn.commit().map_err(|why| explain(why.into()))?;
        self.inner.cached_commits.fetch_add(1, Ordering::Relaxed);
        for digest in removed {
            blob::erase(&self.inner, &digest);
        }
        Ok(())
    }
}

/// The same error for one more caller.
fn again(error: &Error) -> Error {
    match error {
        Error::Full { free, needed } => Error::Full { free: *free, needed: *needed },
        Error::Io(why) => std::io::Error::new(why.kind(), why.to_string()).into(),
        other => Error::Database(other.to_string()),
    }
}

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
fn is_released(txn: &impl Tables, digest: &Digest) -> Result<bool, Error> {
    let table = txn.table(tables::ARTIFACT)?;
    let digest = digest.as_bytes();
    let first = table.range((digest, &IDS.0)..=(digest, &IDS.1))?.next().transpose()?;
    Ok(first.is_some())
}

fn document_key(subject: &Subject) -> (&[u8; 32], &str, &str, &str) {
    let Subject { origin, format, document, variant } = subject;
    (origin.as_bytes(), format, document, variant)
}

fn put(txn: &WriteTransaction, row: &Row, dropped: &mut BTreeSet<Digest>) -> Result<(), Error> {
    match row {
        Row::Document(document) => put_document(txn, document, dropped),
        Row::File(file) => put_file(txn, file, dropped),
        Row::Named(row) => {
            let (kind, key, value) = row.as_ref();
            txn.open_table(tables::ROW)?.insert((kind.as_str(), key.as_str()), value.as_slice())?;
            Ok(())
        }
    }
}

fn put_document(
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

fn put_file(
    txn: &WriteTransaction,
    new: &CachedFile,
    dropped: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let key = (new.origin.as_bytes(), new.format.as_str(), new.package.as_str(), new.file.as_str());
    let bytes = tables::encode("cached file", new)?;
    let before: Option<CachedFile> = {
        let mut table = txn.open_table(tables::CACHED_FILE)?;
        let old = table.insert(key, bytes.as_slice())?;
        old.map(|old| tables::decode("cached file", old.value())).transpose()?
    };
    let before = before.map(|old| old.digest).into_iter().collect();
    let row = row_id("file", key.0, [key.1, key.2, key.3]);
    exchange(txn, &row, (&before, &BTreeSet::from([new.digest])), dropped)
}

/// Moves a row from the digests that it named to those that it names.
fn exchange(
    txn: &WriteTransaction,
    row: &Digest,
    (before, after): (&BTreeSet<Digest>, &BTreeSet<Digest>),
    dropped: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let mut table = txn.open_table(tables::CACHED_DIGEST)?;
    for digest in before.difference(after) {
        table.remove((digest.as_bytes(), row.as_bytes()))?;
        dropped.insert(*digest);
    }
    for digest in after {
        table.insert((digest.as_bytes(), row.as_bytes()), ())?;
    }
    Ok(())
}

/// A name of fixed width for a row.
fn row_id(kind: &str, origin: &[u8; 32], names: [&str; 3]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(origin);
    for name in names {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}
