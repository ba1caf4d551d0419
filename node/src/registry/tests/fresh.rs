//! Documents: fresh, stale, absent, refused; and what a restart changes about them: nothing.

use std::time::Instant;

use super::stub::{Asker, Mood, Stub, content, document, tiny, until};
use super::*;
use crate::store::cached::CachedBy;

/// Generous: an honest miss takes 1.5 s at most, on a machine that does little else.
const SOON: std::time::Duration = std::time::Duration::from_secs(6);

#[tokio::test]
async fn a_fresh_document_is_asked_for_once() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0", "1.1.0"]);
    let node = Asker::of(&stub).await;
    let first = node.document("pad").await.unwrap();
    assert_eq!((&first.by, first.stale, first.hidden()), (&CachedBy::Upstream, false, 0));
    assert_eq!(first.outline.tags["latest"], "1.1.0");
    assert_eq!(first.base, stub.url);
    for _ in 0..5 {
        let again = node.document("pad").await.unwrap();
        assert_eq!((again.digest, &again.revision), (first.digest, &first.revision));
    }
    assert_eq!(stub.asked("pad"), 1);
}

#[tokio::test]
async fn a_stale_document_is_served_at_once_and_refreshed_behind() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    node.age(&stub, "pad").await;
    let stale = node.document("pad").await.unwrap();
    assert!(stale.stale);
    assert_eq!(stale.outline.versions.len(), 1);
    assert!(stale.age >= 1_000);
    until("the new document is there", || async { node.versions("pad").await.len() == 2 }).await;
    assert!(!node.document("pad").await.unwrap().stale);
}

#[tokio::test]
async fn an_unchanged_document_is_confirmed_without_its_bytes() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let first = node.document("pad").await.unwrap();
    node.age(&stub, "pad").await;
    let again = node.ask("pad", "full", true).await.unwrap();
    assert_eq!((again.digest, again.stale, again.age < 10), (first.digest, false, true));
    assert_eq!(stub.asked("pad"), 2);
}

#[tokio::test]
async fn a_refresh_waits_for_the_upstream_and_a_second_one_does_not_ask_again() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    node.age(&stub, "pad").await;
    let new = node.ask("pad", "full", true).await.unwrap();
    assert_eq!(new.outline.versions.len(), 2);
    node.ask("pad", "full", true).await.unwrap();
    assert_eq!(stub.asked("pad"), 2);
}

#[tokio::test]
async fn a_restart_without_a_network_changes_nothing() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let before = node.document("pad").await.unwrap();
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    node.age(&stub, "pad").await;
    stub.mood(Mood::BlackHole);
    let node = node.restart(true).await;
    let after = node.document("pad").await.unwrap();
    assert_eq!((after.digest, after.stale), (before.digest, true));
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    assert_eq!(outcome(node.document("other").await), Outcome::NotHere);
}

#[tokio::test]
async fn a_black_hole_and_a_closed_port_are_honest_misses_and_soon_known() {
    for mood in [Mood::BlackHole, Mood::Closed] {
        let stub = Stub::start().await;
        stub.publish("pad", &["1.0.0"]);
        let node = Asker::of(&stub).await;
        node.document("pad").await.unwrap();
        node.age(&stub, "pad").await;
        node.cut_off(&stub, mood).await;
        let started = Instant::now();
        let error = node.document("unknown").await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotHere, "{mood:?}: {error}");
        assert!(error.message.contains("no copy is held"), "{error}");
        assert!(node.document("pad").await.unwrap().stale);
        assert!(started.elapsed() < SOON, "{mood:?}");
    }
}

#[tokio::test]
async fn who_only_reads_what_is_fresh_learns_that_the_upstream_is_back() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    node.cut_off(&stub, Mood::BlackHole).await;
    let hidden = node.document("pad").await.unwrap();
    assert_eq!(hidden.offered.map(|offered| offered.len()), Some(0), "nothing of it is held");
    stub.mood(Mood::Well);
    until("all is offered again", || async {
        node.document("pad").await.unwrap().offered.is_none()
    })
    .await;
    assert_eq!(stub.asked("pad"), 1, "the document itself is fresh");
}

