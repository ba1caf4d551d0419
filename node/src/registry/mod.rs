//! The use-cases; the only place that knows hosted → cache → mesh → upstream. (header to be written)
use std::sync::Arc;
use crdt::realm::Claim;
use crdt::routes::{Decision, Rule, Source};
use crdt::statement::{Meta, RouteSource, Pattern};
use crdt::{Content, Digest, PackageId, PackageView, PublicKey, RealmId, StatementId, Verified};
use serde::{Deserialize, Serialize};
use crate::mesh::Mesh;
use crate::store::{self, BlobInfo, Hashes, PackageSummary, Store, blob::Staged};

/// The eight outcomes. `http/error.rs` maps them to a status once. Each text says what, why and the next command.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error { /// which of the eight
    pub outcome: Outcome, /// one sentence for the person
    pub message: String, /// next command, if there is one
    pub hint: Option<String> }
/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome { NotFound, NotHere, Invalid, Unauthenticated, Forbidden, Conflict, Corrupt, Unavailable }

/// Which door a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Door { Virtual, Hosted, Upstream }

/// Who asks, as http/auth.rs found out. Loopback readers without a token are `Principal::anonymous()`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Principal { pub name: String, pub scopes: Vec<Scope>, pub realm: Option<RealmId>, pub patterns: Vec<(String, Pattern)> }
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Scope { Read, Publish, Yank, Admin }

/// What `registry` must know of a format: pure functions handed in by the daemon from `formats::ALL`.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Rules {
    pub format: &'static str,
    /// Normal form of a name, or why it is not one.
    pub canonical_name: fn(&str) -> Result<String, String>,
    /// Normal form of a version (slot key), or why it is not one.
    pub canonical_version: fn(&str) -> Result<String, String>,
    pub compare_versions: fn(&str, &str) -> std::cmp::Ordering,
    pub is_prerelease: fn(&str) -> bool,
    /// Highest of `versions` that satisfies `range` by the format's own rules.
    pub resolve: fn(range: &str, versions: &[String]) -> Result<Option<String>, String>,
    /// Checksums that its files need.
    pub hashes: Hashes,
    /// May files join a version later? (npm: no)
    pub files_may_join: bool,
    /// The one file name a version may have, where the format fixes it (npm: `name-version.tgz`).
    pub file_name: Option<fn(name: &str, version: &str) -> String>,
    /// Extracts `meta` from a file, deterministically: run at publish and again when bytes arrive.
    pub extract: Option<fn(file: &mut std::fs::File, name: &str) -> Result<Extracted, String>>,
    /// One line for search, from the inline meta.
    pub describe: fn(meta: &[u8]) -> String,
}
/// What an archive says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Extracted { pub name: String, pub version: String, pub meta: Vec<u8>, pub extractor_version: u32, pub readme: Option<Vec<u8>> }

/// One upload, already staged and hashed.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Publication { pub format: &'static str, pub name: String, pub version: String, pub files: Vec<(String, Staged)>, pub tags: Vec<String>, pub realm: Option<RealmId>,
    /// generic: If-None-Match: * etc. are the caller's; same bytes again is a success
    pub claimed_time: Option<u64> }
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Published { pub format: String, pub name: String, pub version: String, pub realm: RealmId, pub release: StatementId, pub files: Vec<PublishedFile>, /// false: the same bytes were there already
    pub new: bool, /// whether the name has a route already; if not, `griot publish` adds one
    pub routed: bool }
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PublishedFile { pub filename: String, pub size: u64, pub digest: Digest, pub sha256: String }

/// A package as a format renders it: the view of its one source, through the offline view.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Metadata { pub decision: Decision, pub view: PackageView, /// versions offered to new resolution, in the format's order, lowest first
    pub offered: Vec<String>, /// tag → version after fall-back; `latest` always set if anything is offered
    pub tags: std::collections::BTreeMap<String, String>, /// versions hidden because no bytes are in reach
    pub hidden: Vec<String>, /// strong ETag seed
    pub revision: String }
impl Metadata { /// inline or blob meta of a version's file, already resolved
    #[must_use] pub fn meta(&self, version: &str, file: &str) -> Option<&[u8]> { let _ = (version, file); todo!() } }

/// Bytes that may leave the node: complete, verified, and allowed for this asker. Stream it with http::body.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Verified_ { pub info: BlobInfo, pub file: tokio::fs::File, pub filename: String, /// pins when the whole body was sent
    pub completion: Option<Completion> }
/// To be called when a client has received an artifact whole: pins source and content.
#[derive(Debug, Clone)] #[allow(missing_docs)]
pub struct Completion { pub registry: Registry, pub realm: RealmId, pub package: PackageId, pub version: String, pub file: String, pub content: Content }

