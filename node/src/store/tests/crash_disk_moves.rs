//! Scenes that move a whole home: into a backup, out of one, to another layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crdt::Digest;
use crdt::session::Index as _;
use futures::FutureExt as _;
use tempfile::tempdir;

use super::super::backup::{self, Order, Progress, Refusal};
use super::super::disk::Disk;
use super::super::disk::journal::Journal;
use super::super::restore::restore_on;
use super::super::{Error, Store};
use super::crash_disk_life::put;
use super::crash_disk_scenes::{Fact, Scene, Stage, home_of};
use super::migration::{realm, schema, write_layout_1};
use super::world::{describe, package};
use super::{noise, stored};

/// A folder that is backed up into.
pub(super) const BACKUP: Scene =
    Scene { always: never_damaged, ..Scene::of("backup", |stage| back_up(stage).boxed()) };

/// A home that is made from a backup: what was cut goes on, and a node that starts has it all.
pub(super) const RESTORE: Scene = Scene {
    prepare: |root| make_backup(root).boxed(),
    start: restore,
    from_start: true,
    look: nothing_half_restored,
    always: has_all,
    ..Scene::of("restore", |stage| go_on(stage).boxed())
};

/// A home of the layout before.
pub(super) const MIGRATION: Scene = Scene {
    prepare: |root| make_layout_1(root).boxed(),
    from_start: true,
    look: way_back,
    always: has_layout_1,
    ..Scene::of("migration", |stage| go_on(stage).boxed())
};

fn silent() -> backup::Tell {
    Box::new(|_: Progress| true)
}

fn folder_of(root: &Path) -> PathBuf {
    root.join("backup")
}

fn order(root: &Path) -> Order {
    let row = |_: &str, _: &str, value: &[u8]| Some(value.to_vec());
    Order { folder: folder_of(root), files: vec!["keys/root".into()], row, is_own: true }
}

/// A disk without syncs, for what is no part of a scene.
fn swift() -> Disk {
    Disk::observed(Arc::new(Journal::default()))
}

/// The folder has a whole backup, or none yet: never one that is damaged.
fn never_damaged(store: &Store) -> Result<(), String> {
    let root = store.home().parent().ok_or("the home lies in a folder")?;
    match backup::check(&folder_of(root), silent()) {
        Ok(_) | Err(Error::Backup(Refusal::NotWhole { .. })) => Ok(()),
        Err(why) => Err(format!("the backup: {why}")),
    }
}

/// Restores the backup of a folder elsewhere; the row and the key that came back.
fn restored(root: &Path) -> Result<(String, String), Error> {
    let away = tempdir()?;
    let home = home_of(away.path());
    restore_on(&swift(), &folder_of(root), &home, silent())?;
    let store = Store::open_on(swift(), &home, describe)?;
    let row = store.row("test", "state")?.unwrap_or_default();
    let key = fs_err::read_to_string(home.join("keys/root"))?;
    Ok((String::from_utf8_lossy(&row).into_owned(), key))
}

/// Three of them; between the first two all changes that a folder can see: a blob comes, one goes,
/// a key is another one.
async fn back_up(stage: &Stage) -> Result<(), Error> {
    let store = &stage.store;
    let keys = store.home().join("keys");
    stage.blob(&noise(4000)).await?;
    for (number, state) in ["one", "two", "two"].into_iter().enumerate() {
        put(stage, &keys.join("root"), (0, state.as_bytes()))?;
        store.put_row("test", "state", state.into()).await?;
        let going = stage.blob(&noise(4100 + number)).await?.digest;
        store.back_up(order(&stage.root), silent()).await?;
        stage.is_true("the last backup", move |store| {
            let root = store.home().parent().unwrap();
            // A later one may have taken its place.
            let known = ["one", "two"].map(|state| (state.to_owned(), state.to_owned()));
            let later = &known[number.min(1)..];
            restored(root).is_ok_and(|found| later.contains(&found))
        });
        let parts = super::files(&stage.root, "backup");
        assert!(!parts.iter().any(|name| name.ends_with(".part")), "{parts:?}");
        stage.told(Fact::Moving(going));
        store.remove_blob(&going).await?;
        stage.told(Fact::Gone(going));
    }
    Ok(())
}

