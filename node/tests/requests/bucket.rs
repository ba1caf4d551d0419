//! Files that lie only in a bucket, which flow to their client while their copy comes.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use node::formats::serve;
use node::store::{Blobs, Bucket};
use tokio::time::timeout;

use crate::bucket_server::{Mood, Server};
use crate::{ADMIN, HOST, Node};

const PATH: &str = "/generic/tool/1.0.0/tool.bin";
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(25);
const SIZE: usize = 3 << 20;

fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A node whose one file lies in the bucket alone, which stops in its middle.
async fn before(server: &Server) -> Node {
    let bucket = Bucket::s3_in("s3://blobs/village", 1 << 30, &server.environment()).unwrap();
    let node = Node::open_in(Blobs::Bucket(bucket), true).await;
    let token = format!("Bearer {ADMIN}");
    let put = node.ask("PUT", PATH, &[("authorization", &token)], bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    fs_err::remove_dir_all(node.home.path().join("blobs")).unwrap();
    fs_err::create_dir(node.home.path().join("blobs")).unwrap();
    server.mood(Mood::Pauses(2 << 20));
    node
}

async fn begun(node: &Node, path: &str) -> Response<Body> {
    let request = Request::get(path).header("host", HOST).body(Body::empty()).unwrap();
    let answer = timeout(LONG, serve(node.front.clone(), request)).await;
    let answer = answer.expect("the answer begins before the file is whole");
    assert_eq!(answer.status(), 200);
    answer
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

#[tokio::test]
async fn a_file_flows_to_all_who_ask_from_one_request_to_the_bucket() {
    let server = Server::start().await;
    let node = before(&server).await;
    let digest = blake3::hash(&bytes()).to_hex();
    let asked = server.count("GET /blobs/village/");
    let answer = begun(&node, PATH).await;
    let saved = answer.headers()["content-disposition"].to_str().unwrap();
    assert!(saved.contains("tool.bin"), "{saved}");
    let mut one = answer.into_body();
    let mut got = Vec::new();
    read(&mut one, &mut got, 1 << 20).await.unwrap();
    let mut two = begun(&node, &format!("/api/blobs/{digest}")).await.into_body();
    server.mood(Mood::Well);
    read(&mut one, &mut got, usize::MAX).await.unwrap();
    assert!(got == bytes());
    let mut got = Vec::new();
    read(&mut two, &mut got, usize::MAX).await.unwrap();
    assert!(got == bytes());
    assert_eq!(server.count("GET /blobs/village/") - asked, 1, "one flight");
    let again = node.get(PATH).await;
    assert!(!again.header("etag").is_empty() && again.body == bytes(), "from the copy");
    assert_eq!(server.count("GET /blobs/village/") - asked, 1);
}

#[tokio::test]
async fn wrong_bytes_break_off_are_an_alarm_and_nothing_of_them_is_kept() {
    let server = Server::start().await;
    let node = before(&server).await;
    server.spoil(|bytes| bytes[SIZE - 5] ^= 1);
    let mut body = begun(&node, PATH).await.into_body();
    let mut got = Vec::new();
    read(&mut body, &mut got, 1 << 20).await.unwrap();
    server.mood(Mood::Well);
    assert!(read(&mut body, &mut got, usize::MAX).await.is_err(), "it is no whole body");
    assert!(got.len() < SIZE, "{}", got.len());
    let alarms = node.front.registry.alarms().unwrap();
    assert!(alarms.iter().any(|alarm| alarm.kind == "bucket"), "{alarms:?}");
    let blob = node.front.registry.store().blob(&blake3::hash(&bytes()).to_hex().parse().unwrap());
    assert_eq!(blob.unwrap(), None);
    assert_ne!(node.get(PATH).await.status, 200);
}

#[tokio::test]
async fn a_part_waits_for_the_whole_and_is_never_unverified() {
    let server = Server::start().await;
    let node = before(&server).await;
    server.mood(Mood::Well);
    let part = node.ask("GET", PATH, &[("range", "bytes=5-9")], "").await;
    assert!(part.status == 206 && part.body == bytes()[5..10], "{}", part.text());
    let node = before(&server).await;
    server.spoil(|bytes| bytes[SIZE - 5] ^= 1);
    server.mood(Mood::Well);
    let part = node.ask("GET", PATH, &[("range", "bytes=5-9")], "").await;
    assert_ne!(part.status, 206, "{}", part.text());
}
