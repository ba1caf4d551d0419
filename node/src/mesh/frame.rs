//! The frames of `/griot/blob/1`, and how any of our small frames is read from a stream.
//!
//! ```text
//!  offset  size  field
//!  0       4     length of what follows, u32 little-endian, checked before anything is allocated
//!  4       1     type: 1 HELLO  2 GET  3 DATA  4 ERR  5 CANCEL  6 HAVE?  7 HAVE  8 MGET  9 SMALL
//!  5       …     body: canonical CBOR; of DATA: id u32 LE ‖ start u64 LE ‖ end u64 LE ‖ bao bytes;
//!                of SMALL: id u32 LE ‖ for each blob length u32 LE (ffffffff: not here) ‖ bytes
//! ```
//!
//! A frame of an unknown type is skipped if the high bit of its type is set, and ends the stream
//! otherwise. A body that is not in its one canonical form ends it too. Reading gives up when
//! nothing arrives for a while. What the frames mean is in `serve` and `transfer`.
//!
//! Source: mesh.md section 7.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use minicbor::encode::write::Write;
use minicbor::{Decoder, Encoder};
use tokio::time::timeout;

/// The minor version that we speak.
const VERSION: u32 = 1;
/// Ranges in one GET.
pub(super) const RANGES_MAX: usize = 64;
/// Digests in one HAVE?.
pub(super) const DIGESTS_MAX: usize = 256;
/// Blobs in one MGET.
pub(super) const MANY_MAX: usize = 64;
/// What a blob that goes in a SMALL is shorter than, in bytes.
pub(super) const SMALL_BYTES: u64 = 64 * 1024;
/// Bytes of blobs that one MGET may bring.
pub(super) const MANY_BYTES_MAX: u64 = 1024 * 1024;
/// The bit of HELLO's features that says: I answer MGET.
pub(super) const FEATURE_MANY: u64 = 1;
/// The length that says that a blob is not here.
const ABSENT: u32 = u32::MAX;
/// Bytes of a blob in one DATA.
pub(super) const DATA_BYTES_MAX: u64 = 256 * 1024;
/// Proofs ride on the data: a pair of hashes for each node above each group, with room to spare.
const PROOF_BYTES_MAX: usize = 16 * 1024;
/// Longest frame.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB fit into any usize")]
pub(super) const FRAME_BYTES_MAX: usize = DATA_BYTES_MAX as usize + PROOF_BYTES_MAX;
/// Longest frame that a client sends: a full HAVE? and room to spare.
pub(super) const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// A frame must be whole after so many times the patience of one read.
const WHOLE_FRAME: u32 = 5;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// First each way.
    Hello { version: u32, features: u64 },
    /// Give me these ranges of the blob, in order.
    Get { id: u32, digest: Digest, size: u64, ranges: Vec<Range<u64>> },
    /// The bao encoding of one piece of a range.
    Data { id: u32, range: Range<u64>, encoded: Bytes },
    /// No.
    Error { id: u32, failure: Failure },
    /// I do not need it any more.
    Cancel { id: u32 },
    /// Which of these have you?
    Have { digests: Vec<Digest> },
    /// These: one bit a digest, the first in the lowest bit of the first byte.
    Held { bits: Vec<u8> },
    /// Give me these small blobs, in order.
    GetMany { id: u32, digests: Vec<Digest> },
    /// The next of them: whole, or not here.
    Small { id: u32, bodies: Vec<Option<Bytes>> },
    /// Of a later version, to be skipped.
    Unknown,
}

