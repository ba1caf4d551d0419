//! Blobs on disk, named by their digest.
//!
//! A blob is either absent, or complete and verified; there is no third state. Bytes are written
//! to a temporary file and hashed in the same pass, off the async threads, in batches: memory is
//! flat, and an idle upload holds no thread. Then, in this order: sync the file, leave an intent
//! (see `recovery`) and sync its folder, rename, sync the folder, record in redb (synced), remove
//! the intent. A removal: intent, synced; record gone, synced; file gone, synced; intent gone.
//! A crash before the record leaves an intent without a record, and the next start takes the
//! rename back; a crash after it leaves a complete blob.
//!
//! Where a bucket has the blobs, the bytes are sent before the record, and the file here is a copy
//! that comes and goes: see `remote`. Half downloads live in `partial`. Does not decide what to
//! keep.
//!
//! Source: DESIGN.md section 5.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use crdt::Digest;
use redb::{ReadableTable, WriteTransaction};
use tokio::task::JoinHandle;

use super::batch::{Change, Kept};
use super::disk::{Disk, DiskFile, Opening};
use super::hashing::{self, Hasher};
use super::tables::{self, Tables};
use super::{BlobInfo, Error, Hashes, Inner, Store, blocking, cached_rows, holding};

/// Bytes that are gathered before a batch is hashed and written.
const BATCH_BYTES: usize = 256 << 10;
/// Pieces that are gathered at most: many tiny ones would hold large buffers alive.
const BATCH_PIECES: usize = 256;
/// How often the free room is looked at while a file grows.
const ROOM_CHECK_BYTES: u64 = 16 << 20;

/// A file name that is removed when it goes out of scope, unless it was renamed away.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    keep: bool,
    disk: Disk,
}

