//! What the crash tests play: one scene for each way in which the store is changed.
//!
//! A scene tells what it was promised, in the moment in which the call returned; `crash_disk` holds
//! each cut against what had been promised before it. A scene can be played again on what a crash
//! left of it. To add one, write a function and add its line to [`SCENES`]. Those of removals and
//! uploads are in `crash_disk_life`, those that move a whole home in `crash_disk_moves`.
//!
//! All lies under one folder, the home below it: what a scene has beside its home is on the disk
//! that is watched, too.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crdt::routes::Source;
use crdt::session::Index as _;
use crdt::{Content, Digest, PackageId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tempfile::tempdir;

use super::super::disk::Disk;
use super::super::disk::journal::Journal;
use super::super::partial::{Partial, encode};
use super::super::sessions::SessionId;
use super::super::{BlobInfo, Error, FollowKind, Hashes, Slot, Store};
use super::cached::{document, file, subject};
use super::crash_disk_life::{collection, eviction, rot, uploads};
use super::crash_disk_moves::{BACKUP, MIGRATION, RESTORE};
use super::world::{Realm, describe, package};
use super::{noise, staged};

/// All of them.
pub(super) const SCENES: &[Scene] = &[
    Scene { from_start: true, ..Scene::of("first start", |stage| start(stage).boxed()) },
    Scene::of("publish", |stage| publish(stage).boxed()),
    Scene::of("publish at once", |stage| publish_at_once(stage).boxed()),
    Scene::of("publish, large", |stage| publish_to_large(stage).boxed()),
    Scene::of("mirror", |stage| mirror(stage).boxed()),
    Scene::of("install", |stage| install(stage).boxed()),
    Scene::of("renewal", |stage| renewal(stage).boxed()),
    Scene::of("removal", |stage| removal(stage).boxed()),
    Scene::of("collection", |stage| collection(stage).boxed()),
    Scene::of("eviction", |stage| eviction(stage).boxed()),
    Scene::of("rot", |stage| rot(stage).boxed()),
    Scene::of("uploads", |stage| uploads(stage).boxed()),
    BACKUP,
    RESTORE,
    MIGRATION,
];

/// Sizes of the blobs that are fetched.
const FETCHED: [usize; 2] = [100_000, (1 << 20) + 70_000];

type Play = for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<(), Error>>;

/// A run of changes.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Lays out what is there, durably, before the scene.
    pub(super) prepare: for<'a> fn(&'a Path) -> BoxFuture<'a, ()>,
    /// How a node comes up; the same again after a cut.
    pub(super) start: fn(Disk, &Path) -> Result<Store, Error>,
    /// Whether the first start is a part of the scene.
    pub(super) from_start: bool,
    /// What has to be so before anything is opened.
    pub(super) look: fn(&Path) -> Result<(), String>,
    /// What has to be so whenever it is open.
    pub(super) always: fn(&Store) -> Result<(), String>,
    pub(super) play: Play,
}

impl Scene {
    pub(super) const fn of(name: &'static str, play: Play) -> Self {
        Self {
            name,
            prepare: |_| Box::pin(async {}),
            start: |disk, root| Store::open_on(disk, &home_of(root), describe),
            from_start: false,
            look: |_| Ok(()),
            always: |_| Ok(()),
            play,
        }
    }
}

/// The home of a scene whose folder is `root`.
pub(super) fn home_of(root: &Path) -> PathBuf {
    root.join("home")
}

/// Whether something is true; a later one of its name takes its place.
pub(super) type Check = Arc<dyn Fn(&Store) -> bool + Send + Sync>;

/// What is known of the store from some moment on.
#[derive(Clone)]
pub(super) enum Fact {
    /// The blob comes or goes: it may be there, and then whole.
    Moving(Digest),
    Held(Digest),
    Gone(Digest),
    /// So many bytes of a download need not come again.
    Fetched(Digest, u64),
    /// Its file may be there without a record, or have other bytes.
    Loose(Digest),
    /// An upload has so many bytes at least, or is over.
    Upload(SessionId, Option<u64>),
    /// An upload may be over.
    Ending(SessionId),
    True(String, Check),
}

/// Where a scene is played.
pub(super) struct Stage {
    pub(super) store: Store,
    pub(super) journal: Arc<Journal>,
    pub(super) root: PathBuf,
    facts: Mutex<Vec<(usize, Fact)>>,
}

