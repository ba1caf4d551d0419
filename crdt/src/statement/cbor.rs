//! The one canonical form of CBOR, whatever the statement's type, and a reader of its maps.
//!
//! [`check`] walks an encoding without keeping anything: integers in their shortest form, definite
//! lengths, integer map keys in ascending order, text in NFC, no floats, tags or nulls, nesting
//! within the limit, nothing left over. Known types are then parsed and encoded again as well;
//! unknown ones have this check alone.
//!
//! [`Fields`] reads the entries of a map in the order of their keys. As the order is fixed, an
//! optional field is one look at the next key, and any entry that nobody asked for is an error.
//!
//! Source: trust.md section 3; RFC 8949 section 4.2.1.

use minicbor::Decoder;
use minicbor::data::Type;
use unicode_normalization::is_nfc;

use super::limits::{MAX_DEPTH, malformed};
use crate::Error;

impl From<minicbor::decode::Error> for Error {
    fn from(error: minicbor::decode::Error) -> Self {
        malformed(&error.to_string())
    }
}

/// Checks that `bytes` are exactly one canonical item.
pub(super) fn check(bytes: &[u8]) -> Result<(), Error> {
    let mut decoder = Decoder::new(bytes);
    item(&mut decoder, 0)?;
    end(&decoder)
}

/// Refuses bytes after the item.
pub(super) fn end(decoder: &Decoder<'_>) -> Result<(), Error> {
    if decoder.position() == decoder.input().len() {
        Ok(())
    } else {
        Err(malformed("bytes after the end"))
    }
}

const NOT_CANONICAL: Error = Error::NotCanonical { what: "statement" };

fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Error> {
    let start = decoder.position();
    let head = *decoder.input().get(start).ok_or_else(|| malformed("it ends too early"))?;
    let kind = decoder.datatype()?;
    if matches!(kind, Type::Map | Type::Array) && depth == MAX_DEPTH {
        return Err(Error::OverLimit { what: "nesting of a statement", limit: MAX_DEPTH as u64 });
    }
    shortest(&decoder.input()[start..])?;
    match head >> 5 {
        0 | 1 => drop(decoder.int()?),
        2 => drop(decoder.bytes()?),
        3 => {
            if !is_nfc(decoder.str()?) {
                return Err(NOT_CANONICAL);
            }
        }
        4 => {
            for _ in 0..decoder.array()?.ok_or(NOT_CANONICAL)? {
                item(decoder, depth + 1)?;
            }
        }
        5 => map(decoder, depth)?,
        _ => drop(decoder.bool()?),
    }
    Ok(())
}

fn map(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Error> {
    let input = decoder.input();
    let mut last: Option<&[u8]> = None;
    for _ in 0..decoder.map()?.ok_or(NOT_CANONICAL)? {
        let start = decoder.position();
        shortest(&input[start..])?;
        decoder.int()?;
        let key = &input[start..decoder.position()];
        if last.is_some_and(|last| last >= key) {
            return Err(NOT_CANONICAL);
        }
        last = Some(key);
        item(decoder, depth + 1)?;
    }
    Ok(())
}

/// Whether the argument in an item's head is in its shortest form and definite.
fn shortest(item: &[u8]) -> Result<(), Error> {
    let (head, rest) = item.split_first().ok_or_else(|| malformed("it ends too early"))?;
    let (length, least) = match head & 31 {
        0..=23 => return Ok(()),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(NOT_CANONICAL),
    };
    let argument = rest.get(..length).ok_or_else(|| malformed("it ends too early"))?;
    let argument = argument.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    if argument >= least { Ok(()) } else { Err(NOT_CANONICAL) }
}

/// The entries of one map, read in the order of their keys.
#[derive(Debug)]
pub(super) struct Fields {
    left: u64,
    next: Option<u64>,
}

impl Fields {
    /// Enters a map.
    pub(super) fn open(decoder: &mut Decoder<'_>) -> Result<Self, Error> {
        let left = decoder.map()?.ok_or(NOT_CANONICAL)?;
        let mut fields = Self { left, next: None };
        fields.advance(decoder)?;
        Ok(fields)
    }

    /// If the next key is `key`, calls `read` for its value.
    pub(super) fn optional<'b, T>(
        &mut self,
        decoder: &mut Decoder<'b>,
        key: u64,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.next != Some(key) {
            return Ok(None);
        }
        let value = read(decoder)?;
        self.advance(decoder)?;
        Ok(Some(value))
    }

    /// Reads the value of `key`, which must be the next.
    pub(super) fn required<'b, T>(
        &mut self,
        decoder: &mut Decoder<'b>,
        key: u64,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.optional(decoder, key, read)?.ok_or_else(|| malformed(&format!("no field {key}")))
    }

    /// Refuses entries that nobody read.
    pub(super) fn close(self) -> Result<(), Error> {
        match self.next {
            None => Ok(()),
            Some(key) => Err(malformed(&format!("unexpected field {key}"))),
        }
    }

    fn advance(&mut self, decoder: &mut Decoder<'_>) -> Result<(), Error> {
        self.next = None;
        if self.left > 0 {
            self.left -= 1;
            self.next = Some(decoder.u64()?);
        }
        Ok(())
    }
}

/// Reads an array of `length` or refuses it.
pub(super) fn array(decoder: &mut Decoder<'_>, length: u64) -> Result<(), Error> {
    if decoder.array()? == Some(length) {
        Ok(())
    } else {
        Err(malformed(&format!("not an array of {length}")))
    }
}

/// Reads a list of any length. Nothing is reserved for a length that is only claimed.
pub(super) fn list<'b, T>(
    decoder: &mut Decoder<'b>,
    mut read: impl FnMut(&mut Decoder<'b>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let length = decoder.array()?.ok_or(NOT_CANONICAL)?;
    let mut list = Vec::new();
    for _ in 0..length {
        list.push(read(decoder)?);
    }
    Ok(list)
}

/// Reads exactly `N` bytes.
pub(super) fn bytes<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u8; N], Error> {
    decoder.bytes()?.try_into().map_err(|_| malformed(&format!("not {N} bytes")))
}

/// Reads text.
pub(super) fn text(decoder: &mut Decoder<'_>) -> Result<String, Error> {
    Ok(decoder.str()?.to_owned())
}
