//! npm's doors before an upstream that refuses, lies, or sends what is no packument.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::Node;
use crate::npm_upstream::{SHORT, stub};
use crate::upstream::Raw;

/// Longer than anything here takes on the slowest machine.
const SOON: Duration = Duration::from_secs(60);
const TARBALL: &str = "/npm/pad/-/pad-1.0.0.tgz";

fn document(bytes: impl Into<Vec<u8>>) -> Raw {
    Raw::ok("application/json", bytes)
}

#[tokio::test]
async fn whatever_an_upstream_refuses_with_npm_is_told_at_once_and_in_words() {
    for status in [400, 401, 403, 404, 410, 418, 429, 451, 500, 502, 503, 504, 511] {
        let stub = stub();
        let node = Node::before(&stub).await;
        stub.switch(|s| s.status = Some(status));
        for path in ["/npm/pad", "/npm/@village%2fshifts", TARBALL, "/npm/pad/1.0.0"] {
            let answer = node.get(path).await;
            let absent = matches!(status, 404 | 410 | 451);
            let expected = if absent { 404 } else { 424 };
            assert_eq!(answer.status, expected, "{status} {path}: {}", answer.text());
            let words = answer.json()["error"].as_str().unwrap().to_owned();
            let named = absent || status == 511 || words.contains(&status.to_string());
            assert!(named && words.contains("hint:"), "{status} {path}: {words}");
        }
        stub.switch(|s| s.status = None);
        if !matches!(status, 404 | 410 | 451) {
            assert_eq!(node.get("/npm/pad").await.status, 200, "{status} is not remembered");
        }
    }
}

