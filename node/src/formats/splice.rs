//! An upstream's bytes with a few of ours between them, as the body of an answer.
//!
//! A rendering is a list of [`Segment`]s: ranges of the held document, and literals. A [`Splice`]
//! makes it from edits in the order of the bytes. Nothing else of the document is touched, so
//! unknown members, the order of keys and the form of numbers survive.
//!
//! Segments go out in large pieces, whatever their size. The file is read forwards through one
//! window; small gaps between ranges cost no call to the system. Memory is one piece and one window
//! a reader; those who read the same rendering share its segments, which are many for a package
//! with thousands of versions. A file that is shorter than its segments breaks the body off, so
//! that a client never takes it for whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::sync::Semaphore;

/// Bytes handed to the connection at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes read ahead for short ranges.
const WINDOW_BYTES: usize = 64 * 1024;

/// Renderings that are put together at once.
const RENDERERS: usize = 2;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Bytes of the document, never empty.
    Range(Range<u64>),
    /// Other bytes.
    Literal(Bytes),
}

impl Segment {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Range(range) => range.end - range.start,
            Self::Literal(bytes) => bytes.len() as u64,
        }
    }
}

/// Some bytes of a document; narrow, since there are many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Bytes in the place of a span.
pub(super) type Edit = (Span, Bytes);

/// Segments as they are put together.
pub(super) struct Splice {
    segments: Vec<Segment>,
    /// In the order of the bytes; none reaches into another.
    edits: Vec<Edit>,
}

impl Splice {
    /// With edits in any order.
    pub(super) fn new(mut edits: Vec<Edit>) -> Self {
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        // An edit within one that takes its surroundings away has nothing left to do.
        let mut end = 0;
        edits.retain(|(span, _)| {
            let stays = span.start >= end;
            end = end.max(span.end);
            stays
        });
        Self { segments: Vec::new(), edits }
    }

    /// Other bytes.
    pub(super) fn literal(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.segments.push(Segment::Literal(bytes));
        }
    }

    /// Bytes of the document, with the edits that lie in them.
    pub(super) fn copy(&mut self, range: Range<u64>) {
        let mut at = range.start;
        let mut next = self.edits.partition_point(|(span, _)| u64::from(span.start) < at);
        while let Some((span, bytes)) = self.edits.get(next).cloned() {
            if u64::from(span.end) > range.end {
                break;
            }
            self.verbatim(at..span.start.into());
            self.literal(bytes);
            at = span.end.into();
            next += 1;
        }
        self.verbatim(at..range.end);
    }

    /// What was put together.
    pub(super) fn segments(self) -> Vec<Segment> {
        self.segments
    }

    fn verbatim(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.segments.last_mut() {
            Some(Segment::Range(last)) if last.end == range.start => last.end = range.end,
            _ => self.segments.push(Segment::Range(range)),
        }
    }
}

/// Takes members out of an object, or items out of an array, each with the comma that parts it from
/// what stays.
pub(super) fn without(members: impl Iterator<Item = (Span, bool)>, edits: &mut Vec<Edit>) {
    let members: Vec<(Span, bool)> = members.collect();
    let mut at = 0;
    while let Some(&(first, gone)) = members.get(at) {
        let run = members[at..].iter().take_while(|(_, gone)| *gone).count();
        if gone {
            let last = members[at + run - 1].0;
            let before = at.checked_sub(1).map(|before| members[before].0);
            let span = match (before, members.get(at + run)) {
                (Some(before), _) => Span { start: before.end, end: last.end },
                (None, Some((next, _))) => Span { start: first.start, end: next.start },
                (None, None) => Span { start: first.start, end: last.end },
            };
            edits.push((span, Bytes::new()));
        }
        at += run.max(1);
    }
}

/// The span as a range.
pub(super) fn wide(span: Span) -> Range<u64> {
    span.start.into()..span.end.into()
}

