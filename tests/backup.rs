//! A node's backup and what comes back from it: the real command, killed in the middle, too.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::http::Request;
use crate::harness::samples::{module_text, noise, npm_package, sha256};
use crate::harness::{EVENTUALLY, Node, Npm, World, disk, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

fn publish(node: &Node, token: &str, version: &str, bytes: Vec<u8>) {
    let path = format!("/generic/tool/{version}/tool.bin");
    assert_eq!(node.send(&Request::put(&path, bytes).token(token)).status, 201, "{version}");
}

fn body(node: &Node, version: &str) -> Vec<u8> {
    let reply = node.get(&format!("/generic/tool/{version}/tool.bin"));
    assert_eq!(reply.status, 200, "{version}: {}", reply.text());
    reply.body
}

/// Restores into the home of a node that is started then.
fn restored(world: &World, by: &Node, folder: &Path, name: &str) -> Node {
    let home = world.folder(name).join("home");
    by.json(&["restore", text(folder), "--home", text(&home)]);
    world.node(name)
}

/// A folder on another device than the tests', where a blob can only be copied.
fn elsewhere() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

#[test]
fn a_running_node_is_backed_up_and_comes_back_as_itself_elsewhere() {
    let world = World::new();
    let mut a = world.node("a");
    let token = a.token("publish");
    publish(&a, &token, "1.0.0", noise(1, 3_000_000));
    let package = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    a.json(&["publish", text(&package)]);
    let folder = world.path().join("backup");

    // Publishes go on while it runs.
    let (stop, published) = (AtomicBool::new(false), AtomicBool::new(false));
    let report = std::thread::scope(|threads| {
        threads.spawn(|| {
            for number in 0..200_u64 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                publish(&a, &token, &format!("2.0.{number}"), noise(number, 20_000));
                published.store(true, Ordering::Relaxed);
            }
        });
        wait_until("publishes to run", EVENTUALLY, || published.load(Ordering::Relaxed));
        let report = a.json(&["backup", text(&folder)]);
        stop.store(true, Ordering::Relaxed);
        report
    });
    assert_eq!(report["lacking_blobs"], 0, "{report}");
    assert!(report["blobs"].as_u64().expect("a number") >= 3, "{report}");
    let keys = ["keys/root", "keys/publisher", "keys/node", "keys/peer"];
    assert_eq!(report["files"], serde_json::json!(keys));
    a.json(&["backup", text(&folder), "--check"]);

    let again = a.json(&["backup", text(&folder)]);
    let tarball = a.get("/npm/left-shift/-/left-shift-1.0.0.tgz").body;
    let (realm, publisher, peer) = (a.realm(), a.publisher(), a.peer());
    assert!(a.terminate().success());
    let stopped = a.json(&["backup", text(&folder)]);
    assert_eq!(stopped["new_blobs"], 0, "nothing came after {again}: {stopped}");

    let b = restored(&world, &a, &folder, "b");
    assert_eq!((b.realm(), b.publisher(), b.peer()), (realm, publisher, peer));
    assert_eq!(sha256(&body(&b, "1.0.0")), sha256(&noise(1, 3_000_000)));
    assert_eq!(sha256(&body(&b, "2.0.0")), sha256(&noise(0, 20_000)));
    assert_eq!(b.get("/npm/left-shift/-/left-shift-1.0.0.tgz").body, tarball);
    // The tokens of before are good, and its keys still sign.
    publish(&b, &token, "3.0.0", noise(3, 1_000));
    b.json(&["tag", "tool@3.0.0", "beta", "--format", "generic"]);
    if let Some(npm) = Npm::new(&world, "consumer", &b, None) {
        let project = world.folder("project");
        fs_err::write(project.join("package.json"), r#"{"name":"p","version":"1.0.0"}"#)
            .expect("a file can be written");
        npm.ok(&project, &["install", "left-shift"]);
        let module = fs_err::read_to_string(project.join("node_modules/left-shift/index.js"));
        assert_eq!(module.expect("npm installed it"), module_text("one"));
    }
}

#[test]
fn a_restored_node_changes_no_roles_until_it_is_said_to_be_up_to_date() {
    let world = World::new();
    let mut a = world.node("a");
    let folder = world.path().join("backup");
    a.json(&["backup", text(&folder)]);
    let key = a.publisher();
    assert!(a.terminate().success());
    let b = restored(&world, &a, &folder, "b");
    let (said, _) = b.refused(&["realm", "grant", "generic:too*", &key]);
    assert!(said.contains("--up-to-date"), "{said}");
    assert_eq!(b.json(&["restore", "--up-to-date"])["changed"], true);
    b.json(&["realm", "grant", "generic:too*", &key]);
}

#[test]
fn without_keys_the_restored_node_is_another_one_that_has_the_packages() {
    let world = World::new();
    let a = world.node("a");
    publish(&a, &a.token("publish"), "1.0.0", noise(1, 100_000));
    let folder = world.path().join("backup");
    let report = a.json(&["backup", text(&folder), "--without-keys"]);
    assert_eq!(report["files"], serde_json::json!([]));
    assert!(!folder.join("keys").exists());
    let b = restored(&world, &a, &folder, "b");
    assert_ne!(b.peer(), a.peer());
    assert_ne!(b.realm(), a.realm());
    assert_eq!(b.status()["site"], Value::String(a.realm()));
    // Its own realm is new: nobody can have a newer one.
    b.json(&["realm", "grant", "generic:too*", &b.publisher()]);
    assert_eq!(sha256(&body(&b, "1.0.0")), sha256(&noise(1, 100_000)));
}

/// Two nodes of one site: B has joined A, and holds what A publishes.
fn village(world: &World) -> (Node, Node, String) {
    let (a, b) = (world.node("a"), world.node("b"));
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    b.join(&a);
    let token = a.token("publish");
    publish(&a, &token, "1.0.0", noise(1, 100_000));
    b.wait_held("generic", ("tool", "1.0.0"), EVENTUALLY);
    // B holds all that A holds, and A knows it: what a backup may rely on later.
    let peer = b.peer();
    let said = format!("in sync peer={peer}");
    wait_until("a to be in sync with b", EVENTUALLY, || a.logs().contains(&said));
    (a, b, token)
}

#[test]
fn a_restored_node_is_up_to_date_once_it_met_a_member_that_knew_it() {
    let world = World::new();
    let (mut a, b, token) = village(&world);
    let folder = world.path().join("backup");
    a.json(&["backup", text(&folder)]);
    // What the backup does not have, and b does: releases, a tag, a newer root.
    publish(&a, &token, "2.0.0", noise(2, 100_000));
    a.json(&["tag", "tool@2.0.0", "beta", "--format", "generic"]);
    a.json(&["realm", "grant", "generic:late*", &a.publisher()]);
    b.wait_held("generic", ("tool", "2.0.0"), EVENTUALLY);
    let realm = a.realm();
    wait_until("b to know the newest roles and the tag", EVENTUALLY, || {
        b.griot(&["realm", "show", &realm, "--json"]).contains("late")
            && b.info("generic", "tool")["tags"]["beta"] == "2.0.0"
    });
    a.kill9();
    fs_err::remove_dir_all(a.home()).expect("the node is lost");

    // Alone it signs nothing of its roots, and says what to do.
    let c = restored(&world, &b, &folder, "c");
    assert_eq!(c.realm(), realm);
    assert_eq!(c.status()["restored"], true);
    assert!(c.griot(&["status"]).contains("griot restore --up-to-date"));
    let key = c.publisher();
    let (said, _) = c.refused(&["realm", "grant", "generic:more*", &key]);
    assert!(said.contains("in sync with a member of its site"), "{said}");
    assert!(said.contains("griot restore --up-to-date"), "{said}");
    assert_eq!(c.info("generic", "tool")["tags"]["beta"], Value::Null);

    c.json(&["peer", "add", &b.multiaddress()]);
    wait_until("c to be up to date", EVENTUALLY, || c.status()["restored"] == false);
    c.wait_held("generic", ("tool", "2.0.0"), EVENTUALLY);
    assert_eq!(sha256(&body(&c, "2.0.0")), sha256(&noise(2, 100_000)));
    assert!(c.griot(&["realm", "show", &realm, "--json"]).contains("late"));
    c.json(&["realm", "grant", "generic:more*", &key]);
    // The version is taken, whatever the backup thought.
    let other = Request::put("/generic/tool/2.0.0/tool.bin", noise(9, 1_000)).token(&token);
    assert_eq!(c.send(&other).status, 409);
    publish(&c, &token, "3.0.0", noise(3, 100_000));
    c.json(&["tag", "tool@3.0.0", "beta", "--format", "generic"]);
    b.wait_held("generic", ("tool", "3.0.0"), EVENTUALLY);
    wait_until("b to follow the tag and the roles", EVENTUALLY, || {
        b.info("generic", "tool")["tags"]["beta"] == "3.0.0"
            && b.griot(&["realm", "show", &realm, "--json"]).contains("more")
    });
    for node in [&b, &c] {
        let info = node.info("generic", "tool");
        let versions = info["versions"].as_array().expect("a list of versions");
        assert!(versions.iter().all(|row| row["state"] == "ok"), "{info}");
        let shown = node.json(&["realm", "show", &realm]);
        assert_eq!(shown["status"], b.json(&["realm", "show", &realm])["status"], "{shown}");
        assert_eq!(node.status()["alarms"], serde_json::json!([]));
    }
}

#[test]
fn neither_a_newcomer_nor_a_member_that_was_away_makes_a_restored_node_up_to_date() {
    let world = World::new();
    let (mut a, mut b, token) = village(&world);
    assert!(b.terminate().success());
    publish(&a, &token, "1.1.0", noise(2, 100_000));
    let folder = world.path().join("backup");
    a.json(&["backup", text(&folder)]);
    assert!(a.terminate().success());
    let c = restored(&world, &a, &folder, "c");
    b.up();
    c.json(&["peer", "add", &b.multiaddress()]);
    b.wait_held("generic", ("tool", "1.1.0"), EVENTUALLY);
    let lacked = "the peer lacked something that the backup had";
    wait_until("b to be judged", EVENTUALLY, || c.logs().contains(lacked));
    let d = world.node("d");
    d.join(&c);
    d.wait_held("generic", ("tool", "1.1.0"), EVENTUALLY);
    let unknown = "the peer was not known when the backup was made";
    wait_until("d to be judged", EVENTUALLY, || c.logs().contains(unknown));
    assert_eq!(c.status()["restored"], true);
    let (said, _) = c.refused(&["realm", "grant", "generic:more*", &c.publisher()]);
    assert!(said.contains("griot restore --up-to-date"), "{said}");
    c.json(&["restore", "--up-to-date"]);
    c.json(&["realm", "grant", "generic:more*", &c.publisher()]);
}

/// Whether a file that is being written lies somewhere below.
fn is_under_way(folder: &Path) -> bool {
    let parts = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "part")
            && fs_err::metadata(path).is_ok_and(|file| file.len() > 1_000_000)
    };
    folder.is_dir() && disk::files(folder).iter().any(parts)
}

