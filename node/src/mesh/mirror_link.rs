//! Streams on which this side asks on `/griot/mirror/1`, and those that are kept for the next time.
//!
//! Opening a stream costs a round trip, so one that has answered is asked again, as long as its
//! connection is up and it is not older than the other side allows. What is asked is not known
//! here. Lost at a restart.
//!
//! Source: mesh.md section 7.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libp2p::{PeerId, Stream};
use libp2p_stream::{Control, OpenStreamError};
use tokio::time::{Instant, sleep, timeout};

use super::frame::{self, Broken};
use super::held::{FIRST_BYTE, PROGRESS};
use super::mirror_frame::{ANSWER_BYTES_MAX, Frame};
use super::mirror_serve::PROTOCOL;

/// Streams that are kept for each peer.
const SPARE_MAX: usize = 4;
/// The other side ends an idle stream after two minutes.
const SPARE_FOR: Duration = Duration::from_secs(60);
/// An inbound stream is dropped by a peer that is busy that instant: it is opened again.
const OPENINGS: u32 = 3;
/// Before it is opened again.
const OPENING_PAUSE: Duration = Duration::from_millis(100);

/// A stream on which this side asks.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Stream,
    greeted: bool,
}

impl Link {
    /// Opens a stream to a connected peer; the greeting goes with the first question.
    pub(super) async fn open(control: &Control, peer: PeerId) -> Result<Self, Broken> {
        let mut tries = 1;
        loop {
            let mut control = control.clone();
            let opening = timeout(FIRST_BYTE, control.open_stream(peer, PROTOCOL));
            match opening.await.map_err(|_| Broken::Slow)? {
                Ok(stream) => return Ok(Self { stream, greeted: false }),
                Err(OpenStreamError::Io(error)) if tries >= OPENINGS => return Err(error.into()),
                Err(OpenStreamError::Io(_)) => tries += 1,
                // A node of an earlier version: no offence.
                Err(_) => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            }
            sleep(OPENING_PAUSE * tries).await;
        }
    }

    /// Asks, and reads the first frame of the answer.
    pub(super) async fn ask(&mut self, question: &Frame) -> Result<Frame, Broken> {
        let hello = if self.greeted { Vec::new() } else { Frame::HELLO.encode() };
        frame::send(&mut self.stream, &[hello, question.encode()].concat(), PROGRESS).await?;
        if !self.greeted {
            match receive(&mut self.stream, FIRST_BYTE).await? {
                Frame::Hello { .. } => self.greeted = true,
                _ => return Err(Broken::Garbage("something before its greeting")),
            }
        }
        // Packing takes a while.
        receive(&mut self.stream, PROGRESS).await
    }
}

/// Reads the next frame that we know.
pub(super) async fn receive<R: futures::AsyncRead + Unpin>(
    stream: &mut R,
    first: Duration,
) -> Result<Frame, Broken> {
    loop {
        let bytes = frame::receive(stream, ANSWER_BYTES_MAX, first, PROGRESS).await?;
        let bytes = bytes.ok_or(Broken::Cut(io::ErrorKind::UnexpectedEof.into()))?;
        match Frame::decode(bytes)? {
            Frame::Unknown => {}
            frame => return Ok(frame),
        }
    }
}

/// Streams, and since when they wait.
type Links = HashMap<PeerId, Vec<(Link, Instant)>>;

/// Streams that have answered and may be asked again.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Links>>);

impl Spare {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is kept for the peer.
    pub(super) fn take(&self, peer: &PeerId) -> Option<Link> {
        let mut links = self.links();
        let of_peer = links.get_mut(peer)?;
        of_peer.retain(|(_, since)| since.elapsed() < SPARE_FOR);
        of_peer.pop().map(|(link, _)| link)
    }

    /// Keeps one that has answered.
    pub(super) fn put(&self, peer: PeerId, link: Link) {
        let mut links = self.links();
        let of_peer = links.entry(peer).or_default();
        if of_peer.len() < SPARE_MAX {
            of_peer.push((link, Instant::now()));
        }
    }

    /// Its connection is gone, and its streams with it.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.links().remove(peer);
    }
}
