//! Bad input over HTTP: the right status, one clear sentence, and nothing left behind.
//!
//! One table of requests; after each of them the node lists what it listed before and holds as many
//! blobs as before.

use serde_json::{Value, json};

use crate::harness::samples::{noise, npm_package};
use crate::harness::{Node, Npm, Reply, Request, World};

/// A node with one package in each format, and what must not change about it.
struct Target {
    world: World,
    node: Node,
    publish: String,
    read: String,
}

impl Target {
    fn new() -> Self {
        let world = World::new();
        let node = world.node("a");
        let (publish, read) = (node.token("publish"), node.token("read"));
        let source = npm_package(&world.folder("sources"), "left-shift", "1.0.0", "one");
        node.json(&["publish", source.to_str().expect("paths of tests are UTF-8")]);
        let first = Request::put("/generic/tool/1.0.0/tool.bin", noise(1, 1_000)).token(&publish);
        assert_eq!(node.send(&first).status, 201);
        Self { world, node, publish, read }
    }

    fn state(&self) -> Value {
        let status = self.node.status();
        json!([
            self.node.info("npm", "left-shift"),
            self.node.info("generic", "tool"),
            status["index"],
            status["blobs"]["count"],
            status["wants"],
        ])
    }

    /// Sends a request and checks status, message and that nothing changed.
    #[track_caller]
    fn refuses(&self, request: &Request, statuses: &[u16]) {
        let before = self.state();
        let reply = self.node.send(request);
        let title = request.title();
        assert!(statuses.contains(&reply.status), "{title}: {} {}", reply.status, reply.text());
        let sentence = sentence(&reply);
        assert!(sentence.len() > 10, "{title}: no clear message: {}", reply.text());
        let lower = sentence.to_lowercase();
        for leak in ["an error occurred", "panicked", "backtrace", "/home/", "src/"] {
            assert!(!lower.contains(leak), "{title}: {sentence}");
        }
        assert_eq!(self.state(), before, "{title} left something behind");
    }
}

/// The one sentence of an error's body: `error` is a text, or has a `message`.
#[track_caller]
fn sentence(reply: &Reply) -> String {
    let body = reply.json();
    let error = &body["error"];
    let found = error.as_str().or_else(|| error["message"].as_str());
    found.unwrap_or_else(|| panic!("no error in {body}")).to_owned()
}

/// What npm sends to publish one file, with these bytes as its archive.
fn npm_body(name: &str, version: &str, archive: &[u8]) -> String {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(archive);
    let file = format!("{name}-{version}.tgz");
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { "latest": version },
        "versions": { version: { "name": name, "version": version, "dist": {
            "integrity": crate::harness::samples::integrity(archive),
        }}},
        "_attachments": { file: {
            "content_type": "application/octet-stream", "data": data, "length": archive.len(),
        }},
    })
    .to_string()
}

#[test]
fn red_28_writing_needs_a_token_with_the_scope() {
    let target = Target::new();
    let put = Request::put("/generic/tool/2.0.0/tool.bin", noise(2, 1_000));
    target.refuses(&put, &[401]);
    target.refuses(&put.clone().token("griot_nonsense"), &[401]);
    target.refuses(&put.clone().header("authorization", "Basic !!!"), &[401]);
    target.refuses(&put.clone().token(&target.read), &[403]);
    let npm = Request::put("/npm/left-shift", npm_body("left-shift", "2.0.0", b"x"))
        .header("content-type", "application/json");
    target.refuses(&npm, &[401]);
    target.refuses(&npm.token(&target.read), &[403]);
    for path in ["/api/admin/statements", "/api/admin/tokens", "/api/packages/publish"] {
        target.refuses(&Request::post(path, "x"), &[401, 404]);
        target.refuses(&Request::post(path, "x").token(&target.read), &[403, 404]);
    }
    let admin = Request::post("/api/admin/statements", "x").token(&target.publish);
    target.refuses(&admin, &[403]);
}

#[test]
fn bad_names_and_versions_are_refused_before_anything_is_kept() {
    let target = Target::new();
    for path in [
        "/generic/Tool/2.0.0/tool.bin",
        "/generic/-tool/2.0.0/tool.bin",
        "/generic/to..ol/2.0.0/tool.bin",
        "/generic/con/2.0.0/tool.bin",
        "/generic/re%D0%B0ct/2.0.0/tool.bin",
        "/generic/tool/%20/tool.bin",
        "/generic/tool/2.0.0/to%00ol",
        "/generic/tool/2.0.0/to%0aol",
        "/generic/tool/2.0.0/tool.bin.",
        "/generic/tool/2.0.0",
    ] {
        let put = Request::put(path, noise(2, 1_000)).token(&target.publish);
        target.refuses(&put, &[400, 404, 405]);
    }
    for (name, version) in [("left-shift", "one"), ("left-shift", "1.0"), ("Left Shift", "1.0.0")] {
        let path = format!("/npm/{}", name.replace(' ', "%20"));
        let put = Request::put(&path, npm_body(name, version, b"not an archive"))
            .header("content-type", "application/json")
            .token(&target.publish);
        target.refuses(&put, &[400]);
    }
}

