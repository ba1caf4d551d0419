//! Two conversations over a line with a delay and without end of bandwidth: bytes, frames, round
//! trips and CPU of the real code.
//!
//! Time is counted, not waited for. A frame arrives half a round trip after it was written; timers
//! fire at their time. What a side is given to admit is admitted at once and not charged to the
//! conversation.

use std::collections::{BTreeMap, VecDeque};

use crdt::message::{Decoder, Frame};
use crdt::session::{Index, Input, MemoryIndex, Millis, Output, Session, Sketches};
use crdt::{Collection, Item, Verified};

use crate::figures::cpu;
use crate::shelf::Shelf;

/// From one end to the other.
const HALF_TRIP_MS: Millis = 100;

/// An index that statements can be admitted to.
pub(crate) trait Admits: Index {
    /// Admits; answers the pairs that are new.
    fn take_in(&mut self, verified: Verified) -> Vec<(Collection, Item)>;
}

impl Admits for MemoryIndex {
    fn take_in(&mut self, verified: Verified) -> Vec<(Collection, Item)> {
        self.admit(verified)
    }
}

impl Admits for Shelf {
    fn take_in(&mut self, verified: Verified) -> Vec<(Collection, Item)> {
        self.admit(verified)
    }
}

/// One side of the line, the initiator first.
struct End<I> {
    index: I,
    session: Session,
    decoder: Decoder,
    /// Bytes on the way here, and when they arrive.
    wire: VecDeque<(Millis, Vec<u8>)>,
    in_sync: bool,
    /// (the peer's epoch, its sequence): what was to be remembered.
    cursor: Option<(u64, u64)>,
    cpu: f64,
}

/// A line between two ends.
pub(crate) struct Link<I> {
    ends: [End<I>; 2],
    now: Millis,
    began: Millis,
    /// When something was admitted last.
    admitted_at: Millis,
    /// Type of a frame → (how many, bytes), both ways.
    frames: BTreeMap<u8, (usize, usize)>,
}

/// What a conversation took so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Of all frames.
    pub(crate) bytes: f64,
    /// Until the last statement was admitted.
    pub(crate) trips: f64,
    /// Until both ends knew that they hold the same.
    pub(crate) trips_to_know: f64,
    /// Of both conversations, encoding and decoding included.
    pub(crate) cpu: f64,
}

impl<I: Admits> Link<I> {
    /// A first meeting, or another one of ends that have `seen` each other.
    pub(crate) fn start(indexes: [I; 2], seen: [Option<(u64, u64)>; 2]) -> Self {
        let ends = indexes.map(|index| End {
            index,
            session: Session::new(Sketches::default()),
            decoder: Decoder::new(),
            wire: VecDeque::new(),
            in_sync: false,
            cursor: None,
            cpu: 0.0,
        });
        let mut link = Self { ends, now: 0, began: 0, admitted_at: 0, frames: BTreeMap::new() };
        for (side, seen) in seen.into_iter().enumerate() {
            let key = [side as u8 + 1; 32];
            link.input(side, Input::Start { key, initiator: side == 0, seen });
        }
        link
    }

    /// Lets the line work until both ends know that they hold the same.
    pub(crate) fn until_in_sync(&mut self) -> Taken {
        while !self.ends.iter().all(|end| end.in_sync) {
            let Some(at) = self.next_event() else { panic!("the conversation has stopped") };
            assert!(at < 24 * 3_600_000, "the conversation does not end");
            self.now = self.now.max(at);
            for side in [0, 1] {
                self.work(side);
            }
        }
        self.taken()
    }

    /// Asks whether both still hold the same; what that alone took.
    pub(crate) fn compare(&mut self) -> Taken {
        self.frames.clear();
        (self.began, self.admitted_at) = (self.now, self.now);
        for end in &mut self.ends {
            (end.in_sync, end.cpu) = (false, 0.0);
        }
        self.input(0, Input::Compare);
        self.until_in_sync()
    }

    /// Bytes of frames of these types.
    pub(crate) fn bytes_of(&self, kinds: &[u8]) -> usize {
        kinds.iter().filter_map(|kind| self.frames.get(kind)).map(|(_, bytes)| bytes).sum()
    }

    /// Frames of a type.
    pub(crate) fn count_of(&self, kind: u8) -> usize {
        self.frames.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// The ends, and what each remembers of the other.
    pub(crate) fn close(self) -> ([I; 2], [Option<(u64, u64)>; 2]) {
        let cursors = [self.ends[0].cursor, self.ends[1].cursor];
        (self.ends.map(|end| end.index), cursors)
    }

    fn taken(&self) -> Taken {
        let trips = |at: Millis| (at - self.began) as f64 / (2 * HALF_TRIP_MS) as f64;
        Taken {
            bytes: self.frames.values().map(|(_, bytes)| *bytes).sum::<usize>() as f64,
            trips: trips(self.admitted_at),
            trips_to_know: trips(self.now),
            cpu: self.ends.iter().map(|end| end.cpu).sum(),
        }
    }

    fn next_event(&self) -> Option<Millis> {
        let arrivals = self.ends.iter().filter_map(|end| end.wire.front().map(|(at, _)| *at));
        let timers = self.ends.iter().filter_map(|end| end.session.next_timeout());
        arrivals.chain(timers).min()
    }

    /// All that is due at one side.
    fn work(&mut self, side: usize) {
        while self.ends[side].wire.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, bytes)) = self.ends[side].wire.pop_front() {
                self.deliver(side, &bytes);
            }
        }
        while self.ends[side].session.next_timeout().is_some_and(|at| at <= self.now) {
            self.input(side, Input::Timeout);
        }
    }

    fn deliver(&mut self, side: usize, bytes: &[u8]) {
        self.ends[side].decoder.feed(bytes);
        loop {
            let began = cpu();
            let frame = self.ends[side].decoder.next_frame().expect("both speak the protocol");
            self.ends[side].cpu += cpu() - began;
            let Some(frame) = frame else { return };
            self.input(side, Input::Frame(frame));
        }
    }

    fn input(&mut self, side: usize, input: Input) {
        let end = &mut self.ends[side];
        let began = cpu();
        end.session.handle(self.now, input, &end.index);
        end.cpu += cpu() - began;
        while let Some(output) = self.ends[side].session.poll() {
            self.output(side, output);
        }
    }

    fn output(&mut self, side: usize, output: Output) {
        match output {
            Output::Send(frame) => self.send(side, &frame),
            Output::Admit { envelopes, cursor } => {
                let end = &mut self.ends[side];
                for envelope in envelopes {
                    end.index.take_in(Verified::from_admitted(envelope));
                }
                end.cursor = cursor.or(end.cursor);
                self.admitted_at = self.now;
                self.input(side, Input::Admitted { cursor });
            }
            Output::Cursor { epoch, sequence } => self.ends[side].cursor = Some((epoch, sequence)),
            Output::InSync => self.ends[side].in_sync = true,
            Output::Close(reason) => panic!("the conversation was closed: {reason}"),
            Output::Lobby(_)
            | Output::PeerFollows(_)
            | Output::Behind(_)
            | Output::Lacked(_)
            | Output::Proven(_) => {}
        }
    }

    fn send(&mut self, side: usize, frame: &Frame) {
        let began = cpu();
        let bytes = frame.encode();
        self.ends[side].cpu += cpu() - began;
        let counted = self.frames.entry(frame.kind()).or_default();
        *counted = (counted.0 + 1, counted.1 + bytes.len());
        self.ends[1 - side].wire.push_back((self.now + HALF_TRIP_MS, bytes));
    }
}
