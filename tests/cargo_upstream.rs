//! Cargo through a node with an upstream: the lockfile is the one made without the node, and what
//! was built once is built again with the upstream gone, here and at a neighbour.
//!
//! The upstream stands as a company's mirror does: no validators, crates on another port below a
//! deep path. The crates are those that are awkward in the world: capitals, short names, build
//! metadata, renamed dependencies, lines with keys that nobody knows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::node::text;
use crate::harness::upstream::{Crate, Raw, Stub, Tarballs};
use crate::harness::wait::{run, said};
use crate::harness::{
    Cargo, EVENTUALLY, Node, NodeOptions, Python, Reply, Request, TlsFront, World, wait_until,
};

/// What the application needs, the first of it to be asked what it says.
pub(crate) const NEEDS: [(&str, &str); 4] =
    [("Inflector", "0.11"), ("a", "1"), ("ab", "1"), ("native-src", "300")];
const UPSTREAM_INDEX: &str = "/cargo/~upstream/index";
/// cargo's own retries of an answer that it takes for passing take longer.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A poor mirror with the crates of [`NEEDS`].
pub(crate) fn mirror() -> Stub {
    let stub = Stub::start();
    stub.switch(|s| {
        s.etag = false;
        s.tarballs = Tarballs::OtherHost;
    });
    let unknown = json!({ "z": [1.50, null], "a": "é" });
    stub.add_crate(Crate::new("Inflector", "0.11.3"));
    stub.add_crate(Crate::new("Inflector", "0.11.4").dependency("syn", "1").line("odd", unknown));
    stub.add_crate(Crate::new("syn", "1.0.0").line("pubtime", json!("2026-01-01T00:00:00Z")));
    stub.add_crate(Crate::new("a", "1.0.0").renamed("other", "Inflector", "=0.11.4"));
    stub.add_crate(Crate::new("ab", "1.0.0").line("rust_version", json!("1.56")));
    stub.add_crate(Crate::new("ab", "1.9.0").line("v", json!(3)));
    stub.add_crate(Crate::new("native-src", "300.0.1+3.0.1"));
    stub.add_crate(Crate::new("native-src", "300.0.0+3.0.0"));
    stub
}

fn adopted(world: &World, name: &str, stub: &Stub) -> Node {
    let node = world.node(name);
    node.json(&["upstream", "add", "cargo", &stub.index_url()]);
    node
}

fn lockfile(app: &Path) -> String {
    fs_err::read_to_string(app.join("Cargo.lock")).expect("cargo wrote a lockfile")
}

/// The application in an empty home, with a lockfile that is there already.
fn locked(cargo: &Cargo, lock: &str) -> PathBuf {
    let app = cargo.app("app", &NEEDS);
    fs_err::write(app.join("Cargo.lock"), lock).expect("a lockfile can be written");
    app
}

/// Builds it with an empty home and the lockfile as it is.
#[track_caller]
fn builds_locked(world: &World, name: &str, node: &Node, lock: &str) {
    let Some(cargo) = Cargo::of(world, name, node) else { return };
    let app = locked(&cargo, lock);
    cargo.ok(&app, &["build", "--locked"]);
    assert_eq!(cargo.says(&app), "Inflector-0.11.4");
    assert_eq!(lockfile(&app), lock);
}

