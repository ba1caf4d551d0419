//! A backup: one folder that holds all that a node holds, and from which it comes back.
//!
//! ```text
//! <folder>/griot-backup.json     what the backup is; written last, so a cut one has none
//!          records-<hash>.redb   the records, as one snapshot saw them
//!          blobs/ab/<digest>     the blobs that those records name
//!          keys/…                small files of other layers that go along
//!          griot-backup.lock     held while somebody writes here
//! ```
//!
//! The node goes on meanwhile. First the removal of files is held (`holding`), then one read
//! transaction is copied table by table into a fresh file; then the blobs that the copy names are
//! linked, or copied and hashed in one pass. What lies in the folder already is not copied again.
//! A file gets its name when its bytes are durable. The manifest of the backup before stands until
//! it is replaced; after that, what only the one before named is removed.
//!
//! A blob of which there is no copy here is read out of the bucket, if there is one; while that
//! cannot be asked there is no backup.
//! A record whose blob is gone or damaged is left out and told. Half downloads, uploads under way
//! and hash trees are left out. Restoring is in `restore`.
//!
//! Source: DESIGN.md sections 5 and 8.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crdt::{Digest, RealmId};
use redb::ReadTransaction;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::disk::Disk;
use super::tables::Tables as _;
use super::{Error, FollowKind, Store, blocking, tables};

mod check;
pub(super) mod folder;
pub(super) mod manifest;
mod records;

pub(super) use check::open as opened;
pub use check::{Checked, check};
pub use manifest::Manifest;
pub(super) use records::blobs as records_blobs;

use folder::Folder;
use manifest::Blobs;

/// Files that are named in a report.
const NAMED_MAX: usize = 20;
/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What is to be backed up, and where to.
#[derive(Debug, Clone)]
pub struct Order {
    /// The folder of the backup; made if it is not there.
    pub folder: PathBuf,
    /// Small files of other layers that go along: their name in the backup and in a home.
    pub files: Vec<String>,
    /// What becomes of a row of another layer: `None` leaves it out.
    pub row: fn(kind: &str, key: &str, value: &[u8]) -> Option<Vec<u8>>,
    /// Whether the own realm stays the own one: not in a backup without its keys.
    pub is_own: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Rows, or bytes of blobs.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// The two halves of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Records; counted in rows.
    Records,
    /// Blobs; counted in bytes.
    Blobs,
}

/// Hears how far it is; `false` ends the work.
pub type Tell = Box<dyn FnMut(Progress) -> bool + Send>;

/// What was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Where it lies.
    pub folder: PathBuf,
    /// Blobs in the backup, and their bytes.
    pub blobs: u64,
    /// See `blobs`.
    pub bytes: u64,
    /// Those that were not there before.
    pub new_blobs: u64,
    /// See `new_blobs`.
    pub new_bytes: u64,
    /// New ones that share their bytes on the disk with the node's.
    pub linked_blobs: u64,
    /// Rows of the records.
    pub rows: u64,
    /// Small files that went along.
    pub files: Vec<String>,
    /// Blobs that the node should have and has not, or not whole; they are not in the backup.
    pub lacking_blobs: u64,
    /// The first of them.
    pub lacking: Vec<Digest>,
}

/// Why a folder is no backup, or a home takes none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no manifest.
    #[error("{} is no whole backup: it has no {}", folder.display(), manifest::NAME)]
    NotWhole {
        /// What was to be read.
        folder: PathBuf,
    },
    /// A file is not what the manifest says.
    #[error("the backup is damaged: {} {why}", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A later program made it.
    #[error("{} was made by {program}: this griot cannot read it", folder.display())]
    Later {
        /// The backup.
        folder: PathBuf,
        /// Who made it.
        program: String,
    },
    /// The folder has the backup of another node.
    #[error("{} holds the backup of another node: choose another folder", folder.display())]
    Another {
        /// The folder.
        folder: PathBuf,
    },
    /// Somebody writes there now.
    #[error("another backup writes to {} now", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is a part of the home.
    #[error("{} lies in the home that is backed up: choose a folder elsewhere", folder.display())]
    Inside {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no room where the backup goes.
    #[error("there is no room left in {}, {free} bytes free", folder.display())]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// Bytes free on its device.
        free: u64,
    },
    /// There is something in the home.
    #[error("{} is not empty: a backup is restored into a new home", home.display())]
    NotEmpty {
        /// The home.
        home: PathBuf,
    },
    /// Who asked for it has gone away.
    #[error("it was stopped before its end; what was done is kept for the next time")]
    Stopped,
}

