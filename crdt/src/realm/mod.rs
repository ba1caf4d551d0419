//! A realm's authority: the chain of its root epochs, and who may say what under the head.
//!
//! The chain starts at the genesis, whose id is the realm's. Each next epoch is signed by a
//! majority of the roots before it, and by a majority of its own roots, which proves that those
//! keys exist and agree. Two majorities share a key, so two successors of one root mean that
//! somebody signed both: the chain stops before them and names who it was. Nothing is decided by a
//! clock, a hash or an order of arrival.
//!
//! A root that is signed by the recovery keys of its parent outranks the ordinary successors. A
//! node that has accepted a chain before does not follow such a recovery by itself: it stays on
//! its branch until a person accepts the other.
//!
//! The grants of the head count, and no others. All grants that match a name count together, under
//! the highest `need` among them; an `exclusive` one keeps broader ones out of its names.
//!
//! Seals and revocations are judged in `rulings`, grants to other realms followed in `delegation`;
//! what waits for more signatures is listed by `pending`.
//!
//! Source: trust.md sections 4 to 6.

mod delegation;
mod pending;
mod rulings;

pub use delegation::{MAX_DELEGATION_DEPTH, Publishers, Reach, delegates, publishers};
pub use pending::{By, Pending, Quorum, pending, quorums};
pub use rulings::{Kept, Lists, Realm, Realms, Revoked, firm, revoked};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::statement::{
    Body, Counter, Grant, Grantee, MAX_COUNTER, MAX_ROOTS, Pattern, Root, recovery_hash,
};
use crate::{PublicKey, RealmId, StatementId, Verified};

/// How the chain ended. Source: trust.md sections 5 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainStatus {
    /// The genesis is not held.
    Unknown,
    /// The genesis is not sound, or not signed by enough of its roots.
    Invalid,
    /// One line up to the head.
    Ok,
    /// Two successors: authority is frozen before them.
    Forked,
    /// Two successors, and this node's pin chose.
    ForkPinned,
    /// A recovery waits for a person: this node stays on the branch that it had accepted.
    RecoverPending,
}

/// Who may say what in a realm, computed from its `root` statements.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    /// Which realm.
    pub realm: RealmId,
    /// How the chain ended.
    pub status: ChainStatus,
    /// Ids from the genesis to the head; empty if there is no head.
    pub path: Vec<StatementId>,
    /// Who acted in each epoch of the path, genesis first.
    pub epochs: Vec<Epoch>,
    /// The head's content.
    pub head: Option<Root>,
    /// The rival successors where the chain forks or a recovery waits, sorted.
    pub evidence: Vec<StatementId>,
    /// Of the keys that had a say, those that signed more than one of several rivals.
    pub double_signers: BTreeSet<PublicKey>,
}

/// What seals are judged by: one root of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The root keys.
    pub roots: Vec<PublicKey>,
    /// How many of them act.
    pub k: u32,
    /// The earlier seals that go on counting, ascending; absent means all.
    pub seals: Option<Vec<StatementId>>,
}

/// A name pattern that a realm's `publish` grants claim (never `*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// A format's id, or `*`.
    pub format: String,
    /// The names.
    pub pattern: Pattern,
}

/// The roots that are held, with the signers of all copies joined.
type Held<'a> = BTreeMap<StatementId, (&'a Root, BTreeSet<PublicKey>)>;

/// Where the chain may go: the roots that are held by their parent, and the chain that is pinned.
/// Each step looks at what follows it alone, so a chain costs what it is long.
struct Ahead<'a> {
    held: Held<'a>,
    children: BTreeMap<StatementId, Vec<StatementId>>,
    pin: BTreeSet<StatementId>,
}

