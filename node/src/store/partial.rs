//! Half downloads that survive a restart.
//!
//! A download is a sparse file of the blob's size, the hash tree as far as it is known, and a map
//! of the 16 KiB groups that were verified against the root before they were written. A checkpoint
//! syncs the data and the tree, then replaces the map, then syncs the names; so a group in the map
//! is on the disk, and a restart trusts the map. After a kill, what came since the last checkpoint
//! is fetched again.
//! [`Partial::finish`] reads everything once for the checksums, and hashes it with BLAKE3 again
//! then: a disk that lied about a sync is found before the blob exists.
//!
//! One flight a digest: while a [`Partial`] lives, a second one is [`Error::Busy`]. Does not know
//! peers; whom to blame for [`Error::WrongDigest`] is the caller's business.
//!
//! Map file: `"griotmap"` ‖ size u64 LE ‖ bits, least first ‖ BLAKE3 of all that (32 bytes).
//! Source: mesh.md section 6.3.

use std::io::{self, Cursor, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{DecodeResponseIter, OutboardMut};
use bao_tree::io::{BaoContentItem, DecodeError, Leaf};
use bytes::Bytes;
use crdt::Digest;

use super::blob::{clear_intent, now_seconds, place};
use super::changes::Scope;
use super::disk::{DiskFile, Opening};
use super::hashing::Hasher;
use super::outboard::{self, GROUP_BYTES, invalid};
use super::paths::Paths;
use super::{BlobInfo, Error, Hashes, Inner, Store, blocking, lock, remote};

pub use super::outboard::{RANGE_BYTES_MAX, encode};

const MAP_MAGIC: &[u8; 8] = b"griotmap";

/// One download: a sparse file, its bao tree and a bitmap of verified 16 KiB groups.
#[derive(Debug)]
pub struct Partial {
    digest: Digest,
    size: u64,
    store: Store,
    half: Arc<Mutex<Half>>,
}

/// The files and the map; shared with the blocking task of a call.
#[derive(Debug)]
struct Half {
    inner: Arc<Inner>,
    digest: Digest,
    size: u64,
    data: DiskFile,
    tree: PreOrderOutboard<DiskFile>,
    map: Vec<bool>,
    dirty: bool,
    _flight: Flight,
}

/// The right to download a digest.
#[derive(Debug)]
pub(super) struct Flight {
    inner: Arc<Inner>,
    digest: Digest,
}

impl Flight {
    pub(super) fn take(inner: &Arc<Inner>, digest: Digest) -> Result<Self, Error> {
        if lock(&inner.flights).insert(digest) {
            Ok(Self { inner: Arc::clone(inner), digest })
        } else {
            Err(Error::Busy { digest })
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.inner.flights).remove(&self.digest);
    }
}

impl Store {
    /// A download in progress, resumed if one was cut.
    ///
    /// # Errors
    /// [`Error::Busy`] while another [`Partial`] of the digest lives, [`Error::Full`] if `size`
    /// would not fit.
    pub async fn partial(&self, digest: &Digest, size: u64) -> Result<Partial, Error> {
        if !is_resumable(&self.inner, digest, size) {
            self.await_room(size).await?;
        }
        let flight = Flight::take(&self.inner, *digest)?;
        let inner = Arc::clone(&self.inner);
        let half = blocking(move || {
            let opened = Half::open(Arc::clone(&inner), flight, size);
            opened.map_err(|why| inner.explain(why, size))
        })
        .await?;
        let half = Arc::new(Mutex::new(half));
        Ok(Partial { digest: *digest, size, store: self.clone(), half })
    }
}

impl Partial {
    /// The blob that is being downloaded.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its size, as signed.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Byte ranges (of whole groups) that lack, at most `spans` of at most `span_bytes` each.
    #[must_use]
    pub fn missing(&self, spans: usize, span_bytes: u64) -> Vec<Range<u64>> {
        let half = lock(&self.half);
        let groups_max = (span_bytes / GROUP_BYTES).max(1);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let lacking = half.map.iter().enumerate().filter(|(_, held)| !**held);
        for group in lacking.map(|(group, _)| group as u64) {
            let full = ranges.len() == spans;
            match ranges.last_mut() {
                Some(last) if last.end == group && last.end - last.start < groups_max => {
                    last.end += 1;
                }
                _ if full => break,
                _ => ranges.push(group..group + 1),
            }
        }
        let bytes = |groups: Range<u64>| {
            groups.start * GROUP_BYTES..(groups.end * GROUP_BYTES).min(self.size)
        };
        ranges.into_iter().map(bytes).collect()
    }

    /// Verifies one bao-encoded response for `range` (whole groups) against the root and writes
    /// the groups that verify.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] at the first group that does not verify: those before it are kept,
    /// nothing after it is. `UnexpectedEof` if the response was cut: the groups before the cut are
    /// kept. `InvalidData` if it goes on behind the range.
    pub async fn accept(&mut self, range: Range<u64>, encoded: Bytes) -> Result<(), Error> {
        outboard::check_range(&range, self.size)?;
        if self.size == 0 {
            return if encoded.is_empty() { Ok(()) } else { Err(too_much()) };
        }
        let half = Arc::clone(&self.half);
        blocking(move || {
            let mut half = lock(&half);
            let inner = Arc::clone(&half.inner);
            let size = encoded.len() as u64;
            half.accept(&range, &encoded).map_err(|why| inner.explain(why, size))
        })
        .await
    }

    /// Makes what was verified so far survive a crash: data first, then the map. Called every
    /// 4 MiB or 2 s by the caller; dropping does it too, but on the thread that drops.
    ///
    /// # Errors
    /// When the disk refuses; the map before it still holds.
    pub async fn checkpoint(&mut self) -> Result<(), Error> {
        let half = Arc::clone(&self.half);
        blocking(move || {
            let mut half = lock(&half);
            let inner = Arc::clone(&half.inner);
            half.checkpoint().map_err(|why| inner.explain(why.into(), 0))
        })
        .await
    }

    /// Whether every group was verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        lock(&self.half).map.iter().all(|held| *held)
    }

    /// All groups verified: hashes once for checksums, syncs, renames, records.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] if the bytes on disk are not the blob after all; the download is
    /// then thrown away. `InvalidInput` if groups lack.
    pub async fn finish(self, hashes: Hashes) -> Result<BlobInfo, Error> {
        if !self.is_complete() {
            return Err(invalid("the download is not complete"));
        }
        let half = Arc::clone(&self.half);
        let inner = Arc::clone(&self.store.inner);
        let verify = move || lock(&half).verify(hashes).map_err(|why| inner.explain(why, 0));
        let info = blocking(verify).await?;
        let from = self.store.inner.paths.partial_data(&info.digest);
        // Whoever gave it has it still.
        let stays = self.store.send_first(&info, &from, true).await?.is_some();
        let placed = move |inner: &Inner, txn: &redb::WriteTransaction| {
            if stays {
                remote::note_unsent(txn, &info.digest)?;
            }
            place(inner, txn, &from, info).map(|(info, _)| info)
        };
        // No document that is kept lacks a blob.
        let info = self.store.write_scoped(|_| Some(Scope::none()), placed, settle).await?;
        self.store.sent(&info, stays);
        Ok(info)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(why) = lock(&self.half).checkpoint() {
            tracing::warn!(digest = %self.digest, %why, "a half download was not saved");
        }
    }
}

