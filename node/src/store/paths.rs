//! Every file name of the store, in one struct.
//!
//! The picture of the folder is in `docs/reference/disk.md`. All names lie under one home, so
//! that renaming from `tmp/` and `partial/` into `blobs/` never crosses a device. Folders are
//! made with mode 0700. Does not decide when a file comes or goes: see `blob` and `partial`.

use std::io;
use std::path::{Path, PathBuf};

use crdt::Digest;

use super::disk::Disk;

/// The ending of the marks that a rename into `blobs/` is under way.
const INTENT: &str = ".intent";

/// Where everything lies.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    home: PathBuf,
}

impl Paths {
    /// Names under `home`; touches nothing.
    pub(super) fn new(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// Makes the folders that lack.
    pub(super) fn create(&self, disk: &Disk) -> io::Result<()> {
        for folder in [self.home.clone(), self.blobs(), self.tmp(), self.partials(), self.trees()] {
            disk.create_folder(&folder)?;
        }
        Ok(())
    }

    /// Taken while a node runs on this home.
    pub(super) fn lock(&self) -> PathBuf {
        self.home.join("lock")
    }

    /// The one redb file.
    pub(super) fn database(&self) -> PathBuf {
        self.home.join("store.redb")
    }

    /// Complete and verified bytes.
    pub(super) fn blobs(&self) -> PathBuf {
        self.home.join("blobs")
    }

    /// Files being written; emptied at every start.
    pub(super) fn tmp(&self) -> PathBuf {
        self.home.join("tmp")
    }

    /// Blobs that rotted; made when the first one does.
    pub(super) fn quarantine(&self) -> PathBuf {
        self.home.join("quarantine")
    }

    /// Half downloads.
    pub(super) fn partials(&self) -> PathBuf {
        self.home.join("partial")
    }

    /// Hash trees of blobs above 1 MiB.
    pub(super) fn trees(&self) -> PathBuf {
        self.home.join("outboard")
    }

    /// The folder of a blob: 256 of them, by the first byte.
    pub(super) fn shard(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(&digest.to_hex()[..2])
    }

    /// A blob.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.shard(digest).join(digest.to_hex())
    }

    /// A blob's hash tree.
    pub(super) fn tree(&self, digest: &Digest) -> PathBuf {
        self.trees().join(digest.to_hex())
    }

    /// The bytes of a half download, sparse.
    pub(super) fn partial_data(&self, digest: &Digest) -> PathBuf {
        self.partials().join(format!("{}.data", digest.to_hex()))
    }

    /// The hash tree of a half download, sparse.
    pub(super) fn partial_tree(&self, digest: &Digest) -> PathBuf {
        self.partials().join(format!("{}.tree", digest.to_hex()))
    }

    /// Which groups of a half download are verified.
    pub(super) fn partial_map(&self, digest: &Digest) -> PathBuf {
        self.partials().join(format!("{}.map", digest.to_hex()))
    }

    /// A temporary file.
    pub(super) fn temporary(&self, number: u64) -> PathBuf {
        self.tmp().join(format!("{number}.new"))
    }

    /// An empty file: the name of this digest in `blobs/` is changing.
    pub(super) fn intent(&self, digest: &Digest) -> PathBuf {
        self.tmp().join(format!("{}{INTENT}", digest.to_hex()))
    }

    /// The digest of an intent's file name.
    pub(super) fn intent_digest(name: &str) -> Option<Digest> {
        name.strip_suffix(INTENT)?.parse().ok()
    }
}
