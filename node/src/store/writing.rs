//! Bytes on their way into a blob: gathered in batches, hashed and written off the async threads.
//!
//! A writer gathers pieces until they make a batch, and hands it to a blocking task; while that
//! hashes and writes, the next batch is gathered. So memory is flat and an idle upload holds no
//! thread. The more writers are open, the smaller their batches: see [`Share`]. A size that is
//! known ahead is allocated at once, so that a disk that is too full says so before the bytes come.
//!
//! Nothing here is visible as a blob: that is `blob`'s part. What of it survives a crash is
//! nothing, but for the sessions of `sessions`, whose sink is another.
//!
//! Source: DESIGN.md section 5.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::blob::now_seconds;
use super::disk::{Disk, DiskFile, Opening};
use super::hashing::Hasher;
use super::{BlobInfo, Error, Hashes, Inner, Store, blocking};

/// Bytes that a lone writer gathers before they are hashed and written.
const BATCH_BYTES: usize = 256 << 10;
/// The least that any writer gathers.
const BATCH_MIN_BYTES: usize = 32 << 10;
/// What all writers together gather, while there are not very many.
const BATCHES_BYTES: usize = 2 << 20;
/// Pieces that are gathered at most: many tiny ones would hold large buffers alive.
const BATCH_PIECES: usize = 256;
/// How often the free room is looked at while a file grows.
const ROOM_CHECK_BYTES: u64 = 16 << 20;
/// Smaller files are not allocated ahead: they are written at once anyway.
const ALLOCATED_ABOVE_BYTES: u64 = 1 << 20;

/// A file name that is removed when it goes out of scope, unless it was renamed away.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// A file beside it that goes with it in any case.
    beside: Option<PathBuf>,
    keep: bool,
    disk: Disk,
}

impl Temporary {
    /// Makes an empty file in `tmp/`.
    pub(super) fn create(inner: &Inner) -> Result<(Self, DiskFile), Error> {
        let number = inner.temporaries.fetch_add(1, Ordering::Relaxed);
        let path = inner.paths.temporary(number);
        let file = inner.disk.open(&path, Opening::New)?;
        Ok((Self { path, beside: None, keep: false, disk: inner.disk.clone() }, file))
    }

    /// Takes over a file that is there, and the one beside it.
    pub(super) fn adopt(disk: &Disk, path: PathBuf, beside: PathBuf) -> Self {
        Self { path, beside: Some(beside), keep: false, disk: disk.clone() }
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
        // What cannot be removed now is removed at the next start.
        if !self.keep {
            let _ = self.disk.remove(&self.path);
        }
        if let Some(beside) = &self.beside {
            let _ = self.disk.remove(beside);
        }
    }
}

/// A file that grows at its end, and the hashes of what is in it.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) file: DiskFile,
    pub(super) hasher: Hasher,
    /// Bytes that a reader of the file finds.
    pub(super) on_disk: Arc<AtomicU64>,
    unchecked: u64,
    allocated: u64,
}

impl Growing {
    /// `hasher` has seen all that is in the file, and `on_disk` says how much that is.
    pub(super) fn new(file: DiskFile, hasher: Hasher, on_disk: Arc<AtomicU64>) -> Self {
        Self { file, hasher, on_disk, unchecked: 0, allocated: 0 }
    }

    /// Looks for room before the next byte: many short writers must not pass the limits together.
    pub(super) fn check_first(&mut self) {
        self.unchecked = ROOM_CHECK_BYTES;
    }

