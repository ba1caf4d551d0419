//! Two and three nodes talk: what must be equal afterwards, and what must not have travelled.

use crdt::message::Frame;
use crdt::session::{Index, Input};
use crdt::statement::{Counter, Pattern, RouteSource};
use crdt::{Body, SecretKey, Statement, Verified};
use proptest::prelude::*;

use crate::network::{ALLIDS, CHECK, COLLS, Net, RESUME, Realm, STATEMENTS};

pub(crate) fn village(count: usize) -> (Net, Realm, Vec<usize>) {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let nodes = (0..count).map(|_| net.follower(&[&realm])).collect();
    (net, realm, nodes)
}

#[test]
fn strangers_who_meet_hold_the_same() {
    let (mut net, realm, nodes) = village(3);
    let [alice, bob, carol] = nodes[..] else { unreachable!() };
    net.admit(alice, realm.genesis.clone());
    for n in 0..200 {
        net.admit(alice, realm.release("left-pad", &format!("1.0.{n}")));
        net.admit(bob, realm.release("right-pad", &format!("2.0.{n}")));
    }
    let first = net.connect(alice, bob);
    net.connect(carol, bob);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.nodes[carol].index.last_sequence(), 401);
    assert!(net.links[first].in_sync.iter().all(|side| *side), "both ends know it");
}

#[test]
fn the_initiator_alone_has_something() {
    let (mut net, realm, nodes) = village(2);
    net.admit(nodes[0], realm.genesis.clone());
    net.admit(nodes[0], realm.release("a", "1.0.0"));
    net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.nodes[nodes[1]].index.last_sequence(), 2);
}

#[test]
fn the_responder_alone_has_something() {
    let (mut net, realm, nodes) = village(2);
    net.admit(nodes[1], realm.genesis.clone());
    net.admit(nodes[1], realm.release("a", "1.0.0"));
    net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.nodes[nodes[0]].index.last_sequence(), 2);
}

#[test]
fn each_end_is_told_what_the_other_lacked_and_not_what_is_new() {
    for initiator in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        for node in &nodes {
            net.admit(*node, realm.genesis.clone());
        }
        net.admit(nodes[0], realm.release("a", "1.0.0"));
        net.admit(nodes[0], realm.release("b", "1.0.0"));
        net.admit(nodes[1], realm.release("c", "1.0.0"));
        net.connect(nodes[initiator], nodes[1 - initiator]);
        net.settle();
        net.assert_same(&nodes);
        let lacked = |net: &Net, node: usize| {
            let mut ids: Vec<_> = net.nodes[node].lacked.iter().map(|item| item.id).collect();
            ids.sort();
            ids
        };
        let id = |name: &str| realm.release(name, "1.0.0").statement().id();
        let mut expected = vec![id("a"), id("b")];
        expected.sort();
        assert_eq!(lacked(&net, nodes[0]), expected, "initiator {initiator}");
        assert_eq!(lacked(&net, nodes[1]), [id("c")], "initiator {initiator}");
        net.publish(nodes[0], realm.release("d", "1.0.0"));
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(lacked(&net, nodes[0]), expected, "it was pushed as it came");
    }
}

#[test]
fn authority_arrives_before_what_depends_on_it() {
    for initiator in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        net.admit(nodes[0], realm.release("a", "1.0.0"));
        net.admit(nodes[0], realm.genesis.clone());
        net.connect(nodes[initiator], nodes[1 - initiator]);
        net.settle();
        let log = net.nodes[nodes[1]].index.log(0, 10).unwrap();
        assert!(matches!(log[0].1, crdt::Collection::Authority(_)), "{log:?}");
        assert_eq!(log.len(), 2);
    }
}

#[test]
fn what_is_new_travels_at_once_and_once() {
    let (mut net, realm, nodes) = village(3);
    net.connect(nodes[0], nodes[1]);
    net.connect(nodes[1], nodes[2]);
    net.settle();
    net.reset_counts(0);
    net.publish(nodes[0], realm.release("a", "1.0.0"));
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.frames(0, STATEMENTS), 1, "it is not sent back to who gave it");
    assert_eq!(net.frames(0, CHECK), 0);
}