/// Why a GET is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not here, or not for you: both read the same.
    NotFound,
    /// Ask again after so many milliseconds.
    Busy(u32),
    /// It has another size than you think.
    OtherSize,
    /// It was here and cannot be read.
    Gone,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The peer closed it, or the connection is gone.
    #[error("the stream was cut: {0}")]
    Cut(#[from] io::Error),
    /// Nothing arrived, or nothing was taken, for too long.
    #[error("the peer is too slow")]
    Slow,
    /// What arrived breaks the protocol.
    #[error("the peer sent {0}")]
    Garbage(&'static str),
}

impl Frame {
    /// The first frame each way.
    pub(super) const HELLO: Self = Self::Hello { version: VERSION, features: FEATURE_MANY };

    /// The whole frame with its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, self.kind()];
        if let Self::Data { id, range, encoded } = self {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&range.start.to_le_bytes());
            out.extend_from_slice(&range.end.to_le_bytes());
            out.extend_from_slice(encoded);
        } else if let Self::Small { id, bodies } = self {
            out.extend_from_slice(&id.to_le_bytes());
            for body in bodies {
                out.extend_from_slice(&length_of(body.as_deref()).to_le_bytes());
                out.extend_from_slice(body.as_deref().unwrap_or_default());
            }
        } else {
            self.body(&mut Encoder::new(&mut out)).expect("writing to memory cannot fail");
        }
        let length = u32::try_from(out.len() - 4).expect("no frame of ours is as long as 4 GiB");
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Get { .. } => 2,
            Self::Data { .. } => 3,
            Self::Error { .. } => 4,
            Self::Cancel { .. } => 5,
            Self::Have { .. } => 6,
            Self::Held { .. } => 7,
            Self::GetMany { .. } => 8,
            Self::Small { .. } => 9,
            Self::Unknown => 0x80,
        }
    }

    fn body<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Hello { version, features } => e.array(2)?.u32(*version)?.u64(*features)?,
            Self::Get { id, digest, size, ranges } => {
                e.array(4)?.u32(*id)?.bytes(digest.as_bytes())?.u64(*size)?;
                e.array(ranges.len() as u64)?;
                for range in ranges {
                    e.array(2)?.u64(range.start)?.u64(range.end)?;
                }
                e
            }
            Self::Error { id, failure } => {
                let (code, retry_ms) = failure.code();
                e.array(3)?.u32(*id)?.u8(code)?.u32(retry_ms)?
            }
            Self::Cancel { id } => e.array(1)?.u32(*id)?,
            Self::Have { digests } => list(e, digests)?,
            Self::GetMany { id, digests } => list(e.array(2)?.u32(*id)?, digests)?,
            Self::Held { bits } => e.bytes(bits)?,
            Self::Data { .. } | Self::Small { .. } | Self::Unknown => e,
        };
        Ok(())
    }

    /// Reads type and body.
    pub(super) fn decode(bytes: Bytes) -> Result<Self, Broken> {
        let Some((&kind, body)) = bytes.split_first() else {
            return Err(Broken::Garbage("an empty frame"));
        };
        let frame = match kind {
            3 => return data(&bytes),
            9 => return small(&bytes),
            kind if kind & 0x80 != 0 => return Ok(Self::Unknown),
            _ => parse(kind, &mut Decoder::new(body)),
        };
        let frame = frame.map_err(|_| Broken::Garbage("a malformed frame"))?;
        if frame.encode()[4..] == bytes {
            Ok(frame)
        } else {
            Err(Broken::Garbage("a frame in a second form"))
        }
    }
}

impl Failure {
    const fn code(self) -> (u8, u32) {
        match self {
            Self::NotFound => (1, 0),
            Self::Busy(retry_ms) => (2, retry_ms),
            Self::OtherSize => (3, 0),
            Self::Gone => (4, 0),
        }
    }

    const fn from_code(code: u8, retry_ms: u32) -> Self {
        match code {
            1 => Self::NotFound,
            2 => Self::Busy(retry_ms),
            3 => Self::OtherSize,
            _ => Self::Gone,
        }
    }
}

fn list<'e, W: Write>(
    e: &'e mut Encoder<W>,
    digests: &[Digest],
) -> Result<&'e mut Encoder<W>, minicbor::encode::Error<W::Error>> {
    e.array(digests.len() as u64)?;
    for digest in digests {
        e.bytes(digest.as_bytes())?;
    }
    Ok(e)
}

