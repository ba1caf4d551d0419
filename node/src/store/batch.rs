//! Changes that share a commit: blobs, rows of what came from upstreams, sources of names.
//!
//! An install brings hundreds of them at once, and each commit costs syncs of the disk. So changes
//! wait in a list; whoever finds nobody writing starts a writer on a thread of its own, which
//! takes all that wait, again and again until none does. It goes on when its starter goes away. A
//! call returns when the commit with its changes is durable, or with the error of that commit.
//!
//! Blobs are moved to their names before the transaction records them, each folder synced once,
//! under the marks that `recovery` reads: see `blob`. Changes of one call are in one commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::routes::Source;
use crdt::statement::Subject;
use crdt::{Digest, PackageId};
use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::blob::{self, Staged};
use super::cached::{CachedDocument, CachedFile};
use super::{BlobInfo, Error, Inner, Store, cached_rows, lock, pins, tables};

/// Calls of one commit.
const BATCH_MAX: usize = 1024;

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Change {
    Blob(Box<Staged>),
    Document(Box<CachedDocument>),
    File(Box<CachedFile>),
    /// The source of a name that has none.
    Source(Box<(PackageId, Source)>),
    /// A small row of another layer: kind, key, value.
    Named(Box<(String, String, Vec<u8>)>),
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    Row,
    Blob(Box<BlobInfo>),
    /// Whether it changed anything.
    Source(bool),
}

/// The changes of one call, and where it waits for what became of the first.
#[derive(Debug)]
struct Call {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<Kept, Error>>,
}

/// Calls that wait, and whether somebody writes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    calls: Vec<Call>,
    writing: bool,
}

impl Store {
    /// Keeps all of them or none, durable when it returns; says what became of the first.
    pub(super) async fn keep(&self, changes: Vec<Change>) -> Result<Kept, Error> {
        let (done, told) = oneshot::channel();
        let starts = {
            let mut waiting = lock(&self.inner.waiting);
            waiting.calls.push(Call { changes, done });
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
            // Those that wait hear that nothing was kept, and the next call finds nobody writing.
            *lock(&self.inner.waiting) = Waiting::default();
        }
    }
}

impl Writer {
    fn write_all(self) {
        loop {
            let turn = self.inner.writer.take();
            let mut batch: Vec<Call> = {
                let mut waiting = lock(&self.inner.waiting);
                let size = waiting.calls.len().min(BATCH_MAX);
                waiting.calls.drain(..size).collect()
            };
            let result = self.commit(&mut batch).map_err(|why| self.inner.give_up(why));
            drop(turn);
            let done: Vec<_> = batch.into_iter().map(|call| call.done).collect();
            let ends = {
                // Under one lock, or a call could come that nobody writes.
                let mut waiting = lock(&self.inner.waiting);
                waiting.writing = !waiting.calls.is_empty();
                !waiting.writing
            };
            if ends {
                // Before the answer: who drops the store after it may open the home again.
                drop(self);
                return tell(done, result);
            }
            tell(done, result);
        }
    }

    fn commit(&self, batch: &mut [Call]) -> Result<Vec<Kept>, Error> {
        let txn = self.inner.begin_write()?;
        let moved = self.move_blobs(&txn, batch)?;
        let (mut kept, mut dropped) = (Vec::with_capacity(batch.len()), BTreeSet::new());
        for call in &*batch {
            let mut first = Kept::Row;
            for (number, change) in call.changes.iter().enumerate() {
                let end = put(&txn, change, &mut dropped)?;
                if number == 0 {
                    first = end;
                }
            }
            kept.push(first);
        }
        let removed = self.remove_unused(&txn, dropped, &moved)?;
        // Also when the commit fails: nobody knows how far it came.
        let counted = self.inner.changes.at_end();
        txn.commit()?;
        self.inner.batch_commits.fetch_add(1, Ordering::Relaxed);
        let mut entered = moved.clone();
        for change in batch.iter_mut().flat_map(|call| &mut call.changes) {
            if let Change::Blob(staged) = change {
                // Of equal ones in one batch the first was moved; the others leave their files.
                staged.entered(entered.remove(&staged.info().digest));
            }
        }
        for digest in &moved {
            blob::clear_intent(&self.inner, digest);
        }
        for digest in removed {
            blob::erase(&self.inner, &digest);
        }
        drop(counted);
        for change in batch.iter().flat_map(|call| &call.changes) {
            if let Change::Document(document) = change {
                let Subject { format, document, .. } = &document.subject;
                self.inner.changes.touched(PackageId::new(format, document));
            }
        }
        Ok(kept)
    }