impl Temporary {
    /// Makes an empty file in `tmp/`.
    pub(super) fn create(inner: &Inner) -> Result<(Self, DiskFile), Error> {
        let number = inner.temporaries.fetch_add(1, Ordering::Relaxed);
        let path = inner.paths.temporary(number);
        let file = inner.disk.open(&path, Opening::New)?;
        Ok((Self { path, keep: false, disk: inner.disk.clone() }, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has another name now.
    pub(super) fn renamed(mut self) {
        self.keep = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// What a batch needs; travels into the blocking task and back.
#[derive(Debug)]
struct Sink {
    inner: Arc<Inner>,
    temporary: Temporary,
    file: DiskFile,
    hasher: Hasher,
    unchecked: u64,
    /// Bytes that a reader of the file finds.
    on_disk: Arc<AtomicU64>,
}

impl Sink {
    fn take(mut self, batch: &[Bytes]) -> Result<Self, Error> {
        for piece in batch {
            self.write(piece).map_err(|why| self.inner.explain(why, piece.len() as u64))?;
        }
        Ok(self)
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.unchecked += piece.len() as u64;
        if self.unchecked >= ROOM_CHECK_BYTES {
            self.unchecked = 0;
            self.inner.check_room(0)?;
        }
        self.file.write_all_at(self.on_disk.load(Ordering::Relaxed), piece)?;
        self.on_disk.fetch_add(piece.len() as u64, Ordering::Release);
        self.hasher.update(piece);
        Ok(())
    }

    fn finish(self) -> Result<Staged, Error> {
        self.file.sync().map_err(|why| self.inner.explain(why.into(), 0))?;
        let (size, digest, checksums) = self.hasher.finish();
        let info = BlobInfo { digest, size, checksums, stored: now_seconds() };
        Ok(Staged { temporary: self.temporary, info })
    }
}

/// Where the sink is.
#[derive(Debug)]
enum State {
    Idle(Box<Sink>),
    Busy(JoinHandle<Result<Box<Sink>, Error>>),
    Failed,
}

/// A temporary file on the blobs' device that hashes what passes. Dropped unfinished, it vanishes.
#[derive(Debug)]
pub struct BlobWriter {
    state: State,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    written: u64,
    limit: u64,
    path: PathBuf,
    on_disk: Arc<AtomicU64>,
}

impl BlobWriter {
    /// Takes bytes; hashing runs off the async threads, at most one batch behind.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past the limit, [`Error::Full`] when the disk is. After any error the
    /// writer is of no more use: drop it.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.written.saturating_add(bytes.len() as u64);
        if written > self.limit {
            self.state = State::Failed;
            return Err(Error::TooLarge { limit: self.limit });
        }
        self.written = written;
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_PIECES {
            self.pass_on().await?;
        }
        Ok(())
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// A second handle of the file, for who passes bytes on while they come: see
    /// [`BlobWriter::readable`]. It stays good after the commit, and after a drop.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> Result<Arc<std::fs::File>, Error> {
        Ok(Arc::new(fs_err::File::open(&self.path)?.into_parts().0))
    }

    /// How many bytes a reader finds by now: behind [`BlobWriter::written`] by what is under way.
    #[must_use]
    pub fn readable(&self) -> u64 {
        self.on_disk.load(Ordering::Acquire)
    }

    /// Sends what was gathered on its way to the file, without waiting until it is there.
    ///
    /// # Errors
    /// As [`BlobWriter::write`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() { Ok(()) } else { self.pass_on().await }
    }

    /// Flushes, syncs and closes; nothing is visible yet.
    ///
    /// # Errors
    /// As [`BlobWriter::write`]; nothing is left behind then.
    pub async fn finish(mut self) -> Result<Staged, Error> {
        self.pass_on().await?;
        let sink = self.sink().await?;
        blocking(move || sink.finish()).await
    }

    /// Starts the next batch once the one before it is done.
    async fn pass_on(&mut self) -> Result<(), Error> {
        let sink = self.sink().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let work = move || sink.take(&batch).map(Box::new);
        self.state = State::Busy(tokio::task::spawn_blocking(work));
        Ok(())
    }

    /// Waits for the batch under way. Cancelled, it can be asked again.
    async fn sink(&mut self) -> Result<Box<Sink>, Error> {
        if let State::Busy(work) = &mut self.state {
            let done = work.await;
            self.state = State::Failed;
            match done {
                Ok(result) => self.state = State::Idle(result?),
                Err(died) if died.is_panic() => std::panic::resume_unwind(died.into_panic()),
                Err(_) => return Err(std::io::Error::other("the node is stopping").into()),
            }
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(sink) => Ok(sink),
            State::Busy(_) | State::Failed => {
                Err(std::io::Error::other("this upload has failed before").into())
            }
        }
    }
}

/// Bytes written and hashed, not yet a blob: formats read it, then [`Store::commit`] or drop.
#[derive(Debug)]
pub struct Staged {
    temporary: Temporary,
    info: BlobInfo,
}

impl Staged {
    /// Digest, size and checksums of what was written.
    #[must_use]
    pub fn info(&self) -> &BlobInfo {
        &self.info
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// It is a blob now; `moved`: under another name.
    pub(super) fn entered(&mut self, moved: bool) {
        self.temporary.keep |= moved;
    }

    /// For extractors: a plain file positioned at the start.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn open(&self) -> Result<std::fs::File, Error> {
        Ok(fs_err::File::open(self.temporary.path())?.into_parts().0)
    }
}

impl Store {
    /// A temporary file that hashes what is written to it in the same pass. `limit` is the largest
    /// size accepted.
    ///
    /// # Errors
    /// [`Error::Full`] if the disk's reserve is already touched.
    pub async fn writer(&self, hashes: Hashes, limit: u64) -> Result<BlobWriter, Error> {
        let inner = Arc::clone(&self.inner);
        let sink = blocking(move || {
            inner.check_room(0)?;
            let (temporary, file) =
                Temporary::create(&inner).map_err(|why| inner.explain(why, 0))?;
            let hasher = Hasher::new(hashes);
            let on_disk = Arc::default();
            Ok(Box::new(Sink { inner, temporary, file, hasher, unchecked: 0, on_disk }))
        })
        .await?;
        let (path, on_disk) = (sink.temporary.path().to_owned(), Arc::clone(&sink.on_disk));
        let (state, batch) = (State::Idle(sink), Vec::new());
        Ok(BlobWriter { state, batch, batch_bytes: 0, written: 0, limit, path, on_disk })
    }

    /// Makes a staged file a blob. An existing blob wins and the copy is dropped; checksums that
    /// only the copy has are added to the record.
    ///
    /// # Errors
    /// When the disk or the database refuses: the blob is then absent and the call can be repeated
    /// with a new copy.
    pub async fn commit(&self, staged: Staged) -> Result<BlobInfo, Error> {
        self.commit_with(staged, None).await
    }

    /// The same, in one commit with a row that names it. Calls at the same time share one, too.
    pub(super) async fn commit_with(
        &self,
        staged: Staged,
        row: Option<Change>,
    ) -> Result<BlobInfo, Error> {
        let copy = staged.info().clone();
        // What a row names besides was found elsewhere, and can be had from there again.
        let unsent = self.send_first(&copy, staged.path(), row.is_some()).await?;
        let (blob, stays) = (Change::Blob(Box::new(staged)), unsent.is_some());
        let kept = self.keep(std::iter::once(blob).chain(row).chain(unsent).collect()).await?;
        self.sent(&copy, stays);
        match kept {
            Kept::Blob(info) => Ok(*info),
            Kept::Row | Kept::Source(_) => Ok(copy),
        }
    }

    /// A blob's record, if its file is there, whole; or if a bucket has it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        let Some(info) = record(&self.read()?, digest)? else { return Ok(None) };
        let held = self.inner.remote.is_some() || is_whole(&self.inner, &info);
        Ok(held.then_some(info))
    }

    /// Opens a complete blob for reading, fetched from the bucket if that has it. A record whose
    /// file is gone is dropped.
    ///
    /// # Errors
    /// When the disk or the database cannot be read; [`Error::NotFetched`] while the bucket cannot
    /// be asked.
    pub async fn open_blob(
        &self,
        digest: &Digest,
    ) -> Result<Option<(BlobInfo, tokio::fs::File)>, Error> {
        let Some(info) = record(&self.read()?, digest)? else { return Ok(None) };
        let mut opened = self.open_copy(&info).await?;
        if opened.is_none() && self.fetch_again(&info).await? {
            opened = self.open_copy(&info).await?;
        }
        match opened {
            Some(file) => Ok(Some((info, tokio::fs::File::from_std(file)))),
            None => {
                tracing::error!(%digest, "a blob's file is gone or cut: its record is dropped");
                self.remove_blob(digest).await?;
                Ok(None)
            }
        }
    }

    /// The file, if it is there with its whole length.
    async fn open_copy(&self, info: &BlobInfo) -> Result<Option<std::fs::File>, Error> {
        let (path, size) = (self.inner.paths.blob(&info.digest), info.size);
        let opened = blocking(move || match fs_err::File::open(path) {
            Ok(file) => Ok((file.metadata()?.len() == size).then(|| file.into_parts().0)),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why.into()),
        })
        .await?;
        if let (Some(_), Some(remote)) = (&opened, &self.inner.remote) {
            remote.used(&self.inner, &info.digest, size);
        }
        Ok(opened)
    }

    /// Forgets a blob and removes its file (a quarantined or refused one).
    ///
    /// # Errors
    /// When the database refuses; the blob is then still there.
    pub async fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let digest = *digest;
        self.write(
            move |inner, txn| unlist(inner, txn, &digest),
            move |inner, ()| erase(inner, &digest),
        )
        .await
    }

