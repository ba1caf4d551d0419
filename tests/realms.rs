//! Realms of organisations: root keys on different laptops, on sticks and on paper.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::harness::acme::{Acme, fed, path, publish, root, with_passphrase};
use crate::harness::node::text;
use crate::harness::wait::said;
use crate::harness::{EVENTUALLY, Node, SOON, World, wait_for, wait_until};

#[test]
fn a_grant_travels_over_the_mesh_and_is_signed_on_the_other_laptop() {
    let acme = Acme::found();
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    let key = c.publisher();
    let grant = ["realm", "grant", "npm:@acme/*", &key, "--realm", &acme.realm];
    let asked = a.json(&grant);
    assert_eq!(asked["statement"]["complete"], false, "{asked}");
    assert_eq!(acme.show(a)["epoch"], 0, "one of two roots changes nothing");
    let id = acme.wait_pending(b, "root");
    let words = b.griot(&["realm", "pending", &acme.realm]);
    assert!(
        words.contains("grants publish npm:@acme/* to") && words.contains("must sign"),
        "{words}"
    );
    let (asked, code) = b.refused(&["realm", "sign", &id]);
    assert!(
        asked.contains("grants publish") && code == 5,
        "it is shown before it is signed: {asked}"
    );
    let signed = b.json(&["realm", "sign", &id[..16], "--yes"]);
    assert_eq!(signed["complete"], true, "{signed}");
    let info = acme.wait_epoch(a, 1);
    assert!(info["grants"].to_string().contains(&key), "{info}");
    assert_eq!(a.json(&["realm", "pending"]), Value::Array(Vec::new()));
    assert_eq!(a.json(&grant)["statement"], Value::Null, "it is granted already");
}

#[test]
fn a_key_that_signed_one_successor_signs_no_other_unless_told_to() {
    let acme = Acme::found();
    let (a, b) = (&acme.a, &acme.b);
    let (one, two) = (acme.c.publisher(), a.publisher());
    a.json(&["realm", "grant", "npm:one", &one, "--realm", &acme.realm]);
    let other = ["realm", "grant", "npm:two", &two, "--realm", &acme.realm];
    let (told, code) = a.refused(&other);
    assert!(told.contains("another epoch 1") && told.contains("--instead") && code == 5, "{told}");
    // On another laptop with the same stick, the ledger beside the key remembers it, too.
    acme.wait_pending(b, "root");
    let stick = acme.world.path().join("stick");
    fs_err::create_dir_all(&stick).unwrap();
    for file in ["root", "root.signed"] {
        fs_err::copy(a.home().join("keys").join(file), stick.join(file)).unwrap();
    }
    let key = stick.join("root");
    let arguments = [&other[..], &["--key", path(&key)]].concat();
    let (told, _) = b.refused(&arguments);
    assert!(told.contains("another epoch 1"), "{told}");
    // Only the set tells: a key whose ledger is lost.
    fs_err::remove_file(stick.join("root.signed")).unwrap();
    let (told, _) = b.refused(&arguments);
    assert!(told.contains("another epoch 1"), "{told}");
    let output = a.run(&[&other[..], &["--instead", "--json"]].concat());
    assert!(output.status.success() && said_of(&output).contains("warning:"), "{}", said(&output));
    let all = a.json(&["realm", "pending", &acme.realm]);
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
}

