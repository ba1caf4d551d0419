//! Absent or complete; nothing left behind.

use bytes::Bytes;
use crdt::Digest;
use sha2::Digest as _;
use tempfile::tempdir;

use super::super::blob::{place, record};
use super::super::{Error, Hashes, Store};
use super::{content, files, noise, open_here, staged, stored};

#[tokio::test]
async fn a_committed_blob_is_read_back_after_reopening() {
    let home = tempdir().unwrap();
    let bytes = noise(1_000_003);
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, &bytes).await;
    assert_eq!(info.digest, Digest::of(&bytes));
    assert_eq!(info.checksums.sha256, <[u8; 32]>::from(sha2::Sha256::digest(&bytes)));
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.blob(&info.digest).unwrap(), Some(info.clone()));
    assert_eq!(content(&store, &info).await, bytes);
    assert_eq!(store.counts().unwrap().blob_bytes, 1_000_003);
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn checksums_are_those_asked_for_and_a_second_upload_adds_its_own() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let first = stored(&store, b"hello").await;
    assert_eq!(
        (first.checksums.sha512, first.checksums.sha1, first.checksums.md5),
        (None, None, None)
    );
    let hashes = Hashes { sha512: true, sha1: true, md5: true };
    let mut writer = store.writer(hashes, 5).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    let second = store.commit(writer.finish().await.unwrap()).await.unwrap();
    assert_eq!(
        crdt::digest::to_hex(&second.checksums.sha1.unwrap()),
        "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
    );
    assert_eq!(
        crdt::digest::to_hex(&second.checksums.md5.unwrap()),
        "5d41402abc4b2a76b9719d911017c592"
    );
    assert!(second.checksums.sha512.is_some());
    assert_eq!(store.blob(&first.digest).unwrap(), Some(second));
    assert_eq!((store.counts().unwrap().blobs, store.counts().unwrap().blob_bytes), (1, 5));
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_staged_file_is_readable_and_invisible() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let staged = staged(&store, b"manifest").await.unwrap();
    assert_eq!(std::io::read_to_string(staged.open().unwrap()).unwrap(), "manifest");
    assert_eq!(store.blob(&staged.info().digest).unwrap(), None);
    drop(staged);
    assert!(files(home.path(), "tmp").is_empty() && files(home.path(), "blobs").is_empty());
}

#[tokio::test]
async fn bytes_under_way_are_read_by_a_second_handle_also_after_the_commit() {
    use std::io::Read as _;
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut writer = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    let reader = writer.reader().unwrap();
    writer.write(Bytes::from_static(b"first, ")).await.unwrap();
    assert_eq!((writer.written(), writer.readable()), (7, 0), "gathered");
    writer.flush().await.unwrap();
    writer.write(Bytes::from_static(b"second")).await.unwrap();
    // A flush ends before the next batch begins.
    writer.flush().await.unwrap();
    assert!(writer.readable() >= 7);
    let mut start = [0; 7];
    (&*reader).read_exact(&mut start).unwrap();
    assert_eq!(&start, b"first, ");
    let info = store.commit(writer.finish().await.unwrap()).await.unwrap();
    assert_eq!(info.digest, Digest::of(b"first, second"));
    assert_eq!(std::io::read_to_string(&*reader).unwrap(), "second");
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut idle = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    idle.write(Bytes::from_static(b"little")).await.unwrap();
    assert_eq!(files(home.path(), "tmp").len(), 1);
    drop(idle);
    assert!(files(home.path(), "tmp").is_empty());
    let mut busy = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    busy.write(Bytes::from(noise(3_000_000))).await.unwrap();
    drop(busy);
    // The batch under way holds the file until it ends.
    while !files(home.path(), "tmp").is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_space_left_is_told_apart_from_other_disk_errors() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let explain = |kind: std::io::ErrorKind| store.inner.explain(Error::Io(kind.into()), 7);
    let full = explain(std::io::ErrorKind::StorageFull);
    assert!(matches!(full, Error::Full { free: 1.., needed: 7 }), "{full:?}");
    assert!(matches!(explain(std::io::ErrorKind::QuotaExceeded), Error::Full { .. }));
    assert!(matches!(explain(std::io::ErrorKind::PermissionDenied), Error::Io(_)));
}

#[tokio::test]
async fn one_byte_past_the_limit_is_refused_while_streaming() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut writer = store.writer(Hashes::default(), 1000).await.unwrap();
    writer.write(Bytes::from(noise(1000))).await.unwrap();
    let refused = writer.write(Bytes::from_static(b"x")).await;
    assert!(matches!(refused, Err(Error::TooLarge { limit: 1000 })), "{refused:?}");
    assert!(writer.finish().await.is_err());
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut writer = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    store.inner.limits.set_reserve(u64::MAX);
    writer.write(Bytes::from(noise(17 << 20))).await.unwrap();
    let full = writer.finish().await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    assert!(matches!(store.writer(Hashes::default(), 1).await, Err(Error::Full { .. })));
    assert!(matches!(store.partial(&Digest::of(b""), 1).await, Err(Error::Full { .. })));
    assert!(files(home.path(), "tmp").is_empty() && files(home.path(), "partial").is_empty());
}

#[tokio::test]
async fn leftovers_in_tmp_are_removed_at_open() {
    let home = tempdir().unwrap();
    drop(Store::open(home.path()).unwrap());
    fs_err::write(home.path().join("tmp/7.new"), "half an upload").unwrap();
    drop(Store::open(home.path()).unwrap());
    assert!(files(home.path(), "tmp").is_empty());
}