    /// The same, unless a cached row or a release refers to it. Says whether it is gone.
    ///
    /// # Errors
    /// When the database refuses; the blob is then still there.
    pub async fn remove_unused_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = *digest;
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let used =
                cached_rows::is_used(txn, &digest)? || cached_rows::is_released(txn, &digest)?;
            if !used {
                unlist(inner, txn, &digest)?;
            }
            Ok(!used)
        };
        let after = move |inner: &Inner, gone: &bool| {
            if *gone {
                erase(inner, &digest);
            }
        };
        self.write_if(|gone| *gone, change, after).await
    }
}

/// Renames a synced file into `blobs/` and records it. Says whether the file was moved.
pub(super) fn place(
    inner: &Inner,
    txn: &WriteTransaction,
    from: &Path,
    info: BlobInfo,
) -> Result<(BlobInfo, bool), Error> {
    let moved = is_new(inner, txn, &info)?;
    if moved {
        move_in(inner, &[(from, info.digest)])?;
    }
    Ok((list(txn, info)?, moved))
}

/// Whether the blob is not there yet, whole.
pub(super) fn is_new(inner: &Inner, txn: &impl Tables, info: &BlobInfo) -> Result<bool, Error> {
    Ok(!record(txn, &info.digest)?.is_some_and(|old| is_whole(inner, &old)))
}

/// The first half: synced files get the names of their digests, durably.
pub(super) fn move_in(inner: &Inner, files: &[(&Path, Digest)]) -> Result<(), Error> {
    announce(inner, files.iter().map(|(_, digest)| digest))?;
    let mut made = false;
    for (from, digest) in files {
        let shard = inner.paths.shard(digest);
        if !shard.is_dir() {
            inner.disk.create_folder(&shard)?;
            made = true;
        }
        inner.disk.rename(from, &inner.paths.blob(digest))?;
    }
    if made {
        inner.disk.sync_folder(&inner.paths.blobs())?;
    }
    sync_shards(inner, &files.iter().map(|(_, digest)| *digest).collect())
}

