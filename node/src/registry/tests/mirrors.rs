//! Mirrors that lie, lose their grant, or disagree; neighbours that say what is not so.

use std::time::{Duration, Instant};

use crdt::statement::Root;

use super::remote_receipts::{mirror_grant, reader, receipt, vouch};
use super::stub::{Asker, Mood, Stub, content, document, line, sha512, subject, tiny, until};
use super::*;
use crate::mesh::FileHint;
use crate::registry::nearby::Near;
use crate::registry::sought::{Place, Sought};
use crate::store::cached::CachedBy;

/// Seconds since 1970 at the end of the year 9999.
const YEAR_9999: u64 = 253_402_300_799;

/// The next epoch of the reader's site, with other grants.
async fn next_epoch(node: &Asker, grants: Vec<Grant>) {
    let first = genesis(&key(60), vec![mirror_grant(&key(61)), mirror_grant(&key(62))]);
    let Body::Root(root) = first.statement().body().clone() else { panic!("no root") };
    let next = Root { epoch: 1, prev: Some(first.statement().id()), grants, ..root };
    let next = Statement::new(first.statement().realm(), None, Body::Root(next)).unwrap();
    node.registry.admit(vec![Verified::sign(next, &[&key(60)])]).await.unwrap();
}

fn alarms(node: &Asker) -> Vec<String> {
    node.registry.alarms().unwrap().into_iter().map(|alarm| alarm.text).collect()
}

fn sought(node: &Asker, name: &str) -> Sought {
    match node.registry.place(Door::Virtual, &tiny(name)).unwrap() {
        Place::Upstream(sought) => *sought,
        Place::Realm(..) => panic!("it is a realm's"),
    }
}

#[tokio::test]
async fn red_23_a_mirror_without_its_grant_has_no_word_and_what_is_held_keeps_installing() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let said = node.hold(&document(&stub.url, "pad", &["1.0.0", "2.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &said, 1)).await;
    node.hold(&content("pad", "1.0.0")).await;
    assert_eq!(node.versions("pad").await.len(), 2);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));

    next_epoch(&node, vec![mirror_grant(&key(62))]).await;
    node.hold(&content("pad", "2.0.0")).await;
    let error = node.document("pad").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotHere);
    assert!(error.message.contains("no mirror of the site any more"), "{error}");
    assert!(error.message.contains(&key(61).public().to_string()), "{error}");
    assert_eq!(outcome(node.read("pad", "2.0.0").await), Outcome::NotHere, "on its word alone");
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("it is not used"), "{why}");

    stub.publish("pad", &["1.0.0"]);
    stub.mood(Mood::Well);
    until("the upstream is back", || async { node.document("pad").await.is_ok() }).await;
    assert_eq!(node.document("pad").await.unwrap().by, CachedBy::Upstream);
    until("the lie is told", || async { alarms(&node).iter().any(|a| a.contains("2.0.0")) }).await;
}

#[tokio::test]
async fn red_23_two_that_agreed_are_one_too_few_when_one_loses_its_grant() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[]).await;
    let said = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    for seed in [61, 62] {
        vouch(&node, realm, &key(seed), receipt(subject(&stub, "pad", "full"), &said, 1)).await;
    }
    assert_eq!(node.versions("pad").await, ["1.0.0"]);
    next_epoch(&node, vec![mirror_grant(&key(62))]).await;
    assert_eq!(outcome(node.document("pad").await), Outcome::NotHere);
}