impl Half {
    fn open(inner: Arc<Inner>, flight: Flight, size: u64) -> Result<Self, Error> {
        let digest = flight.digest;
        // Invariant: `check_room` comes before anything of the size that a peer named.
        let resumed = if is_resumable(&inner, &digest, size) {
            read_map(&inner, &digest, size)
        } else {
            None
        };
        if resumed.is_none() {
            inner.check_room(size)?;
            if discard(&inner, &digest)? {
                // An old map that comes back would vouch for new files.
                inner.disk.sync_folder(&inner.paths.partials())?;
            }
        }
        let open = |path: &Path| inner.disk.open(path, Opening::Kept);
        let data = open(&inner.paths.partial_data(&digest))?;
        let tree = open(&inner.paths.partial_tree(&digest))?;
        let shape = outboard::shape(size);
        data.set_len(size)?;
        tree.set_len(shape.outboard_size())?;
        let tree = PreOrderOutboard { root: outboard::hash(&digest), tree: shape, data: tree };
        let map = match resumed {
            Some(map) => map,
            None => vec![false; groups(size)?],
        };
        Ok(Self { inner, digest, size, data, tree, map, dirty: false, _flight: flight })
    }

    fn accept(&mut self, range: &Range<u64>, encoded: &[u8]) -> Result<(), Error> {
        let mut reader = Cursor::new(encoded);
        let chunks = outboard::chunks(range);
        let (root, shape) = (self.tree.root, self.tree.tree);
        for item in DecodeResponseIter::new(root, shape, &mut reader, &chunks) {
            match item.map_err(|why| refusal(self.digest, why))? {
                BaoContentItem::Parent(parent) => self.tree.save(parent.node, &parent.pair)?,
                BaoContentItem::Leaf(leaf) => self.write_group(&leaf)?,
            }
        }
        if reader.position() < encoded.len() as u64 { Err(too_much()) } else { Ok(()) }
    }

