//! What the statements say, by type, as plain data.
//!
//! Lists that are sets (roots, files, cleared …) have one order, ascending, so that one content has
//! one encoding; [`Statement::new`](super::Statement::new) sorts them. Limits and forms of text are
//! checked in `limits`, the encoding is in `codec`; what a statement is worth is decided in
//! `realm` and `derive`.
//!
//! Source: trust.md section 4.

use serde::{Deserialize, Serialize};

use super::{Beat, IdList, Pattern, Receipt};
use crate::{Checksums, Digest, PublicKey, RealmId, StatementId};

/// A blob that a statement refers to: never fetched without a known size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// The name of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a format extracted from a file, deterministically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The extractor's id, such as `npm`.
    pub extractor: String,
    /// The extractor's version.
    pub version: u32,
    /// The extracted bytes, here or elsewhere.
    pub body: MetaBody,
}

/// Where the bytes of a meta are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaBody {
    /// In the statement; at most 16 KiB in all in one release.
    Inline(Vec<u8>),
    /// In a blob.
    Blob(BlobRef),
}

impl MetaBody {
    /// The digest of the extracted bytes, wherever they are.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Inline(bytes) => Digest::of(bytes),
            Self::Blob(blob) => blob.digest,
        }
    }
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The file's name, unique within its release.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Our digest of its bytes.
    pub blake3: Digest,
    /// The checksums that clients of the format ask for.
    pub checksums: Checksums,
    /// What the format extracted from it.
    pub meta: Option<Meta>,
}

/// `release`: these files are this version of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The version in the format's normal form: the key of its slots.
    pub version: String,
    /// The version as the publisher wrote it.
    pub written: String,
    /// One or more, names distinct, sorted by name.
    pub files: Vec<File>,
    /// Readme and the like; decides nothing.
    pub extras: Option<BlobRef>,
    /// Seconds since 1970: shown, never judged.
    pub claimed_time: u64,
}

/// (epoch, n), compared in that order.
///
/// A counter with n above [`MAX_COUNTER`](super::MAX_COUNTER), or with an epoch above the realm's
/// head, is kept and has no effect.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Counter {
    /// The root epoch in which it was issued.
    pub epoch: u64,
    /// The number within the epoch.
    pub n: u64,
}

impl Counter {
    /// What the next one of this epoch must exceed: 0 if this one is of another.
    #[must_use]
    pub const fn last_in(self, epoch: u64) -> u64 {
        if self.epoch == epoch { self.n } else { 0 }
    }
}

/// Who a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// The holder of a key.
    Key(PublicKey),
    /// The publishers of another realm.
    Realm(RealmId),
    /// A libp2p peer, for the role `member`.
    Peer(Vec<u8>),
}

/// A role for somebody under a pattern of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// A format's id, or `*`.
    pub format: String,
    /// The names that it covers.
    pub pattern: Pattern,
    /// `publish`, `mirror`, `beat`, `member` or `read`; any other has no effect.
    pub role: String,
    /// To whom.
    pub to: Grantee,
    /// How many distinct signers are needed; 0 counts as 1.
    pub need: u32,
    /// Whether grants with shorter patterns do not apply under this one's names.
    pub exclusive: bool,
}

impl Grant {
    /// A role in every format for one key, of which one signature is enough.
    #[must_use]
    pub fn to_key(role: &str, pattern: Pattern, key: PublicKey) -> Self {
        Self {
            format: "*".to_owned(),
            pattern,
            role: role.to_owned(),
            to: Grantee::Key(key),
            need: 1,
            exclusive: false,
        }
    }
}

/// `root`: one epoch of a realm's authority. The id of epoch 0, the genesis, is the realm's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// 0 for the genesis, then one more than the parent's.
    pub epoch: u64,
    /// The parent; absent in the genesis alone.
    pub prev: Option<StatementId>,
    /// Random bytes, so that two realms with equal keys have different ids.
    pub nonce: [u8; 16],
    /// A title for people, shown beside the fingerprint and never alone.
    pub title: String,
    /// The root keys, distinct, sorted, at most 15.
    pub roots: Vec<PublicKey>,
    /// How many of them act; sound only if more than half.
    pub k: u32,
    /// [`recovery_hash`] of each recovery key, sorted.
    pub recovery: Vec<Digest>,
    /// How many recovery keys act; 0 for none.
    pub rk: u32,
    /// Who may do what.
    pub grants: Vec<Grant>,
    /// Revocations and seals that are void, sorted.
    pub cleared: Vec<StatementId>,
    /// The earlier seals that still count, sorted; absent means all.
    pub seals: Option<Vec<StatementId>>,
}