impl Stage {
    /// Opens the home in a folder on a disk that is watched.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        Self::of(&SCENES[0], root)
    }

    /// Starts as the scene does it.
    pub(super) fn of(scene: &Scene, root: &Path) -> Result<Self, Error> {
        let journal = Arc::new(Journal::default());
        let store = (scene.start)(Disk::observed(Arc::clone(&journal)), root)?;
        Ok(Self { store, journal, root: root.to_owned(), facts: Mutex::default() })
    }

    /// From now on.
    pub(super) fn told(&self, fact: Fact) {
        let now = self.journal.len();
        self.facts.lock().unwrap().push((now, fact));
    }

    pub(super) fn is_true(
        &self,
        what: impl Into<String>,
        check: impl Fn(&Store) -> bool + Send + Sync + 'static,
    ) {
        self.told(Fact::True(what.into(), Arc::new(check)));
    }

    /// With the number of changes that were made before each.
    pub(super) fn facts(&self) -> Vec<(usize, Fact)> {
        self.facts.lock().unwrap().clone()
    }

    pub(super) async fn blob(&self, bytes: &[u8]) -> Result<BlobInfo, Error> {
        self.told(Fact::Moving(Digest::of(bytes)));
        let info = self.store.commit(staged(&self.store, bytes).await?).await?;
        self.told(Fact::Held(info.digest));
        Ok(info)
    }
}

async fn start(stage: &Stage) -> Result<(), Error> {
    let epoch = stage.store.epoch();
    stage.is_true("the epoch", move |store| store.epoch() == epoch);
    stage.store.put_row("token", "t", b"secret".to_vec()).await?;
    stage.is_true("a row", |store| store.row("token", "t").unwrap().is_some());
    Ok(())
}

async fn publish(stage: &Stage) -> Result<(), Error> {
    let (realm, store) = (Realm::new(1), &stage.store);
    let id = realm.id;
    store.follow(realm.followed(FollowKind::Own)).await?;
    store.admit(vec![realm.genesis.clone()], None).await?;
    stage.is_true("the realm", move |store| store.authority_statements(&id).unwrap().len() == 1);
    for version in ["1.0.0", "1.0.1"] {
        let bytes = noise(40_000 + version.len() * usize::from(version.ends_with('1')));
        stage.blob(&bytes).await?;
        let release = realm.release("x", version, &bytes);
        let crdt::Body::Release(body) = release.body() else { panic!("a release") };
        let content = Content::of(&body.files[0]);
        let file = format!("x-{version}.tgz");
        store.admit(vec![realm.sign(release)], None).await?;
        stage.is_true(format!("release {version}"), move |store| {
            let view = store.package(&id, &package("x")).unwrap();
            view.is_some_and(|view| view.versions.len() > usize::from(version > "1.0.0"))
        });
        let slot = Slot { realm: id, package: package("x"), version: version.into(), file };
        store.pin_content(&slot, content, false).await?;
        stage.is_true(format!("pin {version}"), move |store| {
            let key = (slot.version.clone(), slot.file.clone());
            store.pins(&id, &package("x")).unwrap().contains_key(&key)
        });
    }
    Ok(())
}

/// Bytes, release and pin of a publish are there together or not at all.
async fn publish_at_once(stage: &Stage) -> Result<(), Error> {
    let (realm, store) = (Realm::new(1), &stage.store);
    let id = realm.id;
    store.follow(realm.followed(FollowKind::Own)).await?;
    store.admit(vec![realm.genesis.clone()], None).await?;
    for version in ["1.0.0", "1.0.1"] {
        let bytes = noise(30_000 + version.len() * usize::from(version.ends_with('1')));
        let (digest, plan) = (Digest::of(&bytes), super::publishing::plan(&realm, version, &bytes));
        let slot = plan.pins[0].0.clone();
        let has = move |store: &Store| {
            let view = store.package(&id, &package("x")).unwrap();
            let pin = (slot.version.clone(), slot.file.clone());
            [
                view.is_some_and(|view| view.versions.contains_key(&slot.version)),
                store.pins(&id, &package("x")).unwrap().contains_key(&pin),
                store.blob(&digest).unwrap().is_some(),
            ]
        };
        let whole = has.clone();
        stage.told(Fact::Moving(digest));
        stage.is_true(format!("all or nothing of {version}"), move |store| {
            let has = whole(store);
            has == [true; 3] || has == [false; 3]
        });
        let blobs = vec![staged(store, &bytes).await?];
        store.publish::<_, Error, _>(blobs, move |_| Ok((plan, ()))).await?;
        stage.told(Fact::Held(digest));
        stage.is_true(format!("release {version}"), move |store| has(store) == [true; 3]);
    }
    Ok(())
}