/// Runs a verb with cargo's environment.
#[track_caller]
pub(crate) fn griot(node: &Node, cargo: &Cargo, (folder, arguments): (&Path, &[&str])) -> Value {
    let mut command = node.command(arguments);
    command.arg("--json").envs(cargo.variables()).current_dir(folder);
    let output = run(&mut command, EVENTUALLY);
    assert!(output.status.success(), "griot {arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("griot prints JSON")
}

fn index(node: &Node, name: &str) -> Reply {
    let path = crate::harness::upstream::crates::index_path(name);
    node.get(&format!("{UPSTREAM_INDEX}/{path}"))
}

/// The bytes that the stub itself has under the name.
fn stub_index(stub: &Stub, name: &str) -> Vec<u8> {
    let path = crate::harness::upstream::crates::index_path(name);
    stub.bytes(&format!("/index/{path}"), "").expect("the crate was added")
}

fn has_version(reply: &Reply, version: &str) -> bool {
    String::from_utf8_lossy(&reply.body).contains(&format!("\"vers\":\"{version}\""))
}

#[test]
fn one_lockfile_with_and_without_the_node_and_builds_go_on_when_the_upstream_is_dead() {
    let world = World::new();
    let stub = mirror();
    let mut node = world.node("a");
    let Some(direct) = Cargo::at(&world, "direct", &stub.index_url()) else { return };
    let app = direct.app("app", &NEEDS);
    assert_eq!(direct.says(&app), "Inflector-0.11.4");
    let lock = lockfile(&app);
    let through = Cargo::at(&world, "through", &stub.index_url()).expect("cargo is there");
    let app = through.app("app", &NEEDS);
    let linked = griot(&node, &through, (&app, &["link", "cargo"]));
    let adopted = text(&linked[0]["adopted"][0], "url");
    assert_eq!(adopted.trim_end_matches('/'), stub.index_url().trim_end_matches('/'));
    assert_eq!(through.says(&app), "Inflector-0.11.4");
    assert_eq!(lockfile(&app), lock);
    assert!(!lock.contains("127.0.0.1") && lock.contains("300.0.1+3.0.1"), "{lock}");
    assert_eq!(node.status()["alarms"], json!([]), "lines and crates say the same");

    drop(stub);
    node.kill9();
    node.up();
    builds_locked(&world, "gone", &node, &lock);
    // Nothing but what is held is resolved anew, and that without a word of the upstream.
    let anew = Cargo::of(&world, "anew", &node).expect("cargo is there");
    let app = anew.app("app", &NEEDS);
    anew.says(&app);
    assert_eq!(lockfile(&app), lock);
    let odd = anew.app("odd", &[("no-such-crate", "1")]);
    let started = Instant::now();
    let refused = anew.refused(&odd, &["build"]);
    assert!(refused.contains("no copy is held"), "cargo prints our sentence: {refused}");
    assert!(started.elapsed() < AT_ONCE, "it took {:?}", started.elapsed());
}

#[test]
fn who_never_saw_the_upstream_builds_from_a_neighbour() {
    let world = World::new();
    let stub = mirror();
    let a = world.node("a");
    a.json(&["upstream", "add", "cargo", &stub.index_url(), "--site"]);
    let Some(cargo) = Cargo::of(&world, "at-a", &a) else { return };
    let app = cargo.app("app", &NEEDS);
    cargo.says(&app);
    let lock = lockfile(&app);
    let b = world.node("b");
    b.json(&["join", &a.invite(), "--yes"]);
    stub.switch(|s| s.black_hole = true);
    stub.forget_requests();
    builds_locked(&world, "at-b", &b, &lock);
    let answered = stub.requests().into_iter().filter(|seen| seen.status.is_some()).count();
    assert_eq!(answered, 0, "the upstream was a black hole");
}

#[test]
fn what_is_in_reach_is_all_that_resolves_while_the_upstream_is_away() {
    let world = World::new();
    let stub = mirror();
    let mut node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "old", &node) else { return };
    let old = cargo.app("app", &[("Inflector", "=0.11.3")]);
    assert_eq!(cargo.says(&old), "Inflector-0.11.3");
    assert_eq!(index(&node, "Inflector").body, stub_index(&stub, "Inflector"), "bit by bit");
    let fresh = index(&node, "Inflector").header("etag").map(str::to_owned);
    drop(stub);
    node.kill9();
    node.up();
    let shown = index(&node, "Inflector");
    assert!(has_version(&shown, "0.11.3") && !has_version(&shown, "0.11.4"));
    assert_eq!(shown.header("x-griot-hidden-versions"), Some("1"));
    assert_ne!(shown.header("etag").map(str::to_owned), fresh);
    let anew = Cargo::of(&world, "anew", &node).expect("cargo is there");
    let app = anew.app("app", &[("Inflector", "0.11")]);
    assert_eq!(anew.says(&app), "Inflector-0.11.3", "the newest that can be had");
    // Of the others only the document is held: an empty file would say that there is no crate.
    let none = index(&node, "native-src");
    assert_eq!(none.status, 424);
}