#[test]
fn a_path_cannot_leave_its_place() {
    let target = Target::new();
    for path in [
        "/generic/tool/2.0.0/../../../etc/passwd",
        "/generic/tool/2.0.0/%2e%2e/x",
        "/generic/tool/2.0.0/..%2f..%2fx",
        "/generic/tool/2.0.0/%2e%2e%2fx",
        "/generic/tool/2.0.0/..%5cx",
        "/generic/tool/2.0.0/..\\x",
        "/generic/tool/%2e%2e/x",
        "/generic/%2e%2e/2.0.0/x",
        "/generic//2.0.0/x",
        "/generic/tool/2.0.0/%zz",
        "/generic/tool/2.0.0/%ff%fe",
    ] {
        let put = Request::put(path, noise(2, 1_000)).token(&target.publish);
        target.refuses(&put, &[400, 404]);
        target.refuses(&Request::get(path), &[400, 404]);
    }
    for path in ["/npm/..%2f..%2fetc", "/npm/%2e%2e", "/npm/left-shift/-/..%2fx.tgz"] {
        target.refuses(&Request::get(path), &[400, 404, 424]);
    }
}

#[test]
fn a_version_that_exists_does_not_change() {
    let target = Target::new();
    let put = Request::put("/generic/tool/1.0.0/tool.bin", noise(2, 1_000));
    target.refuses(&put.token(&target.publish), &[409]);
    let Some(npm) = Npm::new(&target.world, "packer", &target.node, None) else { return };
    let other = npm_package(&target.world.folder("other"), "left-shift", "1.0.0", "other");
    npm.ok(&other, &["pack"]);
    let archive = fs_err::read(other.join("left-shift-1.0.0.tgz")).expect("npm packed it");
    let put = Request::put("/npm/left-shift", npm_body("left-shift", "1.0.0", &archive))
        .header("content-type", "application/json")
        .token(&target.publish);
    target.refuses(&put, &[409]);
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let target = Target::new();
    let put = |body: String| {
        Request::put("/npm/left-shift", body)
            .header("content-type", "application/json")
            .token(&target.publish)
    };
    target.refuses(&put("{".to_owned()), &[400]);
    target.refuses(&put("[]".to_owned()), &[400]);
    target.refuses(&put(npm_body("left-shift", "2.0.0", b"not an archive")), &[400]);
    target.refuses(&put(npm_body("other-name", "2.0.0", b"not an archive")), &[400]);
    let lying = npm_body("left-shift", "2.0.0", b"x").replace("sha512-", "sha512-AAAA");
    target.refuses(&put(lying), &[400]);
    let digest = Request::put("/generic/tool/2.0.0/tool.bin", noise(2, 1_000))
        .header("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")
        .token(&target.publish);
    target.refuses(&digest, &[400]);
    let statement = Request::post("/api/admin/statements", vec![0xff, 0x00, 0x17])
        .header("content-type", "application/cbor")
        .token(&target.node.admin_token());
    target.refuses(&statement, &[400]);
}

#[test]
fn a_body_that_breaks_off_is_never_kept() {
    let target = Target::new();
    let before = target.state();
    let npm = npm_body("left-shift", "2.0.0", &noise(3, 10_000));
    let half = npm[..npm.len() / 2].to_owned();
    for request in [
        Request::put("/generic/tool/2.0.0/tool.bin", noise(2, 1_000)).claiming(100_000),
        Request::put("/npm/left-shift", half).claiming(npm.len()),
    ] {
        let request = request.token(&target.publish);
        if let Some(reply) = request.send(target.node.address()) {
            assert_eq!(reply.status, 400, "{}: {}", request.title(), reply.text());
        }
        assert_eq!(target.state(), before, "{} left something behind", request.title());
    }
}

#[test]
fn red_27_a_foreign_page_reaches_nothing() {
    let target = Target::new();
    let port = target.node.address().rsplit(':').next().expect("an address has a port");
    for host in ["evil.test", &format!("evil.test:{port}"), "127.0.0.1:1", "localhost.evil.test"] {
        target.refuses(&Request::get("/npm/left-shift").header("host", host), &[421]);
    }
    for path in ["/npm/left-shift", "/generic/tool/1.0.0/tool.bin", "/api/search?q=x", "/"] {
        let get = Request::get(path);
        target.refuses(&get.clone().header("origin", "http://evil.test"), &[403]);
        target.refuses(&get.clone().header("origin", "null"), &[403]);
        target.refuses(&get.clone().header("sec-fetch-site", "cross-site"), &[403]);
        target.refuses(&get.clone().header("sec-fetch-site", "same-site"), &[403]);
        target.refuses(&Request::new("OPTIONS", path), &[403]);
    }
    for target_url in ["http://evil.test/npm/left-shift", "http://evil.test:80/"] {
        target.refuses(&Request::get(target_url), &[400, 403, 421]);
    }
    let put = Request::put("/generic/tool/2.0.0/tool.bin", noise(2, 1_000))
        .header("origin", "http://evil.test")
        .token(&target.publish);
    target.refuses(&put, &[403]);
    let named = format!("localhost:{port}");
    let reply = target.node.send(&Request::get("/npm/left-shift").header("host", &named));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn what_nobody_has_is_an_honest_miss_and_an_unknown_path_a_short_404() {
    let target = Target::new();
    for path in ["/npm/nobody-has-this", "/npm/left-shift/-/left-shift-9.0.0.tgz"] {
        target.refuses(&Request::get(path), &[404, 424]);
    }
    target.refuses(&Request::get("/generic/tool/9.0.0/tool.bin"), &[404, 424]);
    target.refuses(&Request::get("/generic/nobody/1.0.0/tool.bin"), &[404, 424]);
    let unknown = "00".repeat(32);
    target.refuses(&Request::get(&format!("/api/blobs/{unknown}")), &[404, 424]);
    target.refuses(&Request::get("/api/blobs/nonsense"), &[400, 404]);
    target.refuses(&Request::get("/.well-known/anything"), &[404]);
    target.refuses(&Request::get("/no/such/door"), &[404]);
    target.refuses(&Request::new("PATCH", "/npm/left-shift").token(&target.publish), &[404, 405]);
}
