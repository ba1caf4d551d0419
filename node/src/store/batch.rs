//! Changes that share a commit: publishes, blobs, rows of what came from upstreams, pins.
//!
//! An install brings hundreds of them at once, and each commit costs syncs of the disk. So changes
//! wait in a list; whoever finds nobody writing starts a writer on a thread of its own, which
//! takes all that wait, again and again until none does. It goes on when its starter goes away. A
//! call returns when the commit with its changes is durable, or with the error of that commit.
//!
//! Blobs are moved to their names before the transaction records them, each folder synced once,
//! under the marks that `recovery` reads: see `blob`. Changes of one call are in one commit. A call
//! may have a decision that goes before its changes: see `publishing`. All decisions of a commit
//! are taken first, each with what those before it have changed, so that what is refused moves no
//! file; if nothing at all changes, nothing is committed, and nothing synced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::routes::Source;
use crdt::statement::Subject;
use crdt::{Content, Digest, PackageId};
use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::blob::{self, Staged};
use super::cached::{CachedDocument, CachedFile};
use super::changes::{AtEnd, Scope};
use super::pins::Slot;
use super::publishing::Decision;
use super::{Admission, BlobInfo, Error, Inner, Store, cached_rows, lock, pins, tables};

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
    /// The content of a slot that has none.
    Content(Box<(Slot, Content)>),
    /// A small row of another layer: kind, key, value.
    Named(Box<(String, String, Vec<u8>)>),
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum Kept {
    Row,
    Blob(Box<BlobInfo>),
    /// Whether it changed anything.
    Pin(bool),
    /// A decision was made.
    Admitted(Box<Admission>),
    /// A decision was refused: nothing of its call was kept.
    Refused,
}

impl Kept {
    fn is_change(&self) -> bool {
        !matches!(self, Self::Pin(false) | Self::Refused)
    }
}

/// The changes of one call, and where it waits for what became of its decision or, without one, of
/// the first change.
#[derive(Debug)]
struct Call {
    decision: Option<Decision>,
    changes: Vec<Change>,
    done: oneshot::Sender<Result<Kept, Error>>,
}

/// Calls that wait, and whether somebody writes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    calls: Vec<Call>,
    writing: bool,
}

#[cfg(test)]
impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }
}

impl Store {
    /// Keeps all of them or none, durable when it returns; says what became of the first.
    pub(super) async fn keep(&self, changes: Vec<Change>) -> Result<Kept, Error> {
        self.keep_decided(changes, None).await
    }

