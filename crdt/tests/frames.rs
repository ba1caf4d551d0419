//! Frames on the wire: what round-trips, and what a hostile peer sends.

use crdt::message::{Decoder, FRAME_MAX_BYTES, Frame, INFLATED_MAX_BYTES, frame_cap};
use crdt::reconcile::collection_name;
use crdt::session::{Input, names_of};
use crdt::sketch::Cell;
use crdt::{Collection, Digest, Envelope, Error, RealmId, StatementId};
use proptest::prelude::*;

use crate::network::{ALLIDS, CELLS, Net, Realm};

fn realm_ids(count: u8) -> Vec<RealmId> {
    (0..count).map(|n| RealmId(Digest::from_bytes([n; 32]))).collect()
}

fn hello() -> Frame {
    Frame::Hello {
        version: 1,
        features: 0,
        max_frame: 1 << 20,
        key: [9; 32],
        epoch: 5,
        seen: Some((6, 7)),
        follows: realm_ids(3),
    }
}

fn batch(count: usize) -> Vec<Envelope> {
    let realm = Realm::new(1);
    (0..count).map(|n| realm.release("a", &format!("1.0.{n}")).envelope().clone()).collect()
}

fn one_of_each() -> Vec<Frame> {
    vec![
        hello(),
        Frame::Follows { follows: realm_ids(2) },
        Frame::Resume { from: 1, to: 1 << 40, batch: batch(3) },
        Frame::Check { count: 300, fingerprint: [1; 16], sequence: 70_000 },
        Frame::Colls { last: true, entries: vec![([1; 32], 24, [2; 16]), ([3; 32], 256, [4; 16])] },
        Frame::AllIds { coll: [1; 32], ids: vec![0, 1, u64::MAX], last: false },
        Frame::Done { coll: [1; 32], last: true, want: vec![7] },
        Frame::Want { ids: vec![StatementId(Digest::of(b"x"))] },
        Frame::Statements { batch: batch(2) },
        Frame::Lobby { batch: Vec::new() },
        Frame::GoAway { reason: "enough".to_owned() },
        Frame::Cells { coll: [1; 32], first: 32, cells: vec![Cell::from_bytes(&[7; 19]); 3] },
        Frame::More { coll: [1; 32], count: 64 },
    ]
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).unwrap();
    [&length.to_le_bytes(), &[kind][..], body].concat()
}

/// A batch's place in a STATEMENTS body.
fn statements_body(compressed: &[u8]) -> Vec<u8> {
    let mut body = vec![0x81, 0x5a];
    body.extend_from_slice(&u32::try_from(compressed.len()).unwrap().to_be_bytes());
    body.extend_from_slice(compressed);
    body
}

#[test]
fn every_frame_comes_back_from_its_bytes_in_any_pieces() {
    let frames = one_of_each();
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    for piece in [1, 7, 100, bytes.len()] {
        let mut decoder = Decoder::new();
        let mut read = Vec::new();
        for part in bytes.chunks(piece) {
            decoder.feed(part);
            while let Some(frame) = decoder.next_frame().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames);
    }
}

#[test]
fn a_check_stays_within_64_bytes() {
    let check = Frame::Check { count: u64::MAX, fingerprint: [255; 16], sequence: u64::MAX };
    assert!(check.encode().len() <= 64);
}

#[test]
fn huge_lengths_are_refused_before_their_bytes_come() {
    let over = |cap: usize| u32::try_from(cap - 3).unwrap().to_le_bytes();
    let mut decoder = Decoder::new();
    decoder.feed(&over(frame_cap(false)));
    assert_eq!(decoder.next_frame(), Err(Error::OverLimit { what: "frame", limit: 65_536 }));
    assert!(decoder.next_frame().is_err(), "and it stays refused");

    let mut decoder = Decoder::new();
    decoder.feed(&hello().encode());
    assert!(decoder.next_frame().unwrap().is_some());
    decoder.feed(&over(frame_cap(false)));
    assert_eq!(decoder.next_frame(), Ok(None), "after HELLO more is allowed");
    let mut decoder = Decoder::new();
    decoder.feed(&hello().encode());
    decoder.feed(&over(FRAME_MAX_BYTES));
    assert!(decoder.next_frame().unwrap().is_some());
    assert!(matches!(decoder.next_frame(), Err(Error::OverLimit { what: "frame", .. })));
}

