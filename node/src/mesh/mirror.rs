//! Brings one cached document from a member of the site: the asking side of `/griot/mirror/1`.
//!
//! ```text
//!  DOCUMENT? of each member in turn ──▶ the first that has it ──▶ unpacked as it comes ──▶ store
//!      a silent one is not waited for                              digest and size compared
//! ```
//!
//! One flight a digest; the swarm's task sees to that. The size is a receipt's or a document's,
//! never the peer's. What comes is unpacked step by step into a temporary file and becomes a blob
//! only when it is the one that was asked for; wrong bytes cost their sender its place, and the
//! next member is asked. Streams are kept for the next document: opening one costs a round trip.
//! Nothing half done survives. Does not decide what to believe.
//!
//! Source: trust.md section 10, mesh.md section 7.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crdt::Digest;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::PeerId;
use libp2p_stream::Control;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Error;
use super::command::Report;
use super::frame::Broken;
use super::held::PROGRESS;
use super::mirror_frame::{BASES_MAX, Frame, Refusal};
use super::mirror_link::{Link, Spare, receive};
use super::pack::{DOCUMENT_BYTES_MAX, PACKED_BYTES_MAX, Unpacking, memory};
use super::peers::Offence;
use crate::store::{self, Hashes, Store};

/// Shares of [`MEMORY_MAX`]. A document takes one, or as many as its memory needs, and further ones
/// wait: so there are never more than this in the air, nor more memory in use.
pub(super) const SHARES: usize = 8;
/// Memory of all documents that are being unpacked together. One at its largest takes 192 MiB.
const MEMORY_MAX: u64 = 256 * 1024 * 1024;
/// A member that says nothing for so long is not waited for alone: the next one is asked too.
const NEXT_AFTER: Duration = Duration::from_secs(3);
/// So long it is asked after all the others then, whatever the document.
const LATE_FOR: Duration = Duration::from_secs(60);
/// How often a member may say "busy" in a row.
const BUSY_MAX: u32 = 10;
/// The longest pause that a busy member may ask for.
const BUSY_PAUSE_MAX_MS: u32 = 5_000;
/// How often a member is asked anew after its stream was cut: one that has too many streams at that
/// instant drops the next, and a line may break.
const CUTS_MAX: usize = 3;
/// Before it is asked again, as long again each time.
const CUT_PAUSE: Duration = Duration::from_millis(100);
/// Who gives fewer bytes a second, from the first on, is left.
const PACE_MIN: u64 = 512;
/// A stream has one question at a time.
const ASKED: u32 = 1;

/// What a flight needs.
pub(super) struct DocumentFlight {
    /// What to bring.
    pub(super) digest: Digest,
    /// Its size, as it is known otherwise.
    pub(super) size: u64,
    /// Bodies that may be held here.
    pub(super) bases: Vec<Digest>,
    /// Members that are connected now.
    pub(super) peers: Vec<PeerId>,
    /// Where it goes.
    pub(super) store: Store,
    /// Opens streams.
    pub(super) control: Control,
    /// Streams that are open.
    pub(super) spare: Spare,
    /// [`SHARES`] of the memory.
    pub(super) shares: Arc<Semaphore>,
    /// Who was silent a moment ago.
    pub(super) late: Late,
    /// Where to tell of offences.
    pub(super) reports: mpsc::Sender<Report>,
}

/// Members that said nothing for [`NEXT_AFTER`]: without it each document would wait for them anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Late(Arc<Mutex<HashMap<PeerId, Instant>>>);

impl Late {
    fn note(&self, peers: &[PeerId]) {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|_, since| since.elapsed() < LATE_FOR);
        late.extend(peers.iter().map(|peer| (*peer, Instant::now())));
    }

    fn is_late(&self, peer: &PeerId) -> bool {
        let late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.get(peer).is_some_and(|since| since.elapsed() < LATE_FOR)
    }

    /// It has answered, or its connection is gone.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}

/// How a flight ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// It is in the store.
    Here,
    /// A member has it, but too large to be packed.
    AsBlob,
}

/// A member that is about to send it.
struct Offered {
    peer: PeerId,
    link: Link,
    length: u64,
    base: Option<Digest>,
}

