//! The real cargo against real nodes: publish at one, build from another after the first is gone.
//!
//! cargo is told of the node by its environment alone, and of nothing else: no crate here comes
//! from cargo's default registry. What is asked by hand is what cargo itself never shows: lines of
//! the index, validators, wrong paths.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::{clean, find, skip};
use crate::harness::node::text;
use crate::harness::samples::sha256;
use crate::harness::wait::{run, said};
use crate::harness::{Node, Request, SOON, World};

/// cargo waits for a published version for up to a minute, and that must never be seen.
const LIMIT: Duration = Duration::from_secs(150);
/// The first poll comes after a second or so; the second of a failed one would be far behind.
const ONE_POLL: Duration = Duration::from_secs(25);

/// cargo with a home of its own and one registry, `griot`.
struct Cargo {
    home: PathBuf,
    index: String,
    token: Option<String>,
}

impl Cargo {
    /// Skips without cargo.
    fn new(world: &World, name: &str, node: &Node, token: Option<&str>) -> Option<Self> {
        if program().is_none() {
            skip("needs cargo");
            return None;
        }
        let index = format!("sparse+{}", node.url("/cargo/~hosted/index/"));
        let home = world.folder(&format!("cargo-{name}"));
        Some(Self { home, index, token: token.map(str::to_owned) })
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let program = program().expect("it was there a moment ago");
        let mut command = clean(&program);
        command
            .args(arguments)
            .current_dir(folder)
            .env("PATH", path(&program))
            .env("HOME", &self.home)
            .env("CARGO_HOME", self.home.join("cargo"))
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_REGISTRIES_GRIOT_INDEX", &self.index);
        if let Some(token) = &self.token {
            command
                .env("CARGO_REGISTRIES_GRIOT_TOKEN", token)
                .env("CARGO_REGISTRIES_GRIOT_CREDENTIAL_PROVIDER", "cargo:token");
        }
        command
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        run(&mut self.command(folder, arguments), LIMIT)
    }

    /// Runs cargo, which must succeed; all that it said.
    #[track_caller]
    fn ok(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(folder, arguments);
        assert!(output.status.success(), "cargo {arguments:?}: {}", said(&output));
        said(&output)
    }

    /// Runs cargo, which must fail; all that it said.
    #[track_caller]
    fn refused(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.run(folder, arguments);
        assert!(!output.status.success(), "cargo {arguments:?} succeeded: {}", said(&output));
        said(&output)
    }

    #[track_caller]
    fn publish(&self, folder: &Path) -> String {
        self.ok(folder, &["publish", "--registry", "griot", "--no-verify"])
    }

    /// `griot publish`, which lets this cargo pack a folder.
    fn griot_publish(&self, node: &Node, path: &Path) -> Output {
        let path = path.to_str().expect("paths of tests are UTF-8");
        let ours = self.command(&self.home, &[]);
        let mut griot = node.command(&["publish", path, "--json"]);
        griot.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(&mut griot, LIMIT)
    }

    /// A program that prints what an expression gives, with these lines of dependencies.
    fn app(&self, needs: &str, expression: &str) -> PathBuf {
        let folder = self.home.join("app");
        let manifest = format!(
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n{needs}"
        );
        let main = format!("fn main() {{ println!(\"{{}}\", {expression}); }}\n");
        write(&folder, &[("Cargo.toml", &manifest), ("src/main.rs", &main)]);
        folder
    }

