//! Peers that break the protocols: the stream ends, the node goes on.

use super::super::{frame, pair, serve, sync};
use super::puppet::Puppet;
use super::*;
use crate::store::partial::encode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_the_stream_and_nothing_else() {
    let (node, puppet) = (Node::start(), Puppet::start());
    puppet.meet(&node).await;
    let hello = frame::Frame::HELLO.encode();
    let again: Vec<u8> = [&hello[..], &hello[..]].concat();
    let data = [&hello[..], &[22, 0, 0, 0, 3], &[0; 21]].concat();
    for bytes in [&[0xff; 64][..], &[1, 0, 0, 0, 1], &[5, 0, 0, 0, 2, 9, 9, 9, 9], &again, &data] {
        puppet.say(&node, serve::PROTOCOL, bytes).await;
    }
    for bytes in [&[0xff; 64][..], &[1, 0, 0, 0, 0x7f], b"GET / HTTP/1.1\r\n\r\n"] {
        puppet.say(&node, pair::PROTOCOL, bytes).await;
    }
    assert!(node.sees(puppet.id).await, "five pieces of garbage are not yet a ban");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_sync_stream_ends_it_and_the_next_one_works() {
    let node = Node::start();
    let realm = Realm::new("village");
    node.own(&realm).await;
    // The side with the lower id opens the stream: a puppet that may.
    let puppet = std::iter::repeat_with(Puppet::start)
        .find(|puppet| puppet.id < node.mesh.local_peer())
        .expect("one of many is lower");
    puppet.meet(&node).await;
    for bytes in
        [&[0xff; 64][..], &[1, 0, 0, 0, 0x7f], &[9, 0, 0, 0, 1, 0x9f, 0xff, 0, 0, 0, 0, 0, 0]]
    {
        puppet.say(&node, sync::PROTOCOL, bytes).await;
    }
    let guest = Node::start();
    guest.follow(&realm, FollowKind::Followed).await;
    guest.meet(&node).await;
    guest.gets(&realm.genesis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_again_and_again_is_a_ban() {
    let (node, puppet) = (Node::start(), Puppet::start());
    puppet.meet(&node).await;
    for _ in 0..10 {
        puppet.say(&node, serve::PROTOCOL, &[0xff; 64]).await;
    }
    eventually("the puppet is cut off", async || !node.sees(puppet.id).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_20_endless_short_and_unasked_bytes_are_not_kept_and_cost_the_sender() {
    let content = bytes(100_000, 9);
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let (library, realm) = (Node::start(), Realm::new("village"));
    library.own(&realm).await;
    library.publish(&realm, "blob", &content).await;
    let sound = encode(&library.store, &digest, 0..size).await.expect("reads").expect("is held");
    let endless = [&sound[..], &[0; 64]].concat();
    let short = sound[..sound.len() - 1].to_vec();
    for (range, encoded) in [(0..size, endless), (0..size, short)] {
        let (node, puppet) = (Node::start(), Puppet::start());
        let (id, result) = fetched_from(&node, puppet, &digest, size, (range, encoded)).await;
        // The groups before the excess are sound and may be all that was needed.
        let held = node.store.blob(&digest).expect("reads").is_some();
        assert_eq!(held, result.is_ok(), "{result:?}");
        eventually("the sender is cut off", async || !node.sees(id).await).await;
    }
    let unasked = (16_384..size, sound.to_vec());
    let node = Node::start();
    let (_, failed) = fetched_from(&node, Puppet::start(), &digest, size, unasked).await;
    assert!(matches!(failed, Err(Error::Failed(..))), "{failed:?}");
    assert!(node.store.blob(&digest).expect("reads").is_none());
}

/// Fetches from a puppet that answers with this piece, whatever it is asked.
async fn fetched_from(
    node: &Node,
    mut puppet: Puppet,
    digest: &Digest,
    size: u64,
    (range, encoded): (std::ops::Range<u64>, Vec<u8>),
) -> (PeerId, Result<(), Error>) {
    puppet.meet(node).await;
    let piece = frame::Frame::Data { id: 1, range, encoded: encoded.into() };
    let answering = puppet.answer_with(&piece);
    let (result, ()) = tokio::join!(node.mesh.fetch(*digest, size), answering);
    (puppet.id, result)
}

/// A release whose signature does not verify, as a store that trusts its own disk would keep it.
fn forged(realm: &Realm, version: u8) -> Verified {
    let release = realm.release("forged", &format!("1.0.{version}"), &[version]);
    let mut envelope = release.envelope().clone();
    envelope.signatures.values_mut().for_each(|signature| signature.0[7] ^= 1);
    Verified::from_admitted(envelope)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_signatures_are_not_admitted_and_ten_of_them_are_a_ban() {
    let (forger, node) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    forger.own(&realm).await;
    node.follow(&realm, FollowKind::Followed).await;
    node.meet(&forger).await;
    let sound = forger.publish(&realm, "drum", b"boom").await;
    node.gets(&sound).await;
    let forgeries: Vec<Verified> = (0..10).map(|version| forged(&realm, version)).collect();
    forger.store.admit(forgeries.clone(), None).await.expect("a forger believes itself");
    let id = forger.mesh.local_peer();
    eventually("the forger is cut off", async || !node.sees(id).await).await;
    assert!(forgeries.iter().all(|forgery| !node.has(forgery.statement().id())));
}
