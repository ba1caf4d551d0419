//! What holds of a blob wherever it is kept: the same facts, on both.

use bytes::Bytes;
use crdt::Digest;
use tempfile::{TempDir, tempdir};

use super::super::super::blob::place;
use super::super::super::partial::{RANGE_BYTES_MAX, encode};
use super::super::super::sessions::{NewSession, Owner};
use super::super::super::tests::files;
use super::super::super::{Blobs, Error, Hashes};
use super::*;

const ALICE: Owner<'_> = Owner { name: "alice", purpose: "generic" };

/// A home and its choice, of either kind.
fn both() -> [(TempDir, Blobs); 2] {
    [Blobs::Here, Blobs::Bucket(bucket(ROOM).0)].map(|blobs| (tempdir().unwrap(), blobs))
}

fn begin(home: &TempDir, blobs: &Blobs) -> Store {
    Store::open_in(home.path(), |_, _| String::new(), blobs.clone()).unwrap()
}

#[tokio::test]
async fn a_committed_blob_of_any_size_is_read_back_after_reopening() {
    for (home, blobs) in both() {
        for size in [0, 1, 1_000_003, 6 << 20] {
            let bytes = noise(size);
            let store = begin(&home, &blobs);
            let info = stored(&store, &bytes).await;
            assert_eq!(info.digest, Digest::of(&bytes));
            drop(store);
            let store = begin(&home, &blobs);
            assert_eq!(store.blob(&info.digest).unwrap(), Some(info.clone()));
            assert_eq!(content(&store, &info).await, bytes);
            assert!(files(home.path(), "tmp").is_empty());
        }
    }
}

#[tokio::test]
async fn a_second_upload_adds_its_checksums_and_counts_once() {
    for (home, blobs) in both() {
        let store = begin(&home, &blobs);
        let first = stored(&store, b"hello").await;
        let hashes = Hashes { sha512: true, sha1: true, md5: true };
        let mut writer = store.writer(hashes, 5).await.unwrap();
        writer.write(Bytes::from_static(b"hello")).await.unwrap();
        let second = store.commit(writer.finish().await.unwrap()).await.unwrap();
        assert!(first.checksums.sha512.is_none() && second.checksums.sha512.is_some());
        assert_eq!(store.blob(&first.digest).unwrap(), Some(second));
        assert_eq!((store.counts().unwrap().blobs, store.counts().unwrap().blob_bytes), (1, 5));
        assert!(files(home.path(), "tmp").is_empty());
    }
}

#[tokio::test]
async fn what_is_staged_or_dropped_is_no_blob() {
    for (home, blobs) in both() {
        let store = begin(&home, &blobs);
        let staged = staged(&store, b"manifest").await.unwrap();
        assert_eq!(store.blob(&staged.info().digest).unwrap(), None);
        drop(staged);
        assert!(files(home.path(), "tmp").is_empty() && files(home.path(), "blobs").is_empty());
    }
}

#[tokio::test]
async fn a_removed_blob_is_gone_after_reopening() {
    for (home, blobs) in both() {
        let store = begin(&home, &blobs);
        let info = stored(&store, b"refused").await;
        store.remove_blob(&info.digest).await.unwrap();
        drop(store);
        let store = begin(&home, &blobs);
        assert_eq!(store.blob(&info.digest).unwrap(), None);
        assert!(store.open_blob(&info.digest).await.unwrap().is_none());
        assert!(files(home.path(), "blobs").is_empty());
    }
}

#[tokio::test]
async fn a_rename_without_its_record_is_taken_back_and_the_retry_succeeds() {
    for (home, blobs) in both() {
        let bytes = noise(50_000);
        let store = begin(&home, &blobs);
        let staged = staged(&store, &bytes).await.unwrap();
        let from = home.path().join("tmp").join(&files(home.path(), "tmp")[0]);
        let txn = store.inner.begin_write().unwrap();
        place(&store.inner, &txn, &from, staged.info().clone()).unwrap();
        drop((txn, staged, store));
        let store = begin(&home, &blobs);
        assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
        let info = stored(&store, &bytes).await;
        assert_eq!(content(&store, &info).await, bytes);
    }
}

