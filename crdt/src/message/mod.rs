//! Frames of `/griot/sync/1`: what two nodes say to each other about the index.
//!
//! A frame is `length u32 LE ‖ type u8 ‖ body`; the length counts type and body and is checked
//! against the cap before anything is allocated: 64 KiB until HELLO was read, 1 MiB afterwards. The
//! body is one CBOR array in canonical form: what was decoded is encoded again and compared.
//!
//! | type | name | body |
//! |---|---|---|
//! | 0x01 | HELLO | `[version, features, max_frame, key, epoch, seen, follows]` ¹ |
//! | 0x02 | FOLLOWS | `[[realm b32 …]]`, ascending |
//! | 0x03 | RESUME | `[from, to, batch]`: the sender's log after `from` up to `to` |
//! | 0x04 | CHECK | `[count, fingerprint b16, sequence]` over all shared collections |
//! | 0x05 | COLLS | `[last, [[name b32, count, fingerprint b16] …]]` |
//! | 0x06 | ALLIDS | `[name b32, last, ids]`: ids are a byte string of u64 LE, ascending |
//! | 0x07 | DONE | `[name b32, last, ids]`: what the sender wants of one ALLIDS, or of cells ² |
//! | 0x08 | WANT | `[[statement id b32 …]]`, at most 64 |
//! | 0x09 | STATEMENTS | `[batch]` |
//! | 0x0a | LOBBY | `[batch]`: for showing, never for installing |
//! | 0x0b | GOAWAY | `[reason]`, at most 256 bytes of text |
//! | 0x0c | CELLS | `[name b32, first, cells]`: cells of a sketch, 19 bytes each |
//! | 0x0d | MORE | `[name b32, count]`: so many cells in all, please; 0: all ids instead |
//! | 0x0e | PROOF | `[[[key b33, signature b64] …]]`: keys that the sender holds ³ |
//! | 0x0f | HIDDEN | `[[tag b32 …]]`, ascending: what it follows beside FOLLOWS ³ |
//! | 0x80 … 0xff | – | unknown ones are skipped; unknown ones below 0x80 end the conversation |
//!
//! ¹ key: b32; seen: `[]` or `[epoch, sequence]`; follows: `[realm b32 …]`, ascending. b32 is a
//! byte string of 32 bytes. Arrays and strings have definite lengths.
//!
//! ² An ALLIDS is answered by one DONE, which is the last; cells by several, their ids ascending
//! over all of them.
//!
//! ³ At most 4 keys, ascending; at most 2,000 tags. Sent only to who has said in its features that
//! it reads both.
//!
//! A batch is a byte string: zstd (level 3) over a CBOR array of byte strings, an envelope each, at
//! most 4 MiB inflated, no statement twice. The compressed form is not canonical, its content is.
//!
//! Source: mesh.md sections 7 and 8, index.md sections 2.6 and 7.7.

mod batch;
mod body;
mod decoder;

pub use batch::INFLATED_MAX_BYTES;
pub use decoder::{Decoder, frame_cap};

use crate::sketch::Cell;
use crate::{Envelope, Error, PublicKey, RealmId, Signature, StatementId};

/// Cap of a frame once HELLO was read, length field included.
pub const FRAME_MAX_BYTES: usize = 1024 * 1024;
/// Cap of a frame before HELLO was read.
pub const FIRST_FRAME_MAX_BYTES: usize = 64 * 1024;
/// Least cap that a peer may name in its HELLO: one statement with all its signatures fits.
pub const FRAME_LEAST_BYTES: usize = 128 * 1024;
/// Realms in one FOLLOWS.
pub const FOLLOWS_MAX: usize = 16_384;
/// Realms in a HELLO, which must fit the first frame's cap; the rest follows in a FOLLOWS.
pub const HELLO_FOLLOWS_MAX: usize = 1_024;
/// Collections in one COLLS.
pub const COLLS_MAX: usize = 2_000;
/// Short ids in one ALLIDS.
pub const IDS_MAX: usize = 32_768;
/// Cells in one CELLS.
pub const CELLS_MAX: usize = 4_096;
/// The feature bit of a sender that reads CELLS.
pub const FEATURE_CELLS: u64 = 1;
/// The feature bit of a sender that reads PROOF and HIDDEN.
pub const FEATURE_HIDDEN: u64 = 2;
/// The sender pays for each byte: what is new may wait for seconds, and share a frame.
pub const FEATURE_FRUGAL: u64 = 4;
/// Keys in one PROOF.
pub const PROOF_MAX: usize = 4;
/// Tags in one HIDDEN.
pub const HIDDEN_MAX: usize = 2_000;
/// Statements asked for by one WANT.
pub const WANT_MAX: usize = 64;
/// Bytes of text in a GOAWAY.
pub const REASON_MAX_BYTES: usize = 256;

/// One collection in a COLLS: (name, count, fingerprint under the sender's key).
pub type Listed = ([u8; 32], u64, [u8; 16]);

