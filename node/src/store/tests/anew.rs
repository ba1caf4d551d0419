//! Facts about the writer's turn, and about what is heard and read after the disk refused a write.

use std::cell::Cell;
use std::time::Duration;

use futures::future::join_all;
use redb::WriteTransaction;
use tempfile::tempdir;

use super::super::changes::Scope;
use super::super::disk::journal::Refusal;
use super::super::tables::{self, Tables as _};
use super::super::{FollowKind, Inner, Store};
use super::crash_disk_scenes::Stage;
use super::world::{Realm, package};
use super::{content, noise, stored};

/// More than anybody needs who is not blocked.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_cold_read_does_not_wait_for_writers_that_wait_for_their_turn() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let home = tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let info = stored(&store, &noise(200_000)).await;
        let turn = store.inner.writer.take();
        let rows = |n: u32| {
            let (store, name) = (store.clone(), n.to_string());
            async move {
                store.put_row("test", &name, b"1".to_vec()).await.unwrap();
                store.put_shared_row("shared", &name, b"1".to_vec()).await.unwrap();
            }
        };
        let mut writers = Box::pin(join_all((0..512).map(rows)));
        assert!(futures::poll!(&mut writers).is_pending());
        // Its bytes are read on the same threads.
        let read = tokio::time::timeout(LONG, content(&store, &info)).await;
        assert_eq!(read.expect("the read waits for the writers"), noise(200_000));
        drop(turn);
        writers.await;
        assert_eq!(store.rows("test").unwrap().len(), 512);
        assert_eq!(store.rows("shared").unwrap().len(), 512);
    });
}

#[tokio::test]
async fn the_turn_is_given_in_the_order_in_which_it_was_asked_for() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let turn = store.inner.writer.take();
    let ended = std::sync::Mutex::new(Vec::new());
    let rows = join_all((0..50).map(|n: u32| {
        let (store, ended) = (&store, &ended);
        async move {
            store.put_row("test", &n.to_string(), b"1".to_vec()).await.unwrap();
            ended.lock().unwrap().push(n);
        }
    }));
    let shared = async {
        store.put_shared_row("test", "shared", b"1".to_vec()).await.unwrap();
        ended.lock().unwrap().push(999);
    };
    let mut all = Box::pin(async { tokio::join!(rows, shared) });
    // Both threads have asked.
    while store.inner.writer.waiting() < 2 {
        assert!(futures::poll!(&mut all).is_pending());
        tokio::task::yield_now().await;
    }
    drop(turn);
    all.await;
    let ended = ended.into_inner().unwrap();
    let at = ended.iter().position(|n| *n == 999).unwrap();
    assert!(at < 10, "the shared commit came after {at} others");
    assert_eq!(ended.len(), 51);
}

#[tokio::test]
async fn a_change_that_panics_ends_its_caller_and_nobody_else() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let broken = store.write(|_, _| -> Result<(), _> { panic!("on purpose") }, |_, ()| {});
    let (broken, next) = tokio::join!(
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(broken)),
        store.put_row("test", "next", b"1".to_vec()),
    );
    assert!(broken.is_err());
    next.unwrap();
    store.put_row("test", "after", b"1".to_vec()).await.unwrap();
    drop(store);
    Store::open(home.path()).unwrap();
}

#[tokio::test]
async fn a_commit_whose_last_sync_failed_is_told_if_it_is_there_all_the_same() {
    let mut told = 0;
    for ops in 0.. {
        let (root, realm) = (tempdir().unwrap(), Realm::new(1));
        let stage = Stage::open(root.path()).unwrap();
        let store = &stage.store;
        store.follow(realm.followed(FollowKind::Own)).await.unwrap();
        store.admit(vec![realm.genesis.clone()], None).await.unwrap();
        let (mut admissions, mut names) = (store.subscribe(), store.watch_packages());
        stage.journal.refuse(Some(Refusal::BrokenOnce { ops }));
        let release = |version: &str| realm.sign(realm.release("x", version, b"bytes"));
        let admitted = store.admit(vec![release("1.0.0")], None).await;
        if stage.journal.refused() == 0 {
            break;
        }
        if admitted.is_ok() {
            continue;
        }
        assert!(admissions.try_recv().is_err(), "its caller was told that it failed");
        // Of another package: everybody's documents may be others now.
        let other = store.generation(&package("y"));
        let before = (store.commits(), *store.watch_follows().borrow());
        store.put_row("test", "next", b"1".to_vec()).await.unwrap();
        let is_there = store.package(&realm.id, &package("x")).unwrap().is_some();
        let heard = admissions.try_recv().ok();
        assert_eq!(heard.is_some(), is_there, "broken at {ops}");
        if let Some(heard) = heard {
            told += 1;
            assert_eq!(heard.new.len(), 1);
            assert_eq!(heard.new[0].package, Some(package("x")));
            assert_eq!(names.try_recv().unwrap(), package("x"));
        }
        // For itself, and for what was opened anew.
        assert!(store.commits() >= before.0 + 2 && *store.watch_follows().borrow() > before.1);
        assert!(!store.is_current(&other));
        store.admit(vec![release("1.0.1")], None).await.unwrap();
        assert_eq!(admissions.try_recv().unwrap().new.len(), 1, "nothing is told twice");
        assert!(admissions.try_recv().is_err());
    }
    assert!(told > 0, "no commit was there after its last sync failed");
}

#[tokio::test]
async fn a_reader_in_the_middle_of_a_snapshot_begins_anew_when_a_write_is_refused() {
    let mut begun_anew = 0;
    for ops in 0.. {
        let root = tempdir().unwrap();
        let stage = Stage::open(root.path()).unwrap();
        let store = &stage.store;
        store.put_row("test", "key", b"value".to_vec()).await.unwrap();
        let (tries, refused) = (Cell::new(0), Cell::new(false));
        let read = store.reading(|txn| {
            tries.set(tries.get() + 1);
            if tries.get() == 1 {
                stage.journal.refuse(Some(Refusal::BrokenOnce { ops }));
                let insert = |_: &Inner, txn: &WriteTransaction| {
                    txn.open_table(tables::ROW)?.insert(("test", "new"), &b"1"[..])?;
                    Ok(())
                };
                refused.set(store.inner.commit(|()| Some(Scope::All), insert).is_err());
                if refused.get() {
                    // What redb says of a page that is not in its memory.
                    return Err(redb::StorageError::PreviousIo.into());
                }
            }
            let row = txn.table(tables::ROW)?.get(("test", "key"))?.map(|row| row.value().to_vec());
            Ok(row)
        });
        assert_eq!(read.unwrap().as_deref(), Some(&b"value"[..]), "broken at {ops}");
        assert_eq!(tries.get(), 1 + usize::from(refused.get()));
        begun_anew += usize::from(refused.get());
        if !refused.get() && stage.journal.refused() == 0 {
            break;
        }
    }
    assert!(begun_anew > 0, "no reader was in the way");
}

#[tokio::test]
async fn an_error_of_a_reader_alone_is_not_tried_twice() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let tries = Cell::new(0);
    let read = store.reading(|_| -> Result<(), _> {
        tries.set(tries.get() + 1);
        Err(super::Error::unreadable("row", "as a test wants it"))
    });
    assert!(read.is_err() && tries.get() == 1);
}
