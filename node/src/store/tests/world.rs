//! Realms with keys, for tests.

use crdt::statement::{BlobRef, File, Grant, Meta, MetaBody, Pattern, Release, Root};
use crdt::statement::{Counter, RouteSource};
use crdt::{
    Body, Checksums, Digest, PackageId, PublicKey, RealmId, SecretKey, Statement, StatementId,
    Verified,
};

use super::super::{FollowKind, Followed, Store};

/// A realm with one root key and one publisher of everything.
pub(super) struct Realm {
    pub(super) id: RealmId,
    pub(super) root: SecretKey,
    pub(super) publisher: SecretKey,
    pub(super) genesis: Verified,
    pub(super) content: Root,
}

pub(super) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

pub(super) fn grant(to: PublicKey) -> Grant {
    Grant::to_key("publish", Pattern::parse("*").unwrap(), to)
}

pub(super) fn package(name: &str) -> PackageId {
    PackageId::new("npm", name)
}

impl Realm {
    pub(super) fn new(n: u8) -> Self {
        let (root, publisher) = (key(n), key(n + 100));
        let content = Root::of_one(
            root.public(),
            [n; 16],
            &format!("realm {n}"),
            vec![grant(publisher.public())],
        );
        let genesis = Statement::genesis(content.clone()).unwrap();
        let genesis = Verified::sign(genesis, &[&root]);
        Self { id: genesis.statement().realm(), root, publisher, genesis, content }
    }

    /// A successor of the genesis.
    pub(super) fn next(&self, change: impl FnOnce(&mut Root)) -> Statement {
        let mut next = self.content.clone();
        next.epoch = 1;
        next.prev = Some(self.genesis.statement().id());
        change(&mut next);
        Statement::new(self.id, None, Body::Root(next)).unwrap()
    }

    pub(super) fn sign(&self, statement: Statement) -> Verified {
        Verified::sign(statement, &[&self.publisher])
    }

    pub(super) fn release(&self, name: &str, version: &str, bytes: &[u8]) -> Statement {
        let checksums = Checksums {
            sha256: *Digest::of(bytes).as_bytes(),
            sha512: None,
            sha1: None,
            md5: None,
        };
        let meta = Meta {
            extractor: "npm".into(),
            version: 1,
            body: MetaBody::Inline(format!("{name} says hello").into_bytes()),
        };
        let file = File {
            name: format!("{name}-{version}.tgz"),
            size: bytes.len() as u64,
            blake3: Digest::of(bytes),
            checksums,
            meta: Some(meta),
        };
        let release = Release {
            version: version.into(),
            written: version.into(),
            files: vec![file],
            extras: Some(BlobRef { digest: Digest::of(b"readme"), size: 6 }),
            claimed_time: 1,
        };
        Statement::new(self.id, Some(package(name)), Body::Release(release)).unwrap()
    }

    pub(super) fn tag(&self, name: &str, tag: &str, release: StatementId, n: u64) -> Statement {
        let counter = Counter { epoch: 0, n };
        let body = Body::Tag { tag: tag.into(), release: Some(release), counter };
        Statement::new(self.id, Some(package(name)), body).unwrap()
    }

    pub(super) fn withdraw(&self, name: &str, release: StatementId) -> Statement {
        let body = Body::Withdraw { release, reason: "wrong".into() };
        Statement::new(self.id, Some(package(name)), body).unwrap()
    }

    pub(super) fn route(&self, pattern: &str) -> Statement {
        let body = Body::Route {
            format: "npm".into(),
            pattern: Pattern::parse(pattern).unwrap(),
            source: RouteSource::Realm(self.id),
            counter: Counter { epoch: 0, n: 1 },
        };
        Statement::new(self.id, None, body).unwrap()
    }

    pub(super) fn followed(&self, kind: FollowKind) -> Followed {
        Followed { realm: self.id, kind, claims: Vec::new(), order: 0, mirrors: Vec::new() }
    }

    /// A store that follows the realm and holds its genesis.
    pub(super) async fn store(&self, home: &std::path::Path) -> Store {
        self.held_by(Store::open_with(home, describe).unwrap()).await
    }

    /// The same of a store that is open already.
    pub(super) async fn held_by(&self, store: Store) -> Store {
        store.follow(self.followed(FollowKind::Own)).await.unwrap();
        store.admit(vec![self.genesis.clone()], None).await.unwrap();
        store
    }
}

pub(super) fn describe(format: &str, meta: &[u8]) -> String {
    format!("{format}: {}", String::from_utf8_lossy(meta))
}
