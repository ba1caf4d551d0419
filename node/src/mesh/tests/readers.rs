//! Private realms between real nodes: what their readers get, and what all others hear.

use futures::AsyncWriteExt as _;
use libp2p::Stream;

use super::super::frame::{self, Failure, Frame};
use super::super::serve;
use super::puppet::Puppet;
use super::*;

impl Realm {
    /// A realm of the same key, that grants `read` to these.
    fn private(title: &str, readers: &[&SecretKey]) -> Self {
        let Self { key, .. } = Self::new(title);
        let root = Root::of_one(key.public(), [7; 16], title, reading(readers));
        let genesis = Verified::sign(Statement::genesis(root).expect("a sound genesis"), &[&key]);
        Self { key, id: genesis.statement().realm(), genesis }
    }

    /// The epoch after the first, with these readers.
    fn read_by(&self, readers: &[&SecretKey]) -> Verified {
        let Body::Root(first) = self.genesis.statement().body() else {
            panic!("a genesis is a root")
        };
        let prev = Some(self.genesis.statement().id());
        let mut grants = first.grants.clone();
        grants.retain(|grant| grant.role != "read");
        grants.extend(reading(readers));
        let next = Root { epoch: 1, prev, grants, ..first.clone() };
        let next = Statement::new(self.id, None, Body::Root(next)).expect("a sound epoch");
        Verified::sign(next, &[&self.key])
    }
}

