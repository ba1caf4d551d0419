//! One name, two claimants: a realm and the upstream. Who gets it, and what the person reads.
//!
//! Each test is an attack of its own; the stub upstream keeps every request, so "was not asked" is
//! seen and not believed.

use serde_json::json;

use crate::harness::samples::{module_text, noise, npm_package};
use crate::harness::upstream::Stub;
use crate::harness::{EVENTUALLY, Node, Npm, Request, SOON, World, wait_until};

/// A node whose site has the stub as its upstream of npm.
fn with_upstream(world: &World, name: &str, stub: &Stub) -> Node {
    let node = world.node(name);
    node.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    node
}

/// Joins, takes the mirrors of the site at their word, and may publish there.
fn join_as_publisher(site: &Node, node: &Node) {
    site.json(&["realm", "grant", "npm:*", &node.publisher()]);
    node.json(&["join", &site.invite(), "--yes"]);
    let (realm, key) = (site.realm(), node.publisher());
    wait_until("a node to know that it may publish", SOON, || {
        node.griot(&["realm", "show", &realm, "--json"]).contains(&key)
    });
}

/// Installs into an empty project; what the module says.
fn install(world: &World, name: &str, node: &Node, package: &str) -> String {
    let npm = Npm::new(world, name, node, None).expect("npm was there a moment ago");
    let project = npm.project();
    npm.ok(&project, &["install", package, "--no-audit"]);
    let scope = usize::from(package.starts_with('@'));
    let name = package[scope..].find('@').map_or(package, |at| &package[..scope + at]);
    let module = project.join("node_modules").join(name).join("index.js");
    fs_err::read_to_string(module).expect("npm installed the module")
}

/// What the stub's own packages say.
fn stub_text(id: &str) -> String {
    format!("module.exports = '{id}';\n")
}

#[test]
fn a_member_who_publishes_a_name_of_the_upstream_takes_it_from_nobody_who_has_used_it() {
    let world = World::new();
    let stub = Stub::start();
    stub.publish("left-pad", "1.0.0", |p| p);
    let a = with_upstream(&world, "a", &stub);
    let member = world.node("member");
    let Some(_) = Npm::new(&world, "probe", &a, None) else { return };
    join_as_publisher(&a, &member);
    // A has used the upstream's one before; the member never has.
    assert_eq!(install(&world, "before", &a, "left-pad"), stub_text("left-pad@1.0.0"));
    let sources = world.folder("sources");
    let token = member.token_for("publish", Some(&a.realm()));
    let npm = Npm::new(&world, "member-npm", &member, Some(&token)).expect("npm was there");
    let folder = npm_package(&sources, "left-pad", "9.9.9", "taken over");
    // Its own node warns, for npm has just looked at the upstream's; it insists.
    let said = npm.refused(&folder, &["publish"]);
    assert!(said.contains("griot route add npm:left-pad"), "{said}");
    for name in ["left-pad", "right-pad", "never-seen"] {
        member.json(&["route", "add", &format!("npm:{name}"), &a.realm()]);
    }
    npm.ok(&folder, &["publish"]);

    wait_until("a to hear of the release", SOON, || {
        a.griot(&["why", "left-pad", "--format", "npm"]).contains(&a.realm()[..8])
    });
    // It was installed from the upstream here: that stays so until a person says otherwise.
    assert_eq!(install(&world, "after", &a, "left-pad"), stub_text("left-pad@1.0.0"));
    let why = a.griot(&["why", "left-pad", "--format", "npm"]);
    assert!(why.contains("griot accept left-pad"), "the other source waits for a word: {why}");
    // A name that was only looked at: the document is held, nobody has it until it is routed.
    stub.publish("right-pad", "1.0.0", |p| p);
    assert_eq!(a.get("/npm/right-pad").status, 200);
    npm.ok(&npm_package(&sources, "right-pad", "9.9.9", "taken over"), &["publish"]);
    wait_until("a to refuse to choose", SOON, || a.get("/npm/right-pad").status == 424);
    let refused = a.get("/npm/right-pad").text();
    assert!(refused.contains("griot route add npm:right-pad"), "{refused}");
    a.json(&["route", "add", "npm:right-pad", "upstream"]);
    assert_eq!(install(&world, "routed", &a, "right-pad"), stub_text("right-pad@1.0.0"));
    // A name that the site has never cached is the realm's: the upstream is not asked to decide.
    stub.publish("never-seen", "1.0.0", |p| p);
    npm.ok(&npm_package(&sources, "never-seen", "0.1.0", "of the village"), &["publish"]);
    a.wait_held("npm", ("never-seen", "0.1.0"), SOON);
    assert_eq!(install(&world, "never", &a, "never-seen"), module_text("of the village"));
    assert_eq!(stub.count("never-seen"), 0, "the upstream was asked in order to decide");
}

