//! Blobs over real connections, and the grammar of ranges, as facts.

use std::ops::Range;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use crdt::{Checksums, Digest};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::exchange;
use crate::http::body::{self, Label};
use crate::http::error::settle;
use crate::http::range::{self, PARTS_MAX, Part};
use crate::http::server;
use crate::registry::VerifiedBytes;
use crate::store::BlobInfo;

fn several(parts: &[Range<u64>]) -> Part {
    Part::Several(parts.to_vec())
}

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    let cases = [
        ("bytes=0-0", 10, Part::Bytes(0..1)),
        ("bytes=2-5", 10, Part::Bytes(2..6)),
        ("bytes=2-", 10, Part::Bytes(2..10)),
        ("bytes=2-99", 10, Part::Bytes(2..10)),
        ("bytes=-3", 10, Part::Bytes(7..10)),
        ("bytes=-99", 10, Part::Bytes(0..10)),
        ("BYTES=2-5", 10, Part::Bytes(2..6)),
        (" bytes=2-5 ", 10, Part::Bytes(2..6)),
        ("bytes=10-", 10, Part::Outside),
        ("bytes=10-12", 10, Part::Outside),
        ("bytes=-0", 10, Part::Outside),
        ("bytes=0-", 0, Part::Outside),
        ("bytes=-1", 0, Part::Outside),
        ("bytes=10-,-0", 10, Part::Outside),
        ("bytes=5-2", 10, Part::Whole),
        ("bytes=0-1,5-2", 10, Part::Whole),
        ("bytes=", 10, Part::Whole),
        ("bytes=,,", 10, Part::Whole),
        ("bytes=-", 10, Part::Whole),
        ("bytes=--1", 10, Part::Whole),
        ("bytes=1-2-3", 10, Part::Whole),
        ("bytes=a-b", 10, Part::Whole),
        ("bytes=1-x", 10, Part::Whole),
        ("bytes=+1-2", 10, Part::Whole),
        ("bytes=1 - 2", 10, Part::Whole),
        ("bytes =1-2", 10, Part::Whole),
        ("bytes 1-2", 10, Part::Whole),
        ("bytes=٣-٤", 10, Part::Whole),
        ("bytes=0-1;4-5", 10, Part::Whole),
        ("lines=0-1", 10, Part::Whole),
        ("bytes=0-1, bytes=4-5", 10, Part::Whole),
        ("", 10, Part::Whole),
        ("bytes=18446744073709551616-", 10, Part::Outside),
        ("bytes=0-18446744073709551616", 10, Part::Bytes(0..10)),
        ("bytes=0-18446744073709551615", u64::MAX, Part::Bytes(0..u64::MAX)),
        ("bytes=0-1,4-5", 10, several(&[0..2, 4..6])),
        ("bytes=0-1\t, ,4-5,", 10, several(&[0..2, 4..6])),
        ("bytes=8-9,0-1", 10, several(&[8..10, 0..2])),
        ("bytes=-2,0-1", 10, several(&[8..10, 0..2])),
        ("bytes=0-1,2-3", 10, Part::Bytes(0..4)),
        ("bytes=4-5,0-4", 10, Part::Bytes(0..6)),
        ("bytes=0-,1-1,2-3", 10, Part::Bytes(0..10)),
        ("bytes=6-6,0-1,1-2,6-7", 10, several(&[6..8, 0..3])),
        ("bytes=0-1,20-30", 10, Part::Bytes(0..2)),
    ];
    for (header, size, part) in cases {
        assert_eq!(range::select(Some(header), size), part, "{header} of {size}");
    }
    assert_eq!(range::select(None, 10), Part::Whole);
}

#[test]
fn too_many_ranges_are_answered_with_the_whole() {
    let apart = |count: usize| {
        let list: Vec<_> = (0..count).map(|i| format!("{}-{}", i * 3, i * 3)).collect();
        format!("bytes={}", list.join(","))
    };
    let most = range::select(Some(&apart(PARTS_MAX)), 1 << 20);
    assert!(matches!(most, Part::Several(parts) if parts.len() == PARTS_MAX));
    assert_eq!(range::select(Some(&apart(PARTS_MAX + 1)), 1 << 20), Part::Whole);
    let same = |count: usize| format!("bytes={}", vec!["0-"; count].join(","));
    assert_eq!(range::select(Some(&same(256)), 10), Part::Bytes(0..10));
    assert_eq!(range::select(Some(&same(10_000)), 10), Part::Whole);
}

