//! Who publishes what, and when: everything in a world comes from its dice.

use crdt::session::Millis;
use crdt::statement::{File, Grant, Pattern, Release, Root};
use crdt::{Body, Checksums, Digest, PackageId, RealmId, SecretKey, Statement, Verified};

use crate::dice::Dice;

/// One publish to come.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) at: Millis,
    pub(crate) node: usize,
    pub(crate) statement: Verified,
}

/// A realm, its first statement, and the releases that its publisher signs at one node or another.
pub(crate) fn publishes(
    dice: &mut Dice,
    nodes: usize,
    count: u64,
    until: Millis,
) -> (RealmId, Vec<Publish>) {
    let key = SecretKey::from_seed(&dice.bytes());
    let genesis = genesis(dice, &key);
    let realm = genesis.statement().realm();
    let node = |dice: &mut Dice| dice.between(0, nodes as u64) as usize;
    let mut all = vec![Publish { at: 0, node: node(dice), statement: genesis }];
    for number in 0..count {
        let statement = release(realm, &key, number);
        all.push(Publish { at: dice.between(1, until), node: node(dice), statement });
    }
    (realm, all)
}

fn genesis(dice: &mut Dice, key: &SecretKey) -> Verified {
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&dice.bytes()[..16]);
    let grant = Grant::to_key("publish", Pattern("*".to_owned()), key.public());
    let root = Root::of_one(key.public(), nonce, "village", vec![grant]);
    let statement = Statement::genesis(root).expect("a genesis of one key is well-formed");
    Verified::sign(statement, &[key])
}

fn release(realm: RealmId, key: &SecretKey, number: u64) -> Verified {
    let version = format!("1.0.{number}");
    let digest = Digest::of(version.as_bytes());
    let checksums = Checksums { sha256: *digest.as_bytes(), sha512: None, sha1: None, md5: None };
    let file = File {
        name: format!("song-{version}.tgz"),
        size: 1000 + number,
        blake3: digest,
        checksums,
        meta: None,
    };
    let body = Body::Release(Release {
        version: version.clone(),
        written: version,
        files: vec![file],
        extras: None,
        claimed_time: number,
    });
    let package = PackageId::new("npm", format!("song-{}", number % 7));
    let statement = Statement::new(realm, Some(package), body).expect("a plain release");
    Verified::sign(statement, &[key])
}
