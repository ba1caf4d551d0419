//! What a home holds of a bucket, and when it asks for more.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use tempfile::tempdir;

use super::super::super::Hashes;
use super::super::super::batch::Change;
use super::super::super::tests::files;
use super::*;

#[tokio::test]
async fn the_bytes_are_in_the_bucket_under_their_digest_before_the_answer() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let info = stored(&store, b"hello").await;
    assert_eq!(objects.object(&key(&info)).await.unwrap(), b"hello");
    assert_eq!(store.bucket().unwrap().cached_bytes, 5);
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_no_part_is_larger_than_its_limit() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let bytes = noise((11 << 20) + 7);
    let info = stored(&store, &bytes).await;
    assert_eq!(objects.object(&key(&info)).await.unwrap(), bytes);
    assert_eq!(objects.asked(), (1, 0), "one upload, in parts");
    assert_eq!(objects.largest.load(SeqCst), 0, "nothing in one request");
}

#[tokio::test]
async fn what_another_node_sent_is_not_sent_again_but_read_and_hashed() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (bucket, objects) = bucket(ROOM);
    stored(&open(one.path(), &bucket), b"hello").await;
    assert_eq!(objects.asked(), (1, 0));
    let second = open(two.path(), &bucket);
    stored(&second, b"hello").await;
    assert_eq!(objects.asked(), (0, 1));
    stored(&second, b"hello").await;
    assert_eq!(objects.asked(), (0, 0), "its own record is enough now");
}

#[tokio::test]
async fn a_home_without_copies_reads_from_the_bucket_and_then_from_its_copy() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let bytes = noise(700_000);
    let store = open(home.path(), &bucket);
    let info = stored(&store, &bytes).await;
    drop(store);
    fs_err::remove_dir_all(home.path().join("blobs")).unwrap();
    objects.asked();
    let store = open(home.path(), &bucket);
    assert_eq!(store.blob(&info.digest).unwrap(), Some(info.clone()), "held, in the bucket");
    assert_eq!(content(&store, &info).await, bytes);
    assert_eq!(content(&store, &info).await, bytes);
    assert_eq!(objects.asked(), (0, 1));
    assert!(copied(&store, &info));
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_download() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let info = stored(&store, &noise(200_000)).await;
    drop_copy(&store, &info);
    objects.asked();
    let all = futures::future::join_all((0..40).map(|_| store.open_blob(&info.digest))).await;
    assert!(all.into_iter().all(|opened| opened.unwrap().is_some()));
    assert_eq!(objects.asked(), (0, 1));
}

#[tokio::test]
async fn more_downloads_at_once_than_there_are_places_all_end() {
    let home = tempdir().unwrap();
    let (bucket, _) = bucket(ROOM);
    let store = open(home.path(), &bucket);
    let mut all = Vec::new();
    for size in 1..100 {
        all.push(stored(&store, &noise(size)).await);
    }
    all.iter().for_each(|info| drop_copy(&store, info));
    let opened = futures::future::join_all(all.iter().map(|info| store.open_blob(&info.digest)));
    assert!(opened.await.into_iter().all(|opened| opened.unwrap().is_some()));
}

#[tokio::test]
async fn copies_stay_within_their_room_and_the_longest_unused_goes() {
    let home = tempdir().unwrap();
    let (bucket, _) = bucket(250_000);
    let store = open(home.path(), &bucket);
    let first = stored(&store, &noise(100_000)).await;
    let second = stored(&store, &noise(100_001)).await;
    content(&store, &first).await;
    let third = stored(&store, &noise(100_002)).await;
    let there = [&first, &second, &third].map(|info| copied(&store, info));
    assert_eq!(there, [true, false, true]);
    assert_eq!(store.bucket().unwrap().cached_bytes, 200_002);
    assert_eq!(content(&store, &second).await, noise(100_001), "from the bucket");
    assert!(!copied(&store, &first));
    drop(store);
    let smaller = Bucket { cache_bytes: 10, ..bucket };
    let store = open(home.path(), &smaller);
    assert_eq!(files(home.path(), "blobs").len(), 1, "a start takes the room it is given");
    assert_eq!(content(&store, &first).await, noise(100_000), "larger than the room");
}

