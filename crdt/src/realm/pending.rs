//! Statements that wait for signatures: who has signed, who may, and how many more it takes.
//!
//! A root of several is rarely signed at one table. Its statement lies in the set like any other,
//! without effect, until enough keys stand behind it; here is what it lacks. Only what a key that
//! has a say has signed is told: strangers cannot fill the list.
//!
//! Says nothing of what a statement would do, and decides nothing: that is `authority`, `rulings`
//! and `routes`.
//!
//! Source: trust.md sections 4 and 5.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Authority, recovery_hash};
use crate::statement::{Body, Counter, Pattern, Root};
use crate::{Digest, PublicKey, Statement, StatementId, Verified};

/// Whose signatures a quorum counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The roots that are in office.
    Roots,
    /// The roots that a new epoch names: their signatures prove that the keys exist.
    NewRoots,
    /// The recovery keys of the parent.
    Recovery,
    /// The key itself, which a revocation is about, or any one root.
    KeyOrRoot,
}

/// One group of keys of which so many must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Which group.
    pub by: By,
    /// Its keys, sorted; none for recovery keys, of which only hashes are known.
    pub keys: Vec<PublicKey>,
    /// Hashes of recovery keys, sorted.
    pub hashes: Vec<Digest>,
    /// Those that have signed, sorted.
    pub signed: Vec<PublicKey>,
    /// How many it takes.
    pub need: u32,
}

impl Quorum {
    fn of(by: By, keys: &[PublicKey], need: u32, signers: &BTreeSet<PublicKey>) -> Self {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let signed = keys.iter().filter(|key| signers.contains(key)).copied().collect();
        Self { by, keys, hashes: Vec::new(), signed, need }
    }

    fn of_recovery(parent: &Root, signers: &BTreeSet<PublicKey>) -> Self {
        let known = |key: &&PublicKey| parent.recovery.contains(&recovery_hash(key));
        let signed = signers.iter().filter(known).copied().collect();
        let hashes = parent.recovery.clone();
        Self { by: By::Recovery, keys: Vec::new(), hashes, signed, need: parent.rk.max(1) }
    }

    /// How many signatures lack.
    #[must_use]
    pub fn lacks(&self) -> usize {
        (self.need as usize).saturating_sub(self.signed.len())
    }
}

/// The groups that must sign a statement; none if it needs no root.
///
/// `ground` is the parent of a root, and for any other statement the root in office; absent for a
/// genesis. A root with a signature by a recovery key of its parent is taken for a recovery, unless
/// enough roots signed it.
#[must_use]
pub fn quorums(
    ground: Option<&Root>,
    statement: &Statement,
    signers: &BTreeSet<PublicKey>,
) -> Vec<Quorum> {
    let roots = |root: &Root, by| Quorum::of(by, &root.roots, root.k, signers);
    match (statement.body(), ground) {
        (Body::Root(root), None) => vec![roots(root, By::NewRoots)],
        (Body::Root(root), Some(parent)) => {
            let (old, rescue) = (roots(parent, By::Roots), Quorum::of_recovery(parent, signers));
            let is_recovery = !rescue.signed.is_empty() && old.lacks() > 0;
            vec![if is_recovery { rescue } else { old }, roots(root, By::NewRoots)]
        }
        (Body::Seal { .. } | Body::Route { .. }, Some(head)) => vec![roots(head, By::Roots)],
        (Body::Revoke { key, .. }, Some(head)) => {
            let mut keys = head.roots.clone();
            keys.push(*key);
            keys.dedup();
            vec![Quorum::of(By::KeyOrRoot, &keys, 1, signers)]
        }
        _ => Vec::new(),
    }
}

/// A statement that has some of the signatures that it needs, but not enough.
#[derive(Debug, Clone)]
pub struct Pending<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// Who must sign it.
    pub quorums: Vec<Quorum>,
}

/// What waits in a realm, roots first, then by id. Statements of other realms are ignored.
#[must_use]
pub fn pending<'a>(
    authority: &Authority,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> Vec<Pending<'a>> {
    let Some(head) = authority.head.as_ref() else { return Vec::new() };
    let held = joined(authority, statements);
    let newest = standing_routes(authority, &held);
    let mut found: Vec<_> = held
        .values()
        .filter(|(statement, _)| is_open(authority, statement, &newest))
        .filter_map(|(statement, signers)| {
            let quorums = quorums(Some(head), statement, signers);
            let some = quorums.iter().any(|quorum| !quorum.signed.is_empty());
            let enough = quorums.iter().all(|quorum| quorum.lacks() == 0);
            (some && !enough).then_some(Pending { statement, quorums })
        })
        .collect();
    found.sort_by_key(|it| (it.statement.kind() != "root", it.statement.id()));
    found
}

type Joined<'a> = BTreeMap<StatementId, (&'a Statement, BTreeSet<PublicKey>)>;

