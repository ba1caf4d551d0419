//! Every file name of the store, in one struct.
//!
//! The picture of the folder is in `docs/reference/disk.md`. All names lie under one home, so
//! that renaming from `tmp/` and `partial/` into `blobs/` never crosses a device. Folders are
//! made with mode 0700. Does not decide when a file comes or goes: see `blob` and `partial`.

use std::io;
use std::path::{Path, PathBuf};

use crdt::Digest;

use super::disk::Disk;
use super::sessions::SessionId;

/// The ending of the marks that a rename into `blobs/` is under way.
const INTENT: &str = ".intent";
/// What the copies of earlier databases begin with; their schema follows.
const BEFORE: &str = "store.redb.before-";

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

    /// Makes the folders that lack, durably: what is synced within one is worth nothing if its own
    /// name is lost.
    pub(super) fn create(&self, disk: &Disk) -> io::Result<()> {
        let folders = [self.blobs(), self.tmp(), self.partials(), self.trees(), self.uploads()];
        if self.home.is_dir() && folders.iter().all(|folder| folder.is_dir()) {
            // They may be there since a start that was cut before its sync.
        } else {
            disk.create_folder(&self.home)?;
            for folder in folders {
                disk.create_folder(&folder)?;
            }
        }
        disk.sync_folder(&self.home)?;
        if let Some(above) = self.home.parent().filter(|above| above.is_dir()) {
            // Not every folder above a home may be opened by who owns the home.
            let _ = disk.sync_folder(above);
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

    /// The database as it was before it was brought to another layout.
    pub(super) fn database_before(&self, schema: u64) -> PathBuf {
        self.home.join(format!("{BEFORE}{schema}"))
    }

    /// Whether a file of the home is such a copy.
    pub(super) fn is_database_before(name: &str) -> bool {
        name.strip_prefix(BEFORE).is_some_and(|schema| schema.parse::<u64>().is_ok())
    }

    /// The folder itself.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// There while a backup is being restored into this home.
    pub(super) fn restoring(&self) -> PathBuf {
        self.home.join("restoring.json")
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

    /// Upload sessions.
    pub(super) fn uploads(&self) -> PathBuf {
        self.home.join("uploads")
    }

    /// The bytes of an upload session.
    pub(super) fn session_data(&self, id: SessionId) -> PathBuf {
        self.uploads().join(format!("{id}.data"))
    }

    /// What an upload session is for, and how far it is durable.
    pub(super) fn session_mark(&self, id: SessionId) -> PathBuf {
        self.uploads().join(format!("{id}.mark"))
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
