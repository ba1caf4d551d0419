//! Bytes and records at rest. (header to be written: picture of the folder; what survives a crash)

use std::collections::BTreeMap;
use std::path::Path;

use crdt::routes::{Rule, Source};
use crdt::realm::Claim;
use crdt::{Authority, Checksums, Collection, Content, Digest, Item, PackageId, PackageView, Pins, PublicKey, RealmId, StatementId, Verified};
use serde::{Deserialize, Serialize};

pub mod blob;
pub mod partial;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("disk: {0}")] Io(#[from] std::io::Error),
    #[error("the disk is full: {free} bytes free, {needed} needed")] Full { free: u64, needed: u64 },
    #[error("database: {0}")] Database(String),
    #[error("the bytes do not have the digest {expected}")] WrongDigest { expected: Digest },
    #[error("more than {limit} bytes")] TooLarge { limit: u64 },
    #[error("another griot node runs on this home")] Locked,
}

/// A handle; clones are cheap. One writer inside; readers run beside it.
#[derive(Clone, Debug)]
pub struct Store { /// replace by Arc<Inner>
    _p: () }

/// A blob that is complete and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo { /// name
    pub digest: Digest, /// bytes
    pub size: u64, /// all four are computed at ingest only where asked; sha256 always
    pub checksums: Checksums, /// seconds of node's clock when stored (label)
    pub stored: u64 }

/// Which checksums to compute beside BLAKE3 and sha256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Hashes { pub sha512: bool, pub sha1: bool, pub md5: bool }

/// One statement-signer pair that was new to the store.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct NewItem { pub sequence: u64, pub collection: Collection, pub item: Item, pub package: Option<PackageId> }

/// Sent to subscribers after each commit that admitted something.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Admission { pub new: Vec<NewItem>, /// refused: unknown realm, limits
    pub ignored: usize }

/// How this node relates to a realm whose statements it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Followed { pub realm: RealmId, pub kind: FollowKind, /// claims confirmed at the follow, in order
    pub claims: Vec<Claim>, /// order of confirmation among realms
    pub order: u64, /// accepted mirrors' formats, at a join
    pub mirrors: bool }
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum FollowKind { Own, Site, Followed }

/// A row of the list of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PackageSummary { pub realm: RealmId, pub package: PackageId, pub latest: Option<String>, pub versions: usize, pub description: String }

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Counts { pub realms: u64, pub packages: u64, pub releases: u64, pub statements: u64, pub blobs: u64, pub blob_bytes: u64, pub wants: u64 }