#[test]
fn a_name_that_the_site_hosts_is_never_asked_of_the_upstream() {
    let world = World::new();
    let stub = Stub::start();
    let a = with_upstream(&world, "a", &stub);
    let b = world.node("b");
    let Some(npm) = Npm::new(&world, "publisher", &a, Some(&a.token("publish"))) else { return };
    b.json(&["join", &a.invite(), "--yes"]);
    let folder = npm_package(&world.folder("sources"), "@village/till", "1.0.0", "ours");
    a.json(&["publish", folder.to_str().expect("paths of tests are UTF-8")]);
    // Somebody registers it outside, with a version that every range would prefer.
    stub.publish("@village/till", "99.0.0", |p| p);
    b.wait_held("npm", ("@village/till", "1.0.0"), SOON);
    for (node, name) in [(&a, "from-a"), (&b, "from-b")] {
        assert_eq!(install(&world, name, node, "@village/till"), module_text("ours"));
        let reply = node.get("/npm/@village%2ftill");
        assert!(!reply.text().contains("99.0.0"), "{}", reply.text());
    }
    let unpublished = npm.refused(&world.folder("sources"), &["view", "@village/till@99.0.0", "x"]);
    assert!(!unpublished.contains("99.0.0/"), "{unpublished}");
    // Asked for by the site alone, it is hosted; through the other door it is the upstream's.
    assert_eq!(a.get("/npm/~hosted/@village%2ftill").status, 200);
    assert_eq!(stub.count("village"), 0, "the name went outside");
    let outside = a.get("/npm/~upstream/@village%2ftill");
    assert!(outside.text().contains("99.0.0"), "{}", outside.text());
    assert!(!outside.text().contains("\"1.0.0\""), "{}", outside.text());
}

#[test]
fn a_release_whose_bytes_are_withheld_is_hidden_from_ranges_and_told_to_who_asks_for_it() {
    let world = World::new();
    let stub = Stub::start();
    let a = with_upstream(&world, "a", &stub);
    let mut member = world.node("member");
    let Some(_) = Npm::new(&world, "probe", &a, None) else { return };
    join_as_publisher(&a, &member);
    let sources = world.folder("sources");
    let token = member.token_for("publish", Some(&a.realm()));
    let npm = Npm::new(&world, "member-npm", &member, Some(&token)).expect("npm was there");
    npm.ok(&npm_package(&sources, "tool", "1.0.0", "one"), &["publish"]);
    a.wait_held("npm", ("tool", "1.0.0"), SOON);
    // Too large to be kept ahead of a request: the statement travels, the bytes do not.
    let folder = npm_package(&sources, "tool", "1.1.0", "two");
    fs_err::write(folder.join("data.bin"), noise(5, 66_000_000)).expect("a file can be written");
    npm.ok(&folder, &["publish"]);
    a.wait_state("npm", ("tool", "1.1.0"), "ok");
    member.kill9();

    wait_until("a to see that the bytes are gone", EVENTUALLY, || {
        !a.get("/npm/tool").text().contains("\"1.1.0\"")
    });
    assert_eq!(install(&world, "range", &a, "tool@^1.0.0"), module_text("one"));
    let npm = Npm::new(&world, "exact", &a, None).expect("npm was there");
    let project = npm.project();
    let said = npm.refused(&project, &["install", "tool@1.1.0"]);
    assert!(said.contains("1.1.0"), "{said}");
    let reply = a.get("/npm/tool/-/tool-1.1.0.tgz");
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(reply.text().contains("neither held here nor by a connected peer"), "{}", reply.text());
    assert!(a.status()["wants"].as_u64().is_some_and(|wants| wants > 0), "{}", a.status());
}

#[test]
fn an_upstream_that_can_be_reached_outranks_a_receipt_that_contradicts_it() {
    let world = World::new();
    let stub = Stub::start();
    stub.publish("left-pad", "1.0.0", |p| p);
    let a = with_upstream(&world, "a", &stub);
    let b = world.node("b");
    let Some(_) = Npm::new(&world, "probe", &a, None) else { return };
    b.json(&["join", &a.invite(), "--yes"]);
    // What A saw, and signed a receipt for, is not what the upstream will say later: as if A lied.
    assert_eq!(install(&world, "first", &a, "left-pad"), stub_text("left-pad@1.0.0"));
    stub.down();
    wait_until("b to take it at a's word", EVENTUALLY, || b.get("/npm/left-pad").status == 200);
    let why = b.griot(&["why", "left-pad", "--format", "npm"]);
    assert!(why.contains("receipt"), "{why}");
    stub.unpublish("left-pad", "1.0.0");
    stub.publish("left-pad", "1.0.0", |p| p.field("description", json!("the true one")));
    stub.up();
    let asked = Request::get("/npm/left-pad").header("cache-control", "no-cache");
    wait_until("b to hear the upstream again", EVENTUALLY, || {
        b.send(&asked).text().contains("the true one")
    });
    wait_until("b to say that the receipt was wrong", SOON, || {
        let why = b.griot(&["why", "left-pad", "--format", "npm"]);
        why.contains("alarm") && why.contains("receipt")
    });
    assert_eq!(install(&world, "again", &b, "left-pad"), stub_text("left-pad@1.0.0"));
    let npm = Npm::new(&world, "proof", &b, None).expect("npm was there");
    let view = npm.ok(&npm.project(), &["view", "left-pad", "dist.integrity"]);
    assert_eq!(view, stub.integrity("left-pad", "1.0.0"));
}
