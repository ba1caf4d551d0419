//! A mesh for members only: whom this node lets in, and what the others see of it.
//!
//! With closed doors a stranger gets identify and the names of the realms of the lobby (their root
//! statements), and can hand in an invite. Its conversation runs over an index that follows nothing
//! and holds nothing, so neither side compares, sends or stores; it is given no blob, asked for
//! none, and told of no peer; and nothing is gossiped, as gossip knows no members. The moment the
//! peer becomes a member, by an invite or a grant, its conversation sees the whole index.
//!
//! With open doors nothing of this applies. Who is a member is not decided here.
//!
//! Source: mesh.md sections 3.2 and 8, DESIGN section 4.

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, Readers};
use crdt::{Body, Collection, Item, PublicKey, RealmId, StatementId, Verified};
use libp2p::PeerId;

use super::members::Members;
use super::swarm::Driver;
use super::sync::Prompt;
use crate::store::Store;

/// Whether strangers are kept out; clones are cheap.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    closed: bool,
    members: Members,
}

impl Doors {
    /// Closed to all but members, or open.
    pub(super) const fn new(closed: bool, members: Members) -> Self {
        Self { closed, members }
    }

    /// Whether strangers are kept out.
    pub(super) const fn are_closed(&self) -> bool {
        self.closed
    }

    /// Whether the peer may come in.
    pub(super) fn are_open_to(&self, peer: &PeerId) -> bool {
        !self.closed || self.members.is_member(peer)
    }

    /// What the peer's conversation sees, as of now.
    pub(super) fn sight(&self, store: Store, peer: &PeerId) -> Sight {
        Sight { store, is_kept_out: !self.are_open_to(peer) }
    }
}

/// The index, or next to nothing of it.
pub(super) struct Sight {
    store: Store,
    is_kept_out: bool,
}

impl Sight {
    fn unless_kept_out<T: Default>(&self, read: impl FnOnce(&Store) -> T) -> T {
        if self.is_kept_out { T::default() } else { read(&self.store) }
    }
}

impl Index for Sight {
    fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    fn last_sequence(&self) -> u64 {
        self.unless_kept_out(Index::last_sequence)
    }

    fn follows(&self) -> Vec<RealmId> {
        self.unless_kept_out(Index::follows)
    }

    /// Another number when the peer is let in, too.
    fn revision(&self) -> u64 {
        let revision = Index::revision(&self.store);
        revision.wrapping_mul(2).wrapping_add(self.is_kept_out.into())
    }

    fn readers(&self, realm: &RealmId) -> Readers {
        self.store.readers(realm)
    }

    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)> {
        self.unless_kept_out(|store| store.collections(realm))
    }

    fn items(&self, collection: &Collection) -> Vec<Item> {
        self.unless_kept_out(|store| store.items(collection))
    }

    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>> {
        self.unless_kept_out(|store| store.log(after, limit))
    }

    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified> {
        self.unless_kept_out(|store| store.envelope(id, keys))
    }

    fn holds(&self, item: &Item) -> bool {
        self.unless_kept_out(|store| store.holds(item))
    }

    fn lobby(&self) -> Vec<Verified> {
        let mut shown = self.store.lobby();
        if self.is_kept_out {
            shown.retain(|one| matches!(one.statement().body(), Body::Root(_)));
        }
        shown
    }
}

impl Driver {
    /// Somebody may have become a member, or none any more: conversations look again.
    pub(super) fn members_changed(&mut self) {
        if self.context.doors.are_closed() {
            self.peers.iter().for_each(|(_, peer)| peer.prompt(Prompt::Members));
        }
        self.introductions.news();
    }
}
