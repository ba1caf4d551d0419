//! What a node does by itself: it reads again what it holds, removes what nothing needs, and clears
//! away what a kill left.

use serde_json::Value;

use crate::harness::samples::{noise, sha256};
use crate::harness::upstream::Stub;
use crate::harness::{
    Clock, EVENTUALLY, Node, NodeOptions, Request, SOON, World, disk, wait_for, wait_until,
};

const PATH: &str = "/generic/tool/1.0.0/tool.bin";
/// A background reading, again a second after it has ended.
const SCRUB: [&str; 4] = ["--scrub", "100MB/s", "--scrub-every", "1s"];
const TARBALL: &str = "/npm/part/-/part-1.0.0.tgz";

fn with(arguments: &[&str]) -> NodeOptions {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    NodeOptions { arguments, ..NodeOptions::default() }
}

fn publish(node: &Node, path: &str, bytes: Vec<u8>) -> u16 {
    node.send(&Request::put(path, bytes).token(&node.token("publish"))).status
}

/// What has rotted, as `griot status` tells it: names, and what became of it.
fn findings(node: &Node) -> Vec<(String, String)> {
    let status = node.status();
    let all = status["storage"]["verified"]["findings"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|found| (text(&found["names"][0]), text(&found["end"]))).collect()
}

