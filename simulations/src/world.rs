//! One thread, one seed, one heap of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crdt::session::{Input, MemoryIndex, Millis, Output};
use crdt::{Collection, Envelope, Item, Verified};

use crate::dice::Dice;
use crate::network::{Counts, Network};
use crate::workload::Publish;

/// What happens, and to which stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A node publishes the so-manieth entry of the workload.
    Publish(usize),
    /// The two ends of a link find each other.
    Dial(usize),
    /// A partition: the links between both halves are cut.
    Split,
    /// The partition is over.
    Heal,
    /// A frame reaches an end.
    Deliver { link: usize, side: usize, generation: u64, bytes: Vec<u8> },
    /// A session's time-out.
    Timer { link: usize, side: usize, generation: u64 },
}

/// What a run was and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every event and every byte, in order.
    pub trace: blake3::Hash,
    /// When all nodes held the same, after the last publish and fault.
    pub converged_ms: Option<Millis>,
    /// Events that were handled.
    pub events: u64,
    /// Traffic and faults.
    pub counts: Counts,
    /// Nodes.
    pub nodes: usize,
    /// Pairs of statement and signer that each node holds in the end.
    pub items: u64,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<MemoryIndex>,
    pub(crate) network: Network,
    pub(crate) workload: Vec<Publish>,
    /// What who holds the whole workload keeps of it.
    expected: MemoryIndex,
    /// Links that the partition cuts.
    pub(crate) across: Vec<usize>,
    /// (node, peer) → cursor: what a node keeps on disk between two connections.
    cursors: BTreeMap<(usize, usize), (u64, u64)>,
    split: bool,
    dice: Dice,
    heap: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    order: u64,
    now: Millis,
    trace: blake3::Hasher,
    /// Publishes and partition events that are still to come.
    pending: usize,
}