/// A handle; clones are cheap.
#[derive(Clone, Debug)] pub struct Registry { inner: Arc<Inner> }
#[derive(Debug)] #[allow(dead_code)] struct Inner { store: Store, mesh: Option<Mesh>, rules: Vec<Rules>, publisher: crdt::SecretKey, own: RealmId }

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Registry {
    pub fn new(store: Store, mesh: Option<Mesh>, rules: Vec<Rules>, publisher: crdt::SecretKey, own: RealmId) -> Self { Self { inner: Arc::new(Inner { store, mesh, rules, publisher, own }) } }
    pub fn store(&self) -> &Store { &self.inner.store }
    pub fn rules(&self, format: &str) -> Option<&Rules> { todo!() }
    // publish
    /// Before the body is read: may this principal publish the name, and into which realm would it go? `Forbidden`, `Unauthenticated`, `Invalid`.
    pub async fn check_publish(&self, who: &Principal, format: &str, name: &str, realm: Option<RealmId>) -> Result<RealmId, Error> { todo!() }
    pub async fn stage(&self, format: &str) -> Result<store::blob::BlobWriter, Error> { todo!() }
    pub async fn publish(&self, who: &Principal, publication: Publication) -> Result<Published, Error> { todo!() }
    pub async fn yank(&self, who: &Principal, package: &PackageId, version: &str, reason: &str, yank: bool) -> Result<(), Error> { todo!() }
    pub async fn set_tag(&self, who: &Principal, package: &PackageId, tag: &str, version: Option<&str>) -> Result<(), Error> { todo!() }
    /// Withdraws this node's signature from the release(s) that carry the file (all files, if None).
    pub async fn withdraw(&self, who: &Principal, package: &PackageId, version: &str, file: Option<&str>, reason: &str) -> Result<(), Error> { todo!() }
    // read
    pub async fn metadata(&self, door: Door, package: &PackageId) -> Result<Metadata, Error> { todo!() }
    /// A file asked for exactly: never hidden; fetched from the mesh if it is not held.
    pub async fn artifact(&self, door: Door, package: &PackageId, version: &str, file: &str) -> Result<Verified_, Error> { todo!() }
    /// Any artifact of a followed realm by its digest, disputed or not.
    pub async fn by_digest(&self, digest: &Digest) -> Result<Verified_, Error> { todo!() }
    pub async fn search(&self, query: &str, format: Option<&str>, limit: usize, offset: usize) -> Result<(Vec<PackageSummary>, usize), Error> { todo!() }
    pub fn decide(&self, package: &PackageId) -> Result<Decision, Error> { todo!() }
    // sources
    pub async fn route_add(&self, format: &str, pattern: &str, source: RouteSource) -> Result<(), Error> { todo!() }
    pub async fn route_list(&self) -> Result<Vec<(String, Rule)>, Error> { todo!() }
    pub async fn follow(&self, realm: RealmId, claims: Vec<Claim>) -> Result<(), Error> { todo!() }
    pub async fn accept(&self, package: &PackageId, source: Source) -> Result<(), Error> { todo!() }
    /// Admits finished envelopes (root, route … signed by the command with the key file).
    pub async fn admit(&self, envelopes: Vec<Verified>) -> Result<usize, Error> { todo!() }
    pub fn publisher_key(&self) -> PublicKey { self.inner.publisher.public() }
    /// What `griot info --json` prints (DESIGN §8). Shows every version, disputed ones too.
    pub async fn info(&self, package: &PackageId) -> Result<Info, Error> { todo!() }
    /// Highest offered version that satisfies `range` (absent: the tag `latest`), its artifacts fetched, source and content pinned.
    pub async fn add(&self, package: &PackageId, range: Option<&str>) -> Result<Added, Error> { todo!() }
    /// What met peers offer in realms that are not followed: shown, never installed.
    pub async fn offered(&self, query: &str) -> Result<Vec<Offered>, Error> { todo!() }
    /// Formats under which some followed realm has the name (`griot add` without `--format`).
    pub async fn formats_of(&self, name: &str) -> Result<Vec<String>, Error> { todo!() }
    /// Fetches the artifacts of new releases of the site and the followed realms (DESIGN §4, last rule of
    /// "Meeting"): runs until the store closes; spawned by daemon/tasks.rs.
    pub async fn keep_new_artifacts(self) -> Result<(), Error> { todo!() }
    fn _m(_: Meta) {}
}

/// `griot info --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Info { pub format: String, pub name: String, pub source: Decision, pub versions: Vec<InfoVersion>, pub tags: std::collections::BTreeMap<String, String> }
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InfoVersion { pub version: String, /// ok | yanked | disputed | disputed-pinned | pinned-unsupported
    pub state: String, pub artifacts: Vec<InfoArtifact>, pub signers: Vec<PublicKey>, /// RFC 3339, as claimed
    pub published: String, /// one sentence for the person, where the state is not ok
    pub note: Option<String> }
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InfoArtifact { pub filename: String, pub size: u64, pub digest: Digest, pub sha256: String, pub held: bool, pub signers: Vec<PublicKey> }
/// What `griot add` got.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Added { pub format: String, pub name: String, pub version: String, pub artifacts: Vec<InfoArtifact> }
/// A package of a realm that is not followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Offered { pub realm: RealmId, pub title: String, pub peer: String, pub package: PackageId, pub versions: Vec<String> }
