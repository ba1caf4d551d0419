//! A disk that is full, or fails once, at every change of every scene: the call says so, nothing
//! is harmed, what is held can be read meanwhile, and once there is room the same store goes on.
//!
//! `GRIOT_CRASH_SEEDS` (see `crash_disk`) tries every change, else every ninth at first, and fewer
//! later on.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::super::backup;
use super::super::disk::Disk;
use super::super::disk::journal::{Journal, Refusal};
use super::super::{Error, Store};
use super::cached::file;
use super::crash_disk_facts::nothing_is_left;
use super::crash_disk_scenes::{SCENES, Scene, Stage, home_of};
use super::{content, noise, stored};

/// Nothing that was let go of is at work for so long.
const HELD_MAX: Duration = Duration::from_secs(60);

/// Plays a scene on a disk that refuses; how many changes it refused.
async fn play_refused(scene: &Scene, refusal: Refusal) -> usize {
    let home = tempdir().unwrap();
    (scene.prepare)(home.path()).await;
    let stage = Stage::of(scene, home.path()).unwrap();
    let store = &stage.store;
    let before = stored(store, &noise(3000)).await;
    // What nothing names is collected in one of the scenes.
    store.put_cached_file(file("before", "p.tgz", &before)).await.unwrap();
    store.put_row("test", "before", b"1".to_vec()).await.unwrap();
    stage.journal.refuse(Some(refusal));
    let played = (scene.play)(&stage).await;
    let refused = stage.journal.refused();
    let what = format!("{} {refusal:?}: {played:?}", scene.name);
    match &played {
        Ok(()) => {}
        Err(Error::Full { .. } | Error::Backup(backup::Refusal::NoRoom { .. })) => {
            assert!(!matches!(refusal, Refusal::BrokenOnce { .. }), "{what}")
        }
        Err(why) => {
            assert!(matches!(refusal, Refusal::BrokenOnce { .. }), "{what}");
            assert!(!why.to_string().is_empty());
        }
    }
    // Still refusing: who reads is served.
    assert_eq!(content(store, &before).await, noise(3000), "{what}");
    assert_eq!(store.row("test", "before").unwrap().as_deref(), Some(&b"1"[..]), "{what}");
    let writes = store.put_row("test", "now", b"2".to_vec()).await;
    if matches!(refusal, Refusal::FullAfter { .. }) && refused > 0 {
        assert!(matches!(writes, Err(Error::Full { .. })), "{what}: {writes:?}");
        assert_eq!(store.row("test", "now").unwrap(), None, "{what}");
    }
    stage.journal.refuse(None);
    let again = (scene.play)(&stage).await;
    assert!(again.is_ok(), "{what}, then with room: {again:?}");
    store.put_row("test", "after", b"3".to_vec()).await.unwrap();
    drop(stage);
    let store = opened_again(&home_of(home.path())).await;
    (scene.always)(&store).unwrap_or_else(|why| panic!("{what}: {why}"));
    assert_eq!(content(&store, &before).await, noise(3000), "{what}");
    assert!(store.row("test", "after").unwrap().is_some());
    nothing_is_left(&store).await.unwrap_or_else(|why| panic!("{what}: {why}"));
    refused
}

/// An upload that failed is let go of on a thread, which may hold the home for a moment more.
async fn opened_again(home: &Path) -> Store {
    let begun = Instant::now();
    loop {
        match Store::open(home) {
            Err(Error::Locked) if begun.elapsed() < HELD_MAX => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

/// Starts on a disk that refuses, where the start is a part of the scene; how many changes it
/// refused.
async fn start_refused(scene: &Scene, refusal: Refusal) -> usize {
    let root = tempdir().unwrap();
    (scene.prepare)(root.path()).await;
    let journal = Arc::new(Journal::default());
    journal.refuse(Some(refusal));
    let started = (scene.start)(Disk::observed(Arc::clone(&journal)), root.path());
    let refused = journal.refused();
    let what = format!("{} {refusal:?}: {:?}", scene.name, started.as_ref().err());
    match &started {
        Ok(_) => {}
        Err(Error::Full { .. } | Error::Backup(backup::Refusal::NoRoom { .. })) => {
            assert!(!matches!(refusal, Refusal::BrokenOnce { .. }), "{what}")
        }
        Err(why) => {
            assert!(matches!(refusal, Refusal::BrokenOnce { .. }), "{what}");
            assert!(!why.to_string().is_empty());
        }
    }
    drop(started);
    (scene.look)(root.path()).unwrap_or_else(|why| panic!("{what}: {why}"));
    let stage = Stage::of(scene, root.path()).unwrap_or_else(|why| panic!("{what}, then: {why}"));
    (scene.always)(&stage.store).unwrap_or_else(|why| panic!("{what}: {why}"));
    (scene.play)(&stage).await.unwrap_or_else(|why| panic!("{what}, played: {why}"));
    nothing_is_left(&stage.store).await.unwrap_or_else(|why| panic!("{what}: {why}"));
    refused
}

/// An ordinary run takes longer steps in long scenes.
fn farther(step: usize) -> usize {
    if super::crash_disk::seeds().is_some() { step } else { step + step / 4 }
}

/// One refusal after another until a scene ends before it comes.
async fn refuse_everywhere(refusal: fn(usize) -> Refusal, step: usize) -> usize {
    let (step, mut fired) = (if super::crash_disk::seeds().is_some() { 1 } else { step }, 0);
    for (number, scene) in SCENES.iter().enumerate() {
        let (mut at, mut ahead) = (number % step, step);
        while play_refused(scene, refusal(at)).await > 0 {
            (at, ahead, fired) = (at + ahead, farther(ahead), fired + 1);
        }
        (at, ahead) = (number % step, step);
        while scene.from_start && start_refused(scene, refusal(at)).await > 0 {
            (at, ahead, fired) = (at + ahead, farther(ahead), fired + 1);
        }
    }
    fired
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_and_harms_nothing_and_goes_on_once_there_is_room() {
    let fired = refuse_everywhere(|ops| Refusal::FullAfter { ops }, 9).await;
    println!("full at {fired} changes");
    assert!(fired > 30, "{fired}");
}

#[tokio::test]
async fn a_disk_that_has_room_for_some_bytes_alone_harms_nothing() {
    let fired = refuse_everywhere(|bytes| Refusal::FullAt { bytes: bytes as u64 * 4000 }, 9).await;
    println!("full at {fired} sizes");
    assert!(fired > 10, "{fired}");
}

#[tokio::test]
async fn a_disk_that_fails_once_harms_nothing() {
    let fired = refuse_everywhere(|ops| Refusal::BrokenOnce { ops }, 9).await;
    println!("broken at {fired} changes");
    assert!(fired > 30, "{fired}");
}
