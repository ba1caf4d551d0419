//! Removing what nothing refers to.
//!
//! | what | when it goes |
//! |---|---|
//! | a blob that no release and no cached row names | unless of an upload, or of this hour |
//! | a half download | unused for seven days, and nobody downloads it now |
//! | a file in `blobs/` without a record, a hash tree without a blob | at once |
//! | a file in `quarantine/` | its blob is held again, or after thirty days |
//!
//! A record without a file is no garbage: a bucket may have the bytes, and no object of a bucket
//! is ever removed.
//!
//! Everything is judged again at its removal, by whoever holds the writer's turn: a publish that
//! names a blob between look and removal wins. A removal is announced by an intent (see
//! `recovery`) where a record is involved, and is one step where none is: a crash at any moment
//! leaves the thing whole or gone.
//!
//! Source: DESIGN section 5; product.md section 10.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crdt::Digest;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use super::kinds::{Amount, Judge, Kind};
use super::partial::{self, Flight};
use super::tables::{self, Tables};
use super::{BlobInfo, Error, Inner, Store, blob, blocking, holding};

/// Blobs that are looked at in one step, and removed in one commit.
const STEP: usize = 1024;
/// Half downloads that nobody touched for so long are given up.
const HALF_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Quarantined files are evidence for so long.
const QUARANTINE_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// Blobs that nothing names.
    pub unnamed: Amount,
    /// Half downloads that were given up.
    pub partial: Amount,
    /// Files in `blobs/` without a record.
    pub orphans: Amount,
    /// Hash trees without a blob.
    pub trees: Amount,
    /// Damaged files that are no longer needed as evidence.
    pub quarantined: Amount,
}

impl Garbage {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Amount {
        let parts = [self.unnamed, self.partial, self.orphans, self.trees, self.quarantined];
        Amount {
            count: parts.iter().map(|part| part.count).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    }
}

/// Half downloads as they lie there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halves {
    /// Those that go on where they stopped.
    pub resumable: Amount,
    /// Those that begin anew: nothing of them was verified before the node was cut off.
    pub lost: Amount,
}

impl Store {
    /// Looks at the next blobs behind `after`, and removes those that nothing names unless it is a
    /// `trial`. Says what went, how many were looked at, and where to go on, if anywhere.
    ///
    /// # Errors
    /// When the disk or the database refuses; what is gone is gone.
    pub async fn collect_blobs(
        &self,
        after: Option<Digest>,
        trial: bool,
    ) -> Result<(Amount, usize, Option<Digest>), Error> {
        let inner = Arc::clone(&self.inner);
        let (unnamed, seen, last) = blocking(move || unnamed(&inner, after)).await?;
        let next = last.filter(|_| seen == STEP);
        let mut gone = Amount::default();
        if trial {
            unnamed.iter().for_each(|info| gone.add(info.size));
            return Ok((gone, seen, next));
        }
        if !unnamed.is_empty() {
            let removed = self.remove_unnamed(unnamed).await?;
            removed.iter().for_each(|info| gone.add(info.size));
        }
        Ok((gone, seen, next))
    }

    async fn remove_unnamed(&self, unnamed: Vec<BlobInfo>) -> Result<Vec<BlobInfo>, Error> {
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let pinned = BTreeSet::new();
            let judge = Judge::new(inner, txn, &pinned)?;
            let mut gone = Vec::new();
            for info in unnamed {
                if is_garbage(inner, &judge, &info.digest)? {
                    gone.push(info);
                }
            }
            blob::unlist_all(inner, txn, gone.iter().map(|info| &info.digest))?;
            Ok(gone)
        };
        let after = |inner: &Inner, gone: &Vec<BlobInfo>| {
            blob::erase_all(inner, gone.iter().map(|info| &info.digest));
        };
        self.write_if(|gone| !gone.is_empty(), change, after).await
    }

    /// The rest: half downloads, orphans, trees and what is in quarantine.
    ///
    /// # Errors
    /// When a folder cannot be read or a file cannot be removed.
    pub async fn collect_files(&self, trial: bool) -> Result<Garbage, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            Ok(Garbage {
                unnamed: Amount::default(),
                partial: old_halves(&inner, trial)?,
                orphans: orphans(&inner, trial)?,
                trees: of_no_blob(&inner, &inner.paths.trees(), trial)?,
                quarantined: old_quarantine(&inner, trial)?,
            })
        })
        .await
    }

    /// Half downloads as they lie there now.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn halves(&self) -> Result<Halves, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut found = Halves::default();
            for data in names(&inner.paths.partials())? {
                let Some(digest) = half_digest(&data) else { continue };
                let whole = inner.paths.partial_map(&digest).exists();
                let kind = if whole { &mut found.resumable } else { &mut found.lost };
                kind.add(taken(&data));
            }
            Ok(found)
        })
        .await
    }

    /// Damaged files that were put aside.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn quarantined(&self) -> Result<Amount, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut found = Amount::default();
            names(&inner.paths.quarantine())?.iter().for_each(|file| found.add(taken(file)));
            Ok(found)
        })
        .await
    }
}

