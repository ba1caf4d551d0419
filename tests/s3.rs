//! Blobs in a bucket of a real S3 server that two nodes share.

use std::path::Path;
use std::time::SystemTime;

use crate::harness::samples::{noise, noise_file, sha256};
use crate::harness::{BucketServer, Curl, EVENTUALLY, Node, World, wait_until};

const PATH: &str = "/generic/tool/1.0.0/tool.bin";
/// More than two parts.
const SIZE: usize = 12_000_000;

fn written(object: &Path) -> SystemTime {
    fs_err::metadata(object).expect("an object is a file").modified().expect("it has a time")
}

fn forget_copies(node: &Node) {
    fs_err::remove_dir_all(node.home().join("blobs")).expect("the copies can be removed");
}

fn upload(curl: &Curl, world: &World, node: &Node, (path, seed, size): (&str, u64, usize)) -> u16 {
    let source = noise_file(&world.path().join("source.bin"), seed, size);
    curl.upload(&source, &node.url(path), &node.token("publish"))
}

#[test]
fn what_a_published_b_serves_from_their_bucket_when_a_is_dead() {
    let world = World::new();
    let (Some(server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let mut a = Node::start(&world, "a", server.options());
    let mut b = Node::start(&world, "b", server.options());
    b.join(&a);
    assert_eq!(upload(&curl, &world, &a, (PATH, 7, SIZE)), 201);
    let objects = server.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    let sent = written(&objects[0]);
    b.wait_state("generic", ("tool", "1.0.0"), "ok");
    a.kill9();
    assert_eq!(sha256(&b.get(PATH).body), sha256(&noise(7, SIZE)));

    b.terminate();
    forget_copies(&b);
    b.up();
    assert_eq!(b.version("generic", "tool", "1.0.0")["artifacts"][0]["held"], true);
    assert_eq!(sha256(&b.get(PATH).body), sha256(&noise(7, SIZE)));
    assert_eq!(upload(&curl, &world, &b, ("/generic/copy/1.0.0/tool.bin", 7, SIZE)), 201);
    assert_eq!(server.objects(), objects);
    assert_eq!(written(&objects[0]), sent, "sent once, whoever had it");
    for node in [&a, &b] {
        assert!(!node.logs().contains(BucketServer::secret()), "{}", node.logs());
    }
}

#[test]
fn a_bucket_that_is_down_is_said_and_harms_nothing() {
    let world = World::new();
    let (Some(mut server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let mut node = Node::start(&world, "a", server.options());
    assert_eq!(upload(&curl, &world, &node, (PATH, 1, 70_000)), 201);
    node.terminate();
    forget_copies(&node);
    server.down();

    node.up();
    let reply = node.get(PATH);
    assert_eq!(reply.status, 424, "{}", reply.text());
    assert!(reply.text().contains("the bytes are in s3://blobs/village"), "{}", reply.text());
    let other = "/generic/other/1.0.0/other.bin";
    assert_eq!(upload(&curl, &world, &node, (other, 2, 9_000)), 507);
    assert!([404, 424].contains(&node.get(other).status));
    let bucket = &node.status()["bucket"];
    assert_eq!(bucket["url"], "s3://blobs/village");
    assert!(bucket["trouble"].is_string(), "{bucket}");

    server.up();
    wait_until("the bytes to be served again", EVENTUALLY, || node.get(PATH).status == 200);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 70_000)));
    assert_eq!(upload(&curl, &world, &node, (other, 2, 9_000)), 201);
    server.down();
    assert_eq!(node.get(PATH).status, 200, "there is a copy");
    assert!(!node.logs().contains(BucketServer::secret()), "{}", node.logs());
}

#[test]
fn a_home_that_had_blobs_sends_them_to_its_new_bucket() {
    let world = World::new();
    let (Some(server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let mut plain = world.node("a");
    assert_eq!(upload(&curl, &world, &plain, (PATH, 1, 70_000)), 201);
    plain.terminate();
    let mut node = Node::start(&world, "a", server.options());
    wait_until("the blob to be sent", EVENTUALLY, || server.objects().len() == 1);
    wait_until("nothing to wait", EVENTUALLY, || node.status()["bucket"]["unsent"] == 0);
    node.terminate();
    forget_copies(&node);
    node.up();
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 70_000)));
}
