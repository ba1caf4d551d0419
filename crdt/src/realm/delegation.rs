//! Who may publish a name: keys that the realm grants, and those of the realms that it delegates to.
//!
//! A grant may name another realm, such as a team's inside a company's; then whoever may publish
//! the name there may publish it here, at most three realms deep. Both patterns must match, so a
//! delegate never gets more than the two share. A realm that is reached a second time yields
//! nobody, and so does one that is not held.
//!
//! A key that a realm on the way has revoked reaches only the releases which that realm keeps.
//!
//! Source: trust.md sections 4 (sub-delegation) and 6 (`publishers`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Kept, Realm, Realms};
use crate::statement::Grantee;
use crate::{PackageId, PublicKey, RealmId, StatementId};

/// Realms below the first that a grant reaches.
pub const MAX_DELEGATION_DEPTH: usize = 3;

/// The keys that may publish a name, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publishers {
    /// Distinct keys, with the releases that each reaches.
    pub keys: BTreeMap<PublicKey, Reach>,
    /// The highest `need` of the matching grants, at least 1.
    pub need: u32,
}

/// On which releases a key's signature counts: those that all of one way's limits keep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach(Vec<Vec<Arc<Kept>>>);

impl Reach {
    /// Whether nobody on some way has revoked the key.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.iter().any(Vec::is_empty)
    }

    /// Whether the key's signature on the release is known to count.
    #[must_use]
    pub fn holds(&self, release: &StatementId) -> bool {
        self.0.iter().any(|way| way.iter().all(|kept| kept.holds(release)))
    }

    /// Whether it counts, or may once a keep list is held that is not yet.
    #[must_use]
    pub fn may_hold(&self, release: &StatementId) -> bool {
        self.0.iter().any(|way| way.iter().all(|kept| kept.may_hold(release)))
    }

    /// The revocations that limit it, sorted; none if it is whole.
    #[must_use]
    pub fn limited_by(&self) -> BTreeSet<StatementId> {
        if self.is_whole() {
            return BTreeSet::new();
        }
        self.0.iter().flatten().flat_map(|kept| kept.by.iter().copied()).collect()
    }
}

impl Publishers {
    /// Whether `key` alone may publish: granted, not revoked, and one signature is enough.
    #[must_use]
    pub fn may_publish(&self, key: &PublicKey) -> bool {
        self.need == 1 && self.counts(key)
    }

    /// Whether what the key says of the name from now on counts.
    #[must_use]
    pub fn counts(&self, key: &PublicKey) -> bool {
        self.keys.get(key).is_some_and(Reach::is_whole)
    }
}

/// Who may publish a package of the realm.
#[must_use]
pub fn publishers(realms: &Realms, realm: &RealmId, package: &PackageId) -> Publishers {
    let mut found = Publishers { keys: BTreeMap::new(), need: 1 };
    let Some(first) = realms.get(realm) else { return found };
    let grants = first.authority.matching("publish", &package.format, &package.name);
    found.need = grants.iter().map(|grant| grant.need).max().unwrap_or(1).max(1);
    let mut walk = Walk { realms, package, visited: vec![*realm], found: &mut found.keys };
    walk.realm(first, &|_| Vec::new());
    found
}

/// The realms that a realm's `publish` grants name directly: what must be held with it.
#[must_use]
pub fn delegates(authority: &super::Authority) -> BTreeSet<RealmId> {
    let grants = authority.head.iter().flat_map(|head| &head.grants);
    let publish = grants.filter(|grant| grant.role == "publish");
    publish
        .filter_map(|grant| match grant.to {
            Grantee::Realm(realm) if realm != authority.realm => Some(realm),
            _ => None,
        })
        .collect()
}

/// One walk down the grants.
struct Walk<'w> {
    realms: &'w Realms,
    package: &'w PackageId,
    visited: Vec<RealmId>,
    found: &'w mut BTreeMap<PublicKey, Reach>,
}

impl Walk<'_> {
    /// `above`: what the realms on the way say of a key.
    fn realm(&mut self, realm: &Realm, above: &dyn Fn(&PublicKey) -> Vec<Arc<Kept>>) {
        let limits = |key: &PublicKey| {
            let mut limits = above(key);
            limits.extend(realm.revoked.get(key).cloned());
            limits
        };
        let (format, name) = (&self.package.format, &self.package.name);
        let mut next = BTreeSet::new();
        for grant in realm.authority.matching("publish", format, name) {
            match &grant.to {
                Grantee::Key(key) => self.found.entry(*key).or_default().add(limits(key)),
                Grantee::Realm(realm) => drop(next.insert(*realm)),
                Grantee::Peer(_) => {}
            }
        }
        for realm in next {
            self.delegate(&realm, &limits);
        }
    }

    fn delegate(&mut self, to: &RealmId, limits: &dyn Fn(&PublicKey) -> Vec<Arc<Kept>>) {
        if self.visited.len() > MAX_DELEGATION_DEPTH || self.visited.contains(to) {
            return;
        }
        let Some(next) = self.realms.get(to) else { return };
        self.visited.push(*to);
        self.realm(next, limits);
        self.visited.pop();
    }
}

impl Reach {
    /// Another way by which the key is granted; several grants of one realm are one way.
    fn add(&mut self, limits: Vec<Arc<Kept>>) {
        if !self.0.contains(&limits) {
            self.0.push(limits);
        }
    }
}
