//! What a realm may take, at the limit and one above it.

use crdt::session::Index as _;
use crdt::{Digest, Verified};
use tempfile::tempdir;

use super::super::{FollowKind, RealmLimit, Store};
use super::world::{Realm, describe, grant, key, package};

const WIDE: RealmLimit = RealmLimit { statements: u64::MAX, bytes: u64::MAX };

async fn full(home: &std::path::Path, kind: FollowKind, limits: (u64, u64)) -> (Realm, Store) {
    let realm = Realm::new(1);
    let store = Store::open_with(home, describe).unwrap();
    let limit = |statements| RealmLimit { statements, ..WIDE };
    store.set_realm_limits(limit(limits.0), limit(limits.1));
    store.follow(realm.followed(kind)).await.unwrap();
    store.admit(vec![realm.genesis.clone()], None).await.unwrap();
    (realm, store)
}

fn releases(realm: &Realm, count: u64) -> Vec<Verified> {
    let one = |n: u64| realm.sign(realm.release("x", &format!("1.{n}.0"), &n.to_le_bytes()));
    (0..count).map(one).collect()
}

#[tokio::test]
async fn a_realm_at_its_limit_waits_and_goes_on_when_the_keeper_raises_it() {
    for (kind, limits) in [(FollowKind::Own, (6, 0)), (FollowKind::Followed, (0, 6))] {
        let home = tempdir().unwrap();
        let (realm, store) = full(home.path(), kind, limits).await;
        let all = releases(&realm, 6);
        let admission = store.admit(all[..5].to_vec(), None).await.unwrap();
        assert_eq!((admission.new.len(), admission.ignored), (5, 0), "the genesis and five: six");
        let one_more = store.admit(all[5..].to_vec(), None).await.unwrap();
        assert_eq!((one_more.new.len(), one_more.ignored), (0, 1));
        assert!(store.statement(&all[5].statement().id()).unwrap().is_none());
        let (taken, _) = store.realm_room(&realm.id).unwrap().unwrap();
        assert_eq!(taken.statements, 6);
        store.set_realm_limits(WIDE, WIDE);
        assert_eq!(store.admit(all, None).await.unwrap().new.len(), 1, "it was never dropped");
        let view = store.package(&realm.id, &package("x")).unwrap().unwrap();
        assert_eq!(view.versions.len(), 6);
    }
}

#[tokio::test]
async fn bytes_are_limited_like_statements() {
    let home = tempdir().unwrap();
    let (realm, store) = full(home.path(), FollowKind::Followed, (0, 100)).await;
    let all = releases(&realm, 2);
    let (taken, _) = store.realm_room(&realm.id).unwrap().unwrap();
    let size = all[0].statement().payload().len() as u64;
    for (bytes, new) in [(taken.bytes + size - 1, 0), (taken.bytes + size, 1)] {
        store.set_realm_limits(WIDE, RealmLimit { bytes, ..WIDE });
        assert_eq!(store.admit(all[..1].to_vec(), None).await.unwrap().new.len(), new);
    }
    assert_eq!(store.admit(all[1..].to_vec(), None).await.unwrap().ignored, 1);
}

#[tokio::test]
async fn authority_and_further_signatures_come_in_at_the_limit() {
    let home = tempdir().unwrap();
    let (realm, store) = full(home.path(), FollowKind::Followed, (0, 2)).await;
    let release = realm.release("x", "1.0.0", b"x");
    store.admit(vec![realm.sign(release.clone())], None).await.unwrap();
    let next = realm.next(|root| root.grants.push(grant(key(50).public())));
    let next = Verified::sign(next, &[&realm.root]);
    let late = realm.sign(realm.release("x", "2.0.0", b"late"));
    // In one batch authority goes first, wherever it stood.
    let endorsed = Verified::sign(release, &[&key(50)]);
    let admission = store.admit(vec![late, endorsed, next], None).await.unwrap();
    assert_eq!((admission.new.len(), admission.ignored), (2, 1));
    assert_eq!(store.authority(&realm.id).unwrap().epoch(), 1);
}

#[tokio::test]
async fn what_a_realm_takes_is_known_without_counting_and_ends_with_it() {
    let home = tempdir().unwrap();
    let (realm, store) = full(home.path(), FollowKind::Followed, (0, 100)).await;
    store.admit(releases(&realm, 9), None).await.unwrap();
    let mut bytes = 0;
    let mut ids = std::collections::BTreeSet::new();
    for (collection, _) in store.collections(&realm.id) {
        for item in store.items(&collection) {
            if ids.insert(item.id) {
                bytes += store.statement(&item.id).unwrap().unwrap().statement().payload().len();
            }
        }
    }
    let (taken, limit) = store.realm_room(&realm.id).unwrap().unwrap();
    assert_eq!(taken, RealmLimit { statements: 10, bytes: bytes as u64 });
    assert_eq!(limit.statements, 100);
    store.unfollow(&realm.id).await.unwrap();
    assert_eq!(store.realm_room(&realm.id).unwrap(), None);
    store.follow(realm.followed(FollowKind::Followed)).await.unwrap();
    let (taken, _) = store.realm_room(&realm.id).unwrap().unwrap();
    assert_eq!(taken, RealmLimit { statements: 0, bytes: 0 });
    assert!(!store.is_referenced(&Digest::of(&0_u64.to_le_bytes())).unwrap());
}
