//! What a publish costs, and that it is one change: syncs and commits are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::routes::Source;
use crdt::{Content, Digest, SlotState};
use futures::future::join_all;
use tempfile::{TempDir, tempdir};

use super::super::disk::Disk;
use super::super::disk::journal::{Journal, Op};
use super::super::{Error, FollowKind, Plan, Slot, Store};
use super::world::{Realm, describe, package};
use super::{files, noise, staged};

/// What a publish of one file would keep.
pub(super) fn plan(realm: &Realm, version: &str, bytes: &[u8]) -> Plan {
    let release = realm.release("x", version, bytes);
    let crdt::Body::Release(body) = release.body() else { panic!("a release") };
    let (content, file) = (Content::of(&body.files[0]), body.files[0].name.clone());
    let slot = Slot { realm: realm.id, package: package("x"), version: version.into(), file };
    let tag = realm.tag("x", "latest", release.id(), 1);
    Plan {
        statements: vec![realm.sign(release), realm.sign(tag)],
        source: Some((package("x"), Source::Realm { realm: realm.id })),
        pins: vec![(slot, content)],
        unpins: Vec::new(),
    }
}

/// A store on a disk that counts.
struct Counted {
    store: Store,
    journal: Arc<Journal>,
    realm: Realm,
    home: TempDir,
}

impl Counted {
    async fn start() -> Self {
        let (realm, home) = (Realm::new(1), tempdir().unwrap());
        let journal = Arc::new(Journal::default());
        let disk = Disk::observed(Arc::clone(&journal));
        let store = Store::open_on(disk, home.path(), describe).unwrap();
        store.follow(realm.followed(FollowKind::Own)).await.unwrap();
        store.admit(vec![realm.genesis.clone()], None).await.unwrap();
        let this = Self { store, journal, realm, home };
        // The folders of `blobs/` are durable after the first.
        this.publish("0.0.1", b"first").await.unwrap();
        this
    }

    async fn publish(&self, version: &str, bytes: &[u8]) -> Result<(), Error> {
        let blobs = vec![staged(&self.store, bytes).await?];
        let plan = plan(&self.realm, version, bytes);
        self.store.publish(blobs, move |_| Ok::<_, Error>((plan, ()))).await.map(|_| ())
    }

    /// Names of what was synced since, without number and digest; how often each.
    fn synced_since(&self, from: usize) -> BTreeMap<&'static str, usize> {
        let ops = self.journal.ops();
        let mut names: BTreeMap<usize, PathBuf> = BTreeMap::new();
        let mut synced = BTreeMap::new();
        for (at, op) in ops.iter().enumerate() {
            let path = match op {
                Op::Open { file, path, .. } => {
                    names.insert(*file, path.clone());
                    continue;
                }
                Op::Sync { file } => &names[file],
                Op::SyncFolder { path } => path,
                _ => continue,
            };
            if at < from {
                continue;
            }
            let path = path.strip_prefix(self.home.path()).unwrap().to_str().unwrap();
            let kind = match path {
                "tmp" => "marks",
                "blobs" => "folders",
                path if path.starts_with("tmp/") => "bytes",
                path if path.starts_with("blobs/") => "names",
                _ => "database",
            };
            *synced.entry(kind).or_default() += 1;
        }
        synced
    }

    fn commits(&self) -> u64 {
        self.store.inner.batch_commits.load(Ordering::Relaxed)
    }

    fn versions(&self) -> usize {
        self.store.package(&self.realm.id, &package("x")).unwrap().unwrap().versions.len()
    }
}

/// The folder that `noise` of the publish goes into.
fn shard(n: usize) -> u8 {
    Digest::of(&noise(4096 + n)).as_bytes()[0]
}

/// Somebody who writes, for as long as it is wished.
struct Turn<'s> {
    store: &'s Store,
    end: std::sync::mpsc::Sender<()>,
    writes: std::thread::JoinHandle<()>,
}

impl<'s> Turn<'s> {
    fn take(store: &'s Store) -> Self {
        let (end, ends) = std::sync::mpsc::channel();
        let (taken, takes) = std::sync::mpsc::channel();
        let writer = store.clone();
        let writes = std::thread::spawn(move || {
            let _turn = writer.inner.writer.take();
            taken.send(()).unwrap();
            ends.recv().unwrap();
        });
        takes.recv().unwrap();
        Self { store, end, writes }
    }

    /// Ends when so many calls wait; gives what became of them.
    async fn end_when<T>(self, calls: usize, all: impl Future<Output = T>) -> T {
        tokio::pin!(all);
        while self.store.inner.waiting.lock().unwrap().len() < calls {
            tokio::select! {
                biased;
                _ = &mut all => panic!("nothing can be kept now"),
                () = tokio::task::yield_now() => {}
            }
        }
        self.end.send(()).unwrap();
        self.writes.join().unwrap();
        all.await
    }
}

/// Bytes whose blob goes into the same folder as those of another.
fn beside(other: &[u8]) -> Vec<u8> {
    let folder = Digest::of(other).as_bytes()[0];
    let found = (0u32..).map(|n| format!("small {n}").into_bytes());
    found.into_iter().find(|bytes| Digest::of(bytes).as_bytes()[0] == folder).unwrap()
}

