//! A project that was prefetched installs with the cable out: every client, its own lockfile.
//!
//! Each client makes its lockfile directly against the stub upstream. The node is asked what
//! lacks, brings it, and proves it; the upstream becomes a black hole, the node starts anew, and
//! the client installs from it with empty caches. The lockfile must not change by it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::upstream::Stub;
use crate::harness::wait::{run, said};
use crate::harness::{Client, Node, World};

const LIMIT: Duration = Duration::from_secs(150);
/// An alias, a scope, a dependency of both, and something for another platform.
const MANIFEST: &str = r#"{
  "name": "shop",
  "version": "1.0.0",
  "private": true,
  "dependencies": { "@village/shifts": "^2.0.0", "old-pad": "npm:pad@1.0.0" },
  "optionalDependencies": { "far-away": "1.0.0" }
}
"#;
/// What the project locks.
const LOCKED: [&str; 5] =
    ["@village/shifts@2.0.0", "far-away@1.0.0", "left-pad@1.3.0", "pad@1.0.0", "pad@1.1.0"];

/// An upstream, a node that has adopted it, and a project with its client's lockfile.
struct Shop {
    client: Client,
    stub: Stub,
    node: Node,
    folder: PathBuf,
    world: World,
}

impl Shop {
    /// Skips without the client.
    fn new(client: Client) -> Option<Self> {
        if !client.is_there() {
            return None;
        }
        let world = World::new();
        let stub = Stub::start();
        stub.publish("pad", "1.0.0", |p| p);
        stub.publish("pad", "1.1.0", |p| p);
        stub.publish("left-pad", "1.3.0", |p| p.dependency("pad", "^1.1.0"));
        stub.publish("@village/shifts", "2.0.0", |p| p.dependency("left-pad", "^1.0.0"));
        stub.publish("far-away", "1.0.0", |p| p.field("os", serde_json::json!(["aix"])));
        stub.publish("nobody-needs-this", "1.0.0", |p| p);
        let node = world.node("a");
        node.griot(&["upstream", "add", "npm", &stub.url()]);
        let folder = world.folder("shop");
        fs_err::write(folder.join("package.json"), MANIFEST).expect("a manifest can be written");
        let shop = Self { client, stub, node, folder, world };
        shop.lock();
        Some(shop)
    }

    /// The client resolves the project at the upstream itself.
    fn lock(&self) {
        let home = self.home("direct", &self.stub.url());
        let arguments: &[&str] = match self.client {
            Client::Pnpm => &["install", "--lockfile-only"],
            Client::Bun => &["install", "--lockfile-only"],
            Client::Yarn1 => &["install", "--ignore-scripts", "--non-interactive"],
            Client::Berry => {
                fs_err::write(self.lockfile(), "").expect("a file can be written");
                &["install", "--mode=update-lockfile", "--no-immutable"]
            }
            _ => &["install", "--package-lock-only", "--no-audit"],
        };
        self.client.ok(&home, &self.folder, arguments);
        assert!(self.lockfile().is_file(), "{} wrote no lockfile", self.client.name());
        self.clean();
    }

    /// An empty home of the client whose registry is this one.
    fn home(&self, name: &str, registry: &str) -> PathBuf {
        let home = self.world.folder(&format!("home-{name}"));
        self.client.configure(&home, registry, None);
        home
    }

    fn lockfile(&self) -> PathBuf {
        self.folder.join(self.client.lockfile())
    }

    /// Leaves of the project what a person commits.
    fn clean(&self) {
        let keep = ["package.json", self.client.lockfile()];
        for entry in fs_err::read_dir(&self.folder).expect("a folder can be listed") {
            let path = entry.expect("a folder can be listed").path();
            if keep.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            let gone = if path.is_dir() {
                fs_err::remove_dir_all(path)
            } else {
                fs_err::remove_file(path)
            };
            gone.expect("the client's files can be removed");
        }
    }