/// Sizes of the blobs that are restored.
const RESTORED: [usize; 2] = [6000, 70_000];

async fn make_backup(root: &Path) {
    let away = tempdir().unwrap();
    let store = Store::open_on(swift(), &home_of(away.path()), describe).unwrap();
    for size in RESTORED {
        stored(&store, &noise(size)).await;
    }
    store.put_row("test", "state", b"kept".to_vec()).await.unwrap();
    fs_err::create_dir(store.home().join("keys")).unwrap();
    fs_err::write(store.home().join("keys/root"), "key").unwrap();
    store.back_up(order(root), silent()).await.unwrap();
}

fn restore(disk: Disk, root: &Path) -> Result<Store, Error> {
    let done = restore_on(&disk, &folder_of(root), &home_of(root), silent());
    match done.map_err(backup::full) {
        // It was done before.
        Ok(_) | Err(Error::Backup(Refusal::NotEmpty { .. })) => {
            Store::open_on(disk, &home_of(root), describe)
        }
        Err(why) => Err(why),
    }
}

/// Where a restore was cut no node starts; where none has begun there is nothing.
fn nothing_half_restored(root: &Path) -> Result<(), String> {
    let home = home_of(root);
    let marked = home.join("restoring.json").exists();
    if marked {
        return match Store::open_on(swift(), &home, describe) {
            Err(Error::Restoring { .. }) => Ok(()),
            other => Err(format!("it starts half restored: {other:?}")),
        };
    }
    if home.join("store.redb").exists() || !home.exists() {
        return Ok(());
    }
    let left = super::files(&home, "");
    let lock = |name: &String| name == "lock";
    if left.iter().all(lock) { Ok(()) } else { Err(format!("without a mark: {left:?}")) }
}

fn has_all(store: &Store) -> Result<(), String> {
    for size in RESTORED {
        let info = store.blob(&Digest::of(&noise(size))).map_err(|why| why.to_string())?;
        info.ok_or(format!("{size} bytes are lost"))?;
    }
    let row = store.row("test", "state").map_err(|why| why.to_string())?;
    let key = fs_err::read(store.home().join("keys/root")).map_err(|why| why.to_string())?;
    let restored = store.restored().map_err(|why| why.to_string())?;
    if (row.as_deref(), &*key, restored) != (Some(&b"kept"[..]), &b"key"[..], true) {
        return Err(format!("row {row:?}, key {key:?}, restored {restored}"));
    }
    Ok(())
}

async fn make_layout_1(root: &Path) {
    fs_err::create_dir(home_of(root)).unwrap();
    write_layout_1(&home_of(root), &realm());
}

/// As long as the records have this program's layout, those of the one before are there as well.
fn way_back(root: &Path) -> Result<(), String> {
    let home = home_of(root);
    let away = tempdir().map_err(|why| why.to_string())?;
    let layout = |name: &str| {
        let copy = away.path().join("copy.redb");
        fs_err::copy(home.join(name), &copy).map(|_| schema(&copy)).ok()
    };
    let (now, before) = (layout("store.redb"), layout("store.redb.before-1"));
    match (now, before) {
        (Some(1), None | Some(1)) | (Some(2 | 3), Some(1)) => Ok(()),
        other => Err(format!("layouts: {other:?}")),
    }
}

fn has_layout_1(store: &Store) -> Result<(), String> {
    let view = store.package(&realm().id, &package("a")).map_err(|why| why.to_string())?;
    let row = store.row("kind", "key").map_err(|why| why.to_string())?;
    let blob = store.blob(&Digest::of(b"the tarball")).map_err(|why| why.to_string())?;
    if view.is_none() || row.is_none() || blob.is_none() || store.epoch() != 77 {
        return Err(format!("{view:?} {row:?} {blob:?} {}", store.epoch()));
    }
    let back = store.home().join("store.redb.before-1");
    if back.exists() { Ok(()) } else { Err("there is no way back".into()) }
}

/// The home goes on as any other.
async fn go_on(stage: &Stage) -> Result<(), Error> {
    stage.store.put_row("test", "after", b"1".to_vec()).await?;
    stage.is_true("a row", |store| store.row("test", "after").unwrap().is_some());
    stage.blob(&noise(5000)).await.map(|_| ())
}