#[tokio::test]
async fn what_is_no_packument_is_told_and_neither_kept_nor_an_obstacle() {
    let deep = format!("{{\"name\":\"pad\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a mark of byte order", b"\xef\xbb\xbf{\"name\":\"pad\",\"versions\":{}}".to_vec()),
        ("deep", deep.into_bytes()),
        ("cut", b"{\"name\":\"pad\",\"versions\":{\"1.0.0\":{".to_vec()),
        ("another", b"{\"name\":\"daisy\",\"versions\":{}}".to_vec()),
        ("no name", b"{\"versions\":{}}".to_vec()),
        ("a name that is none", b"{\"name\":[\"pad\"],\"versions\":{}}".to_vec()),
        ("bytes that are no text", b"{\"name\":\"p\xffad\",\"versions\":{}}".to_vec()),
        ("two documents", b"{\"name\":\"pad\"}{\"name\":\"pad\"}".to_vec()),
        ("a list", b"[{\"name\":\"pad\"}]".to_vec()),
        ("zeros", vec![0; 4096]),
    ];
    for (what, body) in bodies {
        let stub = stub();
        let node = Node::before(&stub).await;
        stub.raw("/pad", document(body));
        for path in ["/npm/pad", TARBALL] {
            let answer = node.get(path).await;
            assert_eq!(answer.status, 424, "{what}: {}", answer.text());
            assert!(answer.text().contains("not usable"), "{what}: {}", answer.text());
        }
        stub.unraw("/pad");
        assert_eq!(node.get(TARBALL).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn odd_members_harm_no_other_version() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let good = stub.bytes("/pad", "application/json").unwrap();
    let mut odd: Value = serde_json::from_slice(&good).unwrap();
    let versions = odd["versions"].as_object_mut().unwrap();
    for (number, value) in [
        ("2.0.0", json!({})),
        ("2.0.1", json!({ "dist": null })),
        ("2.0.2", json!({ "dist": { "tarball": 7, "integrity": ["x"] } })),
        ("2.0.3", json!({ "dist": { "tarball": "file:///etc/passwd" } })),
        ("2.0.4", json!({ "dist": { "tarball": "gopher://packages.test/x.tgz" } })),
        ("2.0.5", json!("a text")),
        ("2.0.6", json!({ "dist": { "tarball": "http://[::bad/x.tgz" } })),
        ("2.0.7", json!({ "dist": { "tarball": "http://me:secret@127.0.0.1:1/x.tgz" } })),
        ("99999999999999999999.0.0", json!({})),
        ("__proto__", json!({ "x": 1 })),
        ("../../etc", json!({})),
    ] {
        versions.insert(number.to_owned(), value);
    }
    stub.raw("/pad", document(odd.to_string()));
    let npm = [("user-agent", "npm/11.4.0 node/v22.1.0 linux x64 workspaces/false")];
    let answer = node.ask("GET", "/npm/pad", &npm, "").await;
    assert_eq!(answer.json()["versions"], odd["versions"], "all is passed on");
    for number in 0..8 {
        let path = format!("/npm/pad/-/pad-2.0.{number}.tgz");
        let answer = node.get(&path).await;
        assert!(matches!(answer.status.as_u16(), 404 | 424), "{path}: {}", answer.text());
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    assert_eq!(node.get(TARBALL).await.status, 200);
    for (text, expected) in [("[]", 200), ("null", 200), ("{\"1.0.0\":[]}", 200)] {
        let stub = crate::npm_upstream::stub();
        let node = Node::before(&stub).await;
        stub.raw("/pad", document(format!("{{\"name\":\"pad\",\"versions\":{text}}}")));
        for accept in ["application/json", SHORT] {
            let answer = node.ask("GET", "/npm/pad", &[("accept", accept)], "").await;
            assert_eq!(answer.status, expected, "{text}: {}", answer.text());
            assert!(serde_json::from_slice::<Value>(&answer.body).is_ok(), "{}", answer.text());
        }
        assert_eq!(node.get(TARBALL).await.status, 404);
    }
}

#[tokio::test]
async fn a_range_of_a_document_is_the_whole_of_it() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let whole = node.get("/npm/pad").await;
    let part = node.ask("GET", "/npm/pad", &[("range", "bytes=2-5")], "").await;
    assert_eq!((part.status, part.body), (whole.status, whole.body));
}

#[tokio::test]
async fn a_thousand_askers_before_a_black_hole_are_answered_and_what_is_held_stays_served() {
    let stub = stub();
    let node = Node::before(&stub).await;
    assert_eq!(node.get("/npm/pad").await.status, 200);
    assert_eq!(node.get(TARBALL).await.status, 200);
    stub.switch(|s| s.black_hole = true);
    stub.forget_requests();
    let paths: Vec<String> = (0..1400).map(|n| format!("/npm/cold-{n}")).collect();
    let begun = Instant::now();
    let answers = join_all(paths.iter().map(|path| node.get(path)));
    let answers = tokio::time::timeout(SOON, answers).await.expect("nobody hangs");
    for answer in &answers {
        assert_eq!(answer.status, 424, "{}", answer.text());
    }
    assert!(stub.requests().len() <= 20, "few at a time: {}", stub.requests().len());
    println!("1400 refusals in {:?}", begun.elapsed());
    let begun = Instant::now();
    let held = node.get("/npm/pad").await;
    assert_eq!((held.status.as_u16(), held.header("x-griot-stale")), (200, "1"));
    assert_eq!(held.json()["versions"].as_object().unwrap().len(), 1, "what is held is offered");
    assert_eq!(node.get(TARBALL).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn fifty_thousand_versions_are_rendered_soon_and_hidden_soon() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let version = |n: usize| {
        let number = format!("{}.{}.{}-rc.{n}", n / 1000, n % 1000 / 10, n % 10);
        let file = format!("{}big/-/big-{number}.tgz", stub.url());
        let dist = json!({ "tarball": file, "shasum": "a".repeat(40) });
        (number.clone(), json!({ "name": "big", "version": number, "dist": dist }))
    };
    let versions: serde_json::Map<_, _> = (0..50_000).map(version).collect();
    let count = versions.len();
    let last = version(49_999).0;
    let big = json!({ "name": "big", "dist-tags": { "latest": last }, "versions": versions });
    stub.raw("/big", document(big.to_string()));
    let mut times = Vec::new();
    for (agent, accept) in
        [("npm/11.0.0", "application/json"), ("pnpm/10.0.0", SHORT), ("pnpm/10.0.0", SHORT)]
    {
        let begun = Instant::now();
        let headers = [("user-agent", agent), ("accept", accept)];
        let answer = node.ask("GET", "/npm/big", &headers, "").await;
        assert_eq!(answer.json()["versions"].as_object().unwrap().len(), count);
        times.push(begun.elapsed());
    }
    stub.down();
    let _ = node.get("/npm/opens-the-breaker").await;
    for _ in 0..3 {
        let begun = Instant::now();
        let answer = node.get("/npm/big").await;
        assert_eq!(answer.status, 424, "a document without versions would read as unpublished");
        assert!(answer.text().contains("all 50000 versions"), "{}", answer.text());
        times.push(begun.elapsed());
    }
    println!("{times:?}");
    assert!(times.iter().all(|time| *time < SOON), "{times:?}");
}

#[tokio::test]
async fn four_hundred_tarballs_at_once_come_whole_each_asked_for_once() {
    let stub = crate::upstream::Stub::start();
    let names: Vec<String> = (0..400).map(|n| format!("many-{n}")).collect();
    for name in &names {
        stub.publish(name, "1.0.0", |p| p);
    }
    let node = Node::before(&stub).await;
    let paths: Vec<String> = names.iter().map(|n| format!("/npm/{n}/-/{n}-1.0.0.tgz")).collect();
    // Each by two clients, one of which hangs up.
    for path in &paths {
        let asked = node.get(path);
        futures::pin_mut!(asked);
        assert!(futures::poll!(&mut asked).is_pending());
    }
    let answers = join_all(paths.iter().map(|path| node.get(path)));
    let answers = tokio::time::timeout(SOON, answers).await.expect("nobody hangs");
    for (answer, path) in answers.iter().zip(&paths) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let truth = stub.bytes(path.strip_prefix("/npm").unwrap(), "*/*").unwrap();
        assert_eq!(answer.body, truth);
    }
    let files = stub.count(".tgz");
    assert_eq!(files, 400, "one flight a file");
}
