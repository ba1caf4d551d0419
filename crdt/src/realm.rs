//! A realm's authority: the chain of its root epochs, and who may say what under the head.
//!
//! A root key is a vote. An epoch follows another when a majority of the previous roots and a
//! majority of the new ones signed it; two majorities share a key, so two rival successors mean
//! that somebody signed both. Then the chain stops before them, and the pair is the evidence.
//! Nothing is arbitrated: no clock, no hash and no order of arrival decides.
//!
//! A grant to another realm (delegation) yields nobody yet, and neither revocations, seals nor
//! recovery by paper keys have an effect yet: statements of those kinds are kept and passed on.
//!
//! Source: trust.md sections 4 to 6 (`chain`, `matching`, `publishers`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::statement::{Body, Grant, Grantee, Pattern, Root};
use crate::{PublicKey, RealmId, StatementId, Verified};

/// How the chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainStatus {
    /// The genesis is not held.
    Unknown,
    /// The genesis is unsound: nobody will ever act for this realm.
    Invalid,
    /// One line from the genesis to the head.
    Ok,
    /// The head has rival successors; authority is frozen at it.
    Forked,
    /// There were rival successors, and this node's pin lies on one of them.
    ForkPinned,
}

/// Who may say what in a realm, computed from its `root` statements.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    /// The realm.
    pub realm: RealmId,
    /// How the chain ended.
    pub status: ChainStatus,
    /// Statement ids from the genesis to the head; empty without a sound genesis.
    pub path: Vec<StatementId>,
    /// The head's content.
    pub head: Option<Root>,
    /// The rival successors of a fork, sorted.
    pub evidence: Vec<StatementId>,
}

/// The keys that may publish a name, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishers {
    /// Distinct keys of all matching grants.
    pub keys: BTreeSet<PublicKey>,
    /// The highest `need` among the matching grants, at least 1.
    pub need: u32,
}

/// A pattern of names that a realm's `publish` grants name: what following it would take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The format's id.
    pub format: String,
    /// Exact or prefix, never everything.
    pub pattern: Pattern,
}

/// One root statement of the realm, with who signed it.
struct Epoch<'a> {
    root: &'a Root,
    signers: BTreeSet<PublicKey>,
}

/// Computes the chain from a realm's `root` statements, in any order and repeated. Statements of
/// other kinds and realms are passed over. `pin` is the chain that this node accepted before,
/// genesis first; it only chooses between rivals.
#[must_use]
pub fn authority<'a>(
    realm: RealmId,
    roots: impl IntoIterator<Item = &'a Verified>,
    pin: &[StatementId],
) -> Authority {
    let held = gather(realm, roots);
    let mut found = Authority {
        realm,
        status: ChainStatus::Unknown,
        path: Vec::new(),
        head: None,
        evidence: Vec::new(),
    };
    let genesis = StatementId(realm.0);
    let Some(first) = held.get(&genesis) else { return found };
    if !is_genesis(first) {
        found.status = ChainStatus::Invalid;
        return found;
    }
    found.status = ChainStatus::Ok;
    found.path.push(genesis);
    climb(&held, pin, &mut found);
    found.head = found.path.last().and_then(|id| held.get(id)).map(|epoch| epoch.root.clone());
    found
}

/// Joins the signers of each root; order and repetition disappear here.
fn gather<'a>(
    realm: RealmId,
    roots: impl IntoIterator<Item = &'a Verified>,
) -> BTreeMap<StatementId, Epoch<'a>> {
    let mut held: BTreeMap<StatementId, Epoch<'a>> = BTreeMap::new();
    for verified in roots {
        let statement = verified.statement();
        let Body::Root(root) = statement.body() else { continue };
        if statement.realm() != realm {
            continue;
        }
        let epoch =
            held.entry(statement.id()).or_insert_with(|| Epoch { root, signers: BTreeSet::new() });
        epoch.signers.extend(verified.signatures().keys().copied());
    }
    held
}

fn is_genesis(first: &Epoch<'_>) -> bool {
    first.root.prev.is_none()
        && first.root.epoch == 0
        && is_sound(first.root)
        && votes(&first.root.roots, &first.signers) >= first.root.k
}

/// Distinct roots, and a majority of them is needed.
fn is_sound(root: &Root) -> bool {
    let distinct: BTreeSet<_> = root.roots.iter().collect();
    let count = root.roots.len();
    let Ok(n) = u32::try_from(count) else { return false };
    distinct.len() == count && n >= 1 && root.k > n / 2 && root.k <= n
}

