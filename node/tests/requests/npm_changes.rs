//! What a change costs: the document that it concerns is another one at once, no other is looked
//! at, and a restart makes nothing again.

use crdt::statement::{Root, RouteSource};
use crdt::{Body, Digest, PackageId, SecretKey, Statement, Verified};
use node::http::ready::Counts;
use serde_json::json;

use crate::npm::publish;
use crate::npm_upstream::stub;
use crate::{Answer, Node, genesis};

/// Documents of one package, all kept ready.
const DEMO: [&str; 4] =
    ["/npm/demo", "/npm/demo/1.0.0", "/npm/demo/latest", "/npm/-/package/demo/dist-tags"];
const PAD: [&str; 3] = ["/npm/pad", "/npm/pad/1.1.0", "/npm/-/package/pad/dist-tags"];

async fn all(node: &Node, paths: &[&str]) -> Vec<Answer> {
    let mut found = Vec::new();
    for path in paths {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        found.push(answer);
    }
    found
}

fn counts(node: &Node) -> Counts {
    node.front.ready.counts()
}

/// Every path is answered by what is there already, and by the same bytes.
async fn unchanged(node: &Node, paths: &[&str], before: &[Answer], what: &str) {
    let looks = counts(node).looks;
    let now = all(node, paths).await;
    assert_eq!(counts(node).looks, looks, "{what}: nothing was looked up");
    let same = now.iter().zip(before).all(|(now, before)| now.body == before.body);
    assert!(same, "{what}");
}

#[tokio::test]
async fn a_hundred_publishes_of_another_package_cost_a_document_no_look() {
    let stub = stub();
    let node = Node::before(&stub).await;
    publish(&node, "demo", "1.0.0").await;
    // The tags are those of the short document, and it is another one of the package.
    all(&node, &PAD).await;
    let (demo, pad) = (all(&node, &DEMO).await, all(&node, &PAD).await);
    for number in 0..100 {
        publish(&node, "other", &format!("1.{number}.0")).await;
        unchanged(&node, &DEMO, &demo, "a realm's").await;
        unchanged(&node, &PAD, &pad, "an upstream's").await;
    }
    let tag = node.put("/npm/-/package/other/dist-tags/old", "\"1.0.0\"").await;
    assert_eq!(tag.status, 201);
    assert_eq!(node.get("/npm/@village%2fshifts").await.status, 200);
    assert_eq!(node.get("/npm/other/-/other-1.1.0.tgz").await.status, 200);
    unchanged(&node, &DEMO, &demo, "after a tag, a first document and a download").await;
    unchanged(&node, &PAD, &pad, "after a tag, a first document and a download").await;
}

