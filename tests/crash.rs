//! kill -9 at the worst moments: nothing partial is visible, nothing acknowledged is lost.

use crate::harness::samples::{noise, noise_file, npm_package, sha256};
use crate::harness::wait::wait_exit;
use crate::harness::{
    Curl, EVENTUALLY, Forwarder, Node, NodeOptions, SOON, World, disk, wait_for, wait_until,
};

const MEGABYTE: u64 = 1_000_000;
const PATH: &str = "/generic/tool/1.0.0/tool.bin";

/// Neither by name, nor in `info`, nor among the blobs, nor as a file that nobody owns.
fn assert_nothing_visible(node: &Node) {
    let reply = node.get(PATH);
    assert!([404, 424].contains(&reply.status), "{}: {}", reply.status, reply.text());
    assert!(reply.json()["error"].is_string() || reply.json()["error"].is_object());
    assert_eq!(node.version("generic", "tool", "1.0.0")["artifacts"].as_array(), None);
    assert_eq!(node.status()["blobs"]["count"], 0);
}

#[test]
fn a_publish_killed_in_its_middle_leaves_nothing_and_can_be_repeated() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let mut node = world.node("a");
    let token = node.token("publish");
    let source = noise_file(&world.path().join("source.bin"), 4, 20_000_000);
    let header = format!("Authorization: Bearer {token}");
    let file = source.to_str().expect("paths of tests are UTF-8");
    let url = node.url(PATH);
    let mut slow = curl
        .command(&["--limit-rate", "3M", "--upload-file", file, "--header", &header, &url])
        .spawn()
        .expect("curl starts");
    wait_until("a part to be on the disk", EVENTUALLY, || {
        disk::largest(&node.home()) > 4 * MEGABYTE
    });
    node.kill9();
    let status = wait_exit(&mut slow, SOON).expect("curl ends when the node is gone");
    assert!(!status.success(), "curl was told of success");

    node.up();
    assert_nothing_visible(&node);
    assert!(disk::largest(&node.home()) < MEGABYTE, "{:?}", disk::files(&node.home()));
    assert_eq!(curl.upload(&source, &node.url(PATH), &node.token("publish")), 201);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(4, 20_000_000)));
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_without_a_restart() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let node = world.node("a");
    let source = noise_file(&world.path().join("source.bin"), 5, 20_000_000);
    let header = format!("Authorization: Bearer {}", node.token("publish"));
    let file = source.to_str().expect("paths of tests are UTF-8");
    let url = node.url(PATH);
    let mut slow = curl
        .command(&["--limit-rate", "3M", "--upload-file", file, "--header", &header, &url])
        .spawn()
        .expect("curl starts");
    wait_until("a part to be on the disk", EVENTUALLY, || {
        disk::largest(&node.home()) > 4 * MEGABYTE
    });
    slow.kill().expect("a child of this process can be killed");
    slow.wait().expect("a child of this process can be waited for");
    wait_until("the part to be gone", SOON, || disk::largest(&node.home()) < MEGABYTE);
    assert_nothing_visible(&node);
}

#[test]
fn what_was_acknowledged_survives_a_kill_right_after_the_answer() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let mut node = world.node("a");
    let token = node.token("publish");
    for round in 0..3_u64 {
        let source = noise_file(&world.path().join("source.bin"), round, 2_000_000);
        let path = format!("/generic/tool/1.0.{round}/tool.bin");
        assert_eq!(curl.upload(&source, &node.url(&path), &token), 201);
        node.kill9();
        node.up();
        let reply = node.get(&path);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(sha256(&reply.body), sha256(&noise(round, 2_000_000)));
        let version = format!("1.0.{round}");
        assert_eq!(node.version("generic", "tool", &version)["state"], "ok");
    }
    let package = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    node.json(&["publish", package.to_str().expect("paths of tests are UTF-8")]);
    node.kill9();
    node.up();
    assert_eq!(node.get("/npm/left-shift/-/left-shift-1.0.0.tgz").status, 200);
}

#[test]
fn a_transfer_killed_in_its_middle_shows_nothing_partial_and_then_completes() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let mut a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let link = Forwarder::to(a.mesh_socket(), 5 * MEGABYTE);
    let peers = vec![link.multiaddress(&a.peer())];
    let mut b = Node::start(&world, "b", NodeOptions { peers, ..NodeOptions::default() });
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    let source = noise_file(&world.path().join("source.bin"), 6, 40_000_000);
    assert_eq!(curl.upload(&source, &a.url(PATH), &a.token("publish")), 201);
    wait_until("a part to be on b's disk", EVENTUALLY, || disk::largest(&b.home()) > 8 * MEGABYTE);
    b.kill9();
    assert!(a.terminate().success());

    b.up();
    let row = b.version("generic", "tool", "1.0.0");
    assert_eq!(row["artifacts"][0]["held"], false, "{row}");
    let reply = b.get(PATH);
    assert!([404, 424].contains(&reply.status), "{}: {}", reply.status, reply.text());
    assert_eq!(b.status()["blobs"]["count"], 0);

    let carried = link.carried();
    a.up();
    let body = wait_for("the transfer to complete", 2 * EVENTUALLY, || {
        let reply = b.get(PATH);
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.text()) }
    });
    assert_eq!(sha256(&body), sha256(&noise(6, 40_000_000)));
    b.wait_held("generic", ("tool", "1.0.0"), SOON);
    let again = link.carried() - carried;
    assert!(again < 40 * MEGABYTE, "{again} bytes came again: the first part was not kept");
}

#[test]
fn a_link_that_is_cut_in_a_transfer_resumes_when_it_heals() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let link = Forwarder::to(a.mesh_socket(), 5 * MEGABYTE);
    let b = world.node_dialling("b", &[link.multiaddress(&a.peer())]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    let source = noise_file(&world.path().join("source.bin"), 7, 20_000_000);
    assert_eq!(curl.upload(&source, &a.url(PATH), &a.token("publish")), 201);
    wait_until("a part to be on b's disk", EVENTUALLY, || disk::largest(&b.home()) > 4 * MEGABYTE);
    link.cut();
    wait_until("b to see the cut", EVENTUALLY, || b.peers().is_empty());
    link.heal();
    let body = wait_for("the transfer to complete", 2 * EVENTUALLY, || {
        let reply = b.get(PATH);
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.text()) }
    });
    assert_eq!(sha256(&body), sha256(&noise(7, 20_000_000)));
}

#[test]
fn a_second_node_on_the_same_home_is_refused_and_the_first_goes_on() {
    let world = World::new();
    let mut node = world.node("a");
    let (said, _) = node.refused(&["up", "--listen", "127.0.0.1:0", "--no-mdns"]);
    assert!(said.contains("hint:"), "{said}");
    assert!(node.runs());
    assert_eq!(node.get("/healthz").status, 200);
    assert!(node.terminate().success(), "SIGTERM ends a node with success");
}
