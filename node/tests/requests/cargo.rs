//! What cargo asks, in the shape that it was seen to use, and what it never would.

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use node::registry::Scope;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::{ADMIN, Answer, Node};

const NEW: &str = "/cargo/~hosted/api/v1/crates/new";
const INDEX: &str = "/cargo/~hosted/index/de/mo/demo";
/// The index that a made-up default registry has.
const DEFAULT: &str = "https://packages.test/index";
const MANIFEST: &str = "[package]\nname = \"Demo\"\nversion = \"1.0.0\"\n";

/// A `.crate` with these files below its folder.
fn archive(folder: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn demo() -> Vec<u8> {
    archive("Demo-1.0.0", &[("Cargo.toml", MANIFEST)])
}

fn document() -> Value {
    json!({
        "name": "Demo", "vers": "1.0.0", "deps": [], "features": {}, "authors": ["x"],
        "description": null, "readme": null, "keywords": [], "links": null, "rust_version": null,
    })
}

/// Both with their lengths before them.
fn framed(document: &[u8], archive: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [document, archive] {
        body.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
        body.extend_from_slice(part);
    }
    body
}

/// As cargo sends it: without a type, and with a token that has no scheme.
async fn send(node: &Node, body: impl Into<Body>) -> Answer {
    node.ask("PUT", NEW, &[("authorization", ADMIN)], body).await
}

async fn publish(node: &Node, document: &Value, archive: &[u8]) -> Answer {
    send(node, framed(document.to_string().as_bytes(), archive)).await
}

fn detail(answer: &Answer) -> String {
    answer.json()["errors"][0]["detail"].as_str().expect("cargo prints it").to_owned()
}

#[tokio::test]
async fn what_is_published_is_in_the_index_and_can_be_had_whole_and_in_parts() {
    let node = Node::start().await;
    assert_eq!(node.get(INDEX).await.status, 404);
    let bytes = demo();
    let answer = publish(&node, &document(), &bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let none = json!({ "invalid_categories": [], "invalid_badges": [], "other": [] });
    assert_eq!(answer.json()["warnings"], none);
    let again = publish(&node, &document(), &bytes).await;
    assert_eq!(again.status, 200);
    assert!(again.json()["warnings"]["other"][0].as_str().unwrap().contains("same bytes"));

    let cksum = crdt::digest::to_hex(&sha2::Sha256::digest(&bytes));
    let index = node.get(INDEX).await;
    let line = format!(
        "{{\"name\":\"Demo\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{cksum}\",\
         \"features\":{{}},\
         \"yanked\":false}}\n"
    );
    assert_eq!(index.text(), line);
    let known = [("if-none-match", index.header("etag"))];
    assert_eq!(node.ask("GET", INDEX, &known, "").await.status, 304);
    assert_eq!(
        node.ask("HEAD", INDEX, &[], "").await.header("content-length"),
        line.len().to_string()
    );

    let download = format!("/cargo/~hosted/dl/Demo/1.0.0/{cksum}/Demo-1.0.0.crate");
    let without = "/cargo/~hosted/api/v1/crates/demo/1.0.0/download";
    for path in [&download, &format!("/cargo/dl/demo/1.0.0/{cksum}"), without] {
        let answer = node.get(path).await;
        assert!(answer.status == 200 && answer.body == bytes, "{path}: {}", answer.status);
        assert_eq!(answer.header("content-encoding"), "");
    }
    let head = node.ask("HEAD", &download, &[], "").await;
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    let part = node.ask("GET", &download, &[("range", "bytes=4-7")], "").await;
    assert_eq!((part.status.as_u16(), part.body.as_slice()), (206, &bytes[4..8]));
    for wrong in [
        download.replace(&cksum, &"0".repeat(64)),
        download.replace(&cksum, "latest"),
        download.replace("/1.0.0/", "/1.0/"),
        download.replace("/Demo/", "/a.b/"),
        download.replace("~hosted", "~upstream"),
    ] {
        let answer = node.get(&wrong).await;
        assert_eq!(answer.status, 404, "{wrong}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_configuration_names_paths_that_are_served_whoever_asks_under_whichever_name() {
    let node = Node::start().await;
    for (door, url) in [
        ("/cargo", "http://127.0.0.1:7878/cargo"),
        ("/cargo/~hosted", "http://127.0.0.1:7878/cargo/~hosted"),
        ("/cargo/~upstream", "http://127.0.0.1:7878/cargo/~upstream"),
    ] {
        // Over plain HTTP cargo offers another protocol each time.
        let headers = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("cargo-protocol", "version=1"),
            ("accept", "text/plain"),
        ];
        let answer = node.ask("GET", &format!("{door}/index/config.json"), &headers, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let file = "{crate}/{version}/{sha256-checksum}/{crate}-{version}.crate";
        let config = json!({ "dl": format!("{url}/dl/{file}"), "api": url });
        assert_eq!(answer.json(), config, "no token is asked for");
        let known = [("if-none-match", answer.header("etag"))];
        let path = format!("{door}/index/config.json");
        assert_eq!(node.ask("GET", &path, &known, "").await.status, 304);
        for path in ["/index/", "/index", "/", "/index/config.json/x", "/dl/x", "/api/v1/crates/x"]
        {
            let answer = node.get(&format!("{door}{path}")).await;
            assert_eq!(answer.status, 404, "{door}{path}");
            assert!(!detail(&answer).is_empty());
        }
        assert_eq!(node.put(&format!("{door}/index/config.json"), "x").await.status, 405);
    }
}

#[tokio::test]
async fn a_body_whose_lengths_are_wrong_stores_nothing() {
    let node = Node::start().await;
    let (document, bytes) = (document().to_string().into_bytes(), demo());
    let sound = framed(&document, &bytes);
    let with_length = |at: usize, length: u32| {
        let mut body = sound.clone();
        body[at..at + 4].copy_from_slice(&length.to_le_bytes());
        body
    };
    let behind = 4 + document.len();
    let followed = [sound.as_slice(), b"x"].concat();
    for (what, body, status) in [
        ("nothing", Vec::new(), 400),
        ("half a length", vec![1, 0], 400),
        ("a document that ends early", sound[..20].to_vec(), 400),
        ("a document without a crate", sound[..behind].to_vec(), 400),
        ("a crate that ends early", sound[..sound.len() - 1].to_vec(), 400),
        ("bytes behind the crate", followed, 400),
        ("a document of 4 GiB", with_length(0, u32::MAX), 413),
        ("a crate of 4 GiB", with_length(behind, u32::MAX), 413),
        ("a shorter document", with_length(0, 10), 400),
        ("a crate of nothing", framed(&document, b""), 400),
        ("a crate that is none", framed(&document, &[7; 5000]), 400),
        ("no JSON", framed(b"[]", &bytes), 400),
        ("no name", framed(b"{}", &bytes), 400),
    ] {
        let answer = send(&node, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(!detail(&answer).is_empty(), "{what}");
    }
    assert_eq!(node.get(INDEX).await.status, 404);
    assert_eq!(node.front.registry.store().counts().unwrap().blobs, 0);
    assert_eq!(send(&node, sound).await.status, 200, "what was sound before still is");
}

#[tokio::test]
async fn a_document_that_says_something_else_than_its_archive_is_refused() {
    let node = Node::start().await;
    let more = "links = \"z\"\n[features]\na = []\n[dependencies.pad]\nversion = \"1\"\n\
                registry-index = \"sparse+http://h/cargo/~hosted/index/\"\n";
    let manifest = format!("{MANIFEST}{more}");
    let bytes = archive("Demo-1.0.0", &[("Cargo.toml", &manifest)]);
    let mut sound = document();
    sound["links"] = json!("z");
    sound["features"] = json!({ "a": [] });
    sound["deps"] = json!([{
        "name": "pad", "version_req": "^1", "features": [], "optional": false,
        "default_features": true, "target": null, "kind": "normal", "registry": null,
    }]);
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("vers", |d| d["vers"] = json!("1.0.1")),
        ("name", |d| d["name"] = json!("demo")),
        ("links", |d| d["links"] = Value::Null),
        ("rust_version", |d| d["rust_version"] = json!("1.60")),
        ("features", |d| d["features"]["b"] = json!(["dep:pad"])),
        ("a dependency less", |d| d["deps"] = json!([])),
        ("another range", |d| d["deps"][0]["version_req"] = json!("^2")),
        ("another registry", |d| d["deps"][0]["registry"] = json!(DEFAULT)),
        ("renamed", |d| d["deps"][0]["explicit_name_in_toml"] = json!("evil")),
    ];
    for (what, change) in changes {
        let mut document = sound.clone();
        change(&mut document);
        let answer = publish(&node, &document, &bytes).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(detail(&answer).contains("archive"), "{what}: {}", detail(&answer));
    }
    assert_eq!(node.get(INDEX).await.status, 404);
    assert_eq!(publish(&node, &sound, &bytes).await.status, 200);
}

#[tokio::test]
async fn a_dependency_on_the_default_registry_keeps_its_url() {
    let node = Node::start().await;
    let manifest = format!("{MANIFEST}[dependencies.pad]\nversion = \"1\"\n");
    let lock = format!(
        "version = 4\n\n[[package]]\nname = \"pad\"\nversion = \"1.2.0\"\n\
         source = \"registry+{DEFAULT}\"\nchecksum = \"00\"\n"
    );
    let bytes = archive("Demo-1.0.0", &[("Cargo.lock", &lock), ("Cargo.toml", &manifest)]);
    let with = |registry: Value| {
        let mut document = document();
        document["deps"] = json!([{
            "name": "pad", "version_req": "^1", "features": [], "optional": false,
            "default_features": true, "target": null, "kind": "normal", "registry": registry,
        }]);
        document
    };
    let answer = publish(&node, &with(Value::Null), &bytes).await;
    assert_eq!(answer.status, 400, "it would come from here: {}", answer.text());
    let silent = archive("Demo-1.0.0", &[("Cargo.toml", &manifest)]);
    let answer = publish(&node, &with(json!(DEFAULT)), &silent).await;
    assert!(detail(&answer).contains("Cargo.lock"), "{}", answer.text());
    assert_eq!(publish(&node, &with(json!(DEFAULT)), &bytes).await.status, 200);
    let line: Value = serde_json::from_slice(&node.get(INDEX).await.body).unwrap();
    assert_eq!(line["deps"][0]["registry"], DEFAULT);
    assert_eq!(line["deps"][0]["req"], "^1");
}

#[tokio::test]
async fn a_token_is_taken_bare_and_each_refusal_says_where_there_are_some() {
    let node = Node::start().await;
    let reader = node.token(&[Scope::Read], &[]).await;
    let publisher = node.token(&[Scope::Publish], &[("cargo", "demo")]).await;
    let narrow = node.token(&[Scope::Publish], &[("cargo", "other")]).await;
    let bare = |token: &str| token.strip_prefix("Bearer ").unwrap().to_owned();
    let body = framed(document().to_string().as_bytes(), &demo());
    let me = "Cargo login_url=\"http://127.0.0.1:7878/cargo/~hosted/me\"";
    for (token, status) in
        [("", 401), ("wrong", 401), (&*bare(&reader), 403), (&*bare(&narrow), 403)]
    {
        let headers: &[_] = if token.is_empty() { &[] } else { &[("authorization", token)] };
        for (method, path) in [
            ("PUT", NEW),
            ("DELETE", "/cargo/~hosted/api/v1/crates/demo/1.0.0/yank"),
            ("PUT", "/cargo/~hosted/api/v1/crates/demo/1.0.0/unyank"),
        ] {
            let answer = node.ask(method, path, headers, body.clone()).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
            assert!(!detail(&answer).is_empty());
            // Who sent a wrong one is refused before it is known what was asked.
            if token.is_empty() {
                assert_eq!(answer.header("www-authenticate"), me);
            }
        }
    }
    let answer = node.ask("PUT", NEW, &[("authorization", &bare(&publisher))], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(node.get("/cargo/~hosted/me").await.text().contains("griot token create"));
}

#[tokio::test]
async fn a_crate_of_the_upstreams_door_is_changed_by_nobody() {
    let node = Node::start().await;
    let admin = [("authorization", ADMIN)];
    let body = framed(document().to_string().as_bytes(), &demo());
    for (method, path) in
        [("PUT", "new"), ("DELETE", "demo/1.0.0/yank"), ("PUT", "demo/1.0.0/unyank")]
    {
        let path = format!("/cargo/~upstream/api/v1/crates/{path}");
        let answer = node.ask(method, &path, &admin, body.clone()).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.text());
        assert!(detail(&answer).contains("forwards nothing"), "{}", answer.text());
    }
    assert_eq!(node.get("/cargo/~upstream/api/v1/crates?q=x").await.status, 404);
    assert_eq!(node.get("/cargo/~upstream/index/de/mo/demo").await.status, 404);
}

#[tokio::test]
async fn search_pages_through_the_crates_of_realms_as_they_are_written() {
    let node = Node::start().await;
    for name in ["Alpha", "alps", "beta"] {
        let manifest = format!("[package]\nname = {name:?}\nversion = \"1.0.0\"\n");
        let bytes = archive(&format!("{name}-1.0.0"), &[("Cargo.toml", &manifest)]);
        let mut document = document();
        document["name"] = json!(name);
        assert_eq!(publish(&node, &document, &bytes).await.status, 200);
    }
    let search = "/cargo/~hosted/api/v1/crates?q=AL";
    let found = node.get(search).await.json();
    let one = |name: &str| json!({ "name": name, "max_version": "1.0.0", "description": "" });
    assert_eq!(found, json!({ "crates": [one("Alpha"), one("alps")], "meta": { "total": 2 } }));
    let second = node.get(&format!("{search}&per_page=1&page=2")).await.json();
    assert_eq!(second, json!({ "crates": [one("alps")], "meta": { "total": 2 } }));
    let owners = node.get("/cargo/~hosted/api/v1/crates/alpha/owners").await.json();
    let key = node.front.registry.publisher_key().to_string();
    assert_eq!(owners["users"], json!([{ "id": 1, "login": key, "name": "may publish it" }]));
    assert_eq!(node.get("/cargo/~hosted/api/v1/crates/nobody/owners").await.status, 404);
}
