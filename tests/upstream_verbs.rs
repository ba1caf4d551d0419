//! The verbs of the clients at a node with an upstream: publish beside it, audit, search, view.
//!
//! What must never happen is seen at the stub upstream, which keeps every request: that it hears
//! of a private name, or that a client reads "no vulnerabilities" from a node that does not know.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::samples::{module_text, npm_package};
use crate::harness::upstream::{Raw, Stub};
use crate::harness::wait::said;
use crate::harness::{Client, EVENTUALLY, Node, Project, Request, World, wait_until};

const EMPTY: &str = r#"{"name":"project","version":"1.0.0","private":true}"#;
const NEEDS_PAD: &str = r#"{"name":"project","version":"1.0.0","private":true,
  "dependencies":{"pad":"1.0.0"}}"#;
const NPM: Client = Client::Npm11;

/// A world with an upstream, and a node before it.
struct Shop {
    world: World,
    stub: Stub,
    node: Node,
}

impl Shop {
    fn new() -> Self {
        let world = World::new();
        let stub = Stub::start();
        stub.publish("pad", "1.0.0", |p| p);
        stub.publish("left-pad", "1.0.0", |p| p);
        stub.publish("left-pad", "1.1.0", |p| p.dependency("pad", "^1.0.0"));
        let node = world.node("a");
        node.json(&["upstream", "add", "npm", &stub.url()]);
        Self { world, stub, node }
    }

    /// A project that goes through the node; yarn 1 does so by `griot run`.
    fn project(&self, name: &str, client: Client, manifest: &str) -> Project {
        let project = Project::new(&self.world, name, client, &self.stub.url()).with(manifest);
        if client == Client::Yarn1 {
            return project.by_way_of(&self.node);
        }
        project.link(&self.node)
    }

    /// npm with a token of the node.
    fn publisher(&self) -> Project {
        let project = Project::new(&self.world, "publisher", NPM, &self.stub.url()).with(EMPTY);
        let token = self.node.token("read,publish,yank");
        NPM.configure(&project.home, &self.node.url("/npm/"), Some(&token));
        project
    }
}

fn text(name: &str, version: &str) -> String {
    format!("module.exports = '{name}@{version}';\n")
}

#[test]
fn a_private_scope_lives_beside_the_upstream_which_never_hears_of_it() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    // Somebody has put the same name there, with a higher version.
    shop.stub.publish("@acme/till", "9.9.9", |p| p);
    shop.node.json(&["route", "add", "npm:@acme/*", &shop.node.realm()]);
    let npm = shop.publisher();
    let sources = shop.world.folder("sources");
    let at = |version: &str, says: &str| npm_package(&sources, "@acme/till", version, says);
    let publish = |version: &str, says: &str, more: &[&str]| {
        let folder = at(version, says);
        NPM.ok(&npm.home, &folder, &[&["publish"], more].concat());
    };
    publish("1.0.0", "one", &[]);
    publish("1.1.0", "two", &["--tag", "next"]);
    let again = NPM.refused(&npm.home, &at("1.0.0", "others"), &["publish"]);
    assert!(again.contains("1.0.0"), "{again}");
    for client in Client::ALL.into_iter().filter(|client| client.is_there()) {
        let project = shop.project("buyer", client, EMPTY);
        let add = if project.client.program() == "npm" { "install" } else { "add" };
        project.ok(&[add, "@acme/till@1.0.0", "left-pad@1.0.0"]);
        assert_eq!(project.module("@acme/till"), module_text("one"), "{}", client.name());
        assert_eq!(project.module("left-pad"), text("left-pad", "1.0.0"), "{}", client.name());
    }
    let tagged = shop.project("tagged", NPM, EMPTY);
    tagged.ok(&["install", "@acme/till@next"]);
    assert_eq!(tagged.module("@acme/till"), module_text("two"));
    npm.ok(&["dist-tag", "add", "@acme/till@1.1.0", "stable"]);
    npm.ok(&["deprecate", "@acme/till@1.0.0", "sums wrongly"]);
    assert_eq!(npm.ok(&["view", "@acme/till@1.0.0", "deprecated"]), "sums wrongly");
    npm.ok(&["unpublish", "@acme/till@1.1.0"]);
    let said = npm.refused(&["view", "@acme/till@1.1.0", "version", "--prefer-online"]);
    assert!(said.contains("E404"), "{said}");
    let heard = shop.stub.requests().into_iter().filter(|seen| {
        seen.path.contains("acme") || String::from_utf8_lossy(&seen.body).contains("acme")
    });
    assert_eq!(heard.map(|seen| seen.path).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_is_the_upstreams_cannot_be_published_to_and_npm_says_what_to_type() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    let npm = shop.publisher();
    assert_eq!(npm.ok(&["view", "left-pad", "version"]), "1.1.0");
    let folder = npm_package(&shop.world.folder("sources"), "left-pad", "7.0.0", "mine");
    let said = NPM.refused(&npm.home, &folder, &["publish"]);
    assert!(said.contains("E409") && said.contains("griot route add npm:left-pad"), "{said}");
}

