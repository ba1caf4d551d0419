//! One peer's sync conversation, sans-IO: frames and events in, frames and requests out.

use crate::message::Frame;
use crate::{Collection, Item, RealmId, Verified, reconcile::Fingerprint};

/// Milliseconds of a monotonic clock that the caller owns.
pub type Millis = u64;

/// What a session reads of the set that this node holds. Two implementations: the node's store,
/// and the in-memory twin of tests and simulations ([`MemoryIndex`]).
pub trait Index {
    /// Random id of this store's history; new when it is created, restored or rebuilt.
    fn epoch(&self) -> u64;
    /// The admission sequence of the newest pair.
    fn last_sequence(&self) -> u64;
    /// Realms that are followed, sorted: what may be shared.
    fn follows(&self) -> Vec<RealmId>;
    /// Collections held of one realm, with their fingerprints.
    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)>;
    /// All items of a collection.
    fn items(&self, collection: &Collection) -> Vec<Item>;
    /// Admitted pairs after `sequence`, oldest first, at most `limit`; `None` if the log was cut there.
    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>>;
    /// A statement with the signatures of the given keys (all, if `keys` is empty).
    fn envelope(&self, id: &crate::StatementId, keys: &[crate::PublicKey]) -> Option<Verified>;
    /// Whether the pair is held.
    fn holds(&self, item: &Item) -> bool;
    /// What strangers may see of the realms that are this node's own: root statements, and newest
    /// releases, within the lobby's limits (32 statements, 64 KiB a realm).
    fn lobby(&self) -> Vec<Verified>;
}

/// What happens to a session.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Input {
    /// The stream is up. `seen`: (their store epoch, their sequence up to which we have their log).
    Start { key: [u8; 32], initiator: bool, seen: Option<(u64, u64)> },
    /// A frame arrived.
    Frame(Frame),
    /// What an `Output::Admit` asked for is done; `cursor` as it was given there.
    Admitted { cursor: Option<(u64, u64)> },
    /// Something new was admitted here (from whomever): push it if the peer shares it and may lack it.
    New(Vec<(Collection, Item)>),
    /// What we follow has changed.
    FollowsChanged,
    /// A peer's announcement named a statement that we lack: ask for it.
    Want(Vec<crate::StatementId>),
    /// Time passed.
    Timeout,
}

/// What a session wants done.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Output {
    Send(Frame),
    /// Verify and admit these (envelopes are structurally checked, signatures are not), store the cursor
    /// with them, then feed `Input::Admitted`.
    Admit { envelopes: Vec<crate::Envelope>, cursor: Option<(u64, u64)> },
    /// Remember the cursor alone.
    Cursor { epoch: u64, sequence: u64 },
    /// The peer's realms for strangers, to be shown, never installed.
    Lobby(Vec<crate::Envelope>),
    /// The peer follows these realms.
    PeerFollows(Vec<RealmId>),
    /// Both hold the same shared collections now; `behind` is then 0.
    InSync,
    /// About how many pairs we still lack from the peer.
    Behind(u64),
    Close(&'static str),
}

/// One conversation with one peer.
#[derive(Debug, Default)]
pub struct Session { _private: () }
impl Session {
    /// Nothing happens before `Input::Start`.
    #[must_use] pub fn new() -> Self { Self::default() }
    /// Takes an event. All reads of the index happen here.
    pub fn handle(&mut self, now: Millis, input: Input, index: &dyn Index) { let _ = (now, input, index); todo!() }
    /// What to do next; call until `None` after each `handle`.
    pub fn poll(&mut self) -> Option<Output> { todo!() }
    /// When to feed `Input::Timeout`.
    #[must_use] pub fn next_timeout(&self) -> Option<Millis> { todo!() }
}
