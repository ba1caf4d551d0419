//! Receipts travel like releases, and the one that was replaced leaves on both sides.

use crdt::Collection;
use crdt::session::Index as _;

use super::puppet::Puppet;
use super::*;

fn held(node: &Node, realm: &Realm) -> Vec<StatementId> {
    let part = Collection::Receipts(realm.id, "generic".to_owned());
    node.store.items(&part).into_iter().map(|item| item.id).collect()
}

async fn is_all(node: &Node, realm: &Realm, receipt: &Verified) {
    let id = receipt.statement().id();
    eventually("the newest receipt is there, alone", async || held(node, realm) == [id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_pushed_and_replaces_the_older_one_there() {
    let (mirror, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    mirror.own(&realm).await;
    follower.follow(&realm, FollowKind::Site).await;
    let early = realm.receipt("drum", 1);
    mirror.admit(&early).await;
    mirror.meet(&follower).await;
    is_all(&follower, &realm, &early).await;
    for n in 2..6 {
        let next = realm.receipt("drum", n);
        mirror.admit(&next).await;
        is_all(&follower, &realm, &next).await;
        assert_eq!(held(&mirror, &realm), [next.statement().id()]);
    }
    assert!(!follower.has(early.statement().id()));
    let (one, other) = (mirror.store.collections(&realm.id), follower.store.collections(&realm.id));
    assert_eq!(one, other, "equal fingerprints: nothing is left to compare");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_parted_with_different_receipts_keep_the_newest() {
    let (one, other) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    one.own(&realm).await;
    other.own(&realm).await;
    let (old, new) = (realm.receipt("drum", 1), realm.receipt("drum", 2));
    one.admit(&new).await;
    other.admit(&old).await;
    one.meet(&other).await;
    is_all(&one, &realm, &new).await;
    is_all(&other, &realm, &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_alone_brings_a_receipt_and_an_outdated_one_changes_nothing() {
    let (node, puppet) = (Node::start(), Puppet::start());
    let realm = Realm::new("village");
    node.own(&realm).await;
    puppet.meet(&node).await;
    let message = |receipt: &Verified| [&[0][..], &receipt.envelope().encode()].concat();
    let (old, new) = (realm.receipt("drum", 1), realm.receipt("drum", 2));
    puppet.publish(message(&new)).await;
    is_all(&node, &realm, &new).await;
    puppet.publish(message(&old)).await;
    let marker = realm.release("drum", "1.0.0", b"boom");
    puppet.publish(message(&marker)).await;
    node.gets(&marker).await;
    assert_eq!(held(&node, &realm), [new.statement().id()]);
}