/// As in a database that is large: commits say what is free in it, or one after them does.
async fn publish_to_large(stage: &Stage) -> Result<(), Error> {
    stage.store.inner.settling.above.store(0, Ordering::Relaxed);
    publish_at_once(stage).await?;
    stage.store.settle().await?;
    Ok(())
}

async fn fetch(from: &Store, to: &mut Partial, upto: u64) -> Result<(), Error> {
    let digest = *to.digest();
    for range in to.missing(usize::MAX, 1 << 18) {
        if range.end <= upto {
            let encoded = encode(from, &digest, range.clone()).await?;
            to.accept(range, encoded.expect("it is held")).await?;
        }
    }
    Ok(())
}

/// Of those that are fetched.
pub(super) fn size_of(digest: &Digest) -> usize {
    let size = FETCHED.into_iter().find(|size| Digest::of(&noise(*size)) == *digest);
    size.expect("a scene fetches it")
}

/// Also of a blob whose tree is kept.
async fn mirror(stage: &Stage) -> Result<(), Error> {
    let away = tempdir().unwrap();
    let from = Stage::open(away.path())?;
    for size in FETCHED {
        let info = from.blob(&noise(size)).await?;
        stage.told(Fact::Moving(info.digest));
        if stage.store.blob(&info.digest)?.is_some() {
            // A scene that is played again.
            stage.told(Fact::Held(info.digest));
            continue;
        }
        let mut partial = stage.store.partial(&info.digest, info.size).await?;
        for part in 1..=4 {
            fetch(&from.store, &mut partial, info.size * part / 4).await?;
            partial.checkpoint().await?;
            let lacks: u64 =
                partial.missing(usize::MAX, u64::MAX).iter().map(|it| it.end - it.start).sum();
            stage.told(Fact::Fetched(info.digest, info.size - lacks));
        }
        partial.finish(Hashes::default()).await?;
        stage.told(Fact::Held(info.digest));
    }
    Ok(())
}

/// Many at once, as a client asks for them.
async fn install(stage: &Stage) -> Result<(), Error> {
    let one = |number: usize| async move {
        let name = format!("p{number}");
        // Every third has the bytes of the one before.
        let bytes = format!("bytes of {}", number - usize::from(number % 3 == 2)).into_bytes();
        let digest = Digest::of(&bytes);
        let new = staged(&stage.store, &bytes).await?;
        if number.is_multiple_of(2) {
            let row = file(&name, "p.tgz", new.info());
            stage.store.commit_file(new, row.clone()).await?;
            stage.is_true(format!("file {name}"), move |store| {
                store.cached_files(&row.origin, "npm", &row.package).unwrap().len() == 1
            });
        } else {
            let row = document(&name, Some(new.info()));
            stage.store.commit_document(new, row).await?;
            stage.is_true(format!("document {name}"), move |store| {
                let row = store.cached_document(&subject(&name)).unwrap();
                row.is_some_and(|row| row.body == Some(digest))
            });
        }
        stage.told(Fact::Held(digest));
        let (package, source) =
            (PackageId::new("npm", format!("p{number}")), Source::Upstream { origin: None });
        stage.store.pin_source(&package, source, false).await?;
        stage.is_true(format!("source of p{number}"), move |store| {
            store.pinned_source(&package).unwrap().is_some()
        });
        Ok(())
    };
    futures::future::try_join_all((0..9).map(one)).await.map(|_| ())
}

/// The body that is pushed out goes.
async fn renewal(stage: &Stage) -> Result<(), Error> {
    let bodies = ["one", "two", "three", "four"].map(|text| Digest::of(text.as_bytes()));
    for (number, text) in ["one", "two", "three", "four"].into_iter().enumerate() {
        // Played again, all of them come and go once more.
        bodies.iter().for_each(|body| stage.told(Fact::Moving(*body)));
        let new = staged(&stage.store, text.as_bytes()).await?;
        let row = document("p", Some(new.info()));
        stage.store.commit_document(new, row).await?;
        let held = number.saturating_sub(2)..=number;
        held.for_each(|at| stage.told(Fact::Held(bodies[at])));
        if number == 3 {
            stage.told(Fact::Gone(bodies[0]));
        }
    }
    Ok(())
}

async fn removal(stage: &Stage) -> Result<(), Error> {
    for (number, size) in [5000, 6000, 7000].into_iter().enumerate() {
        let digest = stage.blob(&noise(size)).await?.digest;
        if number < 2 {
            stage.told(Fact::Moving(digest));
            if number == 0 {
                stage.store.remove_blob(&digest).await?;
            } else {
                stage.store.remove_unused_blob(&digest).await?;
            }
            stage.told(Fact::Gone(digest));
        }
    }
    stage.blob(&noise(5000)).await.map(|_| ())
}
