//! Bytes that claim to be frames and batches: read as they are in any pieces, or refused; and what
//! inflates is bounded.

use crdt::message::{
    CELLS_MAX, COLLS_MAX, Decoder, FOLLOWS_MAX, FRAME_MAX_BYTES, Frame, HIDDEN_MAX, IDS_MAX,
    INFLATED_MAX_BYTES, PROOF_MAX, REASON_MAX_BYTES, WANT_MAX,
};
use crdt::{Envelope, Error};

use super::draw::Draw;

/// The type of a frame that is a batch and nothing else.
pub(super) const STATEMENTS: u8 = 0x09;

/// The body of a STATEMENTS frame around a compressed batch.
#[must_use]
pub fn statements_body(compressed: &[u8]) -> Vec<u8> {
    let length = u32::try_from(compressed.len()).unwrap_or(u32::MAX);
    let mut body = vec![0x81];
    match length {
        0..=23 => body.push(0x40 | length.to_be_bytes()[3]),
        24..=255 => body.extend_from_slice(&[0x58, length.to_be_bytes()[3]]),
        256..=65_535 => body.extend_from_slice(&[&[0x59][..], &length.to_be_bytes()[2..]].concat()),
        _ => body.extend_from_slice(&[&[0x5a][..], &length.to_be_bytes()].concat()),
    }
    body.extend_from_slice(compressed);
    body
}

/// A batch as it comes, or (first byte odd) as it is before it is compressed, so that the bytes
/// inside are reached; one more in the first byte's upper half repeats it up to 2^15 times.
pub fn batch(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let head = draw.byte();
    let rest = draw.rest();
    let compressed = if head & 1 == 0 {
        rest.to_vec()
    } else {
        let plain = rest.repeat((1_usize << (head >> 4)).min((8 << 20) / rest.len().max(1)).max(1));
        zstd::encode_all(plain.as_slice(), 1).expect("compressing memory into memory works")
    };
    let Some(batch) = accepted(&compressed) else { return false };
    let inside: usize = batch.iter().map(|envelope| envelope.encode().len()).sum();
    assert!(inside <= INFLATED_MAX_BYTES, "it inflated beyond its limit");
    let frame = Frame::Statements { batch };
    let again = frame.encode();
    assert_eq!(Frame::decode(again[4], &again[5..]), Ok(Some(frame)), "two contents of a batch");
    true
}

fn accepted(compressed: &[u8]) -> Option<Vec<Envelope>> {
    match Frame::decode(STATEMENTS, &statements_body(compressed)) {
        Ok(Some(Frame::Statements { batch })) => Some(batch),
        Ok(other) => panic!("a batch became {other:?}"),
        Err(error) => {
            // The frame around it is sound: only the batch can have been refused.
            let frame = matches!(
                error,
                Error::Malformed { what: "frame", .. } | Error::NotCanonical { what: "frame" }
            );
            assert!(!frame, "{error}");
            None
        }
    }
}

/// A stream of frames, in pieces that its first bytes choose.
pub fn frames(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let pieces: [u8; 4] = draw.fixed();
    let stream = draw.rest();
    let mut whole = Decoder::new();
    whole.feed(stream);
    let at_once = read(&mut whole);
    let mut decoder = Decoder::new();
    let (mut piecewise, mut from, mut turn) = (Vec::new(), 0, 0);
    while from < stream.len() {
        let end = (from + usize::from(pieces[turn % 4]) + 1).min(stream.len());
        decoder.feed(&stream[from..end]);
        piecewise.extend(read(&mut decoder));
        (from, turn) = (end, turn + 1);
    }
    piecewise.dedup_by(|next, before| next.is_err() && next == before);
    assert_eq!(at_once, piecewise, "the pieces decide what is read");
    at_once.iter().flatten().for_each(is_bounded);
    at_once.iter().any(Result::is_ok)
}

/// All whole frames, and the error that ends them, if one does.
fn read(decoder: &mut Decoder) -> Vec<Result<Frame, Error>> {
    let mut out = Vec::new();
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => out.push(Ok(frame)),
            Ok(None) => return out,
            Err(error) => {
                assert_eq!(decoder.next_frame().as_ref(), Err(&error), "it came back to life");
                out.push(Err(error));
                return out;
            }
        }
    }
}

/// Lists hold their limits, and the frame comes back from its own bytes.
fn is_bounded(frame: &Frame) {
    let (length, most) = match frame {
        Frame::Hello { follows, .. } | Frame::Follows { follows } => (follows.len(), FOLLOWS_MAX),
        Frame::Colls { entries, .. } => (entries.len(), COLLS_MAX),
        Frame::AllIds { ids, .. } | Frame::Done { want: ids, .. } => (ids.len(), IDS_MAX),
        Frame::Want { ids } => (ids.len(), WANT_MAX),
        Frame::Cells { cells, .. } => (cells.len(), CELLS_MAX),
        Frame::Proof { keys } => (keys.len(), PROOF_MAX),
        Frame::Hidden { tags } => (tags.len(), HIDDEN_MAX),
        Frame::GoAway { reason } => (reason.len(), REASON_MAX_BYTES),
        Frame::Resume { .. }
        | Frame::Check { .. }
        | Frame::Statements { .. }
        | Frame::Lobby { .. }
        | Frame::More { .. } => (0, 0),
    };
    assert!(length <= most, "{length} in {frame:?}");
    let again = frame.encode();
    // A batch that a peer compressed better than we do may come out larger than a frame.
    if again.len() <= FRAME_MAX_BYTES {
        assert_eq!(Frame::decode(again[4], &again[5..]).as_ref(), Ok(&Some(frame.clone())));
    }
}
