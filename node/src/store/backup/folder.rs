//! The folder of a backup, as it is written.
//!
//! It is outside the store, often on a stick: nothing is assumed about it but names, renames and
//! syncs. A file is written under a name that ends in `.part`, synced and renamed, so a file with
//! its own name is whole, and one that was cut is written over. Files are for their owner alone,
//! where the device knows owners. Other files in the folder are left alone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crdt::Digest;

use super::super::disk::{Disk, DiskFile, Opening};
use super::super::{BlobInfo, Error, database};
use super::manifest::{self, Manifest};
use super::{Course, Refusal, blob_path};

/// Bytes that are copied at once.
pub(in crate::store) const PIECE_BYTES: usize = 1 << 20;
/// Memory for the pages of the records' file.
const CACHE_BYTES: usize = 8 << 20;
/// The records while they are written.
const RECORDS_PART: &str = "records.part";
/// What the records' file begins with, and how it ends.
const RECORDS: (&str, &str) = ("records-", ".redb");
/// The ending of files that are being written.
const PART: &str = "part";

/// A folder that nobody else writes to.
#[derive(Debug)]
pub(super) struct Folder {
    disk: Disk,
    path: PathBuf,
    _lock: DiskFile,
    /// Folders with new names.
    touched: BTreeSet<PathBuf>,
    /// Whether a hard link may work: not yet seen to fail.
    links: bool,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// It was there.
    Had,
    /// It shares its bytes with the node's.
    Linked,
    /// It was copied and has its digest.
    Copied,
    /// The node has no such file, or a damaged one.
    Lacking,
}

/// Takes bytes of a blob, a piece at a time.
pub(super) type Each<'e> = dyn FnMut(&[u8]) -> Result<(), Error> + 'e;

