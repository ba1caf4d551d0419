//! A thin link between two nodes, with the upstream gone: what goes over it, how long it takes, and
//! what a cut costs.
//!
//! B joins A through a forwarder that counts bytes and limits their rate; it knows no other address
//! of A. Figures that hang on the machine are printed, not asserted: run with `--nocapture`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use node::daemon::invite::Invite;
use serde_json::json;

use crate::harness::upstream::Stub;
use crate::harness::wait::{run, said, wait_exit};
use crate::harness::{
    EVENTUALLY, Forwarder, Node, NodeOptions, Npm, Request, World, wait_for, wait_until,
};

/// What npm asks with.
const ACCEPT: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
/// Packages that `app` needs.
const PARTS: usize = 60;
/// Those among them that have many versions.
const LONG: usize = 8;
/// How many.
const VERSIONS: usize = 300;
/// 256 kbit/s.
const THIN: u64 = 32_000;
/// Long enough to see what an idle connection costs.
const IDLE: Duration = Duration::from_secs(5);

/// A site of one node, which has adopted the stub.
fn site(world: &World, stub: &Stub) -> Option<Node> {
    let a = by_hand(world, "a");
    Npm::new(world, "probe", &a, None)?;
    a.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    Some(a)
}

/// One that goes by the forwarder alone: told where the other is, it would go there straight after
/// a cut.
fn by_hand(world: &World, name: &str) -> Node {
    let arguments = vec!["--no-introductions".to_owned()];
    Node::start(world, name, NodeOptions { arguments, ..NodeOptions::default() })
}

/// A node that joined `a`, and knows it by the link's address alone.
fn joined(world: &World, name: &str, a: &Node, link: &Forwarder) -> Node {
    let b = by_hand(world, name);
    let mut invite: Invite = a.invite().parse().expect("an invite can be read");
    let address = link.multiaddress(&a.peer());
    let bare = address.split("/p2p/").next().expect("a text has a first part");
    invite.addresses = vec![bare.parse().expect("the forwarder has a multiaddress")];
    let joined = b.json(&["join", &invite.to_string(), "--yes"]);
    assert_eq!(joined["request"]["state"], "welcome", "{joined}");
    b
}

/// Waits until `b` holds all statements of `a`: the receipts are the last of them.
fn caught_up(a: &Node, b: &Node) {
    let statements = |node: &Node| node.status()["index"]["statements"].as_u64();
    let of_a = statements(a);
    assert!(of_a.is_some());
    wait_for("all receipts to arrive", EVENTUALLY, || {
        let of_b = statements(b);
        if of_b >= of_a { Ok(()) } else { Err(format!("{of_b:?} of {of_a:?}")) }
    });
}

/// `app` and its parts: most have a few versions, some have hundreds.
fn village(stub: &Stub) {
    for part in 0..PARTS {
        let name = format!("part-{part}");
        let versions = if part < LONG { VERSIONS } else { 1 + part % 20 };
        for version in 0..versions {
            stub.publish(&name, &format!("1.{version}.0"), |mut release| {
                for other in 0..part % 7 {
                    let range = format!("^{}.{}.0", other + 1, version % 11);
                    release = release.field(&format!("x-{other}"), json!(range));
                }
                let next = part + 1;
                if next < PARTS && part % 3 == 0 {
                    release = release.dependency(&format!("part-{next}"), "^1.0.0");
                }
                release.field("engines", json!({ "node": ">=18" }))
            });
        }
    }
    stub.publish("app", "1.0.0", |release| {
        let parts = (0..PARTS).filter(|part| part % 3 != 1);
        parts.fold(release, |app, part| app.dependency(&format!("part-{part}"), "^1.0.0"))
    });
}

/// Installs `app` with an empty cache; how long it took, and the project's folder.
fn install(world: &World, name: &str, node: &Node) -> (Duration, PathBuf) {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    let began = Instant::now();
    npm.ok(&project, &["install", "app", "--no-audit", "--replace-registry-host=always"]);
    (began.elapsed(), project)
}

