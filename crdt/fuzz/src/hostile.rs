//! A peer that knows the protocol, the realm and its statements, and says what an input tells it.
//!
//! It lies with names, ids, cells and fingerprints that are nearly right, as bytes at random never
//! would be. What must hold whatever it does stands in `sessions`.

use crdt::message::{FEATURE_CELLS, FEATURE_HIDDEN, Frame};
use crdt::reconcile::{Fingerprint, collection_name, overall, short_id};
use crdt::session::{Index, Input, names_of};
use crdt::signature::Hello;
use crdt::sketch::{Cell, Sketch};
use crdt::{Collection, Digest, Envelope, PublicKey, RealmId, Signature, StatementId};

use super::draw::Draw;
use super::sessions::{LIAR_ID, POOL, VICTIM_ID, Victim};
use super::world::WORLD;

/// What it remembers of the conversation.
#[derive(Debug, Default)]
pub struct Liar {
    /// It has said HELLO.
    pub greeted: bool,
    /// Cells that were sent, so that further ones continue them.
    cells: usize,
}

impl Liar {
    /// One thing that it does, or that happens at the victim's meanwhile.
    pub fn acts(&mut self, victim: &mut Victim, draw: &mut Draw<'_>) {
        let act = draw.byte() % 22;
        if !self.greeted && act != 13 {
            let hello = self.hello(draw);
            victim.hear(hello);
            return;
        }
        match act {
            14 => victim.admit_oldest(),
            15 => victim.pass(draw.number().saturating_mul(1000)),
            16 => drop(victim.input(Input::Compare)),
            17 => drop(victim.input(Input::FollowsChanged)),
            20 => {
                let keys = proofs(victim, draw);
                victim.hear(Frame::Proof { keys });
            }
            21 => {
                let tags = tags(victim, draw);
                victim.hear(Frame::Hidden { tags });
            }
            18 => drop(victim.input(Input::Want(vec![statement(draw)]))),
            19 => {
                let one = draw.pick(&POOL).clone();
                let new = victim.index.admit(one);
                victim.input(Input::New(new));
            }
            _ => {
                let frame = self.frame(act, victim, draw);
                victim.hear(frame);
            }
        }
    }

    fn hello(&mut self, draw: &mut Draw<'_>) -> Frame {
        self.greeted = true;
        let head = draw.byte();
        Frame::Hello {
            version: 1 + u32::from(head >> 7),
            features: if head & 1 == 0 { FEATURE_CELLS | FEATURE_HIDDEN } else { draw.number() },
            max_frame: if head & 2 == 0 { 1 << 20 } else { draw.number() << 10 },
            key: if head & 4 == 0 { [2; 32] } else { [1; 32] },
            epoch: draw.number(),
            seen: (head & 8 != 0).then(|| (draw.number(), draw.number())),
            follows: follows(draw),
        }
    }

    fn frame(&mut self, act: u8, victim: &Victim, draw: &mut Draw<'_>) -> Frame {
        let last = draw.byte() & 3 != 0;
        match act {
            0 => Frame::Follows { follows: follows(draw) },
            1 => Frame::Resume { from: draw.number(), to: draw.number(), batch: batch(draw) },
            2 => check(victim, draw),
            3 => Frame::Colls { last, entries: entries(victim, draw) },
            4 => {
                let (coll, held) = name(victim, draw);
                Frame::AllIds { coll, ids: ids(victim, 1, held.as_ref(), draw), last }
            }
            5 => {
                let (coll, held) = name(victim, draw);
                Frame::Done { coll, want: ids(victim, 0, held.as_ref(), draw), last }
            }
            6 => Frame::Want { ids: (0..draw.below(65)).map(|_| statement(draw)).collect() },
            7 | 8 => Frame::Statements { batch: batch(draw) },
            9 => Frame::Lobby { batch: batch(draw) },
            10 | 11 => self.cells(victim, draw),
            12 => Frame::More { coll: name(victim, draw).0, count: draw.number() },
            13 => self.hello(draw),
            _ => Frame::GoAway { reason: "enough".to_owned() },
        }
    }

    /// Cells of what it claims to hold, some of them wrong.
    fn cells(&mut self, victim: &Victim, draw: &mut Draw<'_>) -> Frame {
        let (coll, held) = name(victim, draw);
        let head = draw.byte();
        let first = if head & 1 == 0 { self.cells } else { draw.below(512) };
        let count = 1 + draw.below(256);
        let ids = ids(victim, 1, held.as_ref(), draw);
        let mut cells = Sketch::of(ids).unwrap_or_default().cells(first, first + count).to_vec();
        for _ in 0..(head >> 1) % 4 {
            let at = draw.below(count);
            cells[at] = Cell::from_bytes(&draw.fixed());
        }
        self.cells = first + count;
        Frame::Cells { coll, first: first as u64, cells }
    }
}

fn follows(draw: &mut Draw<'_>) -> Vec<RealmId> {
    let other = RealmId(Digest::from_bytes([3; 32]));
    let mut realms = match draw.byte() % 8 {
        0 => Vec::new(),
        1 => vec![other],
        2 => vec![WORLD.realm, other],
        _ => vec![WORLD.realm],
    };
    realms.sort_unstable();
    realms
}

