//! Pieces of files, as facts: all bytes in order, in bounded buffers.

use std::io::Write as _;

use futures::{StreamExt as _, TryStreamExt as _};

use super::*;

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn pieces(bytes: &[u8], sections: Vec<Section>) -> Pieces {
    Pieces::new(file_of(bytes), sections, Road::default())
}

#[tokio::test]
async fn sections_come_in_order_and_whole() {
    let bytes = noise(3 * READ_BYTES + 17);
    let sections = vec![
        Section::Text(Bytes::from_static(b"a")),
        Section::File(7..bytes.len() as u64),
        Section::Text(Bytes::new()),
        Section::File(9..9),
        Section::Text(Bytes::from_static(b"b")),
        Section::File(0..3),
    ];
    let stream = pieces(&bytes, sections).into_stream();
    let got: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(got.iter().all(|piece| !piece.is_empty() && piece.len() <= READ_BYTES));
    assert!(got.concat() == [b"a", &bytes[7..], b"b", &bytes[..3]].concat());
}

#[tokio::test]
async fn who_finds_no_buffer_left_reads_in_small_pieces() {
    let bytes = noise(READ_BYTES);
    let taken: Vec<_> = std::iter::repeat_with(Buffer::take).take(BUFFERS_MAX + 1).collect();
    assert!(taken.iter().any(|buffer| !buffer.shared));
    let stream = pieces(&bytes, vec![Section::File(0..bytes.len() as u64)]).into_stream();
    let got: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(got.concat() == bytes);
    drop(taken);
    let buffers = BUFFERS.lock().unwrap();
    assert!(buffers.0.len() <= BUFFERS_IDLE_MAX && buffers.1 <= BUFFERS_MAX);
}

#[tokio::test]
async fn a_file_that_is_shorter_than_its_record_is_an_error_and_no_end() {
    let sections = vec![Section::File(0..READ_BYTES as u64 * 3)];
    let stream = pieces(&noise(READ_BYTES * 2 + 1), sections).into_stream();
    let got: Vec<_> = stream.collect().await;
    assert!(got.last().unwrap().is_err());
    assert!(small(file_of(b"abc"), &(0..4)).await.is_err());
}

#[tokio::test]
async fn a_small_span_is_read_as_it_is() {
    assert_eq!(small(file_of(b"abcdef"), &(2..5)).await.unwrap(), b"cde");
    assert!(small(file_of(b"abcdef"), &(6..6)).await.unwrap().is_empty());
}
