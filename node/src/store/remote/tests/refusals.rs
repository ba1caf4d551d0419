//! A bucket that is silent, wrong or torn: nothing is believed, lost or half there.

use std::sync::atomic::Ordering::SeqCst;

use tempfile::tempdir;

use super::super::super::tests::files;
use super::super::super::{Error, Hashes};
use super::*;

#[tokio::test]
async fn a_silent_bucket_refuses_what_is_published_and_nothing_stays() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    objects.down.store(true, SeqCst);
    let refused = store.commit(staged(&store, b"new").await.unwrap()).await;
    let Err(error @ Error::NotSent { .. }) = refused else { panic!("{refused:?}") };
    let sentence = "s3://blobs/griot did not take the bytes, and nothing was kept: \
                    connection refused";
    assert_eq!(error.to_string(), sentence);
    assert_eq!(store.blob(&crdt::Digest::of(b"new")).unwrap(), None);
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
    assert_eq!(store.bucket().unwrap().trouble.as_deref(), Some("connection refused"));
    objects.down.store(false, SeqCst);
    assert!(store.commit(staged(&store, b"new").await.unwrap()).await.is_err(), "left alone");
    ask_again(&store);
    stored(&store, b"new").await;
    assert_eq!(store.bucket().unwrap().trouble, None);
}

#[tokio::test]
async fn a_silent_bucket_leaves_the_copies_readable_and_the_records_there() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let (here, there) = (stored(&store, b"here").await, stored(&store, b"there").await);
    drop_copy(&store, &there);
    objects.down.store(true, SeqCst);
    assert_eq!(content(&store, &here).await, b"here");
    let refused = store.open_blob(&there.digest).await;
    assert!(matches!(refused, Err(Error::NotFetched { .. })), "{refused:?}");
    objects.down.store(false, SeqCst);
    ask_again(&store);
    assert_eq!(content(&store, &there).await, b"there");
}

#[tokio::test]
async fn a_start_does_not_need_the_bucket() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let info = stored(&open(home.path(), &bucket), b"kept").await;
    objects.down.store(true, SeqCst);
    assert_eq!(content(&open(home.path(), &bucket), &info).await, b"kept");
}

#[tokio::test]
async fn wrong_bytes_are_never_served_and_the_next_upload_replaces_them() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    for (right, wrong) in [("right", "wrong"), ("rather long", "short"), ("s", "rather long")] {
        let store = open(home.path(), &bucket);
        let info = stored(&store, right.as_bytes()).await;
        drop_copy(&store, &info);
        objects.replace(&key(&info), wrong.into()).await;
        assert!(store.open_blob(&info.digest).await.unwrap().is_none());
        assert_eq!(store.blob(&info.digest).unwrap(), None, "its record is dropped");
        assert!(!copied(&store, &info));
        assert!(!store.recall(&info.digest, info.size, Hashes::default()).await.unwrap());
        stored(&store, right.as_bytes()).await;
        assert_eq!(objects.object(&key(&info)).await.unwrap(), right.as_bytes());
        assert!(files(home.path(), "tmp").is_empty());
    }
}

#[tokio::test]
async fn an_object_that_somebody_deleted_is_absent_and_can_come_again() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let info = stored(&store, b"lost").await;
    drop_copy(&store, &info);
    objects.lose(&key(&info)).await;
    assert!(store.open_blob(&info.digest).await.unwrap().is_none());
    assert_eq!(store.blob(&info.digest).unwrap(), None);
    stored(&store, b"lost").await;
    assert_eq!(content(&store, &info).await, b"lost");
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_nothing_and_keeps_the_record() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let info = stored(&store, &noise(90_000)).await;
    drop_copy(&store, &info);
    objects.cut_after.store(50_000, SeqCst);
    let broken = store.open_blob(&info.digest).await;
    assert!(matches!(broken, Err(Error::NotFetched { .. })), "{broken:?}");
    assert!(!copied(&store, &info));
    objects.cut_after.store(0, SeqCst);
    ask_again(&store);
    assert_eq!(content(&store, &info).await, noise(90_000));
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_or_is_torn_is_refused_and_the_retry_succeeds() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let bytes = noise(12 << 20);
    for fault in [&objects.fails_parts, &objects.tears] {
        fault.store(true, SeqCst);
        let refused = store.commit(staged(&store, &bytes).await.unwrap()).await;
        assert!(matches!(refused, Err(Error::NotSent { .. })), "{refused:?}");
        assert_eq!(store.blob(&crdt::Digest::of(&bytes)).unwrap(), None);
        ask_again(&store);
    }
    let info = stored(&store, &bytes).await;
    assert_eq!(objects.object(&key(&info)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_bucket_without_conditions_takes_blobs_too() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    objects.unconditional.store(true, SeqCst);
    let store = open(home.path(), &bucket);
    let info = stored(&store, b"plain").await;
    assert_eq!(objects.object(&key(&info)).await.unwrap(), b"plain");
}

#[tokio::test]
async fn two_nodes_that_send_the_same_at_once_both_succeed() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (bucket, _) = bucket(ROOM);
    let stores = [open(one.path(), &bucket), open(two.path(), &bucket)];
    let (first, second) = tokio::join!(stored(&stores[0], b"same"), stored(&stores[1], b"same"));
    assert_eq!(first.digest, second.digest);
}

#[test]
fn what_is_told_of_a_failure_quotes_no_server() {
    let body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId>";
    let error = object_store::Error::Generic { store: "S3", source: body.into() };
    let told = super::super::connection::explain(&error);
    assert_eq!(told, "it refused (SignatureDoesNotMatch)");
    let error = object_store::Error::Generic { store: "S3", source: "x <AWSAccessKeyId>".into() };
    assert_eq!(super::super::connection::explain(&error), "x ");
}

#[test]
fn an_address_that_is_no_bucket_is_refused() {
    for address in ["blobs", "http://blobs", "s3://", "s3://key:secret@blobs/", "s3://b:1/"] {
        assert!(matches!(Bucket::s3(address, 1), Err(Error::Address { .. })), "{address}");
    }
}
