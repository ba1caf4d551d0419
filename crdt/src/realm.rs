//! A realm's authority: the chain of its root epochs, and who may say what under the head.

use serde::{Deserialize, Serialize};

use crate::statement::{Grant, Pattern, Root};
use crate::{PublicKey, RealmId, StatementId, Verified};

/// How the chain ended. Source: trust.md sections 5 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainStatus { /// genesis not held
    Unknown, /// genesis unsound
    Invalid, /// one line up to the head
    Ok, /// two successors; frozen before them
    Forked, /// two successors, this node's pin chose
    ForkPinned }

/// Who may say what in a realm, computed from its `root` statements.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority { /// which realm
    pub realm: RealmId, /// how the chain ended
    pub status: ChainStatus, /// ids from genesis to head
    pub path: Vec<StatementId>, /// the head's content
    pub head: Option<Root>, /// rival successors of a fork
    pub evidence: Vec<StatementId> }

/// The keys that may publish a name, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishers { /// distinct keys
    pub keys: std::collections::BTreeSet<PublicKey>, /// highest `need` of the matching grants
    pub need: u32 }

/// A name pattern that a realm's `publish` grants claim (never `*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim { /// format id
    pub format: String, /// names
    pub pattern: Pattern }

/// Computes the chain from a set of a realm's `root` statements, in any order, with duplicates.
/// `pin` is the chain that this node has accepted before, genesis first.
#[must_use]
pub fn authority<'a>(realm: RealmId, roots: impl IntoIterator<Item = &'a Verified>, pin: &[StatementId]) -> Authority { let _ = (realm, roots.into_iter().count(), pin); todo!() }

impl Authority {
    /// Epoch of the head; 0 if there is none.
    #[must_use] pub fn epoch(&self) -> u64 { self.head.as_ref().map_or(0, |head| head.epoch) }
    /// All grants that match, after `exclusive` has dropped the broader ones.
    #[must_use] pub fn matching(&self, role: &str, format: &str, name: &str) -> Vec<&Grant> { let _ = (role, format, name); todo!() }
    /// Who may publish the name.
    #[must_use] pub fn publishers(&self, format: &str, name: &str) -> Publishers { let _ = (format, name); todo!() }
    /// Whether `key` alone may publish the name (granted, and need is 1).
    #[must_use] pub fn may_publish(&self, key: &PublicKey, format: &str, name: &str) -> bool { let _ = (key, format, name); todo!() }
    /// Keys with the role `mirror`, with their formats.
    #[must_use] pub fn mirrors(&self) -> Vec<(PublicKey, String)> { todo!() }
    /// Exact and prefix patterns of the `publish` grants: what following the realm would take.
    #[must_use] pub fn claims(&self) -> Vec<Claim> { todo!() }
}
