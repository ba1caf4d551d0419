//! 18 of the red team's list through the doors of the mesh: bytes of automerge are offered by
//! gossip and on the streams, and none of them ever reaches automerge.

use crdt::document::Document;
use crdt::session::Index;

use super::super::{serve, sync};
use super::puppet::Puppet;
use super::*;

/// A saved document, a piece of it, and what a change begins with.
fn bytes_of_automerge(realm: &Realm) -> Vec<Vec<u8>> {
    let mut document = Document::new();
    let all = [realm.release("drum", "1.0.0", b"boom"), realm.release("drum", "1.1.0", b"bang")];
    assert_eq!(document.extend(&all).expect("automerge takes them"), 2);
    let saved = document.save();
    assert_eq!(saved[..4], [0x85, 0x6f, 0x4a, 0x83], "automerge's own mark");
    // Chunks of a document, a change, a deflated change and a bundle.
    let marked = [0, 1, 2, 3].map(|kind| [&saved[..8], &[kind], &saved[9..]].concat());
    [vec![saved.clone(), saved[..40].to_vec()], marked.to_vec()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_18_bytes_of_automerge_reach_automerge_through_no_door_of_the_mesh() {
    let (node, realm) = (Node::start(), Realm::new("village"));
    node.own(&realm).await;
    let before = Index::last_sequence(&node.store);
    for bytes in bytes_of_automerge(&realm) {
        // The side with the lower id opens the stream: a puppet that may.
        let puppet = std::iter::repeat_with(Puppet::start)
            .find(|puppet| puppet.id < node.mesh.local_peer())
            .expect("one of many is lower");
        puppet.meet(&node).await;
        for first in [vec![], vec![0], vec![1]] {
            puppet.publish([first, bytes.clone()].concat()).await;
        }
        let length = u32::try_from(bytes.len() + 1).expect("is short").to_le_bytes();
        for framed in [bytes.clone(), [&length[..], &[9], &bytes].concat()] {
            puppet.say(&node, sync::PROTOCOL, &framed).await;
        }
        puppet.say(&node, serve::PROTOCOL, &bytes).await;
    }
    let honest = Puppet::start();
    honest.meet(&node).await;
    let release = realm.release("drum", "2.0.0", b"boom");
    honest.publish([&[0][..], &release.envelope().encode()].concat()).await;
    node.gets(&release).await;
    assert_eq!(
        Index::last_sequence(&node.store),
        before + 1,
        "nothing but the honest one was admitted"
    );
    assert_eq!(node.store.document_applies(), 0, "automerge was given something");
}
