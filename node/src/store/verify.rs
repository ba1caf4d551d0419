//! Bytes that rot at rest: found, put aside, told.
//!
//! A blob is read and hashed again. One whose bytes are not what its name says goes to
//! `quarantine/<digest>` and its record is dropped, in one commit: it is never served again, and
//! can be fetched anew. The file stays as evidence until `gc` takes it. Where a bucket has the
//! blob, only the copy goes and the record stays: the next reader fetches it again.
//!
//! An intent covers the move, so a crash leaves the blob either recorded, and found rotten again,
//! or gone. Reading is in pieces, so that whoever calls sets the pace. Does not fetch anything.
//!
//! Source: product.md section 10; reference/style.md.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use crdt::Digest;
use redb::{ReadableTableMetadata as _, WriteTransaction};

use super::tables::{self, Tables};
use super::{BlobInfo, Error, Inner, Store, blob, blocking, gc, holding};

/// Bytes that are hashed between two looks at the pace.
pub const PIECE_BYTES: usize = 1 << 20;

/// A blob that is being read again.
#[derive(Debug)]
pub struct Check {
    file: std::fs::File,
    hasher: Box<blake3::Hasher>,
    info: BlobInfo,
    read: u64,
}

/// How a check stands.
#[derive(Debug)]
pub enum Checked {
    /// There is more to read; so many bytes were read now.
    Going(Check, u64),
    /// The bytes are what they should be.
    Sound,
    /// They are not.
    Rotten(Rotten),
}

/// The file whose bytes were wrong, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotten {
    inode: Option<u64>,
}

impl Rotten {
    /// A record without a file.
    pub const MISSING: Self = Self { inode: None };
}

impl Store {
    /// Blobs behind `after` in the order of their digests, at most `count`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blobs_after(&self, after: Option<Digest>, count: usize) -> Result<Vec<BlobInfo>, Error> {
        self.reading(|txn| gc::step(txn, after, count))
    }

    /// All blobs: how many, and their bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob_amount(&self) -> Result<super::kinds::Amount, Error> {
        self.reading(|txn| {
            let count = txn.table(tables::BLOB)?.len()?;
            Ok(super::kinds::Amount { count, bytes: txn.meta(tables::META_BLOB_BYTES)? })
        })
    }

    /// Begins to read a blob again; `None` if its file is not there at all, which says nothing
    /// where a bucket has it: see [`Store::quarantine`].
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn check_blob(&self, info: BlobInfo) -> Result<Option<Check>, Error> {
        let path = self.inner.paths.blob(&info.digest);
        blocking(move || match fs_err::File::open(path) {
            Ok(file) => {
                let file = file.into_parts().0;
                Ok(Some(Check { file, hasher: Box::default(), info, read: 0 }))
            }
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why.into()),
        })
        .await
    }

    /// Puts a rotten blob aside and drops its record, unless another file has its name by now, or
    /// the blob has gone, or it lacks here because a bucket has it. Says whether it did.
    ///
    /// # Errors
    /// When the database refuses; the blob is then still there.
    pub async fn quarantine(&self, digest: &Digest, seen: Rotten) -> Result<bool, Error> {
        let digest = *digest;
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let now = fs_err::metadata(inner.paths.blob(&digest)).ok().map(|file| file.ino());
            let in_bucket = inner.remote.as_ref().is_some_and(|remote| remote.has(&digest));
            let lacks = seen.inode.is_none();
            if blob::record(txn, &digest)?.is_none() || now != seen.inode || (in_bucket && lacks) {
                return Ok(false);
            }
            blob::announce(inner, [&digest])?;
            if !in_bucket {
                blob::forget(txn, &digest)?;
            }
            Ok(true)
        };
        let after = move |inner: &Inner, _: &bool| {
            if let Err(why) = put_aside(inner, &digest) {
                tracing::warn!(%digest, %why, "a rotten blob could not be put aside: removed");
                blob::erase(inner, &digest);
            }
            if let Some(remote) = &inner.remote {
                remote.gone(&digest);
            }
        };
        self.write_if(|done| *done, change, after).await
    }
}

impl Check {
    /// Reads on for one piece.
    ///
    /// # Errors
    /// None of the disk's: what cannot be read is rotten. Only when the node is stopping.
    pub async fn go_on(mut self) -> Result<Checked, Error> {
        blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            match self.file.read(&mut piece) {
                Ok(0) => Ok(self.judge()),
                Ok(read) => {
                    self.hasher.update(&piece[..read]);
                    self.read += read as u64;
                    // One that has grown is rotten, however long it is.
                    let over = self.read > self.info.size;
                    Ok(if over { self.rotten() } else { Checked::Going(self, read as u64) })
                }
                Err(why) => {
                    tracing::warn!(digest = %self.info.digest, %why, "a blob cannot be read");
                    Ok(self.rotten())
                }
            }
        })
        .await
    }

    fn judge(&self) -> Checked {
        let same = self.hasher.finalize().as_bytes() == self.info.digest.as_bytes();
        if same { Checked::Sound } else { self.rotten() }
    }

    fn rotten(&self) -> Checked {
        Checked::Rotten(Rotten { inode: self.file.metadata().ok().map(|file| file.ino()) })
    }
}

/// After the record is gone: the file moves out of `blobs/`, and its tree goes.
fn put_aside(inner: &Inner, digest: &Digest) -> std::io::Result<()> {
    // A backup takes what is in a bucket from there.
    let in_bucket = inner.remote.as_ref().is_some_and(|remote| remote.has(digest));
    if !in_bucket && holding::postpones(inner, digest) {
        // A backup looks for it under its name, and removes it when it ends.
        return Ok(());
    }
    let (disk, paths) = (&inner.disk, &inner.paths);
    disk.create_folder(&paths.quarantine())?;
    let from = paths.blob(digest);
    if from.exists() {
        disk.rename(&from, &paths.quarantine().join(digest.to_hex()))?;
        disk.sync_folder(&paths.quarantine())?;
        disk.sync_folder(&paths.shard(digest))?;
    }
    disk.remove(&paths.tree(digest))?;
    blob::clear_intent(inner, digest);
    Ok(())
}