fn length_of(body: Option<&[u8]>) -> u32 {
    body.map_or(ABSENT, |body| u32::try_from(body.len()).expect("a small blob is small"))
}

/// Never more than [`MANY_MAX`] bodies, each of less than [`SMALL_BYTES`].
fn small(bytes: &Bytes) -> Result<Frame, Broken> {
    let malformed = Broken::Garbage("malformed small blobs");
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok();
    let Some(id) = word(1) else { return Err(malformed) };
    let (mut at, mut bodies) = (5, Vec::new());
    while at < bytes.len() {
        let Some(length) = word(at) else { return Err(malformed) };
        at += 4;
        if length == ABSENT {
            bodies.push(None);
        } else {
            let end = at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            if u64::from(length) >= SMALL_BYTES || end > bytes.len() {
                return Err(malformed);
            }
            bodies.push(Some(bytes.slice(at..end)));
            at = end;
        }
    }
    if bodies.is_empty() || bodies.len() > MANY_MAX {
        Err(malformed)
    } else {
        Ok(Frame::Small { id, bodies })
    }
}

fn data(bytes: &Bytes) -> Result<Frame, Broken> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().map(u64::from_le_bytes).ok();
    let id = bytes.get(1..5).and_then(|id| id.try_into().map(u32::from_le_bytes).ok());
    match (id, number(5), number(13)) {
        (Some(id), Some(start), Some(end)) if start < end && end - start <= DATA_BYTES_MAX => {
            Ok(Frame::Data { id, range: start..end, encoded: bytes.slice(21..) })
        }
        _ => Err(Broken::Garbage("a malformed piece")),
    }
}

fn parse(kind: u8, d: &mut Decoder<'_>) -> Result<Frame, minicbor::decode::Error> {
    let wrong = |what| Err(minicbor::decode::Error::message(what));
    let frame = match (kind, if kind == 7 { None } else { d.array()? }) {
        (1, Some(2)) => Frame::Hello { version: d.u32()?, features: d.u64()? },
        (2, Some(4)) => {
            let (id, digest, size) = (d.u32()?, digest(d)?, d.u64()?);
            let Some(count) = count(d.array()?, RANGES_MAX) else { return wrong("ranges") };
            let ranges = (0..count).map(|_| range(d)).collect::<Result<_, _>>()?;
            Frame::Get { id, digest, size, ranges }
        }
        (4, Some(3)) => {
            Frame::Error { id: d.u32()?, failure: Failure::from_code(d.u8()?, d.u32()?) }
        }
        (5, Some(1)) => Frame::Cancel { id: d.u32()? },
        (6, length) => Frame::Have { digests: digests(d, length, DIGESTS_MAX)? },
        (8, Some(2)) => {
            let (id, length) = (d.u32()?, d.array()?);
            Frame::GetMany { id, digests: digests(d, length, MANY_MAX)? }
        }
        (7, _) => Frame::Held { bits: d.bytes()?.to_vec() },
        _ => return wrong("type"),
    };
    Ok(frame)
}

fn digests(
    d: &mut Decoder<'_>,
    length: Option<u64>,
    max: usize,
) -> Result<Vec<Digest>, minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("digests");
    let count = count(length, max).ok_or_else(wrong)?;
    (0..count).map(|_| digest(d)).collect()
}

fn count(length: Option<u64>, max: usize) -> Option<usize> {
    usize::try_from(length?).ok().filter(|count| *count <= max)
}

/// Thirty-two bytes that name others.
pub(super) fn digest(d: &mut Decoder<'_>) -> Result<Digest, minicbor::decode::Error> {
    let bytes = d.bytes()?.try_into();
    bytes.map(Digest::from_bytes).map_err(|_| minicbor::decode::Error::message("digest"))
}

fn range(d: &mut Decoder<'_>) -> Result<Range<u64>, minicbor::decode::Error> {
    match (d.array()?, d.u64()?, d.u64()?) {
        (Some(2), start, end) if start < end => Ok(start..end),
        _ => Err(minicbor::decode::Error::message("range")),
    }
}

