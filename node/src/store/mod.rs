//! Bytes and records at rest.
//!
//! ```text
//! <home>/lock               taken while a node runs here
//!        store.redb         statements, views, local state: `tables.rs`
//!        blobs/ab/<digest>  complete and verified, or absent
//!        tmp/               files being written; emptied at every start
//!        partial/           half downloads: data, hash tree, map of verified groups
//!        uploads/           upload sessions: data, and the mark how far they are durable
//!        outboard/<digest>  hash trees of blobs above 1 MiB, for sending; can be deleted
//! ```
//!
//! One writer inside: every change is one redb transaction under one lock, committed and
//! synced before the method returns. Readers run beside it on snapshots. A crash loses nothing
//! that was acknowledged; what it leaves half done is cleared at the next [`Store::open`] by the
//! marks in `tmp/`, without looking at anything else. Does not decide what to keep, whom to
//! believe or what to serve: see `crdt::derive` and `registry`.
//!
//! Admission is in `admission`, derivation in `views`, what it goes by in `authority`, `rulings`
//! and `grounds`, realms followed for a grant in `delegates`, the sync session's reads in `index`,
//! blobs in `blob`, `partial` and `outboard`, what changes the disk in `disk`, the one redb file in
//! `database`, commits that many share in `batch`, a publish as one of them in `publishing`, what
//! came from upstreams in `cached`, what belongs to this node alone in `local`; layouts of earlier
//! programs in `migration`, copies of the whole in `backup` and `restore`; a bucket that holds the
//! blobs for several nodes in `remote`; which commits make the start after a kill quick in
//! `settling`.
//!
//! Source: DESIGN.md sections 3 and 5, index.md section 2.4.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt::Digest;
use redb::{ReadTransaction, WriteTransaction};
use tokio::sync::{broadcast, watch};

use changes::Scope;
use disk::Disk;
use paths::Paths;
use tables::Tables as _;

mod admission;
mod anew;
mod arrival;
mod authority;
pub mod backup;
mod batch;
mod beats;
pub mod blob;
pub mod cached;
mod cached_rows;
mod chains;
mod changes;
mod collections;
mod counts;
mod database;
mod delegates;
mod disk;
mod documents;
mod error;
mod evict_rows;
pub mod gc;
mod grounds;
mod hashing;
mod holding;
mod index;
pub mod kinds;
mod lists;
mod local;
mod migration;
mod outboard;
pub mod partial;
mod paths;
mod pins;
mod publishing;
pub mod quota;
mod readers;
pub mod rebuild;
pub mod receipts;
mod records;
mod recovery;
mod regained;
pub mod remote;
pub mod restore;
mod rulings;
mod search;
pub mod sessions;
mod settling;
mod standings;
mod statements;
mod tables;
#[cfg(test)]
mod tests;
mod turn;
mod usage;
pub mod verify;
mod version_rows;
mod views;
mod writing;

pub use admission::RealmLimit;
pub use arrival::Arrival;
pub use beats::Counted;
pub use changes::Generation;
pub use error::Error;
pub use holding::Holding;
pub use pins::Slot;
pub use publishing::{Moment, Plan};
pub use readers::ProvenKeys;
pub use receipts::{AcceptedMirror, HeldReceipt, believed_mirrors};
pub use records::{
    Admission, ArtifactRef, BlobInfo, Counts, FollowKind, Followed, Hashes, NewItem, PackageSummary,
};
pub use recovery::Recovered;
pub use regained::NotYet;
pub use remote::{Blobs, Bucket, BucketNode, BucketStatus, Coming, SweepOrder, SweepStep, Swept};

/// Memory that redb may use for pages. Its default grew to 866 MB (index.md section 2.4). With so
/// little, a node with a full store needs no more than one with an empty one; the system has the
/// pages anyway, and a blob that is read costs 5 % more CPU than with 16 MiB (performance.md).
const CACHE_BYTES: usize = 1 << 20;

/// Admissions that a slow subscriber may lag behind before it must look for itself.
const SUBSCRIBER_LAG_MAX: usize = 1024;

/// Makes one line for search out of a release's inline meta: (format, meta) → text.
pub type Describe = fn(format: &str, meta: &[u8]) -> String;

