//! Files of an upstream: what fits is kept, what does not is refused; what cannot be had is wanted.

use super::stub::{Asker, Mood, Stub, content, document, line, sha1, sha512, subject, tiny, until};
use super::*;
use crate::store::cached::CachedBy;

#[tokio::test]
async fn a_file_comes_once_and_is_there_when_the_upstream_is_not() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    // As `npm ci` does it: the file before the document.
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    node.cut_off(&stub, Mood::Closed).await;
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    assert_eq!(stub.asked("files/pad-1.0.0.txt"), 1);
}

#[tokio::test]
async fn a_completed_file_pins_where_its_name_comes_from() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    let got = node.read("pad", "1.0.0").await.unwrap();
    assert_eq!(node.registry.store().pinned_source(&tiny("pad")).unwrap(), None);
    got.completion.unwrap().completed().await;
    let pinned = node.registry.store().pinned_source(&tiny("pad")).unwrap();
    assert_eq!(pinned, Some(Source::Upstream { origin: None }));
    let file = "pad-1.0.0.txt";
    let got = node.registry.artifact(Door::Upstream, &tiny("pad"), "1.0.0", file).await.unwrap();
    assert!(got.completion.is_none(), "the upstream's own door pins nothing");
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_nothing_of_them_stays() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    stub.put("files/pad-1.0.0.txt", "evil 6.6.6 bytes");
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    let blobs = node.registry.store().counts().unwrap().blobs;
    let error = node.read("pad", "1.0.0").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Corrupt, "{error}");
    assert_eq!(node.registry.store().counts().unwrap().blobs, blobs);
    assert!(node.registry.wants().unwrap().is_empty());
    stub.publish("pad", &["1.0.0"]);
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
}

#[tokio::test]
async fn a_file_that_is_held_under_its_checksum_is_not_fetched() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.hold(&content("pad", "1.0.0")).await;
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    assert_eq!(stub.asked("files/pad-1.0.0.txt"), 0);
}

#[tokio::test]
async fn under_a_weak_checksum_bytes_come_from_the_upstream_alone() {
    let stub = Stub::start().await;
    let text = content("pad", "1.0.0");
    let weak = line(&stub.url, "pad", "1.0.0", &sha1(&text));
    stub.put("pad", &format!("name pad\ntag latest 1.0.0\n{weak}"));
    stub.put("files/pad-1.0.0.txt", &text);
    let node = Asker::of(&stub).await;
    node.hold(&text).await;
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), text);
    assert_eq!(stub.asked("files/pad-1.0.0.txt"), 1, "a held blob is no proof of a weak name");
    let files = node.registry.store();
    let files = files.cached_files(&subject(&stub, "pad", "full").origin, "tiny", "pad").unwrap();
    assert_eq!(files[0].by, CachedBy::Upstream);
    stub.put("files/pad-1.0.0.txt", "evil");
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), text);
}

#[tokio::test]
async fn a_file_that_no_document_knows_is_absent_if_the_document_is_fresh() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    assert_eq!(outcome(node.read("pad", "2.0.0").await), Outcome::NotFound);
    assert_eq!(outcome(node.read("nothing", "1.0.0").await), Outcome::NotFound);
    assert!(node.registry.wants().unwrap().is_empty());
}

#[tokio::test]
async fn a_new_release_is_found_through_an_old_document() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    stub.publish("pad", &["1.0.0", "2.0.0"]);
    node.age(&stub, "pad").await;
    assert_eq!(node.text("pad", "2.0.0").await.unwrap(), content("pad", "2.0.0"));
    node.age(&stub, "pad").await;
    node.cut_off(&stub, Mood::Closed).await;
    let error = node.read("pad", "3.0.0").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotHere, "it may be there: {error}");
}

