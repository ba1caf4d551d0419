//! A home made from a backup.
//!
//! The home must be empty. First comes `restoring.json`, which keeps a node from starting here and
//! says which backup it is; then the blobs, each hashed in the pass that copies it, and the small
//! files; the records come last, under their name by one rename, and then the mark goes. A restore
//! that was cut is repeated: blobs that have their names are whole and are not copied again.
//!
//! A restored store has gone back in time. So it gets an epoch of its own, and peers look at it
//! anew. And what its keys signed after the backup is still out there: counters go on far above any
//! that may have been given out ([`Store::next_counter`]), and a mark in the records says that the
//! last root epoch may be older than the realm's: see `regained`.
//!
//! Source: DESIGN.md section 5, trust.md section 5.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use crdt::Digest;
use crdt::statement::MAX_COUNTER;
use redb::Database;
use serde::{Deserialize, Serialize};

use super::backup::folder::hash;
use super::backup::manifest::{self, Manifest, damaged};
use super::backup::{Course, Phase, Refusal, Tell, blob_path, full, opened, records_blobs};
use super::database::Plain;
use super::disk::{Disk, Opening};
use super::paths::Paths;
use super::quota::RESERVE_BYTES;
use super::tables::{self, Tables as _};
use super::{BlobInfo, CACHE_BYTES, Error, Store, blob, database, migration, publishing, regained};

/// Bits of a counter below the seconds of the clock, drawn at random.
const RANDOM_BITS: u32 = 20;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// Blobs that an earlier try had brought already.
    pub had_blobs: u64,
}

/// The content of `restoring.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    folder: String,
    digest: Digest,
}

/// Makes a home from a backup, and verifies every byte on the way.
///
/// # Errors
/// The backup is not whole, the home is not empty or a node runs on it, there is no room, or `tell`
/// said to stop: the call can be repeated.
pub fn restore(folder: &Path, home: &Path, tell: Tell) -> Result<Restored, Error> {
    restore_on(&Disk::default(), folder, home, tell).map_err(full)
}

/// The same on a file system that may be watched.
pub(super) fn restore_on(
    disk: &Disk,
    folder: &Path,
    home: &Path,
    tell: Tell,
) -> Result<Restored, Error> {
    let manifest = manifest::read(folder)?;
    if manifest.schema > tables::SCHEMA_VERSION {
        let program = manifest.program.clone();
        return Err(Refusal::Later { folder: folder.to_owned(), program }.into());
    }
    let paths = Paths::new(home);
    let _lock = take(disk, &paths, folder, &manifest)?;
    let mut work = Work { disk, paths: &paths, folder, course: Course::new(tell), had: 0 };
    let records = work.records(&manifest)?;
    work.blobs(&records, &manifest)?;
    work.files(&manifest)?;
    settle(&records, &manifest)?;
    records.close()?;
    disk.rename(&work.records_part(), &paths.database())?;
    disk.sync_folder(paths.home())?;
    disk.remove(&paths.restoring())?;
    disk.sync_folder(paths.home())?;
    Ok(Restored { had_blobs: work.had, manifest })
}

/// Refuses to start where a restore is not finished.
pub(super) fn refuse_unfinished(paths: &Paths) -> Result<(), Error> {
    let Ok(bytes) = fs_err::read(paths.restoring()) else { return Ok(()) };
    let folder = serde_json::from_slice::<Mark>(&bytes).map_or("DIR".into(), |mark| mark.folder);
    Err(Error::Restoring { folder })
}

/// Takes an empty home, or one in which this restore was cut.
fn take(disk: &Disk, paths: &Paths, folder: &Path, manifest: &Manifest) -> Result<File, Error> {
    let home = paths.home();
    if paths.lock().exists() {
        // A running node is the better reason.
        drop(super::take_lock(paths)?);
    }
    let folder = fs_err::canonicalize(folder)?;
    let mark = Mark { folder: folder.display().to_string(), digest: manifest.digest()? };
    let mut is_marked = false;
    if home.exists() && !is_empty(home)? {
        match fs_err::read(paths.restoring()) {
            Ok(bytes) => match serde_json::from_slice::<Mark>(&bytes) {
                // A mark that was cut while it was written is all that there is.
                Err(_) if has_no_files(home)? => {}
                Err(_) => return Err(Refusal::NotEmpty { home: home.to_owned() }.into()),
                Ok(before) if before.digest == mark.digest => is_marked = true,
                Ok(before) => return Err(Error::Restoring { folder: before.folder }),
            },
            Err(_) => return Err(Refusal::NotEmpty { home: home.to_owned() }.into()),
        }
    }
    disk.create_folder(home)?;
    if is_marked {
        // Never empty again while something is here that it stands for.
        disk.open(&paths.restoring(), Opening::Kept)?.sync()?;
    } else {
        let bytes = serde_json::to_vec(&mark).map_err(std::io::Error::other)?;
        let file = disk.open(&paths.restoring(), Opening::Empty)?;
        file.write_all_at(0, &bytes)?;
        file.sync()?;
    }
    disk.sync_folder(home)?;
    paths.create(disk)?;
    super::take_lock(paths)
}

