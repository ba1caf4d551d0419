//! What a package stands on, looked up for it alone, and which packages a change of authority
//! moves.
//!
//! A package is derived from its own statements, from who may publish its name, and from what seals
//! and revocations say of its releases. So when a root, a revocation or the authority of a realm
//! that is delegated to changes, only these are derived again:
//!
//! | what changed | packages |
//! |---|---|
//! | the realm got its first head, or lost it | all |
//! | grants | those that they match and that a key concerned has signed; all that they match, if a
//! grant is exclusive or asks for more than one signer |
//! | what of a key is revoked | those that it has signed |
//! | the epoch of the head | those with counters of the epochs between |
//! | a seal | those of the releases that it turns: see `rulings` |
//!
//! Where grants changed, a package whose publishers are the same as before is left alone.
//!
//! Source: trust.md sections 5 and 6 (`publishers`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::realm::{Kept, Publishers, Realm, Realms};
use crdt::statement::{Grant, Grantee};
use crdt::{PackageId, PublicKey, RealmId, StatementId};
use redb::ReadableTable as _;

use super::authority::{self, Cut, Standing};
use super::standings::Standings;
use super::tables::{self, Tables};
use super::{Error, rulings};

/// Packages of a realm.
type Packages = BTreeSet<PackageId>;

/// Who may publish a package of the first of the realms; `ids` are the package's statements.
pub(super) fn publishers(
    txn: &impl Tables,
    reached: &[Arc<Standing>],
    package: &PackageId,
    ids: &[StatementId],
) -> Result<Publishers, Error> {
    let mut realms = Realms::new();
    for standing in reached {
        realms.insert(standing.authority().realm, with_kept(txn, standing, ids)?);
    }
    let first = reached.first().map(|standing| standing.authority().realm);
    Ok(first.map_or_else(Publishers::default, |realm| {
        crdt::realm::publishers(&realms, &realm, package)
    }))
}

/// The realm with what its revocations keep of these statements.
fn with_kept(
    txn: &impl Tables,
    standing: &Standing,
    ids: &[StatementId],
) -> Result<Arc<Realm>, Error> {
    if standing.cuts.is_empty() {
        return Ok(Arc::clone(&standing.realm));
    }
    let mut realm = Realm::clone(&standing.realm);
    for (key, cut) in &standing.cuts {
        let mut kept = realm.revoked.get(key).map_or_else(Kept::default, |it| Kept::clone(it));
        kept.releases = kept_of(txn, &realm.authority.realm, cut, ids)?;
        realm.revoked.insert(*key, Arc::new(kept));
    }
    Ok(Arc::new(realm))
}

/// Those that all known lists keep; `None` while no list is known.
fn kept_of(
    txn: &impl Tables,
    realm: &RealmId,
    cut: &Cut,
    ids: &[StatementId],
) -> Result<Option<BTreeSet<StatementId>>, Error> {
    let known: Vec<_> = cut.iter().filter(|(_, lacks)| lacks.is_none()).collect();
    if known.is_empty() {
        return Ok(None);
    }
    let mut kept: BTreeSet<StatementId> = ids.iter().copied().collect();
    for (revoke, _) in known {
        let mut some = BTreeSet::new();
        for id in kept {
            if rulings::keeps(txn, realm, &id, revoke)? {
                some.insert(id);
            }
        }
        kept = some;
    }
    Ok(Some(kept))
}

/// The packages of these realms that what has changed in the transaction moves.
pub(super) fn moved(
    txn: &impl Tables,
    standings: &mut Standings<'_>,
    realms: &[RealmId],
) -> Result<BTreeSet<(RealmId, PackageId)>, Error> {
    let mut changed = BTreeSet::new();
    for realm in standings.changed() {
        if standings.before(&realm)? != standings.now(&realm)? {
            changed.insert(realm);
        }
    }
    let mut found = BTreeSet::new();
    for realm in realms.iter().filter(|_| !changed.is_empty()) {
        let (before, now) = (standings.reached_before(realm)?, standings.reached(realm)?);
        let is_changed = |it: &Arc<Standing>| changed.contains(&it.authority().realm);
        if before.iter().chain(&now).any(is_changed) {
            let step = Step::new(before, now, standings, &changed)?;
            found.extend(step.packages(txn)?.into_iter().map(|package| (*realm, package)));
        }
    }
    Ok(found)
}

