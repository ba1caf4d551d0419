//! Statements: one signed fact each, the unit of replication.
//!
//! ```text
//!  Body ──Statement::new──▶ Statement ──Verified::sign──▶ Verified ──Envelope::encode──▶ bytes
//!  bytes ──Envelope::decode──▶ Envelope ──verify──▶ Verified
//! ```
//!
//! A payload is deterministic CBOR of at most 64 KiB. Its id is a hash of type and payload, with
//! the signatures left out: a signer can make any number of valid signatures over one payload,
//! and they must not be many facts. [`Statement::decode`] accepts the one canonical encoding
//! alone, so no content ever has two ids.
//!
//! A type that this version does not know, or a known one in a later revision `v`, is kept and
//! passed on without effect, provided that it is canonical and names its realm. Not so a `receipt`
//! or a `beat` of a later revision: of these only the newest is kept, and who cannot tell which
//! one that is would never agree with those who can.
//!
//! Not here: what a statement is worth. That is `realm`, `derive` and `routes`.
//!
//! Source: trust.md sections 3 and 4; index.md sections 2.1 and 5.

mod beat;
mod body;
mod cbor;
mod decode;
mod encode;
mod envelope;
mod id_list;
mod limits;
mod pattern;
mod receipt;

pub use beat::Beat;
pub use body::{
    BlobRef, Body, Counter, File, Grant, Grantee, Meta, MetaBody, Release, Root, RouteSource,
    recovery_hash,
};
pub use envelope::{Envelope, Verified};
pub use id_list::IdList;
pub use limits::{
    MAX_CONTENT_TYPE_BYTES, MAX_COUNTER, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_ENVELOPE_BYTES,
    MAX_ID_BYTES, MAX_INLINE_IDS, MAX_INLINE_META_BYTES, MAX_LISTED_IDS, MAX_NAME_BYTES,
    MAX_PAYLOAD_BYTES, MAX_ROOTS, MAX_SIGNATURES, MAX_TEXT_BYTES, MAX_TITLE_BYTES,
    MAX_VALIDATOR_BYTES, MAX_VARIANT_BYTES,
};
pub use pattern::Pattern;
pub use receipt::{Receipt, Subject, Via};

use crate::{Collection, Digest, Error, PackageId, RealmId, StatementId};

/// A statement in its canonical form, with its id. Immutable; not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    kind: String,
    payload: Vec<u8>,
    id: StatementId,
    realm: RealmId,
    package: Option<PackageId>,
    collection: Collection,
    body: Body,
}

impl Statement {
    /// A realm's first statement, whose id is the realm's.
    ///
    /// # Errors
    /// If it is not epoch 0 without a parent, or over a limit.
    pub fn genesis(root: Root) -> Result<Self, Error> {
        let mut body = Body::Root(root);
        body.sort();
        Self::decode("root", &encode::payload(None, None, &body))
    }

    /// Any other statement. `package` is given for release, withdraw, yank, unyank and tag.
    ///
    /// # Errors
    /// If a name, a text or a limit is not held, or `package` does not go with the type.
    pub fn new(realm: RealmId, package: Option<PackageId>, mut body: Body) -> Result<Self, Error> {
        let Some(kind) = body.kind() else {
            return Err(limits::malformed("an unknown type cannot be made here"));
        };
        body.sort();
        Self::decode(kind, &encode::payload(Some(realm), package.as_ref(), &body))
    }

    /// Reads what a peer or the disk gave: canonical or refused, limits held.
    ///
    /// # Errors
    /// If it is malformed, over a limit, or not the canonical encoding of what it says.
    pub fn decode(kind: &str, payload: &[u8]) -> Result<Self, Error> {
        limits::id("statement type", kind)?;
        limits::at_most("length of a payload", payload.len(), MAX_PAYLOAD_BYTES)?;
        cbor::check(payload)?;
        let common = decode::common(payload)?;
        let known = if common.v == encode::V { decode::body(kind, payload)? } else { None };
        match known {
            None if matches!(kind, "receipt" | "beat") => {
                Err(limits::malformed("a later revision of a type of which only the newest counts"))
            }
            Some(body) => Self::known(kind, payload, common, body),
            None => Self::unknown(kind, payload, common),
        }
    }

