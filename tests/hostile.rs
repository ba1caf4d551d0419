//! Bad input over HTTP: the right status, one clear sentence, and nothing left behind.
//!
//! A table: each row is a bad request, made for every format in its own protocol
//! (`hostile/doors.rs`). After each request the node lists what it listed before and holds as many
//! blobs as before. What is bad in one protocol alone stands below, in a test of its own.

use serde_json::{Value, json};

use crate::harness::samples::noise;
use crate::harness::upstream::{Crate, Distribution};
use crate::harness::{Node, Reply, Request, World};

mod doors;

use doors::{DOORS, Door, npm_body};

/// What the node has in each format.
const NAME: &str = "left-shift";
/// Its one version.
const VERSION: &str = "1.0.0";

/// A node with one package in each format, and what must not change about it.
struct Target {
    /// Its folder: kept until the node has ended.
    _world: World,
    node: Node,
    publish: String,
    read: String,
}

impl Target {
    fn new() -> Self {
        let world = World::new();
        let node = world.node("a");
        let (publish, read) = (node.token("publish"), node.token("read"));
        let target = Self { _world: world, node, publish, read };
        for door in DOORS {
            let archive = (door.archive)(NAME, VERSION, 1);
            let put = (door.put)(NAME, VERSION, &archive).token(&target.publish);
            let reply = target.node.send(&put);
            assert!((200..300).contains(&reply.status), "{}: {}", door.format, reply.text());
            for path in [(door.document)(NAME), (door.file)(NAME, VERSION, &archive)] {
                assert_eq!(target.node.get(&path).status, 200, "{path}");
            }
        }
        target
    }

    fn state(&self) -> Value {
        let status = self.node.status();
        let infos = DOORS.map(|door| self.node.info(door.format, NAME));
        json!([infos, status["index"], status["blobs"]["count"], status["wants"]])
    }

    /// Sends a request and checks status, message and that nothing changed.
    #[track_caller]
    fn refuses(&self, request: &Request, statuses: &[u16]) {
        let before = self.state();
        self.refuses_without_a_look(request, statuses);
        assert_eq!(self.state(), before, "{} left something behind", request.title());
    }

    /// The same for requests that write nothing; the state is compared once, after all of them.
    #[track_caller]
    fn refuses_without_a_look(&self, request: &Request, statuses: &[u16]) {
        let reply = self.node.send(request);
        let title = request.title();
        assert!(statuses.contains(&reply.status), "{title}: {} {}", reply.status, reply.text());
        let sentence = sentence(&reply);
        assert!(sentence.len() > 10, "{title}: no clear message: {}", reply.text());
        let lower = sentence.to_lowercase();
        for leak in ["an error occurred", "panicked", "backtrace", "/home/", "src/"] {
            assert!(!lower.contains(leak), "{title}: {sentence}");
        }
    }

