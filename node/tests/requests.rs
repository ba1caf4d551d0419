//! Whole requests through the dispatcher, against a real registry and store, without a mesh.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crdt::statement::{Grant, Grantee, Pattern, Root};
use crdt::{SecretKey, Statement, Verified};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use node::formats::{ALL, Front, PackedBytes, serve};
use node::http::auth::{TokenScope, Tokens};
use node::registry::{Registry, Scope};
use node::store::{FollowKind, Followed, Store};

const HOST: &str = "127.0.0.1:7878";
const ADMIN: &str = "admin-secret";

/// A node with its personal realm, asked by way of its dispatcher.
struct Node {
    front: Front,
    home: TempDir,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Node {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let store = Store::open(home.path()).unwrap();
        let (root, publisher) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let genesis = genesis(&root, &publisher);
        let own = genesis.statement().realm();
        let followed = Followed {
            realm: own,
            kind: FollowKind::Own,
            claims: Vec::new(),
            order: 0,
            mirrors: false,
        };
        store.follow(followed).await.unwrap();
        store.admit(vec![genesis], None).await.unwrap();
        let rules = ALL.iter().map(|format| format.rules).collect();
        let registry = Registry::new(store.clone(), None, rules, publisher, own).unwrap();
        let tokens = Tokens::open(store, ADMIN.to_owned()).unwrap();
        let hosts = Arc::new(vec![HOST.to_owned(), "localhost:7878".to_owned()]);
        Self { front: Front { registry, tokens, hosts }, home }
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(target).header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = serve(self.front.clone(), request.body(body.into()).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], "").await
    }

    async fn put(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.ask("PUT", target, &[("authorization", "Bearer admin-secret")], body).await
    }

    async fn token(&self, scopes: &[Scope], patterns: &[(&str, &str)]) -> String {
        let pattern =
            |(format, name): &(&str, &str)| ((*format).to_owned(), Pattern::parse(name).unwrap());
        let scope = TokenScope {
            scopes: scopes.to_vec(),
            realm: None,
            patterns: patterns.iter().map(pattern).collect(),
            expires_hours: None,
            name: "bob".to_owned(),
        };
        format!("Bearer {}", self.front.tokens.create(scope).await.unwrap().token)
    }
}

fn genesis(root: &SecretKey, publisher: &SecretKey) -> Verified {
    let grant = Grant {
        format: "*".to_owned(),
        pattern: Pattern::parse("*").unwrap(),
        role: "publish".to_owned(),
        to: Grantee::Key(publisher.public()),
        need: 1,
        exclusive: false,
    };
    let body = Root {
        epoch: 0,
        prev: None,
        nonce: [7; 16],
        title: "village".to_owned(),
        roots: vec![root.public()],
        k: 1,
        recovery: Vec::new(),
        rk: 0,
        grants: vec![grant],
        cleared: Vec::new(),
        seals: None,
    };
    Verified::sign(Statement::genesis(body).unwrap(), &[root])
}