#[test]
fn validators_compare_strongly_for_ranges_and_weakly_for_reads() {
    assert!(range::range_applies(None, "\"a\""));
    assert!(range::range_applies(Some(" \"a\""), "\"a\""));
    assert!(!range::range_applies(Some("W/\"a\""), "W/\"a\""));
    assert!(!range::range_applies(Some("\"b\""), "\"a\""));
    assert!(!range::range_applies(Some("Sat, 21 Nov 2026 00:00:00 GMT"), "\"a\""));
    assert!(range::names("\"x\", W/\"a\"", "\"a\""));
    assert!(range::names("*", "\"a\""));
    assert!(!range::names("\"b\"", "\"a\""));
    assert!(range::names_strongly("\"x\", \"a\"", "\"a\""));
    assert!(range::names_strongly("*", "\"a\""));
    assert!(!range::names_strongly("W/\"a\"", "\"a\""));
    assert!(!range::names_strongly("W/\"a\"", "W/\"a\""));
}

/// Bytes of which no two stretches are the same.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn artifact(path: &Path, bytes: &[u8]) -> VerifiedBytes {
    let sha256 = Sha256::digest(bytes).into();
    let checksums = Checksums { sha256, sha512: None, sha1: None, md5: None };
    let digest = Digest::of(bytes);
    let info = BlobInfo { digest, size: bytes.len() as u64, checksums, stored: 0 };
    let file = tokio::fs::File::from_std(std::fs::File::open(path).unwrap());
    VerifiedBytes { info, file, filename: "f".to_owned(), completion: None }
}

/// Serves one file under every path until the test ends.
async fn serving(bytes: Vec<u8>, tasks: &mut JoinSet<()>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    fs_err::write(&path, &bytes).unwrap();
    let answer = move |request: Request<Body>| {
        let artifact = artifact(&path, &bytes);
        async move {
            let etag = "\"e\"".to_owned();
            let label = Label { content_type: "text/x", etag, attachment: None, immutable: true };
            settle(body::blob(request.method(), request.headers(), artifact, &label).await)
        }
    };
    tasks.spawn(async move {
        let _home = home;
        let _ = server::serve(listener, answer, std::future::pending()).await;
    });
    address
}

