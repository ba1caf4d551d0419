//! Packs held documents for peers, a few at a time, and keeps what was packed.
//!
//! Packing runs on threads that may block: one large document at a time, or two small ones; the
//! queue is bounded, and who comes later is told to ask again. What was packed stays in memory, at
//! most [`KEPT_BYTES_MAX`], the least recently used goes first: a village that asks for one
//! document costs one packing. Callers who want the same one wait for the same packing. Whether a
//! peer may have the document is not judged here. Lost at a restart.
//!
//! Source: trust.md section 10, mesh.md section 6.4.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crdt::Digest;
use tokio::sync::{OnceCell, Semaphore};

use super::pack::{self, DOCUMENT_BYTES_MAX};
use crate::store::{self, Store};

/// Packed bytes that stay in memory.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Packed documents that stay in memory.
const KEPT_MAX: usize = 4_096;
/// Packings at a time.
const PACKINGS_MAX: u32 = 2;
/// A document and a base that together have more are packed alone.
const LARGE_BYTES: u64 = 8 * 1024 * 1024;
/// Packings under way and waiting; a further one is told to come again.
const QUEUE_MAX: usize = 32;

/// A document, and the base of the patch.
pub(super) type Key = (Digest, Option<Digest>);
/// `None`: too large to be packed.
type Packed = Option<Bytes>;

/// Why a document was not packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("too much is being packed")]
    Busy,
    #[error("it is not held whole")]
    Gone,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What packs.
#[derive(Debug)]
pub(super) struct Packings {
    store: Store,
    turns: Arc<Semaphore>,
    queue: Semaphore,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Key, (Arc<OnceCell<Packed>>, u64)>,
    uses: u64,
}

impl Packings {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(PACKINGS_MAX as usize)),
            queue: Semaphore::new(QUEUE_MAX),
            kept: Mutex::default(),
        }
    }

    /// Whether it is here already: it costs nothing then.
    pub(super) fn is_kept(&self, key: &Key) -> bool {
        self.kept().cells.get(key).is_some_and(|(cell, _)| cell.initialized())
    }

    /// The packed bytes; `None` when there are too many.
    pub(super) async fn get(&self, key: Key) -> Result<Packed, Trouble> {
        let cell = self.kept().cell(key);
        let packed = cell.get_or_try_init(|| self.pack(key)).await.cloned();
        drop(cell);
        self.kept().shrink();
        packed
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A map is whole between two calls, whatever happened to who held it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pack(&self, (digest, base): Key) -> Result<Packed, Trouble> {
        let _place = self.queue.try_acquire().map_err(|_| Trouble::Busy)?;
        let (info, body) = self.store.open_blob(&digest).await?.ok_or(Trouble::Gone)?;
        let mut both = info.size;
        let mut under = None;
        if let Some(base) = base {
            let (info, file) = self.store.open_blob(&base).await?.ok_or(Trouble::Gone)?;
            both = both.saturating_add(info.size);
            under = Some((base, file.into_std().await));
        }
        let body = body.into_std().await;
        let share = if both > LARGE_BYTES { PACKINGS_MAX } else { 1 };
        // The semaphore is never closed. The turn goes along, or one who hangs up would free it
        // while his work still runs.
        let turn = Arc::clone(&self.turns).acquire_many_owned(share).await.ok();
        let work = move || {
            let packed = pack_file((digest, info.size), body, under);
            drop(turn);
            packed
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(packed) => packed.map_err(|error| store::Error::Io(error).into()),
            Err(died) if died.is_panic() => std::panic::resume_unwind(died.into_panic()),
            Err(_) => Err(Trouble::Busy),
        }
    }
}

impl Kept {
    fn cell(&mut self, key: Key) -> Arc<OnceCell<Packed>> {
        self.uses += 1;
        let (cell, used) = self.cells.entry(key).or_default();
        *used = self.uses;
        Arc::clone(cell)
    }