/// Computes the chain from a set of a realm's `root` statements, in any order, with duplicates.
///
/// `pin` is the chain that this node has accepted before, genesis first. Statements of other realms
/// and of other types are ignored.
#[must_use]
pub fn authority<'a>(
    realm: RealmId,
    roots: impl IntoIterator<Item = &'a Verified>,
    pin: &[StatementId],
) -> Authority {
    let mut held = Held::new();
    for envelope in roots {
        let statement = envelope.statement();
        if let (true, Body::Root(root)) = (statement.realm() == realm, statement.body()) {
            let (_, signers) = held.entry(statement.id()).or_insert((root, BTreeSet::new()));
            signers.extend(envelope.signatures().keys());
        }
    }
    let mut chain = Authority {
        realm,
        status: ChainStatus::Unknown,
        path: Vec::new(),
        epochs: Vec::new(),
        head: None,
        evidence: Vec::new(),
        double_signers: BTreeSet::new(),
    };
    let genesis = StatementId(realm.0);
    let Some((root, signers)) = held.get(&genesis) else {
        return chain;
    };
    if root.prev.is_some() || root.epoch != 0 || !possessed(root, signers) {
        chain.status = ChainStatus::Invalid;
        return chain;
    }
    chain.status = ChainStatus::Ok;
    chain.path.push(genesis);
    let mut children = BTreeMap::<_, Vec<_>>::new();
    for (id, (root, _)) in &held {
        if let Some(prev) = root.prev {
            children.entry(prev).or_default().push(*id);
        }
    }
    let ahead = Ahead { held, children, pin: pin.iter().copied().collect() };
    while let Some(next) = chain.step(&ahead) {
        chain.path.push(next);
    }
    chain.evidence.sort_unstable();
    let held = &ahead.held;
    let roots = chain.path.iter().filter_map(|id| held.get(id));
    chain.epochs = roots
        .map(|(root, _)| Epoch { roots: root.roots.clone(), k: root.k, seals: root.seals.clone() })
        .collect();
    chain.head = chain.path.last().and_then(|id| held.get(id)).map(|(root, _)| (*root).clone());
    chain
}

/// Sound, and signed by k of its own roots.
fn possessed(root: &Root, signers: &BTreeSet<PublicKey>) -> bool {
    let distinct: BTreeSet<_> = root.roots.iter().collect();
    let count = root.roots.len();
    let majority = count / 2 + 1;
    distinct.len() == count
        && (1..=MAX_ROOTS).contains(&count)
        && (majority..=count).contains(&(root.k as usize))
        && quorum(root, signers)
}

/// Signed by k of the roots.
fn quorum(root: &Root, signers: &BTreeSet<PublicKey>) -> bool {
    root.roots.iter().filter(|key| signers.contains(key)).count() >= root.k as usize
}

/// Signed by rk of the recovery keys.
fn rescues(root: &Root, signers: &BTreeSet<PublicKey>) -> bool {
    let known = signers.iter().filter(|key| root.recovery.contains(&recovery_hash(key)));
    root.rk >= 1 && known.count() >= root.rk as usize
}

impl Authority {
    /// The next epoch after the last of the path, if there is exactly one to follow.
    fn step(&mut self, ahead: &Ahead<'_>) -> Option<StatementId> {
        let Ahead { held, children, pin } = ahead;
        let last = self.path.last()?;
        let (parent, _) = held.get(last)?;
        let named = children.get(last).into_iter().flatten();
        let children = named.filter_map(|id| Some((id, held.get(id)?))).filter(|(_, root)| {
            let (child, signers) = root;
            Some(child.epoch) == parent.epoch.checked_add(1) && possessed(child, signers)
        });
        let (mut ordinary, mut rescued) = (Vec::new(), Vec::new());
        for (id, (_, signers)) in children {
            if rescues(parent, signers) {
                rescued.push(*id);
            }
            if quorum(parent, signers) {
                ordinary.push(*id);
            }
        }
        let either: BTreeSet<_> = ordinary.iter().chain(&rescued).copied().collect();
        let mut on_pin = either.iter().copied().filter(|id| pin.contains(id));
        let pinned = on_pin.next().filter(|_| on_pin.next().is_none());
        if !rescued.is_empty() && !pin.is_empty() && !rescued.iter().any(|id| pin.contains(id)) {
            self.status = ChainStatus::RecoverPending;
            self.contest(parent, &rescued, held);
            return pinned;
        }
        let next = if rescued.is_empty() { ordinary } else { rescued };
        match next.as_slice() {
            [] => None,
            [only] => Some(*only),
            rivals => {
                let pinned = pinned.filter(|id| rivals.contains(id));
                self.status = pinned.map_or(ChainStatus::Forked, |_| ChainStatus::ForkPinned);
                self.contest(parent, rivals, held);
                pinned
            }
        }
    }