/// Whether there are only folders, but for a lock and the mark.
fn has_no_files(home: &Path) -> Result<bool, Error> {
    for entry in fs_err::read_dir(home)? {
        let entry = entry?;
        let is_known = entry.file_name() == "lock" || entry.file_name() == "restoring.json";
        let is_empty = entry.file_type()?.is_dir() && has_no_files(&entry.path())?;
        if !is_known && !is_empty {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether there is nothing but a lock that a node left.
fn is_empty(home: &Path) -> Result<bool, Error> {
    for entry in fs_err::read_dir(home)? {
        if entry?.file_name() != "lock" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A restore under way.
struct Work<'a> {
    disk: &'a Disk,
    paths: &'a Paths,
    folder: &'a Path,
    course: Course,
    had: u64,
}

impl Work<'_> {
    fn records_part(&self) -> std::path::PathBuf {
        self.paths.tmp().join("restored.redb")
    }

    /// Brings the records, verified, under a passing name.
    fn records(&self, manifest: &Manifest) -> Result<Plain, Error> {
        let from = self.folder.join(&manifest.records.name);
        let part = self.records_part();
        let expected = (manifest.records.size, manifest.records.blake3);
        bring(self.disk, (&from, &part), expected, |_| Ok(()))?;
        let records = database::plain(self.disk, &part, CACHE_BYTES).map_err(|why| match why {
            // Its bytes are right: it is the disk of the home that refuses.
            Error::Io(_) => why,
            _ => damaged(&from, format!("cannot be opened: {why}")),
        })?;
        let txn = redb::ReadableDatabase::begin_read(&*records)?;
        let (mut sum, mut needed) = (manifest::Sum::default(), RESERVE_BYTES);
        for info in records_blobs(&txn)? {
            let info = info?;
            sum.add(&info);
            if !self.is_there(&info) {
                needed = needed.saturating_add(info.size);
            }
        }
        if sum.finish() != manifest.blobs {
            return Err(damaged(&from, "names other blobs than the manifest"));
        }
        let free = self.disk.free_space(self.paths.home())?;
        if free < needed {
            return Err(Error::Full { free, needed });
        }
        Ok(records)
    }

    /// A file with its name was verified before it got it.
    fn is_there(&self, info: &BlobInfo) -> bool {
        let there = fs_err::metadata(self.paths.blob(&info.digest));
        there.is_ok_and(|there| there.len() == info.size)
    }

    fn blobs(&mut self, records: &Database, manifest: &Manifest) -> Result<(), Error> {
        self.course.begin(Phase::Blobs, manifest.blobs.bytes)?;
        let txn = redb::ReadableDatabase::begin_read(records)?;
        let part = self.paths.tmp().join("restored.blob");
        let mut shards = BTreeSet::new();
        for info in records_blobs(&txn)? {
            let info = info?;
            let shard = self.paths.shard(&info.digest);
            if self.is_there(&info) {
                // Its name may be younger than the last sync of the try before.
                shards.insert(shard);
                self.had += 1;
                self.course.step(info.size)?;
                continue;
            }
            let from = blob_path(self.folder, &info.digest);
            let course = &mut self.course;
            let expected = (info.size, info.digest);
            bring(self.disk, (&from, &part), expected, |count| course.step(count))?;
            if !shard.is_dir() {
                self.disk.create_folder(&shard)?;
            }
            self.disk.rename(&part, &self.paths.blob(&info.digest))?;
            shards.insert(shard);
        }
        for shard in shards {
            self.disk.sync_folder(&shard)?;
        }
        Ok(self.disk.sync_folder(&self.paths.blobs())?)
    }

    /// Brings the small files.
    fn files(&self, manifest: &Manifest) -> Result<(), Error> {
        for file in &manifest.files {
            let to = self.paths.home().join(&file.name);
            let folder = to.parent().unwrap_or(self.paths.home()).to_owned();
            self.disk.create_folder(&folder)?;
            let part = self.paths.tmp().join("restored.file");
            let from = self.folder.join(file.place());
            bring(self.disk, (&from, &part), (file.size, file.blake3), |_| Ok(()))?;
            self.disk.rename(&part, &to)?;
            self.disk.sync_folder(&folder)?;
        }
        Ok(())
    }
}

/// Copies a file, durably, if it is what it should be.
fn bring(
    disk: &Disk,
    (from, to): (&Path, &Path),
    expected: (u64, Digest),
    mut each: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut source = opened(from)?;
    let target = disk.fresh(to)?;
    let mut offset = 0;
    let found = hash(&mut source, |piece| {
        target.write_all_at(offset, piece)?;
        offset += piece.len() as u64;
        each(piece.len() as u64)
    })?;
    if found != expected {
        disk.remove(to)?;
        return Err(damaged(from, "does not have the bytes that the backup names"));
    }
    Ok(target.sync()?)
}

/// What a store must know that went back in time.
fn settle(records: &Database, manifest: &Manifest) -> Result<(), Error> {
    let txn = records.begin_write()?;
    tables::set_meta(&txn, tables::META_EPOCH, migration::draw_epoch()?)?;
    let before = txn.meta(tables::META_COUNTERS)?;
    let now = blob::now_seconds().saturating_mul(1 << RANDOM_BITS);
    let random = migration::draw_epoch()? % (1 << RANDOM_BITS);
    let above = now.saturating_add(random).max(before.saturating_add(1 << RANDOM_BITS));
    tables::set_meta(&txn, tables::META_COUNTERS, above.min(MAX_COUNTER / 2))?;
    regained::mark(&txn, manifest)?;
    Ok(txn.commit()?)
}

impl Store {
    /// The counter after the last one that is held of its kind; never one that this node may have
    /// signed before its records went back in time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_counter(&self, last: u64) -> Result<u64, Error> {
        publishing::next_counter(&self.read()?, last)
    }
}