#[tokio::test]
async fn red_23_other_checksums_for_a_version_are_an_alarm_and_never_taken() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61, 62]).await;
    let about = subject(&stub, "pad", "full");
    let held = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &held, 1)).await;
    node.hold(&content("pad", "1.0.0")).await;
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));

    let evil = line(&stub.url, "pad", "1.0.0", &sha512("evil 6.6.6 bytes"));
    let more = line(&stub.url, "pad", "2.0.0", &sha512(&content("pad", "2.0.0")));
    let evil = node.hold(&format!("name pad\ntag latest 2.0.0\n{evil}{more}")).await;
    node.hold("evil 6.6.6 bytes").await;
    for (seed, n) in [(62, 9), (61, 2)] {
        vouch(&node, realm, &key(seed), receipt(about.clone(), &evil, n)).await;
    }
    node.document("pad").await.unwrap();
    until("it was looked at", || async { node.registry.inner.declined.knows(&evil.digest) }).await;
    assert_eq!(node.document("pad").await.unwrap().digest, held.digest);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    let told = alarms(&node);
    assert!(told.len() == 1 && told[0].contains("pad@1.0.0"), "{told:?}");
    assert!(told[0].contains("other checksums"), "{told:?}");
}

#[tokio::test]
async fn red_23_another_mirrors_word_that_lacks_a_version_is_not_taken() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61, 62]).await;
    let about = subject(&stub, "pad", "full");
    let held = node.hold(&document(&stub.url, "pad", &["1.0.0", "1.0.1"])).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &held, 1)).await;
    assert_eq!(node.document("pad").await.unwrap().digest, held.digest);
    let less = node.hold(&document(&stub.url, "pad", &["1.0.0", "3.0.0", "4.0.0"])).await;
    vouch(&node, realm, &key(62), receipt(about.clone(), &less, 9)).await;
    node.document("pad").await.unwrap();
    until("it was looked at", || async { node.registry.inner.declined.knows(&less.digest) }).await;
    assert_eq!(node.document("pad").await.unwrap().digest, held.digest);
    // The one that said so first may take it back: packages are unpublished.
    let back = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(about, &back, 10)).await;
    until("it is taken", || async { node.versions("pad").await == ["1.0.0"] }).await;
    assert!(alarms(&node).is_empty());
}

#[tokio::test]
async fn red_25_bytes_that_nobody_has_and_clocks_of_the_year_9999_hide_no_honest_receipt() {
    let stub = Stub::start().await;
    let honest_text = document(&stub.url, "pad", &["1.0.0"]);
    for (size, n) in [(0, 1), (77, 1), (1 << 60, 1), (77, crdt::statement::MAX_COUNTER)] {
        let (node, realm) = reader(&stub, &[61, 62]).await;
        let about = subject(&stub, "pad", "full");
        let honest = node.hold(&honest_text).await;
        let nowhere = BlobInfo { digest: Digest::of(b"nobody has this"), size, ..honest.clone() };
        let lie = crdt::statement::Receipt {
            fetched_at: YEAR_9999,
            ..receipt(about.clone(), &nowhere, n)
        };
        vouch(&node, realm, &key(61), lie).await;
        vouch(&node, realm, &key(62), receipt(about, &honest, 1)).await;
        let found = node.document("pad").await.unwrap();
        assert_eq!((found.digest, found.stale), (honest.digest, true), "size {size}, n {n}");
        assert_eq!(found.by, CachedBy::Receipt { author: key(62).public() });
    }
}

#[tokio::test]
async fn red_23_a_reachable_upstream_outranks_a_receipt_that_has_more_versions() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let many = ["1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0"];
    let made_up = node.hold(&document(&stub.url, "ghost", &["1.0.0"])).await;
    let many = node.hold(&document(&stub.url, "pad", &many)).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &many, 1)).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "ghost", "full"), &made_up, 1)).await;
    assert_eq!(node.versions("pad").await.len(), 5);
    assert_eq!(node.versions("ghost").await.len(), 1);
    stub.publish("pad", &["1.0.0"]);
    stub.publish("other", &["1.0.0"]);
    stub.mood(Mood::Well);
    until("the origin is back", || async { node.document("other").await.is_ok() }).await;
    assert_eq!(node.versions("pad").await, ["1.0.0"], "at its first word");
    assert_eq!(outcome(node.document("ghost").await), Outcome::NotFound);
    until("both lies are told", || async {
        let told = alarms(&node).join("\n");
        told.contains("ghost") && told.contains("the version 2.0.0")
    })
    .await;
}