fn said_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_seal_by_a_sealed_stick_outlives_a_stolen_publisher_key() {
    let acme = Acme::found();
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    publish(&acme, b, ("acme-ui", "1.0.0"), "one");
    publish(&acme, b, ("acme-ui", "1.1.0"), "two");
    wait_until("a to see both", SOON, || {
        a.run(&["dispute", "show", "npm:acme-ui@1.1.0"]).status.success()
    });
    let stick: PathBuf = acme.world.path().join("stick-of-c");
    let exported =
        with_passphrase(c, &["key", "export", "root", "--sealed", path(&stick)], "baobab");
    assert!(exported.status.success(), "{}", said(&exported));
    let sealed = fs_err::read_to_string(&stick).unwrap();
    assert!(sealed.starts_with("griot key v1\npublic "), "{sealed}");

    let name = "npm:acme-ui@1.0.0";
    a.json(&["realm", "seal", name, "--realm", &acme.realm, "--yes"]);
    let id = acme.wait_pending(b, "seal");
    let words = b.griot(&["realm", "pending", &acme.realm]);
    assert!(words.contains("npm:acme-ui@1.0.0"), "{words}");
    let sign = ["realm", "sign", &id, "--yes", "--key", path(&stick), "--json"];
    let wrong = with_passphrase(b, &sign, "Baobab");
    assert!(
        !wrong.status.success() && said_of(&wrong).contains("does not open"),
        "{}",
        said(&wrong)
    );
    assert_eq!(wrong.status.code(), Some(5));
    let signed = with_passphrase(b, &sign, "baobab");
    assert!(signed.status.success(), "{}", said(&signed));

    let thief = b.publisher();
    let revoke = ["key", "revoke", &thief, "--keep", "none", "--reason", "stolen"];
    let revoke = [&revoke[..], &["--realm", &acme.realm, "--yes"]].concat();
    let revoked = c.json(&revoke);
    assert_eq!(revoked["complete"], true, "any one root is enough: {revoked}");
    wait_until("only what is sealed to stand", SOON, || {
        let one = a.json(&["dispute", "show", name]);
        let sealed = one["files"][0]["candidates"][0]["sealed"] == true;
        let two = a.json(&["dispute", "show", "npm:acme-ui@1.1.0"]);
        sealed
            && two["files"] == Value::Array(Vec::new())
            && two["fallen"][0]["why"]["revoked"] != Value::Null
    });
    let words = a.griot(&["dispute", "show", "npm:acme-ui@1.1.0"]);
    assert!(words.contains("signed by a revoked key"), "{words}");

    // A new epoch does not carry the revoked key on without a word.
    let (ra, rc) = (root(a), root(c));
    let fresh =
        text(&a.json(&["key", "new", "--to", path(&acme.world.path().join("d"))]), "public");
    let rotate = ["realm", "rotate", "--remove-root", &rc, "--add-root", &fresh];
    let rotate = [&rotate[..], &["--realm", &acme.realm]].concat();
    let (refused, _) = a.refused(&rotate);
    assert!(refused.contains("is revoked") && refused.contains("--drop"), "{refused}");
    let rotated = a.json(&[&rotate[..], &["--drop", &thief]].concat());
    let says = rotated["says"].to_string();
    assert!(says.contains("removes root") && says.contains("of the earlier seals 1"), "{says}");
    let id = acme.wait_pending(b, "root");
    b.json(&["realm", "sign", &id, "--yes"]);
    let info = acme.wait_epoch(a, 1);
    let roots = info["roots"].to_string();
    assert!(roots.contains(&ra) && roots.contains(&fresh) && !roots.contains(&rc), "{info}");
    assert!(!info["grants"].to_string().contains(&thief), "{info}");
    let one = a.json(&["dispute", "show", name]);
    assert_eq!(one["files"][0]["candidates"][0]["sealed"], true, "the seal was carried on: {one}");
}

/// The content of a disputed version that one publisher signed, as one node shows it.
fn digest_of(node: &Node, version: &str, publisher: &str) -> Option<String> {
    let shown = node.json(&["dispute", "show", version]);
    let candidates = shown["files"][0]["candidates"].as_array().cloned().unwrap_or_default();
    let found = candidates.iter().find(|one| one["signers"].to_string().contains(publisher));
    found.filter(|_| candidates.len() == 2).map(|one| text(&one["content"], "blake3"))
}

