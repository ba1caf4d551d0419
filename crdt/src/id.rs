//! The names of things in the index: realms, statements, packages, collections, items.
//!
//! Each is parsed once, at the edge, and is a newtype from there on. The ids of realms
//! and statements are hashes of what they name, so nobody issues one.
//!
//! Source: trust.md section 3, index.md sections 5 and 7.1.

use std::fmt;
use std::str::FromStr;

use bech32::{Bech32m, Hrp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, Error, PublicKey};

/// The prefix of a realm id in text. Source: trust.md section 3.
const REALM_PREFIX: Hrp = Hrp::parse_unchecked("r");

/// A realm: the id of its genesis statement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmId(pub Digest);

impl fmt::Display for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            bech32::encode::<Bech32m>(REALM_PREFIX, self.0.as_bytes()).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RealmId({})", &self.0.to_hex()[..12])
    }
}

impl FromStr for RealmId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadName(format!("not a realm id: {text:.80}"));
        let (prefix, bytes) = bech32::decode(text).map_err(|_| bad())?;
        if prefix != REALM_PREFIX {
            return Err(bad());
        }
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| bad())?;
        let realm = Self(Digest::from_bytes(bytes));
        // `decode` also takes plain bech32: only the one text that we print is accepted.
        if realm.to_string() == text.to_ascii_lowercase() { Ok(realm) } else { Err(bad()) }
    }
}

/// A statement: `BLAKE3 derive-key(type ‖ 0 ‖ payload)`, signatures left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(pub Digest);

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementId({})", &self.0.to_hex()[..12])
    }
}

impl FromStr for StatementId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self)
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(RealmId, StatementId);

/// A package within a realm: the format, and the name in the format's normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageId {
    /// The id of the format: `npm`, `generic` …
    pub format: String,
    /// The name, already normalised by the format.
    pub name: String,
}

impl PackageId {
    /// Both parts as they are; the format has normalised the name.
    #[must_use]
    pub fn new(format: impl Into<String>, name: impl Into<String>) -> Self {
        Self { format: format.into(), name: name.into() }
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format, self.name)
    }
}

/// What is reconciled as one: a realm's authority, one format of it, its receipts, the beats.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Collection {
    /// `root`, `route`, `revoke` and `seal`: complete before any other of the realm.
    Authority(RealmId),
    /// `release`, `withdraw`, `yank`, `unyank`, `tag` of one format.
    Format(RealmId, String),
    /// Statements of a type that this version does not know and that name no format.
    Other(RealmId),
    /// `receipt` of one format, the newest of each author and subject: an item leaves this one
    /// when a newer one takes its place.
    Receipts(RealmId, String),
    /// `beat`, the newest of each author.
    Beats(RealmId),
}

impl Collection {
    /// The realm that the collection belongs to.
    #[must_use]
    pub const fn realm(&self) -> RealmId {
        match self {
            Self::Authority(realm)
            | Self::Format(realm, _)
            | Self::Other(realm)
            | Self::Receipts(realm, _)
            | Self::Beats(realm) => *realm,
        }
    }

    /// The digest that names the collection on the wire and on disk.
    #[must_use]
    pub fn id(&self) -> CollectionId {
        let (part, format) = match self {
            Self::Authority(_) => ("authority", ""),
            Self::Format(_, format) => ("format", format.as_str()),
            Self::Other(_) => ("other", ""),
            Self::Receipts(_, format) => ("receipts", format.as_str()),
            Self::Beats(_) => ("beats", ""),
        };
        let mut hasher = blake3::Hasher::new_derive_key("griot 2026 collection id v1");
        hasher.update(self.realm().0.as_bytes());
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
        hasher.update(format.as_bytes());
        CollectionId(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }
}

/// The digest of a collection's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(pub Digest);

/// What replicates: a statement as signed by one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The statement.
    pub id: StatementId,
    /// One of its signers.
    pub key: PublicKey,
}

impl Item {
    /// `BLAKE3.derive_key("griot 2026 item v1", id ‖ key)`: the name of the pair, 32 bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("griot 2026 item v1");
        hasher.update(self.id.0.as_bytes());
        hasher.update(self.key.as_bytes());
        *hasher.finalize().as_bytes()
    }
}
