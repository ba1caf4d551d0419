//! What a kill leaves: the home as it is on disk at that moment, opened by the next process.

use std::path::Path;
use std::sync::Arc;

use crdt::session::Index;
use tempfile::{TempDir, tempdir};

use super::super::admission::Batch;
use super::super::disk::Disk;
use super::super::disk::journal::{Journal, Op};
use super::super::{Error, Hashes, Slot, Store};
use super::world::{Realm, package};
use super::{content, files, noise, staged, stored};

/// The home as a kill would leave it: copied file by file while the store is still open.
fn killed(home: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        let to = copy.path().join(folder.strip_prefix(home).unwrap());
        fs_err::create_dir_all(&to).unwrap();
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                fs_err::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let info = stored(&store, &noise(300_000)).await;
    store.admit(vec![realm.sign(realm.release("x", "1.0.0", b"x"))], None).await.unwrap();
    store.put_row("token", "t", b"secret".to_vec()).await.unwrap();
    // Half an upload and half a download are under way.
    let _staged = staged(&store, b"not yet").await.unwrap();
    let _half = store.partial(&crdt::Digest::of(b"wanted"), 6).await.unwrap();
    let home = killed(home.path());
    let again = Store::open(home.path()).unwrap();
    assert_eq!(content(&again, &info).await, noise(300_000));
    assert_eq!(again.package(&realm.id, &package("x")).unwrap().unwrap().versions.len(), 1);
    assert_eq!(again.row("token", "t").unwrap().as_deref(), Some(&b"secret"[..]));
    assert_eq!((again.epoch(), again.last_sequence()), (store.epoch(), 2));
    assert_eq!(again.counts().unwrap().blobs, 1);
    assert!(files(home.path(), "tmp").is_empty());
    assert_eq!(files(home.path(), "blobs"), [info.digest.to_hex()]);
}

#[tokio::test]
async fn an_admission_that_was_cut_leaves_nothing_and_the_retry_succeeds() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.sign(realm.release("x", "1.0.0", b"x"));
    {
        let txn = store.inner.begin_write().unwrap();
        let done = Batch::admit_own(&store.inner, &txn, std::slice::from_ref(&release)).unwrap();
        assert_eq!(done.admission.new.len(), 1);
    }
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!((store.last_sequence(), store.counts().unwrap().statements), (1, 1));
    assert!(store.package(&realm.id, &package("x")).unwrap().is_none());
    assert_eq!(Index::collections(&store, &realm.id).len(), 1);
    assert_eq!(store.admit(vec![release], None).await.unwrap().new[0].sequence, 2);
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let change = |_: &_, txn: &redb::WriteTransaction| {
        super::super::tables::set_meta(txn, super::super::tables::META_SEQUENCE, 77)?;
        Err::<(), _>(Error::Locked)
    };
    assert!(store.write(change, |_, ()| {}).await.is_err());
    assert_eq!(store.last_sequence(), 1);
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_done_or_not_begun() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let mut heard = store.subscribe();
    let release = realm.sign(realm.release("x", "1.0.0", b"x"));
    let mut call = Box::pin(store.admit(vec![release.clone()], None));
    // It waits for its blocking task now.
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    store.admit(vec![release], None).await.unwrap();
    assert_eq!(heard.recv().await.unwrap().new.len(), 1);
    assert!(heard.try_recv().is_err());
    assert_eq!(store.last_sequence(), 2);
}

