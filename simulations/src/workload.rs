//! Who publishes what, and when: everything in a world comes from its dice.
//!
//! A realm has one root key that also publishes, and a guest who may publish. Beside releases it
//! signs receipts (each replaces an earlier one about the same document), tags, yanks, revocations,
//! seals, and what a careless or hostile holder of a key signs: two contents for one slot, two
//! successors of one root.

use std::collections::BTreeMap;
use std::ops::Range;

use crdt::session::Millis;
use crdt::statement::{
    Counter, File, Grant, IdList, Meta, MetaBody, Pattern, Receipt, Release, Root, Subject, Via,
};
use crdt::{
    Body, Checksums, Digest, PackageId, PublicKey, RealmId, SecretKey, Statement, StatementId,
    Verified,
};

use crate::dice::Dice;
use crate::world::World;

/// Documents that receipts are about: fewer than receipts, so that most are replaced.
const DOCUMENTS: u64 = 6;
/// Packages that releases are of.
const PACKAGES: u64 = 7;
/// Bytes of metadata in a release of full length.
const META_BYTES: usize = 600;

/// A realm, the key that is all its authority, and a guest's.
#[derive(Debug)]
pub(crate) struct Realm {
    key: SecretKey,
    guest: SecretKey,
    pub(crate) genesis: Verified,
}

/// What a release says beside its package.
#[derive(Debug, Clone)]
pub(crate) struct Song {
    pub(crate) version: String,
    /// What its one file has in it.
    pub(crate) content: String,
    /// Seconds since 1970, by its publisher's clock.
    pub(crate) claimed: u64,
    /// With all checksums and metadata, as most are.
    pub(crate) in_full: bool,
}

impl Realm {
    /// A realm whose one root is its publisher and mirror; a guest may publish, too.
    pub(crate) fn found(dice: &mut Dice, title: &str) -> Self {
        let key = SecretKey::from_seed(&dice.bytes());
        let guest = SecretKey::from_seed(&dice.bytes());
        let root = root(dice, &key, title, &[guest.public()]);
        let statement = Statement::genesis(root).expect("a genesis of one key is well-formed");
        Self { genesis: Verified::sign(statement, &[&key]), key, guest }
    }

    pub(crate) fn id(&self) -> RealmId {
        self.genesis.statement().realm()
    }

    pub(crate) const fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(crate) const fn guest(&self) -> &SecretKey {
        &self.guest
    }

    /// The guest's key counts no more, but for what it signed of these.
    pub(crate) fn revocation(&self, keep: StatementId) -> Verified {
        let key = self.guest.public();
        let (keep, reason) = (IdList::Inline(vec![keep]), "gone".to_owned());
        self.sign(&self.key, None, Body::Revoke { key, keep, reason })
    }

    /// The root vouches for a release.
    pub(crate) fn seal(&self, release: StatementId) -> Verified {
        self.sign(&self.key, None, Body::Seal { releases: IdList::Inline(vec![release]) })
    }

    /// A second epoch under the same key.
    pub(crate) fn successor(&self, dice: &mut Dice, title: &str) -> Verified {
        let mut next = root(dice, &self.key, title, &[]);
        (next.epoch, next.prev) = (1, Some(self.genesis.statement().id()));
        self.sign(&self.key, None, Body::Root(next))
    }

    /// Signs a release of `song-<package>` with any key.
    pub(crate) fn release(&self, key: &SecretKey, package: u64, song: &Song) -> Verified {
        let bytes = format!("{package} {} {}", song.version, song.content);
        let digest = Digest::of(bytes.as_bytes());
        let long = |label: &str| Digest::of(format!("{label} {bytes}").as_bytes());
        let checksums = Checksums {
            sha256: *digest.as_bytes(),
            sha512: song.in_full.then(|| {
                let mut sum = [0; 64];
                sum[..32].copy_from_slice(long("low").as_bytes());
                sum[32..].copy_from_slice(long("high").as_bytes());
                sum
            }),
            sha1: None,
            md5: None,
        };
        let file = File {
            name: format!("song-{package}-{}.tgz", song.version),
            size: 1000 + bytes.len() as u64,
            blake3: digest,
            checksums,
            meta: song.in_full.then(|| meta(&bytes)),
        };
        let body = Body::Release(Release {
            version: song.version.clone(),
            written: song.version.clone(),
            files: vec![file],
            extras: None,
            claimed_time: song.claimed,
        });
        self.sign(key, Some(package), body)
    }