impl Refusal {
    /// What to type or do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => {
                "make a new backup; a damaged file under blobs/ can be deleted before it"
            }
            Self::NotWhole { .. } => "a backup that was cut is typed again: griot backup DIR",
            Self::Later { .. } => "take a newer griot",
            Self::Another { .. } | Self::Inside { .. } => "griot backup OTHER-DIR",
            Self::Busy { .. } => "wait for it, or griot backup OTHER-DIR",
            Self::NoRoom { .. } => {
                "make room there and type it again: what was copied is not copied again"
            }
            Self::NotEmpty { .. } => {
                "griot --home NEW restore DIR, with a folder that is not there yet"
            }
            _ => "type it again: what was copied is kept",
        }
    }
}

/// Tells now and then how far it is.
pub(super) struct Course {
    tell: Tell,
    told: Instant,
    pub(super) progress: Progress,
}

impl Course {
    pub(super) fn new(tell: Tell) -> Self {
        let progress = Progress { phase: Phase::Records, done: 0, total: 0 };
        Self { tell, told: Instant::now(), progress }
    }

    /// Another half begins.
    pub(super) fn begin(&mut self, phase: Phase, total: u64) -> Result<(), Error> {
        self.progress = Progress { phase, done: 0, total };
        self.say()
    }

    /// So much more is done.
    pub(super) fn step(&mut self, count: u64) -> Result<(), Error> {
        self.progress.done += count;
        if self.told.elapsed() >= TELL_EVERY { self.say() } else { Ok(()) }
    }

    fn say(&mut self) -> Result<(), Error> {
        self.told = Instant::now();
        if (self.tell)(self.progress) { Ok(()) } else { Err(Refusal::Stopped.into()) }
    }
}

impl Store {
    /// Makes a backup, or brings the one in the folder up to date. All that was acknowledged before
    /// the call is in it; reads and writes go on.
    ///
    /// # Errors
    /// The folder is not usable ([`Error::Backup`]), a disk is full, or `tell` said to stop: the
    /// backup before, if there was one, is still whole, and what was copied is used the next time.
    pub async fn back_up(&self, order: Order, tell: Tell) -> Result<Report, Error> {
        let store = self.clone();
        blocking(move || {
            let (course, to) = (Course::new(tell), order.folder.clone());
            let no_room = |why| no_room(&store.inner.disk, &to, why);
            let folder = Folder::open(&store.inner.disk, &to, store.inner.paths.home());
            let folder = folder.map_err(no_room)?;
            let work =
                Work { store: &store, order: &order, folder, course, report: order.report() };
            work.run().map_err(no_room)
        })
        .await
    }
}

/// Whose disk is full: a backup writes there alone.
fn no_room(disk: &Disk, folder: &Path, error: Error) -> Error {
    if !error.is_no_space() && !matches!(error, Error::Full { .. }) {
        return error;
    }
    let free = disk.free_space(folder).unwrap_or(0);
    Refusal::NoRoom { folder: folder.to_owned(), free }.into()
}

/// A full disk at the other end.
pub(super) fn full(error: Error) -> Error {
    if error.is_no_space() { Error::Full { free: 0, needed: 0 } } else { error }
}

impl Order {
    fn report(&self) -> Report {
        Report {
            folder: self.folder.clone(),
            blobs: 0,
            bytes: 0,
            new_blobs: 0,
            new_bytes: 0,
            linked_blobs: 0,
            rows: 0,
            files: self.files.clone(),
            lacking_blobs: 0,
            lacking: Vec::new(),
        }
    }
}

