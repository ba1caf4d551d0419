//! Facts about backups: what is in them, what is not, and what a cut leaves.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crdt::session::Index as _;
use tempfile::tempdir;

use super::super::backup::{self, Order, Progress, Refusal, Report, check};
use super::super::disk::Disk;
use super::super::disk::journal::{Journal, Op};
use super::super::restore::{restore, restore_on};
use super::super::{Error, FollowKind, Hashes, Store};
use super::world::{Realm, package};
use super::{content, noise, open_here, stored};

fn silent() -> backup::Tell {
    Box::new(|_: Progress| true)
}

/// All of an own realm's node, as it is.
pub(in super::super) fn order(folder: &Path) -> Order {
    let row = |_: &str, _: &str, value: &[u8]| Some(value.to_vec());
    Order { folder: folder.to_owned(), files: Vec::new(), row, is_own: true }
}

async fn back_up(store: &Store, folder: &Path) -> Report {
    store.back_up(order(folder), silent()).await.unwrap()
}

/// The backup's files with that ending or none, sorted.
fn blobs(folder: &Path) -> Vec<String> {
    super::files(folder, "blobs")
}

/// A path on another device than the tests' folders, if the machine has one.
fn elsewhere() -> Option<tempfile::TempDir> {
    let here = fs_err::metadata(std::env::temp_dir()).ok()?.dev();
    let memory = Path::new("/dev/shm");
    if fs_err::metadata(memory).ok()?.dev() == here {
        return None;
    }
    tempfile::tempdir_in(memory).ok()
}

#[tokio::test]
async fn what_was_acknowledged_comes_back_in_another_home() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let realm = Realm::new(1);
    let store = realm.store(home.path()).await;
    let (small, large) = (stored(&store, b"small").await, stored(&store, &noise(3_000_000)).await);
    store.admit(vec![realm.sign(realm.release("a", "1.0.0", b"small"))], None).await.unwrap();
    store.put_row("kind", "key", b"value".to_vec()).await.unwrap();
    let report = back_up(&store, there.path()).await;
    assert_eq!((report.blobs, report.new_blobs, report.lacking_blobs), (2, 2, 0));
    let before = store.package(&realm.id, &package("a")).unwrap();
    assert!(before.is_some());
    let checked = check(there.path(), silent()).unwrap();
    assert_eq!(checked.manifest.realm, Some(realm.id));

    let target = back.path().join("home");
    restore(there.path(), &target, silent()).unwrap();
    let restored = Store::open(&target).unwrap();
    assert_eq!(content(&restored, &small).await, b"small");
    assert_eq!(content(&restored, &large).await, noise(3_000_000));
    assert_eq!(restored.package(&realm.id, &package("a")).unwrap(), before);
    assert_eq!(restored.row("kind", "key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(restored.followed().unwrap(), store.followed().unwrap());
    assert_ne!(restored.epoch(), store.epoch(), "peers would resume a log that went back");
    assert!(restored.restored().unwrap() && !store.restored().unwrap());
    restored.set_up_to_date().await.unwrap();
    assert!(!restored.restored().unwrap());
}

#[tokio::test]
async fn counters_of_a_restored_store_are_far_above_those_that_may_have_been_signed() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    assert_eq!(store.next_counter(4).unwrap(), 5);
    back_up(&store, there.path()).await;
    let lives: Vec<u64> = ["one", "two"]
        .iter()
        .map(|name| {
            restore(there.path(), &back.path().join(name), silent()).unwrap();
            let store = Store::open(&back.path().join(name)).unwrap();
            let next = store.next_counter(4).unwrap();
            assert_eq!(store.next_counter(next).unwrap(), next + 1);
            next
        })
        .collect();
    assert!(lives.iter().all(|n| (1 << 20..1 << 52).contains(n)), "{lives:?}");
    assert_ne!(lives[0], lives[1], "two restores of one backup count on in different places");
    // A restore of a restore goes on above it, whatever the clock says.
    let again = tempdir().unwrap();
    let second = Store::open(&back.path().join("two")).unwrap();
    back_up(&second, again.path()).await;
    restore(again.path(), &back.path().join("three"), silent()).unwrap();
    let third = Store::open(&back.path().join("three")).unwrap();
    assert!(third.next_counter(0).unwrap() > lives[1]);
}

