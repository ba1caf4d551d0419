//! The one redb file, on the disk as the store may change it.
//!
//! Its bytes go through `disk` like all others, so that a crash test sees them. The lock of the
//! home, taken before, keeps a second process out; redb's own lock on the file is taken too.

use std::io;
use std::path::Path;

use redb::{Database, StorageBackend};

use super::Error;
use super::disk::{Disk, DiskFile, Opening};

/// Opens or creates it. `cache_bytes` is the memory that redb may use for pages.
pub(super) fn open(disk: &Disk, path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let file = disk.open(path, Opening::Kept)?;
    match file.file().try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Locked),
        Err(std::fs::TryLockError::Error(why)) => return Err(why.into()),
    }
    let mut builder = Database::builder();
    Ok(builder.set_cache_size(cache_bytes).create_with_backend(Backend(file))?)
}

#[derive(Debug)]
struct Backend(DiskFile);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self.0.file(), out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, data)
    }
}
