//! File bytes that go from the page cache to the socket without passing through this process.
//!
//! hyper writes bodies as buffers, and sendfile(2) wants a file. So a body hands hyper a
//! *placeholder*: a slice of one region of zeros that nobody reads, exactly as long as the bytes
//! that it stands for, and notes (file, offset, length) in the connection's [`Outgoing`]. The
//! stream below hyper knows that region by its address, and sends the noted bytes instead.
//!
//! Invariant: the region's zeros never reach a client. Before each write the placeholders among the
//! slices must be those that are noted, all of them, in order, with the lengths that are left; if
//! anything copied, dropped, reordered or cut one on the way, the connection ends with an error
//! before a byte of that write goes out. Only `server` gives a body an [`Outgoing`], and only when
//! the stream below is a [`Direct`].
//!
//! Decides nothing about what is sent. What sendfile cannot do here is copied instead.
//!
//! Source: sendfile(2).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes that one placeholder stands for.
pub(super) const PLACEHOLDER_MAX: usize = 1 << 20;
/// Bytes sent without a pause, after which other connections of the thread have their turn.
const TURN_BYTES: usize = 4 << 20;
/// Bytes copied at once where sendfile does not work.
const COPY_BYTES: usize = 64 << 10;

/// Asked of the system as zeros, and never touched: it takes up addresses, not memory.
static REGION: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; PLACEHOLDER_MAX]));

fn is_placeholder(slice: &[u8]) -> bool {
    let region = REGION.as_ptr().addr();
    (region..region + PLACEHOLDER_MAX).contains(&slice.as_ptr().addr())
}

/// How a body learns, once it is on its way, that it may use placeholders; travels as an extension
/// of the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Road(Arc<OnceLock<Outgoing>>);

impl Road {
    /// The answer goes out on a [`Direct`].
    pub(super) fn open(&self, outgoing: &Outgoing) {
        // A second connection for one answer does not exist; if it did, its check would fail.
        let _ = self.0.set(outgoing.clone());
    }

    pub(super) fn outgoing(&self) -> Option<&Outgoing> {
        self.0.get()
    }
}

/// What the placeholders of one connection stand for, in the order of their sending.
#[derive(Debug, Clone, Default)]
pub(super) struct Outgoing(Arc<Mutex<VecDeque<Segment>>>);

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    at: u64,
    left: usize,
}

impl Outgoing {
    /// Notes a part of a file, at most [`PLACEHOLDER_MAX`] of `span`, and gives its placeholder.
    pub(super) fn note(&self, file: &Arc<File>, span: &Range<u64>) -> Bytes {
        let left = usize::try_from(span.end.saturating_sub(span.start)).unwrap_or(usize::MAX);
        let left = left.min(PLACEHOLDER_MAX);
        if left > 0 {
            self.lock().push_back(Segment { file: Arc::clone(file), at: span.start, left });
        }
        REGION.slice(..left)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that sends files where it finds placeholders.
#[derive(Debug)]
pub(super) struct Direct {
    stream: TcpStream,
    outgoing: Outgoing,
    /// Bytes of files that were sent since another had its turn.
    turn: usize,
}

impl Direct {
    pub(super) fn new(stream: TcpStream, outgoing: Outgoing) -> Self {
        Self { stream, outgoing, turn: 0 }
    }

    /// Sends from the segment in front.
    fn poll_file(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.turn >= TURN_BYTES {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let mut segments = self.outgoing.lock();
            let front = segments.front_mut().ok_or_else(broken)?;
            match send(&self.stream, front) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Ok(sent) => {
                    front.at += sent as u64;
                    front.left = front.left.saturating_sub(sent);
                    if front.left == 0 {
                        segments.pop_front();
                    }
                    self.turn += sent;
                    return Poll::Ready(Ok(sent));
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => self.turn = 0,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
    }
}

/// Checks the invariant; says how many slices stand before the first placeholder, if there is one.
fn before_placeholder(
    slices: &[IoSlice<'_>],
    noted: &VecDeque<Segment>,
) -> io::Result<Option<usize>> {
    let found = slices.iter().filter(|slice| !slice.is_empty() && is_placeholder(slice));
    if !found.map(|slice| slice.len()).eq(noted.iter().map(|segment| segment.left)) {
        return Err(broken());
    }
    Ok(slices.iter().position(|slice| !slice.is_empty() && is_placeholder(slice)))
}

fn broken() -> io::Error {
    io::Error::other("a placeholder is not where it was put")
}

#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, segment: &Segment) -> io::Result<usize> {
    let sent = stream.try_io(Interest::WRITABLE, || {
        let mut at = segment.at;
        Ok(rustix::fs::sendfile(stream, &*segment.file, Some(&mut at), segment.left)?)
    });
    match sent {
        Err(why) if matches!(why.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            copy(stream, segment)
        }
        sent => sent,
    }
}

#[cfg(not(target_os = "linux"))]
fn send(stream: &TcpStream, segment: &Segment) -> io::Result<usize> {
    copy(stream, segment)
}

/// The same by way of a buffer, for files of which the system cannot send.
fn copy(stream: &TcpStream, segment: &Segment) -> io::Result<usize> {
    let mut bytes = vec![0; segment.left.min(COPY_BYTES)];
    let read = segment.file.read_at(&mut bytes, segment.at)?;
    stream.try_write(&bytes[..read])
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let plain = before_placeholder(slices, &self.outgoing.lock())?;
        let plain = &slices[..plain.unwrap_or(slices.len())];
        let is_file_next = plain.iter().all(|slice| slice.is_empty()) && plain.len() < slices.len();
        if is_file_next {
            return self.poll_file(cx);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, plain)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
