//! The frames of `/griot/mirror/1`.
//!
//! ```text
//!  offset  size  field
//!  0       4     length of what follows, u32 little-endian, checked before anything is allocated
//!  4       1     type: 1 HELLO  2 DOCUMENT?  3 PACKED  4 BYTES  5 ERR  6 FILES?  7 FILES
//!  5       …     body: canonical CBOR; of BYTES: id u32 LE ‖ packed bytes
//! ```
//!
//! Unknown types and second forms are dealt with as on `/griot/blob/1`, whose reading and writing
//! of frames is used here. What the frames mean is in `mirror`, `files` and `mirror_serve`.
//!
//! Source: mesh.md section 7, trust.md section 10.

use bytes::Bytes;
use crdt::Digest;
use minicbor::encode::write::Write;
use minicbor::{Decoder, Encoder};

use super::FileHint;
use super::frame::{Broken, digest};

/// The minor version that we speak.
const VERSION: u32 = 1;
/// Bases that one question names.
pub(super) const BASES_MAX: usize = 8;
/// Packed bytes in one BYTES.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// Files in one answer, over all its frames.
pub(super) const FILES_MAX: usize = 4_096;
/// Bytes of files after which a frame is sent.
const FILES_FRAME_BYTES: usize = 48 * 1024;
/// Longest version or file name that is told, and longest name of a package that is asked for.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// Longest frame that is answered.
pub(super) const ANSWER_BYTES_MAX: usize = CHUNK_BYTES + 1024;
/// Longest frame that is asked.
pub(super) const QUESTION_BYTES_MAX: usize = 4 * 1024;

/// A package of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Listing {
    /// Which upstream.
    pub(super) origin: Digest,
    /// The format's id.
    pub(super) format: String,
    /// Normal name.
    pub(super) package: String,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// First each way.
    Hello { version: u32, features: u64 },
    /// Give me this document, packed; I hold these.
    Document { id: u32, digest: Digest, size: u64, bases: Vec<Digest> },
    /// It follows, with so many bytes; a patch against this base, if one is named.
    Packed { id: u32, length: u64, base: Option<Digest> },
    /// The next bytes of it.
    Bytes { id: u32, bytes: Bytes },
    /// No.
    Error { id: u32, refusal: Refusal },
    /// Which files of this package do you hold?
    FilesOf { id: u32, listing: Listing },
    /// These; the last frame of an answer says so.
    Files { id: u32, last: bool, files: Vec<FileHint> },
    /// Of a later version, to be skipped.
    Unknown,
}

/// Why a document is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not here, or not for you: both read the same.
    NotHeld,
    /// Ask again after so many milliseconds.
    Busy(u32),
    /// It has another size than you think.
    OtherSize,
    /// It was here and cannot be read.
    Gone,
    /// Too large to be packed: ask for it as a blob.
    AsBlob,
}

impl Frame {
    /// The first frame each way.
    pub(super) const HELLO: Self = Self::Hello { version: VERSION, features: 0 };

