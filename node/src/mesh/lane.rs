//! Who goes first: what a person waits for before what is merely to be kept.
//!
//! A flight is [`Lane::Wanted`] as long as anybody waits who wants it now, and [`Lane::Bulk`]
//! otherwise. `Lanes` gives out the places in the air, a few of which bulk never takes, and lets
//! bulk ask for nothing more while a wanted flight gets somewhere. A wanted flight that gets
//! nothing holds nobody up for long. Where a byte goes is not decided here. Lost at a restart.
//!
//! Source: mesh.md section 7, DESIGN section 6.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crdt::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Flights in the air; further ones wait for a place.
const FLIGHTS_MAX: usize = 16;
/// Places that bulk leaves free for what is wanted.
const KEPT_FREE: usize = 4;
/// A wanted flight to which nothing comes for so long does not hold bulk up any more.
const STALLED: Duration = Duration::from_secs(3);

/// How urgent a transfer is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Who may publish, what is revoked and sealed: never stops.
    Authority,
    /// What there is: never stops.
    Index,
    /// Somebody waits for it.
    Wanted,
    /// It is to be here some day: what a site keeps, mirrors or fetches ahead.
    Bulk,
}

impl Lane {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Index => "index",
            Self::Wanted => "wanted",
            Self::Bulk => "bulk",
        }
    }
}

/// The places in the air and what is wanted; clones share both.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    wanted: Arc<Wanted>,
}

/// Since when nothing came to each wanted flight.
#[derive(Debug, Default)]
struct Wanted {
    flights: Mutex<HashMap<Digest, Instant>>,
    changed: Notify,
}

/// A place in the air, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _bulk: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(FLIGHTS_MAX)),
            bulk: Arc::new(Semaphore::new(FLIGHTS_MAX - KEPT_FREE)),
            wanted: Arc::default(),
        }
    }
}

impl Lanes {
    fn flights(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        // The map is whole between two calls, whatever happened to who held it.
        self.wanted.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on somebody waits for this blob.
    pub(super) fn want(&self, digest: Digest) {
        self.flights().insert(digest, Instant::now());
        self.wanted.changed.notify_waiters();
    }

    /// Bytes of it came.
    pub(super) fn came(&self, digest: &Digest) {
        if let Some(since) = self.flights().get_mut(digest) {
            *since = Instant::now();
        }
    }

    /// Its flight is over.
    pub(super) fn landed(&self, digest: &Digest) {
        self.flights().remove(digest);
        self.wanted.changed.notify_waiters();
    }

    /// Waits for a place for this flight; one that becomes wanted meanwhile goes before the others.
    pub(super) async fn board(&self, digest: &Digest) -> Place {
        let bulk = loop {
            let changed = self.wanted.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.flights().contains_key(digest) {
                break None;
            }
            tokio::select! {
                // The semaphores are never closed.
                place = self.bulk.clone().acquire_owned() => break place.ok(),
                () = changed => {}
            }
        };
        Place { _bulk: bulk, _all: self.all.clone().acquire_owned().await.ok() }
    }

    /// Whether this flight may ask for more now.
    pub(super) fn is_clear(&self, digest: &Digest) -> bool {
        self.held_up(digest, Instant::now()).is_none()
    }

    /// Waits until this flight may ask for more: at once if it is wanted, and otherwise while no
    /// wanted one gets somewhere.
    pub(super) async fn clear(&self, digest: &Digest) {
        loop {
            let changed = self.wanted.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Some(until) = self.held_up(digest, Instant::now()) else { return };
            // Somebody else may have become wanted, or be stalled; it is looked again.
            let _ = timeout_at(until, changed).await;
        }
    }

    /// Until when this flight lets others go first.
    fn held_up(&self, digest: &Digest, now: Instant) -> Option<Instant> {
        let flights = self.flights();
        if flights.contains_key(digest) {
            return None;
        }
        let latest = *flights.values().max()? + STALLED;
        (latest > now).then_some(latest)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn digest(of: u8) -> Digest {
        Digest::of(&[of])
    }

    #[tokio::test]
    async fn bulk_waits_for_what_is_wanted_until_that_has_landed_or_stalls() {
        let lanes = Lanes::default();
        let (bulk, wanted) = (digest(1), digest(2));
        assert!(lanes.clear(&bulk).now_or_never().is_some());
        lanes.want(wanted);
        assert!(lanes.clear(&wanted).now_or_never().is_some());
        let mut waiting = Box::pin(lanes.clear(&bulk));
        assert!(waiting.as_mut().now_or_never().is_none(), "something is wanted");
        let before = lanes.held_up(&bulk, Instant::now()).expect("is held up");
        tokio::time::sleep(Duration::from_millis(2)).await;
        lanes.came(&wanted);
        let after = lanes.held_up(&bulk, Instant::now()).expect("is held up");
        assert!(after > before, "it gets somewhere");
        assert!(lanes.held_up(&bulk, after).is_none(), "nothing comes to the wanted one");
        lanes.landed(&wanted);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn bulk_leaves_places_and_is_overtaken_when_it_becomes_wanted() {
        let lanes = Lanes::default();
        let mut places = Vec::new();
        for at in 0..FLIGHTS_MAX - KEPT_FREE {
            let at = u8::try_from(at).expect("few");
            places.push(lanes.board(&digest(at)).now_or_never().expect("has a place"));
        }
        let late = digest(99);
        let mut waiting = Box::pin(lanes.board(&late));
        assert!(waiting.as_mut().now_or_never().is_none(), "bulk has all of its places");
        lanes.want(late);
        assert!(waiting.now_or_never().is_some(), "somebody waits for it now");
    }
}
