//! Answers what members of the site ask of our cache, on `/griot/mirror/1`.
//!
//! Documents are sent packed, as a patch where the peer holds a base that we hold too; of packages
//! the files are told that are held. A stranger reads what somebody reads who asks for what is not
//! here. A stream is answered question by question; a peer has a few streams, a few documents under
//! way, and so many bytes packed for it a minute, so that it can neither fill our memory nor keep
//! our processor busy. Keeps nothing but what `packings` keeps.
//!
//! Source: mesh.md sections 7 and 8, trust.md sections 10 and 14.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::StreamExt as _;
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::IncomingStreams;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::FileHint;
use super::command::{Report, reap};
use super::frame::{self, Broken};
use super::members::Members;
use super::mirror_frame::{CHUNK_BYTES, Frame, Listing, QUESTION_BYTES_MAX, Refusal};
use super::pack::{DOCUMENT_BYTES_MAX, SMALL_BYTES};
use super::packings::{Key, Packings, Trouble};
use super::peers::Offence;
use crate::store::{self, Store};

/// The protocol.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/griot/mirror/1");

/// Streams of one peer.
const STREAMS_PER_PEER: usize = 16;
/// Documents that are packed for or sent to one peer at a time.
const TRANSFERS_PER_PEER: usize = 4;
/// Documents that are packed or sent at a time.
const TRANSFERS: usize = 64;
/// Waiting for a turn longer than this is answered with "busy".
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// When a peer that was told "busy" should ask again.
const RETRY_MS: u32 = 1_000;
/// Bytes of documents that are packed for one peer in [`WINDOW`].
const PACKED_FOR_MAX: u64 = 1024 * 1024 * 1024;
/// Small documents are packed harder: a byte of them counts so many times.
const SMALL_COSTS: u64 = 4;
/// Questions of one peer in [`WINDOW`] that are answered at once; further ones after a pause.
const QUESTIONS_FREE: u32 = 5_000;
/// The pause.
const QUESTION_PAUSE: Duration = Duration::from_millis(50);
/// See [`PACKED_FOR_MAX`].
const WINDOW: Duration = Duration::from_secs(60);
/// A stream on which nothing is asked ends.
const IDLE: Duration = Duration::from_secs(120);
/// A peer that takes or sends nothing in the middle of a frame is cut off.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who takes fewer bytes a second, over a whole document, is cut off.
const PACE_MIN: u64 = 512;
/// Peers whose limits are remembered.
const PEERS_MAX: usize = 1024;

/// What all streams share.
#[derive(Debug)]
struct Shared {
    store: Store,
    members: Members,
    packings: Packings,
    transfers: Semaphore,
}

/// What the streams of one peer share.
#[derive(Debug)]
struct PeerLimits {
    streams: Arc<Semaphore>,
    transfers: Semaphore,
    spent: Mutex<Spent>,
}

/// What a peer has used of its window.
#[derive(Debug)]
struct Spent {
    since: Instant,
    packed: u64,
    questions: u32,
}

impl PeerLimits {
    fn new() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS_PER_PEER)),
            transfers: Semaphore::new(TRANSFERS_PER_PEER),
            spent: Mutex::new(Spent { since: Instant::now(), packed: 0, questions: 0 }),
        }
    }

    fn spend(&self, now: Instant, spend: impl FnOnce(&mut Spent) -> bool) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(spent.since) > WINDOW {
            *spent = Spent { since: now, packed: 0, questions: 0 };
        }
        spend(&mut spent)
    }

    /// Counts a question; false when there were so many that this one has to wait.
    fn may_ask(&self, now: Instant) -> bool {
        self.spend(now, |spent| {
            spent.questions = spent.questions.saturating_add(1);
            spent.questions <= QUESTIONS_FREE
        })
    }

    /// Counts bytes that would be packed; false when it were too many.
    fn may_pack(&self, bytes: u64, now: Instant) -> bool {
        self.spend(now, |spent| {
            let packed = spent.packed.saturating_add(bytes);
            let fits = packed <= PACKED_FOR_MAX;
            spent.packed = if fits { packed } else { spent.packed };
            fits
        })
    }
}