/// `npm ci` with an empty cache.
fn install_locked(world: &World, name: &str, node: &Node, from: &Path) -> Duration {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    for file in ["package.json", "package-lock.json"] {
        fs_err::copy(from.join(file), project.join(file)).expect("a project can be copied");
    }
    let began = Instant::now();
    npm.ok(&project, &["ci", "--no-audit", "--replace-registry-host=always"]);
    let took = began.elapsed();
    assert!(project.join("node_modules/part-37/index.js").is_file());
    took
}

/// Bytes of a document at zstd's level 19.
fn packed(document: &[u8]) -> u64 {
    zstd::encode_all(document, 19).expect("memory takes it all").len() as u64
}

/// Asks a node for a document as npm does, and returns its body.
fn document(node: &Node, name: &str) -> Vec<u8> {
    let reply = node.send(&Request::get(&format!("/npm/{name}")).header("accept", ACCEPT));
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    reply.body
}

#[test]
fn an_install_over_a_thin_link_moves_documents_packed_and_each_thing_once() {
    let world = World::new();
    let stub = Stub::start();
    village(&stub);
    let Some(a) = site(&world, &stub) else { return };
    let (from_upstream, project) = install(&world, "at-a", &a);
    let link = Forwarder::to(a.mesh_socket(), 0);
    let began = Instant::now();
    let b = joined(&world, "b", &a, &link);
    caught_up(&a, &b);
    eprintln!("join with all receipts: {:?}, {} bytes", began.elapsed(), link.carried());
    stub.down();

    let before = link.carried();
    std::thread::sleep(IDLE);
    let idle = link.carried() - before;
    let names: Vec<String> =
        (0..PARTS).map(|part| format!("part-{part}")).chain(["app".to_owned()]).collect();
    let bodies = names.iter().map(|name| {
        // What this npm asks for, and so what A holds.
        let body = stub.bytes(&format!("/{name}"), "application/json");
        body.expect("the stub has the document")
    });
    let (mut plain, mut best) = (0, 0);
    for body in bodies {
        plain += body.len() as u64;
        best += packed(&body);
    }
    let (before, began) = (link.carried(), Instant::now());
    for name in &names {
        document(&b, name);
    }
    let took = began.elapsed();
    let spans = took.as_secs() / IDLE.as_secs() + 1;
    let moved = (link.carried() - before).saturating_sub(idle * spans);
    eprintln!(
        "{} documents: {plain} bytes, {best} at zstd-19, {moved} over the link in {took:?} \
         (idle: {idle} in {IDLE:?})",
        names.len(),
    );
    assert!(moved * 10 <= best * 11, "{moved} bytes for {best}");

    let before = link.carried();
    let locked = install_locked(&world, "b-ci", &b, &project);
    let files = link.carried() - before;
    let before = link.carried();
    let (resolved, again) = install(&world, "b-install", &b);
    let again_bytes = link.carried() - before;
    eprintln!("npm ci: {locked:?}, {files} bytes; npm install: {resolved:?}, {again_bytes} bytes");
    let lock = |project: &Path| fs_err::read(project.join("package-lock.json")).expect("a lock");
    assert_eq!(lock(&again), lock(&project));
    assert!(again_bytes < files / 2, "held files came again: {again_bytes} of {files}");

    // One that holds nothing, so that all comes over the mesh: how long against the upstream?
    let fast = Forwarder::to(a.mesh_socket(), 0);
    let c = joined(&world, "c", &a, &fast);
    caught_up(&a, &c);
    let before = fast.carried();
    let (from_neighbour, _) = install(&world, "c-install", &c);
    let moved = fast.carried() - before;
    eprintln!("npm install: {from_upstream:?} by the upstream, {from_neighbour:?} by a neighbour");
    eprintln!("all of it over the link: {moved} bytes");
}

