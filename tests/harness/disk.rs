//! A look at what a node has on disk: which file is a blob, what is half done, what is left over.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// All files below a folder, but for databases, which grow as they like.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // A running node renames and removes files while this looks.
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "redb") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The most space that one file takes on the disk; sparse files count what they hold.
pub(crate) fn largest(folder: &Path) -> u64 {
    let taken = |path: &PathBuf| fs_err::metadata(path).map_or(0, |meta| meta.blocks() * 512);
    files(folder).iter().map(taken).max().unwrap_or(0)
}

/// The file that holds a blob: the one whose path spells the digest.
pub(crate) fn blob(home: &Path, digest: &str) -> PathBuf {
    let spells = |path: &&PathBuf| path.to_string_lossy().replace('/', "").contains(digest);
    let found = files(home);
    let mut found = found.iter().filter(spells);
    let file = found.find(|path| path.extension().is_none());
    file.unwrap_or_else(|| panic!("no file for {digest} under {}", home.display())).clone()
}

/// Turns over the bits of some bytes in the middle of a file, in place.
pub(crate) fn tamper(file: &Path) {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let middle = fs_err::metadata(file).expect("the file is there").len() / 2;
    let mut file = fs_err::OpenOptions::new().write(true).open(file).expect("it can be written");
    file.seek(SeekFrom::Start(middle)).expect("a file can be sought");
    file.write_all(b"these bytes were never signed").expect("it can be written");
}