    /// Builds and runs it; what it printed.
    #[track_caller]
    fn says(&self, folder: &Path, arguments: &[&str]) -> String {
        let all: Vec<&str> = ["run", "--quiet"].iter().chain(arguments).copied().collect();
        let output = self.run(folder, &all);
        assert!(output.status.success(), "cargo {all:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The cargo that built this test: the one on the path may be a launcher that looks into the real
/// home.
fn program() -> Option<PathBuf> {
    Some(PathBuf::from(env!("CARGO"))).filter(|path| path.is_file()).or_else(|| find("cargo"))
}

/// A `PATH` on which its compiler comes first.
fn path(program: &Path) -> OsString {
    let beside = program.parent().expect("a program lies in a folder").to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(beside).chain(std::env::split_paths(&path));
    std::env::join_paths(path).expect("no folder has a colon in its name")
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = folder.join(name);
        fs_err::create_dir_all(file.parent().expect("it lies in the folder")).expect("a folder");
        fs_err::write(file, text).expect("a file can be written in the test's folder");
    }
}

/// A library with a function `says`; `more` follows its `[package]`.
fn library(world: &World, (name, version): (&str, &str), more: &str, source: &str) -> PathBuf {
    let folder = world.folder("sources").join(format!("{name}-{version}"));
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = {version:?}\nedition = \"2021\"\n\
         description = \"made by a test\"\nlicense = \"MIT\"\n{more}"
    );
    let readme = format!("# {name}\n");
    write(&folder, &[("Cargo.toml", &manifest), ("src/lib.rs", source), ("README.md", &readme)]);
    folder
}

fn plain(world: &World, id: (&str, &str), says: &str) -> PathBuf {
    let source = format!("pub fn says() -> &'static str {{ {says:?} }}\n");
    library(world, id, "", &source)
}

const GRIOT: &str = "registry = \"griot\"";

/// The lines of a crate's index file.
#[track_caller]
fn lines(node: &Node, path: &str) -> Vec<Value> {
    let reply = node.get(&format!("/cargo/~hosted/index/{path}"));
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    let line = |line: &str| serde_json::from_str(line).expect("a line is JSON");
    reply.text().lines().map(line).collect()
}

/// The path at which cargo would download what a line names.
#[track_caller]
fn download(node: &Node, line: &Value) -> String {
    let config = node.get("/cargo/~hosted/index/config.json").json();
    let url = text(&config, "dl")
        .replace("{crate}", &text(line, "name"))
        .replace("{version}", &text(line, "vers"))
        .replace("{sha256-checksum}", &text(line, "cksum"));
    let path = url.strip_prefix(&node.url("")).expect("the node serves its own crates");
    path.to_owned()
}

/// Two nodes, of which the second joined the first, and a publisher at the first.
fn two(world: &World) -> Option<(Node, Node, Cargo)> {
    let (a, b) = (world.node("a"), world.node("b"));
    let publisher = Cargo::new(world, "publisher", &a, Some(&a.token("publish,yank")))?;
    b.join(&a);
    Some((a, b, publisher))
}

/// One node and a publisher.
fn one(world: &World) -> Option<(Node, Cargo)> {
    let node = world.node("a");
    let token = node.token("publish,yank");
    let cargo = Cargo::new(world, "publisher", &node, Some(&token))?;
    Some((node, cargo))
}

#[test]
fn what_cargo_published_on_a_builds_on_b_after_a_was_killed() {
    let world = World::new();
    let Some((mut a, b, publisher)) = two(&world) else { return };
    publisher.publish(&plain(&world, ("left-shift", "1.0.0"), "one"));
    let needs = format!("[dependencies]\nleft-shift = {{ version = \"1\", {GRIOT} }}\n");
    let source = "pub fn says() -> String { format!(\"{} shift\", left_shift::says()) }\n";
    publisher.publish(&library(&world, ("shifts", "2.0.0"), &needs, source));
    for id in [("left-shift", "1.0.0"), ("shifts", "2.0.0")] {
        let row = b.wait_held("cargo", id, SOON);
        assert_eq!(row["signers"], json!([a.publisher()]));
    }
    a.kill9();
    let consumer = Cargo::new(&world, "consumer", &b, None).expect("cargo was there");
    let app = consumer.app(
        &format!("[dependencies]\nshifts = {{ version = \"2\", {GRIOT} }}\n"),
        "shifts::says()",
    );
    assert_eq!(consumer.says(&app, &[]), "one shift");
    let line = &lines(&b, "sh/if/shifts")[0];
    assert_eq!(line["deps"][0].get("registry"), None, "the same registry, wherever it is asked");
    let lock = fs_err::read_to_string(app.join("Cargo.lock")).expect("cargo wrote a lockfile");
    assert!(lock.contains(&text(line, "cksum")), "{lock}");
    let bytes = b.get(&download(&b, line)).body;
    assert_eq!(sha256(&bytes), text(line, "cksum"));
}

#[test]
fn renamed_optional_dependencies_and_both_kinds_of_features_reach_the_index_and_the_build() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let source = "pub fn says() -> &'static str { \"renamed\" }\n";
    let real = library(&world, ("real-name", "1.2.3"), "[features]\nstd = []\n", source);
    cargo.publish(&real);
    cargo.publish(&plain(&world, ("for-unix", "0.1.0"), "unix"));
    let more = format!(
        "links = \"rich\"\nbuild = \"build.rs\"\nrust-version = \"1.60\"\n\
         [dependencies]\nalias = {{ package = \"real-name\", version = \"1.2\", optional = true, \
         default-features = false, {GRIOT} }}\n\
         [target.'cfg(unix)'.dependencies]\nfor-unix = {{ version = \"0.1\", {GRIOT} }}\n\
         [dev-dependencies]\nreal-name = {{ version = \"=1.2.3\", {GRIOT} }}\n\
         [features]\ndefault = [\"std\"]\nstd = []\nwith-alias = [\"dep:alias\"]\n\
         weak = [\"alias?/std\", \"std\"]\n"
    );
    let source = "#[cfg(feature = \"with-alias\")]\npub use alias::says;\n\
                  #[cfg(not(feature = \"with-alias\"))]\npub use for_unix::says;\n";
    let folder = library(&world, ("rich", "1.0.0"), &more, source);
    fs_err::write(folder.join("build.rs"), "fn main() {}\n").expect("a file can be written");
    cargo.publish(&folder);

