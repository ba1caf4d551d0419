//! Statements, authority and pins in; what a package is, out.
//!
//! ```text
//!  statements ──gather──▶ by id, signers joined      order and repetition disappear here
//!      └─ standing: releases with enough counting signers (or sealed)
//!      │     └─ fallen: the others, with the reason
//!            └─ slots: (version, file name) → contents → ok, disputed …
//!                  └─ pointers: yanks and tags, by counter
//! ```
//!
//! Everything is a function of a set, so nodes that hold the same statements see the same package,
//! whatever way they came. What must not change in a slot is its [`Content`]: size and digests.
//! Pins are what this node has served or published; they are never replaced by an arrival, only by
//! a person. Ties are shown, not broken: no clock, hash or name decides between two contents.
//!
//! A tag's target is a release: the tag is set while that release stands, and its version is
//! neither disputed nor yanked. Where a tag is not set, the highest stable version takes its place;
//! that needs the format's order of versions, so it is not computed here.
//!
//! [`package`] is told what the realm's authority rules of the package's releases, so that a store
//! can look it up; [`realm`] computes it from all statements at once. That a format forbids adding
//! files to a version later is a matter of rendering, not of what stands.
//!
//! Source: trust.md section 5, steps 4, 6 and 7, and section 6.

mod pointers;
mod slots;
mod standing;
mod whole;

pub use slots::best_meta;
pub use whole::{AllPins, RealmView, realm};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::realm::Publishers;
use crate::statement::{BlobRef, Counter, File, Meta};
use crate::{
    Authority, Checksums, Digest, PackageId, PublicKey, RealmId, Statement, StatementId, Verified,
};

/// What must not change in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// Length in bytes.
    pub size: u64,
    /// Our digest.
    pub blake3: Digest,
    /// The clients' own.
    pub checksums: Checksums,
}

impl Content {
    /// The content of a file of a release.
    #[must_use]
    pub fn of(file: &File) -> Self {
        Self { size: file.size, blake3: file.blake3, checksums: file.checksums.clone() }
    }
}

/// What this node has pinned in one package: (normal version, file name) → content.
pub type Pins = BTreeMap<(String, String), Content>;

/// How a slot or a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// One content.
    Ok,
    /// Several, or another one than the pin: the pin is served.
    DisputedPinned,
    /// Several, and no pin: nothing is served by name.
    Disputed,
    /// Nothing stands any more, but it is pinned: exact requests only.
    PinnedUnsupported,
}

/// Why a release that somebody granted has signed does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallen {
    /// Fewer distinct signers count than the grants need.
    Signers {
        /// How many count.
        have: u32,
        /// How many it takes.
        need: u32,
    },
    /// Keys were revoked that did not keep it: by these statements, sorted.
    Revoked(Vec<StatementId>),
    /// Its signers have withdrawn.
    Withdrawn,
    /// A keep list that may save it is not held yet.
    NotYetKnown,
    /// Its version is sealed without it: it waits until it is sealed, too.
    Closed,
}

/// A release that does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallenRelease {
    /// Which.
    pub release: StatementId,
    /// Its granted signers, sorted.
    pub signers: Vec<PublicKey>,
    /// Its files' names, sorted.
    pub files: Vec<String>,
    /// Why.
    pub why: Fallen,
}

/// One content of a slot, with who stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which bytes.
    pub content: Content,
    /// The signers that count, sorted.
    pub signers: Vec<PublicKey>,
    /// The releases that carry it, sorted.
    pub releases: Vec<StatementId>,
    /// Whether a seal names one of them.
    pub sealed: bool,
    /// That of the highest extractor version, then of the lowest digest.
    pub meta: Option<Meta>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// How the slot stands.
    pub state: SlotState,
    /// The content that this node serves, if any: one of the candidates, or the pin.
    pub serves: Option<Content>,
    /// All standing contents, sorted.
    pub candidates: Vec<Candidate>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Disputed if a slot is, else disputed-pinned if one is, else ok if one is.
    pub state: SlotState,
    /// As its publisher wrote it (the lowest id decides).
    pub written: String,
    /// By file name.
    pub files: BTreeMap<String, FileView>,
    /// The standing releases, sorted.
    pub releases: Vec<StatementId>,
    /// The reason, if every standing release of the version is yanked.
    pub yanked: Option<String>,
    /// The lowest among the standing releases; shown, never judged.
    pub claimed_time: u64,
    /// Descriptive extras of the standing releases (the lowest id that has some decides).
    pub extras: Option<BlobRef>,
    /// Whether other bytes were once signed for a slot of it and withdrawn.
    pub withdrawn_others: bool,
}

/// What a package is, for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageView {
    /// In which realm.
    pub realm: RealmId,
    /// Which package.
    pub package: PackageId,
    /// By normal version.
    pub versions: BTreeMap<String, VersionView>,
    /// Tag → normal version; tags that are unset are absent.
    pub tags: BTreeMap<String, String>,
    /// Tag → the highest counter that can have an effect, for who signs next.
    pub tag_counters: BTreeMap<String, Counter>,
    /// Release id → the highest counter of a yank or unyank that can have an effect.
    pub yank_counters: BTreeMap<String, Counter>,
    /// By normal version, releases that do not stand though somebody granted has signed them.
    pub fallen: BTreeMap<String, Vec<FallenRelease>>,
}

impl PackageView {
    /// Whether there is nothing to show: no version, tag, counter or fallen release.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
            && self.tags.is_empty()
            && self.tag_counters.is_empty()
            && self.yank_counters.is_empty()
            && self.fallen.is_empty()
    }
}

/// What a realm's authority says of one package.
#[derive(Debug, Clone)]
pub struct Ground<'g> {
    /// The chain.
    pub authority: &'g Authority,
    /// Who may publish the name.
    pub publishers: Publishers,
    /// The sealed releases, at least those of this package.
    pub firm: BTreeSet<StatementId>,
}

/// Derives one package.
///
/// The statements may come in any order and repeated; those of another realm or package are
/// ignored. Pure: equal sets, equal views.
#[must_use]
pub fn package<'a>(
    ground: &Ground<'_>,
    package: &PackageId,
    statements: impl IntoIterator<Item = &'a Verified>,
    pins: &Pins,
) -> PackageView {
    let authority = ground.authority;
    let mut held = Held::new();
    for envelope in statements {
        let statement = envelope.statement();
        if statement.realm() == authority.realm && statement.package() == Some(package) {
            let joined = held.entry(statement.id()).or_insert((statement, BTreeSet::new()));
            joined.1.extend(envelope.signatures().keys());
        }
    }
    let mut view = PackageView {
        realm: authority.realm,
        package: package.clone(),
        versions: BTreeMap::new(),
        tags: BTreeMap::new(),
        tag_counters: BTreeMap::new(),
        yank_counters: BTreeMap::new(),
        fallen: BTreeMap::new(),
    };
    if authority.head.is_some() {
        let judgement = standing::judge(ground, &held);
        view.versions = slots::versions(&judgement, pins);
        pointers::yanks(authority, &judgement, &held, &mut view);
        pointers::tags(authority, &judgement, &held, &mut view);
        view.fallen = judgement.fallen;
    }
    view
}

/// The statements of one package that are held, with the signers of all copies joined.
type Held<'a> = BTreeMap<StatementId, (&'a Statement, BTreeSet<PublicKey>)>;