    fn known(
        kind: &str,
        payload: &[u8],
        common: decode::Common,
        body: Body,
    ) -> Result<Self, Error> {
        let realm = common.realm;
        let is_receipt = matches!(body, Body::Receipt(_));
        if common.format.is_some() != (common.name.is_some() || is_receipt) {
            return Err(limits::malformed("a format without a name, or a name without a format"));
        }
        let package = common.package();
        let of_package = !is_receipt && !body.is_of_realm();
        if package.is_some() != of_package {
            return Err(limits::malformed("only package-level types have a format and a name"));
        }
        let genesis = matches!(&body, Body::Root(root) if root.epoch == 0);
        let orphan = matches!(&body, Body::Root(root) if root.prev.is_none());
        if realm.is_none() != genesis || orphan != genesis {
            return Err(limits::malformed("a genesis alone has no realm and no parent"));
        }
        package.as_ref().map_or(Ok(()), limits::package)?;
        limits::body(&body)?;
        if encode::payload(realm, package.as_ref(), &body) != payload {
            return Err(Error::NotCanonical { what: "statement" });
        }
        let id = statement_id(kind, payload);
        let realm = realm.unwrap_or(RealmId(id.0));
        let collection = match (&body, &package) {
            (Body::Receipt(receipt), _) => {
                Collection::Receipts(realm, receipt.subject.format.clone())
            }
            (Body::Beat(_), _) => Collection::Beats(realm),
            (_, Some(package)) => Collection::Format(realm, package.format.clone()),
            (_, None) => Collection::Authority(realm),
        };
        let (kind, payload) = (kind.to_owned(), payload.to_vec());
        Ok(Self { kind, payload, id, realm, package, collection, body })
    }

    /// A type of a later version: what it will be is not known, where it lies must be.
    fn unknown(kind: &str, payload: &[u8], common: decode::Common) -> Result<Self, Error> {
        let realm = common.realm.ok_or_else(|| limits::malformed("it names no realm"))?;
        let format = common.format.as_ref().filter(|format| limits::id("format", format).is_ok());
        let collection = match format {
            _ if matches!(kind, "root" | "route" | "revoke" | "seal") => {
                Collection::Authority(realm)
            }
            Some(format) => Collection::Format(realm, format.clone()),
            None => Collection::Other(realm),
        };
        Ok(Self {
            kind: kind.to_owned(),
            payload: payload.to_vec(),
            id: statement_id(kind, payload),
            realm,
            package: common.package().filter(|package| limits::package(package).is_ok()),
            collection,
            body: Body::Unknown,
        })
    }

    /// The type: `root`, `release` …
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The canonical encoding, which is what is hashed and signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> StatementId {
        self.id
    }

    /// The realm that it speaks about; a genesis speaks about its own.
    #[must_use]
    pub const fn realm(&self) -> RealmId {
        self.realm
    }

    /// The package that it speaks about, if it is about one.
    #[must_use]
    pub const fn package(&self) -> Option<&PackageId> {
        self.package.as_ref()
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// What it says, if it is a receipt.
    #[must_use]
    pub const fn receipt(&self) -> Option<&Receipt> {
        match &self.body {
            Body::Receipt(receipt) => Some(receipt),
            _ => None,
        }
    }

    /// Of types of which only the newest of each author and subject is kept: what it is about.
    #[must_use]
    pub fn subject(&self) -> Option<Digest> {
        match &self.body {
            Body::Receipt(receipt) => Some(receipt.subject.digest()),
            Body::Beat(_) => Some(Beat::subject(&self.realm)),
            _ => None,
        }
    }

    /// Its place among those of one author and subject, where the greatest is kept; `None` also
    /// for a counter that has no effect: such a statement is not to be kept.
    #[must_use]
    pub fn rank(&self) -> Option<(Counter, StatementId)> {
        match &self.body {
            Body::Receipt(receipt) => {
                let (n, id) = receipt.rank(self.id)?;
                Some((Counter { epoch: 0, n }, id))
            }
            Body::Beat(beat) => (beat.counter.n <= MAX_COUNTER).then_some((beat.counter, self.id)),
            _ => None,
        }
    }

    /// Which collection it lies in.
    #[must_use]
    pub fn collection(&self) -> Collection {
        self.collection.clone()
    }
}

/// `BLAKE3 derive-key(type ‖ 0 ‖ payload)`.
fn statement_id(kind: &str, payload: &[u8]) -> StatementId {
    let mut hasher = blake3::Hasher::new_derive_key("griot 2026 statement id v1");
    hasher.update(kind.as_bytes());
    hasher.update(&[0]);
    hasher.update(payload);
    StatementId(Digest::from_bytes(*hasher.finalize().as_bytes()))
}