    /// Gives new blobs their names, durably; says which.
    fn move_blobs(
        &self,
        txn: &WriteTransaction,
        batch: &[Call],
    ) -> Result<BTreeSet<Digest>, Error> {
        let (mut files, mut moved) = (Vec::new(), BTreeSet::new());
        for change in batch.iter().flat_map(|call| &call.changes) {
            let Change::Blob(staged) = change else { continue };
            let info = staged.info();
            // The same one twice: the first is as good.
            if !moved.contains(&info.digest) && blob::is_new(&self.inner, txn, info)? {
                moved.insert(info.digest);
                files.push((staged.path(), info.digest));
            }
        }
        if !files.is_empty() {
            blob::move_in(&self.inner, &files)?;
        }
        Ok(moved)
    }

    /// Forgets blobs that no row and no release names any more. One that has come just now is about
    /// to be named.
    fn remove_unused(
        &self,
        txn: &WriteTransaction,
        dropped: BTreeSet<Digest>,
        moved: &BTreeSet<Digest>,
    ) -> Result<Vec<Digest>, Error> {
        let mut removed = Vec::new();
        for digest in dropped.into_iter().filter(|digest| !moved.contains(digest)) {
            if !cached_rows::is_used(txn, &digest)?
                && !cached_rows::is_released(txn, &digest)?
                && blob::record(txn, &digest)?.is_some()
            {
                blob::unlist(&self.inner, txn, &digest)?;
                removed.push(digest);
            }
        }
        Ok(removed)
    }
}

fn put(
    txn: &WriteTransaction,
    change: &Change,
    dropped: &mut BTreeSet<Digest>,
) -> Result<Kept, Error> {
    match change {
        Change::Blob(staged) => {
            let info = blob::list(txn, staged.info().clone())?;
            Ok(Kept::Blob(Box::new(info)))
        }
        Change::Document(document) => {
            cached_rows::put_document(txn, document, dropped).map(|()| Kept::Row)
        }
        Change::File(file) => cached_rows::put_file(txn, file, dropped).map(|()| Kept::Row),
        Change::Named(row) => {
            let (kind, key, value) = row.as_ref();
            txn.open_table(tables::ROW)?.insert((kind.as_str(), key.as_str()), value.as_slice())?;
            Ok(Kept::Row)
        }
        Change::Source(pin) => pins::put_source(txn, &pin.0, &pin.1, false).map(Kept::Source),
    }
}

/// Who went away does not want to know.
fn tell(done: Vec<oneshot::Sender<Result<Kept, Error>>>, result: Result<Vec<Kept>, Error>) {
    match result {
        Ok(kept) => {
            for (done, kept) in done.into_iter().zip(kept) {
                let _ = done.send(Ok(kept));
            }
        }
        Err(error) => {
            for done in done {
                let _ = done.send(Err(again(&error)));
            }
        }
    }
}

/// The same error for one more caller.
fn again(error: &Error) -> Error {
    match error {
        Error::Full { free, needed } => Error::Full { free: *free, needed: *needed },
        Error::OverQuota { quota, held, needed } => {
            Error::OverQuota { quota: *quota, held: *held, needed: *needed }
        }
        Error::Io(why) => std::io::Error::new(why.kind(), why.to_string()).into(),
        other => Error::Database(other.to_string()),
    }
}