/// Both ends of a link got it from a third: told by both, it would cost every link a second copy.
#[test]
fn what_both_heard_elsewhere_is_pushed_by_one_of_them_and_what_one_heard_all_the_same() {
    let (mut net, realm, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    for (version, holders) in [("1.0.0", 2), ("2.0.0", 1)] {
        net.reset_counts(link);
        let release = realm.release("a", version);
        let items = || release.items().map(|item| (release.statement().collection(), item));
        for node in nodes.iter().take(holders) {
            net.admit(*node, release.clone());
        }
        for side in 0..holders {
            net.input(link, side, Input::Heard(items().collect()));
        }
        net.settle();
        assert_eq!(net.frames(link, STATEMENTS), 0, "it waits for a moment");
        net.pass(200);
        net.assert_same(&nodes);
        assert_eq!(net.frames(link, STATEMENTS), 1);
    }
}

#[test]
fn resume_sends_only_what_came_since() {
    let (mut net, realm, nodes) = village(2);
    let [alice, bob] = nodes[..] else { unreachable!() };
    for n in 0..1000 {
        net.admit(alice, realm.release("big", &format!("1.0.{n}")));
    }
    let link = net.connect(bob, alice);
    net.settle();
    assert!(net.frames(link, ALLIDS) > 0, "first meetings reconcile");
    net.disconnect(link);
    net.now += 3 * 24 * 3_600_000;
    for n in 0..5 {
        net.admit(alice, realm.release("big", &format!("2.0.{n}")));
    }
    net.admit(bob, realm.release("small", "1.0.0"));
    let link = net.connect(bob, alice);
    net.settle();
    net.assert_same(&nodes);
    assert_eq!(net.frames(link, RESUME), 2, "one each way");
    for kind in [COLLS, ALLIDS, STATEMENTS] {
        assert_eq!(net.frames(link, kind), 0);
    }
    assert!(net.links[link].bytes < 4_000, "{} bytes for six statements", net.links[link].bytes);
    assert!(net.links[link].in_sync.iter().all(|side| *side));
}

#[test]
fn a_long_resume_comes_in_parts_that_continue_each_other() {
    let (mut net, realm, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.disconnect(link);
    for n in 0..3000 {
        net.admit(nodes[1], realm.release("big", &format!("1.0.{n}")));
    }
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert!(net.frames(link, RESUME) > 3);
    assert_eq!(net.frames(link, COLLS), 0);
    assert_eq!(net.nodes[nodes[0]].cursors[&nodes[1]], (1001, 3000));
}

#[test]
fn another_store_epoch_a_cut_log_and_a_future_sequence_reconcile() {
    for case in 0..3 {
        let (mut net, realm, nodes) = village(2);
        let [alice, bob] = nodes[..] else { unreachable!() };
        for n in 0..50 {
            net.admit(alice, realm.release("a", &format!("1.0.{n}")));
        }
        let link = net.connect(bob, alice);
        net.settle();
        net.disconnect(link);
        net.admit(alice, realm.release("a", "2.0.0"));
        net.admit(alice, realm.release("a", "2.0.1"));
        match case {
            0 => net.nodes[alice].index = net.nodes[alice].index.restored(77),
            1 => net.nodes[alice].index.cut_log(51),
            _ => {
                net.nodes[bob].cursors.insert(alice, (1000, 9999));
            }
        }
        let link = net.connect(bob, alice);
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(net.frames(link, RESUME), 0, "case {case}");
        assert!(net.frames(link, COLLS) > 0, "case {case}");
        assert_eq!(net.nodes[bob].cursors[&alice], (if case == 0 { 77 } else { 1000 }, 52));
    }
}

#[test]
fn a_signature_that_joins_later_arrives() {
    let (mut net, realm, nodes) = village(2);
    let release = realm.release("a", "1.0.0");
    net.admit(nodes[0], release.clone());
    net.admit(nodes[1], release.clone());
    let second = SecretKey::from_seed(&[9; 32]);
    let endorsed = Verified::sign(release.statement().clone(), &[&second]);
    net.admit(nodes[1], endorsed.clone());
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.assert_same(&nodes);
    assert!(net.holds(nodes[0], &endorsed));
    let third = SecretKey::from_seed(&[10; 32]);
    let pushed = Verified::sign(release.statement().clone(), &[&third]);
    net.publish(nodes[0], pushed.clone());
    net.settle();
    assert!(net.holds(nodes[1], &pushed));
    assert_eq!(net.links[link].closed, [None; 2]);
}

#[test]
fn a_realm_that_only_one_follows_is_not_exchanged() {
    let (ours, theirs, both) = (Realm::new(1), Realm::new(2), Realm::new(3));
    let mut net = Net::default();
    let alice = net.follower(&[&ours, &both]);
    let bob = net.follower(&[&theirs, &both]);
    let (a, b, c) = (ours.release("a", "1"), theirs.release("b", "1"), both.release("c", "1"));
    net.admit(alice, a.clone());
    net.admit(alice, c.clone());
    net.admit(bob, b.clone());
    let link = net.connect(alice, bob);
    net.settle();
    assert!(net.holds(bob, &c));
    assert!(!net.holds(bob, &a) && !net.holds(alice, &b));
    // Not even when asked for by name, or pushed by a peer that does not care.
    net.input(link, 1, Input::Want(vec![a.statement().id()]));
    net.settle();
    let unasked = Frame::Statements { batch: vec![a.envelope().clone()] };
    net.send(link, 1, &unasked);
    net.settle();
    assert!(!net.holds(bob, &a));
    assert_eq!(net.links[link].closed, [None; 2]);
    // Until the other follows it too.
    net.nodes[bob].index.follow(ours.id);
    net.input(link, 1, Input::FollowsChanged);
    net.settle();
    assert!(net.holds(bob, &a) && !net.holds(alice, &b));
    net.nodes[alice].index.follow(theirs.id);
    net.input(link, 0, Input::FollowsChanged);
    net.settle();
    assert!(net.holds(alice, &b));
}

#[test]
fn a_want_is_answered() {
    let (mut net, realm, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    let release = realm.release("a", "1.0.0");
    net.admit(nodes[1], release.clone());
    net.input(link, 0, Input::Want(vec![release.statement().id()]));
    net.settle();
    assert!(net.holds(nodes[0], &release));
}

#[test]
fn strangers_see_the_lobby_and_hold_nothing_of_it() {
    let realm = Realm::new(1);
    let mut net = Net::default();
    let (owner, stranger) = (net.node(), net.node());
    net.nodes[owner].index.own(realm.id);
    net.admit(owner, realm.genesis.clone());
    for n in 0..40 {
        net.admit(owner, realm.release("a", &format!("1.0.{n}")));
    }
    net.connect(stranger, owner);
    net.settle();
    assert_eq!(net.nodes[stranger].lobby.len(), 32);
    assert_eq!(net.nodes[stranger].index.last_sequence(), 0);
}

#[test]
fn a_realm_followed_at_any_moment_of_the_conversation_arrives_without_waiting() {
    // The store knows of it first, and the conversation hears of it some frames later.
    let moments = (0..24).flat_map(|moment| (0..12).map(move |delay| (moment, delay)));
    for (moment, delay) in moments {
        for joiner_asks in [true, false] {
            let realm = Realm::new(1);
            let mut net = Net::default();
            let (owner, joiner) = (net.node(), net.node());
            net.nodes[owner].index.own(realm.id);
            net.admit(owner, realm.genesis.clone());
            let release = realm.release("a", "1.0.0");
            net.admit(owner, release.clone());
            let ends = if joiner_asks { (joiner, owner) } else { (owner, joiner) };
            let link = net.connect(ends.0, ends.1);
            net.step(moment);
            net.nodes[joiner].index.follow(realm.id);
            net.step(delay);
            net.tell_follows(joiner);
            net.settle();
            let when = format!("joiner asks {joiner_asks}, moment {moment}, delay {delay}");
            assert!(net.holds(joiner, &release), "{when}");
            assert_eq!(net.links[link].closed, [None; 2], "{when}");
        }
    }
}

#[test]
fn slow_admissions_and_repeated_nudges_never_leave_a_conversation_stuck() {
    for seed in 0..3_000_u64 {
        let realm = Realm::new(1);
        let mut net = Net::default();
        net.slow = true;
        let (owner, joiner) = (net.node(), net.node());
        net.nodes[owner].index.own(realm.id);
        net.admit(owner, realm.genesis.clone());
        let release = realm.release("a", "1.0.0");
        net.admit(owner, release.clone());
        let ends = if seed % 2 == 0 { (joiner, owner) } else { (owner, joiner) };
        let link = net.connect(ends.0, ends.1);
        let side = usize::from(ends.0 != joiner);
        net.settle_shuffled(seed, usize::try_from(seed % 29).unwrap(), |net| {
            net.nodes[joiner].index.follow(realm.id);
            if seed % 3 > 0 {
                net.step(usize::try_from(seed % 7).unwrap());
            }
            net.tell_follows(joiner);
            if seed % 5 > 0 {
                net.input(link, side, Input::Compare);
            }
        });
        assert!(net.holds(joiner, &release), "seed {seed}");
        assert_eq!(net.links[link].closed, [None; 2], "seed {seed}");
    }
}

#[test]
fn a_lobby_that_changed_is_shown_again_but_not_too_often() {
    const LOBBY: u8 = 0x0a;
    let realm = Realm::new(1);
    let mut net = Net::default();
    let (owner, stranger) = (net.node(), net.node());
    net.nodes[owner].index.own(realm.id);
    net.admit(owner, realm.genesis.clone());
    let link = net.connect(stranger, owner);
    net.settle();
    net.reset_counts(link);
    for n in 0..20 {
        net.publish(owner, realm.release("late", &format!("1.0.{n}")));
        net.settle();
    }
    assert_eq!(net.frames(link, LOBBY), 1);
    net.pass(6_000);
    assert_eq!(net.frames(link, LOBBY), 2);
    let newest = realm.release("late", "1.0.19").statement().id();
    assert!(net.nodes[stranger].lobby.iter().any(|shown| shown.statement.id() == newest));
    net.pass(60_000);
    assert_eq!(net.frames(link, LOBBY), 2);
    net.publish(owner, realm.release("late", "2.0.0"));
    let route = Body::Route {
        format: "npm".into(),
        pattern: Pattern("late".into()),
        source: RouteSource::Deny,
        counter: Counter { epoch: 0, n: 1 },
    };
    let route = Statement::new(realm.id, None, route).unwrap();
    net.publish(owner, Verified::sign(route, &[&realm.key]));
    net.settle();
    assert_eq!(net.frames(link, LOBBY), 4, "what a realm claims waits for no pause");
    assert_eq!(net.nodes[stranger].index.last_sequence(), 0);
}

#[test]
fn partial_admission_does_not_loop() {
    for refuser in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        let bad = realm.release("bad", "1.0.0");
        net.nodes[nodes[refuser]].refuses.push(bad.statement().id());
        net.admit(nodes[1 - refuser], bad.clone());
        net.admit(nodes[1 - refuser], realm.release("good", "1.0.0"));
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        assert!(net.nodes[nodes[refuser]].index.last_sequence() == 1);
        net.reset_counts(link);
        net.pass(3_600_000);
        // Compared now and then, and never sent again.
        assert_eq!(net.frames(link, STATEMENTS), 0);
        let rounds = net.frames(link, COLLS);
        assert!((1..12).contains(&rounds), "{rounds} rounds in an hour");
        // What others publish goes on as ever.
        net.publish(nodes[0], realm.release("other", "1.0.0"));
        net.settle();
        assert_eq!(net.nodes[nodes[refuser]].index.last_sequence(), 2);
        assert_eq!(net.links[link].closed, [None; 2]);
    }
}

#[test]
fn a_thousand_collections_in_sync_cost_one_line_each_way() {
    let (mut net, realm, nodes) = village(2);
    nodes.iter().for_each(|node| net.admit(*node, realm.genesis.clone()));
    for n in 0..1000 {
        let body = crate::network::release_body("a", "1.0.0");
        let release = realm.statement(&format!("format-{n}"), "a", body);
        net.admit(nodes[0], release.clone());
        net.admit(nodes[1], release);
    }
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    assert_eq!(net.frames(link, CHECK), 2);
    assert_eq!(net.frames(link, COLLS), 0);
    net.reset_counts(link);
    net.pass(80_000);
    assert_eq!(net.frames(link, CHECK), 2, "one comparison within the first minute or so");
    assert!(net.links[link].bytes <= 2 * 64, "{} bytes", net.links[link].bytes);
    assert_eq!(net.links[link].frames.len(), 1);
}

proptest! {
    #![proptest_config(crate::network::cases(48))]

    #[test]
    fn unequal_sets_end_equal(
        first in prop::collection::btree_set(0_u16..300, 0..120),
        second in prop::collection::btree_set(0_u16..300, 0..120),
        formats in 1_u16..5,
        known in any::<bool>(),
    ) {
        let (mut net, realm, nodes) = village(2);
        let make = |n: u16| {
            let body = crate::network::release_body("a", &format!("1.0.{n}"));
            realm.statement(&format!("format-{}", n % formats), "a", body)
        };
        if known {
            let link = net.connect(nodes[1], nodes[0]);
            net.settle();
            net.disconnect(link);
        }
        for n in &first {
            net.admit(nodes[0], make(*n));
        }
        for n in &second {
            net.admit(nodes[1], make(*n));
        }
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.assert_same(&nodes);
        let all = first.union(&second).count() as u64;
        prop_assert_eq!(net.nodes[nodes[0]].index.last_sequence(), all);
        prop_assert!(net.links[link].in_sync.iter().all(|side| *side));
    }
}
