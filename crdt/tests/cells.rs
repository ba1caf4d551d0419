//! Large collections that differ little meet by cells; the others, and liars, do not.

use std::collections::BTreeMap;

use crdt::message::Frame;
use crdt::reconcile::{collection_name, short_id};
use crdt::session::{Index, Input, Sketches};
use crdt::sketch::{Cell, Sketch};
use crdt::{Collection, Digest, RealmId, Verified};

use crate::network::{ALLIDS, CELLS, COLLS, MORE, Net, Realm, STATEMENTS, cases};
use proptest::prelude::*;

/// Releases of one package, made once: signing takes most of the time here.
fn releases(realm: &Realm, name: &str, count: usize) -> Vec<Verified> {
    (0..count).map(|n| realm.release(name, &format!("1.0.{n}"))).collect()
}

/// Two followers that hold `common` both, and each what it alone has.
fn apart(realm: &Realm, common: &[Verified], alone: [&[Verified]; 2]) -> (Net, [usize; 2]) {
    let mut net = Net::default();
    let nodes = [net.follower(&[realm]), net.follower(&[realm])];
    for (node, own) in nodes.into_iter().zip(alone) {
        for one in std::iter::once(&realm.genesis).chain(common).chain(own) {
            net.admit(node, one.clone());
        }
    }
    (net, nodes)
}

#[test]
fn ten_differences_among_thousands_take_one_frame_of_cells() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 2_010);
    let (mut net, nodes) = apart(&realm, &all[10..], [&all[..5], &all[5..10]]);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert!(net.links[link].in_sync.iter().all(|side| *side));
    assert_eq!((net.frames(link, ALLIDS), net.frames(link, COLLS)), (0, 1));
    assert!(net.frames(link, MORE) <= 1, "32 cells are enough nearly always");
    assert_eq!(net.frames(link, STATEMENTS), 2, "one each way");
    // Ten statements take most of it, of which a third or so is what differs in each.
    assert!(net.links[link].bytes < 6_000, "{} bytes", net.links[link].bytes);
}

#[test]
fn who_is_a_little_behind_needs_no_second_flight() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 1_200);
    for (behind, ahead) in [(0, 1), (1, 0)] {
        let mut alone: [&[Verified]; 2] = [&[], &[]];
        alone[ahead] = &all[..200];
        let (mut net, nodes) = apart(&realm, &all[200..], alone);
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(net.frames(link, CELLS), 1, "{behind} is behind");
        assert_eq!((net.frames(link, MORE), net.frames(link, ALLIDS)), (0, 0));
    }
}

#[test]
fn more_cells_come_while_they_are_smaller_than_the_list_and_then_the_list() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 2_000);
    // Two hundred differences of a thousand: some flights of cells. A thousand: the list.
    for (alone, lists) in [(100, false), (500, true)] {
        let (one, rest) = all.split_at(alone);
        let (other, rest) = rest.split_at(alone);
        let (mut net, nodes) = apart(&realm, &rest[..1_000 - alone], [one, other]);
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.assert_same(&nodes);
        // The first cells tell how many are likely to be enough.
        assert!((1..=3).contains(&net.frames(link, MORE)), "{}", net.frames(link, MORE));
        assert_eq!(net.frames(link, ALLIDS) > 0, lists, "{alone} on each side");
    }
}

#[test]
fn small_collections_and_newcomers_take_lists() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 500);
    for (common, one, other) in [(40, 2, 2), (0, 500, 0), (100, 0, 400)] {
        let (mine, rest) = all.split_at(one);
        let (theirs, rest) = rest.split_at(other);
        let (mut net, nodes) = apart(&realm, &rest[..common.min(rest.len())], [mine, theirs]);
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(net.frames(link, CELLS), 0, "{common} common, {one} and {other}");
    }
}