/// A key of its own, rightly shown; now and then a reader's, with a signature made up or another's.
fn proofs(victim: &Victim, draw: &mut Draw<'_>) -> Vec<(PublicKey, Signature)> {
    let head = draw.byte();
    let [_, reader, .., stranger] = &WORLD.keys;
    let hello = |prover, verifier| Hello { prover, verifier, challenge: &victim.keys[0] };
    let (shown, reflected) = (hello(LIAR_ID, VICTIM_ID), hello(VICTIM_ID, LIAR_ID));
    let mut keys = Vec::new();
    if head & 1 == 0 {
        keys.push((stranger.public(), shown.sign(stranger)));
    }
    match (head >> 1) % 4 {
        1 => keys.push((reader.public(), shown.sign(stranger))),
        2 => keys.push((reader.public(), reflected.sign(reader))),
        3 => keys.push((reader.public(), Signature(draw.fixed()))),
        _ => {}
    }
    keys.sort_unstable();
    keys
}

/// Tags of realms that it cannot know of, of the open one, and of none; made for either side.
fn tags(victim: &Victim, draw: &mut Draw<'_>) -> Vec<[u8; 32]> {
    let [own, liar] = victim.keys;
    let mut tags: Vec<[u8; 32]> = (0..draw.below(6))
        .map(|_| {
            let head = draw.byte();
            let sides = if head & 1 == 0 { [liar, own] } else { [own, liar] };
            let key = blake3::derive_key("griot 2026 sync hidden realms v1", sides.as_flattened());
            let realm = match head >> 1 & 3 {
                0 => WORLD.quiet[0].statement().realm(),
                1 => WORLD.realm,
                _ => return draw.fixed(),
            };
            *blake3::keyed_hash(&key, realm.0.as_bytes()).as_bytes()
        })
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn statement(draw: &mut Draw<'_>) -> StatementId {
    let unknown = StatementId(Digest::from_bytes([draw.byte(); 32]));
    POOL.get(usize::from(draw.byte())).map_or(unknown, |one| one.statement().id())
}

/// Statements of the realm; now and then one whose signature is broken, or one of another realm.
fn batch(draw: &mut Draw<'_>) -> Vec<Envelope> {
    let mut batch: Vec<Envelope> = Vec::new();
    for _ in 0..draw.below(24) {
        let head = draw.byte();
        let mut envelope = draw.pick(&POOL).envelope().clone();
        if head & 7 == 1 {
            envelope.signatures.values_mut().for_each(|one| *one = Signature([head; 64]));
        }
        if head & 7 == 2 && envelope.signatures.len() > 1 {
            envelope.signatures.pop_first();
        }
        if batch.iter().all(|one| one.statement.id() != envelope.statement.id()) {
            batch.push(envelope);
        }
    }
    batch
}

fn collections(victim: &Victim) -> Vec<(Collection, Fingerprint)> {
    victim.index.collections(&WORLD.realm)
}

/// A collection by its name in this conversation, or a name that nobody gave.
fn name(victim: &Victim, draw: &mut Draw<'_>) -> ([u8; 32], Option<Collection>) {
    let [own, liar] = victim.keys;
    let names = names_of(if victim.initiator { [own, liar] } else { [liar, own] });
    let place = usize::from(draw.byte() % 8);
    let held = collections(victim).into_iter().nth(place % 4).map(|(held, _)| held);
    (held.as_ref().map_or([9; 32], |held| collection_name(&names, held)), held)
}

/// A fingerprint over all: the victim's own, so that both are equal, or another.
fn check(victim: &Victim, draw: &mut Draw<'_>) -> Frame {
    let held = collections(victim);
    let head = draw.byte();
    let fingerprint = if head & 1 == 0 { overall(&victim.keys[1], &held) } else { draw.fixed() };
    let count = held.iter().map(|(_, state)| state.count).sum();
    let count = if head & 2 == 0 { count } else { draw.number() };
    Frame::Check { count, fingerprint, sequence: draw.number() }
}

fn entries(victim: &Victim, draw: &mut Draw<'_>) -> Vec<([u8; 32], u64, [u8; 16])> {
    let held = collections(victim);
    (0..draw.below(6))
        .map(|_| {
            let ((name, _), head) = (name(victim, draw), draw.byte());
            let state = held.get(usize::from(head >> 4));
            let count = state.map_or(100, |(_, state)| state.count);
            let equal = state.map_or([0; 16], |(_, state)| state.keyed(&victim.keys[1]));
            let count = if head & 1 == 0 { count } else { draw.number() };
            (name, count, if head & 2 == 0 { [7; 16] } else { equal })
        })
        .collect()
}

/// Short ids under the victim's key (0) or the liar's (1): of what the victim has or lacks of the
/// collection, one in so many left out, and some that belong to nothing.
fn ids(victim: &Victim, of: usize, held: Option<&Collection>, draw: &mut Draw<'_>) -> Vec<u64> {
    let (head, skip) = (draw.byte(), usize::from(draw.byte()) + 1);
    let said = POOL.iter().filter(|one| Some(&one.statement().collection()) == held);
    let items = said.flat_map(|one| one.items()).enumerate();
    let chosen = items.filter(|(place, item)| {
        let wanted = match head & 3 {
            0 => victim.index.holds(item),
            1 => !victim.index.holds(item),
            2 => true,
            _ => false,
        };
        wanted && place % skip != skip / 2
    });
    let mut ids: Vec<u64> = chosen.map(|(_, item)| short_id(&victim.keys[of], &item)).collect();
    ids.extend((0..head >> 5).map(|_| draw.number()));
    ids.sort_unstable();
    ids.dedup();
    ids
}
