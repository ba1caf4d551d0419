//! The sums of what is held are those that a walk over every record finds.

use std::collections::BTreeSet;

use crdt::{Digest, Verified};
use tempfile::tempdir;

use super::super::kinds::Kinds;
use super::super::{FollowKind, Store, tables};
use super::life::{document, file};
use super::world::{Realm, key};
use super::{open_here, stored};

fn none() -> BTreeSet<Digest> {
    BTreeSet::new()
}

/// What is kept, after it was compared with a walk.
async fn kinds(store: &Store, pinned: BTreeSet<Digest>, after: &str) -> Kinds {
    let kept = store.kept_kinds(&pinned).await.unwrap();
    let walked = store.walked_kinds(pinned).await.unwrap();
    assert_eq!(kept, Some(walked), "after {after}");
    walked
}

/// A store that has counted once, with the publisher of the first realm as its own key.
async fn counted(store: Store) -> (Store, Realm, Realm) {
    let (own, other) = (Realm::new(1), Realm::new(2));
    let store = own.held_by(store).await;
    store.follow(other.followed(FollowKind::Followed)).await.unwrap();
    store.admit(vec![other.genesis.clone()], None).await.unwrap();
    store.set_own_keys([own.publisher.public()]);
    assert_eq!(store.kept_kinds(&none()).await.unwrap(), None, "nothing was counted yet");
    assert_eq!(store.kinds(none()).await.unwrap(), Kinds::default());
    (store, own, other)
}

#[tokio::test]
async fn every_change_of_why_a_blob_is_held_moves_the_sums() {
    let home = tempdir().unwrap();
    let (store, own, other) = counted(open_here(home.path())).await;
    let bytes = [&b"mine"[..], b"theirs", b"cached", b"body one", b"body two", b"readme"];
    let mut infos = Vec::new();
    for bytes in bytes {
        infos.push(stored(&store, bytes).await);
    }
    let [_, theirs, cached, one, two, _] = infos.as_slice() else { unreachable!() };
    assert_eq!(kinds(&store, none(), "six blobs").await.unnamed.count, 6);
    let mine = own.sign(own.release("x", "1.0.0", b"mine"));
    store.admit(vec![mine], None).await.unwrap();
    let now = kinds(&store, none(), "a release of this node").await;
    assert_eq!((now.published.count, now.unnamed.count), (2, 4), "its file, and its extras");
    let foreign = other.sign(other.release("y", "1.0.0", b"theirs"));
    store.admit(vec![foreign], None).await.unwrap();
    assert_eq!(kinds(&store, none(), "a release of another").await.mirrored.bytes, 6);
    store.put_cached_file(file("theirs-too", theirs)).await.unwrap();
    store.put_cached_file(file("z", cached)).await.unwrap();
    store.put_cached_file(file("z", cached)).await.unwrap();
    let now = kinds(&store, none(), "two cached files").await;
    assert_eq!((now.cached.count, now.cached_packages), (1, 2));
    for body in [one, two, one] {
        store.put_cached_document(document("d", body)).await.unwrap();
        kinds(&store, none(), "a cached document").await;
    }
    let pinned = BTreeSet::from([theirs.digest, cached.digest, Digest::of(b"not held")]);
    let now = kinds(&store, pinned, "pins").await;
    assert_eq!((now.pinned.count, now.pinned.bytes), (2, 12));
    store.inner.uses.grow_old();
    let gone = store.evict(BTreeSet::from([cached.digest, two.digest]), none()).await.unwrap();
    assert!(!gone.is_empty());
    assert_eq!(kinds(&store, none(), "an eviction").await.cached_packages, 1);
    store.unfollow(&other.id).await.unwrap();
    let now = kinds(&store, none(), "an unfollow").await;
    assert_eq!((now.mirrored.count, now.cached.bytes > 0), (0, true));
}

#[tokio::test]
async fn a_signature_that_joins_later_makes_a_release_ones_own() {
    let home = tempdir().unwrap();
    let (store, own, other) = counted(Store::open(home.path()).unwrap()).await;
    stored(&store, b"ours").await;
    let release = other.release("shared", "1.0.0", b"ours");
    store.admit(vec![other.sign(release.clone())], None).await.unwrap();
    assert_eq!(kinds(&store, none(), "the first signature").await.mirrored.count, 1);
    let also = Verified::sign(release, &[&own.publisher]);
    store.admit(vec![also], None).await.unwrap();
    assert_eq!(kinds(&store, none(), "this node's own").await.published.count, 1);
}

#[tokio::test]
async fn other_keys_and_a_restart_are_seen() {
    let home = tempdir().unwrap();
    let (store, own, _) = counted(Store::open(home.path()).unwrap()).await;
    stored(&store, b"mine").await;
    store.admit(vec![own.sign(own.release("x", "1.0.0", b"mine"))], None).await.unwrap();
    let before = kinds(&store, none(), "a release").await;
    drop(store);
    let store = Store::open(home.path()).unwrap();
    store.set_own_keys([own.publisher.public()]);
    assert_eq!(kinds(&store, none(), "a restart").await, before, "nothing was counted anew");
    store.set_own_keys([key(77).public()]);
    assert_eq!(store.kept_kinds(&none()).await.unwrap(), None);
    let counted = store.kinds(none()).await.unwrap();
    assert_eq!(counted, kinds(&store, none(), "other keys").await);
}

#[tokio::test]
async fn counting_anew_mends_sums_that_are_wrong() {
    let home = tempdir().unwrap();
    let (store, ..) = counted(Store::open(home.path()).unwrap()).await;
    stored(&store, b"12345").await;
    let change = |_: &_, txn: &redb::WriteTransaction| {
        tables::set_meta(txn, tables::META_BLOB_BYTES, 99)?;
        super::super::kinds::count_package(txn, true)
    };
    store.write(change, |_, ()| {}).await.unwrap();
    assert_eq!(store.kinds(none()).await.unwrap().cached_packages, 1, "that is wrong");
    store.recount().await.unwrap();
    assert_eq!(kinds(&store, none(), "counting anew").await.unnamed.bytes, 5);
    assert_eq!(store.counts().unwrap().blob_bytes, 5);
}
