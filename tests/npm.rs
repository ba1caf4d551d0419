//! The real npm against real nodes: publish at one, install from another after the first is killed.
//!
//! Nothing here knows how a packument looks; npm itself is the judge, and the bytes are compared
//! with the `integrity` that it wrote down.

use serde_json::{Value, json};

use crate::harness::samples::{integrity, module_text, npm_package, npm_package_with};
use crate::harness::{Node, Npm, SOON, World};

/// Publishes left-shift 1.0.0, 1.1.0 under the tag `next`, and a scoped package that needs it.
fn publish_three(world: &World, npm: &Npm) {
    let sources = world.folder("sources");
    npm.ok(&npm_package(&sources, "left-shift", "1.0.0", "one"), &["publish"]);
    let scoped = json!({
        "name": "@village/shifts",
        "version": "2.0.0",
        "dependencies": { "left-shift": "^1.0.0" },
    });
    let scoped = npm_package_with(&sources, &scoped, "scoped");
    npm.ok(&scoped, &["publish", "--access", "public"]);
    let next = npm_package(&sources, "left-shift", "1.1.0", "next");
    npm.ok(&next, &["publish", "--tag", "next"]);
}

/// Compares what npm installed with the lockfile that it wrote and with what the node serves.
fn check_installed(project: &std::path::Path, node: &Node, name: &str, says: &str) {
    let module = project.join("node_modules").join(name).join("index.js");
    let module = fs_err::read_to_string(module).expect("npm installed the module");
    assert_eq!(module, module_text(says), "{name}");
    let lock = fs_err::read(project.join("package-lock.json")).expect("npm wrote a lockfile");
    let lock: Value = serde_json::from_slice(&lock).expect("a lockfile is JSON");
    let entry = &lock["packages"][format!("node_modules/{name}")];
    let resolved = entry["resolved"].as_str().expect("the lockfile says from where");
    let path = resolved
        .strip_prefix(&format!("http://{}", node.address()))
        .unwrap_or_else(|| panic!("{name} came from {resolved}"));
    let tarball = node.get(path);
    assert_eq!(tarball.status, 200, "{path}");
    assert_eq!(entry["integrity"], integrity(&tarball.body), "{name}");
}

#[test]
fn what_npm_published_on_a_installs_from_b_after_a_was_killed() {
    let world = World::new();
    let mut a = world.node("a");
    let b = world.node("b");
    let Some(publisher) = Npm::new(&world, "publisher", &a, Some(&a.token("publish"))) else {
        return;
    };
    b.join(&a);
    publish_three(&world, &publisher);
    for id in [("left-shift", "1.0.0"), ("left-shift", "1.1.0"), ("@village/shifts", "2.0.0")] {
        let row = b.wait_held("npm", id, SOON);
        assert_eq!(row["state"], "ok");
        assert_eq!(row["signers"], json!([a.publisher()]));
    }
    a.kill9();

    let consumer = Npm::new(&world, "consumer", &b, None).expect("npm was there a moment ago");
    let project = consumer.project();
    consumer.ok(&project, &["install", "@village/shifts"]);
    check_installed(&project, &b, "@village/shifts", "scoped");
    check_installed(&project, &b, "left-shift", "one");
    consumer.ok(&project, &["install", "left-shift@next"]);
    check_installed(&project, &b, "left-shift", "next");
    let tags = consumer.ok(&project, &["view", "left-shift", "dist-tags", "--json"]);
    let tags: Value = serde_json::from_str(&tags).expect("npm prints JSON");
    assert_eq!(tags, json!({ "latest": "1.0.0", "next": "1.1.0" }));
}