#[tokio::test]
async fn a_reader_goes_on_when_its_copy_is_removed() {
    use tokio::io::AsyncReadExt as _;
    let home = tempdir().unwrap();
    let (bucket, _) = bucket(10);
    let store = open(home.path(), &bucket);
    let first = stored(&store, &noise(50_000)).await;
    let (_, mut file) = store.open_blob(&first.digest).await.unwrap().unwrap();
    stored(&store, &noise(60_000)).await;
    assert!(!copied(&store, &first));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, noise(50_000));
}

#[tokio::test]
async fn a_node_that_never_had_it_recalls_it_with_the_checksums_it_needs() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (bucket, _) = bucket(ROOM);
    let info = stored(&open(one.path(), &bucket), &noise(5000)).await;
    let store = open(two.path(), &bucket);
    assert_eq!(store.blob(&info.digest).unwrap(), None);
    let hashes = Hashes { sha512: true, ..Hashes::default() };
    assert!(store.recall(&info.digest, info.size, hashes).await.unwrap());
    let held = store.blob(&info.digest).unwrap().unwrap();
    assert_eq!(held.checksums.sha256, info.checksums.sha256);
    assert!(held.checksums.sha512.is_some());
    let nothing = crdt::Digest::of(b"nobody sent this");
    assert!(!store.recall(&nothing, 16, Hashes::default()).await.unwrap());
    assert!(!store.recall(&info.digest, 1, Hashes::default()).await.unwrap(), "another size");
}

#[tokio::test]
async fn a_home_that_had_blobs_before_sends_them_and_evicts_none_before() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (old, older) = (stored(&store, &noise(3000)).await, stored(&store, &noise(4000)).await);
    drop(store);
    let (bucket, objects) = bucket(10);
    let store = open(home.path(), &bucket);
    assert_eq!(store.bucket().unwrap().unsent, 2);
    assert!(copied(&store, &old) && copied(&store, &older));
    drop(store);
    let store = open(home.path(), &bucket);
    assert_eq!(store.bucket().unwrap().unsent, 2, "a restart forgets none");
    send_all(&store).await;
    assert_eq!(objects.object(&key(&old)).await.unwrap(), noise(3000));
    assert_eq!(objects.object(&key(&older)).await.unwrap(), noise(4000));
    assert_eq!(files(home.path(), "blobs").len(), 1, "now the room is kept to");
    drop(store);
    assert_eq!(open(home.path(), &bucket).bucket().unwrap().unsent, 0);
}

#[tokio::test]
async fn what_can_be_had_again_is_kept_while_the_bucket_is_silent_and_sent_later() {
    let home = tempdir().unwrap();
    let (bucket, objects) = bucket(10);
    let store = open(home.path(), &bucket);
    objects.down.store(true, SeqCst);
    let mut writer = store.writer(Hashes::default(), 100).await.unwrap();
    writer.write(Bytes::from_static(b"of an upstream")).await.unwrap();
    let row = Change::Named(Box::new(("k".into(), "n".into(), vec![])));
    let info = store.commit_with(writer.finish().await.unwrap(), Some(row)).await.unwrap();
    assert_eq!(store.bucket().unwrap().unsent, 1);
    assert_eq!(content(&store, &info).await, b"of an upstream");
    objects.down.store(false, SeqCst);
    ask_again(&store);
    stored(&store, &noise(20)).await;
    assert!(copied(&store, &info), "it is nowhere else");
    send_all(&store).await;
    assert_eq!(objects.object(&key(&info)).await.unwrap(), b"of an upstream");
}

/// Runs the sender until nothing waits.
pub(super) async fn send_all(store: &Store) {
    let sent = async {
        while store.bucket().unwrap().unsent > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = store.clone().send_unsent() => panic!("{ended:?}"),
        () = sent => {}
    }
}
