//! Documents ready to be sent: made when the index changes, not when they are asked for.
//!
//! ```text
//!  request ─▶ key ─▶ held, and its stamp still good? ─▶ the form that the client takes, as it is
//!                          │ no
//!                          ▼
//!             one look-up for all who ask now ─▶ its seed
//!                          │
//!        held with that seed? ─▶ a new stamp     stored with it? ─▶ read back
//!                          │ neither
//!                          ▼
//!                     rendered, packed, stored
//!  commit  ─▶ names of packages ─▶ their documents that somebody asked for: the same, behind
//! ```
//!
//! A format has all of this for one call of [`Ready::answer`]: it gives a key of everything in the
//! request that the bytes depend on, and a [`Look`] that looks the package up and says by a
//! [`Seed`] what the bytes will be. The seed is a hash of contents and of the code that renders, so
//! that bytes made before a restart are known again without being made; who changes a rendering
//! raises the number in the name that his format gives to [`Seed::of`]. Whatever is not in the key
//! or in the package's own numbers must take the stamp away, and is then looked up each time.
//!
//! The stamp vouches for everything but the request (`registry::Stamp`) without a look at the
//! database. So an answer is never older than the last acknowledged change, and costs what a file
//! in memory costs; a change of another package costs it nothing (`store::changes`).
//!
//! Memory has one bound, for all documents with all forms and what the table takes. The second hand
//! of a clock goes round: what was not asked for since it came by goes first. No document takes
//! more than an eighth; a larger one is read from where it lies, with its packed forms held. What a
//! restart should not make again is in a folder with a bound of its own: see `stored`.
//!
//! Does not render: a format gives the bytes, and how to make them again.
//!
//! Source: DESIGN section 9.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use crdt::PackageId;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::broadcast;

use super::error::Error;
use crate::registry::{Registry, Stamp};

mod ask;
mod document;
mod negotiate;
mod pack;
mod shelf;
mod stored;
#[cfg(test)]
mod tests;

pub use ask::{Ask, Lies, Look, Looked, Made, Render, Seed, Wish};
pub use document::{Document, Label, Open, Plain, Read};
pub use stored::{DISK_BYTES, Folder, HasRoom};

use ask::Order;
use document::Settling;
use pack::Line;
use shelf::{Entry, Shelf};
use stored::{STORED_MIN_BYTES, Stored};

/// Memory for all documents, in bytes, unless the person says otherwise.
pub const MEMORY_BYTES: usize = 64 << 20;
/// One document gets no more than this part of it.
const PART: usize = 8;
/// Documents up to this are packed before the first answer, larger ones behind it.
const PACKED_FIRST_MAX_BYTES: u64 = 256 * 1024;

/// Makes the documents of a package again, behind.
type Again = Arc<dyn Fn(Ready) -> BoxFuture<'static, ()> + Send + Sync>;

/// A document, as it is answered now.
#[derive(Debug, Clone)]
struct Found {
    /// With its forms.
    document: Arc<Document>,
    /// Seconds since its upstream confirmed it; absent for one of a realm.
    age: Option<u64>,
    /// Whether it is older than it may be, or its upstream is out of reach.
    stale: bool,
}

/// What a document is kept under.
#[derive(Clone)]
struct Place {
    /// Everything of a request that the bytes depend on.
    key: Arc<str>,
    /// Whose changes make it another one.
    package: PackageId,
    /// Makes it again; absent where that is not worth it.
    again: Option<Again>,
    /// Whether a client waits for it: else it is made early.
    asked: bool,
}

/// What was done since the start, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that the store was asked what a document is made from.
    pub looks: u64,
    /// Documents rendered.
    pub rendered: u64,
    /// Documents packed.
    pub packed: u64,
    /// Documents read back from the folder.
    pub read_back: u64,
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
    folder: Option<Folder>,
    /// Looks, renderings, packings, readings: see [`Counts`].
    done: [AtomicU64; 4],
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("max", &self.inner.max).finish_non_exhaustive()
    }
}

