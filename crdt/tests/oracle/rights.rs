//! Grants, delegation, revocations and seals: whose signature counts on what.
//!
//! Source: trust.md section 6, `matching`, `sealed`, `publishers`, and `keep` of `derive`.

use std::collections::{BTreeMap, BTreeSet};

use crdt::statement::{Grant, Grantee, IdList, Root};
use crdt::{Body, Digest, PackageId, PublicKey, RealmId, StatementId};

use super::chain::chain;
use super::{Fact, Given, both};

/// How a revocation is taken.
#[derive(Clone, Copy)]
pub(crate) enum Taken {
    /// By what is known: a list that is not held keeps nothing for now.
    Strictly,
    /// A list that is not held may keep anything.
    Hopefully,
}

/// What the intersection of a key's keep lists is known to be.
struct Keep {
    lists: Vec<Vec<StatementId>>,
    missing: BTreeSet<Digest>,
}

impl Keep {
    fn keeps(&self, release: Option<StatementId>, taken: Taken) -> bool {
        let in_all = |id| self.lists.iter().all(|list| list.contains(&id));
        match taken {
            Taken::Strictly => self.missing.is_empty() && release.is_some_and(in_all),
            Taken::Hopefully => release.is_some_and(in_all),
        }
    }
}

/// The realm that is derived, with the path to its head.
pub(crate) struct Rights<'g> {
    pub(crate) given: &'g Given<'g>,
    pub(crate) realm: RealmId,
    path: Vec<&'g Root>,
    /// The releases that seals name.
    pub(crate) firm: BTreeSet<StatementId>,
    missing_seals: BTreeSet<Digest>,
    /// Every realm's head and revocations.
    heads: BTreeMap<RealmId, (&'g Root, BTreeMap<PublicKey, Keep>)>,
}

impl<'g> Rights<'g> {
    /// `None` for a realm without a head.
    pub(crate) fn new(given: &'g Given<'g>, realm: RealmId, path: &[StatementId]) -> Option<Self> {
        let path: Vec<_> = path.iter().map(|id| given.root(*id).unwrap().0).collect();
        path.last()?;
        let mut heads = BTreeMap::new();
        for of in given.held.iter().map(|fact| fact.realm).collect::<BTreeSet<_>>() {
            if let Some(head) = chain(given, of).path.last() {
                let head = given.root(*head).unwrap().0;
                heads.insert(of, (head, keeps(given, of, head)));
            }
        }
        let (firm, missing_seals) = (BTreeSet::new(), BTreeSet::new());
        let mut rights = Self { given, realm, path, firm, missing_seals, heads };
        rights.seal();
        Some(rights)
    }

