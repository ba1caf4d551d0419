//! Links: latency, loss, order, partitions; and every byte counted.
//!
//! A link is a stream: a lost frame is sent again, so it comes late and holds back what is behind
//! it. A partition cuts the connection: what is on the way is gone, both ends forget the
//! conversation, and after the heal they dial again and resume by their cursors.

use crdt::message::Decoder;
use crdt::session::{Millis, Session};

use crate::dice::Dice;

/// What a lost frame waits for its repetition, beside one round trip.
const REPEAT_MS: Millis = 200;
/// Repetitions after which a frame gets through in any case.
const REPEATS_MAX: u32 = 8;

/// One end of a link.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    /// When the last frame on the way to this end arrives.
    clear_at: Millis,
    /// For when a time-out is in the heap.
    pub(crate) timer_at: Option<Millis>,
}

/// A stream between two nodes; the first end is the initiator.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) latency_ms: Millis,
    pub(crate) up: bool,
    /// Grows with each cut: what was sent before it never arrives.
    pub(crate) generation: u64,
}

/// Faults and traffic, as they happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Transmissions that were lost and repeated.
    pub lost: u64,
    /// Connections that a partition cut.
    pub cut: u64,
    /// Frames that were on the way when their connection was cut.
    pub dropped: u64,
    /// Conversations that a side ended of its own accord.
    pub closed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: Vec<Link>,
    /// Node → (link, side).
    pub(crate) at: Vec<Vec<(usize, usize)>>,
    pub(crate) loss_per_mille: u64,
    pub(crate) counts: Counts,
}

impl Network {
    pub(crate) fn connect(&mut self, initiator: usize, responder: usize, latency_ms: Millis) {
        for (side, node) in [initiator, responder].into_iter().enumerate() {
            self.at[node].push((self.links.len(), side));
        }
        let ends = [initiator, responder].map(|node| End { node, ..End::default() });
        self.links.push(Link { ends, latency_ms, up: false, generation: 0 });
    }

    /// Counts a frame towards an end and says when it arrives.
    pub(crate) fn arrival(
        &mut self,
        (link, side): (usize, usize),
        now: Millis,
        bytes: &[u8],
        dice: &mut Dice,
    ) -> Millis {
        self.counts.frames += 1;
        self.counts.bytes += bytes.len() as u64;
        let link = &mut self.links[link];
        let mut arrival = now + link.latency_ms;
        for _ in 0..REPEATS_MAX {
            if !dice.per_mille(self.loss_per_mille) {
                break;
            }
            self.counts.lost += 1;
            arrival += REPEAT_MS + 2 * link.latency_ms;
        }
        let end = &mut link.ends[side];
        end.clear_at = end.clear_at.max(arrival);
        end.clear_at
    }

    /// A fresh stream, before anybody has spoken.
    pub(crate) fn open(&mut self, link: usize) {
        let link = &mut self.links[link];
        link.up = true;
        for end in &mut link.ends {
            *end = End { node: end.node, ..End::default() };
        }
    }

    /// Ends the connection; answers whether it stood.
    pub(crate) fn cut(&mut self, link: usize) -> bool {
        let link = &mut self.links[link];
        link.generation += u64::from(link.up);
        std::mem::replace(&mut link.up, false)
    }
}