fn joined<'a>(
    authority: &Authority,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> Joined<'a> {
    let mut held = Joined::new();
    for verified in statements {
        let statement = verified.statement();
        if statement.realm() == authority.realm {
            let (_, signers) = held.entry(statement.id()).or_insert((statement, BTreeSet::new()));
            signers.extend(verified.signatures().keys());
        }
    }
    held
}

/// Names → the counter of the route that counts for them.
type Newest<'a> = BTreeMap<(&'a str, &'a Pattern), Counter>;

fn standing_routes<'a>(authority: &Authority, held: &Joined<'a>) -> Newest<'a> {
    let mut newest = Newest::new();
    for (statement, signers) in held.values() {
        if let Body::Route { format, pattern, counter, .. } = statement.body()
            && authority.admits(*counter)
            && authority.signed_by_roots(signers)
        {
            let seen = newest.entry((format, pattern)).or_insert(*counter);
            *seen = (*seen).max(*counter);
        }
    }
    newest
}

/// Whether signatures could still give it an effect.
fn is_open(authority: &Authority, statement: &Statement, newest: &Newest<'_>) -> bool {
    let head = authority.path.last().copied();
    match statement.body() {
        Body::Root(root) => {
            root.prev.is_some() && root.prev == head && root.epoch == authority.epoch() + 1
        }
        Body::Seal { .. } => !authority.has_cleared(&statement.id()),
        Body::Route { format, pattern, counter, .. } => {
            let standing = newest.get(&(format.as_str(), pattern));
            authority.admits(*counter) && standing.is_none_or(|standing| counter > standing)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use crate::statement::RouteSource;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// Roots 1, 2 and 3, of which two act; recovery key 9.
    fn founded() -> Verified {
        let mut roots: Vec<_> = (1..=3).map(|seed| key(seed).public()).collect();
        roots.sort_unstable();
        let mut root = Root::of_one(roots[0], [1; 16], "acme", Vec::new());
        (root.roots, root.k, root.rk) = (roots, 2, 1);
        root.recovery = vec![recovery_hash(&key(9).public())];
        Verified::sign(Statement::genesis(root).unwrap(), &[&key(1), &key(2)])
    }

    fn next(genesis: &Verified, change: impl FnOnce(&mut Root)) -> Statement {
        let Body::Root(root) = genesis.statement().body() else { panic!("a genesis is a root") };
        let prev = Some(genesis.statement().id());
        let mut next = Root { epoch: 1, prev, ..root.clone() };
        change(&mut next);
        Statement::new(genesis.statement().realm(), None, Body::Root(next)).unwrap()
    }

    fn waiting(all: &[Verified]) -> Vec<(String, Vec<usize>)> {
        let realm = all[0].statement().realm();
        let authority = crate::realm::authority(realm, all, &[]);
        pending(&authority, all)
            .iter()
            .map(|it| {
                let lacks = it.quorums.iter().map(Quorum::lacks).collect();
                (it.statement.kind().to_owned(), lacks)
            })
            .collect()
    }

    #[test]
    fn a_root_that_one_of_two_signed_waits_until_the_other_has() {
        let genesis = founded();
        let root = next(&genesis, |root| root.title = "acme two".into());
        let one = Verified::sign(root.clone(), &[&key(1)]);
        let one_more = vec![("root".to_owned(), vec![1, 1])];
        assert_eq!(waiting(&[genesis.clone(), one.clone()]), one_more);
        let other = Verified::sign(root, &[&key(3)]);
        assert_eq!(waiting(&[genesis, one, other]), []);
    }

    #[test]
    fn new_roots_and_recovery_keys_are_counted_apart() {
        let genesis = founded();
        let rotated = next(&genesis, |root| {
            (root.roots, root.k) = (vec![key(4).public()], 1);
        });
        let old = Verified::sign(rotated.clone(), &[&key(1), &key(2)]);
        let held = [genesis.clone(), old];
        assert_eq!(waiting(&held), [("root".to_owned(), vec![0, 1])]);
        let rescued = Verified::sign(rotated, &[&key(9)]);
        let held = [genesis, rescued];
        assert_eq!(waiting(&held), [("root".to_owned(), vec![0, 1])]);
    }

    #[test]
    fn what_strangers_sign_and_what_is_outdated_does_not_wait() {
        let genesis = founded();
        let root = next(&genesis, |root| root.title = "coup".into());
        let stranger = Verified::sign(root, &[&key(7)]);
        assert_eq!(waiting(&[genesis.clone(), stranger]), []);
        let route = |n, keys: &[&SecretKey]| {
            let body = Body::Route {
                format: "npm".into(),
                pattern: Pattern("x".into()),
                source: RouteSource::Deny,
                counter: Counter { epoch: 0, n },
            };
            let statement = Statement::new(genesis.statement().realm(), None, body).unwrap();
            Verified::sign(statement, keys)
        };
        let (one, two) = (key(1), key(2));
        let late = route(1, &[&one]);
        assert_eq!(waiting(&[genesis.clone(), late.clone()]), [("route".to_owned(), vec![1])]);
        assert_eq!(waiting(&[genesis.clone(), late, route(2, &[&one, &two])]), []);
    }
}