#[tokio::test]
async fn a_black_hole_ends_the_first_wait_as_well() {
    let stub = Stub::start().await;
    stub.mood(Mood::BlackHole);
    let node = Asker::of(&stub).await;
    let started = Instant::now();
    assert_eq!(outcome(node.document("pad").await), Outcome::NotHere);
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn a_hundred_askers_are_one_request() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let all = (0..100).map(|_| node.document("pad"));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    let files = futures::future::join_all((0..100).map(|_| node.read("pad", "1.0.0"))).await;
    assert!(files.iter().all(Result::is_ok));
    assert_eq!((stub.asked("pad"), stub.asked("files/pad-1.0.0.txt")), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_ends_no_flight() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    {
        let gone = node.document("pad");
        futures::pin_mut!(gone);
        assert!(futures::poll!(gone).is_pending());
    }
    until("it is kept", || async { node.cached(&stub, "pad").is_some() }).await;
}

#[tokio::test]
async fn what_the_upstream_does_not_have_is_remembered_for_a_moment_and_forgotten_by_a_publish() {
    let stub = Stub::start().await;
    let node = Asker::of(&stub).await;
    for _ in 0..3 {
        let error = node.document("pad").await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotFound, "{error}");
    }
    assert_eq!(stub.asked("pad"), 1);
    stub.publish("pad", &["1.0.0"]);
    assert_eq!(outcome(node.document("pad").await), Outcome::NotFound);
    assert!(node.ask("pad", "full", true).await.is_ok(), "an explicit refresh asks");
    let ask = DocumentAsk { variant: "full", refresh: false, wanted: true };
    for _ in 0..2 {
        let found = node.registry.document(Door::Upstream, &tiny("kit"), ask).await;
        assert_eq!(found.unwrap_err().outcome, Outcome::NotFound);
    }
    assert_eq!(stub.asked("kit"), 1);
    stub.publish("kit", &["1.0.0"]);
    publish(&node, "kit 1.0.0 mine").await;
    assert!(node.registry.document(Door::Upstream, &tiny("kit"), ask).await.is_ok());
}

#[tokio::test]
async fn a_login_page_and_another_package_and_rubbish_are_no_documents() {
    let stub = Stub::start().await;
    let node = Asker::of(&stub).await;
    stub.put_as("page", 200, "text/html", "<html>log in</html>");
    stub.put("evil", &document(&stub.url, "pad", &["1.0.0"]));
    stub.put("rubbish", "no such line\n");
    for name in ["page", "evil", "rubbish"] {
        let error = node.document(name).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Corrupt, "{name}: {error}");
        assert!(node.cached(&stub, name).is_none());
    }
    stub.publish("page", &["1.0.0"]);
    assert!(node.document("page").await.is_ok(), "it is asked again at once");
}

#[tokio::test]
async fn a_document_that_lost_most_of_its_versions_does_not_replace_a_good_one() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0", "1.1.0", "1.2.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    for shrunken in [&["1.0.0"][..], &[]] {
        stub.put("pad", &document(&stub.url, "pad", shrunken));
        node.age(&stub, "pad").await;
        let kept = node.ask("pad", "full", true).await.unwrap();
        assert_eq!((kept.outline.versions.len(), kept.stale), (3, true));
    }
    stub.remove("pad");
    node.age(&stub, "pad").await;
    assert_eq!(node.ask("pad", "full", true).await.unwrap().outline.versions.len(), 3);
}

#[tokio::test]
async fn a_crippled_upstream_will_do() {
    let stub = Stub::start().await;
    stub.cripple();
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let first = node.ask("pad", "short", false).await.unwrap();
    assert_eq!(first.variant, "short");
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    node.ask("pad", "full", false).await.unwrap();
    assert_eq!(node.ask("pad", "short", false).await.unwrap().digest, first.digest);
}

#[tokio::test]
async fn a_broken_upstream_is_answered_for_by_what_is_held() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    node.age(&stub, "pad").await;
    stub.mood(Mood::Broken);
    assert!(node.ask("pad", "full", true).await.unwrap().stale);
    let error = node.document("other").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotHere);
    assert!(error.message.contains("503"), "{error}");
}

#[tokio::test]
async fn one_dead_origin_does_not_delay_another() {
    let (dead, alive) = (Stub::start().await, Stub::start().await);
    alive.publish("pad", &["1.0.0"]);
    let node = Asker::of(&alive).await;
    let choice = UpstreamChoice {
        format: "tiny".to_owned(),
        url: dead.url.clone(),
        pattern: Some("dead-*".to_owned()),
        ..UpstreamChoice::default()
    };
    node.registry.upstream_add(choice).await.unwrap();
    dead.mood(Mood::BlackHole);
    let slow = node.document("dead-letter");
    futures::pin_mut!(slow);
    assert!(futures::poll!(&mut slow).is_pending());
    let started = Instant::now();
    node.document("pad").await.unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
    assert_eq!(outcome(slow.await), Outcome::NotHere);
    assert_eq!(alive.asked("dead-letter"), 0);
}