/// Waits until the node itself has found these, in any order, with these ends.
#[track_caller]
fn wait_found(node: &Node, expected: &[(&str, &str)]) {
    let mut expected: Vec<_> =
        expected.iter().map(|(name, end)| ((*name).to_owned(), (*end).to_owned())).collect();
    expected.sort();
    wait_for("what rotted to be found", EVENTUALLY, || {
        let mut found = findings(node);
        found.sort();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn the_background_reading_finds_what_rotted_and_a_neighbour_gives_it_again() {
    let world = World::new();
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let mut options = with(&SCRUB);
    options.peers = vec![a.multiaddress()];
    let b = Node::start(&world, "b", options);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    assert_eq!(publish(&a, PATH, noise(1, 300_000)), 201);
    let row = b.wait_held("generic", ("tool", "1.0.0"), EVENTUALLY);
    let digest = row["artifacts"][0]["digest"].as_str().expect("an artifact has a digest");

    disk::tamper(&disk::blob(&b.home(), digest));
    wait_found(&b, &[("tool@1.0.0 (tool.bin)", "fetched-again")]);
    assert_eq!(sha256(&b.get(PATH).body), sha256(&noise(1, 300_000)));
    let status = b.status();
    assert_eq!(status["storage"]["quarantined"]["count"], 1, "{status}");
    let said = b.griot(&["status"]);
    assert!(said.contains("1 file rotted on the disk"), "{said}");
    let verified = b.json(&["verify", "--rate", "0"]);
    assert_eq!(verified["findings"], serde_json::json!([]), "it is whole again: {verified}");
    let before = &verified["last"]["findings"][0];
    assert_eq!((&before["digest"], &before["end"]), (&digest.into(), &"fetched-again".into()));
}

#[test]
fn a_person_who_verifies_does_not_wait_for_the_background_reading() {
    let world = World::new();
    let mut node = world.node("a");
    for number in 0..6 {
        let path = format!("/generic/tool/1.0.{number}/tool.bin");
        assert_eq!(publish(&node, &path, noise(number, 200_000)), 201);
    }
    assert!(node.terminate().success());
    // Minutes for each file: it is under way until it is told to end.
    node.set_arguments(&["--scrub", "1kB/s"]);
    node.up();
    let verified = node.json(&["verify", "--rate", "0"]);
    assert_eq!(verified["course"]["blobs"], 6, "{verified}");
    assert_eq!(node.status()["storage"]["verified"]["blobs"], 6);
    let end = "griot verify goes on with it";
    wait_until("the background reading to end", SOON, || node.logs().contains(end));
}

#[test]
fn what_rotted_is_fetched_again_from_the_upstream_once_that_answers() {
    let (world, stub) = (World::new(), Stub::start());
    stub.publish("part", "1.0.0", |release| release.padding(100_000));
    let node = Node::start(&world, "a", with(&SCRUB));
    node.json(&["upstream", "add", "npm", &stub.url()]);
    assert_eq!(node.get("/npm/part").status, 200);
    let tarball = stub.bytes("/part/-/part-1.0.0.tgz", "").expect("it was published");
    assert_eq!(node.get(TARBALL).body, tarball);

    // Every file that is held: the tarball, and the document.
    let blobs = disk::files(&node.home().join("blobs"));
    blobs.iter().for_each(|blob| disk::tamper(blob));
    let names = ["part (document)", "part@1.0.0 (part-1.0.0.tgz)"];
    let again = names.map(|name| (name, "fetched-again"));
    wait_found(&node, &again[..blobs.len()]);
    assert_eq!(blobs.len(), 2, "{blobs:?}");
    stub.down();
    assert_eq!(node.get(TARBALL).body, tarball, "no upstream is needed");
    assert!(node.get("/npm/part").text().contains("part-1.0.0.tgz"));

    // Rotten again, and nobody to give it: it is wanted, and comes once the upstream is back.
    let file = blobs.iter().find(|blob| fs_err::read(blob).is_ok_and(|bytes| bytes == tarball));
    disk::tamper(file.expect("the tarball is held"));
    let mut more = again.to_vec();
    more.push((names[1], "missing"));
    wait_found(&node, &more);
    let said = node.griot(&["status"]);
    assert!(said.contains("1 MISSING: griot want list"), "{said}");
    assert!(node.griot(&["want", "list"]).contains("part@1.0.0"));
    let reply = node.get(TARBALL);
    assert!([404, 424].contains(&reply.status), "{}: {}", reply.status, reply.text());
    stub.up();
    more[2].1 = "fetched-again";
    wait_found(&node, &more);
    assert_eq!(node.get(TARBALL).body, tarball);
}

/// When garbage was collected last, by the node's own clock.
fn collected(node: &Node) -> Option<u64> {
    node.status()["storage"]["collected"]["at"].as_u64()
}

#[test]
fn garbage_goes_once_a_day_also_from_a_node_that_is_restarted_each_hour() {
    let Some(first) = Clock::at("2030-01-01 00:00:00") else { return };
    let world = World::new();
    let options = NodeOptions { clock: Some(first), ..NodeOptions::default() };
    let mut node = Node::start(&world, "a", options);
    let at = wait_for("garbage to be collected", EVENTUALLY, || {
        collected(&node).ok_or_else(|| node.status().to_string())
    });
    let stray = crdt::Digest::of(b"stray").to_hex();
    let shard = node.home().join("blobs").join(&stray[..2]);
    fs_err::create_dir_all(&shard).expect("a folder can be made");
    fs_err::write(shard.join(&stray), noise(3, 5_000)).expect("a file can be written");
    for hour in ["01", "02", "23"] {
        node.kill9();
        node.set_clock(Clock::at(&format!("2030-01-01 {hour}:00:00")).expect("it was there"));
        node.up();
        assert_eq!(collected(&node), Some(at), "it is remembered");
    }
    assert!(shard.join(&stray).exists());
    node.kill9();
    node.set_clock(Clock::at("2030-01-02 01:00:00").expect("it was there"));
    node.up();
    wait_until("the day's garbage to be gone", EVENTUALLY, || !shard.join(&stray).exists());
    wait_until("that to be noted", SOON, || collected(&node) > Some(at));
    assert_eq!(node.status()["storage"]["collected"]["bytes"], 5_000);
}

#[test]
fn a_start_after_a_kill_says_what_it_found_half_done() {
    let world = World::new();
    let mut node = world.node("a");
    let token = node.token("publish");
    assert!(!node.logs().contains("recovered:"), "{}", node.logs());
    let start = node.send(&Request::post("/generic/~uploads/?size=3000000", "").token(&token));
    assert_eq!(start.status, 202);
    // A request whose body does not come to its end: its bytes lie in `tmp/`.
    let cut = Request::put(PATH, noise(1, 30_000_000)).token(&token).claiming(60_000_000);
    let tmp = node.home().join("tmp");
    let body = cut.begin(node.address()).expect("the node listens");
    wait_until("bytes to arrive", EVENTUALLY, || !disk::files(&tmp).is_empty());
    node.kill9();
    drop(body);
    assert!(!disk::files(&tmp).is_empty(), "the kill left something");
    node.up();
    wait_until("the start to be told of", SOON, || node.logs().contains("page http"));
    let logs = node.logs();
    let line = logs.lines().find(|line| line.starts_with("recovered: "));
    let line = line.unwrap_or_else(|| panic!("nothing of it in {logs}"));
    assert_eq!(line, "recovered: 1 upload goes on, 1 unfinished file removed");
    assert!(disk::files(&tmp).is_empty());
    assert_eq!(node.get(PATH).status, 404);
    assert_eq!(publish(&node, PATH, noise(1, 2_000_000)), 201);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 2_000_000)));
}
