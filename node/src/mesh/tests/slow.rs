//! Peers that are slow, silent or half gone: they cost time of their own, and nobody else's.

use super::puppet::Puppet;
use super::*;
use crate::registry::Registry;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_trickles_in_does_not_hold_up_new_artifacts_of_others() {
    let (owner, follower, slow) = (Node::start(), Node::start(), Puppet::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    slow.meet(&follower).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(slow.trickle());
    let store = follower.store.clone();
    let mesh = Some(follower.mesh.clone());
    let registry = Registry::new(store, mesh, Vec::new(), Realm::new("own").key, realm.id);
    let keeping = registry.expect("starts").keep_new_artifacts();
    tasks.spawn(async { keeping.await.expect("goes on") });
    // Nobody but the slow one says that it holds these.
    for version in 0..8_u8 {
        owner.admit(&realm.release("gone", &format!("1.0.{version}"), &[version; 9])).await;
    }
    follower.meet(&owner).await;
    follower.gets(&realm.genesis).await;
    let content = bytes(3 * 1024 * 1024, 9);
    let release = owner.publish(&realm, "drum", &content).await;
    follower.gets(&release).await;
    eventually("the new artifact is kept", async || {
        follower.store.blob(&Digest::of(&content)).expect("reads").is_some()
    })
    .await;
}