/// What a kill between the rename and the record leaves.
#[tokio::test]
async fn a_rename_without_its_record_is_taken_back_and_the_retry_succeeds() {
    let home = tempdir().unwrap();
    let bytes = noise(50_000);
    let store = Store::open(home.path()).unwrap();
    let digest = {
        let staged = staged(&store, &bytes).await.unwrap();
        let from = home.path().join("tmp").join(&files(home.path(), "tmp")[0]);
        let txn = store.inner.begin_write().unwrap();
        place(&store.inner, &txn, &from, staged.info().clone()).unwrap();
        staged.info().digest
    };
    assert_eq!(files(home.path(), "blobs"), [digest.to_hex()]);
    assert_eq!(store.blob(&digest).unwrap(), None);
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
    let info = stored(&store, &bytes).await;
    assert_eq!(content(&store, &info).await, bytes);
}

#[tokio::test]
async fn an_intent_that_outlived_its_record_harms_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, b"kept").await;
    drop(store);
    fs_err::write(home.path().join(format!("tmp/{}.intent", info.digest)), "").unwrap();
    let store = Store::open(home.path()).unwrap();
    assert_eq!(content(&store, &info).await, b"kept");
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_record_without_its_file_is_absent_and_dropped() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let info = stored(&store, b"gone").await;
    fs_err::remove_file(store.inner.paths.blob(&info.digest)).unwrap();
    assert_eq!(store.blob(&info.digest).unwrap(), None);
    assert!(store.open_blob(&info.digest).await.unwrap().is_none());
    assert!(record(&store.read().unwrap(), &info.digest).unwrap().is_none());
    assert_eq!(store.counts().unwrap().blob_bytes, 0);
    let info = stored(&store, b"gone").await;
    assert_eq!(content(&store, &info).await, b"gone");
}

#[tokio::test]
async fn what_is_held_is_read_while_a_change_takes_its_time() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, &noise(100_000)).await;
    let (begun, started) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let change = store.write(
        move |_, _| {
            begun.send(()).unwrap();
            // The writer's turn and its transaction are held until the reads are done.
            ended.recv().unwrap();
            Ok(())
        },
        |_, ()| {},
    );
    let reads = async {
        started.await.unwrap();
        let known = store.blob(&info.digest).unwrap();
        let bytes = content(&store, &info).await;
        let counts = store.counts().unwrap();
        end.send(()).unwrap();
        (known, bytes, counts.blob_bytes)
    };
    let both = async { tokio::join!(change, reads) };
    let bound = std::time::Duration::from_secs(60);
    let (changed, (known, bytes, sum)) = tokio::time::timeout(bound, both).await.unwrap();
    changed.unwrap();
    assert_eq!((known, sum), (Some(info), 100_000));
    assert!(bytes == noise(100_000));
}

#[tokio::test]
async fn a_cut_file_is_not_served() {
    let home = tempdir().unwrap();
    let store = open_here(home.path());
    let info = stored(&store, &noise(9000)).await;
    let file = fs_err::OpenOptions::new().write(true).open(store.inner.paths.blob(&info.digest));
    file.unwrap().set_len(8999).unwrap();
    assert_eq!(store.blob(&info.digest).unwrap(), None);
    assert!(store.open_blob(&info.digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a_removed_blob_is_gone_after_reopening() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let info = stored(&store, b"refused").await;
    store.remove_blob(&info.digest).await.unwrap();
    store.remove_blob(&info.digest).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.blob(&info.digest).unwrap(), None);
    assert!(files(home.path(), "blobs").is_empty() && files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_second_node_on_one_home_is_locked_out() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    assert!(matches!(Store::open(home.path()), Err(Error::Locked)));
    drop(store);
    Store::open(home.path()).unwrap();
}

#[tokio::test]
async fn a_home_of_a_later_program_is_refused() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let change = |_: &_, txn: &_| super::super::tables::set_meta(txn, "schema", 99);
    store.write(change, |_, ()| {}).await.unwrap();
    drop(store);
    assert!(matches!(Store::open(home.path()), Err(Error::Newer { found: 99, known: 3, .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn folders_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempdir().unwrap();
    let store = Store::open(&home.path().join("deeper")).unwrap();
    stored(&store, b"x").await;
    for folder in ["", "blobs", "tmp", "partial", "outboard"] {
        let mode = fs_err::metadata(home.path().join("deeper").join(folder)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700, "{folder}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_records_are_for_their_owner_alone_in_a_folder_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempdir().unwrap();
    fs_err::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _store = Store::open(home.path()).unwrap();
    let mode = fs_err::metadata(home.path().join("store.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_size_that_is_known_is_refused_early_or_taken_at_once() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let mut writer = store.writer(Hashes::default(), 5 << 20).await.unwrap();
    let much = writer.expect((5 << 20) + 1).await;
    assert!(matches!(much, Err(Error::TooLarge { limit: 5_242_880 })));
    drop(writer);
    let mut writer = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    let full = writer.expect(1 << 60).await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    drop(writer);
    assert!(files(home.path(), "tmp").is_empty());
    // More room than bytes: what was not used is given back.
    let bytes = noise(1_500_000);
    let mut writer = store.writer(Hashes::default(), u64::MAX).await.unwrap();
    writer.expect(4 << 20).await.unwrap();
    writer.write(Bytes::from(bytes.clone())).await.unwrap();
    let info = store.commit(writer.finish().await.unwrap()).await.unwrap();
    assert_eq!(content(&store, &info).await, bytes);
    let file = fs_err::metadata(store.inner.paths.blob(&info.digest)).unwrap();
    let held = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
    assert!(held < 2 << 20, "{held} bytes on the disk");
}
