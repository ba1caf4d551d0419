//! Documents packed for the wire, and unpacked again: zstd, plain or against a base. Pure.
//!
//! A *patch* is a zstd frame whose matches may reach into the base, as if the base stood in front
//! of the document. Measured on documents of npm from 11 KB to 21 MB: level 12 stays within 1.05
//! times their size at level 19 for a twentieth of the processor time, level 15 within 1.01 where
//! they are small. A patch finds its matches by the long-distance matcher, so that a low level does
//! for it. Packed bytes are input from a stranger: whatever they say, no more
//! comes out than the size that was known before, and the decoder's window is no larger than that
//! and the base together. What the bytes are is not judged here: the receiver compares the digest.
//!
//! Source: trust.md section 10, DESIGN section 9.

use std::io::{self, Read, Write};

use bytes::Bytes;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};
use zstd::stream::write;

/// Largest document, and largest base: patterns reach back over both together.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// More than this is not packed: such a document is asked for as a blob.
pub(super) const PACKED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Without a base: 0.1 s for 21 MB.
const LEVEL: i32 = 12;
/// Up to [`SMALL_BYTES`] without a base: 0.01 s for 100 KB.
const SMALL_LEVEL: i32 = 15;
/// See [`SMALL_LEVEL`].
pub(super) const SMALL_BYTES: u64 = 256 * 1024;
/// Against a base.
const PATCH_LEVEL: i32 = 3;
/// Least window of zstd, as a power of two.
const WINDOW_LOG_MIN: u32 = 10;
/// Both together at their largest: the decoder's window never exceeds it.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes that are read, or unpacked, at a time.
const STEP_BYTES: usize = 128 * 1024;

/// The power of two of a window that covers a document and its base.
fn window_log(size: u64, base: u64) -> u32 {
    let both = size.saturating_add(base).max(1);
    both.checked_next_power_of_two()
        .map_or(WINDOW_LOG_MAX, u64::ilog2)
        .clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)
}

/// The most memory that unpacking a document takes, in bytes: the base, and the decoder's window.
/// A stranger says how large the window is, so the largest that is allowed counts.
pub(super) fn memory(size: u64, base: u64) -> u64 {
    base.saturating_add(1 << window_log(size, base))
}

/// Packs a body of `size` bytes; `None` when it comes out longer than [`PACKED_BYTES_MAX`].
///
/// # Errors
/// When the body cannot be read, or does not have `size` bytes.
pub(super) fn pack(
    body: &mut impl Read,
    size: u64,
    base: Option<&[u8]>,
) -> io::Result<Option<Vec<u8>>> {
    let mut encoder = match base {
        None => Encoder::new(if size <= SMALL_BYTES { SMALL_LEVEL } else { LEVEL })?,
        Some(base) => patching(size, base)?,
    };
    encoder.set_pledged_src_size(Some(size))?;
    let mut out = write::Encoder::with_encoder(Vec::new(), encoder);
    let mut step = vec![0; STEP_BYTES];
    loop {
        let read = body.read(&mut step)?;
        if read == 0 {
            break;
        }
        out.write_all(&step[..read])?;
        if out.get_ref().len() > PACKED_BYTES_MAX {
            return Ok(None);
        }
    }
    let packed = out.finish()?;
    Ok((packed.len() <= PACKED_BYTES_MAX).then_some(packed))
}

fn patching(size: u64, base: &[u8]) -> io::Result<Encoder<'_>> {
    let mut encoder = Encoder::with_ref_prefix(PATCH_LEVEL, base)?;
    encoder.set_parameter(CParameter::WindowLog(window_log(size, base.len() as u64)))?;
    encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    Ok(encoder)
}

/// A document that is being unpacked, step by step, so that its bytes need not be in memory.
pub(super) struct Unpacking<'base> {
    decoder: Decoder<'base>,
    left: u64,
    is_over: bool,
}

impl std::fmt::Debug for Unpacking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'base> Unpacking<'base> {
    /// Of a document of `size` bytes, against `base` if it is a patch.
    ///
    /// # Errors
    /// When there is no memory for the decoder.
    pub(super) fn new(size: u64, base: Option<&'base [u8]>) -> io::Result<Self> {
        let mut decoder = match base {
            None => Decoder::new()?,
            Some(base) => Decoder::with_ref_prefix(base)?,
        };
        let window = window_log(size, base.map_or(0, |base| base.len() as u64));
        decoder.set_parameter(DParameter::WindowLogMax(window))?;
        Ok(Self { decoder, left: size, is_over: false })
    }

