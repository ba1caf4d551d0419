//! Brings small blobs, many to a frame: a round trip for each would cost more than their bytes.
//!
//! ```text
//!  [`Shelf`]: what lacks ── claims of ≤ 256 ──▶ two streams to each of up to four peers
//!                                                HAVE? ─▶ MGET, all of a claim at once
//!                 store, commits shared ◀── hashed ◀── SMALL
//! ```
//!
//! Each blob is asked of one peer at a time, and of each peer once at most. A claim is as large as
//! the link takes in a second or a few. Who sends wrong bytes is cut off. Nobody waits for a peer
//! that gives nothing: what does not come just lacks, and `transfer` fetches it or says why.
//! Nothing here survives a crash but blobs that have come.
//!
//! Source: mesh.md section 7.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::{FutureExt as _, StreamExt as _, future, stream};
use libp2p::PeerId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::command::{Context, Report};
use super::draw::Stop;
use super::frame::{Broken, DIGESTS_MAX, Frame, MANY_BYTES_MAX, MANY_MAX};
use super::held::{FIRST_BYTE, Link, PROGRESS};
use super::lane::{Lane, Lanes};
use super::peers::Offence;
use super::transfer::hashes_of;
use crate::store::{self, Store};

/// Peers that are asked at a time.
const PEERS_MAX: usize = 4;
/// Streams to each: one asks while the other receives.
const STREAMS: usize = 2;
/// Blobs that are being written at a time: they share commits.
const WRITING_MAX: usize = 64;
/// When nothing came for so long, the rest is left to `transfer`.
const STALLED: Duration = Duration::from_secs(10);
/// Bytes of the first claim; later ones follow the link's pace.
const CLAIM_FIRST_BYTES: u64 = 256 * 1024;
/// Bytes of the smallest claim.
const CLAIM_MIN_BYTES: u64 = 64 * 1024;
/// Bytes of the largest claim.
const CLAIM_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// A claim that took less is followed by a larger one.
const CLAIM_FAST: Duration = Duration::from_secs(1);
/// A claim that took more is followed by a smaller one.
const CLAIM_SLOW: Duration = Duration::from_secs(4);

type Blob = (Digest, u64);

/// How small blobs are to be brought.
pub(super) struct Flight {
    pub(super) context: Context,
    pub(super) lanes: Lanes,
    pub(super) lane: Lane,
    /// When to ask for no more.
    pub(super) until: Instant,
}

/// What lacks.
#[derive(Debug)]
struct Shelf {
    places: Mutex<Vec<Place>>,
    changed: Notify,
}

/// One blob that lacks.
#[derive(Debug)]
struct Place {
    blob: Blob,
    state: State,
    /// Who was asked for it.
    asked: Vec<PeerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Somebody is being asked for it.
    Claimed,
    Came,
}

impl Shelf {
    fn new(blobs: Vec<Blob>) -> Self {
        let place = |blob| Place { blob, state: State::Free, asked: Vec::new() };
        let places = blobs.into_iter().map(place).collect();
        Self { places: Mutex::new(places), changed: Notify::new() }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        // The list is whole between two calls, whatever happened to who held it.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next blobs for a peer that nobody else is being asked for, of at most `bytes`, at least
    /// one. `None` if there will never be one for it.
    fn claim(&self, peer: PeerId, bytes: u64) -> Option<Vec<Blob>> {
        let (mut claim, mut left, mut hopes) = (Vec::new(), bytes, false);
        let mut places = self.places();
        for place in places.iter_mut().filter(|place| !place.asked.contains(&peer)) {
            hopes |= place.state == State::Claimed;
            let full = claim.len() == DIGESTS_MAX || (place.blob.1 > left && !claim.is_empty());
            if place.state != State::Free || full {
                continue;
            }
            place.state = State::Claimed;
            place.asked.push(peer);
            left = left.saturating_sub(place.blob.1);
            claim.push(place.blob);
        }
        (hopes || !claim.is_empty()).then_some(claim)
    }

    /// The same, when there is one: what others do not give is given back.
    async fn next(&self, peer: PeerId, bytes: u64, until: Instant) -> Option<Vec<Blob>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let claim = self.claim(peer, bytes)?;
            if !claim.is_empty() {
                return Some(claim);
            }
            timeout_at(until, changed).await.ok()?;
        }
    }

    /// A claim is over: what did not come, others may be asked for.
    fn settle(&self, claim: &[Blob], owed: &[Blob]) {
        for place in self.places().iter_mut().filter(|place| claim.contains(&place.blob)) {
            let came = !owed.contains(&place.blob);
            place.state = if came { State::Came } else { State::Free };
        }
        self.changed.notify_waiters();
    }
}

