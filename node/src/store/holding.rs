//! Files that are forgotten but not removed yet: while a backup reads, nothing that its snapshot
//! names goes away.
//!
//! A removal drops the record first and the file after it (`blob::erase`). While somebody holds a
//! [`Holding`], the second half waits in a list, with its intent in `tmp/`: after a crash the next
//! start ends it. The last holder that lets go removes what waits, unless the blob has come back in
//! between. Costs 32 bytes for each blob that waits. In memory alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::Digest;

use super::{Inner, Store, blob, lock};

/// Who holds, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Held {
    holders: usize,
    waiting: BTreeSet<Digest>,
}

/// While it lives, no file of a blob is removed. Dropped where blocking is allowed.
#[must_use]
#[derive(Debug)]
pub struct Holding {
    inner: Arc<Inner>,
}

impl Store {
    /// Keeps the files of blobs that are removed from now on, until the guard is dropped. Taken
    /// before a snapshot of the records, it keeps all that the snapshot names.
    pub fn hold_removals(&self) -> Holding {
        lock(&self.inner.held).holders += 1;
        Holding { inner: Arc::clone(&self.inner) }
    }
}

/// Whether the removal of a file has to wait; then it is remembered.
pub(super) fn postpones(inner: &Inner, digest: &Digest) -> bool {
    let mut held = lock(&inner.held);
    if held.holders > 0 {
        held.waiting.insert(*digest);
    }
    held.holders > 0
}

/// Whether somebody holds now.
pub(super) fn is_held(inner: &Inner) -> bool {
    lock(&inner.held).holders > 0
}

/// Whether its removal waits already.
pub(super) fn waits(inner: &Inner, digest: &Digest) -> bool {
    lock(&inner.held).waiting.contains(digest)
}

impl Drop for Holding {
    fn drop(&mut self) {
        let waiting = {
            let mut held = lock(&self.inner.held);
            held.holders = held.holders.saturating_sub(1);
            if held.holders > 0 { BTreeSet::new() } else { std::mem::take(&mut held.waiting) }
        };
        for digest in waiting {
            // The writer's turn: nobody gives the name to a new file in between.
            let _turn = self.inner.writer.take();
            match self.inner.read().and_then(|txn| blob::record(&txn, &digest)) {
                Ok(None) => blob::erase(&self.inner, &digest),
                Ok(Some(_)) => blob::clear_intent(&self.inner, &digest),
                // The intent stays: the next start looks again.
                Err(error) => {
                    tracing::warn!(%digest, "a removal waits for the next start: {error}")
                }
            }
        }
    }
}

#[cfg(test)]
impl Held {
    /// As after a crash.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
