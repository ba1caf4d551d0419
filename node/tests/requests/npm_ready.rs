//! Packuments ready to be sent: never older than the last change, in the form that is asked for.

use std::io::Read as _;

use crdt::PackageId;
use crdt::statement::RouteSource;
use node::registry::Door;
use node::store::Slot;
use serde_json::{Value, json};

use crate::npm::publish;
use crate::npm_upstream::stub;
use crate::{Answer, Node};

const PATH: &str = "/npm/demo";

async fn packed(node: &Node, path: &str, encoding: &str) -> Answer {
    node.ask("GET", path, &[("accept-encoding", encoding)], "").await
}

/// Asks twice, so that the second answer is the one that was kept; both must be the same.
async fn twice(node: &Node, path: &str) -> Answer {
    let (first, second) = (node.get(path).await, node.get(path).await);
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    assert_eq!(first.header("etag"), second.header("etag"));
    second
}

fn unpacked(answer: &Answer) -> Value {
    let mut text = Vec::new();
    match answer.header("content-encoding") {
        "gzip" => drop(flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut text)),
        "zstd" => text = zstd::stream::decode_all(&*answer.body).unwrap(),
        _ => text.clone_from(&answer.body),
    }
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn every_change_is_in_the_very_next_answer() {
    let node = Node::start().await;
    assert_eq!(node.get(PATH).await.status, 404);
    publish(&node, "demo", "1.0.0").await;
    let mut before = twice(&node, PATH).await.header("etag").to_string();
    let mut changed = async |what: &str| {
        let now = twice(&node, PATH).await;
        assert_ne!(now.header("etag").to_string(), before, "{what}");
        before = now.header("etag").to_string();
        now.json()
    };

    publish(&node, "demo", "1.1.0").await;
    assert!(changed("publish").await["versions"]["1.1.0"].is_object());
    let mut document = node.get("/npm/demo?write=true").await.json();
    document["versions"]["1.1.0"]["deprecated"] = json!("use 2");
    assert_eq!(node.put(PATH, document.to_string()).await.status, 200);
    assert_eq!(changed("yank").await["versions"]["1.1.0"]["deprecated"], "use 2");
    let tag = node.put("/npm/-/package/demo/dist-tags/old", "\"1.0.0\"").await;
    assert_eq!(tag.status, 201, "{}", tag.text());
    assert_eq!(changed("tag").await["dist-tags"]["old"], "1.0.0");
}

#[tokio::test]
async fn a_route_an_unfollow_and_a_lost_pin_are_in_the_very_next_answer() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    publish(&node, "other", "1.0.0").await;
    assert_eq!(twice(&node, PATH).await.status, 200);
    let registry = &node.front.registry;
    registry.route_add("npm", "demo", RouteSource::Deny).await.unwrap();
    assert_eq!(twice(&node, PATH).await.status, 403);
    assert!(registry.route_remove("npm", "demo").await.unwrap());
    assert_eq!(twice(&node, PATH).await.status, 200);

    // What is withdrawn is offered no more, unless it is pinned.
    let (store, realm) = (registry.store(), registry.own_realm());
    let package = PackageId::new("npm", "other");
    let other = twice(&node, "/npm/other").await;
    let slot = Slot {
        realm,
        package: package.clone(),
        version: "1.0.0".to_owned(),
        file: "other-1.0.0.tgz".to_owned(),
    };
    let generation = store.generation(&package);
    assert!(store.unpin_content(&slot).await.unwrap());
    assert!(!store.is_current(&generation), "a look-up after it sees it");
    let metadata = registry.metadata(Door::Virtual, &package).await.unwrap();
    let rev = format!("1-{}", metadata.revision);
    assert_eq!(twice(&node, "/npm/other").await.json()["_rev"], rev.as_str());
    assert_ne!(other.json()["_rev"], rev.as_str());

    assert!(store.unfollow(&realm).await.unwrap());
    assert_ne!(twice(&node, PATH).await.status, 200);
}

#[tokio::test]
async fn an_upstreams_newer_document_is_in_the_next_answer_after_it_came() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let first = twice(&node, "/npm/pad").await;
    assert!(first.json()["versions"]["1.2.0"].is_null());
    stub.publish("pad", "1.2.0", |p| p);
    let kept = twice(&node, "/npm/pad").await;
    assert_eq!(kept.header("etag"), first.header("etag"), "fresh for some minutes");
    // As if those were over.
    let store = node.front.registry.store();
    for mut held in store.cached_documents("npm").unwrap() {
        held.checked_at = 1;
        store.put_cached_document(held).await.unwrap();
    }
    let refreshed = node.ask("GET", "/npm/pad", &[("cache-control", "no-cache")], "").await;
    assert!(refreshed.json()["versions"]["1.2.0"].is_object());
    let after = twice(&node, "/npm/pad").await;
    assert_eq!(after.header("etag"), refreshed.header("etag"));
    assert_ne!(after.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn packed_forms_hold_the_same_document_of_a_realm_and_of_an_upstream() {
    let stub = stub();
    let node = Node::before(&stub).await;
    publish(&node, "@acme/demo", "1.0.0").await;
    for path in ["/npm/@acme%2fdemo", "/npm/pad"] {
        let plain = node.get(path).await;
        for encoding in ["gzip", "zstd"] {
            let answer = packed(&node, path, encoding).await;
            assert_eq!(answer.header("content-encoding"), encoding, "{path}");
            assert_eq!(unpacked(&answer), plain.json(), "{path} {encoding}");
            let length = answer.header("content-length").to_string();
            assert_eq!(length, answer.body.len().to_string());
            assert!(answer.header("vary").contains("Accept-Encoding"));
            let etag = answer.header("etag").to_string();
            assert_ne!(etag, plain.header("etag").to_string());
            let headers = [("accept-encoding", encoding), ("if-none-match", etag.as_str())];
            let known = node.ask("GET", path, &headers, "").await;
            assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
            assert_eq!(known.header("etag").to_string(), etag);
        }
    }
}

#[tokio::test]
async fn names_that_the_node_does_not_have_take_no_memory() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    node.get(PATH).await;
    let before = node.front.ready.bytes();
    assert!(before > 0);
    for number in 0..200 {
        assert_eq!(node.get(&format!("/npm/unknown-{number}")).await.status, 404);
    }
    assert_eq!(node.front.ready.bytes(), before);
}

#[tokio::test]
async fn those_who_ask_first_at_once_get_the_same_bytes() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let asked = (0..64).map(|_| node.get(PATH));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let bytes = node.front.ready.bytes();
    node.get(PATH).await;
    assert_eq!(node.front.ready.bytes(), bytes, "it is held once");
}