/// Why a member did not give it.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it refused: {0:?}")]
    Refused(Refusal),
    #[error("it sent wrong bytes")]
    WrongBytes,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl DocumentFlight {
    /// Brings the document into the store.
    pub(super) async fn run(mut self) -> Result<Brought, Error> {
        let largest_base = self.choose_bases()?;
        let shares = self.shares.clone();
        // All at once and before anybody is asked, or two could each wait for what the other has.
        // The semaphore is never closed.
        let _taken = shares.acquire_many(shares_for(self.size, largest_base)).await.ok();
        if let Some(held) = self.store.blob(&self.digest)? {
            let why = || format!("{} is held with {} bytes", self.digest, held.size);
            return if held.size == self.size {
                Ok(Brought::Here)
            } else {
                Err(Error::Refused(format!("{}, not {}", why(), self.size)))
            };
        }
        if self.size > DOCUMENT_BYTES_MAX {
            return Ok(Brought::AsBlob);
        }
        self.ask_members().await
    }

    /// Keeps those bases that are held here and can be used; the size of the largest.
    fn choose_bases(&mut self) -> Result<u64, Error> {
        let (mut held, mut largest) = (Vec::new(), 0);
        for base in std::mem::take(&mut self.bases) {
            let size = self.store.blob(&base)?.map(|info| info.size);
            let Some(size) = size.filter(|size| *size <= DOCUMENT_BYTES_MAX) else { continue };
            if base != self.digest && !held.contains(&base) && held.len() < BASES_MAX {
                held.push(base);
                largest = largest.max(size);
            }
        }
        self.bases = held;
        Ok(largest)
    }

    /// The first member that has it sends it; when that fails, the others are asked again.
    async fn ask_members(&self) -> Result<Brought, Error> {
        let mut search = Search::new(self);
        let (mut failure, mut is_too_large) = (None, false);
        while let Some((peer, answer)) = search.next().await {
            let stop = match answer {
                Ok(offered) => match self.take(offered).await {
                    Ok(()) => return Ok(Brought::Here),
                    Err(stop) => stop,
                },
                Err(stop) => stop,
            };
            match stop {
                Stop::Store(error) => return Err(error.into()),
                Stop::Refused(Refusal::NotHeld) => {}
                Stop::Refused(Refusal::AsBlob) => is_too_large = true,
                stop => {
                    self.blame(peer, &stop).await;
                    if matches!(stop, Stop::Broken(Broken::Cut(_))) {
                        search.cut(peer).await;
                    }
                    failure = Some(format!("{peer}: {stop}"));
                }
            }
        }
        match failure {
            _ if is_too_large => Ok(Brought::AsBlob),
            Some(why) => Err(Error::Failed(self.digest, why)),
            None => Err(Error::Nowhere(self.digest)),
        }
    }

    async fn blame(&self, peer: PeerId, stop: &Stop) {
        tracing::debug!(%peer, digest = %self.digest, %stop, "a document did not come");
        let offence = match stop {
            Stop::WrongBytes => Offence::WrongBytes,
            Stop::Broken(Broken::Garbage(_)) => Offence::Garbage,
            _ => return,
        };
        // A mesh that has stopped has no scores.
        let _ = self.reports.send(Report::Offence(peer, offence)).await;
    }

    /// Asks one member; one that is busy again and again.
    async fn ask(&self, peer: PeerId) -> (PeerId, Result<Offered, Stop>) {
        let mut busy = 0;
        loop {
            match self.ask_once(peer).await {
                Err(Stop::Refused(Refusal::Busy(retry_ms))) if busy < BUSY_MAX => {
                    busy += 1;
                    sleep(Duration::from_millis(retry_ms.min(BUSY_PAUSE_MAX_MS).into())).await;
                }
                answer => return (peer, answer),
            }
        }
    }

    async fn ask_once(&self, peer: PeerId) -> Result<Offered, Stop> {
        let (digest, size) = (self.digest, self.size);
        let question = Frame::Document { id: ASKED, digest, size, bases: self.bases.clone() };
        let (link, answer) = match self.spare.take(&peer) {
            // One that was kept may have ended meanwhile: that is no answer.
            Some(mut link) => match link.ask(&question).await {
                Err(Broken::Cut(_)) => self.ask_anew(peer, &question).await?,
                answer => (link, answer?),
            },
            None => self.ask_anew(peer, &question).await?,
        };
        match answer {
            Frame::Packed { id: ASKED, length, base } => {
                let fits = length <= packed_bytes_max(size)
                    && base.is_none_or(|base| self.bases.contains(&base));
                let offered = Offered { peer, link, length, base };
                fits.then_some(offered).ok_or(Broken::Garbage("an impossible packing").into())
            }
            Frame::Error { id: ASKED, refusal } => {
                self.spare.put(peer, link);
                Err(Stop::Refused(refusal))
            }
            _ => Err(Broken::Garbage("what was not asked for").into()),
        }
    }

    async fn ask_anew(&self, peer: PeerId, question: &Frame) -> Result<(Link, Frame), Broken> {
        let mut link = Link::open(&self.control, peer).await?;
        let answer = link.ask(question).await?;
        Ok((link, answer))
    }

    /// Takes what a member sends.
    async fn take(&self, offered: Offered) -> Result<(), Stop> {
        let Offered { peer, mut link, length, base } = offered;
        let base = match base {
            Some(base) => Some(read_base(&self.store, &base).await?),
            None => None,
        };
        self.unpack(&mut link, length, base.as_deref()).await?;
        self.spare.put(peer, link);
        Ok(())
    }

    /// Unpacks what comes into the store; only what was asked for stays there.
    async fn unpack(&self, link: &mut Link, length: u64, base: Option<&[u8]>) -> Result<(), Stop> {
        let mut writer = self.store.writer(Hashes::default(), self.size).await?;
        let mut unpacking = Unpacking::new(self.size, base).map_err(store::Error::Io)?;
        let (mut left, began) = (length, Instant::now());
        while left > 0 {
            let received = receive(&mut link.stream, PROGRESS);
            let received = timeout_at(began + patience(length - left), received).await;
            let Frame::Bytes { id: ASKED, bytes } = received.map_err(|_| Broken::Slow)?? else {
                return Err(Broken::Garbage("something between the pieces").into());
            };
            let rest = left.checked_sub(bytes.len() as u64);
            left = rest.ok_or(Broken::Garbage("more than it said"))?;
            let mut packed = &bytes[..];
            loop {
                let step = unpacking.step(&mut packed).map_err(|_| Stop::WrongBytes)?;
                if step.is_empty() && packed.is_empty() {
                    break;
                }
                writer.write(step).await?;
            }
        }
        if !unpacking.is_whole() {
            return Err(Stop::WrongBytes);
        }
        let staged = writer.finish().await?;
        if staged.info().digest != self.digest || staged.info().size != self.size {
            return Err(Stop::WrongBytes);
        }
        self.store.commit(staged).await?;
        Ok(())
    }
}

