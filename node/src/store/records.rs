//! What goes into the store and comes out of it: plain values, no behaviour.

use crdt::realm::Claim;
use crdt::{Checksums, Collection, Digest, Item, PackageId, RealmId, StatementId};
use serde::{Deserialize, Serialize};

use super::AcceptedMirror;

/// A blob that is complete and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Computed while it was written: sha256 always, the others where they were asked for.
    pub checksums: Checksums,
    /// Seconds of this node's clock when it was stored: a label, nothing is decided by it.
    pub stored: u64,
}

/// Which checksums to compute beside BLAKE3 and sha256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hashes {
    /// npm's `integrity`.
    pub sha512: bool,
    /// npm's `shasum`, Maven.
    pub sha1: bool,
    /// Maven, Conan.
    pub md5: bool,
}

/// One statement-signer pair that was new to the store.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// This store's order of admission.
    pub sequence: u64,
    /// Where it lies.
    pub collection: Collection,
    /// The pair.
    pub item: Item,
    /// The package that it is about, if it is about one.
    pub package: Option<PackageId>,
}

/// Sent to subscribers after each commit that admitted something.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// In the order of their sequences.
    pub new: Vec<NewItem>,
    /// Pairs that were not taken: unknown realm, or over a limit.
    pub ignored: usize,
}

/// How this node relates to a realm whose statements it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Which.
    pub realm: RealmId,
    /// Why.
    pub kind: FollowKind,
    /// Name patterns that a person confirmed at the follow, in order.
    pub claims: Vec<Claim>,
    /// Order of confirmation among realms.
    pub order: u64,
    /// The mirrors that a person accepted at the join, as they were shown to him. The own realm has
    /// none here: all that it grants are believed. See [`super::believed_mirrors`].
    pub mirrors: Vec<AcceptedMirror>,
}

/// Why a realm's statements are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FollowKind {
    /// This node's own.
    Own,
    /// Joined by an invite.
    Site,
    /// Chosen by a person.
    Followed,
    /// A realm that is followed grants names to its publishers: held for its authority alone. It
    /// supplies no names and has no views, and ends when nobody delegates to it any more.
    Delegate,
}

/// A row of the list of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSummary {
    /// Where.
    pub realm: RealmId,
    /// Which.
    pub package: PackageId,
    /// The target of the tag `latest`, if it is set.
    pub latest: Option<String>,
    /// How many versions the view has, disputed ones too.
    pub versions: usize,
    /// One line, made from the inline meta by the hook given at open.
    pub description: String,
}

/// How much there is of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Followed realms, the own one too.
    pub realms: u64,
    /// (realm, package) pairs that have a version.
    pub packages: u64,
    /// Versions in their views.
    pub releases: u64,
    /// Statements held.
    pub statements: u64,
    /// Complete blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Rows of the kind `want`.
    pub wants: u64,
}

/// An artifact that some admitted release of a followed realm names.
///
/// Nothing else is fetched by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// The blob.
    pub digest: Digest,
    /// Bytes, as signed.
    pub size: u64,
    /// As signed; absent for what a release carries beside its files (large meta, extras).
    pub checksums: Option<Checksums>,
    /// Where.
    pub realm: RealmId,
    /// Which package.
    pub package: PackageId,
    /// Normal version.
    pub version: String,
    /// File name; of a large meta, the file it belongs to; of extras, empty.
    pub file: String,
    /// The statement that names it.
    pub release: StatementId,
}