    let line = &lines(&node, "ri/ch/rich")[0];
    assert_eq!((&line["v"], &line["links"]), (&json!(2), &json!("rich")));
    assert_eq!(line["rust_version"], "1.60");
    assert_eq!(line["features"], json!({ "default": ["std"], "std": [] }));
    let newer = json!({ "weak": ["alias?/std", "std"], "with-alias": ["dep:alias"] });
    assert_eq!(line["features2"], newer);
    let dependency = |name: &str, kind: &str| {
        let all = line["deps"].as_array().expect("a list").iter();
        let mut found = all.filter(|d| d["name"] == name && d["kind"] == kind);
        found.next().unwrap_or_else(|| panic!("no {kind} {name} in {line}")).clone()
    };
    let alias = json!({
        "name": "alias", "package": "real-name", "req": "^1.2", "features": [], "optional": true,
        "default_features": false, "target": null, "kind": "normal",
    });
    assert_eq!(dependency("alias", "normal"), alias);
    assert_eq!(dependency("for-unix", "normal")["target"], "cfg(unix)");
    assert_eq!(dependency("real-name", "dev")["req"], "=1.2.3");

    let needs = format!(
        "[dependencies]\nrich = {{ version = \"1\", {GRIOT} }}\n\
         [features]\nmore = [\"rich/with-alias\"]\n"
    );
    let app = cargo.app(&needs, "rich::says()");
    assert_eq!(cargo.says(&app, &[]), "unix");
    assert_eq!(cargo.says(&app, &["--features", "more"]), "renamed");
}

#[test]
fn a_version_with_build_metadata_is_the_same_as_without() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    cargo.publish(&plain(&world, ("built", "0.1.0+b1"), "first"));
    let line = lines(&node, "bu/il/built");
    assert_eq!(line[0]["vers"], "0.1.0+b1");
    let second = plain(&world, ("built", "0.1.0"), "second");
    let said = cargo.refused(&second, &["publish", "--registry", "griot", "--no-verify"]);
    assert!(said.contains("0.1.0"), "{said}");
    assert_eq!(lines(&node, "bu/il/built"), line);
    let app = cargo.app(
        &format!("[dependencies]\nbuilt = {{ version = \"0.1\", {GRIOT} }}\n"),
        "built::says()",
    );
    assert_eq!(cargo.says(&app, &[]), "first");
    assert_eq!(cargo.says(&app, &["--locked"]), "first");
}

#[test]
fn capitals_are_kept_and_the_index_path_is_in_lower_case() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let started = Instant::now();
    let said = cargo.publish(&plain(&world, ("acme_Demo", "1.0.0"), "capital"));
    assert!(started.elapsed() < ONE_POLL, "cargo did not find it at its first poll: {said}");
    assert_eq!(lines(&node, "ac/me/acme_demo")[0]["name"], "acme_Demo");
    assert_eq!(node.get("/cargo/~hosted/index/ac/me/acme_Demo").status, 404);
    let app = cargo.app(
        &format!("[dependencies]\nacme_Demo = {{ version = \"1\", {GRIOT} }}\n"),
        "acme_Demo::says()",
    );
    assert_eq!(cargo.says(&app, &[]), "capital");
    let other = plain(&world, ("Acme_demo", "1.1.0"), "other case");
    let said = cargo.refused(&other, &["publish", "--registry", "griot", "--no-verify"]);
    assert!(said.contains("acme_Demo"), "{said}");
}