#[test]
fn a_signature_that_joins_later_is_a_difference_like_any_other() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 300);
    let (mut net, nodes) = apart(&realm, &all, [&[], &[]]);
    let second = crdt::SecretKey::from_seed(&[9; 32]);
    let joined = Verified::sign(all[7].statement().clone(), &[&second]);
    net.admit(nodes[1], joined.clone());
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert!(net.holds(nodes[0], &joined));
    assert_eq!((net.frames(link, CELLS), net.frames(link, ALLIDS)), (1, 0));
}

#[test]
fn sketches_are_few_at_a_time_and_everybody_has_a_turn() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 330);
    for hub_answers in [false, true] {
        let (mut net, pair) = apart(&realm, &all[30..], [&all[..5], &all[5..10]]);
        let [hub, first] = pair;
        net.nodes[hub].sketches = Sketches::new(1);
        let mut spokes = vec![first];
        for at in 0..4 {
            let spoke = net.follower(&[&realm]);
            let own = &all[10 + at * 5..15 + at * 5];
            for one in std::iter::once(&realm.genesis).chain(&all[30..]).chain(own) {
                net.admit(spoke, one.clone());
            }
            spokes.push(spoke);
        }
        for spoke in &spokes {
            let _ = if hub_answers { net.connect(*spoke, hub) } else { net.connect(hub, *spoke) };
        }
        net.settle();
        net.pass(10 * 60_000);
        net.assert_same(&[&[hub], &spokes[..]].concat());
    }
}

#[test]
fn what_comes_while_cells_travel_is_found_as_well() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 700);
    for seed in 0..20 {
        let (mut net, nodes) = apart(&realm, &all[100..600], [&all[..50], &all[50..100]]);
        net.slow = true;
        net.connect(nodes[0], nodes[1]);
        net.settle_shuffled(seed, usize::try_from(seed).unwrap() % 7, |net| {
            for (at, one) in all[600..].iter().enumerate() {
                net.admit(nodes[at % 2], one.clone());
            }
        });
        net.pass(20 * 60_000);
        net.settle_shuffled(seed, 0, |_| {});
        net.pass(20 * 60_000);
        net.settle_shuffled(seed, 0, |_| {});
        net.assert_same(&nodes);
    }
}

/// A node with a large collection, and a peer whose session is led by the test.
struct Led {
    net: Net,
    link: usize,
    victim: usize,
    /// What the victim calls the collection here.
    name: [u8; 32],
    key: [u8; 32],
}

/// The keys of the two conversations are those that the network hands out.
const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

fn led(victim_asks: bool) -> (Led, Realm, Vec<Verified>) {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 120);
    let (mut net, nodes) = apart(&realm, &all[10..], [&all[..5], &all[5..10]]);
    let victim = nodes[0];
    let (link, key) = if victim_asks {
        (net.connect(victim, nodes[1]), KEYS[1])
    } else {
        (net.connect(nodes[1], victim), KEYS[0])
    };
    let names = crdt::session::names_of(KEYS);
    let collection = Collection::Format(realm.id, "npm".to_owned());
    let name = collection_name(&names, &collection);
    (Led { net, link, victim, name, key }, realm, all)
}

fn cells_of(net: &Net, node: usize, realm: RealmId, key: &[u8; 32], count: usize) -> Vec<Cell> {
    let items = net.nodes[node].index.items(&Collection::Format(realm, "npm".to_owned()));
    let ids = items.iter().map(|item| short_id(key, item)).collect();
    Sketch::of(ids).unwrap().cells(0, count).to_vec()
}

impl Led {
    /// Runs the honest conversation until the victim has asked with COLLS, or was asked.
    fn until_colls(&mut self) {
        for _ in 0..100 {
            if self.net.frames(self.link, COLLS) > 0 {
                return;
            }
            self.net.step(2);
        }
        panic!("nobody compares");
    }

    fn says(&mut self, side: usize, frames: &[Frame]) -> Option<&'static str> {
        for frame in frames {
            self.net.send(self.link, side, frame);
        }
        self.net.links[self.link].closed[side]
    }
}

