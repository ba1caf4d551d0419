//! Uploads by real clients: refused before the body, cut, and gone on with.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::samples::{noise, noise_file, sha256};
use crate::harness::{Curl, Node, Request, World, wait_for};

/// More than the command sends in one request.
const LARGE: usize = 160_000_000;
/// What may be sent twice after a kill.
const TWICE_MAX: u64 = 8 << 20;

/// Bytes of the one upload that is under way, as the node has written them.
fn arrived(node: &Node) -> u64 {
    let Ok(entries) = std::fs::read_dir(node.home().join("uploads")) else { return 0 };
    let data =
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "data"));
    data.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).max().unwrap_or(0)
}

fn left(node: &Node, folder: &str) -> usize {
    std::fs::read_dir(node.home().join(folder)).map_or(0, Iterator::count)
}

#[test]
fn a_publish_goes_on_after_the_node_was_killed_in_the_middle() {
    let world = World::new();
    let mut node = world.node("a");
    let file = noise_file(&world.path().join("large.bin"), 7, LARGE);
    let path = file.to_str().expect("paths of tests are UTF-8");
    let publish = ["publish", path, "--format", "generic", "--name", "large", "--version", "1"];
    let mut first = node.command(&publish);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    wait_for("half of the file to arrive", Duration::from_secs(120), || match arrived(&node) {
        bytes if bytes >= LARGE as u64 / 2 => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    });
    node.kill9();
    let had = arrived(&node);
    let ended = first.wait().expect("a child can be waited for");
    assert!(!ended.success() && had < LARGE as u64, "the kill was in the middle: {had}");

    node.up();
    let token = node.admin_token();
    let output = node.run(&publish);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("going on at"), "{said}");
    // The log of the second start tells where it went on.
    let logs = node.logs();
    let offset = logs.lines().find_map(|line| line.split("goes on at=").nth(1));
    let offset = offset.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let offset = offset.unwrap_or_else(|| panic!("nothing of it in {logs}"));
    assert!(had - offset < TWICE_MAX, "{had} bytes were there, it went on at {offset}");

    let reply = node.send(&Request::get("/generic/large/1/large.bin").token(&token));
    assert_eq!(sha256(&reply.body), sha256(&fs_err::read(&file).expect("it is there")));
    assert_eq!(left(&node, "uploads") + left(&node, "tmp"), 0);
}

#[test]
fn an_upload_in_pieces_by_the_rules_of_oci() {
    let world = World::new();
    let node = world.node("a");
    let token = node.token("publish");
    let bytes = noise(3, 3_000_000);
    let start = node.send(&Request::post("/generic/~uploads/?size=3000000", "").token(&token));
    assert_eq!((start.status, start.header("upload-offset")), (202, Some("0")));
    let location = start.header("location").expect("an upload has a place").to_owned();
    let path = location.split_once("/generic").map(|(_, path)| format!("/generic{path}"));
    let path = path.expect("the place is below the format");
    let patch = |range: &str, body: &[u8]| {
        let request = Request::put(&path, body).method("PATCH");
        node.send(&request.token(&token).header("content-range", range))
    };
    let first = patch("0-999999", &bytes[..1_000_000]);
    assert_eq!((first.status, first.header("range")), (202, Some("0-999999")));
    let wrong = patch("5-9", b"later");
    assert_eq!((wrong.status, wrong.header("upload-offset")), (416, Some("1000000")));
    // A body that breaks off leaves what came.
    let cut = Request::put(&path, &bytes[1_000_000..1_500_000]).method("PATCH");
    node.send(&cut.token(&token).claiming(2_000_000));
    let now = wait_for("the cut piece to be there", Duration::from_secs(60), || {
        let status = node.send(&Request::get(&path).token(&token));
        let offset = status.header("upload-offset").unwrap_or("none").to_owned();
        if offset == "1500000" { Ok(status.status) } else { Err(offset) }
    });
    assert_eq!(now, 204);
    assert_eq!(node.send(&Request::get(&path)).status, 401);
    assert_eq!(patch("1500000-2999999", &bytes[1_500_000..]).status, 202);
    let id = path.rsplit('/').next().expect("the place ends with its id");
    let place = "/generic/tool/1/tool.bin";
    let finish = format!("{place}?upload={id}&digest=sha256:{}", sha256(&bytes));
    let done = node.send(&Request::put(&finish, "").token(&token));
    assert_eq!(done.status, 201, "{}", done.text());
    assert_eq!(node.get(place).body, bytes);
    assert_eq!(node.send(&Request::get(&path).token(&token)).status, 404);
    assert_eq!(left(&node, "uploads"), 0);
}

#[test]
fn curl_sends_no_body_that_is_refused() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let node = world.node("a");
    let token = node.token("publish");
    let file = noise_file(&world.path().join("file.bin"), 1, 2_000_000);
    let other = noise_file(&world.path().join("other.bin"), 2, 3_000_000);
    let place = node.url("/generic/tool/1/file.bin");
    assert_eq!(curl.upload(&file, &place, &token), 201);
    // Status and bytes sent: without a token, without the right, and where other bytes are.
    let read = node.token("read");
    for (token, expected) in [("griot_wrong", 401), (read.as_str(), 403), (token.as_str(), 409)] {
        let (status, sent) = sent(&curl, &other, &place, token);
        assert_eq!((status, sent), (expected, 0));
    }
    // More than a file may have: nothing is sent, and the limit is named.
    let huge = world.path().join("huge.bin");
    let made = fs_err::File::create(&huge).and_then(|file| file.set_len(3 << 30));
    made.expect("a sparse file can be made");
    let (status, sent) = sent(&curl, &huge, &node.url("/generic/tool/2/huge.bin"), &token);
    assert_eq!((status, sent), (413, 0));
    assert_eq!(left(&node, "tmp"), 0);
}

/// The status of an upload, and how many bytes of the body curl sent.
fn sent(curl: &Curl, file: &Path, url: &str, token: &str) -> (u16, u64) {
    let header = format!("Authorization: Bearer {token}");
    let file = file.to_str().expect("paths of tests are UTF-8");
    let output = curl.run(&[
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{size_upload}",
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "60",
        "--upload-file",
        file,
        "--header",
        &header,
        url,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (status, sent) = text.trim().split_once(' ').unwrap_or_else(|| panic!("curl: {text}"));
    (status.parse().expect("a status"), sent.parse().expect("a number of bytes"))
}

#[test]
fn fifty_uploads_at_once_arrive_whole_in_little_more_memory_than_five() {
    let world = World::new();
    let node = world.node("a");
    let token = node.token("publish");
    let upload = |round: usize, number: usize| {
        let body = noise((round * 100 + number) as u64, 4_000_000);
        let path = format!("/generic/many/{round}.{number}.0/file.bin");
        let reply = node.send(&Request::put(&path, body.clone()).token(&token));
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        assert_eq!(sha256(&node.get(&path).body), sha256(&body), "{path}");
    };
    let at_once = |round: usize, count: usize| {
        std::thread::scope(|scope| {
            let upload = &upload;
            (0..count).for_each(|number| drop(scope.spawn(move || upload(round, number))));
        });
        node.peak_memory()
    };
    let (five, fifty) = (at_once(0, 5), at_once(1, 50));
    println!("five: {} MiB, fifty: {} MiB", five >> 20, fifty >> 20);
    // Not one of the 200 MB is held for longer than it takes to write it.
    assert!(fifty < five + (96 << 20), "five: {five}, fifty: {fifty}");
    assert_eq!(left(&node, "tmp"), 0);
}
