//! The attacks on automerge, line by line as index.md 3.2 numbers them, in two halves.
//!
//! `canary`: the library still behaves as it was measured, so that an upgrade which does not is
//! noticed. `ours`: no input of ours reaches the case, because a statement becomes a change of one
//! shape alone, and because bytes of automerge are nothing that any decoder takes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType};
use automerge::transaction::Transactable;
use automerge::{
    ActorId, AutoCommit, Automerge, Change, ChangeHash, ExpandedChange, ROOT, ReadDoc,
};
use automerge::{ObjType, ScalarValue};
use crdt::document::Document;
use crdt::message::{Decoder, Frame};
use crdt::{Envelope, Statement, Verified};
use sha2::{Digest as _, Sha256};

use crate::bodies::wire::statements_body;
use crate::bodies::world::{KINDS, WORLD};
use crate::world::{H1, H2, World};

/// What a hostile writer chooses of a change.
#[derive(Clone)]
struct Forged {
    actor: ActorId,
    seq: u64,
    start_op: u64,
    ops: Vec<Op>,
    deps: Vec<ChangeHash>,
}

impl Forged {
    fn new(actor: u8) -> Self {
        Self {
            actor: self::actor(actor),
            seq: 1,
            start_op: 1,
            ops: vec![put("k", actor)],
            deps: Vec::new(),
        }
    }

    fn change(self) -> Change {
        ExpandedChange {
            operations: self.ops,
            actor_id: self.actor,
            hash: None,
            seq: self.seq,
            start_op: self.start_op.try_into().unwrap(),
            time: 0,
            message: None,
            deps: self.deps,
            extra_bytes: Vec::new(),
            author: None,
        }
        .into()
    }
}

fn actor(byte: u8) -> ActorId {
    ActorId::from([byte; 32].as_slice())
}

fn put(key: &str, value: u8) -> Op {
    Op {
        action: OpType::Put(ScalarValue::Bytes(vec![value])),
        obj: ObjectId::Root,
        key: Key::Map(key.into()),
        pred: Vec::new().into(),
        insert: false,
    }
}

/// `None` if automerge panicked.
fn tried<T>(what: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(what)).ok()
}

fn applied(changes: impl IntoIterator<Item = Change> + Clone) -> Automerge {
    let mut doc = Automerge::new();
    doc.apply_changes(changes).unwrap();
    doc
}

fn panics(changes: impl IntoIterator<Item = Change> + Clone) -> bool {
    tried(|| Automerge::new().apply_changes(changes)).is_none()
}

fn keys(doc: &impl ReadDoc) -> Vec<String> {
    doc.keys(ROOT).collect()
}

fn built(statements: &[&Verified]) -> Document {
    let mut document = Document::new();
    document.extend(statements.iter().copied()).unwrap();
    document
}

#[test]
fn red_18_canary_1_two_changes_of_one_actor_and_seq_never_meet() {
    let (one, two) = (Forged::new(1), Forged { ops: vec![put("k", 9)], ..Forged::new(1) });
    let (mut left, mut right) = (applied([one.clone().change()]), applied([two.clone().change()]));
    assert!(left.apply_changes([two.change()]).is_err());
    assert!(right.apply_changes([one.change()]).is_err());
    assert_ne!(left.get_heads(), right.get_heads());
}

#[test]
fn red_18_canary_2_the_honest_change_of_a_batch_is_lost_with_the_other() {
    let mut doc = applied([Forged::new(1).change()]);
    let twice = Forged { ops: vec![put("k", 9)], ..Forged::new(1) }.change();
    let honest = Forged { ops: vec![put("honest", 2)], ..Forged::new(2) }.change();
    assert!(doc.apply_changes([twice, honest]).is_err());
    assert_eq!(keys(&doc), ["k"]);
}

