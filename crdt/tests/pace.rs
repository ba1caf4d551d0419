//! How often, how fast and how long: comparisons, pushes and long answers have a pace, and a peer
//! that is silent or never reads costs a bounded amount.

use crdt::message::{FEATURE_FRUGAL, Frame};
use crdt::session::{Index as _, Input, MemoryIndex, Output, Session};

use crate::network::{CHECK, Realm, STATEMENTS};
use crate::sync::village;

#[test]
fn comparisons_become_rare_while_nothing_changes() {
    let (mut net, _, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.reset_counts(link);
    net.pass(6 * 3_600_000);
    let checks = net.frames(link, CHECK);
    assert!((2 * 22..2 * 34).contains(&checks), "{checks} in six hours");
}

/// A session that has heard HELLO at the time 5, from a peer that follows the same.
fn greeted(index: &MemoryIndex, initiator: bool, seen: Option<(u64, u64)>) -> Session {
    met(Session::default(), index, initiator, (0, seen))
}

fn met(
    mut session: Session,
    index: &MemoryIndex,
    initiator: bool,
    (features, seen): (u64, Option<(u64, u64)>),
) -> Session {
    session.handle(0, Input::Start { key: [1; 32], initiator, seen: None }, index);
    let hello = Frame::Hello {
        version: 1,
        features,
        max_frame: 1 << 20,
        key: [2; 32],
        epoch: 2,
        seen,
        follows: index.follows(),
    };
    session.handle(5, Input::Frame(hello), index);
    session
}

#[test]
fn a_peer_that_never_answers_is_left() {
    let index = MemoryIndex::new(1);
    let mut session = greeted(&index, true, None);
    let mut closed = None;
    while let Some(at) = session.next_timeout() {
        session.handle(at, Input::Timeout, &index);
        while let Some(output) = session.poll() {
            if let Output::Close(reason) = output {
                closed = Some((reason, at));
            }
        }
    }
    assert_eq!(closed, Some(("no answer for too long", 600_005)));
}

#[test]
fn constant_change_does_not_put_the_comparison_off() {
    let (mut net, realm, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.reset_counts(link);
    for n in 0..20 {
        net.pass(10_000);
        net.publish(nodes[0], realm.release("a", &format!("1.0.{n}")));
    }
    net.settle();
    assert!(net.frames(link, CHECK) >= 4, "{:?}", net.links[link].frames);
}

#[test]
fn a_long_answer_is_given_out_a_megabyte_at_a_time() {
    let realm = Realm::new(1);
    let mut index = MemoryIndex::new(1);
    index.follow(realm.id);
    for n in 0..6000 {
        index.admit(realm.release("a", &format!("1.0.{n}")));
    }
    let mut session = greeted(&index, false, Some((1, 0)));
    let mut resumed = 0;
    let mut turns = 0;
    loop {
        let mut bytes = 0;
        while let Some(output) = session.poll() {
            if let Output::Send(Frame::Resume { batch, .. }) = output {
                resumed += batch.len();
                bytes += batch.iter().map(|held| held.encode().len()).sum::<usize>();
            }
        }
        assert!(bytes < 1_400_000, "{bytes} at once");
        if session.next_timeout() != Some(5) {
            break;
        }
        turns += 1;
        session.handle(5, Input::Timeout, &index);
    }
    assert_eq!(resumed, 6000);
    assert!(turns > 0);
}

#[test]
fn a_peer_that_asks_on_without_reading_draws_no_more_into_memory() {
    let realm = Realm::new(1);
    let mut index = MemoryIndex::new(1);
    index.follow(realm.id);
    for n in 0..6000 {
        index.admit(realm.release("a", &format!("1.0.{n}")));
    }
    let mut session = greeted(&index, false, Some((1, 0)));
    // Nothing of what is given out is ever written: no time-out is fed.
    for _ in 0..20 {
        session.handle(5, Input::Frame(Frame::Want { ids: Vec::new() }), &index);
    }
    let mut bytes = 0;
    while let Some(output) = session.poll() {
        if let Output::Send(Frame::Resume { batch, .. }) = output {
            bytes += batch.iter().map(|held| held.encode().len()).sum::<usize>();
        }
    }
    assert!(bytes < 1_400_000, "{bytes} wait");
    assert_eq!(session.next_timeout(), Some(5), "the rest comes when these are written");
}

#[test]
fn either_end_can_have_the_sets_compared_at_once() {
    for side in [0, 1] {
        let (mut net, realm, nodes) = village(2);
        let link = net.connect(nodes[0], nodes[1]);
        net.settle();
        net.admit(nodes[0], realm.release("a", "1.0.0"));
        net.admit(nodes[1], realm.release("b", "1.0.0"));
        net.input(link, side, Input::Compare);
        net.settle();
        net.assert_same(&nodes);
        assert_eq!(net.nodes[nodes[0]].index.last_sequence(), 2);
    }
}

#[test]
fn many_publishes_at_once_are_pushed_at_a_bearable_pace() {
    let (mut net, realm, nodes) = village(2);
    let link = net.connect(nodes[0], nodes[1]);
    net.settle();
    net.reset_counts(link);
    for n in 0..500 {
        net.publish(nodes[0], realm.release("a", &format!("1.0.{n}")));
    }
    net.pass(1_000);
    net.assert_same(&nodes);
    assert!(net.frames(link, STATEMENTS) <= 61);
    assert_eq!(net.links[link].closed, [None; 2]);
}

/// The frames of statements that a session gives out for two releases a second apart, each with
/// when it went out and how many it had.
fn pushed(mut session: Session, index: &mut MemoryIndex, realm: &Realm) -> Vec<(u64, usize)> {
    while session.poll().is_some() {}
    let mut frames = Vec::new();
    for (now, name) in [(10_000, "drum"), (11_000, "kora")] {
        let release = realm.release(name, "1.0.0");
        let new = index.admit(release);
        session.handle(now, Input::New(new), index);
        frames.extend(statements(&mut session, now));
    }
    while let Some(at) = session.next_timeout().filter(|at| *at < 30_000) {
        session.handle(at, Input::Timeout, index);
        frames.extend(statements(&mut session, at));
    }
    frames
}

fn statements(session: &mut Session, now: u64) -> Vec<(u64, usize)> {
    let mut frames = Vec::new();
    while let Some(output) = session.poll() {
        if let Output::Send(Frame::Statements { batch }) = output {
            frames.push((now, batch.len()));
        }
    }
    frames
}

#[test]
fn what_is_new_goes_out_at_once_but_where_either_side_pays_for_bytes_in_one_frame() {
    let realm = Realm::new(1);
    let fresh = || {
        let mut index = MemoryIndex::new(1);
        index.follow(realm.id);
        index
    };
    let mut index = fresh();
    let session = greeted(&index, true, None);
    assert_eq!(pushed(session, &mut index, &realm), [(10_000, 1), (11_000, 1)]);
    let mut index = fresh();
    let own = met(Session::default().frugal(true), &index, true, (0, None));
    assert_eq!(pushed(own, &mut index, &realm), [(13_000, 2)], "our bytes are paid for");
    let mut index = fresh();
    let told = met(Session::default(), &index, true, (FEATURE_FRUGAL, None));
    assert_eq!(pushed(told, &mut index, &realm), [(13_000, 2)], "those of the peer are");
}
