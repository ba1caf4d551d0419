//! From canonical CBOR to the content of a statement; the inverse of `encode`.
//!
//! Called only on bytes that have passed `cbor::check`. What is read here is bounded by the
//! payload's length: nothing is reserved for lengths that are only claimed.
//!
//! Source: trust.md sections 3 and 4. The numbers of the fields are in `encode`.

use minicbor::Decoder;

use super::cbor::{Fields, array, bytes, end, list, text};
use super::encode::key;
use super::limits::malformed;
use super::{
    Beat, BlobRef, Body, Counter, File, Grant, Grantee, IdList, Meta, MetaBody, Pattern, Receipt,
    Release, Root, RouteSource, Subject, Via,
};
use crate::{Checksums, Digest, Error, PackageId, PublicKey, RealmId, StatementId};

/// What stands at the front of every payload.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) v: u64,
    pub(super) realm: Option<RealmId>,
    pub(super) format: Option<String>,
    pub(super) name: Option<String>,
}

impl Common {
    /// The package, where both parts are there.
    pub(super) fn package(self) -> Option<PackageId> {
        Some(PackageId::new(self.format?, self.name?))
    }
}

/// Reads the common fields alone, of any type.
pub(super) fn common(payload: &[u8]) -> Result<Common, Error> {
    let mut decoder = Decoder::new(payload);
    let mut fields = Fields::open(&mut decoder)?;
    read_common(&mut fields, &mut decoder)
}

