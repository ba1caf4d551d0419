//! The set-up that the tests share: roots A, B, C with k = 2, a recovery key P, publishers m and n,
//! a stranger z, and the package `pypi:x`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::derive::{self, Content, Ground, PackageView, Pins, SlotState};
use crdt::realm::{self, Authority, Publishers, Realm, Revoked};
use crdt::statement::{
    Body, Counter, File, Grant, Grantee, IdList, Meta, MetaBody, Pattern, Release, Root,
    RouteSource, recovery_hash,
};
use crdt::{
    Checksums, Digest, PackageId, PublicKey, RealmId, SecretKey, Statement, StatementId, Verified,
};

pub(crate) const H1: u8 = 1;
pub(crate) const H2: u8 = 2;

pub(crate) struct World {
    pub(crate) a: SecretKey,
    pub(crate) b: SecretKey,
    pub(crate) c: SecretKey,
    pub(crate) d: SecretKey,
    pub(crate) p: SecretKey,
    pub(crate) m: SecretKey,
    pub(crate) n: SecretKey,
    pub(crate) z: SecretKey,
    pub(crate) realm: RealmId,
    pub(crate) genesis: Verified,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The set-up with a genesis that was changed before it was signed by all three roots.
    pub(crate) fn with(change: impl FnOnce(&mut Root)) -> Self {
        let [a, b, c, d, p, m, n, z] = [1, 2, 3, 4, 5, 6, 7, 8].map(key);
        let mut root = Root {
            epoch: 0,
            prev: None,
            nonce: [7; 16],
            title: "village".to_owned(),
            roots: vec![a.public(), b.public(), c.public()],
            k: 2,
            recovery: vec![recovery_hash(&p.public())],
            rk: 1,
            grants: vec![publish("*", &m), publish("*", &n)],
            cleared: vec![],
            seals: None,
        };
        change(&mut root);
        let genesis = Verified::sign(Statement::genesis(root).unwrap(), &[&a, &b, &c]);
        let realm = genesis.statement().realm();
        Self { a, b, c, d, p, m, n, z, realm, genesis }
    }

    /// The next epoch after `prev`, with one thing changed.
    pub(crate) fn successor(
        &self,
        prev: &Verified,
        keys: &[&SecretKey],
        change: impl FnOnce(&mut Root),
    ) -> Verified {
        let Body::Root(parent) = prev.statement().body() else { panic!("not a root") };
        let mut root = parent.clone();
        root.epoch += 1;
        root.prev = Some(prev.statement().id());
        change(&mut root);
        self.sign(None, Body::Root(root), keys)
    }

    pub(crate) fn sign(
        &self,
        package: Option<PackageId>,
        body: Body,
        keys: &[&SecretKey],
    ) -> Verified {
        Verified::sign(Statement::new(self.realm, package, body).unwrap(), keys)
    }

    pub(crate) fn say(&self, body: Body, keys: &[&SecretKey]) -> Verified {
        self.sign(Some(x()), body, keys)
    }

    /// A release of x with one file, `x.whl`.
    pub(crate) fn release(&self, version: &str, content: u8, keys: &[&SecretKey]) -> Verified {
        self.file(version, "x.whl", content, keys)
    }

    pub(crate) fn file(
        &self,
        version: &str,
        file: &str,
        content: u8,
        keys: &[&SecretKey],
    ) -> Verified {
        self.say(Body::Release(release(version, vec![self::file(file, content)])), keys)
    }

    pub(crate) fn withdraw(&self, of: &Verified, keys: &[&SecretKey]) -> Verified {
        self.say(Body::Withdraw { release: of.statement().id(), reason: String::new() }, keys)
    }

    pub(crate) fn yank(&self, of: &Verified, at: (u64, u64), keys: &[&SecretKey]) -> Verified {
        let (release, reason) = (of.statement().id(), "broken".to_owned());
        self.say(Body::Yank { release, counter: counter(at), reason }, keys)
    }

    pub(crate) fn unyank(&self, of: &Verified, at: (u64, u64), keys: &[&SecretKey]) -> Verified {
        let (release, reason) = (of.statement().id(), String::new());
        self.say(Body::Unyank { release, counter: counter(at), reason }, keys)
    }

    pub(crate) fn tag(
        &self,
        tag: &str,
        to: Option<&Verified>,
        at: (u64, u64),
        keys: &[&SecretKey],
    ) -> Verified {
        let release = to.map(|release| release.statement().id());
        self.say(Body::Tag { tag: tag.to_owned(), release, counter: counter(at) }, keys)
    }

    pub(crate) fn route(
        &self,
        pattern: &str,
        source: RouteSource,
        at: (u64, u64),
        keys: &[&SecretKey],
    ) -> Verified {
        let pattern = Pattern::parse(pattern).unwrap();
        let format = "pypi".to_owned();
        self.sign(None, Body::Route { format, pattern, source, counter: counter(at) }, keys)
    }

