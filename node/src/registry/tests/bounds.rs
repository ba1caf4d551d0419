//! What has a limit keeps it: a token its realm, a route its name, a stranger his place.

use super::*;
use crate::store::{Moment, Plan};

/// A site that grants every name to this node's key and to key 61.
async fn join_site(node: &Node) -> RealmId {
    let site = genesis(&key(60), vec![publish_grant("*", &key(101)), publish_grant("*", &key(61))]);
    let realm = site.statement().realm();
    node.registry.follow(realm, FollowKind::Site, Vec::new(), Vec::new()).await.unwrap();
    node.registry.admit(vec![site]).await.unwrap();
    realm
}

#[tokio::test]
async fn a_token_for_one_realm_changes_nothing_in_another() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 mine").await.unwrap();
    let pad = strict("pad");
    let foreign = genesis(&key(60), Vec::new()).statement().realm();
    let scopes = vec![Scope::Publish, Scope::Yank];
    let bound = Principal { scopes, realm: Some(foreign), ..admin() };
    let yank = node.registry.yank(&bound, &pad, "1.0.0", Some("evil")).await;
    assert_eq!(outcome(yank), Outcome::Forbidden);
    let tag = node.registry.set_tag(&bound, &pad, "latest", None).await;
    assert_eq!(outcome(tag), Outcome::Forbidden);
    let withdraw = node.registry.withdraw(&bound, &pad, ("1.0.0", None), "evil").await;
    assert_eq!(outcome(withdraw), Outcome::Forbidden);
    let right = Principal { realm: Some(node.own), ..bound };
    node.registry.yank(&right, &pad, "1.0.0", Some("broken")).await.unwrap();
}

#[tokio::test]
async fn a_route_covers_the_name_however_it_was_typed() {
    const FOLDED: Rules =
        Rules { format: "folded", canonical_name: |name| Ok(name.to_lowercase()), ..LOOSE };
    let node = Node::start(1).await;
    let registry = Registry::new(Setup {
        upstream: Upstream::new(node.registry.store().clone(), true).unwrap(),
        mirror: key(101),
        store: node.registry.store().clone(),
        mesh: None,
        rules: vec![FOLDED],
        publisher: key(101),
        own: node.own,
    });
    let registry = registry.unwrap();
    registry.route_add("folded", "Left-Pad", RouteSource::Deny).await.unwrap();
    let package = registry.package_id("folded", "LEFT-PAD").unwrap();
    assert_eq!(registry.decide(&package).unwrap().source, Source::Deny);
    assert!(registry.route_remove("folded", "left-pad").await.unwrap());
    assert_eq!(registry.decide(&package).unwrap().ground, Ground::Default);
}

#[tokio::test]
async fn a_stranger_who_names_a_file_does_not_take_its_publishers_place_in_the_queue() {
    let node = Node::start(1).await;
    let realm = join_site(&node).await;
    let text = "pad 1.0.0 wanted";
    node.receive(realm, &key(61), text, text).await;
    let honest = node.registry.store().package(&realm, &strict("pad")).unwrap().unwrap();
    let honest = honest.versions["1.0.0"].releases[0];
    node.receive(realm, &key(99), text, "pad 1.0.0 other").await;
    node.registry.store().remove_blob(&Digest::of(text.as_bytes())).await.unwrap();
    node.registry.read_log(true).await.unwrap();
    let rows = node.registry.store().rows("keep").unwrap();
    assert!(rows.keys().any(|row| row.ends_with(&honest.to_string())), "{:?}", rows.keys());
}

#[tokio::test]
async fn meta_that_is_not_in_bytes_held_before_is_neither_kept_nor_rendered() {
    for lie in ["pad 1.0.0 lie", "pad 1.0.0 other lie", "pad 1.0.0 a third lie"] {
        let node = Node::start(1).await;
        let realm = join_site(&node).await;
        let truth = "pad 1.0.0 truth";
        node.receive(realm, &key(61), truth, truth).await;
        node.registry.read_log(false).await.unwrap();
        node.receive(realm, &key(61), truth, lie).await;
        node.registry.read_log(false).await.unwrap();
        let metadata = node.metadata("pad").await.unwrap();
        assert_eq!(metadata.offered, ["1.0.0"]);
        assert_eq!(metadata.meta("1.0.0", "pad-1.0.0.txt"), Some(truth.as_bytes()), "{lie}");
    }
}

#[tokio::test]
async fn an_accept_never_pins_a_name_to_nobody() {
    let node = Node::start(1).await;
    node.publish("pad 1.0.0 mine").await.unwrap();
    let realm = join_site(&node).await;
    node.receive(realm, &key(61), "pad 2.0.0 theirs", "pad 2.0.0 theirs").await;
    let pad = strict("pad");
    let pending = node.registry.decide(&pad).unwrap().pending.unwrap();
    assert!(matches!(pending, Source::Unrouted { .. }), "{pending:?}");
    assert_eq!(outcome(node.registry.accept_source(&pad, pending).await), Outcome::Invalid);
    assert_eq!(node.metadata("pad").await.unwrap().offered, ["1.0.0"]);
    node.registry.accept_source(&pad, Source::Realm { realm }).await.unwrap();
    assert_eq!(node.metadata("pad").await.unwrap().offered, ["2.0.0"]);
}

#[tokio::test]
async fn a_route_for_every_format_covers_each() {
    let node = Node::start(1).await;
    node.registry.route_add("*", "pad", RouteSource::Deny).await.unwrap();
    assert_eq!(node.registry.decide(&strict("pad")).unwrap().source, Source::Deny);
    let loose = PackageId::new("loose", "pad");
    assert_eq!(node.registry.decide(&loose).unwrap().source, Source::Deny);
}

#[tokio::test]
async fn a_tag_moves_on_after_every_version_was_withdrawn() {
    let node = Node::start(1).await;
    let pad = strict("pad");
    node.publish("pad 1.0.0 a").await.unwrap();
    for _ in 0..3 {
        node.registry.set_tag(&admin(), &pad, "next", Some("1.0.0")).await.unwrap();
    }
    node.registry.withdraw(&admin(), &pad, ("1.0.0", None), "oops").await.unwrap();
    let (own, of) = (node.own, pad.clone());
    let untag = move |registry: &Registry, moment: &Moment<'_>| {
        let statements = vec![registry.tag(moment, (own, &of), ("next", None))?];
        Ok((Plan { statements, ..Plan::default() }, ()))
    };
    node.registry.change(Vec::new(), untag).await.unwrap();
    let view = node.registry.store().derived(&node.own, &pad).unwrap().unwrap();
    assert_eq!((view.versions.len(), view.tag_counters["next"].n), (0, 4));
}