impl World {
    pub(crate) fn new(nodes: usize, mut dice: Dice) -> Self {
        let epoch = |_| dice.between(1, u64::MAX);
        Self {
            nodes: (0..nodes).map(epoch).map(MemoryIndex::new).collect(),
            network: Network { at: vec![Vec::new(); nodes], ..Network::default() },
            workload: Vec::new(),
            expected: MemoryIndex::default(),
            across: Vec::new(),
            cursors: BTreeMap::new(),
            split: false,
            dice,
            heap: BinaryHeap::new(),
            order: 0,
            now: 0,
            trace: blake3::Hasher::new(),
            pending: 0,
        }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub(crate) fn schedule(&mut self, at: Millis, event: Event) {
        if matches!(event, Event::Publish(_) | Event::Split | Event::Heal) {
            self.pending += 1;
        }
        self.order += 1;
        self.heap.push(Reverse((at, self.order, event)));
    }

    /// Runs until all nodes hold the same and nothing is planned, at most to `deadline`.
    pub(crate) fn run(&mut self, deadline: Millis) -> Report {
        for publish in self.workload.clone() {
            self.expected.follow(publish.statement.statement().realm());
            self.expected.admit(publish.statement);
        }
        let mut events = 0;
        let mut converged_ms = None;
        while let Some(Reverse((at, _, event))) = self.heap.pop() {
            if at > deadline {
                break;
            }
            self.now = at;
            self.note(&event);
            self.handle(event);
            events += 1;
            if self.pending == 0 && self.is_equal() {
                converged_ms = Some(at);
                break;
            }
        }
        Report {
            trace: self.trace.finalize(),
            converged_ms,
            events,
            counts: self.network.counts,
            nodes: self.nodes.len(),
            items: self.nodes[0].count(),
        }
    }

    fn is_equal(&self) -> bool {
        let all = self.expected.count();
        self.nodes.iter().all(|node| node.count() == all) && {
            let expected = self.expected.fingerprints();
            self.nodes.iter().all(|node| node.fingerprints() == expected)
        }
    }

    fn note(&mut self, event: &Event) {
        self.trace.update(&self.now.to_le_bytes());
        match event {
            Event::Deliver { link, side, bytes, .. } => {
                self.trace.update(format!("deliver {link} {side} ").as_bytes()).update(bytes);
            }
            other => {
                self.trace.update(format!("{other:?}").as_bytes());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Publish(number) => {
                self.pending -= 1;
                let Publish { node, statement, .. } = self.workload[number].clone();
                let new = self.nodes[node].admit(statement);
                self.tell(node, &new);
            }
            Event::Dial(link) => self.dial(link),
            Event::Split => {
                self.pending -= 1;
                self.split = true;
                for link in &self.across {
                    self.network.counts.cut += u64::from(self.network.cut(*link));
                }
            }
            Event::Heal => {
                self.pending -= 1;
                self.split = false;
                for link in self.across.clone() {
                    let later = self.dice.between(0, 5_000);
                    self.schedule(self.now + later, Event::Dial(link));
                }
            }
            Event::Deliver { link, side, generation, bytes } => {
                if self.network.links[link].generation == generation {
                    self.deliver(link, side, &bytes);
                } else {
                    self.network.counts.dropped += 1;
                }
            }
            Event::Timer { link, side, generation } => {
                if self.network.links[link].generation == generation {
                    self.network.links[link].ends[side].timer_at = None;
                    self.input(link, side, Input::Timeout);
                }
            }
        }
    }

    fn dial(&mut self, link: usize) {
        if self.network.links[link].up || (self.split && self.across.contains(&link)) {
            return;
        }
        self.network.open(link);
        for side in [0, 1] {
            let ends = &self.network.links[link].ends;
            let seen = self.cursors.get(&(ends[side].node, ends[1 - side].node)).copied();
            let key = self.dice.bytes();
            self.input(link, side, Input::Start { key, initiator: side == 0, seen });
        }
    }

    fn deliver(&mut self, link: usize, side: usize, bytes: &[u8]) {
        self.network.links[link].ends[side].decoder.feed(bytes);
        while self.network.links[link].up {
            match self.network.links[link].ends[side].decoder.next_frame() {
                Ok(Some(frame)) => self.input(link, side, Input::Frame(frame)),
                Ok(None) => return,
                Err(_) => self.hang_up(link),
            }
        }
    }

    fn hang_up(&mut self, link: usize) {
        if self.network.cut(link) {
            self.network.counts.closed += 1;
            self.schedule(self.now + 1_000, Event::Dial(link));
        }
    }

    fn input(&mut self, link: usize, side: usize, input: Input) {
        let node = self.network.links[link].ends[side].node;
        let session = &mut self.network.links[link].ends[side].session;
        session.handle(self.now, input, &self.nodes[node]);
        while let Some(output) = self.network.links[link].ends[side].session.poll() {
            self.output(link, side, output);
        }
        let stream = &mut self.network.links[link];
        let (generation, end) = (stream.generation, &mut stream.ends[side]);
        if let Some(at) = end.session.next_timeout()
            && end.timer_at.is_none_or(|set| at < set)
        {
            end.timer_at = Some(at);
            self.schedule(at.max(self.now), Event::Timer { link, side, generation });
        }
    }

    fn output(&mut self, link: usize, side: usize, output: Output) {
        match output {
            Output::Send(frame) if self.network.links[link].up => {
                let bytes = frame.encode();
                let to = (link, 1 - side);
                let at = self.network.arrival(to, self.now, &bytes, &mut self.dice);
                let generation = self.network.links[link].generation;
                self.schedule(at, Event::Deliver { link, side: 1 - side, generation, bytes });
            }
            Output::Admit { envelopes, cursor } => self.admit(link, side, envelopes, cursor),
            Output::Cursor { epoch, sequence } => self.remember(link, side, (epoch, sequence)),
            Output::Close(_) => self.hang_up(link),
            Output::Send(_) | Output::Lobby(_) | Output::PeerFollows(_) => {}
            Output::InSync | Output::Behind(_) | Output::Lacked(_) | Output::Proven(_) => {}
        }
    }

    fn admit(
        &mut self,
        link: usize,
        side: usize,
        envelopes: Vec<Envelope>,
        cursor: Option<(u64, u64)>,
    ) {
        let node = self.network.links[link].ends[side].node;
        let verified = envelopes.into_iter().filter_map(|envelope| envelope.verify().ok());
        let new: Vec<(Collection, Item)> =
            verified.flat_map(|good: Verified| self.nodes[node].admit(good)).collect();
        if let Some(cursor) = cursor {
            self.remember(link, side, cursor);
        }
        self.input(link, side, Input::Admitted { cursor });
        self.tell(node, &new);
    }

    fn remember(&mut self, link: usize, side: usize, cursor: (u64, u64)) {
        let ends = &self.network.links[link].ends;
        self.cursors.insert((ends[side].node, ends[1 - side].node), cursor);
    }

    fn tell(&mut self, node: usize, new: &[(Collection, Item)]) {
        for (link, side) in self.network.at[node].clone() {
            if !new.is_empty() && self.network.links[link].up {
                self.input(link, side, Input::New(new.to_vec()));
            }
        }
    }
}