    /// The whole frame with its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, self.kind()];
        if let Self::Bytes { id, bytes } = self {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(bytes);
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
            Self::Document { .. } => 2,
            Self::Packed { .. } => 3,
            Self::Bytes { .. } => 4,
            Self::Error { .. } => 5,
            Self::FilesOf { .. } => 6,
            Self::Files { .. } => 7,
            Self::Unknown => 0x80,
        }
    }

    fn body<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Hello { version, features } => e.array(2)?.u32(*version)?.u64(*features)?,
            Self::Document { id, digest, size, bases } => {
                e.array(4)?.u32(*id)?.bytes(digest.as_bytes())?.u64(*size)?;
                digests(e, bases)?
            }
            Self::Packed { id, length, base } => {
                e.array(3)?.u32(*id)?.u64(*length)?;
                digests(e, base.as_slice())?
            }
            Self::Error { id, refusal } => {
                let (code, retry_ms) = refusal.code();
                e.array(3)?.u32(*id)?.u8(code)?.u32(retry_ms)?
            }
            Self::FilesOf { id, listing } => {
                e.array(4)?.u32(*id)?.bytes(listing.origin.as_bytes())?;
                e.str(&listing.format)?.str(&listing.package)?
            }
            Self::Files { id, last, files } => {
                e.array(3)?.u32(*id)?.bool(*last)?.array(files.len() as u64)?;
                for file in files {
                    e.array(4)?.str(&file.version)?.str(&file.file)?;
                    e.bytes(file.digest.as_bytes())?.u64(file.size)?;
                }
                e
            }
            Self::Bytes { .. } | Self::Unknown => e,
        };
        Ok(())
    }

    /// Reads type and body.
    pub(super) fn decode(bytes: Bytes) -> Result<Self, Broken> {
        let Some((&kind, body)) = bytes.split_first() else {
            return Err(Broken::Garbage("an empty frame"));
        };
        let frame = match kind {
            4 => return chunk(&bytes),
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

    /// An answer to FILES? in frames of bounded length. Files whose names are too long to be told
    /// are left out, and so is what goes beyond [`FILES_MAX`].
    pub(super) fn answers(id: u32, files: Vec<FileHint>) -> Vec<Self> {
        let fits = |file: &FileHint| {
            file.version.len() <= TEXT_BYTES_MAX && file.file.len() <= TEXT_BYTES_MAX
        };
        let (mut frames, mut some, mut bytes) = (Vec::new(), Vec::new(), 0);
        for file in files.into_iter().filter(fits).take(FILES_MAX) {
            bytes += file.version.len() + file.file.len() + 64;
            some.push(file);
            if bytes >= FILES_FRAME_BYTES {
                bytes = 0;
                frames.push(Self::Files { id, last: false, files: std::mem::take(&mut some) });
            }
        }
        frames.push(Self::Files { id, last: true, files: some });
        frames
    }
}

impl Refusal {
    const fn code(self) -> (u8, u32) {
        match self {
            Self::NotHeld => (1, 0),
            Self::Busy(retry_ms) => (2, retry_ms),
            Self::OtherSize => (3, 0),
            Self::Gone => (4, 0),
            Self::AsBlob => (5, 0),
        }
    }

    const fn from_code(code: u8, retry_ms: u32) -> Option<Self> {
        match code {
            1 => Some(Self::NotHeld),
            2 => Some(Self::Busy(retry_ms)),
            3 => Some(Self::OtherSize),
            4 => Some(Self::Gone),
            5 => Some(Self::AsBlob),
            _ => None,
        }
    }
}

fn digests<'e, W: Write>(
    e: &'e mut Encoder<W>,
    list: &[Digest],
) -> Result<&'e mut Encoder<W>, minicbor::encode::Error<W::Error>> {
    e.array(list.len() as u64)?;
    for one in list {
        e.bytes(one.as_bytes())?;
    }
    Ok(e)
}

fn chunk(bytes: &Bytes) -> Result<Frame, Broken> {
    let id = bytes.get(1..5).and_then(|id| id.try_into().map(u32::from_le_bytes).ok());
    match id {
        Some(id) if (6..=5 + CHUNK_BYTES).contains(&bytes.len()) => {
            Ok(Frame::Bytes { id, bytes: bytes.slice(5..) })
        }
        _ => Err(Broken::Garbage("a malformed piece")),
    }
}

fn parse(kind: u8, d: &mut Decoder<'_>) -> Result<Frame, minicbor::decode::Error> {
    let wrong = |what| Err(minicbor::decode::Error::message(what));
    let frame = match (kind, d.array()?) {
        (1, Some(2)) => Frame::Hello { version: d.u32()?, features: d.u64()? },
        (2, Some(4)) => {
            let (id, asked, size) = (d.u32()?, digest(d)?, d.u64()?);
            Frame::Document { id, digest: asked, size, bases: list(d, BASES_MAX, digest)? }
        }
        (3, Some(3)) => {
            let (id, length) = (d.u32()?, d.u64()?);
            Frame::Packed { id, length, base: list(d, 1, digest)?.pop() }
        }
        (5, Some(3)) => {
            let (id, code, retry_ms) = (d.u32()?, d.u8()?, d.u32()?);
            let Some(refusal) = Refusal::from_code(code, retry_ms) else { return wrong("code") };
            Frame::Error { id, refusal }
        }
        (6, Some(4)) => {
            let (id, origin) = (d.u32()?, digest(d)?);
            let (format, package) = (text(d)?, text(d)?);
            Frame::FilesOf { id, listing: Listing { origin, format, package } }
        }
        (7, Some(3)) => {
            let (id, last) = (d.u32()?, d.bool()?);
            Frame::Files { id, last, files: list(d, FILES_MAX, file)? }
        }
        _ => return wrong("type"),
    };
    Ok(frame)
}

