//! Who may see what is held here: realms, and the blobs that their statements name.
//!
//! A blob that statements of a private realm alone name is given to its readers alone, and asked of
//! them alone. One that another realm names, too, is no secret of the private one. Nothing is kept:
//! the newest root that is held decides each time.
//!
//! Source: trust.md section 14.

use std::collections::BTreeSet;

use crdt::session::Readers;
use crdt::{Digest, PublicKey, RealmId, StatementId};
use redb::ReadTransaction;

use super::statements::{IDS, has_known_signer, load_statement};
use super::tables::{self, Tables};
use super::{Error, FollowKind, Store};

/// The keys that a peer has proven; none for a stranger.
pub type ProvenKeys = BTreeSet<PublicKey>;

impl Store {
    /// Who may see a realm.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn readers_of(&self, realm: &RealmId) -> Result<Readers, Error> {
        Ok(Readers::of(self.inner.standing(realm)?.authority()))
    }

    /// Whether a realm that is held is private.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_private(&self, realm: &RealmId) -> Result<bool, Error> {
        Ok(matches!(self.readers_of(realm)?, Readers::Holders(_)))
    }

    /// Whether a realm of this node's own is private.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn own_is_private(&self) -> Result<bool, Error> {
        for followed in self.followed()?.iter().filter(|known| known.kind == FollowKind::Own) {
            if self.is_private(&followed.realm)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Realms whose statements name the blob, whoever has signed them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn naming(&self, digest: &Digest) -> Result<BTreeSet<RealmId>, Error> {
        self.reading(|txn| {
            let ids = naming_statements(txn, digest)?.into_iter();
            let realms = ids.map(|id| Ok(load_statement(txn, &id)?.map(|it| it.realm())));
            Ok(realms.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
        })
    }

    /// Whether a blob may be handed to a peer that has proven these keys: a release of a followed
    /// realm that it may see names it. See [`Store::is_referenced`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn may_be_given(&self, digest: &Digest, proven: &ProvenKeys) -> Result<bool, Error> {
        let mut hidden = BTreeSet::new();
        for followed in self.followed()? {
            if !self.readers_of(&followed.realm)?.admit(proven) {
                hidden.insert(followed.realm);
            }
        }
        if hidden.is_empty() {
            return self.is_referenced(digest);
        }
        self.reading(|txn| {
            for id in naming_statements(txn, digest)? {
                let realm = load_statement(txn, &id)?.map(|statement| statement.realm());
                let is_seen = realm.is_some_and(|realm| !hidden.contains(&realm));
                if is_seen && has_known_signer(txn, id.0.as_bytes())? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Another number whenever who may see what may have changed.
    #[must_use]
    pub fn revision_of_readers(&self) -> u64 {
        let follows = *self.inner.follows.borrow();
        follows.wrapping_add(super::lock(&self.inner.authorities).changes())
    }
}

fn naming_statements(txn: &ReadTransaction, digest: &Digest) -> Result<Vec<StatementId>, Error> {
    let table = txn.table(tables::ARTIFACT)?;
    let digest = digest.as_bytes();
    let rows = table.range((digest, &IDS.0)..=(digest, &IDS.1))?;
    rows.map(|row| Ok(StatementId(Digest::from_bytes(*row?.0.value().1)))).collect()
}
