//! Tables of places in upstreams' documents; those are kept that were made lately.
//!
//! A table is a pure function of the bytes and of the package that they are read as, so it is kept
//! under both: a warm document of 20 MB is rendered without being read twice. All tables of a
//! format together have a bound; one that is larger than it is made anew for each request. Nothing
//! here survives a restart.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt::{Digest, PackageId};
use tokio::sync::Semaphore;

use crate::http::error::Error;
use crate::registry::{Error as RegistryError, Registry};

/// Documents of a format that are read at once, each by a thread with this buffer.
const READERS: usize = 2;
const READ_BYTES: usize = 64 * 1024;

/// What knows how much memory it takes.
pub(super) trait Weigh {
    /// Bytes, roughly.
    fn bytes(&self) -> usize;
}

/// Reads a document of the package with that name.
pub(super) type Scan<T> = fn(name: &str, &mut dyn BufRead) -> Result<T, String>;

/// The tables of a format.
#[derive(Debug)]
pub(super) struct Tables<T> {
    kept: Mutex<Kept<T>>,
    reading: Semaphore,
}

impl<T: Weigh + Send + Sync + 'static> Tables<T> {
    /// With a bound on all that are kept, in bytes.
    pub(super) const fn new(max: usize) -> Self {
        Self { kept: Mutex::new(Kept::new(max)), reading: Semaphore::const_new(READERS) }
    }

    /// The table of a document that is held.
    ///
    /// # Errors
    /// When the document is gone, or cannot be read.
    pub(super) async fn get(
        &self,
        registry: &Registry,
        (package, document): (&PackageId, &Digest),
        scan: Scan<T>,
    ) -> Result<Arc<T>, Error> {
        let key = Digest::of(format!("{package} {document}").as_bytes());
        if let Some(known) = self.kept().get(&key) {
            return Ok(known);
        }
        // Nobody closes it.
        let _turn = self.reading.acquire().await;
        // Who waited may find that another one made it.
        if let Some(known) = self.kept().get(&key) {
            return Ok(known);
        }
        let file = registry.open_document(document).await?.into_std().await;
        let name = package.name.clone();
        let read = move || scan(&name, &mut BufReader::with_capacity(READ_BYTES, file));
        let scanned = tokio::task::spawn_blocking(read).await;
        let scanned = scanned.unwrap_or_else(|_| Err("the document could not be read".to_owned()));
        let table = Arc::new(scanned.map_err(RegistryError::not_here)?);
        self.kept().put(key, Arc::clone(&table));
        Ok(table)
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tables by digest; the one that was not used for longest goes first.
#[derive(Debug)]
struct Kept<T> {
    tables: BTreeMap<Digest, (u64, usize, Arc<T>)>,
    clock: u64,
    bytes: usize,
    max: usize,
}

impl<T: Weigh> Kept<T> {
    const fn new(max: usize) -> Self {
        Self { tables: BTreeMap::new(), clock: 0, bytes: 0, max }
    }

    fn get(&mut self, digest: &Digest) -> Option<Arc<T>> {
        self.clock += 1;
        let (used, _, table) = self.tables.get_mut(digest)?;
        *used = self.clock;
        Some(Arc::clone(table))
    }

    fn put(&mut self, digest: Digest, table: Arc<T>) {
        let bytes = table.bytes();
        if bytes > self.max {
            return;
        }
        self.clock += 1;
        if let Some((_, before, _)) = self.tables.insert(digest, (self.clock, bytes, table)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        while self.bytes > self.max {
            let oldest = self.tables.iter().min_by_key(|(_, (used, ..))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else { break };
            if let Some((_, bytes, _)) = self.tables.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn tables_are_kept_as_long_as_they_fit_and_the_least_used_goes_first() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let mut kept = Kept::new(30_000);
        for name in ["a", "b"] {
            kept.put(digest(name), Arc::new(12_000));
        }
        assert!(kept.get(&digest("a")).is_some());
        kept.put(digest("c"), Arc::new(12_000));
        let held = ["a", "b", "c"].map(|name| kept.get(&digest(name)).is_some());
        assert_eq!(held, [true, false, true]);
        kept.put(digest("huge"), Arc::new(40_000));
        assert!(kept.get(&digest("huge")).is_none() && kept.get(&digest("c")).is_some());
    }
}
