//! A conversation with a peer that says what it likes, when it likes: what is sent stays bounded,
//! nothing unsigned is held, places are given back, and an honest peer who comes afterwards finds
//! a node that still agrees with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};

use crdt::message::{FRAME_LEAST_BYTES, FRAME_MAX_BYTES, Frame};
use crdt::reconcile::collection_name;
use crdt::session::{
    Bearer, Index, Input, MemoryIndex, Millis, Output, Session, Sketches, names_of,
};
use crdt::{Collection, Envelope, PackageId, SecretKey, StatementId, Verified};

use super::draw::Draw;
use super::hostile::Liar;
use super::world::{WORLD, file, release};

/// How the transport calls both sides.
pub(super) const VICTIM_ID: &[u8] = &[1, 2, 3];
/// See [`VICTIM_ID`].
pub(super) const LIAR_ID: &[u8] = &[3, 2, 1];
/// Events of one conversation.
const EVENTS_MAX: usize = 64;
/// What one event may draw out of a node: a turn's megabyte, and a frame that was begun in it.
const TURN_MAX_BYTES: usize = 2 * FRAME_MAX_BYTES;
/// Frames and requests for one event.
const TURN_MAX_OUTPUTS: usize = 4_096;
/// Steps in which an honest conversation has come to rest.
const HONEST_STEPS_MAX: usize = 2_000;

/// Everything that anybody of the realm ever said: the world, and a package large enough for cells.
pub static POOL: LazyLock<Vec<Verified>> = LazyLock::new(|| {
    let large = (0..120_u8).map(|n| {
        let y = Some(PackageId::new("npm", "y"));
        WORLD.sign(y, release(&format!("1.{n}.0"), vec![file("y.tgz", n)]), &[3])
    });
    WORLD.statements.iter().cloned().chain(large).collect()
});

/// The same by id: a walk over all of them would cost more than what is tried.
static BY_ID: LazyLock<BTreeMap<StatementId, &'static Verified>> = LazyLock::new(|| {
    let all = POOL.iter().chain(&WORLD.quiet);
    all.map(|one| (one.statement().id(), one)).collect()
});

/// What the victim holds before, and what the honest peer holds who comes afterwards.
static SMALL: LazyLock<[MemoryIndex; 2]> =
    LazyLock::new(|| [index(1, POOL.iter().take(9)), index(2, POOL.iter().skip(4).take(20))]);
static LARGE: LazyLock<[MemoryIndex; 2]> =
    LazyLock::new(|| [index(1, POOL.iter().take(130)), index(2, POOL.iter().skip(4))]);

fn index<'a>(epoch: u64, held: impl Iterator<Item = &'a Verified>) -> MemoryIndex {
    let mut index = MemoryIndex::new(epoch);
    index.own(WORLD.realm);
    if epoch == 1 {
        index.follow(WORLD.quiet[0].statement().realm());
        WORLD.quiet.iter().for_each(|one| drop(index.admit(one.clone())));
    }
    held.for_each(|one| drop(index.admit(one.clone())));
    index
}

/// What was signed by whom is looked up; anything else is verified as the node does it.
fn verified(envelope: Envelope) -> Option<Verified> {
    let all_known = BY_ID.get(&envelope.statement.id()).is_some_and(|one| {
        let signed = |(key, signature)| one.signatures().get(key) == Some(signature);
        envelope.signatures.iter().all(signed)
    });
    if all_known { Some(Verified::from_admitted(envelope)) } else { envelope.verify().ok() }
}

/// What the store is asked to admit, and the cursor that comes with it.
type Admission = (Vec<Envelope>, Option<(u64, u64)>);

/// A node in one conversation, as its caller drives it.
#[derive(Debug)]
pub struct Victim {
    /// What it holds.
    pub index: MemoryIndex,
    honest: &'static MemoryIndex,
    /// The keys of both sides, its own first; the liar's is drawn.
    pub keys: [[u8; 32]; 2],
    /// Whether it asks.
    pub initiator: bool,
    pub(super) session: Session,
    admitting: VecDeque<Admission>,
    now: Millis,
    frame_max_bytes: usize,
    sketches: Sketches,
    closed: bool,
    /// Frames that were taken before the end.
    heard: usize,
}