#[test]
fn an_index_file_is_the_upstreams_own_bytes_with_a_validator_of_ours() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    for name in ["a", "ab", "syn", "Inflector", "native-src"] {
        let reply = index(&node, name);
        assert_eq!((reply.status, &reply.body), (200, &stub_index(&stub, name)), "{name}");
    }
    let path = format!("{UPSTREAM_INDEX}/in/fl/inflector");
    let tag = index(&node, "inflector").header("etag").expect("a validator").to_owned();
    assert!(tag.starts_with('"'), "{tag} is strong");
    let again = node.send(&Request::get(&path).header("if-none-match", &tag));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let date = "Wed, 01 Jan 2020 10:00:00 GMT";
    assert_eq!(node.send(&Request::get(&path).header("if-modified-since", date)).status, 200);
    let upgrade = Request::get(&path)
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA");
    assert_eq!(node.send(&upgrade).status, 200, "an upgrade to HTTP/2 is ignored");
    assert_eq!(node.get(&format!("{UPSTREAM_INDEX}/3/i/inflector")).status, 404);
}

#[test]
fn what_the_upstream_does_not_have_is_not_found_in_each_of_its_words() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    for (name, status) in [("gone-one", 410), ("gone-two", 451), ("gone-three", 404)] {
        let path = crate::harness::upstream::crates::index_path(name);
        let raw = Raw { status, headers: Vec::new(), body: Vec::new() };
        stub.raw(&format!("/index/{path}"), raw);
        assert_eq!(index(&node, name).status, 404, "{status}");
    }
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let app = cargo.app("app", &[("native_src", "300")]);
    let refused = cargo.refused(&app, &["build"]);
    assert!(refused.contains("native-src"), "cargo tells the other spelling: {refused}");
    // A login page is no answer, and none to be remembered as "no such crate".
    stub.raw("/index/we/b-/web-page", Raw::ok("text/plain", "<html>log in</html>\n"));
    assert_eq!(index(&node, "web-page").status, 424);
}

#[test]
fn crates_come_from_where_the_markers_of_the_upstream_say() {
    let world = World::new();
    let stub = mirror();
    stub.switch(|s| s.tarballs = Tarballs::Folder("deep/er".to_owned()));
    let node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let app = cargo.app("app", &NEEDS);
    assert_eq!(cargo.says(&app), "Inflector-0.11.4");
    assert!(stub.count("/deep/er/In/fl/in/fl/Inflector/0.11.4/") > 0, "{:?}", stub.requests());
    assert!(stub.count("/native-src/300.0.1+3.0.1/") > 0, "as the index writes it");
    let config = node.get(&format!("{UPSTREAM_INDEX}/config.json"));
    let config: Value = serde_json::from_slice(&config.body).expect("it is JSON");
    assert!(text(&config, "dl").starts_with(&node.url("/cargo/~upstream/")), "{config}");
}

#[test]
fn other_bytes_than_the_index_declares_are_refused_and_nothing_of_them_stays() {
    let world = World::new();
    let stub = mirror();
    stub.switch(|s| s.wrong_bytes = true);
    let node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let app = cargo.app("app", &[("syn", "1")]);
    let refused = cargo.refused(&app, &["build"]);
    assert!(refused.contains("declares"), "cargo prints our sentence: {refused}");
    stub.switch(|s| s.wrong_bytes = false);
    assert_eq!(cargo.says(&app), "syn-1.0.0");
}

#[test]
fn a_line_that_says_something_else_than_its_crate_is_told_to_a_person() {
    let world = World::new();
    let stub = mirror();
    let more = json!({ "more": [] });
    stub.add_crate(Crate::new("liar", "1.0.0").line("features", more));
    let node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let app = cargo.app("app", &[("liar", "1"), ("syn", "1")]);
    assert_eq!(cargo.says(&app), "liar-1.0.0", "its checksum is right");
    wait_until("the alarm", EVENTUALLY, || {
        let alarms = node.status()["alarms"].to_string();
        assert!(!alarms.contains("syn"), "{alarms}");
        alarms.contains("liar") && alarms.contains("feature more")
    });
}

#[test]
fn a_yank_upstream_is_followed_and_a_lockfile_with_it_still_builds() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let app = cargo.app("app", &NEEDS);
    cargo.says(&app);
    let lock = lockfile(&app);
    let before = String::from_utf8(index(&node, "Inflector").body).expect("it is text");
    stub.yank_crate("Inflector", "0.11.4", true);
    let path = format!("{UPSTREAM_INDEX}/in/fl/inflector");
    wait_until("the yank to be seen", EVENTUALLY, || {
        let reply = node.send(&Request::get(&path).header("cache-control", "no-cache"));
        reply.body == stub_index(&stub, "Inflector")
    });
    let after = String::from_utf8(index(&node, "Inflector").body).expect("it is text");
    let first = |text: &str| text.lines().next().map(str::to_owned);
    assert_eq!(first(&before), first(&after), "the order stays");
    assert!(after.contains("\"yanked\":true"), "{after}");
    builds_locked(&world, "locked", &node, &lock);
    let anew = Cargo::of(&world, "anew", &node).expect("cargo is there");
    let app = anew.app("app", &[("Inflector", "0.11")]);
    assert_eq!(anew.says(&app), "Inflector-0.11.3");
}

