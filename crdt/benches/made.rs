//! Statements that look like those of a registry: a realm of one key, its releases.
//!
//! A release has one file with three checksums and the meta that npm would extract from it:
//! dependencies, licence, a line of description. All is drawn from numbers, so that every run has
//! the same. Signatures are true where they are measured; where a million are only to lie there,
//! their bytes are noise, which compresses as badly.

use std::collections::BTreeMap;

use crdt::statement::{File, Grant, Meta, MetaBody, Pattern, Release, Root};
use crdt::{
    Body, Checksums, Envelope, PackageId, PublicKey, RealmId, SecretKey, Signature, Statement,
    Verified,
};

/// Releases of a package, unless something else is said.
pub(crate) const RELEASES: u64 = 5;

/// A realm with its one key.
pub(crate) struct Realm {
    pub(crate) id: RealmId,
    pub(crate) key: SecretKey,
    pub(crate) genesis: Verified,
    public: PublicKey,
}

impl Realm {
    /// The realm of this number.
    pub(crate) fn new(number: u64) -> Self {
        let key = SecretKey::from_seed(&noise(&[number, 0]));
        let public = key.public();
        let nonce = noise(&[number, 1]);
        let root = Root::of_one(public, nonce, "a village", vec![publisher("*", public)]);
        let genesis = Statement::genesis(root).expect("a genesis of one key is well-formed");
        let genesis = Verified::sign(genesis, &[&key]);
        Self { id: genesis.statement().realm(), key, genesis, public }
    }

    /// A release, not signed.
    pub(crate) fn statement(&self, package: u64, number: u64) -> Statement {
        self.statement_of("npm", package, number)
    }

    fn statement_of(&self, format: &str, package: u64, number: u64) -> Statement {
        let name = PackageId::new(format, name(package));
        let body = Body::Release(release(&name.name, package, number));
        Statement::new(self.id, Some(name), body).expect("a made-up release is well-formed")
    }

    /// A release, signed.
    pub(crate) fn release(&self, package: u64, number: u64) -> Verified {
        Verified::sign(self.statement(package, number), &[&self.key])
    }

    /// A release of another format, signed.
    pub(crate) fn release_of(&self, format: &str, package: u64, number: u64) -> Verified {
        Verified::sign(self.statement_of(format, package, number), &[&self.key])
    }

    /// A release under a signature that is noise: nobody verifies it.
    pub(crate) fn filler(&self, package: u64, number: u64) -> Verified {
        self.filler_by(self.public, package, number)
    }

    /// The same under the name of another key.
    pub(crate) fn filler_by(&self, key: PublicKey, package: u64, number: u64) -> Verified {
        let statement = self.statement(package, number);
        let signature = Signature(noise(&[package, number, 7]));
        let signatures = BTreeMap::from([(key, signature)]);
        Verified::from_admitted(Envelope { statement, signatures })
    }
}

/// The grant that lets a key publish what a pattern covers.
fn publisher(pattern: &str, key: PublicKey) -> Grant {
    Grant::to_key("publish", Pattern(pattern.to_owned()), key)
}

/// The name of a package.
pub(crate) fn name(package: u64) -> String {
    const WORDS: [&str; 8] = ["left", "path", "event", "stream", "color", "date", "fast", "deep"];
    const ENDS: [&str; 8] = ["pad", "match", "bus", "map", "log", "merge", "diff", "equal"];
    let word = |list: [&'static str; 8], shift: u32| list[(package >> shift) as usize % 8];
    format!("{}-{}-{package}", word(WORDS, 0), word(ENDS, 3))
}

/// The name of a package.
pub(crate) fn package(number: u64) -> PackageId {
    PackageId::new("npm", name(number))
}

fn release(name: &str, package: u64, number: u64) -> Release {
    let version = format!("{}.{}.{}", number / 50, number / 5 % 10, number % 5);
    let meta = meta(name, &version, package);
    Release {
        files: vec![File {
            name: format!("{name}-{version}.tgz"),
            size: 10_000 + package * 7 % 90_000,
            blake3: crdt::Digest::from_bytes(noise(&[package, number, 2])),
            checksums: Checksums {
                sha256: noise(&[package, number, 3]),
                sha512: Some(noise(&[package, number, 4])),
                sha1: Some(noise(&[package, number, 5])),
                md5: None,
            },
            meta: Some(Meta { extractor: "npm".to_owned(), version: 1, body: meta }),
        }],
        extras: None,
        claimed_time: 1_700_000_000 + package * 60 + number * 86_400,
        written: version.clone(),
        version,
    }
}

/// What a format would extract.
fn meta(own: &str, version: &str, package: u64) -> MetaBody {
    let other = |step: u64| name(package.wrapping_mul(31).wrapping_add(step * 977) % 100_000);
    let text = serde_json::json!({
        "name": own,
        "version": version,
        "description": format!("Does what {} and {} do, and less.", other(1), other(2)),
        "license": "MIT",
        "dependencies": {
            other(1): "^1.2.0",
            other(2): "~0.4.1",
            other(3): "^2.0.0",
        },
    });
    MetaBody::Inline(text.to_string().into_bytes())
}

/// Bytes that look drawn.
pub(crate) fn noise<const N: usize>(seed: &[u64]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new();
    for number in seed {
        hasher.update(&number.to_le_bytes());
    }
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}
