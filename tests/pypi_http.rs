//! What the clients of Python do not show of `/pypi/`: status, headers, ranges, forms, hostile
//! bodies. Each test is a case of the reference's list.

use serde_json::{Value, json};

use crate::harness::samples::sha256;
use crate::harness::upstream::Distribution;
use crate::harness::{Node, Reply, Request, World};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const BOUNDARY: &str = "a-boundary-of-this-test";

/// One part of a form; a file has a name.
struct Part<'a> {
    name: &'a str,
    file: Option<&'a str>,
    bytes: &'a [u8],
}

fn field<'a>(name: &'a str, text: &'a str) -> Part<'a> {
    Part { name, file: None, bytes: text.as_bytes() }
}

fn content<'a>(file: &'a str, bytes: &'a [u8]) -> Part<'a> {
    Part { name: "content", file: Some(file), bytes }
}

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for Part { name, file, bytes } in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn post(parts: &[Part<'_>]) -> Request {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::post("/pypi/legacy/", form(parts)).header("content-type", &kind)
}

fn upload(node: &Node, parts: &[Part<'_>]) -> Reply {
    node.send(&post(parts).token(&node.admin_token()))
}

/// A file as bytes, with its name.
fn made(distribution: &Distribution) -> (String, Vec<u8>) {
    (distribution.filename(), distribution.bytes())
}

#[track_caller]
fn publish(
    node: &Node,
    (name, version): (&str, &str),
    distribution: &Distribution,
) -> (String, Vec<u8>) {
    let (file, bytes) = made(distribution);
    let parts = [field("name", name), field("version", version), content(&file, &bytes)];
    let reply = upload(node, &parts);
    assert_eq!(reply.status, 200, "{}", reply.text());
    (file, bytes)
}

fn page(node: &Node, path: &str) -> Value {
    let reply = node.send(&Request::get(path).header("accept", JSON));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// A URL of a page of `/pypi/simple/NAME/`, as a path.
fn resolved(url: &Value) -> String {
    let url = url.as_str().expect("a URL is text");
    format!("/pypi/{}", url.strip_prefix("../../").expect("it is relative to the page"))
}

#[test]
fn pages_come_in_the_form_that_is_asked_for_under_the_normal_name_alone() {
    let world = World::new();
    let node = world.node("a");
    let wheel = Distribution::wheel("Acme.Demo", "1.0+cu12").requires_python(">=3.8");
    let (file, bytes) = publish(&node, ("Acme.Demo", "1.0+cu12"), &wheel);

    for (path, to) in [
        ("/pypi/simple", "./simple/"),
        ("/pypi/simple/acme-demo", "./acme-demo/"),
        ("/pypi/simple/Acme.Demo/", "../acme-demo/"),
        ("/pypi/simple/acme__demo", "./acme-demo/"),
        ("/pypi/~hosted/simple/ACME-demo/", "../acme-demo/"),
        ("/pypi/simple/Acme/?format=text/html", "../acme/?format=text%2Fhtml"),
    ] {
        let reply = node.get(path);
        assert_eq!((reply.status, reply.header("location")), (301, Some(to)), "{path}");
    }
    let ask = |accept: &str, query: &str| {
        let path = format!("/pypi/simple/acme-demo/{query}");
        node.send(&Request::get(&path).header("accept", accept))
    };
    let pip = format!("{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01");
    for (accept, query, kind) in [
        (&*pip, "", JSON),
        ("*/*", "", "text/html; charset=utf-8"),
        ("application/vnd.pypi.simple.v1+html", "", "application/vnd.pypi.simple.v1+html"),
        ("text/html", "?format=application/vnd.pypi.simple.v1+json", JSON),
    ] {
        let reply = ask(accept, query);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{accept}");
        assert_eq!(reply.header("vary"), Some("Accept, Accept-Encoding"));
        let etag = reply.header("etag").expect("a page has a validator").to_owned();
        let again = Request::get(&format!("/pypi/simple/acme-demo/{query}"));
        let again = node.send(&again.header("accept", accept).header("if-none-match", &etag));
        assert_eq!(again.status, 304);
    }
    assert_eq!(ask("application/xml", "").status, 406);
    assert_eq!(ask("*/*", "?format=xml").status, 406);

    let document = page(&node, "/pypi/simple/acme-demo/");
    assert_eq!(
        (&document["name"], &document["versions"]),
        (&json!("acme-demo"), &json!(["1.0+cu12"]))
    );
    let listed = &document["files"][0];
    assert_eq!(listed["filename"], json!(file));
    assert_eq!(listed["hashes"]["sha256"], json!(sha256(&bytes)));
    assert_eq!(
        (&listed["size"], &listed["requires-python"]),
        (&json!(bytes.len()), &json!(">=3.8"))
    );
    assert_eq!(listed["yanked"], json!(false));
    let html = ask("text/html", "").text();
    assert!(html.contains("data-requires-python=\"&gt;=3.8\""), "{html}");
    assert!(html.contains("acme_demo-1.0%2Bcu12-py3-none-any.whl#sha256="), "{html}");

    let names = page(&node, "/pypi/simple/");
    assert_eq!(names["projects"], json!([{ "name": "acme-demo" }]));
    assert!(node.get("/pypi/simple/").text().contains("<a href=\"acme-demo/\">acme-demo</a>"));
    assert_eq!(page(&node, "/pypi/~upstream/simple/")["projects"], json!([]));
    assert_eq!(page(&node, "/pypi/~hosted/simple/acme-demo/"), document);
    assert_eq!(node.get("/pypi/~upstream/simple/acme-demo/").status, 404);
    let old = node.get("/pypi/acme-demo/json").json();
    assert_eq!(
        (&old["info"]["version"], &old["info"]["name"]),
        (&json!("1.0+cu12"), &json!("Acme.Demo"))
    );
    assert_eq!(old["releases"]["1.0+cu12"][0]["digests"]["sha256"], json!(sha256(&bytes)));
    for path in
        ["/pypi/simple/never/", "/pypi/simple/-bad-/", "/pypi/never/json", "/pypi/", "/pypi/x"]
    {
        assert_eq!(node.get(path).status, 404, "{path}");
    }
    assert_eq!(node.get("/pypi/legacy/").header("allow"), Some("POST"));
}

#[test]
fn files_take_head_and_ranges_and_their_metadata_lies_beside_them() {
    let world = World::new();
    let node = world.node("a");
    let (file, bytes) = publish(&node, ("acme", "1.0"), &Distribution::wheel("acme", "1.0"));
    let (sdist, source) = publish(&node, ("acme", "1.0"), &Distribution::sdist("acme", "1.0"));
    let document = page(&node, "/pypi/simple/acme/");
    let listed = document["files"].as_array().expect("a page lists files");
    let find =
        |name: &str| listed.iter().find(|row| row["filename"] == name).expect("it is listed");
    let path = resolved(&find(&file)["url"]);
    assert_eq!(path, format!("/pypi/files/acme/{}/{file}", sha256(&bytes)));
    let whole = node.send(&Request::get(&path).header("accept-encoding", "gzip, zstd"));
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    assert_eq!(whole.header("content-encoding"), None);
    assert_eq!(node.get(&resolved(&find(&sdist)["url"])).body, source);
    let head = node.send(&Request::get(&path).method("HEAD"));
    let length = bytes.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
    assert_eq!((head.header("accept-ranges"), head.body.len()), (Some("bytes"), 0));
    let part = node.send(&Request::get(&path).header("range", "bytes=-10"));
    assert_eq!((part.status, &*part.body), (206, &bytes[bytes.len() - 10..]));
    let outside = node.send(&Request::get(&path).header("range", "bytes=9999999-"));
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, Some(&*format!("bytes */{length}")))
    );

    let metadata = node.get(&format!("{path}.metadata"));
    assert_eq!(metadata.status, 200);
    assert!(metadata.text().starts_with("Metadata-Version: 2.1\nName: acme\n"));
    let said = json!({ "sha256": sha256(&metadata.body) });
    assert_eq!((&find(&file)["core-metadata"], &find(&file)["dist-info-metadata"]), (&said, &said));
    // An sdist may say one thing and build another.
    assert_eq!(find(&sdist)["core-metadata"], json!(false));
    let other = path.replace(&sha256(&bytes), &"0".repeat(64));
    for absent in [
        other.clone(),
        format!("{other}.metadata"),
        path.replace(&sha256(&bytes), "-"),
        path.replace("files/acme", "files/never"),
        path.replace("acme-1.0", "acme-1.1"),
        format!("{path}.provenance"),
        format!("{path}.asc"),
    ] {
        assert_eq!(node.get(&absent).status, 404, "{absent}");
    }
}

#[test]
fn a_form_comes_in_any_order_and_its_checksums_are_compared() {
    let world = World::new();
    let node = world.node("a");
    let (file, bytes) = made(&Distribution::wheel("acme", "1.0"));
    let sum = sha256(&bytes);
    let base = || [field("name", "acme"), field("version", "1.0")];
    let refused = |more: Vec<Part<'_>>, because: &str| {
        let parts: Vec<_> = base().into_iter().chain(more).collect();
        let reply = upload(&node, &parts);
        assert_eq!(reply.status, 400, "{because}: {}", reply.text());
        assert!(reply.text().contains(because), "{because}: {}", reply.text());
        assert_eq!(node.get("/pypi/simple/acme/").status, 404, "{because}");
    };
    let it = || content(&file, &bytes);
    refused(vec![], "content is missing");
    refused(vec![it(), field("sha256_digest", &"0".repeat(64))], "sha256_digest");
    refused(vec![it(), field("md5_digest", &"0".repeat(32))], "md5_digest");
    refused(vec![it(), field(":action", "submit")], "file_upload");
    refused(vec![it(), field("filetype", "bdist_egg")], "bdist_egg");
    refused(vec![it(), field("filetype", "sdist")], "is not the name");
    refused(vec![it(), field("version", "1.1")], "twice");
    refused(vec![it(), it()], "several files");
    refused(vec![it(), field("attestations", "{}")], "attestations");
    refused(vec![content("acme-1.1-py3-none-any.whl", &bytes)], "is not the name");
    refused(vec![content("other-1.0-py3-none-any.whl", &bytes)], "is not the name");
    refused(vec![content("acme-1.0-py2.7.egg", &bytes)], "is not the name");
    refused(vec![content("../acme-1.0-py3-none-any.whl", &bytes)], "path");
    refused(vec![content(&file, b"not a zip")], "zip");
    let bad = Distribution::wheel("acme", "1.0").requires_python("three").bytes();
    refused(vec![content(&file, &bad)], "specifier");

    let whole = post(&[field("name", "acme"), field("version", "1.0"), it()]);
    assert_eq!(node.send(&whole).status, 401);
    assert_eq!(node.send(&whole.clone().token(&node.token("read"))).status, 403);
    let long = whole.clone().token(&node.admin_token()).claiming(1_000_000);
    assert!(long.send(node.address()).is_none_or(|reply| reply.status >= 400));
    assert_eq!(node.get("/pypi/simple/acme/").status, 404);

    let attested = r#"[{"version":1,"verification_material":{},"envelope":{}}]"#;
    let reply = upload(
        &node,
        &[
            it(),
            field("sha256_digest", &sum),
            field("filetype", "bdist_wheel"),
            field("md5_digest", "which does not matter then"),
            field("classifiers", "A"),
            field("classifiers", "B"),
            field("attestations", attested),
            field("version", "v1.0"),
            field("name", "ACME"),
            field(":action", "file_upload"),
            field("protocol_version", "1"),
        ],
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = page(&node, "/pypi/simple/acme/");
    let provenance = document["files"][0]["provenance"].as_str().expect("it was attested");
    let path = provenance.strip_prefix(&node.url("")).expect("it lies here");
    let provenance = node.get(path).json();
    let bundle = &provenance["attestation_bundles"][0];
    assert_eq!(bundle["attestations"], serde_json::from_str::<Value>(attested).expect("JSON"));
    // The same once more is a success; other bytes are told in the words that clients know.
    assert_eq!(upload(&node, &[it(), field("name", "acme"), field("version", "1.0")]).status, 200);
    let other = Distribution::wheel("acme", "1.0").says("other").bytes();
    let reply =
        upload(&node, &[content(&file, &other), field("name", "acme"), field("version", "1.0")]);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("File already exists"), "{}", reply.text());
}

