//! Batches of statements: zstd over a CBOR array of envelopes.
//!
//! Single statements hardly compress, batches halve. What inflates is bounded while it inflates:
//! neither the announced size nor the ratio is believed. Source: index.md sections 2.2 and 2.6.

use std::collections::BTreeSet;
use std::io::Read;

use minicbor::{Decoder, Encoder};

use crate::{Envelope, Error};

/// What a batch may inflate to.
pub const INFLATED_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The level that paid off in the measurements.
const LEVEL: i32 = 3;
/// Log2 of the largest window that is accepted: it bounds the decoder's own memory to 4 MiB.
const WINDOW_LOG_MAX: u32 = 22;

pub(super) fn compress(batch: &[Envelope]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = batch.iter().map(Envelope::encode).collect();
    zstd::encode_all(join(&parts).as_slice(), LEVEL).expect("compressing memory into memory works")
}

pub(super) fn inflate(compressed: &[u8]) -> Result<Vec<Envelope>, Error> {
    let malformed = |why: String| Error::Malformed { what: "batch", why };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)
        .map_err(|error| malformed(error.to_string()))?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| malformed(error.to_string()))?;
    let mut plain = Vec::new();
    // One byte more than allowed tells the end from the limit.
    let limit = INFLATED_MAX_BYTES as u64;
    decoder
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|error| malformed(error.to_string()))?;
    if plain.len() > INFLATED_MAX_BYTES {
        return Err(Error::OverLimit { what: "inflated batch", limit });
    }
    let parts = split(&plain).map_err(|error| malformed(error.to_string()))?;
    if join(&parts) != plain {
        return Err(Error::NotCanonical { what: "batch" });
    }
    let batch = parts.into_iter().map(Envelope::decode).collect::<Result<Vec<_>, _>>()?;
    // One statement a thousand times over would cost its sender next to nothing.
    let mut seen = BTreeSet::new();
    if !batch.iter().all(|envelope| seen.insert(envelope.statement.id())) {
        return Err(malformed("a statement twice".to_owned()));
    }
    Ok(batch)
}

fn split(plain: &[u8]) -> Result<Vec<&[u8]>, minicbor::decode::Error> {
    let mut cbor = Decoder::new(plain);
    let count = cbor.array()?.ok_or_else(|| minicbor::decode::Error::message("indefinite"))?;
    (0..count).map(|_| cbor.bytes()).collect()
}

fn join<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cbor = Encoder::new(&mut out);
    let written = cbor.array(parts.len() as u64).and_then(|cbor| {
        parts.iter().try_fold(cbor, |cbor, part| cbor.bytes(part.as_ref())).map(|_| ())
    });
    written.expect("writing to memory works");
    out
}
