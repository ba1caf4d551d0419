//! One stream to one peer's blobs, and who holds what.
//!
//! [`Link`] is the asking side of `/griot/blob/1`: it greets, asks HAVE? and hands the stream on to
//! `transfer`. [`Known`] keeps the answers to "does any connected peer hold this" for a few
//! seconds, in bounded number, because clients ask for the same documents again and again. Lost at
//! a restart.
//!
//! Source: mesh.md section 7.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::{PeerId, Stream};
use libp2p_stream::{Control, OpenStreamError};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::frame::{self, Broken, DIGESTS_MAX, FEATURE_MANY, FRAME_BYTES_MAX, Frame};
use super::serve::PROTOCOL;

/// Opening a stream, and the first byte of an answer.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Every later byte.
pub(super) const PROGRESS: Duration = Duration::from_secs(60);
/// Peers that one flight asks at a time.
pub(super) const ASKED_AT_ONCE: usize = 16;
/// Answers are good for this long.
const FRESH: Duration = Duration::from_secs(10);
/// Answers that are kept.
const KNOWN_MAX: usize = 65_536;
/// Asking all peers takes at most this long.
const ASKING: Duration = Duration::from_secs(1);
/// An inbound stream is dropped by a peer that is busy that instant: it is opened again.
const OPENINGS: u32 = 3;
/// Before it is opened again.
const OPENING_PAUSE: Duration = Duration::from_millis(100);

/// A stream on which this side asks.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    features: u64,
}

impl Link {
    /// Opens a stream to a connected peer, greets and asks HAVE? in one round trip.
    pub(super) async fn open(
        control: &Control,
        peer: PeerId,
        asked: &[Digest],
    ) -> Result<(Self, Vec<bool>), Broken> {
        let mut tries = 1;
        loop {
            match Self::try_open(control.clone(), peer, asked).await {
                Err(Broken::Cut(_)) if tries < OPENINGS => tries += 1,
                result => return result,
            }
            sleep(OPENING_PAUSE * tries).await;
        }
    }

    async fn try_open(
        mut control: Control,
        peer: PeerId,
        asked: &[Digest],
    ) -> Result<(Self, Vec<bool>), Broken> {
        let opening = timeout(FIRST_BYTE, control.open_stream(peer, PROTOCOL));
        let stream = match opening.await.map_err(|_| Broken::Slow)? {
            Ok(stream) => stream,
            Err(OpenStreamError::Io(error)) => return Err(Broken::Cut(error)),
            Err(_) => return Err(Broken::Garbage("no blob protocol")),
        };
        let mut link = Self { stream, features: 0 };
        let have = Frame::Have { digests: asked.to_vec() };
        let greeting = [Frame::HELLO.encode(), have.encode()].concat();
        frame::send(&mut link.stream, &greeting, PROGRESS).await?;
        match link.receive(FIRST_BYTE).await? {
            Frame::Hello { features, .. } => link.features = features,
            _ => return Err(Broken::Garbage("something before its greeting")),
        }
        let held = link.held(asked.len()).await?;
        Ok((link, held))
    }

    /// Writes one request; requests are small, so this never waits for the peer to read answers.
    pub(super) async fn send(&mut self, frame: &Frame) -> Result<(), Broken> {
        frame::send(&mut self.stream, &frame.encode(), PROGRESS).await
    }

    /// Reads the next frame that we know.
    pub(super) async fn receive(&mut self, first: Duration) -> Result<Frame, Broken> {
        loop {
            let bytes: Option<Bytes> =
                frame::receive(&mut self.stream, FRAME_BYTES_MAX, first, PROGRESS).await?;
            let bytes = bytes.ok_or(Broken::Cut(std::io::ErrorKind::UnexpectedEof.into()))?;
            match Frame::decode(bytes)? {
                Frame::Unknown => {}
                frame => return Ok(frame),
            }
        }
    }

    /// Whether the peer gives small blobs many to a frame.
    pub(super) const fn gives_many(&self) -> bool {
        self.features & FEATURE_MANY != 0
    }

    /// Which of these the peer says it holds, at most [`DIGESTS_MAX`].
    pub(super) async fn have(&mut self, asked: &[Digest]) -> Result<Vec<bool>, Broken> {
        self.send(&Frame::Have { digests: asked.to_vec() }).await?;
        self.held(asked.len()).await
    }

    async fn held(&mut self, asked: usize) -> Result<Vec<bool>, Broken> {
        match self.receive(FIRST_BYTE).await? {
            Frame::Held { bits } if bits.len() == asked.div_ceil(8) => {
                Ok((0..asked).map(|at| bits[at / 8] >> (at % 8) & 1 == 1).collect())
            }
            _ => Err(Broken::Garbage("something else than the answer to HAVE?")),
        }
    }
}

/// The digests of `asked` that some peer holds, as far as they answer within a second.
pub(super) async fn ask(
    control: Control,
    peers: Vec<PeerId>,
    asked: Vec<Digest>,
) -> HashSet<Digest> {
    // All at once, or a few that never answer would use up the time of those who would.
    let mut answers: FuturesUnordered<_> =
        peers.into_iter().map(|peer| ask_one(control.clone(), peer, &asked)).collect();
    let deadline = Instant::now() + ASKING;
    let mut held = HashSet::new();
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        held.extend(answer);
        if held.len() == asked.len() {
            break;
        }
    }
    held
}

async fn ask_one(control: Control, peer: PeerId, asked: &[Digest]) -> Vec<Digest> {
    let mut held = Vec::new();
    let (first, rest) = asked.split_at(asked.len().min(DIGESTS_MAX));
    let Ok((mut link, answer)) = Link::open(&control, peer, first).await else { return held };
    held.extend(chosen(first, &answer));
    for some in rest.chunks(DIGESTS_MAX) {
        let Ok(answer) = link.have(some).await else { break };
        held.extend(chosen(some, &answer));
    }
    held
}

fn chosen<'a>(asked: &'a [Digest], held: &'a [bool]) -> impl Iterator<Item = Digest> + 'a {
    asked.iter().zip(held).filter(|(_, held)| **held).map(|(digest, _)| *digest)
}

/// Answers of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Known {
    answers: HashMap<Digest, (Instant, bool)>,
}

impl Known {
    /// Those of `digests` for which no fresh answer is kept.
    pub(super) fn unknown(&self, digests: &[Digest], now: Instant) -> Vec<Digest> {
        let stale = |digest: &&Digest| {
            self.answers.get(digest).is_none_or(|(at, _)| now.duration_since(*at) > FRESH)
        };
        let mut unknown: Vec<Digest> = digests.iter().filter(stale).copied().collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Keeps what peers said to a question.
    pub(super) fn keep(&mut self, asked: &[Digest], held: &HashSet<Digest>, now: Instant) {
        if self.answers.len() + asked.len() > KNOWN_MAX {
            self.answers.retain(|_, (at, _)| now.duration_since(*at) <= FRESH);
        }
        if self.answers.len() + asked.len() > KNOWN_MAX {
            self.answers.clear();
        }
        self.answers.extend(asked.iter().map(|digest| (*digest, (now, held.contains(digest)))));
    }

    /// One answer each, in order.
    pub(super) fn answer(&self, digests: &[Digest]) -> Vec<bool> {
        digests
            .iter()
            .map(|digest| self.answers.get(digest).is_some_and(|(_, held)| *held))
            .collect()
    }

    /// A peer came or went: what was said before may be wrong now.
    pub(super) fn forget(&mut self) {
        self.answers.clear();
    }
}
