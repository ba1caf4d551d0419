//! Files that a verb writes for a person: whole and checked, or not at all.
//!
//! Names come from packages of strangers. Only plain names inside the chosen folder are written; a
//! file that is there with other content is left alone.

use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use crdt::Digest;

use crate::client::Node;
use crate::output::{Code, Failure, Output, plain};

/// A file to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// As its publisher named it.
    pub(crate) name: &'a str,
    /// Bytes.
    pub(crate) size: u64,
    /// What the bytes must be.
    pub(crate) digest: Digest,
}

/// Fetches a blob from the node into `folder`, checking every byte.
pub(crate) async fn fetch(
    node: &Node,
    output: Output,
    wanted: Wanted<'_>,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    let path = inside(folder, wanted.name)?;
    if path.exists() {
        return if digest_of(&path)? == wanted.digest { Ok(path) } else { Err(in_the_way(&path)) };
    }
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let partial = path.with_file_name(format!(".{}.part", wanted.digest));
    let copied = copy(node, output, wanted, &partial).await;
    if let Err(failure) = copied {
        drop(fs_err::remove_file(&partial));
        return Err(failure);
    }
    fs_err::rename(&partial, &path)?;
    Ok(path)
}

async fn copy(
    node: &Node,
    output: Output,
    wanted: Wanted<'_>,
    partial: &Path,
) -> Result<(), Failure> {
    let mut response = node.blob(&wanted.digest).await?;
    let bar = output.progress(wanted.name, wanted.size);
    let mut file = fs_err::File::create(partial)?;
    let mut hasher = blake3::Hasher::new();
    let broke = |error: reqwest::Error| Failure::new(format!("the transfer broke off: {error}"));
    while let Some(bytes) = response.chunk().await.map_err(broke)? {
        hasher.update(&bytes);
        file.write_all(&bytes)?;
        bar.inc(bytes.len() as u64);
    }
    bar.finish_and_clear();
    file.sync_all()?;
    if Digest::from_bytes(*hasher.finalize().as_bytes()) == wanted.digest {
        return Ok(());
    }
    let name = plain(wanted.name);
    Err(Failure::new(format!("the bytes of {name} are not those that were signed"))
        .hint("type the command again; if it repeats, the node's disk is damaged")
        .code(Code::Refused))
}

/// Where a file of this name goes.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let odd = |letter: char| letter.is_control() || "\\:<>|\"?*".contains(letter);
    if name.is_empty() || !is_plain || name.contains(odd) {
        let name = plain(name);
        return Err(Failure::new(format!(
            "the package names a file that is not written: {name:?}"
        ))
        .hint("griot info NAME shows the digest; GET /api/blobs/DIGEST has the bytes")
        .code(Code::Refused));
    }
    Ok(folder.join(path))
}

fn digest_of(path: &Path) -> Result<Digest, Failure> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digest::from_bytes(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..count]);
    }
}

fn in_the_way(path: &Path) -> Failure {
    Failure::new(format!("{} is there already, with other content", path.display()))
        .hint("move it away, or choose another folder: --to DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_strangers_stay_inside_the_folder() {
        let folder = Path::new("/here");
        assert_eq!(inside(folder, "a-1.0.tgz").unwrap(), Path::new("/here/a-1.0.tgz"));
        assert_eq!(inside(folder, "sub/map.bin").unwrap(), Path::new("/here/sub/map.bin"));
        for name in ["", "..", "../x", "/etc/passwd", "a/../../b", "a\\b", "c:x", "a\nb", "."] {
            assert!(inside(folder, name).is_err(), "{name:?}");
        }
    }
}