impl Flight {
    /// Brings what these peers have of these blobs.
    pub(super) async fn run(&self, peers: Vec<PeerId>, blobs: Vec<Blob>) {
        let store = &self.context.store;
        let lacks = |(digest, _): &Blob| matches!(store.blob(digest), Ok(None));
        let blobs: Vec<Blob> = blobs.into_iter().filter(lacks).collect();
        let Some((first, _)) = blobs.first().copied() else { return };
        if self.lane == Lane::Wanted {
            self.lanes.want(first);
        }
        let _place = self.lanes.board(&first).await;
        let shelf = Shelf::new(blobs);
        let (came, news) = watch::channel(());
        let (sender, bodies) = mpsc::channel(WRITING_MAX);
        let asks: Vec<_> = peers
            .iter()
            .flat_map(|peer| [*peer; STREAMS])
            .map(|peer| self.ask(peer, (first, &shelf), sender.clone()).boxed())
            .collect();
        // The last stream that ends closes the channel, and that ends the writing.
        drop(sender);
        let asking = stream::iter(asks).buffer_unordered(PEERS_MAX * STREAMS).collect::<()>();
        let writing = write(store.clone(), bodies, (self.lanes.clone(), first), came).boxed();
        tokio::select! {
            _ = future::join(asking, writing) => {}
            () = stalled(news) => {}
        }
        self.lanes.landed(&first);
    }

    /// Asks one peer on one stream, until there is nothing left for it.
    async fn ask(
        &self,
        peer: PeerId,
        (first, shelf): (Digest, &Shelf),
        bodies: mpsc::Sender<(Digest, Bytes)>,
    ) {
        let mut asking = Asking { flight: self, peer, link: None, ids: 0, bodies };
        let mut bytes = CLAIM_FIRST_BYTES;
        while Instant::now() < self.until {
            self.lanes.clear(&first).await;
            let Some(claim) = shelf.next(peer, bytes, self.until).await else { return };
            let began = Instant::now();
            let mut owed = claim.clone();
            let done = asking.bring(&claim, &mut owed).await;
            shelf.settle(&claim, &owed);
            if let Err(stop) = done {
                return self.blame(peer, &stop).await;
            }
            bytes = match began.elapsed() {
                took if took < CLAIM_FAST => (bytes * 2).min(CLAIM_MAX_BYTES),
                took if took > CLAIM_SLOW => (bytes / 2).max(CLAIM_MIN_BYTES),
                _ => bytes,
            };
        }
    }

    async fn blame(&self, peer: PeerId, stop: &Stop) {
        let offence = match stop {
            Stop::WrongBytes => Offence::WrongBytes,
            Stop::Broken(Broken::Garbage(_)) => Offence::Garbage,
            _ => return tracing::debug!(%peer, %stop, "a peer gives no more small blobs"),
        };
        tracing::warn!(%peer, %stop, "a peer gives small blobs wrongly");
        // A mesh that has stopped has no scores.
        let _ = self.context.reports.send(Report::Offence(peer, offence)).await;
    }
}

/// The asking side of one stream.
struct Asking<'a> {
    flight: &'a Flight,
    peer: PeerId,
    link: Option<Link>,
    ids: u32,
    bodies: mpsc::Sender<(Digest, Bytes)>,
}