/// A handle; clones are cheap. One writer inside; readers run beside it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What all handles share. The database is dropped before the lock that protects it.
struct Inner {
    paths: Paths,
    disk: Disk,
    database: database::Base,
    _lock: File,
    writer: turn::Turn,
    /// Changes that wait for the turn.
    queue: Mutex<turn::Queue>,
    epoch: u64,
    describe: Describe,
    admissions: broadcast::Sender<Arc<Admission>>,
    changes: changes::Changes,
    /// The last admission that subscribers heard of.
    told: AtomicU64,
    follows: watch::Sender<u64>,
    /// Digests that a `Partial` is open for.
    flights: Mutex<BTreeSet<Digest>>,
    /// Held while a hash tree is made: one at a time, because each reads a whole blob.
    tree_maker: tokio::sync::Mutex<()>,
    authorities: Mutex<authority::Cache>,
    document_applies: AtomicU64,
    temporaries: AtomicU64,
    /// Whether the names of the folders in `blobs/` were synced by this process: one that was
    /// killed may have made some.
    shards_are_durable: AtomicBool,
    /// Writers that are open: they share what is gathered before it is hashed.
    writers: Arc<AtomicUsize>,
    sessions: Mutex<sessions::Sessions>,
    /// Says that an upload session was let go of.
    parked: tokio::sync::Notify,
    /// Bytes that are kept free, and what blobs may take.
    limits: quota::Limits,
    uses: usage::Uses,
    own_keys: kinds::OwnKeys,
    /// Changes that wait for the commit that they share.
    waiting: Mutex<batch::Waiting>,
    batch_commits: AtomicU64,
    /// Which commits make the start after a kill quick.
    settling: settling::Settling,
    /// Receipts that are kept of a realm.
    receipts_max: AtomicU64,
    /// What realms may take.
    realm_limits: admission::RealmLimits,
    /// The bucket that has the blobs, where `blobs/` has copies only.
    remote: Option<remote::Remote>,
    /// Files whose removal waits for a backup.
    held: Mutex<holding::Held>,
    /// What the start has cleared away.
    cleared: recovery::Cleared,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Where blobs are kept unless somebody says otherwise.
#[cfg(not(test))]
const fn usual_blobs(_: &Path) -> Blobs {
    Blobs::Here
}
#[cfg(test)]
use remote::usual_blobs;

impl Store {
    /// Opens or creates the store under `home`, without descriptions for search.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub fn open(home: &Path) -> Result<Self, Error> {
        Self::open_with(home, |_, _| String::new())
    }

    /// Opens or creates the store under `home`; takes the lock; brings the records of an earlier
    /// program to this one's layout; clears what a crash left.
    ///
    /// Rebuilds the views if they were derived by other rules, otherwise reads nothing whole.
    ///
    /// # Errors
    /// [`Error::Locked`] if another node runs on this home, [`Error::Newer`] if a later program
    /// wrote it, [`Error::Restoring`] while a restore is not finished.
    pub fn open_with(home: &Path, describe: Describe) -> Result<Self, Error> {
        Self::open_in(home, describe, usual_blobs(home))
    }

    /// The same with a choice of where blobs are kept for good. Does not wait for a bucket.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub fn open_in(home: &Path, describe: Describe, blobs: Blobs) -> Result<Self, Error> {
        Self::open_at(Disk::default(), home, describe, blobs)
    }

    /// The same on a file system that may be watched.
    #[cfg(test)]
    fn open_on(disk: Disk, home: &Path, describe: Describe) -> Result<Self, Error> {
        Self::open_at(disk, home, describe, Blobs::Here)
    }

    fn open_at(disk: Disk, home: &Path, describe: Describe, blobs: Blobs) -> Result<Self, Error> {
        Self::open_all(&disk, home, describe, blobs).map_err(|why| {
            let free = disk.free_space(home).unwrap_or(0);
            if why.is_no_space() { Error::Full { free, needed: 0 } } else { why }
        })
    }

    fn open_all(disk: &Disk, home: &Path, describe: Describe, blobs: Blobs) -> Result<Self, Error> {
        let paths = Paths::new(home);
        paths.create(disk)?;
        let lock = take_lock(&paths)?;
        restore::refuse_unfinished(&paths)?;
        let (database, epoch) = migration::open(disk, &paths, CACHE_BYTES)?;
        let told = database.begin_read()?.meta(tables::META_SEQUENCE)?;
        let mut inner = Inner {
            paths,
            disk: disk.clone(),
            database,
            _lock: lock,
            writer: turn::Turn::default(),
            queue: Mutex::default(),
            epoch,
            describe,
            admissions: broadcast::channel(SUBSCRIBER_LAG_MAX).0,
            changes: changes::Changes::new(),
            told: AtomicU64::new(told),
            follows: watch::channel(0).0,
            flights: Mutex::default(),
            tree_maker: tokio::sync::Mutex::default(),
            authorities: Mutex::default(),
            document_applies: AtomicU64::new(0),
            temporaries: AtomicU64::new(0),
            shards_are_durable: AtomicBool::new(false),
            writers: Arc::default(),
            sessions: Mutex::default(),
            parked: tokio::sync::Notify::new(),
            limits: quota::Limits::default(),
            uses: usage::Uses::default(),
            own_keys: kinds::OwnKeys::default(),
            waiting: Mutex::default(),
            batch_commits: AtomicU64::new(0),
            settling: settling::Settling::default(),
            receipts_max: AtomicU64::new(receipts::RECEIPTS_MAX),
            realm_limits: admission::RealmLimits::default(),
            remote: match blobs {
                Blobs::Here => None,
                Blobs::Bucket(bucket) => Some(remote::Remote::new(bucket)),
            },
            held: Mutex::default(),
            cleared: recovery::Cleared::default(),
        };
        inner.cleared = recovery::clear_leftovers(&inner)?;
        sessions::recover(&inner)?;
        remote::Remote::prepare(&inner)?;
        views::rebuild_if_outdated(&inner)?;
        lists::read_left_over(&inner)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder that it lies in.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.inner.paths.home()
    }

    /// Free bytes on the blobs' device.
    ///
    /// # Errors
    /// When the device does not say.
    pub fn free_space(&self) -> Result<u64, Error> {
        self.inner.free_space()
    }

    /// As if the device were full, or had room without end.
    #[cfg(test)]
    pub(crate) fn reserve_all(&self, all: bool) {
        self.inner.limits.set_reserve(if all { u64::MAX } else { 0 });
    }

    /// One write transaction, committed and synced before this returns. Runs to its end even if
    /// the caller goes away; `after` is called once it is durable, still before the next writer.
    async fn write<T, F, A>(&self, change: F, after: A) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &WriteTransaction) -> Result<T, Error> + Send + 'static,
        A: FnOnce(&Inner, &T) + Send + 'static,
    {
        self.write_if(|_| true, change, after).await
    }

    /// The same, but what `is_change` denies is not committed: it costs no sync.
    async fn write_if<T, F, A>(
        &self,
        is_change: fn(&T) -> bool,
        change: F,
        after: A,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &WriteTransaction) -> Result<T, Error> + Send + 'static,
        A: FnOnce(&Inner, &T) + Send + 'static,
    {
        let scope = move |value: &T| is_change(value).then_some(Scope::All);
        self.write_scoped(scope, change, after).await
    }

    /// The same, with whose documents it concerns; nothing is committed where there is no scope.
    async fn write_scoped<T, F, A>(
        &self,
        scope: impl FnOnce(&T) -> Option<Scope> + Send + 'static,
        change: F,
        after: A,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &WriteTransaction) -> Result<T, Error> + Send + 'static,
        A: FnOnce(&Inner, &T) + Send + 'static,
    {
        turn::run(&self.inner, move |inner| {
            // Also when the commit fails: nobody knows how far it came.
            let counted = inner.changes.at_end();
            let (value, scope) = inner.commit(scope, change).map_err(|why| inner.give_up(why))?;
            if scope.is_some() {
                after(inner, &value);
            }
            counted.only(scope.unwrap_or_else(Scope::none));
            Ok(value)
        })
        .await
    }

    /// A snapshot for reading.
    fn read(&self) -> Result<ReadTransaction, Error> {
        self.inner.read()
    }

    /// Reads from a snapshot, and from another one if the disk refused a write in the middle of it.
    fn reading<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, Error>) -> Result<T, Error> {
        self.inner.database.reading(read)
    }
}