    /// Takes room for a file of `size` bytes, or says that there is none. The file stays as long
    /// as it is.
    pub(super) fn expect(&mut self, inner: &Inner, size: u64) -> Result<(), Error> {
        let needed = size.saturating_sub(self.on_disk.load(Ordering::Relaxed));
        inner.check_room(needed)?;
        if needed > ALLOCATED_ABOVE_BYTES {
            self.file.allocate(size).map_err(|why| inner.explain(why.into(), needed))?;
            self.allocated = size;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, inner: &Inner, batch: &[Bytes]) -> Result<(), Error> {
        for piece in batch {
            self.write(inner, piece).map_err(|why| inner.explain(why, piece.len() as u64))?;
        }
        Ok(())
    }

    fn write(&mut self, inner: &Inner, piece: &[u8]) -> Result<(), Error> {
        let (at, len) = (self.on_disk.load(Ordering::Relaxed), piece.len() as u64);
        if at + len > self.allocated {
            self.unchecked += len;
        }
        if self.unchecked >= ROOM_CHECK_BYTES {
            self.unchecked = 0;
            inner.check_room(if at + len > self.allocated { len } else { 0 })?;
        }
        self.file.write_all_at(at, piece)?;
        self.on_disk.fetch_add(len, Ordering::Release);
        self.hasher.update(piece);
        Ok(())
    }

    /// Gives room back that was taken and not used, and makes the bytes durable.
    pub(super) fn settle(&self, inner: &Inner) -> Result<(), Error> {
        let len = self.on_disk.load(Ordering::Relaxed);
        let settled = || {
            if self.allocated > len {
                self.file.set_len(len)?;
            }
            self.file.sync()
        };
        settled().map_err(|why| inner.explain(why.into(), 0))
    }
}

/// What takes batches on a thread where blocking is allowed.
pub(super) trait Sink: Send + 'static {
    fn take(&mut self, batch: &[Bytes]) -> Result<(), Error>;
}

/// The sink of a blob that comes in one go.
#[derive(Debug)]
struct Whole {
    inner: Arc<Inner>,
    temporary: Temporary,
    growing: Growing,
}

impl Sink for Whole {
    fn take(&mut self, batch: &[Bytes]) -> Result<(), Error> {
        self.growing.take(&self.inner, batch)
    }
}

impl Whole {
    fn finish(self) -> Result<Staged, Error> {
        self.growing.settle(&self.inner)?;
        Ok(Staged::new(self.temporary, self.growing.hasher))
    }
}

/// One of the writers that are open: together they gather no more than a bound.
#[derive(Debug)]
struct Share {
    writers: Arc<AtomicUsize>,
}

impl Share {
    fn new(inner: &Inner) -> Self {
        let writers = Arc::clone(&inner.writers);
        writers.fetch_add(1, Ordering::Relaxed);
        Self { writers }
    }

