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

use super::blob::record;
use super::paths::Paths;
use super::{Error, Inner, holding, partial};

/// Takes back unfinished changes and empties `tmp/`.
pub(super) fn clear_leftovers(inner: &Inner) -> Result<(), Error> {
    take_back_all(inner)?;
    for file in files(&inner.paths.tmp())? {
        inner.disk.remove(&file)?;
    }
    clear_partials(inner)
}

/// Takes back unfinished changes, durably. An intent that has a record stays: the record may be
/// younger than the last sync that succeeded.
pub(super) fn take_back_all(inner: &Inner) -> Result<(), Error> {
    let names = |path: &PathBuf| path.file_name()?.to_str().and_then(Paths::intent_digest);
    let announced: Vec<Digest> = files(&inner.paths.tmp())?.iter().filter_map(names).collect();
    let (mut undone, mut touched) = (Vec::new(), BTreeSet::new());
    for digest in announced {
        // What a backup still reads goes when it has ended.
        let is_held = holding::waits(inner, &digest);
        if !is_held && record(&inner.read()?, &digest)?.is_none() {
            take_back(inner, &digest, &mut touched)?;
            undone.push(digest);
        }
    }
    for folder in touched {
        inner.disk.sync_folder(&folder)?;
    }
    for digest in undone {
        inner.disk.remove(&inner.paths.intent(&digest))?;
    }
    Ok(())
}

/// Undoes a rename whose record never came, or ends a removal.
fn take_back(inner: &Inner, digest: &Digest, touched: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let (paths, disk) = (&inner.paths, &inner.disk);
    if paths.shard(digest).is_dir() {
        // Also if there is no blob: its removal may be younger than the last sync.
        touched.insert(paths.shard(digest));
    }
    let blob = paths.blob(digest);
    if !blob.exists() {
        return Ok(());
    }
    if paths.partial_map(digest).exists() && !paths.partial_data(digest).exists() {
        disk.rename(&blob, &paths.partial_data(digest))?;
        touched.insert(paths.partials());
    } else {
        disk.remove(&blob)?;
    }
    tracing::info!(%digest, "an unfinished change of a blob was taken back");
    Ok(disk.remove(&paths.tree(digest))?)
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