#[tokio::test]
async fn red_23_a_made_up_version_is_told_of_although_its_mirror_took_it_back() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let about = subject(&stub, "pad", "full");
    let lie = node.hold(&document(&stub.url, "pad", &["1.0.0", "6.6.6"])).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &lie, 1)).await;
    node.hold(&content("pad", "6.6.6")).await;
    node.text("pad", "6.6.6").await.unwrap();
    let truth = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(about, &truth, 2)).await;
    until("it was taken back", || async { node.versions("pad").await == ["1.0.0"] }).await;
    stub.publish("pad", &["1.0.0", "1.1.0"]);
    stub.mood(Mood::Well);
    until("it is told", || async {
        let _ = node.document("pad").await;
        alarms(&node).iter().any(|text| text.contains("pad@6.6.6"))
    })
    .await;
}

#[tokio::test]
async fn a_name_that_was_routed_away_is_not_told_to_the_upstream_by_a_review() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    for name in ["pad", "kit"] {
        let said = node.hold(&document(&stub.url, name, &["1.0.0"])).await;
        vouch(&node, realm, &key(61), receipt(subject(&stub, name, "full"), &said, 1)).await;
        node.document(name).await.unwrap();
        stub.publish(name, &["1.0.0"]);
    }
    let source = RouteSource::Realm(node.own);
    node.registry.route_add("tiny", "pad", source).await.unwrap();
    let asked = stub.asked("pad");
    stub.mood(Mood::Well);
    until("the other is asked", || async {
        node.registry.review_believed();
        node.cached(&stub, "kit").unwrap().by == CachedBy::Upstream
    })
    .await;
    assert_eq!(stub.asked("pad"), asked);
}

#[tokio::test]
async fn a_mirror_that_reissues_does_not_have_an_absent_name_asked_again() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    stub.mood(Mood::Well);
    until("it is absent", || async {
        outcome(node.document("nobody-has-it").await) == Outcome::NotFound
    })
    .await;
    let asked = stub.asked("nobody-has-it");
    for n in 1..20 {
        let info = BlobInfo { digest: Digest::of(&[n]), ..node.hold("x").await };
        let about = subject(&stub, "kit", "full");
        vouch(&node, realm, &key(61), receipt(about, &info, u64::from(n))).await;
        assert_eq!(outcome(node.document("nobody-has-it").await), Outcome::NotFound);
    }
    assert_eq!(stub.asked("nobody-has-it"), asked);
}

#[tokio::test]
async fn red_25_a_hint_that_led_nowhere_is_not_offered_again() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    let node = Asker::of(&stub).await;
    let digest = node.document("pad").await.unwrap().digest;
    node.hold(&content("pad", "1.0.0")).await;
    node.cut_off(&stub, Mood::Closed).await;
    let sought = sought(&node, "pad");
    let (version, file) = ("2.0.0".to_owned(), "pad-2.0.0.txt".to_owned());
    let lie = FileHint { version, file, digest: Digest::of(b"a lie"), size: 7 };
    let near = Near {
        at: Instant::now(),
        of: digest,
        held: BTreeSet::from([("1.0.0".to_owned(), "pad-1.0.0.txt".to_owned())]),
        hints: vec![lie.clone()],
    };
    node.registry.inner.nearby.put(&sought, &Arc::new(near));
    let latest = async || node.document("pad").await.unwrap().tags.unwrap()["latest"].clone();
    assert_eq!(latest().await, "2.0.0", "somebody says that it is here");
    node.registry.inner.nearby.refute(&sought, &lie, Duration::from_secs(60));
    assert_eq!(latest().await, "1.0.0", "and the install after the failed one succeeds");
}

#[tokio::test]
async fn one_who_can_raise_alarms_hides_no_others() {
    let node = Asker::start(Vec::new()).await;
    node.registry.raise(&tiny("quiet"), "receipt", "the one that counts", None).await.unwrap();
    for n in 0..40 {
        node.registry.raise(&tiny("loud"), "receipt", &format!("noise {n}"), None).await.unwrap();
    }
    let all = alarms(&node);
    assert!(all.contains(&"the one that counts".to_owned()));
    assert_eq!(all.len(), 17);
}