impl Inner {
    fn read(&self) -> Result<ReadTransaction, Error> {
        self.database.begin_read()
    }

    /// One transaction, for who has the turn; says whom it concerns, if it changed anything.
    fn commit<T>(
        &self,
        scope: impl FnOnce(&T) -> Option<Scope>,
        change: impl FnOnce(&Self, &WriteTransaction) -> Result<T, Error>,
    ) -> Result<(T, Option<Scope>), Error> {
        let txn = self.begin_write()?;
        let value = change(self, &txn)?;
        let scope = scope(&value);
        if scope.is_some() {
            txn.commit()?;
        } else {
            txn.abort()?;
        }
        Ok((value, scope))
    }

    /// After a write that failed, for who still has the turn: what it left half done is taken back
    /// as a start would do it. What cannot be taken back now is then.
    fn give_up(&self, error: Error) -> Error {
        let error = self.explain(error, 0);
        if let Err(why) = recovery::take_back_all(self) {
            tracing::warn!(%why, "a change that failed is taken back at the next start");
        }
        error
    }

    fn begin_write(&self) -> Result<WriteTransaction, Error> {
        let mut txn = self.database.begin_write()?;
        if self.database.is_anew() {
            self.tell_anew();
        }
        txn.set_quick_repair(self.settling.is_due(self.database.len()?));
        Ok(txn)
    }

    fn free_space(&self) -> Result<u64, Error> {
        Ok(self.disk.free_space(&self.paths.tmp())?)
    }

    /// Says "full" where the system said so.
    fn explain(&self, error: Error, needed: u64) -> Error {
        let at_database = matches!(error, Error::Database(_))
            && self.database.failure().is_some_and(error::is_no_space);
        if at_database || error.is_no_space() {
            Error::Full { free: self.free_space().unwrap_or(0), needed }
        } else {
            error
        }
    }
}

/// A lock whose holder panicked protects plain sets and maps here: they are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` where blocking is allowed; a panic inside is a panic here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(died) => match died.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(std::io::Error::other("the node is stopping").into()),
        },
    }
}

/// Takes the lock of the home for as long as the file stays open.
fn take_lock(paths: &Paths) -> Result<File, Error> {
    let file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(paths.lock())?
        .into_parts()
        .0;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked),
        Err(std::fs::TryLockError::Error(why)) => Err(why.into()),
    }
}
