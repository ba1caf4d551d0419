//! The writing side of an upload session.
//!
//! As a blob's writer, but what was taken stays: every [`CHECKPOINT_BYTES`] the bytes are made
//! durable and then the mark that says so. Dropped at any point, the session is parked with the
//! hashes of what it holds, and can be opened again; after a restart those hashes are made anew
//! from the file, off the async threads, when somebody goes on.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::super::blob::{Staged, now_seconds};
use super::super::disk::{DiskFile, Opening};
use super::super::hashing::Hasher;
use super::super::writing::{Batches, Growing, Sink, Temporary};
use super::super::{Error, Hashes, Inner, blocking, lock};
use super::mark::{self, Head, Progress};
use super::{Lease, OWNER_BYTES_MAX, Place, SessionId};

/// Bytes after which a checkpoint is made.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// The longest that bytes wait for one, while more come.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Bytes read at once where a file is hashed again.
const READ_BYTES: usize = 256 << 10;

/// The sink of a session that is open.
#[derive(Debug)]
pub(super) struct Live {
    inner: Arc<Inner>,
    id: SessionId,
    head: Head,
    growing: Growing,
    mark: DiskFile,
    sequence: u64,
    unsynced: u64,
    synced: Instant,
}

impl Live {
    /// Opens the files of a session whose place was taken. Without a hasher the bytes are read.
    pub(super) fn open(inner: &Arc<Inner>, id: SessionId, lease: Lease) -> Result<Self, Error> {
        let Lease { head, bytes, sequence, hasher } = lease;
        let file = inner.disk.open(&inner.paths.session_data(id), Opening::Kept)?;
        let mark = inner.disk.open(&inner.paths.session_mark(id), Opening::Kept)?;
        let held = bytes.load(Ordering::Relaxed);
        let hasher = match hasher {
            Some(hasher) => *hasher,
            None => {
                if file.len()? < held {
                    return Err(Error::NoSession);
                }
                // What lies behind the checkpoint may be anything.
                file.set_len(held)?;
                hashed(&file, held, head.hashes())?
            }
        };
        let mut growing = Growing::new(file, hasher, bytes);
        growing.check_first();
        let (inner, synced) = (Arc::clone(inner), Instant::now());
        Ok(Self { inner, id, head, growing, mark, sequence, unsynced: 0, synced })
    }

    /// First the bytes, then the word that they are there.
    fn checkpoint(&mut self) -> Result<(), Error> {
        if self.unsynced == 0 {
            return Ok(());
        }
        let bytes = self.growing.on_disk.load(Ordering::Relaxed);
        let progress = Progress { sequence: self.sequence + 1, bytes, used: now_seconds() };
        let done = self.growing.file.sync().and_then(|()| mark::note(&self.mark, progress));
        done.map_err(|why| self.inner.explain(why.into(), 0))?;
        self.sequence = progress.sequence;
        self.unsynced = 0;
        self.synced = Instant::now();
        Ok(())
    }

    /// All bytes that came are a staged file now, and the session is gone from the list.
    fn finish(mut self) -> Result<Staged, Error> {
        let held = self.growing.on_disk.load(Ordering::Relaxed);
        if self.head.size.is_some_and(|size| size != held) {
            return Err(Error::Offset { at: held });
        }
        self.checkpoint()?;
        let (inner, id) = (Arc::clone(&self.inner), self.id);
        let hasher = self.take_hasher();
        // Cancelled meanwhile, its files are gone.
        lock(&inner.sessions).rows.remove(&id).ok_or(Error::NoSession)?;
        let (data, mark) = (inner.paths.session_data(id), inner.paths.session_mark(id));
        Ok(Staged::new(Temporary::adopt(&inner.disk, data, mark), hasher))
    }

    fn take_hasher(&mut self) -> Hasher {
        std::mem::replace(&mut self.growing.hasher, Hasher::new(Hashes::default()))
    }
}

