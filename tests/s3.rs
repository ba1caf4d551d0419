//! Blobs in a bucket of a real S3 server that two nodes share.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::harness::node::text;
use crate::harness::samples::{noise, noise_file, sha256};
use crate::harness::{BucketServer, Curl, EVENTUALLY, Node, Request, TlsFront, World, wait_until};

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

#[test]
fn what_b_names_survives_the_clearing_up_of_a_and_what_nobody_names_goes() {
    let world = World::new();
    let (Some(server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let a = Node::start(&world, "a", server.options());
    let b = Node::start(&world, "b", server.options());
    assert_eq!(upload(&curl, &world, &a, (PATH, 1, 70_000)), 201);
    let of_b = "/generic/of-b/1.0.0/of-b.bin";
    assert_eq!(upload(&curl, &world, &b, (of_b, 2, 6_000_000)), 201);
    let objects = server.objects();
    assert_eq!(objects.len(), 2);
    let nobody = server.put_object(b"of nobody");
    let told = a.json(&["gc", "--bucket"]);
    assert_eq!((&told["removed"]["count"], &told["young"]["count"]), (&0.into(), &3.into()));

    let before = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    for object in objects.iter().chain([&nobody]) {
        let file = fs_err::OpenOptions::new().write(true).open(object).expect("it is a file");
        file.file().set_modified(before).expect("its time can be set");
    }
    // B wrote its list at its start and at what it sent, so it names what it has since by its age.
    let told = a.json(&["gc", "--bucket", "--dry-run"]);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(2), "{told}");
    let lists: Vec<&str> = told["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["node"].as_str())
        .collect();
    assert!(lists.contains(&text(&b.status()["bucket"], "node").as_str()), "{told}");
    b.json(&["gc", "--bucket", "--dry-run"]);
    let told = a.json(&["gc", "--bucket"]);
    assert_eq!(told["removed"]["count"], 1, "{told}");
    assert!(!nobody.exists() && objects.iter().all(|object| object.exists()));
    forget_copies(&b);
    assert_eq!(sha256(&b.get(of_b).body), sha256(&noise(2, 6_000_000)));
    let (said, _) = a.refused(&["gc", "--bucket", "--forget", "00000000000abc"]);
    assert!(said.contains("no node 00000000000abc"), "{said}");
}

#[test]
fn a_home_without_a_bucket_says_that_there_is_none_to_clear_up() {
    let world = World::new();
    let node = world.node("a");
    let (said, _) = node.refused(&["gc", "--bucket"]);
    assert!(said.contains("in no bucket"), "{said}");
}

#[test]
fn a_bucket_behind_tls_is_reached_with_the_authority_that_is_named_and_not_without() {
    let world = World::new();
    let (Some(server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let front = TlsFront::to(server.address(), &world.path().join("authority.pem"));
    let options = server.options_over(&front);
    let mut blind = options.clone();
    blind.environment.retain(|(name, _)| name != "AWS_CA_BUNDLE");
    let node = Node::start(&world, "blind", blind);
    assert_eq!(upload(&curl, &world, &node, (PATH, 1, 9_000)), 507);
    assert!(node.status()["bucket"]["trouble"].is_string());
    let node = Node::start(&world, "a", options);
    assert_eq!(upload(&curl, &world, &node, (PATH, 1, 9_000)), 201);
    assert_eq!(server.objects().len(), 1);
    forget_copies(&node);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&noise(1, 9_000)));
}

#[test]
fn wrong_credentials_and_a_bucket_that_is_not_there_are_said_and_the_node_starts() {
    let world = World::new();
    let (Some(server), Some(curl)) = (BucketServer::start(&world), Curl::new()) else { return };
    let mut wrong = server.options();
    wrong.environment.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");
    wrong.environment.push(("AWS_SECRET_ACCESS_KEY".to_owned(), "not-this-one".to_owned()));
    let mut missing = server.options();
    missing.arguments[1] = "s3://nowhere/village".to_owned();
    for (name, options, code) in
        [("a", wrong, "SignatureDoesNotMatch"), ("b", missing, "NoSuchBucket")]
    {
        let node = Node::start(&world, name, options);
        assert_eq!(upload(&curl, &world, &node, (PATH, 1, 9_000)), 507);
        let why = text(&node.status()["bucket"], "trouble");
        assert!(why.contains(code), "{why}");
        assert!(!node.logs().contains("not-this-one"), "{}", node.logs());
    }
}

#[test]
fn an_upload_in_several_requests_goes_to_the_bucket_at_its_end_also_after_a_kill() {
    let world = World::new();
    let Some(server) = BucketServer::start(&world) else { return };
    let mut node = Node::start(&world, "a", server.options());
    let bytes = noise(3, 9_000_000);
    let token = node.token("publish");
    let start = Request::post("/generic/~uploads/?size=9000000", "").token(&token);
    let started = node.send(&start);
    assert_eq!(started.status, 202, "{}", started.text());
    let place = started.header("location").expect("it says where").to_owned();
    let place = place.split_once("/generic").map(|(_, rest)| format!("/generic{rest}"));
    let place = place.expect("it is a path of this format");
    let patch = |node: &Node, range: &str, body: &[u8]| {
        let request = Request::put(&place, body).method("PATCH");
        node.send(&request.token(&token).header("content-range", range)).status
    };
    assert_eq!(patch(&node, "0-4999999", &bytes[..5_000_000]), 202);
    node.kill9();
    node.up();
    assert!(server.objects().is_empty());
    assert_eq!(patch(&node, "5000000-8999999", &bytes[5_000_000..]), 202);
    let id = place.rsplit('/').next().expect("it ends with its name").to_owned();
    let done = node.send(&Request::put(&format!("{PATH}?upload={id}"), "").token(&token));
    assert_eq!(done.status, 201, "{}", done.text());
    assert_eq!(server.objects().len(), 1);
    forget_copies(&node);
    assert_eq!(sha256(&node.get(PATH).body), sha256(&bytes));
}