#[test]
fn a_dispute_ends_by_a_withdrawal_a_seal_or_for_one_node_by_its_user() {
    let mut acme = Acme::found();
    let (pb, pc) = (acme.b.publisher(), acme.c.publisher());
    let grant = ["realm", "grant", "npm:acme-lib", &pc, "--realm", &acme.realm];
    acme.b.json(&grant);
    let id = acme.wait_pending(&acme.c, "root");
    acme.c.json(&["realm", "sign", &id, "--yes"]);
    for node in [&acme.a, &acme.b, &acme.c] {
        acme.wait_epoch(node, 1);
        node.json(&["follow", &acme.realm, "--yes"]);
    }
    // B and C hear of each other through A alone.
    acme.a.terminate();
    for version in ["1.0.0", "2.0.0"] {
        publish(&acme, &acme.b, ("acme-lib", version), "by-b");
        publish(&acme, &acme.c, ("acme-lib", version), "by-c");
    }
    acme.a.up();
    let (one, two) = ("npm:acme-lib@1.0.0", "npm:acme-lib@2.0.0");
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    let mut right = String::new();
    for (node, version) in [(a, one), (a, two), (b, one), (b, two), (c, one), (c, two)] {
        right = wait_for("both contents to be known", EVENTUALLY, || {
            let known = node.run(&["dispute", "show", version]).status.success();
            let found = if known { digest_of(node, version, &pc) } else { None };
            found.ok_or_else(|| node.griot(&["dispute", "list"]))
        });
    }
    assert!(b.griot(&["dispute", "list"]).contains("disputed-pinned  npm:acme-lib@1.0.0"));
    let words = a.griot(&["dispute", "show", two]);
    assert!(words.contains("disputed") && words.contains(&right), "{words}");
    let (asked, code) = a.refused(&["dispute", "resolve", two, "--digest", &right]);
    assert!(asked.contains("--by seal or --by accept") && code == 2, "{asked}");

    let ours = digest_of(a, one, &pb).expect("both are known");
    let accept = ["dispute", "resolve", one, "--digest", &ours, "--by", "accept"];
    assert_eq!(a.json(&accept)["state"], "disputed-pinned");
    let done = c.json(&["dispute", "resolve", one, "--digest", &ours, "--by", "withdraw"]);
    assert_eq!(done["state"], "ok", "its publisher has let it go: {done}");
    wait_until("everybody to have one content", SOON, || {
        [a, b].iter().all(|node| node.json(&["dispute", "show", one])["state"] == "ok")
    });
    let nothing = ["dispute", "resolve", two, "--digest", &right, "--by", "withdraw"];
    let (refused, _) = a.refused(&nothing);
    assert!(refused.contains("error:"), "A has published nothing: {refused}");

    let seal = ["dispute", "resolve", two, "--digest", &right[..20], "--by", "seal", "--yes"];
    assert_eq!(a.json(&seal)["statement"]["complete"], false);
    let id = acme.wait_pending(b, "seal");
    b.json(&["realm", "sign", &id, "--yes"]);
    wait_until("the sealed content to stand", SOON, || {
        a.json(&["dispute", "show", two])["state"] == "ok"
    });
    assert_eq!(b.json(&["dispute", "show", two])["state"], "disputed-pinned", "B has its own");
    b.json(&["dispute", "resolve", two, "--digest", &right, "--by", "accept"]);
    assert_eq!(b.json(&["dispute", "show", two])["state"], "ok");
}