#[tokio::test]
async fn a_publish_of_a_small_file_is_one_commit_and_four_syncs() {
    let counted = Counted::start().await;
    let bytes = beside(b"first");
    let (from, commits) = (counted.journal.len(), counted.commits());
    counted.publish("1.0.0", &bytes).await.unwrap();
    let expected = BTreeMap::from([("bytes", 1), ("marks", 1), ("names", 1), ("database", 1)]);
    assert_eq!(counted.synced_since(from), expected);
    assert_eq!(counted.commits() - commits, 1);
    assert_eq!(counted.versions(), 2);
    assert!(files(counted.home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_large_database_is_opened_quickly_after_a_kill_for_a_second_sync() {
    let counted = Counted::start().await;
    counted.store.inner.settling.above.store(0, Ordering::Relaxed);
    let from = counted.journal.len();
    counted.publish("1.0.0", &beside(b"first")).await.unwrap();
    assert_eq!(counted.synced_since(from)["database"], 2);
    assert!(!counted.store.settle().await.unwrap(), "one that comes alone lacks nothing");
}

#[tokio::test]
async fn changes_close_together_say_once_what_is_free() {
    let counted = Counted::start().await;
    counted.store.inner.settling.above.store(0, Ordering::Relaxed);
    counted.store.inner.settling.close.store(600_000, Ordering::Relaxed);
    counted.publish("1.0.0", &beside(b"first")).await.unwrap();
    let from = counted.journal.len();
    counted.publish("1.1.0", &beside(b"second")).await.unwrap();
    assert_eq!(counted.synced_since(from)["database"], 1, "it does not say it");
    let from = counted.journal.len();
    assert!(counted.store.settle().await.unwrap());
    assert_eq!(counted.synced_since(from)["database"], 2);
    assert!(!counted.store.settle().await.unwrap());
}

#[tokio::test]
async fn a_store_that_is_kept_settled_settles_by_itself() {
    let counted = Counted::start().await;
    counted.store.inner.settling.above.store(0, Ordering::Relaxed);
    counted.store.inner.settling.close.store(600_000, Ordering::Relaxed);
    let publish = async {
        counted.publish("1.0.0", &beside(b"first")).await.unwrap();
        let from = counted.journal.len();
        counted.publish("1.1.0", &beside(b"second")).await.unwrap();
        while counted.synced_since(from)["database"] < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        ended = counted.store.keep_settled() => panic!("it ended: {ended:?}"),
        () = publish => {}
    }
}

#[tokio::test]
async fn publishes_at_the_same_time_share_commits() {
    const PUBLISHES: usize = 32;
    let counted = Counted::start().await;
    let (from, commits) = (counted.journal.len(), counted.commits());
    // While somebody else writes, they come together.
    let turn = Turn::take(&counted.store);
    let all = (0..PUBLISHES).map(|n| {
        let counted = &counted;
        async move { counted.publish(&format!("1.{n}.0"), &noise(4096 + n)).await }
    });
    for done in turn.end_when(PUBLISHES, join_all(all)).await {
        done.unwrap();
    }
    assert_eq!(counted.commits() - commits, 1);
    let synced = counted.synced_since(from);
    let shards: BTreeSet<u8> = (0..PUBLISHES).map(shard).collect();
    let expected = [("bytes", PUBLISHES), ("marks", 1), ("folders", 1), ("names", shards.len())];
    let expected = expected.into_iter().chain([("database", 1)]).collect();
    assert_eq!(synced, expected);
    assert_eq!(counted.versions(), PUBLISHES + 1);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_and_costs_no_commit() {
    let counted = Counted::start().await;
    let blobs = vec![staged(&counted.store, b"refused").await.unwrap()];
    let (from, commits) = (counted.journal.len(), counted.commits());
    let refused = counted.store.publish::<(), _, _>(blobs, |moment| {
        let held = moment.package_statements(&Realm::new(1).id, &package("x"))?;
        Err(Error::TooLarge { limit: held.len() as u64 })
    });
    let refused = refused.await.unwrap_err();
    // A release and its tag.
    assert!(matches!(refused, Error::TooLarge { limit: 2 }), "{refused}");
    assert_eq!(counted.synced_since(from), BTreeMap::new());
    assert_eq!(counted.commits(), commits);
    assert!(counted.store.blob(&Digest::of(b"refused")).unwrap().is_none());
    assert!(files(counted.home.path(), "tmp").is_empty());
}

#[tokio::test]
async fn a_decision_sees_what_the_one_before_it_plans_in_the_same_commit() {
    let counted = Counted::start().await;
    let (store, commits) = (&counted.store, counted.commits());
    let publish = |bytes: &'static [u8]| {
        let (realm, plan) = (counted.realm.id, plan(&counted.realm, "1.0.0", bytes));
        async move {
            let blobs = vec![staged(store, bytes).await.unwrap()];
            let decide = move |moment: &super::super::Moment<'_>| {
                let view = moment.derived(&realm, &package("x"))?;
                if view.is_some_and(|view| view.versions.contains_key("1.0.0")) {
                    return Err(Error::Locked);
                }
                Ok((plan, ()))
            };
            store.publish(blobs, decide).await.map(|_| Digest::of(bytes))
        }
    };
    let turn = Turn::take(store);
    let both = join_all([publish(b"one"), publish(b"other")]);
    let results = turn.end_when(2, both).await;
    let kept: Vec<Digest> = results.iter().filter_map(|it| it.as_ref().ok().copied()).collect();
    let refused = results.iter().filter(|it| matches!(it, Err(Error::Locked))).count();
    assert_eq!((kept.len(), refused), (1, 1), "{results:?}");
    assert_eq!(counted.commits() - commits, 1);
    let view = store.package(&counted.realm.id, &package("x")).unwrap().unwrap();
    let file = &view.versions["1.0.0"].files["x-1.0.0.tgz"];
    assert_eq!(file.serves.as_ref().map(|content| content.blake3), kept.first().copied());
    assert_ne!(file.state, SlotState::Disputed);
    assert!(files(counted.home.path(), "tmp").is_empty());
}