#[test]
fn red_18_canary_3_a_squatted_actor_refuses_the_honest_change() {
    let squatted = Forged { ops: vec![put("squat", 9)], ..Forged::new(1) };
    let mut doc = applied([squatted.change()]);
    assert!(doc.apply_changes([Forged::new(1).change()]).is_err());
    assert_eq!(keys(&doc), ["squat"]);
}

#[test]
fn red_18_ours_1_to_3_who_signs_twice_adds_a_value_and_stops_nobody() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let honest = w.release("1.1", H1, &[&w.n]);
    let (mut left, mut right) = (built(&[&one]), built(&[&two]));
    assert_eq!(left.extend([&two, &honest]), Ok(2));
    assert_eq!(right.extend([&honest, &one]), Ok(2));
    assert_eq!((left.heads(), left.values()), (right.heads(), right.values()));
    assert_eq!(left.values().len(), 3);
    // The actor of a statement is its id: who would squat it has signed the statement itself.
    let squatted = Verified::sign(honest.statement().clone(), &[&w.z]);
    assert_eq!(built(&[&squatted]).heads(), built(&[&honest]).heads());
}

#[test]
fn red_18_canary_4_a_first_change_that_is_not_the_first_panics() {
    for seq in [5, u64::MAX] {
        assert!(panics([Forged { seq, ..Forged::new(1) }.change()]), "seq {seq}");
    }
}

#[test]
fn red_18_canary_5_a_gap_in_the_sequence_panics() {
    let first = Forged::new(1).change();
    let third = Forged { seq: 3, start_op: 2, deps: vec![first.hash()], ..Forged::new(1) };
    assert!(panics([first, third.change()]));
}

#[test]
fn red_18_canary_6_operations_that_overlap_panic() {
    let ops = vec![put("a", 1), put("b", 2), put("c", 3)];
    let first = Forged { ops: ops.clone(), ..Forged::new(1) }.change();
    let second = Forged { seq: 2, ops, deps: vec![first.hash()], ..Forged::new(1) };
    assert!(panics([first, second.change()]));
}

#[test]
fn red_18_canary_7_an_operation_on_no_object_panics() {
    let nowhere = Op { obj: ObjectId::Id(OpId(77, actor(1))), ..put("k", 1) };
    assert!(panics([Forged { ops: vec![nowhere], ..Forged::new(1) }.change()]));
}

#[test]
fn red_18_canary_8_a_start_near_the_end_of_u32_poisons_the_document() {
    for start_op in [u64::from(u32::MAX) - 1, u64::from(u32::MAX)] {
        let mut doc = AutoCommit::new();
        doc.apply_changes([Forged { start_op, ..Forged::new(1) }.change()]).unwrap();
        let edited = tried(move || {
            doc.put(ROOT, "mine", 1).unwrap();
            doc.put(ROOT, "mine", 2).unwrap();
            doc.save()
        });
        assert!(edited.is_none(), "start_op {start_op}");
    }
}

#[test]
fn red_18_canary_8_starts_beyond_u32_are_no_better() {
    for start_op in [u64::from(u32::MAX) + 1, u64::MAX - 1, u64::MAX] {
        let changes = [Forged { start_op, ..Forged::new(1) }.change()];
        let taken = tried(|| Automerge::new().apply_changes(changes).is_ok());
        assert_ne!(taken, Some(true), "start_op {start_op}");
    }
}

#[test]
fn red_18_canary_9_a_predecessor_that_is_not_there_makes_a_document_that_does_not_load() {
    let pred = vec![OpId(9, actor(1))].into();
    let forged = Forged { ops: vec![Op { pred, ..put("k", 1) }], ..Forged::new(1) };
    let doc = applied([forged.change()]);
    assert_eq!(tried(|| Automerge::load(&doc.save()).is_ok()), Some(false));
}

#[test]
fn red_18_canary_10_anybody_deletes_anything() {
    let first = Forged::new(1).change();
    let pred = vec![OpId(1, actor(1))].into();
    let delete = Op { action: OpType::Delete, pred, ..put("k", 0) };
    let deps = vec![first.hash()];
    let second = Forged { ops: vec![delete], start_op: 2, deps, ..Forged::new(2) };
    assert!(keys(&applied([first, second.change()])).is_empty());
}