fn advisory() -> Value {
    json!({
        "id": 17, "url": "https://advisories.example.test/17", "title": "pad pads too much",
        "severity": "high", "vulnerable_versions": "<1.0.1", "cwe": ["CWE-400"],
        "cvss": { "score": 7.5, "vectorString": null },
    })
}

/// The upstream's word, then what is known of it, then an honest failure.
#[track_caller]
fn audits(client: Client, audit: &[&str], none: &str) {
    if !client.is_there() {
        return;
    }
    let shop = Shop::new();
    shop.stub.advise("pad", advisory());
    let project = shop.project("audited", client, NEEDS_PAD);
    project.install();
    // npm 8 has its own mind about the exit code.
    let audited = || said(&project.run(audit, &[]));
    assert!(audited().contains("pad pads too much"), "{}", audited());
    // Nobody has asked about this one before the upstream goes.
    let other = NEEDS_PAD.replace(r#""pad":"1.0.0""#, r#""left-pad":"1.0.0""#);
    let other = shop.project("unasked", client, &other);
    other.install();
    shop.stub.down();
    assert!(audited().contains("pad pads too much"), "{}", audited());
    let said = other.refused(audit);
    assert!(!said.contains(none), "{} claims to know: {said}", client.name());
    assert!(said.contains("424"), "{} does not say why: {said}", client.name());
    // It is a matter of now.
    shop.stub.up();
    wait_until("the upstream to be asked again", EVENTUALLY, || {
        other.run(audit, &[]).status.success()
    });
}

#[test]
fn npm_8_audits_by_the_upstream_then_by_what_is_known_and_else_fails() {
    audits(Client::Npm8, &["audit"], "found 0 vulnerabilities");
}

#[test]
fn npm_11_audits_by_the_upstream_then_by_what_is_known_and_else_fails() {
    audits(Client::Npm11, &["audit"], "found 0 vulnerabilities");
}

#[test]
fn npm_12_audits_by_the_upstream_then_by_what_is_known_and_else_fails() {
    audits(Client::Npm12, &["audit"], "found 0 vulnerabilities");
}

#[test]
fn berry_audits_by_the_upstream_then_by_what_is_known_and_else_fails() {
    audits(Client::Berry, &["npm", "audit"], "No audit suggestions");
}

#[test]
fn bun_audits_by_the_upstream_then_by_what_is_known_and_else_fails() {
    audits(Client::Bun, &["audit"], "No vulnerabilities found");
}

/// Those that ask by the lockfile's tree, which is never answered from memory.
#[test]
fn pnpm_and_yarn_1_claim_nothing_when_the_upstream_cannot_audit() {
    for (client, none) in
        [(Client::Pnpm, "No known vulnerabilities"), (Client::Yarn1, "0 vulnerabilities found")]
    {
        if !client.is_there() {
            continue;
        }
        let shop = Shop::new();
        let project = shop.project("audited", client, NEEDS_PAD);
        project.install();
        for gone in [false, true] {
            if gone {
                shop.stub.down();
            }
            let said = project.refused(&["audit"]);
            assert!(!said.contains(none), "{} claims to know: {said}", client.name());
        }
    }
}

#[test]
fn npm_view_search_owner_pack_and_exec_show_what_the_upstream_has() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    shop.stub.publish("speaks", "1.0.0", |p| {
        let code = "#!/usr/bin/env node\nconsole.log('it speaks');\n";
        p.field("bin", json!({ "speaks": "cli.js" })).file("cli.js", code)
    });
    shop.stub.publish("@village/speaks", "1.0.0", |p| p);
    shop.stub.tag("left-pad", "old", "1.0.0");
    let npm = shop.project("reader", NPM, EMPTY);
    assert_eq!(npm.ok(&["view", "left-pad@old", "version"]), "1.0.0");
    let versions: Value =
        serde_json::from_str(&npm.ok(&["view", "left-pad", "versions", "--json"])).expect("JSON");
    assert_eq!(versions, json!(["1.0.0", "1.1.0"]));
    let found = npm.ok(&["search", "left", "--json"]);
    let found: Value = serde_json::from_str(&found).expect("npm prints JSON");
    assert_eq!(found[0]["name"], "left-pad");
    assert_eq!(npm.ok(&["owner", "ls", "left-pad"]), "ada <ada@example.test>");
    let said = npm.refused(&["whoami"]);
    assert!(said.contains("ENEEDAUTH"), "{said}");
    assert_eq!(npm.ok(&["exec", "--yes", "--", "speaks"]), "it speaks");
    for (name, file) in
        [("left-pad", "left-pad-1.1.0.tgz"), ("@village/speaks", "village-speaks-1.0.0.tgz")]
    {
        npm.ok(&["pack", name]);
        assert!(npm.has(file), "{file}");
    }
    shop.stub.down();
    assert_eq!(npm.ok(&["view", "left-pad", "version"]), "1.1.0");
    let found = npm.ok(&["search", "left", "--json", "--prefer-online"]);
    assert!(found.contains("left-pad"), "{found}");
    let said = npm.refused(&["view", "never-seen"]);
    assert!(said.contains("E424"), "{said}");
}