impl Asking<'_> {
    /// Brings what the peer has of a claim; what did not come stays in `owed`.
    async fn bring(&mut self, claim: &[Blob], owed: &mut Vec<Blob>) -> Result<(), Stop> {
        let digests: Vec<Digest> = claim.iter().map(|(digest, _)| *digest).collect();
        let (mut link, held) = match self.link.take() {
            Some(mut link) => {
                let held = link.have(&digests).await?;
                (link, held)
            }
            None => Link::open(&self.flight.context.control, self.peer, &digests).await?,
        };
        if !link.gives_many() {
            return Err(Stop::Lacks);
        }
        let held: Vec<Blob> =
            claim.iter().zip(held).filter(|(_, held)| *held).map(|(blob, _)| *blob).collect();
        let first = self.ids;
        let batches = batches(&held);
        for batch in &batches {
            let digests = batch.iter().map(|(digest, _)| *digest).collect();
            link.send(&Frame::GetMany { id: self.ids, digests }).await?;
            self.ids = self.ids.wrapping_add(1);
        }
        for (at, batch) in (0_u32..).zip(&batches) {
            self.receive(&mut link, first.wrapping_add(at), batch, owed).await?;
        }
        self.link = Some(link);
        Ok(())
    }

    /// The blobs of one MGET, in the order of asking.
    async fn receive(
        &mut self,
        link: &mut Link,
        id: u32,
        batch: &[Blob],
        owed: &mut Vec<Blob>,
    ) -> Result<(), Stop> {
        let (mut left, mut patience) = (batch, FIRST_BYTE);
        while !left.is_empty() {
            let bodies = match link.receive(patience).await? {
                Frame::Small { id: of, bodies } if of == id && bodies.len() <= left.len() => bodies,
                Frame::Error { id: of, .. } if of == id => return Err(Stop::Busy),
                _ => return Err(Broken::Garbage("what was not asked for").into()),
            };
            patience = PROGRESS;
            let (now, later) = left.split_at(bodies.len());
            left = later;
            for (blob, body) in now.iter().zip(bodies) {
                let Some(body) = body else { continue };
                if body.len() as u64 != blob.1 || Digest::of(&body) != blob.0 {
                    return Err(Stop::WrongBytes);
                }
                owed.retain(|one| one != blob);
                if self.bodies.send((blob.0, body)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// As few requests as the limits of one allow.
fn batches(blobs: &[Blob]) -> Vec<Vec<Blob>> {
    let mut batches: Vec<Vec<Blob>> = Vec::new();
    let mut bytes = 0;
    for blob in blobs {
        match batches.last_mut() {
            Some(last) if last.len() < MANY_MAX && bytes + blob.1 <= MANY_BYTES_MAX => {
                last.push(*blob);
                bytes += blob.1;
            }
            _ => {
                batches.push(vec![*blob]);
                bytes = blob.1;
            }
        }
    }
    batches
}

/// Keeps what comes, many at a time so that they share commits.
async fn write(
    store: Store,
    mut bodies: mpsc::Receiver<(Digest, Bytes)>,
    (lanes, first): (Lanes, Digest),
    came: watch::Sender<()>,
) {
    let bodies = stream::poll_fn(move |context| bodies.poll_recv(context));
    let puts = bodies.map(move |(digest, body)| put(store.clone(), digest, body).boxed());
    let mut kept = puts.buffer_unordered(WRITING_MAX);
    while let Some(kept) = kept.next().await {
        match kept {
            Ok(()) => {
                lanes.came(&first);
                came.send_replace(());
            }
            Err(error) => tracing::debug!(%error, "a small blob was not kept"),
        }
    }
}

async fn put(store: Store, digest: Digest, body: Bytes) -> Result<(), store::Error> {
    let mut writer = store.writer(hashes_of(&store, &digest)?, body.len() as u64).await?;
    writer.write(body).await?;
    let staged = writer.finish().await?;
    store.commit(staged).await.map(drop)
}

/// Ends when nothing came for a while.
async fn stalled(mut news: watch::Receiver<()>) {
    while let Ok(Ok(())) = timeout(STALLED, news.changed()).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(sizes: &[u64]) -> Vec<Blob> {
        sizes.iter().zip(0_u64..).map(|(size, at)| (Digest::of(&at.to_le_bytes()), *size)).collect()
    }

    #[test]
    fn each_blob_is_asked_of_one_peer_at_a_time_and_of_each_once() {
        let (one, other) = (PeerId::random(), PeerId::random());
        let all = blobs(&[10, 10, 10, 10]);
        let shelf = Shelf::new(all.clone());
        assert_eq!(shelf.claim(one, 20).expect("has some"), all[..2]);
        assert_eq!(shelf.claim(other, 5).expect("has some"), all[2..3], "one, however large");
        shelf.settle(&all[..2], &all[..1]);
        assert_eq!(shelf.claim(one, 100).expect("has some"), all[3..], "not the first again");
        assert_eq!(shelf.claim(other, 5).expect("has some"), all[..1], "nobody else gave it");
        assert_eq!(shelf.claim(other, 100), Some(Vec::new()), "the last may come back");
        shelf.settle(&all[3..], &[]);
        assert_eq!(shelf.claim(other, 100), None, "it came");
        assert_eq!(shelf.claim(one, 100), Some(Vec::new()), "the other may give one back");
        shelf.settle(&all[..3], &all[2..3]);
        assert_eq!(shelf.claim(one, 100).expect("has some"), all[2..3]);
    }

    #[test]
    fn a_request_stays_within_the_limits() {
        let many = blobs(&[1; MANY_MAX + 1]);
        assert_eq!(batches(&many).iter().map(Vec::len).collect::<Vec<_>>(), [MANY_MAX, 1]);
        let large = blobs(&[60_000; 40]);
        for batch in batches(&large) {
            assert!(batch.iter().map(|(_, size)| size).sum::<u64>() <= MANY_BYTES_MAX);
        }
        assert_eq!(batches(&large).concat(), large);
    }
}