#[test]
fn red_18_canary_the_writer_with_the_highest_actor_wins_a_key() {
    let doc = applied([Forged::new(1).change(), Forged::new(0xff).change()]);
    #[expect(clippy::disallowed_methods, reason = "what it answers is the point")]
    let (won, _) = doc.get(ROOT, "k").unwrap().unwrap();
    assert_eq!(won.as_bytes(), Some(&[0xff][..]));
    assert_eq!(doc.get_all(ROOT, "k").unwrap().len(), 2);
}

#[test]
fn red_18_canary_of_two_maps_of_one_name_one_is_seen() {
    let make = |byte: u8| {
        let map = Op { action: OpType::Make(ObjType::Map), ..put("s", 0) };
        let inside = Op { obj: ObjectId::Id(OpId(1, actor(byte))), ..put(&format!("k{byte}"), 1) };
        Forged { ops: vec![map, inside], ..Forged::new(byte) }.change()
    };
    let doc = applied([make(1), make(2)]);
    #[expect(clippy::disallowed_methods, reason = "what it answers is the point")]
    let (_, map) = doc.get(ROOT, "s").unwrap().unwrap();
    assert_eq!(doc.keys(&map).collect::<Vec<_>>(), ["k2"]);
}

#[test]
fn red_18_canary_11_a_change_inflates_without_limit() {
    let large = OpType::Put(ScalarValue::Bytes(vec![0; 8 << 20]));
    let mut bomb =
        Forged { ops: vec![Op { action: large, ..put("k", 0) }], ..Forged::new(1) }.change();
    let packed = bomb.bytes().into_owned();
    assert!(packed.len() < 64 * 1024, "{}", packed.len());
    let read = Change::from_bytes(packed).unwrap();
    assert!(read.raw_bytes().len() > 8 << 20);
}

#[test]
fn red_18_canary_12_an_operation_costs_a_byte() {
    let ops = vec![put("k", 1); 100_000];
    let mut change = Forged { ops, ..Forged::new(1) }.change();
    assert!(change.bytes().len() < 200_000);
    assert_eq!(Change::from_bytes(change.bytes().into_owned()).unwrap().len(), 100_000);
}

#[test]
fn red_18_canary_13_orphans_wait_without_limit() {
    let orphan = |n: u64| {
        let missing: [u8; 32] = Sha256::digest(n.to_le_bytes()).into();
        let (actor, deps) = (ActorId::from(&missing[..]), vec![ChangeHash(missing)]);
        Forged { actor, deps, ..Forged::new(1) }
    };
    let doc = applied((0..2_000).map(|n| orphan(n).change()));
    assert!(keys(&doc).is_empty());
    assert_eq!(doc.get_missing_deps(&[]).len(), 2_000);
}

