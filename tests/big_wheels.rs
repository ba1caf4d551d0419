//! A wheel as large as those of machine learning, to many at once: one request to the index, the
//! bytes go on while they come, and the node's memory does not grow with them.
//!
//! The wheel is a stand-in: nothing on its way asks how large it is, so one of some gigabytes takes
//! the same.

use std::io::Read as _;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::samples::sha256;
use crate::harness::upstream::{Raw, Stub};
use crate::harness::{Node, Request, World, wait_for};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const FILE: &str = "big-1.0-py3-none-any.whl";
const WHEEL_BYTES: usize = 64 << 20;
/// Where the index stops until a client has seen that it began.
const PAUSE_BYTES: u64 = 4 << 20;
const CLIENTS: usize = 16;
/// For all of it, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(120);
/// What 16 clients of 64 MiB may cost the node, in bytes: less than one of them whole.
const GROWTH_MAX: u64 = 48 << 20;

/// Zeros, each block with its number, so that none can stand for another.
fn wheel() -> Vec<u8> {
    let mut bytes = vec![0; WHEEL_BYTES];
    for (number, block) in bytes.chunks_mut(64 << 10).enumerate() {
        block[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes
}

/// Reads an answer without holding it; tells when its body begins. Its SHA-256, or what was said
/// instead.
fn download(node: &Node, path: &str, begun: &Sender<()>) -> Result<String, String> {
    let mut stream = Request::get(path).begin(node.address()).expect("the node listens");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer has a head");
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    if head.starts_with("http/1.1 424") {
        // On a machine that does much else an index on it is silent for longer than a person waits.
        // It is still being asked, and who asks again finds the same request under way.
        return Err(head);
    }
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-length: 67108864"),
        "{head}"
    );
    let (mut sum, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
    let mut told = false;
    loop {
        let read = stream.read(&mut piece).expect("the body goes on");
        if read == 0 {
            break;
        }
        sum.update(&piece[..read]);
        if !std::mem::replace(&mut told, true) {
            // The test waits for the first alone.
            let _ = begun.send(());
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn sixteen_clients_take_one_big_wheel_from_a_cold_node_by_one_request() {
    let world = World::new();
    let stub = Stub::start();
    let bytes = wheel();
    let sum = sha256(&bytes);
    let url = format!("../../packages/{FILE}");
    let file = json!({ "filename": FILE, "url": url, "hashes": { "sha256": sum } });
    let page = json!({ "meta": { "api-version": "1.0" }, "name": "big", "files": [file] });
    stub.raw("/simple/big/", Raw::ok(JSON, page.to_string()));
    stub.raw(&format!("/packages/{FILE}"), Raw::ok("application/octet-stream", bytes));
    stub.switch(|s| s.pause_after = Some(PAUSE_BYTES));
    let node = world.node("a");
    node.griot(&["upstream", "add", "pypi", &stub.simple_url()]);
    assert_eq!(node.get("/pypi/simple/").status, 200, "what is made once is made");
    let before = node.peak_memory();
    let path = format!("/pypi/files/big/{sum}/{FILE}");
    let (begun, all) = channel();
    std::thread::scope(|scope| {
        let (node, path, sum) = (&node, &path, &sum);
        for _ in 0..CLIENTS {
            let begun = begun.clone();
            let ask = move || download(node, path, &begun);
            scope.spawn(move || assert_eq!(wait_for("the wheel", LIMIT, ask), *sum));
        }
        // The rest comes when the first bytes are with a client: nobody waits for the whole.
        all.recv_timeout(LIMIT).expect("one of them begins");
        stub.switch(|s| s.pause_after = None);
    });
    let growth = node.peak_memory().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the node grew by {growth} bytes");
    assert_eq!((stub.count("/simple/big/"), stub.count(FILE)), (1, 1));
    assert_eq!(sha256(&node.get(&path).body), sum, "it is held");
    assert_eq!(stub.count(FILE), 1);
}