fn list<T>(
    d: &mut Decoder<'_>,
    max: usize,
    one: fn(&mut Decoder<'_>) -> Result<T, minicbor::decode::Error>,
) -> Result<Vec<T>, minicbor::decode::Error> {
    let count = d.array()?.and_then(|count| usize::try_from(count).ok());
    match count.filter(|count| *count <= max) {
        Some(count) => (0..count).map(|_| one(d)).collect(),
        None => Err(minicbor::decode::Error::message("length of a list")),
    }
}

fn file(d: &mut Decoder<'_>) -> Result<FileHint, minicbor::decode::Error> {
    if d.array()? != Some(4) {
        return Err(minicbor::decode::Error::message("file"));
    }
    Ok(FileHint { version: text(d)?, file: text(d)?, digest: digest(d)?, size: d.u64()? })
}

fn text(d: &mut Decoder<'_>) -> Result<String, minicbor::decode::Error> {
    let text = d.str()?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(minicbor::decode::Error::message("length of a text"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(at: usize, bytes: usize) -> FileHint {
        let name = "f".repeat(bytes);
        let digest = Digest::of(at.to_string().as_bytes());
        FileHint { version: at.to_string(), file: name, digest, size: u64::MAX }
    }

    fn listing() -> Listing {
        let (format, package) = ("npm".to_owned(), "@village/drum".to_owned());
        Listing { origin: Digest::of(b"origin"), format, package }
    }

    #[test]
    fn every_frame_comes_back_as_it_went() {
        let digest = Digest::of(b"x");
        for frame in [
            Frame::HELLO,
            Frame::Document { id: 1, digest, size: 99, bases: vec![digest; BASES_MAX] },
            Frame::Packed { id: 1, length: 1 << 40, base: Some(digest) },
            Frame::Packed { id: 1, length: 0, base: None },
            Frame::Bytes { id: 1, bytes: Bytes::from_static(b"abc") },
            Frame::Error { id: 1, refusal: Refusal::Busy(250) },
            Frame::Error { id: 1, refusal: Refusal::AsBlob },
            Frame::FilesOf { id: 7, listing: listing() },
            Frame::Files { id: 7, last: true, files: vec![hint(1, 3), hint(2, 0)] },
        ] {
            let bytes = Bytes::from(frame.encode());
            assert!(bytes.len() <= QUESTION_BYTES_MAX);
            assert_eq!(Frame::decode(bytes.slice(4..)).expect("decodes"), frame);
        }
    }

    #[test]
    fn hostile_frames_are_refused_and_later_ones_skipped() {
        let digest = Digest::of(b"x");
        let long = Listing { package: "p".repeat(TEXT_BYTES_MAX + 1), ..listing() };
        let frames = [
            Frame::Document { id: 1, digest, size: 1, bases: vec![digest; BASES_MAX + 1] },
            Frame::Bytes { id: 1, bytes: vec![0; CHUNK_BYTES + 1].into() },
            Frame::Bytes { id: 1, bytes: Bytes::new() },
            Frame::FilesOf { id: 1, listing: long },
            Frame::Files { id: 1, last: true, files: vec![hint(1, TEXT_BYTES_MAX + 1)] },
        ];
        let too_much = frames.iter().map(|frame| frame.encode()[4..].to_vec());
        let broken = [
            &b""[..],
            b"\x01",
            b"\x02\xff",
            b"\x04abc",
            b"\x05\x83\x01\x18\x63\x00",
            b"\x07\x83\x01\xf5\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x01\x82\x18\x01\x00",
            b"\x01\x82\x01\x00\x00",
            b"\x7f\x80",
        ];
        for bytes in too_much.chain(broken.map(<[u8]>::to_vec)) {
            assert!(Frame::decode(bytes.clone().into()).is_err(), "{bytes:.20?}");
        }
        assert_eq!(Frame::decode(Bytes::from_static(b"\xffabc")).expect("skips"), Frame::Unknown);
    }

    #[test]
    fn a_long_list_of_files_comes_in_frames_that_fit_and_ends() {
        let many: Vec<_> = (0..FILES_MAX + 9).map(|at| hint(at, TEXT_BYTES_MAX - at % 2)).collect();
        let frames = Frame::answers(3, [vec![hint(0, TEXT_BYTES_MAX + 1)], many.clone()].concat());
        let mut got = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            assert!(frame.encode().len() <= ANSWER_BYTES_MAX);
            let Frame::Files { id: 3, last, files } = frame else { panic!("{frame:?}") };
            assert_eq!(*last, at + 1 == frames.len());
            got.extend_from_slice(files);
        }
        assert_eq!(got, many[..FILES_MAX]);
        assert_eq!(Frame::answers(3, Vec::new()).len(), 1, "nothing is an answer, too");
    }
}