#[test]
fn cells_that_are_lies_end_the_conversation_of_who_asks() {
    let frame = |led: &Led, first, cells| Frame::Cells { coll: led.name, first, cells };
    let (probe, realm, _) = led(true);
    let honest = cells_of(&probe.net, probe.victim, realm.id, &probe.key, 64);
    let other = [0x77; 32];
    let wrong_sign = {
        // The victim's own set with one item twice.
        let mut cells = honest[..1].to_vec();
        let own =
            probe.net.nodes[probe.victim].index.items(&Collection::Format(realm.id, "npm".into()));
        let id = short_id(&probe.key, &own[0]);
        let more = Sketch::of(vec![id]).unwrap().cells(0, 1).to_vec();
        let (mut bytes, with) = (cells[0].to_bytes(), more[0].to_bytes());
        bytes[..16].iter_mut().zip(&with[..16]).for_each(|(byte, with)| *byte ^= with);
        bytes[16] = bytes[16].wrapping_add(1);
        cells[0] = Cell::from_bytes(&bytes);
        cells
    };
    let cases: Vec<(&str, Vec<Frame>)> = vec![
        ("an item of ours as theirs", vec![frame(&probe, 0, wrong_sign)]),
        ("no beginning", vec![frame(&probe, 32, honest[32..].to_vec())]),
        (
            "a collection that nobody has",
            vec![Frame::Cells { coll: other, first: 0, cells: honest[..32].to_vec() }],
        ),
        (
            "the same cells after the end",
            vec![frame(&probe, 0, honest[..32].to_vec()), frame(&probe, 0, honest.clone())],
        ),
    ];
    for (why, frames) in cases {
        let (mut led, ..) = led(true);
        led.until_colls();
        assert!(led.says(0, &frames).is_some(), "{why}: was accepted");
    }
    let (mut quiet, ..) = led(true);
    assert!(quiet.says(0, &[frame(&probe, 0, honest)]).is_some(), "nobody asked");
}

#[test]
fn cells_on_their_way_when_enough_have_come_are_let_pass() {
    let cells = {
        let (led, realm, _) = led(true);
        cells_of(&led.net, 1 - led.victim, realm.id, &led.key, 65)
    };
    let says = |led: &mut Led, at: usize, count: usize| {
        let cells = cells[at..at + count].to_vec();
        led.says(0, &[Frame::Cells { coll: led.name, first: at as u64, cells }])
    };
    // In small frames, as those of a large flight are: after four, four more are asked for, then
    // eight, and so on. Ten differences need more than ten cells, and fewer than were asked for.
    let known_before = |led: &mut Led, end: usize| {
        led.until_colls();
        assert_eq!(says(led, 0, 4), None);
        for at in 4..end {
            assert_eq!(says(led, at, 1), None, "cell {at}");
        }
        !led.net.nodes[led.victim].sketches.are_taken()
    };
    let needed = (11..=64).find(|end| known_before(&mut led(true).0, *end)).unwrap();
    let asked = needed.next_power_of_two();
    assert!(needed < asked, "these differences do not end within a flight");
    let (mut one, ..) = led(true);
    assert!(known_before(&mut one, asked), "all that was asked for may come");
    assert!(says(&mut one, asked, 1).is_some(), "more was accepted");
    let (mut other, ..) = led(true);
    known_before(&mut other, needed);
    assert!(says(&mut other, needed - 1, 1).is_some(), "one that has come was accepted");
}

