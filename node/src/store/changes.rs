//! Whether anything has changed since: one number, and the names of packages that did.
//!
//! What is rendered of the index may be sent again without a look at the database while the number
//! is the same. It is raised at the end of every commit, whatever was in it, when those who keep
//! something in memory have been told, and before the commit's caller is answered: who reads the
//! number first and the database after it can never take an old rendering for a new one.
//!
//! Does not say what has changed. The names are a hint for who wants to render early: those who lag
//! behind miss some. Nothing here survives a restart, and nothing needs to.

use std::sync::atomic::{AtomicU64, Ordering};

use crdt::PackageId;
use tokio::sync::broadcast;

use super::Store;

/// Names that a slow subscriber may lag behind before it misses some.
const LAG_MAX: usize = 1024;

/// What has happened since the start.
#[derive(Debug)]
pub(super) struct Changes {
    generation: AtomicU64,
    names: broadcast::Sender<PackageId>,
}

/// Raises the number when it goes.
#[derive(Debug)]
pub(super) struct AtEnd<'c>(&'c Changes);

impl AtEnd<'_> {
    /// There was no change after all.
    pub(super) fn unchanged(self) {
        std::mem::forget(self);
    }
}

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.count();
    }
}

impl Changes {
    pub(super) fn new() -> Self {
        Self { generation: AtomicU64::new(1), names: broadcast::channel(LAG_MAX).0 }
    }

    /// Counts a change when what is returned is dropped.
    pub(super) const fn at_end(&self) -> AtEnd<'_> {
        AtEnd(self)
    }

    /// Tells who wants to know that a package is another one now.
    pub(super) fn touched(&self, package: PackageId) {
        // Without subscribers there is nobody to tell.
        let _ = self.names.send(package);
    }

    pub(super) fn count(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

impl Store {
    /// Another number after each commit. Read it before what depends on it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.changes.generation.load(Ordering::SeqCst)
    }

    /// Something outside the database that renderings depend on has changed.
    pub fn count_change(&self) {
        self.inner.changes.count();
    }

    /// Packages of which a statement or an upstream's document has come.
    #[must_use]
    pub fn watch_packages(&self) -> broadcast::Receiver<PackageId> {
        self.inner.changes.names.subscribe()
    }
}