    /// Drops what was used longest ago until the rest fits, and what came to nothing.
    fn shrink(&mut self) {
        let is_alive =
            |cell: &Arc<OnceCell<Packed>>| cell.initialized() || Arc::strong_count(cell) > 1;
        self.cells.retain(|_, (cell, _)| is_alive(cell));
        let length = |cell: &OnceCell<Packed>| cell.get().and_then(Option::as_ref).map(Bytes::len);
        let mut bytes: usize = self.cells.values().filter_map(|(cell, _)| length(cell)).sum();
        while bytes > KEPT_BYTES_MAX || self.cells.len() > KEPT_MAX {
            let whole = self.cells.iter().filter(|(_, (cell, _))| cell.initialized());
            let Some(oldest) = whole.min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key) else {
                return;
            };
            let dropped = self.cells.remove(&oldest);
            bytes -= dropped.and_then(|(cell, _)| length(&cell)).unwrap_or_default();
        }
    }
}

/// Packs a file, hashing it in the same pass: what our disk has lost must not look like a lie.
fn pack_file(
    (digest, size): (Digest, u64),
    body: std::fs::File,
    base: Option<(Digest, std::fs::File)>,
) -> io::Result<Packed> {
    let lies = |digest: Digest| {
        let what = format!("the file of {digest} has other bytes");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let mut under = Vec::new();
    if let Some((digest, file)) = &base {
        file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut under)?;
        if Digest::of(&under) != *digest {
            return Err(lies(*digest));
        }
    }
    let mut body = Hashing { file: body, hasher: blake3::Hasher::new() };
    let packed = pack::pack(&mut body, size, base.is_some().then_some(under.as_slice()))?;
    if packed.is_some() && body.hasher.finalize().as_bytes() != digest.as_bytes() {
        return Err(lies(digest));
    }
    Ok(packed.map(Bytes::from))
}

/// Hashes what is read.
struct Hashing {
    file: std::fs::File,
    hasher: blake3::Hasher,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Hashes;

    async fn keep(store: &Store, bytes: Vec<u8>) -> Digest {
        let mut writer = store.writer(Hashes::default(), 1 << 30).await.expect("room");
        writer.write(bytes.into()).await.expect("room");
        let staged = writer.finish().await.expect("hashes");
        store.commit(staged).await.expect("is kept").digest
    }

    #[tokio::test]
    async fn what_was_packed_is_kept_and_a_file_that_lies_is_not_packed() {
        let home = tempfile::tempdir().expect("a folder");
        let store = Store::open(home.path()).expect("a fresh store");
        let digest = keep(&store, vec![7; 100_000]).await;
        let packings = Packings::new(store.clone());
        assert!(!packings.is_kept(&(digest, None)));
        let (one, two) = tokio::join!(packings.get((digest, None)), packings.get((digest, None)));
        let (one, two) = (one.expect("packs").expect("small"), two.expect("packs").expect("small"));
        assert_eq!(one.as_ptr(), two.as_ptr(), "packed once");
        assert!(packings.is_kept(&(digest, None)));
        let hex = digest.to_hex();
        let path = home.path().join("blobs").join(&hex[..2]).join(&hex);
        fs_err::remove_file(&path).expect("is removed");
        fs_err::write(&path, vec![8; 100_000]).expect("is damaged");
        assert!(packings.get((digest, None)).await.is_ok(), "from memory");
        let again = Packings::new(store);
        assert!(matches!(again.get((digest, None)).await, Err(Trouble::Store(_))));
        assert!(again.kept().cells.is_empty(), "a failure is not kept");
        assert!(matches!(again.get((Digest::of(b"?"), None)).await, Err(Trouble::Gone)));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_least_used_goes() {
        let mut kept = Kept::default();
        let name = |at: usize| (Digest::of(at.to_string().as_bytes()), None);
        let third = Bytes::from(vec![0; KEPT_BYTES_MAX / 3]);
        for at in 0..3 {
            kept.cell(name(at)).set(Some(third.clone())).expect("is empty");
        }
        kept.shrink();
        assert_eq!(kept.cells.len(), 3);
        kept.cell(name(0));
        kept.cell(name(3)).set(Some(third)).expect("is empty");
        kept.shrink();
        assert!(kept.cells.contains_key(&name(0)) && !kept.cells.contains_key(&name(1)));
        for at in 10..10 + KEPT_MAX {
            kept.cell(name(at)).set(None).expect("is empty");
        }
        kept.shrink();
        assert_eq!(kept.cells.len(), KEPT_MAX);
    }
}
