//! Beats: who says how much he has heard of, and what that shows to others.

use crdt::statement::{Beat, Counter, MAX_COUNTER};

use super::*;
use crate::registry::Heard;

/// The realm of key 60, in which key 61 publishes and these may say what they heard.
async fn realm_with_beats(nodes: &[&Node], by: &[&SecretKey]) -> (RealmId, Verified) {
    let beats = by.iter().map(|key| Grant::to_key("beat", Pattern("*".into()), key.public()));
    let grants = [publish_grant("*", &key(61))].into_iter().chain(beats).collect();
    let genesis = genesis(&key(60), grants);
    let realm = genesis.statement().realm();
    for node in nodes {
        let follow = node.registry.follow(realm, FollowKind::Followed, Vec::new(), Vec::new());
        follow.await.unwrap();
        node.registry.admit(vec![genesis.clone()]).await.unwrap();
    }
    (realm, genesis)
}

fn beat(realm: RealmId, by: &SecretKey, beat: Beat) -> Verified {
    Verified::sign(Statement::new(realm, None, Body::Beat(beat)).unwrap(), &[by])
}

#[tokio::test]
async fn a_node_beats_when_something_changed_and_only_then() {
    let node = Node::start(1).await;
    let (realm, _) = realm_with_beats(&[&node], &[&key(77)]).await;
    node.registry.beat_once().await.unwrap();
    let first = node.registry.store().beats(&realm).unwrap();
    assert_eq!((first.len(), first[0].0, first[0].1.count), (1, key(77).public(), 1));
    assert_eq!(node.registry.news(&realm).unwrap().heard, Heard::All);
    node.registry.beat_once().await.unwrap();
    assert_eq!(node.registry.store().beats(&realm).unwrap(), first, "nothing new to say");
    node.receive(realm, &key(61), "pad 1.0.0 x", "").await;
    assert_eq!(node.registry.news(&realm).unwrap().heard, Heard::More);
    node.registry.beat_once().await.unwrap();
    let second = node.registry.store().beats(&realm).unwrap();
    assert_eq!((second.len(), second[0].1.count), (1, 2), "the newest takes its place");
    assert!(second[0].1.counter > first[0].1.counter);
    assert_eq!(node.registry.store().beats(&node.own).unwrap(), [], "no role there");
}

#[tokio::test]
async fn what_strangers_sign_is_not_counted() {
    let node = Node::start(1).await;
    let (realm, _) = realm_with_beats(&[&node], &[&key(77)]).await;
    let before = node.registry.store().counted(&realm).unwrap();
    node.receive(realm, &key(99), "pad 1.0.0 x", "").await;
    assert_eq!(node.registry.store().counted(&realm).unwrap(), before);
}

#[tokio::test]
async fn red_14_a_withheld_revocation_makes_the_view_incomplete() {
    let (village, cut_off) = (Node::start(1).await, Node::start(2).await);
    let (realm, _) = realm_with_beats(&[&village, &cut_off], &[&key(77)]).await;
    for node in [&village, &cut_off] {
        node.receive(realm, &key(61), "pad 1.0.0 x", "").await;
    }
    let keep = crdt::statement::IdList::Inline(Vec::new());
    let revoke = Body::Revoke { key: key(61).public(), keep, reason: "stolen".into() };
    let revoke = Verified::sign(Statement::new(realm, None, revoke).unwrap(), &[&key(60)]);
    village.registry.admit(vec![revoke.clone()]).await.unwrap();
    village.registry.beat_once().await.unwrap();
    // A peer hides the revocation, and shows something newer in its place.
    cut_off.receive(realm, &key(61), "pad 1.1.0 x", "").await;
    let by_village = village.registry.store().beats(&realm).unwrap()[0].1;
    cut_off.registry.admit(vec![beat(realm, &key(77), by_village)]).await.unwrap();
    let news = cut_off.registry.news(&realm).unwrap();
    assert_eq!(news.heard, Heard::Incomplete);
    assert!(news.note.unwrap().contains("griot peer add"), "what to type");
    cut_off.registry.admit(vec![revoke]).await.unwrap();
    assert_eq!(cut_off.registry.news(&realm).unwrap().heard, Heard::More);
    assert!(cut_off.metadata("pad").await.is_err(), "nothing of the stolen key stands");
}

#[tokio::test]
async fn who_holds_less_than_an_author_is_behind_and_an_old_beat_is_old_news() {
    let node = Node::start(1).await;
    let (realm, genesis) = realm_with_beats(&[&node], &[&key(78)]).await;
    let says = |n, count, claimed_time| {
        let counter = Counter { epoch: 0, n };
        let digest = Digest::of(b"another set");
        let head = genesis.statement().id();
        beat(realm, &key(78), Beat { head, counter, digest, count, claimed_time })
    };
    node.registry.admit(vec![says(1, 5, 1_000)]).await.unwrap();
    let news = node.registry.news(&realm).unwrap();
    assert_eq!((news.heard, news.at), (Heard::Behind, Some(1_000)));
    assert!(news.note.unwrap().contains("has not arrived"));
    // A stranger's word is not heard.
    let counter = Counter { epoch: 0, n: 9 };
    let (head, digest) = (genesis.statement().id(), Digest::of(b"x"));
    let lie = Beat { head, counter, digest, count: 1, claimed_time: 2_000 };
    node.registry.admit(vec![beat(realm, &key(79), lie)]).await.unwrap();
    assert_eq!(node.registry.news(&realm).unwrap().at, Some(1_000));
    // A clock that is far ahead makes no news.
    node.registry.admit(vec![says(2, 5, u64::MAX / 2)]).await.unwrap();
    assert_eq!(node.registry.news(&realm).unwrap().at, None);
}

#[tokio::test]
async fn red_16_a_beat_from_the_future_erases_nothing() {
    let node = Node::start(1).await;
    let (realm, genesis) = realm_with_beats(&[&node], &[&key(78)]).await;
    let head = genesis.statement().id();
    let at = |epoch, n| {
        let (counter, digest) = (Counter { epoch, n }, Digest::of(b"x"));
        beat(realm, &key(78), Beat { head, counter, digest, count: 1, claimed_time: 7 })
    };
    let held = || node.registry.store().beats(&realm).unwrap()[0].1.counter;
    node.registry.admit(vec![at(0, 1)]).await.unwrap();
    let void = vec![at(0, MAX_COUNTER + 1), at(0, u64::MAX), at(1, 1)];
    assert_eq!(node.registry.store().admit(void, None).await.unwrap().ignored, 3);
    assert_eq!(held(), Counter { epoch: 0, n: 1 });
    node.registry.admit(vec![at(0, MAX_COUNTER)]).await.unwrap();
    let Body::Root(root) = genesis.statement().body().clone() else { panic!("not a root") };
    let next = Root { epoch: 1, prev: Some(head), ..root };
    let next = Statement::new(realm, None, Body::Root(next)).unwrap();
    node.registry.admit(vec![Verified::sign(next, &[&key(60)]), at(1, 1)]).await.unwrap();
    assert_eq!(held(), Counter { epoch: 1, n: 1 }, "the next epoch outranks the wasted number");
}