#[test]
fn a_private_project_reads_like_one_that_never_was() {
    let world = World::new();
    let node = world.node("a");
    let (file, bytes) = publish(&node, ("secret", "1.0"), &Distribution::wheel("secret", "1.0"));
    node.griot(&["realm", "grant", "*:*", &node.publisher(), "--role", "read"]);
    let path = format!("/pypi/files/secret/{}/{file}", sha256(&bytes));
    let reading = node.token("read");
    for (path, status) in [
        ("/pypi/simple/secret/".to_owned(), 200),
        ("/pypi/~hosted/simple/secret/".to_owned(), 200),
        ("/pypi/secret/json".to_owned(), 200),
        ("/pypi/secret/1.0/json".to_owned(), 200),
        (path.clone(), 200),
        (format!("{path}.metadata"), 200),
        (format!("{path}.provenance"), 404),
        ("/pypi/files/secret/00/junk".to_owned(), 404),
    ] {
        let (hidden, absent) = (node.get(&path), node.get(&path.replace("secret", "never1")));
        assert_eq!((hidden.status, absent.status), (404, 404), "{path}");
        assert_eq!(hidden.text().replace("secret", "never1"), absent.text(), "{path}");
        assert_eq!(node.send(&Request::get(&path).token(&reading)).status, status, "{path}");
    }
    assert_eq!(page(&node, "/pypi/simple/")["projects"], json!([]));
    let list = Request::get("/pypi/simple/").header("accept", JSON).token(&reading);
    assert_eq!(node.send(&list).json()["projects"], json!([{ "name": "secret" }]));
}
