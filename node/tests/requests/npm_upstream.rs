//! What npm's clients get of an upstream while it answers: documents, tarballs, small endpoints.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::npm::{publish, publish_body, tarball};
use crate::upstream::{Raw, Stub, Tarballs};
use crate::{Answer, Node};

pub(crate) const SHORT: &str = "application/vnd.npm.install-v1+json";
const NPM: &str = "npm/11.4.0 node/v22.1.0 linux x64 workspaces/false";
const PNPM: &str = "pnpm/10.34.9 npm/? node/v22.1.0 linux x64";
const DOOR: &str = "http://127.0.0.1:7878/npm/";

async fn as_client(node: &Node, path: &str, agent: &str) -> Answer {
    node.ask("GET", path, &[("user-agent", agent)], "").await
}

fn url(document: &Value, version: &str) -> String {
    document["versions"][version]["dist"]["tarball"].as_str().unwrap().to_owned()
}

/// An upstream with some packages.
pub(crate) fn stub() -> Stub {
    let stub = Stub::start();
    stub.publish("pad", "1.0.0", |p| p);
    stub.publish("pad", "1.1.0", |p| p.dependency("left-pad", "^1.0.0"));
    stub.publish("@village/shifts", "2.0.0", |p| p);
    stub
}

/// The tarball that an upstream has under the path.
fn theirs(stub: &Stub, path: &str) -> Vec<u8> {
    stub.bytes(path, "*/*").unwrap()
}

#[tokio::test]
async fn scoped_names_and_tarballs_are_found_however_the_slash_comes() {
    let stub = stub();
    let node = Node::before(&stub).await;
    for path in ["/npm/@village%2fshifts", "/npm/@village%2Fshifts", "/npm/@village/shifts"] {
        let answer = node.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["name"].as_str()),
            (200, Some("@village/shifts")),
            "{path}"
        );
    }
    let bytes = theirs(&stub, "/@village/shifts/-/shifts-2.0.0.tgz");
    for path in [
        "/npm/@village/shifts/-/shifts-2.0.0.tgz",
        "/npm/@village%2fshifts/-/shifts-2.0.0.tgz",
        "/npm/~upstream/@village%2Fshifts/-/shifts-2.0.0.tgz",
        "/npm/npm/@village/shifts/-/shifts-2.0.0.tgz",
        "/@village/shifts/-/shifts-2.0.0.tgz",
        "/deep/path/of/it/@village/shifts/-/shifts-2.0.0.tgz",
        "/npm/deep/path/of/it/@village/shifts/-/shifts-2.0.0.tgz",
    ] {
        let answer = node.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.body == bytes, "{path}");
    }
    assert_eq!(stub.count("shifts-2.0.0.tgz"), 1, "one fetch was enough");
}

#[tokio::test]
async fn each_client_gets_the_urls_that_keep_its_lockfile() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let theirs = format!("{}pad/-/pad-1.0.0.tgz", stub.url());
    let ours = format!("{DOOR}pad/-/pad-1.0.0.tgz");
    for (agent, wanted) in [
        (NPM, &theirs),
        ("Bun/1.4.5", &theirs),
        ("yarn/1.22.22 npm/? node/v22", &theirs),
        (PNPM, &ours),
        ("got (https://example.test/got)", &ours),
        ("yarn/4.18.1", &ours),
        ("", &ours),
        ("curl/8 npm/11", &ours),
    ] {
        let answer = as_client(&node, "/npm/pad", agent).await;
        assert_eq!(&url(&answer.json(), "1.0.0"), wanted, "{agent}");
        assert_eq!(answer.header("vary"), "User-Agent, Accept, Accept-Encoding, X-Griot-Urls");
    }
    let headers = [("user-agent", PNPM), ("x-griot-urls", "canonical")];
    let proxied = node.ask("GET", "/npm/pad", &headers, "").await;
    assert_eq!(url(&proxied.json(), "1.0.0"), theirs);
    let verbatim = stub.bytes("/pad", "application/json").unwrap();
    assert!(as_client(&node, "/npm/pad", NPM).await.body == verbatim, "canonical is untouched");
}

