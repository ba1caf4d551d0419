//! Who has a say in a realm, as this node has seen it: cached, with the chain it has accepted.
//!
//! The chain pin only grows: when the chain of a realm is longer than the one remembered and
//! begins with it, it is remembered instead. A rival successor that arrives later then leaves this
//! node on its branch (`fork-pinned`). The pin is local state and outlives an unfollow.
//!
//! *Known* keys are those that some root of the chain (or of a proven fork) names: roots,
//! grantees, recovery keys; for receipts only those that it grants the role `mirror` for the
//! format. They decide limits, never validity: see `admission`.
//!
//! Source: trust.md sections 5 and 12.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::realm::{Lists, Publishers, Realm, Realms, Revoked};
use crdt::statement::{Grantee, Root, recovery_hash};
use crdt::{
    Authority, Body, ChainStatus, Digest, PackageId, PublicKey, RealmId, Statement, StatementId,
    Verified,
};
use redb::{ReadableTable, WriteTransaction};

use super::tables::{self, Tables};
use super::{Error, Inner, Store, lock, statements};

/// A realm's authority and the keys that it knows.
#[derive(Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) authority: Authority,
    /// Revoked keys.
    pub(super) revoked: Revoked,
    /// Sealed releases.
    pub(super) firm: BTreeSet<StatementId>,
    keys: BTreeSet<PublicKey>,
    recovery: BTreeSet<Digest>,
    /// Mirrors, with the formats that some grant gives them (`*` for all).
    mirrors: BTreeMap<PublicKey, BTreeSet<String>>,
}

/// What was computed, until a root arrives. The number tells a reader that computed from an older
/// snapshot that its result must not be kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    standings: BTreeMap<RealmId, Arc<Standing>>,
    changes: u64,
}

impl Cache {
    /// How often something was forgotten: another number, perhaps another standing.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets all that was computed.
    pub(super) fn clear(&mut self) {
        self.changes += 1;
        self.standings.clear();
    }
}

impl Standing {
    /// From what a transaction sees.
    pub(super) fn compute(txn: &impl Tables, realm: &RealmId) -> Result<Self, Error> {
        let roots: Vec<Verified> = statements::of_authority(txn, realm)?;
        let authority = crdt::realm::authority(*realm, &roots, &chain_pin(txn, realm)?);
        let lists = Lists::new();
        let mut standing = Self {
            revoked: crdt::realm::revoked(&authority, &roots, &lists),
            firm: crdt::realm::firm(&authority, &roots, &lists).0,
            authority,
            keys: BTreeSet::new(),
            recovery: BTreeSet::new(),
            mirrors: BTreeMap::new(),
        };
        for verified in &roots {
            let id = verified.statement().id();
            let chain = &standing.authority;
            if let Body::Root(root) = verified.statement().body()
                && (chain.path.contains(&id) || chain.evidence.contains(&id))
            {
                standing.learn(root);
            }
        }
        Ok(standing)
    }

    fn learn(&mut self, root: &Root) {
        self.keys.extend(&root.roots);
        self.recovery.extend(&root.recovery);
        for grant in &root.grants {
            let Grantee::Key(key) = &grant.to else { continue };
            self.keys.insert(*key);
            if grant.role == "mirror" {
                self.mirrors.entry(*key).or_default().insert(grant.format.clone());
            }
        }
    }

    /// What other realms look at.
    fn seen(&self) -> Realm {
        Realm { authority: self.authority.clone(), revoked: self.revoked.clone() }
    }

    /// Whether some root of the realm names the key.
    pub(super) fn names(&self, key: &PublicKey) -> bool {
        self.keys.contains(key) || self.recovery.contains(&recovery_hash(key))
    }

    /// Whether the key is known as one that may say such a thing.
    pub(super) fn knows(&self, key: &PublicKey, statement: &Statement) -> bool {
        let Some(receipt) = statement.receipt() else { return self.names(key) };
        let formats = self.mirrors.get(key);
        formats.is_some_and(|all| all.contains("*") || all.contains(&receipt.subject.format))
    }

