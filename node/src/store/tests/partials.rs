//! Downloads: verified while they arrive, resumed after a cut, never visible by halves.

use std::path::Path;

use bytes::Bytes;
use crdt::Digest;
use tempfile::tempdir;

use super::super::partial::{Partial, RANGE_BYTES_MAX, encode};
use super::super::{BlobInfo, Error, Hashes, Store};
use super::{content, files, noise, stored};

const GROUP: u64 = 16 << 10;

/// Fetches everything that lacks, the last spans first.
async fn fetch(from: &Store, to: &mut Partial, span_bytes: u64) {
    let digest = *to.digest();
    while !to.is_complete() {
        for range in to.missing(3, span_bytes).into_iter().rev() {
            let encoded = encode(from, &digest, range.clone()).await.unwrap().unwrap();
            to.accept(range, encoded).await.unwrap();
        }
    }
}

/// A node that has a blob of so many bytes, and another that begins to download it.
async fn begun(homes: [&Path; 2], size: usize) -> (Store, Store, BlobInfo, Partial) {
    let [from, to] = homes.map(|home| Store::open(home).unwrap());
    let info = stored(&from, &noise(size)).await;
    let partial = to.partial(&info.digest, info.size).await.unwrap();
    (from, to, info, partial)
}

#[tokio::test]
async fn every_size_crosses_in_any_order_of_ranges() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let from = Store::open(alice.path()).unwrap();
    let to = Store::open(bob.path()).unwrap();
    for size in [0, 1, 16_383, 16_384, 16_385, (1 << 20) + 1, 5 << 20] {
        let bytes = noise(size);
        let info = stored(&from, &bytes).await;
        let mut partial = to.partial(&info.digest, info.size).await.unwrap();
        let all = partial.missing(usize::MAX, u64::MAX);
        assert_eq!(all.iter().map(|range| range.end - range.start).sum::<u64>(), size as u64);
        fetch(&from, &mut partial, if size % 2 == 0 { RANGE_BYTES_MAX } else { 5 * GROUP }).await;
        let hashes = Hashes { sha512: true, ..Hashes::default() };
        let got = partial.finish(hashes).await.unwrap();
        assert_eq!((got.digest, got.checksums.sha256), (info.digest, info.checksums.sha256));
        assert!(got.checksums.sha512.is_some());
        assert_eq!(content(&to, &got).await, bytes);
        // The tree that came with the bytes serves the next peer.
        let range = 0..got.size.min(RANGE_BYTES_MAX);
        let ours = encode(&from, &info.digest, range.clone()).await.unwrap();
        assert_eq!(encode(&to, &info.digest, range).await.unwrap(), ours);
    }
    assert!(files(bob.path(), "partial").is_empty() && files(bob.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_wrong_byte_is_refused_at_its_group_and_nothing_after_it_is_kept() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let (from, to, info, mut partial) = begun([alice.path(), bob.path()], 8 * 16_384).await;
    let good = encode(&from, &info.digest, 0..info.size).await.unwrap().unwrap();
    // Hash pairs before the fourth group: 3 on the first path, 1, then 1 and 1 again.
    let mut bad = good.to_vec();
    let at = good.len() - 4 * 16_384 - 3 * 64 - 1;
    bad[at] ^= 1;
    let refused = partial.accept(0..info.size, bad.into()).await;
    assert!(
        matches!(refused, Err(Error::WrongDigest { expected }) if expected == info.digest),
        "{refused:?}"
    );
    assert_eq!(
        partial.missing(9, u64::MAX).as_slice(),
        std::slice::from_ref(&(3 * GROUP..8 * GROUP))
    );
    let mut data = fs_err::read(to.inner.paths.partial_data(&info.digest)).unwrap();
    assert!(data.split_off(3 * 16_384).iter().all(|byte| *byte == 0));
    // An honest peer ends it.
    fetch(&from, &mut partial, RANGE_BYTES_MAX).await;
    partial.finish(Hashes::default()).await.unwrap();
}

#[tokio::test]
async fn a_cut_response_keeps_the_groups_before_the_cut() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let (from, _, info, mut partial) = begun([alice.path(), bob.path()], 4 * 16_384).await;
    let good = encode(&from, &info.digest, 0..info.size).await.unwrap().unwrap();
    let cut = partial.accept(0..info.size, good.slice(..good.len() - 20_000)).await;
    assert!(matches!(cut, Err(Error::Io(why)) if why.kind() == std::io::ErrorKind::UnexpectedEof));
    assert_eq!(
        partial.missing(9, u64::MAX).as_slice(),
        std::slice::from_ref(&(2 * GROUP..4 * GROUP))
    );
    let mut long = good.to_vec();
    long.push(0);
    let long = partial.accept(0..info.size, long.into()).await;
    assert!(matches!(long, Err(Error::Io(why)) if why.kind() == std::io::ErrorKind::InvalidData));
}

#[tokio::test]
async fn a_download_resumes_after_reopening_and_finishes_verified() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let from = Store::open(alice.path()).unwrap();
    let bytes = noise(3 << 20);
    let info = stored(&from, &bytes).await;
    {
        let to = Store::open(bob.path()).unwrap();
        let mut partial = to.partial(&info.digest, info.size).await.unwrap();
        for range in [0..GROUP, 2 * GROUP..4 * GROUP] {
            let encoded = encode(&from, &info.digest, range.clone()).await.unwrap().unwrap();
            partial.accept(range, encoded).await.unwrap();
        }
        partial.checkpoint().await.unwrap();
    }
    let to = Store::open(bob.path()).unwrap();
    assert_eq!(to.blob(&info.digest).unwrap(), None);
    let mut partial = to.partial(&info.digest, info.size).await.unwrap();
    assert_eq!(partial.missing(1, GROUP).as_slice(), std::slice::from_ref(&(GROUP..2 * GROUP)));
    assert_eq!(partial.missing(2, 1 << 20)[1], 4 * GROUP..68 * GROUP);
    fetch(&from, &mut partial, RANGE_BYTES_MAX).await;
    let got = partial.finish(Hashes::default()).await.unwrap();
    assert_eq!(content(&to, &got).await, bytes);
}

