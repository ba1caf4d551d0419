//! Every change that the store makes to the file system goes through here, and nowhere else: to its
//! home, and to the folder of a backup.
//!
//! Two reasons. A change can be observed: the crash tests record all of them and try what a power
//! cut would leave after each. And a change can be refused: the same tests fill the disk up. Both
//! exist in test builds alone; else a call here is the system's call and nothing more.
//!
//! Reading needs no permission and goes to the system directly. Names are in `paths`; what must be
//! durable before what is decided by the callers.

use std::io;
use std::path::Path;
#[cfg(test)]
use std::sync::Arc;

use bao_tree::io::sync::{ReadAt, WriteAt};

#[cfg(test)]
pub(super) mod journal;
#[cfg(test)]
pub(super) mod replay;

#[cfg(test)]
use journal::{Journal, Op};

/// The file system as the store may change it. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    journal: Option<Arc<Journal>>,
}

/// A file that can be written.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: std::fs::File,
    #[cfg(test)]
    observed: Option<(Arc<Journal>, journal::FileId)>,
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It must not be there yet.
    New,
    /// Emptied if it is there.
    Empty,
    /// As it is; made if it is not there.
    Kept,
}

impl Disk {
    /// One that records all that passes.
    #[cfg(test)]
    pub(super) fn observed(journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal) }
    }

    /// Opens a file for reading and writing, for its owner alone.
    pub(super) fn open(&self, path: &Path, opening: Opening) -> io::Result<DiskFile> {
        #[cfg(test)]
        let observed = match &self.journal {
            Some(journal) => Some((Arc::clone(journal), journal.open(path, opening)?)),
            None => None,
        };
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true);
        match opening {
            Opening::New => options.create_new(true),
            Opening::Empty => options.create(true).truncate(true),
            Opening::Kept => options.create(true).truncate(false),
        };
        #[cfg(unix)]
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?.into_parts().0;
        Ok(DiskFile {
            file,
            #[cfg(test)]
            observed,
        })
    }

    /// Makes an empty file under a passing name. What a cut has left there goes before, and is not
    /// emptied: where a rename was cut it may be the renamed file under its old name, still.
    pub(super) fn fresh(&self, path: &Path) -> io::Result<DiskFile> {
        self.remove(path)?;
        self.open(path, Opening::New)
    }

    /// Gives a file another name; what was there is gone.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.before(|| Op::Rename { from: from.to_owned(), to: to.to_owned() })?;
        fs_err::rename(from, to)
    }

    /// Gives a file a second name, which must not be there yet.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.before(|| Op::Link { from: from.to_owned(), to: to.to_owned() })?;
        std::fs::hard_link(from, to)
    }

    /// Removes a file; one that is not there is removed already.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.before(|| Op::Remove { path: path.to_owned() })?;
        match fs_err::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    /// Makes a folder that only its owner may read, and those above it that lack.
    pub(super) fn create_folder(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.before(|| Op::CreateFolder { path: folder.to_owned() })?;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(folder)
            .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", folder.display())))
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        if self.journal.is_some() {
            // The journal says what is durable; the device is not asked.
            return self.before(|| Op::SyncFolder { path: folder.to_owned() });
        }
        fs_err::File::open(folder)?.sync_all()
    }

    /// Free bytes on the device of a folder.
    pub(super) fn free_space(&self, folder: &Path) -> io::Result<u64> {
        let device = rustix::fs::statvfs(folder)?;
        Ok(device.f_bavail.saturating_mul(device.f_frsize))
    }

    #[cfg(test)]
    fn before(&self, op: impl FnOnce() -> Op) -> io::Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.note(op()))
    }
}

impl DiskFile {
    /// Writes at an offset, without moving anything.
    pub(super) fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.before(|file| Op::Write { file, offset, bytes: bytes.into() })?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    /// Cuts the file, or lengthens it with zeros.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.before(|file| Op::SetLen { file, len })?;
        self.file.set_len(len)
    }

    /// Takes room for `len` bytes in all; the file stays as long as it is. Where the file system
    /// cannot do that, nothing happens.
    pub(super) fn allocate(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.before(|file| Op::Allocate { file, len })?;
        #[cfg(target_os = "linux")]
        {
            use rustix::io::Errno;
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.file, flags, 0, len) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Makes bytes and length durable; the name needs its folder synced.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.observed.is_some() {
            return self.before(|file| Op::Sync { file });
        }
        self.file.sync_data()
    }

    /// What the system holds in memory of it is read from the device again: after a sync that
    /// failed, the memory may show bytes that never reached it.
    pub(super) fn forget_memory(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// For reading.
    pub(super) fn file(&self) -> &std::fs::File {
        &self.file
    }

    /// Its length.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(test)]
    fn before(&self, op: impl FnOnce(journal::FileId) -> Op) -> io::Result<()> {
        self.observed.as_ref().map_or(Ok(()), |(journal, file)| journal.note(op(*file)))
    }
}

impl WriteAt for DiskFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        // Not the trait's own, which would come back here.
        Self::write_all_at(self, offset, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }
}
