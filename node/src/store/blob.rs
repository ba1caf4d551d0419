//! Blobs on disk, named by their digest.
//!
//! A blob is either absent, or complete and verified; there is no third state. Bytes are written
//! to a temporary file and hashed in the same pass: see `writing`. Then, in this order: sync the
//! file, leave an intent (see `recovery`) and sync its folder, rename, sync the folder, record in
//! redb (synced), remove the intent. A removal: intent, synced; record gone, synced; file gone,
//! synced; intent gone.
//! A crash before the record leaves an intent without a record, and the next start takes the
//! rename back; a crash after it leaves a complete blob.
//!
//! Where a bucket has the blobs, the bytes are sent before the record, and the file here is a copy
//! that comes and goes: see `remote`. Half downloads live in `partial`. Does not decide what to
//! keep.
//!
//! Source: DESIGN.md section 5.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crdt::Digest;
use redb::{ReadableTable, WriteTransaction};

use super::batch::{Change, Kept};
use super::disk::Opening;
use super::hashing;
use super::tables::{self, Tables};
use super::{BlobInfo, Error, Inner, Store, blocking, cached_rows, holding, kinds, usage};

pub(super) use super::writing::Temporary;
pub use super::writing::{BlobWriter, Staged};

impl Store {
    /// Makes a staged file a blob. An existing blob wins and the copy is dropped; checksums that
    /// only the copy has are added to the record.
    ///
    /// # Errors
    /// When the disk or the database refuses: the blob is then absent and the call can be repeated
    /// with a new copy.
    pub async fn commit(&self, staged: Staged) -> Result<BlobInfo, Error> {
        self.commit_with(staged, None).await
    }

    /// The same, in one commit with a row that names it. Calls at the same time share one, too.
    pub(super) async fn commit_with(
        &self,
        staged: Staged,
        row: Option<Change>,
    ) -> Result<BlobInfo, Error> {
        let copy = staged.info().clone();
        // What a row names besides was found elsewhere, and can be had from there again.
        let unsent = self.send_first(&copy, staged.path(), row.is_some()).await?;
        let (blob, stays) = (Change::Blob(Box::new(staged)), unsent.is_some());
        let kept = self.keep(std::iter::once(blob).chain(row).chain(unsent).collect()).await?;
        self.sent(&copy, stays);
        match kept {
            Kept::Blob(info) => Ok(*info),
            _ => Ok(copy),
        }
    }

    /// A blob's record, if its file is there, whole; or if a bucket has it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        let Some(info) = self.reading(|txn| record(txn, digest))? else { return Ok(None) };
        let held = self.inner.remote.is_some() || is_whole(&self.inner, &info);
        Ok(held.then_some(info))
    }

    /// Opens a complete blob for reading, fetched from the bucket if that has it. A record whose
    /// file is gone is dropped.
    ///
    /// # Errors
    /// When the disk or the database cannot be read; [`Error::NotFetched`] while the bucket cannot
    /// be asked.
    pub async fn open_blob(
        &self,
        digest: &Digest,
    ) -> Result<Option<(BlobInfo, tokio::fs::File)>, Error> {
        let Some(info) = self.reading(|txn| record(txn, digest))? else { return Ok(None) };
        self.inner.uses.touch(digest);
        let mut opened = self.open_copy(&info).await?;
        if opened.is_none() && self.fetch_again(&info).await? {
            opened = self.open_copy(&info).await?;
        }
        match opened {
            Some(file) => Ok(Some((info, tokio::fs::File::from_std(file)))),
            None => {
                tracing::error!(%digest, "a blob's file is gone or cut: its record is dropped");
                self.remove_blob(digest).await?;
                Ok(None)
            }
        }
    }

    /// The file, if it is there with its whole length.
    async fn open_copy(&self, info: &BlobInfo) -> Result<Option<std::fs::File>, Error> {
        let path = self.inner.paths.blob(&info.digest);
        let opened = match open_at_once(&path) {
            Some(file) => Some((file.metadata()?.len(), file)),
            None => blocking(move || open(&path)).await?,
        };
        let whole = opened.filter(|(len, _)| *len == info.size).map(|(_, file)| file);
        if let (Some(_), Some(remote)) = (&whole, &self.inner.remote) {
            remote.used(&self.inner, &info.digest, info.size);
        }
        Ok(whole)
    }

    /// Forgets a blob and removes its file (a quarantined or refused one).
    ///
    /// # Errors
    /// When the database refuses; the blob is then still there.
    pub async fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let digest = *digest;
        self.write(
            move |inner, txn| unlist(inner, txn, &digest),
            move |inner, ()| erase(inner, &digest),
        )
        .await
    }

    /// The same, unless a cached row or a release refers to it. Says whether it is gone.
    ///
    /// # Errors
    /// When the database refuses; the blob is then still there.
    pub async fn remove_unused_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = *digest;
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let used =
                cached_rows::is_used(txn, &digest)? || cached_rows::is_released(txn, &digest)?;
            if !used {
                unlist(inner, txn, &digest)?;
            }
            Ok(!used)
        };
        let after = move |inner: &Inner, gone: &bool| {
            if *gone {
                erase(inner, &digest);
            }
        };
        self.write_if(|gone| *gone, change, after).await
    }
}

