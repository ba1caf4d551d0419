//! Beats at rest, and the digest that they are compared with.
//!
//! A beat says how many statements of a realm its author counts, and their digest. Counted are the
//! statements of the realm's authority and of its formats that some key known to the realm signed:
//! what strangers sign is kept within local limits, so no two nodes would agree about it.
//!
//! Source: trust.md sections 4 and 9.

use std::collections::BTreeSet;

use crdt::statement::Beat;
use crdt::{Body, Collection, Digest, PublicKey, RealmId, StatementId};

use super::receipts::newest;
use super::statements::{IDS, load_statement};
use super::tables::{self, Tables};
use super::{Error, Store, collections};

/// The least and the greatest key of a range over authors.
const AUTHORS: ([u8; 33], [u8; 33]) = ([0; 33], [0xff; 33]);

/// What a node counts of a realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// [`Beat::digest_of`] the statements.
    pub digest: Digest,
    /// Their number.
    pub count: u64,
}

impl Store {
    /// The newest beat of each author, whatever role he has, by author.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn beats(&self, realm: &RealmId) -> Result<Vec<(PublicKey, Beat)>, Error> {
        self.reading(|txn| {
            let mut found = Vec::new();
            for (author, id) in newest(txn, realm, &Beat::subject(realm))? {
                match load_statement(txn, &id)?.map(|statement| statement.body().clone()) {
                    Some(Body::Beat(beat)) => found.push((author, beat)),
                    _ => return Err(Error::unreadable("beat", "it is not there")),
                }
            }
            Ok(found)
        })
    }

    /// Changes whenever what is counted of the realm may have: a hash of its fingerprints.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counted_mark(&self, realm: &RealmId) -> Result<[u8; 32], Error> {
        self.reading(|txn| {
            let mut hasher = blake3::Hasher::new();
            for (collection, state) in collections::of_realm(txn, realm)? {
                if is_counted(&collection) {
                    hasher.update(collection.id().0.as_bytes()).update(&state.to_bytes());
                }
            }
            Ok(*hasher.finalize().as_bytes())
        })
    }

    /// What this node counts of the realm. Reads every row of its collections.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counted(&self, realm: &RealmId) -> Result<Counted, Error> {
        self.reading(|txn| {
            let mut strangers = BTreeSet::new();
            let of = realm.0.as_bytes();
            for row in txn.table(tables::STRANGER)?.range((of, &IDS.0, &AUTHORS.0)..)? {
                let row = row?.0;
                let (realm, id, key) = row.value();
                if realm != of {
                    break;
                }
                strangers.insert((*id, *key));
            }
            let mut ids = Vec::new();
            let table = txn.table(tables::COLL)?;
            for (collection, _) in collections::of_realm(txn, realm)? {
                let name = collection.id();
                let name = name.0.as_bytes();
                let rows =
                    is_counted(&collection).then(|| table.range((name, &IDS.0)..=(name, &IDS.1)));
                for row in rows.transpose()?.into_iter().flatten() {
                    let item = row?.1;
                    let (id, key) = item.value();
                    if !strangers.contains(&(*id, *key)) {
                        ids.push(StatementId(Digest::from_bytes(*id)));
                    }
                }
            }
            ids.sort_unstable();
            ids.dedup();
            Ok(Counted { digest: Beat::digest_of(&ids), count: ids.len() as u64 })
        })
    }
}

const fn is_counted(collection: &Collection) -> bool {
    matches!(collection, Collection::Authority(_) | Collection::Format(..))
}
