//! One thread, one seed, one heap of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crdt::message::Frame;
use crdt::session::{Index as _, MemoryIndex, Millis};
use crdt::{Collection, Item, PublicKey, RealmId, StatementId, Verified};

use crate::codec::Codec;
use crate::dice::Dice;
use crate::faults::Fault;
use crate::hostile::Tricks;
use crate::network::{At, Network, Weather};
use crate::peer::Peer;
use crate::standing::Standings;

/// Who comes back dials its links within this time.
const RETURN_MS: Millis = 5_000;
/// A publisher that is away tries again.
const PUBLISH_AGAIN_MS: Millis = 1_000;

/// What happens, and to which stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A node publishes the so-manieth entry of the workload.
    Publish(usize),
    /// The two ends of a link find each other.
    Dial(usize),
    /// The links of a group are cut.
    Part(usize),
    /// They may stand again.
    Join(usize),
    /// A node goes away.
    Leave(usize),
    /// It comes back, as it was.
    Return(usize),
    /// A node loses its power, comes back later with what its disk has.
    Crash(usize),
    /// A node's machine is suspended for so long, and does not notice.
    Sleep(usize, Millis),
    /// A hostile node does the so-manieth of its tricks.
    Mischief(usize, usize),
    /// A frame reaches an end.
    Deliver { at: At, generation: u64, bytes: Rc<[u8]> },
    /// A datagram reaches an end.
    Gossip { at: At, generation: u64, number: u64, bytes: Rc<[u8]> },
    /// A session's time-out.
    Timer { at: At, generation: u64 },
}

impl Event {
    /// Part of the scenario's plan: nothing is over before it has happened.
    const fn is_planned(&self) -> bool {
        !matches!(
            self,
            Self::Dial(_) | Self::Deliver { .. } | Self::Gossip { .. } | Self::Timer { .. }
        )
    }
}

/// One publish to come.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) node: usize,
    pub(crate) statement: Arc<Verified>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) peers: Vec<Peer>,
    pub(crate) network: Network,
    pub(crate) publishes: Vec<Publish>,
    /// Links that are cut and joined together.
    pub(crate) groups: Vec<Vec<usize>>,
    /// Keys that no root names: what they sign need not reach anybody.
    pub(crate) strangers: BTreeSet<PublicKey>,
    /// Statements that are a fault where an honest node comes to hold them.
    pub(crate) planted: BTreeMap<StatementId, Fault>,
    pub(crate) tricks: Tricks,
    pub(crate) realms: Vec<RealmId>,
    /// What whoever was told everything by known keys holds.
    pub(crate) expected: MemoryIndex,
    pub(crate) codec: Codec,
    pub(crate) now: Millis,
    pub(crate) events: u64,
    standings: Standings,
    dice: Dice,
    heap: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    order: u64,
    trace: blake3::Hasher,
    /// Planned events that are still to come, and when the last of all is.
    pending: usize,
    pub(crate) last_planned: Millis,
    /// The first node not known to hold what is expected, and how it was when it did not.
    settled: (usize, Option<u64>),
}

impl World {
    pub(crate) fn new(nodes: usize, weather: Weather, mut dice: Dice) -> Self {
        let epoch = |_| dice.between(1, u64::MAX);
        Self {
            peers: (0..nodes).map(epoch).map(Peer::new).collect(),
            network: Network::new(nodes, weather),
            publishes: Vec::new(),
            groups: Vec::new(),
            strangers: BTreeSet::new(),
            planted: BTreeMap::new(),
            tricks: Tricks::default(),
            realms: Vec::new(),
            expected: MemoryIndex::default(),
            codec: Codec::default(),
            now: 0,
            events: 0,
            standings: Standings::default(),
            dice,
            heap: BinaryHeap::new(),
            order: 0,
            trace: blake3::Hasher::new(),
            pending: 0,
            last_planned: 0,
            settled: (0, None),
        }
    }

    pub(crate) const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// The network and the dice.
    pub(crate) const fn outdoors(&mut self) -> (&mut Network, &mut Dice) {
        (&mut self.network, &mut self.dice)
    }

    pub(crate) fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    /// One of these nodes, drawn from the honest ones.
    pub(crate) fn honest_of(&mut self, nodes: &Range<usize>) -> usize {
        let honest: Vec<usize> =
            nodes.clone().filter(|node| self.peers[*node].is_honest()).collect();
        honest[self.dice.between(0, honest.len() as u64) as usize]
    }

    /// All nodes follow the realm.
    pub(crate) fn follow(&mut self, realm: RealmId) {
        self.realms.push(realm);
        self.expected.follow(realm);
        self.peers.iter_mut().for_each(|peer| peer.follow(realm));
    }

    /// Plans a publish.
    pub(crate) fn publish(&mut self, at: Millis, node: usize, statement: Verified) {
        self.schedule(at, Event::Publish(self.publishes.len()));
        self.publishes.push(Publish { node, statement: Arc::new(statement) });
    }

    pub(crate) fn schedule(&mut self, at: Millis, event: Event) {
        if event.is_planned() {
            self.pending += 1;
            self.last_planned = self.last_planned.max(at);
        }
        self.order += 1;
        self.heap.push(Reverse((at, self.order, event)));
    }

    /// Runs until all honest nodes hold the same and nothing is planned, at most so long after the
    /// last that was planned; answers when that was.
    pub(crate) fn run(&mut self, settle_ms: Millis) -> Option<Millis> {
        while let Some(Reverse((at, _, event))) = self.heap.pop() {
            if at > self.last_planned + settle_ms {
                return None;
            }
            self.now = at;
            self.events += 1;
            self.note(&event);
            self.handle(event);
            if self.pending == 0 && self.is_settled() {
                return Some(at);
            }
        }
        None
    }

