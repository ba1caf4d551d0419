//! From the content of a statement to its one canonical encoding.
//!
//! A payload is a map with integer keys: 0 the revision `v`, 1 the realm (absent in a genesis
//! alone), 2 the format and 3 the name (package-level types alone; a receipt has the format of its
//! subject there and no name), then from 4 on the fields of the type, in the order of [`Body`]'s
//! declaration. Absent options are absent keys.
//!
//! Source: trust.md sections 3 and 4.

use std::convert::Infallible;

use super::{
    BlobRef, Body, Counter, File, Grant, Grantee, IdList, Meta, MetaBody, Receipt, Release, Root,
    RouteSource, Via,
};
use crate::{Checksums, PackageId, RealmId, StatementId};

/// The keys of the common fields.
pub(super) mod key {
    pub(in super::super) const V: u64 = 0;
    pub(in super::super) const REALM: u64 = 1;
    pub(in super::super) const FORMAT: u64 = 2;
    pub(in super::super) const NAME: u64 = 3;
}

/// The revision of the known types.
pub(super) const V: u64 = 1;

type Encoder<'a> = minicbor::Encoder<&'a mut Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Runs `write` on an empty buffer.
pub(super) fn to_bytes(write: impl FnOnce(&mut Encoder<'_>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("writing to memory does not fail");
    bytes
}

/// The payload of a statement of a known type.
pub(super) fn payload(realm: Option<RealmId>, package: Option<&PackageId>, body: &Body) -> Vec<u8> {
    let format = match body {
        Body::Receipt(receipt) => Some(&receipt.subject.format),
        _ => package.map(|package| &package.format),
    };
    let there = [realm.is_some(), format.is_some(), package.is_some()];
    let common = 1 + there.iter().map(|there| u64::from(*there)).sum::<u64>();
    to_bytes(|e| {
        e.map(common + field_count(body))?.u64(key::V)?.u64(V)?;
        if let Some(realm) = realm {
            e.u64(key::REALM)?.bytes(realm.0.as_bytes())?;
        }
        if let Some(format) = format {
            e.u64(key::FORMAT)?.str(format)?;
        }
        if let Some(package) = package {
            e.u64(key::NAME)?.str(&package.name)?;
        }
        fields(e, body)
    })
}

fn field_count(body: &Body) -> u64 {
    match body {
        Body::Root(root) => 9 + u64::from(root.prev.is_some()) + u64::from(root.seals.is_some()),
        Body::Release(release) => 4 + u64::from(release.extras.is_some()),
        Body::Withdraw { .. } => 2,
        Body::Yank { .. } | Body::Unyank { .. } => 3,
        Body::Tag { release, .. } => 2 + u64::from(release.is_some()),
        Body::Route { .. } => 4,
        Body::Receipt(receipt) => {
            let optional = [&receipt.etag, &receipt.last_modified].map(|text| text.is_some());
            let there = optional.iter().filter(|there| **there).count() as u64;
            9 + there + u64::from(receipt.checksums.is_some())
        }
        Body::Revoke { .. } => 3,
        Body::Seal { .. } => 1,
        Body::Beat(_) => 5,
        Body::Unknown => 0,
    }
}

fn fields(e: &mut Encoder<'_>, body: &Body) -> Written {
    match body {
        Body::Root(content) => root(e, content),
        Body::Release(content) => release(e, content),
        Body::Withdraw { release, reason } => {
            id(e.u64(4)?, release)?;
            e.u64(5)?.str(reason)?.ok()
        }
        Body::Yank { release, counter: at, reason }
        | Body::Unyank { release, counter: at, reason } => {
            id(e.u64(4)?, release)?;
            counter(e.u64(5)?, *at)?;
            e.u64(6)?.str(reason)?.ok()
        }
        Body::Tag { tag, release, counter: at } => {
            e.u64(4)?.str(tag)?;
            if let Some(release) = release {
                id(e.u64(5)?, release)?;
            }
            counter(e.u64(6)?, *at)
        }
        Body::Route { format, pattern, source, counter: at } => {
            e.u64(4)?.str(format)?.u64(5)?.str(&pattern.0)?;
            route_source(e.u64(6)?, source)?;
            counter(e.u64(7)?, *at)
        }
        Body::Revoke { key, keep, reason } => {
            id_list(e.u64(4)?.bytes(key.as_bytes())?.u64(5)?, keep)?;
            e.u64(6)?.str(reason)?.ok()
        }
        Body::Seal { releases } => id_list(e.u64(4)?, releases),
        Body::Receipt(content) => receipt(e, content),
        Body::Beat(beat) => {
            id(e.u64(4)?, &beat.head)?;
            counter(e.u64(5)?, beat.counter)?;
            e.u64(6)?.bytes(beat.digest.as_bytes())?.u64(7)?.u64(beat.count)?;
            e.u64(8)?.u64(beat.claimed_time)?.ok()
        }
        Body::Unknown => Ok(()),
    }
}

fn root(e: &mut Encoder<'_>, root: &Root) -> Written {
    e.u64(4)?.u64(root.epoch)?;
    if let Some(prev) = &root.prev {
        id(e.u64(5)?, prev)?;
    }
    e.u64(6)?.bytes(&root.nonce)?.u64(7)?.str(&root.title)?;
    list(e.u64(8)?, &root.roots, |e, key| e.bytes(key.as_bytes())?.ok())?;
    e.u64(9)?.u32(root.k)?;
    list(e.u64(10)?, &root.recovery, |e, hash| e.bytes(hash.as_bytes())?.ok())?;
    e.u64(11)?.u32(root.rk)?;
    list(e.u64(12)?, &root.grants, grant)?;
    list(e.u64(13)?, &root.cleared, id)?;
    if let Some(seals) = &root.seals {
        list(e.u64(14)?, seals, id)?;
    }
    Ok(())
}

fn grant(e: &mut Encoder<'_>, grant: &Grant) -> Written {
    e.map(6)?.u64(0)?.str(&grant.format)?.u64(1)?.str(&grant.pattern.0)?;
    e.u64(2)?.str(&grant.role)?.u64(3)?.array(2)?;
    match &grant.to {
        Grantee::Key(key) => e.u64(0)?.bytes(key.as_bytes())?,
        Grantee::Realm(realm) => e.u64(1)?.bytes(realm.0.as_bytes())?,
        Grantee::Peer(peer) => e.u64(2)?.bytes(peer)?,
    };
    e.u64(4)?.u32(grant.need)?.u64(5)?.bool(grant.exclusive)?.ok()
}

fn release(e: &mut Encoder<'_>, release: &Release) -> Written {
    e.u64(4)?.str(&release.version)?.u64(5)?.str(&release.written)?;
    list(e.u64(6)?, &release.files, file)?;
    if let Some(extras) = &release.extras {
        blob(e.u64(7)?, extras)?;
    }
    e.u64(8)?.u64(release.claimed_time)?.ok()
}

fn file(e: &mut Encoder<'_>, file: &File) -> Written {
    let more = u64::from(file.meta.is_some());
    e.map(3 + checksum_count(&file.checksums) + more)?;
    e.u64(0)?.str(&file.name)?.u64(1)?.u64(file.size)?;
    e.u64(2)?.bytes(file.blake3.as_bytes())?;
    checksums(e, &file.checksums)?;
    file.meta.as_ref().map_or(Ok(()), |extracted| meta(e.u64(7)?, extracted))
}

fn checksum_count(sums: &Checksums) -> u64 {
    let optional = [sums.sha512.is_some(), sums.sha1.is_some(), sums.md5.is_some()];
    1 + optional.iter().map(|there| u64::from(*there)).sum::<u64>()
}

/// The entries 3 to 6 of the map around them.
fn checksums(e: &mut Encoder<'_>, sums: &Checksums) -> Written {
    e.u64(3)?.bytes(&sums.sha256)?;
    let optional: [(u64, Option<&[u8]>); 3] = [
        (4, sums.sha512.as_ref().map(AsRef::as_ref)),
        (5, sums.sha1.as_ref().map(AsRef::as_ref)),
        (6, sums.md5.as_ref().map(AsRef::as_ref)),
    ];
    for (key, sum) in optional {
        if let Some(sum) = sum {
            e.u64(key)?.bytes(sum)?;
        }
    }
    Ok(())
}

fn receipt(e: &mut Encoder<'_>, receipt: &Receipt) -> Written {
    let subject = &receipt.subject;
    e.u64(4)?.bytes(subject.origin.as_bytes())?;
    e.u64(5)?.str(&subject.document)?.u64(6)?.str(&subject.variant)?;
    e.u64(7)?.bytes(receipt.blake3.as_bytes())?.u64(8)?.u64(receipt.size)?;
    e.u64(9)?.str(&receipt.content_type)?;
    for (key, text) in [(10, &receipt.etag), (11, &receipt.last_modified)] {
        if let Some(text) = text {
            e.u64(key)?.str(text)?;
        }
    }
    let via = match receipt.via {
        Via::Tls => 0,
        Via::Signed => 1,
    };
    e.u64(12)?.u64(receipt.fetched_at)?.u64(13)?.u64(via)?.u64(14)?.u64(receipt.n)?;
    if let Some(sums) = &receipt.checksums {
        e.u64(15)?.map(checksum_count(sums))?;
        checksums(e, sums)?;
    }
    Ok(())
}

fn meta(e: &mut Encoder<'_>, meta: &Meta) -> Written {
    e.map(3)?.u64(0)?.str(&meta.extractor)?.u64(1)?.u32(meta.version)?;
    match &meta.body {
        MetaBody::Inline(bytes) => e.u64(2)?.bytes(bytes)?.ok(),
        MetaBody::Blob(elsewhere) => blob(e.u64(3)?, elsewhere),
    }
}

fn blob(e: &mut Encoder<'_>, blob: &BlobRef) -> Written {
    e.array(2)?.bytes(blob.digest.as_bytes())?.u64(blob.size)?.ok()
}

fn route_source(e: &mut Encoder<'_>, source: &RouteSource) -> Written {
    match source {
        RouteSource::Realm(realm) => e.array(2)?.u64(0)?.bytes(realm.0.as_bytes())?.ok(),
        RouteSource::Upstream { origin, format, url } => {
            e.array(4)?.u64(1)?.bytes(origin.as_bytes())?.str(format)?.str(url)?.ok()
        }
        RouteSource::Deny => e.array(1)?.u64(2)?.ok(),
    }
}

fn id_list(e: &mut Encoder<'_>, ids: &IdList) -> Written {
    match ids {
        IdList::Inline(ids) => list(e.array(2)?.u64(0)?, ids, id),
        IdList::Blob { digest, count } => {
            e.array(3)?.u64(1)?.bytes(digest.as_bytes())?.u64(*count)?.ok()
        }
    }
}

fn counter(e: &mut Encoder<'_>, counter: Counter) -> Written {
    e.array(2)?.u64(counter.epoch)?.u64(counter.n)?.ok()
}

fn id(e: &mut Encoder<'_>, id: &StatementId) -> Written {
    e.bytes(id.0.as_bytes())?.ok()
}

fn list<T>(
    e: &mut Encoder<'_>,
    items: &[T],
    mut write: impl FnMut(&mut Encoder<'_>, &T) -> Written,
) -> Written {
    e.array(items.len() as u64)?;
    items.iter().try_for_each(|item| write(e, item))
}