fn reading(readers: &[&SecretKey]) -> Vec<Grant> {
    let everything = Pattern::parse("*").expect("everything is a pattern");
    readers.iter().map(|key| Grant::to_key("read", everything.clone(), key.public())).collect()
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

impl Node {
    fn holding(seed: u8) -> Self {
        let home = TempDir::new().expect("a folder for the test");
        let store = Store::open(home.path()).expect("a fresh store");
        Self::with_keys(home, store, (loopback(), nobody_joins()), vec![key(seed)])
    }

    async fn asks_in_vain(&self, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        assert_eq!(self.mesh.held_by_peers(&[digest]).await, [false]);
        let asked = self.mesh.fetch(digest, bytes.len() as u64).await;
        assert!(matches!(asked, Err(Error::Nowhere(_))), "{asked:?}");
    }
}

/// A keeper of an open and of a private realm; it holds the key 1, and another reader the key 7.
async fn keeper() -> (Node, Realm, Realm) {
    let keeper = Node::holding(1);
    let (open, private) = (Realm::new("open"), Realm::private("private", &[&key(1), &key(7)]));
    keeper.own(&open).await;
    keeper.own(&private).await;
    (keeper, open, private)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_31_readers_get_a_private_realm_and_strangers_and_members_nothing() {
    let (keeper, open, private) = keeper().await;
    let (reader, stranger, member) = (Node::holding(7), Node::holding(8), Node::holding(9));
    let secret = keeper.publish(&private, "secret", b"a secret").await;
    // They know the realm's id, and follow it; the keeper's own peer id makes one a member, too.
    for node in [&reader, &stranger, &member] {
        node.follow(&open, FollowKind::Followed).await;
        node.follow(&private, FollowKind::Followed).await;
    }
    keeper.admit_member(&open, &member).await;
    for node in [&reader, &stranger, &member] {
        node.meet(&keeper).await;
    }
    reader.gets(&secret).await;
    reader.mesh.fetch(Digest::of(b"a secret"), 8).await.expect("a reader gets the bytes");
    // What came later than all that could have been said of the private realm.
    let late = keeper.publish(&private, "secret-too", b"another secret").await;
    let fence = keeper.publish(&open, "fence", b"a fence").await;
    reader.gets(&late).await;
    for node in [&stranger, &member] {
        node.gets(&fence).await;
        for statement in [&private.genesis, &secret, &late] {
            assert!(!node.has(statement.statement().id()));
        }
        node.asks_in_vain(b"a secret").await;
        assert!(node.mesh.offers().await.iter().all(|offer| offer.realm != private.id));
        // The stranger and the member may have met, and say to each other what they ask for.
        let mut peers = node.mesh.peers().await;
        peers.retain(|peer| peer.id == keeper.mesh.local_peer().to_string());
        assert!(peers.iter().all(|peer| !peer.follows.contains(&private.id)));
        assert_eq!(peers.len(), 1);
        node.mesh.fetch(Digest::of(b"a fence"), 7).await.expect("what is open is open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_31_a_reader_that_is_named_no_more_loses_sight_at_once() {
    let (keeper, open, private) = keeper().await;
    let reader = Node::holding(7);
    reader.follow(&open, FollowKind::Followed).await;
    reader.follow(&private, FollowKind::Followed).await;
    let secret = keeper.publish(&private, "secret", b"a secret").await;
    reader.meet(&keeper).await;
    reader.gets(&secret).await;
    let epoch = private.read_by(&[&key(1)]);
    keeper.admit(&epoch).await;
    let late = keeper.publish(&private, "secret-too", b"another secret").await;
    reader.asks_in_vain(b"a secret").await;
    let fence = keeper.publish(&open, "fence", b"a fence").await;
    reader.gets(&fence).await;
    assert!(!reader.has(epoch.statement().id()) && !reader.has(late.statement().id()));
    // Granted again, it sees everything without being met anew.
    let Body::Root(root) = epoch.statement().body() else { panic!("an epoch is a root") };
    let prev = Some(epoch.statement().id());
    let grants = reading(&[&key(1), &key(7)]);
    let again = Root { epoch: 2, prev, grants, ..root.clone() };
    let again = Statement::new(private.id, None, Body::Root(again)).expect("a sound epoch");
    keeper.admit(&Verified::sign(again, &[&private.key])).await;
    reader.gets(&late).await;
    eventually("the bytes come, too", async || {
        reader.mesh.fetch(Digest::of(b"another secret"), 14).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_31_what_is_not_for_a_stranger_reads_like_what_never_was() {
    let (keeper, _, private) = keeper().await;
    keeper.publish(&private, "secret", b"a secret").await;
    let puppet = Puppet::start();
    puppet.meet(&keeper).await;
    let mut answers = Vec::new();
    for asked in [&b"a secret"[..], b"never was"] {
        let (digest, size) = (Digest::of(asked), asked.len() as u64);
        let mut stream = puppet.open(&keeper, serve::PROTOCOL).await;
        let have = Frame::Have { digests: vec![digest] };
        let ranges = std::iter::once(0..size).collect();
        let get = Frame::Get { id: 1, digest, size, ranges };
        let words = [Frame::HELLO.encode(), have.encode(), get.encode()].concat();
        stream.write_all(&words).await.expect("somebody listens");
        let heard = [hear(&mut stream).await, hear(&mut stream).await, hear(&mut stream).await];
        answers.push(heard);
    }
    assert_eq!(answers[0], answers[1]);
    let refused = Frame::Error { id: 1, failure: Failure::NotFound }.encode();
    assert_eq!(answers[0][2][..], refused[4..]);
}

async fn hear(stream: &mut Stream) -> Vec<u8> {
    let read = frame::receive(stream, 1 << 20, DEADLINE, DEADLINE).await;
    read.expect("an answer").expect("an answer").to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_of_a_private_realm_is_neither_believed_nor_published() {
    let (keeper, open, private) = keeper().await;
    let puppet = Puppet::start();
    puppet.meet(&keeper).await;
    let told = private.release("told", "1.0.0", b"by whom?");
    let message = |statement: &Verified| [&[0][..], &statement.envelope().encode()].concat();
    puppet.publish(message(&told)).await;
    let fence = open.release("fence", "1.0.0", b"a fence");
    puppet.publish(message(&fence)).await;
    keeper.gets(&fence).await;
    assert!(!keeper.has(told.statement().id()));
    let learned = super::super::announce::Learned::default();
    let mut admissions = keeper.store.subscribe();
    for (realm, count) in [(&private, 0), (&open, 1)] {
        keeper.admit(&realm.release("new", "1.0.0", b"new")).await;
        let admission = admissions.recv().await.expect("it was admitted");
        let said = super::super::announce::messages(&admission, &learned, &keeper.store);
        assert_eq!(said.len(), count);
    }
}