/// How many of `roots` signed: keys are counted, never signatures.
fn votes(roots: &[PublicKey], signers: &BTreeSet<PublicKey>) -> u32 {
    let counted = roots.iter().filter(|key| signers.contains(key)).count();
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// Walks from epoch to epoch until there is no successor, or rivals.
fn climb(held: &BTreeMap<StatementId, Epoch<'_>>, pin: &[StatementId], found: &mut Authority) {
    while let Some(&last) = found.path.last() {
        let parent = &held[&last];
        let next: Vec<StatementId> = held
            .iter()
            .filter(|(_, child)| succeeds(child, parent, last))
            .map(|(id, _)| *id)
            .collect();
        match next.as_slice() {
            [] => return,
            [only] => found.path.push(*only),
            rivals => match rivals.iter().find(|id| pin.contains(id)) {
                Some(pinned) => {
                    found.status = ChainStatus::ForkPinned;
                    found.evidence.extend_from_slice(rivals);
                    found.path.push(*pinned);
                }
                None => {
                    found.status = ChainStatus::Forked;
                    found.evidence = rivals.to_vec();
                    return;
                }
            },
        }
    }
}

/// A majority of the parent's roots decided it, and a majority of its own roots proved possession.
fn succeeds(child: &Epoch<'_>, parent: &Epoch<'_>, parent_id: StatementId) -> bool {
    child.root.prev == Some(parent_id)
        && parent.root.epoch.checked_add(1) == Some(child.root.epoch)
        && is_sound(child.root)
        && votes(&child.root.roots, &child.signers) >= child.root.k
        && votes(&parent.root.roots, &child.signers) >= parent.root.k
}

impl Authority {
    /// Epoch of the head; 0 if there is none.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.epoch)
    }

    /// All grants of a role that match a name. The longest exclusive one drops those with shorter
    /// patterns; an exact pattern is longer than any prefix.
    #[must_use]
    pub fn matching(&self, role: &str, format: &str, name: &str) -> Vec<&Grant> {
        let Some(head) = &self.head else { return Vec::new() };
        let matches = |grant: &&Grant| {
            grant.role == role
                && (grant.format == "*" || grant.format == format)
                && grant.pattern.matches(name)
        };
        let mut all: Vec<&Grant> = head.grants.iter().filter(matches).collect();
        let exclusive = all.iter().filter(|grant| grant.exclusive);
        if let Some(top) = exclusive.map(|grant| grant.pattern.specificity()).max() {
            all.retain(|grant| grant.pattern.specificity() >= top);
        }
        all
    }

    /// Who may publish the name: all matching grants count, the highest `need` applies.
    #[must_use]
    pub fn publishers(&self, format: &str, name: &str) -> Publishers {
        let grants = self.matching("publish", format, name);
        let need = grants.iter().map(|grant| grant.need).max().unwrap_or(1).max(1);
        let keys = grants.iter().filter_map(|grant| key_of(grant)).collect();
        Publishers { keys, need }
    }

    /// Whether a release of the name stands on `key` alone.
    #[must_use]
    pub fn may_publish(&self, key: &PublicKey, format: &str, name: &str) -> bool {
        let publishers = self.publishers(format, name);
        publishers.need == 1 && publishers.keys.contains(key)
    }

    /// Keys with the role `mirror`, each with the format it may vouch for (`*`: any).
    #[must_use]
    pub fn mirrors(&self) -> Vec<(PublicKey, String)> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let mirrors = grants.filter(|grant| grant.role == "mirror");
        mirrors.filter_map(|grant| Some((key_of(grant)?, grant.format.clone()))).collect()
    }

    /// Exact and prefix patterns of the `publish` grants, sorted, each once. A grant for every
    /// name or every format claims nothing.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let claims: BTreeSet<Claim> = grants
            .filter(|grant| grant.role == "publish")
            .filter(|grant| !grant.pattern.is_everything() && grant.format != "*")
            .map(|grant| Claim { format: grant.format.clone(), pattern: grant.pattern.clone() })
            .collect();
        claims.into_iter().collect()
    }
}

fn key_of(grant: &Grant) -> Option<PublicKey> {
    match &grant.to {
        Grantee::Key(key) => Some(*key),
        Grantee::Realm(_) | Grantee::Peer(_) => None,
    }
}