/// When so many packed bytes must have come: a byte now and then is no progress.
fn patience(received: u64) -> Duration {
    PROGRESS + Duration::from_secs(received / PACE_MIN)
}

/// The most that a document of `size` bytes can be when it is packed: zstd adds a little to what it
/// cannot make smaller. Who says more wants to be waited for.
fn packed_bytes_max(size: u64) -> u64 {
    size.saturating_add(size / 128 + 1024).min(PACKED_BYTES_MAX as u64)
}

/// A base that is held here, whole in memory: patterns reach back into all of it.
async fn read_base(store: &Store, base: &Digest) -> Result<Vec<u8>, Stop> {
    let gone = || store::Error::Io(io::Error::other("the base of a patch is gone"));
    let (info, file) = store.open_blob(base).await?.ok_or_else(gone)?;
    // At once, or it would grow to twice as much.
    let room = usize::try_from(info.size.min(DOCUMENT_BYTES_MAX)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room + 64);
    let reading = file.take(DOCUMENT_BYTES_MAX);
    tokio::pin!(reading);
    reading.read_to_end(&mut bytes).await.map_err(store::Error::Io)?;
    // Our own disk must not make an honest member look like a liar.
    if bytes.len() as u64 == info.size && Digest::of(&bytes) == *base {
        Ok(bytes)
    } else {
        store.remove_blob(base).await?;
        Err(gone().into())
    }
}

/// How much of [`SHARES`] a document takes with the largest of its bases.
fn shares_for(size: u64, base: u64) -> u32 {
    let bytes = memory(size.min(DOCUMENT_BYTES_MAX), base.min(DOCUMENT_BYTES_MAX));
    let shares = bytes.div_ceil(MEMORY_MAX / SHARES as u64);
    u32::try_from(shares).unwrap_or(u32::MAX).clamp(1, SHARES as u32)
}

/// One after the other; the next one also when those before say nothing for a while.
struct Search<'a> {
    flight: &'a DocumentFlight,
    left: VecDeque<PeerId>,
    waiting: Vec<PeerId>,
    /// Whose streams were cut, each as often as that.
    cut: Vec<PeerId>,
    asked: FuturesUnordered<BoxFuture<'a, (PeerId, Result<Offered, Stop>)>>,
}

