//! Those who have no say: nodes that were merely met, keys without a grant, peers that lie.

use std::collections::BTreeMap;

use crdt::statement::{Body, File, Release};
use crdt::{Checksums, Digest, PackageId, RealmId, SecretKey, Statement, Verified};
use serde_json::Value;
use sha2::Digest as _;

use crate::harness::samples::{module_text, noise, noise_file, npm_package, sha256};
use crate::harness::{
    Curl, EVENTUALLY, Node, Npm, Request, SOON, World, disk, wait_for, wait_until,
};

/// A release of one generic file, signed by a key.
fn signed_release(realm: RealmId, id: (&str, &str), bytes: &[u8], key: &SecretKey) -> Vec<u8> {
    let sha256: [u8; 32] = sha2::Sha256::digest(bytes).into();
    let file = File {
        name: "tool.bin".to_owned(),
        size: bytes.len() as u64,
        blake3: Digest::of(bytes),
        checksums: Checksums { sha256, sha512: None, sha1: None, md5: None },
        meta: None,
    };
    let release = Release {
        version: id.1.to_owned(),
        written: id.1.to_owned(),
        files: vec![file],
        extras: None,
        claimed_time: 0,
    };
    let package = PackageId::new("generic", id.0);
    let statement = Statement::new(realm, Some(package), Body::Release(release))
        .expect("a release of one file is sound");
    Verified::sign(statement, &[key]).envelope().encode()
}

fn post_statement(node: &Node, envelope: Vec<u8>) -> u16 {
    let request = Request::post("/api/admin/statements", envelope)
        .header("content-type", "application/cbor")
        .token(&node.admin_token());
    node.send(&request).status
}

#[test]
fn red_01_a_strangers_signature_changes_nothing_on_any_node() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let a = world.node("a");
    let b = world.node("b");
    let stranger = world.node("stranger");
    b.join(&a);
    stranger.join(&a);
    let realm = a.realm();
    let id: RealmId = realm.parse().expect("the command prints a realm id");
    let granted = SecretKey::from_seed(&[7; 32]);
    let nobody = SecretKey::from_seed(&[8; 32]);
    a.json(&["realm", "grant", "generic:*", &granted.public().to_string()]);
    let first = noise_file(&world.path().join("tool.bin"), 1, 50_000);
    let url = a.url("/generic/tool/1.0.0/tool.bin");
    assert_eq!(curl.upload(&first, &url, &a.token("publish")), 201);
    for node in [&b, &stranger] {
        node.wait_held("generic", ("tool", "1.0.0"), SOON);
    }
    let before: Vec<Value> = [&a, &b].map(|node| node.info("generic", "tool")).to_vec();

    // Another content for a version that stands, and a version that does not: both by nobody.
    let forged = noise(66, 1_000);
    post_statement(&stranger, signed_release(id, ("tool", "1.0.0"), &forged, &nobody));
    post_statement(&stranger, signed_release(id, ("tool", "6.6.6"), &forged, &nobody));
    // The same path with a granted key, last: when it has arrived, the others would have.
    let status =
        post_statement(&stranger, signed_release(id, ("hammer", "1.0.0"), &forged, &granted));
    assert!(status < 300, "a granted key's statement was refused with {status}");
    for node in [&a, &b, &stranger] {
        node.wait_state("generic", ("hammer", "1.0.0"), "ok");
        assert_eq!(node.version("generic", "tool", "6.6.6"), Value::Null);
        assert_eq!(node.version("generic", "tool", "1.0.0")["state"], "ok");
    }
    let after: Vec<Value> = [&a, &b].map(|node| node.info("generic", "tool")).to_vec();
    assert_eq!(before, after);
}

#[test]
fn a_node_that_is_merely_met_changes_nothing_about_what_is_installed() {
    let world = World::new();
    let met = world.node("met");
    let node = world.node_dialling("a", &[met.multiaddress()]);
    let Some(npm) = Npm::new(&world, "a", &node, Some(&node.token("publish"))) else { return };
    let npm_met = Npm::new(&world, "met", &met, Some(&met.token("publish"))).expect("as above");
    let sources = world.folder("sources");
    npm.ok(&npm_package(&sources, "left-shift", "1.0.0", "ours"), &["publish"]);
    let before = node.info("npm", "left-shift");
    let held = node.status()["blobs"].clone();
    let theirs = world.folder("theirs");
    npm_met.ok(&npm_package(&theirs, "left-shift", "9.9.9", "theirs"), &["publish"]);
    npm_met.ok(&npm_package(&theirs, "only-there", "1.0.0", "theirs"), &["publish"]);

    let realm = met.realm();
    let mut offer = String::new();
    wait_until("the offer to be shown", EVENTUALLY, || {
        offer = node.griot(&["search", "only-there", "--json"]);
        offer.contains("only-there")
    });
    assert!(offer.contains(&realm), "the offer does not say whose it is: {offer}");

    let said = npm.refused(&npm.project(), &["install", "only-there"]);
    assert!(said.contains("only-there"), "{said}");
    let project = npm.project();
    npm.ok(&project, &["install", "left-shift"]);
    let module = project.join("node_modules/left-shift/index.js");
    let module = fs_err::read_to_string(module).expect("npm installed the module");
    assert_eq!(module, module_text("ours"));
    assert_eq!(node.info("npm", "left-shift"), before);
    let (said, _) = node.refused(&["add", "only-there", "--format", "npm"]);
    assert!(said.contains("hint:"), "{said}");
    assert_eq!(node.status()["blobs"], held, "bytes of a node that was merely met were kept");
}