/// The tarball of a package, packed as `griot publish` packs it.
fn tarball(name: &str, version: &str, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = json!({
        "name": name, "version": version, "description": "a demo", "keywords": ["k"],
        "dependencies": { "is-odd": "^3.0.0" }, "scripts": { "test": "true" },
    });
    fs_err::write(folder.path().join("package.json"), manifest.to_string()).unwrap();
    fs_err::write(folder.path().join("index.js"), text).unwrap();
    let packed = (node::formats::npm::FORMAT.pack)(folder.path()).unwrap().unwrap();
    let PackedBytes::Made(mut file) = packed.archive else { panic!("made now") };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A body as npm sends it, with its wrong URL and key for scopes.
fn publish_body(name: &str, version: &str, tarball: &[u8]) -> Value {
    use sha2::Digest as _;
    let integrity = format!("sha512-{}", STANDARD.encode(sha2::Sha512::digest(tarball)));
    let shasum = crdt::digest::to_hex(&sha1::Sha1::digest(tarball));
    let key = format!("{name}-{version}.tgz");
    json!({
        "_id": name, "name": name, "dist-tags": { "latest": version },
        "versions": { version: { "name": name, "version": version, "dist": {
            "integrity": integrity, "shasum": shasum,
            "tarball": format!("http://localhost:1/{name}/-/{key}"),
        } } },
        "access": null,
        "_attachments": { key: {
            "content_type": "application/octet-stream", "data": STANDARD.encode(tarball),
            "length": tarball.len(),
        } },
    })
}

async fn publish(node: &Node, name: &str, version: &str) -> Vec<u8> {
    let bytes = tarball(name, version, "module.exports = 1\n");
    let path = format!("/npm/{}", name.replace('/', "%2f"));
    let answer = node.put(&path, publish_body(name, version, &bytes).to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    bytes
}

#[tokio::test]
async fn what_npm_publishes_is_rendered_and_served() {
    let node = Node::start().await;
    assert_eq!(node.get("/npm/@acme%2fdemo").await.status, 404);
    let bytes = publish(&node, "@acme/demo", "1.2.3").await;

    let full = node.get("/npm/@acme%2fdemo").await;
    assert_eq!(full.header("content-type"), "application/json");
    assert_eq!(full.header("vary"), "Accept");
    let document = full.json();
    assert_eq!(document["_id"], "@acme/demo");
    assert_eq!(document["description"], "a demo");
    assert_eq!(document["dist-tags"], json!({ "latest": "1.2.3" }));
    assert!(document["_rev"].is_string() && document["time"]["1.2.3"].is_string());
    let version = &document["versions"]["1.2.3"];
    assert_eq!(version["_id"], "@acme/demo@1.2.3");
    assert_eq!(version["scripts"]["test"], "true");
    let url = "http://127.0.0.1:7878/npm/@acme/demo/-/demo-1.2.3.tgz";
    assert_eq!(version["dist"]["tarball"], url);
    let body = publish_body("@acme/demo", "1.2.3", &bytes);
    assert_eq!(version["dist"]["integrity"], body["versions"]["1.2.3"]["dist"]["integrity"]);
    assert_eq!(version["dist"]["shasum"], body["versions"]["1.2.3"]["dist"]["shasum"]);

    for path in [
        "/npm/@acme/demo/-/demo-1.2.3.tgz",
        "/npm/@acme%2fdemo/-/demo-1.2.3.tgz",
        "/npm/@acme%2Fdemo/-/demo-1.2.3.tgz",
        "/npm/~hosted/@acme/demo/-/demo-1.2.3.tgz",
        "/@acme/demo/-/demo-1.2.3.tgz",
        "/@acme%2fdemo/-/demo-1.2.3.tgz",
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.body == bytes, "{path}");
    }
    assert_eq!(node.get("/npm/@acme/demo/-/demo-9.9.9.tgz").await.status, 404);
    assert_eq!(node.get("/npm/@acme/demo/-/other-1.2.3.tgz").await.status, 404);
}

#[tokio::test]
async fn the_abbreviated_packument_has_what_an_install_reads_and_its_own_etag() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let accept = ("accept", "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8");
    let short = node.ask("GET", "/npm/demo", &[accept], "").await;
    assert_eq!(short.header("content-type"), "application/vnd.npm.install-v1+json");
    let document = short.json();
    assert!(document["modified"].is_string() && document["time"].is_null());
    let version = &document["versions"]["1.0.0"];
    assert_eq!(version["dependencies"]["is-odd"], "^3.0.0");
    assert!(version["scripts"].is_null() && version["dist"]["integrity"].is_string());
    let full = node.get("/npm/demo").await;
    assert_ne!(full.header("etag"), short.header("etag"));

    let known = ("if-none-match", short.header("etag"));
    let again = node.ask("GET", "/npm/demo", &[accept, known], "").await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let head = node.ask("HEAD", "/npm/demo", &[], "").await;
    assert_eq!(head.header("content-length"), full.body.len().to_string());
    assert!(head.body.is_empty());
    let hosted = node.get("/npm/~hosted/demo").await.json();
    let url = "http://127.0.0.1:7878/npm/~hosted/demo/-/demo-1.0.0.tgz";
    assert_eq!(hosted["versions"]["1.0.0"]["dist"]["tarball"], url);
    let upstream = node.get("/npm/~upstream/demo").await;
    assert_eq!(upstream.status, 404);
    assert!(upstream.text().contains("no upstream is configured"), "{}", upstream.text());
}