#[test]
fn a_name_that_differs_by_a_dash_alone_is_refused_and_the_first_is_found_by_either() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    cargo.publish(&plain(&world, ("two-words", "1.0.0"), "dash"));
    let twin = plain(&world, ("two_words", "1.0.0"), "underscore");
    let said = cargo.refused(&twin, &["publish", "--registry", "griot", "--no-verify"]);
    assert!(said.contains("two-words") && said.contains("two_words"), "{said}");
    assert_eq!(node.get("/cargo/~hosted/index/tw/o_/two_words").status, 404);
    let output = cargo.griot_publish(&node, &twin);
    let said = words(&output);
    assert!(!output.status.success() && said.contains("cannot tell two_words from"), "{said}");
}

#[test]
fn names_of_one_two_and_three_letters_are_published_and_built() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let mut needs = "[dependencies]\n".to_owned();
    for (name, path) in [("q", "1/q"), ("qr", "2/qr"), ("qrs", "3/q/qrs")] {
        cargo.publish(&plain(&world, (name, "1.0.0"), name));
        assert_eq!(lines(&node, path)[0]["name"], name);
        needs.push_str(&format!("{name} = {{ version = \"1\", {GRIOT} }}\n"));
    }
    for wrong in ["q", "1/qr", "2/q", "3/r/qrs", "qr/s/qrs", "1/q/q", "1", "q/qr"] {
        let reply = node.get(&format!("/cargo/~hosted/index/{wrong}"));
        assert_eq!(reply.status, 404, "{wrong}: {}", reply.text());
    }
    let app = cargo.app(&needs, "[q::says(), qr::says(), qrs::says()].concat()");
    assert_eq!(cargo.says(&app, &[]), "qqrqrs");
}

#[test]
fn a_publish_shows_at_the_first_poll_under_another_validator() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let started = Instant::now();
    let said = cargo.publish(&plain(&world, ("polled", "1.0.0"), "one"));
    assert!(started.elapsed() < ONE_POLL, "{said}");
    assert!(said.contains("Published polled v1.0.0"), "{said}");
    let path = "/cargo/~hosted/index/po/ll/polled";
    let first = node.get(path);
    let etag = first.header("etag").expect("a validator").to_owned();
    let again = || node.send(&Request::get(path).header("if-none-match", &etag));
    assert_eq!(again().status, 304);
    cargo.publish(&plain(&world, ("polled", "1.1.0"), "two"));
    let second = again();
    assert_eq!(second.status, 200);
    assert_ne!(second.header("etag"), Some(etag.as_str()));
    assert!(second.text().starts_with(&first.text()), "a line is added, none is changed");
}

#[test]
fn a_yank_keeps_the_lockfile_building_and_leaves_new_resolution() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    cargo.publish(&plain(&world, ("kept", "1.0.0"), "old"));
    cargo.publish(&plain(&world, ("kept", "1.1.0"), "new"));
    cargo.publish(&plain(&world, ("kept", "1.2.0"), "newest"));
    let needs = format!("[dependencies]\nkept = {{ version = \"1\", {GRIOT} }}\n");
    let locked = cargo.app(&needs, "kept::says()");
    cargo.ok(&locked, &["update", "kept", "--precise", "1.1.0"]);
    let before = lines(&node, "ke/pt/kept");
    cargo.ok(&locked, &["yank", "kept@1.1.0", "--registry", "griot"]);
    cargo.ok(&locked, &["yank", "kept@1.2.0", "--registry", "griot"]);
    let after = lines(&node, "ke/pt/kept");
    let yanked: Vec<_> = after.iter().map(|line| line["yanked"] == true).collect();
    assert_eq!(yanked, [false, true, true], "each line is where it was");
    assert_eq!((&after[0], &after[1]["cksum"]), (&before[0], &before[1]["cksum"]));
    assert_eq!(node.get(&download(&node, &after[1])).status, 200);

    let fresh = Cargo::new(&world, "fresh", &node, None).expect("cargo was there");
    let app = fresh.app(&needs, "kept::says()");
    assert_eq!(fresh.says(&app, &[]), "old");
    fs_err::copy(locked.join("Cargo.lock"), app.join("Cargo.lock")).expect("it was written");
    assert_eq!(fresh.says(&app, &["--locked"]), "new");
    cargo.ok(&locked, &["yank", "--undo", "kept@1.2.0", "--registry", "griot"]);
    fs_err::remove_file(app.join("Cargo.lock")).expect("it is there");
    assert_eq!(fresh.says(&app, &[]), "newest");
    let said = cargo.refused(&locked, &["yank", "kept@9.9.9", "--registry", "griot"]);
    assert!(said.contains("kept has no version 9.9.9"), "{said}");
}

