//! Peers that are found because a third one told of them, and who is told nothing.

use super::super::introduce;
use super::puppet::Puppet;
use super::*;

/// A node that follows the realm.
async fn follower(realm: &Realm) -> Node {
    let node = Node::start();
    node.follow(realm, FollowKind::Followed).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_know_a_third_find_each_other_and_talk_on_when_it_is_gone() {
    let realm = Realm::new("village");
    let hub = Node::start();
    hub.own(&realm).await;
    let (a, c) = (follower(&realm).await, follower(&realm).await);
    a.meet(&hub).await;
    c.meet(&hub).await;
    eventually("a and c are connected", async || a.sees(c.mesh.local_peer()).await).await;
    c.gets(&realm.genesis).await;
    drop(hub);
    let release = c.publish(&realm, "drum", b"boom").await;
    a.gets(&release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_31_strangers_are_told_of_no_peers_and_nobody_is_told_of_them() {
    let realm = Realm::new("village");
    let hub = Node::start();
    hub.own(&realm).await;
    let mut stranger = Puppet::start();
    stranger.meet(&hub).await;
    let (a, c) = (follower(&realm).await, follower(&realm).await);
    a.meet(&hub).await;
    c.meet(&hub).await;
    eventually("the others are told", async || a.sees(c.mesh.local_peer()).await).await;
    assert!(!stranger.was_told(), "a stranger was told of others");
    assert!(!a.sees(stranger.id).await && !c.sees(stranger.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_others_costs_who_tells_it_and_nothing_else() {
    let (node, puppet) = (Node::start(), Puppet::start());
    puppet.meet(&node).await;
    let endless = [&[0xff, 0xff, 0xff, 0x7f, 1][..], &[0; 64]].concat();
    for bytes in [&[0xff; 64][..], &[2, 0, 0, 0, 1, 0x9f], &[2, 0, 0, 0, 9, 0x80], &endless] {
        puppet.say(&node, introduce::PROTOCOL, bytes).await;
    }
    assert!(node.sees(puppet.id).await, "four pieces of garbage are not yet a ban");
    for _ in 0..6 {
        puppet.say(&node, introduce::PROTOCOL, &[2, 0, 0, 0, 9, 0x80]).await;
    }
    eventually("the puppet is cut off", async || !node.sees(puppet.id).await).await;
}