    /// Whether all honest nodes hold what is expected. Looks again at a node only once it changed.
    fn is_settled(&mut self) -> bool {
        while let Some(peer) = self.peers.get(self.settled.0) {
            if self.settled.1 == Some(peer.changes) {
                return false;
            }
            let honest = peer.is_honest();
            if honest && !self.known(&peer.index).eq(self.known(&self.expected)) {
                self.settled.1 = Some(peer.changes);
                return false;
            }
            self.settled = (self.settled.0 + 1, None);
        }
        true
    }

    /// The pairs by known keys.
    pub(crate) fn known<'a>(&'a self, index: &'a MemoryIndex) -> impl Iterator<Item = Item> + 'a {
        let all = index.statements().flat_map(|held| held.items());
        all.filter(|item| !self.strangers.contains(&item.key))
    }

    fn note(&mut self, event: &Event) {
        self.trace.update(&self.now.to_le_bytes());
        match event {
            Event::Deliver { at, bytes, .. } | Event::Gossip { at, bytes, .. } => {
                let is_gossip = matches!(event, Event::Gossip { .. });
                self.trace.update(format!("{is_gossip} {at:?} ").as_bytes()).update(bytes);
            }
            other => {
                self.trace.update(format!("{other:?}").as_bytes());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.pending -= usize::from(event.is_planned());
        match event {
            Event::Publish(number) => self.publishes(number),
            Event::Dial(link) => self.dial(link),
            Event::Part(group) => self.part(group),
            Event::Join(group) => self.join(group),
            Event::Leave(node) => self.leaves(node, Fault::Churn),
            Event::Return(node) => self.returns(node),
            Event::Crash(node) => {
                self.leaves(node, Fault::Crash);
                let lost = self.peers[node].crash(self.now, &mut self.standings);
                self.network.fired.add(Fault::LostWrite, lost);
                self.settled = (0, None);
            }
            Event::Sleep(node, how_long) => self.sleeps(node, how_long),
            Event::Mischief(node, round) => self.mischief(node, round),
            Event::Deliver { at, generation, bytes } => {
                if self.network.links[at.0].generation == generation {
                    self.deliver(at, &bytes);
                } else {
                    self.network.traffic.dropped += 1;
                }
            }
            Event::Gossip { at, generation, number, bytes } => {
                if self.network.links[at.0].generation == generation {
                    self.network.arrives(at, number);
                    self.hear(at, &bytes);
                }
            }
            Event::Timer { at, generation } => self.timer(at, generation),
        }
    }

    fn publishes(&mut self, number: usize) {
        let Publish { node, statement } = self.publishes[number].clone();
        if !self.peers[node].online {
            let at = self.now + PUBLISH_AGAIN_MS;
            return self.schedule(at, Event::Publish(number));
        }
        if self.peers[node].clock.is_wrong {
            self.network.fired.note(Fault::WrongClock);
        }
        let new = self.take(node, &statement);
        self.peers[node].sync();
        self.tell(node, &new, false);
        self.announce(node, &statement, None);
    }

    /// A node admits a statement; answers the pairs that were new there.
    pub(crate) fn take(
        &mut self,
        node: usize,
        verified: &Arc<Verified>,
    ) -> Vec<(Collection, Item)> {
        let new = self.peers[node].admit(self.now, verified, &mut self.standings);
        if !new.is_empty() && self.peers[node].is_honest() {
            if let Some(fault) = self.planted.get(&verified.statement().id()) {
                self.network.fired.note(*fault);
            }
            self.expect(verified);
        }
        new
    }

    /// What one honest node holds of a known key, all should come to hold.
    fn expect(&mut self, verified: &Arc<Verified>) {
        let mut envelope = verified.envelope().clone();
        envelope.signatures.retain(|key, _| !self.strangers.contains(key));
        if envelope.signatures.is_empty() || verified.items().all(|one| self.expected.holds(&one)) {
            return;
        }
        if !self.expected.admit(Verified::from_admitted(envelope)).is_empty() {
            self.settled = (0, None);
        }
    }

    fn part(&mut self, group: usize) {
        for link in self.groups[group].clone() {
            self.network.links[link].parted += 1;
            if self.network.cut(link) {
                self.network.fired.note(Fault::Partition);
            }
        }
    }

    fn join(&mut self, group: usize) {
        for link in self.groups[group].clone() {
            let parted = &mut self.network.links[link].parted;
            *parted = parted.saturating_sub(1);
            let later = self.dice.between(0, RETURN_MS);
            self.schedule(self.now + later, Event::Dial(link));
        }
    }

    fn leaves(&mut self, node: usize, fault: Fault) {
        self.peers[node].online = false;
        let mut was_connected = false;
        for (link, _) in self.network.at[node].clone() {
            was_connected |= self.network.cut(link);
        }
        self.network.fired.add(fault, u64::from(was_connected));
    }

    fn returns(&mut self, node: usize) {
        self.peers[node].online = true;
        for (link, _) in self.network.at[node].clone() {
            let later = self.dice.between(0, RETURN_MS);
            self.schedule(self.now + later, Event::Dial(link));
        }
    }

    /// Needed to send each statement once, alone, to every honest node that did not publish it.
    pub(crate) fn needed_bytes(&self) -> u64 {
        let honest = self.peers.iter().filter(|peer| peer.is_honest()).count() as u64;
        let frame = |publish: &Publish| {
            let batch = vec![publish.statement.envelope().clone()];
            Frame::Statements { batch }.encode().len() as u64
        };
        let known = self.publishes.iter().filter(|publish| {
            publish.statement.signatures().keys().any(|key| !self.strangers.contains(key))
        });
        known.map(frame).sum::<u64>() * honest.saturating_sub(1)
    }
}