#[tokio::test]
async fn a_download_from_a_peer_becomes_a_blob() {
    for (home, blobs) in both() {
        let other = tempdir().unwrap();
        let from = Store::open(other.path()).unwrap();
        let info = stored(&from, &noise(300_000)).await;
        let store = begin(&home, &blobs);
        let mut partial = store.partial(&info.digest, info.size).await.unwrap();
        for range in partial.missing(usize::MAX, RANGE_BYTES_MAX) {
            let encoded = encode(&from, &info.digest, range.clone()).await.unwrap().unwrap();
            partial.accept(range, encoded).await.unwrap();
        }
        let got = partial.finish(Hashes::default()).await.unwrap();
        assert_eq!(content(&store, &got).await, noise(300_000));
        if let Blobs::Bucket(bucket) = &blobs {
            let path = super::super::Path::from(key(&got));
            let there = bucket.objects.get_opts(&path, Default::default()).await.unwrap();
            assert_eq!(there.meta.size, 300_000);
        }
    }
}

#[tokio::test]
async fn two_nodes_on_one_home_are_refused_with_any_choice() {
    for (home, blobs) in both() {
        let store = begin(&home, &blobs);
        let second = Store::open_in(home.path(), |_, _| String::new(), blobs.clone());
        assert!(matches!(second, Err(Error::Locked)));
        drop(store);
    }
}

#[tokio::test]
async fn an_upload_in_several_requests_becomes_a_blob_also_after_a_kill_before_its_end() {
    for (home, blobs) in both() {
        let (bytes, store) = (noise(9 << 20), begin(&home, &blobs));
        let new = NewSession {
            owner: ALICE.name.into(),
            purpose: ALICE.purpose.into(),
            label: None,
            hashes: Hashes::default(),
            limit: 64 << 20,
            size: Some(9 << 20),
        };
        let id = store.start_session(new).await.unwrap().id;
        for (at, half) in [(0, &bytes[..5 << 20]), (5 << 20, &bytes[5 << 20..])] {
            let mut writer = store.open_session(id, ALICE, Some(at)).await.unwrap();
            writer.write(Bytes::copy_from_slice(half)).await.unwrap();
            writer.close().await.unwrap();
        }
        let finished = store.open_session(id, ALICE, None).await.unwrap().finish().await.unwrap();
        // A kill between the end of the upload and the bucket: nothing is cleared up.
        std::mem::forget(finished);
        drop(store);
        let store = begin(&home, &blobs);
        assert_eq!(store.session(id, ALICE).unwrap().bytes, 9 << 20, "nothing is sent twice");
        let staged = store.open_session(id, ALICE, None).await.unwrap().finish().await.unwrap();
        let info = store.commit(staged).await.unwrap();
        assert_eq!(content(&store, &info).await, bytes);
        assert!(files(home.path(), "uploads").is_empty());
        if let Blobs::Bucket(bucket) = &blobs {
            let path = super::super::Path::from(key(&info));
            let there = bucket.objects.get_opts(&path, Default::default()).await.unwrap();
            assert_eq!(there.meta.size, 9 << 20);
        }
    }
}

#[tokio::test]
async fn a_download_from_a_peer_goes_on_after_a_restart() {
    for (home, blobs) in both() {
        let other = tempdir().unwrap();
        let from = Store::open(other.path()).unwrap();
        let info = stored(&from, &noise(3 << 20)).await;
        let store = begin(&home, &blobs);
        let mut partial = store.partial(&info.digest, info.size).await.unwrap();
        let ranges = partial.missing(usize::MAX, RANGE_BYTES_MAX);
        let encoded = encode(&from, &info.digest, ranges[0].clone()).await.unwrap().unwrap();
        partial.accept(ranges[0].clone(), encoded).await.unwrap();
        partial.checkpoint().await.unwrap();
        drop((partial, store));
        let store = begin(&home, &blobs);
        assert_eq!(store.blob(&info.digest).unwrap(), None, "half of it is none");
        let mut partial = store.partial(&info.digest, info.size).await.unwrap();
        let rest = partial.missing(usize::MAX, RANGE_BYTES_MAX);
        assert!(rest.len() < ranges.len() || rest[0] != ranges[0], "it goes on");
        for range in rest {
            let encoded = encode(&from, &info.digest, range.clone()).await.unwrap().unwrap();
            partial.accept(range, encoded).await.unwrap();
        }
        let got = partial.finish(Hashes::default()).await.unwrap();
        assert_eq!(content(&store, &got).await, noise(3 << 20));
    }
}
