//! Statements, authority and pins in; what a package is, out. The rules of trust.md section 5.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::statement::{BlobRef, Meta};
use crate::{Authority, Checksums, Digest, PackageId, PublicKey, RealmId, StatementId, Verified};

/// What must not change in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content { /// bytes
    pub size: u64, /// digest
    pub blake3: Digest, /// and the clients' own
    pub checksums: Checksums }

/// What this node has pinned in one package: (normal version, file name) → content.
pub type Pins = BTreeMap<(String, String), Content>;

/// How a slot or a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState { /// one content
    Ok, /// several, or another one than the pin: the pin is served
    DisputedPinned, /// several, no pin: nothing is served by name
    Disputed, /// nothing stands any more, but it is pinned: exact requests only
    PinnedUnsupported }

/// One content of a slot, with who stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate { /// bytes
    pub content: Content, /// counted signers
    pub signers: Vec<PublicKey>, /// releases that carry it, sorted
    pub releases: Vec<StatementId>, /// highest extractor version, then lowest digest
    pub meta: Option<Meta> }

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView { /// state of the slot
    pub state: SlotState, /// the content that this node serves by name, if any: an index into `candidates`, or the pin
    pub serves: Option<Content>, /// all standing contents, sorted
    pub candidates: Vec<Candidate> }

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView { /// worst state of its slots, as trust.md section 6 says at the end
    pub state: SlotState, /// as its publisher wrote it (lowest id decides)
    pub written: String, /// by file name
    pub files: BTreeMap<String, FileView>, /// standing releases, sorted
    pub releases: Vec<StatementId>, /// reason, if every standing release of the version is yanked
    pub yanked: Option<String>, /// lowest among the standing releases; shown, never judged
    pub claimed_time: u64, /// descriptive extras of the standing releases
    pub extras: Option<BlobRef>, /// other bytes were once signed for a slot of it and withdrawn
    pub withdrawn_others: bool }

/// What a package is, for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageView { /// where
    pub realm: RealmId, /// which
    pub package: PackageId, /// by normal version
    pub versions: BTreeMap<String, VersionView>, /// tag → normal version; unset tags (disputed or yanked target, tie) are absent
    pub tags: BTreeMap<String, String>, /// highest counters seen, for who signs next: tag name → n within the head's epoch
    pub tag_counters: BTreeMap<String, u64>, /// release id → highest yank/unyank n within the head's epoch
    pub yank_counters: BTreeMap<String, u64> }

/// Derives one package. The statements may come in any order and repeated; those of another realm
/// or package are ignored. Pure: equal sets, equal views.
#[must_use]
pub fn package<'a>(authority: &Authority, package: &PackageId, statements: impl IntoIterator<Item = &'a Verified>, pins: &Pins) -> PackageView { let _ = (authority, package, statements.into_iter().count(), pins); todo!() }