/// What changed for one realm.
struct Step {
    before: Vec<Arc<Standing>>,
    now: Vec<Arc<Standing>>,
    /// Grants to publish, of any of the realms, that came or went.
    grants: Vec<Grant>,
    /// The keys that they concern.
    granted: BTreeSet<PublicKey>,
    /// Keys that are revoked otherwise than before.
    revoked: BTreeSet<PublicKey>,
    /// Whether grants may concern other keys, too.
    sweeps: bool,
}

impl Step {
    fn new(
        before: Vec<Arc<Standing>>,
        now: Vec<Arc<Standing>>,
        standings: &mut Standings<'_>,
        changed: &BTreeSet<RealmId>,
    ) -> Result<Self, Error> {
        let mut step = Self {
            grants: Vec::new(),
            granted: BTreeSet::new(),
            revoked: BTreeSet::new(),
            sweeps: false,
            before,
            now,
        };
        let of_either = step.before.iter().chain(&step.now).map(|it| it.authority().realm);
        let either: BTreeSet<RealmId> = of_either.collect();
        let first = step.now.first().map(|it| it.authority().realm);
        for realm in either.intersection(changed) {
            let (before, now) = (standings.before(realm)?, standings.now(realm)?);
            step.compare(&before, &now, Some(*realm) == first);
        }
        for realm in step.delegated() {
            for reached in [standings.reached_before(&realm)?, standings.reached(&realm)?] {
                step.granted.extend(reached.iter().flat_map(|standing| keys(standing)));
            }
        }
        Ok(step)
    }

    fn compare(&mut self, before: &Standing, now: &Standing, is_first: bool) {
        let mut rest: Vec<&Grant> = to_publish(before).collect();
        let mut differ = Vec::new();
        for grant in to_publish(now) {
            match rest.iter().position(|other| *other == grant) {
                Some(at) => drop(rest.swap_remove(at)),
                None => differ.push(grant.clone()),
            }
        }
        differ.extend(rest.into_iter().cloned());
        self.sweeps |= differ.iter().any(|it| it.exclusive || is_first && it.need > 1);
        self.granted.extend(differ.iter().filter_map(to_key));
        self.grants.extend(differ);
        let cuts = before.cuts.iter().chain(&now.cuts).map(|(key, _)| key);
        self.revoked.extend(cuts.filter(|key| before.cuts.get(key) != now.cuts.get(key)));
    }

    /// Realms that changed grants are to.
    fn delegated(&self) -> BTreeSet<RealmId> {
        let to = self.grants.iter().filter_map(|grant| match grant.to {
            Grantee::Realm(realm) => Some(realm),
            _ => None,
        });
        to.collect()
    }

    fn packages(&self, txn: &impl Tables) -> Result<Packages, Error> {
        let (Some(before), Some(now)) = (self.before.first(), self.now.first()) else {
            return Ok(Packages::new());
        };
        let realm = now.authority().realm;
        if before.authority().head.is_some() != now.authority().head.is_some() {
            return of_realm(txn, &realm);
        }
        let mut found = counted(txn, &realm, before.authority().epoch(), now.authority().epoch())?;
        for key in &self.revoked {
            found.extend(signed(txn, &realm, key)?);
        }
        let (was, is) = (authority::realms(&self.before), authority::realms(&self.now));
        for package in self.matched(txn, &realm)? {
            let publishers = |realms| crdt::realm::publishers(realms, &realm, &package);
            if !found.contains(&package) && publishers(&was) != publishers(&is) {
                found.insert(package);
            }
        }
        Ok(found)
    }

