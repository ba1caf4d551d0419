//! Draws ranges of a blob from one peer: the asking side of one stream.
//!
//! Up to four GETs are under way at a time, so that the link never idles between two ranges. Pieces
//! go to the flight as they come, unverified; whatever does not answer what was asked, in the order
//! in which it was asked, ends the stream. A peer that says "busy" is asked again after the pause
//! that it names. Which range is next, the flight's [`Plan`] decides.
//!
//! Source: mesh.md section 7.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use libp2p::PeerId;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::choose::Plan;
use super::frame::{Broken, Failure, Frame};
use super::held::{FIRST_BYTE, Link, PROGRESS};
use super::lane::Lanes;

/// Ranges that one peer is asked for at a time.
const WINDOW: usize = 4;
/// How often a peer may say "busy" in a row.
const BUSY_MAX: u32 = 10;
/// The longest pause that a busy peer may ask for.
const BUSY_PAUSE_MAX_MS: u32 = 10_000;

/// A peer that says it holds the blob.
pub(super) struct Holder {
    pub(super) peer: PeerId,
    pub(super) link: Link,
}

/// What the peers of one flight share.
#[derive(Debug)]
pub(super) struct Job {
    digest: Digest,
    size: u64,
    lanes: Lanes,
    plan: Mutex<Plan>,
    changed: Notify,
}

/// One piece as it came.
pub(super) struct Piece {
    pub(super) peer: PeerId,
    pub(super) range: Range<u64>,
    pub(super) encoded: Bytes,
}

/// Why a peer draws no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it does not hold it after all")]
    Lacks,
    #[error("it holds it with another size")]
    OtherSize,
    #[error("it is too busy")]
    Busy,
    #[error("it sent wrong bytes")]
    WrongBytes,
}

impl Job {
    /// What lacks of the blob, to be drawn.
    pub(super) fn new((digest, size): (Digest, u64), plan: Plan, lanes: Lanes) -> Self {
        Self { digest, size, lanes, plan: Mutex::new(plan), changed: Notify::new() }
    }

    /// Changes the plan, and wakes those who wait for something to do.
    pub(super) fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan());
        self.changed.notify_waiters();
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A plan is whole between two calls, whatever happened to who held it.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next range for `peer`, if there is one and nothing more urgent goes first.
    fn now(&self, peer: PeerId) -> Option<Range<u64>> {
        if self.lanes.is_clear(&self.digest) { self.plan().next(peer) } else { None }
    }

    /// Waits until there is a range for `peer`.
    async fn next(&self, peer: PeerId) -> Range<u64> {
        loop {
            self.lanes.clear(&self.digest).await;
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(range) = self.plan().next(peer) {
                return range;
            }
            changed.await;
        }
    }
}

/// Draws ranges from one peer until there are none left or something goes wrong.
pub(super) async fn draw(
    holder: Holder,
    job: Arc<Job>,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), Stop> {
    let Holder { peer, link } = holder;
    let mut drawing = Drawing { link, job, asked: VecDeque::new(), ids: 0, busy: 0 };
    let mut patience = FIRST_BYTE;
    loop {
        drawing.ask(peer).await?;
        let Some((range, encoded)) = drawing.answer(patience).await? else { continue };
        patience = PROGRESS;
        if pieces.send(Piece { peer, range, encoded }).await.is_err() {
            return Ok(());
        }
    }
}

/// The asking side of one stream.
struct Drawing {
    link: Link,
    job: Arc<Job>,
    /// In the order in which they are answered; the start of the first moves.
    asked: VecDeque<(u32, Range<u64>)>,
    ids: u32,
    busy: u32,
}

impl Drawing {
    /// Keeps the window full; with nothing under way, waits for something to do.
    async fn ask(&mut self, peer: PeerId) -> Result<(), Stop> {
        while self.asked.len() < WINDOW {
            let range = match self.job.now(peer) {
                Some(range) => range,
                None if self.asked.is_empty() => self.job.next(peer).await,
                None => return Ok(()),
            };
            self.get(range).await?;
        }
        Ok(())
    }

    async fn get(&mut self, range: Range<u64>) -> Result<(), Stop> {
        self.ids = self.ids.wrapping_add(1);
        self.asked.push_back((self.ids, range.clone()));
        let (digest, size) = (self.job.digest, self.job.size);
        let get = Frame::Get { id: self.ids, digest, size, ranges: vec![range] };
        Ok(self.link.send(&get).await?)
    }

    /// The next piece; `None` when the peer was busy and is asked again.
    async fn answer(&mut self, patience: Duration) -> Result<Option<(Range<u64>, Bytes)>, Stop> {
        let frame = self.link.receive(patience).await?;
        let Some((asked, rest)) = self.asked.front_mut() else {
            return Err(Broken::Garbage("what was not asked for").into());
        };
        match frame {
            Frame::Data { id, range, encoded }
                if id == *asked && range.start == rest.start && range.end <= rest.end =>
            {
                rest.start = range.end;
                if rest.is_empty() {
                    self.asked.pop_front();
                }
                self.busy = 0;
                Ok(Some((range, encoded)))
            }
            Frame::Error { id, failure } if id == *asked => self.refused(failure).await,
            _ => Err(Broken::Garbage("what was not asked for").into()),
        }
    }

    async fn refused(&mut self, failure: Failure) -> Result<Option<(Range<u64>, Bytes)>, Stop> {
        match failure {
            Failure::NotFound | Failure::Gone => Err(Stop::Lacks),
            Failure::OtherSize => Err(Stop::OtherSize),
            Failure::Busy(_) if self.busy >= BUSY_MAX => Err(Stop::Busy),
            Failure::Busy(retry_ms) => {
                self.busy += 1;
                sleep(Duration::from_millis(retry_ms.min(BUSY_PAUSE_MAX_MS).into())).await;
                if let Some((_, range)) = self.asked.pop_front() {
                    self.get(range).await?;
                }
                Ok(None)
            }
        }
    }
}
