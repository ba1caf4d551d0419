//! A mesh for members only: what a stranger gets, and how one becomes a member.

use super::super::members;
use super::*;

fn closed(pairing: Pairing) -> Node {
    let home = TempDir::new().expect("a folder for the test");
    let store = Store::open(home.path()).expect("a fresh store");
    Node::behind_doors(home, store, pairing)
}

/// Whoever comes with an invite becomes a member.
fn all_join(store: &Arc<std::sync::OnceLock<Store>>) -> Pairing {
    let store = Arc::clone(store);
    Arc::new(move |_, peer| {
        let store = store.get().expect("is set before anybody comes").clone();
        Box::pin(async move {
            let peer = peer.to_string();
            let row = store.put_row(members::MEMBER_ROW, &peer, Vec::new());
            row.await.expect("has room");
            PairAnswer::Welcome
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_31_behind_closed_doors_a_stranger_sees_the_names_of_realms_until_it_joins() {
    let desk = Arc::new(std::sync::OnceLock::new());
    let (node, guest) = (closed(all_join(&desk)), Node::start());
    desk.set(node.store.clone()).expect("is set once");
    let realm = Realm::new("village");
    node.own(&realm).await;
    let body = b"a drum";
    let release = node.publish(&realm, "drum", body).await;
    guest.follow(&realm, FollowKind::Site).await;
    guest.meet(&node).await;
    eventually("the lobby is shown", async || !guest.mesh.offers().await.is_empty()).await;
    let offers = guest.mesh.offers().await;
    let shown: Vec<_> = offers.iter().flat_map(|offer| &offer.envelopes).collect();
    assert!(shown.iter().all(|one| matches!(one.statement().body(), Body::Root(_))));
    let digest = Digest::of(body);
    assert_eq!(guest.mesh.held_by_peers(&[digest]).await, [false]);
    assert!(guest.mesh.fetch(digest, body.len() as u64).await.is_err());
    assert!(!guest.has(release.statement().id()) && !guest.has(realm.genesis.statement().id()));
    let peers = guest.mesh.peers().await;
    assert!(peers.iter().all(|peer| peer.follows.is_empty()), "what it follows is told");

    let addresses = node.mesh.addresses().await;
    let answer = guest.mesh.pair(addresses, request()).await.expect("is answered");
    assert_eq!(answer, PairAnswer::Welcome);
    guest.gets(&release).await;
    eventually("the bytes come, too", async || {
        guest.mesh.fetch(digest, body.len() as u64).await.is_ok()
    })
    .await;
    // Without gossip, news come by the conversation.
    let news = node.publish(&realm, "flute", b"a flute").await;
    guest.gets(&news).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_pushes_behind_closed_doors_is_neither_looked_at_nor_kept() {
    let (node, pusher) = (closed(nobody_joins()), Node::start());
    let realm = Realm::new("village");
    node.own(&realm).await;
    pusher.own(&realm).await;
    let member = Node::start();
    member.follow(&realm, FollowKind::Followed).await;
    let peer = member.mesh.local_peer().to_string();
    let row = node.store.put_row(members::MEMBER_ROW, &peer, Vec::new());
    row.await.expect("has room");
    let pushed: Vec<_> = [
        pusher.publish(&realm, "drum", b"by a stranger").await,
        pusher.publish(&realm, "flute", b"by a stranger, too").await,
    ]
    .into();
    pusher.meet(&node).await;
    let fence = member.publish(&realm, "fence", b"by a member").await;
    member.meet(&node).await;
    node.gets(&fence).await;
    assert!(pushed.iter().all(|release| !node.has(release.statement().id())));
}