#[test]
fn a_crate_of_ones_own_is_never_the_upstreams_behind_the_virtual_door() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    let own = Crate::new("acme-secret", "1.0.0");
    let file = world.path().join(own.filename());
    fs_err::write(&file, own.bytes()).expect("a crate can be written");
    let file = file.to_str().expect("paths of tests are UTF-8");
    node.json(&[
        "publish",
        file,
        "--format",
        "cargo",
        "--name",
        "acme-secret",
        "--version",
        "1.0.0",
    ]);
    let theirs = Crate::new("acme-secret", "9.9.9");
    let sum = crate::harness::samples::sha256(&theirs.bytes());
    stub.add_crate(theirs);
    stub.forget_requests();
    let reply = node.get("/cargo/index/ac/me/acme-secret");
    assert!(!has_version(&reply, "9.9.9"), "{}", String::from_utf8_lossy(&reply.body));
    let path = format!("/cargo/dl/acme-secret/9.9.9/{sum}/acme-secret-9.9.9.crate");
    assert_eq!(node.get(&path).status, 404);
    assert_eq!(stub.count("acme-secret"), 0, "the upstream does not hear the name");
}

#[test]
fn versions_that_differ_by_build_metadata_alone_are_told_apart_by_their_checksum() {
    let world = World::new();
    let stub = mirror();
    for version in ["1.0.0+one", "1.0.0+two"] {
        stub.add_crate(Crate::new("twice", version).says(version));
    }
    let node = adopted(&world, "a", &stub);
    for version in ["1.0.0+one", "1.0.0+two"] {
        let bytes = Crate::new("twice", version).says(version).bytes();
        let sum = crate::harness::samples::sha256(&bytes);
        let path = format!("/cargo/~upstream/dl/twice/{version}/{sum}/twice-{version}.crate");
        let reply = node.get(&path);
        assert_eq!((reply.status, reply.body), (200, bytes), "{version}");
    }
}

#[test]
fn of_versions_that_differ_by_build_metadata_the_locked_one_is_prefetched() {
    let world = World::new();
    let stub = mirror();
    let made = |version: &str| Crate::new("twice", version).says(version);
    for version in ["1.0.0+one", "1.0.0+two"] {
        stub.add_crate(made(version));
    }
    let node = adopted(&world, "a", &stub);
    for version in ["1.0.0+two", "1.0.0+one"] {
        let sum = crate::harness::samples::sha256(&made(version).bytes());
        let lock = world.folder(version).join("Cargo.lock");
        let text = format!(
            "version = 4\n\n[[package]]\nname = \"twice\"\nversion = \"{version}\"\n\
             source = \"registry+https://packages.test/index\"\nchecksum = \"{sum}\"\n"
        );
        fs_err::write(&lock, text).expect("a lockfile can be written");
        let lock = lock.to_str().expect("paths of tests are UTF-8");
        let done = node.json(&["prefetch", lock]);
        assert_eq!(done["complete"], true, "{done}");
        node.griot(&["check", lock]);
    }
    drop(stub);
    for version in ["1.0.0+one", "1.0.0+two"] {
        let bytes = made(version).bytes();
        let sum = crate::harness::samples::sha256(&bytes);
        let path = format!("/cargo/~upstream/dl/twice/{version}/{sum}/twice-{version}.crate");
        let reply = node.get(&path);
        assert_eq!((reply.status, reply.body), (200, bytes), "{version}");
    }
}

#[test]
fn a_lockfile_is_prefetched_and_then_builds_with_nothing_else() {
    let world = World::new();
    let stub = mirror();
    let Some(direct) = Cargo::at(&world, "direct", &stub.index_url()) else { return };
    let app = direct.app("app", &NEEDS);
    direct.says(&app);
    let lock = app.join("Cargo.lock");
    let path = lock.to_str().expect("paths of tests are UTF-8");
    let node = adopted(&world, "a", &stub);
    let (lacks, _) = node.refused(&["check", path]);
    assert!(lacks.contains("griot prefetch"), "{lacks}");
    let done = node.json(&["prefetch", path]);
    assert_eq!(done["complete"], true, "{done}");
    assert_eq!(done["packages"], 5, "{done}");
    drop(stub);
    node.griot(&["check", path]);
    builds_locked(&world, "gone", &node, &lockfile(&app));
}