/// A chunk of automerge around a body: its checksum is right whatever the body says.
fn chunk(body: &[u8]) -> Vec<u8> {
    let (mut length, mut rest) = (Vec::new(), body.len());
    while rest > 0x7f {
        length.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    length.push(u8::try_from(rest).unwrap());
    let sum = Sha256::new().chain_update([1]).chain_update(&length).chain_update(body).finalize();
    [&[0x85, 0x6f, 0x4a, 0x83][..], &sum[..4], &[1], &length, body].concat()
}

/// Changes with a byte of their body changed, and a right checksum.
fn mutants() -> Vec<Vec<u8>> {
    let ops = vec![put("release/1.0.0", 1), put("release/1.0.1", 2)];
    let honest = Forged { ops, ..Forged::new(3) }.change();
    let body = &honest.raw_bytes()[10..];
    assert_eq!(chunk(body), honest.raw_bytes(), "the chunk is put together wrongly");
    let places = 0..body.len().min(160);
    let mutated = places.flat_map(|place| {
        [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| {
            let mut body = body.to_vec();
            body[place] = byte;
            chunk(&body)
        })
    });
    mutated.collect()
}

#[test]
fn red_18_canary_14_mutants_parse_and_some_of_them_panic() {
    let (mut parsed, mut harmful) = (0, 0);
    for mutant in mutants() {
        let read = tried(|| Change::from_bytes(mutant).ok()).flatten();
        let Some(change) = read else { continue };
        parsed += 1;
        let fine = tried(|| {
            let doc = applied([Forged::new(9).change(), change]);
            Automerge::load(&doc.save()).is_ok()
        });
        harmful += usize::from(fine != Some(true));
    }
    assert!(parsed > 50 && harmful > 5, "{harmful} of {parsed}");
}

#[test]
fn red_18_ours_4_to_13_every_change_of_ours_has_one_shape() {
    let mut document = built(&WORLD.statements.iter().collect::<Vec<_>>());
    let values = document.values();
    assert!(values.len() > 6);
    let doc = Automerge::load(&document.save()).unwrap();
    let changes = doc.get_changes(&[]);
    assert_eq!(changes.len(), values.len());
    for change in changes {
        let at = (change.seq(), change.start_op().get(), change.len(), change.max_op());
        assert_eq!(at, (1, 1, 1, 1), "first, and one operation");
        assert!(change.deps().is_empty(), "it waits for nothing");
        assert_eq!(change.actor_id().to_bytes().len(), 32);
        assert!(change.other_actor_ids().is_empty(), "it speaks of nobody else's operations");
        assert_eq!(
            (change.timestamp(), change.message(), change.extra_bytes()),
            (0, None, &[][..])
        );
        let operations = change.decode().operations;
        let [Op { action: OpType::Put(ScalarValue::Bytes(payload)), obj, pred, insert, .. }] =
            operations.as_slice()
        else {
            panic!("{operations:?}");
        };
        assert_eq!((obj, pred.iter().count(), *insert), (&ObjectId::Root, 0, false));
        let id = change.actor_id().to_bytes();
        assert!(values.iter().any(|(_, held, by)| held == payload && by.0.as_bytes() == id));
    }
}

/// What a peer could offer: honest and mutated changes, a document, a bomb.
fn bytes_of_automerge() -> Vec<Vec<u8>> {
    let mut document = built(&WORLD.statements.iter().collect::<Vec<_>>());
    let large = OpType::Put(ScalarValue::Bytes(vec![0; 1 << 20]));
    let bomb = Op { action: large, ..put("k", 0) };
    let mut changes = [
        Forged::new(1).change(),
        Forged { seq: 5, ..Forged::new(1) }.change(),
        Forged { ops: vec![bomb], ..Forged::new(1) }.change(),
    ];
    let mut all: Vec<Vec<u8>> =
        changes.iter_mut().map(|change| change.bytes().into_owned()).collect();
    all.extend(mutants().into_iter().step_by(40));
    all.push(document.save());
    all
}

#[test]
fn red_18_ours_11_and_14_bytes_of_automerge_are_nothing_that_a_decoder_takes() {
    for bytes in bytes_of_automerge() {
        assert!(KINDS.iter().all(|kind| Statement::decode(kind, &bytes).is_err()));
        assert!(Statement::decode("automerge", &bytes).is_err());
        assert!(Envelope::decode(&bytes).is_err());
        for kind in 0..0x80 {
            assert!(Frame::decode(kind, &bytes).is_err(), "a frame of type {kind:#x}");
        }
        for wrapped in [bytes.clone(), zstd::encode_all(bytes.as_slice(), 1).unwrap()] {
            for kind in [0x09, 0x0a] {
                assert!(Frame::decode(kind, &statements_body(&wrapped)).is_err());
            }
        }
        let mut decoder = Decoder::new();
        decoder.feed(&bytes);
        assert!(decoder.next_frame().is_err(), "its length is over every cap");
    }
}