    /// Packages that grants which came or went may concern.
    fn matched(&self, txn: &impl Tables, realm: &RealmId) -> Result<Packages, Error> {
        let mut found = Packages::new();
        if self.sweeps {
            for grant in &self.grants {
                found.extend(named(txn, realm, grant)?);
            }
            return Ok(found);
        }
        for key in &self.granted {
            let mut of_key = signed(txn, realm, key)?;
            of_key.retain(|package| self.grants.iter().any(|grant| covers(grant, package)));
            found.extend(of_key);
        }
        Ok(found)
    }
}

fn covers(grant: &Grant, package: &PackageId) -> bool {
    (grant.format == "*" || grant.format == package.format) && grant.pattern.matches(&package.name)
}

fn to_publish(standing: &Standing) -> impl Iterator<Item = &Grant> {
    let grants = standing.authority().head.iter().flat_map(|head| &head.grants);
    grants.filter(|grant| grant.role == "publish")
}

fn to_key(grant: &Grant) -> Option<PublicKey> {
    match grant.to {
        Grantee::Key(key) => Some(key),
        Grantee::Realm(_) | Grantee::Peer(_) => None,
    }
}

fn keys(standing: &Standing) -> impl Iterator<Item = PublicKey> {
    to_publish(standing).filter_map(to_key)
}

/// Every package of a realm that some statement names.
pub(super) fn of_realm(txn: &impl Tables, realm: &RealmId) -> Result<Packages, Error> {
    let table = txn.table(tables::DOC)?;
    let mut found = Packages::new();
    for row in table.range((realm.0.as_bytes(), "", "")..)? {
        let key = row?.0;
        let (of, format, name) = key.value();
        if of != realm.0.as_bytes() {
            break;
        }
        found.insert(PackageId::new(format, name));
    }
    Ok(found)
}

/// Those that a grant covers.
fn named(txn: &impl Tables, realm: &RealmId, grant: &Grant) -> Result<Packages, Error> {
    let table = txn.table(tables::DOC)?;
    let any = grant.format == "*";
    let format = if any { "" } else { grant.format.as_str() };
    let prefix = grant.pattern.0.trim_end_matches('*');
    let mut found = Packages::new();
    for row in table.range((realm.0.as_bytes(), format, if any { "" } else { prefix })..)? {
        let key = row?.0;
        let (of, format, name) = key.value();
        let is_past = format != grant.format || !name.starts_with(prefix);
        if of != realm.0.as_bytes() || !any && is_past {
            break;
        }
        let package = PackageId::new(format, name);
        if covers(grant, &package) {
            found.insert(package);
        }
    }
    Ok(found)
}

/// Those of which the key has signed something.
fn signed(txn: &impl Tables, realm: &RealmId, key: &PublicKey) -> Result<Packages, Error> {
    let table = txn.table(tables::SIGNED)?;
    let mut found = Packages::new();
    for row in table.range((realm.0.as_bytes(), key.as_bytes(), "", "")..)? {
        let row = row?.0;
        let (of, by, format, name) = row.value();
        if of != realm.0.as_bytes() || by != key.as_bytes() {
            break;
        }
        found.insert(PackageId::new(format, name));
    }
    Ok(found)
}

/// Those with a counter that one of two epochs of the head admits, and the other does not.
fn counted(txn: &impl Tables, realm: &RealmId, one: u64, two: u64) -> Result<Packages, Error> {
    let (low, high) = (one.min(two), one.max(two));
    let table = txn.table(tables::COUNTED)?;
    let mut found = Packages::new();
    for row in table.range((realm.0.as_bytes(), low.saturating_add(1), "", "")..)? {
        let row = row?.0;
        let (of, epoch, format, name) = row.value();
        if of != realm.0.as_bytes() || epoch > high {
            break;
        }
        found.insert(PackageId::new(format, name));
    }
    Ok(found)
}
