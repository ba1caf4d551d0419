//! A week apart: three nodes publish each for itself, and then have so many bytes to meet by.
//!
//! The full length is `GRIOT_APART=2000 cargo test -p griot --test e2e apart::`.

use std::collections::BTreeMap;

use crate::harness::samples::noise;
use crate::harness::{EVENTUALLY, Forwarder, Node, Request, SOON, World, wait_for, wait_until};

/// Bytes of a file.
const FILE: usize = 20_000;
/// Releases of each node while it is alone.
const RELEASES: usize = 50;

fn releases() -> usize {
    let asked = std::env::var("GRIOT_APART").ok();
    asked.map_or(RELEASES, |text| text.parse().expect("GRIOT_APART is a number"))
}

fn path(name: &str) -> String {
    format!("/generic/{name}/1.0.0/{name}.bin")
}

fn publish(node: &Node, whose: &str, count: usize) {
    let token = node.token("publish");
    for number in 0..count {
        let name = format!("{whose}-{number}");
        let put = Request::put(&path(&name), noise(number as u64, FILE)).token(&token);
        assert_eq!(node.send(&put).status, 201, "{name}");
    }
}

/// A link from `from` to `to`, which is up.
fn link(from: &Node, to: &Node) -> Forwarder {
    let link = Forwarder::to(to.mesh_socket(), 0);
    from.json(&["peer", "add", &link.multiaddress(&to.peer())]);
    let peer = to.peer();
    wait_until("the two to meet", SOON, || from.peers().contains(&peer));
    link
}

/// Which of the others' files are held at `node`.
fn held(node: &Node, count: usize) -> BTreeMap<String, bool> {
    let names = ["a", "b"].iter().flat_map(|of| (0..count).map(move |n| format!("{of}-{n}")));
    names
        .map(|name| {
            let row = node.version("generic", &name, "1.0.0");
            let is_held = row["artifacts"][0]["held"] == true;
            (name, is_held)
        })
        .collect()
}

#[test]
fn after_a_week_apart_the_index_agrees_what_is_wanted_comes_and_the_budget_holds() {
    let (world, count) = (World::new(), releases());
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let node = world.node(name);
        node.json(&["realm", "grant", &format!("generic:{name}-*"), &node.publisher()]);
        node
    });
    let links = [link(&b, &a), link(&c, &a), link(&c, &b)];
    for (one, other) in [(&a, &b), (&a, &c), (&b, &a), (&b, &c), (&c, &a), (&c, &b)] {
        one.follow(other);
    }
    links.iter().for_each(Forwarder::cut);
    for (node, whose) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        publish(node, whose, count);
    }
    let amount = count * FILE;
    c.json(&["budget", "set", &format!("{amount}B/month"), "--link", "lan"]);
    let before = links[1].carried() + links[2].carried();
    links.iter().for_each(Forwarder::heal);

    let all = (3 * count) as u64;
    wait_for("all three to have the same index", 4 * EVENTUALLY, || {
        let of = |node: &Node| node.status()["index"]["releases"].as_u64().unwrap_or(0);
        let found = [&a, &b, &c].map(of);
        if found == [all; 3] { Ok(()) } else { Err(format!("{found:?} of {all}")) }
    });
    wait_until("what nobody waits for to be held back", 4 * EVENTUALLY, || {
        let report = c.json(&["budget", "show"]);
        let mut waiting = report["waiting"].as_array().into_iter().flatten();
        waiting.any(|one| one["lane"] == "bulk")
    });
    let lacks: Vec<String> =
        held(&c, count).into_iter().filter(|(_, held)| !held).map(|(name, _)| name).collect();
    assert!(!lacks.is_empty(), "the budget held nothing back");
    let wanted = lacks.first().expect("one lacks");
    let body = wait_for("what somebody waits for", EVENTUALLY, || {
        let reply = c.get(&path(wanted));
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.text()) }
    });
    let number = wanted.split('-').nth(1).and_then(|number| number.parse().ok());
    assert_eq!(body, noise(number.expect("names end in a number"), FILE));
    let carried = links[1].carried() + links[2].carried();
    assert!(carried <= amount as u64, "{carried} bytes of {amount}, {before} before they parted");
    assert!(held(&c, count).values().any(|held| !held), "bulk came past the budget");
}