#[test]
fn griot_run_gives_the_same_lockfile_and_the_crates_pass_the_node() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    let Some(direct) = Cargo::at(&world, "direct", &stub.index_url()) else { return };
    let app = direct.app("app", &NEEDS);
    direct.says(&app);
    let plain = Cargo::at(&world, "run", &stub.index_url()).expect("cargo is there");
    stub.forget_requests();
    let by_run = plain.by_way_of(&node).app("app", &NEEDS);
    plain.by_way_of(&node).ok(&by_run, &["build"]);
    assert_eq!(lockfile(&by_run), lockfile(&app));
    let config = stub.requests().into_iter().filter(|seen| seen.path.ends_with("config.json"));
    assert!(config.count() <= 1, "cargo asks for it with every command, the node does not");
    let held = node.version("cargo", "inflector", "0.11.4");
    assert_eq!(held["artifacts"][0]["held"], true, "{held}");
}

#[test]
fn griot_run_goes_on_with_the_cable_out_where_the_upstream_speaks_tls() {
    let world = World::new();
    let stub = mirror();
    stub.switch(|s| s.tarballs = Tarballs::OtherHost);
    let address = stub.url();
    let socket = address.trim_start_matches("http://").trim_end_matches('/');
    let socket = socket.parse().expect("a stub listens on a socket");
    let front = TlsFront::to(socket, &world.path().join("outside.pem"));
    let authority = front.authority().display().to_string();
    let trust = |name: &str| vec![(name.to_owned(), authority.clone())];
    let options = NodeOptions { environment: trust("SSL_CERT_FILE"), ..NodeOptions::default() };
    let mut node = Node::start(&world, "a", options);
    let index = format!("{}index/", front.url());
    node.json(&["upstream", "add", "cargo", &index]);
    let Some(direct) = Cargo::at(&world, "direct", &index) else { return };
    let fetch = |cargo: &Cargo| {
        let app = cargo.app("app", &NEEDS);
        let output = cargo.run((&app, &["fetch"]), &trust("CARGO_HTTP_CAINFO"));
        assert!(output.status.success(), "{}", said(&output));
        lockfile(&app)
    };
    let lock = fetch(&direct);
    let by_run = |name: &str| Cargo::at(&world, name, &index).expect("it is there");
    assert_eq!(fetch(&by_run("run").by_way_of(&node)), lock);
    drop((stub, front));
    node.kill9();
    node.up();
    assert_eq!(fetch(&by_run("gone").by_way_of(&node)), lock);
}

#[test]
fn a_crate_is_added_by_the_rules_of_cargo() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    let folder = world.folder("out");
    let to = folder.to_str().expect("paths of tests are UTF-8");
    let added = node.json(&["add", "inflector@0.11", "--format", "cargo", "--to", to]);
    assert_eq!(added["version"], "0.11.4", "{added}");
    let bytes = fs_err::read(folder.join("inflector-0.11.4.crate")).expect("it was fetched");
    assert_eq!(bytes, Crate::new("Inflector", "0.11.4").dependency("syn", "1").bytes());
    let added = node.json(&["add", "cargo:inflector@<0.11.4", "--to", to]);
    assert_eq!(added["version"], "0.11.3", "{added}");
    let (none, _) = node.refused(&["add", "inflector@2", "--format", "cargo", "--to", to]);
    assert!(none.contains("inflector"), "{none}");
}