#[tokio::test]
async fn while_the_upstream_is_away_only_what_can_be_had_is_offered_and_nothing_exact_is_hidden() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0", "1.1.0", "2.0.0"]);
    let node = Asker::of(&stub).await;
    node.text("pad", "1.0.0").await.unwrap();
    node.text("pad", "1.1.0").await.unwrap();
    let online = node.document("pad").await.unwrap();
    assert_eq!(online.hidden(), 0);
    node.cut_off(&stub, Mood::Closed).await;
    let offline = node.document("pad").await.unwrap();
    let offered: Vec<_> = offline.offered.clone().unwrap().into_iter().collect();
    assert_eq!(offered, ["1.0.0", "1.1.0"]);
    assert_eq!(offline.tags.clone().unwrap()["latest"], "1.1.0");
    assert_eq!((offline.hidden(), offline.stale), (1, true));
    assert_ne!(offline.revision, online.revision);
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("2.0.0 are not offered while the upstream is out of reach"), "{why}");
    assert!(why.contains("came from the upstream itself"), "{why}");
    // A file that arrives some other way is offered at once, and served when asked for exactly.
    node.hold(&content("pad", "2.0.0")).await;
    assert_eq!(node.text("pad", "2.0.0").await.unwrap(), content("pad", "2.0.0"));
    assert_eq!(node.document("pad").await.unwrap().hidden(), 0);
    stub.mood(Mood::Well);
    until("it is back", || async {
        node.ask("pad", "full", true).await.unwrap().offered.is_none()
    })
    .await;
}

#[tokio::test]
async fn what_was_asked_for_in_vain_is_wanted_and_comes_when_it_can() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0"]);
    stub.publish("kit", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.document("pad").await.unwrap();
    node.cut_off(&stub, Mood::Closed).await;
    for (_, want) in node.registry.wants().unwrap() {
        assert_eq!(want.package, tiny("nobody-has-this"));
    }
    assert_eq!(outcome(node.read("pad", "1.0.0").await), Outcome::NotHere);
    assert_eq!(outcome(node.document("kit").await), Outcome::NotHere);
    let check = DocumentAsk { variant: "full", refresh: false, wanted: false };
    let update = node.registry.document(Door::Virtual, &tiny("update"), check).await;
    assert_eq!(outcome(update), Outcome::NotHere);
    let names = |registry: &Registry| -> Vec<(String, Wanted)> {
        let wants = registry.wants().unwrap().into_iter();
        let mut all: Vec<_> = wants.map(|(_, want)| (want.package.name, want.of)).collect();
        all.retain(|(name, _)| name != "nobody-has-this");
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let expected = [("kit".to_owned(), Wanted::Document), ("pad".to_owned(), Wanted::UpstreamFile)];
    assert_eq!(names(&node.registry), expected);
    let node = node.restart(false).await;
    assert_eq!(names(&node.registry), expected, "a restart keeps them");

    stub.mood(Mood::Well);
    until("all came", || async {
        for (key, want) in node.registry.wants().unwrap() {
            node.registry.try_want(key, want).await.unwrap();
        }
        node.registry.wants().unwrap().is_empty()
    })
    .await;
    let before = stub.requests();
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), content("pad", "1.0.0"));
    assert!(node.document("kit").await.is_ok());
    assert_eq!(stub.requests(), before);
}