impl Victim {
    fn new(draw: &mut Draw<'_>) -> Self {
        let head = draw.byte();
        let [index, honest] = if head & 2 == 0 { &*SMALL } else { &*LARGE };
        let (initiator, sketches) = (head & 1 == 0, Sketches::new(1));
        let seen = (head & 4 != 0).then(|| (draw.number(), draw.number()));
        let mut victim = Self {
            index: index.clone(),
            honest,
            keys: [[1; 32], [2; 32]],
            initiator,
            session: Session::new(sketches.clone()).bearing(bearer()),
            admitting: VecDeque::new(),
            now: 0,
            frame_max_bytes: FRAME_LEAST_BYTES,
            sketches,
            closed: false,
            heard: 0,
        };
        victim.input(Input::Start { key: victim.keys[0], initiator, seen });
        victim
    }

    /// Feeds an event, and takes all that it draws out; answers the frames.
    pub(super) fn input(&mut self, input: Input) -> Vec<Frame> {
        self.session.handle(self.now, input, &self.index);
        let (mut sent, mut bytes, mut outputs) = (Vec::new(), 0, 0);
        while let Some(output) = self.session.poll() {
            assert!(!self.closed, "it speaks after the end");
            outputs += 1;
            match output {
                Output::Send(frame) => {
                    let length = frame.encode().len();
                    assert!(length <= self.frame_max_bytes, "{length} bytes are too many");
                    bytes += length;
                    tells_nothing(&frame, &self.quiet_names());
                    sent.push(frame);
                }
                Output::Admit { envelopes, cursor } => {
                    self.admitting.push_back((envelopes, cursor))
                }
                Output::Close(_) => self.closed = true,
                _ => {}
            }
        }
        assert!(bytes <= TURN_MAX_BYTES, "one event drew {bytes} bytes");
        assert!(outputs <= TURN_MAX_OUTPUTS, "one event drew {outputs} outputs");
        if self.closed {
            self.admitting.clear();
            assert!(!self.sketches.are_taken(), "a place was not given back");
            assert_eq!(self.session.next_timeout(), None);
        }
        sent
    }

    /// How the collections of the quiet realm are called in this conversation.
    fn quiet_names(&self) -> [[u8; 32]; 2] {
        let quiet = WORLD.quiet[0].statement().realm();
        let [own, liar] = self.keys;
        let names = names_of(if self.initiator { [own, liar] } else { [liar, own] });
        [Collection::Authority(quiet), Collection::Format(quiet, "npm".to_owned())]
            .map(|collection| collection_name(&names, &collection))
    }

    /// A frame of the peer, once there is room for it.
    pub(super) fn hear(&mut self, frame: Frame) -> Vec<Frame> {
        while self.session.is_full() {
            assert!(!self.admitting.is_empty(), "full of nothing");
            self.admit_oldest();
        }
        if let (Frame::Hello { max_frame, .. }, true) = (&frame, self.frame_max_bytes > 0) {
            let most = usize::try_from(*max_frame).unwrap_or(FRAME_MAX_BYTES);
            self.frame_max_bytes = most.clamp(FRAME_LEAST_BYTES, FRAME_MAX_BYTES);
        }
        let sent = self.input(Input::Frame(frame));
        self.heard += usize::from(!self.closed);
        sent
    }

    /// The store is done with what came first.
    pub(super) fn admit_oldest(&mut self) {
        let Some((envelopes, cursor)) = self.admitting.pop_front() else { return };
        let mut new = Vec::new();
        for verified in envelopes.into_iter().filter_map(verified) {
            new.extend(self.index.admit(verified));
        }
        self.input(Input::Admitted { cursor });
        self.input(Input::New(new));
    }