#[tokio::test]
async fn a_second_backup_copies_only_what_is_new_and_drops_what_is_gone() {
    let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    let gone = stored(&store, b"gone").await;
    stored(&store, b"stays").await;
    assert_eq!(back_up(&store, there.path()).await.new_blobs, 2);
    fs_err::write(there.path().join("letter.txt"), "not ours").unwrap();
    let untouched = there.path().join("blobs/note");
    fs_err::write(&untouched, "not ours").unwrap();

    store.remove_blob(&gone.digest).await.unwrap();
    let new = stored(&store, b"new").await;
    let report = back_up(&store, there.path()).await;
    assert_eq!((report.blobs, report.new_blobs, report.new_bytes), (2, 1, new.size));
    check(there.path(), silent()).unwrap();
    let names = blobs(there.path());
    assert!(!names.contains(&gone.digest.to_hex()) && names.contains(&new.digest.to_hex()));
    assert!(untouched.exists() && there.path().join("letter.txt").exists());
    let records = fs_err::read_dir(there.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("records")
    });
    assert_eq!(records.count(), 1, "the records of the backup before are gone");
    // Nothing new: nothing is copied.
    assert_eq!(back_up(&store, there.path()).await.new_blobs, 0);
}

#[tokio::test]
async fn on_one_device_blobs_are_linked_and_on_another_copied_and_hashed() {
    let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).held_by(open_here(home.path())).await;
    let info = stored(&store, &noise(500_000)).await;
    assert_eq!(back_up(&store, there.path()).await.linked_blobs, 1);
    let link = fs_err::metadata(backup::blob_path(there.path(), &info.digest)).unwrap();
    assert_eq!(link.nlink(), 2);
    let Some(other) = elsewhere() else { return };
    let report = back_up(&store, other.path()).await;
    assert_eq!((report.linked_blobs, report.new_blobs), (0, 1));
    check(other.path(), silent()).unwrap();
    // A copy is refused where the bytes are not those of the name, and the rest goes on.
    let rotten = stored(&store, &noise(400_000)).await;
    fs_err::write(backup::blob_path(home.path(), &rotten.digest), vec![0; 400_000]).unwrap();
    let report = back_up(&store, other.path()).await;
    assert_eq!((report.lacking_blobs, report.lacking), (1, vec![rotten.digest]));
    assert_eq!(check(other.path(), silent()).unwrap().manifest.blobs.count, 1);
}

#[tokio::test]
async fn while_a_backup_holds_no_file_goes_and_afterwards_all_do() {
    let home = tempdir().unwrap();
    let store = Realm::new(1).store(home.path()).await;
    let (gone, back) = (stored(&store, b"gone").await, stored(&store, b"back").await);
    let path = |digest| backup::blob_path(home.path(), digest);
    let (first, second) = (store.hold_removals(), store.hold_removals());
    store.remove_blob(&gone.digest).await.unwrap();
    store.remove_blob(&back.digest).await.unwrap();
    assert!(store.blob(&gone.digest).unwrap().is_none(), "the record goes at once");
    assert!(path(&gone.digest).exists());
    stored(&store, b"back").await;
    drop(first);
    assert!(path(&gone.digest).exists(), "the second still reads");
    drop(second);
    assert!(!path(&gone.digest).exists());
    assert!(path(&back.digest).exists(), "it came back meanwhile");
    assert_eq!(super::files(home.path(), "tmp"), Vec::<String>::new());
    store.remove_blob(&back.digest).await.unwrap();
    assert!(!path(&back.digest).exists());
}

#[tokio::test]
async fn a_crash_while_removals_are_held_ends_them_at_the_next_start() {
    let home = tempdir().unwrap();
    let store = Realm::new(1).store(home.path()).await;
    let gone = stored(&store, b"gone").await;
    let held = store.hold_removals();
    store.remove_blob(&gone.digest).await.unwrap();
    // A crash: the waiting list is lost.
    super::super::lock(&store.inner.held).clear();
    drop((held, store));
    assert!(backup::blob_path(home.path(), &gone.digest).exists());
    Store::open(home.path()).unwrap();
    assert!(!backup::blob_path(home.path(), &gone.digest).exists());
}

