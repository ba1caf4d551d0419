//! `griot publish`, `griot add` and their kin, without any other client.

use std::path::Path;

use crate::harness::node::text;
use crate::harness::samples::{module_text, noise_file, npm_package, sha256};
use crate::harness::{Node, Npm, SOON, World};

fn as_text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

fn publish_npm(world: &World, node: &Node, name: &str, versions: &[&str]) {
    for version in versions {
        let source = npm_package(&world.folder("sources"), name, version, version);
        node.json(&["publish", as_text(&source)]);
    }
}

#[test]
fn a_folder_with_package_json_is_published_as_npm_packs_it() {
    let world = World::new();
    let node = world.node("a");
    let source = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    fs_err::create_dir_all(source.join("node_modules/x")).expect("a folder can be made");
    fs_err::write(source.join("node_modules/x/index.js"), "").expect("a file can be written");
    fs_err::write(source.join(".npmignore"), "secret.txt\n").expect("a file can be written");
    fs_err::write(source.join("secret.txt"), "secret").expect("a file can be written");
    let published = node.json(&["publish", as_text(&source)]);
    assert!(published.to_string().contains(&node.realm()), "{published}");
    let row = node.version("npm", "left-shift", "1.0.0");
    assert_eq!(row["artifacts"][0]["filename"], "left-shift-1.0.0.tgz");

    let Some(npm) = Npm::new(&world, "consumer", &node, None) else { return };
    let project = npm.project();
    npm.ok(&project, &["install", "left-shift"]);
    let installed = project.join("node_modules/left-shift");
    let module = fs_err::read_to_string(installed.join("index.js")).expect("npm installed it");
    assert_eq!(module, module_text("one"));
    assert!(!installed.join("secret.txt").exists(), "an ignored file was published");
    assert!(!installed.join("node_modules").exists(), "node_modules was published");
}

#[test]
fn latest_follows_a_higher_version_and_no_other() {
    let world = World::new();
    let node = world.node("a");
    publish_npm(&world, &node, "left-shift", &["1.0.0"]);
    node.json(&["tag", "left-shift@1.0.0", "latest"]);
    for (version, latest) in [("1.1.0", "1.1.0"), ("1.2.0-rc.1", "1.1.0"), ("1.0.1", "1.1.0")] {
        publish_npm(&world, &node, "left-shift", &[version]);
        let tags = &node.info("npm", "left-shift")["tags"];
        assert_eq!(tags["latest"], latest, "after {version}: {tags}");
    }
}

#[test]
fn a_tgz_is_published_byte_for_byte_and_other_bytes_are_refused() {
    let world = World::new();
    let node = world.node("a");
    let Some(npm) = Npm::new(&world, "packer", &node, None) else { return };
    let source = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    npm.ok(&source, &["pack"]);
    let archive = source.join("left-shift-1.0.0.tgz");
    node.json(&["publish", as_text(&archive)]);
    let bytes = fs_err::read(&archive).expect("npm made the archive");
    let reply = node.get("/npm/left-shift/-/left-shift-1.0.0.tgz");
    assert_eq!(sha256(&reply.body), sha256(&bytes));
    node.json(&["publish", as_text(&archive)]);

    let held = node.status()["blobs"].clone();
    let other = npm_package(&world.folder("others"), "left-shift", "1.0.0", "other bytes");
    let (said, _) = node.refused(&["publish", as_text(&other)]);
    assert!(said.contains("1.0.0"), "{said}");
    let hint = said.lines().last().unwrap_or_default();
    assert!(hint.starts_with("hint:"), "{said}");
    let reply = node.get("/npm/left-shift/-/left-shift-1.0.0.tgz");
    assert_eq!(sha256(&reply.body), sha256(&bytes));
    assert_eq!(node.status()["blobs"], held);
}