/// Renames a synced file into `blobs/` and records it. Says whether the file was moved.
pub(super) fn place(
    inner: &Inner,
    txn: &WriteTransaction,
    from: &Path,
    info: BlobInfo,
) -> Result<(BlobInfo, bool), Error> {
    let moved = is_new(inner, txn, &info)?;
    if moved {
        move_in(inner, &[(from, info.digest)])?;
    }
    Ok((list(txn, info)?, moved))
}

/// Whether the blob is not there yet, whole. Either way it is about to be named.
pub(super) fn is_new(inner: &Inner, txn: &impl Tables, info: &BlobInfo) -> Result<bool, Error> {
    // Before the record: whoever clears up behind this commit sees it.
    inner.uses.arrive(&info.digest);
    Ok(!record(txn, &info.digest)?.is_some_and(|old| is_whole(inner, &old)))
}

/// The first half: synced files get the names of their digests, durably.
pub(super) fn move_in(inner: &Inner, files: &[(&Path, Digest)]) -> Result<(), Error> {
    announce(inner, files.iter().map(|(_, digest)| digest))?;
    for (_, digest) in files {
        let shard = inner.paths.shard(digest);
        if !shard.is_dir() {
            inner.shards_are_durable.store(false, Ordering::Relaxed);
            inner.disk.create_folder(&shard)?;
        }
    }
    if !inner.shards_are_durable.load(Ordering::Relaxed) {
        // First: a file that moves into a folder that vanishes is lost under both names.
        inner.disk.sync_folder(&inner.paths.blobs())?;
        inner.shards_are_durable.store(true, Ordering::Relaxed);
    }
    for (from, digest) in files {
        inner.disk.rename(from, &inner.paths.blob(digest))?;
    }
    sync_shards(inner, &files.iter().map(|(_, digest)| *digest).collect())?;
    let uploads = inner.paths.uploads();
    if files.iter().any(|(from, _)| from.parent() == Some(&uploads)) {
        // An upload that came back after a cut could be written to, and it would be this file.
        inner.disk.sync_folder(&uploads)?;
    }
    Ok(())
}

/// Names of these blobs that came or went are durable.
pub(super) fn sync_shards(inner: &Inner, digests: &BTreeSet<Digest>) -> Result<(), Error> {
    let shards: BTreeSet<_> = digests.iter().map(|digest| inner.paths.shard(digest)).collect();
    for shard in shards {
        inner.disk.sync_folder(&shard).map_err(|why| inner.explain(why.into(), 0))?;
    }
    Ok(())
}

/// The second half: the record, with the checksums that are known already.
pub(super) fn list(txn: &WriteTransaction, mut info: BlobInfo) -> Result<BlobInfo, Error> {
    let old = record(txn, &info.digest)?;
    if let Some(old) = &old {
        info.checksums = hashing::merge(&old.checksums, &info.checksums);
        info.stored = old.stored;
    }
    if old.as_ref() != Some(&info) {
        let bytes = tables::encode("blob record", &info)?;
        kinds::around(txn, &info.digest, || {
            txn.open_table(tables::BLOB)?.insert(info.digest.as_bytes(), bytes.as_slice())?;
            Ok(())
        })?;
        index_checksums(txn, &info)?;
    }
    if old.is_none() {
        let sum = txn.meta(tables::META_BLOB_BYTES)?.saturating_add(info.size);
        tables::set_meta(txn, tables::META_BLOB_BYTES, sum)?;
    }
    Ok(info)
}

/// A blob's row.
pub(super) fn record(txn: &impl Tables, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
    let table = txn.table(tables::BLOB)?;
    let row = table.get(digest.as_bytes())?;
    row.map(|row| tables::decode("blob record", row.value())).transpose()
}

/// Opens a file whose name is in the system's memory: that needs no disk, and so no thread.
#[cfg(target_os = "linux")]
fn open_at_once(path: &Path) -> Option<std::fs::File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn open_at_once(_: &Path) -> Option<std::fs::File> {
    None
}

