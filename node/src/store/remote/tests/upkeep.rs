//! What verifies, sweeps, collects and backs up, where a bucket has the blobs.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use tempfile::tempdir;

use super::super::super::backup::check;
use super::super::super::restore::restore;
use super::super::super::tables::Tables as _;
use super::super::super::tests::{backup, life};
use super::super::super::verify::Rotten;
use super::super::super::{Error, tables};
use super::*;

#[tokio::test]
async fn a_rotten_copy_is_put_aside_and_comes_again_and_one_that_lacks_is_in_order() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let (one, two) = (stored(&store, &noise(5000)).await, stored(&store, &noise(6000)).await);
    drop_copy(&store, &two);
    assert!(!store.quarantine(&two.digest, Rotten::MISSING).await.unwrap(), "in the bucket");
    assert_eq!(store.blob(&two.digest).unwrap(), Some(two));

    let path = store.inner.paths.blob(&one.digest);
    fs_err::write(&path, vec![0; 5000]).unwrap();
    let found = life::check(&store, &one).await.unwrap();
    assert!(store.quarantine(&one.digest, found).await.unwrap());
    assert!(!copied(&store, &one));
    assert_eq!(store.quarantined().await.unwrap().count, 1);
    assert_eq!(store.blob(&one.digest).unwrap(), Some(one.clone()), "its record stays");
    objects.asked();
    assert_eq!(content(&store, &one).await, noise(5000));
    assert_eq!(objects.asked(), (0, 1));
}

#[tokio::test]
async fn a_rotten_blob_that_was_never_sent_loses_its_record() {
    let home = tempdir().unwrap();
    let info = stored(&Store::open(home.path()).unwrap(), b"only here").await;
    let (bucket, _) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    fs_err::write(store.inner.paths.blob(&info.digest), b"only HERE").unwrap();
    let found = life::check(&store, &info).await.unwrap();
    assert!(store.quarantine(&info.digest, found).await.unwrap());
    assert_eq!(store.blob(&info.digest).unwrap(), None);
}

#[tokio::test]
async fn only_copies_take_room_and_no_quota_counts() {
    let home = tempdir().unwrap();
    let (bucket, _) = bucket(10);
    let store = open(home.path(), &bucket);
    stored(&store, &noise(5000)).await;
    store.set_limits(Some(1), None);
    stored(&store, &noise(6000)).await;
    let room = store.room().unwrap();
    assert_eq!((room.held, room.quota), (6000, None));
    assert_eq!(store.counts().unwrap().blob_bytes, 11_000);
}

#[tokio::test]
async fn a_full_disk_takes_copies_but_not_the_newest() {
    let home = tempdir().unwrap();
    let (bucket, _) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let (one, two) = (stored(&store, &noise(5000)).await, stored(&store, &noise(6000)).await);
    store.set_limits(None, Some(u64::MAX));
    assert!(matches!(staged(&store, b"more").await, Err(Error::Full { .. })));
    assert!(!copied(&store, &one) && copied(&store, &two));
    store.set_limits(None, Some(0));
    assert_eq!(content(&store, &one).await, noise(5000));
}

#[tokio::test]
async fn garbage_goes_by_its_names_and_its_object_stays() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let (one, two) = (stored(&store, b"unnamed").await, stored(&store, b"no copy").await);
    drop_copy(&store, &two);
    let collected = store.collect_blobs(None, false).await.unwrap();
    assert_eq!(collected.0.count, 0, "both are young");
    assert_eq!(store.evictable(BTreeSet::new()).await.unwrap(), []);
    store.inner.uses.grow_old();
    store.collect_files(false).await.unwrap();
    assert!(store.blob(&two.digest).unwrap().is_some(), "no file is no reason");
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0.count, 2);
    assert_eq!(store.bucket().unwrap().cached_bytes, 0);
    assert_eq!(objects.object(&key(&one)).await.unwrap(), b"unnamed");
    assert_eq!(store.read().unwrap().meta(tables::META_BLOB_BYTES).unwrap(), 0);
}

#[tokio::test]
async fn a_backup_has_what_only_the_bucket_has() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let (one, two) = (stored(&store, &noise(5000)).await, stored(&store, &noise(70_000)).await);
    drop_copy(&store, &two);
    objects.down.store(true, SeqCst);
    let refused = store.back_up(backup::order(there.path()), Box::new(|_| true)).await.unwrap_err();
    assert!(matches!(refused, Error::NotFetched { .. }), "{refused}");
    objects.down.store(false, SeqCst);
    let report = store.back_up(backup::order(there.path()), Box::new(|_| true)).await.unwrap();
    assert_eq!((report.blobs, report.lacking_blobs), (2, 0));
    assert!(!copied(&store, &two), "it went past the home");
    check(there.path(), Box::new(|_| true)).unwrap();
    let target = back.path().join("home");
    restore(there.path(), &target, Box::new(|_| true)).unwrap();
    let restored = Store::open(&target).unwrap();
    assert_eq!(content(&restored, &one).await, noise(5000));
    assert_eq!(content(&restored, &two).await, noise(70_000));
}
