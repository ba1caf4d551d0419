//! A document into gzip and zstd, in one pass, each up to a bound.
//!
//! Runs where blocking is allowed. Memory is what the two forms take and their encoders' windows,
//! whatever the size of the document: it may be read from a file. Big ones wait in one line that
//! one thread works off, so that a person's first requests after a sync do not fight them for the
//! processor.
//!
//! Source: RFC 1952; RFC 8878, RFC 9659 (windows of at most 8 MiB).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::document::Read;

/// Good forms, made once and sent often.
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(6);
const ZSTD_LEVEL: i32 = 9;
/// Work that waits.
const LINE_MAX: usize = 256;

/// The forms that came out within their bounds.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) gzip: Option<Bytes>,
    pub(super) zstd: Option<Bytes>,
}

/// Packs what `read` writes, `size` bytes, into forms of at most `most` bytes.
pub(super) fn both(read: Read, size: u64, most: usize) -> io::Result<Packed> {
    let mut zstd = zstd::stream::write::Encoder::new(Bounded::new(most), ZSTD_LEVEL)?;
    zstd.set_pledged_src_size(Some(size))?;
    zstd.include_contentsize(true)?;
    let mut both =
        Both { gzip: Some(GzEncoder::new(Bounded::new(most), GZIP_LEVEL)), zstd: Some(zstd) };
    read(&mut both)?;
    let gzip = both.gzip.and_then(|gzip| gzip.finish().ok());
    let zstd = both.zstd.and_then(|zstd| zstd.finish().ok());
    let bytes = |form: Bounded| Bytes::from(form.bytes.into_boxed_slice());
    Ok(Packed { gzip: gzip.map(bytes), zstd: zstd.map(bytes) })
}

/// Two encoders; one whose form grows too large is given up.
struct Both<'e> {
    gzip: Option<GzEncoder<Bounded>>,
    zstd: Option<zstd::stream::write::Encoder<'e, Bounded>>,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gzip.as_mut().is_some_and(|gzip| gzip.write_all(bytes).is_err()) {
            self.gzip = None;
        }
        if self.zstd.as_mut().is_some_and(|zstd| zstd.write_all(bytes).is_err()) {
            self.zstd = None;
        }
        if self.gzip.is_none() && self.zstd.is_none() {
            return Err(io::Error::other("it does not become small enough"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Bounded {
    const fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Work on one document: a big one is packed, any is stored.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Work that waits, and whether a thread works it off.
#[derive(Default, Clone)]
pub(super) struct Line(Arc<Mutex<(VecDeque<Job>, bool)>>);

impl Line {
    /// Does it behind; one that finds the line full is dropped.
    pub(super) fn join(&self, job: Job) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.0.len() >= LINE_MAX {
            drop(line);
            // It is dropped here, unlocked: who waits for its forms hears that there are none.
            return drop(job);
        }
        line.0.push_back(job);
        if !std::mem::replace(&mut line.1, true) {
            let worker = Worker(self.clone());
            tokio::task::spawn_blocking(move || worker.work());
        }
    }
}

/// Lets the next one start a thread, even if this one breaks.
struct Worker(Line);

impl Worker {
    fn work(&self) {
        loop {
            let job = {
                let mut line = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(job) = line.0.pop_front() else {
                    line.1 = false;
                    return;
                };
                job
            };
            job();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn packed(text: &'static [u8], most: usize) -> io::Result<Packed> {
        both(Box::new(|out| out.write_all(text)), text.len() as u64, most)
    }

    #[test]
    fn both_forms_give_the_bytes_back() {
        let text: &[u8] = b"{\"name\":\"a\",\"versions\":{}}";
        let Packed { gzip, zstd } = packed(text, 1000).unwrap();
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&*gzip.unwrap()).read_to_end(&mut out).unwrap();
        assert_eq!(out, text);
        assert_eq!(zstd::stream::decode_all(&*zstd.unwrap()).unwrap(), text);
    }

    #[test]
    fn what_would_grow_beyond_the_bound_is_given_up() {
        let noise = (0..100_000_u32).map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[0]);
        let noise: &'static [u8] = noise.collect::<Vec<_>>().leak();
        let held = packed(noise, 50_000).map(|forms| (forms.gzip.is_some(), forms.zstd.is_some()));
        assert!(matches!(held, Err(_) | Ok((false, false))), "{held:?}");
    }
}