impl Sink for Live {
    fn take(&mut self, batch: &[Bytes]) -> Result<(), Error> {
        let coming: u64 = batch.iter().map(|piece| piece.len() as u64).sum();
        if lock(&self.inner.sessions).bytes_of(&self.head.owner) + coming > OWNER_BYTES_MAX {
            return Err(Error::TooLarge { limit: OWNER_BYTES_MAX });
        }
        // Pieces before one that failed are there.
        self.unsynced += coming;
        self.growing.take(&self.inner, batch)?;
        if self.unsynced >= CHECKPOINT_BYTES || self.synced.elapsed() >= CHECKPOINT_EVERY {
            self.checkpoint()?;
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Err(why) = self.checkpoint() {
            tracing::warn!(id = %self.id, %why, "an upload that was cut is not durable yet");
        }
        let hasher = self.take_hasher();
        let mut sessions = lock(&self.inner.sessions);
        // It is not there any more once it was finished or cancelled.
        if let Some(row) = sessions.rows.get_mut(&self.id) {
            row.sequence = self.sequence;
            row.used = now_seconds();
            row.place = Place::Parked(Box::new(hasher));
        }
        drop(sessions);
        self.inner.parked.notify_waiters();
    }
}

/// Reads what a session holds.
fn hashed(file: &DiskFile, held: u64, hashes: Hashes) -> Result<Hasher, Error> {
    let mut hasher = Hasher::new(hashes);
    let mut buffer = vec![0; READ_BYTES];
    let mut rest = io_from_start(file)?.take(held);
    loop {
        let read = rest.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher);
        }
        hasher.update(&buffer[..read]);
    }
}

fn io_from_start(file: &DiskFile) -> std::io::Result<std::fs::File> {
    let mut file = file.file().try_clone()?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// An upload session that is being written. Dropped, it can be opened again where it was.
#[derive(Debug)]
pub struct SessionWriter {
    batches: Option<Batches<Live>>,
    taken_over: CancellationToken,
}

impl SessionWriter {
    pub(super) fn new(inner: &Inner, live: Box<Live>, taken_over: CancellationToken) -> Self {
        let held = live.growing.on_disk.load(Ordering::Relaxed);
        let limit = live.head.size.unwrap_or(live.head.limit);
        Self { batches: Some(Batches::new(inner, live, held, limit)), taken_over }
    }

    /// Is done once somebody else wants to go on with the session: let go of it then.
    #[must_use]
    pub fn taken_over(&self) -> CancellationToken {
        self.taken_over.clone()
    }

    /// Bytes that the session has, with those that are under way.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.batches.as_ref().map_or(0, Batches::taken)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past what was announced or allowed, [`Error::Full`]. What came before
    /// stays; drop the writer, and the session can be opened again.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.batches()?.push(bytes).await
    }

    /// Makes durable what has come.
    ///
    /// # Errors
    /// As [`SessionWriter::write`].
    pub async fn checkpoint(&mut self) -> Result<(), Error> {
        let batches = self.batches()?;
        batches.pass_on().await?;
        batches.with(Live::checkpoint).await
    }

    /// Makes durable what has come and lets go; says how much there is.
    ///
    /// # Errors
    /// As [`SessionWriter::write`].
    pub async fn close(mut self) -> Result<u64, Error> {
        let batches = self.batches.take().ok_or_else(gone)?;
        let held = batches.taken();
        let mut live = batches.end().await?;
        blocking(move || live.checkpoint().map(|()| held)).await
    }

    /// The session is over: its bytes are a staged file.
    ///
    /// # Errors
    /// [`Error::Offset`] while there are fewer than announced; the session goes on then.
    pub async fn finish(mut self) -> Result<Staged, Error> {
        let batches = self.batches.take().ok_or_else(gone)?;
        let live = batches.end().await?;
        blocking(move || live.finish()).await
    }

    fn batches(&mut self) -> Result<&mut Batches<Live>, Error> {
        self.batches.as_mut().ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::NoSession
}

impl Drop for SessionWriter {
    fn drop(&mut self) {
        let abandoned = self.batches.take().and_then(Batches::abandon);
        let Some((mut live, gathered)) = abandoned else { return };
        // Its last checkpoint syncs, which an async thread must not wait for.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || {
                if let Err(why) = live.take(&gathered) {
                    tracing::debug!(%why, "the last bytes of a cut upload were not kept");
                }
            }));
        }
    }
}
