//! Receipts: who signs, who is believed, and what happens when the upstream is back.

use crdt::statement::{Receipt, Via};

use super::stub::{
    Asker, Mood, Stub, content, document, line, mirror, sha1, sha512, subject, tiny, until,
};
use super::*;
use crate::store::cached::CachedBy;
use crate::store::receipts::AcceptedMirror;

pub(super) fn mirror_grant(to: &SecretKey) -> Grant {
    Grant {
        format: "tiny".to_owned(),
        ..Grant::to_key("mirror", Pattern::parse("*").unwrap(), to.public())
    }
}

/// A receipt as a mirror would sign it.
pub(super) fn receipt(subject: crdt::statement::Subject, info: &BlobInfo, n: u64) -> Receipt {
    Receipt {
        subject,
        blake3: info.digest,
        size: info.size,
        content_type: "text/plain".to_owned(),
        etag: None,
        last_modified: None,
        fetched_at: 1_000 + n,
        via: Via::Tls,
        n,
        checksums: None,
    }
}

/// Signs and admits it, with its bytes at hand as a neighbour would bring them.
pub(super) async fn vouch(node: &Asker, realm: RealmId, signer: &SecretKey, receipt: Receipt) {
    let statement = Statement::new(realm, None, Body::Receipt(receipt)).unwrap();
    node.registry.admit(vec![Verified::sign(statement, &[signer])]).await.unwrap();
}

/// A reader of a site with mirrors of the keys 61 and 62, of which it accepted some; its upstream
/// is out of reach.
pub(super) async fn reader(stub: &Stub, accepted: &[u8]) -> (Asker, RealmId) {
    let node = Asker::start(Vec::new()).await;
    let grants = vec![mirror_grant(&key(61)), mirror_grant(&key(62))];
    let site = genesis(&key(60), grants);
    let realm = site.statement().realm();
    let accepted = accepted
        .iter()
        .map(|seed| AcceptedMirror { key: key(*seed).public(), format: "tiny".to_owned() });
    let mirrors = accepted.collect();
    node.registry.follow(realm, FollowKind::Site, Vec::new(), mirrors).await.unwrap();
    node.registry.admit(vec![site]).await.unwrap();
    node.adopt(stub).await;
    node.cut_off(stub, Mood::Closed).await;
    (node, realm)
}

fn own_receipts(node: &Asker, stub: &Stub, name: &str) -> Vec<Receipt> {
    let held = node.registry.store().receipts(&node.own, &subject(stub, name, "full")).unwrap();
    held.into_iter().filter(|held| held.author == mirror().public()).map(|h| h.receipt).collect()
}

#[tokio::test]
async fn a_granted_node_signs_what_it_fetched_and_again_when_the_bytes_change() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::start(vec![mirror_grant(&mirror())]).await;
    node.adopt(&stub).await;
    let first = node.document("pad").await.unwrap();
    until("the first", || async { !own_receipts(&node, &stub, "pad").is_empty() }).await;
    let signed = own_receipts(&node, &stub, "pad").remove(0);
    assert_eq!((signed.blake3, signed.size, signed.n), (first.digest, first.size, 1));
    // Confirmed without a change: nothing new is said.
    node.age(&stub, "pad").await;
    node.ask("pad", "full", true).await.unwrap();
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    node.age(&stub, "pad").await;
    let second = node.ask("pad", "full", true).await.unwrap();
    until("the second", || async {
        own_receipts(&node, &stub, "pad").iter().any(|one| one.blake3 == second.digest)
    })
    .await;
    assert_eq!(own_receipts(&node, &stub, "pad").remove(0).n, 2);
}

