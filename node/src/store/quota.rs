//! How much room blobs may take, and what goes when there is too little.
//!
//! Two limits: a reserve of free bytes that is left to the file system, always, and a quota for
//! all blobs, if one was set. New bytes that would break one are refused. Before it comes to that,
//! at the high-water mark, who sweeps (see `registry::room`) is woken, and evicts down to the
//! low-water mark: least recently used first, and only what can be had again. What was published
//! here or pinned stays. A writer that finds no room waits a moment for a sweep under way.
//!
//! With a bucket, what is not here takes no room: the bound of the copies is the cache's (see
//! `remote`), the quota is without meaning, and a sweep takes only what nothing names. A disk that
//! is full takes copies away.
//!
//! A blob of a cached document goes together with the row that needs it; a file that is open for
//! reading keeps its bytes, because a removal takes only the name.
//!
//! Source: DESIGN section 5; product.md sections 3 and 4.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crdt::Digest;
use redb::WriteTransaction;
use tokio::sync::{Notify, watch};

use super::kinds::{Judge, Kind};
use super::tables::{self, Tables};
use super::{BlobInfo, Error, Inner, Store, blob, blocking, cached_rows, evict_rows, lock, usage};

/// Kept free if nothing else is asked for, so that the database can still commit.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// A file that came within this time may not have been read yet by whoever asked for it.
const JUST_COME: Duration = Duration::from_secs(60);
/// How long new bytes wait for a sweep.
const SWEEP_WAIT: Duration = Duration::from_secs(3);
/// After a sweep that found nothing, nobody waits for another one.
const VAIN: Duration = Duration::from_secs(30);

/// The two limits, and who is woken when one is near.
#[derive(Debug)]
pub(super) struct Limits {
    reserve_bytes: AtomicU64,
    /// `u64::MAX`: none.
    quota_bytes: AtomicU64,
    wanted: Notify,
    /// The most that somebody asked for since the last sweep.
    asked: AtomicU64,
    /// Sweeps that are done.
    sweeps: watch::Sender<u64>,
    vain: Mutex<Option<Instant>>,
    evicted: [AtomicU64; 2],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reserve_bytes: AtomicU64::new(RESERVE_BYTES),
            quota_bytes: AtomicU64::new(u64::MAX),
            wanted: Notify::new(),
            asked: AtomicU64::new(0),
            sweeps: watch::channel(0).0,
            vain: Mutex::default(),
            evicted: Default::default(),
        }
    }
}

impl Limits {
    pub(super) fn set_reserve(&self, bytes: u64) {
        self.reserve_bytes.store(bytes, Ordering::Relaxed);
    }

    fn reserve(&self) -> u64 {
        self.reserve_bytes.load(Ordering::Relaxed)
    }

    fn quota(&self) -> Option<u64> {
        Some(self.quota_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes < u64::MAX)
    }

    /// Whether a sweep may help now.
    fn has_hope(&self) -> bool {
        let vain = lock(&self.vain).is_some_and(|at| at.elapsed() < VAIN);
        self.sweeps.receiver_count() > 0 && !vain
    }
}

/// How full it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Free bytes of the device.
    pub free: u64,
    /// Bytes of it that are left to the file system.
    pub reserve: u64,
    /// What blobs may take, if it was said.
    pub quota: Option<u64>,
    /// What they take.
    pub held: u64,
}

impl Room {
    /// Bytes that can still come before one limit is met.
    #[must_use]
    pub fn left(&self) -> u64 {
        let quota = self.quota.map_or(u64::MAX, |quota| quota.saturating_sub(self.held));
        quota.min(self.free.saturating_sub(self.reserve))
    }

    /// As it would be with so many bytes more.
    const fn with(self, bytes: u64) -> Self {
        let (free, held) = (self.free.saturating_sub(bytes), self.held.saturating_add(bytes));
        Self { free, held, ..self }
    }

    /// Bytes that may be fetched ahead of any request: up to the low-water mark.
    #[must_use]
    pub fn spare(&self) -> u64 {
        let low = |quota: u64| quota / 100 * 85 + quota % 100 * 85 / 100;
        let quota = self.quota.map_or(u64::MAX, |quota| low(quota).saturating_sub(self.held));
        let kept = self.reserve.saturating_add(self.reserve / 2);
        quota.min(self.free.saturating_sub(kept))
    }

