//! Blobs in an S3-compatible bucket that several nodes share.
//!
//! ```text
//! <prefix>/ab/<digest>   one object a blob, named as in `blobs/`; its bytes never change
//! <prefix>/nodes/, sweeps/   what the nodes tell each other, so that a sweep can be safe: `names`
//! ```
//!
//! The contract is that of `blob`: absent, or complete and verified; the bytes are durable before
//! the record, the record before the answer. Durable means: in the bucket. `blobs/` becomes a
//! read-through cache of bounded size (`cache`). Nothing that the bucket says is believed: what it
//! sends is hashed before anybody sees it, and an object that is there already counts for an upload
//! only when its bytes were read back and hashed.
//!
//! What can be had again (from an upstream, from a peer) is kept here while the bucket does not
//! answer, and *unsent*: a row of that kind names it, it is never evicted, and
//! [`Store::send_unsent`] sends it later. What is published is refused then. A home that had blobs
//! before it had a bucket has them all unsent at first.
//!
//! Other nodes may need an object, so nothing but `sweep` ever deletes one, when a person says so.
//! Credentials come from the environment and are never written anywhere.
//!
//! Source: DESIGN.md section 5.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crdt::Digest;
use object_store::ObjectStore;
use object_store::path::Path;

use super::{Error, Inner, Store, blob, holding, lock, tables};
use cache::Cache;
use crew::Crew;

mod cache;
mod connection;
mod crew;
mod get;
mod names;
mod put;
pub mod sweep;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::usual_blobs;
mod unsent;

pub use get::Coming;
pub use sweep::{BucketNode, SweepOrder, SweepStep, Swept};
pub(super) use unsent::note_unsent;

/// Uploads at a time; each holds one part in memory.
const SENDS_AT_ONCE: usize = 6;
/// Downloads at a time.
const FETCHES_AT_ONCE: usize = 16;
/// After a failure nobody waits for the bucket for so long.
const QUIET: Duration = Duration::from_secs(5);

/// Where blobs are kept for good.
#[derive(Debug, Clone, Default)]
pub enum Blobs {
    /// Under the home.
    #[default]
    Here,
    /// In a bucket; the home holds copies.
    Bucket(Bucket),
}

/// A bucket, and how much of it is held here as well.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// As a person wrote it: `s3://BUCKET/PREFIX`.
    url: String,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    cache_bytes: u64,
}

/// What a person is told about the bucket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BucketStatus {
    /// `s3://BUCKET/PREFIX`.
    pub url: String,
    /// What this node is called there.
    #[serde(default)]
    pub node: String,
    /// Bytes of copies in the home.
    pub cached_bytes: u64,
    /// How many there may be.
    pub cache_bytes: u64,
    /// Blobs that are only here, because the bucket did not take them yet.
    pub unsent: u64,
    /// Why it was not reached when it was last asked.
    pub trouble: Option<String>,
}

/// The bucket of an open store.
#[derive(Debug)]
pub(super) struct Remote {
    bucket: Bucket,
    cache: Cache,
    sends: Crew,
    fetches: Crew,
    /// Downloads under way.
    flights: Mutex<HashMap<Digest, Coming>>,
    unsent: Mutex<BTreeSet<Digest>>,
    /// Those of them that the bucket has all the same: they came from there.
    right: Mutex<BTreeSet<Digest>>,
    trouble: Mutex<Option<(Instant, String)>>,
    /// Writes the list of what this node holds.
    clerk: Crew,
    /// When it last did.
    told: Mutex<Option<names::Told>>,
}

impl Remote {
    /// Touches the disk alone: a start does not depend on the bucket.
    pub(super) fn new(bucket: Bucket) -> Self {
        Self {
            cache: Cache::default(),
            sends: Crew::new(SENDS_AT_ONCE),
            fetches: Crew::new(FETCHES_AT_ONCE),
            flights: Mutex::default(),
            unsent: Mutex::default(),
            right: Mutex::default(),
            trouble: Mutex::default(),
            clerk: Crew::new(1),
            told: Mutex::default(),
            bucket,
        }
    }

    /// Finds what is held, and what was never sent; all of it, if the bucket is another one now.
    pub(super) fn prepare(inner: &Inner) -> Result<(), Error> {
        let Some(remote) = &inner.remote else { return unsent::warn_of_leaving(inner) };
        *lock(&remote.unsent) = unsent::prepare(inner, &remote.bucket.url)?;
        remote.cache.find(&inner.paths.blobs())?;
        remote.evict(inner);
        Ok(())
    }

    fn path(&self, digest: &Digest) -> Path {
        let name = digest.to_hex();
        self.bucket.prefix.clone().join(&name[..2]).join(name)
    }

    /// A copy was used, or came.
    pub(super) fn used(&self, inner: &Inner, digest: &Digest, size: u64) {
        self.cache.used(digest, size);
        self.evict(inner);
    }

    /// A copy is gone.
    pub(super) fn gone(&self, digest: &Digest) {
        self.cache.gone(digest);
    }

    /// Removes copies that were not used for the longest time. Who reads one goes on reading;
    /// while a backup copies, all stay.
    fn evict(&self, inner: &Inner) {
        self.evict_above(inner, self.bucket.cache_bytes);
    }

    fn evict_above(&self, inner: &Inner, limit: u64) {
        if holding::is_held(inner) {
            return;
        }
        let unsent = lock(&self.unsent);
        for digest in self.cache.excess(limit, |digest| unsent.contains(digest)) {
            match inner.disk.remove(&inner.paths.blob(&digest)) {
                Ok(()) => {
                    self.cache.gone(&digest);
                    let _ = inner.disk.remove(&inner.paths.tree(&digest));
                }
                Err(why) => tracing::warn!(%digest, %why, "a copy was not removed"),
            }
        }
    }

    /// Whether the bucket has a recorded blob, so that the file here is only a copy.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        !self.is_unsent(digest)
    }

    /// Bytes of all copies.
    pub(super) fn held_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Removes copies of so many bytes for the sake of others, if there are so many.
    pub(super) fn make_room(&self, inner: &Inner, bytes: u64) {
        self.evict_above(inner, self.cache.bytes().saturating_sub(bytes));
    }

    fn is_unsent(&self, digest: &Digest) -> bool {
        lock(&self.unsent).contains(digest)
    }

    /// Fails at once while the bucket is known not to answer.
    fn ask(&self) -> Result<(), String> {
        match &*lock(&self.trouble) {
            Some((since, why)) if since.elapsed() < QUIET => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// Remembers how it answered; gives the sentence for a person.
    fn answered<T>(&self, result: object_store::Result<T>) -> Result<T, String> {
        match result {
            Ok(value) => {
                *lock(&self.trouble) = None;
                Ok(value)
            }
            Err(error) => {
                let why = connection::explain(&error);
                *lock(&self.trouble) = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    fn status(&self, node: String) -> BucketStatus {
        BucketStatus {
            url: self.bucket.url.clone(),
            node,
            cached_bytes: self.cache.bytes(),
            cache_bytes: self.bucket.cache_bytes,
            unsent: lock(&self.unsent).len() as u64,
            trouble: lock(&self.trouble).as_ref().map(|(_, why)| why.clone()),
        }
    }
}

impl Store {
    /// Whether the blobs are in a bucket, and only copies here.
    #[must_use]
    pub fn has_bucket(&self) -> bool {
        self.inner.remote.is_some()
    }

    /// Where the blobs are, if not only here.
    #[must_use]
    pub fn bucket(&self) -> Option<BucketStatus> {
        self.inner.remote.as_ref().map(|remote| remote.status(self.bucket_node()))
    }
}