    fn write_group(&mut self, leaf: &Leaf) -> Result<(), Error> {
        let group = usize::try_from(leaf.offset / GROUP_BYTES).map_err(io::Error::other)?;
        if let Some(held) = self.map.get_mut(group) {
            self.data.write_all_at(leaf.offset, &leaf.data)?;
            *held = true;
            self.dirty = true;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.data.sync()?;
        self.tree.data.sync()?;
        let disk = &self.inner.disk;
        let path = self.inner.paths.partial_map(&self.digest);
        let new = path.with_extension("map-new");
        let file = disk.open(&new, Opening::Empty)?;
        file.write_all_at(0, &map_bytes(self.size, &self.map))?;
        file.sync()?;
        disk.rename(&new, &path)?;
        disk.sync_folder(&self.inner.paths.partials())?;
        self.dirty = false;
        Ok(())
    }

    /// Reads the whole file: checksums, and the last word on BLAKE3.
    fn verify(&mut self, hashes: Hashes) -> Result<BlobInfo, Error> {
        self.data.sync()?;
        self.tree.data.sync()?;
        let mut hasher = Hasher::new(hashes);
        let mut file = fs_err::File::open(self.inner.paths.partial_data(&self.digest))?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        // A crash between rename and record finds the map, and gives the file back to it.
        self.checkpoint()?;
        let (size, digest, checksums) = hasher.finish();
        if digest != self.digest {
            discard(&self.inner, &self.digest)?;
            return Err(Error::WrongDigest { expected: self.digest });
        }
        Ok(BlobInfo { digest, size, checksums, stored: now_seconds() })
    }
}

/// After the record: the tree is kept for sending, the rest of the download goes.
fn settle(inner: &Inner, info: &BlobInfo) {
    let digest = &info.digest;
    clear_intent(inner, digest);
    if info.size > outboard::TREE_KEPT_ABOVE_BYTES {
        let _ = inner.disk.rename(&inner.paths.partial_tree(digest), &inner.paths.tree(digest));
    }
    if let Err(why) = discard(inner, digest) {
        tracing::warn!(%digest, %why, "the rest of a download was not removed");
    }
}

/// Removes all files of a half download. Says whether there were any.
pub(super) fn discard(inner: &Inner, digest: &Digest) -> io::Result<bool> {
    let paths = &inner.paths;
    let mut found = false;
    for of in [Paths::partial_map, Paths::partial_tree, Paths::partial_data] {
        let path = of(paths, digest);
        if path.exists() {
            inner.disk.remove(&path)?;
            found = true;
        }
    }
    Ok(found)
}

/// Whether the sparse file of a download of this size is there.
fn is_resumable(inner: &Inner, digest: &Digest, size: u64) -> bool {
    fs_err::metadata(inner.paths.partial_data(digest)).is_ok_and(|file| file.len() == size)
}

/// The verified groups, if a sound map for this size is there.
fn read_map(inner: &Inner, digest: &Digest, size: u64) -> Option<Vec<bool>> {
    let bytes = fs_err::read(inner.paths.partial_map(digest)).ok()?;
    let groups = groups(size).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    let bits = body.strip_prefix(MAP_MAGIC)?.strip_prefix(&size.to_le_bytes())?;
    if blake3::hash(body) != *sum || bits.len() != groups.div_ceil(8) {
        return None;
    }
    Some((0..groups).map(|group| bits[group / 8] >> (group % 8) & 1 == 1).collect())
}

fn map_bytes(size: u64, map: &[bool]) -> Vec<u8> {
    let mut bytes = MAP_MAGIC.to_vec();
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend(map.chunks(8).map(|eight| {
        eight.iter().enumerate().fold(0_u8, |byte, (bit, held)| byte | u8::from(*held) << bit)
    }));
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// How many groups a blob has.
fn groups(size: u64) -> Result<usize, Error> {
    usize::try_from(size.div_ceil(GROUP_BYTES)).map_err(|_| Error::TooLarge { limit: u64::MAX })
}

/// What a response that does not decode means.
fn refusal(expected: Digest, why: DecodeError) -> Error {
    match why {
        DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => {
            Error::WrongDigest { expected }
        }
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the response was cut").into()
        }
        DecodeError::Io(why) => why.into(),
    }
}

fn too_much() -> Error {
    io::Error::new(io::ErrorKind::InvalidData, "more bytes than the range has").into()
}
