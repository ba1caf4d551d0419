//! Small blobs, many to a frame: from one peer, from several, and from those that lie or dawdle.

use super::puppet::Puppet;
use super::*;
use crate::mesh::lane::Lane;

const PATIENCE: Duration = Duration::from_secs(20);

/// Contents of different small sizes, none among them, and one a byte short of too large.
fn contents(count: usize) -> Vec<Vec<u8>> {
    let sizes = [14, 300, 700, 16 * 1024 + 1, 9_000, 64 * 1024 - 1];
    (0..count).map(|at| bytes(sizes[at % sizes.len()] - at / sizes.len(), at as u64)).collect()
}

async fn publish_all(node: &Node, realm: &Realm, contents: &[Vec<u8>]) -> Vec<(Digest, u64)> {
    for (at, content) in contents.iter().enumerate() {
        node.keep(content).await;
        node.admit(&realm.release("small", &format!("1.0.{at}"), content)).await;
    }
    contents.iter().map(|content| (Digest::of(content), content.len() as u64)).collect()
}

fn lacking(node: &Node, blobs: &[(Digest, u64)]) -> Vec<u64> {
    let lacks = |digest| node.store.blob(digest).expect("reads").is_none();
    blobs.iter().filter(|(digest, _)| lacks(digest)).map(|(_, size)| *size).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_blobs_come_many_at_a_time_and_the_others_lack() {
    let (owner, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    let mut blobs = publish_all(&owner, &realm, &contents(90)[..89]).await;
    // One of exactly the limit is not small, one is named and held nowhere, one nobody may have.
    blobs.push((owner.keep(&bytes(64 * 1024, 999)).await, 64 * 1024));
    blobs.push((Digest::of(b"never made"), 10));
    blobs.push((owner.keep(b"nobody published this").await, 21));
    follower.meet(&owner).await;
    follower.gets(&realm.genesis).await;
    follower.mesh.fetch_many(Lane::Bulk, blobs.clone(), PATIENCE).await;
    assert_eq!(lacking(&follower, &blobs), [64 * 1024, 10, 21]);
    assert!(follower.sees(owner.mesh.local_peer()).await, "nobody did anything wrong");
    // Asked again, what is held is not asked for: the peer may have gone.
    drop(owner);
    follower.mesh.fetch_many(Lane::Wanted, blobs[..89].to_vec(), PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_peer_lacks_the_other_gives() {
    let (one, other, follower) = (Node::start(), Node::start(), Node::start());
    let realm = Realm::new("village");
    let contents = contents(24);
    for node in [&one, &other] {
        node.own(&realm).await;
    }
    follower.follow(&realm, FollowKind::Followed).await;
    let mut blobs = publish_all(&one, &realm, &contents[..12]).await;
    blobs.extend(publish_all(&other, &realm, &contents[12..]).await);
    follower.meet(&one).await;
    follower.meet(&other).await;
    follower.gets(&realm.genesis).await;
    // Each peer may give only what it knows to be named.
    follower.mesh.fetch_many(Lane::Wanted, blobs.clone(), PATIENCE).await;
    assert_eq!(lacking(&follower, &blobs), [0_u64; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_wrong_small_blobs_is_cut_off() {
    let (follower, mut liar) = (Node::start(), Puppet::start());
    let realm = Realm::new("village");
    follower.own(&realm).await;
    liar.meet(&follower).await;
    let blobs = vec![(Digest::of(b"truth"), 5), (Digest::of(b"more!"), 5)];
    tokio::join!(follower.mesh.fetch_many(Lane::Wanted, blobs.clone(), PATIENCE), async {
        liar.give_small(&[b"a lie", b"more!"]).await;
    });
    assert_eq!(lacking(&follower, &blobs), [5, 5]);
    eventually("the liar is cut off", async || !follower.sees(liar.id).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dripping_peer_does_not_hold_up_small_blobs_for_ever() {
    let (owner, follower, slow) = (Node::start(), Node::start(), Puppet::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    let blobs = publish_all(&owner, &realm, &contents(12)).await;
    slow.meet(&follower).await;
    follower.meet(&owner).await;
    follower.gets(&realm.genesis).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(slow.trickle());
    let brought = async {
        follower.mesh.fetch_many(Lane::Wanted, blobs.clone(), PATIENCE).await;
        for (digest, size) in &blobs {
            follower.mesh.fetch(*digest, *size).await.expect("the other one has it");
        }
    };
    tokio::time::timeout(DEADLINE * 2, brought).await.expect("it ends");
    assert_eq!(lacking(&follower, &blobs), [0_u64; 0]);
}