#[tokio::test]
async fn what_was_not_checkpointed_is_fetched_again() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let (from, to, info, mut partial) = begun([alice.path(), bob.path()], 4 * 16_384).await;
    let encoded = encode(&from, &info.digest, 0..GROUP).await.unwrap().unwrap();
    partial.accept(0..GROUP, encoded).await.unwrap();
    partial.checkpoint().await.unwrap();
    let map = fs_err::read(to.inner.paths.partial_map(&info.digest)).unwrap();
    let encoded = encode(&from, &info.digest, GROUP..3 * GROUP).await.unwrap().unwrap();
    partial.accept(GROUP..3 * GROUP, encoded).await.unwrap();
    drop(partial);
    // A kill would have left the older map.
    fs_err::write(to.inner.paths.partial_map(&info.digest), &map).unwrap();
    let partial = to.partial(&info.digest, info.size).await.unwrap();
    assert_eq!(partial.missing(9, u64::MAX).as_slice(), std::slice::from_ref(&(GROUP..4 * GROUP)));
    drop(partial);
    fs_err::write(to.inner.paths.partial_map(&info.digest), &map[1..]).unwrap();
    let partial = to.partial(&info.digest, info.size).await.unwrap();
    assert_eq!(partial.missing(9, u64::MAX).as_slice(), std::slice::from_ref(&(0..4 * GROUP)));
}

#[tokio::test]
async fn a_map_that_lies_is_found_at_the_finish() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let (from, to, info, mut partial) = begun([alice.path(), bob.path()], 100_000).await;
    fetch(&from, &mut partial, RANGE_BYTES_MAX).await;
    let mut data = fs_err::read(to.inner.paths.partial_data(&info.digest)).unwrap();
    data[50_000] ^= 1;
    fs_err::write(to.inner.paths.partial_data(&info.digest), data).unwrap();
    let refused = partial.finish(Hashes::default()).await;
    assert!(matches!(refused, Err(Error::WrongDigest { .. })), "{refused:?}");
    assert_eq!(to.blob(&info.digest).unwrap(), None);
    assert!(files(bob.path(), "partial").is_empty() && files(bob.path(), "blobs").is_empty());
}

/// What a kill between the rename and the record leaves of a finished download.
#[tokio::test]
async fn a_finish_that_was_killed_goes_back_to_its_half_download() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let (from, to, info, mut partial) = begun([alice.path(), bob.path()], 100_000).await;
    fetch(&from, &mut partial, RANGE_BYTES_MAX).await;
    partial.checkpoint().await.unwrap();
    drop(partial);
    {
        let txn = to.inner.begin_write().unwrap();
        let data = to.inner.paths.partial_data(&info.digest);
        super::super::blob::place(&to.inner, &txn, &data, info.clone()).unwrap();
    }
    drop(to);
    let to = Store::open(bob.path()).unwrap();
    assert_eq!(to.blob(&info.digest).unwrap(), None);
    let partial = to.partial(&info.digest, info.size).await.unwrap();
    assert!(partial.is_complete());
    partial.finish(Hashes::default()).await.unwrap();
    assert!(to.blob(&info.digest).unwrap().is_some());
}

#[tokio::test]
async fn one_flight_a_digest() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let digest = Digest::of(b"wanted");
    let first = store.partial(&digest, 6).await.unwrap();
    assert!(matches!(store.partial(&digest, 6).await, Err(Error::Busy { .. })));
    drop(first);
    store.partial(&digest, 6).await.unwrap();
}

#[tokio::test]
async fn another_size_starts_anew() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let from = Store::open(alice.path()).unwrap();
    let to = Store::open(bob.path()).unwrap();
    let info = stored(&from, b"six by").await;
    let mut wrong = to.partial(&info.digest, 7).await.unwrap();
    let encoded = encode(&from, &info.digest, 0..6).await.unwrap().unwrap();
    assert!(wrong.accept(0..7, encoded.clone()).await.is_err());
    assert!(!wrong.is_complete());
    drop(wrong);
    let mut right = to.partial(&info.digest, 6).await.unwrap();
    right.accept(0..6, encoded).await.unwrap();
    right.finish(Hashes::default()).await.unwrap();
}

#[tokio::test]
async fn only_whole_groups_within_the_blob_are_encoded_or_accepted() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, &noise(40_000)).await;
    let mut partial = store.partial(&info.digest, info.size).await.unwrap();
    let backwards = std::ops::Range { start: GROUP, end: 0 };
    for range in [0..40_001, 1..GROUP, 0..100, GROUP..GROUP, backwards, 0..u64::MAX] {
        assert!(encode(&store, &info.digest, range.clone()).await.is_err(), "{range:?}");
        assert!(partial.accept(range.clone(), Bytes::new()).await.is_err(), "{range:?}");
    }
    assert!(encode(&store, &Digest::of(b"absent"), 0..1).await.unwrap().is_none());
}