#[tokio::test]
async fn a_publish_must_be_what_it_says() {
    let node = Node::start().await;
    let bytes = tarball("demo", "1.0.0", "x");
    let body = || publish_body("demo", "1.0.0", &bytes);
    let mut integrity = body();
    integrity["versions"]["1.0.0"]["dist"]["integrity"] = json!("sha512-AAAA");
    let mut shasum = body();
    shasum["versions"]["1.0.0"]["dist"]["shasum"] = json!("00");
    let mut length = body();
    length["_attachments"]["demo-1.0.0.tgz"]["length"] = json!(3);
    let mut data = body();
    data["_attachments"]["demo-1.0.0.tgz"]["data"] = json!("***");
    let mut name = body();
    name["name"] = json!("other");
    for (what, body) in [
        ("integrity", integrity.to_string()),
        ("shasum", shasum.to_string()),
        ("length", length.to_string()),
        ("base64", data.to_string()),
        ("name", name.to_string()),
        ("version of the archive", publish_body("demo", "2.0.0", &bytes).to_string()),
        ("no archive", publish_body("demo", "1.0.0", b"not a tarball").to_string()),
        ("not json", "{".to_owned()),
        ("nothing", "{}".to_owned()),
        ("stars", json!({ "_id": "demo", "users": { "bob": true } }).to_string()),
    ] {
        let answer = node.put("/npm/demo", body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.json()["error"].is_string());
    }
    let other_name = tarball("other", "1.0.0", "x");
    let answer =
        node.put("/npm/demo", publish_body("demo", "1.0.0", &other_name).to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(node.get("/npm/demo").await.status, 404, "nothing was stored");
    assert_eq!(node.put("/npm/Demo", body().to_string()).await.status, 400);
    assert_eq!(node.put("/npm/demo", body().to_string()).await.status, 201);
}

#[tokio::test]
async fn a_version_never_changes() {
    let node = Node::start().await;
    let bytes = publish(&node, "demo", "1.0.0").await;
    let same = node.put("/npm/demo", publish_body("demo", "1.0.0", &bytes).to_string()).await;
    assert_eq!(same.status, 409, "{}", same.text());
    let other = tarball("demo", "1.0.0", "other bytes");
    let other = node.put("/npm/demo", publish_body("demo", "1.0.0", &other).to_string()).await;
    assert_eq!(other.status, 409);
    assert!(other.json()["error"].as_str().unwrap().contains("never changes"), "{}", other.text());
    assert!(node.get("/npm/demo/-/demo-1.0.0.tgz").await.body == bytes);
}

#[tokio::test]
async fn who_may_publish_is_asked_before_the_body_is_read() {
    let node = Node::start().await;
    let reader = node.token(&[Scope::Read], &[]).await;
    let narrow = node.token(&[Scope::Publish], &[("npm", "@acme/ui")]).await;
    let body = || {
        let read = Err::<bytes::Bytes, _>(std::io::Error::other("the body was read"));
        Body::from_stream(futures::stream::iter([read]))
    };
    for (target, token, status) in [
        ("/npm/demo", "", 401),
        ("/npm/demo", "Bearer wrong", 401),
        ("/npm/demo", &reader, 403),
        ("/npm/@acme%2fui-evil", &narrow, 403),
        ("/generic/demo/1/f", "", 401),
        ("/generic/demo/1/f", &reader, 403),
    ] {
        let headers: &[(&str, &str)] =
            if token.is_empty() { &[] } else { &[("authorization", token)] };
        let answer = node.ask("PUT", target, headers, body()).await;
        assert_eq!(answer.status, status, "{target} {}", answer.text());
        assert!(answer.text().contains("griot token create") || status == 403);
        assert_eq!(status == 401, !answer.header("www-authenticate").is_empty());
    }
    let missing = node.ask("PUT", "/npm/demo", &[("authorization", &reader)], "").await;
    assert!(missing.text().contains("`publish`") && missing.text().contains("--scope publish"));
    let ui = tarball("@acme/ui", "1.0.0", "x");
    let body = publish_body("@acme/ui", "1.0.0", &ui).to_string();
    let answer = node.ask("PUT", "/npm/@acme%2fui", &[("authorization", &narrow)], body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn deprecation_is_a_yank_that_can_be_taken_back() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    publish(&node, "demo", "1.1.0").await;
    let mut document = node.get("/npm/demo?write=true").await.json();
    document["versions"]["1.1.0"]["deprecated"] = json!("use 2");
    assert_eq!(node.put("/npm/demo", document.to_string()).await.status, 200);
    let yanked = node.get("/npm/demo").await.json();
    assert_eq!(yanked["versions"]["1.1.0"]["deprecated"], "use 2");
    assert!(yanked["versions"]["1.0.0"]["deprecated"].is_null());
    assert_eq!(node.get("/npm/demo/-/demo-1.1.0.tgz").await.status, 200);
    document["versions"]["1.1.0"]["deprecated"] = json!("");
    assert_eq!(node.put("/npm/demo", document.to_string()).await.status, 200);
    assert!(node.get("/npm/demo").await.json()["versions"]["1.1.0"]["deprecated"].is_null());
}

#[tokio::test]
async fn tags_are_read_set_and_removed() {
    let node = Node::start().await;
    publish(&node, "@acme/demo", "1.0.0").await;
    publish(&node, "@acme/demo", "2.0.0").await;
    let tags = "/npm/-/package/@acme%2fdemo/dist-tags";
    assert_eq!(node.get(tags).await.json(), json!({ "latest": "2.0.0" }));
    assert_eq!(node.put(&format!("{tags}/next"), "\"1.0.0\"").await.status, 201);
    let now = node.get("/npm/-/package/@acme/demo/dist-tags").await.json();
    assert_eq!(now, json!({ "latest": "2.0.0", "next": "1.0.0" }));
    assert_eq!(node.get("/npm/@acme%2fdemo/next").await.json()["version"], "1.0.0");
    assert_eq!(node.get("/npm/@acme%2fdemo/2.0.0").await.json()["version"], "2.0.0");
    assert_eq!(node.get("/npm/@acme%2fdemo/%5E1").await.json()["version"], "1.0.0");
    assert_eq!(node.put(&format!("{tags}/1.x"), "\"1.0.0\"").await.status, 400);
    assert_eq!(node.put(&format!("{tags}/next"), "\"9.0.0\"").await.status, 404);
    assert_eq!(node.put(&format!("{tags}/next"), "9").await.status, 400);
    let admin = [("authorization", "Bearer admin-secret")];
    assert_eq!(node.ask("DELETE", &format!("{tags}/next"), &admin, "").await.status, 200);
    assert_eq!(node.get(tags).await.json(), json!({ "latest": "2.0.0" }));
    assert_eq!(node.ask("DELETE", &format!("{tags}/latest"), &[], "").await.status, 400);
}

#[tokio::test]
async fn unpublish_follows_the_requests_of_npm() {
    let node = Node::start().await;
    publish(&node, "@acme/demo", "1.0.0").await;
    publish(&node, "@acme/demo", "1.1.0").await;
    let admin = [("authorization", "Bearer admin-secret")];
    let mut document = node.get("/npm/@acme%2fdemo?write=true").await.json();
    document["versions"].as_object_mut().unwrap().remove("1.1.0");
    let rev = document["_rev"].as_str().unwrap().to_owned();
    let stale = node.put("/npm/@acme%2fdemo/-rev/1-stale", document.to_string()).await;
    assert_eq!(stale.status, 409);
    let put = node.put(&format!("/npm/@acme%2fdemo/-rev/{rev}"), document.to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let document = node.get("/npm/@acme%2fdemo?write=true").await.json();
    assert!(document["versions"]["1.1.0"].is_null() && !document["versions"]["1.0.0"].is_null());
    let rev = document["_rev"].as_str().unwrap();
    let path = format!("/npm/@acme/demo/-/demo-1.1.0.tgz/-rev/{rev}");
    assert_eq!(node.ask("DELETE", &path, &admin, "").await.status, 200);
    let all = format!("/npm/@acme%2fdemo/-rev/{rev}");
    assert_eq!(node.ask("DELETE", &all, &[], "").await.status, 401);
    assert_eq!(node.ask("DELETE", &all, &admin, "").await.status, 200);
    assert!(node.get("/npm/@acme%2fdemo").await.status.is_client_error());
    let again = tarball("@acme/demo", "1.1.0", "other bytes");
    let again =
        node.put("/npm/@acme%2fdemo", publish_body("@acme/demo", "1.1.0", &again).to_string());
    assert_eq!(again.await.status, 409, "a withdrawn version does not come back with other bytes");
}

#[tokio::test]
async fn npms_small_endpoints_answer_at_once() {
    let node = Node::start().await;
    publish(&node, "@acme/demo", "1.0.0").await;
    assert_eq!(node.get("/npm/-/ping").await.json(), json!({}));
    assert_eq!(node.get("/npm/-/whoami").await.status, 401);
    let bob = node.token(&[Scope::Read], &[]).await;
    let who = node.ask("GET", "/npm/-/whoami", &[("authorization", &bob)], "").await;
    assert_eq!(who.json(), json!({ "username": "bob" }));
    let found = node.get("/npm/-/v1/search?text=demo&size=20&from=0").await.json();
    assert_eq!(found["objects"][0]["package"]["name"], "@acme/demo");
    assert_eq!(found["objects"][0]["package"]["version"], "1.0.0");
    let gzip = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"{\"a\":[\"1.0.0\"]}").unwrap();
        gzip.finish().unwrap()
    };
    let audit = "/npm/-/npm/v1/security/advisories/bulk";
    let encoding = [("content-encoding", "gzip")];
    assert_eq!(node.ask("POST", audit, &encoding, gzip).await.status, 405);
    assert_eq!(node.ask("POST", "/npm/-/v1/login", &[], "{}").await.status, 404);
    let user = node.put("/npm/-/user/org.couchdb.user:me", "{}").await;
    assert_eq!(user.status, 403);
    assert!(user.text().contains("griot token create"));
    assert_eq!(node.get("/npm/-/nothing").await.status, 404);
    assert_eq!(node.ask("POST", "/npm/demo", &[], "").await.status, 405);
    for strange in ["/npm/favicon.ico", "/npm/__proto__", "/npm/constructor", "/npm/@x"] {
        let answer = node.get(strange).await;
        assert_eq!(answer.status, 404, "{strange}");
        assert!(answer.json()["error"].is_string());
    }
}

#[tokio::test]
async fn a_gzip_publish_is_read() {
    let node = Node::start().await;
    let bytes = tarball("demo", "1.0.0", "x");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(publish_body("demo", "1.0.0", &bytes).to_string().as_bytes()).unwrap();
    let headers = [("authorization", "Bearer admin-secret"), ("content-encoding", "gzip")];
    let answer = node.ask("PUT", "/npm/demo", &headers, gzip.finish().unwrap()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(node.get("/npm/demo/-/demo-1.0.0.tgz").await.body == bytes);
}

#[tokio::test]
async fn a_generic_file_is_created_once_and_read_in_parts() {
    let node = Node::start().await;
    let path = "/generic/app/1.0.0/app%20x.bin";
    let created = node.put(path, "0123456789").await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("location"), "http://127.0.0.1:7878/generic/app/1.0.0/app%20x.bin");
    assert_eq!(node.put(path, "0123456789").await.status, 200);
    assert_eq!(node.put(path, "other").await.status, 409);

    let whole = node.get(path).await;
    let etag = "\"sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"";
    assert_eq!((whole.status.as_u16(), whole.text().as_str()), (200, "0123456789"));
    assert_eq!((whole.header("etag"), created.header("etag")), (etag, etag));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let disposition = "attachment; filename=\"app x.bin\"; filename*=UTF-8''app%20x%2Ebin";
    assert_eq!(whole.header("content-disposition"), disposition);
    assert!(whole.header("repr-digest").starts_with("sha-256=:hNiYd/"));

    let head = node.ask("HEAD", path, &[], "").await;
    assert_eq!(head.header("content-length"), "10");
    assert!(head.body.is_empty() && head.header("etag") == etag);
    for (headers, status, range, text) in [
        (vec![("range", "bytes=2-4")], 206, "bytes 2-4/10", "234"),
        (vec![("range", "bytes=7-")], 206, "bytes 7-9/10", "789"),
        (vec![("range", "bytes=-2")], 206, "bytes 8-9/10", "89"),
        (vec![("range", "bytes=0-1,3-4")], 200, "", "0123456789"),
        (vec![("range", "bytes=2-4"), ("if-range", etag)], 206, "bytes 2-4/10", "234"),
        (vec![("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, "", "0123456789"),
        (vec![("if-none-match", etag)], 304, "", ""),
    ] {
        let answer = node.ask("GET", path, &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!((answer.header("content-range"), answer.text().as_str()), (range, text));
    }
    let outside = node.ask("GET", path, &[("range", "bytes=10-")], "").await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */10"));
}

#[tokio::test]
async fn generic_preconditions_and_digests_are_held() {
    let node = Node::start().await;
    let admin = ("authorization", "Bearer admin-secret");
    let put = async |version: &str, header: (&str, &str), body: &'static str| {
        node.ask("PUT", &format!("/generic/app/{version}/f"), &[admin, header], body).await.status
    };
    assert_eq!(put("1", ("if-none-match", "*"), "a").await, 201);
    assert_eq!(put("1", ("if-none-match", "*"), "a").await, 412);
    assert_eq!(put("2", ("if-match", "*"), "a").await, 412);
    assert_eq!(put("1", ("if-match", "*"), "a").await, 200);
    let right = "sha-256=:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=:";
    assert_eq!(put("3", ("content-digest", right), "a").await, 201);
    assert_eq!(put("4", ("content-digest", right), "b").await, 400);
    assert_eq!(put("5", ("content-length", "9"), "short").await, 400);
    assert_eq!(put("6", ("content-encoding", "gzip"), "x").await, 415);
    for version in ["4", "5", "6"] {
        assert_eq!(node.get(&format!("/generic/app/{version}/f")).await.status, 404, "{version}");
    }
}

#[tokio::test]
async fn of_two_writers_at_once_one_wins_and_the_other_is_told() {
    let node = Node::start().await;
    let path = "/generic/app/1.0.0/f";
    let (one, two) = tokio::join!(node.put(path, "one"), node.put(path, "two"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let winner = if one.status == 201 { "one" } else { "two" };
    assert_eq!(node.get(path).await.text(), winner);
}

#[tokio::test]
async fn generic_folders_list_what_is_there_until_it_is_withdrawn() {
    let node = Node::start().await;
    for (version, file) in [("10", "a"), ("9", "a"), ("10", "b")] {
        assert_eq!(
            node.put(&format!("/generic/ns%2Fapp/{version}/{file}"), file).await.status,
            201
        );
    }
    let all = node.get("/generic/ns%2Fapp/").await.json();
    let versions: Vec<_> =
        all["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, ["9", "10"]);
    let one = node.get("/generic/ns%2Fapp/10/").await.json();
    assert_eq!(one["files"].as_array().unwrap().len(), 2);
    let url = one["files"][0]["url"].as_str().unwrap();
    assert_eq!(url, "http://127.0.0.1:7878/generic/ns%2Fapp/10/a");
    assert_eq!(node.get(url.strip_prefix("http://127.0.0.1:7878").unwrap()).await.text(), "a");
    let sums = node.get("/generic/ns%2Fapp/10/SHA256SUMS").await.text();
    assert!(
        sums.starts_with("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n")
    );
    assert_eq!(sums.lines().count(), 2);
    assert_eq!(node.put("/generic/ns%2Fapp/10/SHA256SUMS", "x").await.status, 400);

    let admin = [("authorization", "Bearer admin-secret")];
    assert_eq!(node.ask("DELETE", "/generic/ns%2Fapp/10/a", &[], "").await.status, 401);
    assert_eq!(node.ask("DELETE", "/generic/ns%2Fapp/10/a", &admin, "").await.status, 204);
    assert_eq!(node.get("/generic/ns%2Fapp/10/a").await.status, 404);
    assert_eq!(node.get("/generic/ns%2Fapp/10/b").await.text(), "b");
    assert_eq!(node.put("/generic/ns%2Fapp/10/a", "other").await.status, 409);
}

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

#[tokio::test]
async fn what_nobody_mounts_is_a_short_404() {
    let node = Node::start().await;
    for path in [
        "/",
        "/nothing",
        "/.well-known/x",
        "/npm%2fdemo",
        "/NPM/demo",
        "/generic",
        "/generic/a/1/f/g",
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    for path in ["/npm/..%2f..%2fetc", "/generic/a/%2e%2e/f", "/generic/a//f", "/npm/%00"] {
        assert_eq!(node.get(path).await.status, 400, "{path}");
        assert_eq!(node.put(path, "x").await.status, 400, "{path}");
    }
    assert!(fs_err::read_dir(node.home.path()).unwrap().count() > 0);
}

#[tokio::test]
async fn a_download_that_breaks_off_pins_nothing_and_a_whole_one_does() {
    use crdt::PackageId;
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let registry = &node.front.registry;
    let (store, realm) = (registry.store(), registry.own_realm());
    let package = PackageId::new("npm", "demo");
    let slot = node::store::Slot {
        realm,
        package: package.clone(),
        version: "1.0.0".to_owned(),
        file: "demo-1.0.0.tgz".to_owned(),
    };
    store.unpin_content(&slot).await.unwrap();
    let path = "/npm/demo/-/demo-1.0.0.tgz";
    let request = || Request::get(path).header("host", HOST).body(Body::empty()).unwrap();
    let mut broken = serve(node.front.clone(), request()).await.into_body();
    broken.frame().await.unwrap().unwrap();
    drop(broken);
    node.ask("HEAD", path, &[], "").await;
    node.ask("GET", path, &[("range", "bytes=1-")], "").await;
    assert!(store.pins(&realm, &package).unwrap().is_empty());
    node.get(path).await;
    assert_eq!(store.pins(&realm, &package).unwrap().len(), 1);
}