/// Head and body of the one answer to a request with these headers.
async fn ask(address: std::net::SocketAddr, method: &str, headers: &str) -> (String, Vec<u8>) {
    let request = format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    split(&exchange(address, request.as_bytes(), false).await)
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

#[tokio::test]
async fn a_large_file_arrives_whole_in_parts_and_several_times_on_one_connection() {
    let mut tasks = JoinSet::new();
    let bytes = noise(5_000_003);
    let address = serving(bytes.clone(), &mut tasks).await;
    let (head, body) = ask(address, "GET", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 5000003"), "{head}");
    assert!(body == bytes);
    let (head, body) = ask(address, "GET", "range: bytes=1000000-4999999\r\n").await;
    assert!(head.contains("content-range: bytes 1000000-4999999/5000003"), "{head}");
    assert!(body == bytes[1_000_000..5_000_000]);
    // Three at once, the second without a body.
    let get = "GET / HTTP/1.1\r\nhost: x\r\n";
    let requests = format!(
        "{get}\r\nHEAD / HTTP/1.1\r\nhost: x\r\n\r\n{get}range: bytes=2-\r\n\
         connection: close\r\n\r\n"
    );
    let (_, rest) = split(&exchange(address, requests.as_bytes(), false).await);
    assert!(rest[..bytes.len()] == bytes);
    let (head, rest) = split(&rest[bytes.len()..]);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 5000003"), "{head}");
    let (head, rest) = split(&rest);
    assert!(head.starts_with("HTTP/1.1 206") && rest == bytes[2..], "{head}");
}

#[tokio::test]
async fn several_ranges_are_several_parts_with_their_places() {
    let mut tasks = JoinSet::new();
    let bytes = noise(700_000);
    let address = serving(bytes.clone(), &mut tasks).await;
    let (head, body) = ask(address, "GET", "range: bytes=600000-,0-3,100000-499999\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206") && !head.contains("content-range"), "{head}");
    let length = format!("content-length: {}\r\n", body.len());
    assert!(format!("{head}\r\n").contains(&length), "{head}");
    let (_, boundary) = head.split_once("multipart/byteranges; boundary=").unwrap();
    let boundary = boundary.split("\r\n").next().unwrap();
    let mut expected = Vec::new();
    for part in [600_000..700_000, 0..4, 100_000..500_000] {
        let place = format!("{}-{}/700000", part.start, part.end - 1);
        let head =
            format!("\r\n--{boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes {place}");
        expected.extend_from_slice(format!("{head}\r\n\r\n").as_bytes());
        expected.extend_from_slice(&bytes[part]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(body == expected, "{} bytes for {}", body.len(), expected.len());
    let (again, _) = ask(address, "GET", "range: bytes=0-0,2-2\r\n").await;
    assert!(!again.contains(boundary), "a boundary is used once");
}

#[tokio::test]
async fn digests_are_of_what_they_say() {
    let mut tasks = JoinSet::new();
    let address = serving(b"0123456789".to_vec(), &mut tasks).await;
    let sha256 = "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:";
    let (whole, _) = ask(address, "GET", "").await;
    let value = |head: &str, name: &str| {
        let found = head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.map(ToOwned::to_owned)
    };
    let digest = value(&whole, "content-digest");
    assert_eq!(digest, value(&whole, "repr-digest"));
    assert_eq!(digest.as_deref(), Some(sha256));
    for (method, headers, status) in [
        ("HEAD", "", "200"),
        ("GET", "range: bytes=1-2\r\n", "206"),
        ("GET", "range: bytes=1-2,5-6\r\n", "206"),
        ("GET", "if-none-match: \"e\"\r\n", "304"),
    ] {
        let (head, _) = ask(address, method, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(value(&head, "content-digest"), None, "{method} {headers}");
        assert_eq!(value(&head, "repr-digest"), digest, "{method} {headers}");
    }
}

#[tokio::test]
async fn preconditions_come_before_ranges_and_ranges_are_for_get() {
    let mut tasks = JoinSet::new();
    let address = serving(b"0123456789".to_vec(), &mut tasks).await;
    let part = "range: bytes=1-2\r\n";
    let cases = [
        ("GET", "if-match: \"e\"\r\n", "206", "12"),
        ("GET", "if-match: *\r\n", "206", "12"),
        ("GET", "if-match: W/\"e\"\r\n", "412", ""),
        ("GET", "if-match: \"x\"\r\n", "412", ""),
        ("GET", "if-match: \"x\"\r\nif-none-match: \"e\"\r\n", "412", ""),
        ("GET", "if-none-match: \"e\"\r\n", "304", ""),
        ("GET", "if-none-match: W/\"e\"\r\n", "304", ""),
        ("GET", "if-none-match: \"x\"\r\n", "206", "12"),
        ("GET", "if-range: \"e\"\r\n", "206", "12"),
        ("GET", "if-range: W/\"e\"\r\n", "200", "0123456789"),
        ("GET", "if-range: \"e\"\r\nif-range: \"e\"\r\n", "200", "0123456789"),
        ("GET", "if-range: Sat, 21 Nov 2026 00:00:00 GMT\r\n", "200", "0123456789"),
        ("HEAD", "", "200", ""),
        ("HEAD", "if-none-match: \"e\"\r\n", "304", ""),
    ];
    for (method, headers, status, text) in cases {
        let (head, body) = ask(address, method, &format!("{part}{headers}")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {headers}: {head}");
        assert!(head.contains("etag: \"e\"") || status == "412", "{head}");
        if status != "412" {
            assert_eq!(String::from_utf8_lossy(&body), text, "{method} {headers}");
        }
    }
    let (head, _) = ask(address, "GET", "range: bytes=10-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 416") && head.contains("content-range: bytes */10"));
}

#[tokio::test]
async fn an_empty_file_is_empty() {
    let mut tasks = JoinSet::new();
    let address = serving(Vec::new(), &mut tasks).await;
    let (head, body) = ask(address, "GET", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 0"), "{head}");
    assert!(body.is_empty());
    let (head, _) = ask(address, "GET", "range: bytes=0-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 416") && head.contains("content-range: bytes */0"));
}
