//! What hostile nodes do beside taking part: floods, rubbish, and what is long past.
//!
//! A hostile node speaks the protocol with the same code as the others, so that it is let in, and
//! every now and then plays a trick on all that it is connected with. Tricks arrive as bytes on the
//! stream or as datagrams, and count when they do. Those that withhold need no tricks: see
//! `withholding`; equivocation is in what is published: see `workload`.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crdt::message::{Frame, IDS_MAX, WANT_MAX};
use crdt::session::Index as _;
use crdt::{Digest, Envelope, StatementId, Verified};

use crate::faults::Fault;
use crate::gossip::{NAMED, WHOLE};
use crate::network::At;
use crate::peer::Conduct;
use crate::world::World;

/// Frames and datagrams that a node remembers to send again.
const REMEMBERED_MAX: usize = 24;
/// Of them in one trick.
const REPEATED: usize = 6;
/// Questions for statements in one trick.
const WANTS: u64 = 30;

type Recorded = BTreeMap<usize, VecDeque<(Rc<[u8]>, bool)>>;

/// What the hostile nodes of a world have at hand.
#[derive(Debug, Default)]
pub(crate) struct Tricks {
    /// Statements of strangers in a realm that is followed.
    pub(crate) strange: Vec<Verified>,
    /// Statements of a realm that nobody follows.
    pub(crate) unknown: Vec<Verified>,
    /// Statements whose signature is not theirs.
    pub(crate) broken: Vec<Envelope>,
    /// Node → what it heard and said, and whether that was gossip.
    recorded: Recorded,
}

impl Tricks {
    fn record(&mut self, node: usize, bytes: &Rc<[u8]>, is_gossip: bool) {
        let recorded = self.recorded.entry(node).or_default();
        recorded.push_back((Rc::clone(bytes), is_gossip));
        if recorded.len() > REMEMBERED_MAX {
            recorded.pop_front();
        }
    }
}

impl World {
    /// The next trick of a node, on all that it is connected with.
    pub(crate) fn mischief(&mut self, node: usize, round: usize) {
        for at in self.network.at[node].clone() {
            if !self.network.links[at.0].up {
                continue;
            }
            match self.peers[node].conduct {
                Conduct::Floods => self.flood(at, round),
                Conduct::Babbles | Conduct::Stumbles => self.babble(at, round),
                Conduct::Replays => self.replay(at),
                Conduct::Withholds | Conduct::Honest | Conduct::Drops => {}
            }
        }
    }

    /// How far a node says that it has read the other's log: who replays says anything.
    pub(crate) fn first_cursor(&mut self, node: usize, other: usize) -> Option<(u64, u64)> {
        if self.peers[node].conduct != Conduct::Replays {
            return self.peers[node].cursor(other);
        }
        let epoch = self.peers[other].index.epoch();
        let old = [None, Some((epoch, 0)), Some((epoch, u64::MAX)), Some((epoch ^ 1, 5))];
        let drawn = old[self.dice().between(0, 4) as usize];
        self.network.fired.add(Fault::Replay, u64::from(drawn.is_some()));
        drawn
    }

    fn flood(&mut self, at: At, round: usize) {
        let envelopes = |all: &[Verified]| all.iter().map(|one| one.envelope().clone()).collect();
        let frames = match round % 4 {
            0 => vec![Frame::Statements { batch: envelopes(&self.tricks.strange) }],
            1 => vec![Frame::Statements { batch: envelopes(&self.tricks.unknown) }],
            2 => vec![Frame::Statements { batch: self.tricks.broken.clone() }],
            _ => (0..WANTS).map(|_| self.want()).collect(),
        };
        for frame in frames {
            self.network.fired.note(Fault::Flood);
            self.send(at, "flood", frame.encode().into());
        }
        let whole = |one: &Verified| [&[WHOLE], one.envelope().encode().as_slice()].concat();
        let mut gossip: Vec<Vec<u8>> = self.tricks.strange.iter().take(2).map(whole).collect();
        gossip.push([&[NAMED], self.dice().bytes().as_slice()].concat());
        gossip.push(self.dice().bytes().to_vec());
        for message in gossip {
            self.whisper(at, message.into());
        }
    }

    fn want(&mut self) -> Frame {
        let id = |_| StatementId(Digest::from_bytes(self.dice().bytes()));
        Frame::Want { ids: (0..WANT_MAX).map(id).collect() }
    }

    fn babble(&mut self, at: At, round: usize) {
        let noise = self.dice().bytes();
        let framed = |kind: u8, body: &[u8]| {
            let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX).to_le_bytes();
            [length.as_slice(), &[kind], body].concat()
        };
        let bytes = match round % 6 {
            0 => framed(0x05, &noise),
            1 => vec![0xff; 64],
            2 => {
                let ids = (0..IDS_MAX as u64).collect();
                Frame::AllIds { coll: noise, ids, last: true }.encode()
            }
            // The rest of it never comes: what is said next is taken for it.
            3 => [&[0xe8, 3, 0, 0, 0x09], noise.as_slice()].concat(),
            4 => framed(0x90, &[7; 1000]),
            _ => Frame::Done { coll: noise, last: true, want: vec![1, 2, 3] }.encode(),
        };
        let (link, side) = at;
        self.network.links[link].ends[1 - side].is_ragged = true;
        self.network.fired.note(Fault::Junk);
        self.send(at, "junk", bytes.into());
    }

    fn replay(&mut self, at: At) {
        let node = self.network.node(at);
        let Some(recorded) = self.tricks.recorded.get(&node).cloned() else { return };
        for _ in 0..REPEATED.min(recorded.len()) {
            let (bytes, is_gossip) =
                &recorded[self.dice().between(0, recorded.len() as u64) as usize];
            self.network.fired.note(Fault::Replay);
            match is_gossip {
                true => self.whisper(at, Rc::clone(bytes)),
                false => self.send(at, "replay", Rc::clone(bytes)),
            }
        }
    }

    /// Who replays hears what is sent from this end, and what it says itself.
    pub(crate) fn record(&mut self, at: At, bytes: &Rc<[u8]>) {
        self.record_for(at, bytes, false);
    }

    /// The same of a datagram.
    pub(crate) fn record_gossip(&mut self, at: At, bytes: &Rc<[u8]>) {
        self.record_for(at, bytes, true);
    }

    fn record_for(&mut self, (link, side): At, bytes: &Rc<[u8]>, is_gossip: bool) {
        for side in [side, 1 - side] {
            let node = self.network.node((link, side));
            if self.peers[node].conduct == Conduct::Replays {
                self.tricks.record(node, bytes, is_gossip);
            }
        }
    }
}
