//! Who reads along while a copy comes, and what he is told at its end.

use std::os::unix::fs::FileExt as _;

use tempfile::tempdir;

use super::super::super::tests::files;
use super::super::super::{Error, Hashes};
use super::*;

/// A home whose one blob is only in the bucket, which stops in its middle.
async fn paused(home: &Path) -> (Store, Arc<Faulty>, BlobInfo) {
    let (bucket, objects) = bucket(ROOM);
    let store = open(home, &bucket);
    let info = stored(&store, &noise(900_000)).await;
    drop_copy(&store, &info);
    objects.pauses_after.send_replace(400_000);
    objects.asked();
    (store, objects, info)
}

#[tokio::test]
async fn the_first_half_is_readable_before_the_second_is_sent_and_all_share_one_flight() {
    let home = tempdir().unwrap();
    let (store, objects, info) = paused(home.path()).await;
    let wanted = (info.digest, info.size);
    let one = store.follow_blob(wanted, Hashes::default()).unwrap();
    let two = store.follow_blob(wanted, Hashes::default()).unwrap();
    let mut seen = one.arrival();
    let arrival = seen.wait_for(|arrival| arrival.written >= 300_000).await.unwrap().clone();
    assert_eq!(arrival.size, Some(900_000));
    let mut bytes = vec![0; 300_000];
    arrival.file.unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, noise(900_000)[..300_000]);
    assert!(!copied(&store, &info), "nothing is a copy that is not whole");
    objects.pauses_after.send_replace(0);
    assert!(one.landed().await.unwrap() && two.landed().await.unwrap());
    assert_eq!(objects.asked(), (0, 1));
    assert!(store.follow_blob(wanted, Hashes::default()).is_none(), "there is a copy");
    assert_eq!(content(&store, &info).await, noise(900_000));
}

#[tokio::test]
async fn wrong_bytes_end_the_flight_as_wrong_and_nothing_of_them_stays() {
    let home = tempdir().unwrap();
    let (store, objects, info) = paused(home.path()).await;
    let mut wrong = noise(900_000);
    wrong[800_000] ^= 1;
    objects.replace(&key(&info), wrong).await;
    let coming = store.follow_blob((info.digest, info.size), Hashes::default()).unwrap();
    coming.arrival().wait_for(|arrival| arrival.written > 0).await.unwrap();
    objects.pauses_after.send_replace(0);
    let verdict = coming.clone().landed().await;
    assert!(matches!(verdict, Err(Error::WrongDigest { .. })), "{verdict:?}");
    assert_eq!(store.blob(&info.digest).unwrap(), None, "its record is dropped");
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
    objects.replace(&key(&info), noise(900_000)).await;
    let again = coming.landed().await;
    assert!(matches!(again, Err(Error::WrongDigest { .. })), "the verdict is on those bytes");
}

#[tokio::test]
async fn a_home_without_a_bucket_follows_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let digest = crdt::Digest::of(b"elsewhere");
    assert!(!store.has_bucket() && store.follow_blob((digest, 9), Hashes::default()).is_none());
}