    /// The same; if there is a decision that refuses, none of the changes.
    pub(super) async fn keep_decided(
        &self,
        changes: Vec<Change>,
        decision: Option<Decision>,
    ) -> Result<Kept, Error> {
        let blobs = changes.iter().filter_map(|change| match change {
            Change::Blob(staged) => Some(staged.info().digest),
            _ => None,
        });
        let blobs: Vec<Digest> = blobs.collect();
        let (done, told) = oneshot::channel();
        let starts = {
            let mut waiting = lock(&self.inner.waiting);
            waiting.calls.push(Call { decision, changes, done });
            !std::mem::replace(&mut waiting.writing, true)
        };
        if starts {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || Writer { inner }.write_all());
        }
        let stopping = || Err(std::io::Error::other("the node is stopping").into());
        let kept = told.await.unwrap_or_else(|_| stopping())?;
        if !blobs.is_empty() {
            self.lists_came(blobs).await?;
        }
        Ok(kept)
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
        let (mut kept, mut scope) = (Vec::with_capacity(batch.len()), Scope::none());
        for call in &mut *batch {
            kept.push(self.decide(&txn, call, &mut scope)?);
        }
        let moved = self.move_blobs(&txn, batch)?;
        let (mut changed, mut dropped) = (false, BTreeSet::new());
        for (call, kept) in batch.iter().zip(&mut kept) {
            let is_decided = matches!(kept, Kept::Admitted(_));
            changed |= is_decided;
            for (number, change) in call.changes.iter().enumerate() {
                let end = self.put(&txn, change, &mut dropped)?;
                changed |= end.is_change();
                if number == 0 && !is_decided {
                    *kept = end;
                }
            }
        }
        if !changed {
            txn.abort()?;
            return Ok(kept);
        }
        let removed = self.remove_unused(&txn, dropped, &moved)?;
        // Also when the commit fails: nobody knows how far it came.
        let counted = self.inner.changes.at_end();
        txn.commit()?;
        self.inner.batch_commits.fetch_add(1, Ordering::Relaxed);
        self.settle(batch, &moved, &removed);
        scope.join(scope_of(batch));
        self.announce(batch, &kept, (counted, scope));
        Ok(kept)
    }

    /// Asks a call's decision, if it has one. What is refused loses its changes.
    fn decide(
        &self,
        txn: &WriteTransaction,
        call: &mut Call,
        scope: &mut Scope,
    ) -> Result<Kept, Error> {
        let Some(decision) = call.decision.take() else { return Ok(Kept::Row) };
        match decision.take(&self.inner, txn)? {
            Some((admission, concerned)) => {
                scope.join(concerned);
                Ok(Kept::Admitted(Box::new(admission)))
            }
            None => {
                call.changes.clear();
                Ok(Kept::Refused)
            }
        }
    }

    /// The commit is durable: marks and files that are of no more use go.
    fn settle(&self, batch: &mut [Call], moved: &BTreeSet<Digest>, removed: &[Digest]) {
        let mut entered = moved.clone();
        for change in batch.iter_mut().flat_map(|call| &mut call.changes) {
            if let Change::Blob(staged) = change {
                // Of equal ones in one batch the first was moved; the others leave their files.
                staged.entered(entered.remove(&staged.info().digest));
            }
        }
        for digest in moved {
            blob::clear_intent(&self.inner, digest);
        }
        for digest in removed {
            blob::erase(&self.inner, digest);
        }
    }

    /// Tells those who want to know, in the order that `changes` asks for.
    fn announce(&self, batch: &[Call], kept: &[Kept], (counted, scope): (AtEnd<'_>, Scope)) {
        let mut touched = BTreeSet::new();
        for kept in kept {
            let Kept::Admitted(admission) = kept else { continue };
            if !admission.new.is_empty() {
                self.inner.told_upto(admission);
                // Without subscribers there is nobody to tell.
                let _ = self.inner.admissions.send(Arc::new((**admission).clone()));
            }
            touched.extend(admission.new.iter().filter_map(|new| new.package.clone()));
        }
        counted.only(scope);
        for change in batch.iter().flat_map(|call| &call.changes) {
            if let Change::Document(document) = change {
                let Subject { format, document, .. } = &document.subject;
                touched.insert(PackageId::new(format, document));
            }
        }
        touched.into_iter().for_each(|package| self.inner.changes.touched(package));
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

    fn put(
        &self,
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
                let mut rows = txn.open_table(tables::ROW)?;
                rows.insert((kind.as_str(), key.as_str()), value.as_slice())?;
                Ok(Kept::Row)
            }
            Change::Source(pin) => pins::put_source(txn, &pin.0, &pin.1, false).map(Kept::Pin),
            Change::Content(pin) => {
                let (slot, content) = pin.as_ref();
                let changed = pins::put_content(txn, slot, content, false)?;
                if changed {
                    pins::follow_up(&self.inner, txn, &slot.realm, &slot.package)?;
                }
                Ok(Kept::Pin(changed))
            }
        }
    }
}

/// No document that is kept lacks a blob, so that one that comes concerns nobody's.
fn scope_of(batch: &[Call]) -> Scope {
    let mut scope = Scope::none();
    for change in batch.iter().flat_map(|call| &call.changes) {
        scope.join(match change {
            Change::Blob(_) => Scope::none(),
            Change::Document(document) => {
                Scope::of(&PackageId::new(&document.subject.format, &document.subject.document))
            }
            Change::File(file) => Scope::of(&PackageId::new(&file.format, &file.package)),
            Change::Named(row) => Scope::of_row(&row.0),
            Change::Source(pin) => Scope::of(&pin.0),
            Change::Content(pin) => Scope::of(&pin.0.package),
        });
    }
    scope
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