#[tokio::test]
async fn equal_uploads_at_once_make_one_blob() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let bytes = noise(400_000);
    let one = async { store.commit(staged(&store, &bytes).await.unwrap()).await.unwrap() };
    let two = async { store.commit(staged(&store, &bytes).await.unwrap()).await.unwrap() };
    let (one, two) = futures::join!(one, two);
    assert_eq!(one, two);
    assert_eq!(store.counts().unwrap().blob_bytes, 400_000);
    assert_eq!(files(home.path(), "blobs").len(), 1);
    assert!(files(home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_blob_is_durable_before_its_name_and_its_name_before_its_record() {
    let (home, journal) = (tempdir().unwrap(), Arc::new(Journal::default()));
    let disk = Disk::observed(Arc::clone(&journal));
    let store = Store::open_on(disk, home.path(), |_, _| String::new()).unwrap();
    let before = journal.ops().len();
    let info = stored(&store, &noise(1000)).await;
    let ops = journal.ops().split_off(before);
    let at = |what: &str, found: &dyn Fn(&Op) -> bool| {
        ops.iter().position(found).unwrap_or_else(|| panic!("{what}: {ops:?}"))
    };
    let shard = home.path().join("blobs").join(&info.digest.to_hex()[..2]);
    let synced = at("the bytes", &|op| matches!(op, Op::Sync { .. }));
    let named = at("the name", &|op| matches!(op, Op::Rename { .. }));
    let folder = at("the folder", &|op| *op == Op::SyncFolder { path: shard.clone() });
    let recorded = ops.iter().rposition(|op| matches!(op, Op::Sync { .. })).unwrap();
    assert!(synced < named && named < folder && folder < recorded, "{ops:?}");
    let marked = at("the intent", &|op| *op == Op::SyncFolder { path: home.path().join("tmp") });
    assert!(marked < named, "{ops:?}");
}

#[tokio::test]
async fn a_blob_that_is_published_and_downloaded_at_once_is_one() {
    let (alice, bob) = (tempdir().unwrap(), tempdir().unwrap());
    let from = Store::open(alice.path()).unwrap();
    let to = Store::open(bob.path()).unwrap();
    let bytes = noise(20_000);
    let info = stored(&from, &bytes).await;
    let mut partial = to.partial(&info.digest, info.size).await.unwrap();
    let encoded = super::super::partial::encode(&from, &info.digest, 0..20_000).await.unwrap();
    partial.accept(0..20_000, encoded.unwrap()).await.unwrap();
    let published = stored(&to, &bytes).await;
    let fetched = partial.finish(Hashes { md5: true, ..Hashes::default() }).await.unwrap();
    assert_eq!((fetched.digest, fetched.stored), (published.digest, published.stored));
    assert!(to.blob(&info.digest).unwrap().unwrap().checksums.md5.is_some());
    assert!(files(bob.path(), "partial").is_empty());
    assert_eq!(to.counts().unwrap().blob_bytes, 20_000);
}

/// Every download of a client asks for its pin.
#[tokio::test]
async fn a_pin_that_is_set_needs_no_writer() {
    let (realm, home) = (Realm::new(1), tempdir().unwrap());
    let store = realm.store(home.path()).await;
    let release = realm.release("x", "1.0.0", b"x");
    let crdt::Body::Release(body) = release.body() else { panic!("a release") };
    let content = crdt::Content::of(&body.files[0]);
    let slot = Slot {
        realm: realm.id,
        package: package("x"),
        version: "1.0.0".into(),
        file: "x-1.0.0.tgz".into(),
    };
    assert!(store.pin_content(&slot, content.clone(), false).await.unwrap());
    let (writer, (held, is_held)) = (store.clone(), std::sync::mpsc::channel());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let writing = std::thread::spawn(move || {
        let _turn = writer.inner.writer.take();
        held.send(()).unwrap();
        // Ends when the test lets go of its side.
        let _ = released.recv();
    });
    is_held.recv().unwrap();
    assert!(!store.pin_content(&slot, content, false).await.unwrap());
    drop(release);
    writing.join().unwrap();
}

/// A future that waits in a queue and is not polled must not keep others from their turn.
#[tokio::test]
async fn a_change_that_nobody_polls_holds_up_no_other() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let put = |key: &'static str| {
        let store = store.clone();
        async move { store.put_row("test", key, vec![1]).await }
    };
    let (mut first, mut second) = (Box::pin(put("a")), Box::pin(put("b")));
    for waiting in [&mut first, &mut second] {
        assert!(futures::poll!(waiting.as_mut()).is_pending());
    }
    let third = tokio::time::timeout(std::time::Duration::from_secs(60), put("c")).await;
    third.expect("the writer is free").unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(store.rows("test").unwrap().len(), 3);
}
