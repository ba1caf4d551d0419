//! The body of an answer out of a file: what is sent when, and in how large pieces.
//!
//! On a connection that can send files itself (see `direct`) a piece that lies in the page cache is
//! only named. Any other is read on a thread where blocking is allowed, the next one while this one
//! is being sent. Buffers for that are shared by all connections and bounded: who finds none left
//! reads in small pieces of its own, one at a time. So memory stays flat, and a slow disk or a
//! client that stopped reading keeps no thread and no other connection.
//!
//! Does not know about HTTP, nor whose the bytes are.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, Stream};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::direct::{PLACEHOLDER_MAX, Road};
use crate::registry::Completion;

/// Bytes read at once into a shared buffer.
const READ_BYTES: usize = 512 << 10;
/// Shared buffers in use at once: 16 MiB.
const BUFFERS_MAX: usize = 32;
/// Shared buffers kept while nobody needs them.
const BUFFERS_IDLE_MAX: usize = 4;
/// Bytes read at once by who has no shared buffer.
const ALONE_BYTES: usize = 64 << 10;
/// How far apart the page cache is probed: one read-ahead of the system's default.
const PROBE_BYTES: u64 = 128 << 10;

/// A part of a body.
#[derive(Debug)]
pub(super) enum Section {
    /// As it is.
    Text(Bytes),
    /// These bytes of the file.
    File(Range<u64>),
    /// What has to be done before more is sent.
    Complete(Box<Completion>),
}

/// What is left to be sent.
#[derive(Debug)]
pub(super) struct Pieces {
    file: Arc<File>,
    sections: VecDeque<Section>,
    road: Road,
    ahead: Option<Ahead>,
}

/// A read under way.
#[derive(Debug)]
struct Ahead {
    span: Range<u64>,
    bytes: JoinHandle<io::Result<Bytes>>,
}

impl Pieces {
    pub(super) fn new(file: File, sections: Vec<Section>, road: Road) -> Self {
        Self { file: Arc::new(file), sections: sections.into(), road, ahead: None }
    }

    /// The body; no piece is empty.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(self, |mut pieces| async move {
            Ok(pieces.next().await?.map(|bytes| (bytes, pieces)))
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.sections.pop_front() {
                None => return Ok(None),
                Some(Section::Text(bytes)) if bytes.is_empty() => {}
                Some(Section::Text(bytes)) => return Ok(Some(bytes)),
                Some(Section::Complete(completion)) => completion.completed().await,
                Some(Section::File(span)) if span.is_empty() => {}
                Some(Section::File(span)) => {
                    let bytes = self.piece(&span).await?;
                    let rest = span.start + bytes.len() as u64..span.end;
                    self.sections.push_front(Section::File(rest));
                    return Ok(Some(bytes));
                }
            }
        }
    }

    /// Some bytes from the start of the span.
    async fn piece(&mut self, span: &Range<u64>) -> io::Result<Bytes> {
        let ahead = self.ahead.take().filter(|ahead| ahead.span.start == span.start);
        let near = span.start..span.end.min(span.start + PLACEHOLDER_MAX as u64);
        if ahead.is_none()
            && let Some(outgoing) = self.road.outgoing()
            && is_cached(&self.file, &near)
        {
            return Ok(outgoing.note(&self.file, &near));
        }
        let ahead = ahead.unwrap_or_else(|| read(&self.file, span));
        let bytes = ahead.bytes.await.map_err(|_| io::Error::other("the node is stopping"))??;
        let rest = ahead.span.end..span.end;
        // Alone, one piece at a time: that is what bounds the memory of all.
        if !rest.is_empty() && bytes.len() > ALONE_BYTES {
            self.ahead = Some(read(&self.file, &rest));
        }
        Ok(bytes)
    }
}

/// Starts to read from the start of the span.
fn read(file: &Arc<File>, span: &Range<u64>) -> Ahead {
    let mut buffer = Buffer::take();
    let length = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
    buffer.length = length.min(buffer.bytes.len());
    let (file, start, end) = (Arc::clone(file), span.start, span.start + buffer.length as u64);
    let bytes = tokio::task::spawn_blocking(move || {
        let length = buffer.length;
        file.read_exact_at(&mut buffer.bytes[..length], start)?;
        Ok(Bytes::from_owner(buffer))
    });
    Ahead { span: start..end, bytes }
}

/// The whole span in memory; from the page cache without a thread, if it is there.
pub(super) async fn small(file: File, span: &Range<u64>) -> io::Result<Vec<u8>> {
    let start = span.start;
    let length = usize::try_from(span.end - start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    if now(&file, &mut bytes, start) == Some(length) {
        return Ok(bytes);
    }
    let work = move || file.read_exact_at(&mut bytes, start).map(|()| bytes);
    let read = tokio::task::spawn_blocking(work).await;
    read.map_err(|_| io::Error::other("the node is stopping"))?
}

/// Whether the bytes are most likely in the page cache: a few of them are.
fn is_cached(file: &File, span: &Range<u64>) -> bool {
    let every = usize::try_from(PROBE_BYTES).unwrap_or(usize::MAX);
    let mut probes = span.clone().step_by(every).chain(span.end.checked_sub(1));
    probes.all(|at| now(file, &mut [0], at) == Some(1))
}

/// Reads what is there without waiting for the disk; none if the system cannot tell.
#[cfg(target_os = "linux")]
fn now(file: &File, bytes: &mut [u8], at: u64) -> Option<usize> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(bytes)], at, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn now(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}

/// Shared buffers: those that lie ready, and how many are in use.
static BUFFERS: Mutex<(Vec<Vec<u8>>, usize)> = Mutex::new((Vec::new(), 0));

/// Bytes to read into. Never zeroed again: what is sent is only what was read.
struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    shared: bool,
}

impl Buffer {
    fn take() -> Self {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        let (idle, used) = &mut *buffers;
        if *used >= BUFFERS_MAX {
            drop(buffers);
            return Self { bytes: vec![0; ALONE_BYTES], length: 0, shared: false };
        }
        *used += 1;
        let ready = idle.pop();
        drop(buffers);
        let bytes = ready.unwrap_or_else(|| vec![0; READ_BYTES]);
        Self { bytes, length: 0, shared: true }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.shared {
            return;
        }
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.1 -= 1;
        if buffers.0.len() < BUFFERS_IDLE_MAX {
            buffers.0.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