impl Ready {
    /// With a bound on its memory, in bytes; 0 keeps nothing. Nothing survives a restart without a
    /// folder.
    #[must_use]
    pub fn new(max: usize, folder: Option<Folder>) -> Self {
        let folder = folder.map(|folder| folder.of_forms_up_to((max / PART) as u64));
        let (shelf, done) = (RwLock::new(Shelf::new(max)), Default::default());
        let (flights, line) = Default::default();
        Self { inner: Arc::new(Inner { max, shelf, flights, line, folder, done }) }
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

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [looks, rendered, packed, read_back] =
            self.inner.done.each_ref().map(|count| count.load(Ordering::Relaxed));
        Counts { looks, rendered, packed, read_back }
    }

    /// Answers a request for a document, in the form that its client takes. `look` is not called if
    /// what is held is good.
    ///
    /// # Errors
    /// Those of the look; 406 where no form is taken.
    pub async fn answer(
        &self,
        registry: &Registry,
        head: &Parts,
        ask: Ask<'_>,
        look: impl FnOnce() -> Look,
    ) -> Result<Response<Body>, Error> {
        let found = match self.fresh(registry, ask.key, ask.wish.refresh) {
            Some(found) => found,
            None => self.look(Order::of(registry, ask, look())).await?,
        };
        let mut response = found.document.answer(&head.method, &head.headers, found.age).await?;
        if found.stale {
            response.headers_mut().insert("x-griot-stale", HeaderValue::from_static("1"));
        }
        Ok(response)
    }

    /// What is held under a key, if nothing has changed since.
    fn fresh(&self, registry: &Registry, key: &str, refresh: bool) -> Option<Found> {
        let (document, stamp) = self.shelf(|shelf| shelf.get(key))?;
        let stamp = stamp.filter(|stamp| registry.vouches(stamp, refresh))?;
        Some(Found { document, age: stamp.age(), stale: false })
    }

    /// Looks a document up, together with all who ask for the same before the next commit.
    async fn look(&self, order: Order) -> Result<Found, Error> {
        let (this, flight) = (self.clone(), order.flight());
        let look = || {
            async move {
                this.count(0);
                let looked = (order.look)(order.wish).await?;
                this.found(&order.place(), looked).await
            }
            .boxed()
        };
        self.together(flight, look).await
    }

