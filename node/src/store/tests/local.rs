//! What is this node's own is there again after a restart.

use crdt::routes::{Rule, Source};
use crdt::statement::{Counter, Pattern, RouteSource};
use tempfile::tempdir;

use super::super::statements::{PEERS_SEEN_MAX, keep_cursor};
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
    assert!(
        !store.pin_source(&package("x"), Source::Upstream { origin: None }, false).await.unwrap()
    );
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

#[tokio::test]
async fn who_comes_under_ever_new_names_does_not_make_the_store_grow() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let names = |from: u64| (from..from + 300).map(|n| n.to_le_bytes().to_vec());
    let txn = store.inner.begin_write().unwrap();
    for name in (0..5).flat_map(|at| names(at * 300)) {
        keep_cursor(&txn, &name, 1, 2).unwrap();
    }
    txn.commit().unwrap();
    store.set_peer_seen(b"the last one", 3, 4).await.unwrap();
    assert_eq!(store.peer_seen(b"the last one").unwrap(), Some((3, 4)));
    let held =
        (0..5).flat_map(|at| names(at * 300)).filter(|n| store.peer_seen(n).unwrap().is_some());
    assert_eq!(held.count() as u64, PEERS_SEEN_MAX - 1);
}
