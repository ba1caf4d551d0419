//! Blobs from one peer, from several, from none, and from one that lies.

use super::puppet::{Puppet, Served};
use super::*;

const MIB: usize = 1024 * 1024;

/// An owner with a published blob, and a follower that knows of it and is connected.
async fn owner_and_follower(content: &[u8]) -> (Node, Node, Realm) {
    let (owner, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    let release = owner.publish(&realm, "blob", content).await;
    follower.follow(&realm, FollowKind::Followed).await;
    follower.meet(&owner).await;
    follower.gets(&release).await;
    (owner, follower, realm)
}

async fn content_of(node: &Node, digest: &Digest) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;

    let (_, mut file) = node.store.open_blob(digest).await.expect("opens").expect("is held");
    let mut content = Vec::new();
    file.read_to_end(&mut content).await.expect("reads");
    content
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_arrives_whole_and_callers_share_the_flight() {
    for length in [0, 1, 16 * 1024, 16 * 1024 + 1, 5 * MIB + 77] {
        let content = bytes(length, 1);
        let (_owner, follower, _) = owner_and_follower(&content).await;
        let (digest, size) = (Digest::of(&content), content.len() as u64);
        assert_eq!(follower.mesh.held_by_peers(&[digest, Digest::of(b"?")]).await, [true, false]);
        let (one, two) =
            tokio::join!(follower.mesh.fetch(digest, size), follower.mesh.fetch(digest, size),);
        one.expect("the first caller has it");
        two.expect("the second caller has it");
        assert!(content_of(&follower, &digest).await == content, "{length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_holds_is_nowhere_and_a_wrong_size_is_refused_without_blame() {
    let content = bytes(100_000, 2);
    let (owner, follower, _) = owner_and_follower(&content).await;
    let nowhere = follower.mesh.fetch(Digest::of(b"never made"), 10).await;
    assert!(matches!(nowhere, Err(Error::Nowhere(_))), "{nowhere:?}");
    let digest = Digest::of(&content);
    for size in [99_999, 100_001, 1] {
        let wrong = follower.mesh.fetch(digest, size).await;
        assert!(matches!(wrong, Err(Error::Failed(..))), "{wrong:?}");
    }
    assert!(follower.sees(owner.mesh.local_peer()).await, "the peer did nothing wrong");
    follower.mesh.fetch(digest, 100_000).await.expect("the right size still works");
    let held = follower.mesh.fetch(digest, 7).await;
    assert!(matches!(held, Err(Error::Refused(_))), "{held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_no_followed_realm_names_reads_like_one_that_never_was() {
    let (owner, follower, _) = owner_and_follower(b"public").await;
    let private = owner.keep(b"nobody published this").await;
    assert_eq!(follower.mesh.held_by_peers(&[private]).await, [false]);
    let asked = follower.mesh.fetch(private, 21).await;
    assert!(matches!(asked, Err(Error::Nowhere(_))), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_20_a_peer_whose_disk_lies_is_cut_off_and_the_blob_comes_from_the_other() {
    let content = bytes(16 * MIB, 3);
    let (liar, follower, realm) = owner_and_follower(&content).await;
    let honest = Node::start();
    honest.own(&realm).await;
    honest.publish(&realm, "blob", &content).await;
    follower.meet(&honest).await;
    let digest = Digest::of(&content);
    // Its tree is made while the bytes are sound: damage is then seen by the receiver alone.
    crate::store::partial::encode(&liar.store, &digest, 0..16384).await.expect("reads");
    damage(&liar, &digest);
    follower.mesh.fetch(digest, content.len() as u64).await.expect("the honest one has it all");
    assert!(content_of(&follower, &digest).await == content);
    let id = liar.mesh.local_peer();
    eventually("the liar is cut off", async || !follower.sees(id).await).await;
    assert!(follower.sees(honest.mesh.local_peer()).await);
}

/// Flips one byte in each group.
fn damage(node: &Node, digest: &Digest) {
    let hex = digest.to_hex();
    let path = node.home.path().join("blobs").join(&hex[..2]).join(&hex);
    let mut content = fs_err::read(&path).expect("a blob lies where it should");
    content.iter_mut().step_by(16 * 1024).for_each(|byte| *byte ^= 1);
    fs_err::remove_file(&path).expect("is removed");
    fs_err::write(&path, content).expect("is damaged");
}

/// Who has a blob, and who follows its realm, and that they have not met.
async fn apart(content: &[u8]) -> (Node, Node) {
    let (library, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    library.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    library.publish(&realm, "blob", content).await;
    (library, follower)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_goes_on_when_the_only_peer_cuts_stream_after_stream() {
    let content = bytes(8 * MIB, 5);
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let (library, follower) = apart(&content).await;

    let mut fickle = Puppet::start();
    fickle.meet(&follower).await;
    let fetching = follower.mesh.fetch(digest, size);
    let serving = async {
        for _ in 0..4 {
            fickle.serve(&library.store, &digest, Served::Bytes(2 * MIB as u64)).await;
        }
        fickle.serve(&library.store, &digest, Served::All).await;
        std::future::pending().await
    };
    let done = tokio::select! {
        done = tokio::time::timeout(DEADLINE, fetching) => done,
        () = serving => unreachable!("it waits"),
    };
    done.expect("it ends").expect("all of it has come");
    assert!(content_of(&follower, &digest).await == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_resumes_where_a_vanished_peer_had_stopped() {
    let content = bytes(8 * MIB, 4);
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let (library, follower) = apart(&content).await;

    let mut first = Puppet::start();
    first.meet(&follower).await;
    let served = Served::Bytes(5 * MIB as u64);
    let (failed, ()) = tokio::join!(follower.mesh.fetch(digest, size), async {
        first.serve(&library.store, &digest, served).await;
        drop(first);
    });
    assert!(matches!(failed, Err(Error::Failed(..))), "{failed:?}");
    assert!(follower.store.blob(&digest).expect("reads").is_none(), "no half blob is visible");
    let partial = follower.store.partial(&digest, size).await.expect("is kept");
    let missing = partial.missing(1, size);
    drop(partial);
    let missing = missing.first().expect("something lacks").start;
    assert!(missing > 0, "something was kept");

    let mut second = Puppet::start();
    second.meet(&follower).await;
    let fetching = follower.mesh.fetch(digest, size);
    let (done, asked) = tokio::join!(fetching, second.serve(&library.store, &digest, Served::All));
    done.expect("the rest is here");
    assert!(asked.iter().all(|range| range.start >= missing), "{asked:?} from {missing}");
    assert!(content_of(&follower, &digest).await == content);
}