#[tokio::test]
async fn a_tarball_elsewhere_keeps_its_url_and_an_odd_name_is_still_found() {
    let stub = stub();
    stub.switch(|s| s.tarballs = Tarballs::OtherHost);
    let node = Node::before(&stub).await;
    let elsewhere = as_client(&node, "/npm/pad", PNPM).await.json();
    assert!(url(&elsewhere, "1.0.0").starts_with(&stub.other_url()));
    assert!(node.get("/npm/pad/-/pad-1.0.0.tgz").await.body.len() > 50);

    stub.switch(|s| s.tarballs = Tarballs::Usual);
    stub.publish("odd", "1.0.0", |p| p);
    let mut document: Value = serde_json::from_slice(&theirs(&stub, "/odd")).unwrap();
    let odd = format!("{}odd/-/release%20v1.tgz", stub.url());
    document["versions"]["1.0.0"]["dist"]["tarball"] = json!(odd);
    let bytes = theirs(&stub, "/odd/-/odd-1.0.0.tgz");
    stub.raw("/odd", Raw::ok("application/json", document.to_string()));
    stub.raw("/odd/-/release%20v1.tgz", Raw::ok("application/octet-stream", bytes.clone()));
    assert_eq!(url(&as_client(&node, "/npm/odd", PNPM).await.json(), "1.0.0"), odd);
    for path in ["/npm/odd/-/release%20v1.tgz", "/npm/odd/-/odd-1.0.0.tgz"] {
        let answer = node.get(path).await;
        assert!(answer.body == bytes, "{path} {}", answer.text());
    }
    assert_eq!(node.get("/npm/odd/-/other.tgz").await.status, 404);
}

#[tokio::test]
async fn a_tarball_may_be_asked_before_its_packument() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let headers = [("user-agent", NPM), ("pacote-req-type", "tarball")];
    let answer = node.ask("GET", "/npm/pad/-/pad-1.1.0.tgz", &headers, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body == theirs(&stub, "/pad/-/pad-1.1.0.tgz"));
    assert_eq!(node.get("/npm/pad/-/pad-9.9.9.tgz").await.status, 404);
    assert_eq!(node.get("/npm/nobody/-/nobody-1.0.0.tgz").await.status, 404);
}

#[tokio::test]
async fn the_short_form_is_made_of_a_full_document_that_is_held() {
    let stub = stub();
    stub.publish("scripted", "1.0.0", |p| p.field("scripts", json!({ "postinstall": "true" })));
    let node = Node::before(&stub).await;
    let full = node.get("/npm/scripted").await;
    assert!(full.json()["time"]["1.0.0"].is_string(), "npm needs the times for --before");
    let short = node.ask("GET", "/npm/scripted", &[("accept", SHORT)], "").await;
    assert_eq!(short.header("content-type"), SHORT);
    let document = short.json();
    assert!(document["time"].is_null() && document["modified"].is_string());
    let version = &document["versions"]["1.0.0"];
    assert!(version["scripts"].is_null() && version["dist"]["integrity"].is_string());
    assert_eq!(version["hasInstallScript"], true);
    assert_ne!(full.header("etag"), short.header("etag"));
    assert_eq!(stub.count("/scripted"), 1, "the short form is made here");
}

#[tokio::test]
async fn an_upstream_that_has_no_short_form_is_shown_as_it_is() {
    let stub = stub();
    stub.switch(|s| s.crippled = true);
    let node = Node::before(&stub).await;
    let npm_8 = [("accept", SHORT), ("user-agent", NPM)];
    // npm 8 writes the licence into its lockfile if it gets one.
    for path in ["/npm/pad", "/npm/@village/shifts"] {
        // The second is held in full, as npm 10 asked for it.
        if path.contains("village") {
            assert_eq!(as_client(&node, path, NPM).await.status, 200);
        }
        let answer = node.ask("GET", path, &npm_8, "").await;
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        let verbatim = stub.bytes(path.trim_start_matches("/npm"), "application/json").unwrap();
        assert!(answer.body == verbatim, "{path}");
    }
}

#[tokio::test]
async fn validators_name_the_rendering_and_head_is_get() {
    let stub = stub();
    let node = Node::before(&stub).await;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/npm/pad", "/npm/~upstream/pad", "/npm/pad/1.0.0", "/npm/pad/1.1.0"] {
        for agent in [NPM, PNPM] {
            for accept in ["application/json", SHORT] {
                let headers = [("user-agent", agent), ("accept", accept)];
                let got = node.ask("GET", path, &headers, "").await;
                assert_eq!(got.status, 200, "{path}");
                assert_eq!(got.header("content-length"), got.body.len().to_string());
                assert!(got.header("age").parse::<u64>().is_ok());
                let head = node.ask("HEAD", path, &headers, "").await;
                assert_eq!(
                    (head.headers.get("etag"), head.body.len()),
                    (got.headers.get("etag"), 0)
                );
                assert_eq!(head.header("content-length"), got.header("content-length"));
                let known = [headers[0], headers[1], ("if-none-match", got.header("etag"))];
                assert_eq!(node.ask("GET", path, &known, "").await.status, 304);
                seen.insert((got.header("etag").to_owned(), got.body));
            }
        }
    }
    let tags: std::collections::BTreeSet<_> = seen.iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags.len(), seen.len(), "equal validators mean equal bytes");
}

