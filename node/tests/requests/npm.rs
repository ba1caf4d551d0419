//! What npm asks, in the order and shape that the client was seen to use.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use node::formats::PackedBytes;
use node::registry::Scope;
use serde_json::{Value, json};

use crate::Node;

/// The tarball of a package, packed as `griot publish` packs it.
pub(crate) fn tarball(name: &str, version: &str, text: &str) -> Vec<u8> {
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
pub(crate) fn publish_body(name: &str, version: &str, tarball: &[u8]) -> Value {
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

pub(crate) async fn publish(node: &Node, name: &str, version: &str) -> Vec<u8> {
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
    assert_eq!(full.header("vary"), "User-Agent, Accept, Accept-Encoding, X-Griot-Urls");
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
async fn a_tarball_is_found_where_older_npms_double_the_path_of_the_registry() {
    let node = Node::start().await;
    let scoped = publish(&node, "@acme/demo", "1.0.0").await;
    let named_as_the_mount = publish(&node, "npm", "1.0.0").await;
    for (path, bytes) in [
        ("/npm/npm/@acme/demo/-/demo-1.0.0.tgz", &scoped),
        ("/npm/npm/@acme%2fdemo/-/demo-1.0.0.tgz", &scoped),
        ("/npm/~hosted/npm/~hosted/@acme/demo/-/demo-1.0.0.tgz", &scoped),
        ("/npm/npm/-/npm-1.0.0.tgz", &named_as_the_mount),
        ("/npm/npm/npm/-/npm-1.0.0.tgz", &named_as_the_mount),
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.body == *bytes, "{path}");
    }
    assert_eq!(node.get("/npm/npm").await.json()["name"], "npm");
    assert!(node.get("/npm/npm/@acme%2fdemo").await.status.is_client_error(), "tarballs alone");
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
    assert!(upstream.text().contains("griot route add npm:demo"), "{}", upstream.text());
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
    let unknown = node.ask("POST", audit, &encoding, gzip).await;
    assert_eq!(unknown.status, 424, "a 5xx would hang npm, and an empty report would be a lie");
    assert!(unknown.text().contains("the audit cannot be answered"), "{}", unknown.text());
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
async fn npms_small_endpoints_answer_head_as_get() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let bob = node.token(&[Scope::Read], &[]).await;
    let headers = [("authorization", bob.as_str())];
    for path in [
        "/npm/-/ping",
        "/npm/-/whoami",
        "/npm/-/v1/search?text=demo",
        "/npm/-/package/demo/dist-tags",
    ] {
        let get = node.ask("GET", path, &headers, "").await;
        let head = node.ask("HEAD", path, &headers, "").await;
        assert_eq!((get.status.as_u16(), head.status.as_u16()), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn logout_revokes_the_token_that_was_sent_and_no_other() {
    let node = Node::start().await;
    let (bob, eve) = (node.token(&[Scope::Read], &[]).await, node.token(&[Scope::Read], &[]).await);
    let logout = |of: &str| format!("/npm/-/user/token/{}", of.trim_start_matches("Bearer "));
    let headers = [("authorization", bob.as_str())];
    assert_eq!(node.ask("DELETE", &logout(&bob), &[], "").await.status, 401);
    let other = node.ask("DELETE", &logout(&eve), &headers, "").await;
    assert_eq!(other.status, 403, "{}", other.text());
    assert!(other.text().contains("griot token revoke"), "{}", other.text());
    let admin = [("authorization", "Bearer admin-secret")];
    let admin = node.ask("DELETE", "/npm/-/user/token/admin-secret", &admin, "").await;
    assert_eq!(admin.status, 403, "the node's own token stays");
    let done = node.ask("DELETE", &logout(&bob), &headers, "").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(node.ask("GET", "/npm/-/whoami", &headers, "").await.status, 401);
    let eve = [("authorization", eve.as_str())];
    assert_eq!(node.ask("GET", "/npm/-/whoami", &eve, "").await.status, 200);
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
async fn a_package_of_which_nothing_is_held_is_424_and_not_an_empty_document() {
    let node = Node::start().await;
    let bytes = publish(&node, "demo", "1.0.0").await;
    let digest = crdt::Digest::from_bytes(*blake3::hash(&bytes).as_bytes());
    node.front.registry.store().remove_blob(&digest).await.unwrap();
    for path in ["/npm/demo", "/npm/demo/-/demo-1.0.0.tgz"] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 424, "{path}: {}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains("1.0.0"));
    }
    assert_eq!(node.get("/npm/demo?write=true").await.status, 200);
}

#[tokio::test]
async fn the_put_that_npm_overloads_is_told_apart_by_its_content() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let document = node.get("/npm/demo?write=true").await.json();
    let (id, rev) = (document["_id"].clone(), document["_rev"].as_str().unwrap().to_owned());
    let star = json!({ "_id": id, "_rev": rev, "users": { "bob": true } });
    let starred = node.put("/npm/demo", star.to_string()).await;
    assert_eq!(starred.status, 400);
    assert!(starred.text().contains("stars are not kept"), "{}", starred.text());
    let owners = json!({ "_id": id, "_rev": rev, "maintainers": [{ "name": "eve" }] });
    let owned = node.put(&format!("/npm/demo/-rev/{rev}"), owners.to_string()).await;
    assert_eq!(owned.status, 400);
    assert!(owned.text().contains("griot realm grant"), "{}", owned.text());
    let stale = node.put("/npm/demo/-rev/1-stale", owners.to_string()).await;
    assert_eq!(stale.status, 409, "an old _rev is refused before the body counts");
    let mut deprecated = document.clone();
    deprecated["versions"]["1.0.0"]["deprecated"] = json!("old");
    assert_eq!(node.put("/npm/demo", deprecated.to_string()).await.status, 200);
    let after = node.get("/npm/demo").await.json();
    assert_eq!(after["versions"]["1.0.0"]["deprecated"], "old");
    assert_ne!(after["_rev"], rev.as_str(), "every change makes another _rev");
}

#[tokio::test]
async fn accounts_owners_and_tokens_are_answered_in_words() {
    let node = Node::start().await;
    publish(&node, "demo", "1.0.0").await;
    let maintainers = node.get("/npm/demo").await.json()["maintainers"].clone();
    let signer = node.front.registry.publisher_key().to_string();
    assert_eq!(maintainers, json!([{ "name": signer, "email": "" }]));
    for (path, hint) in [
        ("/npm/-/user/org.couchdb.user:bob", "griot realm grant"),
        ("/npm/-/npm/v1/tokens", "griot token list"),
        ("/npm/-/npm/v1/user", "griot token list"),
        ("/npm/-/team/acme/devs/user?format=cli", "griot realm"),
        ("/npm/-/npm/v1/keys", "griot upstream add"),
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains(hint), "{path} {}", answer.text());
    }
    let bob = node.token(&[Scope::Read], &[]).await;
    let headers = [("authorization", bob.as_str())];
    let me = node.ask("GET", "/npm/-/user/org.couchdb.user:bob", &headers, "").await;
    assert_eq!(me.json()["name"], "bob");
}

#[tokio::test]
async fn a_version_that_was_unpublished_comes_back_with_the_same_bytes_alone() {
    let node = Node::start().await;
    let bytes = publish(&node, "demo", "1.0.0").await;
    publish(&node, "demo", "1.0.1").await;
    let rev = node.get("/npm/demo").await.json()["_rev"].as_str().unwrap().to_owned();
    let admin = [("authorization", "Bearer admin-secret")];
    let path = format!("/npm/demo/-/demo-1.0.0.tgz/-rev/{rev}");
    assert_eq!(node.ask("DELETE", &path, &admin, "").await.status, 200);
    assert!(node.get("/npm/demo").await.json()["versions"]["1.0.0"].is_null());
    let other = publish_body("demo", "1.0.0", &tarball("demo", "1.0.0", "other bytes"));
    assert_eq!(node.put("/npm/demo", other.to_string()).await.status, 409);
    assert!(node.get("/npm/demo").await.json()["versions"]["1.0.0"].is_null());
    drop(bytes);
}

#[tokio::test]
async fn the_provenance_of_a_publish_is_kept_and_shown() {
    let node = Node::start().await;
    let statement = json!({ "predicateType": "https://slsa.test/v1", "subject": [] });
    let bundle = json!({ "mediaType": "application/x", "dsseEnvelope": {
        "payload": STANDARD.encode(statement.to_string()), "signatures": [] } });
    let mut body = publish_body("@acme/demo", "1.0.0", &tarball("@acme/demo", "1.0.0", "x"));
    let text = bundle.to_string();
    body["_attachments"]["@acme/demo-1.0.0.sigstore"] =
        json!({ "content_type": "application/x", "data": text, "length": text.len() });
    assert_eq!(node.put("/npm/@acme%2fdemo", body.to_string()).await.status, 201);
    publish(&node, "@acme/demo", "1.0.1").await;
    let document = node.get("/npm/@acme%2fdemo").await.json();
    let attestations = &document["versions"]["1.0.0"]["dist"]["attestations"];
    assert_eq!(attestations["provenance"]["predicateType"], "https://slsa.test/v1");
    assert!(document["versions"]["1.0.1"]["dist"]["attestations"].is_null());
    let url = attestations["url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:7878").unwrap();
    let served = node.get(path).await.json();
    assert_eq!(served["attestations"][0]["bundle"], bundle);
    assert_eq!(node.get("/npm/-/npm/v1/attestations/@acme%2fdemo@1.0.1").await.status, 404);

    let mut broken = publish_body("@acme/demo", "1.0.2", &tarball("@acme/demo", "1.0.2", "x"));
    broken["_attachments"]["@acme/demo-1.0.2.sigstore"] = json!({ "data": "no bundle" });
    assert_eq!(node.put("/npm/@acme%2fdemo", broken.to_string()).await.status, 400);
}