/// Takes streams until the mesh stops.
pub(super) async fn run(
    mut incoming: IncomingStreams,
    store: Store,
    members: Members,
    reports: mpsc::Sender<Report>,
) {
    let packings = Packings::new(store.clone());
    let transfers = Semaphore::new(TRANSFERS);
    let shared = Arc::new(Shared { store, members, packings, transfers });
    let mut peers: HashMap<PeerId, Arc<PeerLimits>> = HashMap::new();
    let mut streams = JoinSet::new();
    while let Some((peer, stream)) = incoming.next().await {
        reap(&mut streams);
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, limits| Arc::strong_count(limits) > 1);
        }
        let of_peer = peers.entry(peer).or_insert_with(|| Arc::new(PeerLimits::new())).clone();
        let Ok(slot) = of_peer.streams.clone().try_acquire_owned() else { continue };
        let server = Server { peer, shared: shared.clone(), of_peer };
        let reports = reports.clone();
        streams.spawn(async move {
            if let Err(error) = server.serve(stream).await {
                tracing::debug!(%peer, %error, "a mirror stream ended early");
                if matches!(error, Broken::Garbage(_)) {
                    let _ = reports.send(Report::Offence(peer, Offence::Garbage)).await;
                }
            }
            drop(slot);
        });
    }
}

/// One stream.
#[derive(Debug)]
struct Server {
    peer: PeerId,
    shared: Arc<Shared>,
    of_peer: Arc<PeerLimits>,
}

/// One DOCUMENT?.
#[derive(Debug)]
struct Wanted {
    id: u32,
    digest: Digest,
    size: u64,
    bases: Vec<Digest>,
}

impl Server {
    async fn serve(&self, mut stream: Stream) -> Result<(), Broken> {
        frame::send(&mut stream, &Frame::HELLO.encode(), PATIENCE).await?;
        let mut greeted = false;
        loop {
            let received = frame::receive(&mut stream, QUESTION_BYTES_MAX, IDLE, PATIENCE).await;
            let bytes = match received {
                Ok(Some(bytes)) => bytes,
                Ok(None) | Err(Broken::Slow) => return Ok(()),
                Err(error) => return Err(error),
            };
            match Frame::decode(bytes)? {
                Frame::Hello { .. } if !greeted => greeted = true,
                Frame::Unknown => {}
                _ if !greeted => return Err(Broken::Garbage("a question before its greeting")),
                question => self.answer(&mut stream, question).await?,
            }
        }
    }

    async fn answer(&self, stream: &mut Stream, question: Frame) -> Result<(), Broken> {
        if !self.of_peer.may_ask(Instant::now()) {
            sleep(QUESTION_PAUSE).await;
        }
        match question {
            Frame::Document { id, digest, size, bases } => {
                self.document(stream, &Wanted { id, digest, size, bases }).await
            }
            Frame::FilesOf { id, listing } => {
                for frame in Frame::answers(id, self.files(&listing)) {
                    frame::send(stream, &frame.encode(), PATIENCE).await?;
                }
                Ok(())
            }
            _ => Err(Broken::Garbage("an answer where a question belongs")),
        }
    }

    /// The files of a package that are held; for a stranger there are none.
    fn files(&self, listing: &Listing) -> Vec<FileHint> {
        if !self.shared.members.is_member(&self.peer) {
            return Vec::new();
        }
        let Listing { origin, format, package } = listing;
        let held =
            self.shared.store.cached_files(origin, format, package).unwrap_or_else(|error| {
                tracing::warn!(%error, "the files that are held cannot be listed");
                Vec::new()
            });
        let is_here = |digest: &Digest| matches!(self.shared.store.blob(digest), Ok(Some(_)));
        held.into_iter()
            .filter(|file| is_here(&file.digest))
            .map(|file| FileHint {
                version: file.version,
                file: file.file,
                digest: file.digest,
                size: file.size,
            })
            .collect()
    }