/// One frame. The table of layouts is in the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The first frame each way.
    Hello {
        /// Version of the protocol.
        version: u32,
        /// Feature bits; unknown ones mean nothing.
        features: u64,
        /// The largest frame that the sender reads.
        max_frame: u64,
        /// Drawn for this conversation: the sender's fingerprints and short ids are keyed with it.
        key: [u8; 32],
        /// The sender's store epoch.
        epoch: u64,
        /// (receiver's store epoch, sequence): how far the sender has the receiver's log.
        seen: Option<(u64, u64)>,
        /// What the sender follows, ascending.
        follows: Vec<RealmId>,
    },
    /// What the sender follows from now on.
    Follows {
        /// The realms, ascending.
        follows: Vec<RealmId>,
    },
    /// What came into the sender's log, filtered to shared collections.
    Resume {
        /// After this sequence,
        from: u64,
        /// up to this one.
        to: u64,
        /// The statements with the signatures that came.
        batch: Vec<Envelope>,
    },
    /// The sender's shared set, in one line.
    Check {
        /// Items in all shared collections.
        count: u64,
        /// Over all of them, under the sender's key.
        fingerprint: [u8; 16],
        /// The sender's newest admission sequence.
        sequence: u64,
    },
    /// The sender's shared collections, one by one.
    Colls {
        /// Whether no further one follows.
        last: bool,
        /// Authority first.
        entries: Vec<Listed>,
    },
    /// All short ids of a collection, or the next part of them.
    AllIds {
        /// Name of the collection.
        coll: [u8; 32],
        /// Ascending, under the sender's key.
        ids: Vec<u64>,
        /// Whether the collection ends here.
        last: bool,
    },
    /// Which ids of a collection the sender wants.
    Done {
        /// Name of the collection.
        coll: [u8; 32],
        /// Whether this is all.
        last: bool,
        /// Ascending, as they stood in the ALLIDS, or as they came out of the cells.
        want: Vec<u64>,
    },
    /// The next cells of a collection's sketch, under the sender's key.
    Cells {
        /// Name of the collection.
        coll: [u8; 32],
        /// The number of the first one.
        first: u64,
        /// At most [`CELLS_MAX`].
        cells: Vec<Cell>,
    },
    /// Asks for further cells.
    More {
        /// Name of the collection.
        coll: [u8; 32],
        /// How many cells the sender needs from the beginning; 0 for all ids in place of cells.
        count: u64,
    },
    /// Keys that the sender holds.
    Proof {
        /// Ascending by key, at most [`PROOF_MAX`]; what is signed: see
        /// [`Hello`](crate::signature::Hello).
        keys: Vec<(PublicKey, Signature)>,
    },
    /// What the sender follows and says to this peer alone.
    Hidden {
        /// A tag for each realm, ascending, at most [`HIDDEN_MAX`].
        tags: Vec<[u8; 32]>,
    },
    /// Asks for statements by id.
    Want {
        /// At most [`WANT_MAX`].
        ids: Vec<StatementId>,
    },
    /// Statements: pushed, or asked for.
    Statements {
        /// In the order in which they are to be admitted.
        batch: Vec<Envelope>,
    },
    /// What strangers may see of the sender's own realms.
    Lobby {
        /// Root statements and newest releases.
        batch: Vec<Envelope>,
    },
    /// The sender ends the conversation.
    GoAway {
        /// For the log of the receiver.
        reason: String,
    },
}

impl Frame {
    /// The whole frame, length field included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let compressed = self.batch().map(batch::compress);
        let mut out = vec![0, 0, 0, 0, self.kind()];
        body::write(self, compressed.as_deref().unwrap_or_default(), &mut out);
        let length = u32::try_from(out.len() - 4).expect("frames are built below 1 MiB");
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// Reads the body of a frame; `None` for an unknown type that may be skipped.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NotCanonical`] or [`Error::OverLimit`]: the peer is broken or
    /// hostile, the conversation is over.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, Error> {
        let Some((frame, compressed)) = body::read(kind, body)? else { return Ok(None) };
        let mut again = Vec::with_capacity(body.len());
        body::write(&frame, compressed, &mut again);
        if again == body { Ok(Some(frame)) } else { Err(Error::NotCanonical { what: "frame" }) }
    }

    /// The byte that names the type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 0x01,
            Self::Follows { .. } => 0x02,
            Self::Resume { .. } => 0x03,
            Self::Check { .. } => 0x04,
            Self::Colls { .. } => 0x05,
            Self::AllIds { .. } => 0x06,
            Self::Done { .. } => 0x07,
            Self::Want { .. } => 0x08,
            Self::Statements { .. } => 0x09,
            Self::Lobby { .. } => 0x0a,
            Self::GoAway { .. } => 0x0b,
            Self::Cells { .. } => 0x0c,
            Self::More { .. } => 0x0d,
            Self::Proof { .. } => 0x0e,
            Self::Hidden { .. } => 0x0f,
        }
    }

    fn batch(&self) -> Option<&[Envelope]> {
        match self {
            Self::Resume { batch, .. } | Self::Statements { batch } | Self::Lobby { batch } => {
                Some(batch)
            }
            _ => None,
        }
    }
}
