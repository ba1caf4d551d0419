//! The index of a node that says what it holds and does not give all of it.

use std::cell::Cell;

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, MemoryIndex, Readers};
use crdt::{Collection, Item, PublicKey, RealmId, StatementId, Verified};

/// Counts, lists and fingerprints of everything; envelopes of a half.
#[derive(Debug)]
pub(crate) struct Withholding<'a> {
    held: &'a MemoryIndex,
    /// How often it was asked in vain.
    pub(crate) refused: Cell<u64>,
}

impl<'a> Withholding<'a> {
    pub(crate) const fn new(held: &'a MemoryIndex) -> Self {
        Self { held, refused: Cell::new(0) }
    }
}

impl Index for Withholding<'_> {
    fn epoch(&self) -> u64 {
        self.held.epoch()
    }

    fn last_sequence(&self) -> u64 {
        self.held.last_sequence()
    }

    fn follows(&self) -> Vec<RealmId> {
        self.held.follows()
    }

    fn revision(&self) -> u64 {
        self.held.revision()
    }

    fn readers(&self, realm: &RealmId) -> Readers {
        self.held.readers(realm)
    }

    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)> {
        self.held.collections(realm)
    }

    fn items(&self, collection: &Collection) -> Vec<Item> {
        self.held.items(collection)
    }

    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>> {
        self.held.log(after, limit)
    }

    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified> {
        if id.0.as_bytes()[0].is_multiple_of(2) {
            self.refused.set(self.refused.get() + 1);
            return None;
        }
        self.held.envelope(id, keys)
    }

    fn holds(&self, item: &Item) -> bool {
        self.held.holds(item)
    }

    fn lobby(&self) -> Vec<Verified> {
        self.held.lobby()
    }
}
