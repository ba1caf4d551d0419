//! What npm's clients get while the upstream is away or misbehaves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Node;
use crate::npm::{publish, publish_body, tarball};
use crate::npm_upstream::{SHORT, stub};

#[tokio::test]
async fn without_the_upstream_only_what_is_held_is_offered_and_anything_held_is_served() {
    let stub = stub();
    let node = Node::before(&stub).await;
    assert_eq!(node.get("/npm/pad").await.json()["dist-tags"]["latest"], "1.1.0");
    let bytes = node.get("/npm/pad/-/pad-1.0.0.tgz").await.body;
    stub.down();
    let miss = node.get("/npm/unknown").await;
    assert_eq!(miss.status, 424, "neither 404, which is remembered, nor 5xx, which hangs");
    assert!(miss.text().contains("unreachable"), "{}", miss.text());

    let full = node.get("/npm/pad").await;
    assert_eq!((full.header("x-griot-stale"), full.header("x-griot-hidden-versions")), ("1", "1"));
    let document = full.json();
    assert_eq!(document["dist-tags"], json!({ "latest": "1.0.0" }));
    assert_eq!(document["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.0.0"]);
    assert!(document["time"]["1.1.0"].is_null() && document["time"]["modified"].is_string());
    let short = node.ask("GET", "/npm/pad", &[("accept", SHORT)], "").await.json();
    assert!(short["versions"]["1.1.0"].is_null() && short["versions"]["1.0.0"].is_object());
    let exact = node.get("/npm/pad/1.1.0").await;
    assert_eq!(exact.json()["version"], "1.1.0", "what is asked for exactly is not hidden");
    assert!(node.get("/npm/pad/-/pad-1.0.0.tgz").await.body == bytes);
    assert_eq!(node.get("/npm/pad/-/pad-1.1.0.tgz").await.status, 424);
    assert_eq!(node.get("/npm/-/package/pad/dist-tags").await.json(), document["dist-tags"]);
    let found = node.get("/npm/-/v1/search?text=pad").await.json();
    assert_eq!(found["objects"][0]["package"]["name"], "pad", "what is held is found");
}

#[tokio::test]
async fn a_packument_of_which_no_tarball_is_held_is_424_and_not_empty() {
    let stub = stub();
    let node = Node::before(&stub).await;
    assert_eq!(node.get("/npm/pad").await.status, 200);
    stub.down();
    assert_eq!(node.get("/npm/unknown").await.status, 424);
    let hidden = node.get("/npm/pad").await;
    assert_eq!(hidden.status, 424, "{}", hidden.text());
    assert!(hidden.text().contains("cannot be had now"));
}

#[tokio::test]
async fn npms_check_for_its_own_update_is_no_want() {
    let stub = stub();
    let node = Node::before(&stub).await;
    stub.down();
    let agent = [("user-agent", "npm/11.4.0 node/v22.1.0 linux x64")];
    assert_eq!(node.ask("GET", "/npm/npm", &agent, "").await.status, 424);
    let agent = [("user-agent", "pnpm/10.1.0 npm/? node/v22.1.0")];
    assert_eq!(node.ask("GET", "/npm/pnpm", &agent, "").await.status, 424);
    assert_eq!(node.front.registry.wants().unwrap().len(), 0);
}

#[tokio::test]
async fn an_upstream_that_answers_with_errors_is_not_taken_for_one_that_is_away() {
    let stub = stub();
    let node = Node::before(&stub).await;
    for status in [401, 429, 500, 503] {
        stub.switch(|s| s.status = Some(status));
        let answer = node.get(&format!("/npm/some-{status}")).await;
        assert!(answer.status.is_client_error(), "{status}: {}", answer.status);
        assert_ne!(answer.status, 404, "{status} does not say that there is no such package");
        stub.switch(|s| s.status = None);
        let well = node.ask("GET", "/npm/pad", &[("cache-control", "no-cache")], "").await;
        assert_eq!((well.status.as_u16(), well.header("x-griot-stale")), (200, ""), "{status}");
    }
}

#[tokio::test]
async fn a_silent_upstream_is_an_honest_miss_in_time() {
    let stub = stub();
    let node = Node::before(&stub).await;
    stub.switch(|s| s.black_hole = true);
    let asked = Instant::now();
    let miss = node.get("/npm/unknown").await;
    assert_eq!(miss.status, 424, "neither 404 nor 503: {}", miss.text());
    assert!(asked.elapsed() < Duration::from_secs(20));
    publish(&node, "mine", "1.0.0").await;
    assert_eq!(node.get("/npm/mine").await.status, 200, "what is hosted needs no upstream");
}

#[tokio::test]
async fn a_later_publish_never_empties_the_packument() {
    let node = Node::start().await;
    for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
        publish(&node, "steady", version).await;
    }
    let bad = publish_body("steady", "3.0.0", &tarball("steady", "9.9.9", "x")).to_string();
    assert_eq!(node.put("/npm/steady", bad).await.status, 400);
    let document = node.get("/npm/steady").await.json();
    assert_eq!(document["versions"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn a_first_publish_under_another_tag_still_has_a_latest_and_prereleases_come_last() {
    let node = Node::start().await;
    for (version, tag) in [("2.0.0-rc.1", "next"), ("1.0.0", "beta"), ("1.1.0-a", "beta")] {
        let mut body = publish_body("tagged", version, &tarball("tagged", version, "x"));
        body["dist-tags"] = json!({ tag: version });
        assert_eq!(node.put("/npm/tagged", body.to_string()).await.status, 201);
    }
    let tags = node.get("/npm/tagged").await.json()["dist-tags"].clone();
    assert_eq!(tags, json!({ "latest": "1.0.0", "next": "2.0.0-rc.1", "beta": "1.1.0-a" }));
}