    /// A verb in the project's folder; its JSON, its standard error, and its exit code.
    fn verb(&self, arguments: &[&str]) -> (Value, String, i32) {
        let mut command = self.node.command(arguments);
        let output = run(command.arg("--json").current_dir(&self.folder), LIMIT);
        let code = output.status.code().expect("the command ends by itself");
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("griot {arguments:?}: {error}: {}", said(&output)));
        (value, String::from_utf8_lossy(&output.stderr).into_owned(), code)
    }

    /// What lacks by `check`, which asks nobody: `name@version`, sorted.
    fn lacks(&self, code: i32) -> Vec<String> {
        self.stub.forget_requests();
        let (report, said, exit) = self.verb(&["check", self.client.lockfile()]);
        assert_eq!(exit, code, "{report} {said}");
        assert_eq!(report["complete"], code == 0, "{report}");
        // But for the sign of life that a node asks for at its start.
        let asked: Vec<_> =
            self.stub.requests().into_iter().filter(|seen| seen.method != "HEAD").collect();
        assert!(asked.is_empty(), "a check asked the upstream: {asked:?}");
        let lacks = report["lacks"].as_array().expect("a report lists what lacks");
        let files = lacks.iter().filter(|lack| lack["what"] == "file");
        let id = |lack: &Value| {
            let text = |key: &str| lack[key].as_str().unwrap_or_default().to_owned();
            format!("{}@{}", text("name"), text("version"))
        };
        let mut ids: Vec<String> = files.map(id).collect();
        ids.sort();
        ids
    }

    /// Installs from the node with nothing but the lockfile, as `arguments` say.
    fn install(&self, arguments: &[&str]) {
        let home = self.home("offline", &self.node.url("/npm/"));
        self.client.ok(&home, &self.folder, arguments);
    }
}

/// The module that a package of the stub has.
fn check_module(folder: &Path, id: &str) {
    let module = folder.join("index.js");
    let text = fs_err::read_to_string(&module).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert!(text.contains(id), "{text}");
}

/// The whole course for one client; `arguments` install what is locked and nothing else.
fn prefetched(client: Client, arguments: &[&str]) -> Option<Shop> {
    let mut shop = Shop::new(client)?;
    let before = fs_err::read(shop.lockfile()).expect("the lockfile is there");
    assert_eq!(shop.lacks(3), LOCKED);

    let (done, said, exit) = shop.verb(&["prefetch"]);
    assert_eq!((exit, &done["complete"]), (0, &true.into()), "{done} {said}");
    assert_eq!(done["failed"], serde_json::json!([]), "{done}");
    assert_eq!(shop.stub.count("nobody-needs-this"), 0);
    assert_eq!(shop.lacks(0), Vec::<String>::new());
    let (again, ..) = shop.verb(&["prefetch"]);
    assert_eq!(again["fetched"], 0, "what is held is fetched again: {again}");

    shop.stub.switch(|s| s.black_hole = true);
    shop.node.terminate();
    shop.node.up();
    assert_eq!(shop.lacks(0), Vec::<String>::new());
    if !arguments.is_empty() {
        shop.install(arguments);
        let after = fs_err::read(shop.lockfile()).expect("the lockfile is there");
        assert!(before == after, "{} changed its lockfile", client.name());
    }
    Some(shop)
}

/// What npm, yarn and bun lay out flat.
fn check_flat(shop: &Shop) {
    let modules = shop.folder.join("node_modules");
    check_module(&modules.join("@village/shifts"), "@village/shifts@2.0.0");
    check_module(&modules.join("left-pad"), "left-pad@1.3.0");
    check_module(&modules.join("old-pad"), "pad@1.0.0");
}

fn npm(client: Client) {
    if let Some(shop) = prefetched(client, &["ci", "--no-audit"]) {
        check_flat(&shop);
    }
}

#[test]
fn npm_8_installs_offline_what_was_prefetched() {
    npm(Client::Npm8);
}

#[test]
fn npm_11_installs_offline_what_was_prefetched() {
    npm(Client::Npm11);
}

#[test]
fn npm_12_installs_offline_what_was_prefetched() {
    npm(Client::Npm12);
}

#[test]
fn pnpm_installs_offline_what_was_prefetched() {
    if let Some(shop) = prefetched(Client::Pnpm, &["install", "--frozen-lockfile"]) {
        let modules = shop.folder.join("node_modules");
        check_module(&modules.join("@village/shifts"), "@village/shifts@2.0.0");
        check_module(&modules.join("old-pad"), "pad@1.0.0");
    }
}

#[test]
fn berry_installs_offline_what_was_prefetched() {
    let Some(shop) = prefetched(Client::Berry, &["install", "--immutable"]) else { return };
    let found = shop.folder.join(".pnp.cjs").is_file() || shop.folder.join("node_modules").is_dir();
    assert!(found, "berry installed nothing");
}