/// Blobs of one step that nothing names; how many were looked at; the last of them.
fn unnamed(
    inner: &Inner,
    after: Option<Digest>,
) -> Result<(Vec<BlobInfo>, usize, Option<Digest>), Error> {
    let (txn, pinned) = (inner.read()?, BTreeSet::new());
    let judge = Judge::new(inner, &txn, &pinned)?;
    let (mut found, mut seen, mut last) = (Vec::new(), 0, None);
    for info in step(&txn, after, STEP)? {
        (seen, last) = (seen + 1, Some(info.digest));
        if is_garbage(inner, &judge, &info.digest)? {
            found.push(info);
        }
    }
    Ok((found, seen, last))
}

/// Records of at most `count` blobs behind `after`.
pub(super) fn step(
    txn: &redb::ReadTransaction,
    after: Option<Digest>,
    count: usize,
) -> Result<Vec<BlobInfo>, Error> {
    let from = match &after {
        Some(after) => std::ops::Bound::Excluded(after.as_bytes()),
        None => std::ops::Bound::Unbounded,
    };
    let table = txn.table(tables::BLOB)?;
    let rows = table.range::<&[u8; 32]>((from, std::ops::Bound::Unbounded))?;
    rows.take(count).map(|row| tables::decode("blob record", row?.1.value())).collect()
}

fn is_garbage<T: Tables>(
    inner: &Inner,
    judge: &Judge<'_, T>,
    digest: &Digest,
) -> Result<bool, Error> {
    let unnamed = judge.kind(digest)? == Kind::Unnamed && !inner.uses.is_young(digest);
    Ok(unnamed && !judge.is_held(digest)?)
}

fn old_halves(inner: &Arc<Inner>, trial: bool) -> Result<Amount, Error> {
    let mut gone = Amount::default();
    for data in names(&inner.paths.partials())? {
        let Some(digest) = half_digest(&data) else { continue };
        // Whoever takes the flight next finds nothing and begins anew.
        let Ok(_flight) = Flight::take(inner, digest) else { continue };
        let touched = [data.clone(), inner.paths.partial_map(&digest)];
        if touched.iter().any(|file| !is_older(file, HALF_KEPT)) {
            continue;
        }
        gone.add(taken(&data));
        if !trial {
            partial::discard(inner, &digest)?;
        }
    }
    Ok(gone)
}

/// Files in `blobs/` that no record owns. Names that are no digests are nobody's business here.
fn orphans(inner: &Inner, trial: bool) -> Result<Amount, Error> {
    let mut gone = Amount::default();
    for entry in fs_err::read_dir(inner.paths.blobs())? {
        let shard = entry?.path();
        if shard.is_dir() {
            let of_shard = of_no_blob(inner, &shard, trial)?;
            gone.count += of_shard.count;
            gone.bytes += of_shard.bytes;
        }
    }
    Ok(gone)
}

/// Files of a folder that are named by a digest of which there is no blob.
fn of_no_blob(inner: &Inner, folder: &Path, trial: bool) -> Result<Amount, Error> {
    let mut gone = Amount::default();
    let named = |file: PathBuf| Some((file.file_name()?.to_str()?.parse().ok()?, file));
    let files: Vec<(Digest, PathBuf)> = names(folder)?.into_iter().filter_map(named).collect();
    for some in files.chunks(STEP) {
        // Between a rename into `blobs/` and its record nobody else has the turn.
        let _turn = inner.writer.take();
        let txn = inner.read()?;
        for (digest, file) in some {
            if blob::record(&txn, digest)?.is_none() && file.exists() {
                gone.add(taken(file));
                // A backup may be reading it: then it goes when that ends.
                if !trial && !holding::postpones(inner, digest) {
                    inner.disk.remove(file)?;
                    if let Some(remote) = &inner.remote {
                        remote.gone(digest);
                    }
                }
            }
        }
    }
    Ok(gone)
}

fn old_quarantine(inner: &Inner, trial: bool) -> Result<Amount, Error> {
    let (txn, mut gone) = (inner.read()?, Amount::default());
    for file in names(&inner.paths.quarantine())? {
        let name = file.file_name().and_then(|name| name.to_str());
        let held = match name.and_then(|name| name.parse().ok()) {
            Some(digest) => blob::record(&txn, &digest)?.is_some(),
            None => false,
        };
        if held || is_older(&file, QUARANTINE_KEPT) {
            gone.add(taken(&file));
            if !trial {
                inner.disk.remove(&file)?;
            }
        }
    }
    Ok(gone)
}

/// Files of a folder; a folder that is not there has none.
fn names(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs_err::read_dir(folder)?;
    Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

/// The digest of a half download's file of bytes.
fn half_digest(data: &Path) -> Option<Digest> {
    data.file_name()?.to_str()?.strip_suffix(".data")?.parse().ok()
}

/// Bytes that a file takes on the disk: a sparse one has fewer than its length.
fn taken(file: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs_err::metadata(file).map_or(0, |meta| meta.blocks().saturating_mul(512).min(meta.len()))
}

/// Whether it was not written for so long; one that is not there is as old as it gets, one of the
/// future is new.
fn is_older(file: &Path, age: Duration) -> bool {
    let Ok(meta) = fs_err::metadata(file) else { return true };
    let written = meta.modified().ok();
    let since = written.and_then(|written| SystemTime::now().duration_since(written).ok());
    since.is_some_and(|since| since > age)
}