impl Folder {
    /// Makes the folder if need be, and takes it.
    pub(super) fn open(disk: &Disk, path: &Path, home: &Path) -> Result<Self, Error> {
        let above = path.ancestors().take_while(|folder| !folder.exists()).count().max(1);
        disk.create_folder(path)?;
        let path = fs_err::canonicalize(path)?;
        if path.starts_with(fs_err::canonicalize(home)?) {
            return Err(Refusal::Inside { folder: path }.into());
        }
        let lock = disk.open(&path.join("griot-backup.lock"), Opening::Kept)?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Refusal::Busy { folder: path }.into());
            }
            // A device without locks: nobody else can be told.
            Err(std::fs::TryLockError::Error(why)) => tracing::debug!("no lock: {why}"),
        }
        disk.create_folder(&path.join("blobs"))?;
        // Its own name; not every folder above may be opened by who owns it.
        for folder in path.ancestors().skip(1).take(above) {
            let _ = sync_folder(disk, folder);
        }
        // What lies there may be younger than the last sync of a backup that was cut.
        let touched = BTreeSet::from([path.clone(), path.join("blobs")]);
        Ok(Self { disk: disk.clone(), path, _lock: lock, touched, links: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty database for the records.
    pub(super) fn fresh_records(&self) -> Result<database::Plain, Error> {
        let part = self.path.join(RECORDS_PART);
        drop(self.disk.fresh(&part)?);
        database::plain(&self.disk, &part, CACHE_BYTES)
    }

    /// Closes the records and gives them their name.
    pub(super) fn name_records(
        &mut self,
        records: database::Plain,
    ) -> Result<manifest::File, Error> {
        records.close()?;
        let part = self.path.join(RECORDS_PART);
        let (size, blake3) = hash(&mut fs_err::File::open(&part)?, |_| Ok(()))?;
        let name = format!("{}{}{}", RECORDS.0, &blake3.to_hex()[..16], RECORDS.1);
        self.disk.rename(&part, &self.path.join(&name))?;
        self.touched.insert(self.path.clone());
        Ok(manifest::File { name, size, blake3, place: None })
    }

    /// Copies a small file. One of that name with other bytes stays: the backup before has it, and
    /// stands until the manifest is another.
    pub(super) fn copy_small(&mut self, from: &Path, name: &str) -> Result<manifest::File, Error> {
        let bytes = zeroize::Zeroizing::new(fs_err::read(from)?);
        let blake3 = Digest::of(&bytes);
        let there = fs_err::read(self.path.join(name)).ok().map(zeroize::Zeroizing::new);
        let other = there.is_some_and(|there| *there != *bytes);
        let place = other.then(|| format!("{name}-{}", &blake3.to_hex()[..16]));
        self.write(place.as_deref().unwrap_or(name), &bytes)?;
        Ok(manifest::File { name: name.to_owned(), size: bytes.len() as u64, blake3, place })
    }

    /// Brings a blob over, unless it is there.
    pub(super) fn bring_blob(
        &mut self,
        from: &Path,
        info: &BlobInfo,
        course: &mut Course,
    ) -> Result<Brought, Error> {
        let to = blob_path(&self.path, &info.digest);
        if fs_err::metadata(&to).is_ok_and(|there| there.len() == info.size) {
            self.touched.extend(to.parent().map(Path::to_owned));
            course.step(info.size)?;
            return Ok(Brought::Had);
        }
        if !fs_err::metadata(from).is_ok_and(|there| there.len() == info.size) {
            return Ok(Brought::Lacking);
        }
        let shard = self.shard_of(&to)?;
        let brought = if self.link(from, &to)? {
            course.step(info.size)?;
            Brought::Linked
        } else {
            copy_blob(&self.disk, (from, &to), info, course)?
        };
        self.touched.insert(shard);
        Ok(brought)
    }

    /// Writes a blob that is not in the home: `read` gives its bytes, and says whether there are
    /// any.
    pub(super) fn bring_from(
        &mut self,
        info: &BlobInfo,
        course: &mut Course,
        read: impl FnOnce(&mut Each<'_>) -> Result<bool, Error>,
    ) -> Result<Brought, Error> {
        let to = blob_path(&self.path, &info.digest);
        let shard = self.shard_of(&to)?;
        let part = to.with_extension(PART);
        let target = self.disk.fresh(&part)?;
        let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
        let there = read(&mut |piece: &[u8]| {
            let offset = size;
            size += piece.len() as u64;
            if size > info.size {
                return Ok(());
            }
            hasher.update(piece);
            target.write_all_at(offset, piece)?;
            course.step(piece.len() as u64)
        })?;
        let is_it = size == info.size && hasher.finalize().as_bytes() == info.digest.as_bytes();
        if !there || !is_it {
            tracing::error!(digest = %info.digest, there, "the bucket lacks a blob: not backed up");
            self.disk.remove(&part)?;
            return Ok(Brought::Lacking);
        }
        target.sync()?;
        self.disk.rename(&part, &to)?;
        self.touched.insert(shard);
        Ok(Brought::Copied)
    }

    /// The folder of a blob's name, made if need be.
    fn shard_of(&mut self, to: &Path) -> Result<PathBuf, Error> {
        let shard = to.parent().unwrap_or(&self.path).to_owned();
        if !shard.is_dir() {
            self.disk.create_folder(&shard)?;
            self.touched.insert(self.path.join("blobs"));
        }
        Ok(shard)
    }

    /// Whether the file has a second name now.
    fn link(&mut self, from: &Path, to: &Path) -> Result<bool, Error> {
        if !self.links {
            return Ok(false);
        }
        self.disk.remove(to)?;
        match self.disk.link(from, to) {
            Ok(()) => Ok(true),
            // It may have been removed by hand a moment ago; the copy tells.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(_) => {
                self.links = false;
                Ok(false)
            }
        }
    }

    /// Writes the manifest, once all that it names is durable.
    pub(super) fn seal(&mut self, manifest: &Manifest) -> Result<(), Error> {
        for folder in std::mem::take(&mut self.touched) {
            sync_folder(&self.disk, &folder)?;
        }
        self.write(manifest::NAME, &manifest.sealed()?)?;
        for folder in std::mem::take(&mut self.touched) {
            sync_folder(&self.disk, &folder)?;
        }
        Ok(())
    }

    /// A small file, whole or not at all; durable with its folder.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let to = self.path.join(name);
        let folder = to.parent().unwrap_or(&self.path).to_owned();
        self.disk.create_folder(&folder)?;
        let part = to.with_extension(PART);
        let file = self.disk.fresh(&part)?;
        file.write_all_at(0, bytes)?;
        file.sync()?;
        self.disk.rename(&part, &to)?;
        self.touched.insert(folder);
        self.touched.insert(self.path.clone());
        Ok(())
    }

    /// Removes what only the backup before named. Nothing depends on it.
    pub(super) fn prune(&self, manifest: &Manifest) -> Result<(), Error> {
        for entry in fs_err::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_records = name.starts_with(RECORDS.0) && name.ends_with(RECORDS.1);
            if is_records && name != manifest.records.name {
                self.disk.remove(&entry.path())?;
            }
        }
        self.prune_keys(manifest)?;
        let records = super::records::open(&self.path.join(&manifest.records.name))?;
        let txn = redb::ReadableDatabase::begin_read(&records)?;
        for shard in fs_err::read_dir(self.path.join("blobs"))? {
            let shard = shard?.path();
            if shard.is_dir() {
                for entry in fs_err::read_dir(&shard)? {
                    self.prune_blob(&txn, &entry?.path())?;
                }
            }
        }
        Ok(())
    }

    /// Secrets that this backup leaves out must not stay behind from the one before.
    fn prune_keys(&self, manifest: &Manifest) -> Result<(), Error> {
        let folder = self.path.join("keys");
        if !folder.is_dir() {
            return Ok(());
        }
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("keys/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_file()
                && !manifest.files.iter().any(|file| file.place() == name)
            {
                self.disk.remove(&entry.path())?;
            }
        }
        // A secret that was removed does not come back.
        Ok(sync_folder(&self.disk, &folder)?)
    }

    /// Removes a blob that the records do not name, and what a cut copy left.
    fn prune_blob(&self, txn: &redb::ReadTransaction, path: &Path) -> Result<(), Error> {
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return Ok(()) };
        let Ok(digest) = stem.parse::<Digest>() else { return Ok(()) };
        let is_part = path.extension().is_some_and(|ending| ending == PART);
        let is_blob = path.extension().is_none();
        if is_part || (is_blob && super::super::blob::record(txn, &digest)?.is_none()) {
            self.disk.remove(path)?;
        }
        Ok(())
    }
}