#[test]
fn joining_brings_hundreds_of_receipts_in_few_bytes() {
    const PACKAGES: usize = 700;
    const ASKING: usize = 8;
    let world = World::new();
    let stub = Stub::start();
    let name = |at: usize| format!("part-{at}");
    (0..PACKAGES).for_each(|at| stub.publish(&name(at), "1.0.0", |p| p));
    let a = by_hand(&world, "a");
    a.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    let nothing = Forwarder::to(a.mesh_socket(), 0);
    let before_any = joined(&world, "b", &a, &nothing);
    caught_up(&a, &before_any);
    let handshake = nothing.carried();
    drop((before_any, nothing));
    let statements = |node: &Node| node.status()["index"]["statements"].as_u64().unwrap_or(0);
    let authority = statements(&a);
    std::thread::scope(|scope| {
        for first in 0..ASKING {
            let (a, name) = (&a, &name);
            scope.spawn(move || {
                (first..PACKAGES).step_by(ASKING).for_each(|at| drop(document(a, &name(at))));
            });
        }
    });
    wait_until("all receipts to be signed", EVENTUALLY, || {
        statements(&a) == authority + PACKAGES as u64
    });
    let link = Forwarder::to(a.mesh_socket(), 0);
    let began = Instant::now();
    let c = joined(&world, "c", &a, &link);
    caught_up(&a, &c);
    let took = began.elapsed();
    let each = link.carried().saturating_sub(handshake) / PACKAGES as u64;
    eprintln!("{PACKAGES} receipts in {took:?}, {each} bytes each; without them {handshake}");
    assert!(each <= 400, "{each} bytes a receipt");
}

#[test]
fn a_newer_document_of_a_megabyte_comes_as_a_patch() {
    let world = World::new();
    let stub = Stub::start();
    let publish = |version: usize| {
        stub.publish("drum", &format!("1.{version}.0"), |release| {
            let of =
                |part: usize| (format!("part-{part}"), format!("^{}.0.0", version / 40 + part));
            let parts = (0..16).map(of);
            parts.fold(release, |release, (name, range)| release.dependency(&name, &range))
        });
    };
    (0..1_800).for_each(publish);
    let Some(a) = site(&world, &stub) else { return };
    let large = document(&a, "drum").len();
    assert!(large > 1_000_000, "{large}");
    // Something to install must be near, or there is nothing to offer.
    assert_eq!(a.get("/npm/drum/-/drum-1.7.0.tgz").status, 200);
    let link = Forwarder::to(a.mesh_socket(), 0);
    let mut b = joined(&world, "b", &a, &link);
    caught_up(&a, &b);
    stub.down();
    let before = link.carried();
    document(&b, "drum");
    let whole = link.carried() - before;

    // B is away meanwhile, or it would ask the upstream itself.
    b.kill9();
    publish(1_800);
    stub.up();
    let newest = "\"1.1800.0\"";
    let ask = Request::get("/npm/drum").header("accept", ACCEPT);
    let ask = ask.header("cache-control", "no-cache");
    wait_until("a to hear of the new version", EVENTUALLY, || a.send(&ask).text().contains(newest));
    stub.down();
    let before = link.carried();
    b.up();
    // Hidden is what no neighbour holds, so the new version is looked for by its name.
    wait_for("b to have the newer document", EVENTUALLY, || {
        document(&b, "drum");
        let row = b.version("npm", "drum", "1.1800.0");
        if row.is_object() { Ok(()) } else { Err("the older one".to_owned()) }
    });
    let patch = link.carried() - before;
    eprintln!("{large} bytes: {whole} over the link; one version more, meeting again: {patch}");
    assert!(patch < 20_000, "{patch}");
}

/// Installs a project at `a` that needs these, and gives its lockfile.
fn locked(world: &World, a: &Node) -> PathBuf {
    install(world, "at-a", a).1.join("package-lock.json")
}

