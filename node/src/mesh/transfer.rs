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
//! another. When nobody is left because a stream was cut, everybody is asked again, a few times in
//! a row if nothing comes. Then what was verified stays in the store for the next flight, as it
//! does after a crash, up to the last checkpoint. Does not decide what to fetch.
//!
//! Source: mesh.md sections 6.3 and 7.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crdt::Digest;
use futures::future::{AbortHandle, abortable};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _, stream};
use libp2p::PeerId;
use libp2p_stream::Control;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Error;
use super::choose::Plan;
use super::command::Report;
use super::draw::{Holder, Job, Piece, Stop, draw};
use super::frame::Broken;
use super::held::{ASKED_AT_ONCE, Link};
use super::lane::Lanes;
use super::peers::Offence;
use crate::store::partial::Partial;
use crate::store::{self, Hashes, Store};

/// Peers that one flight draws from at a time.
const SOURCES_MAX: usize = 4;
/// Bytes of a range.
const RANGE_BYTES: u64 = 1024 * 1024;
/// Ranges that are planned at a time.
const RANGES_PLANNED: usize = 16_384;
/// Pieces that wait for being verified.
const PIECES_MAX: usize = 8;
/// Verified bytes between two checkpoints.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// Cuts in a row after which nothing came: the peer is gone, or wants to be asked for ever.
const CUTS_MAX: u32 = 3;
/// Before everybody is asked again.
const CUT_PAUSE: Duration = Duration::from_millis(250);
/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// What a flight needs.
#[derive(Debug)]
pub(super) struct Flight {
    /// What to fetch.
    pub(super) digest: Digest,
    /// Its size, signed.
    pub(super) size: u64,
    /// Whom to ask, the likeliest first: everybody connected now.
    pub(super) peers: Vec<PeerId>,
    /// Where it goes.
    pub(super) store: Store,
    /// Places in the air, and who goes first.
    pub(super) lanes: Lanes,
    /// Where to tell of offences.
    pub(super) reports: mpsc::Sender<Report>,
}

impl Flight {
    /// Fetches the blob into the store.
    pub(super) async fn run(self, control: Control) -> Result<(), Error> {
        let _place = self.lanes.board(&self.digest).await;
        if let Some(held) = self.store.blob(&self.digest)? {
            return if held.size == self.size { Ok(()) } else { Err(self.other_size(held.size)) };
        }
        // A bucket that several nodes share is nearer than any of them.
        let silent = match self.store.recall(&self.digest, self.size, self.hashes()?).await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(why @ store::Error::NotFetched { .. }) => Some(why),
            Err(why) => return Err(why.into()),
        };
        let nowhere = silent.map_or(Error::Nowhere(self.digest), Error::from);
        let partial = self.draw_again(&control, nowhere).await?;
        partial.finish(self.hashes()?).await?;
        Ok(())
    }

    /// Draws, and draws again what lacks after a cut; `why` is the error if nobody has it.
    async fn draw_again(&self, control: &Control, mut why: Error) -> Result<Partial, Error> {
        let mut in_vain = 0;
        loop {
            let searches =
                self.peers.iter().map(|peer| search(control.clone(), *peer, self.digest));
            let searches = stream::iter(searches).buffer_unordered(ASKED_AT_ONCE);
            let mut holders = searches.filter_map(std::future::ready).boxed();
            let Some(first) = holders.next().await else { return Err(why) };
            let partial = self.store.partial(&self.digest, self.size).await?;
            let mut download = Download::new(self, partial);
            let done = download.run(first, holders).await;
            let Download { mut partial, came, was_cut, .. } = download;
            let Err(error) = done else { return Ok(partial) };
            partial.checkpoint().await?;
            in_vain = if came { 0 } else { in_vain + 1 };
            if !was_cut || in_vain >= CUTS_MAX {
                return Err(error);
            }
            why = error;
            sleep(CUT_PAUSE).await;
        }
    }

    fn other_size(&self, held: u64) -> Error {
        Error::Refused(format!("{} is held with {held} bytes, not {}", self.digest, self.size))
    }

    fn hashes(&self) -> Result<Hashes, Error> {
        Ok(hashes_of(&self.store, &self.digest)?)
    }
}

/// The checksums that the metadata of a blob shows, so that they can be compared; of what no
/// release names, those that upstreams declare.
pub(super) fn hashes_of(store: &Store, digest: &Digest) -> Result<Hashes, store::Error> {
    let named = store.artifact(digest)?;
    if named.is_empty() {
        return Ok(Hashes { sha512: true, sha1: true, md5: false });
    }
    let mut hashes = Hashes::default();
    for checksums in named.into_iter().filter_map(|one| one.checksums) {
        hashes.sha512 |= checksums.sha512.is_some();
        hashes.sha1 |= checksums.sha1.is_some();
        hashes.md5 |= checksums.md5.is_some();
    }
    Ok(hashes)
}

/// Asks one peer whether it holds the blob; no answer is no.
async fn search(control: Control, peer: PeerId, digest: Digest) -> Option<Holder> {
    let asked = async {
        let (link, held) = Link::open(&control, peer, &[digest]).await?;
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
    /// Whether anything came.
    came: bool,
    /// Whether a stream was cut that did nothing wrong.
    was_cut: bool,
    last_failure: Option<String>,
}

impl<'a> Download<'a> {
    fn new(flight: &'a Flight, partial: Partial) -> Self {
        let plan = Plan::new(partial.missing(RANGES_PLANNED, RANGE_BYTES));
        let job = Job::new((flight.digest, flight.size), plan, flight.lanes.clone());
        Self {
            flight,
            partial,
            job: Arc::new(job),
            aborts: HashMap::new(),
            bad: Vec::new(),
            unsaved_bytes: 0,
            came: false,
            was_cut: false,
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
                holder = holders.next(), if searching && spare.is_empty() => match holder {
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
                let digest = self.flight.digest;
                tracing::warn!(%peer, %digest, %error, "a peer sent wrong bytes");
                self.bad.push(peer);
                self.lose(peer, Some(Stop::WrongBytes)).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.came = true;
        self.flight.lanes.came(&self.flight.digest);
        self.unsaved_bytes += range.end - range.start;
        self.job.change(|plan| {
            plan.arrived(&range);
            if plan.is_done() {
                plan.refill(self.partial.missing(RANGES_PLANNED, RANGE_BYTES));
            }
        });
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
        self.job.change(|plan| plan.release(peer));
        self.was_cut |= matches!(stop, Stop::Broken(Broken::Cut(_)));
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