    /// Requests that may write nothing, all of them refused.
    #[track_caller]
    fn refuses_all(&self, requests: impl IntoIterator<Item = Request>, statuses: &[u16]) {
        let before = self.state();
        for request in requests {
            self.refuses_without_a_look(&request, statuses);
        }
        assert_eq!(self.state(), before, "something was left behind");
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

/// The request that publishes the next version as it should be.
fn next(door: Door) -> Request {
    let archive = (door.archive)(NAME, "2.0.0", 2);
    (door.put)(NAME, "2.0.0", &archive)
}

#[test]
fn the_table_has_every_format_of_the_node() {
    let ids: Vec<&str> = node::formats::ALL.iter().map(|format| format.id).collect();
    assert_eq!(DOORS.map(|door| door.format).to_vec(), ids);
}

#[test]
fn red_28_writing_needs_a_token_with_the_scope() {
    let target = Target::new();
    for door in DOORS {
        let put = next(door);
        target.refuses(&put, &[401]);
        target.refuses(&put.clone().token("griot_nonsense"), &[401]);
        target.refuses(&put.clone().header("authorization", "Basic !!!"), &[401]);
        target.refuses(&put.clone().header("authorization", "griot_nonsense"), &[401]);
        target.refuses(&put.token(&target.read), &[403]);
    }
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
    for door in DOORS {
        let requests = door.bad.iter().map(|(name, version)| {
            let archive = (door.archive)(name, version, 2);
            (door.put)(name, version, &archive).token(&target.publish)
        });
        target.refuses_all(requests, &[400, 404, 405]);
    }
    let files =
        ["to%00ol", "to%0aol", "tool.bin."].map(|file| format!("/generic/tool/2.0.0/{file}"));
    let puts = files.map(|path| Request::put(&path, noise(2, 1_000)).token(&target.publish));
    target.refuses_all(puts, &[400]);
    let bare = Request::put("/generic/tool/2.0.0", noise(2, 1_000)).token(&target.publish);
    target.refuses(&bare, &[400, 404, 405]);
}

#[test]
fn a_path_cannot_leave_its_place() {
    let target = Target::new();
    let tails = [
        "..%2f..%2fetc",
        "%2e%2e",
        "%2e%2e/x",
        "../../../etc/passwd",
        "..%5cx",
        "..\\x",
        "%zz",
        "%ff%fe",
        "x%00y",
        "x%0ay",
        "%2fetc",
    ];
    for door in DOORS {
        let paths = door
            .below
            .iter()
            .flat_map(|below| tails.map(|tail| format!("/{}/{below}{tail}", door.format)));
        let paths: Vec<String> = paths.collect();
        let gets = paths.iter().map(|path| Request::get(path));
        target.refuses_all(gets, &[400, 404, 405, 424]);
        let puts = paths.iter().map(|path| Request::put(path, noise(2, 1_000)));
        target.refuses_all(puts.map(|put| put.token(&target.publish)), &[400, 404, 405]);
    }
    let more = ["/generic/%2e%2e/2.0.0/x", "/generic//2.0.0/x", "/generic/tool/%2e%2e/x"];
    let puts = more.map(|path| Request::put(path, noise(2, 1_000)).token(&target.publish));
    target.refuses_all(puts, &[400, 404]);
}

#[test]
fn a_version_that_exists_does_not_change() {
    let target = Target::new();
    for door in DOORS {
        let other = (door.archive)(NAME, VERSION, 2);
        let put = (door.put)(NAME, VERSION, &other).token(&target.publish);
        // 400 is what tells twine that it is there.
        target.refuses(&put, if door.format == "pypi" { &[400] } else { &[409] });
    }
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let target = Target::new();
    for door in DOORS {
        let right = (door.archive)(NAME, "2.0.0", 2);
        target.refuses(&(door.lie)(NAME, "2.0.0", &right).token(&target.publish), &[400]);
        if !door.reads_archives {
            continue;
        }
        let half = &right[..right.len() / 2];
        let other_name = (door.archive)("right-shift", "2.0.0", 2);
        let other_version = (door.archive)(NAME, "2.0.1", 2);
        for archive in [&b""[..], b"not an archive", half, &other_name, &other_version] {
            let put = (door.put)(NAME, "2.0.0", archive).token(&target.publish);
            target.refuses(&put, &[400]);
        }
    }
    let npm = |body: String| {
        Request::put("/npm/left-shift", body)
            .header("content-type", "application/json")
            .token(&target.publish)
    };
    target.refuses(&npm("{".to_owned()), &[400]);
    target.refuses(&npm("[]".to_owned()), &[400]);
    target.refuses(&npm(npm_body("other-name", "2.0.0", b"not an archive")), &[400]);
    let statement = Request::post("/api/admin/statements", vec![0xff, 0x00, 0x17])
        .header("content-type", "application/cbor")
        .token(&target.node.admin_token());
    target.refuses(&statement, &[400]);
}

#[test]
fn a_frame_that_is_not_well_formed_is_refused() {
    let target = Target::new();
    let cargo =
        |body: Vec<u8>| Request::put("/cargo/api/v1/crates/new", body).token(&target.publish);
    let huge = [&u32::MAX.to_le_bytes()[..], b"{}"].concat();
    let text = [&4_u32.to_le_bytes()[..], b"nope", &0_u32.to_le_bytes()].concat();
    for body in [Vec::new(), vec![1, 0], huge, text] {
        target.refuses(&cargo(body), &[400, 413]);
    }
    let form = |body: &str, boundary: &str| {
        let kind = format!("multipart/form-data{boundary}");
        Request::post("/pypi/legacy/", body).header("content-type", &kind).token(&target.publish)
    };
    let field = "--edge\r\ncontent-disposition: form-data; name=\":action\"\r\n\r\nfile_upload\r\n";
    let other = field.replace("file_upload", "submit");
    for (body, boundary) in [
        ("", "; boundary=edge"),
        (field, ""),
        (field, "; boundary=edge"),
        ("--edge--\r\n", "; boundary=edge"),
        (&format!("{field}--edge--\r\n"), "; boundary=edge"),
        (&format!("{other}--edge--\r\n"), "; boundary=edge"),
    ] {
        target.refuses(&form(body, boundary), &[400, 415]);
    }
}

#[test]
fn a_body_that_breaks_off_is_never_kept() {
    let target = Target::new();
    let before = target.state();
    for door in DOORS {
        let request = next(door).token(&target.publish).claiming(100_000);
        if let Some(reply) = request.send(target.node.address()) {
            assert_eq!(reply.status, 400, "{}: {}", request.title(), reply.text());
        }
        assert_eq!(target.state(), before, "{} left something behind", request.title());
    }
    let npm = npm_body(NAME, "2.0.0", &noise(3, 10_000));
    let half = npm[..npm.len() / 2].to_owned();
    let half = Request::put("/npm/left-shift", half).claiming(npm.len()).token(&target.publish);
    if let Some(reply) = half.send(target.node.address()) {
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    assert_eq!(target.state(), before, "half a document left something behind");
}

#[test]
fn red_27_a_foreign_page_reaches_nothing() {
    let target = Target::new();
    let port = target.node.address().rsplit(':').next().expect("an address has a port");
    let mut paths = vec!["/api/search?q=x".to_owned(), "/".to_owned()];
    for door in DOORS {
        paths.push((door.document)(NAME));
        paths.push((door.file)(NAME, VERSION, &(door.archive)(NAME, VERSION, 1)));
    }
    let evil = format!("evil.test:{port}");
    for path in &paths {
        let get = Request::get(path);
        for host in ["evil.test", &evil, "127.0.0.1:1", "localhost.evil.test"] {
            target.refuses_without_a_look(&get.clone().header("host", host), &[421]);
        }
        for (name, value) in [
            ("origin", "http://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            target.refuses_without_a_look(&get.clone().header(name, value), &[403]);
        }
        target.refuses_without_a_look(&Request::new("OPTIONS", path), &[403]);
    }
    for target_url in ["http://evil.test/npm/left-shift", "http://evil.test:80/"] {
        target.refuses(&Request::get(target_url), &[400, 403, 421]);
    }
    let named = format!("localhost:{port}");
    for door in DOORS {
        let put = next(door).header("origin", "http://evil.test").token(&target.publish);
        target.refuses(&put, &[403]);
        let get = Request::get(&(door.document)(NAME)).header("host", &named);
        let reply = target.node.send(&get);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn what_nobody_has_is_an_honest_miss_and_an_unknown_path_a_short_404() {
    let target = Target::new();
    for door in DOORS {
        let absent = (door.archive)(NAME, "9.0.0", 9);
        let misses = [
            (door.document)("nobody-has-this"),
            (door.file)("nobody-has-this", VERSION, &absent),
            (door.file)(NAME, "9.0.0", &absent),
        ];
        target.refuses_all(misses.iter().map(|path| Request::get(path)), &[404, 424]);
        let patch = Request::new("PATCH", &(door.document)(NAME)).token(&target.publish);
        target.refuses(&patch, &[404, 405]);
    }
    let unknown = "00".repeat(32);
    target.refuses(&Request::get(&format!("/api/blobs/{unknown}")), &[404, 424]);
    target.refuses(&Request::get("/api/blobs/nonsense"), &[400, 404]);
    target.refuses(&Request::get("/.well-known/anything"), &[404]);
    target.refuses(&Request::get("/no/such/door"), &[404]);
}

/// The upload of the plain API.
fn posted(metadata: &Value, filename: &str, file: &[u8]) -> Request {
    const BOUNDARY: &str = "griot-boundary";
    let part =
        |head: &str| format!("--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n");
    let mut body = part("name=\"metadata\"").into_bytes();
    body.extend(metadata.to_string().into_bytes());
    body.extend(format!("\r\n{}", part(&format!("name=\"file\"; filename={filename:?}"))).bytes());
    body.extend(file);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::post("/api/packages/publish", body).header("content-type", &kind)
}

#[test]
fn what_a_formats_own_publish_refuses_is_refused_by_the_plain_api_too() {
    let target = Target::new();
    let door = |format: &str| *DOORS.iter().find(|door| door.format == format).expect("a door");
    let post = |format: &str, version: &str, tags: &[&str], (filename, file): (&str, &[u8])| {
        let about = json!({ "format": format, "name": NAME, "version": version, "tags": tags });
        posted(&about, filename, file).token(&target.publish)
    };
    // No line of an index can be made of it: nobody could say which registry is meant.
    let unplaced = Crate::new(NAME, "2.0.0").dependency("syn", "1").bytes();
    target.refuses(&post("cargo", "2.0.0", &[], ("x.crate", &unplaced)), &[400]);
    let spelled = Crate::new("Left-Shift", "2.0.0").bytes();
    target.refuses(&post("cargo", "2.0.0", &[], ("x.crate", &spelled)), &[409]);
    let odd = Distribution::wheel(NAME, "2.0.0").requires_python("at least 3");
    let (name, bytes) = (odd.filename(), odd.bytes());
    target.refuses(&post("pypi", "2.0.0", &[], (&name, &bytes)), &[400]);
    let tarball = (door("npm").archive)(NAME, "2.0.0", 2);
    for tag in ["1.x", "", "two words", "2.0.0"] {
        target.refuses(&post("npm", "2.0.0", &[tag], ("x.tgz", &tarball)), &[400]);
    }
    // A file that joins a yanked version would bring it back.
    target.node.griot(&["yank", &format!("{NAME}@{VERSION}"), "--format", "pypi"]);
    let joins = Distribution::wheel(NAME, VERSION).tags("cp39-cp39-win32");
    let (name, bytes) = (joins.filename(), joins.bytes());
    target.refuses(&post("pypi", VERSION, &[], (&name, &bytes)), &[409]);
    // And as it should be, it is taken.
    let sound = Crate::new(NAME, "2.0.0").bytes();
    let reply = target.node.send(&post("cargo", "2.0.0", &[], ("x.crate", &sound)));
    assert_eq!(reply.status, 201, "{}", reply.text());
}
