//! A network of nodes in memory: real frames, real signatures, time that the test moves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt::message::{Decoder, Frame};
use crdt::session::{Bearer, Index, Input, MemoryIndex, Millis, Output, Session, Sketches};
use crdt::statement::{File, Release, Root};
use crdt::{
    Body, Checksums, Collection, Digest, Envelope, Item, PackageId, RealmId, SecretKey, Statement,
    StatementId, Verified,
};

/// A realm with its key.
pub(crate) struct Realm {
    pub(crate) id: RealmId,
    pub(crate) key: SecretKey,
    pub(crate) genesis: Verified,
}

impl Realm {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let root = Root::of_one(key.public(), [seed; 16], &format!("realm {seed}"), Vec::new());
        let genesis = Verified::sign(Statement::genesis(root).unwrap(), &[&key]);
        Self { id: genesis.statement().realm(), key, genesis }
    }

    pub(crate) fn statement(&self, format: &str, name: &str, body: Body) -> Verified {
        let package = PackageId::new(format, name);
        let statement = Statement::new(self.id, Some(package), body).unwrap();
        Verified::sign(statement, &[&self.key])
    }

    pub(crate) fn release(&self, name: &str, version: &str) -> Verified {
        self.statement("npm", name, release_body(name, version))
    }
}

/// So many random cases; a failing one is printed, no file is left behind.
pub(crate) fn cases(count: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config { cases: count, failure_persistence: None, ..Default::default() }
}

pub(crate) fn release_body(name: &str, version: &str) -> Body {
    let digest = Digest::of(format!("{name} {version}").as_bytes());
    Body::Release(Release {
        version: version.to_owned(),
        written: version.to_owned(),
        files: vec![File {
            name: format!("{name}-{version}.tgz"),
            size: 1000,
            blake3: digest,
            checksums: Checksums {
                sha256: *digest.as_bytes(),
                sha512: None,
                sha1: None,
                md5: None,
            },
            meta: None,
        }],
        extras: None,
        claimed_time: 0,
    })
}

/// One node: its set, and what it was told.
pub(crate) struct Node {
    pub(crate) index: MemoryIndex,
    /// Statements that this node's store refuses.
    pub(crate) refuses: Vec<StatementId>,
    /// Peer → cursor: survives connections.
    pub(crate) cursors: BTreeMap<usize, (u64, u64)>,
    pub(crate) lobby: Vec<Envelope>,
    /// What its peers lacked when they compared with it.
    pub(crate) lacked: Vec<Item>,
    /// Places for sketches in all its conversations.
    pub(crate) sketches: Sketches,
}

/// A stream between two nodes, the initiator first.
pub(crate) struct Link {
    pub(crate) ends: [usize; 2],
    sessions: [Session; 2],
    decoders: [Decoder; 2],
    /// Bytes on the way to each end.
    wires: [VecDeque<Vec<u8>>; 2],
    pub(crate) closed: [Option<&'static str>; 2],
    /// Type byte → frames, both ways.
    pub(crate) frames: BTreeMap<u8, usize>,
    pub(crate) bytes: usize,
    pub(crate) in_sync: [bool; 2],
    /// What each side has said.
    pub(crate) sent: [Vec<Frame>; 2],
    /// The same as bytes, with the statements as they are beside those that travel packed.
    pub(crate) said: [Vec<u8>; 2],
}

/// Link, side, what came and the cursor with it.
type Admitting = (usize, usize, Vec<Envelope>, Option<(u64, u64)>);

#[derive(Default)]
pub(crate) struct Net {
    pub(crate) now: Millis,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    keys: u8,
    /// Admissions take their time, when this is set: they wait here until `settle_shuffled`.
    pub(crate) slow: bool,
    /// Nobody says what it can do beyond the least.
    pub(crate) no_features: bool,
    /// Keys that nodes hold.
    pub(crate) keys_of: BTreeMap<usize, Arc<Vec<SecretKey>>>,
    admitting: Vec<Admitting>,
}

pub(crate) const CELLS: u8 = 0x0c;
pub(crate) const CHECK: u8 = 0x04;
pub(crate) const COLLS: u8 = 0x05;
pub(crate) const ALLIDS: u8 = 0x06;
pub(crate) const MORE: u8 = 0x0d;
pub(crate) const RESUME: u8 = 0x03;
pub(crate) const STATEMENTS: u8 = 0x09;
pub(crate) const HIDDEN: u8 = 0x0f;

impl Net {
    pub(crate) fn node(&mut self) -> usize {
        let index = MemoryIndex::new(1000 + self.nodes.len() as u64);
        self.nodes.push(Node {
            index,
            refuses: Vec::new(),
            cursors: BTreeMap::new(),
            lobby: Vec::new(),
            lacked: Vec::new(),
            sketches: Sketches::default(),
        });
        self.nodes.len() - 1
    }

