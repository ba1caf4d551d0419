//! By which way two nodes talk: QUIC where TCP is not to be had, and TCP where both are.

use super::*;

const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Nobody listens there.
const DEAD: &str = "/ip4/127.0.0.1/tcp/1";

fn on(listen: &[&str]) -> Node {
    let home = TempDir::new().expect("a folder for the test");
    let store = Store::open(home.path()).expect("a fresh store");
    let listen = listen.iter().map(|text| text.parse().expect("a sound address")).collect();
    Node::listening(home, store, listen, (nobody_joins(), Vec::new()))
}

/// The way by which `of` is connected with `to`.
async fn way(of: &Node, to: &Node) -> String {
    let peer = to.mesh.local_peer().to_string();
    let peers = of.mesh.peers().await;
    peers.into_iter().find(|one| one.id == peer).map(|one| one.transport).unwrap_or_default()
}

#[tokio::test]
async fn over_quic_alone_statements_and_bytes_arrive() {
    let (a, b) = (on(&[QUIC]), on(&[QUIC]));
    a.meet(&b).await;
    assert_eq!((way(&a, &b).await, way(&b, &a).await), ("quic".to_owned(), "quic".to_owned()));
    let realm = Realm::new("theirs");
    a.own(&realm).await;
    b.follow(&realm, FollowKind::Site).await;
    let body = bytes(300_000, 1);
    let release = a.publish(&realm, "drum", &body).await;
    b.gets(&release).await;
    let digest = Digest::of(&body);
    b.mesh.fetch(digest, body.len() as u64).await.expect("arrives");
}

#[tokio::test]
async fn of_both_ways_tcp_is_taken_whatever_their_order() {
    let (a, b) = (on(&[QUIC, "/ip4/127.0.0.1/tcp/0"]), on(&[QUIC, "/ip4/127.0.0.1/tcp/0"]));
    let mut addresses = b.mesh.addresses().await;
    assert_eq!(addresses.len(), 2);
    addresses.reverse();
    a.mesh.pair(addresses, request()).await.expect("is answered");
    assert_eq!(way(&a, &b).await, "tcp");
}

#[tokio::test]
async fn where_tcp_does_not_answer_quic_does() {
    let (a, b) = (on(&[QUIC]), on(&[QUIC]));
    let dead: Multiaddr = DEAD.parse().expect("a sound address");
    let dead = dead.with_p2p(b.mesh.local_peer()).expect("has no id yet");
    let quic = b.address().await;
    a.mesh.pair(vec![dead, quic], request()).await.expect("is answered");
    assert_eq!(way(&a, &b).await, "quic");
}

#[tokio::test]
async fn an_address_that_holds_on_one_cable_alone_is_refused_with_the_reason() {
    let a = Node::start();
    let local = "/ip6/fe80::1/tcp/7879".parse().expect("a sound address");
    let refused = a.mesh.add_peer(local).await.expect_err("cannot be dialled");
    assert!(refused.to_string().contains("one cable alone"), "{refused}");
}
