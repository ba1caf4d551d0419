//! A small realm with a little of everything in it, made once: hostile bytes are judged beside it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crdt::statement::{
    Beat, BlobRef, Counter, File, Grant, Grantee, IdList, Meta, MetaBody, Pattern, Receipt,
    Release, Root, RouteSource, Subject, Via, recovery_hash,
};
use crdt::{
    Body, Checksums, Digest, Envelope, PackageId, RealmId, SecretKey, Signature, Statement,
    StatementId, Verified, origin,
};

/// The types that have a meaning, or will have one, and one that nobody knows.
pub const KINDS: [&str; 12] = [
    "root", "release", "withdraw", "yank", "unyank", "tag", "route", "revoke", "seal", "receipt",
    "beat", "later",
];

/// The realm, its keys and what it said.
#[derive(Debug)]
pub struct World {
    /// Two roots, a recovery key, two publishers, a stranger.
    pub keys: [SecretKey; 6],
    /// Which realm.
    pub realm: RealmId,
    /// The genesis first, then the rest in an order in which a realm grows.
    pub statements: Vec<Verified>,
    /// Another realm, which the second root alone may read: its genesis and a release.
    pub quiet: Vec<Verified>,
}

/// The one that all inputs meet.
pub static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// `npm:x`.
#[must_use]
pub fn package() -> PackageId {
    PackageId::new("npm", "x")
}

/// A file whose every digest follows from one byte.
#[must_use]
pub fn file(name: &str, byte: u8) -> File {
    File {
        name: name.to_owned(),
        size: u64::from(byte),
        blake3: Digest::of(&[byte]),
        checksums: Checksums {
            sha256: [byte; 32],
            sha512: Some([byte; 64]),
            sha1: Some([byte; 20]),
            md5: Some([byte; 16]),
        },
        meta: Some(Meta {
            extractor: "npm".to_owned(),
            version: 1,
            body: MetaBody::Inline(vec![byte; 3]),
        }),
    }
}

/// A release of these files.
#[must_use]
pub fn release(version: &str, files: Vec<File>) -> Body {
    Body::Release(Release {
        version: version.to_owned(),
        written: format!("v{version}"),
        files,
        extras: Some(BlobRef { digest: Digest::of(b"readme"), size: 6 }),
        claimed_time: 1_700_000_000,
    })
}

impl World {
    fn new() -> Self {
        let keys = [1, 2, 3, 4, 5, 6].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let [a, b, p, m, n, _] = &keys;
        let everything = Pattern::parse("*").expect("a pattern");
        let publishes = |key: &SecretKey, need: u32, pattern: &str| Grant {
            need,
            ..Grant::to_key("publish", Pattern::parse(pattern).expect("a pattern"), key.public())
        };
        let root = Root {
            epoch: 0,
            prev: None,
            nonce: [7; 16],
            title: "village".to_owned(),
            roots: vec![a.public(), b.public()],
            k: 2,
            recovery: vec![recovery_hash(&p.public())],
            rk: 1,
            grants: vec![
                publishes(m, 1, "*"),
                publishes(n, 2, "@acme/*"),
                Grant::to_key("mirror", everything, n.public()),
            ],
            cleared: Vec::new(),
            seals: None,
        };
        let genesis = Statement::genesis(root).expect("a sound genesis");
        let genesis = Verified::sign(genesis, &[a, b]);
        let realm = genesis.statement().realm();
        let quiet = quiet(&keys);
        let mut world = Self { keys, realm, statements: vec![genesis], quiet };
        world.grow();
        world
    }

    /// Signs something about a package of the realm, or about the realm.
    #[must_use]
    pub fn sign(&self, package: Option<PackageId>, body: Body, by: &[usize]) -> Verified {
        let statement = Statement::new(self.realm, package, body).expect("within the limits");
        let keys: Vec<&SecretKey> = by.iter().map(|place| &self.keys[*place]).collect();
        Verified::sign(statement, &keys)
    }

    fn grow(&mut self) {
        self.grow_package();
        self.grow_authority();
        self.grow_rulings();
        self.grow_chain();
    }

    /// A second realm, a team's, to which the next epoch gives `@team/*`; it gives that on to the
    /// first, so that there is a circle.
    fn grow_chain(&mut self) {
        let (n, z) = (self.keys[4].public(), self.keys[5].public());
        let pattern = |text| Pattern::parse(text).expect("a pattern");
        let to_realm = |realm| Grant {
            to: Grantee::Realm(realm),
            exclusive: true,
            ..Grant::to_key("publish", pattern("@team/*"), n)
        };
        let grants = vec![Grant::to_key("publish", pattern("@team/a*"), z), to_realm(self.realm)];
        let team = Statement::genesis(Root::of_one(z, [8; 16], "team", grants));
        let team = Verified::sign(team.expect("a sound genesis"), &[&self.keys[5]]);
        let Body::Root(genesis) = self.statements[0].statement().body().clone() else { return };
        let mut next = Root { epoch: 1, prev: Some(StatementId(self.realm.0)), ..genesis };
        next.grants.push(to_realm(team.statement().realm()));
        next.grants.push(Grant::to_key("beat", pattern("*"), n));
        next.grants.push(Grant {
            to: Grantee::Peer(vec![1, 2, 3]),
            ..Grant::to_key("member", pattern("*"), n)
        });
        next.cleared = vec![self.statements[1].statement().id()];
        next.seals = Some(vec![self.statements[2].statement().id()]);
        let next = self.sign(None, Body::Root(next), &[0, 1]);
        self.statements.extend([next, team]);
    }

