//! Links: latency, loss, order, bandwidth, partitions; and every byte counted.
//!
//! A link carries two things. Its *stream* is reliable and ordered, as TCP is: a lost frame is sent
//! again, so it comes late and holds back what is behind it; nothing is reordered or doubled there.
//! *Datagrams* beside it carry gossip: each takes its own time, so they overtake one another; some
//! are lost for good and some arrive twice.
//!
//! A cut ends the connection: what is on the way is gone, both ends forget the conversation, and
//! when they meet again they resume by their cursors.

use std::collections::{BTreeMap, BTreeSet};

use crdt::message::Decoder;
use crdt::session::{Millis, Session};
use serde::Serialize;

use crate::dice::Dice;
use crate::faults::{Fault, Fired};

/// What a lost frame waits for its repetition, beside one round trip.
const REPEAT_MS: Millis = 200;
/// Repetitions after which a frame gets through in any case.
const REPEATS_MAX: u32 = 8;

/// An end of a link: (link, side).
pub(crate) type At = (usize, usize);

/// One end of a link.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    /// Bytes came that are no whole frames: from now on the decoder alone tells them apart.
    pub(crate) is_ragged: bool,
    /// When the last frame on the way to this end arrives.
    clear_at: Millis,
    /// When the line from this end is free.
    pub(crate) free_at: Millis,
    /// For when a time-out is in the heap.
    pub(crate) timer_at: Option<Millis>,
    /// Datagrams sent towards this end.
    sent: u64,
    /// Those that arrived.
    arrived: BTreeSet<u64>,
}

/// What a link can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Road {
    pub(crate) latency_ms: Millis,
    /// Of the stream, each way; 0 for more than is ever needed.
    pub(crate) bytes_per_second: u64,
    /// Unmetered: gossip goes beside the stream.
    pub(crate) gossips: bool,
}

/// A link between two nodes; the first end is the initiator.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) road: Road,
    pub(crate) up: bool,
    /// Partitions that it is cut by.
    pub(crate) parted: u32,
    /// Conversations in a row that ended badly, and when this one began.
    pub(crate) failures: u32,
    pub(crate) since: Millis,
    /// Grows with each cut: what was sent before it never arrives.
    pub(crate) generation: u64,
}

/// How bad the weather is.
#[derive(Debug, Default, Clone, Copy)]
pub struct Weather {
    /// Transmissions lost, of a thousand.
    pub loss_per_mille: u64,
    /// Datagrams that arrive twice, of a thousand.
    pub double_per_mille: u64,
    /// How much longer than the latency a datagram may take.
    pub jitter_ms: Millis,
}

/// What was sent.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Frames and datagrams of honest nodes.
    pub frames: u64,
    /// Their bytes, each repetition counted.
    pub bytes: u64,
    /// The bytes by what they carried.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// Bytes that hostile nodes sent.
    pub hostile_bytes: u64,
    /// Frames that were on the way when their connection was cut.
    pub dropped: u64,
    /// Conversations that an honest node ended for what a hostile one did.
    pub closed: u64,
    /// Conversations that ended between two honest nodes: there should be none.
    pub quarrels: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: Vec<Link>,
    /// Node → its ends.
    pub(crate) at: Vec<Vec<At>>,
    pub(crate) weather: Weather,
    pub(crate) traffic: Traffic,
    pub(crate) fired: Fired,
}

impl Network {
    pub(crate) fn new(nodes: usize, weather: Weather) -> Self {
        Self { at: vec![Vec::new(); nodes], weather, ..Self::default() }
    }

    /// A link that is not up yet; answers which.
    pub(crate) fn connect(&mut self, initiator: usize, responder: usize, road: Road) -> usize {
        let link = self.links.len();
        for (side, node) in [initiator, responder].into_iter().enumerate() {
            self.at[node].push((link, side));
        }
        let ends = [initiator, responder].map(|node| End { node, ..End::default() });
        let (up, parted, failures, since, generation) = (false, 0, 0, 0, 0);
        self.links.push(Link { ends, road, up, parted, failures, since, generation });
        link
    }

    pub(crate) fn node(&self, (link, side): At) -> usize {
        self.links[link].ends[side].node
    }

    /// Counts what a node sends. `kind` is what a report calls it.
    pub(crate) fn count(&mut self, honest: bool, kind: &'static str, bytes: usize) {
        let bytes = bytes as u64;
        if honest {
            self.traffic.frames += 1;
            self.traffic.bytes += bytes;
            *self.traffic.by_kind.entry(kind).or_default() += bytes;
        } else {
            self.traffic.hostile_bytes += bytes;
        }
    }

    /// Takes a frame towards an end: when it arrives, and how often it had to be sent.
    pub(crate) fn stream(
        &mut self,
        (link, side): At,
        now: Millis,
        bytes: usize,
        dice: &mut Dice,
    ) -> (Millis, u32) {
        let road = self.links[link].road;
        let from = &mut self.links[link].ends[1 - side];
        if from.free_at > now {
            self.fired.note(Fault::Bandwidth);
        }
        let mut sent = from.free_at.max(now);
        if road.bytes_per_second > 0 {
            sent += (bytes as u64 * 1000).div_ceil(road.bytes_per_second);
            from.free_at = sent;
        }
        let (mut arrival, mut times) = (sent + road.latency_ms, 1);
        while times <= REPEATS_MAX && dice.per_mille(self.weather.loss_per_mille) {
            self.fired.note(Fault::Loss);
            arrival += REPEAT_MS + 2 * road.latency_ms;
            times += 1;
        }
        let end = &mut self.links[link].ends[side];
        end.clear_at = end.clear_at.max(arrival);
        (end.clear_at, times)
    }

    /// Takes a datagram towards an end: its number there, and when it arrives, if it does; twice,
    /// if it does that.
    pub(crate) fn datagram(
        &mut self,
        (link, side): At,
        now: Millis,
        dice: &mut Dice,
    ) -> (u64, Vec<Millis>) {
        let road = self.links[link].road;
        let end = &mut self.links[link].ends[side];
        end.sent += 1;
        let number = end.sent;
        if dice.per_mille(self.weather.loss_per_mille) {
            self.fired.note(Fault::Loss);
            return (number, Vec::new());
        }
        let copies = 1 + usize::from(dice.per_mille(self.weather.double_per_mille));
        let mut arrival = || now + road.latency_ms + dice.between(0, self.weather.jitter_ms + 1);
        (number, (0..copies).map(|_| arrival()).collect())
    }

    /// A datagram arrives: notes whether it comes late, or again.
    pub(crate) fn arrives(&mut self, (link, side): At, number: u64) {
        let end = &mut self.links[link].ends[side];
        if end.arrived.last().is_some_and(|last| *last > number) {
            self.fired.note(Fault::Reordering);
        }
        if !end.arrived.insert(number) {
            self.fired.note(Fault::Duplication);
        }
    }

    /// A fresh stream, before anybody has spoken.
    pub(crate) fn open(&mut self, link: usize, now: Millis) {
        let link = &mut self.links[link];
        (link.up, link.since) = (true, now);
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