#[test]
fn search_info_and_owners_answer_and_owners_are_changed_by_a_grant() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    cargo.publish(&plain(&world, ("Searched", "1.0.0"), "one"));
    cargo.publish(&plain(&world, ("other", "1.0.0"), "one"));
    let folder = world.folder("elsewhere");
    let said = cargo.ok(&folder, &["search", "--registry", "griot", "search"]);
    assert!(said.contains("Searched = \"1.0.0\""), "{said}");
    assert!(said.contains("# made by a test") && !said.contains("other"), "{said}");
    let said = cargo.ok(&folder, &["info", "--registry", "griot", "Searched"]);
    assert!(said.contains("made by a test") && said.contains("version: 1.0.0"), "{said}");
    let owner = |arguments: &[&str]| {
        let all = ["owner", "--registry", "griot", "Searched"].iter().chain(arguments);
        cargo.run(&folder, &all.copied().collect::<Vec<_>>())
    };
    assert!(words(&owner(&["--list"])).contains(&node.publisher()));
    for change in ["--add", "--remove"] {
        let output = owner(&[change, "somebody"]);
        assert!(!output.status.success(), "{output:?}");
        let verb = if change == "--add" { "grant" } else { "ungrant" };
        assert!(words(&output).contains(&format!("griot realm {verb}")), "{output:?}");
    }
}

/// What a command said, where a text is called so already.
fn words(output: &Output) -> String {
    said(output)
}

#[test]
fn cargo_refuses_bytes_that_are_not_those_of_the_line() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    cargo.publish(&plain(&world, ("bytes", "1.0.0"), "one"));
    let line = lines(&node, "by/te/bytes")[0].clone();
    // The node itself gives no others for a checksum.
    let path = download(&node, &line);
    let reply = node.get(&path.replace(&text(&line, "cksum"), &"0".repeat(64)));
    assert_eq!(reply.status, 404, "{}", reply.text());
    // Something damages its disk.
    let sound = node.get(&path).body;
    let file = file_with(&node.home(), &sound).expect("the node has the bytes in a file");
    let mut wrong = sound.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    fs_err::remove_file(&file).expect("it is there");
    fs_err::write(&file, &wrong).expect("it can be written again");
    let needs = format!("[dependencies]\nbytes = {{ version = \"1\", {GRIOT} }}\n");
    let app = cargo.app(&needs, "bytes::says()");
    let said = cargo.refused(&app, &["build"]);
    assert!(said.contains("checksum"), "{said}");
}

/// The file below a folder that holds exactly these bytes.
fn file_with(folder: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let entries = fs_err::read_dir(folder).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find_map(|path| match path.is_dir() {
        true => file_with(&path, bytes),
        false => (fs_err::read(&path).ok()? == bytes).then_some(path),
    })
}

#[test]
fn a_missing_or_wrong_token_is_told_in_words_and_nothing_is_left() {
    let world = World::new();
    let Some((node, _)) = one(&world) else { return };
    let folder = plain(&world, ("refused", "1.0.0"), "one");
    let reading = node.token("read");
    for (token, words) in [
        (None, "griot login"),
        (Some("griot_wrong"), "not one of this node's"),
        (Some(reading.as_str()), "griot token create --scope publish"),
    ] {
        let cargo = Cargo::new(&world, "nobody", &node, token).expect("cargo was there");
        let said = cargo.refused(&folder, &["publish", "--registry", "griot", "--no-verify"]);
        let found = said.contains(words) || (token.is_none() && said.contains("token"));
        assert!(found, "{token:?}: {said}");
    }
    assert_eq!(node.info("cargo", "refused"), Value::Null);
    assert_eq!(node.status()["blobs"]["count"], 0);
}

