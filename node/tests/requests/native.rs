//! The native API: one upload, and reading.

use serde_json::{Value, json};

use crate::npm::{publish_body, tarball};
use crate::{Answer, Node};

fn multipart(metadata: Option<Value>, filename: &str, file: &[u8], file_first: bool) -> Vec<u8> {
    let mut parts = Vec::new();
    if let Some(metadata) = metadata {
        parts.push(
            format!(
                "--B\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n"
            )
            .into_bytes(),
        );
    }
    let head = format!(
        "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\r\n"
    );
    parts.push([head.as_bytes(), file, b"\r\n"].concat());
    if file_first {
        parts.reverse();
    }
    parts.push(b"--B--\r\n".to_vec());
    parts.concat()
}

async fn native(node: &Node, body: Vec<u8>) -> Answer {
    let headers = [
        ("authorization", "Bearer admin-secret"),
        ("content-type", "multipart/form-data; boundary=B"),
    ];
    node.ask("POST", "/api/packages/publish", &headers, body).await
}

#[tokio::test]
async fn the_native_publish_recognises_an_archive() {
    let node = Node::start().await;
    let bytes = tarball("@acme/demo", "1.0.0", "x");
    let answer = native(&node, multipart(None, "whatever.tgz", &bytes, false)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let data = &answer.json()["data"];
    assert_eq!(data["format"], "npm");
    assert_eq!((&data["name"], &data["version"]), (&json!("@acme/demo"), &json!("1.0.0")));
    assert_eq!(data["files"][0]["filename"], "demo-1.0.0.tgz");
    let body = publish_body("@acme/demo", "1.0.0", &bytes);
    let served = node.get("/npm/@acme%2fdemo").await.json();
    let integrity = &served["versions"]["1.0.0"]["dist"]["integrity"];
    assert_eq!(*integrity, body["versions"]["1.0.0"]["dist"]["integrity"]);

    let again = native(&node, multipart(None, "other.bin", &bytes, false)).await;
    assert_eq!(again.status, 200, "the same bytes, staged for another format: {}", again.text());
    let other = tarball("@acme/demo", "1.0.0", "y");
    let other =
        native(&node, multipart(Some(json!({ "format": "npm" })), "x.tgz", &other, true)).await;
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(other.json()["ok"], false);
    assert_eq!(other.json()["error"]["code"], "conflict");
}

#[tokio::test]
async fn the_native_publish_takes_any_file_under_a_name() {
    let node = Node::start().await;
    let metadata = json!({
        "format": "generic", "name": "ns/app", "version": "1.0", "tags": ["latest"],
        "claimed_time": 1_700_000_000, "unknown": true,
    });
    for (file_first, status) in [(false, 201), (true, 200)] {
        let body = multipart(Some(metadata.clone()), "app.tar.gz", b"bytes", file_first);
        let answer = native(&node, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(node.put("/generic/ns%2Fapp/1.0/app.tar.gz", "bytes").await.status, 200);
    for path in ["ns/app", "ns%2Fapp"] {
        let info = node.get(&format!("/api/packages/{path}")).await;
        assert_eq!(info.json()["data"]["versions"][0]["state"], "ok", "{}", info.text());
        let file = node.get(&format!("/api/packages/{path}/1.0/download")).await;
        assert_eq!(file.text(), "bytes");
        let found = node.get(&format!("/api/packages/{path}/resolve?range=*")).await;
        let data = &found.json()["data"];
        assert_eq!(data["version"], "1.0", "{}", found.text());
        assert_eq!(data["artifacts"][0]["filename"], "app.tar.gz");
    }
    let found = node.get("/api/search?q=APP&limit=5").await.json();
    assert_eq!(found["data"]["total"], 1);
    assert_eq!(found["data"]["results"][0]["name"], "ns/app");
    let digest = blake3::hash(b"bytes").to_hex().to_string();
    let blob = node.get(&format!("/api/blobs/{digest}")).await;
    assert_eq!(
        (blob.text().as_str(), blob.header("etag")),
        ("bytes", format!("\"{digest}\"").as_str())
    );
    assert_eq!(node.get(&format!("/api/blobs/{}", "0".repeat(64))).await.status, 404);
    assert_eq!(node.get("/api/blobs/xyz").await.status, 400);
    assert_eq!(node.get("/api/packages/nothing").await.json()["ok"], false);
}

#[tokio::test]
async fn bad_native_requests_say_what_is_wrong() {
    let node = Node::start().await;
    let admin = ("authorization", "Bearer admin-secret");
    let form = ("content-type", "multipart/form-data; boundary=B");
    let generic = json!({ "format": "generic", "name": "a", "version": "1" });
    let whole = multipart(Some(generic.clone()), "f", b"bytes", false);
    let ask = async |headers: &[(&str, &str)], body: Vec<u8>| {
        let answer = node.ask("POST", "/api/packages/publish", headers, body).await;
        assert_eq!(answer.json()["ok"], false);
        assert!(answer.json()["error"]["message"].is_string());
        answer.status.as_u16()
    };
    assert_eq!(ask(&[form], whole.clone()).await, 401);
    assert_eq!(ask(&[form, ("authorization", "Bearer no")], whole.clone()).await, 401);
    assert_eq!(ask(&[admin], whole.clone()).await, 415);
    assert_eq!(ask(&[admin, form], whole[..whole.len() - 20].to_vec()).await, 400);
    assert_eq!(ask(&[admin, form], b"--B--\r\n".to_vec()).await, 400);
    let unknown = json!({ "format": "nope", "name": "a", "version": "1" });
    assert_eq!(ask(&[admin, form], multipart(Some(unknown), "f", b"x", false)).await, 400);
    assert_eq!(ask(&[admin, form], multipart(None, "f", b"x", false)).await, 400);
    let escape = json!({ "format": "generic", "name": "a", "version": "1", "filename": "../x" });
    assert_eq!(ask(&[admin, form], multipart(Some(escape), "f", b"x", false)).await, 400);
    let large = json!({ "format": "generic", "pad": "x".repeat(70_000) });
    assert_eq!(ask(&[admin, form], multipart(Some(large), "f", b"x", false)).await, 413);
    assert_eq!(node.ask("DELETE", "/api/packages/a", &[admin], "").await.status, 405);
    assert_eq!(node.get("/api/nothing").await.status, 404);
    assert_eq!(node.get("/generic/a/1/f").await.status, 404, "nothing was stored");
}
