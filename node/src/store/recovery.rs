//! What a start does about what a crash left, and a running node about a write that failed.
//!
//! Every change of a name in `blobs/` is announced by an empty file `tmp/<digest>.intent`, durable
//! before it, and is done once the database has its record, or no longer has it. So a start reads
//! `tmp/`: an intent whose digest has a record was done; one without is taken back. The file goes
//! back to its half download if the map of that is still there (its bytes were not verified whole,
//! and resuming costs nothing), else it is removed: nobody was told that it was stored. All that is
//! durable before the intents go, so that a crash in here changes nothing. Then `tmp/` is emptied,
//! and in `partial/` what is left of downloads that were finished.
//!
//! A record whose file is missing (a meddling hand, a lying disk) is noticed when it is opened: see
//! `blob`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crdt::Digest;
use serde::{Deserialize, Serialize};

use super::blob::record;
use super::gc::Halves;
use super::kinds::Amount;
use super::paths::Paths;
use super::{Error, Inner, Store, holding, partial};

/// What a start cleared away.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cleared {
    unfinished: Amount,
    taken_back: u64,
}

/// What the run before was in the middle of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Half downloads: they go on, or begin anew.
    #[serde(flatten)]
    pub halves: Halves,
    /// Uploads in several requests that go on where they were durable.
    pub uploads: Amount,
    /// Files that were being written and that nobody was told of: removed.
    pub unfinished: Amount,
    /// Blobs that had come or gone without their record: undone.
    pub taken_back: u64,
}

impl Recovered {
    /// Whether the run before ended with nothing half done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Store {
    /// What the last run left half done, and what became of it at this start.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub async fn recovered(&self) -> Result<Recovered, Error> {
        let Cleared { unfinished, taken_back } = self.inner.cleared;
        let (halves, uploads) = (self.halves().await?, self.uploads_under_way());
        Ok(Recovered { halves, uploads, unfinished, taken_back })
    }
}

/// Takes back unfinished changes and empties `tmp/`.
pub(super) fn clear_leftovers(inner: &Inner) -> Result<Cleared, Error> {
    let mut cleared = Cleared { taken_back: take_back_all(inner)?, ..Cleared::default() };
    for file in files(&inner.paths.tmp())? {
        if file.extension().is_none_or(|ending| ending != "intent") {
            cleared.unfinished.add(fs_err::metadata(&file).map_or(0, |file| file.len()));
        }
        inner.disk.remove(&file)?;
    }
    clear_partials(inner)?;
    Ok(cleared)
}

/// Takes back unfinished changes, durably; says how many. An intent that has a record stays: the
/// record may be younger than the last sync that succeeded.
pub(super) fn take_back_all(inner: &Inner) -> Result<u64, Error> {
    let names = |path: &PathBuf| path.file_name()?.to_str().and_then(Paths::intent_digest);
    let announced: Vec<Digest> = files(&inner.paths.tmp())?.iter().filter_map(names).collect();
    let (mut undone, mut touched, mut taken_back) = (Vec::new(), BTreeSet::new(), 0);
    for digest in announced {
        // What a backup still reads goes when it has ended.
        let is_held = holding::waits(inner, &digest);
        if !is_held && record(&inner.read()?, &digest)?.is_none() {
            taken_back += u64::from(take_back(inner, &digest, &mut touched)?);
            undone.push(digest);
        }
    }
    for folder in touched {
        inner.disk.sync_folder(&folder)?;
    }
    for digest in undone {
        inner.disk.remove(&inner.paths.intent(&digest))?;
    }
    Ok(taken_back)
}

/// Undoes a rename whose record never came, or ends a removal; says whether there was a file.
fn take_back(
    inner: &Inner,
    digest: &Digest,
    touched: &mut BTreeSet<PathBuf>,
) -> Result<bool, Error> {
    let (paths, disk) = (&inner.paths, &inner.disk);
    if paths.shard(digest).is_dir() {
        // Also if there is no blob: its removal may be younger than the last sync.
        touched.insert(paths.shard(digest));
    }
    let blob = paths.blob(digest);
    if !blob.exists() {
        return Ok(false);
    }
    if paths.partial_map(digest).exists() && !paths.partial_data(digest).exists() {
        disk.rename(&blob, &paths.partial_data(digest))?;
        touched.insert(paths.partials());
    } else {
        disk.remove(&blob)?;
    }
    tracing::info!(%digest, "an unfinished change of a blob was taken back");
    disk.remove(&paths.tree(digest))?;
    Ok(true)
}

/// Of a download whose blob is held, and of a map that never got its name, nothing is needed.
fn clear_partials(inner: &Inner) -> Result<(), Error> {
    for path in files(&inner.paths.partials())? {
        let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Digest>().ok());
        if path.extension().is_some_and(|ending| ending == "map-new") {
            inner.disk.remove(&path)?;
        } else if let Some(digest) = digest
            && record(&inner.read()?, &digest)?.is_some()
        {
            partial::discard(inner, &digest)?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs_err::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}
