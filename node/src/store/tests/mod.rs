//! Facts about the store, each in its own home.

mod admission;
mod anew;
pub(super) mod backup;
mod blobs;
mod cached;
mod chains;
mod changes;
mod crash;
mod crash_disk;
mod crash_disk_facts;
mod crash_disk_full;
mod crash_disk_life;
mod crash_disk_moves;
mod crash_disk_scenes;
mod delegates;
mod grounds;
mod kinds;
pub(super) mod life;
mod limits;
mod lists;
mod local;
mod migration;
mod partials;
mod publishing;
mod rebuild;
mod receipts;
mod regained;
mod sessions;
mod views;
mod world;

use std::path::Path;

use bytes::Bytes;

use super::{BlobInfo, Blobs, Error, Hashes, Store, blob::Staged};

/// A store whose blobs are files of its home, whatever is usual: for facts about those files, and
/// about room and eviction, of which a home with a bucket knows nothing.
pub(super) fn open_here(home: &Path) -> Store {
    Store::open_in(home, world::describe, Blobs::Here).unwrap()
}

/// Bytes that do not repeat within a group.
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&(size as u64).to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) async fn staged(store: &Store, bytes: &[u8]) -> Result<Staged, Error> {
    let mut writer = store.writer(Hashes::default(), u64::MAX).await?;
    for piece in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

pub(super) async fn stored(store: &Store, bytes: &[u8]) -> BlobInfo {
    let staged = staged(store, bytes).await.unwrap();
    store.commit(staged).await.unwrap()
}

pub(super) async fn content(store: &Store, info: &BlobInfo) -> Vec<u8> {
    let (_, mut file) = store.open_blob(&info.digest).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut file, &mut bytes).await.unwrap();
    bytes
}

/// Names of the files under a folder of the home, sorted.
pub(super) fn files(home: &Path, folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![home.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}