/// Writes bytes and flushes them; gives up when the peer takes nothing for `patience`.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    patience: Duration,
) -> Result<(), Broken> {
    for chunk in bytes.chunks(16 * 1024) {
        timeout(patience, writer.write_all(chunk)).await.map_err(|_| Broken::Slow)??;
    }
    timeout(patience, writer.flush()).await.map_err(|_| Broken::Slow)??;
    Ok(())
}

/// Reads the body of one length-prefixed frame, at most `limit` bytes; `None` at a clean end.
/// `first` bounds the wait for its first byte, `patience` each later one.
pub(super) async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    limit: usize,
    first: Duration,
    patience: Duration,
) -> Result<Option<Bytes>, Broken> {
    let mut length = [0_u8; 4];
    let read = timeout(first, reader.read(&mut length)).await.map_err(|_| Broken::Slow)??;
    if read == 0 {
        return Ok(None);
    }
    let rest = async {
        fill(reader, &mut length[read..], patience).await?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 || length > limit {
            return Err(Broken::Garbage("a frame of a forbidden length"));
        }
        let mut body = vec![0; length];
        fill(reader, &mut body, patience).await?;
        Ok(Some(Bytes::from(body)))
    };
    timeout(patience * WHOLE_FRAME, rest).await.map_err(|_| Broken::Slow)?
}

async fn fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    mut buffer: &mut [u8],
    patience: Duration,
) -> Result<(), Broken> {
    while !buffer.is_empty() {
        let read = timeout(patience, reader.read(buffer)).await.map_err(|_| Broken::Slow)??;
        if read == 0 {
            return Err(Broken::Cut(io::ErrorKind::UnexpectedEof.into()));
        }
        buffer = &mut buffer[read..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_comes_back_as_it_went() {
        let digest = Digest::of(b"x");
        for frame in [
            Frame::HELLO,
            Frame::Get { id: 7, digest, size: 99, ranges: vec![0..16384, 32768..40000] },
            Frame::Data { id: 7, range: 0..3, encoded: Bytes::from_static(b"abc") },
            Frame::Error { id: 7, failure: Failure::Busy(250) },
            Frame::Cancel { id: 7 },
            Frame::Have { digests: vec![digest; DIGESTS_MAX] },
            Frame::Held { bits: vec![5; 32] },
            Frame::GetMany { id: 7, digests: vec![digest; MANY_MAX] },
            Frame::Small {
                id: 7,
                bodies: vec![None, Some(Bytes::new()), Some(Bytes::from_static(b"abc")), None],
            },
        ] {
            let bytes = Bytes::from(frame.encode());
            assert!(bytes.len() <= REQUEST_BYTES_MAX);
            assert_eq!(Frame::decode(bytes.slice(4..)).expect("decodes"), frame);
        }
    }

    #[test]
    fn hostile_frames_are_refused_and_later_ones_skipped() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x02\xff",
            b"\x03abc",
            b"\x06\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x06\x99\x01\x01",
            b"\x01\x82\x18\x01\x00",
            b"\x01\x82\x01\x00\x00",
            b"\x7f\x80",
            b"\x09\x01\x00\x00",
            b"\x09\x01\x00\x00\x00",
            b"\x09\x01\x00\x00\x00\x02\x00\x00\x00a",
            b"\x09\x01\x00\x00\x00\x00\x00\x01\x00",
            b"\x09\x01\x00\x00\x00\xfe\xff\xff\xff",
            b"\x08\x82\x01\x98\x41",
        ] {
            assert!(Frame::decode(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
        assert_eq!(Frame::decode(Bytes::from_static(b"\xffabc")).expect("skips"), Frame::Unknown);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
        let mut stream = futures::io::Cursor::new(u32::MAX.to_le_bytes());
        let second = Duration::from_secs(1);
        let read = receive(&mut stream, FRAME_BYTES_MAX, second, second).await;
        assert!(matches!(read, Err(Broken::Garbage(_))));
    }
}
