//! Statements, authority and pins in; what a package is, out.
//!
//! ```text
//!  statements ──gather──▶ by id, signers joined      order and repetition disappear here
//!      └─ standing: releases with enough counting signers (or sealed)
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
//! Not here yet: `revoke` and `seal` are unknown types in this version. `standing::Judgement`
//! holds the sets that they will fill, empty until then. That a format forbids adding files to a
//! version later is a matter of rendering, not of what stands.
//!
//! Source: trust.md section 5, steps 4, 6 and 7, and section 6.

mod pointers;
mod slots;
mod standing;

pub use slots::best_meta;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::statement::{BlobRef, File, Meta};
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

/// One content of a slot, with who stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which bytes.
    pub content: Content,
    /// The signers that count, sorted.
    pub signers: Vec<PublicKey>,
    /// The releases that carry it, sorted.
    pub releases: Vec<StatementId>,
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
    /// Tag → the highest n within the head's epoch, for who signs next.
    pub tag_counters: BTreeMap<String, u64>,
    /// Release id → the highest n of a yank or unyank within the head's epoch.
    pub yank_counters: BTreeMap<String, u64>,
}

/// Derives one package.
///
/// The statements may come in any order and repeated; those of another realm or package are
/// ignored. Pure: equal sets, equal views.
#[must_use]
pub fn package<'a>(
    authority: &Authority,
    package: &PackageId,
    statements: impl IntoIterator<Item = &'a Verified>,
    pins: &Pins,
) -> PackageView {
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
    };
    if authority.head.is_some() {
        let judgement = standing::judge(authority, package, &held);
        view.versions = slots::versions(&judgement, pins);
        pointers::yanks(authority, &judgement, &held, &mut view);
        pointers::tags(authority, &judgement, &held, &mut view);
    }
    view
}

/// The statements of one package that are held, with the signers of all copies joined.
type Held<'a> = BTreeMap<StatementId, (&'a Statement, BTreeSet<PublicKey>)>;
