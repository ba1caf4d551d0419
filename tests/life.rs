//! The life of what is held: what rots is found and fetched anew, what can be had again makes room,
//! what was published or pinned stays, and a full disk harms nothing.

use serde_json::{Value, json};

use crate::harness::samples::{noise, npm_package, sha256};
use crate::harness::upstream::Stub;
use crate::harness::{EVENTUALLY, Node, NodeOptions, Request, SOON, World, disk, wait_until};

const PATH: &str = "/generic/tool/1.0.0/tool.bin";

fn publish(node: &Node, path: &str, bytes: Vec<u8>) -> u16 {
    node.send(&Request::put(path, bytes).token(&node.token("publish"))).status
}

fn with(arguments: &[&str]) -> NodeOptions {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    NodeOptions { arguments, ..NodeOptions::default() }
}

fn digest(node: &Node) -> String {
    let row = node.version("generic", "tool", "1.0.0");
    row["artifacts"][0]["digest"].as_str().expect("an artifact has a digest").to_owned()
}

#[test]
fn what_rotted_is_fetched_from_a_peer_and_what_nobody_has_is_said_to_lack() {
    let world = World::new();
    let mut a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let b = world.node_dialling("b", &[a.multiaddress()]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    assert_eq!(publish(&a, PATH, noise(1, 300_000)), 201);
    b.wait_held("generic", ("tool", "1.0.0"), EVENTUALLY);
    let verified = b.json(&["verify"]);
    assert_eq!(verified["findings"], json!([]), "{verified}");

    let file = disk::blob(&b.home(), &digest(&b));
    disk::tamper(&file);
    let verified = b.json(&["verify", "--rate", "0"]);
    assert_eq!(verified["findings"][0]["end"], "fetched-again", "{verified}");
    assert_eq!(verified["findings"][0]["names"], json!(["tool@1.0.0 (tool.bin)"]), "{verified}");
    assert_eq!(sha256(&b.get(PATH).body), sha256(&noise(1, 300_000)));
    assert_eq!(b.status()["storage"]["quarantined"]["count"], 1);

    assert!(a.terminate().success());
    wait_until("b to be alone", EVENTUALLY, || b.peers().is_empty());
    disk::tamper(&file);
    let output = b.run(&["verify", "--json"]);
    let verified: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!(output.status.code(), Some(3), "{verified}");
    assert_eq!(verified["findings"][0]["end"], "missing", "{verified}");
    assert!(!file.exists(), "it is never served again");
    let reply = b.get(PATH);
    assert!([404, 424].contains(&reply.status), "{}: {}", reply.status, reply.text());
    let exact = b.get(&format!("/api/blobs/{}", digest(&b)));
    assert_eq!(exact.status, 424, "{}", exact.text());
    assert!(exact.text().contains("neither held here"), "{}", exact.text());
    assert_eq!(b.status()["wants"], 1);
    assert!(b.griot(&["want", "list"]).contains("tool@1.0.0"));

    a.up();
    wait_until("what lacked to come back", 2 * EVENTUALLY, || b.get(PATH).status == 200);
    assert_eq!(sha256(&b.get(PATH).body), sha256(&noise(1, 300_000)));
}

#[test]
fn a_verification_that_was_cut_goes_on_where_it_was() {
    let world = World::new();
    let mut node = world.node("a");
    for number in 0..8 {
        let path = format!("/generic/tool/1.0.{number}/tool.bin");
        assert_eq!(publish(&node, &path, noise(number, 1_000_000)), 201);
    }
    let mut slow = node.command(&["verify", "--rate", "1MB/s"]).spawn().expect("it starts");
    // The place is remembered every five seconds.
    let log = "remembered the verify position";
    wait_until("a place to be remembered", EVENTUALLY, || node.logs().contains(log));
    node.kill9();
    slow.wait().expect("a child of this process can be waited for");
    node.up();
    let verified = node.json(&["verify", "--rate", "0"]);
    assert_eq!(verified["resumed"], true, "{verified}");
    assert_eq!(verified["course"]["blobs"], 8, "{verified}");
    let verified = node.json(&["verify", "--rate", "0"]);
    assert_eq!(verified["resumed"], false, "the run before came to its end: {verified}");
}

/// A node before a stub with twenty packages of which each takes about 100 kB.
fn shop(world: &World, stub: &Stub) -> Node {
    for number in 0..20 {
        stub.publish(&format!("part-{number}"), "1.0.0", |p| p.padding(100_000));
    }
    let node = world.node("a");
    node.json(&["upstream", "add", "npm", &stub.url()]);
    node
}

fn install(node: &Node, number: u64) -> u16 {
    node.get(&format!("/npm/part-{number}/-/part-{number}-1.0.0.tgz")).status
}

#[test]
fn under_a_quota_what_can_be_had_again_makes_room_and_the_rest_stays() {
    let (world, stub) = (World::new(), Stub::start());
    let node = shop(&world, &stub);
    let own = npm_package(&world.folder("sources"), "own-thing", "1.0.0", "one");
    node.json(&["publish", own.to_str().expect("paths of tests are UTF-8")]);
    let kept = node.json(&["keep", "part-0@^1"]);
    assert_eq!(kept["versions"], json!(["1.0.0"]), "{kept}");
    assert_eq!(node.json(&["keep"])[0]["package"]["name"], "part-0");
    for number in 1..10 {
        assert_eq!(install(&node, number), 200);
    }
    let before = node.status();
    let held = before["blobs"]["bytes"].as_u64().expect("a number");
    assert!(before["storage"]["pinned"]["bytes"].as_u64() > Some(50_000), "{before}");
    assert!(before["storage"]["cached_packages"] == 10, "{before}");
    // What came a moment ago may not have been read yet; after a restart it has.
    let mut node = node;
    assert!(node.terminate().success());
    let quota = held + held / 4;
    node.set_arguments(&["--quota", &quota.to_string()]);
    node.up();
    for number in 10..20 {
        let reply = node.get(&format!("/npm/part-{number}/-/part-{number}-1.0.0.tgz"));
        assert_eq!(reply.status, 200, "{number}: {}", reply.text());
        if number == 15 {
            // Those of this run are as young as can be: once more an hour passes.
            assert!(node.terminate().success());
            node.up();
        }
    }
    wait_until("the room to be made", EVENTUALLY, || {
        node.status()["blobs"]["bytes"].as_u64() <= Some(quota)
    });
    let metrics = node.get("/metrics").text();
    assert!(metrics.contains("griot_held_bytes{kind=\"pinned\"}"), "{metrics}");
    stub.down();
    assert_eq!(install(&node, 0), 200, "it is pinned");
    assert_eq!(node.get("/npm/own-thing/-/own-thing-1.0.0.tgz").status, 200);
    assert_eq!(install(&node, 19), 200, "it came last");
    let gone = (1..10).filter(|number| install(&node, *number) == 424).count();
    assert!(gone > 0, "{}", node.status());
    node.json(&["unkeep", "part-0"]);
    assert_eq!(node.json(&["keep"]), json!([]));
    let (said, code) = node.refused(&["unkeep", "part-0"]);
    assert_eq!(code, 3, "{said}");
}

/// A publishes `part0` and so on, each of 200 kB; B, which dials A, follows it and holds them.
fn pair(world: &World, parts: u64) -> (Node, Node) {
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:part*", &a.publisher()]);
    let b = world.node_dialling("b", &[a.multiaddress()]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    for number in 0..parts {
        assert_eq!(publish(&a, &part(number), noise(number, 200_000)), 201);
        b.wait_held("generic", (&format!("part{number}"), "1.0.0"), EVENTUALLY);
    }
    (a, b)
}

fn part(number: u64) -> String {
    format!("/generic/part{number}/1.0.0/part.bin")
}

#[test]
fn what_a_connected_peer_has_makes_room_and_what_only_we_have_stays() {
    let world = World::new();
    let (mut a, mut b) = pair(&world, 6);
    b.json(&["keep", "part0", "--format", "generic"]);
    assert_eq!(publish(&b, PATH, noise(9, 200_000)), 201);

    // Alone nothing goes, however full it is; what came in an earlier run is old enough.
    assert!(b.terminate().success() && a.terminate().success());
    b.set_arguments(&["--quota", "1000000"]);
    b.up();
    wait_until("a sweep in vain", EVENTUALLY, || b.logs().contains("made room files=0"));
    assert_eq!(b.status()["storage"]["evicted"]["count"], 0);
    let more = Request::put("/generic/tool/2.0.0/tool.bin", noise(8, 200_000));
    let reply = b.send(&more.token(&b.token("publish")));
    assert_eq!(reply.status, 507, "{}", reply.text());
    assert!(reply.text().contains("quota"), "{}", reply.text());

    a.up();
    wait_until("room to be made", EVENTUALLY, || {
        b.status()["blobs"]["bytes"].as_u64() <= Some(850_000)
    });
    let status = b.status();
    assert!(status["storage"]["evicted"]["count"].as_u64() >= Some(3), "{status}");
    assert_eq!(status["storage"]["published"]["count"], 1, "{status}");
    assert_eq!((b.get(PATH).status, b.get(&part(0)).status), (200, 200));

    // Gone with the peer: an honest miss, that is wanted and comes again with it.
    assert!(a.terminate().success());
    wait_until("b to be alone", EVENTUALLY, || b.peers().is_empty());
    assert_eq!((b.get(PATH).status, b.get(&part(0)).status), (200, 200));
    let gone: Vec<u64> = (1..6).filter(|number| b.get(&part(*number)).status == 424).collect();
    assert!(gone.len() >= 3, "{gone:?}");
    assert_eq!(b.status()["wants"].as_u64(), Some(gone.len() as u64));
    a.up();
    for number in gone {
        wait_until("what was let go to come again", EVENTUALLY, || {
            b.get(&part(number)).status == 200
        });
        assert_eq!(sha256(&b.get(&part(number)).body), sha256(&noise(number, 200_000)));
    }
}

#[test]
fn a_peer_that_only_said_it_has_a_file_leaves_a_want_and_no_wrong_bytes() {
    let world = World::new();
    let (mut a, mut b) = pair(&world, 1);
    let row = b.version("generic", "part0", "1.0.0");
    let digest = row["artifacts"][0]["digest"].as_str().expect("an artifact has a digest");
    let file = disk::blob(&a.home(), digest);
    disk::tamper(&file);
    assert!(b.terminate().success());
    b.set_arguments(&["--quota", "100000"]);
    b.up();
    wait_until("b to believe a", EVENTUALLY, || b.status()["storage"]["evicted"]["count"] == 1);

    assert!(b.terminate().success());
    b.set_arguments(&[]);
    b.up();
    let reply = b.get(&part(0));
    assert!([404, 424, 502].contains(&reply.status), "{}: {}", reply.status, reply.text());
    assert_eq!(b.status()["wants"], 1);
    let said = b.griot(&["want", "list"]);
    assert!(said.contains("part0@1.0.0"), "{said}");
    assert_eq!(b.status()["blobs"]["count"], 0, "nothing came in its place");
    // A finds it itself, has nobody to ask, and gets it from its owner's hand.
    assert!(a.terminate().success());
    fs_err::write(&file, noise(0, 200_000)).expect("the right bytes");
    a.up();
    // Who sent wrong bytes is refused for a while, but not by the next run.
    assert!(b.terminate().success());
    b.up();
    wait_until("b to have it again", EVENTUALLY, || b.get(&part(0)).status == 200);
    assert_eq!(sha256(&b.get(&part(0)).body), sha256(&noise(0, 200_000)));
}

#[test]
fn without_room_new_bytes_are_refused_with_the_next_step_and_what_is_held_is_served() {
    let world = World::new();
    let mut node = world.node("a");
    assert_eq!(publish(&node, PATH, noise(1, 300_000)), 201);
    assert!(node.terminate().success());
    node.set_arguments(&["--reserve", "4000TB"]);
    node.up();
    let more = Request::put("/generic/tool/2.0.0/tool.bin", noise(2, 300_000));
    let reply = node.send(&more.token(&node.token("publish")));
    assert_eq!(reply.status, 507, "{}", reply.text());
    assert!(reply.text().contains("griot gc"), "{}", reply.text());
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 300_000)));
    let status = node.status();
    assert_eq!(status["storage"]["published"]["count"], 1, "{status}");
    assert!(status["storage"]["advice"].is_string(), "{status}");
    assert!(node.griot(&["status"]).contains("too little room"));
    assert!(node.terminate().success());
    node.set_arguments(&[]);
    node.up();
    assert_eq!(publish(&node, "/generic/tool/2.0.0/tool.bin", noise(2, 300_000)), 201);
}

#[test]
fn gc_removes_what_nothing_refers_to_and_says_so_first() {
    let world = World::new();
    let node = Node::start(&world, "a", with(&["--quota", "1GB"]));
    assert_eq!(publish(&node, PATH, noise(1, 300_000)), 201);
    let stray = crdt::Digest::of(b"stray").to_hex();
    let shard = node.home().join("blobs").join(&stray[..2]);
    fs_err::create_dir_all(&shard).expect("a folder can be made");
    fs_err::write(shard.join(&stray), noise(3, 5_000)).expect("a file can be written");
    let trial = node.json(&["gc", "--dry-run"]);
    assert_eq!((&trial["orphans"]["count"], &trial["bytes"]), (&json!(1), &json!(5_000)));
    assert!(shard.join(&stray).exists());
    assert_eq!(node.griot(&["gc"]).lines().last(), Some("freed 5.0 kB"));
    assert!(!shard.join(&stray).exists());
    assert_eq!(node.json(&["gc"])["count"], 0);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 300_000)));
    assert_eq!(node.status()["storage"]["quota"], 1_000_000_000);
}