#[tokio::test]
async fn any_changed_byte_of_a_backup_is_found_and_the_file_is_named() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    let info = stored(&store, &noise(300_000)).await;
    fs_err::create_dir(home.path().join("keys")).unwrap();
    fs_err::write(home.path().join("keys/node"), "secret").unwrap();
    let wish = Order { files: vec!["keys/node".into()], ..order(there.path()) };
    store.back_up(wish, silent()).await.unwrap();
    let manifest = check(there.path(), silent()).unwrap().manifest;
    let blob = backup::blob_path(Path::new(""), &info.digest);
    let names = [blob, manifest.records.name.into(), "keys/node".into()];
    for name in names.into_iter().chain([PathBuf::from("griot-backup.json")]) {
        let path = there.path().join(&name);
        let good = fs_err::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        // By another file: a linked one is the node's, too.
        for bytes in [Some(bad), None] {
            fs_err::remove_file(&path).unwrap();
            if let Some(bytes) = &bytes {
                fs_err::write(&path, bytes).unwrap();
            }
            let target = back.path().join("home");
            for found in [
                check(there.path(), silent()).map(|_| ()),
                restore(there.path(), &target, silent()).map(|_| ()),
            ] {
                let said = found.unwrap_err().to_string();
                let last = name.file_name().unwrap().to_str().unwrap();
                assert!(said.contains(last), "{last} is not named in: {said}");
            }
            assert!(!target.join("store.redb").exists());
            let _ = fs_err::remove_dir_all(&target);
        }
        fs_err::write(&path, good).unwrap();
    }
    check(there.path(), silent()).unwrap();
}

#[tokio::test]
async fn a_backup_that_was_stopped_is_none_and_the_one_before_still_is() {
    let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    stored(&store, b"one").await;
    let stopped = |_: Progress| false;
    let error = store.back_up(order(there.path()), Box::new(stopped)).await.unwrap_err();
    assert!(matches!(error, Error::Backup(Refusal::Stopped)), "{error}");
    let error = check(there.path(), silent()).unwrap_err();
    assert!(matches!(error, Error::Backup(Refusal::NotWhole { .. })), "{error}");
    back_up(&store, there.path()).await;
    stored(&store, b"two").await;
    store.back_up(order(there.path()), Box::new(stopped)).await.unwrap_err();
    assert_eq!(check(there.path(), silent()).unwrap().manifest.blobs.count, 1);
    assert_eq!(back_up(&store, there.path()).await.new_blobs, 1);
    assert!(!blobs(there.path()).iter().any(|name| name.ends_with("part")));
}

#[tokio::test]
async fn a_restore_that_was_cut_anywhere_goes_on_and_no_node_starts_meanwhile() {
    let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    let info = stored(&store, &noise(200_000)).await;
    stored(&store, b"other").await;
    back_up(&store, there.path()).await;
    let whole = std::sync::Arc::new(Journal::default());
    let back = tempdir().unwrap();
    let target = back.path().join("whole");
    restore_on(&Disk::observed(whole.clone()), there.path(), &target, silent()).unwrap();
    // What is on the disk after each rename, made anew by hand.
    let renames: Vec<(PathBuf, PathBuf)> = whole
        .ops()
        .into_iter()
        .filter_map(|op| match op {
            Op::Rename { from, to } => Some((from, to)),
            _ => None,
        })
        .collect();
    assert_eq!(renames.last().unwrap().1, target.join("store.redb"), "the records come last");
    for cut in 0..renames.len() {
        let partly = back.path().join(format!("cut-{cut}"));
        let mark = format!(
            r#"{{"folder":"{}","digest":"{}"}}"#,
            there.path().display(),
            check(there.path(), silent()).unwrap().manifest.digest().unwrap()
        );
        fs_err::create_dir_all(&partly).unwrap();
        fs_err::write(partly.join("restoring.json"), mark).unwrap();
        for (_, to) in &renames[..cut] {
            let place = partly.join(to.strip_prefix(&target).unwrap());
            fs_err::create_dir_all(place.parent().unwrap()).unwrap();
            fs_err::copy(to, place).unwrap();
        }
        let refused = Store::open(&partly).unwrap_err();
        assert!(matches!(refused, Error::Restoring { .. }), "{refused}");
        let done = restore(there.path(), &partly, silent()).unwrap();
        assert_eq!(done.had_blobs, cut as u64, "what was there is not copied again");
        let store = Store::open(&partly).unwrap();
        assert_eq!(content(&store, &info).await, noise(200_000));
    }
}