    fn receipt(&self, number: u64, claimed: u64) -> Verified {
        let subject = Subject {
            origin: Digest::of(b"upstream"),
            format: "npm".to_owned(),
            document: format!("song-{}", number % DOCUMENTS),
            variant: "full".to_owned(),
        };
        let body = Body::Receipt(Receipt {
            subject,
            blake3: Digest::of(&number.to_le_bytes()),
            size: 1000 + number,
            content_type: "application/json".to_owned(),
            etag: None,
            last_modified: None,
            fetched_at: claimed,
            via: Via::Tls,
            n: number,
            checksums: None,
        });
        self.sign(&self.key, None, body)
    }

    fn tag(&self, package: u64, release: StatementId, n: u64) -> Verified {
        let counter = Counter { epoch: 0, n };
        let body = Body::Tag { tag: "latest".to_owned(), release: Some(release), counter };
        self.sign(&self.key, Some(package), body)
    }

    fn yank(&self, package: u64, release: StatementId, n: u64) -> Verified {
        let counter = Counter { epoch: 0, n };
        let reason = "out of tune".to_owned();
        self.sign(&self.key, Some(package), Body::Yank { release, counter, reason })
    }

    pub(crate) fn sign(&self, key: &SecretKey, package: Option<u64>, body: Body) -> Verified {
        let package = package.map(package_id);
        let statement =
            Statement::new(self.id(), package, body).expect("what a world signs is well-formed");
        Verified::sign(statement, &[key])
    }
}

/// The so-manieth package.
pub(crate) fn package_id(number: u64) -> PackageId {
    PackageId::new("npm", format!("song-{number}"))
}

fn root(dice: &mut Dice, key: &SecretKey, title: &str, others: &[PublicKey]) -> Root {
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&dice.bytes()[..16]);
    let grant = |role, key| Grant::to_key(role, Pattern("*".to_owned()), key);
    let mut grants = vec![grant("publish", key.public()), grant("mirror", key.public())];
    grants.extend(others.iter().map(|other| grant("publish", *other)));
    Root::of_one(key.public(), nonce, title, grants)
}

/// Metadata as long as most, and as hard to compress: names repeat, versions hardly.
fn meta(bytes: &str) -> Meta {
    let mut text = String::from("{\"dependencies\":{");
    let mut place = 0;
    while text.len() < META_BYTES {
        let sum = Digest::of(format!("{place} {bytes}").as_bytes()).to_hex();
        let (name, version) = (&sum[..6], u16::from_str_radix(&sum[6..9], 16).unwrap_or_default());
        text.push_str(&format!("\"lib-{name}\":\"^{}.{}.0\",", version % 9, version / 9));
        place += 1;
    }
    text.push_str("\"end\":\"1\"}}");
    Meta { extractor: "npm".to_owned(), version: 1, body: MetaBody::Inline(text.into_bytes()) }
}

/// What a village publishes in one stretch of time.
#[derive(Debug, Clone)]
pub(crate) struct Season {
    /// How much of it.
    pub(crate) count: u64,
    /// When.
    pub(crate) during: Range<Millis>,
    /// The nodes that publish, one or another: a receipt may reach a node before or after the one
    /// that it replaces.
    pub(crate) nodes: Range<usize>,
    /// The first version's number: two seasons do not release the same.
    pub(crate) first: u64,
    /// Releases as long as most are, and nothing else.
    pub(crate) in_full: bool,
}

/// Statements that one node publishes at once, as whoever releases a workspace does.
const AT_ONCE: u64 = 3;

/// Plans a season: of ten statements seven releases, two receipts and a tag or a yank.
pub(crate) fn season(world: &mut World, realm: &Realm, season: &Season) {
    let mut last: BTreeMap<u64, StatementId> = BTreeMap::new();
    let (mut node, mut at) = (season.nodes.start, season.during.start);
    for number in season.first..season.first + season.count {
        if (number - season.first).is_multiple_of(AT_ONCE) {
            node = world.honest_of(&season.nodes);
            at = world.dice().between(season.during.start, season.during.end);
        }
        let (package, claimed) = (number % PACKAGES, world.peers[node].clock.seconds(at));
        let earlier = last.get(&package).copied();
        let statement = match (number % 10, earlier) {
            (1 | 6, _) if !season.in_full => realm.receipt(number / 5, claimed),
            (4, Some(release)) if !season.in_full => realm.tag(package, release, number),
            (9, Some(release)) if !season.in_full => realm.yank(package, release, number),
            _ => {
                let (version, in_full) = (format!("1.0.{number}"), season.in_full);
                let song = Song { version, content: "song".to_owned(), claimed, in_full };
                let release = realm.release(realm.key(), package, &song);
                last.insert(package, release.statement().id());
                release
            }
        };
        world.publish(at, node, statement);
    }
}