    /// Takes some of `packed` and gives what comes out of it, at most [`STEP_BYTES`]; to be called
    /// until `packed` is empty and nothing comes out.
    ///
    /// # Errors
    /// When the bytes are not zstd, want a larger window, or give more than the document has.
    pub(super) fn step(&mut self, packed: &mut &[u8]) -> io::Result<Bytes> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.is_over {
            let is_end = packed.is_empty();
            return if is_end { Ok(Bytes::new()) } else { Err(wrong("bytes after the end")) };
        }
        let mut step = vec![0; STEP_BYTES];
        let mut input = InBuffer::around(packed);
        let mut output = OutBuffer::around(step.as_mut_slice());
        self.is_over = self.decoder.run(&mut input, &mut output)? == 0;
        let (taken, given) = (input.pos(), output.pos());
        *packed = &packed[taken..];
        self.left = self.left.checked_sub(given as u64).ok_or_else(|| wrong("too many bytes"))?;
        step.truncate(given);
        Ok(step.into())
    }

    /// Whether all of it has come.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_over && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something like a document of a package with so many versions: the same words again and
    /// again, and in each version checksums and a signature that resemble nothing.
    fn document(versions: usize) -> Vec<u8> {
        use base64::Engine as _;
        use base64::prelude::BASE64_STANDARD;

        let mut out = br#"{"name":"drum","versions":{"#.to_vec();
        for version in 0..versions {
            let mut noise = [0; 160];
            let seed = version.to_string();
            blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut noise);
            let shasum: String = noise[..20].iter().map(|byte| format!("{byte:02x}")).collect();
            let [integrity, signature] =
                [&noise[20..84], &noise[84..156]].map(|some| BASE64_STANDARD.encode(some));
            let (left, right) = (version / 7, version / 13);
            let entry = format!(
                r#""1.{version}.0":{{"name":"drum","version":"1.{version}.0","license":"MIT",
                "description":"a drum that is heard in the next village","main":"index.js",
                "dependencies":{{"left":"^{left}.0.0","right":"~{right}.1.0","hide":"^2.0.0"}},
                "dist":{{"shasum":"{shasum}","integrity":"sha512-{integrity}","tarball":
                "https://packages.test/drum/-/drum-1.{version}.0.tgz","signatures":
                [{{"keyid":"SHA256:abcdefgh","sig":"{signature}"}}]}},"engines":{{"node":">=18"}},
                "repository":{{"type":"git","url":"https://example.test/drum.git"}}}},"#
            );
            out.extend_from_slice(entry.as_bytes());
        }
        out.extend_from_slice(br#""last":0},"dist-tags":{"latest":"1.0.0"}}"#);
        out
    }

    fn packed(body: &[u8], base: Option<&[u8]>) -> Vec<u8> {
        pack(&mut &body[..], body.len() as u64, base).expect("packs").expect("is small")
    }

    fn unpacked(mut bytes: &[u8], size: usize, base: Option<&[u8]>) -> io::Result<Vec<u8>> {
        let mut unpacking = Unpacking::new(size as u64, base)?;
        let mut out = Vec::new();
        loop {
            let step = unpacking.step(&mut bytes)?;
            if step.is_empty() && bytes.is_empty() {
                break;
            }
            out.extend_from_slice(&step);
        }
        if unpacking.is_whole() { Ok(out) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    #[test]
    fn what_was_packed_comes_back_with_a_base_and_without() {
        for versions in [0, 1, 300, 9_000] {
            let (old, new) = (document(versions), document(versions + 1));
            let plain = packed(&new, None);
            assert_eq!(unpacked(&plain, new.len(), None).expect("unpacks"), new);
            let patch = packed(&new, Some(&old));
            assert_eq!(unpacked(&patch, new.len(), Some(&old)).expect("unpacks"), new);
        }
        assert_eq!(unpacked(&packed(b"", None), 0, None).expect("unpacks"), b"");
    }

    #[test]
    fn a_packed_document_is_within_a_tenth_of_level_nineteen() {
        for versions in [3, 30, 300, 3_000] {
            let body = document(versions);
            let best = zstd::encode_all(&body[..], 19).expect("packs").len();
            let ours = packed(&body, None).len();
            assert!(ours * 10 <= best * 11, "{versions} versions: {ours} of {best}");
        }
    }

    #[test]
    fn a_patch_of_twenty_megabytes_is_a_few_kilobytes() {
        let versions = 27_000;
        let (old, new) = (document(versions), document(versions + 3));
        assert!(new.len() > 20_000_000, "{}", new.len());
        let patch = packed(&new, Some(&old)).len();
        assert!(patch < 8 * 1024, "{patch}");
    }

    #[test]
    fn bytes_that_give_more_or_less_than_the_size_are_refused() {
        let bomb = packed(&vec![0; 50_000_000], None);
        assert!(bomb.len() < 10_000);
        assert!(unpacked(&bomb, 1_000, None).is_err(), "a window that the size does not need");
        let body = document(100);
        let plain = packed(&body, None);
        for size in [0, 1, body.len() - 1, body.len() + 1] {
            assert!(unpacked(&plain, size, None).is_err(), "{size}");
        }
        let more = [&plain[..], &plain[..]].concat();
        assert!(unpacked(&more, body.len(), None).is_err(), "a second frame");
        assert!(unpacked(&plain[..plain.len() - 1], body.len(), None).is_err(), "cut");
        assert!(unpacked(b"not zstd at all", 15, None).is_err());
    }

    #[test]
    fn a_bomb_that_names_no_size_gives_at_most_a_step_too_many() {
        let mut bomb = write::Encoder::new(Vec::new(), 1).expect("packs");
        (0..1_000).for_each(|_| bomb.write_all(&[0; 64 * 1024]).expect("packs"));
        let bomb = bomb.finish().expect("packs");
        let mut unpacking = Unpacking::new(1 << 22, None).expect("has memory");
        let (mut rest, mut given) = (&bomb[..], 0);
        let refused = loop {
            match unpacking.step(&mut rest) {
                Ok(step) => given += step.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
        assert!(given <= 1 << 22, "{given}");
    }

    #[test]
    fn a_document_that_does_not_get_smaller_is_not_packed() {
        let mut noise = vec![0; PACKED_BYTES_MAX + 1];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(pack(&mut &noise[..], noise.len() as u64, None).expect("reads").is_none());
    }

    #[test]
    fn a_body_of_another_size_than_said_is_an_error() {
        assert!(pack(&mut &b"three"[..], 3, None).is_err());
        assert!(pack(&mut &b"three"[..], 30, None).is_err());
    }
}
