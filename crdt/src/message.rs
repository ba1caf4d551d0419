//! Frames of `/griot/sync/1`: u32 little-endian length, 1 byte type, canonical CBOR body (mesh.md §7).
use crate::{Envelope, RealmId, StatementId};
/// One frame.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Frame {
    Hello { version: u32, features: u64, max_frame: u64, key: [u8; 32], epoch: u64, seen: Option<(u64, u64)>, follows: Vec<RealmId> },
    Follows { follows: Vec<RealmId> },
    Resume { from: u64, to: u64, batch: Vec<Envelope> },
    /// `coll` absent: over all shared collections. `sequence`: the sender's last admission sequence.
    Check { coll: Option<[u8; 32]>, count: u64, fingerprint: [u8; 16], sequence: u64 },
    Colls { entries: Vec<([u8; 32], u64, [u8; 16])> },
    AllIds { coll: [u8; 32], ids: Vec<u64>, last: bool },
    Done { coll: [u8; 32], want: Vec<u64> },
    Want { ids: Vec<StatementId> },
    Statements { batch: Vec<Envelope> },
    Lobby { batch: Vec<Envelope> },
    GoAway { reason: String },
}