    pub(crate) fn follower(&mut self, realms: &[&Realm]) -> usize {
        let node = self.node();
        for realm in realms {
            self.nodes[node].index.follow(realm.id);
        }
        node
    }

    pub(crate) fn connect(&mut self, initiator: usize, responder: usize) -> usize {
        let ends = [initiator, responder];
        self.links.push(Link {
            ends,
            sessions: [(initiator, responder), (responder, initiator)]
                .map(|ends| self.session(ends)),
            decoders: [Decoder::new(), Decoder::new()],
            wires: Default::default(),
            closed: [None; 2],
            frames: BTreeMap::new(),
            bytes: 0,
            in_sync: [false; 2],
            sent: Default::default(),
            said: Default::default(),
        });
        let link = self.links.len() - 1;
        for side in [0, 1] {
            self.keys += 1;
            let seen = self.nodes[ends[side]].cursors.get(&ends[1 - side]).copied();
            let key = [self.keys; 32];
            self.input(link, side, Input::Start { key, initiator: side == 0, seen });
        }
        link
    }

    fn session(&self, (own, peer): (usize, usize)) -> Session {
        let keys = self.keys_of.get(&own).cloned().unwrap_or_default();
        let id = |node: usize| (node as u64).to_le_bytes().to_vec();
        let bearer = Bearer { own: id(own), peer: id(peer), keys };
        Session::new(self.nodes[own].sketches.clone()).bearing(bearer)
    }

    pub(crate) fn disconnect(&mut self, link: usize) {
        self.links.remove(link);
    }

    /// Admits at a node and tells its peers.
    pub(crate) fn publish(&mut self, node: usize, verified: Verified) {
        let new = self.nodes[node].index.admit(verified);
        self.tell(node, new);
    }

    /// Admits without telling anybody: as if it had come while no peer was there.
    pub(crate) fn admit(&mut self, node: usize, verified: Verified) {
        self.nodes[node].index.admit(verified);
    }

    fn tell(&mut self, node: usize, new: Vec<(Collection, Item)>) {
        for link in 0..self.links.len() {
            for side in [0, 1] {
                if self.links[link].ends[side] == node {
                    self.input(link, side, Input::New(new.clone()));
                }
            }
        }
    }

    pub(crate) fn input(&mut self, link: usize, side: usize, input: Input) {
        let node = self.links[link].ends[side];
        self.links[link].sessions[side].handle(self.now, input, &self.nodes[node].index);
        while let Some(output) = self.links[link].sessions[side].poll() {
            self.output(link, side, output);
        }
    }

    fn output(&mut self, link: usize, side: usize, output: Output) {
        let (node, peer) = (self.links[link].ends[side], self.links[link].ends[1 - side]);
        match output {
            Output::Send(mut frame) => {
                if let (Frame::Hello { features, .. }, true) = (&mut frame, self.no_features) {
                    *features = 0;
                }
                let bytes = frame.encode();
                let on = &mut self.links[link];
                on.said[side].extend(&bytes);
                if let Frame::Statements { batch }
                | Frame::Resume { batch, .. }
                | Frame::Lobby { batch } = &frame
                {
                    on.said[side].extend(batch.iter().flat_map(Envelope::encode));
                }
                on.sent[side].push(frame.clone());
                *on.frames.entry(frame.kind()).or_default() += 1;
                on.bytes += bytes.len();
                on.wires[1 - side].push_back(bytes);
                on.in_sync[side] &= frame.kind() == CHECK;
            }
            Output::Admit { envelopes, cursor } if self.slow => {
                self.admitting.push((link, side, envelopes, cursor));
            }
            Output::Admit { envelopes, cursor } => self.admit_all(link, side, envelopes, cursor),
            Output::Cursor { epoch, sequence } => {
                self.nodes[node].cursors.insert(peer, (epoch, sequence));
            }
            Output::Lobby(shown) => self.nodes[node].lobby.extend(shown),
            Output::InSync => self.links[link].in_sync[side] = true,
            Output::Lacked(items) => self.nodes[node].lacked.extend(items),
            Output::Behind(_) | Output::PeerFollows(_) | Output::Proven(_) => {}
            Output::Close(reason) => self.links[link].closed[side] = Some(reason),
        }
    }

    fn admit_all(
        &mut self,
        link: usize,
        side: usize,
        envelopes: Vec<Envelope>,
        cursor: Option<(u64, u64)>,
    ) {
        let (node, peer) = (self.links[link].ends[side], self.links[link].ends[1 - side]);
        let mut new = Vec::new();
        for envelope in envelopes {
            let verified = envelope.verify().expect("nothing unsigned travels here");
            if !self.nodes[node].refuses.contains(&verified.statement().id()) {
                new.extend(self.nodes[node].index.admit(verified));
            }
        }
        if let Some(cursor) = cursor {
            self.nodes[node].cursors.insert(peer, cursor);
        }
        self.input(link, side, Input::Admitted { cursor });
        self.tell(node, new);
    }

