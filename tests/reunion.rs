//! Two nodes that publish apart and meet again; a third that comes later.
//!
//! They are apart because one is always down while the other is up: no timing decides anything.

use std::path::Path;

use serde_json::Value;

use crate::harness::samples::{module_text, npm_package, sha256};
use crate::harness::{EVENTUALLY, Node, Npm, SOON, World, wait_until};

fn publish(npm: &Npm, sources: &Path, id: (&str, &str), says: &str) {
    npm.ok(&npm_package(sources, id.0, id.1, says), &["publish"]);
}

/// Installs into an empty project and returns what the module says.
fn install(world: &World, name: &str, node: &Node, package: &str) -> String {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    npm.ok(&project, &["install", package]);
    let name = package.split('@').next().expect("a split has a first part");
    let module = project.join("node_modules").join(name).join("index.js");
    fs_err::read_to_string(module).expect("npm installed the module")
}

fn tarball(node: &Node) -> Vec<u8> {
    let reply = node.get("/npm/fork/-/fork-1.2.0.tgz");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.body
}

fn digest(node: &Node) -> String {
    let row = node.version("npm", "fork", "1.2.0");
    crate::harness::node::text(&row["artifacts"][0], "digest")
}

/// A grants B's key; both hold fork@1.0.0 and know of the grant. False: skipped.
fn settle(world: &World, a: &Node, b: &Node) -> bool {
    let Some(npm) = Npm::new(world, "a-before", a, Some(&a.token("publish"))) else { return false };
    a.json(&["realm", "grant", "npm:*", &b.publisher()]);
    b.join(a);
    publish(&npm, &world.folder("sources"), ("fork", "1.0.0"), "common");
    b.wait_held("npm", ("fork", "1.0.0"), SOON);
    let (realm, key) = (a.realm(), b.publisher());
    wait_until("b to know that it may publish", SOON, || {
        b.griot(&["realm", "show", &realm, "--json"]).contains(&key)
    });
    true
}

/// What A publishes while it is alone.
fn alone_a(world: &World, a: &Node) {
    let sources = world.folder("sources-a");
    let npm = Npm::new(world, "a-alone", a, Some(&a.token("publish"))).expect("npm was there");
    publish(&npm, &sources, ("fork", "1.1.0"), "from a");
    publish(&npm, &sources, ("fork", "1.2.0"), "a says so");
    assert_eq!(install(world, "a-pins", a, "fork@1.2.0"), module_text("a says so"));
}

/// What B publishes while it is alone: by npm with a token for A's realm, and by the command.
fn alone_b(world: &World, b: &Node, realm: &str) {
    let sources = world.folder("sources-b");
    let token = b.token_for("publish", Some(realm));
    let npm = Npm::new(world, "b-alone", b, Some(&token)).expect("npm was there");
    publish(&npm, &sources, ("fork", "1.2.0"), "b says so");
    let own = npm_package(&sources, "spoon", "1.0.0", "spoon");
    let own = own.to_str().expect("paths of tests are UTF-8");
    let published = b.json(&["publish", "--realm", realm, own]);
    assert!(published.to_string().contains(realm), "{published}");
    assert_eq!(install(world, "b-pins", b, "fork@1.2.0"), module_text("b says so"));
}

#[test]
fn a_version_published_apart_with_different_bytes_is_disputed_and_nobody_is_switched() {
    let world = World::new();
    let mut a = world.node("a");
    let mut b = world.node("b");
    let realm = a.realm();
    if !settle(&world, &a, &b) {
        return;
    }
    assert!(b.terminate().success());
    alone_a(&world, &a);
    let (bytes_a, digest_a) = (tarball(&a), digest(&a));
    assert!(a.terminate().success());
    b.up();
    alone_b(&world, &b, &realm);
    let (bytes_b, digest_b) = (tarball(&b), digest(&b));
    assert_ne!(digest_a, digest_b);
    a.up();

    for node in [&a, &b] {
        node.wait_state("npm", ("fork", "1.2.0"), "disputed-pinned");
        node.wait_state("npm", ("fork", "1.1.0"), "ok");
        node.wait_held("npm", ("spoon", "1.0.0"), EVENTUALLY);
    }
    assert_eq!(tarball(&a), bytes_a);
    assert_eq!(tarball(&b), bytes_b);
    assert_eq!(install(&world, "a-after", &a, "fork@1.2.0"), module_text("a says so"));
    assert_eq!(install(&world, "b-after", &b, "fork@1.2.0"), module_text("b says so"));

    let c = world.node("c");
    c.join(&a);
    newcomer_gets_neither_by_name(&world, &c);
    for (digest, bytes) in [(&digest_a, bytes_a), (&digest_b, bytes_b)] {
        let reply = c.get(&format!("/api/blobs/{digest}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(sha256(&reply.body), sha256(&bytes));
    }

    // A person's word, and nothing else, takes one of the two; on that node alone.
    c.json(&["accept", "fork@1.2.0", "--format", "npm", "--digest", &digest_b]);
    assert_eq!(install(&world, "c-accepted", &c, "fork@1.2.0"), module_text("b says so"));
    assert_eq!(install(&world, "a-later", &a, "fork@1.2.0"), module_text("a says so"));
}

/// A node that has served neither content serves neither, and says so.
fn newcomer_gets_neither_by_name(world: &World, c: &Node) {
    c.wait_state("npm", ("fork", "1.2.0"), "disputed");
    c.wait_held("npm", ("fork", "1.1.0"), EVENTUALLY);
    let npm = Npm::new(world, "newcomer", c, None).expect("npm was there a moment ago");
    let said = npm.refused(&npm.project(), &["install", "fork@1.2.0"]);
    assert!(said.contains("1.2.0"), "{said}");
    let (said, _) = c.refused(&["add", "fork@1.2.0", "--format", "npm"]);
    assert!(said.contains("disputed") && said.contains("hint:"), "{said}");
    let reply = c.get("/npm/fork/-/fork-1.2.0.tgz");
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    assert!(reply.json()["error"].to_string().contains("disputed"), "{}", reply.text());
    assert_eq!(install(world, "newcomer-latest", c, "fork"), module_text("from a"));
}

#[test]
fn a_key_that_was_granted_nothing_cannot_publish_into_the_realm() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    let source = npm_package(&world.folder("sources"), "spoon", "1.0.0", "spoon");
    let source = source.to_str().expect("paths of tests are UTF-8");
    let (said, _) = b.refused(&["publish", "--realm", &a.realm(), source]);
    assert!(said.contains("hint:"), "{said}");
    assert_eq!(b.info("npm", "spoon"), Value::Null);
}

#[test]
fn what_was_known_before_a_restart_is_known_after_it() {
    let world = World::new();
    let mut a = world.node("a");
    let mut b = world.node("b");
    if !settle(&world, &a, &b) {
        return;
    }
    let before = b.info("npm", "fork");
    let status = b.status();
    a.kill9();
    b.kill9();
    b.up();
    assert_eq!(b.info("npm", "fork"), before);
    assert_eq!(b.status()["node"], status["node"]);
    assert_eq!(b.status()["index"], status["index"]);
    assert_eq!(install(&world, "after", &b, "fork"), module_text("common"));
    a.up();
    let peer = a.peer();
    wait_until("b to find a again", EVENTUALLY, || b.peers().contains(&peer));
}
