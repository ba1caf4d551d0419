//! Answers what other peers ask of our blobs, on `/griot/blob/1`.
//!
//! Only blobs that are held and that an admitted release of a followed realm names are given out,
//! those of private realms to their readers alone, and to members of the site those that were
//! cached from an upstream; "not for you" reads like "not here". A peer gets four transfers at a
//! time and all peers sixteen, in the order in which they asked; who asks for much that is not here
//! is sent away for a while. A stream reads and writes at once, so that a CANCEL is heard and
//! nobody waits for the other. Bytes are not hashed again on the way out: the receiver checks every
//! group. Keeps nothing.
//!
//! Source: mesh.md sections 7 and 8.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, StreamExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::IncomingStreams;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::allowance::Verdict;
use super::choose::{GROUP_BYTES, Pace};
use super::command::{Context, Report, reap};
use super::frame::{self, Broken, Failure, Frame, REQUEST_BYTES_MAX};
use super::members::Members;
use super::peers::Offence;
use crate::store;

/// The protocol.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/griot/blob/1");

/// Transfers of one peer at a time.
const TRANSFERS_PER_PEER: usize = 4;
/// Transfers at a time.
const TRANSFERS: usize = 16;
/// Streams of one peer: those of its flights, and short ones that only ask.
const STREAMS_PER_PEER: usize = 32;
/// Requests of one stream that wait; a further one is not read yet.
const QUEUE: usize = 16;
/// Bytes that one GET may ask for: its turn ends with it.
const GET_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A peer that takes longer for a piece gives up its turn.
const PIECE_PATIENCE: Duration = Duration::from_secs(120);
/// Answers "not here" to one peer in [`MISSES_WINDOW`].
const MISSES_MAX: u32 = 100;
/// See [`MISSES_MAX`].
const MISSES_WINDOW: Duration = Duration::from_secs(60);
/// Pause before each answer to a HAVE? but the first few: what was asked is not free.
const HAVE_PAUSE: Duration = Duration::from_millis(50);
/// HAVE? of one stream that are answered without a pause.
const HAVE_FREE: u32 = 20;
/// A stream on which nothing is asked ends.
const IDLE: Duration = Duration::from_secs(120);
/// A peer that takes or sends nothing in the middle of a frame is cut off.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Waiting for a turn longer than this is answered with "busy".
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// A piece that takes longer goes on without the turn among all.
const TURN_KEPT: Duration = Duration::from_secs(1);
/// When a peer that was told "busy" should ask again.
const RETRY_MS: u32 = 2_000;
/// Peers whose limits are remembered.
const PEERS_MAX: usize = 1024;

/// What all streams share.
#[derive(Debug)]
struct Limits {
    transfers: Semaphore,
}

/// What the streams of one peer share.
#[derive(Debug)]
struct PeerLimits {
    streams: Arc<Semaphore>,
    transfers: Semaphore,
    misses: Mutex<(Instant, u32)>,
}

impl PeerLimits {
    fn new() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS_PER_PEER)),
            transfers: Semaphore::new(TRANSFERS_PER_PEER),
            misses: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Counts one more answer "not here"; false when there were too many of late.
    fn may_miss(&self, now: Instant) -> bool {
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(misses.0) > MISSES_WINDOW {
            *misses = (now, 0);
        }
        misses.1 += 1;
        misses.1 <= MISSES_MAX
    }
}

/// Takes streams until the mesh stops.
pub(super) async fn run(mut incoming: IncomingStreams, context: Context, members: Members) {
    let limits = Arc::new(Limits { transfers: Semaphore::new(TRANSFERS) });
    let mut peers: HashMap<PeerId, Arc<PeerLimits>> = HashMap::new();
    let mut streams = JoinSet::new();
    while let Some((peer, stream)) = incoming.next().await {
        reap(&mut streams);
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, limits| Arc::strong_count(limits) > 1);
        }
        let of_peer = peers.entry(peer).or_insert_with(|| Arc::new(PeerLimits::new())).clone();
        let Ok(slot) = of_peer.streams.clone().try_acquire_owned() else { continue };
        let (context, members) = (context.clone(), members.clone());
        let reports = context.reports.clone();
        let server = Server { peer, context, members, limits: limits.clone(), of_peer };
        streams.spawn(async move {
            if let Err(error) = server.serve(stream).await {
                tracing::debug!(%peer, %error, "a blob stream ended early");
                if matches!(error, Broken::Garbage(_)) {
                    let _ = reports.send(Report::Offence(peer, Offence::Garbage)).await;
                }
            }
            drop(slot);
        });
    }
}

/// One stream.
pub(super) struct Server {
    pub(super) peer: PeerId,
    pub(super) context: Context,
    members: Members,
    limits: Arc<Limits>,
    of_peer: Arc<PeerLimits>,
}

/// Ids that the peer does not want any more; those of answered requests are harmless.
pub(super) type Cancelled = Mutex<HashSet<u32>>;

/// One GET.
#[derive(Debug)]
struct Wanted {
    id: u32,
    digest: Digest,
    size: u64,
    ranges: Vec<Range<u64>>,
}