#[tokio::test]
async fn a_receipt_that_a_kill_took_is_issued_at_the_next_start() {
    let stub = Stub::start().await;
    let node = Asker::start(vec![mirror_grant(&mirror())]).await;
    node.adopt(&stub).await;
    // Kept, and killed before the next batch was signed: a page of such documents and one more.
    let store = node.registry.store();
    let kept = CachedDocument {
        subject: subject(&stub, "pad", "full"),
        body: None,
        size: 0,
        content_type: String::new(),
        etag: None,
        last_modified: None,
        moved: None,
        fetched_at: 1,
        checked_at: 1,
        by: CachedBy::Upstream,
        earlier: Vec::new(),
    };
    for number in 0..130 {
        let info = node.hold(&format!("body {number}")).await;
        let subject = subject(&stub, &format!("pad{number}"), "full");
        let document = CachedDocument { subject, body: Some(info.digest), ..kept.clone() };
        store.put_cached_document(CachedDocument { size: info.size, ..document }).await.unwrap();
    }
    let said = CachedBy::Receipt { author: key(61).public() };
    let (info, subject) = (node.hold("said").await, subject(&stub, "said", "full"));
    let on_a_word = CachedDocument { subject, body: Some(info.digest), by: said, ..kept };
    store.put_cached_document(on_a_word).await.unwrap();
    node.registry.reissue_lost();
    for name in ["pad0", "pad129"] {
        until(name, || async { !own_receipts(&node, &stub, name).is_empty() }).await;
    }
    assert!(own_receipts(&node, &stub, "said").is_empty(), "what a mirror said is no finding");
}

#[tokio::test]
async fn a_node_without_the_grant_signs_nothing() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    let waiting = receipt(subject(&stub, "kit", "full"), &node.hold("kit").await, 0);
    node.registry.issue(&tiny("kit"), waiting);
    node.registry.receipts_to_sign().unwrap().await;
    assert!(own_receipts(&node, &stub, "pad").is_empty());
    assert!(own_receipts(&node, &stub, "kit").is_empty());
}

#[tokio::test]
async fn an_accepted_mirror_is_believed_while_the_upstream_is_away_and_others_are_not() {
    let stub = Stub::start().await;
    let text = document(&stub.url, "pad", &["1.0.0", "2.0.0"]);
    for (accepted, signer, believed) in [
        (&[61][..], 61, true),
        (&[61][..], 62, false),
        (&[][..], 61, false),
        (&[61][..], 63, false),
    ] {
        let (node, realm) = reader(&stub, accepted).await;
        let info = node.hold(&text).await;
        let said = receipt(subject(&stub, "pad", "full"), &info, 1);
        let statement = Statement::new(realm, None, Body::Receipt(said)).unwrap();
        let signed = Verified::sign(statement, &[&key(signer)]);
        // A stranger's is not even taken.
        let _ = node.registry.admit(vec![signed]).await;
        let found = node.document("pad").await;
        if !believed {
            assert_eq!(outcome(found), Outcome::NotHere, "{accepted:?} {signer}");
            continue;
        }
        let found = found.unwrap();
        assert_eq!(found.by, CachedBy::Receipt { author: key(61).public() });
        assert!(found.stale);
        assert_eq!(found.offered.map(|offered| offered.len()), Some(0), "no file is in reach");
        let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
        assert!(why.contains(&key(61).public().to_string()), "{why}");
        node.hold(&content("pad", "1.0.0")).await;
        assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    }
}

#[tokio::test]
async fn two_listed_mirrors_are_believed_when_they_agree_and_named_when_they_do_not() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[]).await;
    let one = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    let two = node.hold(&document(&stub.url, "pad", &["1.0.0", "2.0.0"])).await;
    let about = subject(&stub, "pad", "full");
    vouch(&node, realm, &key(61), receipt(about.clone(), &one, 1)).await;
    assert_eq!(outcome(node.document("pad").await), Outcome::NotHere);
    vouch(&node, realm, &key(62), receipt(about.clone(), &two, 1)).await;
    let error = node.document("pad").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Conflict);
    assert!(error.message.contains("do not agree"), "{error}");
    vouch(&node, realm, &key(61), receipt(about, &two, 2)).await;
    let found = node.document("pad").await.unwrap();
    assert_eq!(found.digest, two.digest);
    assert!(matches!(found.by, CachedBy::Agreement { authors } if authors.len() == 2));
}

