//! What a start does about what a crash left.
//!
//! Every change of a name in `blobs/` is announced by an empty file `tmp/<digest>.intent` and is
//! done once the database has its record, or no longer has it. So a start reads `tmp/` and nothing
//! else: an intent whose digest has a record was done; one without is taken back. The file goes
//! back to its half download if the map of that is still there (its bytes were not verified whole,
//! and resuming costs nothing), else it is removed: nobody was told that it was stored. Then `tmp/`
//! is emptied. A record whose file is missing (a meddling hand, a lying disk) is noticed when it is
//! opened: see `blob`.

use super::blob::record;
use super::paths::Paths;
use super::{Error, Inner};

/// Takes back unfinished changes and empties `tmp/`.
pub(super) fn clear_leftovers(inner: &Inner) -> Result<(), Error> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(inner.paths.tmp())? {
        files.push(entry?);
    }
    for file in &files {
        if let Some(digest) = file.file_name().to_str().and_then(Paths::intent_digest) {
            take_back(inner, &digest)?;
        }
    }
    for file in files {
        inner.disk.remove(&file.path())?;
    }
    Ok(())
}

/// Undoes a rename whose record never came, or ends a removal.
fn take_back(inner: &Inner, digest: &crdt::Digest) -> Result<(), Error> {
    if record(&inner.read()?, digest)?.is_some() {
        return Ok(());
    }
    let blob = inner.paths.blob(digest);
    if !blob.exists() {
        return Ok(());
    }
    if inner.paths.partial_map(digest).exists() && !inner.paths.partial_data(digest).exists() {
        inner.disk.rename(&blob, &inner.paths.partial_data(digest))?;
    } else {
        inner.disk.remove(&blob)?;
    }
    tracing::info!(%digest, "an unfinished change of a blob was taken back");
    Ok(inner.disk.remove(&inner.paths.tree(digest))?)
}