#[tokio::test]
async fn a_hosted_name_never_asks_the_upstream_and_a_known_one_waits_for_a_route() {
    let stub = Stub::start().await;
    stub.publish("pad", &["9.0.0"]);
    let node = Asker::of(&stub).await;
    publish(&node, "kit 1.0.0 mine").await;
    let kit = tiny("kit");
    let ask = DocumentAsk { variant: "full", refresh: true, wanted: true };
    let found = node.registry.document(Door::Virtual, &kit, ask).await.unwrap();
    assert!(matches!(found, Document::Hosted(_)));
    assert_eq!(outcome(node.read("kit", "6.6.6").await), Outcome::NotFound);
    assert_eq!(stub.requests(), Vec::<String>::new());

    node.document("pad").await.unwrap();
    node.registry.route_add("tiny", "pad", RouteSource::Realm(node.own)).await.unwrap();
    publish(&node, "pad 1.0.0 mine").await;
    node.registry.route_remove("tiny", "pad").await.unwrap();
    let decision = node.registry.decide(&tiny("pad")).unwrap();
    // Publishing has pinned it; for a reader of the same realm it is undecided.
    assert_eq!(decision.ground, Ground::Pin);
    assert!(matches!(decision.pending, Some(Source::Unrouted { upstream: true, .. })));
}

async fn publish(node: &Asker, text: &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut writer = node.registry.stage("tiny").await.unwrap();
    writer.write(bytes::Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let publication = Publication {
        format: "tiny",
        name: words[0].to_owned(),
        version: words[1].to_owned(),
        files: vec![(format!("{}-{}.txt", words[0], words[1]), staged)],
        tags: Vec::new(),
        realm: None,
        claimed_time: Some(1),
    };
    node.registry.publish(&admin(), publication).await.unwrap();
}

#[tokio::test]
async fn the_doors_keep_apart_what_is_hosted_and_what_is_not() {
    let stub = Stub::start().await;
    stub.publish("kit", &["9.0.0"]);
    let node = Asker::of(&stub).await;
    publish(&node, "kit 1.0.0 mine").await;
    let ask = DocumentAsk { variant: "full", refresh: false, wanted: true };
    let kit = tiny("kit");
    let hosted = node.registry.document(Door::Hosted, &kit, ask).await.unwrap();
    assert!(matches!(hosted, Document::Hosted(_)));
    let Document::Upstream(upstream) =
        node.registry.document(Door::Upstream, &kit, ask).await.unwrap()
    else {
        panic!("the upstream door took the realm's");
    };
    assert_eq!(upstream.outline.versions[0].version, "9.0.0");
    let missing = node.registry.document(Door::Hosted, &tiny("pad"), ask).await;
    assert_eq!(missing.unwrap_err().outcome, Outcome::NotFound);
    assert_eq!(stub.asked("pad"), 0);
}

#[tokio::test]
async fn a_name_without_an_upstream_says_which_command_adopts_one() {
    let node = Asker::start(Vec::new()).await;
    let error = node.document("pad").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotFound);
    assert!(error.hint.unwrap().contains("griot upstream add tiny URL"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_and_what_is_held_stays() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    stub.publish("held", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let before = node.document("held").await.unwrap();
    node.age(&stub, "held").await;
    let blobs = node.registry.store().counts().unwrap().blobs;
    node.registry.store().reserve_all(true);
    for _ in 0..2 {
        let error = node.document("pad").await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unavailable, "{error}");
        assert!(error.message.contains("the disk is full"), "{error}");
        let error = node.text("pad", "1.0.0").await.unwrap_err();
        assert!(error.message.contains("the disk is full"), "{error}");
    }
    stub.publish("held", &["1.0.0", "2.0.0"]);
    let again = node.ask("held", "full", true).await.unwrap();
    assert_eq!((again.digest, again.stale), (before.digest, true));
    assert_eq!(node.registry.store().counts().unwrap().blobs, blobs);
    assert!(node.registry.wants().unwrap().is_empty(), "nobody near could help");
    node.registry.store().reserve_all(false);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
}

#[tokio::test]
async fn a_document_that_is_given_out_of_memory_counts_as_used() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let (registry, store) = (&node.registry, &node.registry.inner.store);
    let vouched = std::sync::Mutex::new(None);
    // Until what the first fetch brought with it is all recorded.
    until("nothing changes any more", || async {
        let found = node.document("pad").await.unwrap();
        let stamp = found.stamp.expect("it is of the upstream");
        store.forget_uses();
        *vouched.lock().unwrap() = Some((stamp, found.digest));
        registry.vouches(&stamp, false)
    })
    .await;
    let (stamp, digest) = vouched.into_inner().unwrap().expect("it was asked for");
    assert!(store.is_used(&digest), "whoever is vouched for reads it");
    // A stamp that is not good any more gives nobody anything.
    store.put_row("kind", "key", Vec::new()).await.unwrap();
    store.forget_uses();
    assert!(!registry.vouches(&stamp, false) && !store.is_used(&digest));
}
