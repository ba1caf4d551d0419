//! Private realms as people meet them: who joins, who may read over HTTP, and what all others see.

use serde_json::Value;

use crate::harness::invite::Waiting;
use crate::harness::node::text;
use crate::harness::samples::npm_package;
use crate::harness::wait::wait_exit;
use crate::harness::{EVENTUALLY, Node, Npm, Request, World, wait_for};

/// Publishes a package and makes the node's own realm private.
fn private_node(world: &World) -> Node {
    let node = world.node("a");
    let source = npm_package(&world.folder("sources"), "secret", "1.0.0", "a secret");
    node.json(&["publish", source.to_str().expect("paths of tests are UTF-8")]);
    make_private(&node);
    node
}

fn make_private(node: &Node) {
    node.griot(&["realm", "grant", "*:*", &node.publisher(), "--role", "read"]);
}

#[test]
fn red_31_over_http_a_private_package_reads_like_one_that_never_was() {
    let world = World::new();
    let node = private_node(&world);
    let digest = text(&node.version("npm", "secret", "1.0.0")["artifacts"][0], "digest");
    let (reading, publishing) = (node.token("read"), node.token("publish"));
    let elsewhere = ["token", "create", "--scope", "read", "--names", "npm:other"];
    let elsewhere = text(&node.json(&elsewhere), "token");
    let paths = [
        "/npm/secret",
        "/npm/secret/1.0.0",
        "/npm/~hosted/secret",
        "/npm/secret/-/secret-1.0.0.tgz",
        "/secret/-/secret-1.0.0.tgz",
        "/npm/-/package/secret/dist-tags",
        "/api/packages/secret",
        "/api/packages/secret?format=npm",
        "/api/packages/secret/resolve",
        "/api/packages/secret/1.0.0/download",
    ];
    for path in paths {
        let absent = path.replace("secret", "never1");
        for token in [None, Some(&publishing), Some(&elsewhere)] {
            let ask = |path: &str| {
                let request = Request::get(path);
                node.send(&token.map_or(request.clone(), |token| request.token(token)))
            };
            let (hidden, unknown) = (ask(path), ask(&absent));
            assert_eq!(hidden.status, 404, "{path}: {}", hidden.text());
            assert_eq!(unknown.status, 404, "{absent}");
            assert_eq!(hidden.text().replace("secret", "never1"), unknown.text(), "{path}");
        }
        assert_eq!(node.send(&Request::get(path).token(&reading)).status, 200, "{path}");
        assert_eq!(node.send(&Request::get(path).token(&node.admin_token())).status, 200);
    }
    let blob = format!("/api/blobs/{digest}");
    let other = format!("/api/blobs/{}", "0".repeat(64));
    let (hidden, unknown) = (node.get(&blob), node.get(&other));
    assert_eq!((hidden.status, unknown.status), (404, 404));
    assert_eq!(hidden.text().replace(&digest, &"0".repeat(64)), unknown.text());
    assert_eq!(node.send(&Request::get(&blob).token(&reading)).status, 200);
    for path in ["/npm/-/v1/search?text=secret", "/api/search?q=secret", "/?q=secret"] {
        assert!(!node.get(path).text().contains("1.0.0"), "{path}");
    }
    for path in ["/npm/-/v1/search?text=secret", "/api/search?q=secret"] {
        let found = node.send(&Request::get(path).token(&reading)).text();
        assert!(found.contains("1.0.0"), "{path}: {found}");
    }
    assert!(node.griot(&["search", "secret"]).contains("secret"), "the command sees everything");
}

#[test]
fn npm_installs_from_a_private_realm_with_a_token_that_reads() {
    let world = World::new();
    let node = private_node(&world);
    let Some(reader) = Npm::new(&world, "reader", &node, Some(&node.token("read"))) else {
        return;
    };
    let project = reader.project();
    reader.ok(&project, &["install", "secret"]);
    assert!(project.join("node_modules/secret/index.js").is_file());
    let stranger = Npm::new(&world, "stranger", &node, None).expect("npm was there a moment ago");
    let said = stranger.refused(&stranger.project(), &["install", "secret"]);
    assert!(said.contains("E404"), "{said}");
}

fn invite_reader(world: &World, node: &Node) -> Waiting {
    Waiting::start(world, node, &[])
}

#[test]
fn red_31_who_joins_a_private_realm_is_granted_and_a_stranger_sees_nothing() {
    let world = World::new();
    let a = private_node(&world);
    let b = world.node("b");
    let mut waiting = invite_reader(&world, &a);
    let joined = b.json(&["join", &waiting.invite]);
    assert_eq!(joined["arrived"], true, "{joined}");
    let status = wait_exit(&mut waiting.child, EVENTUALLY).expect("invite ends when it granted");
    assert!(status.success());
    b.wait_held("npm", ("secret", "1.0.0"), EVENTUALLY);
    let grants = b.json(&["realm", "show", &a.realm()])["grants"].to_string();
    assert!(grants.contains("\"read\""), "{grants}");

    let stranger = world.node_dialling("stranger", &[a.multiaddress()]);
    let realm = a.realm();
    wait_for("the stranger to be connected", EVENTUALLY, || {
        let peers = stranger.peers();
        if peers.contains(&a.peer()) { Ok(()) } else { Err(format!("{peers:?}")) }
    });
    assert!(!stranger.griot(&["realm", "list", "--json"]).contains(&realm));
    assert!(!stranger.griot(&["peer", "list", "--json"]).contains(&realm));
    assert_eq!(stranger.info("npm", "secret"), Value::Null);
}

#[test]
fn a_join_that_nobody_grants_says_what_it_waits_for() {
    let world = World::new();
    let a = private_node(&world);
    let b = world.node("b");
    let invite = text(&a.json(&["invite", "--no-wait"]), "invite");
    let (said, code) = b.refused(&["join", &invite]);
    assert!(said.contains("private") && said.contains("griot realm requests"), "{said}");
    assert_eq!(code, 4, "{said}");
    let requests = a.json(&["realm", "requests"]);
    let id = text(&requests[0], "id");
    a.griot(&["realm", "requests", "--grant", &id]);
    b.wait_held("npm", ("secret", "1.0.0"), EVENTUALLY);
    b.json(&["join", &invite]);
}
