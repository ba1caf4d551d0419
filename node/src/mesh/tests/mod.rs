//! The mesh over real libp2p on the loopback: whole nodes with real stores, in one process, and
//! puppets that break the protocols by hand.
//!
//! Nothing here sleeps for luck: [`eventually`] asks again until a fact holds or a deadline says
//! that it never will.

mod automerge;
mod blobs;
mod budget;
mod decoders;
mod doors;
mod frugal;
mod gossip;
mod hostile;
mod introductions;
pub(crate) mod lists;
mod lying;
mod many;
mod meeting;
mod members;
mod mirror;
mod puppet;
mod readers;
mod receipts;
pub(crate) mod slow;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use crdt::statement::{
    File, Grant, Grantee, Meta, MetaBody, Pattern, Receipt, Release, Root, Subject, Via,
};
use crdt::{
    Body, Checksums, Digest, PackageId, RealmId, SecretKey, Statement, StatementId, Verified,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Config, Error, Mesh, Multiaddr, PairAnswer, PairRequest, Pairing, PeerId};
use crate::store::{FollowKind, Followed, Hashes, Store};

/// No fact of these tests takes as long, not even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A realm with its one key.
pub(super) struct Realm {
    key: SecretKey,
    pub(super) id: RealmId,
    pub(super) genesis: Verified,
}

impl Realm {
    pub(super) fn new(title: &str) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has randomness");
        let key = SecretKey::from_seed(&seed);
        let everything = Pattern::parse("*").expect("everything is a pattern");
        let grant = |role| Grant::to_key(role, everything.clone(), key.public());
        let grants = vec![grant("publish"), grant("mirror")];
        let root = Root::of_one(key.public(), [7; 16], title, grants);
        let genesis = Verified::sign(Statement::genesis(root).expect("a sound genesis"), &[&key]);
        Self { key, id: genesis.statement().realm(), genesis }
    }

    /// The next epoch, in which a peer is a member.
    pub(super) fn with_member(&self, peer: PeerId) -> Verified {
        let Body::Root(first) = self.genesis.statement().body() else {
            panic!("a genesis is a root")
        };
        let grant = Grant {
            format: "*".to_owned(),
            pattern: Pattern::parse("*").expect("everything is a pattern"),
            role: "member".to_owned(),
            to: Grantee::Peer(peer.to_bytes()),
            need: 1,
            exclusive: false,
        };
        let prev = Some(self.genesis.statement().id());
        let next = Root { epoch: 1, prev, grants: vec![grant], ..first.clone() };
        let next = Statement::new(self.id, None, Body::Root(next)).expect("a sound epoch");
        Verified::sign(next, &[&self.key])
    }

    /// A release of one generic file with these bytes.
    pub(super) fn release(&self, name: &str, version: &str, bytes: &[u8]) -> Verified {
        self.sign(name, version, bytes, None)
    }

    /// A release whose metadata make its statement too large for gossip.
    pub(super) fn large_release(&self, name: &str) -> Verified {
        let body = MetaBody::Inline(vec![7; 8 * 1024]);
        let meta = Meta { extractor: "generic".to_owned(), version: 1, body };
        self.sign(name, "2.0.0", b"large", Some(meta))
    }

    /// A receipt for a document, by the realm's one key.
    pub(super) fn receipt(&self, document: &str, n: u64) -> Verified {
        let subject = Subject {
            origin: Digest::of(b"upstream"),
            format: "generic".to_owned(),
            document: document.to_owned(),
            variant: String::new(),
        };
        let receipt = Receipt {
            subject,
            blake3: Digest::of(&n.to_le_bytes()),
            size: 8,
            content_type: "application/octet-stream".to_owned(),
            etag: None,
            last_modified: None,
            fetched_at: 0,
            via: Via::Tls,
            n,
            checksums: None,
        };
        let statement = Statement::new(self.id, None, Body::Receipt(receipt));
        Verified::sign(statement.expect("a sound receipt"), &[&self.key])
    }

    fn sign(&self, name: &str, version: &str, bytes: &[u8], meta: Option<Meta>) -> Verified {
        let file = File {
            name: "file.bin".to_owned(),
            size: bytes.len() as u64,
            blake3: Digest::of(bytes),
            checksums: Checksums { sha256: [1; 32], sha512: None, sha1: None, md5: None },
            meta,
        };
        let release = Release {
            version: version.to_owned(),
            written: version.to_owned(),
            files: vec![file],
            extras: None,
            claimed_time: 0,
        };
        let package = PackageId::new("generic", name);
        let statement = Statement::new(self.id, Some(package), Body::Release(release));
        Verified::sign(statement.expect("a sound release"), &[&self.key])
    }
}

/// A whole node but for its registry.
struct Node {
    home: TempDir,
    store: Store,
    mesh: Mesh,
    tasks: JoinSet<Result<(), Error>>,
}

fn nobody_joins() -> Pairing {
    Arc::new(|_, _| Box::pin(async { PairAnswer::Refused("no invite is out".to_owned()) }))
}