    pub(crate) fn head(&self) -> &'g Root {
        self.path.last().unwrap()
    }

    /// `sealed(held, path, head)`.
    fn seal(&mut self) {
        for fact in self.given.of_realm(self.realm) {
            let Body::Seal { releases } = fact.body else { continue };
            if self.head().cleared.contains(&fact.id) {
                continue;
            }
            let counts = |at: usize| {
                let p = self.path[at];
                let later = self.path[at + 1..].iter();
                both(&fact.signers, &p.roots) >= p.k as usize
                    && later.filter_map(|q| q.seals.as_ref()).all(|seals| seals.contains(&fact.id))
            };
            if (0..self.path.len()).any(counts) {
                match read(self.given, releases) {
                    Ok(ids) => self.firm.extend(ids),
                    Err(digest) => drop(self.missing_seals.insert(digest)),
                }
            }
        }
    }

    /// The lists that are not held, of every seal and revocation that counts.
    pub(crate) fn missing(&self) -> BTreeSet<Digest> {
        let mut missing = self.missing_seals.clone();
        let mut realms = BTreeSet::from([self.realm]);
        for _ in 0..3 {
            for realm in realms.clone() {
                let Some((head, _)) = self.heads.get(&realm) else { continue };
                let publish = head.grants.iter().filter(|grant| grant.role == "publish");
                realms.extend(publish.filter_map(|grant| match grant.to {
                    Grantee::Realm(to) => Some(to),
                    _ => None,
                }));
            }
        }
        for (_, keeps) in realms.iter().filter_map(|realm| self.heads.get(realm)) {
            missing.extend(keeps.values().flat_map(|keep| &keep.missing));
        }
        missing
    }

    /// The keys that may publish; with a release, those whose signature on it counts.
    pub(crate) fn publishers(
        &self,
        package: &PackageId,
        release: Option<StatementId>,
        taken: Taken,
    ) -> BTreeSet<PublicKey> {
        self.of_realm(self.realm, package, (release, taken), &[])
    }

    /// `visited` has the realms on the way here, so its length is the depth.
    fn of_realm(
        &self,
        realm: RealmId,
        package: &PackageId,
        asked: (Option<StatementId>, Taken),
        visited: &[RealmId],
    ) -> BTreeSet<PublicKey> {
        if visited.len() > 3 || visited.contains(&realm) {
            return BTreeSet::new();
        }
        let Some((head, keeps)) = self.heads.get(&realm) else { return BTreeSet::new() };
        let mut found = BTreeSet::new();
        for grant in matching(head, "publish", package) {
            match &grant.to {
                Grantee::Key(key) => drop(found.insert(*key)),
                Grantee::Realm(to) => {
                    let visited = [visited, &[realm]].concat();
                    found.extend(self.of_realm(*to, package, asked, &visited));
                }
                Grantee::Peer(_) => {}
            }
        }
        found.retain(|key| keeps.get(key).is_none_or(|keep| keep.keeps(asked.0, asked.1)));
        found
    }

    /// The highest `need` of the grants that match, at least 1.
    pub(crate) fn need(&self, package: &PackageId) -> usize {
        let grants = matching(self.head(), "publish", package);
        grants.iter().map(|grant| grant.need as usize).max().unwrap_or(1).max(1)
    }

    /// The facts about a package of the realm.
    pub(crate) fn about<'s>(
        &'s self,
        package: &'s PackageId,
    ) -> impl Iterator<Item = &'s Fact<'g>> + use<'s, 'g> {
        self.given.of_realm(self.realm).filter(move |fact| fact.package == Some(package))
    }
}

/// The ids of a list, or the digest of the blob that is not held. A blob with another number of ids
/// than the statement says is not the list that it means: it names nothing, for everybody.
fn read(given: &Given<'_>, list: &IdList) -> Result<Vec<StatementId>, Digest> {
    match list {
        IdList::Inline(ids) => Ok(ids.clone()),
        IdList::Blob { digest, count } => match given.lists.get(digest) {
            Some(ids) if ids.len() as u64 == *count => Ok(ids.clone()),
            Some(_) => Ok(vec![]),
            None => Err(*digest),
        },
    }
}

/// key → what its revocations keep, under the head of the realm that revoked it.
fn keeps(given: &Given<'_>, realm: RealmId, head: &Root) -> BTreeMap<PublicKey, Keep> {
    let mut found = BTreeMap::<PublicKey, Keep>::new();
    for fact in given.of_realm(realm) {
        let Body::Revoke { key, keep, .. } = fact.body else { continue };
        let by_itself = fact.signers.contains(key);
        let counts = by_itself || both(&fact.signers, &head.roots) > 0;
        if !counts || head.cleared.contains(&fact.id) {
            continue;
        }
        let of = found.entry(*key).or_insert(Keep { lists: vec![], missing: BTreeSet::new() });
        match read(given, keep) {
            Ok(ids) => of.lists.push(ids),
            Err(digest) => drop(of.missing.insert(digest)),
        }
    }
    found
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, _)) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Longer is greater, exact is greater than any prefix.
fn length(grant: &Grant) -> usize {
    let text = &grant.pattern.0;
    if text.ends_with('*') { text.len() - 1 } else { 1_000_000 + text.len() }
}

/// `matching(head, role, format, name)`.
fn matching<'r>(head: &'r Root, role: &str, package: &PackageId) -> Vec<&'r Grant> {
    let mut all: Vec<_> = head.grants.iter().filter(|grant| grant.role == role).collect();
    all.retain(|grant| grant.format == "*" || grant.format == package.format);
    all.retain(|grant| matches(&grant.pattern.0, &package.name));
    if let Some(top) = all.iter().filter(|grant| grant.exclusive).map(|g| length(g)).max() {
        all.retain(|grant| length(grant) >= top);
    }
    all
}
