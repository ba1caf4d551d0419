//! What one node fetched, its neighbours install: with the upstream gone, by a mirror's word.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::harness::upstream::Stub;
use crate::harness::{EVENTUALLY, Node, NodeOptions, Npm, Request, World, wait_until};

/// `app` needs forty packages, some by way of others.
fn upstream() -> Stub {
    let stub = Stub::start();
    for number in 0..40 {
        stub.publish(&format!("part-{number}"), "1.0.0", |p| match number % 3 {
            0 if number + 1 < 40 => p.dependency(&format!("part-{}", number + 1), "^1.0.0"),
            _ => p,
        });
    }
    stub.publish("app", "1.0.0", |p| {
        (0..40).step_by(2).fold(p, |p, n| p.dependency(&format!("part-{n}"), "^1.0.0"))
    });
    stub
}

fn site(world: &World, stub: &Stub) -> Option<Node> {
    let a = world.node("a");
    Npm::new(world, "probe", &a, None)?;
    a.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    Some(a)
}

/// Installs `app` with an empty cache; the project's folder.
fn install(world: &World, name: &str, node: &Node) -> PathBuf {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    npm.ok(&project, &["install", "app", "--no-audit", "--replace-registry-host=always"]);
    check(&project);
    project
}

/// `npm ci` from a lockfile, with an empty cache.
fn install_locked(world: &World, name: &str, node: &Node, from: &Path) {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    for file in ["package.json", "package-lock.json"] {
        fs_err::copy(from.join(file), project.join(file)).expect("a project can be copied");
    }
    npm.ok(&project, &["ci", "--no-audit", "--replace-registry-host=always"]);
    check(&project);
}

fn check(project: &Path) {
    for name in ["app", "part-0", "part-37"] {
        let module = project.join("node_modules").join(name).join("index.js");
        let text = fs_err::read_to_string(module).expect("npm installed the module");
        assert_eq!(text, format!("module.exports = '{name}@1.0.0';\n"));
    }
}

fn lockfile(project: &Path) -> Vec<u8> {
    fs_err::read(project.join("package-lock.json")).expect("npm wrote a lockfile")
}

#[test]
fn what_a_fetched_b_installs_with_the_upstream_gone_and_alone_after_a_prefetch() {
    let world = World::new();
    let stub = upstream();
    let Some(mut a) = site(&world, &stub) else { return };
    let project = install(&world, "at-a", &a);
    let mut b = world.node("b");
    b.json(&["join", &a.invite(), "--yes"]);
    let upstreams = b.griot(&["upstream", "list", "--json"]);
    assert!(upstreams.contains(stub.url().trim_end_matches('/')), "{upstreams}");
    stub.switch(|s| s.black_hole = true);
    stub.forget_requests();

    install_locked(&world, "b-ci", &b, &project);
    // A second neighbour, which holds nothing yet, resolves anew: documents by receipts.
    let mut c = world.node("c");
    c.json(&["join", &a.invite(), "--yes"]);
    assert_eq!(lockfile(&install(&world, "c-install", &c)), lockfile(&project));
    let why = c.griot(&["why", "part-2", "--format", "npm"]);
    assert!(why.contains("receipt"), "on what ground is it believed: {why}");
    let lock = project.join("package-lock.json");
    let lock = lock.to_str().expect("paths of tests are UTF-8");
    c.griot(&["prefetch", lock]);
    c.griot(&["check", lock]);

    // The cable out of both, and C begins anew.
    a.kill9();
    b.kill9();
    c.kill9();
    c.up();
    install_locked(&world, "c-alone", &c, &project);
    assert_eq!(lockfile(&install(&world, "c-alone-anew", &c)), lockfile(&project));
    let npm = Npm::new(&world, "c-unknown", &c, None).expect("npm was there");
    let said = npm.refused(&npm.project(), &["install", "no-such-part"]);
    assert!(said.contains("424") && said.contains("no copy is held"), "{said}");
    let answered = stub.requests().into_iter().filter(|seen| seen.status.is_some()).count();
    assert_eq!(answered, 0, "the upstream was a black hole");
    drop((a, b));
}

#[test]
fn who_joins_and_asks_at_once_waits_for_what_the_member_tells() {
    let world = World::new();
    let stub = Stub::start();
    let a = world.node("a");
    a.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    for number in 0..300 {
        let name = format!("part-{number}");
        stub.publish(&name, "1.0.0", |p| p);
        assert_eq!(a.get(&format!("/npm/{name}")).status, 200, "{name}");
    }
    let b = world.node("b");
    // Refused at once: nothing but the meeting takes time.
    drop(stub);
    b.json(&["join", &a.invite(), "--yes"]);
    // From the first moment on, so that some ask just when the last of it is told.
    std::thread::scope(|scope| {
        for first in 0..20 {
            let b = &b;
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(first as u64 * 10));
                for number in (first..300).rev().step_by(20) {
                    let text = b.get(&format!("/npm/part-{number}")).text();
                    // The document came; its bytes nobody has asked for.
                    let came = text.contains("all 1 versions cannot be had now");
                    assert!(came, "part-{number}: {text}");
                }
            });
        }
    });
}

