//! Invites with a role, tokens for some names, routes: who may do what, as a keeper hands it out.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::invite::Waiting;
use crate::harness::node::text;
use crate::harness::samples::{noise, npm_package};
use crate::harness::wait::wait_exit;
use crate::harness::{EVENTUALLY, Node, NodeOptions, Npm, Request, SOON, World, wait_until};

fn invite_publisher(world: &World, node: &Node) -> Waiting {
    Waiting::start(world, node, &["--role", "publisher", "--names", "npm:*"])
}

fn publish(world: &World, node: &Node, name: &str) -> Value {
    let source = npm_package(&world.folder("sources"), name, "1.0.0", name);
    node.json(&["publish", source.to_str().expect("paths of tests are UTF-8")])
}

#[test]
fn who_joins_by_a_publishers_invite_publishes_into_the_site() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let mut waiting = invite_publisher(&world, &a);
    b.json(&["join", &waiting.invite]);
    let status = wait_exit(&mut waiting.child, EVENTUALLY).expect("invite ends when it granted");
    assert!(status.success());
    let (realm, key) = (a.realm(), b.publisher());
    wait_until("b to know of its grant", SOON, || {
        b.griot(&["realm", "show", &realm, "--json"]).contains(&key)
    });
    let grants = b.json(&["realm", "show", &realm])["grants"].clone();
    let roles: Vec<&Value> =
        grants.as_array().expect("a list").iter().map(|g| &g["role"]).collect();
    assert!(roles.contains(&&Value::from("member")), "the others are not told of b: {grants}");
    let published = publish(&world, &b, "from-b");
    assert!(published.to_string().contains(&realm), "not in the site's realm: {published}");
    a.wait_held("npm", ("from-b", "1.0.0"), SOON);

    // The secret of an invite is good for one: another node becomes a reader, no more.
    let thief = world.node("thief");
    let output = thief.run(&["join", &waiting.invite]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "the secret was good for two");
    assert!(said.contains("hint:"), "{said}");
    assert!(!a.griot(&["realm", "show", "own", "--json"]).contains(&thief.publisher()));
    let published = publish(&world, &thief, "from-thief");
    assert!(!published.to_string().contains(&realm), "{published}");
    assert_eq!(a.info("npm", "from-thief"), Value::Null);
}

#[test]
fn an_invite_in_a_file_is_read_by_its_owner_alone_and_joins_like_the_line() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let path = world.folder("stick").join("invite.txt");
    let file = path.to_str().expect("a plain path");
    let line = a.json(&["invite", "--out", file])["invite"].clone();
    let written = fs_err::read_to_string(&path).expect("the file is there");
    assert_eq!(Value::from(written.trim()), line);
    let mode = fs_err::metadata(&path).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (said, _) = a.refused(&["invite", "--out", file]);
    assert!(said.contains("invite.txt"), "a file that is there is not replaced: {said}");
    b.json(&["join", file]);
    assert!(b.peers().contains(&a.peer()));

    fs_err::write(&path, "x".repeat(4096)).expect("the file can be replaced");
    let (said, _) = b.refused(&["join", file]);
    assert!(said.contains("too long") && said.contains("hint:"), "{said}");
}

#[test]
fn a_node_for_members_only_stays_so_and_lets_in_who_joins_by_an_invite() {
    let world = World::new();
    let closed = |arguments: &[&str]| NodeOptions {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        ..NodeOptions::default()
    };
    let mut a = Node::start(&world, "a", closed(&["--members-only"]));
    a.terminate();
    a.set_arguments(&[]);
    a.up();
    let file = world.folder("sources").join("drum.txt");
    fs_err::write(&file, "boom").expect("the test's folder can be written");
    let file = file.to_str().expect("a plain path");
    let publish = |version| {
        a.json(&["publish", "--format", "generic", "--name", "drum", "--version", version, file])
    };
    publish("1.0.0");
    let (b, stranger) = (world.node("b"), world.node("stranger"));
    stranger.json(&["peer", "add", &a.multiaddress()]);
    stranger.follow(&a);
    b.join(&a);
    b.wait_held("generic", ("drum", "1.0.0"), EVENTUALLY);
    publish("1.1.0");
    b.wait_held("generic", ("drum", "1.1.0"), EVENTUALLY);
    assert!(stranger.peers().contains(&a.peer()));
    assert_eq!(stranger.info("generic", "drum"), Value::Null);
}

