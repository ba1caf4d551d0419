//! Documents ready to be sent: made when the index changes, not when they are asked for.
//!
//! ```text
//!  request ─▶ key ─▶ held, and its stamp still good? ─▶ the form that the client takes, as it is
//!                          │ no
//!                          ▼
//!             one look-up for all who ask now ─▶ same bytes? a new stamp : rendered and packed
//!  commit  ─▶ names of packages ─▶ their documents that somebody asked for: the same, behind
//! ```
//!
//! The key is everything of a request that the bytes depend on; the stamp vouches for everything
//! else (`registry::Stamp`) without a look at the database. So an answer is never older than the
//! last acknowledged change, and costs what a file in memory costs.
//!
//! Memory has one bound, for all documents with all forms and what the table takes. The second hand
//! of a clock goes round: what was not asked for since it came by goes first. No document takes
//! more than an eighth; a larger one is read from where it lies, with its packed forms held.
//!
//! Does not render: a format gives the bytes, and how to make them again. Nothing here survives a
//! restart, and nothing needs to.
//!
//! Source: DESIGN section 9.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use crdt::PackageId;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::broadcast;

use super::error::Error;
use crate::registry::{Registry, Stamp};

mod document;
mod negotiate;
mod pack;
mod shelf;
#[cfg(test)]
mod tests;

pub use document::{Document, Label, Open, Plain, Read};

use document::Settling;
use pack::{Job, Line};
use shelf::{Entry, Shelf};

/// Memory for all documents, in bytes, unless the person says otherwise.
pub const MEMORY_BYTES: usize = 64 << 20;
/// One document gets no more than this part of it.
const PART: usize = 8;
/// Documents up to this are packed before the first answer, larger ones behind it.
const PACKED_FIRST_MAX_BYTES: u64 = 256 * 1024;

/// Makes the documents of a package again, behind.
pub type Again = Arc<dyn Fn(Ready) -> BoxFuture<'static, ()> + Send + Sync>;

/// A document, as it is answered now.
#[derive(Debug, Clone)]
pub struct Found {
    /// With its forms.
    pub document: Arc<Document>,
    /// Seconds since its upstream confirmed it; absent for one of a realm.
    pub age: Option<u64>,
    /// Whether it is older than it may be, or its upstream is out of reach.
    pub stale: bool,
}

/// What a document is kept under.
#[derive(Clone)]
pub struct Place {
    /// Everything of a request that the bytes depend on.
    pub key: Arc<str>,
    /// Whose changes make it another one.
    pub package: PackageId,
    /// Makes it again.
    pub again: Again,
    /// Whether a client waits for it: else it is made early.
    pub asked: bool,
}

/// What a format has rendered.
pub struct Made {
    /// What its headers say.
    pub label: Label,
    /// The bytes.
    pub plain: Plain,
    /// Where they are not held: writes them, to be packed.
    pub read: Option<Read>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("key", &self.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("label", &self.label).finish_non_exhaustive()
    }
}

/// A handle; clones are cheap.
#[derive(Clone)]
pub struct Ready {
    inner: Arc<Inner>,
}

type Flight = BoxFuture<'static, Result<Found, Error>>;

struct Inner {
    max: usize,
    shelf: RwLock<Shelf>,
    flights: Mutex<HashMap<String, WeakShared<Flight>>>,
    line: Line,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("max", &self.inner.max).finish_non_exhaustive()
    }
}

