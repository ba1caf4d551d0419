//! Whether a backup is whole: every byte is read, nothing is written, no node is needed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::folder::hash;
use super::manifest::{self, Manifest, damaged};
use super::{Course, Phase, Tell, blob_path, records};

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What it is.
    pub manifest: Manifest,
    /// Files that were read.
    pub files: u64,
}

/// Reads a backup through.
///
/// # Errors
/// [`Error::Backup`] names the first file that is not what the manifest says.
pub fn check(folder: &Path, tell: Tell) -> Result<Checked, Error> {
    let manifest = manifest::read(folder)?;
    let mut course = Course::new(tell);
    course.begin(Phase::Blobs, manifest.blobs.bytes)?;
    for file in manifest.files.iter().chain([&manifest.records]) {
        whole(folder, file)?;
    }
    let path = folder.join(&manifest.records.name);
    let unreadable = |why: Error| damaged(&path, format!("cannot be opened: {why}"));
    let records = records::open(&path).map_err(unreadable)?;
    let txn = redb::ReadableDatabase::begin_read(&records)?;
    let mut sum = manifest::Sum::default();
    for info in records::blobs(&txn)? {
        let info = info?;
        let path = blob_path(folder, &info.digest);
        let mut file = open(&path)?;
        let found = hash(&mut file, |piece| course.step(piece.len() as u64))?;
        if found != (info.size, info.digest) {
            return Err(damaged(&path, "does not have the bytes that its name says"));
        }
        sum.add(&info);
    }
    if sum.finish() != manifest.blobs {
        return Err(damaged(&path, "names other blobs than the manifest"));
    }
    let files = manifest.blobs.count + manifest.files.len() as u64 + 2;
    Ok(Checked { manifest, files })
}

/// Compares a file with what the manifest says.
fn whole(folder: &Path, file: &manifest::File) -> Result<(), Error> {
    let path = folder.join(file.place());
    if hash(&mut open(&path)?, |_| Ok(()))? == (file.size, file.blake3) {
        return Ok(());
    }
    Err(damaged(&path, "does not have the digest that the manifest names"))
}

/// Opens a file that must be there.
pub(in crate::store) fn open(path: &Path) -> Result<fs_err::File, Error> {
    fs_err::File::open(path).map_err(|why| {
        if why.kind() == std::io::ErrorKind::NotFound { damaged(path, "lacks") } else { why.into() }
    })
}
