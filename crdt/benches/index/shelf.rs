//! An index with a million items that lie nowhere: what both ends hold in common is a list of
//! items without statements, what differs is a true set.
//!
//! A conversation reads items and fingerprints of what is equal, and statements only of what is
//! not, so it cannot tell.

use std::rc::Rc;

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, MemoryIndex, Readers};
use crdt::{Collection, Item, PublicKey, RealmId, StatementId, Verified};

/// Items that both ends hold, sorted, and their fingerprint.
pub(crate) struct Common {
    items: Vec<Item>,
    state: Fingerprint,
}

/// One end.
pub(crate) struct Shelf {
    collection: Collection,
    common: Rc<Common>,
    own: MemoryIndex,
    /// Of all items.
    state: Fingerprint,
}

impl Common {
    /// Of these items.
    pub(crate) fn of(mut items: Vec<Item>) -> Self {
        items.sort_unstable();
        let mut state = Fingerprint::empty();
        items.iter().for_each(|item| state.add(item));
        Self { items, state }
    }

    /// Without some of them.
    pub(crate) fn without_last(&self, count: usize) -> Self {
        let mut items = self.items.clone();
        let mut state = self.state.clone();
        items.drain(items.len() - count..).for_each(|item| state.remove(&item));
        Self { items, state }
    }
}

impl Shelf {
    /// An end that holds the common items in `collection`, and nothing else of it.
    pub(crate) fn new(epoch: u64, collection: Collection, common: Rc<Common>) -> Self {
        let mut own = MemoryIndex::new(epoch);
        own.follow(collection.realm());
        let state = common.state.clone();
        Self { collection, common, own, state }
    }

    /// As [`MemoryIndex::admit`].
    pub(crate) fn admit(&mut self, verified: Verified) -> Vec<(Collection, Item)> {
        let new = self.own.admit(verified);
        for (collection, item) in &new {
            if *collection == self.collection {
                self.state.add(item);
            }
        }
        new
    }
}

impl Index for Shelf {
    fn epoch(&self) -> u64 {
        self.own.epoch()
    }

    fn last_sequence(&self) -> u64 {
        self.common.state.count + self.own.last_sequence()
    }

    fn follows(&self) -> Vec<RealmId> {
        self.own.follows()
    }

    fn revision(&self) -> u64 {
        self.own.revision()
    }

    fn readers(&self, _: &RealmId) -> Readers {
        Readers::Anybody
    }

    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)> {
        let mut all = self.own.collections(realm);
        all.retain(|(collection, _)| *collection != self.collection);
        if self.collection.realm() == *realm {
            all.push((self.collection.clone(), self.state.clone()));
        }
        all
    }

    fn items(&self, collection: &Collection) -> Vec<Item> {
        let mut items = self.own.items(collection);
        if *collection == self.collection {
            items.extend_from_slice(&self.common.items);
        }
        items
    }

    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>> {
        // The common items were never admitted: whoever asks for them compares.
        let offset = self.common.state.count;
        let log = self.own.log(after.checked_sub(offset)?, limit)?;
        Some(log.into_iter().map(|(n, held, item)| (n + offset, held, item)).collect())
    }

    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified> {
        self.own.envelope(id, keys)
    }

    fn holds(&self, item: &Item) -> bool {
        self.common.items.binary_search(item).is_ok() || self.own.holds(item)
    }

    fn lobby(&self) -> Vec<Verified> {
        Vec::new()
    }
}
