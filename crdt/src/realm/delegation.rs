//! Who may publish a name: keys that the realm grants, and those of the realms that it delegates
//! to.
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

use super::{Kept, Realms};
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
    let (granted, seen, ways) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut walk = Walk { realms, package, granted, seen, ways };
    let mut reached = vec![vec![*realm]];
    for _ in 0..=MAX_DELEGATION_DEPTH {
        reached = reached.iter().flat_map(|way| walk.realm(way)).collect();
    }
    let reach = |ways: Ways| Reach(ways.into_values().collect());
    found.keys = walk.ways.into_iter().map(|(key, ways)| (key, reach(ways))).collect();
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

/// The ways to a key, by the realms on each that have revoked it.
type Ways = BTreeMap<Vec<RealmId>, Vec<Arc<Kept>>>;

/// Whom one realm's grants name.
#[derive(Default)]
struct Granted {
    keys: BTreeSet<PublicKey>,
    realms: BTreeSet<RealmId>,
}

/// One walk down the grants, shorter ways before longer ones.
///
/// Teams may name each other in every combination, so the ways are far more than the realms. What
/// matters of a way is how long it is, and which realms on it have revoked anybody: one with all
/// that an earlier one has leads to nothing new, so it is not followed.
struct Walk<'w> {
    realms: &'w Realms,
    package: &'w PackageId,
    /// Looked up once for each realm.
    granted: BTreeMap<RealmId, Arc<Granted>>,
    /// The realms that revoke on each way to a realm that was followed.
    seen: BTreeMap<RealmId, Vec<BTreeSet<RealmId>>>,
    ways: BTreeMap<PublicKey, Ways>,
}

impl Walk<'_> {
    /// Looks at the last realm of a way, all of which are held; the ways that go on from there.
    fn realm(&mut self, way: &[RealmId]) -> Vec<Vec<RealmId>> {
        let Some(last) = way.last() else { return Vec::new() };
        let granted = self.granted(*last);
        for key in &granted.keys {
            self.reach(*key, way);
        }
        let mut further = Vec::new();
        for next in granted.realms.iter().filter(|next| !way.contains(next)) {
            let longer = [way, &[*next]].concat();
            if self.realms.contains_key(next) && self.is_new(*next, &longer) {
                further.push(longer);
            }
        }
        further
    }

    fn is_new(&mut self, last: RealmId, way: &[RealmId]) -> bool {
        let revoking = way.iter().filter(|realm| !self.realms[*realm].revoked.is_empty());
        let revoking = revoking.copied().collect();
        let seen = self.seen.entry(last).or_default();
        let is_new = !seen.iter().any(|earlier| earlier.is_subset(&revoking));
        if is_new {
            seen.push(revoking);
        }
        is_new
    }

    fn granted(&mut self, realm: RealmId) -> Arc<Granted> {
        let (realms, package) = (self.realms, self.package);
        let entry = self.granted.entry(realm).or_insert_with(|| {
            let mut granted = Granted::default();
            let authority = &realms[&realm].authority;
            for grant in authority.matching("publish", &package.format, &package.name) {
                match &grant.to {
                    Grantee::Key(key) => drop(granted.keys.insert(*key)),
                    Grantee::Realm(to) => drop(granted.realms.insert(*to)),
                    Grantee::Peer(_) => {}
                }
            }
            Arc::new(granted)
        });
        Arc::clone(entry)
    }

    /// A way to a key: beside one on which nobody has revoked it, no other counts for anything.
    fn reach(&mut self, key: PublicKey, way: &[RealmId]) {
        let ways = self.ways.entry(key).or_default();
        if ways.contains_key(&[][..]) {
            return;
        }
        let limit = |realm: &RealmId| Some((*realm, self.realms[realm].revoked.get(&key)?.clone()));
        let limits: BTreeMap<_, _> = way.iter().filter_map(limit).collect();
        if limits.is_empty() {
            ways.clear();
        }
        ways.insert(limits.keys().copied().collect(), limits.into_values().collect());
    }
}
