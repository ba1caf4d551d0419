//! Who publishes what, and when: everything in a world comes from its dice.

use crdt::session::Millis;
use crdt::statement::{File, Grant, Pattern, Receipt, Release, Root, Subject, Via};
use crdt::{Body, Checksums, Digest, PackageId, RealmId, SecretKey, Statement, Verified};

use crate::dice::Dice;

/// Every so-manieth publish is a receipt.
const RECEIPT_EVERY: u64 = 5;
/// Documents that receipts are about: fewer than receipts, so that most are replaced.
const DOCUMENTS: u64 = 6;

/// One publish to come.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) at: Millis,
    pub(crate) node: usize,
    pub(crate) statement: Verified,
}

/// A realm, its first statement, and the releases and receipts that its one key signs at one node or
/// another: a receipt may reach a node before or after the one that it replaces.
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
        let statement = match number % RECEIPT_EVERY {
            0 => receipt(realm, &key, number),
            _ => release(realm, &key, number),
        };
        all.push(Publish { at: dice.between(1, until), node: node(dice), statement });
    }
    (realm, all)
}

fn genesis(dice: &mut Dice, key: &SecretKey) -> Verified {
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&dice.bytes()[..16]);
    let grant = |role| Grant::to_key(role, Pattern("*".to_owned()), key.public());
    let grants = vec![grant("publish"), grant("mirror")];
    let root = Root::of_one(key.public(), nonce, "village", grants);
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

fn receipt(realm: RealmId, key: &SecretKey, number: u64) -> Verified {
    let subject = Subject {
        origin: Digest::of(b"upstream"),
        format: "npm".to_owned(),
        document: format!("song-{}", number / RECEIPT_EVERY % DOCUMENTS),
        variant: "full".to_owned(),
    };
    let body = Body::Receipt(Receipt {
        subject,
        blake3: Digest::of(&number.to_le_bytes()),
        size: 1000 + number,
        content_type: "application/json".to_owned(),
        etag: None,
        last_modified: None,
        fetched_at: number,
        via: Via::Tls,
        n: number,
        checksums: None,
    });
    let statement = Statement::new(realm, None, body).expect("a plain receipt");
    Verified::sign(statement, &[key])
}