/// The segments of the rendering with that validator: those that another reader has right now, or
/// new ones.
pub(super) async fn shared<E>(
    etag: &str,
    render: impl FnOnce() -> Result<Vec<Segment>, E>,
) -> Result<Arc<[Segment]>, E> {
    type Known = HashMap<String, Weak<[Segment]>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    static RENDERING: Semaphore = Semaphore::const_new(RENDERERS);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody closes it.
    let _turn = RENDERING.acquire().await;
    if let Some(segments) = known().get(etag).and_then(Weak::upgrade) {
        return Ok(segments);
    }
    let segments: Arc<[Segment]> = render()?.into();
    let mut known = known();
    known.retain(|_, segments| segments.strong_count() > 0);
    known.insert(etag.to_owned(), Arc::downgrade(&segments));
    Ok(segments)
}

/// Where the reading is.
struct Reading {
    file: File,
    segments: Arc<[Segment]>,
    next: usize,
    /// What is left of the segment before.
    rest: Option<Segment>,
    window: Vec<u8>,
    window_at: u64,
}

/// The segments of a file, one after another.
pub(super) fn body(file: File, segments: Arc<[Segment]>) -> Body {
    let reading = Reading::new(file, segments);
    Body::from_stream(stream::try_unfold(reading, |mut reading| async move {
        let read = move || reading.piece().map(|piece| (piece, reading));
        let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?;
        let (piece, reading) = read?;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), reading)))
    }))
}

/// The same written out; blocks.
pub(super) fn write(
    file: File,
    segments: Arc<[Segment]>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let mut reading = Reading::new(file, segments);
    loop {
        let piece = reading.piece()?;
        if piece.is_empty() {
            return Ok(());
        }
        out.write_all(&piece)?;
    }
}

impl Reading {
    fn new(file: File, segments: Arc<[Segment]>) -> Self {
        let (window, window_at) = (Vec::new(), 0);
        Self { file, segments, next: 0, rest: None, window, window_at }
    }

    /// The next piece; empty at the end.
    fn piece(&mut self) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(PIECE_BYTES);
        while out.len() < PIECE_BYTES {
            let Some(segment) = self.segment() else { break };
            let room = PIECE_BYTES - out.len();
            self.rest = match segment {
                Segment::Literal(mut bytes) => {
                    let rest = bytes.split_off(room.min(bytes.len()));
                    out.extend_from_slice(&bytes);
                    (!rest.is_empty()).then_some(Segment::Literal(rest))
                }
                Segment::Range(range) => {
                    let end = range.end.min(range.start + room as u64);
                    self.copy(range.start..end, &mut out)?;
                    (end < range.end).then_some(Segment::Range(end..range.end))
                }
            };
        }
        Ok(out)
    }

    fn segment(&mut self) -> Option<Segment> {
        self.rest.take().or_else(|| {
            let next = self.segments.get(self.next).cloned();
            self.next += 1;
            next
        })
    }

    fn copy(&mut self, range: Range<u64>, out: &mut Vec<u8>) -> std::io::Result<()> {
        let many = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
        if many >= WINDOW_BYTES {
            return self.read(range.start, many, out);
        }
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if range.start < held.start || range.end > held.end {
            let mut window = std::mem::take(&mut self.window);
            window.clear();
            self.file.seek(SeekFrom::Start(range.start))?;
            (&self.file).take(WINDOW_BYTES as u64).read_to_end(&mut window)?;
            (self.window, self.window_at) = (window, range.start);
        }
        let start = usize::try_from(range.start - self.window_at).map_err(std::io::Error::other)?;
        let bytes = self.window.get(start..start + many);
        out.extend_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read(&mut self, at: u64, many: usize, out: &mut Vec<u8>) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        let read = (&self.file).take(many as u64).read_to_end(out)?;
        if read == many { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_at_the_same_time_share_a_rendering_and_it_ends_with_them() {
        let render = |end| move || Ok::<_, ()>(vec![Segment::Range(0..end)]);
        let first = shared("\"a\"", render(1)).await.unwrap();
        let second = shared("\"a\"", render(2)).await.unwrap();
        let other = shared("\"b\"", render(3)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        drop((first, second));
        let third = shared("\"a\"", render(4)).await.unwrap();
        assert!(matches!(&*third, [Segment::Range(range)] if *range == (0..4)));
    }
}
