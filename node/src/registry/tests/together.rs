//! Publishes and changes at the same time: each is decided on what those before it have done.

use futures::future::join_all;

use super::*;

/// What a publish of `text` asks for, with a tag.
async fn tagged(node: &Node, text: &str, tag: &str) -> Publication {
    let mut words = text.split_whitespace();
    let (name, version) = (words.next().unwrap(), words.next().unwrap());
    let mut writer = node.registry.stage("strict").await.unwrap();
    writer.write(bytes::Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    Publication {
        format: "strict",
        name: name.to_owned(),
        version: version.to_owned(),
        files: vec![(format!("{name}-{version}.txt"), writer.finish().await.unwrap())],
        tags: vec![tag.to_owned()],
        realm: None,
        claimed_time: Some(1),
    }
}

#[tokio::test]
async fn of_many_contents_for_one_version_one_is_published_and_the_others_are_refused() {
    let node = Node::start(1).await;
    let texts: Vec<_> = (0..16).map(|n| format!("pad 1.0.0 content {n}")).collect();
    let results = join_all(texts.iter().map(|text| node.publish(text))).await;
    let done: Vec<_> = results.iter().filter_map(|it| it.as_ref().ok()).collect();
    assert_eq!(done.len(), 1);
    for refused in results.iter().filter_map(|it| it.as_ref().err()) {
        assert_eq!(refused.outcome, Outcome::Conflict, "{refused}");
    }
    let view = node.registry.store().package(&node.own, &strict("pad")).unwrap().unwrap();
    let file = &view.versions["1.0.0"].files["pad-1.0.0.txt"];
    assert_ne!(file.state, SlotState::Disputed);
    let serves = file.serves.as_ref().map(|content| content.blake3);
    assert_eq!(serves, Some(done[0].files[0].digest));
    // Nothing is left of the others.
    assert_eq!(node.registry.store().counts().unwrap().blobs, 1);
}

#[tokio::test]
async fn the_same_bytes_many_times_are_one_release() {
    let node = Node::start(1).await;
    let results = join_all((0..8).map(|_| node.publish("pad 1.0.0 same"))).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|published| published.new).count(), 1);
    assert!(results.iter().all(|published| published.release == results[0].release));
    assert_eq!(node.text("pad", "1.0.0").await.unwrap(), "pad 1.0.0 same");
}

#[tokio::test]
async fn versions_that_come_together_all_have_their_place_and_the_tag_its_last() {
    let node = Node::start(1).await;
    let mut all = Vec::new();
    for n in 0..8 {
        all.push(tagged(&node, &format!("pad 1.{n}.0 x"), "next").await);
    }
    let publish = all.into_iter().map(|it| async { node.registry.publish(&admin(), it).await });
    for done in join_all(publish).await {
        assert!(done.unwrap().new);
    }
    let view = node.registry.store().package(&node.own, &strict("pad")).unwrap().unwrap();
    assert_eq!(view.versions.len(), 8);
    // Each counter follows the one before it, or two tags would contend.
    assert_eq!(view.tag_counters["next"].n, 8);
    let pins = node.registry.store().pins(&node.own, &strict("pad")).unwrap();
    assert_eq!(pins.len(), 8);
    let source = node.registry.store().pinned_source(&strict("pad")).unwrap();
    assert_eq!(source, Some(Source::Realm { realm: node.own }));
}

#[tokio::test]
async fn a_withdrawal_takes_statement_and_pin_away_together() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 x").await.unwrap();
    node.publish("pad 1.1.0 x").await.unwrap();
    let (pad, one, other) = (strict("pad"), ("1.0.0", None), ("1.1.0", None));
    let who = admin();
    let both = tokio::join!(
        node.registry.withdraw(&who, &pad, one, "oops"),
        node.registry.withdraw(&who, &pad, other, "oops"),
    );
    both.0.unwrap();
    both.1.unwrap();
    assert!(node.registry.store().package(&node.own, &pad).unwrap().is_none());
    assert!(node.registry.store().pins(&node.own, &pad).unwrap().is_empty());
}