    /// Lets time pass, timers firing when they are due, at most so many.
    pub(super) fn pass(&mut self, millis: Millis) {
        let end = self.now.saturating_add(millis).min(1 << 50);
        for _ in 0..8 {
            let Some(at) = self.session.next_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }
}

/// The victim holds the key of the quiet realm; the liar holds none that may read it.
fn bearer() -> Bearer {
    let keys = Arc::new(vec![SecretKey::from_seed(&[1; 32])]);
    Bearer { own: VICTIM_ID.to_vec(), peer: LIAR_ID.to_vec(), keys }
}

/// Nothing of the quiet realm is named or sent.
fn tells_nothing(frame: &Frame, names: &[[u8; 32]; 2]) {
    let quiet = WORLD.quiet[0].statement().realm();
    match frame {
        Frame::Hello { follows, .. } | Frame::Follows { follows } => {
            assert!(!follows.contains(&quiet), "a private realm is named");
        }
        Frame::Resume { batch, .. } | Frame::Statements { batch } | Frame::Lobby { batch } => {
            let all_open = batch.iter().all(|one| one.statement.realm() != quiet);
            assert!(all_open, "a private realm is shown");
        }
        Frame::Colls { entries, .. } => {
            let all_open = entries.iter().all(|(name, ..)| !names.contains(name));
            assert!(all_open, "a private collection is listed");
        }
        Frame::AllIds { coll, .. } | Frame::Cells { coll, .. } => {
            assert!(!names.contains(coll), "a private collection is offered");
        }
        _ => {}
    }
}

/// First byte: who asks, how much is held, what is remembered. Then the liar's script.
pub fn session(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let mut victim = Victim::new(&mut draw);
    let mut liar = Liar::default();
    let mut events = 0;
    while !draw.is_empty() && !victim.closed && events < EVENTS_MAX {
        liar.acts(&mut victim, &mut draw);
        events += 1;
    }
    let got_in = victim.heard > 3;
    while !victim.admitting.is_empty() {
        victim.admit_oldest();
    }
    nothing_unsigned(&victim.index);
    let Victim { index, honest, session, sketches, .. } = victim;
    drop(session);
    assert!(!sketches.are_taken(), "a place was not given back");
    agrees_with(honest, index, &sketches);
    got_in
}

fn nothing_unsigned(index: &MemoryIndex) {
    for envelope in index.envelopes() {
        let realms = [WORLD.realm, WORLD.quiet[0].statement().realm()];
        assert!(realms.contains(&envelope.statement.realm()), "of a realm that is not followed");
        let honest = BY_ID.get(&envelope.statement.id()).expect("nobody signed anything else");
        let signed = |(key, signature)| honest.signatures().get(key) == Some(signature);
        assert!(envelope.signatures.iter().all(signed), "a signature out of nowhere");
    }
}

fn agrees_with(honest: &MemoryIndex, index: MemoryIndex, sketches: &Sketches) {
    let mut indexes = [index, honest.clone()];
    let mut sessions = [Session::new(sketches.clone()), Session::new(Sketches::default())];
    let mut wires: [VecDeque<Input>; 2] = Default::default();
    for (side, wire) in wires.iter_mut().enumerate() {
        let key = [11 + u8::from(side == 1); 32];
        wire.push_back(Input::Start { key, initiator: side == 0, seen: None });
    }
    let mut now = 0;
    for step in 0..HONEST_STEPS_MAX {
        let side = step % 2;
        let due = sessions[side].next_timeout();
        let next = wires[side].pop_front().or_else(|| {
            now = due.filter(|at| *at <= now + 300)?.max(now);
            Some(Input::Timeout)
        });
        let Some(input) = next else {
            if wires.iter().all(VecDeque::is_empty) && step % 2 == 1 {
                break;
            }
            continue;
        };
        sessions[side].handle(now, input, &indexes[side]);
        while let Some(output) = sessions[side].poll() {
            match output {
                Output::Send(frame) => wires[1 - side].push_back(Input::Frame(frame)),
                Output::Admit { envelopes, cursor } => {
                    for one in envelopes.into_iter().filter_map(verified) {
                        indexes[side].admit(one);
                    }
                    wires[side].push_front(Input::Admitted { cursor });
                }
                Output::Close(reason) => panic!("an honest conversation ended: {reason}"),
                _ => {}
            }
        }
    }
    let [one, two] = indexes.map(|index| index.collections(&WORLD.realm));
    assert_eq!(one, two, "the liar left a mark");
}