#[tokio::test]
async fn every_change_of_a_package_is_at_once_in_all_its_documents() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    assert_eq!(all(&node, &DEMO).await[2].json()["version"], "1.0.0");
    publish(&node, "demo", "1.1.0").await;
    let now = all(&node, &DEMO).await;
    assert_eq!(now[2].json()["version"], "1.1.0");
    assert_eq!(now[3].json(), json!({ "latest": "1.1.0" }));

    let mut document = node.get("/npm/demo?write=true").await.json();
    document["versions"]["1.0.0"]["deprecated"] = json!("old");
    assert_eq!(node.put("/npm/demo", document.to_string()).await.status, 200);
    assert_eq!(all(&node, &DEMO).await[1].json()["deprecated"], "old");
    document["versions"]["1.0.0"]["deprecated"] = json!("");
    assert_eq!(node.put("/npm/demo", document.to_string()).await.status, 200);
    assert!(all(&node, &DEMO).await[1].json()["deprecated"].is_null());

    assert_eq!(node.put("/npm/-/package/demo/dist-tags/latest", "\"1.0.0\"").await.status, 201);
    let now = all(&node, &DEMO).await;
    assert_eq!(
        (&now[2].json()["version"], &now[3].json()["latest"]),
        (&json!("1.0.0"), &json!("1.0.0"))
    );

    node.front.registry.route_add("npm", "demo", RouteSource::Deny).await.unwrap();
    for path in DEMO {
        assert_eq!(node.get(path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn files_that_go_and_come_back_are_at_once_in_the_documents() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let newer = publish(&node, "demo", "1.1.0").await;
    all(&node, &DEMO).await;
    let store = node.front.registry.store();
    assert!(store.blob(&Digest::of(&newer)).unwrap().is_some());
    store.remove_blob(&Digest::of(&newer)).await.unwrap();
    let now = all(&node, &DEMO).await;
    assert!(now[0].json()["versions"]["1.1.0"].is_null());
    assert_eq!(now[2].json()["version"], "1.0.0");
    assert_eq!(now[0].header("x-griot-hidden-versions"), "1");
    // Peers may have it at any time, so that every request looks.
    let looks = counts(&node).looks;
    all(&node, &DEMO).await;
    assert_eq!(counts(&node).looks, looks + DEMO.len() as u64);
    // It comes without a word about the package, as from a peer.
    let mut writer = store.writer(node::store::Hashes::default(), u64::MAX).await.unwrap();
    writer.write(newer.into()).await.unwrap();
    store.commit(writer.finish().await.unwrap()).await.unwrap();
    let now = all(&node, &DEMO).await;
    assert_eq!(now[2].json()["version"], "1.1.0");
    assert_eq!(now[0].header("x-griot-hidden-versions"), "");
}

#[tokio::test]
async fn a_publisher_who_loses_the_right_is_at_once_out_of_all_documents() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let before = all(&node, &DEMO).await;
    let registry = &node.front.registry;
    let (root, publisher) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let first = genesis(&root, &publisher);
    let Body::Root(content) = first.statement().body() else { panic!("a genesis is a root") };
    let next = Root {
        epoch: 1,
        prev: Some(first.statement().id()),
        grants: Vec::new(),
        ..content.clone()
    };
    let next = Statement::new(registry.own_realm(), None, Body::Root(next)).unwrap();
    assert_eq!(registry.admit(vec![Verified::sign(next, &[&root])]).await.unwrap(), 1);
    for (path, before) in DEMO.iter().zip(before) {
        let now = node.get(path).await;
        let same = now.status == before.status && now.body == before.body;
        // By its number a pinned file is still there.
        assert!(!same || *path == DEMO[1], "{path}: {}", now.text());
    }
    assert!(!node.get(DEMO[0]).await.text().contains("demo-1.0.0.tgz"));
}

#[tokio::test]
async fn a_newer_document_of_an_upstream_is_at_once_in_all_that_is_made_of_it() {
    let stub = stub();
    let node = Node::before(&stub).await;
    all(&node, &PAD).await;
    let before = all(&node, &PAD).await;
    stub.publish("pad", "1.2.0", |p| p);
    unchanged(&node, &PAD, &before, "fresh for some minutes").await;
    let store = node.front.registry.store();
    for mut held in store.cached_documents("npm").unwrap() {
        held.checked_at = 1;
        store.put_cached_document(held).await.unwrap();
    }
    let no_cache = [("cache-control", "no-cache")];
    for path in [PAD[0], PAD[2]] {
        assert_eq!(node.ask("GET", path, &no_cache, "").await.status, 200);
    }
    let now = all(&node, &PAD).await;
    assert!(now[0].json()["versions"]["1.2.0"].is_object());
    assert_eq!(now[2].json()["latest"], "1.2.0");
    assert_eq!(node.get("/npm/pad/latest").await.json()["version"], "1.2.0");
}

#[tokio::test]
async fn an_upstream_that_goes_and_comes_back_is_at_once_in_the_documents() {
    let stub = stub();
    let node = Node::before(&stub).await;
    assert_eq!(node.get("/npm/pad/-/pad-1.0.0.tgz").await.status, 200);
    let whole = all(&node, &PAD).await;
    stub.down();
    assert_eq!(node.get("/npm/unknown").await.status, 424);
    let now = all(&node, &PAD).await;
    assert_eq!(now[0].header("x-griot-stale"), "1");
    assert!(now[0].json()["versions"]["1.1.0"].is_null());
    assert_eq!(now[2].json(), json!({ "latest": "1.0.0" }));
    let looks = counts(&node).looks;
    all(&node, &PAD).await;
    assert!(counts(&node).looks > looks, "what is to be had may change without a word");
    drop(whole);
}

/// Asks for a package in the three forms, and says what they were.
async fn forms(node: &Node, path: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for coding in ["identity", "gzip", "zstd"] {
        let answer = node.ask("GET", path, &[("accept-encoding", coding)], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        found.push((answer.header("etag").to_owned(), answer.body));
    }
    found
}

#[tokio::test]
async fn a_restart_renders_and_packs_no_document_again() {
    let stub = stub();
    for minor in 2..60 {
        stub.publish("pad", &format!("1.{minor}.0"), |p| p.dependency("left-pad", "^1.0.0"));
    }
    let node = Node::before(&stub).await;
    for minor in 0..40 {
        publish(&node, "demo", &format!("1.{minor}.0")).await;
    }
    let paths = ["/npm/demo", "/npm/pad"];
    // These are the upstream's bytes from the first to the last, so that only its forms are stored.
    let verbatim = [("x-griot-urls", "canonical"), ("accept-encoding", "zstd")];
    let mut before = Vec::new();
    for path in paths {
        before.push(forms(&node, path).await);
    }
    let theirs = node.ask("GET", "/npm/pad", &verbatim, "").await;
    assert!(before.iter().all(|forms| forms[0].1.len() > 16 * 1024), "worth to be stored");
    node.front.ready.settled().await;

    let node = node.restart(false).await;
    // So that the upstream is known to answer.
    assert_eq!(node.get("/npm/@village%2fshifts").await.status, 200);
    let start = counts(&node);
    let mut after = Vec::new();
    for path in paths {
        after.push(forms(&node, path).await);
    }
    assert!(after == before, "the same bytes and validators");
    let again = node.ask("GET", "/npm/pad", &verbatim, "").await;
    assert!(again.body == theirs.body && again.header("etag") == theirs.header("etag"));
    let now = counts(&node);
    assert_eq!((now.rendered, now.packed), (start.rendered, start.packed), "{now:?}");
    assert_eq!(now.read_back, start.read_back + 3);

    // What has changed since is not answered from there.
    publish(&node, "demo", "2.0.0").await;
    assert!(node.get("/npm/demo").await.json()["versions"]["2.0.0"].is_object());
    let node = node.restart(false).await;
    assert!(node.get("/npm/demo").await.json()["versions"]["2.0.0"].is_object());
    let store = node.front.registry.store();
    let package = PackageId::new("npm", "demo");
    assert!(store.package(&node.front.registry.own_realm(), &package).unwrap().is_some());
}
