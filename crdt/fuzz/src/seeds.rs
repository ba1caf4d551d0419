//! The first input of every target: what honest nodes send, and the attacks that are known.

use crdt::message::Frame;
use crdt::sketch::Cell;
use crdt::statement::Envelope;
use crdt::{Digest, RealmId, Signature, StatementId};

use super::world::{KINDS, WORLD};

/// The inputs of each target, by its name.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("statement", statements()),
        ("envelope", envelopes().iter().map(Envelope::encode).collect()),
        ("batch", batches()),
        ("frames", streams()),
        ("cells", cells()),
        ("session", sessions()),
        ("document", documents()),
    ]
}

fn envelopes() -> Vec<Envelope> {
    WORLD.statements.iter().map(|one| one.envelope().clone()).collect()
}

fn statements() -> Vec<Vec<u8>> {
    let known = WORLD.statements.iter().map(|one| {
        let statement = one.statement();
        let kind = KINDS.iter().position(|kind| *kind == statement.kind()).unwrap_or_default();
        [&[short(kind)][..], statement.payload()].concat()
    });
    let realm = WORLD.realm.0;
    // v, realm, format, name and two entries of every sort: a type that nobody knows.
    let head = [&[0xa6, 0, 1, 1, 0x58, 32][..], realm.as_bytes()].concat();
    let rest = b"\x02\x63npm\x03\x61x\x09\x82\xf5\x41a\x0a\xa1\x01\x20";
    let later = [&[11][..], &head, rest].concat();
    known.chain([later]).collect()
}

fn batches() -> Vec<Vec<u8>> {
    let parts: Vec<Vec<u8>> = envelopes().iter().map(Envelope::encode).collect();
    let of = |parts: &[Vec<u8>]| {
        let mut plain = vec![0x80 | short(parts.len().min(23))];
        for part in parts.iter().take(23) {
            let [high, low] = u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
            let head: &[u8] = if high == 0 { &[0x58, low] } else { &[0x59, high, low] };
            plain.extend_from_slice(&[head, part].concat());
        }
        plain
    };
    let plain = of(&parts[..4]);
    let compressed = zstd::encode_all(plain.as_slice(), 3).unwrap_or_default();
    vec![
        [&[0][..], &compressed].concat(),
        [&[1][..], &plain].concat(),
        [&[1][..], &of(&parts)].concat(),
        [&[1][..], &of(&[])].concat(),
        [&[0xf1][..], &[0; 1024]].concat(),
        // A window of 128 MiB around nothing.
        vec![0, 0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00],
    ]
}

/// One frame of each type.
#[must_use]
pub fn one_of_each() -> Vec<Frame> {
    let realms = vec![RealmId(Digest::from_bytes([1; 32])), WORLD.realm];
    let (coll, batch) = ([1; 32], envelopes()[..2].to_vec());
    let hello = Frame::Hello {
        version: 1,
        features: 1,
        max_frame: 1 << 20,
        key: [9; 32],
        epoch: 5,
        seen: Some((6, 7)),
        follows: vec![WORLD.realm],
    };
    vec![
        hello,
        Frame::Follows {
            follows: realms
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect(),
        },
        Frame::Resume { from: 1, to: 1 << 40, batch: batch.clone() },
        Frame::Check { count: 300, fingerprint: [1; 16], sequence: 70_000 },
        Frame::Colls { last: true, entries: vec![(coll, 24, [2; 16]), ([3; 32], 256, [4; 16])] },
        Frame::AllIds { coll, ids: vec![0, 1, u64::MAX], last: false },
        Frame::Done { coll, last: true, want: vec![7] },
        Frame::Want { ids: vec![StatementId(Digest::of(b"x"))] },
        Frame::Statements { batch },
        Frame::Lobby { batch: Vec::new() },
        Frame::GoAway { reason: "enough".to_owned() },
        Frame::Cells { coll, first: 32, cells: vec![Cell::from_bytes(&[7; 19]); 3] },
        Frame::More { coll, count: 64 },
        Frame::Proof { keys: vec![(WORLD.keys[0].public(), Signature([7; 64]))] },
        Frame::Hidden { tags: vec![[1; 32], [2; 32]] },
    ]
}

fn streams() -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = one_of_each().iter().map(Frame::encode).collect();
    let skipped = vec![3, 0, 0, 0, 0x80, 1, 2];
    let cut = [&[0, 1, 9, 200][..], &all[0], &all[8][..9]].concat();
    let whole = [&[3, 0, 255, 60][..], &all.concat(), &skipped, &all[3]].concat();
    let single = all.iter().map(|frame| [&[6, 255, 1, 0][..], frame].concat());
    single.chain([cut, whole]).collect()
}

