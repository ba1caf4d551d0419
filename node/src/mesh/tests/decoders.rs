//! The decoders of the mesh under bytes at random and honest frames with bytes changed: what is
//! taken comes back from its own bytes, everything else is refused, nothing panics.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::FileHint;
use super::super::frame::{self, DATA_BYTES_MAX, DIGESTS_MAX, RANGES_MAX};
use super::super::mirror_frame::{
    self, BASES_MAX, CHUNK_BYTES, FILES_MAX, Listing, TEXT_BYTES_MAX,
};
use super::*;

type Taken = fn(Vec<u8>) -> bool;

fn of_blobs() -> Vec<Vec<u8>> {
    use frame::{Failure, Frame};
    let digest = Digest::of(b"x");
    let frames = [
        Frame::HELLO,
        Frame::Get { id: 1, digest, size: 1 << 40, ranges: vec![0..5, 7..1 << 40] },
        Frame::Data { id: 1, range: 0..16_384, encoded: Bytes::from_static(b"abc") },
        Frame::Error { id: 1, failure: Failure::Busy(9) },
        Frame::Cancel { id: 70_000 },
        Frame::Have { digests: vec![digest; 3] },
        Frame::Held { bits: vec![0xff, 1] },
    ];
    frames.iter().map(|frame| frame.encode()[4..].to_vec()).collect()
}

fn of_documents() -> Vec<Vec<u8>> {
    use mirror_frame::{Frame, Refusal};
    let digest = Digest::of(b"x");
    let listing = Listing { origin: digest, format: "npm".into(), package: "@village/drum".into() };
    let file = FileHint { version: "1.0.0".into(), file: "drum.tgz".into(), digest, size: 300 };
    let frames = [
        Frame::HELLO,
        Frame::Document { id: 1, digest, size: 99, bases: vec![digest; BASES_MAX] },
        Frame::Packed { id: 1, length: 1 << 40, base: Some(digest) },
        Frame::Bytes { id: 1, bytes: Bytes::from_static(b"abc") },
        Frame::Error { id: 1, refusal: Refusal::Busy(250) },
        Frame::FilesOf { id: 7, listing },
        Frame::Files { id: 7, last: true, files: vec![file; 2] },
    ];
    frames.iter().map(|frame| frame.encode()[4..].to_vec()).collect()
}

/// Whether it was taken.
fn blob_frame(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    let Ok(read) = frame::Frame::decode(bytes.clone()) else { return false };
    match &read {
        frame::Frame::Get { ranges, .. } => {
            assert!(
                ranges.len() <= RANGES_MAX && ranges.iter().all(|range| range.start < range.end)
            );
        }
        frame::Frame::Data { range, .. } => assert!(range.end - range.start <= DATA_BYTES_MAX),
        frame::Frame::Have { digests } => assert!(digests.len() <= DIGESTS_MAX),
        frame::Frame::Unknown => return true,
        _ => {}
    }
    assert_eq!(read.encode()[4..], bytes, "a second form");
    true
}

fn document_frame(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    let Ok(read) = mirror_frame::Frame::decode(bytes.clone()) else { return false };
    match &read {
        mirror_frame::Frame::Document { bases, .. } => assert!(bases.len() <= BASES_MAX),
        mirror_frame::Frame::Bytes { bytes, .. } => assert!(bytes.len() <= CHUNK_BYTES),
        mirror_frame::Frame::FilesOf { listing, .. } => {
            assert!(listing.package.len() <= TEXT_BYTES_MAX);
        }
        mirror_frame::Frame::Files { files, .. } => assert!(files.len() <= FILES_MAX),
        mirror_frame::Frame::Unknown => return true,
        _ => {}
    }
    assert_eq!(read.encode()[4..], bytes, "a second form");
    true
}

#[test]
fn honest_frames_are_taken() {
    assert!(of_blobs().into_iter().all(blob_frame));
    assert!(of_documents().into_iter().all(document_frame));
}

fn many() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn bytes_at_random_are_refused_or_read_as_they_are(
        bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..9,
    ) {
        blob_frame(bytes.clone());
        document_frame(bytes.clone());
        let typed = [&[kind][..], &bytes].concat();
        blob_frame(typed.clone());
        document_frame(typed);
    }

    #[test]
    fn changed_frames_are_refused_or_read_as_they_are(
        which in 0_usize..7,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for (frames, taken) in
            [(of_blobs(), blob_frame as Taken), (of_documents(), document_frame)]
        {
            let mut bytes = frames[which].clone();
            taken(bytes[..cut.index(bytes.len())].to_vec());
            for (place, byte) in &edits {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            taken(bytes);
        }
    }
}