impl Root {
    /// The genesis of a realm with one root key and no recovery.
    #[must_use]
    pub fn of_one(key: PublicKey, nonce: [u8; 16], title: &str, grants: Vec<Grant>) -> Self {
        Self {
            epoch: 0,
            prev: None,
            nonce,
            title: title.to_owned(),
            roots: vec![key],
            k: 1,
            recovery: Vec::new(),
            rk: 0,
            grants,
            cleared: Vec::new(),
            seals: None,
        }
    }
}

/// How a root names a recovery key that nobody knows yet: BLAKE3 of the key's 33 bytes.
#[must_use]
pub fn recovery_hash(key: &PublicKey) -> Digest {
    Digest::of(key.as_bytes())
}

/// What a route points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteSource {
    /// The packages of a realm.
    Realm(RealmId),
    /// An upstream registry.
    Upstream {
        /// The hash of its normalised URL.
        origin: Digest,
        /// The format that it speaks.
        format: String,
        /// Where it is.
        url: String,
    },
    /// Nobody, on purpose.
    Deny,
}

/// The content of a statement, by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One epoch of the realm's authority.
    Root(Root),
    /// Files of a version.
    Release(Release),
    /// Its signers take their own signatures off a release.
    Withdraw {
        /// The release.
        release: StatementId,
        /// Why, for people.
        reason: String,
    },
    /// Hides a release from new resolution.
    Yank {
        /// The release.
        release: StatementId,
        /// The highest wins; on a tie, yanked.
        counter: Counter,
        /// Why, for people.
        reason: String,
    },
    /// Takes a yank back.
    Unyank {
        /// The release.
        release: StatementId,
        /// The highest wins; on a tie, yanked.
        counter: Counter,
        /// Why, for people.
        reason: String,
    },
    /// Points a tag at the version of a release.
    Tag {
        /// The tag's name, such as `latest`.
        tag: String,
        /// The release; absent to remove the tag.
        release: Option<StatementId>,
        /// The highest wins; on a tie between versions the tag is unset.
        counter: Counter,
    },
    /// Where a site's names come from.
    Route {
        /// A format's id, or `*`.
        format: String,
        /// The names.
        pattern: Pattern,
        /// Their one source.
        source: RouteSource,
        /// The highest wins; on a tie between sources, nobody.
        counter: Counter,
    },
    /// A key no longer counts, but for the releases that survive.
    Revoke {
        /// Whose signatures.
        key: PublicKey,
        /// The releases of which they go on counting.
        keep: IdList,
        /// Why, for people.
        reason: String,
    },
    /// The roots vouch for releases, whatever becomes of their signers.
    Seal {
        /// Which.
        releases: IdList,
    },
    /// What an upstream said of a document.
    Receipt(Receipt),
    /// How far its author has heard of the realm.
    Beat(Beat),
    /// A type or a revision that this version does not know: kept and passed on, without effect.
    Unknown,
}

impl Body {
    /// The type's name, which stands beside the payload; `None` for an unknown one.
    #[must_use]
    pub const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Root(_) => Some("root"),
            Self::Release(_) => Some("release"),
            Self::Withdraw { .. } => Some("withdraw"),
            Self::Yank { .. } => Some("yank"),
            Self::Unyank { .. } => Some("unyank"),
            Self::Tag { .. } => Some("tag"),
            Self::Route { .. } => Some("route"),
            Self::Revoke { .. } => Some("revoke"),
            Self::Seal { .. } => Some("seal"),
            Self::Receipt(_) => Some("receipt"),
            Self::Beat(_) => Some("beat"),
            Self::Unknown => None,
        }
    }

    /// Whether it is about the realm as a whole.
    pub(super) const fn is_of_realm(&self) -> bool {
        matches!(
            self,
            Self::Root(_)
                | Self::Route { .. }
                | Self::Revoke { .. }
                | Self::Seal { .. }
                | Self::Beat(_)
        )
    }

    /// Puts lists that are sets into their one order.
    pub(super) fn sort(&mut self) {
        match self {
            Self::Root(root) => {
                root.roots.sort_unstable();
                root.recovery.sort_unstable();
                root.cleared.sort_unstable();
                if let Some(seals) = &mut root.seals {
                    seals.sort_unstable();
                }
            }
            Self::Release(release) => release.files.sort_by(|a, b| a.name.cmp(&b.name)),
            Self::Revoke { keep: list, .. } | Self::Seal { releases: list } => list.sort(),
            _ => {}
        }
    }
}
