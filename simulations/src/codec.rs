//! Frames and signatures, read once for all who get the same bytes.
//!
//! Every frame is encoded, travels as bytes and is decoded. Ten thousand nodes get the same
//! statements in the same frames, though, and reading them is a pure function: what was read once
//! is remembered, for batches alone. The same holds for signatures, which are verified by the
//! node's own code, and it is how all nodes come to share one copy of a statement.

use std::collections::HashMap;
use std::sync::Arc;

use crdt::message::{FRAME_MAX_BYTES, Frame};
use crdt::{Envelope, Verified};

/// Frames and envelopes that are remembered.
const REMEMBERED_MAX: usize = 8_192;
/// Types of frames that carry batches: RESUME and STATEMENTS.
const BATCHES: [u8; 2] = [0x03, 0x09];

/// What was read before.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    frames: HashMap<blake3::Hash, Option<Arc<Frame>>>,
    verified: HashMap<blake3::Hash, Option<Arc<Verified>>>,
}

impl Codec {
    /// The frame, if these bytes are exactly one that carries a batch: `Err` if it is broken,
    /// `None` if it is another, which a decoder is to read.
    pub(crate) fn batch(&mut self, bytes: &[u8]) -> Option<Result<Arc<Frame>, ()>> {
        let (length, content) = bytes.split_first_chunk::<4>()?;
        let (kind, body) = content.split_first()?;
        let is_whole = u32::from_le_bytes(*length) as usize == content.len();
        if !is_whole || bytes.len() > FRAME_MAX_BYTES || !BATCHES.contains(kind) {
            return None;
        }
        if self.frames.len() >= REMEMBERED_MAX {
            self.frames.clear();
        }
        let read = || Frame::decode(*kind, body).ok().flatten().map(Arc::new);
        let frame = self.frames.entry(blake3::hash(bytes)).or_insert_with(read);
        Some(frame.clone().ok_or(()))
    }

    /// The envelope, if all its signatures are good.
    pub(crate) fn verify(&mut self, envelope: Envelope) -> Option<Arc<Verified>> {
        if self.verified.len() >= REMEMBERED_MAX {
            self.verified.clear();
        }
        let name = blake3::hash(&envelope.encode());
        let verify = || envelope.verify().ok().map(Arc::new);
        self.verified.entry(name).or_insert_with(verify).clone()
    }
}
