//! The bodies of frames: CBOR arrays, written and read field by field.
//!
//! `read` takes what minicbor takes and checks limits before it allocates; `Frame::decode` then
//! writes the frame again and compares, which is what makes the encoding canonical.

use minicbor::encode::Error as Wrong;
use minicbor::{Decoder, Encoder};

use super::{
    CELLS_MAX, COLLS_MAX, FOLLOWS_MAX, Frame, HIDDEN_MAX, IDS_MAX, Listed, PROOF_MAX,
    REASON_MAX_BYTES, WANT_MAX, batch,
};
use crate::sketch::{CELL_BYTES, Cell};
use crate::{Digest, Error, PublicKey, RealmId, Signature, StatementId};

type Cbor<'a> = Encoder<&'a mut Vec<u8>>;
type Written = Result<(), Wrong<std::convert::Infallible>>;

/// Appends the body of `frame` to `out`; a batch goes in as `compressed`.
pub(super) fn write(frame: &Frame, compressed: &[u8], out: &mut Vec<u8>) {
    fields(frame, compressed, &mut Encoder::new(out)).expect("writing to memory works");
}

fn fields(frame: &Frame, compressed: &[u8], cbor: &mut Cbor<'_>) -> Written {
    match frame {
        Frame::Hello { version, features, max_frame, key, epoch, seen, follows } => {
            cbor.array(7)?.u32(*version)?.u64(*features)?.u64(*max_frame)?;
            cbor.bytes(key)?.u64(*epoch)?;
            match seen {
                None => cbor.array(0)?,
                Some((epoch, sequence)) => cbor.array(2)?.u64(*epoch)?.u64(*sequence)?,
            };
            digests(cbor, follows.iter().map(|realm| &realm.0))
        }
        Frame::Follows { follows } => digests(cbor.array(1)?, follows.iter().map(|realm| &realm.0)),
        Frame::Resume { from, to, .. } => {
            cbor.array(3)?.u64(*from)?.u64(*to)?.bytes(compressed)?.ok()
        }
        Frame::Check { count, fingerprint, sequence } => {
            cbor.array(3)?.u64(*count)?.bytes(fingerprint)?.u64(*sequence)?.ok()
        }
        Frame::Colls { last, entries } => {
            cbor.array(2)?.bool(*last)?.array(entries.len() as u64)?;
            entries.iter().try_for_each(|(name, count, fingerprint)| {
                cbor.array(3)?.bytes(name)?.u64(*count)?.bytes(fingerprint)?.ok()
            })
        }
        Frame::AllIds { coll, ids, last } => {
            cbor.array(3)?.bytes(coll)?.bool(*last)?.bytes(&short_ids(ids))?.ok()
        }
        Frame::Done { coll, last, want } => {
            cbor.array(3)?.bytes(coll)?.bool(*last)?.bytes(&short_ids(want))?.ok()
        }
        Frame::Cells { coll, first, cells } => {
            let bytes: Vec<u8> = cells.iter().flat_map(Cell::to_bytes).collect();
            cbor.array(3)?.bytes(coll)?.u64(*first)?.bytes(&bytes)?.ok()
        }
        Frame::More { coll, count } => cbor.array(2)?.bytes(coll)?.u64(*count)?.ok(),
        Frame::Proof { keys } => {
            cbor.array(1)?.array(keys.len() as u64)?;
            keys.iter().try_for_each(|(key, signature)| {
                cbor.array(2)?.bytes(key.as_bytes())?.bytes(&signature.0)?.ok()
            })
        }
        Frame::Hidden { tags } => {
            cbor.array(1)?.array(tags.len() as u64)?;
            tags.iter().try_for_each(|tag| cbor.bytes(tag)?.ok())
        }
        Frame::Want { ids } => digests(cbor.array(1)?, ids.iter().map(|id| &id.0)),
        Frame::Statements { .. } | Frame::Lobby { .. } => cbor.array(1)?.bytes(compressed)?.ok(),
        Frame::GoAway { reason } => cbor.array(1)?.str(reason)?.ok(),
    }
}

fn digests<'a>(cbor: &mut Cbor<'_>, list: impl ExactSizeIterator<Item = &'a Digest>) -> Written {
    cbor.array(list.len() as u64)?;
    for digest in list {
        cbor.bytes(digest.as_bytes())?;
    }
    Ok(())
}

fn short_ids(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The frame, and its batch as it came; `None` for an unknown type that may be skipped.
pub(super) fn read(kind: u8, body: &[u8]) -> Result<Option<(Frame, &[u8])>, Error> {
    let mut fields = Fields(Decoder::new(body));
    let mut compressed: &[u8] = &[];
    let frame = match kind {
        0x01 => fields.hello()?,
        0x02 => Frame::Follows { follows: fields.array(1)?.realms()? },
        0x03 => {
            let (from, to) = (fields.array(3)?.u64()?, fields.u64()?);
            compressed = fields.bytes()?;
            Frame::Resume { from, to, batch: batch::inflate(compressed)? }
        }
        0x04 => Frame::Check {
            count: fields.array(3)?.u64()?,
            fingerprint: fields.fixed()?,
            sequence: fields.u64()?,
        },
        0x05 => Frame::Colls { last: fields.array(2)?.bool()?, entries: fields.entries()? },
        0x06 => {
            let (coll, last) = (fields.array(3)?.fixed()?, fields.bool()?);
            Frame::AllIds { coll, ids: fields.short_ids()?, last }
        }
        0x07 => {
            let (coll, last) = (fields.array(3)?.fixed()?, fields.bool()?);
            Frame::Done { coll, last, want: fields.short_ids()? }
        }
        0x08 => {
            let ids = fields.array(1)?.digests("statements in WANT", WANT_MAX)?;
            Frame::Want { ids: ids.into_iter().map(StatementId).collect() }
        }
        0x09 | 0x0a => {
            compressed = fields.array(1)?.bytes()?;
            let batch = batch::inflate(compressed)?;
            if kind == 0x09 { Frame::Statements { batch } } else { Frame::Lobby { batch } }
        }
        0x0b => Frame::GoAway { reason: fields.array(1)?.reason()? },
        0x0c => {
            let (coll, first) = (fields.array(3)?.fixed()?, fields.u64()?);
            Frame::Cells { coll, first, cells: fields.cells()? }
        }
        0x0d => Frame::More { coll: fields.array(2)?.fixed()?, count: fields.u64()? },
        0x0e => Frame::Proof { keys: fields.array(1)?.proofs()? },
        0x0f => Frame::Hidden { tags: fields.array(1)?.tags()? },
        0x80.. => return Ok(None),
        _ => return Err(malformed(format!("unknown type {kind:#04x}"))),
    };
    Ok(Some((frame, compressed)))
}

fn malformed(why: impl ToString) -> Error {
    Error::Malformed { what: "frame", why: why.to_string() }
}

struct Fields<'a>(Decoder<'a>);

