//! Upload sessions: they go on where they were, for their owner alone, and leave nothing.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::tempdir;

use super::super::disk::Disk;
use super::super::disk::journal::{Journal, Op};
use super::super::sessions::{EXPIRY_SECONDS, NewSession, Owner, Session, SessionId};
use super::super::{Error, Hashes, Store};
use super::{content, files, noise};

const ALICE: Owner<'_> = Owner { name: "alice", purpose: "generic" };
const MIB: usize = 1 << 20;

fn new(size: Option<u64>) -> NewSession {
    NewSession {
        owner: "alice".into(),
        purpose: "generic".into(),
        label: None,
        hashes: Hashes { sha512: true, ..Hashes::default() },
        limit: 64 << 20,
        size,
    }
}

async fn append(store: &Store, id: SessionId, at: u64, bytes: &[u8]) -> Result<u64, Error> {
    let mut writer = store.open_session(id, ALICE, Some(at)).await?;
    for piece in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.close().await
}

async fn finish(store: &Store, id: SessionId, bytes: &[u8]) {
    let writer = store.open_session(id, ALICE, None).await.unwrap();
    let info = store.commit(writer.finish().await.unwrap()).await.unwrap();
    assert_eq!(info.digest, crdt::Digest::of(bytes));
    assert!(info.checksums.sha512.is_some());
    assert_eq!(content(store, &info).await, bytes);
}

#[tokio::test]
async fn pieces_become_one_blob_and_the_session_is_gone() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let bytes = noise(3_000_001);
    let Session { id, bytes: 0, .. } = store.start_session(new(None)).await.unwrap() else {
        panic!("a new session is empty");
    };
    assert_eq!(append(&store, id, 0, &bytes[..1_000_000]).await.unwrap(), 1_000_000);
    assert_eq!(append(&store, id, 1_000_000, &bytes[1_000_000..]).await.unwrap(), 3_000_001);
    finish(&store, id, &bytes).await;
    assert!(files(home.path(), "uploads").is_empty());
    assert!(matches!(store.session(id, ALICE), Err(Error::NoSession)));
}

#[tokio::test]
async fn a_session_goes_on_after_a_restart_where_it_was_durable() {
    let home = tempdir().unwrap();
    let bytes = noise(9 * MIB);
    let store = Store::open(home.path()).unwrap();
    let id = store.start_session(new(Some(bytes.len() as u64))).await.unwrap().id;
    append(&store, id, 0, &bytes[..5 * MIB]).await.unwrap();
    drop(store);
    // What a kill leaves behind the last checkpoint.
    let data = home.path().join("uploads").join(format!("{id}.data"));
    let mut file = fs_err::OpenOptions::new().append(true).open(&data).unwrap();
    std::io::Write::write_all(&mut file, b"not acknowledged").unwrap();
    let store = Store::open(home.path()).unwrap();
    let found = store.session(id, ALICE).unwrap();
    assert_eq!((found.bytes, found.size), (5 * MIB as u64, Some(9 * MIB as u64)));
    append(&store, id, found.bytes, &bytes[5 * MIB..]).await.unwrap();
    finish(&store, id, &bytes).await;
    assert!(files(home.path(), "uploads").is_empty());
}

#[tokio::test]
async fn a_wrong_offset_is_told_the_right_one_and_changes_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let bytes = noise(200_000);
    let id = store.start_session(new(Some(200_000))).await.unwrap().id;
    append(&store, id, 0, &bytes[..100_000]).await.unwrap();
    for at in [0, 99_999, 100_001] {
        let refused = append(&store, id, at, b"x").await.unwrap_err();
        assert!(matches!(refused, Error::Offset { at: 100_000 }), "{refused}");
    }
    // Too early and too much are refused as well, and lose nothing.
    let writer = store.open_session(id, ALICE, None).await.unwrap();
    assert!(matches!(writer.finish().await, Err(Error::Offset { at: 100_000 })));
    let mut writer = store.open_session(id, ALICE, None).await.unwrap();
    let much = writer.write(Bytes::from(vec![0; 100_001])).await;
    assert!(matches!(much, Err(Error::TooLarge { limit: 200_000 })));
    drop(writer);
    append(&store, id, 100_000, &bytes[100_000..]).await.unwrap();
    finish(&store, id, &bytes).await;
}