/// A backup under way.
struct Work<'a> {
    store: &'a Store,
    order: &'a Order,
    folder: Folder,
    course: Course,
    report: Report,
}

impl Work<'_> {
    fn run(mut self) -> Result<Report, Error> {
        // Before the snapshot, or what it names could vanish in between.
        let _holding = self.store.hold_removals();
        let snapshot = self.store.read()?;
        let realm = own_realm(&snapshot)?;
        self.refuse_another(realm)?;
        let total = snapshot.meta(tables::META_BLOB_BYTES)?;
        let copy = self.folder.fresh_records()?;
        let keep = records::Keep { row: self.order.row, is_own: self.order.is_own };
        self.report.rows = records::copy(&snapshot, &copy, &keep, &mut self.course)?;
        drop(snapshot);
        self.course.begin(Phase::Blobs, total)?;
        let (blobs, lacking) = self.blobs(&copy)?;
        records::leave_out(&copy, &lacking)?;
        let records = self.folder.name_records(copy)?;
        let mut files = Vec::new();
        for name in &self.order.files {
            let from = self.store.inner.paths.home().join(name);
            files.push(self.folder.copy_small(&from, name)?);
        }
        self.report.lacking_blobs = lacking.len() as u64;
        self.report.lacking = lacking.into_iter().take(NAMED_MAX).collect();
        (self.report.blobs, self.report.bytes) = (blobs.count, blobs.bytes);
        let manifest = Manifest::new(realm, records, blobs, files);
        self.folder.seal(&manifest)?;
        self.folder.prune(&manifest)?;
        Ok(self.report)
    }

    /// A folder keeps the backup of one node.
    fn refuse_another(&self, realm: Option<RealmId>) -> Result<(), Error> {
        let folder = self.folder.path();
        match manifest::read(folder) {
            Ok(before) if before.realm != realm => {
                Err(Refusal::Another { folder: folder.to_owned() }.into())
            }
            Err(Error::Backup(later @ Refusal::Later { .. })) => Err(later.into()),
            // A damaged manifest is replaced by a good one.
            _ => Ok(()),
        }
    }

    /// Brings all blobs over that the copy names; says which ones lack.
    fn blobs(&mut self, copy: &redb::Database) -> Result<(Blobs, Vec<Digest>), Error> {
        let txn = redb::ReadableDatabase::begin_read(copy)?;
        let (mut sum, mut lacking) = (manifest::Sum::default(), Vec::new());
        for info in records::blobs(&txn)? {
            let info = info?;
            let from = self.store.inner.paths.blob(&info.digest);
            let mut brought = self.folder.bring_blob(&from, &info, &mut self.course)?;
            if brought == folder::Brought::Lacking && self.store.inner.remote.is_some() {
                let (store, digest) = (self.store, &info.digest);
                let read = |each: &mut folder::Each<'_>| {
                    Handle::current().block_on(store.read_through(digest, each))
                };
                brought = self.folder.bring_from(&info, &mut self.course, read)?;
            }
            match brought {
                folder::Brought::Lacking => lacking.push(info.digest),
                folder::Brought::Had => sum.add(&info),
                folder::Brought::Linked | folder::Brought::Copied => {
                    sum.add(&info);
                    self.report.new_blobs += 1;
                    self.report.new_bytes += info.size;
                    self.report.linked_blobs += u64::from(brought == folder::Brought::Linked);
                }
            }
        }
        Ok((sum.finish(), lacking))
    }
}

/// The node's own realm, by which its backups are told apart.
fn own_realm(txn: &ReadTransaction) -> Result<Option<RealmId>, Error> {
    let followed = super::local::all_followed(txn)?;
    let own = followed.into_iter().find(|followed| followed.kind == FollowKind::Own);
    Ok(own.map(|own| own.realm))
}

/// A blob's place below a folder, as in a home.
pub(super) fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_hex();
    folder.join("blobs").join(&hex[..2]).join(hex)
}