/// Begins a backup anew and kills it in its middle; false if it had ended by then.
fn is_cut(node: &Node, folder: &Path) -> bool {
    if folder.is_dir() {
        fs_err::remove_dir_all(folder).expect("a folder of the test's own");
    }
    let mut command = node.command(&["backup", text(folder)]);
    let mut cut =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    while matches!(cut.try_wait(), Ok(None)) && !is_under_way(folder) {
        std::thread::yield_now();
    }
    cut.kill().expect("a child of this process can be killed");
    cut.wait().expect("it can be waited for");
    !folder.join("griot-backup.json").exists()
}

#[test]
fn a_backup_killed_in_its_middle_is_none_and_the_next_one_goes_on() {
    let Some(other) = elsewhere() else { return };
    let world = World::new();
    let mut a = world.node("a");
    let token = a.token("publish");
    for number in 0..4_u64 {
        publish(&a, &token, &format!("1.0.{number}"), noise(number, 30_000_000));
    }
    assert!(a.terminate().success());
    let folder = other.path().join("backup");
    assert!((0..20).any(|_| is_cut(&a, &folder)), "each backup was quicker than the kill");
    let (said, _) = a.refused(&["backup", text(&folder), "--check"]);
    assert!(said.contains("no whole backup"), "{said}");
    let home = world.folder("none").join("home");
    let (said, _) = a.refused(&["restore", text(&folder), "--home", text(&home)]);
    assert!(said.contains("no whole backup"), "{said}");
    let report = a.json(&["backup", text(&folder)]);
    assert_eq!(report["blobs"], 4, "{report}");
    a.json(&["backup", text(&folder), "--check"]);
    assert!(disk::files(&folder).iter().all(|path| path.extension().is_none_or(|e| e != "part")));
    // A node that runs meanwhile, and one more blob: only that is copied.
    a.up();
    publish(&a, &a.token("publish"), "1.1.0", noise(9, 50_000));
    let report = a.json(&["backup", text(&folder)]);
    assert_eq!((&report["new_blobs"], &report["new_bytes"]), (&1.into(), &50_000.into()));
    let b = restored(&world, &a, &folder, "b");
    assert_eq!(sha256(&body(&b, "1.0.3")), sha256(&noise(3, 30_000_000)));
}