/// Names of these blobs that came or went are durable.
pub(super) fn sync_shards(inner: &Inner, digests: &BTreeSet<Digest>) -> Result<(), Error> {
    let shards: BTreeSet<_> = digests.iter().map(|digest| inner.paths.shard(digest)).collect();
    for shard in shards {
        inner.disk.sync_folder(&shard).map_err(|why| inner.explain(why.into(), 0))?;
    }
    Ok(())
}

/// The second half: the record, with the checksums that are known already.
pub(super) fn list(txn: &WriteTransaction, mut info: BlobInfo) -> Result<BlobInfo, Error> {
    let old = record(txn, &info.digest)?;
    if let Some(old) = &old {
        info.checksums = hashing::merge(&old.checksums, &info.checksums);
        info.stored = old.stored;
    }
    if old.as_ref() != Some(&info) {
        let bytes = tables::encode("blob record", &info)?;
        txn.open_table(tables::BLOB)?.insert(info.digest.as_bytes(), bytes.as_slice())?;
        index_checksums(txn, &info)?;
    }
    if old.is_none() {
        let sum = txn.meta(tables::META_BLOB_BYTES)?.saturating_add(info.size);
        tables::set_meta(txn, tables::META_BLOB_BYTES, sum)?;
    }
    Ok(info)
}

/// A blob's row.
pub(super) fn record(txn: &impl Tables, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
    let table = txn.table(tables::BLOB)?;
    let row = table.get(digest.as_bytes())?;
    row.map(|row| tables::decode("blob record", row.value())).transpose()
}

/// Whether the file is there with its whole length.
fn is_whole(inner: &Inner, info: &BlobInfo) -> bool {
    fs_err::metadata(inner.paths.blob(&info.digest)).is_ok_and(|file| file.len() == info.size)
}

/// A blob can be found by its strong checksums. Weak ones are no names.
pub(super) fn index_checksums(txn: &WriteTransaction, info: &BlobInfo) -> Result<(), Error> {
    let (digest, checksums) = (info.digest.as_bytes(), &info.checksums);
    txn.open_table(tables::SHA256)?.insert(&checksums.sha256, digest)?;
    if let Some(sha512) = &checksums.sha512 {
        txn.open_table(tables::SHA512)?.insert(sha512, digest)?;
    }
    Ok(())
}

/// Removes a blob's row, and the ways to find it.
pub(super) fn forget(txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    let Some(old) = record(txn, digest)? else { return Ok(()) };
    txn.open_table(tables::BLOB)?.remove(digest.as_bytes())?;
    txn.open_table(tables::SHA256)?.remove(&old.checksums.sha256)?;
    if let Some(sha512) = &old.checksums.sha512 {
        txn.open_table(tables::SHA512)?.remove(sha512)?;
    }
    let sum = txn.meta(tables::META_BLOB_BYTES)?.saturating_sub(old.size);
    tables::set_meta(txn, tables::META_BLOB_BYTES, sum)
}

/// The first half of a removal: the record goes, the file is still there.
pub(super) fn unlist(inner: &Inner, txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    announce(inner, [digest])?;
    forget(txn, digest)
}

/// The second half, once the first is durable; later, if a backup reads: see `holding`.
pub(super) fn erase(inner: &Inner, digest: &Digest) {
    if holding::postpones(inner, digest) {
        return;
    }
    let removed = inner.disk.remove(&inner.paths.blob(digest));
    let _ = inner.disk.remove(&inner.paths.tree(digest));
    let shard = inner.paths.shard(digest);
    // The intent goes once the file cannot come back.
    if removed.is_ok() && (!shard.is_dir() || inner.disk.sync_folder(&shard).is_ok()) {
        clear_intent(inner, digest);
    }
    if let Some(remote) = &inner.remote {
        remote.gone(digest);
    }
}

/// Marks that names in `blobs/` are about to change, durably: a name that changed without its mark
/// would be looked at by no start.
fn announce<'d>(inner: &Inner, digests: impl IntoIterator<Item = &'d Digest>) -> Result<(), Error> {
    for digest in digests {
        inner.disk.open(&inner.paths.intent(digest), Opening::Empty)?;
    }
    Ok(inner.disk.sync_folder(&inner.paths.tmp())?)
}

/// The change is recorded. A mark that stays is looked at in vain at the next start.
pub(super) fn clear_intent(inner: &Inner, digest: &Digest) {
    let _ = inner.disk.remove(&inner.paths.intent(digest));
}

/// A label for people; no rule depends on it.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
