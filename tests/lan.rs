//! Two hosts on one cable: they meet by mDNS, and agree again after the cable was out.
//!
//! These need network namespaces, thus root and `ip`; without them they skip.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::samples::{module_text, npm_package};
use crate::harness::{EVENTUALLY, Lan, Node, NodeOptions, Npm, World, wait_until};

fn on_lan(world: &World, lan: &Lan, side: usize, mdns: bool) -> Node {
    let options = NodeOptions {
        mdns,
        mesh_listen: format!("/ip4/{}/tcp/0", lan.address(side)),
        host: Some(lan.host(side)),
        ..NodeOptions::default()
    };
    Node::start(world, ["a", "b"][side], options)
}

fn publish(npm: &Npm, sources: &Path, name: &str, version: &str) {
    npm.ok(&npm_package(sources, name, version, version), &["publish"]);
}

fn check_module(project: &Path, name: &str, says: &str) {
    let module = project.join("node_modules").join(name).join("index.js");
    let module = fs_err::read_to_string(module).expect("npm installed the module");
    assert_eq!(module, module_text(says));
}

#[test]
fn neighbours_met_by_mdns_and_followed_keep_what_was_published() {
    let Some(lan) = Lan::new() else { return };
    let world = World::new();
    let mut a = on_lan(&world, &lan, 0, true);
    let Some(npm) = Npm::new(&world, "publisher", &a, Some(&a.token("publish"))) else { return };
    a.json(&["realm", "grant", "npm:left-*", &a.publisher()]);
    let b = on_lan(&world, &lan, 1, true);
    let peer = a.peer();
    wait_until("b to meet a by mDNS", EVENTUALLY, || b.peers().contains(&peer));
    b.follow(&a);
    publish(&npm, &world.folder("sources"), "left-shift", "1.0.0");
    b.wait_held("npm", ("left-shift", "1.0.0"), EVENTUALLY);
    a.kill9();

    let consumer = Npm::new(&world, "consumer", &b, None).expect("npm was there a moment ago");
    let project = consumer.project();
    consumer.ok(&project, &["install", "left-shift"]);
    check_module(&project, "left-shift", "1.0.0");
}

#[test]
fn what_was_published_on_both_sides_of_a_cut_cable_is_on_both_sides_after_it_heals() {
    let Some(lan) = Lan::new() else { return };
    let world = World::new();
    let a = on_lan(&world, &lan, 0, false);
    let b = on_lan(&world, &lan, 1, false);
    let Some(npm_a) = Npm::new(&world, "a", &a, Some(&a.token("publish"))) else { return };
    a.json(&["realm", "grant", "npm:*", &b.publisher()]);
    b.join(&a);
    let sources = world.folder("sources");
    publish(&npm_a, &sources, "before", "1.0.0");
    b.wait_held("npm", ("before", "1.0.0"), EVENTUALLY);

    lan.set_cable(false);
    publish(&npm_a, &sources, "from-a", "1.0.0");
    let npm_b = Npm::new(&world, "b", &b, Some(&b.token_for("publish", Some(&a.realm()))))
        .expect("npm was there a moment ago");
    publish(&npm_b, &sources, "from-b", "1.0.0");
    assert_eq!(b.info("npm", "from-a"), Value::Null);
    assert_eq!(a.info("npm", "from-b"), Value::Null);

    lan.set_cable(true);
    a.wait_held("npm", ("from-b", "1.0.0"), EVENTUALLY);
    b.wait_held("npm", ("from-a", "1.0.0"), EVENTUALLY);
    let project = npm_a.project();
    npm_a.ok(&project, &["install", "from-b"]);
    check_module(&project, "from-b", "1.0.0");
}

#[test]
fn two_nodes_with_the_default_ports_live_on_one_machine_and_one_joins_the_other() {
    let Some(lan) = Lan::new() else { return };
    let world = World::new();
    let options = NodeOptions {
        mesh_listen: String::new(),
        host: Some(lan.host(0)),
        ..NodeOptions::default()
    };
    let mut a = Node::start(&world, "a", options.clone());
    let mut b = Node::start(&world, "b", options);
    assert!(a.multiaddress().contains("/tcp/7879/"), "{}", a.multiaddress());
    assert!(a.status()["mesh"].to_string().contains("/udp/7879/quic-v1/"), "{}", a.status());
    let port = b.mesh_socket().port();
    assert_ne!(port, 7879);
    assert!(b.status()["mesh"].to_string().contains(&format!("/udp/{port}/quic-v1/")));
    let Some(npm) = Npm::new(&world, "publisher", &a, Some(&a.token("publish"))) else { return };
    b.join(&a);
    let sources = world.folder("sources");
    publish(&npm, &sources, "left-shift", "1.0.0");
    b.wait_held("npm", ("left-shift", "1.0.0"), EVENTUALLY);

    // Both start again, in the other order: each listens where its peers know it.
    let (mesh_a, mesh_b) = (a.multiaddress(), b.multiaddress());
    a.terminate();
    b.terminate();
    b.up();
    a.up();
    assert_eq!((a.multiaddress(), b.multiaddress()), (mesh_a, mesh_b));
    let npm = Npm::new(&world, "again", &a, Some(&a.token("publish"))).expect("npm was there");
    publish(&npm, &sources, "left-shift", "1.1.0");
    b.wait_held("npm", ("left-shift", "1.1.0"), EVENTUALLY);
}

/// Without a look at the network the line is noticed to be dead by a ping, after a minute or two.
const SECONDS: Duration = Duration::from_secs(30);

fn talks_again_after_a_move(mesh_listen: &str, transport: Option<&str>) {
    let Some(lan) = Lan::new() else { return };
    let world = World::new();
    let on = |side: usize| NodeOptions {
        mesh_listen: mesh_listen.to_owned(),
        host: Some(lan.host(side)),
        ..NodeOptions::default()
    };
    let a = Node::start(&world, "a", on(0));
    let b = Node::start(&world, "b", on(1));
    b.join(&a);
    let file = world.folder("sources").join("drum.txt");
    fs_err::write(&file, "boom").expect("the test's folder can be written");
    let publish = |version: &str| {
        let file = file.to_str().expect("a plain path");
        let what = ["publish", "--format", "generic", "--name", "drum", "--version", version, file];
        a.json(&what);
    };
    publish("1.0.0");
    b.wait_held("generic", ("drum", "1.0.0"), EVENTUALLY);
    let way = |node: &Node| node.status()["peers"][0]["transport"].clone();
    let is_right = |way: Value| transport.is_none_or(|transport| way == transport);
    assert!(is_right(way(&a)) && is_right(way(&b)), "{} {}", a.status(), b.status());

    // The one that dialled moves, and later the one that was dialled.
    let moved = lan.move_host(1);
    publish("1.1.0");
    b.wait_held("generic", ("drum", "1.1.0"), SECONDS);
    wait_until("a to hear where b is now", EVENTUALLY, || {
        a.logs().lines().any(|line| line.contains("heard where a peer is") && line.contains(&moved))
    });
    lan.move_host(0);
    publish("1.2.0");
    b.wait_held("generic", ("drum", "1.2.0"), SECONDS);
    assert!(is_right(way(&b)), "{}", b.status());
}

#[test]
fn a_host_whose_address_changes_talks_again_within_seconds() {
    talks_again_after_a_move("", None);
}

#[test]
fn a_host_whose_address_changes_talks_again_within_seconds_over_quic() {
    talks_again_after_a_move("/ip4/0.0.0.0/udp/7879/quic-v1", Some("quic"));
}