#[tokio::test]
async fn who_comes_later_takes_over_with_what_came_before() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let bytes = noise(2 * MIB);
    let id = store.start_session(new(None)).await.unwrap().id;
    let mut first = store.open_session(id, ALICE, Some(0)).await.unwrap();
    first.write(Bytes::copy_from_slice(&bytes[..MIB])).await.unwrap();
    first.checkpoint().await.unwrap();
    let told = first.taken_over();
    let lets_go = async move {
        told.cancelled().await;
        drop(first);
    };
    let (second, ()) = futures::join!(store.open_session(id, ALICE, Some(MIB as u64)), lets_go);
    let mut second = second.unwrap();
    second.write(Bytes::copy_from_slice(&bytes[MIB..])).await.unwrap();
    assert_eq!(second.close().await.unwrap(), 2 * MIB as u64);
    finish(&store, id, &bytes).await;
}

#[tokio::test]
async fn a_session_is_its_owners_and_its_formats_alone() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let id = store.start_session(new(None)).await.unwrap().id;
    for other in [Owner { name: "bob", ..ALICE }, Owner { purpose: "npm", ..ALICE }] {
        assert!(matches!(store.session(id, other), Err(Error::NoSession)));
        assert!(matches!(store.open_session(id, other, None).await, Err(Error::NoSession)));
        assert!(matches!(store.cancel_session(id, other).await, Err(Error::NoSession)));
    }
    store.cancel_session(id, ALICE).await.unwrap();
    assert!(files(home.path(), "uploads").is_empty());
}

#[tokio::test]
async fn a_cancelled_session_takes_nothing_more_and_makes_no_blob() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let id = store.start_session(new(None)).await.unwrap().id;
    let mut writer = store.open_session(id, ALICE, None).await.unwrap();
    writer.write(Bytes::from_static(b"some")).await.unwrap();
    store.cancel_session(id, ALICE).await.unwrap();
    assert!(writer.taken_over().is_cancelled());
    assert!(matches!(writer.finish().await, Err(Error::NoSession)));
    assert!(files(home.path(), "uploads").is_empty() && files(home.path(), "blobs").is_empty());
}

#[tokio::test]
async fn the_same_label_finds_the_same_session_and_another_file_begins_anew() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let named = |label: &str, size| NewSession { label: Some(label.into()), ..new(Some(size)) };
    let first = store.start_session(named("a", 9)).await.unwrap();
    assert_eq!(store.start_session(named("a", 9)).await.unwrap(), first);
    assert_ne!(store.start_session(named("a", 8)).await.unwrap().id, first.id);
    assert_ne!(store.start_session(named("b", 9)).await.unwrap().id, first.id);
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.start_session(named("a", 9)).await.unwrap().id, first.id);
}

#[tokio::test]
async fn sessions_are_bounded_in_number_and_size_and_by_the_disk() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let much = store.start_session(new(Some((64 << 20) + 1))).await;
    assert!(matches!(much, Err(Error::TooLarge { .. })));
    store.reserve_all(true);
    assert!(matches!(store.start_session(new(Some(1))).await, Err(Error::Full { .. })));
    assert!(files(home.path(), "uploads").is_empty());
    store.reserve_all(false);
    for _ in 0..64 {
        store.start_session(new(None)).await.unwrap();
    }
    let one_more = store.start_session(new(None)).await;
    assert!(matches!(one_more, Err(Error::TooManySessions { limit: 64 })));
    let bob = NewSession { owner: "bob".into(), ..new(None) };
    store.start_session(bob).await.unwrap();
}

#[tokio::test]
async fn what_nobody_goes_on_with_is_swept_and_what_is_being_written_is_not() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let idle = store.start_session(new(None)).await.unwrap();
    let busy = store.start_session(new(None)).await.unwrap();
    let _writer = store.open_session(busy.id, ALICE, None).await.unwrap();
    assert_eq!(store.sweep_sessions_at(idle.used + EXPIRY_SECONDS).await.unwrap(), 0);
    assert_eq!(store.sweep_sessions_at(busy.used + EXPIRY_SECONDS + 9).await.unwrap(), 1);
    assert!(store.session(idle.id, ALICE).is_err() && store.session(busy.id, ALICE).is_ok());
    assert_eq!(files(home.path(), "uploads").len(), 2);
}

