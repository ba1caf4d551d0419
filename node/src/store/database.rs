//! The one redb file, on the disk as the store may change it; and how it outlives a disk that
//! refuses.
//!
//! Its bytes go through `disk` like all others, so that a crash test sees them. The lock of the
//! home, taken before, keeps a second process out; redb's own lock on the file is taken too.
//!
//! redb gives up after the first write that the disk refuses: from then on it fails, reads too,
//! until it is opened again. So a [`Base`] opens it again by itself. *Detached* first, for reading:
//! what opening has to write (the end of a commit that was cut) goes to memory, so it succeeds on
//! a disk that is full. The next writer then tries to open it *attached* to the file; as long as
//! the disk refuses that, writers hear why and readers go on. A reader in the middle of a snapshot
//! at such a moment never gets other bytes, because what is opened anew cuts what was before off:
//! [`Base::reading`] begins anew for it, once.
//!
//! A new file is made under another name, with its tables, and then renamed: redb takes a file
//! whose making was cut for a foreign one.
//!
//! Source: redb 4, `StorageBackend`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction};

use super::disk::{Disk, DiskFile, Opening};
use super::{Error, lock};

/// The unit in which a detached database keeps what it wrote.
const PAGE_BYTES: u64 = 4096;

/// The database, whatever happened to the one before.
pub(super) struct Base {
    file: Arc<DiskFile>,
    cache_bytes: usize,
    current: RwLock<Opened>,
    /// How often it was opened again.
    openings: AtomicU64,
    /// Whether it was opened for writing again, and nobody was told: see `anew`.
    is_anew: AtomicBool,
}

/// One opening of the file.
struct Opened {
    database: Database,
    link: Arc<Link>,
}

/// Between redb and the file.
#[derive(Debug)]
struct Link {
    file: Arc<DiskFile>,
    /// Another one has taken over: nothing passes any more.
    is_cut: AtomicBool,
    /// What the disk first said when it refused.
    failure: Mutex<Option<ErrorKind>>,
    /// What was written by one that is detached.
    memory: Option<Mutex<Memory>>,
}

/// Pages over those of the file, and the length.
#[derive(Debug)]
struct Memory {
    pages: BTreeMap<u64, Vec<u8>>,
    len: u64,
}

/// redb wants a backend of its own.
#[derive(Debug)]
struct Backend(Arc<Link>);

/// Opens or creates it. `cache_bytes` is the memory that redb may use for pages; `prepare` makes
/// what a new one needs.
pub(super) fn open(
    disk: &Disk,
    path: &Path,
    cache_bytes: usize,
    prepare: impl Fn(&Database) -> Result<u64, Error>,
) -> Result<(Base, u64), Error> {
    let new: PathBuf = path.with_file_name("store-new.redb");
    if !path.exists() {
        create(disk, (&new, path), cache_bytes, &prepare)?;
    } else if new.exists() {
        // The making of this very file was cut while it got its name.
        disk.remove(&new)?;
    }
    let file = Arc::new(disk.open(path, Opening::Kept)?);
    take_lock(&file)?;
    let opened = Opened::attached(&file, cache_bytes)?;
    let made = prepare(&opened.database)?;
    let (openings, is_anew) = (AtomicU64::new(0), AtomicBool::new(false));
    Ok((Base { file, cache_bytes, current: RwLock::new(opened), openings, is_anew }, made))
}

/// Opens or creates one that lives shortly, and is not opened again when the disk refuses. It lies
/// where nobody else writes: no lock is taken.
pub(super) fn plain(disk: &Disk, path: &Path, cache_bytes: usize) -> Result<Plain, Error> {
    let file = Arc::new(disk.open(path, Opening::Kept)?);
    Opened::attached(&file, cache_bytes).map(Plain)
}

/// A database that lives shortly.
pub(super) struct Plain(Opened);

impl std::ops::Deref for Plain {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0.database
    }
}

impl Plain {
    /// Writes what is left to write, and makes all of it durable: whoever opens it finds nothing to
    /// repair. Dropped without, it says nothing of a disk that refused that.
    pub(super) fn close(self) -> Result<(), Error> {
        self.0.close()
    }
}

/// Makes a new file, whole before it has its name.
fn create(
    disk: &Disk,
    (new, path): (&Path, &Path),
    cache_bytes: usize,
    prepare: impl Fn(&Database) -> Result<u64, Error>,
) -> Result<(), Error> {
    let file = Arc::new(disk.fresh(new)?);
    take_lock(&file)?;
    let opened = Opened::attached(&file, cache_bytes)?;
    prepare(&opened.database)?;
    opened.close()?;
    disk.rename(new, path)?;
    let folder = path.parent().unwrap_or(path);
    Ok(disk.sync_folder(folder)?)
}

fn take_lock(file: &DiskFile) -> Result<(), Error> {
    match file.file().try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked),
        Err(std::fs::TryLockError::Error(why)) => Err(why.into()),
    }
}

