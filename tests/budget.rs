//! What links cost and may cost: the counters against bytes that a forwarder counted, and a budget
//! that holds big files back, tells so, and lets go again.

use serde_json::Value;

use crate::harness::samples::noise;
use crate::harness::{
    EVENTUALLY, Forwarder, Node, NodeOptions, Request, SOON, World, wait_for, wait_until,
};

/// `b` follows `a` and knows it by the link alone.
fn linked(world: &World) -> (Node, Node, Forwarder) {
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:file-*", &a.publisher()]);
    let link = Forwarder::to(a.mesh_socket(), 0);
    let peers = vec![link.multiaddress(&a.peer())];
    let b = Node::start(world, "b", NodeOptions { peers, ..NodeOptions::default() });
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    (a, b, link)
}

fn path(name: &str) -> String {
    format!("/generic/{name}/1.0.0/{name}.bin")
}

fn put(node: &Node, name: &str, bytes: usize) {
    let token = node.token("publish");
    let put = Request::put(&path(name), noise(bytes as u64, bytes)).token(&token);
    assert_eq!(node.send(&put).status, 201, "{name}");
}

/// What a node says that its links to a peer have carried this month.
fn counted(node: &Node, peer: &str) -> u64 {
    let report = node.json(&["budget", "show"]);
    let rows = report["traffic"].as_array().expect("there is traffic").iter();
    let of_peer = rows.filter(|row| row["peer"] == peer && is_month(row));
    of_peer.filter_map(|row| Some(row["sent"].as_u64()? + row["received"].as_u64()?)).sum()
}

fn is_month(row: &Value) -> bool {
    row["label"].as_str().is_some_and(|label| label.len() == "2026-11".len())
}

#[test]
fn every_byte_of_a_link_is_counted_at_both_ends_and_a_kill_loses_little() {
    let world = World::new();
    let (a, mut b, link) = linked(&world);
    put(&a, "file-tool", 400_000);
    b.wait_held("generic", ("file-tool", "1.0.0"), EVENTUALLY);
    wait_for("both to have counted what passed", EVENTUALLY, || {
        let (of_a, of_b) = (counted(&a, &b.peer()), counted(&b, &a.peer()));
        let carried = link.carried();
        if of_a == carried && of_b == carried && carried > 400_000 {
            Ok(())
        } else {
            Err(format!("{of_a} and {of_b} of {carried}"))
        }
    });
    let before = counted(&b, &a.peer());
    // What is promised: after so long it is on the disk.
    std::thread::sleep(std::time::Duration::from_secs(7));
    b.kill9();
    b.up();
    assert!(counted(&b, &a.peer()) + 4_096 >= before, "the counts are lost");
}

#[test]
fn a_budget_holds_big_files_back_and_lets_them_go_when_it_is_cleared() {
    let world = World::new();
    let (a, b, link) = linked(&world);
    let set = b.json(&["budget", "set", "1MB/month", "--link", "lan"]);
    assert_eq!(set["budgets"][0]["amount"]["bytes"], 1_000_000, "{set}");
    put(&a, "file-first", 500_000);
    b.wait_held("generic", ("file-first", "1.0.0"), EVENTUALLY);
    put(&a, "file-second", 480_000);
    wait_until("b to say that the second waits", EVENTUALLY, || {
        let report = b.json(&["budget", "show"]);
        report["waiting"].as_array().is_some_and(|all| all.iter().any(|one| one["files"] == 1))
    });
    let said = b.griot(&["status"]);
    assert!(said.contains("1 file (480.0 kB, bulk) waits: the budget of lan"), "{said}");
    // Nor does a person get it, and he is told why.
    let reply = b.get(&path("file-second"));
    assert!([404, 424].contains(&reply.status), "{}: {}", reply.status, reply.text());
    assert!(reply.text().contains("waits: the budget of lan"), "{}", reply.text());
    // What is small enough for those who wait passes.
    put(&a, "file-third", 320_000);
    let third = wait_for("what somebody waits for", EVENTUALLY, || {
        let reply = b.get(&path("file-third"));
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.text()) }
    });
    assert_eq!(third, noise(320_000, 320_000));
    assert!(link.carried() < 1_000_000, "{} bytes passed", link.carried());
    assert_eq!(b.json(&["budget", "clear", "--link", "lan"])["changed"], true);
    b.wait_held("generic", ("file-second", "1.0.0"), EVENTUALLY);
}

#[test]
fn a_budget_survives_a_restart_and_wrong_ones_are_refused() {
    let world = World::new();
    let mut a = world.node("a");
    a.json(&["budget", "set", "300MB/month", "--hours", "01:00-05:00", "--metered"]);
    a.kill9();
    a.up();
    let shown = a.json(&["budget", "show"]);
    let budget = &shown["budgets"][0];
    assert_eq!(budget["links"], "wan", "{shown}");
    assert_eq!(budget["hours"], "01:00-05:00", "{shown}");
    assert_eq!((&budget["metered"], &shown["clock"]), (&true.into(), &true.into()), "{shown}");
    assert!(a.griot(&["status"]).contains("budget beyond this network: used 0 B of 300.0 MB"));
    for wrong in [
        &["budget", "set"] as &[&str],
        &["budget", "set", "many"],
        &["budget", "set", "1MB/month", "--hours", "1-5"],
        &["budget", "set", "1MB/month", "--peer", "nobody"],
    ] {
        assert_eq!(a.refused(wrong).1, 2, "{wrong:?}");
    }
    assert_eq!(a.json(&["budget", "clear"])["changed"], true);
    assert_eq!(a.json(&["budget", "clear"])["changed"], false);
}

#[test]
fn without_a_clock_the_month_is_counted_by_running_and_hours_are_not_known() {
    let Some(early) = crate::harness::Clock::at("1970-01-02 00:00:00") else { return };
    let world = World::new();
    let options = NodeOptions { clock: Some(early), ..NodeOptions::default() };
    let a = Node::start(&world, "a", options);
    a.json(&["budget", "set", "300MB/month", "--hours", "01:00-05:00"]);
    assert_eq!(a.json(&["budget", "show"])["clock"], false);
    assert!(a.griot(&["status"]).contains("the clock is not set (1970)"));
}

#[test]
fn what_the_system_says_of_the_way_out_counts() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let tools = world.folder("tools");
    let nmcli = tools.join("nmcli");
    fs_err::write(
        &nmcli,
        "#!/bin/sh\necho GENERAL.METERED:unknown\necho 'GENERAL.METERED:yes (guessed)'\n",
    )
    .expect("a script can be written");
    let mode = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(&nmcli, mode).expect("a mode can be set");
    let path = std::env::var("PATH").expect("there is a PATH");
    let environment = vec![("PATH".to_owned(), format!("{}:{path}", tools.display()))];
    let a = Node::start(&world, "a", NodeOptions { environment, ..NodeOptions::default() });
    wait_until("the system to be asked", SOON, || {
        a.griot(&["status"]).contains("metered: the system says so")
    });
    assert_eq!(a.json(&["budget", "show"])["system"], true);
}