#[test]
fn an_invite_that_was_damaged_is_refused_and_changes_nothing() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let invite = a.invite();
    let before = b.status()["index"].clone();
    let middle = invite.len() / 2;
    let other = if invite.as_bytes()[middle] == b'q' { "p" } else { "q" };
    let flipped = format!("{}{other}{}", &invite[..middle], &invite[middle + 1..]);
    for damaged in [&invite[..invite.len() - 3], &flipped, &format!("{invite}q"), ""] {
        let (said, code) = b.refused(&["join", damaged]);
        assert!(said.contains("hint:") || code == 2, "{said}");
    }
    assert_eq!(b.status()["index"], before);
    b.json(&["join", &invite]);
}

#[test]
fn a_join_while_the_other_node_is_down_succeeds_once_it_is_up() {
    let world = World::new();
    let mut a = world.node("a");
    let b = world.node("b");
    publish(&world, &a, "from-a");
    let invite = a.invite();
    a.terminate();
    let (said, code) = b.refused(&["join", &invite]);
    assert!(said.contains("hint:"), "{said}");
    assert_eq!(code, 4, "offline has its own exit code: {said}");
    a.up();
    b.wait_held("npm", ("from-a", "1.0.0"), EVENTUALLY);
    wait_until("each to call the other a member, without the line being typed again", SOON, || {
        member(&a, &b) && member(&b, &a)
    });
}

/// Whether `node` is connected with `other` and calls it a member of its site.
fn member(node: &Node, other: &Node) -> bool {
    let peers = node.json(&["peer", "list"])["peers"].clone();
    let peers = peers.as_array().expect("a list of peers").clone();
    peers.iter().any(|peer| peer["id"] == other.peer().as_str() && peer["member"] == true)
}

#[test]
fn a_readers_invite_makes_one_node_a_member_until_it_leaves_the_site() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let invite = a.invite();
    let joined = b.json(&["join", &invite]);
    assert_eq!(joined["request"]["state"], "welcome", "{joined}");
    assert!(member(&a, &b) && member(&b, &a));
    b.json(&["join", &invite]);
    // What the realm publishes is for whoever has the line, the rest is not.
    let late = world.node("late");
    let joined = late.json(&["join", &invite]);
    assert_eq!(joined["request"]["state"], "refused", "{joined}");
    publish(&world, &a, "from-a");
    late.wait_held("npm", ("from-a", "1.0.0"), SOON);
    assert!(!member(&a, &late));
    b.json(&["unfollow", &a.realm()]);
    assert!(!member(&b, &a));
}

#[test]
fn red_28_a_token_for_one_name_is_not_good_for_another_that_begins_like_it() {
    let world = World::new();
    let node = world.node("a");
    let arguments = ["token", "create", "--scope", "publish", "--names", "generic:ui"];
    let token = text(&node.json(&arguments), "token");
    let put = |name: &str| {
        let path = format!("/generic/{name}/1.0.0/tool.bin");
        node.send(&Request::put(&path, noise(1, 1_000)).token(&token))
    };
    for name in ["ui-evil", "u", "uii", "other"] {
        let reply = put(name);
        assert_eq!(reply.status, 403, "{name}: {}", reply.text());
    }
    assert_eq!(node.status()["blobs"]["count"], 0);
    assert_eq!(put("ui").status, 201);
    let id = text(&node.json(&["token", "list"])[0], "id");
    node.json(&["token", "revoke", &id]);
    let reply =
        node.send(&Request::put("/generic/ui/2.0.0/tool.bin", noise(2, 1_000)).token(&token));
    assert_eq!(reply.status, 401, "a revoked token: {}", reply.text());
}

#[test]
fn a_route_that_denies_a_name_is_obeyed_until_it_is_taken_back() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    b.join(&a);
    publish(&world, &a, "left-shift");
    b.wait_held("npm", ("left-shift", "1.0.0"), SOON);
    b.json(&["route", "add", "npm:left-*", "deny"]);
    let why = b.json(&["why", "left-shift", "--format", "npm"]);
    assert!(why["reasons"].to_string().contains("denied"), "{why}");
    let Some(npm) = Npm::new(&world, "b", &b, None) else { return };
    let said = npm.refused(&npm.project(), &["install", "left-shift"]);
    assert!(said.contains("left-shift"), "{said}");
    b.json(&["route", "remove", "npm:left-*"]);
    npm.ok(&npm.project(), &["install", "left-shift"]);
}

