//! Who has a say in a realm, as this node has seen it: cached, computed from its roots and
//! revocations alone.
//!
//! *Known* keys are those that some root of the chain (or of a proven fork) names: roots,
//! grantees, recovery keys; for receipts only those that it grants the role `mirror` for the
//! format. They decide limits, never validity: see `admission`.
//!
//! Which chain was accepted is in `chains`, which seals and revocations count in `rulings`, what a
//! change touches in `grounds`.
//!
//! Source: trust.md sections 5 and 12.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::realm::{Kept, MAX_DELEGATION_DEPTH, Publishers, Realm, Realms};
use crdt::statement::{Grantee, Root, recovery_hash};
use crdt::{
    Authority, Body, ChainStatus, Digest, PackageId, PublicKey, RealmId, Statement, StatementId,
};

use super::statements::{self, document_id};
use super::tables::Tables;
use super::{Error, Inner, Store, chains, grounds, lock, rulings};

/// The revocations of a key that count, each with the blob of its list if that is not known.
pub(super) type Cut = BTreeMap<StatementId, Option<Digest>>;

/// A realm's authority and the keys that it knows.
#[derive(Debug, PartialEq)]
pub(super) struct Standing {
    /// The chain, and who was revoked by which statements. What those keep is not in here: see
    /// [`grounds::of_package`].
    pub(super) realm: Arc<Realm>,
    /// Revoked keys.
    pub(super) cuts: BTreeMap<PublicKey, Cut>,
    keys: BTreeSet<PublicKey>,
    recovery: BTreeSet<Digest>,
    /// Mirrors, with the formats that some grant gives them (`*` for all).
    mirrors: BTreeMap<PublicKey, BTreeSet<String>>,
}

/// What was computed, until a root or a revocation arrives. The number tells a reader that computed
/// from an older snapshot that its result must not be kept.
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
        let mut roots = Vec::new();
        for id in rulings::of_kind(txn, realm, "root")? {
            roots.extend(statements::load(txn, &id)?);
        }
        let authority = crdt::realm::authority(*realm, &roots, &chains::pin(txn, realm)?);
        let cuts = rulings::cuts(txn, realm)?;
        let mut standing = Self {
            realm: seen(authority, &cuts),
            cuts,
            keys: BTreeSet::new(),
            recovery: BTreeSet::new(),
            mirrors: BTreeMap::new(),
        };
        for verified in &roots {
            let id = verified.statement().id();
            let chain = standing.authority();
            let names = chain.path.contains(&id) || chain.evidence.contains(&id);
            if let (true, Body::Root(root)) = (names, verified.statement().body()) {
                standing.learn(root);
            }
        }
        Ok(standing)
    }

    /// The chain.
    pub(super) fn authority(&self) -> &Authority {
        &self.realm.authority
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
        self.authority().status != ChainStatus::Unknown
    }
}

/// The realm as others look at it, without what its revocations keep.
fn seen(authority: Authority, cuts: &BTreeMap<PublicKey, Cut>) -> Arc<Realm> {
    let kept = |cut: &Cut| {
        let missing = cut.values().copied().flatten().collect();
        Arc::new(Kept { releases: None, missing, by: cut.keys().copied().collect() })
    };
    let revoked = cuts.iter().map(|(key, cut)| (*key, kept(cut))).collect();
    Arc::new(Realm { authority, revoked })
}

/// A realm with those that it delegates to, as deep as grants reach: the nearest first.
pub(super) fn reached(
    first: Arc<Standing>,
    mut of: impl FnMut(&RealmId) -> Result<Arc<Standing>, Error>,
) -> Result<Vec<Arc<Standing>>, Error> {
    let mut seen = BTreeSet::from([first.authority().realm]);
    let (mut found, mut next) = (Vec::new(), vec![first]);
    for depth in 0..=MAX_DELEGATION_DEPTH {
        let mut below = BTreeSet::new();
        for standing in std::mem::take(&mut next) {
            below.extend(crdt::realm::delegates(standing.authority()));
            found.push(standing);
        }
        below.retain(|realm| depth < MAX_DELEGATION_DEPTH && seen.insert(*realm));
        for realm in below {
            next.push(of(&realm)?);
        }
    }
    Ok(found)
}

/// The same for the rules of publishing.
pub(super) fn realms(reached: &[Arc<Standing>]) -> Realms {
    reached.iter().map(|it| (it.authority().realm, Arc::clone(&it.realm))).collect()
}

impl Store {
    /// Who may say what in a realm. Cached; `ChainStatus::Unknown` for a realm never heard of.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn authority(&self, realm: &RealmId) -> Result<Authority, Error> {
        Ok(self.inner.standing(realm)?.authority().clone())
    }

    /// Who may publish a package of the realm: keys of its own, and of realms it delegates to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn publishers(&self, realm: &RealmId, package: &PackageId) -> Result<Publishers, Error> {
        let reached = reached(self.inner.standing(realm)?, |realm| self.inner.standing(realm))?;
        self.reading(|txn| {
            let ids = statements::ids_of_package(txn, &document_id(realm, package))?;
            grounds::publishers(txn, &reached, package, &ids)
        })
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

    /// Forgets what was computed, after a commit that changed it.
    pub(super) fn forget_standings<'a>(&self, realms: impl IntoIterator<Item = &'a RealmId>) {
        let mut cache = lock(&self.authorities);
        cache.changes += 1;
        for realm in realms {
            cache.standings.remove(realm);
        }
    }
}