    /// The key's signatures count on nothing but `keep`.
    pub(crate) fn revoke(
        &self,
        of: &SecretKey,
        keep: &[&Verified],
        keys: &[&SecretKey],
    ) -> Verified {
        let keep = IdList::Inline(keep.iter().map(|one| one.statement().id()).collect());
        let reason = "lost".to_owned();
        self.sign(None, Body::Revoke { key: of.public(), keep, reason }, keys)
    }

    pub(crate) fn seal(&self, releases: &[&Verified], keys: &[&SecretKey]) -> Verified {
        let ids = releases.iter().map(|one| one.statement().id()).collect();
        self.sign(None, Body::Seal { releases: IdList::Inline(ids) }, keys)
    }

    pub(crate) fn authority(&self, roots: &[&Verified]) -> Authority {
        self.pinned_authority(roots, &[])
    }

    pub(crate) fn pinned_authority(&self, roots: &[&Verified], pin: &[StatementId]) -> Authority {
        realm::authority(self.realm, roots.iter().copied(), pin)
    }

    /// What x is under the genesis alone, without pins.
    pub(crate) fn view(&self, statements: &[&Verified]) -> PackageView {
        self.pinned_view(statements, &Pins::new())
    }

    pub(crate) fn pinned_view(&self, statements: &[&Verified], pins: &Pins) -> PackageView {
        self.view_under(&self.authority(&[&self.genesis]), statements, pins)
    }

    pub(crate) fn view_under(
        &self,
        authority: &Authority,
        statements: &[&Verified],
        pins: &Pins,
    ) -> PackageView {
        derive::package(&ground(authority), &x(), statements.iter().copied(), pins)
    }
}

/// What an authority alone says of x: no seal, no revocation, no other realm.
pub(crate) fn ground(authority: &Authority) -> Ground<'_> {
    Ground { authority, publishers: publishers(authority, &x()), firm: BTreeSet::new() }
}

pub(crate) fn publishers(authority: &Authority, package: &PackageId) -> Publishers {
    let (realm, authority) = (authority.realm, authority.clone());
    let alone = Realm { authority, revoked: Revoked::new() };
    realm::publishers(&[(realm, Arc::new(alone))].into(), &realm, package)
}

/// The keys that may publish a name, as an authority alone says.
pub(crate) fn may(authority: &Authority, format: &str, name: &str) -> BTreeSet<PublicKey> {
    publishers(authority, &PackageId::new(format, name)).keys.into_keys().collect()
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn x() -> PackageId {
    PackageId::new("pypi", "x")
}

pub(crate) fn counter((epoch, n): (u64, u64)) -> Counter {
    Counter { epoch, n }
}

pub(crate) fn publish(pattern: &str, to: &SecretKey) -> Grant {
    grant("publish", pattern, Grantee::Key(to.public()))
}

pub(crate) fn grant(role: &str, pattern: &str, to: Grantee) -> Grant {
    Grant {
        format: "*".to_owned(),
        pattern: Pattern::parse(pattern).unwrap(),
        role: role.to_owned(),
        to,
        need: 1,
        exclusive: false,
    }
}

pub(crate) fn content(byte: u8) -> Content {
    Content {
        size: u64::from(byte),
        blake3: Digest::of(&[byte]),
        checksums: Checksums { sha256: [byte; 32], sha512: None, sha1: None, md5: None },
    }
}

pub(crate) fn file(name: &str, byte: u8) -> File {
    let Content { size, blake3, checksums } = content(byte);
    File { name: name.to_owned(), size, blake3, checksums, meta: None }
}

pub(crate) fn meta(version: u32, bytes: &[u8]) -> Meta {
    Meta { extractor: "pypi".to_owned(), version, body: MetaBody::Inline(bytes.to_vec()) }
}

pub(crate) fn release(version: &str, files: Vec<File>) -> Release {
    Release {
        version: version.to_owned(),
        written: version.to_owned(),
        files,
        extras: None,
        claimed_time: 0,
    }
}

pub(crate) fn pin(version: &str, byte: u8) -> Pins {
    Pins::from([((version.to_owned(), "x.whl".to_owned()), content(byte))])
}

/// State of a version's `x.whl` and the content that is served, if any.
pub(crate) fn wheel(view: &PackageView, version: &str) -> (SlotState, Option<Content>) {
    let file = &view.versions[version].files["x.whl"];
    (file.state, file.serves.clone())
}

pub(crate) fn keys(of: &[&SecretKey]) -> BTreeSet<PublicKey> {
    of.iter().map(|key| key.public()).collect()
}

/// A payload of a type nobody knows: v, realm, and the given further entries as raw CBOR.
pub(crate) fn unknown(entries: u8, more: &[u8]) -> Vec<u8> {
    let realm = [&[0x58, 32][..], &[9; 32]].concat();
    [&[0xa0 | (2 + entries), 0, 1, 1][..], &realm, more].concat()
}
