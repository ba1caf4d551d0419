//! The list of all projects, when there are some thousands.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use crdt::statement::{Body as Said, File, Release};
use crdt::{PackageId, SecretKey, Statement, Verified};
use http_body_util::BodyExt as _;
use node::formats::serve;
use node::store::BlobInfo;
use serde_json::Value;

use crate::{HOST, Node};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
/// More than are read at once, and the last page of them is none that is full.
const PROJECTS: usize = 4_321;
/// Statements that are admitted together.
const TOGETHER: usize = 500;
/// A piece of the list: names that are read at once, with what stands around each.
const PIECE_MAX_BYTES: usize = 256 * 1024;

fn name(number: usize) -> String {
    // Neither in the order of the numbers nor of one length.
    format!("p{:x}-{}", number.wrapping_mul(2_654_435_761) & 0xffff_ffff, "x".repeat(number % 40))
}

/// A release of one file, as sync would bring it: the bytes are everybody's.
fn release(node: &Node, blob: &BlobInfo, name: &str) -> Verified {
    let file = File {
        name: format!("{}-1.0.tar.gz", name.replace('-', "_")),
        size: blob.size,
        blake3: blob.digest,
        checksums: blob.checksums.clone(),
        meta: None,
    };
    let version = "1.0".to_owned();
    let release = Release {
        version: version.clone(),
        written: version,
        files: vec![file],
        extras: None,
        claimed_time: 2,
    };
    let realm = node.front.registry.own_realm();
    let statement =
        Statement::new(realm, Some(PackageId::new("pypi", name)), Said::Release(release));
    Verified::sign(statement.unwrap(), &[&SecretKey::from_seed(&[2; 32])])
}

async fn publish_all(node: &Node, names: &BTreeSet<String>) {
    let registry = &node.front.registry;
    let mut writer = registry.stage("pypi").await.unwrap();
    writer.write(Bytes::from_static(b"some bytes")).await.unwrap();
    let blob = registry.store().commit(writer.finish().await.unwrap()).await.unwrap();
    let names: Vec<&String> = names.iter().collect();
    for some in names.chunks(TOGETHER) {
        let all = some.iter().map(|name| release(node, &blob, name)).collect();
        assert_eq!(registry.admit(all).await.unwrap(), some.len());
    }
}

/// The list, and its largest piece in bytes.
async fn list(node: &Node, accept: &str) -> (Vec<u8>, usize) {
    let request = Request::builder().uri("/pypi/simple/").header("host", HOST);
    let request = request.header("accept", accept).body(Body::empty()).unwrap();
    let mut body = serve(node.front.clone(), request).await.into_body();
    let (mut whole, mut largest) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.unwrap().into_data() else { continue };
        largest = largest.max(piece.len());
        whole.extend_from_slice(&piece);
    }
    (whole, largest)
}

#[tokio::test]
async fn thousands_of_projects_are_listed_once_each_in_their_order_and_piece_by_piece() {
    let node = Node::start().await;
    let names: BTreeSet<String> = (0..PROJECTS).map(name).collect();
    assert_eq!(names.len(), PROJECTS);
    publish_all(&node, &names).await;

    let (json, largest) = list(&node, JSON).await;
    let json: Value = serde_json::from_slice(&json).unwrap();
    let found = json["projects"].as_array().unwrap().iter();
    let found: Vec<&str> = found.map(|project| project["name"].as_str().unwrap()).collect();
    assert!(found.iter().eq(names.iter()), "each once, in their order");
    assert!(largest < PIECE_MAX_BYTES, "a piece of {largest} bytes");

    let (html, largest) = list(&node, "text/html").await;
    let html = String::from_utf8(html).unwrap();
    assert!(largest < PIECE_MAX_BYTES && html.ends_with("</html>\n"), "{largest}");
    let links = html.lines().filter_map(|line| line.strip_prefix("<a href=\"")?.split('/').next());
    assert!(links.eq(names.iter().map(String::as_str)));

    let headers = [("accept", JSON)];
    let head = node.ask("HEAD", "/pypi/~hosted/simple/", &headers, "").await;
    assert!(head.status.is_success() && head.body.is_empty());
    let none = node.ask("GET", "/pypi/~upstream/simple/", &headers, "").await;
    assert_eq!(none.json()["projects"], serde_json::json!([]));
}