    /// Notes the rivals, and who signed more than one of them. Only keys that `parent` gave a say
    /// are named: a stranger, or a root to come, decides nothing by signing beside them.
    fn contest(&mut self, parent: &Root, rivals: &[StatementId], held: &Held<'_>) {
        let has_a_say = |key: &&PublicKey| {
            parent.roots.contains(key) || parent.recovery.contains(&recovery_hash(key))
        };
        let mut seen = BTreeSet::new();
        for (_, signers) in rivals.iter().filter_map(|id| held.get(id)) {
            let twice = signers.iter().filter(has_a_say).filter(|key| !seen.insert(**key));
            self.double_signers.extend(twice);
        }
        self.evidence.extend(rivals);
    }

    /// Epoch of the head; 0 if there is none.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.epoch)
    }

    /// Whether a counter can have an effect: not above the head's epoch, n not above 2^53.
    #[must_use]
    pub fn admits(&self, counter: Counter) -> bool {
        self.head.is_some() && counter.epoch <= self.epoch() && counter.n <= MAX_COUNTER
    }

    /// Whether k of the head's roots are among the signers.
    #[must_use]
    pub fn signed_by_roots(&self, signers: &BTreeSet<PublicKey>) -> bool {
        self.head.as_ref().is_some_and(|head| quorum(head, signers))
    }

    /// All grants that match, after `exclusive` has dropped the broader ones.
    #[must_use]
    pub fn matching(&self, role: &str, format: &str, name: &str) -> Vec<&Grant> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let mut all: Vec<_> = grants
            .filter(|grant| grant.role == role)
            .filter(|grant| grant.format == "*" || grant.format == format)
            .filter(|grant| grant.pattern.matches(name))
            .collect();
        let exclusive = all.iter().filter(|grant| grant.exclusive);
        if let Some(top) = exclusive.map(|grant| grant.pattern.specificity()).max() {
            all.retain(|grant| grant.pattern.specificity() >= top);
        }
        all
    }

    /// Keys with a role for a name, granted to themselves: no other realm is looked at, and no
    /// revocation.
    #[must_use]
    pub fn holders(&self, role: &str, format: &str, name: &str) -> BTreeSet<PublicKey> {
        let grants = self.matching(role, format, name).into_iter();
        let keys = grants.filter_map(|grant| match &grant.to {
            Grantee::Key(key) => Some(*key),
            Grantee::Realm(_) | Grantee::Peer(_) => None,
        });
        keys.collect()
    }

    /// Whether nobody but its readers may see the realm: its head grants the role `read`.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        grants.into_iter().any(|grant| grant.role == "read")
    }

    /// Who may see it if it is private: its roots, and the keys that its head grants any role but
    /// `member`. A realm that is granted something is no reader, nor is a peer.
    #[must_use]
    pub fn readers(&self) -> BTreeSet<PublicKey> {
        let Some(head) = &self.head else { return BTreeSet::new() };
        let granted = head.grants.iter().filter(|grant| grant.role != "member");
        let keys = granted.filter_map(|grant| match &grant.to {
            Grantee::Key(key) => Some(*key),
            Grantee::Realm(_) | Grantee::Peer(_) => None,
        });
        keys.chain(head.roots.iter().copied()).collect()
    }

    /// Keys with a role, under whatever names.
    #[must_use]
    pub fn keys_with(&self, role: &str) -> BTreeSet<PublicKey> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let keys = grants.filter(|grant| grant.role == role).filter_map(|grant| match &grant.to {
            Grantee::Key(key) => Some(*key),
            Grantee::Realm(_) | Grantee::Peer(_) => None,
        });
        keys.collect()
    }

    /// Keys with the role `mirror` for every name of a format, with that format (or `*`), sorted.
    ///
    /// A grant for some names of a format alone makes nobody a mirror of the whole format: for one
    /// document ask [`matching`](Self::matching).
    #[must_use]
    pub fn mirrors(&self) -> Vec<(PublicKey, String)> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let mirrors = grants
            .filter(|grant| grant.role == "mirror" && grant.pattern.is_everything())
            .filter_map(|grant| match &grant.to {
                Grantee::Key(key) => Some((*key, grant.format.clone())),
                Grantee::Realm(_) | Grantee::Peer(_) => None,
            });
        mirrors.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Exact and prefix patterns of the `publish` grants, sorted: what following the realm would
    /// take.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let grants = self.head.iter().flat_map(|head| &head.grants);
        let claims = grants
            .filter(|grant| grant.role == "publish" && !grant.pattern.is_everything())
            .map(|grant| Claim { format: grant.format.clone(), pattern: grant.pattern.clone() });
        claims.collect::<BTreeSet<_>>().into_iter().collect()
    }
}
