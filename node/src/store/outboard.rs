//! The sender's side of verified streaming: bao encodings of ranges of held blobs.
//!
//! A range travels with the hash pairs that lead to it from the root, and the root is the blob's
//! own BLAKE3, so the receiver trusts nobody. Groups are 16 KiB: the smallest unit that survives a
//! cut, at 0.4 % overhead. Of blobs up to 1 MiB the tree is made anew for each range, in memory;
//! of larger ones it is made once and kept in `outboard/`, where it can be deleted at any time.
//! The bytes are not hashed again on the way out: a receiver sees any damage at its group.
//!
//! Source: mesh.md section 6.2.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bao_tree::io::outboard::{PreOrderMemOutboard, PreOrderOutboard};
use bao_tree::io::sync::{CreateOutboard, encode_ranges};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use bytes::Bytes;
use crdt::Digest;

use super::blob::{Temporary, record};
use super::{Error, Inner, Store, blocking};

/// 16 KiB.
pub(super) const GROUP_BYTES: u64 = 16 << 10;
/// The same, as bao-tree counts it.
pub(super) const BLOCK: BlockSize = BlockSize::from_chunk_log(4);
/// The longest range that is encoded at once.
pub const RANGE_BYTES_MAX: u64 = 1 << 20;
/// Blobs above this size keep their tree on disk.
pub(super) const TREE_KEPT_ABOVE_BYTES: u64 = 1 << 20;

/// Sender's side: the bao encoding of a range of a held blob; `None` if it is not held.
///
/// `range` starts at a group and ends at a group or at the end of the blob, and is at most
/// [`RANGE_BYTES_MAX`] long.
///
/// # Errors
/// `InvalidInput` for another range, [`Error::WrongDigest`] if the bytes at rest are damaged and
/// that was noticed while the tree was made.
pub async fn encode(
    store: &Store,
    digest: &Digest,
    range: Range<u64>,
) -> Result<Option<Bytes>, Error> {
    let Some(info) = record(&store.read()?, digest)? else { return Ok(None) };
    check_range(&range, info.size)?;
    if range.end - range.start > RANGE_BYTES_MAX {
        return Err(invalid("a range of more than 1 MiB"));
    }
    if info.size == 0 {
        return Ok(Some(Bytes::new()));
    }
    let Some((_, file)) = store.open_blob(digest).await? else { return Ok(None) };
    let file = file.into_std().await;
    let (inner, digest) = (Arc::clone(&store.inner), *digest);
    if info.size <= TREE_KEPT_ABOVE_BYTES {
        return blocking(move || encode_small(file, &range)).await.map(Some);
    }
    make_tree(store, &digest, info.size).await?;
    blocking(move || {
        let tree = fs_err::File::open(inner.paths.tree(&digest))?.into_parts().0;
        let tree = PreOrderOutboard { root: hash(&digest), tree: shape(info.size), data: tree };
        let mut encoded = Vec::new();
        encode_ranges(&file, &tree, &chunks(&range), &mut encoded).map_err(io::Error::from)?;
        Ok(Some(encoded.into()))
    })
    .await
}

/// Encodes out of memory.
fn encode_small(mut file: std::fs::File, range: &Range<u64>) -> Result<Bytes, Error> {
    let mut data = Vec::new();
    io::Read::read_to_end(&mut file, &mut data)?;
    let tree = PreOrderMemOutboard::create(&data, BLOCK);
    let mut encoded = Vec::new();
    encode_ranges(data.as_slice(), &tree, &chunks(range), &mut encoded).map_err(io::Error::from)?;
    Ok(encoded.into())
}

/// Makes the tree of a large blob, unless it is there.
async fn make_tree(store: &Store, digest: &Digest, size: u64) -> Result<(), Error> {
    let path = store.inner.paths.tree(digest);
    if path.exists() {
        return Ok(());
    }
    let _turn = store.inner.tree_maker.lock().await;
    if path.exists() {
        return Ok(());
    }
    let (inner, digest) = (Arc::clone(&store.inner), *digest);
    blocking(move || write_tree(&inner, &digest, size).map_err(|why| inner.explain(why, 0))).await
}

/// Reads the blob once and leaves its tree under its name, synced.
fn write_tree(inner: &Inner, digest: &Digest, size: u64) -> Result<(), Error> {
    let data = fs_err::File::open(inner.paths.blob(digest))?;
    let (temporary, file) = Temporary::create(inner)?;
    let mut tree = PreOrderOutboard { root: hash(digest), tree: shape(size), data: file };
    tree.init_from(io::BufReader::with_capacity(1 << 18, data))?;
    if tree.root != hash(digest) {
        tracing::error!(%digest, "the bytes at rest are damaged");
        return Err(Error::WrongDigest { expected: *digest });
    }
    tree.data.sync()?;
    inner.disk.rename(temporary.path(), &inner.paths.tree(digest))?;
    temporary.renamed();
    Ok(())
}

/// The tree's geometry.
pub(super) fn shape(size: u64) -> BaoTree {
    BaoTree::new(size, BLOCK)
}

/// Our digest is the root.
pub(super) fn hash(digest: &Digest) -> blake3::Hash {
    blake3::Hash::from_bytes(*digest.as_bytes())
}

/// A byte range in BLAKE3's chunks of 1 KiB.
pub(super) fn chunks(range: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum(range.start / 1024)..ChunkNum(range.end.div_ceil(1024)))
}

/// Accepts only whole groups within the blob.
pub(super) fn check_range(range: &Range<u64>, size: u64) -> Result<(), Error> {
    let whole = |at: u64| at.is_multiple_of(GROUP_BYTES);
    if range.end > size || (range.start >= range.end && size > 0) {
        return Err(invalid("a range outside of the blob"));
    }
    if !whole(range.start) || !(whole(range.end) || range.end == size) {
        return Err(invalid("a range that is not of whole groups"));
    }
    Ok(())
}

/// A caller's or a peer's mistake.
pub(super) fn invalid(what: &str) -> Error {
    io::Error::new(io::ErrorKind::InvalidInput, what).into()
}