    /// Bytes that should go: none below the high-water mark, else all above the low one.
    #[must_use]
    pub fn excess(&self) -> u64 {
        // Of the quota 95 % and 85 %; of the device the reserve and one or two quarters more.
        let quota = self.quota.map_or(0, |quota| {
            let part = |percent: u64| quota / 100 * percent + quota % 100 * percent / 100;
            if self.held > part(95) { self.held - part(85) } else { 0 }
        });
        let above = |quarters: u64| self.reserve.saturating_add(self.reserve / 4 * quarters);
        let device = if self.free < above(1) { above(2) - self.free } else { 0 };
        quota.max(device)
    }
}

/// A blob that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Seconds since 1970 of its last use.
    pub used: u64,
    /// Which.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether only peers can give it again: a file of somebody's release.
    pub of_peers: bool,
}

impl Store {
    /// Sets the limits; `None` leaves one as it is.
    pub fn set_limits(&self, quota_bytes: Option<u64>, reserve_bytes: Option<u64>) {
        let limits = &self.inner.limits;
        if let Some(bytes) = quota_bytes {
            if self.inner.remote.is_some() {
                tracing::warn!("a quota is of no effect with a bucket: --blobs-cache bounds it");
            }
            limits.quota_bytes.store(bytes, Ordering::Relaxed);
        }
        if let Some(bytes) = reserve_bytes {
            limits.set_reserve(bytes);
        }
    }

    /// How full it is.
    ///
    /// # Errors
    /// When the device does not say, or the database cannot be read.
    pub fn room(&self) -> Result<Room, Error> {
        self.inner.room()
    }

    /// Resolves when a limit is near. One task alone waits for it, and calls [`Store::swept`].
    pub async fn room_wanted(&self) {
        self.inner.limits.wanted.notified().await;
    }

    /// For the task that sweeps: as long as it holds this, writers wait for its sweeps.
    #[must_use]
    pub fn sweeping(&self) -> watch::Receiver<u64> {
        self.inner.limits.sweeps.subscribe()
    }

    /// Bytes that should go now, for the sake of those, too, who asked for room since the last
    /// sweep. One who asks for more than half of what is held would not be helped.
    ///
    /// # Errors
    /// When the device does not say, or the database cannot be read.
    pub fn excess(&self) -> Result<u64, Error> {
        let (room, asked) = (self.room()?, self.inner.limits.asked.load(Ordering::Relaxed));
        let possible = asked <= room.left().saturating_add(room.held / 2);
        Ok(room.with(if possible { asked } else { 0 }).excess())
    }

    /// A sweep is done; `in_vain` if something should have gone, and nothing could.
    pub fn swept(&self, in_vain: bool) {
        let limits = &self.inner.limits;
        limits.asked.store(0, Ordering::Relaxed);
        *lock(&limits.vain) = in_vain.then(Instant::now);
        limits.sweeps.send_modify(|number| *number += 1);
    }