/// For clients that fetch the URLs of their lockfile verbatim: only `griot run` brings them here.
fn by_way_of_run(client: Client, arguments: &[&str]) {
    let Some(shop) = prefetched(client, &[]) else { return };
    let home = shop.home("offline", &shop.stub.url());
    let verb: Vec<&str> = ["run", "--"].iter().chain(arguments).copied().collect();
    let mut command: Command = shop.node.command(&verb);
    command.envs(client.variables(&home)).env("GRIOT_HOME", shop.node.home());
    let output = run(command.current_dir(&shop.folder), LIMIT);
    assert!(output.status.success(), "{}", said(&output));
    check_flat(&shop);
}

#[test]
fn bun_installs_offline_what_was_prefetched_by_way_of_griot_run() {
    // bun writes the URLs of a registry that is not its default into its lockfile.
    by_way_of_run(Client::Bun, &["bun", "install", "--frozen-lockfile"]);
}

#[test]
fn yarn_1_installs_offline_what_was_prefetched_by_way_of_griot_run() {
    by_way_of_run(Client::Yarn1, &["yarn", "install", "--frozen-lockfile", "--non-interactive"]);
}

#[test]
fn a_check_says_what_lacks_to_a_person_and_wants_can_be_listed_and_forgotten() {
    let Some(shop) = Shop::new(Client::Npm11) else { return };
    let verb = |arguments: &[&str]| {
        let output = run(shop.node.command(arguments).current_dir(&shop.folder), LIMIT);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text, said(&output), output.status.code())
    };
    let (text, all, code) = verb(&["check"]);
    assert_eq!(code, Some(3), "{all}");
    assert!(text.starts_with("5 packages   need 5 ("), "{text}");
    assert!(text.contains("pad@1.1.0") && text.contains("unknown size"), "{text}");
    assert!(all.contains("hint: griot prefetch package-lock.json"), "{all}");

    shop.stub.switch(|s| s.black_hole = true);
    let (text, all, code) = verb(&["prefetch"]);
    assert_eq!(code, Some(3), "{all}");
    assert!(text.contains("failed: "), "{text}");
    assert!(!text.contains("OK:"), "{text}");
    let (text, ..) = verb(&["want", "list"]);
    assert!(text.contains("left-pad") && text.contains("out of reach"), "{text}");
    let (text, ..) = verb(&["status"]);
    assert!(text.contains("griot want list"), "{text}");
    assert_eq!(verb(&["want", "forget", "left-pad"]).2, Some(0));
    assert!(!verb(&["want", "list"]).0.contains("left-pad"));
    assert_eq!(verb(&["want", "forget", "left-pad"]).2, Some(3));

    shop.stub.switch(|s| s.black_hole = false);
    let (text, all, code) = crate::harness::wait_for("the upstream to be back", LIMIT, || {
        let done = verb(&["prefetch"]);
        if done.2 == Some(0) { Ok(done) } else { Err(done.1) }
    });
    assert_eq!(code, Some(0), "{all}");
    assert!(text.contains("OK: this project installs offline."), "{text}");
    let (text, ..) = verb(&["check"]);
    assert_eq!(text, "5 packages   all here\nOK: this project installs offline.\n");
}

#[test]
fn a_fix_puts_the_upstreams_urls_where_a_lockfile_names_the_node() {
    let Some(shop) = Shop::new(Client::Npm11) else { return };
    let (done, said, exit) = shop.verb(&["prefetch"]);
    assert_eq!(exit, 0, "{done} {said}");
    let clean = fs_err::read_to_string(shop.lockfile()).expect("the lockfile is there");
    let polluted = clean.replace(&shop.stub.url(), &shop.node.url("/npm/"));
    assert_ne!(clean, polluted);
    fs_err::write(shop.lockfile(), &polluted).expect("a lockfile can be written");
    let (report, said, exit) = shop.verb(&["check"]);
    assert_eq!(exit, 0, "{report} {said}");
    assert_eq!(report["polluted"].as_array().map(Vec::len), Some(5), "{report}");
    assert!(said.contains("griot check --fix package-lock.json"), "{said}");
    let (report, said, exit) = shop.verb(&["check", "--fix"]);
    assert_eq!((exit, &report["fixed"]), (0, &5.into()), "{report} {said}");
    let fixed = fs_err::read_to_string(shop.lockfile()).expect("the lockfile is there");
    assert_eq!(fixed, clean);
}
