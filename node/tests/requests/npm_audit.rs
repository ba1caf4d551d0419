//! `npm audit` with the upstream in reach and without, and what must never leave this node.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::npm::publish;
use crate::npm_upstream::stub;
use crate::upstream::{Raw, Stub};
use crate::{Answer, Node};
use node::registry::UpstreamChoice;

const BULK: &str = "/npm/-/npm/v1/security/advisories/bulk";

async fn audit(node: &Node, path: &str, asked: &Value) -> Answer {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(asked.to_string().as_bytes()).unwrap();
    let headers = [("content-encoding", "gzip"), ("content-type", "application/json")];
    node.ask("POST", path, &headers, gzip.finish().unwrap()).await
}

fn advised() -> Stub {
    let stub = stub();
    let advisory = json!({
        "id": 7, "title": "it pads", "severity": "high", "vulnerable_versions": "<1.1.0",
        "url": "http://packages.test/7",
    });
    stub.advise("pad", advisory);
    stub
}

#[tokio::test]
async fn an_audit_is_answered_by_the_upstream_and_from_memory_when_it_is_away() {
    let stub = advised();
    let node = Node::before(&stub).await;
    let asked = json!({ "pad": ["1.0.0", "1.1.0"], "@village/shifts": ["2.0.0"] });
    let said = audit(&node, BULK, &asked).await;
    assert_eq!(said.status, 200, "{}", said.text());
    assert_eq!(said.json()["pad"][0]["id"], 7);
    stub.down();
    let again = audit(&node, BULK, &asked).await;
    assert_eq!(again.json()["pad"][0]["title"], "it pads", "{}", again.text());
    let part = audit(&node, BULK, &json!({ "pad": ["1.1.0"] })).await;
    assert_eq!((part.status.as_u16(), part.json()), (200, json!({})), "known to be without");
    for unknown in [json!({ "pad": ["1.0.0", "3.0.0"] }), json!({ "never-asked": ["1.0.0"] })] {
        let answer = audit(&node, BULK, &unknown).await;
        assert_eq!(answer.status, 424, "an empty report would be a lie");
        assert!(answer.text().contains("nothing is known of"), "{}", answer.text());
    }
}

#[tokio::test]
async fn names_of_realms_do_not_leave_with_an_audit() {
    let stub = advised();
    let node = Node::before(&stub).await;
    publish(&node, "secret-plan", "1.0.0").await;
    let asked = json!({ "secret-plan": ["1.0.0"], "pad": ["1.0.0"] });
    assert_eq!(audit(&node, BULK, &asked).await.json()["pad"][0]["id"], 7);
    assert!(!sent(&stub).contains("secret-plan"), "{}", sent(&stub));
    assert!(sent(&stub).contains("pad"));
    let alone = audit(&node, BULK, &json!({ "secret-plan": ["1.0.0"] })).await;
    assert_eq!(alone.json(), json!({}));

    let report = json!({ "actions": [], "advisories": {}, "metadata": {} });
    for path in ["audits", "audits/quick"] {
        let below = format!("/-/npm/v1/security/{path}");
        stub.raw(&below, Raw::ok("application/json", report.to_string()));
        let tree = json!({
            "name": "private-project", "version": "1.0.0", "install": [],
            "requires": { "pad": "^1", "secret-plan": "^1" },
            "dependencies": {
                ".": { "dependencies": { "secret-plan": { "version": "1.0.0" } } },
                "pad": { "version": "1.0.0", "requires": { "secret-plan": "1" } },
                "secret-plan": { "version": "1.0.0" },
            },
        });
        let said = audit(&node, &format!("/npm{below}"), &tree).await;
        assert_eq!(said.json(), report, "{}", said.text());
        let sent = sent(&stub);
        assert!(!sent.contains("secret-plan") && !sent.contains("private-project"), "{sent}");
    }
    stub.down();
    let away = audit(&node, "/npm/-/npm/v1/security/audits/quick", &json!({ "a": 1 })).await;
    assert_eq!(away.status, 424, "{}", away.text());
}

#[tokio::test]
async fn red_21_names_of_another_upstream_leave_neither_with_an_audit_nor_with_a_search() {
    let (stub, corporate) = (advised(), stub());
    let node = Node::before(&stub).await;
    let choice = UpstreamChoice {
        format: "npm".to_owned(),
        url: corporate.url(),
        pattern: Some("@corp/*".to_owned()),
        credential: Some("a-token".to_owned()),
        ..UpstreamChoice::default()
    };
    node.front.registry.upstream_add(choice).await.unwrap();
    publish(&node, "secret-plan", "1.0.0").await;
    let asked = json!({ "@corp/payroll": ["1.0.0"], "pad": ["1.0.0"] });
    assert_eq!(audit(&node, BULK, &asked).await.json()["pad"][0]["id"], 7);
    assert!(!sent(&stub).contains("corp"), "{}", sent(&stub));
    for text in ["@corp/payroll", "%40corp", "scope:corp", "secret-plan", "pad+secret-plan"] {
        let found = node.get(&format!("/npm/-/v1/search?text={text}&size=20")).await;
        assert_eq!(found.status, 200, "{text}: {}", found.text());
    }
    let seen: Vec<_> = stub.requests().into_iter().map(|seen| seen.path).collect();
    assert!(!seen.iter().any(|path| path.contains("search")), "{seen:?}");
    node.get("/npm/-/v1/search?text=pad&size=20").await;
    assert!(stub.requests().iter().any(|seen| seen.path.contains("search")));
}

#[tokio::test]
async fn what_is_no_audit_is_refused_in_words() {
    let node = Node::start().await;
    for (path, body, status) in [
        (BULK, "[]", 400),
        (BULK, "not json", 400),
        ("/npm/-/npm/v1/security/audits", "7", 400),
        ("/npm/-/npm/v1/security/else", "{}", 404),
    ] {
        let answer = node.ask("POST", path, &[], body).await;
        assert_eq!(answer.status, status, "{path} {body}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(node.get(BULK).await.status, 405);
    let unknown = audit(&node, BULK, &json!({ "pad": ["1.0.0"] })).await;
    assert_eq!(unknown.status, 424, "no upstream is configured");
}

/// The bodies that the stub was sent so far.
fn sent(stub: &Stub) -> String {
    let posts = stub.requests().into_iter().filter(|seen| seen.method == "POST");
    posts.map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect()
}