    /// The outcome of `look`, together with all who ask for the same now.
    async fn together(
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

    /// The document with the seed that was found: held, else stored, else made.
    async fn found(&self, place: &Place, looked: Looked) -> Result<Found, Error> {
        let Looked { seed, stamp, age, stale, render, lies } = looked;
        let held = self.shelf(|shelf| shelf.get(&place.key)).map(|(document, _)| document);
        let held = held.filter(|document| document.seed() == seed);
        let document = match held {
            Some(document) => Some(document),
            None => self.stored(&place.key, seed, lies).await.map(Arc::new),
        };
        if let Some(document) = document {
            self.keep(place, &document, stamp);
            return Ok(Found { document, age, stale });
        }
        self.count(1);
        let made = render().await?;
        let document = self.put(place, seed, made, stamp).await?;
        Ok(Found { document, age, stale })
    }

    /// A document from the folder.
    async fn stored(&self, key: &Arc<str>, seed: Seed, lies: Option<Lies>) -> Option<Document> {
        self.inner.folder.as_ref()?;
        let (inner, key) = (Arc::clone(&self.inner), Arc::clone(key));
        let read = move || inner.folder.as_ref().and_then(|folder| folder.get(&key, seed));
        let stored = tokio::task::spawn_blocking(read).await.ok()??;
        let Stored { label, size, plain, packed } = stored;
        let plain = match plain {
            Some(bytes) => Plain::Held(bytes),
            // What is not to be had is made anew, and says why if it cannot be.
            None => lies?(size).await.ok()?,
        };
        let document = Document::new(seed, label, plain).ok()?;
        if document.size() != size {
            return None;
        }
        document.settle(packed);
        self.count(3);
        Some(document)
    }

    /// Keeps a document that was known before under a new stamp.
    fn keep(&self, place: &Place, document: &Arc<Document>, stamp: Option<Stamp>) {
        let entry = Entry::new(place, Arc::clone(document), stamp);
        self.inner.shelf.write().unwrap_or_else(PoisonError::into_inner).put(entry);
    }

    /// Packs and keeps a document; it is stored behind. A large one is answered before its packed
    /// forms are made.
    async fn put(
        &self,
        place: &Place,
        seed: Seed,
        made: Made,
        stamp: Option<Stamp>,
    ) -> Result<Arc<Document>, Error> {
        let Made { label, plain, read, lies } = made;
        let document = Arc::new(Document::new(seed, label, plain)?);
        let (most, settling) = (self.part(), Settling(Arc::clone(&document)));
        let (inner, key) = (Arc::downgrade(&self.inner), Arc::clone(&place.key));
        match read.or_else(|| document.held().map(writes)) {
            Some(read) if document.size() > PACKED_FIRST_MAX_BYTES => {
                self.count(2);
                let of = Arc::clone(&document);
                self.inner.line.join(Box::new(move || {
                    settling.pack(read, most);
                    if let Some(inner) = inner.upgrade() {
                        inner.weigh(&key, &of);
                        inner.store(&key, &of, lies);
                    }
                }));
            }
            Some(read) => {
                self.count(2);
                let packing = tokio::task::spawn_blocking(move || settling.pack(read, most));
                // If it broke, the document is there as it is.
                drop(packing.await);
                self.store_behind(key, Arc::downgrade(&document), lies);
            }
            None => drop(settling),
        }
        self.keep(place, &document, stamp);
        Ok(document)
    }

    /// Stores a document that is held still when its turn comes.
    fn store_behind(&self, key: Arc<str>, document: Weak<Document>, lies: bool) {
        let size = document.upgrade().map_or(0, |document| document.size());
        if self.inner.folder.is_none() || size < STORED_MIN_BYTES {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        self.inner.line.join(Box::new(move || {
            if let (Some(inner), Some(document)) = (inner.upgrade(), document.upgrade()) {
                inner.store(&key, &document, lies);
            }
        }));
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

    /// Returns when all that is packed and stored behind is done.
    pub async fn settled(&self) {
        let (told, done) = tokio::sync::oneshot::channel::<()>();
        // Dropped when its turn comes, or at once if the line is full: then nobody waits for it.
        self.inner.line.join(Box::new(move || drop(told)));
        drop(done.await);
    }

    fn count(&self, what: usize) {
        self.inner.done[what].fetch_add(1, Ordering::Relaxed);
    }

    fn shelf<T>(&self, look: impl FnOnce(&Shelf) -> T) -> T {
        look(&self.inner.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    /// Charges a document with the forms that were made behind.
    fn weigh(&self, key: &str, document: &Arc<Document>) {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner).weigh(key, document);
    }

    /// Writes a document into the folder, without the bytes that lie elsewhere. Blocks. Who cannot
    /// goes without.
    fn store(&self, key: &str, document: &Document, lies: bool) {
        let Some(folder) = &self.folder else { return };
        let (packed, plain) = (document.packed(), document.held().filter(|_| !lies));
        if packed.gzip.is_none() && packed.zstd.is_none() {
            return;
        }
        let stored =
            Stored { label: document.label().clone(), size: document.size(), plain, packed };
        if let Err(why) = folder.put(key, document.seed(), &stored) {
            tracing::debug!(%why, "a document could not be stored");
        }
    }
}

fn writes(bytes: Bytes) -> Read {
    Box::new(move |out| out.write_all(&bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
