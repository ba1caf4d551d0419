//! What the crash tests record of the store's changes, in their order; and how they refuse some.
//!
//! Each change is noted before it is made, and may be refused: by a disk that is full from some
//! moment on, or that fails once. What was refused is not recorded. `replay` builds from a journal
//! what a power cut could leave.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Opening;

/// A file that was opened, whatever its name is later.
pub(crate) type FileId = usize;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Open {
        file: FileId,
        path: PathBuf,
        opening: Opening,
    },
    Write {
        file: FileId,
        offset: u64,
        bytes: Arc<[u8]>,
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
    /// A second name.
    Link {
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

impl Op {
    /// Whether a cut right before or after it is worth trying: names and durability change there.
    pub(crate) fn is_turning_point(&self) -> bool {
        !matches!(
            self,
            Self::Open { .. } | Self::Write { .. } | Self::SetLen { .. } | Self::Allocate { .. }
        )
    }

    /// Whether a full disk could refuse it, at its worst. Removing always helps.
    fn takes_room(&self) -> bool {
        !matches!(self, Self::Remove { .. })
    }
}

/// What the disk refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All but removals, after so many more changes, until it is freed.
    FullAfter { ops: usize },
    /// Bytes, after so many more of them, until it is freed.
    FullAt { bytes: u64 },
    /// One change fails for good reason of the device, after so many more; then all is well.
    BrokenOnce { ops: usize },
}

#[derive(Debug, Default)]
struct Record {
    ops: Vec<Op>,
    files: FileId,
    refusal: Option<Refusal>,
    refused: usize,
}

/// All changes since it was made.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    record: Mutex<Record>,
}

impl Journal {
    /// Takes note; an error refuses the change.
    pub(crate) fn note(&self, op: Op) -> io::Result<()> {
        self.record().note(op)
    }

    /// The same for a file that is opened; gives it a number.
    pub(crate) fn open(&self, path: &Path, opening: Opening) -> io::Result<FileId> {
        let mut record = self.record();
        let file = record.files;
        record.note(Op::Open { file, path: path.to_owned(), opening })?;
        record.files += 1;
        Ok(file)
    }

    /// All changes so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.record().ops.clone()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.record().ops.len()
    }

    /// From now on; `None` frees the disk.
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        let mut record = self.record();
        (record.refusal, record.refused) = (refusal, 0);
    }

    /// How many changes were refused since [`Journal::refuse`].
    pub(crate) fn refused(&self) -> usize {
        self.record().refused
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn note(&mut self, op: Op) -> io::Result<()> {
        if let Some(kind) = self.refuses(&op) {
            self.refused += 1;
            return Err(io::Error::new(kind, format!("the test's disk refuses: {kind}")));
        }
        self.ops.push(op);
        Ok(())
    }

    fn refuses(&mut self, op: &Op) -> Option<ErrorKind> {
        match self.refusal.as_mut()? {
            Refusal::FullAfter { ops: 0 } if op.takes_room() => Some(ErrorKind::StorageFull),
            Refusal::BrokenOnce { ops: 0 } => {
                self.refusal = None;
                Some(ErrorKind::Other)
            }
            Refusal::FullAfter { ops } | Refusal::BrokenOnce { ops } => {
                *ops = ops.saturating_sub(1);
                None
            }
            Refusal::FullAt { bytes } => {
                let Op::Write { bytes: written, .. } = op else { return None };
                match bytes.checked_sub(written.len() as u64) {
                    Some(left) => {
                        *bytes = left;
                        None
                    }
                    None => Some(ErrorKind::StorageFull),
                }
            }
        }
    }
}
