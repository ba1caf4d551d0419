//! Peers that are slow, silent or half gone: they cost time of their own, and nobody else's.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::super::{frame::Frame, serve};
use super::puppet::Puppet;
use super::*;

/// Four files and more that only a trickling peer says it holds, and then one that a good one has:
/// whatever `keep` starts must bring that.
pub(crate) async fn a_new_artifact_comes_past_a_trickling_peer<K>(
    keep: impl FnOnce(Store, Mesh) -> K,
) where
    K: Future<Output = ()> + Send + 'static,
{
    let (owner, follower, slow) = (Node::start(), Node::start(), Puppet::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    slow.meet(&follower).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(slow.trickle());
    tasks.spawn(keep(follower.store.clone(), follower.mesh.clone()));
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

/// A cable to a node that can be cut so that neither end hears of it; gives its other end.
async fn cable(to: &Node, tasks: &mut JoinSet<()>) -> (Multiaddr, Arc<Notify>) {
    use libp2p::multiaddr::Protocol;

    let far = to.address().await;
    let Some(Protocol::Tcp(port)) = far.iter().nth(1) else { panic!("a node listens on TCP") };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let near = listener.local_addr().expect("is bound").port();
    let cut = Arc::new(Notify::new());
    let cutting = cut.clone();
    tasks.spawn(async move {
        let (mut one, _) = listener.accept().await.expect("somebody calls");
        let mut other = TcpStream::connect(("127.0.0.1", port)).await.expect("listens");
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut one, &mut other) => {}
            () = cutting.notified() => std::future::pending().await,
        }
    });
    let near = loopback().replace(1, |_| Some(Protocol::Tcp(near))).expect("has a port");
    (near, cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_back_behind_a_cut_cable_is_heard_at_once() {
    let mut tasks = JoinSet::new();
    let (steady, fickle) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    steady.own(&realm).await;
    fickle.follow(&realm, FollowKind::Followed).await;
    let (near, cut) = cable(&fickle, &mut tasks).await;
    steady.mesh.add_peer(near).await.expect("is remembered");
    fickle.gets(&realm.genesis).await;
    cut.notify_one();
    sleep(Duration::from_millis(1500)).await;
    let fickle = fickle.restart().await;
    fickle.meet(&steady).await;
    // One large enough that gossip alone does not carry it.
    let large = realm.large_release("drum");
    steady.admit(&large).await;
    let mut answers = Vec::new();
    for at in 0..8_u8 {
        let digest = fickle.keep(&[at; 9]).await;
        let answer = realm.release("answer", &format!("1.0.{at}"), &[at; 9]);
        fickle.admit(&answer).await;
        answers.push((answer, digest));
    }
    let came = async {
        fickle.gets(&large).await;
        for (answer, digest) in answers {
            steady.gets(&answer).await;
            steady.mesh.fetch(digest, 9).await.expect("no stream goes into the dead connection");
        }
    };
    tokio::time::timeout(Duration::from_secs(9), came).await.expect("at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_ask_and_do_not_read_do_not_hold_all_turns() {
    const MIB: u64 = 1024 * 1024;
    let (owner, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    let content = bytes(8 << 20, 7);
    let digest = Digest::of(&content);
    owner.publish(&realm, "drum", &content).await;
    follower.meet(&owner).await;
    let (mut puppets, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let puppet = Puppet::start();
        puppet.meet(&owner).await;
        for at in 0..4 {
            let mut stream = puppet.open(&owner, serve::PROTOCOL).await;
            let ranges = [0, 4 * MIB].map(|start| start..start + 2 * MIB).to_vec();
            let get = Frame::Get { id: at, digest, size: 8 * MIB, ranges };
            let request = [Frame::HELLO.encode(), get.encode()].concat();
            stream.write_all(&request).await.expect("somebody listens");
            stream.flush().await.expect("somebody listens");
            // The first byte of the answer: from here on it has its turn.
            stream.read_exact(&mut [0; 1]).await.expect("is answered");
            streams.push(stream);
        }
        puppets.push(puppet);
    }
    let fetching = follower.mesh.fetch(digest, 8 * MIB);
    let fetched = tokio::time::timeout(Duration::from_secs(30), fetching).await;
    fetched.expect("has a turn soon").expect("comes whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_silent_peers_do_not_hide_what_one_holds() {
    let (owner, follower) = (Node::start(), Node::start());
    let realm = Realm::new("village");
    owner.own(&realm).await;
    follower.follow(&realm, FollowKind::Followed).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let puppet = Puppet::start();
        puppet.meet(&follower).await;
        silent.push(puppet);
    }
    owner.publish(&realm, "drum", b"boom").await;
    follower.meet(&owner).await;
    // Meeting somebody makes old answers void; each of these is asked for afresh.
    for at in 0..3_u8 {
        let digest = owner.keep(&[at; 5]).await;
        owner.admit(&realm.release("drum", &format!("2.0.{at}"), &[at; 5])).await;
        assert_eq!(follower.mesh.held_by_peers(&[digest]).await, [true]);
    }
}
