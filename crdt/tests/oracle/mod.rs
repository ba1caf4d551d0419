//! The reference model: a straight transcription of the rule book's pseudocode, slow and plain on
//! purpose.
//!
//! ```text
//!  gather ─▶ chain ─▶ rights (grants, delegation, revocations, seals) ─▶ slots ─▶ pointers
//! ```
//!
//! It shares no code with what it checks but the statements and the names of states, keeps
//! everything in lists, and looks everything up again each time. [`project`] brings a view of the
//! code under test into the model's form, so that the two can be compared.
//!
//! Not here: what makes the random sets (`pool`), and the laws over them (`laws`).
//!
//! Source: trust.md section 6.

mod chain;
mod pointers;
mod project;
mod rights;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use crdt::derive::{AllPins, Content, SlotState};
use crdt::realm::{ChainStatus, Lists};
use crdt::statement::{Meta, Root};
use crdt::{Body, Digest, PackageId, PublicKey, RealmId, StatementId, Verified};

pub(crate) use chain::{Chain, chain};
pub(crate) use project::project;

/// What a realm is, in so far as the rule book says it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) status: ChainStatus,
    pub(crate) path: Vec<StatementId>,
    /// The rivals of a fork, and recoveries that wait.
    pub(crate) evidence: BTreeSet<StatementId>,
    /// Who signed more than one rival of a fork.
    pub(crate) double_signers: BTreeSet<PublicKey>,
    /// Packages of which there is something to show.
    pub(crate) packages: BTreeMap<PackageId, Package>,
    /// Blobs of lists without which something is not yet known.
    pub(crate) missing: BTreeSet<Digest>,
}

/// What a package is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Package {
    /// (version, file name) → what the slot holds.
    pub(crate) slots: BTreeMap<(String, String), Slot>,
    pub(crate) versions: BTreeMap<String, SlotState>,
    /// Version → the releases that stand.
    pub(crate) standing: BTreeMap<String, BTreeSet<StatementId>>,
    pub(crate) yanked: BTreeSet<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Versions with a file of which other bytes were signed, and withdrawn.
    pub(crate) withdrawn_others: BTreeSet<String>,
    /// Releases that wait for a seal of their closed version.
    pub(crate) closed: BTreeSet<StatementId>,
    /// Releases that stand if lists which are not held keep them.
    pub(crate) not_yet_known: BTreeSet<StatementId>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    pub(crate) state: SlotState,
    pub(crate) serves: Option<Content>,
    pub(crate) candidates: Vec<Candidate>,
}

/// One content that stands in a slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) content: Content,
    pub(crate) signers: BTreeSet<PublicKey>,
    pub(crate) releases: BTreeSet<StatementId>,
    pub(crate) sealed: bool,
    pub(crate) meta: Option<Meta>,
}

/// A statement, with the signers of all its copies.
pub(crate) struct Fact<'a> {
    pub(crate) id: StatementId,
    pub(crate) realm: RealmId,
    pub(crate) package: Option<&'a PackageId>,
    pub(crate) body: &'a Body,
    pub(crate) signers: Vec<PublicKey>,
}

/// All that is given.
pub(crate) struct Given<'a> {
    pub(crate) held: Vec<Fact<'a>>,
    pub(crate) pins: &'a AllPins,
    pub(crate) lists: &'a Lists,
}

impl<'a> Given<'a> {
    pub(crate) fn gather(envelopes: &'a [Verified], pins: &'a AllPins, lists: &'a Lists) -> Self {
        let mut held: Vec<Fact<'a>> = Vec::new();
        for envelope in envelopes {
            let statement = envelope.statement();
            let at = held.iter().position(|fact| fact.id == statement.id()).unwrap_or_else(|| {
                held.push(Fact {
                    id: statement.id(),
                    realm: statement.realm(),
                    package: statement.package(),
                    body: statement.body(),
                    signers: vec![],
                });
                held.len() - 1
            });
            for key in envelope.signatures().keys() {
                if !held[at].signers.contains(key) {
                    held[at].signers.push(*key);
                }
            }
        }
        held.sort_by_key(|fact| fact.id);
        Self { held, pins, lists }
    }

    fn root(&self, id: StatementId) -> Option<(&'a Root, &[PublicKey])> {
        let fact = self.held.iter().find(|fact| fact.id == id)?;
        match fact.body {
            Body::Root(root) => Some((root, &fact.signers)),
            _ => None,
        }
    }

    fn of_realm(&self, realm: RealmId) -> impl Iterator<Item = &Fact<'a>> {
        self.held.iter().filter(move |fact| fact.realm == realm)
    }
}

/// How many keys are in both lists.
fn both(some: &[PublicKey], others: &[PublicKey]) -> usize {
    some.iter().filter(|key| others.contains(key)).count()
}

pub(crate) fn model(given: &Given<'_>, realm: RealmId) -> Model {
    let Chain { path, status, evidence, double_signers } = chain(given, realm);
    let mut model = Model {
        status,
        path,
        evidence,
        double_signers,
        packages: BTreeMap::new(),
        missing: BTreeSet::new(),
    };
    let Some(rights) = rights::Rights::new(given, realm, &model.path) else {
        return model;
    };
    model.missing = rights.missing();
    let named = given.of_realm(realm).filter_map(|fact| fact.package);
    let names: BTreeSet<_> = named.chain(given.pins.contents.keys()).collect();
    for name in names {
        let mut package = slots::package(&rights, name);
        pointers::yanks(&rights, name, &mut package);
        pointers::tags(&rights, name, &mut package);
        if package != Package::default() {
            model.packages.insert(name.clone(), package);
        }
    }
    model
}