/// What somebody with an invite hands in.
fn request() -> PairRequest {
    PairRequest {
        invite: "0011".to_owned(),
        secret: [1; 32],
        role: "reader".to_owned(),
        publisher: SecretKey::from_seed(&[2; 32]).public(),
        node_key: SecretKey::from_seed(&[3; 32]).public(),
        name: "a test".to_owned(),
    }
}

fn loopback() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().expect("a sound address")
}

impl Node {
    fn start() -> Self {
        Self::with_pairing(nobody_joins())
    }

    fn with_pairing(pairing: Pairing) -> Self {
        let home = TempDir::new().expect("a folder for the test");
        let store = Store::open(home.path()).expect("a fresh store");
        Self::over(home, store, loopback(), pairing)
    }

    fn over(home: TempDir, store: Store, listen: Multiaddr, pairing: Pairing) -> Self {
        Self::with_keys(home, store, (listen, pairing), Vec::new())
    }

    fn with_keys(
        home: TempDir,
        store: Store,
        (listen, pairing): (Multiaddr, Pairing),
        keys: Vec<SecretKey>,
    ) -> Self {
        Self::listening(home, store, vec![listen], (pairing, keys))
    }

    fn listening(
        home: TempDir,
        store: Store,
        listen: Vec<Multiaddr>,
        (pairing, keys): (Pairing, Vec<SecretKey>),
    ) -> Self {
        let config = Self::config(home.path(), listen, keys);
        Self::with(config, home, store, pairing)
    }

    /// One that keeps strangers out.
    fn behind_doors(home: TempDir, store: Store, pairing: Pairing) -> Self {
        let config = Self::config(home.path(), vec![loopback()], Vec::new());
        Self::with(Config { members_only: true, ..config }, home, store, pairing)
    }

    fn config(home: &std::path::Path, listen: Vec<Multiaddr>, keys: Vec<SecretKey>) -> Config {
        Config {
            key_file: home.join("keys/peer"),
            listen,
            mdns: false,
            dial: Vec::new(),
            agent: "griot/test".to_owned(),
            keys: Arc::new(keys),
            introductions: true,
            members_only: false,
        }
    }

    fn with(config: Config, home: TempDir, store: Store, pairing: Pairing) -> Self {
        let (mesh, future) = Mesh::start(config, store.clone(), pairing).expect("starts");
        let mut tasks = JoinSet::new();
        tasks.spawn(future);
        Self { home, store, mesh, tasks }
    }

    /// The mesh goes without a word, as at a kill, and comes back on the same address.
    async fn restart(self) -> Self {
        let address = self.address().await;
        let Self { home, store, mut tasks, .. } = self;
        tasks.shutdown().await;
        let listen = address.into_iter().take(2).collect();
        Self::over(home, store, listen, nobody_joins())
    }

    async fn address(&self) -> Multiaddr {
        self.mesh.addresses().await.remove(0)
    }

    async fn meet(&self, other: &Self) {
        self.mesh.add_peer(other.address().await).await.expect("is remembered");
        eventually("the two are connected", async || {
            self.sees(other.mesh.local_peer()).await && other.sees(self.mesh.local_peer()).await
        })
        .await;
    }

    async fn sees(&self, peer: PeerId) -> bool {
        self.mesh.peers().await.iter().any(|one| one.id == peer.to_string())
    }

    async fn follow(&self, realm: &Realm, kind: FollowKind) {
        let followed =
            Followed { realm: realm.id, kind, claims: Vec::new(), order: 0, mirrors: Vec::new() };
        self.store.follow(followed).await.expect("follows");
    }

    /// A node that owns the realm has its genesis.
    async fn own(&self, realm: &Realm) {
        self.follow(realm, FollowKind::Own).await;
        self.admit(&realm.genesis).await;
    }

    async fn admit(&self, statement: &Verified) {
        self.store.admit(vec![statement.clone()], None).await.expect("is admitted");
    }

    async fn keep(&self, bytes: &[u8]) -> Digest {
        let mut writer = self.store.writer(Hashes::default(), 1 << 30).await.expect("room");
        writer.write(bytes::Bytes::copy_from_slice(bytes)).await.expect("room");
        let staged = writer.finish().await.expect("hashes");
        self.store.commit(staged).await.expect("is kept").digest
    }

    /// Publishes a release with its bytes.
    async fn publish(&self, realm: &Realm, name: &str, bytes: &[u8]) -> Verified {
        self.keep(bytes).await;
        let release = realm.release(name, "1.0.0", bytes);
        self.admit(&release).await;
        release
    }

    fn has(&self, id: StatementId) -> bool {
        self.store.statement(&id).expect("reads").is_some()
    }

    async fn gets(&self, statement: &Verified) {
        let id = statement.statement().id();
        eventually("the statement arrives", async || self.has(id)).await;
    }
}

/// Asks again until the fact holds.
#[track_caller]
fn eventually(what: &str, holds: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            assert!(Instant::now() < deadline, "{caller}: it never became true that {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Bytes without a pattern that a wrong offset could hide in.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