#[test]
fn who_did_not_take_the_mirrors_at_their_word_gets_locked_bytes_and_no_documents() {
    let world = World::new();
    let stub = upstream();
    let Some(a) = site(&world, &stub) else { return };
    install(&world, "at-a", &a);
    let b = world.node("b");
    b.json(&["join", &a.invite(), "--no-mirror"]);
    stub.down();
    let reply = b.get("/npm/part-1");
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(reply.text().contains("part-1"), "{}", reply.text());
}

#[test]
fn a_node_that_merely_met_gets_no_cached_bytes() {
    let world = World::new();
    let stub = upstream();
    let Some(a) = site(&world, &stub) else { return };
    install(&world, "at-a", &a);
    let options = NodeOptions { peers: vec![a.multiaddress()], ..NodeOptions::default() };
    let met = Node::start(&world, "met", options);
    met.json(&["upstream", "add", "npm", &stub.url()]);
    wait_until("the two to be connected", EVENTUALLY, || met.peers().contains(&a.peer()));
    stub.down();
    assert_eq!(met.get("/npm/part-1").status, 424);
    assert_eq!(met.get("/npm/part-1/-/part-1-1.0.0.tgz").status, 424);
}

#[test]
fn who_is_no_member_any_more_gets_no_cached_bytes() {
    let world = World::new();
    let stub = upstream();
    let Some(a) = site(&world, &stub) else { return };
    install(&world, "at-a", &a);
    let b = world.node("b");
    let invite = a.invite();
    b.json(&["join", &invite, "--yes"]);
    stub.down();
    wait_until("b to install from a", EVENTUALLY, || b.get("/npm/part-1").status == 200);
    let listed = a.json(&["peer", "list"]);
    assert_eq!(listed["members"][0]["peer"], b.peer().as_str(), "{listed}");
    // The start of the id is enough, as it is shown.
    let start: String = b.peer().chars().take(20).collect();
    let gone = a.json(&["peer", "remove", "--member", &start]);
    assert_eq!(gone["peer"], b.peer().as_str());
    assert_eq!(b.get("/npm/part-2").status, 424);
    assert_eq!(b.get("/npm/part-1/-/part-1-1.0.0.tgz").status, 424);
    let (said, _) = a.refused(&["peer", "remove", "--member", &start]);
    assert!(said.contains("griot peer list"), "{said}");
    // The invite is used up: it makes nobody a member again.
    let joined = b.json(&["join", &invite, "--yes"]);
    assert_eq!(joined["request"]["state"], "refused", "{joined}");
    assert_eq!(b.get("/npm/part-3").status, 424);
}

#[test]
fn yesterdays_install_works_today_although_a_release_was_heard_of_that_nobody_near_holds() {
    let world = World::new();
    let stub = upstream();
    let Some(mut a) = site(&world, &stub) else { return };
    install(&world, "yesterday", &a);
    stub.publish("part-1", "1.1.0", |p| p);
    let ask = Request::get("/npm/part-1").header("cache-control", "no-cache");
    wait_until("the new release to be heard of", EVENTUALLY, || {
        a.send(&ask).text().contains("\"1.1.0\"")
    });
    stub.switch(|s| s.black_hole = true);
    a.kill9();
    a.up();

    install(&world, "today", &a);
    let document = a.get("/npm/part-1");
    let body: Value = serde_json::from_slice(&document.body).expect("a packument is JSON");
    assert_eq!(body["dist-tags"]["latest"], "1.0.0", "the tag falls back");
    assert!(body["versions"].get("1.1.0").is_none(), "{body}");
    assert_eq!(document.header("x-griot-hidden-versions"), Some("1"));
    assert!(a.griot(&["why", "part-1", "--format", "npm"]).contains("1.1.0"));
    // What is asked for exactly is not hidden, but cannot be had.
    assert_eq!(a.get("/npm/part-1/-/part-1-1.1.0.tgz").status, 424);
    stub.switch(|s| s.black_hole = false);
    wait_until("the want to be fetched once the upstream answers", EVENTUALLY, || {
        a.get("/npm/part-1/-/part-1-1.1.0.tgz").status == 200
    });
}

#[test]
fn two_that_know_a_third_find_each_other_and_talk_on_when_it_is_gone() {
    let world = World::new();
    let mut b = world.node("b");
    let (a, c) = (world.node("a"), world.node("c"));
    b.json(&["realm", "grant", "generic:*", &c.publisher()]);
    a.join(&b);
    c.join(&b);
    let (peer_a, peer_c) = (a.peer(), c.peer());
    wait_until("a to find c", EVENTUALLY, || a.peers().contains(&peer_c));
    wait_until("c to find a", EVENTUALLY, || c.peers().contains(&peer_a));
    b.kill9();

    let file = world.folder("sources").join("drum.txt");
    fs_err::write(&file, "boom").expect("the test's folder can be written");
    let file = file.to_str().expect("a plain path");
    c.json(&["publish", "--format", "generic", "--name", "drum", "--version", "1.0.0", file]);
    a.wait_held("generic", ("drum", "1.0.0"), EVENTUALLY);
}