impl<'a> Search<'a> {
    fn new(flight: &'a DocumentFlight) -> Self {
        let left = flight.peers.iter().copied().collect();
        Self { flight, left, waiting: Vec::new(), cut: Vec::new(), asked: FuturesUnordered::new() }
    }

    /// The next answer; `None` when everybody has answered.
    async fn next(&mut self) -> Option<(PeerId, Result<Offered, Stop>)> {
        loop {
            if self.asked.is_empty() {
                self.push()?;
            }
            let answer = if self.left.is_empty() {
                self.asked.next().await
            } else {
                timeout(NEXT_AFTER, self.asked.next()).await.unwrap_or(None)
            };
            let Some((peer, answer)) = answer else {
                self.flight.late.note(&self.waiting);
                self.push();
                continue;
            };
            self.waiting.retain(|waiting| *waiting != peer);
            if !matches!(answer, Err(Stop::Broken(_))) {
                self.flight.late.forget(&peer);
            }
            if answer.is_ok() {
                // The others would send it, too. They are asked again if this one fails.
                self.asked.clear();
                self.left.extend(self.waiting.drain(..));
            }
            return Some((peer, answer));
        }
    }

    /// Its stream was cut: it is asked again after all the others, if there were not too many cuts.
    async fn cut(&mut self, peer: PeerId) {
        self.cut.push(peer);
        let cuts = self.cut.iter().filter(|of| **of == peer).count();
        if cuts > CUTS_MAX {
            return;
        }
        if self.left.is_empty() && self.asked.is_empty() {
            sleep(CUT_PAUSE * u32::try_from(cuts).unwrap_or(1)).await;
        }
        self.left.push_back(peer);
    }

    fn push(&mut self) -> Option<()> {
        // As it is now: another document may have found out meanwhile.
        let prompt = self.left.iter().position(|peer| !self.flight.late.is_late(peer));
        let peer = self.left.remove(prompt.unwrap_or_default())?;
        self.waiting.push(peer);
        self.asked.push(self.flight.ask(peer).boxed());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::mesh::pack::pack;

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        assert_eq!(patience(0), PROGRESS);
        assert_eq!(patience(2), PROGRESS, "a second byte buys no more time");
        assert_eq!(patience(PACE_MIN * 60), PROGRESS + Duration::from_secs(60));
    }

    #[test]
    fn nothing_packs_to_more_than_is_waited_for() {
        for size in [0_usize, 1, 100, 4_000, 100_000, 3_000_000] {
            let mut noise = vec![0; size];
            blake3::Hasher::new().finalize_xof().fill(&mut noise);
            let base = noise.iter().rev().copied().collect::<Vec<_>>();
            for base in [None, Some(base.as_slice())] {
                let packed = pack(&mut &noise[..], size as u64, base).expect("packs");
                let length = packed.expect("is small").len() as u64;
                assert!(length <= packed_bytes_max(size as u64), "{length} of {size}");
            }
        }
        assert!(packed_bytes_max(1_000) < 3_000);
        assert_eq!(packed_bytes_max(u64::MAX), PACKED_BYTES_MAX as u64);
    }

    #[test]
    fn an_ordinary_document_takes_one_share_and_the_largest_fits() {
        assert_eq!(shares_for(0, 0), 1);
        assert_eq!(shares_for(5_000_000, 5_000_000), 1);
        let largest = shares_for(DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MAX);
        assert_eq!(u64::from(largest) * MEMORY_MAX / SHARES as u64, 192 * 1024 * 1024);
        assert_eq!(shares_for(u64::MAX, u64::MAX), largest, "what it says changes nothing");
    }

    #[tokio::test]
    async fn many_large_ones_wait_for_each_other_and_all_end() {
        let (shares, in_use) = (Semaphore::new(SHARES), AtomicU64::new(0));
        let sizes = (0..40_u64).map(|at| DOCUMENT_BYTES_MAX >> (at % 9));
        let flights = sizes.map(async |size| {
            let taken = shares.acquire_many(shares_for(size, size)).await.expect("is open");
            let now = in_use.fetch_add(memory(size, size), Ordering::SeqCst) + memory(size, size);
            assert!(now <= MEMORY_MAX, "{now}");
            tokio::task::yield_now().await;
            in_use.fetch_sub(memory(size, size), Ordering::SeqCst);
            drop(taken);
        });
        let all = futures::future::join_all(flights);
        assert_eq!(timeout(Duration::from_secs(60), all).await.expect("they end").len(), 40);
    }
}
