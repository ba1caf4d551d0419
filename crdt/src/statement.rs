//! Statements: one signed fact each, the unit of replication.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Checksums, Collection, Digest, Error, PackageId, PublicKey, RealmId, Signature, StatementId};

/// A blob that a statement refers to: never fetched without a known size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef { /// name
    pub digest: Digest, /// bytes
    pub size: u64 }

/// What a format extracted from a file, deterministically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta { /// extractor id, such as `npm`
    pub extractor: String, /// extractor version
    pub version: u32, /// the bytes, inline or elsewhere
    pub body: MetaBody }
/// Where the bytes of a meta are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaBody { /// in the statement; ≤ 16 KiB in all in one release
    Inline(Vec<u8>), /// in a blob
    Blob(BlobRef) }

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File { /// file name
    pub name: String, /// bytes
    pub size: u64, /// our digest
    pub blake3: Digest, /// the clients' checksums
    pub checksums: Checksums, /// extracted
    pub meta: Option<Meta> }

/// `release`: these files are this version of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release { /// normal form
    pub version: String, /// as the publisher wrote it
    pub written: String, /// one or more, names distinct, sorted by name
    pub files: Vec<File>, /// readme and the like; decides nothing
    pub extras: Option<BlobRef>, /// seconds since 1970, shown, never judged
    pub claimed_time: u64 }

/// (epoch, n), compared in that order; n ≤ 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Counter { /// root epoch
    pub epoch: u64, /// number within the epoch
    pub n: u64 }

/// Exact, or literal prefix followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pattern(pub String);
impl Pattern {
    /// Parses; `*` alone is everything; a `*` anywhere but at the end is an error.
    pub fn parse(text: &str) -> Result<Self, Error> { let _ = text; todo!() }
    /// Whether the normal name matches.
    #[must_use] pub fn matches(&self, name: &str) -> bool { let _ = name; todo!() }
    /// Neither `*` alone.
    #[must_use] pub fn is_everything(&self) -> bool { self.0 == "*" }
    /// Order of precedence: exact before prefix, longer before shorter. Greater is more specific.
    #[must_use] pub fn specificity(&self) -> (bool, usize) { todo!() }
    /// Whether some name matches both.
    #[must_use] pub fn overlaps(&self, other: &Self) -> bool { let _ = other; todo!() }
}

/// Who a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee { /// a key
    Key(PublicKey), /// a realm
    Realm(RealmId), /// a libp2p peer id, for `member`
    Peer(Vec<u8>) }

/// A role for a key under a pattern of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant { /// format id or `*`
    pub format: String, /// names
    pub pattern: Pattern, /// publish mirror beat member read; others have no effect
    pub role: String, /// to whom
    pub to: Grantee, /// distinct signers needed
    pub need: u32, /// keeps broader grants out
    pub exclusive: bool }

/// `root`: one epoch of a realm's authority. The genesis (epoch 0) is the realm's id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Root { pub epoch: u64, pub prev: Option<StatementId>, pub nonce: [u8; 16], pub title: String, pub roots: Vec<PublicKey>, pub k: u32, pub recovery: Vec<Digest>, pub rk: u32, pub grants: Vec<Grant>, pub cleared: Vec<StatementId>, pub seals: Option<Vec<StatementId>> }

/// What a route points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RouteSource { Realm(RealmId), Upstream { origin: Digest, format: String, url: String }, Deny }

/// The content of a statement, by type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Body {
    Root(Root),
    Release(Release),
    Withdraw { release: StatementId, reason: String },
    Yank { release: StatementId, counter: Counter, reason: String },
    Unyank { release: StatementId, counter: Counter, reason: String },
    /// A tag without a release is removed.
    Tag { tag: String, release: Option<StatementId>, counter: Counter },
    Route { format: String, pattern: Pattern, source: RouteSource, counter: Counter },
    /// A type that this version does not know: kept and passed on, without effect.
    Unknown,
}

/// A statement in its canonical form, with its id. Immutable; not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(dead_code)]
pub struct Statement { kind: String, payload: Vec<u8>, id: StatementId, realm: RealmId, package: Option<PackageId>, body: Body }
impl Statement {
    /// A genesis.
    pub fn genesis(root: Root) -> Result<Self, Error> { let _ = root; todo!() }
    /// Any other statement. `package` is given for release, withdraw, yank, unyank, tag.
    pub fn new(realm: RealmId, package: Option<PackageId>, body: Body) -> Result<Self, Error> { let _ = (realm, package, body); todo!() }
    /// Reads what a peer or the disk gave: canonical or refused, limits held.
    pub fn decode(kind: &str, payload: &[u8]) -> Result<Self, Error> { let _ = (kind, payload); todo!() }
    /// `root`, `release` …
    #[must_use] pub fn kind(&self) -> &str { &self.kind }
    /// deterministic CBOR
    #[must_use] pub fn payload(&self) -> &[u8] { &self.payload }
    /// id
    #[must_use] pub const fn id(&self) -> StatementId { self.id }
    /// realm
    #[must_use] pub const fn realm(&self) -> RealmId { self.realm }
    /// package
    #[must_use] pub const fn package(&self) -> Option<&PackageId> { self.package.as_ref() }
    /// content
    #[must_use] pub const fn body(&self) -> &Body { &self.body }
    /// Which collection it lies in.
    #[must_use] pub fn collection(&self) -> Collection { todo!() }
}

/// A statement and the signatures that came with it: structure checked, signatures not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope { /// content
    pub statement: Statement, /// by key; at most 16
    pub signatures: BTreeMap<PublicKey, Signature> }
impl Envelope {
    /// CBOR `[type, payload, [[key, sig], …]]`, keys sorted.
    #[must_use] pub fn encode(&self) -> Vec<u8> { todo!() }
    /// Canonical or refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> { let _ = bytes; todo!() }
    /// Checks every signature: one that fails refuses the envelope.
    pub fn verify(self) -> Result<Verified, Error> { todo!() }
}
/// An envelope whose every signature was verified: the only thing a store admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Envelope);
impl Verified {
    /// Signs here and now.
    #[must_use] pub fn sign(statement: Statement, keys: &[&crate::SecretKey]) -> Self { let _ = (statement, keys); todo!() }
    /// For a store that reads back what it had admitted.
    #[must_use] pub const fn from_admitted(envelope: Envelope) -> Self { Self(envelope) }
    /// content
    #[must_use] pub const fn statement(&self) -> &Statement { &self.0.statement }
    /// signatures
    #[must_use] pub const fn signatures(&self) -> &BTreeMap<PublicKey, Signature> { &self.0.signatures }
    /// whole
    #[must_use] pub const fn envelope(&self) -> &Envelope { &self.0 }
}