impl Ready {
    /// With a bound on its memory, in bytes; 0 keeps nothing.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let (shelf, flights) = (RwLock::new(Shelf::new(max)), Mutex::default());
        Self { inner: Arc::new(Inner { max, shelf, flights, line: Line::default() }) }
    }

    /// The largest document that is held as it is, in bytes.
    #[must_use]
    pub fn part(&self) -> usize {
        self.inner.max / PART
    }

    /// Memory that is taken, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shelf(|shelf| shelf.bytes())
    }

    /// What is held under a key, if nothing has changed since.
    #[must_use]
    pub fn fresh(&self, registry: &Registry, key: &str, refresh: bool) -> Option<Found> {
        let (document, stamp) = self.shelf(|shelf| shelf.get(key))?;
        let stamp = stamp.filter(|stamp| registry.vouches(stamp, refresh))?;
        Some(Found { document, age: stamp.age(), stale: false })
    }

    /// The document under a key with that label, whatever its stamp: its bytes are the same.
    #[must_use]
    pub fn same(&self, key: &str, label: &Label) -> Option<Arc<Document>> {
        let (document, _) = self.shelf(|shelf| shelf.get(key))?;
        (document.label() == label).then_some(document)
    }

    /// The outcome of `look`, together with all who ask for the same now.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn together(
        &self,
        key: String,
        look: impl FnOnce() -> BoxFuture<'static, Result<Found, Error>>,
    ) -> Result<Found, Error> {
        let flight: Shared<Flight> = {
            let mut flights = lock(&self.inner.flights);
            let known = flights.get(&key).and_then(WeakShared::upgrade);
            known.unwrap_or_else(|| {
                let flight = look().shared();
                flights.retain(|_, flight| flight.upgrade().is_some());
                flights.extend(flight.downgrade().map(|weak| (key, weak)));
                flight
            })
        };
        flight.await
    }

    /// Keeps a document that was known before under a new stamp.
    pub fn keep(&self, place: &Place, document: &Arc<Document>, stamp: Option<Stamp>) {
        let entry = Entry::new(place, Arc::clone(document), stamp);
        self.inner.shelf.write().unwrap_or_else(PoisonError::into_inner).put(entry);
    }

    /// Packs and keeps a document. A large one is answered before its packed forms are made.
    ///
    /// # Errors
    /// When its label is not one that HTTP can carry.
    pub async fn put(
        &self,
        place: &Place,
        made: Made,
        stamp: Option<Stamp>,
    ) -> Result<Arc<Document>, Error> {
        let Made { label, plain, read } = made;
        let document = Arc::new(Document::new(label, plain)?);
        let (most, settling) = (self.part(), Settling(Arc::clone(&document)));
        let read = read.or_else(|| document.held().map(writes));
        if let Some(read) = read {
            if document.size() <= PACKED_FIRST_MAX_BYTES {
                let packing = tokio::task::spawn_blocking(move || settling.pack(read, most));
                // If it broke, the document is there as it is.
                drop(packing.await);
            } else {
                let (this, of) = (Arc::downgrade(&self.inner), Arc::clone(&document));
                let key = Arc::clone(&place.key);
                let after = Box::new(move || {
                    if let Some(inner) = this.upgrade() {
                        let shelf = inner.shelf.write();
                        shelf.unwrap_or_else(PoisonError::into_inner).weigh(&key, &of);
                    }
                });
                self.inner.line.join(Job { settling, read, after }, most);
            }
        }
        self.keep(place, &document, stamp);
        Ok(document)
    }

    /// Makes documents again when their packages have changed, those that were asked for since they
    /// were made last. Ends with the store.
    pub async fn keep_warm(self, mut changed: broadcast::Receiver<PackageId>) {
        loop {
            let mut packages = BTreeSet::new();
            match changed.recv().await {
                Ok(package) => packages.insert(package),
                // The next who asks makes what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => false,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            while let Ok(package) = changed.try_recv() {
                packages.insert(package);
            }
            for package in packages {
                let wanted = self.shelf(|shelf| shelf.wanted(&package));
                for again in wanted {
                    again(self.clone()).await;
                }
            }
        }
    }

    fn shelf<T>(&self, look: impl FnOnce(&Shelf) -> T) -> T {
        look(&self.inner.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn writes(bytes: Bytes) -> Read {
    Box::new(move |out| out.write_all(&bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