#[test]
fn a_search_behind_the_upstreams_door_is_the_upstreams_or_of_what_is_held() {
    let world = World::new();
    let stub = mirror();
    let node = adopted(&world, "a", &stub);
    let Some(cargo) = Cargo::of(&world, "c", &node) else { return };
    let door = format!("sparse+{}/", node.url(UPSTREAM_INDEX));
    let search =
        |words: &str| cargo.ok(cargo.home(), &["search", "--index", &door, "--limit", "3", words]);
    let one = json!({ "name": "padding", "max_version": "2.0.0", "description": "pads well" });
    let all = json!({ "crates": [one, { "name": "../x" }, 7], "meta": { "total": 41 } });
    stub.raw("/api/v1/crates", Raw::ok("application/json", all.to_string()));
    let found = node.get("/cargo/~upstream/api/v1/crates?q=odd");
    assert_eq!(found.json()["crates"], json!([]), "what is none is passed over");
    let all = json!({ "crates": [one, { "name": "../x" }], "meta": { "total": 41 } });
    stub.raw("/api/v1/crates", Raw::ok("application/json", all.to_string()));
    stub.forget_requests();
    for _ in 0..2 {
        let said = search("pad & so");
        assert!(said.contains("padding = \"2.0.0\"") && said.contains("# pads well"), "{said}");
        assert!(said.contains("and 38 crates more"), "{said}");
    }
    let asked: Vec<String> = stub.requests().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, ["/api/v1/crates?q=pad%20%26%20so&per_page=3&page=1"], "and remembered");

    // What a realm has is nobody else's business.
    let own = Crate::new("acme-secret", "1.0.0");
    let file = world.path().join(own.filename());
    fs_err::write(&file, own.bytes()).expect("a crate can be written");
    node.json(&["publish", file.to_str().expect("paths of tests are UTF-8")]);
    search("acme-secret");
    assert_eq!(stub.count("secret"), 0, "{:?}", stub.requests());

    index(&node, "Inflector");
    index(&node, "syn");
    drop(stub);
    let said = search("INFLEC");
    assert!(said.contains("Inflector = \"0.11.4\"") && !said.contains("syn"), "{said}");
    let said = search("pad & so");
    assert!(said.contains("padding"), "what was asked before is remembered: {said}");
}

/// The bound is a second and a half; the rest is for a machine that has more to do.
const FIRST: Duration = Duration::from_millis(1_500 + 1_500);
/// Unknown names that are asked for once the upstream is known to be away.
const LATER: u32 = 20;

#[test]
fn an_unknown_name_of_a_black_hole_is_refused_in_a_moment_and_then_at_once() {
    let world = World::new();
    for (format, base, path) in [
        ("cargo", "index/", "/cargo/~upstream/index/no/-s/no-such"),
        ("pypi", "simple/", "/pypi/~upstream/simple/no-such"),
    ] {
        let stub = Stub::start();
        stub.switch(|s| s.black_hole = true);
        let node = world.node(format);
        node.json(&["upstream", "add", format, &format!("{}{base}", stub.url())]);
        let ask = |number: u32| {
            let end = if format == "pypi" { "/" } else { "" };
            let reply = node.get(&format!("{path}-{number}{end}"));
            assert_eq!(reply.status, 424, "{}", reply.text());
            let said = reply.text();
            assert!(said.contains("no copy is held") && said.contains("upstream"), "{said}");
        };
        let started = Instant::now();
        ask(0);
        let first = started.elapsed();
        let asked = stub.requests().len();
        let started = Instant::now();
        (1..=LATER).for_each(&ask);
        let later = started.elapsed() / LATER;
        let more = stub.requests().len() - asked;
        println!("{format}: first {first:?}, later {later:?}, {more} requests for {LATER} names");
        assert!(first < FIRST, "it took {first:?}");
        // One may look whether it is back.
        assert!(more <= 2, "the upstream was asked {more} times for {LATER} names");
    }
}

#[test]
fn clients_print_why_an_unknown_name_of_a_black_hole_cannot_be_had() {
    let world = World::new();
    let stub = Stub::start();
    stub.switch(|s| s.black_hole = true);
    let node = adopted(&world, "a", &stub);
    node.json(&["upstream", "add", "pypi", &stub.simple_url()]);
    if let Some(cargo) = Cargo::of(&world, "c", &node) {
        let app = cargo.app("app", &[("no-such-crate", "1")]);
        let said = cargo.refused(&app, &["build"]);
        assert!(said.contains("no copy is held"), "{said}");
    }
    if let Some(python) = Python::of(&world, "p", &node) {
        let said = python.uv_pip_refused("install", &["no-such-project"]);
        assert!(said.contains("424") && said.contains("no-such-project"), "uv: {said}");
        println!("uv: {said}");
        // pip keeps what it was told of a page to itself unless it is asked.
        let said = python.pip_refused(&["install", "--no-cache-dir", "-vv", "no-such-project"]);
        assert!(said.contains("424"), "pip: {said}");
    }
}
