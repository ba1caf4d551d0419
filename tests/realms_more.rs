//! Realms in bad days: a rogue root, stolen roots, a stolen key that signed a lot; and realms and
//! routes that are not for everybody.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::statement::{Body, File, Release};
use crdt::{Checksums, Digest, PackageId, RealmId, SecretKey, Statement, Verified};
use serde_json::Value;

use crate::harness::acme::{Acme, dialling, fed, path, publish, root};
use crate::harness::node::text;
use crate::harness::samples::npm_package;
use crate::harness::upstream::Stub;
use crate::harness::wait::said;
use crate::harness::{EVENTUALLY, Node, Request, SOON, World, wait_for, wait_until};

/// One version with what is known against it; `Null` while it is not known.
fn shown(node: &Node, version: &str) -> Value {
    let output = node.run(&["dispute", "show", version, "--json"]);
    if !output.status.success() {
        return Value::Null;
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", said(&output)))
}

/// Why the first release of a version that does not stand does not.
fn fallen(node: &Node, version: &str) -> Value {
    shown(node, version)["fallen"][0]["why"].clone()
}

#[track_caller]
fn wait_stands(node: &Node, version: &str) {
    wait_for("a version to stand", EVENTUALLY, || {
        let seen = shown(node, version);
        let stands = seen["state"] == "ok" && seen["files"] != Value::Array(Vec::new());
        if stands { Ok(()) } else { Err(seen.to_string()) }
    });
}

#[track_caller]
fn wait_pending_id(acme: &Acme, node: &Node, id: &str) {
    wait_for("a statement to wait for signatures", SOON, || {
        let all = node.json(&["realm", "pending", &acme.realm]).to_string();
        if all.contains(id) { Ok(()) } else { Err(all) }
    });
}

#[test]
fn what_a_rogue_root_has_revoked_comes_back_when_the_others_declare_it_void() {
    let acme = Acme::found();
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    publish(&acme, b, ("acme-ui", "1.0.0"), "one");
    let (one, honest) = ("npm:acme-ui@1.0.0", b.publisher());
    wait_stands(a, one);
    let revoke = ["key", "revoke", &honest, "--keep", "none", "--realm", &acme.realm, "--yes"];
    let id = text(&c.json(&revoke), "id");
    for node in [a, b] {
        wait_for("the release to fall", SOON, || {
            let seen = shown(node, one);
            let by = &seen["fallen"][0]["why"]["revoked"][0];
            if *by == *id { Ok(()) } else { Err(seen.to_string()) }
        });
    }
    let info = acme.show(a);
    assert_eq!(info["revoked"][0]["by"][0], *id, "a person finds the id to clear: {info}");

    let genesis = text(&info, "head");
    let (refused, code) = a.refused(&["realm", "clear", &genesis, "--realm", &acme.realm]);
    assert!(refused.contains("is no revocation or seal") && code == 3, "{code}: {refused}");
    // The rogue one wants another epoch at the same time: one of the two comes to nothing.
    let grant = ["realm", "grant", "npm:acme-c", &c.publisher(), "--realm", &acme.realm];
    let (carried, _) = c.refused(&grant);
    assert!(carried.contains("is revoked") && carried.contains("--drop"), "{carried}");
    c.json(&[&grant[..], &["--drop", &honest]].concat());
    let clear = ["realm", "clear", &id, "--realm", &acme.realm];
    let asked = a.json(&clear);
    assert_eq!(asked["complete"], false, "{asked}");
    assert!(asked["says"].to_string().contains(&format!("{id} void")), "{asked}");
    let root = text(&asked, "id");
    wait_pending_id(&acme, b, &root);
    assert_eq!(fallen(a, one)["revoked"][0], *id, "one of two roots changes nothing");
    assert_eq!(b.json(&["realm", "sign", &root, "--yes"])["complete"], true);
    for node in [a, b, c] {
        let info = acme.wait_epoch(node, 1);
        assert_eq!(info["revoked"], Value::Array(Vec::new()), "{info}");
        assert!(!info["grants"].to_string().contains("acme-c"), "{info}");
        wait_stands(node, one);
        assert_eq!(node.json(&["realm", "pending", &acme.realm]), Value::Array(Vec::new()));
    }
    let (again, code) = a.refused(&clear);
    assert!(again.contains("changes nothing") && code == 2, "{code}: {again}");
    publish(&acme, b, ("acme-ui", "1.1.0"), "two");
    wait_stands(c, "npm:acme-ui@1.1.0");
}

/// Seals a version with a key file; the seal's id.
fn seal(node: &Node, realm: &str, (version, key): (&str, &str)) -> String {
    let order = ["realm", "seal", version, "--realm", realm, "--key", key, "--yes"];
    let sealed = node.json(&order);
    assert_eq!(sealed["complete"], true, "{sealed}");
    text(&sealed, "id")
}

#[test]
fn of_two_sealed_contents_of_a_version_one_stands_when_the_other_seal_is_void() {
    let world = World::new();
    let mut a = world.node("a");
    let mut b = world.node("b");
    a.json(&["realm", "grant", "npm:lib", &b.publisher()]);
    b.join(&a);
    let (realm, version) = (a.realm(), "npm:lib@1.0.0");
    wait_until("b to know its grant", SOON, || {
        b.json(&["realm", "show", &realm]).to_string().contains(&b.publisher())
    });
    // The same stick at two laptops that hear nothing of each other.
    let stick = a.home().join("keys/root");
    a.terminate();
    let source = |says: &str| npm_package(&world.folder(says), "lib", "1.0.0", says);
    b.json(&["publish", path(&source("by-b")), "--realm", &realm]);
    let wrong = seal(&b, &realm, (version, path(&stick)));
    b.terminate();
    a.up();
    a.json(&["publish", path(&source("by-a")), "--realm", &realm]);
    let right = seal(&a, &realm, (version, path(&stick)));
    b.up();
    for node in [&a, &b] {
        wait_for("both seals to be known", EVENTUALLY, || {
            let seen = shown(node, version);
            let count = seen["files"][0]["candidates"].as_array().map_or(0, Vec::len);
            if count == 2 { Ok(()) } else { Err(seen.to_string()) }
        });
    }
    let seen = shown(&a, version);
    assert_eq!(seen["state"], "disputed-pinned", "{seen}");
    let candidates = seen["files"][0]["candidates"].as_array().expect("two of them");
    assert!(candidates.iter().all(|one| one["sealed"] == true), "{seen}");
    let words = a.griot(&["dispute", "show", version]);
    assert!(words.contains(&wrong) && words.contains(&right), "which seals they are: {words}");
    assert!(words.contains("griot realm clear"), "{words}");

    a.json(&["realm", "clear", &wrong]);
    wait_stands(&a, version);
    let seen = shown(&a, version);
    assert_eq!(seen["fallen"][0]["why"], "closed", "{seen}");
    wait_until("b to see that its seal is void", SOON, || {
        shown(&b, version)["fallen"][0]["why"] == "closed"
    });
    assert_eq!(shown(&b, version)["state"], "disputed-pinned", "what b has, it keeps");
    let newcomer = world.node("newcomer");
    newcomer.join(&a);
    wait_stands(&newcomer, version);
}

/// Two new root keys in files, public halves first.
fn fresh_roots(acme: &Acme) -> ([String; 2], [String; 2]) {
    let files = ["new-one", "new-two"].map(|name| path(&acme.world.path().join(name)).to_owned());
    let publics =
        files.each_ref().map(|file| text(&acme.a.json(&["key", "new", "--to", file]), "public"));
    (publics, files)
}

/// Signs the next epoch on A and B.
fn next_epoch(acme: &Acme, order: &[&str], epoch: u64) {
    let order = [order, &["--realm", &acme.realm]].concat();
    let made = acme.a.json(&order);
    let statement = if made["id"].is_string() { &made } else { &made["statement"] };
    let id = text(statement, "id");
    wait_pending_id(acme, &acme.b, &id);
    acme.b.json(&["realm", "sign", &id, "--yes"]);
    for node in [&acme.a, &acme.b, &acme.c] {
        acme.wait_epoch(node, epoch);
    }
}

#[test]
fn a_recovery_from_a_good_epoch_leaves_what_thieves_have_signed_since() {
    let acme = Acme::found();
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    next_epoch(&acme, &["realm", "rotate", "--title", "Acme Ltd"], 1);
    publish(&acme, b, ("acme-ui", "1.0.0"), "good");
    // Two stolen roots let a stranger in. They leave the recovery key, or nobody could be fooled.
    let thief = dialling(&acme.world, "thief", a);
    let grant = ["realm", "grant", "npm:*", &thief.publisher()];
    next_epoch(&acme, &grant, 2);
    thief.json(&["realm", "post", path(&acme.world.path().join("acme.griot"))]);
    acme.wait_epoch(&thief, 2);
    publish(&acme, &thief, ("acme-ui", "6.6.6"), "evil");
    let (good, evil) = ("npm:acme-ui@1.0.0", "npm:acme-ui@6.6.6");
    [a, c].iter().for_each(|node| wait_stands(node, evil));

    let ([one, two], [file_one, file_two]) = fresh_roots(&acme);
    let order = ["realm", "recover", "--realm", &acme.realm, "--words", "--json"];
    let roots = ["--root", &one, "--root", &two, "--key", &file_one, "--key", &file_two];
    let recover = |more: &[&str]| fed(a, &[&order[..], &roots, more].concat(), &acme.recovery);
    let unknown = recover(&["--from", "9", "--yes"]);
    assert!(said(&unknown).contains("epoch 9 does not name"), "{}", said(&unknown));
    let asked = recover(&["--from", "1"]);
    assert_eq!(asked.status.code(), Some(5), "{}", said(&asked));
    assert!(said(&asked).contains("from epoch 1 to 2"), "{}", said(&asked));
    let done = recover(&["--from", "1", "--yes"]);
    assert!(done.status.success(), "{}", said(&done));

    for node in [a, b, c] {
        let info = wait_for("the recovery to wait", SOON, || {
            let info = acme.show(node);
            if info["status"] == "recover-pending" { Ok(info) } else { Err(info.to_string()) }
        });
        assert!(info["grants"].to_string().contains(&thief.publisher()), "not yet: {info}");
    }
    a.json(&["realm", "accept", &acme.realm, "--yes"]);
    let info = acme.show(a);
    assert_eq!((&info["epoch"], &info["status"]), (&2.into(), &"ok".into()), "{info}");
    let head = text(&info, "head");
    assert_eq!(info["title"], "Acme Ltd", "the good epoch is what it goes on from");
    assert!(!info["grants"].to_string().contains(&thief.publisher()), "{info}");
    let named = info["roots"].to_string();
    assert!(named.contains(&one) && !named.contains(&root(b)), "{info}");
    wait_stands(a, good);
    assert_eq!(shown(a, evil)["files"].as_array().map_or(0, Vec::len), 0, "{}", shown(a, evil));
    wait_stands(c, evil);

    // Who begins with the old genesis has seen the realm, too, and is asked once.
    let newcomer = dialling(&acme.world, "newcomer", a);
    newcomer.json(&["realm", "post", path(&acme.world.path().join("acme.griot"))]);
    wait_until("the newcomer to be asked", EVENTUALLY, || {
        let info = acme.show(&newcomer);
        info["status"] == "recover-pending" && info["evidence"].to_string().contains(&head)
    });
    assert_eq!(acme.show(&newcomer)["epoch"], 1, "it never came to what the thieves have signed");
    newcomer.json(&["realm", "accept", &acme.realm, "--yes"]);
    wait_stands(&newcomer, good);
    // The new roots act.
    let order = ["realm", "rotate", "--title", "Acme again", "--realm", &acme.realm];
    let done = a.json(&[&order[..], &["--key", &file_one, "--key", &file_two]].concat());
    assert_eq!(done["complete"], true, "{done}");
    assert_eq!(acme.wait_epoch(&newcomer, 3)["title"], "Acme again");
}

#[test]
fn a_route_of_the_site_rules_on_every_node_that_joined_and_its_roots_alone_make_one() {
    let world = World::new();
    let stub = Stub::start();
    stub.publish("left-pad", "1.0.0", |p| p);
    let (a, b) = (world.node("a"), world.node("b"));
    a.json(&["upstream", "add", "npm", &stub.url(), "--site"]);
    b.join(&a);
    let asks = |wanted: u16| {
        wait_for("a route to rule on the other node", SOON, || {
            let reply = b.get("/npm/left-pad");
            if reply.status == wanted { Ok(reply) } else { Err(reply.text()) }
        })
    };
    asks(200);
    let site = |node: &Node, names: &str, source: &str, more: &[&str]| {
        node.run(&[&["route", "add", names, source, "--site", "--json"], more].concat())
    };
    let made = site(&a, "npm:left-*", "deny", &[]);
    assert!(made.status.success(), "{}", said(&made));
    let denied = asks(403);
    assert!(denied.text().contains("left-"), "{}", denied.text());
    let why = b.griot(&["why", "left-pad", "--format", "npm"]);
    assert!(why.contains("deny") || why.contains("denied") || why.contains("nobody"), "{why}");
    let routes = b.json(&["route", "list"]);
    let rows = routes.as_array().expect("a list");
    let row = rows.iter().find(|row| row["rule"]["pattern"] == "left-*").expect("it is listed");
    assert_eq!(row["of"], "site", "{routes}");

    // Somebody who joined has no say; neither has a source that means nothing elsewhere.
    let refused = site(&b, "npm:left-*", "upstream", &[]);
    assert!(said(&refused).contains("no key that has a say"), "{}", said(&refused));
    assert_eq!(refused.status.code(), Some(5));
    let unknown = site(&a, "npm:left-*", "https://registry.example.test/", &[]);
    assert!(said(&unknown).contains("no such upstream"), "{}", said(&unknown));
    assert_eq!(unknown.status.code(), Some(3));
    assert_eq!(b.get("/npm/left-pad").status, 403);
    // The later word of the same roots is the one.
    let made = site(&a, "npm:left-*", "upstream", &[]);
    assert!(made.status.success(), "{}", said(&made));
    asks(200);

    // With two roots that act together a route waits like everything else.
    let (key, stick) = (root(&b), path(&b.home().join("keys/root")).to_owned());
    let own = path(&a.home().join("keys/root")).to_owned();
    let rotate = ["realm", "rotate", "--add-root", &key, "--k", "2", "--key", &own];
    let rotated = a.json(&[&rotate[..], &["--key", &stick]].concat());
    assert_eq!(rotated["complete"], true, "{rotated}");
    asks(200);
    let made = site(&a, "npm:left-pad", "deny", &[]);
    assert!(made.status.success(), "{}", said(&made));
    let made: Value = serde_json::from_slice(&made.stdout).expect("--json prints JSON");
    assert_eq!(made["complete"], false, "{made}");
    let id = text(&made, "id");
    wait_until("the route to wait on b", SOON, || {
        b.json(&["realm", "pending"]).to_string().contains(&id)
    });
    assert_eq!((a.get("/npm/left-pad").status, b.get("/npm/left-pad").status), (200, 200));
    assert_eq!(b.json(&["realm", "sign", &id, "--yes"])["complete"], true);
    asks(403);
}

#[test]
fn a_realm_that_is_created_private_is_shown_to_its_readers_alone() {
    let world = World::new();
    let a = world.node("a");
    let file = path(&world.path().join("hidden.griot")).to_owned();
    let created = a.json(&["realm", "create", "Hidden", "--private", "--out", &file]);
    assert_eq!(created["complete"], true, "{created}");
    let realm = text(&created, "realm");
    a.json(&["realm", "post", &file]);
    let source = npm_package(&world.folder("source"), "secret", "1.0.0", "a secret");
    a.json(&["publish", path(&source), "--realm", &realm]);
    a.json(&["route", "add", "npm:secret", &realm]);
    assert_eq!(a.get("/npm/secret").status, 404, "nobody has said who asks");
    assert_eq!(a.send(&Request::get("/npm/secret").token(&a.token("read"))).status, 200);

    let stranger = dialling(&world, "stranger", &a);
    let reader = dialling(&world, "reader", &a);
    for node in [&stranger, &reader] {
        wait_until("a to be met", SOON, || node.peers().contains(&a.peer()));
        wait_until("a to be shown", SOON, || {
            node.json(&["realm", "list"]).to_string().contains(&a.realm())
        });
    }
    let keys = reader.json(&["key", "show"]);
    let order = ["realm", "grant", "*:*", &text(&keys, "node"), "--role", "read"];
    let granted = a.json(&[&order[..], &["--realm", &realm]].concat());
    assert_eq!(granted["statement"]["complete"], true, "{granted}");
    // Nobody is shown a private realm: its reader gets its first statement by another way.
    reader.json(&["realm", "post", &file]);
    reader.json(&["route", "add", "npm:secret", &realm]);
    reader.wait_held("npm", ("secret", "1.0.0"), EVENTUALLY);

    // By now the stranger would know, too.
    for arguments in [&["realm", "list", "--json"][..], &["peer", "list", "--json"]] {
        let told = stranger.griot(arguments);
        assert!(!told.contains(&realm) && !told.contains("Hidden"), "{told}");
    }
    let (refused, code) = stranger.refused(&["realm", "show", &realm]);
    assert!(refused.contains("nothing is known here") && code == 3, "{code}: {refused}");
    let found = stranger.griot(&["search", "secret", "--json"]);
    assert!(!found.contains("1.0.0"), "{found}");
    // Nor is there more for one who found the file.
    stranger.json(&["realm", "post", &file]);
    stranger.json(&["route", "add", "npm:secret", &realm]);
    let other = npm_package(&world.folder("more"), "secret", "1.1.0", "another");
    a.json(&["publish", path(&other), "--realm", &realm]);
    reader.wait_held("npm", ("secret", "1.1.0"), EVENTUALLY);
    assert_eq!(stranger.info("npm", "secret"), Value::Null);
    assert_eq!(stranger.status()["index"]["packages"], 0);
    assert_eq!(stranger.json(&["realm", "show", &realm])["epoch"], 0, "not even the next epoch");
}

/// A release of one file that nobody has the bytes of.
fn release(realm: RealmId, (name, version): (&str, &str), key: &SecretKey) -> Vec<u8> {
    let content = format!("{name}@{version}");
    let file = File {
        name: "tool.bin".to_owned(),
        size: content.len() as u64,
        blake3: Digest::of(content.as_bytes()),
        checksums: Checksums { sha256: [7; 32], sha512: None, sha1: None, md5: None },
        meta: None,
    };
    let body = Body::Release(Release {
        version: version.to_owned(),
        written: version.to_owned(),
        files: vec![file],
        extras: None,
        claimed_time: 0,
    });
    let package = PackageId::new("generic", name);
    let statement = Statement::new(realm, Some(package), body).expect("a sound release");
    Verified::sign(statement, &[key]).envelope().encode()
}

#[track_caller]
fn post(node: &Node, envelope: Vec<u8>) {
    let request = Request::post("/api/admin/statements", envelope)
        .header("content-type", "application/cbor")
        .token(&node.admin_token());
    let reply = node.send(&request);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The first envelope of a file.
fn envelope_of(file: &str) -> Vec<u8> {
    let text = fs_err::read_to_string(file).expect("the verb wrote it");
    let (_, rest) = text.split_once("-----BEGIN GRIOT ENVELOPE-----").expect("it has a block");
    let (letters, _) = rest.split_once("-----END").expect("the block ends");
    let letters: String = letters.split_whitespace().collect();
    BASE64_STANDARD.decode(letters).expect("base64")
}

/// Ids of one more release than a statement lists.
const SIGNED: usize = 501;

/// A realm in which one key has signed so many releases, and a second node that has them all.
fn signed_much(world: &World) -> (Node, Node, SecretKey) {
    let (a, b) = (world.node("a"), world.node("b"));
    let key = SecretKey::from_seed(&[7; 32]);
    a.json(&["realm", "grant", "generic:*", &key.public().to_string()]);
    b.join(&a);
    let realm = a.realm().parse().expect("the command prints a realm id");
    for number in 0..SIGNED {
        post(&a, release(realm, (&format!("tool-{number}"), "1.0.0"), &key));
    }
    wait_for("b to have all of them", EVENTUALLY, || {
        let index = b.status()["index"].clone();
        if index["releases"] == SIGNED { Ok(()) } else { Err(index.to_string()) }
    });
    (a, b, key)
}

#[test]
fn a_long_keep_list_travels_as_a_blob_and_until_it_comes_nobody_guesses() {
    let world = World::new();
    let (mut a, mut b, thief) = signed_much(&world);
    let realm: RealmId = a.realm().parse().expect("as above");
    let (kept, lost) = ("generic:tool-7@1.0.0", "generic:tool-evil@6.6.6");
    wait_stands(&b, kept);
    let blobs = |node: &Node| node.status()["blobs"]["count"].as_u64().expect("a number");
    let (before, key) = (blobs(&a), thief.public().to_string());
    let file = path(&world.path().join("revoke.griot")).to_owned();
    let order = ["key", "revoke", &key, "--reason", "stolen", "--out", &file, "--yes"];
    let revoked = a.json(&order);
    assert_eq!((&revoked["complete"], &revoked["posted"]), (&true.into(), &false.into()));
    let says = revoked["says"].to_string();
    assert!(says.contains(&format!("{SIGNED} releases, listed in")), "{says}");
    post(&a, release(realm, ("tool-evil", "6.6.6"), &thief));
    wait_stands(&b, lost);
    // Nothing names the list on A: the file has the one copy that is left.
    a.terminate();
    a.up();
    a.json(&["gc"]);
    assert_eq!(blobs(&a), before);
    a.terminate();

    // The statement alone: what it keeps is not known, which is neither all nor nothing.
    post(&b, envelope_of(&file));
    for version in [kept, lost] {
        assert_eq!(fallen(&b, version), "not-yet-known", "{}", shown(&b, version));
    }
    let words = b.griot(&["dispute", "show", kept]);
    assert!(words.contains("has not arrived"), "{words}");
    let reply = b.get("/generic/tool-7/1.0.0/tool.bin");
    assert_ne!(reply.status, 200);
    assert!(reply.text().contains("not yet known"), "{}: {}", reply.status, reply.text());
    b.terminate();
    b.up();
    assert_eq!(fallen(&b, kept), "not-yet-known", "a start makes nothing of it either");

    let before = blobs(&b);
    b.json(&["realm", "post", &file]);
    assert_eq!(blobs(&b), before + 1, "the list is a blob");
    let id = text(&revoked, "id");
    assert_eq!(shown(&b, kept)["state"], "ok");
    assert_eq!(fallen(&b, lost)["revoked"][0], *id);
    b.terminate();
    b.up();
    b.json(&["gc"]);
    assert_eq!(shown(&b, kept)["state"], "ok", "a list stays as long as its statement");
    // A hears of both by the mesh alone.
    a.up();
    wait_until("the thief's release to fall", EVENTUALLY, || fallen(&a, lost)["revoked"][0] == *id);
    wait_stands(&a, kept);
    for count in ["packages", "releases"] {
        assert_eq!(a.status()["index"][count], b.status()["index"][count], "{count}");
    }
}