#[tokio::test]
async fn a_newer_receipt_replaces_and_what_came_from_the_upstream_gives_way_only_to_more() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let about = subject(&stub, "pad", "full");
    let one = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &one, 1)).await;
    assert_eq!(node.versions("pad").await, ["1.0.0"]);
    let two = node.hold(&document(&stub.url, "pad", &["1.0.0", "2.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &two, 2)).await;
    until("it is replaced", || async { node.versions("pad").await.len() == 2 }).await;

    stub.mood(Mood::Well);
    stub.publish("pad", &["1.0.0", "2.0.0", "3.0.0"]);
    until("the upstream's", || async { node.versions("pad").await.len() == 3 }).await;
    node.cut_off(&stub, Mood::Closed).await;
    node.age(&stub, "pad").await;
    let lies = document(&stub.url, "pad", &["1.0.0", "9.0.0", "9.1.0", "9.2.0"]);
    let lies = node.hold(&lies).await;
    vouch(&node, realm, &key(61), receipt(about.clone(), &lies, 3)).await;
    node.document("pad").await.unwrap();
    until("it was looked at", || async { node.registry.inner.declined.knows(&lies.digest) }).await;
    assert_eq!(node.versions("pad").await.len(), 3);
    let more = document(&stub.url, "pad", &["1.0.0", "2.0.0", "3.0.0", "4.0.0"]);
    let more = node.hold(&more).await;
    vouch(&node, realm, &key(61), receipt(about, &more, 4)).await;
    until("more is taken", || async { node.versions("pad").await.len() == 4 }).await;
}

#[tokio::test]
async fn a_lying_receipt_is_found_out_when_the_upstream_is_back() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let honest = document(&stub.url, "kit", &["1.0.0"]);
    let evil = line(&stub.url, "pad", "1.0.0", &sha512("evil 6.6.6 bytes"));
    let evil = node.hold(&format!("name pad\ntag latest 1.0.0\n{evil}")).await;
    let honest = node.hold(&honest).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &evil, 1)).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "kit", "full"), &honest, 1)).await;
    assert_eq!(node.document("pad").await.unwrap().digest, evil.digest);
    assert_eq!(node.document("kit").await.unwrap().digest, honest.digest);

    stub.publish("pad", &["1.0.0"]);
    stub.publish("kit", &["1.0.0", "2.0.0"]);
    stub.mood(Mood::Well);
    until("the alarm", || async {
        node.registry.review_believed();
        !node.registry.alarms().unwrap().is_empty()
    })
    .await;
    let found = node.document("pad").await.unwrap();
    assert_eq!(found.by, CachedBy::Upstream);
    until("the honest one is compared too", || async {
        node.document("kit").await.unwrap().by == CachedBy::Upstream
    })
    .await;
    let alarms = node.registry.alarms().unwrap();
    let evidence = alarms[0].evidence.clone().unwrap();
    assert_eq!((alarms.len(), &alarms[0].package), (1, &tiny("pad")));
    assert_eq!((evidence.upstream, evidence.believed), (found.digest, evil.digest));
    assert_eq!(evidence.authors, [key(61).public()]);
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("alarm") && why.contains(&key(61).public().to_string()), "{why}");
}

#[tokio::test]
async fn a_reachable_upstream_is_asked_before_a_receipt_is_believed_again() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let old = node.hold(&document(&stub.url, "pad", &["1.0.0"])).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &old, 1)).await;
    assert_eq!(node.versions("pad").await, ["1.0.0"]);
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    stub.publish("other", &["1.0.0"]);
    stub.mood(Mood::Well);
    until("the origin is back", || async { node.document("other").await.is_ok() }).await;
    let found = node.document("pad").await.unwrap();
    assert_eq!((found.by, found.outline.versions.len()), (CachedBy::Upstream, 2));
    assert!(node.registry.alarms().unwrap().is_empty(), "an old document is no lie");
}