#[test]
fn a_private_realm_asks_cargo_for_a_token_and_a_public_one_never_does() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let config = "/cargo/~hosted/index/config.json";
    assert_eq!(node.get(config).json().get("auth-required"), None);
    cargo.publish(&plain(&world, ("secret", "1.0.0"), "hush"));
    node.griot(&["realm", "grant", "*:*", &node.publisher(), "--role", "read"]);
    let refused = node.get(config);
    assert_eq!(refused.status, 401, "{}", refused.text());
    let login = format!("Cargo login_url=\"{}\"", node.url("/cargo/~hosted/me"));
    assert_eq!(refused.header("www-authenticate"), Some(login.as_str()));
    assert!(node.get("/cargo/~hosted/me").text().contains("griot token create"));
    // What is private reads like what never was.
    assert_eq!(node.get("/cargo/~hosted/index/se/cr/secret").status, 404);
    assert_eq!(node.get("/cargo/~upstream/index/config.json").status, 200);

    let needs = format!("[dependencies]\nsecret = {{ version = \"1\", {GRIOT} }}\n");
    let reader = Cargo::new(&world, "reader", &node, Some(&node.token("read"))).expect("cargo");
    assert_eq!(reader.says(&reader.app(&needs, "secret::says()"), &[]), "hush");
    let nobody = Cargo::new(&world, "nobody", &node, None).expect("cargo");
    let said = nobody.refused(&nobody.app(&needs, "secret::says()"), &["fetch"]);
    assert!(said.contains("credential-provider") || said.contains("token"), "{said}");
}

#[test]
fn griot_publishes_a_folder_and_a_crate_as_cargo_packs_them() {
    let world = World::new();
    let Some((node, cargo)) = one(&world) else { return };
    let folder = plain(&world, ("packed", "1.0.0"), "by griot");
    let publish = |path: &Path| {
        let output = cargo.griot_publish(&node, path);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("griot prints JSON")
    };
    assert_eq!(publish(&folder)["new"], true);
    cargo.publish(&plain(&world, ("leaf", "1.0.0"), "leaf"));
    let needs = format!("[dependencies]\nleaf = {{ version = \"1\", {GRIOT} }}\n");
    let second = library(&world, ("packed", "1.1.0"), &needs, "pub use leaf::says;\n");
    cargo.ok(&second, &["package", "--no-verify"]);
    let archive = second.join("target/package/packed-1.1.0.crate");
    assert_eq!(publish(&archive)["version"], "1.1.0");
    assert_eq!(publish(&archive)["new"], false);
    let app = cargo.app(
        &format!("[dependencies]\npacked = {{ version = \"1\", {GRIOT} }}\n"),
        "packed::says()",
    );
    assert_eq!(cargo.says(&app, &[]), "leaf");
    cargo.ok(&app, &["update", "packed", "--precise", "1.0.0"]);
    assert_eq!(cargo.says(&app, &["--locked"]), "by griot");
}

/// Bytes that a process has read so far, of files and not of sockets.
#[cfg(target_os = "linux")]
fn read_so_far(node: &Node) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{}/io", node.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|bytes| bytes.parse().ok()).expect("Linux counts them")
}

#[cfg(target_os = "linux")]
#[test]
fn an_archive_is_read_once_when_it_is_published() {
    let world = World::new();
    let node = world.node("a");
    let token = node.token("publish");
    let padding = crate::harness::samples::noise(7, 24 * 1024 * 1024);
    let made = crate::harness::upstream::Crate::new("heavy", "1.0.0").file("padding", padding);
    let archive = made.bytes();
    let said = json!({ "name": "heavy", "vers": "1.0.0" }).to_string();
    let mut body = u32::try_from(said.len()).expect("it is small").to_le_bytes().to_vec();
    body.extend(said.bytes());
    body.extend(u32::try_from(archive.len()).expect("it is no giant").to_le_bytes());
    body.extend(&archive);
    let put = Request::put("/cargo/~hosted/api/v1/crates/new", body).token(&token);
    let before = read_so_far(&node);
    let reply = node.send(&put);
    let read = read_so_far(&node) - before;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let times = read as f64 / archive.len() as f64;
    println!("read {times:.2} times its size");
    assert!((0.9..1.5).contains(&times), "{read} bytes of {} were read", archive.len());
}
