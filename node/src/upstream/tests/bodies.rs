//! What is kept of an answer, and what never is.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use flate2::write::GzEncoder;
use tokio::sync::watch;

use super::super::Arrival;
use super::super::body::PORTAL;
use super::{Answer, Error, FILE, Progress, World, body, wrong};
use crate::stub::Raw;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encoded(body: Vec<u8>) -> Raw {
    Raw::ok("application/json", body).header("content-encoding", "gzip")
}

#[tokio::test]
async fn a_document_and_a_file_come_verbatim_with_their_hashes() {
    let world = World::with(300_000);
    assert_eq!(body(world.get(&world.ask("left-pad")).await), world.truth("left-pad"));
    let answer = world.get(&world.ask(FILE)).await;
    let Ok(Answer::Body { staged, .. }) = &answer else { panic!("{answer:?}") };
    let sha512 = staged.info().checksums.sha512.unwrap();
    let integrity = world.stub.integrity("left-pad", "1.0.0");
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    assert_eq!(integrity, format!("sha512-{}", engine.encode(sha512)));
    assert_eq!(body(answer), world.truth(FILE));
    let agents: Vec<_> = world.stub.requests();
    assert!(agents.iter().all(|it| it.header("user-agent").unwrap().starts_with("griot/")));
}

#[tokio::test]
async fn validators_of_the_copy_that_is_held_get_not_modified_or_the_new_bytes() {
    let world = World::new();
    let answer = world.get(&world.ask("left-pad")).await;
    let Ok(Answer::Body { etag, last_modified, content_type, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(content_type, "application/json");
    let ask = super::Ask { etag, last_modified, ..world.ask("left-pad") };
    assert!(matches!(world.get(&ask).await, Ok(Answer::NotModified)));
    assert_eq!(world.stub.answered(304), 1);
    world.stub.publish("left-pad", "1.1.0", |p| p);
    assert_eq!(body(world.get(&ask).await), world.truth("left-pad"));
    // Without validators there is nothing to compare: a 304 is then no answer.
    world.stub.raw("/left-pad", Raw { status: 304, headers: Vec::new(), body: Vec::new() });
    wrong(world.get(&world.ask("left-pad")).await);
}

#[tokio::test]
async fn a_crippled_upstream_serves_as_well() {
    let world = World::new();
    world.stub.switch(|s| s.crippled = true);
    let answer = world.get(&world.ask("left-pad")).await;
    let Ok(Answer::Body { etag, last_modified, .. }) = &answer else { panic!("{answer:?}") };
    assert_eq!((etag, last_modified), (&None, &None));
    body(answer);
}

#[tokio::test]
async fn absent_is_told_apart_from_refused() {
    let world = World::new();
    assert!(matches!(world.get(&world.ask("nobody")).await, Ok(Answer::Absent)));
    for status in [401, 403, 429, 500, 503] {
        world.stub.switch(|s| s.status = Some(status));
        let answer = world.get(&world.ask("left-pad")).await;
        let Err(Error::Status { status: said, why }) = answer else { panic!("{answer:?}") };
        assert_eq!(said, status);
        assert!(why.contains("this registry refuses everything"), "{why}");
    }
}

#[tokio::test]
async fn a_captive_portal_is_not_stored() {
    let world = World::new();
    world.stub.switch(|s| s.portal = true);
    assert_eq!(wrong(world.get(&world.ask("left-pad")).await), PORTAL);
    assert_eq!(wrong(world.get(&world.ask(FILE)).await), PORTAL);
    world.stub.switch(|s| s.portal = false);
    // One that does not call itself a web page, and one by the book.
    let sly = Raw::ok("application/json", "\u{feff} \n <!doctype html><p>log in");
    let honest = Raw { status: 511, ..Raw::ok("text/html", "<p>log in") };
    for raw in [sly, honest] {
        world.stub.raw("/left-pad", raw);
        assert_eq!(wrong(world.get(&world.ask("left-pad")).await), PORTAL);
    }
    world.check_nothing_kept();
    // Where web pages are documents, they are none of a portal.
    world.stub.raw("/simple/", Raw::ok("text/html", "<a href=x>x</a>"));
    let ask = super::Ask { never_html: false, ..world.ask("simple/") };
    assert_eq!(body(world.get(&ask).await), b"<a href=x>x</a>");
}

#[tokio::test]
async fn a_cut_body_is_resumed_where_it_broke_off() {
    let world = World::with(400_000);
    world.stub.switch(|s| (s.cut_after, s.cuts) = (Some(150_000), 2));
    assert_eq!(body(world.get(&world.ask(FILE)).await), world.truth(FILE));
    let seen = world.stub.requests();
    let ranges: Vec<_> = seen.iter().map(|it| it.header("range").unwrap_or("all")).collect();
    assert_eq!(ranges, ["all", "bytes=150000-", "bytes=300000-"]);
    assert!(seen[1].header("if-range").is_some_and(|etag| etag.starts_with('"')));
}

#[tokio::test]
async fn a_cut_body_without_validators_is_resumed_by_its_length() {
    let world = World::with(400_000);
    world.stub.switch(|s| (s.crippled, s.cut_after, s.cuts) = (true, Some(150_000), 1));
    assert_eq!(body(world.get(&world.ask(FILE)).await), world.truth(FILE));
    assert_eq!((world.stub.answered(200), world.stub.answered(206)), (1, 1));
}

#[tokio::test]
async fn a_cut_body_begins_anew_where_there_are_no_ranges() {
    let world = World::with(400_000);
    world.stub.switch(|s| (s.ranges, s.cut_after, s.cuts) = (false, Some(150_000), 1));
    assert_eq!(body(world.get(&world.ask(FILE)).await), world.truth(FILE));
    assert_eq!(world.stub.answered(200), 2);
}

#[tokio::test]
async fn a_part_that_does_not_fit_is_not_joined_to_what_was_there() {
    let world = World::with(400_000);
    world.stub.switch(|s| {
        (s.cut_after, s.cuts) = (Some(150_000), 1);
        s.slow = Some((FILE.to_owned(), std::time::Duration::from_secs(1)));
    });
    let ask = world.ask(FILE);
    let spoil = async {
        while world.stub.count(FILE) < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let part = Raw::ok("application/octet-stream", "of another file");
        let part = part.header("content-range", "bytes 150000-150014/150015");
        world.stub.raw(&format!("/{FILE}"), Raw { status: 206, ..part });
    };
    let (answer, ()) = tokio::join!(world.get(&ask), spoil);
    wrong(answer);
    let seen = world.stub.requests();
    let ranges: Vec<_> = seen.iter().map(|it| it.header("range").unwrap_or("all")).collect();
    assert_eq!(ranges, ["all", "bytes=150000-", "all"]);
    world.check_nothing_kept();
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_no_answer() {
    let world = World::new();
    let raw = Raw::ok("application/json", "wrong").header("content-range", "bytes 3-7/8");
    world.stub.raw("/part", Raw { status: 206, ..raw });
    wrong(world.get(&world.ask("part")).await);
    world.check_nothing_kept();
}

#[tokio::test]
async fn a_body_that_always_breaks_off_never_counts() {
    let world = World::with(400_000);
    for chunked in [false, true] {
        world.stub.switch(|s| {
            (s.ranges, s.chunked, s.cut_after) = (false, chunked, Some(150_000));
        });
        let answer = world.get(&world.ask(FILE)).await;
        let Err(Error::Unreachable { why, .. }) = answer else { panic!("{answer:?}") };
        assert!(why.contains("breaks off after"), "{why}");
        // It did answer.
        assert_eq!(world.upstream.reach(&world.endpoint.origin), super::super::Reach::Up);
    }
    world.check_nothing_kept();
}

#[tokio::test]
async fn more_than_the_limit_is_refused_and_leaves_nothing() {
    let world = World::with(400_000);
    for chunked in [false, true] {
        world.stub.switch(|s| s.chunked = chunked);
        let ask = super::Ask { limit: 100_000, ..world.ask(FILE) };
        assert!(wrong(world.get(&ask).await).contains("larger than the 100000 bytes"));
    }
    world.check_nothing_kept();
}

#[tokio::test]
async fn compressed_documents_are_decoded_within_the_limit_and_cut_ones_refused() {
    let world = World::new();
    let plain = b"{\"name\":\"left-pad\"}".repeat(20_000);
    world.stub.raw("/left-pad", encoded(gzip(&plain)));
    assert_eq!(body(world.get(&world.ask("left-pad")).await), plain);
    assert_eq!(world.stub.requests()[0].header("accept-encoding"), Some("gzip"));
    let bomb = gzip(&vec![b' '; 64 << 20]);
    world.stub.raw("/left-pad", encoded(bomb));
    let ask = super::Ask { limit: 1 << 20, ..world.ask("left-pad") };
    assert!(wrong(world.get(&ask).await).contains("larger than"));
    let mut cut = gzip(&plain);
    cut.truncate(cut.len() - 9);
    for broken in [cut, b"not gzip at all".to_vec()] {
        world.stub.raw("/left-pad", encoded(broken));
        assert!(wrong(world.get(&world.ask("left-pad")).await).contains("gzip"));
    }
    world.check_nothing_kept();
}

#[tokio::test]
async fn a_file_is_asked_for_plain_and_kept_as_it_comes() {
    let world = World::new();
    let tarball = gzip(b"a tarball");
    world.stub.raw(&format!("/{FILE}"), encoded(tarball.clone()));
    assert_eq!(body(world.get(&world.ask(FILE)).await), tarball);
    assert_eq!(world.stub.requests()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn who_streams_along_reads_what_came_and_at_the_end_all_of_it() {
    let world = World::with(3_000_000);
    let truth = world.truth(FILE);
    let (sender, mut watch) = watch::channel(Arrival::default());
    let ask = super::Ask { arrival: Some(sender), ..world.ask(FILE) };
    let follow = async {
        let mut looks = 0;
        loop {
            watch.changed().await.unwrap();
            let now = watch.borrow_and_update().clone();
            let file: Arc<std::fs::File> = now.file.expect("a sender of news has a file");
            let mut bytes = vec![0; now.written as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert!(truth.starts_with(&bytes));
            assert_eq!(now.size, Some(truth.len() as u64));
            looks += 1;
            if now.written == truth.len() as u64 {
                return looks;
            }
        }
    };
    let (answer, looks) = tokio::join!(world.get(&ask), follow);
    assert!(looks > 1, "it was told before the end");
    assert_eq!(body(answer), truth);
}

#[tokio::test]
async fn a_post_is_answered_within_its_limit_and_not_by_a_web_page() {
    let world = World::new();
    world.stub.advise("left-pad", serde_json::json!({ "id": 7 }));
    let url = format!("{}-/npm/v1/security/advisories/bulk", world.stub.url());
    let post = |limit| {
        let body = bytes::Bytes::from_static(b"{\"left-pad\":[\"1.0.0\"]}");
        world.upstream.post(&world.endpoint, &url, (body, limit), Progress::default())
    };
    let (kind, answer) = post(1000).await.unwrap();
    assert_eq!(
        (kind.as_str(), &answer[..]),
        ("application/json", &b"{\"left-pad\":[{\"id\":7}]}"[..])
    );
    assert!(matches!(post(5).await, Err(Error::Wrong(_))));
    world.stub.switch(|s| s.portal = true);
    assert_eq!(post(1000).await, Err(Error::Wrong(PORTAL.to_owned())));
    world.stub.switch(|s| (s.portal, s.status) = (false, Some(405)));
    assert!(matches!(post(1000).await, Err(Error::Status { status: 405, .. })));
}