#[tokio::test]
async fn a_receipt_for_another_name_or_for_rubbish_is_not_taken() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    for (name, text) in
        [("pad", document(&stub.url, "kit", &["1.0.0"])), ("box", "rubbish line\n".to_owned())]
    {
        let info = node.hold(&text).await;
        vouch(&node, realm, &key(61), receipt(subject(&stub, name, "full"), &info, 1)).await;
        assert_eq!(outcome(node.document(name).await), Outcome::NotHere);
        assert!(node.cached(&stub, name).is_none());
    }
}

#[tokio::test]
async fn stripped_signatures_are_refused_where_the_origin_signs() {
    let stub = Stub::start().await;
    let (node, realm) = reader(&stub, &[61]).await;
    let signed = |name: &str, version: &str, signature: &str| {
        let sum = sha512(&content(name, version));
        line(&stub.url, name, version, &format!("{sum} {signature}"))
    };
    stub.put("-/keys", "secret");
    stub.put("kit", &format!("name kit\n{}", signed("kit", "1.0.0", "signed=secret-1.0.0")));
    stub.mood(Mood::Well);
    until("it is known to sign", || async {
        let _ = node.ask("kit", "full", true).await;
        let origin = subject(&stub, "kit", "full").origin.to_hex();
        node.registry.store().row("origin-signs", &origin).unwrap().is_some()
    })
    .await;
    node.cut_off(&stub, Mood::Closed).await;
    let good = signed("pad", "1.0.0", "signed=secret-1.0.0");
    let (none, wrong) = (signed("pad", "2.0.0", ""), signed("pad", "3.0.0", "signed=secret-1.0.0"));
    let text = format!("name pad\ntag latest 3.0.0\n{good}{none}{wrong}");
    let info = node.hold(&text).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &info, 1)).await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        node.hold(&content("pad", version)).await;
    }
    let found = node.document("pad").await.unwrap();
    let offered: Vec<_> = found.offered.unwrap().into_iter().collect();
    assert_eq!(offered, ["1.0.0"]);
    assert_eq!(found.tags.unwrap()["latest"], "1.0.0");
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    for version in ["2.0.0", "3.0.0"] {
        let error = node.read("pad", version).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotHere);
        assert!(error.message.contains("signature"), "{error}");
    }
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("2.0.0, 3.0.0 are refused"), "{why}");
}

#[tokio::test]
async fn a_file_receipt_lets_weak_bytes_come_from_others() {
    let stub = Stub::start().await;
    let text = content("pad", "1.0.0");
    let weak = format!("name pad\n{}", line(&stub.url, "pad", "1.0.0", &sha1(&text)));
    stub.put("pad", &weak);
    stub.put("files/pad-1.0.0.txt", &text);
    // The one who fetched it signs for it …
    let giver = Asker::start(vec![mirror_grant(&mirror())]).await;
    giver.adopt(&stub).await;
    giver.text("pad", "1.0.0").await.unwrap();
    let about = crdt::statement::Subject {
        document: "pad/pad-1.0.0.txt".to_owned(),
        variant: "file".to_owned(),
        ..subject(&stub, "pad", "full")
    };
    let signed = || giver.registry.store().receipts(&giver.own, &about).unwrap();
    until("the file receipt", || async { !signed().is_empty() }).await;
    let said = signed().remove(0).receipt;
    assert!(said.checksums.is_some());
    // … and who has that receipt takes the bytes from anybody; without it, from nobody.
    let (node, realm) = reader(&stub, &[61]).await;
    let info = node.hold(&weak).await;
    vouch(&node, realm, &key(61), receipt(subject(&stub, "pad", "full"), &info, 1)).await;
    node.hold(&text).await;
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::NotHere);
    vouch(&node, realm, &key(61), said).await;
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), text);
}
