//! Fetches one blob from the peers that hold it.
//!
//! ```text
//!  search: HAVE? of every connected peer ──▶ holders ──▶ up to four draw ranges at once
//!                                                          │ pieces, bao-encoded
//!            checkpoint every 4 MiB or 2 s ◀── Partial ◀───┘ verified as they come
//! ```
//!
//! One flight a digest; the swarm's task sees to that. The size is signed metadata's, never a
//! peer's. The first bad group cuts the peer off: it loses its score, and what it owed goes to
//! another. When nobody is left, what was verified stays in the store for the next flight, as it
//! does after a crash, up to the last checkpoint. Does not retry and does not decide what to fetch.
//!
//! Source: mesh.md sections 6.3 and 7.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::future::{AbortHandle, abortable};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::PeerId;
use libp2p_stream::Control;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Error;
use super::choose::Plan;
use super::frame::{Broken, Failure, Frame};
use super::held::{FIRST_BYTE, Link, PROGRESS};
use super::peers::Offence;
use super::swarm::Report;
use crate::store::partial::Partial;
use crate::store::{self, Hashes, Store};

/// Flights in the air; further ones wait for a place.
pub(super) const FLIGHTS_MAX: usize = 16;
/// Peers that one flight draws from at a time.
const SOURCES_MAX: usize = 4;
/// Ranges that one peer is asked for at a time.
const WINDOW: usize = 4;
/// Bytes of a range.
const RANGE_BYTES: u64 = 1024 * 1024;
/// Ranges that are planned at a time.
const RANGES_PLANNED: usize = 16_384;
/// Pieces that wait for being verified.
const PIECES_MAX: usize = 8;
/// Verified bytes between two checkpoints.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// How often a peer may say "busy" in a row.
const BUSY_MAX: u32 = 10;
/// The longest pause that a busy peer may ask for.
const BUSY_PAUSE_MAX_MS: u32 = 10_000;

/// What a flight needs.
#[derive(Debug)]
pub(super) struct Flight {
    /// What to fetch.
    pub(super) digest: Digest,
    /// Its size, signed.
    pub(super) size: u64,
    /// Whom to ask: everybody connected now.
    pub(super) peers: Vec<PeerId>,
    /// Where it goes.
    pub(super) store: Store,
    /// Places in the air.
    pub(super) places: Arc<Semaphore>,
    /// Where to tell of offences.
    pub(super) reports: mpsc::Sender<Report>,
}

/// A peer that says it holds the blob.
struct Holder {
    peer: PeerId,
    link: Link,
}

/// What the peers of one flight share.
#[derive(Debug)]
struct Job {
    digest: Digest,
    size: u64,
    plan: Mutex<Plan>,
    changed: Notify,
}

/// One piece as it came.
struct Piece {
    peer: PeerId,
    range: Range<u64>,
    encoded: Bytes,
}

/// Why a peer draws no more.
#[derive(Debug, thiserror::Error)]
enum Stop {
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

impl Flight {
    /// Fetches the blob into the store.
    pub(super) async fn run(self, control: Control) -> Result<(), Error> {
        // The semaphore is never closed; without a place the flight would only be less polite.
        let _place = self.places.acquire().await.ok();
        if let Some(held) = self.store.blob(&self.digest)? {
            return if held.size == self.size { Ok(()) } else { Err(self.other_size(held.size)) };
        }
        let search = |peer: &PeerId| search(control.clone(), *peer, self.digest).boxed();
        let searches: FuturesUnordered<_> = self.peers.iter().map(search).collect();
        let mut holders = searches.filter_map(std::future::ready).boxed();
        let first = holders.next().await.ok_or(Error::Nowhere(self.digest))?;
        let partial = self.store.partial(&self.digest, self.size).await?;
        let mut download = Download::new(&self, partial);
        let done = download.run(first, holders).await;
        let Download { mut partial, .. } = download;
        if done.is_err() {
            partial.checkpoint().await?;
            return done;
        }
        partial.finish(self.hashes()?).await?;
        Ok(())
    }

    fn other_size(&self, held: u64) -> Error {
        Error::Refused(format!("{} is held with {held} bytes, not {}", self.digest, self.size))
    }

    /// The checksums that the metadata of this blob shows, so that they can be compared.
    fn hashes(&self) -> Result<Hashes, Error> {
        let mut hashes = Hashes::default();
        for checksums in
            self.store.artifact(&self.digest)?.into_iter().filter_map(|one| one.checksums)
        {
            hashes.sha512 |= checksums.sha512.is_some();
            hashes.sha1 |= checksums.sha1.is_some();
            hashes.md5 |= checksums.md5.is_some();
        }
        Ok(hashes)
    }
}

/// Asks one peer whether it holds the blob; no answer is no.
async fn search(control: Control, peer: PeerId, digest: Digest) -> Option<Holder> {
    let asked = async {
        let mut link = Link::open(&control, peer).await?;
        let held = link.have(&[digest]).await?;
        Ok::<_, Broken>(held[0].then_some(Holder { peer, link }))
    };
    asked.await.unwrap_or_else(|error| {
        tracing::debug!(%peer, %error, "a peer did not say what it holds");
        None
    })
}

/// A flight in the air.
struct Download<'a> {
    flight: &'a Flight,
    partial: Partial,
    job: Arc<Job>,
    aborts: HashMap<PeerId, AbortHandle>,
    bad: Vec<PeerId>,
    unsaved_bytes: u64,
    last_failure: Option<String>,
}

