//! The index on the disk: `griot verify --index` finds and mends what differs, and `griot export`
//! writes a document that other tools open.
//!
//! Rows are damaged in the database itself while no node runs, as a failing disk would.

use std::collections::BTreeMap;
use std::path::Path;

use automerge::{Automerge, ROOT, ReadDoc as _};
use crdt::statement::Envelope;
use crdt::{PublicKey, Signature, Statement, StatementId};
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use serde_json::{Value, json};

use crate::harness::samples::{noise, sha256};
use crate::harness::{EVENTUALLY, Node, Request, SOON, World, wait_until};

const PATH: &str = "/generic/tool/1.0.0/tool.bin";
/// A package's format, name and realm.
type Name = (&'static str, &'static str, &'static [u8; 32]);

const SIGNATURES: TableDefinition<(&[u8; 32], &[u8; 33]), &[u8; 64]> = TableDefinition::new("sig");
const STATES: TableDefinition<(&[u8; 32], &str), &[u8]> = TableDefinition::new("coll_state");
const VIEWS: TableDefinition<(&[u8; 32], &str), &[u8]> = TableDefinition::new("view_version");
const SEARCH: TableDefinition<Name, (&str, u64, &str)> = TableDefinition::new("package");
const DOCUMENTS: TableDefinition<&[u8; 32], (u64, u64, &[u8])> = TableDefinition::new("am_doc");
const STATEMENTS: TableDefinition<&[u8; 32], (&str, &[u8])> = TableDefinition::new("stmt");

fn publish(node: &Node, path: &str, bytes: Vec<u8>) {
    let reply = node.send(&Request::put(path, bytes).token(&node.token("publish")));
    assert_eq!(reply.status, 201, "{}", reply.text());
}

/// Changes the database of a home on which no node runs.
fn damage(home: &Path, change: impl FnOnce(&WriteTransaction)) {
    let database = redb::Database::open(home.join("store.redb")).expect("the database opens");
    let txn = database.begin_write().expect("nobody else writes");
    change(&txn);
    txn.commit().expect("it is kept");
}

/// What `verify --index` says in JSON, and how it ended.
fn verify(node: &Node, more: &[&str]) -> (Value, i32) {
    let output = node.run(&[&["verify", "--index", "--json"], more].concat());
    let said = serde_json::from_slice(&output.stdout).expect("one JSON value");
    (said, output.status.code().expect("it ends by itself"))
}

#[test]
fn rows_that_differ_are_named_and_mended_and_the_node_serves_as_before() {
    let world = World::new();
    let mut node = world.node("a");
    publish(&node, PATH, noise(1, 3_000));
    publish(&node, "/generic/other/2.0.0/other.bin", noise(2, 3_000));
    let (said, code) = verify(&node, &["--signatures"]);
    assert_eq!((code, &said["mended"], &said["lost"]), (0, &json!({}), &json!({})), "{said}");
    assert_eq!(said["course"]["packages"], 2, "{said}");
    assert_eq!(said["course"]["statements"], node.status()["index"]["statements"]);
    assert!(said["course"]["signatures"].as_u64() >= said["course"]["statements"].as_u64());
    assert!(node.griot(&["verify", "--index"]).contains("nothing differed"));
    let info = node.info("generic", "tool");

    assert!(node.terminate().success());
    damage(&node.home(), |txn| {
        let mut views = txn.open_table(VIEWS).expect("the table is there");
        views.retain(|_, _| false).expect("rows go");
        let mut search = txn.open_table(SEARCH).expect("the table is there");
        let realm = *search.first().expect("it reads").expect("a row").0.value().2;
        search.insert(("generic", "tool", &realm), ("6.6.6", 6, "not what it is")).expect("kept");
        search.insert(("npm", "never-was", &realm), ("1.0.0", 1, "")).expect("kept");
        let mut states = txn.open_table(STATES).expect("the table is there");
        let first = states.first().expect("it reads").expect("a row");
        let (realm, part) = (*first.0.value().0, first.0.value().1.to_owned());
        let mut state = first.1.value().to_vec();
        drop(first);
        state[100] ^= 1;
        states.insert((&realm, part.as_str()), state.as_slice()).expect("kept");
    });
    node.up();
    assert_ne!(node.info("generic", "tool"), info, "that was damage");
    let output = node.run(&["verify", "--index"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{text}");
    for row in ["view_version", "generic:tool", "never-was", "fingerprint of", "differed, mended"] {
        assert!(text.contains(row), "{row}: {text}");
    }
    assert_eq!(verify(&node, &["--signatures"]).1, 0);
    assert_eq!(node.info("generic", "tool"), info);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 3_000)));
    let found = node.json(&["search", ""]);
    assert!(!found.to_string().contains("never-was"), "{found}");
    let (said, code) = node.refused(&["verify", "--signatures"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_signature_that_rotted_goes_and_a_connected_peer_brings_it_again() {
    let world = World::new();
    let a = world.node("a");
    a.json(&["realm", "grant", "generic:too*", &a.publisher()]);
    let mut b = world.node_dialling("b", &[a.multiaddress()]);
    let peer = a.peer();
    wait_until("b to meet a", SOON, || b.peers().contains(&peer));
    b.follow(&a);
    publish(&a, PATH, noise(1, 3_000));
    b.wait_held("generic", ("tool", "1.0.0"), EVENTUALLY);
    let statements = b.status()["index"]["statements"].clone();

    assert!(b.terminate().success());
    damage(&b.home(), |txn| {
        let statements = txn.open_table(STATEMENTS).expect("the table is there");
        let releases = statements.iter().expect("it reads").map(|row| row.expect("it reads"));
        let mut releases = releases.filter(|(_, row)| row.value().0 == "release");
        let release = *releases.next().expect("one release").0.value();
        let mut signatures = txn.open_table(SIGNATURES).expect("the table is there");
        let all = (&release, &[0; 33])..=(&release, &[0xff; 33]);
        let key = *signatures
            .range(all)
            .expect("it reads")
            .next()
            .expect("one")
            .expect("reads")
            .0
            .value()
            .1;
        signatures.insert((&release, &key), &[7; 64]).expect("kept");
    });
    b.up();
    wait_until("b to meet a again", SOON, || b.peers().contains(&peer));
    let (said, code) = verify(&b, &[]);
    assert_eq!(code, 0, "signatures are looked at when that is asked: {said}");
    let (said, code) = verify(&b, &["--signatures"]);
    assert_eq!((code, &said["lost"]), (3, &json!({ "stmt": 1 })), "{said}");
    wait_until("the release to come again", EVENTUALLY, || {
        b.status()["index"]["statements"] == statements
    });
    b.wait_held("generic", ("tool", "1.0.0"), EVENTUALLY);
    assert_eq!(verify(&b, &["--signatures"]).1, 0);
}

/// The statements of a document that was exported, each verified with the signatures beside it, and
/// the document's heads.
fn opened(file: &Path) -> (Vec<StatementId>, Vec<String>) {
    let bytes = fs_err::read(file).expect("the document was written");
    let document = Automerge::load(&bytes).expect("automerge opens it");
    let beside = format!("{}.signatures.json", file.display());
    let beside = fs_err::read(beside).expect("the signatures were written");
    let beside: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(&beside).expect("they are JSON");
    let mut ids = Vec::new();
    for key in document.keys(ROOT).collect::<Vec<_>>() {
        let kind = key.split('/').next().expect("a key begins with the type").to_owned();
        for (value, _) in document.get_all(ROOT, &key).expect("a value") {
            let payload = value.as_bytes().expect("a payload is bytes");
            let statement = Statement::decode(&kind, payload).expect("it is a statement");
            let id = statement.id();
            let signed = &beside[&id.to_string()];
            let pair = |(key, signature): (&String, &String)| {
                let signature = crdt::digest::from_hex(signature).expect("64 bytes");
                (key.parse::<PublicKey>().expect("a key"), Signature(signature))
            };
            let signatures = signed.iter().map(pair).collect();
            Envelope { statement, signatures }.verify().expect("it is signed");
            ids.push(id);
        }
    }
    assert_eq!(ids.len(), beside.len(), "no signature without its statement");
    let mut heads: Vec<String> = document.get_heads().iter().map(ToString::to_string).collect();
    heads.sort();
    (ids, heads)
}

#[test]
fn an_exported_document_opens_elsewhere_verifies_and_comes_again_with_the_same_heads() {
    let world = World::new();
    let mut node = world.node("a");
    publish(&node, PATH, noise(1, 3_000));
    publish(&node, "/generic/tool/1.1.0/tool.bin", noise(2, 3_000));
    node.json(&["tag", "tool@1.1.0", "stable"]);
    node.json(&["yank", "tool@1.0.0"]);
    let folder = world.folder("exports");
    let export = |node: &Node, name: &str| {
        let file = folder.join(name);
        let said = node.json(&["export", "tool", "--automerge", file.to_str().expect("UTF-8")]);
        assert_eq!(said["document"], json!(file), "{said}");
        (opened(&file), file)
    };
    let ((ids, heads), file) = export(&node, "tool.am");
    assert!(ids.len() >= 4, "two releases, a tag, a yank: {ids:?}");
    assert_eq!(heads.len(), ids.len(), "no change depends on another");
    let to = world.folder("into");
    node.json(&["export", "tool", "--to", to.to_str().expect("UTF-8")]);
    let in_folder = fs_err::read(to.join("generic-tool.automerge")).expect("it was written");
    assert_eq!(in_folder, fs_err::read(file).expect("it was written"));

    assert!(node.terminate().success());
    damage(&node.home(), |txn| {
        let mut documents = txn.open_table(DOCUMENTS).expect("the table is there");
        assert!(documents.first().expect("it reads").is_some(), "one was kept");
        documents.retain(|_, _| false).expect("rows go");
    });
    node.up();
    assert_eq!(verify(&node, &[]).1, 0, "a document that is not there is none that differs");
    assert_eq!(export(&node, "again.am").0, (ids, heads));
}