impl Base {
    /// A snapshot for reading.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Error> {
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.link.failure().is_none() {
                return Ok(current.database.begin_read()?);
            }
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.link.failure().is_some() {
            self.replace(&mut current, Opened::detached)?;
        }
        Ok(current.database.begin_read()?)
    }

    /// Reads from a snapshot; once more from another one if the database was opened anew meanwhile,
    /// or has to be.
    pub(super) fn reading<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let opening = self.openings.load(Ordering::SeqCst);
        let once = || self.begin_read().and_then(|txn| read(&txn));
        once().or_else(|why| {
            let is_over = self.openings.load(Ordering::SeqCst) != opening;
            if is_over || self.failure().is_some() { once() } else { Err(why) }
        })
    }

    /// Whether it was opened for writing again since this was asked last.
    pub(super) fn is_anew(&self) -> bool {
        self.is_anew.swap(false, Ordering::SeqCst)
    }

    /// A transaction for writing; one at a time is the caller's duty.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, Error> {
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.link.is_sound() {
                return Ok(current.database.begin_write()?);
            }
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Its memory of the file is other than the device, if a sync was what failed.
        self.file.forget_memory();
        if let Err(why) = self.replace(&mut current, Opened::attached) {
            self.replace(&mut current, Opened::detached)?;
            return Err(why);
        }
        self.is_anew.store(true, Ordering::SeqCst);
        tracing::info!("the database is open for writing again");
        Ok(current.database.begin_write()?)
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> Result<u64, Error> {
        Ok(self.file.len()?)
    }

    /// What the disk said, if it refused something since it was opened.
    pub(super) fn failure(&self) -> Option<ErrorKind> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).link.failure()
    }

    /// The one before is cut off before the next one is opened, so that they never mix.
    fn replace(
        &self,
        current: &mut Opened,
        open: fn(&Arc<DiskFile>, usize) -> Result<Opened, Error>,
    ) -> Result<(), Error> {
        current.link.cut();
        self.openings.fetch_add(1, Ordering::SeqCst);
        *current = open(&self.file, self.cache_bytes)?;
        Ok(())
    }
}

impl Opened {
    fn attached(file: &Arc<DiskFile>, cache_bytes: usize) -> Result<Self, Error> {
        Self::open(Link::new(file, None), cache_bytes)
    }

    /// See [`Plain::close`].
    fn close(self) -> Result<(), Error> {
        let Self { database, link } = self;
        drop(database);
        match link.failure() {
            Some(kind) => Err(io::Error::new(kind, "the database was not written whole").into()),
            None => Ok(link.file.sync()?),
        }
    }

    fn detached(file: &Arc<DiskFile>, cache_bytes: usize) -> Result<Self, Error> {
        tracing::warn!("the disk refused a write: the database is open for reading alone");
        let memory = Memory { pages: BTreeMap::new(), len: file.len()? };
        Self::open(Link::new(file, Some(Mutex::new(memory))), cache_bytes)
    }

    fn open(link: Link, cache_bytes: usize) -> Result<Self, Error> {
        let link = Arc::new(link);
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        match builder.create_with_backend(Backend(Arc::clone(&link))) {
            Ok(database) => Ok(Self { database, link }),
            Err(why) => Err(match link.failure() {
                Some(kind) => io::Error::new(kind, why.to_string()).into(),
                None => why.into(),
            }),
        }
    }
}

impl Link {
    fn new(file: &Arc<DiskFile>, memory: Option<Mutex<Memory>>) -> Self {
        let file = Arc::clone(file);
        Self { file, is_cut: AtomicBool::new(false), failure: Mutex::default(), memory }
    }

    fn failure(&self) -> Option<ErrorKind> {
        *lock(&self.failure)
    }

    /// Whether a writer may use it.
    fn is_sound(&self) -> bool {
        self.memory.is_none() && self.failure().is_none()
    }

    fn cut(&self) {
        // Also if nothing can take over: then whoever reads next tries again.
        lock(&self.failure).get_or_insert(ErrorKind::Other);
        self.is_cut.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(io::Error::other("the database was opened again: begin anew"));
        }
        Ok(())
    }

    /// Does it unless it is cut off, and remembers what the disk refuses.
    fn pass<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.check()?;
        let done = work();
        if let Err(why) = &done {
            lock(&self.failure).get_or_insert(why.kind());
        }
        // What was read while another one took over may be the other one's.
        self.check()?;
        done
    }
}

impl Memory {
    /// The page at a multiple of its size, as it is now.
    fn page(&self, file: &DiskFile, at: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = self.pages.get(&at) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE_BYTES as usize];
        let held = file.len()?.saturating_sub(at).min(PAGE_BYTES) as usize;
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut page[..held], at)?;
        Ok(page)
    }

    fn read(&self, file: &DiskFile, offset: u64, out: &mut [u8]) -> io::Result<()> {
        for (at, within, part) in parts(offset, out.len()) {
            out[part].copy_from_slice(&self.page(file, at)?[within]);
        }
        Ok(())
    }

    fn write(&mut self, file: &DiskFile, offset: u64, data: &[u8]) -> io::Result<()> {
        for (at, within, part) in parts(offset, data.len()) {
            let mut page = self.page(file, at)?;
            page[within].copy_from_slice(&data[part]);
            self.pages.insert(at, page);
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }
}

/// (page, range in the page, range in what is read or written) for each page that is touched.
fn parts(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let page = at / PAGE_BYTES * PAGE_BYTES;
        let within = (at - page) as usize;
        let count = (PAGE_BYTES as usize - within).min(len - done);
        let part = (page, within..within + count, done..done + count);
        done += count;
        Some(part)
    })
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let link = &self.0;
        link.pass(|| match &link.memory {
            Some(memory) => Ok(lock(memory).len),
            None => link.file.len(),
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let link = &self.0;
        link.pass(|| match &link.memory {
            Some(memory) => lock(memory).read(&link.file, offset, out),
            None => std::os::unix::fs::FileExt::read_exact_at(link.file.file(), out, offset),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let link = &self.0;
        link.pass(|| match &link.memory {
            Some(memory) => {
                let mut memory = lock(memory);
                memory.pages.retain(|at, _| *at < len);
                memory.len = len;
                Ok(())
            }
            None => link.file.set_len(len),
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let link = &self.0;
        link.pass(|| if link.memory.is_some() { Ok(()) } else { link.file.sync() })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let link = &self.0;
        link.pass(|| match &link.memory {
            Some(memory) => lock(memory).write(&link.file, offset, data),
            None => link.file.write_all_at(offset, data),
        })
    }
}