/// An artifact that some admitted release of a followed realm names: the only thing fetched by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ArtifactRef { pub digest: Digest, pub size: u64, pub checksums: Option<Checksums>, pub realm: RealmId, pub package: PackageId, pub version: String, pub file: String, pub release: StatementId }

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Store {
    /// Opens or creates the store under `home`; takes the lock; removes leftovers of a crash (temporary files).
    pub fn open(home: &Path) -> Result<Self, Error> { todo!() }

    // ---- blobs -------------------------------------------------------------------------------
    /// A temporary file that hashes what is written to it in the same pass. `limit` is the largest size accepted.
    pub async fn writer(&self, hashes: Hashes, limit: u64) -> Result<blob::BlobWriter, Error> { todo!() }
    /// Makes a staged file a blob: sync, rename, record. Idempotent: an existing blob wins, the copy is dropped.
    pub async fn commit(&self, staged: blob::Staged) -> Result<BlobInfo, Error> { todo!() }
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> { todo!() }
    /// Opens a complete blob for reading.
    pub async fn open_blob(&self, digest: &Digest) -> Result<Option<(BlobInfo, tokio::fs::File)>, Error> { todo!() }
    /// Forgets a blob and removes its file (a quarantined or refused one).
    pub async fn remove_blob(&self, digest: &Digest) -> Result<(), Error> { todo!() }
    /// A download in progress, resumed if one was cut: see `partial.rs`.
    pub async fn partial(&self, digest: &Digest, size: u64) -> Result<partial::Partial, Error> { todo!() }
    /// Free bytes on the blobs' device.
    pub fn free_space(&self) -> Result<u64, Error> { todo!() }

    // ---- statements --------------------------------------------------------------------------
    /// Admits verified statements in one commit: new (id, signer) pairs get a sequence, collections'
    /// fingerprints, the log, views and artifact rows follow in the same transaction. Statements of realms
    /// that are not followed are ignored (counted). `cursor`: peer id bytes → (their epoch, their sequence).
    pub async fn admit(&self, batch: Vec<Verified>, cursor: Option<(Vec<u8>, u64, u64)>) -> Result<Admission, Error> { todo!() }
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<std::sync::Arc<Admission>> { todo!() }
    pub fn peer_seen(&self, peer: &[u8]) -> Result<Option<(u64, u64)>, Error> { todo!() }
    pub async fn set_peer_seen(&self, peer: &[u8], epoch: u64, sequence: u64) -> Result<(), Error> { todo!() }
    /// Statements of one package of one realm (for the document and for export).
    pub fn package_statements(&self, realm: &RealmId, package: &PackageId) -> Result<Vec<Verified>, Error> { todo!() }
    /// `root` and `route` statements of a realm.
    pub fn authority_statements(&self, realm: &RealmId) -> Result<Vec<Verified>, Error> { todo!() }
    pub fn statement(&self, id: &StatementId) -> Result<Option<Verified>, Error> { todo!() }
    pub fn counts(&self) -> Result<Counts, Error> { todo!() }

    // ---- views -------------------------------------------------------------------------------
    pub fn authority(&self, realm: &RealmId) -> Result<Authority, Error> { todo!() }
    /// The derived view with this node's pins applied. `None`: no standing or pinned version.
    pub fn package(&self, realm: &RealmId, package: &PackageId) -> Result<Option<PackageView>, Error> { todo!() }
    /// Every followed realm that has the name, sorted by realm.
    pub fn realms_with(&self, package: &PackageId) -> Result<Vec<RealmId>, Error> { todo!() }
    /// Case-insensitive substring of name or description; `format` narrows; pages by limit and offset. (rows, total)
    pub fn search(&self, query: &str, format: Option<&str>, limit: usize, offset: usize) -> Result<(Vec<PackageSummary>, usize), Error> { todo!() }
    /// Which artifacts (of followed realms) have this digest.
    pub fn artifact(&self, digest: &Digest) -> Result<Vec<ArtifactRef>, Error> { todo!() }
    /// Bumped by each admission or pin that touches the package: an ETag seed that survives a restart.
    pub fn revision(&self, package: &PackageId) -> Result<u64, Error> { todo!() }
    /// The automerge document of a package, brought up to date in one batch (the only place that touches automerge).
    pub async fn document(&self, realm: &RealmId, package: &PackageId) -> Result<Vec<u8>, Error> { todo!() }

    // ---- local state: never gossiped, never rebuilt ------------------------------------------
    /// Adds or changes; statements already lobbied are not kept, so sync follows.
    pub async fn follow(&self, followed: Followed) -> Result<(), Error> { todo!() }
    pub async fn unfollow(&self, realm: &RealmId) -> Result<bool, Error> { todo!() }
    pub fn followed(&self) -> Result<Vec<Followed>, Error> { todo!() }
    /// Fires when `followed` changes.
    pub fn watch_follows(&self) -> tokio::sync::watch::Receiver<u64> { todo!() }
    pub async fn set_route(&self, rule: Rule) -> Result<(), Error> { todo!() }
    pub async fn remove_route(&self, format: &str, pattern: &str) -> Result<bool, Error> { todo!() }
    pub fn routes(&self) -> Result<Vec<Rule>, Error> { todo!() }
    pub fn pins(&self, realm: &RealmId, package: &PackageId) -> Result<Pins, Error> { todo!() }
    /// Sets a pin only if the slot has none (`replace` = a person's accept). Returns whether it changed. View follows.
    pub async fn pin_content(&self, realm: &RealmId, package: &PackageId, version: &str, file: &str, content: Content, replace: bool) -> Result<bool, Error> { todo!() }
    pub fn pinned_source(&self, package: &PackageId) -> Result<Option<Source>, Error> { todo!() }
    pub async fn pin_source(&self, package: &PackageId, source: Source, replace: bool) -> Result<bool, Error> { todo!() }
    /// Small named rows of other layers (tokens, peers, invites, requests, refused releases …):
    /// (kind, key) → value. Durable when it returns.
    pub async fn put_row(&self, kind: &str, key: &str, value: Vec<u8>) -> Result<(), Error> { todo!() }
    pub async fn delete_row(&self, kind: &str, key: &str) -> Result<bool, Error> { todo!() }
    pub fn row(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, Error> { todo!() }
    pub fn rows(&self, kind: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> { todo!() }
    /// Whether the key signs for a realm that is followed (used for limits).
    pub fn is_granted(&self, key: &PublicKey) -> Result<bool, Error> { todo!() }
}
