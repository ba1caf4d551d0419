//! Files of any kind by the real curl, 50 MB of them.

use std::path::Path;

use crate::harness::samples::{noise, noise_file, sha256};
use crate::harness::{Curl, EVENTUALLY, World};

/// What the milestone promises for.
const FIFTY_MB: usize = 50_000_000;

fn sha256_of(file: &Path) -> String {
    sha256(&fs_err::read(file).expect("curl wrote the file"))
}

#[test]
fn fifty_megabytes_put_on_a_come_from_b_after_a_was_killed() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let mut a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    let source = noise_file(&world.path().join("source.bin"), 50, FIFTY_MB);
    let path = "/generic/big/1.0.0/big.bin";
    assert_eq!(curl.upload(&source, &a.url(path), &a.token("publish")), 201);
    let row = b.wait_held("generic", ("big", "1.0.0"), EVENTUALLY);
    assert_eq!(row["artifacts"][0]["size"], FIFTY_MB);
    assert_eq!(row["artifacts"][0]["sha256"], sha256_of(&source));
    a.kill9();

    let whole = world.path().join("whole.bin");
    assert_eq!(curl.download(&b.url(path), &whole), 200);
    assert_eq!(sha256_of(&whole), sha256_of(&source));

    let part = world.path().join("part.bin");
    let file = part.to_str().expect("paths of tests are UTF-8");
    let url = b.url(path);
    assert_eq!(curl.status(&["--range", "0-9999999", "--output", file, &url]), 206);
    assert_eq!(fs_err::metadata(&part).expect("curl wrote the file").len(), 10_000_000);
    assert_eq!(curl.status(&["--continue-at", "-", "--output", file, &url]), 206);
    assert_eq!(sha256_of(&part), sha256_of(&source));
}

#[test]
fn the_same_bytes_again_are_fine_and_other_bytes_are_refused() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let node = world.node("a");
    let token = node.token("publish");
    let url = node.url("/generic/tool/1.0.0/tool.bin");
    let first = noise_file(&world.path().join("first.bin"), 1, 70_000);
    let second = noise_file(&world.path().join("second.bin"), 2, 70_000);
    assert_eq!(curl.upload(&first, &url, &token), 201);
    let again = curl.upload(&first, &url, &token);
    assert!(again == 200 || again == 201, "{again}");
    assert_eq!(curl.upload(&second, &url, &token), 409);
    let reply = node.get("/generic/tool/1.0.0/tool.bin");
    assert_eq!(sha256(&reply.body), sha256(&noise(1, 70_000)));
    assert_eq!(node.status()["blobs"]["count"], 1);
}

#[test]
fn an_etag_saves_the_second_download_and_head_tells_the_size() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let node = world.node("a");
    let source = noise_file(&world.path().join("source.bin"), 3, 123_456);
    let path = "/generic/tool/1.0.0/tool.bin";
    assert_eq!(curl.upload(&source, &node.url(path), &node.token("publish")), 201);
    let reply = node.get(path);
    let etag = reply.header("etag").expect("a file has an ETag").to_owned();
    let condition = format!("If-None-Match: {etag}");
    assert_eq!(curl.status(&["--header", &condition, &node.url(path)]), 304);
    let head = node.send(&crate::harness::Request::new("HEAD", path));
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some("123456"));
    assert!(head.body.is_empty());
    let nothing = "/dev/null";
    assert_eq!(curl.status(&["--range", "999999-", "--output", nothing, &node.url(path)]), 416);
}
