//! What a session reads of the set that this node holds.

use super::Readers;
use crate::reconcile::Fingerprint;
use crate::{Collection, Item, PublicKey, RealmId, StatementId, Verified};

/// The set that this node holds. Two implementations: the node's store, and the in-memory twin of
/// tests and simulations ([`MemoryIndex`](super::MemoryIndex)).
pub trait Index {
    /// Random id of this store's history; new when it is created, restored or rebuilt.
    fn epoch(&self) -> u64;
    /// The admission sequence of the newest pair.
    fn last_sequence(&self) -> u64;
    /// Realms that are followed, ascending: what may be shared.
    fn follows(&self) -> Vec<RealmId>;
    /// Another number whenever what is followed, or who may see it, may have changed.
    fn revision(&self) -> u64;
    /// Who may see a realm, as its newest root says that is held.
    fn readers(&self, realm: &RealmId) -> Readers;
    /// Collections held of one realm, with their fingerprints.
    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)>;
    /// All items of a collection.
    fn items(&self, collection: &Collection) -> Vec<Item>;
    /// Pairs admitted after this sequence that are still held, oldest first, at most `limit`;
    /// `None` if entries after it were cut off.
    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>>;
    /// A statement with the signatures of the given keys (all, if `keys` is empty); `None` if none
    /// of them is held.
    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified>;
    /// Whether the pair is held.
    fn holds(&self, item: &Item) -> bool;
    /// What strangers may see of the realms that are this node's own: root statements, and newest
    /// releases, within the lobby's limits (32 statements, 64 KiB a realm). Nothing of a private
    /// realm.
    fn lobby(&self) -> Vec<Verified>;
}