#[test]
fn a_batch_that_inflates_beyond_its_limit_is_refused() {
    // A CBOR array with one byte string of zeros: exactly at the limit, and one byte above.
    for (size, over) in [(INFLATED_MAX_BYTES - 6, false), (INFLATED_MAX_BYTES - 5, true)] {
        let mut plain = vec![0x81, 0x5a];
        plain.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        plain.resize(plain.len() + size, 0);
        let compressed = zstd::encode_all(plain.as_slice(), 3).unwrap();
        assert!(compressed.len() < 1000);
        let refused = Frame::decode(0x09, &statements_body(&compressed)).unwrap_err();
        assert_eq!(matches!(refused, Error::OverLimit { what: "inflated batch", .. }), over);
    }
    // A bomb of a gigabyte costs no more than the limit.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).unwrap();
    assert!(matches!(
        Frame::decode(0x09, &statements_body(&bomb)),
        Err(Error::OverLimit { what: "inflated batch", .. })
    ));
}

#[test]
fn a_window_larger_than_a_batch_is_refused() {
    // Magic, descriptor without a content size, window of 128 MiB, one empty last block.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    let refused = Frame::decode(0x09, &[&[0x81, 0x49][..], &wide].concat()).unwrap_err();
    assert!(matches!(refused, Error::Malformed { what: "batch", .. }), "{refused:?}");
}

#[test]
fn unknown_types_are_skipped_or_refused_by_their_high_bit() {
    let mut decoder = Decoder::new();
    decoder.feed(&framed(0x80, b"anything"));
    decoder.feed(&hello().encode());
    assert_eq!(decoder.next_frame(), Ok(Some(hello())));
    decoder.feed(&framed(0x7f, b"anything"));
    assert!(decoder.next_frame().is_err());
}

#[test]
fn one_content_has_one_encoding() {
    let loose: [(u8, &[u8]); 6] = [
        (0x0b, &[0x9f, 0x61, b'x', 0xff]), // indefinite array
        (0x0b, &[0x81, 0x78, 0x01, b'x']), // length in two bytes where one does
        (0x0b, &[0x81, 0x61, b'x', 0x00]), // something behind it
        (0x04, &[0x83, 0x18, 0x01, 0x50]), // a number in two bytes, and cut off
        (0x06, &[0x83, 0x40, 0xf5, 0x40]), // a name of no length
        (0x00, &[]),
    ];
    for (kind, body) in loose {
        assert!(Frame::decode(kind, body).is_err(), "{kind:#x} {body:x?}");
    }
    let unsorted = Frame::Follows { follows: realm_ids(2).into_iter().rev().collect() }.encode();
    assert!(Frame::decode(unsorted[4], &unsorted[5..]).is_err());
    let twice = Frame::AllIds { coll: [1; 32], ids: vec![4, 4], last: true }.encode();
    assert!(Frame::decode(twice[4], &twice[5..]).is_err());
}

#[test]
fn lists_hold_their_limits() {
    let ids = |count: usize| {
        let want = Frame::Want { ids: vec![StatementId(Digest::of(b"x")); count] }.encode();
        Frame::decode(want[4], &want[5..])
    };
    assert!(ids(64).is_ok());
    assert!(matches!(ids(65), Err(Error::OverLimit { limit: 64, .. })));
    // A count that promises more than there is allocates nothing.
    let promised = [0x81, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for kind in [0x02, 0x08] {
        assert!(matches!(Frame::decode(kind, &promised), Err(Error::OverLimit { .. })));
    }
}

/// A node with one release, a connected peer, and what the peer then says.
fn hear(frames: &[Frame]) -> Option<&'static str> {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let (victim, peer) = (net.follower(&[&realm]), net.follower(&[&realm]));
    // Whose first statement is not held may be private: nothing here is.
    for node in [victim, peer] {
        net.admit(node, realm.genesis.clone());
    }
    net.admit(victim, realm.release("a", "1.0.0"));
    let link = net.connect(peer, victim);
    net.settle();
    for frame in frames {
        net.send(link, 1, frame);
    }
    net.links[link].closed[1]
}

#[test]
fn a_peer_that_breaks_the_protocol_is_left() {
    let coll = [7; 32];
    let check = Frame::Check { count: 1, fingerprint: [0; 16], sequence: 1 };
    let colls = Frame::Colls { last: true, entries: vec![(coll, 1, [0; 16])] };
    let ids = Frame::AllIds { coll, ids: Vec::new(), last: true };
    let done = Frame::Done { coll, last: true, want: Vec::new() };
    let unoffered = Frame::Done { coll, last: true, want: vec![1] };
    let twice = Frame::Colls { last: true, entries: vec![(coll, 1, [0; 16]); 2] };
    assert_eq!(hear(std::slice::from_ref(&check)), None);
    let broken = [
        vec![hello()],
        vec![done.clone()],
        vec![ids],
        vec![colls.clone(), unoffered],
        vec![colls.clone(), done.clone(), done],
        vec![colls.clone(), colls.clone()],
        vec![colls, check.clone()],
        vec![twice],
        vec![Frame::Resume { from: 2, to: 1, batch: Vec::new() }],
        vec![check.clone(), Frame::Resume { from: 1, to: 2, batch: Vec::new() }],
        vec![check; 200],
    ];
    for frames in broken {
        assert!(hear(&frames).is_some(), "{frames:?} was accepted");
    }
    assert_eq!(hear(&[Frame::GoAway { reason: "bye".to_owned() }]), Some("the peer said goodbye"));
}