impl<'a> Download<'a> {
    fn new(flight: &'a Flight, partial: Partial) -> Self {
        let plan = Mutex::new(Plan::new(partial.missing(RANGES_PLANNED, RANGE_BYTES)));
        let job = Job { digest: flight.digest, size: flight.size, plan, changed: Notify::new() };
        Self {
            flight,
            partial,
            job: Arc::new(job),
            aborts: HashMap::new(),
            bad: Vec::new(),
            unsaved_bytes: 0,
            last_failure: None,
        }
    }

    async fn run(
        &mut self,
        first: Holder,
        mut holders: BoxStream<'_, Holder>,
    ) -> Result<(), Error> {
        let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
        let mut sources = FuturesUnordered::new();
        let mut spare = VecDeque::from([first]);
        let mut searching = true;
        let mut tick = interval(CHECKPOINT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.partial.is_complete() {
            while sources.len() < SOURCES_MAX
                && let Some(holder) = spare.pop_front()
            {
                sources.push(self.source(holder, sender.clone()));
            }
            if sources.is_empty() && pieces.is_empty() && !searching {
                return Err(self.nobody_left());
            }
            tokio::select! {
                Some(piece) = pieces.recv() => self.accept(piece).await?,
                Some((peer, stop)) = sources.next() => self.lose(peer, stop).await,
                holder = holders.next(), if searching => match holder {
                    Some(holder) => spare.push_back(holder),
                    None => searching = false,
                },
                _ = tick.tick() => self.save().await?,
            }
        }
        Ok(())
    }

    fn source(
        &mut self,
        holder: Holder,
        pieces: mpsc::Sender<Piece>,
    ) -> impl Future<Output = (PeerId, Option<Stop>)> + Send + use<> {
        let peer = holder.peer;
        let (drawing, abort) = abortable(draw(holder, self.job.clone(), pieces));
        self.aborts.insert(peer, abort);
        drawing.map(move |stop| (peer, stop.ok().and_then(Result::err)))
    }

    fn nobody_left(&self) -> Error {
        match &self.last_failure {
            Some(why) => Error::Failed(self.flight.digest, why.clone()),
            None => Error::Nowhere(self.flight.digest),
        }
    }

    /// Verifies and keeps one piece, or cuts its sender off.
    async fn accept(&mut self, piece: Piece) -> Result<(), Error> {
        let Piece { peer, range, encoded } = piece;
        if self.bad.contains(&peer) {
            return Ok(());
        }
        match self.partial.accept(range.clone(), encoded).await {
            Ok(()) => {}
            Err(error) if is_the_senders_fault(&error) => {
                tracing::warn!(%peer, digest = %self.flight.digest, %error, "a peer sent wrong bytes");
                self.bad.push(peer);
                self.lose(peer, Some(Stop::WrongBytes)).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.unsaved_bytes += range.end - range.start;
        {
            let mut plan = self.job.plan();
            plan.arrived(peer, &range);
            if plan.is_done() {
                plan.refill(self.partial.missing(RANGES_PLANNED, RANGE_BYTES));
            }
        }
        self.job.changed.notify_waiters();
        if self.unsaved_bytes >= CHECKPOINT_BYTES { self.save().await } else { Ok(()) }
    }

    async fn save(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.unsaved_bytes) > 0 {
            self.partial.checkpoint().await?;
        }
        Ok(())
    }

    /// A peer draws no more: what it owed goes to the others. Without a reason it was cut off
    /// before, and that was when it was dealt with.
    async fn lose(&mut self, peer: PeerId, stop: Option<Stop>) {
        let Some(stop) = stop else { return };
        if let Some(abort) = self.aborts.remove(&peer) {
            abort.abort();
        }
        self.job.plan().release(peer);
        self.job.changed.notify_waiters();
        let offence = match &stop {
            Stop::WrongBytes => Some(Offence::WrongBytes),
            Stop::Broken(Broken::Garbage(_)) => Some(Offence::Garbage),
            _ => None,
        };
        if let Some(offence) = offence {
            // A mesh that has stopped has no scores.
            let _ = self.flight.reports.send(Report::Offence(peer, offence)).await;
        }
        if !matches!(stop, Stop::Lacks) {
            self.last_failure = Some(format!("{peer}: {stop}"));
        }
    }
}

/// Bytes that do not verify, are cut short or go on too long; anything else is our own disk.
fn is_the_senders_fault(error: &store::Error) -> bool {
    match error {
        store::Error::WrongDigest { .. } => true,
        store::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        }
        _ => false,
    }
}

impl Job {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A plan is whole between two calls, whatever happened to who held it.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a range for `peer`.
    async fn next(&self, peer: PeerId) -> Range<u64> {
        loop {
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
async fn draw(holder: Holder, job: Arc<Job>, pieces: mpsc::Sender<Piece>) -> Result<(), Stop> {
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
            let range = self.job.plan().next(peer);
            let range = match range {
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
