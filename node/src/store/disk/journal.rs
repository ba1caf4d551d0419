//! What the crash tests record of the store's changes, in their order.
//!
//! Each change is noted before it is made, and may be refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Opening;

/// A file that was opened, whatever its name is later.
pub(crate) type FileId = usize;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Open {
        path: PathBuf,
        opening: Opening,
    },
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: FileId,
        len: u64,
    },
    /// Room past the end; what the file holds and its length stay.
    Allocate {
        file: FileId,
        len: u64,
    },
    Sync {
        file: FileId,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    CreateFolder {
        path: PathBuf,
    },
    SyncFolder {
        path: PathBuf,
    },
}

/// All changes since it was made.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    ops: Mutex<Vec<Op>>,
    files: Mutex<Vec<PathBuf>>,
}

impl Journal {
    /// Takes note; an error refuses the change.
    pub(crate) fn note(&self, op: Op) -> io::Result<()> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
        Ok(())
    }

    /// All changes so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number for a file that was opened under this name.
    pub(crate) fn file(&self, path: &Path) -> FileId {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.push(path.to_owned());
        files.len() - 1
    }
}