    /// Delivers bytes as they are, a session's own or a test's.
    pub(crate) fn deliver(&mut self, link: usize, side: usize, bytes: &[u8]) {
        self.links[link].decoders[side].feed(bytes);
        while self.links[link].closed[side].is_none() {
            match self.links[link].decoders[side].next_frame() {
                Ok(Some(frame)) => self.input(link, side, Input::Frame(frame)),
                Ok(None) => return,
                Err(_) => self.links[link].closed[side] = Some("unreadable"),
            }
        }
    }

    pub(crate) fn send(&mut self, link: usize, side: usize, frame: &Frame) {
        self.deliver(link, side, &frame.encode());
    }

    /// Delivers at most `steps` frames, now to the one side of each link, now to the other.
    pub(crate) fn step(&mut self, steps: usize) {
        for step in 0..steps {
            for link in 0..self.links.len() {
                let side = step % 2;
                if let Some(bytes) = self.links[link].wires[side].pop_front() {
                    self.deliver(link, side, &bytes);
                }
            }
        }
    }

    /// Delivers and admits until nothing is on the way, in an order drawn from `seed`; `meanwhile`
    /// runs after so many events.
    pub(crate) fn settle_shuffled(
        &mut self,
        seed: u64,
        after: usize,
        meanwhile: impl FnOnce(&mut Self),
    ) {
        let mut meanwhile = Some(meanwhile);
        let mut state = seed;
        for event in 0.. {
            if event >= after
                && let Some(meanwhile) = meanwhile.take()
            {
                meanwhile(self);
            }
            let mut choices = Vec::new();
            for link in 0..self.links.len() {
                for side in [0, 1] {
                    if !self.links[link].wires[side].is_empty() {
                        choices.push((link, side, false));
                    }
                    if self.admitting.iter().any(|one| (one.0, one.1) == (link, side)) {
                        choices.push((link, side, true));
                    }
                }
            }
            if choices.is_empty() && meanwhile.is_none() {
                return self.settle();
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let drawn = usize::try_from(state >> 33).unwrap() % choices.len().max(1);
            let Some((link, side, admits)) = choices.get(drawn).copied() else { continue };
            if admits {
                let first = self.admitting.iter().position(|one| (one.0, one.1) == (link, side));
                let (link, side, envelopes, cursor) = self.admitting.remove(first.unwrap());
                self.admit_all(link, side, envelopes, cursor);
            } else if let Some(bytes) = self.links[link].wires[side].pop_front() {
                self.deliver(link, side, &bytes);
            }
        }
    }

    /// Tells the conversations that what the node follows has changed.
    pub(crate) fn tell_follows(&mut self, node: usize) {
        for link in 0..self.links.len() {
            for side in [0, 1] {
                if self.links[link].ends[side] == node {
                    self.input(link, side, Input::FollowsChanged);
                }
            }
        }
    }

    /// Delivers until nothing is on the way and nobody has work left for now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut quiet = true;
            for link in 0..self.links.len() {
                for side in [0, 1] {
                    if let Some(bytes) = self.links[link].wires[side].pop_front() {
                        quiet = false;
                        self.deliver(link, side, &bytes);
                    }
                    if self.links[link].sessions[side]
                        .next_timeout()
                        .is_some_and(|at| at <= self.now)
                    {
                        quiet = false;
                        self.input(link, side, Input::Timeout);
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn pass(&mut self, duration: Millis) {
        let end = self.now + duration;
        self.settle();
        while let Some(at) = self
            .links
            .iter()
            .flat_map(|link| link.sessions.iter().filter_map(Session::next_timeout))
            .filter(|at| *at <= end)
            .min()
        {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn frames(&self, link: usize, kind: u8) -> usize {
        self.links[link].frames.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn reset_counts(&mut self, link: usize) {
        self.links[link].frames.clear();
        self.links[link].bytes = 0;
    }

    #[track_caller]
    pub(crate) fn assert_same(&self, nodes: &[usize]) {
        for pair in nodes.windows(2) {
            assert_eq!(
                self.nodes[pair[0]].index.fingerprints(),
                self.nodes[pair[1]].index.fingerprints(),
                "nodes {pair:?} differ"
            );
        }
    }

    pub(crate) fn holds(&self, node: usize, verified: &Verified) -> bool {
        verified.items().all(|item| self.nodes[node].index.holds(&item))
    }
}