#[tokio::test]
async fn a_start_removes_what_has_no_sound_mark() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let sound = store.start_session(new(None)).await.unwrap().id;
    let torn = store.start_session(new(None)).await.unwrap().id;
    drop(store);
    let uploads = home.path().join("uploads");
    fs_err::write(uploads.join(format!("{torn}.mark")), b"griotup1 and no more").unwrap();
    fs_err::write(uploads.join("0123.data"), b"whose?").unwrap();
    fs_err::write(uploads.join(format!("{}.mark", "0".repeat(32))), b"of what?").unwrap();
    let store = Store::open(home.path()).unwrap();
    assert!(store.session(sound, ALICE).is_ok());
    assert_eq!(files(home.path(), "uploads"), [format!("{sound}.data"), format!("{sound}.mark")]);
}

#[tokio::test]
async fn a_refused_publish_of_a_finished_session_leaves_nothing() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let id = store.start_session(new(None)).await.unwrap().id;
    append(&store, id, 0, b"unwanted").await.unwrap();
    let writer = store.open_session(id, ALICE, None).await.unwrap();
    drop(writer.finish().await.unwrap());
    assert!(files(home.path(), "uploads").is_empty() && files(home.path(), "blobs").is_empty());
}

/// The mark never says more than what is durable.
#[tokio::test]
async fn bytes_are_synced_before_the_mark_that_counts_them() {
    let (home, journal) = (tempdir().unwrap(), Arc::new(Journal::default()));
    let disk = Disk::observed(Arc::clone(&journal));
    let store = Store::open_on(disk, home.path(), |_, _| String::new()).unwrap();
    let id = store.start_session(new(None)).await.unwrap().id;
    let before = journal.ops().len();
    append(&store, id, 0, &noise(9 * MIB)).await.unwrap();
    let ops = journal.ops().split_off(before);
    let opened: Vec<_> = ops.iter().filter(|op| matches!(op, Op::Open { .. })).collect();
    assert_eq!(opened.len(), 2, "data and mark");
    let (mut unsynced, mut checkpoints) = (0, 0);
    let Some(Op::Write { file: data, .. }) = ops.iter().find(|op| matches!(op, Op::Write { .. }))
    else {
        panic!("bytes are written");
    };
    for op in &ops {
        match op {
            Op::Write { file, bytes, .. } if file == data => unsynced += bytes.len(),
            Op::Write { .. } => {
                assert_eq!(unsynced, 0, "the mark counts bytes that may be lost");
                checkpoints += 1;
            }
            Op::Sync { file } if file == data => {
                assert!(unsynced < 5 * MIB, "{unsynced} bytes wait for a checkpoint");
                unsynced = 0;
            }
            _ => {}
        }
    }
    assert_eq!(unsynced, 0);
    assert!(checkpoints >= 3, "{checkpoints}");
}

#[tokio::test]
async fn what_a_finished_upload_will_name_is_no_garbage_until_its_time_is_over() {
    let home = tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let bytes = noise(300_000);
    let id = store.start_session(new(None)).await.unwrap().id;
    append(&store, id, 0, &bytes).await.unwrap();
    let writer = store.open_session(id, ALICE, None).await.unwrap();
    let staged = writer.finish().await.unwrap();
    // Whoever finishes it says so before the bytes are a blob.
    store.hold_for_upload(&staged.info().digest).await.unwrap();
    let info = store.commit(staged).await.unwrap();
    let other = super::stored(&store, b"nobody names it").await;
    drop(store);
    // After a restart nothing is young.
    let store = Store::open(home.path()).unwrap();
    store.set_own_keys([]);
    let none = std::collections::BTreeSet::new;
    let found = store.evictable(none()).await.unwrap();
    assert_eq!(found.iter().map(|one| one.digest).collect::<Vec<_>>(), [other.digest]);
    let all = [info.digest, other.digest].into();
    assert_eq!(store.evict(all, none()).await.unwrap(), [other]);
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0.count, 0);
    let now = super::super::blob::now_seconds();
    store.sweep_sessions_at(now + EXPIRY_SECONDS - 60).await.unwrap();
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0.count, 0);
    assert_eq!(content(&store, &info).await, bytes);
    store.sweep_sessions_at(now + EXPIRY_SECONDS + 60).await.unwrap();
    assert_eq!(store.collect_blobs(None, false).await.unwrap().0.count, 1);
    assert!(files(home.path(), "blobs").is_empty());
}