#[test]
fn npm_ci_installs_from_a_lockfile_with_an_empty_cache_before_it_asks_for_a_packument() {
    let world = World::new();
    let node = world.node("a");
    let Some(npm) = Npm::new(&world, "publisher", &node, Some(&node.token("publish"))) else {
        return;
    };
    publish_three(&world, &npm);
    let project = npm.project();
    npm.ok(&project, &["install", "left-shift@1.0.0"]);
    let before = fs_err::read(project.join("package-lock.json")).expect("npm wrote a lockfile");
    let fresh = Npm::new(&world, "fresh", &node, None).expect("npm was there a moment ago");
    fs_err::remove_dir_all(project.join("node_modules")).expect("npm made node_modules");
    fresh.ok(&project, &["ci"]);
    check_installed(&project, &node, "left-shift", "one");
    let after = fs_err::read(project.join("package-lock.json")).expect("the lockfile is there");
    assert_eq!(before, after, "npm ci changed the lockfile");
}

#[test]
fn npm_dist_tag_deprecate_whoami_ping_and_pack_work() {
    let world = World::new();
    let node = world.node("a");
    let token = node.token("read,publish,yank");
    let Some(npm) = Npm::new(&world, "publisher", &node, Some(&token)) else { return };
    publish_three(&world, &npm);
    let folder = world.folder("elsewhere");

    npm.ok(&folder, &["ping"]);
    assert!(!npm.ok(&folder, &["whoami"]).is_empty());

    npm.ok(&folder, &["dist-tag", "add", "left-shift@1.0.0", "stable"]);
    let tags = npm.ok(&folder, &["dist-tag", "ls", "left-shift"]);
    assert_eq!(tags, "latest: 1.0.0\nnext: 1.1.0\nstable: 1.0.0");
    assert_eq!(node.info("npm", "left-shift")["tags"]["stable"], "1.0.0");
    npm.ok(&folder, &["dist-tag", "rm", "left-shift", "stable"]);
    assert_eq!(npm.ok(&folder, &["dist-tag", "ls", "left-shift"]), "latest: 1.0.0\nnext: 1.1.0");

    npm.ok(&folder, &["deprecate", "left-shift@1.0.0", "shifts the wrong way"]);
    let note = npm.ok(&folder, &["view", "left-shift@1.0.0", "deprecated"]);
    assert_eq!(note, "shifts the wrong way");
    assert_eq!(npm.ok(&folder, &["view", "left-shift@1.1.0", "deprecated"]), "");
    assert_eq!(node.version("npm", "left-shift", "1.0.0")["state"], "yanked");
    let project = npm.project();
    npm.ok(&project, &["install", "left-shift@1.0.0"]);
    check_installed(&project, &node, "left-shift", "one");

    // npm pack asks for the tarball at the root of the host, whatever the registry's path.
    for name in ["left-shift", "@village/shifts"] {
        let packed = npm.ok(&folder, &["pack", name]);
        let packed = packed.lines().last().expect("npm pack prints a file name");
        assert!(folder.join(packed).is_file(), "{packed}");
    }
}

#[test]
fn npm_is_told_at_once_that_a_version_exists_and_that_a_name_is_unknown() {
    let world = World::new();
    let node = world.node("a");
    let Some(npm) = Npm::new(&world, "publisher", &node, Some(&node.token("publish"))) else {
        return;
    };
    publish_three(&world, &npm);
    let other = npm_package(&world.folder("others"), "left-shift", "1.0.0", "other bytes");
    let said = npm.refused(&other, &["publish"]);
    assert!(said.contains("1.0.0"), "{said}");
    let row = node.version("npm", "left-shift", "1.0.0");
    assert_eq!(row["state"], "ok");

    let started = std::time::Instant::now();
    let said = npm.refused(&npm.project(), &["install", "nobody-has-this"]);
    assert!(said.contains("nobody-has-this"), "{said}");
    assert!(started.elapsed() < SOON, "npm retried: the status was not one that it shows at once");
}

#[test]
fn npm_refuses_to_publish_without_a_token_and_nothing_is_left() {
    let world = World::new();
    let node = world.node("a");
    let Some(npm) = Npm::new(&world, "nobody", &node, Some("griot_wrong")) else { return };
    let source = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
    let said = npm.refused(&source, &["publish"]);
    assert!(said.contains("E401"), "{said}");
    assert_eq!(node.info("npm", "left-shift"), Value::Null);
    assert_eq!(node.status()["blobs"]["count"], 0);
}