    /// Blobs and bytes evicted since the start.
    #[must_use]
    pub fn evicted(&self) -> (u64, u64) {
        let [count, bytes] = &self.inner.limits.evicted;
        (count.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// New bytes that would break a limit wait a moment for a sweep, then are refused.
    pub(super) async fn await_room(&self, needed: u64) -> Result<(), Error> {
        let Err(full) = self.inner.check_room(needed) else { return Ok(()) };
        let limits = &self.inner.limits;
        if !limits.has_hope() {
            return Err(full);
        }
        let mut sweeps = limits.sweeps.subscribe();
        limits.wanted.notify_one();
        // Whether it ended in time shows in the room that there is.
        let _ = tokio::time::timeout(SWEEP_WAIT, sweeps.changed()).await;
        self.inner.check_room(needed)
    }

    /// What can be had again, the least recently used first. `pinned` stays.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn evictable(&self, pinned: BTreeSet<Digest>) -> Result<Vec<Candidate>, Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        blocking(move || {
            let txn = inner.read()?;
            let judge = Judge::new(&inner, &txn, &pinned)?;
            let (rows, mut found) = (usage::rows(&txn)?, Vec::new());
            for row in redb::ReadableTable::iter(&txn.table(tables::BLOB)?)? {
                let info: BlobInfo = tables::decode("blob record", row?.1.value())?;
                let BlobInfo { digest, size, .. } = info;
                let kind = judge.kind(&digest)?;
                if may_go((&inner, &judge), kind, &digest)? {
                    let used = usage::last_use(&inner, rows.as_ref(), (&digest, info.stored))?;
                    let of_peers = kind == Kind::Mirrored;
                    found.push(Candidate { used, digest, size, of_peers });
                }
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    /// Lets these go, with the cached rows that name them, unless something protects one by now.
    /// Says which went, with what went along: bodies that only their rows had needed.
    ///
    /// # Errors
    /// When the database refuses; none is gone then.
    pub async fn evict(
        &self,
        digests: BTreeSet<Digest>,
        pinned: BTreeSet<Digest>,
    ) -> Result<Vec<BlobInfo>, Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        let named = digests.clone();
        let rows = blocking(move || evict_rows::naming(&inner.read()?, &named)).await?;
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let judged = |digest: &Digest| {
                let judge = Judge::new(inner, txn, &pinned)?;
                may_go((inner, &judge), judge.kind(digest)?, digest)
            };
            let mut going = BTreeSet::new();
            for digest in &digests {
                if judged(digest)? {
                    going.insert(*digest);
                }
            }
            let along = evict_rows::forget(txn, &rows, &going)?;
            let mut gone = Vec::new();
            for digest in going.into_iter().chain(along) {
                let is_named = cached_rows::is_used(txn, &digest)?;
                if let Some(info) = blob::record(txn, &digest)?.filter(|_| !is_named)
                    && judged(&digest)?
                {
                    gone.push(info);
                }
            }
            blob::unlist_all(inner, txn, gone.iter().map(|info| &info.digest))?;
            Ok(gone)
        };
        let after = |inner: &Inner, gone: &Vec<BlobInfo>| {
            blob::erase_all(inner, gone.iter().map(|info| &info.digest));
            for info in gone {
                inner.limits.evicted[0].fetch_add(1, Ordering::Relaxed);
                inner.limits.evicted[1].fetch_add(info.size, Ordering::Relaxed);
            }
        };
        self.write(change, after).await
    }
}

/// Whether a blob of this kind may be evicted now.
fn may_go<T: Tables>(
    (inner, judge): (&Inner, &Judge<'_, T>),
    kind: Kind,
    digest: &Digest,
) -> Result<bool, Error> {
    Ok(match kind {
        Kind::Mirrored | Kind::Cached if inner.remote.is_some() || judge.is_list(digest)? => false,
        Kind::Mirrored | Kind::Cached => !inner.uses.is_younger(digest, JUST_COME),
        Kind::Unnamed => !inner.uses.is_young(digest) && !judge.is_held(digest)?,
        Kind::Published | Kind::Pinned => false,
    })
}

impl Inner {
    fn room(&self) -> Result<Room, Error> {
        let reserve = self.limits.reserve();
        let (held, quota) = match &self.remote {
            Some(remote) => (remote.held_bytes(), None),
            None => (self.read()?.meta(tables::META_BLOB_BYTES)?, self.limits.quota()),
        };
        Ok(Room { free: self.free_space()?, reserve, quota, held })
    }

    /// Refuses `needed` bytes that would break a limit; wakes who sweeps before it comes to that.
    pub(super) fn check_room(&self, needed: u64) -> Result<(), Error> {
        let mut room = self.room()?;
        let missing = needed.saturating_add(room.reserve).saturating_sub(room.free);
        if let Some(remote) = self.remote.as_ref().filter(|_| missing > 0) {
            remote.make_room(self, missing);
            room = self.room()?;
        }
        let Room { free, reserve, quota, held } = room;
        if room.with(needed).excess() > 0 {
            self.limits.asked.fetch_max(needed, Ordering::Relaxed);
            self.limits.wanted.notify_one();
        }
        let asked = needed.saturating_add(reserve);
        if free < asked {
            return Err(Error::Full { free, needed: asked });
        }
        match quota {
            Some(quota) if held >= quota || needed > quota - held => {
                Err(Error::OverQuota { quota, held, needed })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_those_of_the_nearer_limit() {
        let room = Room { free: 1000, reserve: 100, quota: None, held: 500 };
        assert_eq!((room.excess(), room.left()), (0, 900));
        assert_eq!(Room { free: 124, ..room }.excess(), 26);
        assert_eq!(Room { free: 125, ..room }.excess(), 0);
        let tight = Room { quota: Some(520), ..room };
        assert_eq!((tight.excess(), tight.left()), (500 - 442, 20));
        assert_eq!(Room { quota: Some(600), ..room }.excess(), 0);
        let endless = Room { reserve: u64::MAX, ..room };
        assert_eq!((endless.excess(), endless.left()), (u64::MAX - 1000, 0));
        assert_eq!(Room { quota: Some(u64::MAX - 1), held: u64::MAX, ..room }.left(), 0);
    }
}