#[test]
fn a_laptop_without_a_node_signs_a_file_in_words() {
    let mut acme = Acme::found();
    acme.c.terminate();
    let file = acme.world.path().join("rotate.griot");
    let fresh =
        text(&acme.a.json(&["key", "new", "--to", path(&acme.world.path().join("d"))]), "public");
    let rotate = ["realm", "rotate", "--add-root", &fresh, "--k", "3", "--realm", &acme.realm];
    let made = acme.a.json(&[&rotate[..], &["--out", path(&file)]].concat());
    assert_eq!((&made["complete"], &made["posted"]), (&false.into(), &false.into()), "{made}");
    let head = fs_err::read_to_string(&file).unwrap();
    assert!(head.contains("# adds root") && head.contains("# 3 of 4 roots act"), "{head}");
    let (shown, _) = acme.c.refused(&["realm", "sign", path(&file)]);
    assert!(shown.contains(&format!("adds root {fresh}")), "{shown}");
    let signed = acme.c.json(&["realm", "sign", path(&file), "--yes"]);
    assert_eq!(signed["posted"], false, "{signed}");
    let lacks = signed["quorums"].as_array().unwrap().iter().map(|it| it["signed"].clone());
    assert_eq!(lacks.map(|it| it.as_array().unwrap().len()).collect::<Vec<_>>(), [2, 2]);
    // What was changed on its way is not signed.
    let forged = acme.world.path().join("forged.griot");
    fs_err::write(&forged, head.replacen("ENVELOPE-----\ng", "ENVELOPE-----\nh", 1)).unwrap();
    let (refused, _) = acme.c.refused(&["realm", "sign", path(&forged), "--yes"]);
    assert!(refused.contains("is no envelope"), "{refused}");
    let done = acme.b.json(&["realm", "sign", path(&file), "--yes"]);
    assert_eq!((&done["complete"], &done["posted"]), (&true.into(), &true.into()), "{done}");
    assert_eq!(acme.wait_epoch(&acme.a, 1)["k"], 3);
}

#[test]
fn a_fork_is_shown_with_who_made_it_and_a_person_chooses() {
    let acme = Acme::found();
    let (a, b, c) = (&acme.a, &acme.b, &acme.c);
    let (one, two) = (acme.world.path().join("one.griot"), acme.world.path().join("two.griot"));
    let propose = |node: &Node, title: &str, file: &Path, more: &[&str]| {
        let order =
            ["realm", "rotate", "--title", title, "--realm", &acme.realm, "--out", path(file)];
        node.json(&[&order[..], more].concat())
    };
    propose(a, "Acme One", &one, &[]);
    propose(c, "Acme Two", &two, &[]);
    // B signs both, though the tool warns: with sticks, on laptops that hear nothing of each other.
    let stick = acme.world.path().join("b-root");
    fs_err::copy(b.home().join("keys/root"), &stick).unwrap();
    let sign = |node: &Node, file: &Path, more: &[&str]| {
        let order =
            ["realm", "sign", path(file), "--yes", "--key", path(&stick), "--out", path(file)];
        node.run(&[&order[..], more].concat())
    };
    assert!(sign(a, &one, &[]).status.success());
    let refused = sign(a, &two, &[]);
    assert!(said_of(&refused).contains("another epoch 1"), "{}", said(&refused));
    assert!(sign(a, &two, &["--instead"]).status.success());
    let root_one = text(&a.json(&["realm", "post", path(&one)]), "id");
    acme.wait_epoch(b, 1);
    let (refused, _) = a.refused(&["realm", "post", path(&two)]);
    assert!(refused.contains("another epoch of this realm was signed"), "{refused}");

    // A newcomer gets the second one by a file, the first one by the mesh.
    let lone = acme.world.node("lone");
    let genesis = acme.world.path().join("acme.griot");
    lone.json(&["realm", "post", path(&genesis)]);
    let root_two = text(&lone.json(&["realm", "post", path(&two)]), "id");
    lone.json(&["peer", "add", &a.multiaddress()]);
    let info = wait_for("the fork to be seen", EVENTUALLY, || {
        let info = acme.show(a);
        if info["status"] == "fork-pinned" { Ok(info) } else { Err(info.to_string()) }
    });
    assert_eq!(info["title"], "Acme One");
    assert!(info["double_signers"].to_string().contains(&root(b)), "{info}");
    let words = a.griot(&["realm", "show", &acme.realm]);
    assert!(words.contains("signed both") && words.contains("griot realm accept"), "{words}");
    assert!(a.json(&["dispute", "list"])["realms"].to_string().contains("fork-pinned"));
    let (asked, _) = a.refused(&["realm", "accept", &acme.realm]);
    assert!(asked.contains("in twelve words: ") && asked.contains(&root_two), "{asked}");
    a.json(&["realm", "accept", &acme.realm, &root_two, "--yes"]);
    assert_eq!(acme.show(a)["title"], "Acme Two");
    a.json(&["realm", "accept", &acme.realm, &root_one, "--yes"]);
    assert_eq!(acme.show(a)["title"], "Acme One");
}

