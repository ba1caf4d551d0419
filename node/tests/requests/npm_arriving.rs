//! Big tarballs of an upstream, which flow to their client while they come.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use crdt::PackageId;
use http_body_util::BodyExt as _;
use node::formats::serve;
use tokio::time::timeout;

use crate::upstream::Stub;
use crate::{HOST, Node};

const PATH: &str = "/npm/big/-/big-1.0.0.tgz";
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(25);

/// An upstream whose one tarball is big, and stops in the middle.
fn stub() -> (Stub, Vec<u8>) {
    let stub = Stub::start();
    stub.publish("big", "1.0.0", |p| p.padding(3 << 20));
    let bytes = stub.bytes("/big/-/big-1.0.0.tgz", "*/*").unwrap();
    stub.switch(|s| s.pause_after = Some(2 << 20));
    (stub, bytes)
}

/// The body of an answer that has begun.
async fn begun(node: &Node) -> Body {
    let request = Request::get(PATH).header("host", HOST).body(Body::empty()).unwrap();
    let answer = timeout(LONG, serve(node.front.clone(), request)).await;
    let answer = answer.expect("the answer begins before the file is whole");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// Reads on to a number of bytes.
async fn read(body: &mut Body, bytes: &mut Vec<u8>, size: usize) -> Result<(), axum::Error> {
    while bytes.len() < size {
        let frame = timeout(LONG, body.frame()).await.expect("bytes flow");
        let Some(frame) = frame else { break };
        bytes.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(())
}

/// Whether anything of the package's files is recorded.
fn is_kept(node: &Node) -> bool {
    let registry = &node.front.registry;
    let endpoint = registry.default_endpoint("npm").unwrap().unwrap();
    !registry.store().cached_files(&endpoint.origin, "npm", "big").unwrap().is_empty()
}

#[tokio::test]
async fn a_big_tarball_flows_before_it_is_whole() {
    let (stub, wanted) = stub();
    let node = Node::before(&stub).await;
    let mut body = begun(&node).await;
    let mut bytes = Vec::new();
    read(&mut body, &mut bytes, 1 << 20).await.unwrap();
    assert!(!is_kept(&node), "nothing refers to bytes that nobody has judged");
    // Another one joins the same flight.
    let mut second = begun(&node).await;
    stub.switch(|s| s.pause_after = None);
    read(&mut body, &mut bytes, usize::MAX).await.unwrap();
    assert!(bytes == wanted);
    let mut bytes = Vec::new();
    read(&mut second, &mut bytes, usize::MAX).await.unwrap();
    assert!(bytes == wanted && is_kept(&node));
    assert_eq!(stub.count("big-1.0.0.tgz"), 1);
    let package = PackageId::new("npm", "big");
    let pinned = node.front.registry.store().pinned_source(&package).unwrap();
    assert!(pinned.is_some(), "it was received whole");
}

#[tokio::test]
async fn wrong_bytes_break_off_and_nothing_of_them_is_kept() {
    let (stub, wanted) = stub();
    stub.switch(|s| s.wrong_bytes = true);
    let node = Node::before(&stub).await;
    let mut body = begun(&node).await;
    let mut bytes = Vec::new();
    read(&mut body, &mut bytes, 1 << 20).await.unwrap();
    stub.switch(|s| s.pause_after = None);
    assert!(read(&mut body, &mut bytes, usize::MAX).await.is_err(), "it is no whole body");
    assert!(bytes.len() < wanted.len() && !is_kept(&node));
    let package = PackageId::new("npm", "big");
    assert!(node.front.registry.store().pinned_source(&package).unwrap().is_none());
    stub.switch(|s| s.wrong_bytes = false);
    assert!(node.get(PATH).await.body == wanted, "the next one gets the right ones");
}

#[tokio::test]
async fn a_part_or_a_head_waits_for_the_whole() {
    let (stub, wanted) = stub();
    stub.switch(|s| s.pause_after = None);
    let node = Node::before(&stub).await;
    let head = node.ask("HEAD", PATH, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert!(!head.header("etag").is_empty(), "its digest is known");
    let part = node.ask("GET", PATH, &[("range", "bytes=5-9")], "").await;
    assert!(part.status == 206 && part.body == wanted[5..10]);
}
