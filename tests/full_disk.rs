//! A disk that is really full: new bytes are refused with a sentence, what is held is served, and
//! all goes on once there is room. On a small file system of its own, where that can be mounted.

use crate::harness::samples::{noise, sha256};
use crate::harness::{EVENTUALLY, Node, NodeOptions, Request, SOON, SmallDisk, World, wait_until};

const MIB: u64 = 1 << 20;

fn path(version: &str) -> String {
    format!("/generic/tool/{version}/tool.bin")
}

fn publish(node: &Node, version: &str, bytes: &[u8]) -> (u16, String) {
    let reply = node.send(&Request::put(&path(version), bytes).token(&node.token("publish")));
    (reply.status, reply.text())
}

/// A node whose home is a disk of its own. `reserve`: what it leaves free there.
fn on(world: &World, name: &str, reserve: &str) -> Option<(SmallDisk, Node)> {
    let disk = SmallDisk::at(&world.folder(name).join("home"), 96 * MIB)?;
    let arguments = vec!["--reserve".to_owned(), reserve.to_owned()];
    Some((disk, Node::start(world, name, NodeOptions { arguments, ..NodeOptions::default() })))
}

#[track_caller]
fn assert_says_what_to_do((status, text): &(u16, String)) {
    assert_eq!(*status, 507, "{text}");
    assert!(text.contains("the disk is full"), "{text}");
    assert!(text.contains("griot gc"), "{text}");
}

#[test]
fn a_publish_and_an_upload_are_refused_and_go_on_once_there_is_room() {
    let world = World::new();
    // With a reserve it is refused before it begins; without one the system says no in the middle.
    for (name, reserve, left) in [("kept", "8MiB", 8 * MIB), ("bare", "0", MIB)] {
        let Some((disk, mut node)) = on(&world, name, reserve) else { return };
        let (one, two) = (noise(1, 3_000_000), noise(2, 12_000_000));
        assert_eq!(publish(&node, "1.0.0", &one).0, 201);
        let token = node.token("publish");
        let start = node.send(&Request::post("/generic/~uploads/?size=12000000", "").token(&token));
        let place = start.header("location").expect("an upload has a place").to_owned();
        let place = format!("/generic{}", place.split_once("/generic").expect("of the format").1);
        let send = |node: &Node, at: usize, end: usize| {
            let range = format!("{at}-{}", end - 1);
            let request = Request::put(&place, &two[at..end]).method("PATCH");
            node.send(&request.token(&token).header("content-range", &range))
        };
        assert_eq!(send(&node, 0, 1_000_000).status, 202);

        disk.fill(left);
        assert_says_what_to_do(&publish(&node, "2.0.0", &two));
        let cut = send(&node, 1_000_000, 12_000_000);
        assert_says_what_to_do(&(cut.status, cut.text()));
        assert_eq!(sha256(&node.get(&path("1.0.0")).body), sha256(&one), "{name}");
        assert_eq!(node.get(&path("2.0.0")).status, 404);
        assert!(node.runs());
        if reserve == "0" {
            disk.make_room();
        }
        // What was left to the file system is enough for a start.
        node.kill9();
        node.up();
        assert_eq!(sha256(&node.get(&path("1.0.0")).body), sha256(&one), "{name}");
        if reserve != "0" {
            assert_says_what_to_do(&publish(&node, "2.0.0", &two));
            disk.make_room();
        }
        let now = node.send(&Request::get(&place).token(&token));
        let at = now.header("upload-offset").and_then(|at| at.parse().ok()).expect("an offset");
        assert!(at >= 1_000_000, "{name}: what was acknowledged stays: {at}");
        assert_eq!(send(&node, at, 12_000_000).status, 202, "{name}");
        let id = place.rsplit('/').next().expect("an id");
        let finish = format!("{}?upload={id}", path("3.0.0"));
        let done = node.send(&Request::put(&finish, "").token(&token));
        assert_eq!(done.status, 201, "{name}: {}", done.text());
        let (status, said) = publish(&node, "2.0.0", &two);
        assert_eq!(status, 201, "{name}: {said}");
        for version in ["2.0.0", "3.0.0"] {
            assert_eq!(sha256(&node.get(&path(version)).body), sha256(&two), "{name} {version}");
        }
        assert_eq!(node.json(&["verify", "--rate", "0"])["findings"], serde_json::json!([]));
    }
}

#[test]
fn a_mirror_on_a_full_disk_fetches_what_lacks_once_there_is_room() {
    let world = World::new();
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let Some((disk, b)) = on(&world, "b", "8MiB") else { return };
    b.json(&["peer", "add", &a.multiaddress()]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    disk.fill(9 * MIB);
    let bytes = noise(1, 5_000_000);
    assert_eq!(publish(&a, "1.0.0", &bytes).0, 201);
    b.wait_state("generic", ("tool", "1.0.0"), "ok");
    let reply = b.get(&path("1.0.0"));
    assert_eq!(reply.status, 507, "{}", reply.text());
    assert!(reply.text().contains("the disk is full"), "{}", reply.text());
    assert!(b.griot(&["status"]).contains("too little room"));
    disk.make_room();
    wait_until("b to have it", EVENTUALLY, || b.get(&path("1.0.0")).status == 200);
    assert_eq!(sha256(&b.get(&path("1.0.0")).body), sha256(&bytes));
}

#[test]
fn a_backup_to_a_full_disk_is_refused_and_the_one_before_stays_whole() {
    let world = World::new();
    let mount = world.path().join("stick");
    let Some(disk) = SmallDisk::at(&mount, 64 * MIB) else { return };
    let mut node = world.node("a");
    assert_eq!(publish(&node, "1.0.0", &noise(1, 3_000_000)).0, 201);
    let folder = mount.join("backup");
    let folder = folder.to_str().expect("paths of tests are UTF-8");
    node.json(&["backup", folder]);
    assert_eq!(publish(&node, "2.0.0", &noise(2, 12_000_000)).0, 201);
    disk.fill(MIB);
    // By the running node, and by the command on the home of a stopped one.
    for _ in 0..2 {
        let (said, _) = node.refused(&["backup", folder]);
        assert!(said.contains("there is no room left in"), "{said}");
        assert!(said.contains("make room there and type it again"), "{said}");
        node.json(&["backup", folder, "--check"]);
        if node.runs() {
            assert!(node.terminate().success());
        }
    }
    disk.make_room();
    node.up();
    assert_eq!(node.json(&["backup", folder])["new_blobs"], 1);
    node.json(&["backup", folder, "--check"]);
    assert_eq!(sha256(&node.get(&path("2.0.0")).body), sha256(&noise(2, 12_000_000)));
}