#[test]
fn a_follow_takes_what_was_granted_after_the_meeting() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let a = world.node("a");
    let b = world.node_dialling("b", &[a.multiaddress()]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let realm = a.realm();
    wait_until("the claim to be shown", EVENTUALLY, || {
        b.griot(&["realm", "show", &realm, "--json"]).contains("too*")
    });
    b.follow(&a);
    let source = noise_file(&world.path().join("f"), 3, 10_000);
    let path = "/generic/tool/1.0.0/tool.bin";
    assert_eq!(curl.upload(&source, &a.url(path), &a.token("publish")), 201);
    b.wait_held("generic", ("tool", "1.0.0"), SOON);
    assert_eq!(sha256(&b.get(path).body), sha256(&noise(3, 10_000)));
    b.json(&["unfollow", &realm]);
    assert_ne!(b.get(path).status, 200, "a realm that is not followed supplies a name");
}

#[test]
fn red_20_a_peer_that_sends_wrong_bytes_is_cut_off_and_the_blob_comes_from_another() {
    let Some(curl) = Curl::new() else { return };
    let world = World::new();
    let liar = world.node("liar");
    let honest = world.node("honest");
    liar.json(&["realm", "grant", "generic:too*", &liar.publisher()]);
    honest.join(&liar);
    let source = noise_file(&world.path().join("f"), 20, 3_000_000);
    let path = "/generic/tool/1.0.0/tool.bin";
    assert_eq!(curl.upload(&source, &liar.url(path), &liar.token("publish")), 201);
    let row = honest.wait_held("generic", ("tool", "1.0.0"), SOON);
    let digest = crate::harness::node::text(&row["artifacts"][0], "digest");
    disk::tamper(&disk::blob(&liar.home(), &digest));

    // Only the liar is known at first, so it is the one that is asked.
    let reader = world.node_dialling("reader", &[liar.multiaddress()]);
    let liar_id = liar.peer();
    wait_until("the reader to meet the liar", SOON, || reader.peers().contains(&liar_id));
    reader.follow(&liar);
    reader.wait_state("generic", ("tool", "1.0.0"), "ok");
    let reply = reader.get(path);
    assert_ne!(reply.status, 200, "the liar's bytes were served");
    wait_until("the liar to be cut off", EVENTUALLY, || !reader.peers().contains(&liar_id));
    assert_eq!(reader.status()["blobs"]["count"], 0);

    reader.json(&["peer", "add", &honest.multiaddress()]);
    let bytes = wait_for("the blob to come from the honest one", EVENTUALLY, || {
        let reply = reader.get(path);
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.text()) }
    });
    assert_eq!(sha256(&bytes), sha256(&noise(20, 3_000_000)));
    assert_eq!(reader.wait_held("generic", ("tool", "1.0.0"), SOON)["state"], "ok");
}

#[test]
fn red_21_a_hosted_name_never_comes_from_another_realm_even_when_its_node_is_gone() {
    let world = World::new();
    let mut a = world.node("a");
    let other = world.node("other");
    let b = world.node_dialling("b", &[other.multiaddress()]);
    let Some(npm) = Npm::new(&world, "other", &other, Some(&other.token("publish"))) else {
        return;
    };
    b.join(&a);
    let npm_a = Npm::new(&world, "a", &a, Some(&a.token("publish"))).expect("as above");
    let source = npm_package(&world.folder("ours"), "left-shift", "1.0.0", "ours");
    npm_a.ok(&source, &["publish"]);
    b.wait_held("npm", ("left-shift", "1.0.0"), SOON);
    let theirs = npm_package(&world.folder("theirs"), "left-shift", "2.0.0", "theirs");
    npm.ok(&theirs, &["publish"]);
    other.json(&["realm", "grant", "npm:*", &other.publisher()]);
    b.follow(&other);
    a.kill9();

    let npm_b = Npm::new(&world, "b", &b, None).expect("as above");
    let said = npm_b.refused(&npm_b.project(), &["install", "left-shift@2.0.0"]);
    assert!(said.contains("2.0.0"), "{said}");
    let versions: BTreeMap<String, Value> = b.get("/npm/left-shift").json()["versions"]
        .as_object()
        .cloned()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0"]);
}