#[tokio::test]
async fn a_home_that_is_not_empty_or_runs_takes_no_restore() {
    let (home, there, other) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    back_up(&store, there.path()).await;
    let error = restore(there.path(), home.path(), silent()).unwrap_err();
    assert!(matches!(error, Error::Locked), "{error}");
    drop(store);
    let error = restore(there.path(), home.path(), silent()).unwrap_err();
    assert!(matches!(error, Error::Backup(Refusal::NotEmpty { .. })), "{error}");
    fs_err::write(other.path().join("letter.txt"), "mine").unwrap();
    restore(there.path(), other.path(), silent()).unwrap_err();
    assert_eq!(fs_err::read_dir(other.path()).unwrap().count(), 1, "nothing was put there");
}

#[tokio::test]
async fn a_folder_keeps_the_backup_of_one_node_and_lies_outside_the_home() {
    let (home, other, there) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    back_up(&store, there.path()).await;
    let stranger = Realm::new(2).store(other.path()).await;
    let error = stranger.back_up(order(there.path()), silent()).await.unwrap_err();
    assert!(matches!(error, Error::Backup(Refusal::Another { .. })), "{error}");
    let inside = home.path().join("blobs/backup");
    let error = store.back_up(order(&inside), silent()).await.unwrap_err();
    assert!(matches!(error, Error::Backup(Refusal::Inside { .. })), "{error}");
    assert_eq!(check(there.path(), silent()).unwrap().manifest.realm, Some(Realm::new(1).id));
}

#[tokio::test]
async fn half_done_things_are_left_out_and_files_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, parent) = (tempdir().unwrap(), tempdir().unwrap());
    let there = parent.path().join("deep/backup");
    let store = Realm::new(1).store(home.path()).await;
    let _upload = store.writer(Hashes::default(), 100).await.unwrap();
    fs_err::write(home.path().join("partial/x.data"), "half").unwrap();
    stored(&store, b"whole").await;
    back_up(&store, &there).await;
    for left_out in ["partial", "tmp", "outboard", "lock", "store.redb"] {
        assert!(!there.join(left_out).exists(), "{left_out}");
    }
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&there), 0o700);
    let manifest = check(&there, silent()).unwrap().manifest;
    assert_eq!(mode(&there.join(&manifest.records.name)), 0o600);
    assert_eq!(mode(&there.join("griot-backup.json")), 0o600);
}

#[tokio::test]
async fn without_its_keys_a_realm_is_the_site_and_rows_are_sifted() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let realm = Realm::new(1);
    let store = realm.store(home.path()).await;
    store.put_row("token", "a", b"secret".to_vec()).await.unwrap();
    store.put_row("peer", "b", b"kept".to_vec()).await.unwrap();
    let row = |kind: &str, _: &str, value: &[u8]| (kind != "token").then(|| value.to_vec());
    let wish = Order { row, is_own: false, ..order(there.path()) };
    store.back_up(wish, silent()).await.unwrap();
    let manifest = check(there.path(), silent()).unwrap().manifest;
    let bytes = fs_err::read(there.path().join(manifest.records.name)).unwrap();
    assert!(memchr::memmem::find(&bytes, b"kept").is_some());
    let target = back.path().join("home");
    restore(there.path(), &target, silent()).unwrap();
    let restored = Store::open(&target).unwrap();
    assert_eq!(restored.followed().unwrap(), [realm.followed(FollowKind::Site)]);
    assert_eq!(restored.row("token", "a").unwrap(), None);
    assert_eq!(restored.row("peer", "b").unwrap().as_deref(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn publishing_goes_on_while_a_backup_runs() {
    let (home, there, back) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let store = Realm::new(1).store(home.path()).await;
    for number in 0..40_u64 {
        stored(&store, &noise(10_000 + usize::try_from(number).unwrap())).await;
    }
    let (writer, mut later) = (store.clone(), 0);
    let (started, wait) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let tell = move |_: Progress| {
        if let Some(started) = started.take() {
            started.send(()).unwrap();
        }
        true
    };
    let backing = store.back_up(order(there.path()), Box::new(tell));
    let writing = async {
        wait.await.unwrap();
        for number in 0..10_u64 {
            stored(&writer, &noise(50_000 + usize::try_from(number).unwrap())).await;
            later += 1;
        }
    };
    let (report, ()) = tokio::join!(backing, writing);
    let report = report.unwrap();
    assert!(report.blobs >= 40 && report.lacking_blobs == 0, "{report:?}");
    assert_eq!(later, 10);
    check(there.path(), silent()).unwrap();
    restore(there.path(), &back.path().join("home"), silent()).unwrap();
    assert_eq!(back_up(&store, there.path()).await.blobs, 50);
}