#[test]
fn lost_roots_are_replaced_by_the_words_on_paper() {
    let acme = Acme::found();
    let (a, b) = (&acme.a, &acme.b);
    let keys = [acme.world.path().join("new-one"), acme.world.path().join("new-two")];
    let fresh: Vec<String> = keys
        .iter()
        .map(|file| text(&a.json(&["key", "new", "--to", path(file)]), "public"))
        .collect();
    let order = ["realm", "recover", "--realm", &acme.realm, "--words", "--yes", "--json"];
    let roots = ["--root", &fresh[0], "--root", &fresh[1]];
    let with = ["--key", path(&keys[0]), "--key", path(&keys[1])];
    let wrong = acme.recovery.split(' ').rev().collect::<Vec<_>>().join(" ");
    let refused = fed(a, &[&order[..], &roots, &with].concat(), &wrong);
    assert!(!refused.status.success(), "{}", said(&refused));
    let stranger = text(&a.json(&["key", "new", "--role", "recovery"]), "words");
    let refused = fed(a, &[&order[..], &roots, &with].concat(), &stranger);
    assert!(said_of(&refused).contains("cannot recover"), "{}", said(&refused));
    let done = fed(a, &[&order[..], &roots, &with].concat(), &acme.recovery);
    assert!(done.status.success(), "{}", said(&done));
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["complete"], &done["posted"]), (&true.into(), &true.into()), "{done}");

    for node in [a, b] {
        let info = wait_for("the recovery to wait", SOON, || {
            let info = acme.show(node);
            if info["status"] == "recover-pending" { Ok(info) } else { Err(info.to_string()) }
        });
        assert_eq!(info["epoch"], 0, "no pinned node follows it in silence");
        let words = node.griot(&["realm", "show", &acme.realm]);
        assert!(words.contains("it has used its recovery key"), "{words}");
        let (asked, code) = node.refused(&["realm", "accept", &acme.realm]);
        assert!(asked.contains(&fresh[0]) && asked.contains("--yes") && code == 5, "{asked}");
        node.json(&["realm", "accept", &acme.realm, "--yes"]);
        let info = acme.show(node);
        assert_eq!((&info["epoch"], &info["status"]), (&1.into(), &"ok".into()), "{info}");
        assert!(info["roots"].to_string().contains(&fresh[1]), "{info}");
    }
}

#[test]
fn a_key_goes_to_paper_and_comes_back() {
    let world = World::new();
    let a = world.node("a");
    let words = text(&a.json(&["key", "export", "root", "--words"]), "words");
    let to = world.path().join("again");
    let output = fed(&a, &["key", "import", "--words", "--to", path(&to), "--json"], &words);
    assert!(output.status.success(), "{}", said(&output));
    let back: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(text(&back, "public"), root(&a));
    assert_eq!(text(&a.json(&["key", "show", path(&to)]), "public"), root(&a));
    // Never over a key that is there.
    let (refused, _) = a.refused(&["key", "new", "--role", "root"]);
    assert!(refused.contains("not touched"), "{refused}");
    // A sealed root key signs with its passphrase, and nobody hangs without one.
    fs_err::remove_file(a.home().join("keys/root")).unwrap();
    let import = ["key", "import", path(&to), "--role", "root", "--passphrase"];
    assert!(with_passphrase(&a, &import, "baobab").status.success());
    let key = a.publisher();
    let grant = ["realm", "grant", "npm:x", &key, "--json"];
    let (refused, code) = a.refused(&grant);
    assert!(refused.contains("GRIOT_PASSPHRASE") && code == 5, "{refused}");
    let output = with_passphrase(&a, &grant, "baobab");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(a.json(&["realm", "show"])["epoch"], 1);
}