fn copy_blob(
    disk: &Disk,
    (from, to): (&Path, &Path),
    info: &BlobInfo,
    course: &mut Course,
) -> Result<Brought, Error> {
    let mut source = match fs_err::File::open(from) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Brought::Lacking),
        Err(why) => return Err(why.into()),
    };
    let part = to.with_extension(PART);
    let target = disk.fresh(&part)?;
    let mut offset = 0;
    let (size, digest) = hash(&mut source, |piece| {
        target.write_all_at(offset, piece)?;
        offset += piece.len() as u64;
        course.step(piece.len() as u64)
    })?;
    if (size, digest) != (info.size, info.digest) {
        tracing::error!(digest = %info.digest, "a blob does not have its digest: not backed up");
        disk.remove(&part)?;
        return Ok(Brought::Lacking);
    }
    target.sync()?;
    disk.rename(&part, to)?;
    Ok(Brought::Copied)
}

/// Size and BLAKE3 of what is read, a piece at a time.
pub(in crate::store) fn hash(
    source: &mut impl io::Read,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(u64, Digest), Error> {
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            return Ok((size, Digest::from_bytes(*hasher.finalize().as_bytes())));
        }
        hasher.update(&piece[..count]);
        size += count as u64;
        each(&piece[..count])?;
    }
}

fn sync_folder(disk: &Disk, folder: &Path) -> io::Result<()> {
    match disk.sync_folder(folder) {
        // Some devices do not sync folders, and need not.
        Err(why) if why.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}