#[test]
fn a_statement_stands_once_in_a_batch() {
    let envelope = batch(1).remove(0);
    let twice = Frame::Statements { batch: vec![envelope; 2] }.encode();
    assert!(Frame::decode(twice[4], &twice[5..]).is_err());
}

#[test]
fn a_peer_that_compares_without_end_is_left() {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let (victim, peer) = (net.follower(&[&realm]), net.follower(&[&realm]));
    let link = net.connect(peer, victim);
    net.settle();
    for _ in 0..45 {
        net.send(link, 1, &Frame::Colls { last: true, entries: Vec::new() });
    }
    assert_eq!(net.links[link].closed[1], Some("too many comparisons"));
}

#[test]
fn who_claims_to_hold_more_than_anybody_could_is_sent_a_list() {
    // Five times the difference of the counts overflowed, and then so many cells could be asked for
    // that no memory would hold them. Found by reading; the fuzz target `session` has a seed of it.
    let fifth = u64::MAX / 5;
    for claims in [u64::MAX, fifth, fifth + 1, fifth + 120, fifth + 121, fifth * 2 + 130, 1 << 63] {
        let realm = Realm::new(1);
        let mut net = Net::default();
        let (victim, peer) = (net.follower(&[&realm]), net.follower(&[&realm]));
        for n in 0..120 {
            net.admit(victim, realm.release("a", &format!("1.{n}.0")));
        }
        let link = net.connect(peer, victim);
        net.settle();
        net.reset_counts(link);
        let names = names_of([[1; 32], [2; 32]]);
        let coll = collection_name(&names, &Collection::Format(realm.id, "npm".to_owned()));
        let entries = vec![(coll, claims, [7; 16])];
        net.send(link, 1, &Frame::Colls { last: true, entries });
        assert_eq!(net.links[link].closed[1], None, "{claims}");
        assert_eq!((net.frames(link, CELLS), net.frames(link, ALLIDS)), (0, 1), "{claims}");
        net.send(link, 1, &Frame::More { coll, count: 1 << 58 });
        assert_eq!(net.links[link].closed[1], Some("more of what was not offered"), "{claims}");
    }
}

#[test]
fn repeating_statements_that_we_have_counts_as_noise() {
    let realm = Realm::new(1);
    let held = Frame::Statements { batch: vec![realm.release("a", "1.0.0").envelope().clone()] };
    assert_eq!(hear(&vec![held.clone(); 50]), None);
    assert_eq!(hear(&vec![held; 200]), Some("too many statements that we have"));
}

#[test]
fn nothing_but_hello_comes_first() {
    let realm = Realm::new(1);
    for frame in one_of_each().into_iter().skip(1) {
        let mut net = Net::default();
        let (a, b) = (net.follower(&[&realm]), net.follower(&[&realm]));
        let link = net.connect(a, b);
        net.send(link, 1, &frame);
        assert!(net.links[link].closed[1].is_some(), "{frame:?}");
        // A closed conversation takes anything and says nothing.
        net.input(link, 1, Input::Timeout);
        net.input(link, 1, Input::FollowsChanged);
    }
}

proptest! {
    #![proptest_config(crate::network::cases(300))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0_u8..13) {
        let _ = Frame::decode(kind, &bytes);
        let mut decoder = Decoder::new();
        decoder.feed(&bytes);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }

    #[test]
    fn mutated_frames_are_read_as_they_are_or_refused(
        which in 0_usize..13, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = one_of_each()[which].encode();
        let place = 4 + place.index(bytes.len() - 4);
        bytes[place] = byte;
        if let Ok(Some(frame)) = Frame::decode(bytes[4], &bytes[5..]) {
            let again = frame.encode();
            prop_assert_eq!(Frame::decode(again[4], &again[5..]), Ok(Some(frame)));
        }
    }

    #[test]
    fn any_order_of_frames_is_survived(order in prop::collection::vec(0_usize..13, 0..12)) {
        let frames: Vec<Frame> = order.iter().map(|n| one_of_each()[*n].clone()).collect();
        let _ = hear(&frames);
    }
}