#[test]
fn answers_to_cells_that_are_lies_end_the_conversation_of_who_sent_them() {
    let offered = |frames: fn([u8; 32], &[u64]) -> Vec<Frame>| {
        let (mut led, realm, _) = led(false);
        led.until_colls();
        // The victim, as responder, takes the COLLS and sends its cells.
        while led.net.frames(led.link, CELLS) == 0 {
            led.net.step(2);
        }
        let items =
            led.net.nodes[led.victim].index.items(&Collection::Format(realm.id, "npm".into()));
        let mut ids: Vec<u64> = items.iter().map(|item| short_id(&KEYS[1], item)).collect();
        ids.sort_unstable();
        let frames = frames(led.name, &ids);
        led.says(1, &frames)
    };
    assert!(offered(|coll, _| vec![Frame::More { coll, count: 1 }]).is_some(), "fewer");
    assert!(offered(|_, _| vec![Frame::More { coll: [9; 32], count: 64 }]).is_some());
    let strange = |coll, _: &[u64]| vec![Frame::Done { coll, last: true, want: vec![1] }];
    assert!(offered(strange).is_some(), "what was not offered");
    let falls = |coll, ids: &[u64]| {
        let one = |id| Frame::Done { coll, last: false, want: vec![id] };
        vec![one(ids[3]), one(ids[3])]
    };
    assert!(offered(falls).is_some(), "one twice");
    let late = |coll, ids: &[u64]| {
        let one = Frame::Done { coll, last: false, want: vec![ids[0]] };
        vec![one, Frame::More { coll, count: 64 }]
    };
    assert!(offered(late).is_some(), "more after wanting");
    let fine = |coll, ids: &[u64]| {
        let first = Frame::Done { coll, last: false, want: ids[..2].to_vec() };
        vec![first, Frame::Done { coll, last: true, want: ids[2..4].to_vec() }]
    };
    assert_eq!(offered(fine), None);
    let list = |coll, _: &[u64]| vec![Frame::More { coll, count: 0 }];
    assert_eq!(offered(list), None);
    let endless = |coll, _: &[u64]| vec![Frame::More { coll, count: u64::MAX }];
    assert_eq!(offered(endless), None, "it gets the list");
}

#[test]
fn who_lets_a_sketch_wait_is_left() {
    let (mut led, ..) = led(false);
    led.until_colls();
    while led.net.frames(led.link, CELLS) == 0 {
        led.net.step(2);
    }
    let places = led.net.nodes[led.victim].sketches.clone();
    assert!(places.are_taken());
    led.net.now += 121_000;
    led.net.input(led.link, 1, Input::Timeout);
    assert_eq!(led.net.links[led.link].closed[1], Some("lets a sketch wait"));
    assert!(!places.are_taken());
}

#[test]
fn a_peer_that_does_not_read_cells_gets_lists() {
    let realm = Realm::new(1);
    let all = releases(&realm, "big", 120);
    let (mut net, nodes) = apart(&realm, &all, [&[], &[]]);
    net.admit(nodes[1], realm.release("late", "1.0.0"));
    net.no_features = true;
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.frames(link, CELLS), 0);
    assert!(net.frames(link, ALLIDS) > 0);
}

proptest! {
    #![proptest_config(cases(12))]
    #[test]
    fn any_three_large_sets_become_one(
        held in proptest::collection::vec(0_u8..8, 400),
        chain in any::<bool>(),
    ) {
        thread_local! {
            static ALL: (Realm, Vec<Verified>) = {
                let realm = Realm::new(1);
                let all = releases(&realm, "big", 400);
                (realm, all)
            };
        }
        ALL.with(|(realm, all)| {
            let mut net = Net::default();
            let nodes: Vec<usize> = (0..3).map(|_| net.follower(&[realm])).collect();
            let mut expected: BTreeMap<Digest, ()> = BTreeMap::new();
            for (one, who) in all.iter().zip(&held) {
                // Most are held by all, as where a difference is small.
                let who = if *who < 5 { 7 } else { *who - 4 };
                for node in nodes.iter().filter(|node| who & (1 << **node) != 0) {
                    net.admit(*node, one.clone());
                    expected.insert(one.statement().id().0, ());
                }
            }
            net.connect(nodes[0], nodes[1]);
            let (one, other) = if chain { (1, 2) } else { (2, 0) };
            net.connect(nodes[one], nodes[other]);
            net.settle();
            net.pass(30 * 60_000);
            net.assert_same(&nodes);
            let items = net.nodes[0].index.items(&Collection::Format(realm.id, "npm".to_owned()));
            assert_eq!(items.len(), expected.len());
        });
    }
}
