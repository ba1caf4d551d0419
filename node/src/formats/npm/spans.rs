//! Where things stand in the bytes of a packument; and those tables that were made lately.
//!
//! A table is a pure function of the bytes, so it is kept under their digest: a warm packument of
//! 20 MB is rendered without being read twice. All tables together have a bound; one that is
//! larger than it is made anew for each request. Nothing here survives a restart.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crdt::Digest;
use tokio::sync::Semaphore;

use super::upstream_outline;
use crate::formats::splice::Span;
use crate::http::error::Error;
use crate::registry::{Error as RegistryError, Registry};

/// All tables that are kept.
const KEPT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Packuments that are read at once, each by a thread with this buffer.
const READERS: usize = 2;
const READ_BYTES: usize = 64 * 1024;

/// The places of a document that renderings change.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Bytes of the document.
    pub(super) size: u64,
    /// The package's name, decoded.
    pub(super) written: Box<str>,
    /// Just before the first member of the document.
    pub(super) first: Option<Span>,
    /// Whether it has members that an abbreviated document has not.
    pub(super) full: bool,
    pub(super) name: Option<Span>,
    pub(super) tags: Option<Span>,
    pub(super) modified: Option<Span>,
    pub(super) time_modified: Option<Span>,
    pub(super) versions: List<Entry>,
    pub(super) times: List<Time>,
    /// Runs of members that an install reads, of all versions.
    pub(super) fields: Vec<Span>,
}

/// The members of an object, in the order of the bytes.
#[derive(Debug)]
pub(super) struct List<T> {
    /// The object with its brackets.
    pub(super) place: Option<Span>,
    pub(super) entries: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { place: None, entries: Vec::new() }
    }
}

/// A member of `versions`.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its key, decoded.
    pub(super) written: Box<str>,
    /// Absent where the outline does not have it.
    pub(super) normal: Option<Box<str>>,
    /// Key and value.
    pub(super) member: Span,
    pub(super) value: Span,
    /// `dist.tarball`, decoded, and the place of the string.
    pub(super) tarball: Option<(Box<str>, Span)>,
    /// Which of [`Table::fields`]; absent for what is no object.
    pub(super) fields: Option<(u32, u32)>,
    /// Whether its scripts run at an install although it does not say so.
    pub(super) adds_scripts: bool,
}

/// A member of `time`.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) normal: Option<Box<str>>,
    pub(super) member: Span,
}

impl Table {
    /// Adds runs of members; gives their place among all.
    pub(super) fn add_fields(&mut self, runs: &[Span]) -> Option<(u32, u32)> {
        let first = u32::try_from(self.fields.len()).ok()?;
        self.fields.extend_from_slice(runs);
        Some((first, u32::try_from(self.fields.len()).ok()?))
    }

    /// The runs of an entry.
    pub(super) fn runs(&self, entry: &Entry) -> Option<&[Span]> {
        let (first, last) = entry.fields?;
        self.fields.get(first as usize..last as usize)
    }

    /// Memory, roughly.
    fn bytes(&self) -> usize {
        let entry = |entry: &Entry| {
            let url = entry.tarball.as_ref().map_or(0, |(url, _)| url.len());
            size_of::<Entry>() + 2 * entry.written.len() + url
        };
        self.versions.entries.iter().map(entry).sum::<usize>()
            + self.times.entries.len() * (size_of::<Time>() + 16)
            + self.fields.len() * size_of::<Span>()
            + size_of::<Self>()
    }
}

/// The table of a document that is held.
pub(super) async fn table(registry: &Registry, digest: &Digest) -> Result<Arc<Table>, Error> {
    static READING: Semaphore = Semaphore::const_new(READERS);
    if let Some(known) = kept().get(digest) {
        return Ok(known);
    }
    let _turn = READING.acquire().await;
    // Who waited may find that another one made it.
    if let Some(known) = kept().get(digest) {
        return Ok(known);
    }
    let file = registry.open_document(digest).await?.into_std().await;
    let read = move || upstream_outline::scan(&mut BufReader::with_capacity(READ_BYTES, file));
    let scanned = tokio::task::spawn_blocking(read).await;
    let scanned = scanned.unwrap_or_else(|_| Err("the packument could not be read".to_owned()));
    let (_, table) = scanned.map_err(RegistryError::not_here)?;
    let table = Arc::new(table);
    kept().put(*digest, Arc::clone(&table));
    Ok(table)
}

fn kept() -> std::sync::MutexGuard<'static, Kept> {
    static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(|| Mutex::new(Kept::new(KEPT_MAX_BYTES)));
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tables by digest; the one that was not used for longest goes first.
#[derive(Debug)]
pub(super) struct Kept {
    tables: BTreeMap<Digest, (u64, usize, Arc<Table>)>,
    clock: u64,
    bytes: usize,
    max: usize,
}

impl Kept {
    pub(super) const fn new(max: usize) -> Self {
        Self { tables: BTreeMap::new(), clock: 0, bytes: 0, max }
    }

    pub(super) fn get(&mut self, digest: &Digest) -> Option<Arc<Table>> {
        self.clock += 1;
        let (used, _, table) = self.tables.get_mut(digest)?;
        *used = self.clock;
        Some(Arc::clone(table))
    }

    pub(super) fn put(&mut self, digest: Digest, table: Arc<Table>) {
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
