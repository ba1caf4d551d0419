//! Gossip alone: puppets announce, and open no sync stream.

use super::puppet::Puppet;
use super::*;

const WHOLE: u8 = 0;

fn message(statement: &Verified) -> Vec<u8> {
    let mut message = vec![WHOLE];
    message.extend_from_slice(&statement.envelope().encode());
    message
}

/// The message with a signature that does not verify.
fn broken(statement: &Verified) -> Vec<u8> {
    let mut envelope = statement.envelope().clone();
    envelope.signatures.values_mut().for_each(|signature| signature.0[7] ^= 1);
    let mut message = vec![WHOLE];
    message.extend_from_slice(&envelope.encode());
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_06_a_broken_copy_that_comes_first_does_not_hide_the_honest_one() {
    let (node, liar, honest) = (Node::start(), Puppet::start(), Puppet::start());
    let realm = Realm::new("village");
    node.own(&realm).await;
    liar.meet(&node).await;
    honest.meet(&node).await;
    let release = realm.release("drum", "1.0.0", b"boom");
    liar.publish(broken(&release)).await;
    honest.publish(message(&release)).await;
    node.gets(&release).await;
    let held = node.store.statement(&release.statement().id()).expect("reads");
    assert_eq!(held.as_ref(), Some(&release), "the broken signature is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_of_an_unknown_realm_or_without_sense_changes_nothing() {
    let (node, puppet) = (Node::start(), Puppet::start());
    let (ours, theirs) = (Realm::new("ours"), Realm::new("theirs"));
    node.own(&ours).await;
    puppet.meet(&node).await;
    let strange = theirs.release("drum", "1.0.0", b"boom");
    puppet.publish(message(&strange)).await;
    puppet.publish(vec![77]).await;
    let known = ours.release("drum", "1.0.0", b"boom");
    puppet.publish(message(&known)).await;
    node.gets(&known).await;
    assert!(!node.has(strange.statement().id()));
}