/// A file and its length, if it is there.
fn open(path: &Path) -> Result<Option<(u64, std::fs::File)>, Error> {
    match fs_err::File::open(path) {
        Ok(file) => Ok(Some((file.metadata()?.len(), file.into_parts().0))),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Whether the file is there with its whole length.
pub(super) fn is_whole(inner: &Inner, info: &BlobInfo) -> bool {
    fs_err::metadata(inner.paths.blob(&info.digest)).is_ok_and(|file| file.len() == info.size)
}

/// A blob can be found by its strong checksums. Weak ones are no names.
pub(super) fn index_checksums(txn: &WriteTransaction, info: &BlobInfo) -> Result<(), Error> {
    let (digest, checksums) = (info.digest.as_bytes(), &info.checksums);
    txn.open_table(tables::SHA256)?.insert(&checksums.sha256, digest)?;
    if let Some(sha512) = &checksums.sha512 {
        txn.open_table(tables::SHA512)?.insert(sha512, digest)?;
    }
    Ok(())
}

/// Removes a blob's row, and the ways to find it.
pub(super) fn forget(txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    let Some(old) = record(txn, digest)? else { return Ok(()) };
    usage::forget(txn, digest)?;
    kinds::around(txn, digest, || {
        txn.open_table(tables::BLOB)?.remove(digest.as_bytes())?;
        Ok(())
    })?;
    txn.open_table(tables::SHA256)?.remove(&old.checksums.sha256)?;
    if let Some(sha512) = &old.checksums.sha512 {
        txn.open_table(tables::SHA512)?.remove(sha512)?;
    }
    let sum = txn.meta(tables::META_BLOB_BYTES)?.saturating_sub(old.size);
    tables::set_meta(txn, tables::META_BLOB_BYTES, sum)
}

/// The first half of a removal: the record goes, the file is still there.
pub(super) fn unlist(inner: &Inner, txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    announce(inner, [digest])?;
    forget(txn, digest)
}

/// The same for many: one sync announces all.
pub(super) fn unlist_all<'d>(
    inner: &Inner,
    txn: &WriteTransaction,
    digests: impl Iterator<Item = &'d Digest> + Clone,
) -> Result<(), Error> {
    announce(inner, digests.clone())?;
    for digest in digests {
        forget(txn, digest)?;
    }
    Ok(())
}

/// The second half, once the first is durable; later, if a backup reads: see `holding`.
pub(super) fn erase(inner: &Inner, digest: &Digest) {
    if holding::postpones(inner, digest) {
        return;
    }
    let removed = inner.disk.remove(&inner.paths.blob(digest));
    let _ = inner.disk.remove(&inner.paths.tree(digest));
    let shard = inner.paths.shard(digest);
    // The intent goes once the file cannot come back.
    if removed.is_ok() && (!shard.is_dir() || inner.disk.sync_folder(&shard).is_ok()) {
        clear_intent(inner, digest);
    }
    if let Some(remote) = &inner.remote {
        remote.gone(digest);
    }
}

/// The same for many: each folder is synced once.
pub(super) fn erase_all<'d>(inner: &Inner, digests: impl IntoIterator<Item = &'d Digest>) {
    let mut removed = BTreeSet::new();
    for digest in digests.into_iter().filter(|digest| !holding::postpones(inner, digest)) {
        let _ = inner.disk.remove(&inner.paths.tree(digest));
        if inner.disk.remove(&inner.paths.blob(digest)).is_ok() {
            removed.insert(*digest);
        }
        if let Some(remote) = &inner.remote {
            remote.gone(digest);
        }
    }
    let there = removed.iter().filter(|digest| inner.paths.shard(digest).is_dir());
    if sync_shards(inner, &there.copied().collect()).is_ok() {
        removed.iter().for_each(|digest| clear_intent(inner, digest));
    }
}

/// Marks that names in `blobs/` are about to change, durably: a name that changed without its mark
/// would be looked at by no start.
pub(super) fn announce<'d>(
    inner: &Inner,
    digests: impl IntoIterator<Item = &'d Digest>,
) -> Result<(), Error> {
    for digest in digests {
        inner.disk.open(&inner.paths.intent(digest), Opening::Empty)?;
    }
    Ok(inner.disk.sync_folder(&inner.paths.tmp())?)
}

/// The change is recorded. A mark that stays is looked at in vain at the next start.
pub(super) fn clear_intent(inner: &Inner, digest: &Digest) {
    let _ = inner.disk.remove(&inner.paths.intent(digest));
}

/// A label for people; no rule depends on it.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