    /// Bytes that this writer gathers, as many as are open now.
    fn batch_bytes(&self) -> usize {
        let open = self.writers.load(Ordering::Relaxed).max(1);
        (BATCHES_BYTES / open).clamp(BATCH_MIN_BYTES, BATCH_BYTES)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the sink is.
#[derive(Debug)]
enum State<S> {
    Idle(Box<S>),
    Busy(JoinHandle<Result<Box<S>, Error>>),
    Failed,
}

/// Pieces that are gathered for a sink, at most one batch ahead of it.
#[derive(Debug)]
pub(super) struct Batches<S> {
    state: State<S>,
    batch: Vec<Bytes>,
    bytes: usize,
    taken: u64,
    limit: u64,
    share: Share,
}

impl<S: Sink> Batches<S> {
    /// `taken` bytes are in the sink, `limit` is the most that it may ever hold.
    pub(super) fn new(inner: &Inner, sink: Box<S>, taken: u64, limit: u64) -> Self {
        let (state, batch, share) = (State::Idle(sink), Vec::new(), Share::new(inner));
        Self { state, batch, bytes: 0, taken, limit, share }
    }

    /// Bytes that the sink has and will have.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        let taken = self.taken.saturating_add(bytes.len() as u64);
        if taken > self.limit {
            self.state = State::Failed;
            return Err(Error::TooLarge { limit: self.limit });
        }
        self.taken = taken;
        self.bytes += bytes.len();
        self.batch.push(bytes);
        if self.bytes >= self.share.batch_bytes() || self.batch.len() >= BATCH_PIECES {
            self.pass_on().await?;
        }
        Ok(())
    }

    /// Starts the next batch once the one before it is done.
    pub(super) async fn pass_on(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut sink = self.sink().await?;
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let work = move || sink.take(&batch).map(|()| sink);
        self.state = State::Busy(tokio::task::spawn_blocking(work));
        Ok(())
    }

    /// Does something else to the sink, between two batches.
    pub(super) async fn with<F>(&mut self, work: F) -> Result<(), Error>
    where
        F: FnOnce(&mut S) -> Result<(), Error> + Send + 'static,
    {
        let mut sink = self.sink().await?;
        let work = move || work(&mut sink).map(|()| sink);
        self.state = State::Idle(blocking(work).await?);
        Ok(())
    }

    /// Passes on what was gathered and waits until the sink has it.
    pub(super) async fn end(mut self) -> Result<Box<S>, Error> {
        self.pass_on().await?;
        self.sink().await
    }

    /// The sink and what was gathered for it, unless it is at work: it ends by itself then.
    pub(super) fn abandon(self) -> Option<(Box<S>, Vec<Bytes>)> {
        if let State::Idle(sink) = self.state { Some((sink, self.batch)) } else { None }
    }

    /// Waits for the batch under way. Cancelled, it can be asked again.
    async fn sink(&mut self) -> Result<Box<S>, Error> {
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

/// A temporary file on the blobs' device that hashes what passes. Dropped unfinished, it vanishes.
#[derive(Debug)]
pub struct BlobWriter {
    batches: Batches<Whole>,
    path: PathBuf,
    on_disk: Arc<AtomicU64>,
}

impl BlobWriter {
    /// Says how many bytes will come in all, if that is known: room for them is taken now.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past the limit, [`Error::Full`] when the disk has no such room. After
    /// any error the writer is of no more use: drop it.
    pub async fn expect(&mut self, size: u64) -> Result<(), Error> {
        let limit = self.batches.limit;
        if size > limit {
            self.batches.state = State::Failed;
            return Err(Error::TooLarge { limit });
        }
        if size <= ALLOCATED_ABOVE_BYTES {
            return Ok(());
        }
        self.batches.with(move |sink| sink.growing.expect(&sink.inner, size)).await
    }

    /// Takes bytes; hashing runs off the async threads, at most one batch behind.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past the limit, [`Error::Full`] when the disk is. After any error the
    /// writer is of no more use: drop it.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.batches.push(bytes).await
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.batches.taken()
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
        self.batches.pass_on().await
    }

    /// Flushes, syncs and closes; nothing is visible yet.
    ///
    /// # Errors
    /// As [`BlobWriter::write`]; nothing is left behind then.
    pub async fn finish(self) -> Result<Staged, Error> {
        let sink = self.batches.end().await?;
        blocking(move || sink.finish()).await
    }
}

/// Bytes written and hashed, not yet a blob: formats read it, then [`Store::commit`] or drop.
#[derive(Debug)]
pub struct Staged {
    temporary: Temporary,
    info: BlobInfo,
}

impl Staged {
    /// Of a file that is durable.
    pub(super) fn new(temporary: Temporary, hasher: Hasher) -> Self {
        let (size, digest, checksums) = hasher.finish();
        let info = BlobInfo { digest, size, checksums, stored: now_seconds() };
        Self { temporary, info }
    }

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
        self.await_room(0).await?;
        let inner = Arc::clone(&self.inner);
        let sink = blocking(move || {
            inner.check_room(0)?;
            let (temporary, file) =
                Temporary::create(&inner).map_err(|why| inner.explain(why, 0))?;
            let growing = Growing::new(file, Hasher::new(hashes), Arc::default());
            Ok(Box::new(Whole { inner, temporary, growing }))
        })
        .await?;
        let (path, on_disk) = (sink.temporary.path().to_owned(), Arc::clone(&sink.growing.on_disk));
        let batches = Batches::new(&self.inner, sink, 0, limit);
        Ok(BlobWriter { batches, path, on_disk })
    }
}
