//! Who is a member, by each of the three reasons, and when it ends.

use super::super::members::{INVITER_ROW, MEMBER_ROW, Members};
use super::*;

impl Node {
    /// The site of both is the realm of this one, as after an invite was redeemed.
    pub(super) async fn admit_member(&self, realm: &Realm, other: &Self) {
        let id = other.mesh.local_peer().to_string();
        self.store.put_row(MEMBER_ROW, &id, Vec::new()).await.expect("is written");
        other.joined(realm, self.mesh.local_peer()).await;
    }

    /// This node believes that it joined a realm by the invite of a peer.
    pub(super) async fn joined(&self, realm: &Realm, inviter: PeerId) {
        let into = realm.id.0.as_bytes().to_vec();
        self.store.put_row(INVITER_ROW, &inviter.to_string(), into).await.expect("is written");
        self.follow(realm, FollowKind::Site).await;
    }

    async fn calls_member(&self, peer: PeerId) -> bool {
        self.mesh.peers().await.iter().any(|one| one.id == peer.to_string() && one.member)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inviter_and_invited_are_members_for_each_other_and_a_stranger_is_not() {
    let (inviter, invited, stranger) = (Node::start(), Node::start(), Node::start());
    let realm = Realm::new("village");
    inviter.own(&realm).await;
    inviter.admit_member(&realm, &invited).await;
    inviter.meet(&invited).await;
    inviter.meet(&stranger).await;
    assert!(inviter.calls_member(invited.mesh.local_peer()).await);
    assert!(invited.calls_member(inviter.mesh.local_peer()).await);
    assert!(!inviter.calls_member(stranger.mesh.local_peer()).await);
    assert!(!stranger.calls_member(inviter.mesh.local_peer()).await);
    invited.store.unfollow(&realm.id).await.expect("is followed");
    assert!(!invited.calls_member(inviter.mesh.local_peer()).await, "it is no site any more");
    assert!(inviter.calls_member(invited.mesh.local_peer()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_the_site_names_is_a_member_as_soon_as_the_epoch_is_admitted() {
    let (node, other) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    node.own(&realm).await;
    node.meet(&other).await;
    let peer = other.mesh.local_peer();
    assert!(!node.calls_member(peer).await);
    node.admit(&realm.with_member(peer)).await;
    eventually("the other is a member", async || node.calls_member(peer).await).await;
    let another = Realm::new("another site");
    node.follow(&another, FollowKind::Site).await;
    assert!(!node.calls_member(peer).await, "that realm is not the site now");
    node.admit(&another.genesis).await;
    node.admit(&another.with_member(peer)).await;
    eventually("the other is one there", async || node.calls_member(peer).await).await;
}

#[tokio::test]
async fn what_names_nobody_makes_nobody_a_member() {
    let home = TempDir::new().expect("a folder for the test");
    let store = Store::open(home.path()).expect("a fresh store");
    let (members, peer) = (Members::new(store.clone()), PeerId::random());
    assert!(!members.is_member(&peer));
    for value in [Vec::new(), vec![7; 32], vec![7; 33]] {
        store.put_row(INVITER_ROW, &peer.to_string(), value).await.expect("is written");
        assert!(!members.is_member(&peer), "a row for a realm that is not the site");
    }
    store.put_row(MEMBER_ROW, "", Vec::new()).await.expect("is written");
    store.put_row(MEMBER_ROW, "not a peer", Vec::new()).await.expect("is written");
    assert!(!members.is_member(&peer));
}