#[tokio::test]
async fn one_manifest_comes_by_number_tag_and_range() {
    let stub = stub();
    stub.tag("pad", "old", "1.0.0");
    stub.deprecate("pad", "1.1.0", "use left-pad");
    let node = Node::before(&stub).await;
    for (wanted, version) in [
        ("1.0.0", "1.0.0"),
        ("v1.0.0", "1.0.0"),
        ("old", "1.0.0"),
        ("latest", "1.1.0"),
        ("%5E1.0.0", "1.0.0"),
        ("%3E1.0.0", "1.1.0"),
    ] {
        let answer = as_client(&node, &format!("/npm/pad/{wanted}"), PNPM).await;
        assert_eq!(answer.json()["version"], version, "{wanted}");
        let ours = format!("{DOOR}pad/-/pad-{version}.tgz");
        assert_eq!(answer.json()["dist"]["tarball"], ours);
    }
    assert_eq!(node.get("/npm/pad/9.0.0").await.status, 404);
    assert_eq!(node.get("/npm/pad/nonsense").await.status, 404);
    let tags = node.get("/npm/-/package/pad/dist-tags").await.json();
    assert_eq!(tags, json!({ "latest": "1.1.0", "old": "1.0.0" }));
}

#[tokio::test]
async fn what_an_upstream_has_cannot_be_changed_here() {
    let stub = stub();
    let node = Node::before(&stub).await;
    // Every client looks first; the node itself asks nobody in order to decide.
    assert_eq!(node.get("/npm/pad").await.status, 200);
    let body = publish_body("pad", "7.0.0", &tarball("pad", "7.0.0", "x")).to_string();
    let admin = [("authorization", "Bearer admin-secret")];
    for (method, path, body) in [
        ("PUT", "/npm/pad", body.as_str()),
        ("PUT", "/npm/pad/-rev/1-x", "{}"),
        ("DELETE", "/npm/pad/-rev/1-x", ""),
        ("PUT", "/npm/-/package/pad/dist-tags/next", "\"1.0.0\""),
        ("DELETE", "/npm/-/package/pad/dist-tags/next", ""),
    ] {
        let answer = node.ask(method, path, &admin, body.to_owned()).await;
        assert_eq!(answer.status, 409, "{method} {path} {}", answer.text());
        assert!(answer.text().contains("forwards nothing"));
    }
    assert!(stub.requests().iter().all(|seen| seen.method != "PUT" && seen.method != "DELETE"));
}

#[tokio::test]
async fn the_misses_before_a_first_publish_do_not_outlive_it() {
    let stub = stub();
    let node = Node::before(&stub).await;
    for accept in [SHORT, "application/json"] {
        let missing = node.ask("GET", "/npm/newcomer", &[("accept", accept)], "").await;
        assert_eq!(missing.status, 404);
    }
    publish(&node, "newcomer", "1.0.0").await;
    let document = node.get("/npm/newcomer").await.json();
    assert_eq!(document["dist-tags"]["latest"], "1.0.0");
    assert!(document["time"]["1.0.0"].as_str().unwrap() > "2020", "dates are those of the publish");
}

#[tokio::test]
async fn a_cached_miss_ends_without_a_restart() {
    let stub = stub();
    let node = Node::before(&stub).await;
    assert_eq!(node.get("/npm/later").await.status, 404);
    stub.publish("later", "1.0.0", |p| p);
    let fresh = node.ask("GET", "/npm/later", &[("cache-control", "no-cache")], "").await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
}