#[test]
fn npm_outdated_and_update_see_a_new_version_of_the_upstream() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    let manifest = EMPTY.replace('}', r#","dependencies":{"left-pad":"^1.0.0"}}"#);
    let npm = shop.project("keeper", NPM, &manifest);
    npm.install();
    assert_eq!(npm.module("left-pad"), text("left-pad", "1.1.0"));
    shop.stub.publish("left-pad", "1.2.0", |p| p);
    // npm's --prefer-online sends no more than a validator, so a fresh copy stays for its minutes.
    let again = Request::get("/npm/left-pad").header("cache-control", "no-cache");
    wait_until("the node to look again", EVENTUALLY, || {
        shop.node.send(&again).json()["versions"]["1.2.0"].is_object()
    });
    assert_eq!(npm.ok(&["view", "left-pad", "version", "--prefer-online"]), "1.2.0");
    let outdated = npm.refused(&["outdated", "--json"]);
    assert!(outdated.contains("\"latest\": \"1.2.0\""), "{outdated}");
    npm.ok(&["update"]);
    assert_eq!(npm.module("left-pad"), text("left-pad", "1.2.0"));
}

#[test]
fn workspaces_take_their_own_from_the_folder_and_the_rest_through_the_node() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    let root = r#"{"name":"root","version":"1.0.0","private":true,"workspaces":["parts/*"]}"#;
    let part = r#"{"name":"one","version":"1.0.0","dependencies":{"two":"1.0.0","pad":"1.0.0"}}"#;
    let make = |project: Project| {
        project.folder("parts/one", part);
        project.folder("parts/two", r#"{"name":"two","version":"1.0.0"}"#);
        project.install();
        project.lockfile()
    };
    let direct = make(Project::new(&shop.world, "direct", NPM, &shop.stub.url()).with(root));
    shop.stub.forget_requests();
    assert_eq!(make(shop.project("through", NPM, root)), direct);
    assert_eq!(shop.stub.count("/two"), 0, "a workspace is nobody else's");
}

#[test]
fn odd_names_and_packed_bodies_come_through() {
    if !NPM.is_there() {
        return;
    }
    let shop = Shop::new();
    let npm = shop.project("odd", NPM, EMPTY);
    for name in ["constructor", "hasOwnProperty", "toString"] {
        // npm itself stumbles over these; its document and tarball are there all the same.
        shop.stub.publish(name, "1.0.0", |p| p);
        assert_eq!(shop.node.get(&format!("/npm/{name}")).json()["name"], name);
        npm.ok(&["pack", name]);
        assert!(npm.has(format!("{name}-1.0.0.tgz")), "{name}");
    }
    for path in ["/npm/__proto__", "/npm/__proto__/-/__proto__-1.0.0.tgz", "/npm/@x/__proto__"] {
        assert_eq!(shop.node.get(path).status, 404, "{path}");
    }
    shop.stub.publish("zipped", "1.0.0", |p| p);
    let body = shop.stub.bytes("/zipped", "application/json").expect("it was published");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&body).expect("memory takes it all");
    let packed = gzip.finish().expect("memory takes it all");
    let raw = Raw::ok("application/json", packed).header("content-encoding", "gzip");
    shop.stub.raw("/zipped", raw);
    npm.ok(&["install", "zipped"]);
    assert_eq!(npm.module("zipped"), text("zipped", "1.0.0"));
}