    fn grow_rulings(&mut self) {
        let [one, two] = [1, 2].map(|place| self.statements[place].statement().id());
        let mut keep = vec![one, two];
        keep.sort_unstable();
        let (key, reason) = (self.keys[4].public(), "lost".to_owned());
        let blob = IdList::Blob { digest: Digest::of(b"list"), count: 501 };
        let beat = Beat {
            head: StatementId(self.realm.0),
            counter: Counter { epoch: 0, n: 7 },
            digest: Beat::digest_of(&keep),
            count: 2,
            claimed_time: 1_700_000_000,
        };
        let says = [
            Body::Revoke { key, keep: IdList::Inline(keep), reason: reason.clone() },
            Body::Revoke { key, keep: blob.clone(), reason },
            Body::Seal { releases: IdList::Inline(vec![one]) },
            Body::Seal { releases: blob },
            Body::Beat(beat),
        ];
        for (body, by) in says.into_iter().zip([&[4][..], &[0], &[0, 1], &[0, 1], &[4]]) {
            let said = self.sign(None, body, by);
            self.statements.push(said);
        }
    }

    fn grow_package(&mut self) {
        let x = || Some(package());
        let one = self.sign(x(), release("1.0.0", vec![file("x-1.0.0.tgz", 1)]), &[3]);
        let two =
            self.sign(x(), release("1.1.0", vec![file("a.tgz", 2), file("b.tgz", 3)]), &[3, 4]);
        let id = one.statement().id();
        let counter = |n| Counter { epoch: 0, n };
        let says = [
            Body::Withdraw { release: two.statement().id(), reason: "broken".to_owned() },
            Body::Yank { release: id, counter: counter(1), reason: "bad".to_owned() },
            Body::Unyank { release: id, counter: counter(2), reason: String::new() },
            Body::Tag { tag: "latest".to_owned(), release: Some(id), counter: counter(1) },
            Body::Tag { tag: "next".to_owned(), release: None, counter: counter(1) },
        ];
        self.statements.extend([one, two]);
        for body in says {
            let said = self.sign(x(), body, &[3]);
            self.statements.push(said);
        }
    }

    fn grow_authority(&mut self) {
        let url = "https://packages.test/".to_owned();
        let upstream =
            RouteSource::Upstream { origin: origin::id(&url), format: "npm".into(), url };
        let routes =
            [("x*", upstream), ("y", RouteSource::Deny), ("z", RouteSource::Realm(self.realm))];
        for (n, (pattern, source)) in routes.into_iter().enumerate() {
            let pattern = Pattern::parse(pattern).expect("a pattern");
            let counter = Counter { epoch: 0, n: n as u64 };
            let route = Body::Route { format: "npm".to_owned(), pattern, source, counter };
            let route = self.sign(None, route, &[0, 1]);
            self.statements.push(route);
        }
        for n in [1, 2] {
            let receipt = self.sign(None, Body::Receipt(receipt(n)), &[4]);
            self.statements.push(receipt);
        }
    }

    /// A statement as if all six keys had signed it: what a thief of all of them could bring.
    #[must_use]
    pub fn signed_by_all(&self, statement: Statement) -> Verified {
        let signatures: BTreeMap<_, _> =
            self.keys.iter().map(|key| (key.public(), Signature([0; 64]))).collect();
        Verified::from_admitted(Envelope { statement, signatures })
    }
}

fn quiet([a, b, ..]: &[SecretKey; 6]) -> Vec<Verified> {
    let everything = Pattern::parse("*").expect("a pattern");
    let grants = vec![
        Grant::to_key("publish", everything.clone(), a.public()),
        Grant::to_key("read", everything, b.public()),
    ];
    let root = Statement::genesis(Root::of_one(a.public(), [9; 16], "quiet", grants));
    let genesis = Verified::sign(root.expect("a sound genesis"), &[a]);
    let realm = genesis.statement().realm();
    let body = release("1.0.0", vec![file("x-1.0.0.tgz", 1)]);
    let said = Statement::new(realm, Some(package()), body).expect("within the limits");
    vec![genesis, Verified::sign(said, &[a])]
}

fn receipt(n: u64) -> Receipt {
    Receipt {
        subject: Subject {
            origin: Digest::of(b"origin"),
            format: "npm".to_owned(),
            document: "x".to_owned(),
            variant: "full".to_owned(),
        },
        blake3: Digest::of(&n.to_le_bytes()),
        size: 1000,
        content_type: "application/json".to_owned(),
        etag: Some("W/\"abc\"".to_owned()),
        last_modified: Some("Sat, 21 Nov 2026 10:00:00 GMT".to_owned()),
        fetched_at: 1_700_000_000,
        via: if n == 1 { Via::Tls } else { Via::Signed },
        n,
        checksums: (n == 2).then(|| file("x", 1).checksums),
    }
}