impl<'a> Fields<'a> {
    fn hello(&mut self) -> Result<Frame, Error> {
        let version = u32::try_from(self.array(7)?.u64()?).map_err(malformed)?;
        let (features, max_frame, key) = (self.u64()?, self.u64()?, self.fixed()?);
        let epoch = self.u64()?;
        let seen = match self.count("seen", 2)? {
            0 => None,
            2 => Some((self.u64()?, self.u64()?)),
            _ => return Err(malformed("seen has neither none nor two fields")),
        };
        let follows = self.realms()?;
        Ok(Frame::Hello { version, features, max_frame, key, epoch, seen, follows })
    }

    fn array(&mut self, fields: u64) -> Result<&mut Self, Error> {
        match self.0.array().map_err(malformed)? {
            Some(count) if count == fields => Ok(self),
            _ => Err(malformed("another number of fields")),
        }
    }

    /// The length of a list, which is at most `limit`.
    fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, Error> {
        let count = self.0.array().map_err(malformed)?.ok_or_else(|| malformed("indefinite"))?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(Error::OverLimit { what, limit: limit as u64 })
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.0.u64().map_err(malformed)
    }

    fn bool(&mut self) -> Result<bool, Error> {
        self.0.bool().map_err(malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        self.0.bytes().map_err(malformed)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.bytes()?.try_into().map_err(|_| malformed("a field of another length"))
    }

    fn digests(&mut self, what: &'static str, limit: usize) -> Result<Vec<Digest>, Error> {
        let count = self.count(what, limit)?;
        (0..count).map(|_| self.fixed().map(Digest::from_bytes)).collect()
    }

    fn realms(&mut self) -> Result<Vec<RealmId>, Error> {
        let realms: Vec<RealmId> =
            self.digests("realms", FOLLOWS_MAX)?.into_iter().map(RealmId).collect();
        ascending(&realms).then_some(realms).ok_or(Error::NotCanonical { what: "list of realms" })
    }

    fn proofs(&mut self) -> Result<Vec<(PublicKey, Signature)>, Error> {
        let count = self.count("keys in PROOF", PROOF_MAX)?;
        let proof = |_| {
            let key = PublicKey::admit(self.array(2)?.bytes()?)?;
            Ok((key, Signature(self.fixed()?)))
        };
        let proofs = (0..count).map(proof).collect::<Result<Vec<_>, Error>>()?;
        let sorted = proofs.is_sorted_by(|(one, _), (other, _)| one < other);
        sorted.then_some(proofs).ok_or(Error::NotCanonical { what: "list of keys" })
    }

    fn tags(&mut self) -> Result<Vec<[u8; 32]>, Error> {
        let count = self.count("tags in HIDDEN", HIDDEN_MAX)?;
        let tags = (0..count).map(|_| self.fixed()).collect::<Result<Vec<_>, Error>>()?;
        ascending(&tags).then_some(tags).ok_or(Error::NotCanonical { what: "list of tags" })
    }

    fn entries(&mut self) -> Result<Vec<Listed>, Error> {
        let count = self.count("collections", COLLS_MAX)?;
        (0..count).map(|_| Ok((self.array(3)?.fixed()?, self.u64()?, self.fixed()?))).collect()
    }

    fn short_ids(&mut self) -> Result<Vec<u64>, Error> {
        let bytes = self.bytes()?;
        if bytes.len() > IDS_MAX * 8 {
            return Err(Error::OverLimit { what: "short ids", limit: IDS_MAX as u64 });
        }
        let (chunks, rest) = bytes.as_chunks::<8>();
        let ids: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        if !rest.is_empty() || !ascending(&ids) {
            return Err(Error::NotCanonical { what: "list of short ids" });
        }
        Ok(ids)
    }

    fn cells(&mut self) -> Result<Vec<Cell>, Error> {
        let (chunks, rest) = self.bytes()?.as_chunks::<CELL_BYTES>();
        if chunks.len() > CELLS_MAX {
            return Err(Error::OverLimit { what: "cells", limit: CELLS_MAX as u64 });
        }
        let whole = !chunks.is_empty() && rest.is_empty();
        whole.then(|| chunks.iter().map(Cell::from_bytes).collect()).ok_or(malformed("no cells"))
    }

    fn reason(&mut self) -> Result<String, Error> {
        let text = self.0.str().map_err(malformed)?;
        if text.len() > REASON_MAX_BYTES {
            return Err(Error::OverLimit { what: "reason", limit: REASON_MAX_BYTES as u64 });
        }
        Ok(text.to_owned())
    }
}

fn ascending<T: PartialOrd>(list: &[T]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}
