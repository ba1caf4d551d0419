//! The document that describes the native API, held against a running node.
//!
//! Each path is asked with the document's own examples: the status must be one that the document
//! lists, and a JSON answer must have the fields that its schema requires.

use serde_json::Value;

use crate::harness::http::Request;
use crate::harness::samples::noise;
use crate::harness::{Node, World};

/// Fills a path and its query with the examples of its parameters.
fn example_of(path: &str, operation: &Value, digest: &str) -> String {
    let mut filled = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a parameter has a name");
        let example = match &parameter["example"] {
            Value::String(text) => text.replace("{digest}", digest),
            other => other.to_string(),
        };
        match parameter["in"].as_str() {
            Some("path") => filled = filled.replace(&format!("{{{name}}}"), &example),
            _ => query.push(format!("{name}={example}")),
        }
    }
    if query.is_empty() { filled } else { format!("{filled}?{}", query.join("&")) }
}

/// Follows a `$ref` within the document.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.trim_start_matches('#')).expect("it exists"),
        None => schema,
    }
}

/// Requires the fields that a schema requires, all the way down.
fn assert_fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolved(document, schema);
    for field in schema["required"].as_array().into_iter().flatten() {
        let field = field.as_str().expect("a field is a string");
        assert!(value.get(field).is_some(), "{place}: {field} lacks in {value}");
    }
    for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(found) = value.get(field) {
            assert_fits(document, inner, found, &format!("{place}.{field}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        assert_fits(document, &schema["items"], item, &format!("{place}[]"));
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value} is none of {allowed:?}");
    }
}

fn published(node: &Node) -> String {
    let token = node.token("publish");
    let put = Request::put("/generic/hello/1.0.0/hello.bin", noise(1, 2_000)).token(&token);
    assert_eq!(node.send(&put).status, 201);
    let info = node.info("generic", "hello");
    info["versions"][0]["artifacts"][0]["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn every_described_path_answers_as_it_is_described() {
    let world = World::new();
    let node = world.node("a");
    let digest = published(&node);
    let document = node.get("/openapi.json").json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 9, "{} paths", paths.len());
    for (path, operations) in paths {
        let Some(operation) = operations.get("get") else { continue };
        let example = example_of(path, operation, &digest);
        let reply = node.get(&example);
        assert_eq!(reply.status, 200, "{example}: {}", reply.text());
        let content = operation["responses"]["200"]["content"].as_object().expect("content");
        let (kind, described) = content.iter().next().expect("one kind");
        let served = reply.header("content-type").unwrap_or_default();
        assert!(served.starts_with(kind.as_str()), "{example}: {served} is not {kind}");
        if kind == "application/json" {
            assert_fits(&document, &described["schema"], &reply.json(), path);
        }
    }
}

#[test]
fn a_described_failure_and_a_described_publish_look_as_described() {
    let world = World::new();
    let node = world.node("a");
    let document = node.get("/openapi.json").json();
    let failure = &document["components"]["responses"]["Failure"]["content"];
    let schema = &failure["application/json"]["schema"];
    for path in ["/api/packages/nobody", "/api/blobs/xyz", "/api/search?limit=many"] {
        let reply = node.get(path);
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        assert_fits(&document, schema, &reply.json(), path);
    }
    let body = "--x\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n\
        {\"format\":\"generic\",\"name\":\"made\",\"version\":\"1\"}\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"made.bin\"\r\n\r\n\
        bytes\r\n--x--\r\n";
    let post = Request::post("/api/packages/publish", body)
        .header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(node.send(&post).status, 401);
    let reply = node.send(&post.token(&node.token("publish")));
    assert_eq!(reply.status, 201, "{}", reply.text());
    let described = &document["paths"]["/api/packages/publish"]["post"]["responses"]["201"];
    let schema = &described["content"]["application/json"]["schema"];
    assert_fits(&document, schema, &reply.json(), "publish");
}