#[tokio::test]
async fn old_names_and_old_checksums_still_install() {
    let stub = stub();
    stub.publish("JSONStream", "1.0.0", |p| p);
    stub.publish("constructor", "1.0.0", |p| p);
    stub.publish("ancient", "1.0.0", |p| p);
    let mut document: Value = serde_json::from_slice(&theirs(&stub, "/ancient")).unwrap();
    let dist = document["versions"]["1.0.0"]["dist"].as_object_mut().unwrap();
    dist.remove("integrity");
    assert!(dist["shasum"].is_string());
    stub.raw("/ancient", Raw::ok("application/json", document.to_string()));
    let node = Node::before(&stub).await;
    for name in ["JSONStream", "constructor", "ancient"] {
        let answer = node.get(&format!("/npm/{name}")).await;
        assert_eq!(answer.json()["name"], name, "{name}");
        let file = format!("/{name}/-/{name}-1.0.0.tgz");
        let got = node.get(&format!("/npm{file}")).await;
        assert!(got.body == theirs(&stub, &file), "{name}: {}", got.text());
    }
    assert_eq!(node.get("/npm/jsonstream").await.status, 404, "case makes another package");
    for none in ["/npm/__proto__", "/npm/__proto__/-/__proto__-1.0.0.tgz"] {
        assert_eq!(node.get(none).await.status, 404, "{none}");
    }
    let body = publish_body("JSONstream", "1.0.0", &tarball("lower", "1.0.0", "x"));
    let refused = node.put("/npm/JSONstream", body.to_string()).await;
    assert_eq!(refused.status, 400, "new names are in lower case: {}", refused.text());
}

#[tokio::test]
async fn keys_and_attestations_pass_through() {
    let stub = stub();
    stub.switch(|s| s.signed = true);
    let node = Node::before(&stub).await;
    let keys = node.get("/npm/-/npm/v1/keys").await;
    assert!(keys.body == theirs(&stub, "/-/npm/v1/keys"), "{}", keys.text());
    assert_eq!(node.get("/npm/-/npm/v1/attestations/pad@9.0.0").await.status, 404);
    let bundle = json!({ "attestations": [{ "predicateType": "p", "bundle": {} }] });
    let path = "/-/npm/v1/attestations/@village%2fshifts@2.0.0";
    stub.raw(path, Raw::ok("application/json", bundle.to_string()));
    for path in [
        "/npm/-/npm/v1/attestations/@village%2fshifts@2.0.0",
        "/npm/-/npm/v1/attestations/@village/shifts@2.0.0",
        "/npm/deep/path/-/npm/v1/attestations/@village/shifts@2.0.0",
    ] {
        assert_eq!(node.get(path).await.json(), bundle, "{path}");
    }
}

#[tokio::test]
async fn search_lists_what_is_hosted_before_what_the_upstream_finds() {
    let stub = stub();
    let node = Node::before(&stub).await;
    publish(&node, "my-pad", "1.0.0").await;
    let found = node.get("/npm/-/v1/search?text=pad&size=20").await.json();
    let names: Vec<_> =
        found["objects"].as_array().unwrap().iter().map(|o| &o["package"]["name"]).collect();
    assert_eq!(names[0], "my-pad");
    assert!(names.iter().any(|name| *name == "pad"), "{names:?}");
    let date = found["objects"][0]["package"]["date"].as_str().unwrap();
    assert!(date > "2020", "a date that npm does not call prehistoric: {date}");
}

#[tokio::test]
async fn the_document_that_is_served_is_whole_whatever_its_size() {
    let stub = stub();
    let mut document: Value = serde_json::from_slice(&theirs(&stub, "/pad")).unwrap();
    let filler = "x".repeat(700);
    let version = document["versions"]["1.0.0"].take();
    let mut versions = serde_json::Map::new();
    for number in 0..4000 {
        let number = format!("1.0.{number}");
        let mut version = version.clone();
        version["version"] = json!(number);
        version["dist"]["tarball"] = json!(format!("{}pad/-/pad-{number}.tgz", stub.url()));
        version["filler"] = json!(filler);
        versions.insert(number, version);
    }
    document["versions"] = Value::Object(versions);
    let text = document.to_string();
    stub.raw("/pad", Raw::ok("application/json", text.clone()));
    let node = Node::before(&stub).await;
    assert!(as_client(&node, "/npm/pad", NPM).await.body == text.as_bytes());
    let ours = as_client(&node, "/npm/pad", PNPM).await;
    let changed = text.replace(&format!("{}pad/-/", stub.url()), &format!("{DOOR}pad/-/"));
    assert_eq!(ours.header("content-length"), ours.body.len().to_string());
    assert!(ours.body == changed.as_bytes());
    let headers = [("user-agent", NPM), ("accept", SHORT)];
    let short = node.ask("GET", "/npm/pad", &headers, "").await;
    let shown = short.json();
    assert_eq!(shown["versions"].as_object().unwrap().len(), 4000);
    assert!(shown["versions"]["1.0.3999"]["filler"].is_null());
    let mut plain = Vec::new();
    short.body.as_slice().read_to_end(&mut plain).unwrap();
    assert!(plain.len() < text.len() / 2);
}