#[tokio::test]
async fn a_document_that_says_something_else_than_its_file_is_an_alarm() {
    let stub = Stub::start().await;
    let text = content("pad", "1.0.0");
    let lie = line(&stub.url, "pad", "1.0.0", &format!("{} says=harmless", sha512(&text)));
    stub.put("pad", &format!("name pad\n{lie}"));
    stub.put("files/pad-1.0.0.txt", &text);
    stub.publish("kit", &["1.0.0"]);
    let node = Asker::of(&stub).await;
    node.text("pad", "1.0.0").await.unwrap();
    node.text("kit", "1.0.0").await.unwrap();
    until("the alarm", || async { !node.registry.alarms().unwrap().is_empty() }).await;
    let alarms = node.registry.alarms().unwrap();
    assert_eq!((alarms.len(), &alarms[0].package), (1, &tiny("pad")));
    assert!(alarms[0].text.contains("harmless"), "{alarms:?}");
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("alarm: pad@1.0.0"), "{why}");

    // Read by a person, it is told by `why` alone, and not raised again.
    assert_eq!(node.registry.read_alarms(&tiny("kit")).await.unwrap(), 0);
    assert_eq!(node.registry.read_alarms(&tiny("pad")).await.unwrap(), 1);
    assert_eq!(node.registry.read_alarms(&tiny("pad")).await.unwrap(), 0);
    assert!(node.registry.alarms().unwrap().is_empty());
    let why = node.registry.why(&tiny("pad")).await.unwrap().join("\n");
    assert!(why.contains("alarm (read): pad@1.0.0"), "{why}");
    let again = (&alarms[0].kind, &alarms[0].text);
    let evidence = alarms[0].evidence.clone();
    node.registry.raise(&tiny("pad"), again.0, again.1, evidence).await.unwrap();
    assert!(node.registry.alarms().unwrap().is_empty(), "the same words");
    node.registry.raise(&tiny("pad"), again.0, "something else", None).await.unwrap();
    assert_eq!(node.registry.alarms().unwrap().len(), 1);
}

#[tokio::test]
async fn people_are_told_of_an_upstreams_package_and_can_add_it() {
    let stub = Stub::start().await;
    stub.publish("pad", &["1.0.0", "1.1.0", "2.0.0"]);
    let node = Asker::of(&stub).await;
    let added = node.registry.add(&tiny("pad"), Some("^1.0")).await.unwrap();
    assert_eq!(added.version, "1.1.0");
    assert_eq!(added.artifacts[0].size, Some(content("pad", "1.1.0").len() as u64));
    let info = node.registry.info(&tiny("pad")).await.unwrap();
    let held: Vec<_> = info.versions.iter().map(|row| row.artifacts[0].held).collect();
    assert_eq!(held, [false, true, false]);
    assert_eq!(info.tags["latest"], "2.0.0");
    assert!(info.versions[0].artifacts[0].digest.is_none());
    assert_eq!(node.registry.add(&tiny("pad"), None).await.unwrap().version, "2.0.0");
    assert_eq!(node.registry.formats_of("pad").await.unwrap(), ["tiny"]);
    let missing = node.registry.add(&tiny("pad"), Some("^9")).await;
    assert_eq!(outcome(missing), Outcome::NotFound);
}

#[tokio::test]
async fn side_documents_are_kept_and_served_stale() {
    let stub = Stub::start().await;
    stub.put("-/keys", "secret");
    let node = Asker::of(&stub).await;
    let side =
        Side { key: "keys", path: "-/keys", accept: "text/plain", never_html: true, limit: 1024 };
    let first = node.registry.side_document("tiny", None, side).await.unwrap();
    assert_eq!((&first.bytes[..], first.stale), (&b"secret"[..], false));
    node.cut_off(&stub, Mood::Closed).await;
    let again = node.registry.side_document("tiny", None, side).await.unwrap();
    assert_eq!(&again.bytes[..], b"secret");
    assert_eq!(stub.asked("-/keys"), 1);
    let other = Side { key: "other", path: "-/other", ..side };
    let missing = node.registry.side_document("tiny", None, other).await;
    assert_eq!(outcome(missing), Outcome::NotHere);
    let posted = node.registry.upstream_post("tiny", "-/audit", bytes::Bytes::new()).await;
    assert_eq!(outcome(posted), Outcome::NotHere);
    node.registry.put_note("tiny", "advisories", b"none".to_vec()).await.unwrap();
    let note = node.registry.note("tiny", "advisories").unwrap();
    assert_eq!(note.as_deref(), Some(&b"none"[..]));
}

#[tokio::test]
async fn a_document_of_strong_checksums_needs_no_file_receipt() {
    let stub = Stub::start().await;
    stub.put("pad", &document(&stub.url, "pad", &["1.0.0"]));
    let node = Asker::of(&stub).await;
    let error = node.read("pad", "1.0.0").await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotFound, "named, and not there: {error}");
}
