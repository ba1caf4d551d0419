//! Placeholders, as facts: the file's bytes arrive in their place, and nothing else ever does.

use std::io::Write as _;

use bytes::Buf as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Bytes of which no two stretches are the same.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

async fn connected() -> (Direct, Outgoing, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let outgoing = Outgoing::default();
    (Direct::new(stream, outgoing.clone()), outgoing, client)
}

/// Writes all of them as hyper does: together, and what is left again.
async fn write(direct: &mut Direct, mut buffers: VecDeque<Bytes>) -> io::Result<()> {
    while !buffers.is_empty() {
        let slices: Vec<_> = buffers.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut written = direct.write_vectored(&slices).await?;
        assert!(written > 0);
        while let Some(front) = buffers.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if !front.is_empty() {
                break;
            }
            buffers.pop_front();
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_placeholder_becomes_the_bytes_of_its_file_among_other_bytes() {
    let (mut direct, outgoing, mut client) = connected().await;
    let bytes = noise(3 << 20);
    let file = file_of(&bytes);
    let first = outgoing.note(&file, &(5..5 + (1 << 20)));
    let second = outgoing.note(&file, &((2 << 20)..(3 << 20)));
    let sent = VecDeque::from([
        Bytes::from_static(b"head"),
        first,
        Bytes::from_static(b"between"),
        second,
        Bytes::from_static(b"end"),
    ]);
    let writing = async {
        write(&mut direct, sent).await.unwrap();
        direct.shutdown().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = tokio::join!(writing, reading);
    let expected =
        [b"head", &bytes[5..5 + (1 << 20)], b"between", &bytes[2 << 20..], b"end"].concat();
    assert!(got == expected, "{} bytes came", got.len());
    assert!(outgoing.lock().is_empty());
}

#[tokio::test]
async fn a_placeholder_that_was_tampered_with_ends_the_connection_before_any_byte() {
    let file = file_of(&noise(100));
    type Tamper = fn(Bytes, Bytes) -> Vec<Bytes>;
    let cases: [(&str, Tamper); 7] = [
        ("copied", |one, two| vec![Bytes::copy_from_slice(&one), two]),
        ("both copied", |one, two| vec![Bytes::from([one, two].concat())]),
        ("dropped", |_, two| vec![two]),
        ("cut at its end", |one, two| vec![one.slice(..one.len() - 1), two]),
        ("cut at its start", |one, two| vec![one.slice(1..), two]),
        ("reordered", |one, two| vec![two, one]),
        ("sent twice", |one, two| vec![one.clone(), one, two]),
    ];
    for (name, tamper) in cases {
        let (mut direct, outgoing, mut client) = connected().await;
        let one = outgoing.note(&file, &(0..40));
        let two = outgoing.note(&file, &(40..100));
        let mut sent = VecDeque::from(tamper(one, two));
        sent.push_front(Bytes::from_static(b"head"));
        assert!(write(&mut direct, sent).await.is_err(), "{name}");
        drop(direct);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got.is_empty(), "{name}: {got:?}");
    }
    let (mut direct, _, _client) = connected().await;
    let foreign = Outgoing::default().note(&file, &(0..40));
    assert!(direct.write(&foreign).await.is_err(), "of another connection");
}

#[tokio::test]
async fn a_file_that_was_cut_meanwhile_ends_the_connection() {
    let (mut direct, outgoing, _client) = connected().await;
    let placeholder = outgoing.note(&file_of(b"short"), &(0..40));
    let ended = write(&mut direct, VecDeque::from([placeholder])).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_the_system_cannot_send_is_copied() {
    let (direct, _, mut client) = connected().await;
    let bytes = noise(1000);
    let segment = Segment { file: file_of(&bytes), at: 10, left: 500 };
    direct.stream.writable().await.unwrap();
    assert_eq!(copy(&direct.stream, &segment).unwrap(), 500);
    drop(direct);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes[10..510]);
}
