//! What is this node's own is there again after a restart.

use crdt::routes::{Rule, Source};
use crdt::statement::{Counter, Pattern, RouteSource};
use tempfile::tempdir;

use super::super::{FollowKind, Store};
use super::world::{Realm, package};

#[tokio::test]
async fn routes_rows_sources_and_follows_survive_reopening() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let rule = Rule {
        format: "npm".into(),
        pattern: Pattern::parse("@acme/*").unwrap(),
        source: RouteSource::Deny,
        counter: Counter::default(),
        contested: false,
    };
    let store = Store::open(home.path()).unwrap();
    let followed = realm.followed(FollowKind::Site);
    store.follow(followed.clone()).await.unwrap();
    store.set_route(rule.clone()).await.unwrap();
    store.put_row("want", "a", b"1".to_vec()).await.unwrap();
    store.put_row("want", "b", b"2".to_vec()).await.unwrap();
    store.put_row("wanted", "a", b"3".to_vec()).await.unwrap();
    let ours = Source::Realm { realm: realm.id };
    assert!(store.pin_source(&package("x"), ours.clone(), false).await.unwrap());
    assert!(!store.pin_source(&package("x"), Source::Upstream, false).await.unwrap());
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.followed().unwrap(), [followed]);
    assert_eq!(store.routes().unwrap(), [rule]);
    assert_eq!(store.pinned_source(&package("x")).unwrap(), Some(ours));
    assert_eq!(store.pinned_source(&package("y")).unwrap(), None);
    assert_eq!(store.revision(&package("x")).unwrap(), 1);
    assert_eq!(store.row("want", "a").unwrap().as_deref(), Some(&b"1"[..]));
    let keys: Vec<_> = store.rows("want").unwrap().into_keys().collect();
    assert_eq!((keys, store.counts().unwrap().wants), (vec!["a".into(), "b".into()], 2));
    assert!(store.pin_source(&package("x"), Source::Deny, true).await.unwrap());
    assert!(store.delete_row("want", "a").await.unwrap());
    assert!(!store.delete_row("want", "a").await.unwrap());
    assert!(store.remove_route("npm", "@acme/*").await.unwrap());
    assert!(!store.remove_route("npm", "@acme/*").await.unwrap());
    assert!(store.row("want", "a").unwrap().is_none() && store.routes().unwrap().is_empty());
}