#[derive(Debug)]
enum Request {
    Get(Wanted),
    Many(u32, Vec<Digest>),
    Have(Vec<Digest>),
}

impl Server {
    async fn serve(self, stream: Stream) -> Result<(), Broken> {
        let (reader, writer) = stream.split();
        let (queue, requests) = mpsc::channel(QUEUE);
        let cancelled = Cancelled::default();
        let both = tokio::try_join!(
            read(reader, queue, &cancelled),
            self.answer(writer, requests, &cancelled),
        );
        both.map(|_| ())
    }

    async fn answer(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut requests: mpsc::Receiver<Request>,
        cancelled: &Cancelled,
    ) -> Result<(), Broken> {
        frame::send(&mut writer, &Frame::HELLO.encode(), PATIENCE).await?;
        let mut pace = Pace::new();
        let mut asked: u32 = 0;
        while let Some(request) = requests.recv().await {
            match request {
                Request::Get(wanted) => {
                    self.transfer(&mut writer, &wanted, cancelled, &mut pace).await?;
                }
                Request::Many(id, digests) => {
                    self.many(&mut writer, (id, &digests), cancelled, &mut pace).await?;
                }
                Request::Have(digests) => {
                    asked = asked.saturating_add(1);
                    if asked > HAVE_FREE {
                        sleep(HAVE_PAUSE).await;
                    }
                    let member = self.is_member();
                    let affords = self.affords(1);
                    let gives = |digest| affords && self.gives(digest, member).is_some();
                    let bits = bitmap(digests.iter().map(gives));
                    frame::send(&mut writer, &Frame::Held { bits }.encode(), PATIENCE).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_member(&self) -> bool {
        self.members.is_member(&self.peer)
    }

    /// Whether the budget of its link has room for so many bytes that nobody here waits for.
    pub(super) fn affords(&self, bytes: u64) -> bool {
        self.context.budget.may_serve(&self.peer, bytes) == Verdict::Now
    }

    /// The size of a blob that a peer may have; `None` otherwise, whatever the reason.
    pub(super) fn gives(&self, digest: &Digest, member: bool) -> Option<u64> {
        if !self.context.doors.are_open_to(&self.peer) {
            return None;
        }
        let store = &self.context.store;
        let held = store.blob(digest).ok().flatten()?;
        let named = store.may_be_given(digest, &self.context.proven.of(&self.peer)).ok()?;
        (named || member && store.is_cached(digest).ok()?).then_some(held.size)
    }

    async fn transfer(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        wanted: &Wanted,
        cancelled: &Cancelled,
        pace: &mut Pace,
    ) -> Result<(), Broken> {
        let refused = match self.turn().await {
            Err(busy) => Some(busy),
            // As if it were not here: the peer looks elsewhere, and asks again some day.
            Ok(_) if !self.affords(asked_bytes(wanted)) => Some(Failure::NotFound),
            Ok((_turn, among_all)) => match self.gives(&wanted.digest, self.is_member()) {
                None => {
                    self.miss()?;
                    Some(Failure::NotFound)
                }
                Some(size) if size != wanted.size => Some(Failure::OtherSize),
                Some(_) => {
                    let mut turn = Some(among_all);
                    self.pieces(writer, wanted, cancelled, (pace, &mut turn)).await?
                }
            },
        };
        let Some(failure) = refused else { return Ok(()) };
        let error = Frame::Error { id: wanted.id, failure };
        frame::send(writer, &error.encode(), PATIENCE).await
    }

    /// Counts one more answer "not here".
    pub(super) fn miss(&self) -> Result<(), Broken> {
        if self.of_peer.may_miss(Instant::now()) {
            return Ok(());
        }
        Err(Broken::Garbage("too many requests for what is not here"))
    }

    /// Waits for this peer's turn, then for one among all, in the order of asking.
    pub(super) async fn turn(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Failure> {
        let turn = async {
            let of_peer = self.of_peer.transfers.acquire().await?;
            Ok::<_, tokio::sync::AcquireError>((of_peer, self.limits.transfers.acquire().await?))
        };
        timeout(TURN_PATIENCE, turn).await.ok().and_then(Result::ok).ok_or(Failure::Busy(RETRY_MS))
    }

    /// Sends the ranges piece by piece; stops without a word when they are cancelled. Whoever takes
    /// long for a piece gives the turn among all back meanwhile: a few slow readers would otherwise
    /// hold all of them.
    async fn pieces<'a>(
        &'a self,
        writer: &mut (impl AsyncWrite + Unpin),
        wanted: &Wanted,
        cancelled: &Cancelled,
        (pace, turn): (&mut Pace, &mut Option<SemaphorePermit<'a>>),
    ) -> Result<Option<Failure>, Broken> {
        check(wanted)?;
        for range in &wanted.ranges {
            let mut start = range.start;
            while start < range.end {
                if cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(&wanted.id) {
                    return Ok(None);
                }
                if turn.is_none() {
                    // The semaphore is never closed.
                    *turn = self.limits.transfers.acquire().await.ok();
                }
                let piece = start..range.end.min(start.saturating_add(pace.piece_bytes()));
                start = piece.end;
                let Some(encoded) = self.encoded(&wanted.digest, piece.clone()).await else {
                    return Ok(Some(Failure::Gone));
                };
                let data = Frame::Data { id: wanted.id, range: piece, encoded }.encode();
                let began = Instant::now();
                let mut sending =
                    pin!(timeout(PIECE_PATIENCE, frame::send(writer, &data, PATIENCE)));
                let sent = match timeout(TURN_KEPT, &mut sending).await {
                    Ok(sent) => sent,
                    Err(_) => {
                        drop(turn.take());
                        sending.await
                    }
                };
                sent.map_err(|_| Broken::Slow)??;
                pace.note(began.elapsed());
            }
        }
        Ok(None)
    }

    async fn encoded(&self, digest: &Digest, piece: Range<u64>) -> Option<Bytes> {
        store::partial::encode(&self.context.store, digest, piece).await.unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "a held blob cannot be read");
            None
        })
    }
}

/// Bytes of all ranges.
fn asked_bytes(wanted: &Wanted) -> u64 {
    let lengths = wanted.ranges.iter().map(|range| range.end.saturating_sub(range.start));
    lengths.fold(0, u64::saturating_add)
}

/// Ranges lie in the blob, at groups, and are not too much at once.
fn check(wanted: &Wanted) -> Result<(), Broken> {
    let aligned = |range: &Range<u64>| {
        range.start < range.end
            && range.end <= wanted.size
            && range.start.is_multiple_of(GROUP_BYTES)
            && (range.end.is_multiple_of(GROUP_BYTES) || range.end == wanted.size)
    };
    if wanted.ranges.iter().all(aligned) && asked_bytes(wanted) <= GET_BYTES_MAX {
        Ok(())
    } else {
        Err(Broken::Garbage("a request for impossible ranges"))
    }
}

fn bitmap(held: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bits = Vec::new();
    for (at, held) in held.enumerate() {
        if at % 8 == 0 {
            bits.push(0);
        }
        if held && let Some(byte) = bits.last_mut() {
            *byte |= 1 << (at % 8);
        }
    }
    bits
}

/// Reads requests while answers are written. The queue is bounded: whoever asks faster than he
/// takes the answers is not read any further.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Request>,
    cancelled: &Cancelled,
) -> Result<(), Broken> {
    let mut greeted = false;
    loop {
        let frame = match frame::receive(&mut reader, REQUEST_BYTES_MAX, IDLE, PATIENCE).await {
            Ok(Some(bytes)) => Frame::decode(bytes)?,
            // The end of the requests: the answers under way are still written.
            Ok(None) | Err(Broken::Slow) => return Ok(()),
            Err(error) => return Err(error),
        };
        let request = match frame {
            Frame::Hello { .. } if !greeted => {
                greeted = true;
                continue;
            }
            Frame::Unknown => continue,
            _ if !greeted => return Err(Broken::Garbage("a request before its greeting")),
            Frame::Cancel { id } => {
                let mut ids = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
                if ids.len() >= QUEUE * 4 {
                    ids.clear();
                }
                ids.insert(id);
                continue;
            }
            Frame::Get { id, digest, size, ranges } => {
                Request::Get(Wanted { id, digest, size, ranges })
            }
            Frame::Have { digests } => Request::Have(digests),
            Frame::GetMany { id, digests } => Request::Many(id, digests),
            _ => return Err(Broken::Garbage("an answer where a request belongs")),
        };
        if queue.send(request).await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digest_is_in_the_lowest_bit() {
        let held = [true, false, false, true, false, false, false, false, true];
        assert_eq!(bitmap(held.into_iter()), [0b1001, 1]);
    }

    #[test]
    fn impossible_ranges_are_refused() {
        let wanted =
            |size, range| Wanted { id: 1, digest: Digest::of(b""), size, ranges: vec![range] };
        assert!(check(&wanted(40_000, 16_384..40_000)).is_ok());
        assert!(check(&wanted(40_000, 1..16_384)).is_err(), "begins within a group");
        assert!(check(&wanted(40_000, 0..20_000)).is_err(), "ends within a group");
        assert!(check(&wanted(40_000, 0..49_152)).is_err(), "ends behind the blob");
        assert!(check(&wanted(u64::MAX, 0..GET_BYTES_MAX + GROUP_BYTES)).is_err(), "too much");
        let half = wanted(u64::MAX, 0..1 << 63).ranges.remove(0);
        let twice = Wanted { ranges: vec![half; 2], ..wanted(u64::MAX, 0..GROUP_BYTES) };
        assert!(check(&twice).is_err(), "more than a number holds");
    }

    #[test]
    fn who_asks_for_much_that_is_not_here_is_sent_away_for_a_minute() {
        let (limits, now) = (PeerLimits::new(), Instant::now());
        assert!((0..MISSES_MAX).all(|_| limits.may_miss(now)));
        assert!(!limits.may_miss(now));
        assert!(limits.may_miss(now + MISSES_WINDOW + Duration::from_secs(1)));
    }
}
