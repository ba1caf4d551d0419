//! What a large document costs, and a body whose file is not what it was.

use std::io::{Seek as _, SeekFrom, Write as _};

use futures::StreamExt as _;

use super::super::mode::Mode;
use super::super::render::{self, Look};
use super::super::upstream_outline::scan;
use super::{BASE, DOOR, looks};
use crate::formats::splice::{self, Segment};

/// The tests of a process share its memory, so this one has a process of its own.
#[test]
fn memory_stays_flat_over_a_document_of_fifty_megabytes() {
    const ALONE: &str = "GRIOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return stream_fifty_megabytes();
    }
    let here = "formats::npm::upstream_tests::streaming";
    let name = format!("{here}::memory_stays_flat_over_a_document_of_fifty_megabytes");
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("grew by"), "the test ran in it: {said}");
}

fn stream_fifty_megabytes() {
    let mut file = tempfile::tempfile().unwrap();
    let filler = "x".repeat(20_000);
    write!(file, "{{\"_id\":\"big\",\"name\":\"big\",\"versions\":{{").unwrap();
    for number in 0..2650 {
        let comma = if number > 0 { "," } else { "" };
        write!(
            file,
            "{comma}\"1.0.{number}\":{{\"name\":\"big\",\"readme\":\"{filler}\",\"dist\":{{\
             \"tarball\":\"{BASE}big/-/big-1.0.{number}.tgz\"}}}}"
        )
        .unwrap();
    }
    write!(file, "}}}}").unwrap();
    let size = file.stream_position().unwrap();
    assert!(size > 50 * 1024 * 1024);
    drop(filler);

    let before = resident();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut input = std::io::BufReader::with_capacity(64 * 1024, file.try_clone().unwrap());
    let (outline, table) = scan(&mut input).unwrap();
    drop(input);
    eprintln!("the scan grew by {} bytes", resident().saturating_sub(before));
    assert_eq!(outline.versions.len(), 2650);
    let own = Look { mode: Mode::Own, ..looks(None, None)[0] };
    let segments = render::packument(&table, &own);
    let length: u64 = segments.iter().map(Segment::len).sum();
    let body = splice::body(file, segments.into());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (sent, peak) = runtime.block_on(async {
        let mut stream = body.into_data_stream();
        let (mut sent, mut peak) = (0, 0);
        while let Some(piece) = stream.next().await {
            sent += piece.unwrap().len() as u64;
            peak = peak.max(resident());
        }
        (sent, peak)
    });
    assert_eq!(sent, length);
    let shorter = (BASE.len() - DOOR.len() - 1) as u64;
    assert_eq!(length, size - 2650 * shorter);
    let grown = peak.saturating_sub(before);
    eprintln!("grew by {grown} bytes");
    assert!(grown < 12 * 1024 * 1024, "grew by {grown} bytes");
}

/// Bytes of this process in memory, without its code.
fn resident() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[tokio::test]
async fn a_file_that_is_shorter_than_its_segments_breaks_the_body_off() {
    let cases: [(&[(u64, u64)], bool); 4] = [
        (&[(0, 10)], true),
        (&[(5, 8), (0, 2)], true),
        (&[(0, 11)], false),
        (&[(0, 400_000)], false),
    ];
    for (ranges, whole) in cases {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut segments: Vec<Segment> =
            ranges.iter().map(|(start, end)| Segment::Range(*start..*end)).collect();
        segments.push(Segment::Literal(bytes::Bytes::from_static(b"end")));
        let mut stream = splice::body(file, segments.into()).into_data_stream();
        let mut seen = Vec::new();
        let mut broken = false;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => seen.extend_from_slice(&piece),
                Err(_) => broken = true,
            }
        }
        assert_eq!((broken, seen.ends_with(b"end")), (!whole, whole));
    }
}