/// `griot prefetch`, begun; its standard error is piped.
fn prefetching(node: &Node, lockfile: &Path) -> Child {
    let lockfile = lockfile.to_str().expect("paths of tests are UTF-8");
    let mut command = node.command(&["prefetch", lockfile]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary under test starts")
}

#[test]
fn a_cut_in_a_prefetch_costs_little_more_than_the_time() {
    const FILES: u64 = 4;
    const FILE: usize = 1_000_000;
    /// The largest DATA of `/griot/blob/1`.
    const PIECE: u64 = 256 * 1024;
    let world = World::new();
    let stub = Stub::start();
    for file in 0..FILES {
        stub.publish(&format!("drum-{file}"), "1.0.0", |p| p.padding(FILE + 17 * file as usize));
    }
    stub.publish("app", "1.0.0", |app| {
        (0..FILES).fold(app, |app, file| app.dependency(&format!("drum-{file}"), "1.0.0"))
    });
    let Some(a) = site(&world, &stub) else { return };
    let lockfile = locked(&world, &a);
    let link = Forwarder::to(a.mesh_socket(), 600_000);
    let b = joined(&world, "b", &a, &link);
    caught_up(&a, &b);
    stub.down();
    let (before, all) = (link.carried(), FILES * FILE as u64);
    let mut first = prefetching(&b, &lockfile);
    wait_until("half of it to have come", EVENTUALLY, || link.carried() - before > all / 2);
    link.cut();
    let status = wait_exit(&mut first, EVENTUALLY).expect("a prefetch ends without its neighbour");
    assert!(!status.success(), "it said OK with half of it");
    link.heal();
    wait_until("the two to be connected", EVENTUALLY, || !b.peers().is_empty());
    let lockfile = lockfile.to_str().expect("paths of tests are UTF-8");
    wait_for("the prefetch to end well", EVENTUALLY, || {
        let output = run(&mut b.command(&["prefetch", lockfile]), EVENTUALLY);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
    let moved = link.carried() - before;
    eprintln!("{all} bytes of files, cut in the middle: {moved} over the link");
    // What every file may lose is the piece that was under way; and a twentieth for the protocol.
    assert!(moved < all + FILES * PIECE + all / 20, "{moved} bytes for {all}");
}

#[test]
fn a_prefetch_over_256_kbit_shows_that_it_moves_and_ends() {
    let world = World::new();
    let stub = Stub::start();
    for part in 0..12 {
        stub.publish(&format!("part-{part}"), "1.0.0", |p| p.padding(16_000));
    }
    stub.publish("app", "1.0.0", |app| {
        (0..12).fold(app, |app, part| app.dependency(&format!("part-{part}"), "1.0.0"))
    });
    let Some(a) = site(&world, &stub) else { return };
    let lockfile = locked(&world, &a);
    let link = Forwarder::to(a.mesh_socket(), THIN);
    let b = joined(&world, "b", &a, &link);
    caught_up(&a, &b);
    stub.down();
    let (began, before) = (Instant::now(), link.carried());
    let mut child = prefetching(&b, &lockfile);
    let mut shown: Vec<(Duration, String)> = Vec::new();
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    for line in stderr.lines() {
        shown.push((began.elapsed(), line.expect("griot prints UTF-8")));
    }
    let status = wait_exit(&mut child, EVENTUALLY).expect("it ends");
    let (took, moved) = (began.elapsed(), link.carried() - before);
    eprintln!("{moved} bytes in {took:?} over 256 kbit/s: {shown:#?}");
    assert!(status.success(), "{shown:?}");
    let steps = shown.iter().filter(|(at, line)| line.contains(" % ") && *at < took / 4 * 3);
    assert!(steps.count() >= 3, "it stood still, and then was done: {shown:#?}");
    b.griot(&["check", lockfile.to_str().expect("paths of tests are UTF-8")]);
}