#[test]
fn grants_signed_at_the_same_moment_are_all_kept_and_fork_nothing() {
    let world = World::new();
    let a = world.node("a");
    let keys: Vec<String> =
        (1..=6).map(|seed| crdt::SecretKey::from_seed(&[seed; 32]).public().to_string()).collect();
    let grant = |key: &String| {
        let mut command = a.command(&["realm", "grant", "npm:*", key]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary under test starts")
    };
    let mut running: Vec<_> = keys.iter().map(grant).collect();
    for child in &mut running {
        let status = wait_exit(child, EVENTUALLY).expect("a grant ends");
        assert!(status.success());
    }
    let realm = a.json(&["realm", "show", "own"]);
    assert_eq!((text(&realm, "status").as_str(), &realm["epoch"]), ("ok", &6.into()), "{realm}");
    let all = realm["grants"].to_string();
    assert!(keys.iter().all(|key| all.contains(key)), "{all}");
}

/// What the node keeps of its site's mirrors: (believed, not accepted).
fn mirrors(node: &Node, realm: &str) -> (Vec<Value>, Vec<Value>) {
    let reply = node.send(&Request::get("/api/admin/follows").token(&node.admin_token()));
    let rows = reply.json();
    let rows = rows.as_array().expect("a list of realms").clone();
    let row = rows.into_iter().find(|row| row["realm"] == realm);
    let row = row.expect("the site is followed");
    let list = |name: &str| row[name].as_array().expect("a list of mirrors").clone();
    (list("mirrors"), list("unaccepted"))
}

#[test]
fn mirrors_believed_at_one_join_are_not_after_another_without_them() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let (invite, realm) = (a.invite(), a.realm());
    let key = text(&a.json(&["key", "show"]), "node");
    let of_a = serde_json::json!({ "key": key, "format": "*" });
    let joined = b.json(&["join", &invite]);
    assert_eq!((&joined["mirrors"][0], &joined["believed"]), (&of_a, &Value::Array(vec![])));
    let (believed, unaccepted) = mirrors(&b, &realm);
    assert_eq!((believed.len(), unaccepted), (0, vec![of_a.clone()]), "nobody said yes");
    let joined = b.json(&["join", &invite, "--yes"]);
    assert_eq!(joined["believed"], joined["mirrors"]);
    assert_eq!(mirrors(&b, &realm), (vec![of_a.clone()], vec![]));
    b.json(&["join", &invite, "--no-mirror"]);
    assert_eq!(mirrors(&b, &realm), (vec![], vec![of_a.clone()]));
    assert_eq!(mirrors(&a, &realm), (vec![of_a], vec![]), "its own realm's word always counts");
}

#[test]
fn a_mirror_granted_after_the_join_waits_until_it_is_accepted() {
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let realm = a.realm();
    b.json(&["join", &a.invite(), "--yes"]);
    let later = crdt::SecretKey::from_seed(&[9; 32]).public().to_string();
    a.json(&["realm", "grant", "--role", "mirror", "npm:*", &later]);
    wait_until("b to hear of the grant", SOON, || mirrors(&b, &realm).1.len() == 1);
    assert_eq!(mirrors(&b, &realm).1[0]["key"], later.as_str());
    let unchanged = b.json(&["accept", "--mirrors"]);
    assert_eq!(unchanged["changed"], false, "nobody was there to say yes");
    assert_eq!(mirrors(&b, &realm).0.len(), 1);
    let accepted = b.json(&["accept", "--mirrors", "--yes"]);
    assert_eq!(accepted["believed"].as_array().map(Vec::len), Some(2), "{accepted}");
    let (believed, unaccepted) = mirrors(&b, &realm);
    assert_eq!((believed.len(), unaccepted.len()), (2, 0));
    // The node takes no pair that the site does not grant.
    let body = serde_json::json!({
        "realm": realm, "mirrors": [{ "key": later, "format": "*" }],
    });
    let wider = Request::post("/api/admin/join/mirrors", body.to_string());
    let wider = wider.token(&b.admin_token()).header("content-type", "application/json");
    assert_eq!(b.send(&wider).status, 400);
    assert_eq!(mirrors(&b, &realm).0.len(), 2);
    let (said, _) = a.refused(&["accept", "--mirrors"]);
    assert!(said.contains("no site"), "{said}");
}