    /// Whether the genesis is held: before that nobody can be told from a stranger.
    pub(super) fn is_founded(&self) -> bool {
        self.authority.status != ChainStatus::Unknown
    }
}

impl Store {
    /// Who may say what in a realm. Cached; `ChainStatus::Unknown` for a realm never heard of.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn authority(&self, realm: &RealmId) -> Result<Authority, Error> {
        Ok(self.inner.standing(realm)?.authority.clone())
    }

    /// Who may publish a package of the realm: keys of its own, and of realms it delegates to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn publishers(&self, realm: &RealmId, package: &PackageId) -> Result<Publishers, Error> {
        let standing = self.inner.standing(realm)?;
        let realms = self.inner.realms(&standing)?;
        Ok(crdt::realm::publishers(&realms, realm, package))
    }

    /// Whether the key is named by a root of a realm that is followed (used for limits).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_granted(&self, key: &PublicKey) -> Result<bool, Error> {
        for followed in self.followed()? {
            if self.inner.standing(&followed.realm)?.names(key) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Inner {
    /// From memory, or computed from a snapshot.
    pub(super) fn standing(&self, realm: &RealmId) -> Result<Arc<Standing>, Error> {
        let seen = {
            let cache = lock(&self.authorities);
            if let Some(standing) = cache.standings.get(realm) {
                return Ok(Arc::clone(standing));
            }
            cache.changes
        };
        let standing = Arc::new(self.database.reading(|txn| Standing::compute(txn, realm))?);
        let mut cache = lock(&self.authorities);
        if cache.changes == seen && standing.is_founded() {
            cache.standings.insert(*realm, Arc::clone(&standing));
        }
        Ok(standing)
    }

    /// The realm with those that it delegates to, as deep as grants reach.
    pub(super) fn realms(&self, first: &Standing) -> Result<Realms, Error> {
        let mut found = Realms::new();
        let mut next = vec![first.seen()];
        for _ in 0..=crdt::realm::MAX_DELEGATION_DEPTH {
            let mut below = BTreeSet::new();
            for realm in std::mem::take(&mut next) {
                below.extend(crdt::realm::delegates(&realm.authority));
                found.insert(realm.authority.realm, Arc::new(realm));
            }
            for realm in below.into_iter().filter(|realm| !found.contains_key(realm)) {
                next.push(self.standing(&realm)?.seen());
            }
        }
        Ok(found)
    }

    /// Forgets what was computed, after a commit that changed it.
    pub(super) fn forget_standings<'a>(&self, realms: impl IntoIterator<Item = &'a RealmId>) {
        let mut cache = lock(&self.authorities);
        cache.changes += 1;
        for realm in realms {
            cache.standings.remove(realm);
        }
    }
}

/// The chain accepted so far, genesis first.
fn chain_pin(txn: &impl Tables, realm: &RealmId) -> Result<Vec<StatementId>, Error> {
    let table = txn.table(tables::PIN_CHAIN)?;
    let Some(row) = table.get(realm.0.as_bytes())? else { return Ok(Vec::new()) };
    let (ids, rest) = row.value().as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Error::unreadable("chain pin", "wrong length"));
    }
    Ok(ids.iter().map(|id| StatementId(Digest::from_bytes(*id))).collect())
}

/// Remembers a chain that continues the one remembered.
pub(super) fn extend_chain_pin(txn: &WriteTransaction, chain: &Authority) -> Result<(), Error> {
    let old = chain_pin(txn, &chain.realm)?;
    if chain.path.len() > old.len() && chain.path.starts_with(&old) {
        let bytes: Vec<u8> = chain.path.iter().flat_map(|id| *id.0.as_bytes()).collect();
        let mut table = txn.open_table(tables::PIN_CHAIN)?;
        table.insert(chain.realm.0.as_bytes(), bytes.as_slice())?;
    }
    Ok(())
}