#[test]
fn a_restore_killed_in_its_middle_lets_no_node_start_and_is_repeated() {
    let world = World::new();
    let mut a = world.node("a");
    let token = a.token("publish");
    for number in 0..4_u64 {
        publish(&a, &token, &format!("1.0.{number}"), noise(number, 30_000_000));
    }
    let folder = world.path().join("backup");
    a.json(&["backup", text(&folder)]);
    assert!(a.terminate().success());
    let home = world.folder("b").join("home");
    let mut command = a.command(&["restore", text(&folder), "--home", text(&home)]);
    let mut cut =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    let part = home.join("tmp/restored.blob");
    wait_until("the restore to be under way", EVENTUALLY, || {
        fs_err::metadata(&part).is_ok_and(|file| file.len() > 1_000_000)
    });
    cut.kill().expect("a child of this process can be killed");
    cut.wait().expect("it can be waited for");
    let up = ["up", "--listen", "127.0.0.1:0", "--no-mdns", "--home", text(&home)];
    let (said, _) = a.refused(&up);
    assert!(said.contains("griot restore"), "{said}");
    let b = restored(&world, &a, &folder, "b");
    for number in 0..4_u64 {
        let version = format!("1.0.{number}");
        assert_eq!(sha256(&body(&b, &version)), sha256(&noise(number, 30_000_000)));
    }
}

#[test]
fn a_damaged_backup_is_refused_with_the_name_of_the_file() {
    let world = World::new();
    let a = world.node("a");
    publish(&a, &a.token("publish"), "1.0.0", noise(1, 100_000));
    let folder = world.path().join("backup");
    a.json(&["backup", text(&folder)]);
    let blobs = disk::files(&folder.join("blobs"));
    let blob = blobs.first().expect("a blob was backed up");
    // Not through the link: the node's own bytes stay.
    let mut bytes = fs_err::read(blob).expect("it can be read");
    bytes[7] ^= 1;
    fs_err::remove_file(blob).expect("it can be removed");
    fs_err::write(blob, bytes).expect("it can be written");
    let name = blob.file_name().and_then(|name| name.to_str()).expect("a digest");
    let home = world.folder("b").join("home");
    for verb in [
        vec!["backup", text(&folder), "--check"],
        vec!["restore", text(&folder), "--home", text(&home)],
    ] {
        let (said, code) = a.refused(&verb);
        assert!(said.contains(name), "{verb:?}: {said}");
        assert_eq!(code, 5, "{verb:?}");
    }
    assert_eq!(sha256(&body(&a, "1.0.0")), sha256(&noise(1, 100_000)));
}