    async fn document(&self, stream: &mut Stream, wanted: &Wanted) -> Result<(), Broken> {
        let id = wanted.id;
        let turns = async {
            let of_peer = self.of_peer.transfers.acquire().await?;
            Ok::<_, tokio::sync::AcquireError>((of_peer, self.shared.transfers.acquire().await?))
        };
        let packed = match timeout(TURN_PATIENCE, turns).await {
            Ok(Ok(turns)) => self.packed(wanted).await.map(|packed| (packed, turns)),
            _ => Err(Refusal::Busy(RETRY_MS)),
        };
        match packed {
            Ok(((packed, base), _turns)) => {
                let length = packed.len() as u64;
                let patience = PATIENCE + Duration::from_secs(length / PACE_MIN);
                let head = Frame::Packed { id, length, base };
                let sending = send(stream, head, packed);
                timeout(patience, sending).await.map_err(|_| Broken::Slow)?
            }
            Err(refusal) => {
                frame::send(stream, &Frame::Error { id, refusal }.encode(), PATIENCE).await
            }
        }
    }

    /// The packed bytes, and the base that they need.
    async fn packed(&self, wanted: &Wanted) -> Result<(Bytes, Option<Digest>), Refusal> {
        let size = self.gives(&wanted.digest).ok_or(Refusal::NotHeld)?;
        if size != wanted.size {
            return Err(Refusal::OtherSize);
        }
        if size > DOCUMENT_BYTES_MAX {
            return Err(Refusal::AsBlob);
        }
        let base = wanted.bases.iter().find_map(|base| Some((*base, self.base(wanted, base)?)));
        let key: Key = (wanted.digest, base.map(|(base, _)| base));
        let work = match base {
            None if size <= SMALL_BYTES => size * SMALL_COSTS,
            _ => size.saturating_add(base.map_or(0, |(_, size)| size)),
        };
        let packings = &self.shared.packings;
        if !packings.is_kept(&key) && !self.of_peer.may_pack(work, Instant::now()) {
            return Err(Refusal::Busy(RETRY_MS));
        }
        match packings.get(key).await {
            Ok(Some(packed)) => Ok((packed, key.1)),
            Ok(None) => Err(Refusal::AsBlob),
            Err(Trouble::Busy) => Err(Refusal::Busy(RETRY_MS)),
            Err(error) => {
                tracing::warn!(digest = %wanted.digest, %error, "a held document is not packed");
                Err(Refusal::Gone)
            }
        }
    }

    /// The size of a base that may be used.
    fn base(&self, wanted: &Wanted, base: &Digest) -> Option<u64> {
        let fits = |size: &u64| *size <= DOCUMENT_BYTES_MAX && *base != wanted.digest;
        self.gives(base).filter(fits)
    }

    /// The size of a cached blob that this peer may have; `None` otherwise, whatever the reason.
    fn gives(&self, digest: &Digest) -> Option<u64> {
        if !self.shared.members.is_member(&self.peer) {
            return None;
        }
        given(&self.shared.store, digest).unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "a cached blob cannot be looked up");
            None
        })
    }
}

/// The size of a blob that is held and was cached from an upstream.
fn given(store: &Store, digest: &Digest) -> Result<Option<u64>, store::Error> {
    let Some(held) = store.blob(digest)? else { return Ok(None) };
    Ok(store.is_cached(digest)?.then_some(held.size))
}

async fn send(stream: &mut Stream, head: Frame, packed: Bytes) -> Result<(), Broken> {
    let Frame::Packed { id, .. } = head else { return Ok(()) };
    let mut first = head.encode();
    let mut rest = packed;
    loop {
        let bytes = rest.split_to(rest.len().min(CHUNK_BYTES));
        if !bytes.is_empty() {
            first.extend_from_slice(&Frame::Bytes { id, bytes }.encode());
        }
        frame::send(stream, &first, PATIENCE).await?;
        first.clear();
        if rest.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_much_packed_for_it_a_minute_and_no_more() {
        let (limits, now) = (PeerLimits::new(), Instant::now());
        assert!(limits.may_pack(PACKED_FOR_MAX, now));
        assert!(!limits.may_pack(1, now));
        assert!(limits.may_pack(1, now + WINDOW + Duration::from_secs(1)));
        assert!(!limits.may_pack(u64::MAX, now + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn endless_questions_are_answered_after_a_pause() {
        let (limits, now) = (PeerLimits::new(), Instant::now());
        assert!((0..QUESTIONS_FREE).all(|_| limits.may_ask(now)));
        assert!(!limits.may_ask(now));
        assert!(limits.may_ask(now + WINDOW + Duration::from_secs(1)));
    }
}
