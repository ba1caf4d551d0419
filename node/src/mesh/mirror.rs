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

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
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
use super::pack::{DOCUMENT_BYTES_MAX, PACKED_BYTES_MAX, Unpacking};
use super::peers::Offence;
use crate::store::{self, Hashes, Store};

/// Documents in the air; further ones wait for a place.
pub(super) const DOCUMENTS_MAX: usize = 8;
/// A member that says nothing for so long is not waited for alone: the next one is asked too.
const NEXT_AFTER: Duration = Duration::from_secs(3);
/// How often a member may say "busy" in a row.
const BUSY_MAX: u32 = 10;
/// The longest pause that a busy member may ask for.
const BUSY_PAUSE_MAX_MS: u32 = 5_000;
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
    /// Places in the air.
    pub(super) places: Arc<Semaphore>,
    /// Where to tell of offences.
    pub(super) reports: mpsc::Sender<Report>,
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
        // The semaphore is never closed; without a place the flight would only be less polite.
        let places = self.places.clone();
        let _place = places.acquire().await.ok();
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
        self.choose_bases()?;
        self.ask_members().await
    }

    /// Keeps those bases that are held here and can be used.
    fn choose_bases(&mut self) -> Result<(), Error> {
        let mut held = Vec::new();
        for base in std::mem::take(&mut self.bases) {
            let size = self.store.blob(&base)?.map(|info| info.size);
            let fits = size.is_some_and(|size| size <= DOCUMENT_BYTES_MAX);
            if fits && base != self.digest && !held.contains(&base) && held.len() < BASES_MAX {
                held.push(base);
            }
        }
        self.bases = held;
        Ok(())
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
    let mut bytes = Vec::new();
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

/// One after the other; the next one also when those before say nothing for a while.
struct Search<'a> {
    flight: &'a DocumentFlight,
    left: VecDeque<PeerId>,
    waiting: Vec<PeerId>,
    asked: FuturesUnordered<BoxFuture<'a, (PeerId, Result<Offered, Stop>)>>,
}

impl<'a> Search<'a> {
    fn new(flight: &'a DocumentFlight) -> Self {
        let left = flight.peers.iter().copied().collect();
        Self { flight, left, waiting: Vec::new(), asked: FuturesUnordered::new() }
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
                self.push();
                continue;
            };
            self.waiting.retain(|waiting| *waiting != peer);
            if answer.is_ok() {
                // The others would send it, too. They are asked again if this one fails.
                self.asked.clear();
                self.left.extend(self.waiting.drain(..));
            }
            return Some((peer, answer));
        }
    }

    fn push(&mut self) -> Option<()> {
        let peer = self.left.pop_front()?;
        self.waiting.push(peer);
        self.asked.push(self.flight.ask(peer).boxed());
        Some(())
    }
}

#[cfg(test)]
mod tests {
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
}