fn read_common(fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Common, Error> {
    Ok(Common {
        v: fields.required(d, key::V, uint)?,
        realm: fields.optional(d, key::REALM, |d| digest(d).map(RealmId))?,
        format: fields.optional(d, key::FORMAT, text)?,
        name: fields.optional(d, key::NAME, text)?,
    })
}

/// Reads a known type; `None` for an unknown one.
pub(super) fn body(kind: &str, payload: &[u8]) -> Result<Option<Body>, Error> {
    let mut decoder = Decoder::new(payload);
    let d = &mut decoder;
    let mut fields = Fields::open(d)?;
    let common = read_common(&mut fields, d)?;
    let body = match kind {
        "root" => Body::Root(root(&mut fields, d)?),
        "release" => Body::Release(release(&mut fields, d)?),
        "withdraw" => Body::Withdraw {
            release: fields.required(d, 4, statement_id)?,
            reason: fields.required(d, 5, text)?,
        },
        "yank" | "unyank" => yank(kind == "yank", &mut fields, d)?,
        "tag" => Body::Tag {
            tag: fields.required(d, 4, text)?,
            release: fields.optional(d, 5, statement_id)?,
            counter: fields.required(d, 6, counter)?,
        },
        "route" => Body::Route {
            format: fields.required(d, 4, text)?,
            pattern: fields.required(d, 5, pattern)?,
            source: fields.required(d, 6, route_source)?,
            counter: fields.required(d, 7, counter)?,
        },
        "revoke" => Body::Revoke {
            key: fields.required(d, 4, public_key)?,
            keep: fields.required(d, 5, id_list)?,
            reason: fields.required(d, 6, text)?,
        },
        "seal" => Body::Seal { releases: fields.required(d, 4, id_list)? },
        "beat" => Body::Beat(Beat {
            head: fields.required(d, 4, statement_id)?,
            counter: fields.required(d, 5, counter)?,
            digest: fields.required(d, 6, digest)?,
            count: fields.required(d, 7, uint)?,
            claimed_time: fields.required(d, 8, uint)?,
        }),
        "receipt" => {
            let format = common.format.ok_or_else(|| malformed("a receipt without a format"))?;
            Body::Receipt(receipt(format, &mut fields, d)?)
        }
        _ => return Ok(None),
    };
    fields.close()?;
    end(d)?;
    Ok(Some(body))
}

fn root(fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Root, Error> {
    Ok(Root {
        epoch: fields.required(d, 4, uint)?,
        prev: fields.optional(d, 5, statement_id)?,
        nonce: fields.required(d, 6, bytes)?,
        title: fields.required(d, 7, text)?,
        roots: fields.required(d, 8, |d| list(d, public_key))?,
        k: fields.required(d, 9, small_uint)?,
        recovery: fields.required(d, 10, |d| list(d, digest))?,
        rk: fields.required(d, 11, small_uint)?,
        grants: fields.required(d, 12, |d| list(d, grant))?,
        cleared: fields.required(d, 13, |d| list(d, statement_id))?,
        seals: fields.optional(d, 14, |d| list(d, statement_id))?,
    })
}

fn grant(d: &mut Decoder<'_>) -> Result<Grant, Error> {
    let mut fields = Fields::open(d)?;
    let grant = Grant {
        format: fields.required(d, 0, text)?,
        pattern: fields.required(d, 1, pattern)?,
        role: fields.required(d, 2, text)?,
        to: fields.required(d, 3, grantee)?,
        need: fields.required(d, 4, small_uint)?,
        exclusive: fields.required(d, 5, |d| Ok(d.bool()?))?,
    };
    fields.close()?;
    Ok(grant)
}

fn grantee(d: &mut Decoder<'_>) -> Result<Grantee, Error> {
    array(d, 2)?;
    match d.u64()? {
        0 => public_key(d).map(Grantee::Key),
        1 => digest(d).map(|id| Grantee::Realm(RealmId(id))),
        2 => Ok(Grantee::Peer(d.bytes()?.to_vec())),
        _ => Err(malformed("a grant to an unknown kind of holder")),
    }
}

fn release(fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Release, Error> {
    Ok(Release {
        version: fields.required(d, 4, text)?,
        written: fields.required(d, 5, text)?,
        files: fields.required(d, 6, |d| list(d, file))?,
        extras: fields.optional(d, 7, blob)?,
        claimed_time: fields.required(d, 8, uint)?,
    })
}

fn file(d: &mut Decoder<'_>) -> Result<File, Error> {
    let mut fields = Fields::open(d)?;
    let file = File {
        name: fields.required(d, 0, text)?,
        size: fields.required(d, 1, uint)?,
        blake3: fields.required(d, 2, digest)?,
        checksums: checksums(&mut fields, d)?,
        meta: fields.optional(d, 7, meta)?,
    };
    fields.close()?;
    Ok(file)
}

/// The entries 3 to 6 of the map around them.
fn checksums(fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Checksums, Error> {
    Ok(Checksums {
        sha256: fields.required(d, 3, bytes)?,
        sha512: fields.optional(d, 4, bytes)?,
        sha1: fields.optional(d, 5, bytes)?,
        md5: fields.optional(d, 6, bytes)?,
    })
}

fn receipt(format: String, fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Receipt, Error> {
    Ok(Receipt {
        subject: Subject {
            origin: fields.required(d, 4, digest)?,
            format,
            document: fields.required(d, 5, text)?,
            variant: fields.required(d, 6, text)?,
        },
        blake3: fields.required(d, 7, digest)?,
        size: fields.required(d, 8, uint)?,
        content_type: fields.required(d, 9, text)?,
        etag: fields.optional(d, 10, text)?,
        last_modified: fields.optional(d, 11, text)?,
        fetched_at: fields.required(d, 12, uint)?,
        via: fields.required(d, 13, via)?,
        n: fields.required(d, 14, uint)?,
        checksums: fields.optional(d, 15, |d| {
            let mut inner = Fields::open(d)?;
            let sums = checksums(&mut inner, d)?;
            inner.close()?;
            Ok(sums)
        })?,
    })
}

fn via(d: &mut Decoder<'_>) -> Result<Via, Error> {
    match d.u64()? {
        0 => Ok(Via::Tls),
        1 => Ok(Via::Signed),
        _ => Err(malformed("a receipt on unknown ground")),
    }
}

fn meta(d: &mut Decoder<'_>) -> Result<Meta, Error> {
    let mut fields = Fields::open(d)?;
    let extractor = fields.required(d, 0, text)?;
    let version = fields.required(d, 1, small_uint)?;
    let inline = fields.optional(d, 2, |d| Ok(MetaBody::Inline(d.bytes()?.to_vec())))?;
    let body = match inline {
        Some(inline) => inline,
        None => MetaBody::Blob(fields.required(d, 3, blob)?),
    };
    fields.close()?;
    Ok(Meta { extractor, version, body })
}

fn blob(d: &mut Decoder<'_>) -> Result<BlobRef, Error> {
    array(d, 2)?;
    Ok(BlobRef { digest: digest(d)?, size: d.u64()? })
}

fn yank(yanks: bool, fields: &mut Fields, d: &mut Decoder<'_>) -> Result<Body, Error> {
    let release = fields.required(d, 4, statement_id)?;
    let counter = fields.required(d, 5, counter)?;
    let reason = fields.required(d, 6, text)?;
    Ok(if yanks {
        Body::Yank { release, counter, reason }
    } else {
        Body::Unyank { release, counter, reason }
    })
}

fn route_source(d: &mut Decoder<'_>) -> Result<RouteSource, Error> {
    match (d.array()?, d.u64()?) {
        (Some(2), 0) => digest(d).map(|id| RouteSource::Realm(RealmId(id))),
        (Some(4), 1) => {
            Ok(RouteSource::Upstream { origin: digest(d)?, format: text(d)?, url: text(d)? })
        }
        (Some(1), 2) => Ok(RouteSource::Deny),
        _ => Err(malformed("a route to an unknown kind of source")),
    }
}

fn id_list(d: &mut Decoder<'_>) -> Result<IdList, Error> {
    match (d.array()?, d.u64()?) {
        (Some(2), 0) => list(d, statement_id).map(IdList::Inline),
        (Some(3), 1) => Ok(IdList::Blob { digest: digest(d)?, count: d.u64()? }),
        _ => Err(malformed("a list of releases of an unknown kind")),
    }
}

fn counter(d: &mut Decoder<'_>) -> Result<Counter, Error> {
    array(d, 2)?;
    Ok(Counter { epoch: d.u64()?, n: d.u64()? })
}

fn pattern(d: &mut Decoder<'_>) -> Result<Pattern, Error> {
    Pattern::parse(d.str()?)
}

fn public_key(d: &mut Decoder<'_>) -> Result<PublicKey, Error> {
    PublicKey::admit(d.bytes()?)
}

fn statement_id(d: &mut Decoder<'_>) -> Result<StatementId, Error> {
    digest(d).map(StatementId)
}

fn digest(d: &mut Decoder<'_>) -> Result<Digest, Error> {
    bytes(d).map(Digest::from_bytes)
}

fn uint(d: &mut Decoder<'_>) -> Result<u64, Error> {
    Ok(d.u64()?)
}

fn small_uint(d: &mut Decoder<'_>) -> Result<u32, Error> {
    Ok(d.u32()?)
}