/// Sizes (common, ours, theirs, cells), number of lies, the lies, the pieces.
fn cells() -> Vec<Vec<u8>> {
    let sizes = |of: [u16; 4]| of.map(u16::to_le_bytes).concat();
    vec![
        sizes([100, 5, 5, 60]),
        [&sizes([200, 0, 0, 1])[..], &[0, 40]].concat(),
        sizes([0, 140, 140, 1000]),
        // Cell 0 says one item alone, the others say nothing: naive peeling never ends.
        [&sizes([0, 0, 0, 31])[..], &[1, 0, 0, 0, 0, 3, 9]].concat(),
        // An item of our own, said to be theirs; and one that nobody has, said to be ours.
        [&sizes([20, 3, 3, 40])[..], &[2, 0, 0, 1, 0, 4, 2, 0, 3, 0, 1, 0, 5, 8]].concat(),
        [&sizes([50, 2, 0, 31])[..], &[1, 4, 0, 9, 0, 2]].concat(),
    ]
}

/// Who asks and what is held; a greeting, and then what a peer does after it.
fn sessions() -> Vec<Vec<u8>> {
    // A greeting of one who follows the realm: no flags, epoch 5.
    let greeted = |head: u8, rest: &[&[u8]]| [&[head, 0, 0, 5, 3][..], &rest.concat()].concat();
    let unequal = [&[2, 1, 1][..], &[7; 16], &[9]].concat();
    let (equal, colls): (&[u8], &[u8]) = (&[2, 1, 0, 9], &[3, 1, 3, 0, 0, 0, 1, 0x10, 2, 0x20]);
    let authority: &[u8] = &[4, 1, 0, 2, 2];
    let ids: &[u8] = &[4, 1, 1, 2, 250];
    let cells: &[u8] = &[10, 1, 1, 0, 255, 0, 2, 40];
    let statements: &[u8] = &[7, 1, 4, 0, 0, 20, 1, 30, 2, 40, 0, 50, 14];
    let resume: &[u8] = &[1, 1, 0, 9, 2, 0, 0, 10, 0, 11, 14];
    vec![
        greeted(0, &[&unequal, authority, ids, statements, equal]),
        greeted(0, &[&unequal, ids, authority, &[15, 255], statements]),
        greeted(1, &[equal, &unequal, colls, &[5, 1, 0, 0, 3], &[5, 1, 1, 0, 9]]),
        greeted(3, &[&unequal, colls, &[12, 1, 1, 64], &[5, 1, 1, 0, 9], statements]),
        greeted(2, &[&unequal, cells, cells, statements, &[14, 14]]),
        greeted(3, &[colls, &[12, 1, 1, 64], &[12, 1, 1, 0], equal]),
        greeted(5, &[resume, resume, equal, &[15, 200]]),
        greeted(2, &[equal, &[16], &[17], &[18, 9, 9], &[19, 129], &[15, 60]]),
        greeted(1, &[&[9, 1, 3, 0, 0, 1, 0, 2, 0, 3], &[6, 1, 2, 0, 1, 1, 2, 2], &[0, 1, 0]]),
        vec![0, 13, 0, 5, 3, 13, 0, 5, 3],
        // It shows keys, rightly and wrongly, and names what is hidden.
        greeted(1, &[&[20, 0], &[21, 3, 0, 0, 1, 2], &unequal, colls, equal]),
        greeted(0, &[&[20, 6, 1, 2, 3], &[21, 2, 0, 0, 1], &unequal, authority, statements]),
        // It claims to hold a fifth of all numbers, and asks for as many cells.
        greeted(
            3,
            &[equal, &unequal, &[3, 1, 1, 0, 1, 0x11, 252, 4, 200], &[12, 1, 1, 252, 60, 0]],
        ),
    ]
}

/// Template, number of changes, then place and byte of each.
fn documents() -> Vec<Vec<u8>> {
    vec![
        (0..18).flat_map(|template| [template, 0]).collect(),
        (0..24).flat_map(|n: u8| [1, 1, 100, 0, n]).collect(),
        vec![1, 2, 40, 0, 0x79, 60, 0, 1, 2, 0x81, 10, 0, 0, 3, 0, 5, 0, 6, 0],
        [4, 1, 80, 0, 3].repeat(6),
    ]
}

fn short(number: usize) -> u8 {
    u8::try_from(number).expect("a small number")
}