#[test]
fn add_resolves_a_range_by_the_rules_of_the_format_and_fetches_the_file() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    publish_npm(&world, &a, "left-shift", &["1.0.0", "1.2.0", "1.10.0", "2.0.0", "2.1.0-beta.1"]);
    b.wait_held("npm", ("left-shift", "2.1.0-beta.1"), SOON);
    for (wanted, version) in [
        ("left-shift@^1", "1.10.0"),
        ("left-shift@~1.2.0", "1.2.0"),
        ("left-shift", "2.0.0"),
        ("left-shift@2.1.0-beta.1", "2.1.0-beta.1"),
    ] {
        let folder = world.folder(&format!("into-{version}"));
        let mut command = b.command(&["add", wanted, "--format", "npm", "--json"]);
        let printed = crate::harness::wait::run_ok(command.current_dir(&folder), SOON);
        let added: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(added["version"], version, "{wanted}");
        let artifact = &added["artifacts"][0];
        let file = folder.join(text(artifact, "filename"));
        let bytes = fs_err::read(file).expect("the file was fetched into the folder");
        assert_eq!(artifact["sha256"], sha256(&bytes));
        assert_eq!(artifact["digest"], blake3::hash(&bytes).to_hex().as_str());
    }
    let (said, _) = b.refused(&["add", "left-shift@^7", "--format", "npm"]);
    assert!(said.contains("hint:"), "{said}");
}

#[test]
fn any_file_is_published_with_a_name_and_a_version() {
    let world = World::new();
    let node = world.node("a");
    let source = noise_file(&world.path().join("map.bin"), 9, 300_000);
    let file = as_text(&source);
    node.json(&["publish", "--format", "generic", "--name", "maps", "--version", "2026.11", file]);
    let reply = node.get("/generic/maps/2026.11/map.bin");
    assert_eq!(reply.status, 200);
    assert_eq!(Some(sha256(&reply.body)), fs_err::read(&source).ok().map(|b| sha256(&b)));
    let (said, _) = node.refused(&["publish", file]);
    assert!(said.contains("hint:"), "a bare file needs a format, a name and a version: {said}");
}

#[test]
fn a_yanked_version_is_not_chosen_but_can_be_had_by_its_number() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    publish_npm(&world, &a, "left-shift", &["1.0.0", "1.1.0"]);
    b.wait_held("npm", ("left-shift", "1.1.0"), SOON);
    a.json(&["yank", "left-shift@1.1.0", "--format", "npm"]);
    b.wait_state("npm", ("left-shift", "1.1.0"), "yanked");
    let added = b.json(&["add", "left-shift", "--format", "npm"]);
    assert_eq!(added["version"], "1.0.0");
    assert_eq!(b.get("/npm/left-shift/-/left-shift-1.1.0.tgz").status, 200);
    a.json(&["unyank", "left-shift@1.1.0", "--format", "npm"]);
    b.wait_state("npm", ("left-shift", "1.1.0"), "ok");
    let added = b.json(&["add", "left-shift@^1", "--format", "npm"]);
    assert_eq!(added["version"], "1.1.0");
}

#[test]
fn a_name_of_the_own_realm_is_routed_once_also_where_another_site_was_joined() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    b.join(&a);
    let routes = || {
        let realm = b.json(&["realm", "show", &b.realm()]);
        realm["routes"].as_array().expect("a list of routes").len()
    };
    publish_npm(&world, &b, "left-mine", &["1.0.0"]);
    assert_eq!(routes(), 1);
    let before = b.status()["index"]["statements"].as_u64().expect("a count");
    publish_npm(&world, &b, "left-mine", &["1.1.0"]);
    assert_eq!(routes(), 1);
    let after = b.status()["index"]["statements"].as_u64().expect("a count");
    assert_eq!(after - before, 1, "one release, and nothing beside it");
}

#[test]
fn search_finds_what_a_neighbour_published() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    publish_npm(&world, &a, "left-shift", &["1.0.0"]);
    b.wait_held("npm", ("left-shift", "1.0.0"), SOON);
    let found = b.griot(&["search", "shift", "--json"]);
    assert!(found.contains("left-shift"), "{found}");
    assert!(!b.griot(&["search", "no-such-thing", "--json"]).contains("left-shift"));
    let reply = b.get("/api/search?q=shift");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("left-shift"), "{}", reply.text());
}
