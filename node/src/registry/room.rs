//! Room: what goes when there is too little, and what is told of it.
//!
//! One task waits until the store says that a limit is near, or a few minutes have passed. It lets
//! go of garbage first, then of what can be had again, least recently used first: what came from
//! upstreams, and files of other people's releases that a connected peer says it holds at this
//! moment. A file that nobody near holds stays, however old. Last uses become rows here, too, and
//! once a day garbage is collected; when that was last done is remembered across restarts.
//!
//! Source: DESIGN section 5; product.md sections 3 and 10.

use std::collections::BTreeSet;
use std::time::Duration;

use crdt::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::upkeep::{self, LastGarbage, LastVerify};
use super::{Error, Registry};
use crate::store::gc::{Garbage, Halves};
use crate::store::kinds::{Amount, Kinds};
use crate::store::quota::Candidate;

/// How often last uses become rows.
const FLUSH_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often garbage is collected, if nothing else was asked for.
pub const GARBAGE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// After a start it waits so long, unless it is to run more often than that.
const GARBAGE_PAUSE: Duration = Duration::from_secs(10);
/// The same after a failure.
const GARBAGE_AGAIN: Duration = Duration::from_secs(60 * 60);
/// After a sweep that found nothing, the next one waits.
const VAIN_PAUSE: Duration = Duration::from_secs(30);
/// Between two sweeps.
const PAUSE: Duration = Duration::from_millis(200);
/// Blobs that are judged, and let go, at once.
const EVICTED_AT_ONCE: usize = 1024;
/// The kind of row that remembers the bytes of other people's releases that were let go.
pub(super) const FREED: &str = "keep-freed";

/// A step of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GarbageStep {
    /// So many blobs of so many were looked at.
    Looked {
        /// Until now.
        blobs: u64,
        /// In all.
        of: u64,
    },
    /// What went, or would go.
    Done(Garbage),
}

/// What is held, why, and what to do about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Blobs by the reason for which they are held.
    #[serde(flatten)]
    pub kinds: Kinds,
    /// Half downloads.
    pub partial: Halves,
    /// Damaged files that were put aside.
    pub quarantined: Amount,
    /// Let go for room since the start.
    pub evicted: Amount,
    /// Free bytes on the device.
    pub free: u64,
    /// Bytes of it that are left alone.
    pub reserve: u64,
    /// What blobs may take, if it was said.
    pub quota: Option<u64>,
    /// What to do, when there is too little room.
    pub advice: Option<String>,
    /// When garbage was collected last.
    #[serde(default)]
    pub collected: Option<LastGarbage>,
    /// When all was last read again, and what had rotted.
    #[serde(default)]
    pub verified: Option<LastVerify>,
}

impl Registry {
    /// Minds the room until `stop`, and collects garbage `every` so often; what was used is written
    /// down at its end.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn mind_room(self, stop: CancellationToken, every: Duration) -> Result<(), Error> {
        let store = self.inner.store.clone();
        let _sweeping = store.sweeping();
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        let mut garbage_due = self.garbage_due(every);
        let mut peers = self.mesh().map(|mesh| mesh.watch_peers());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = store.room_wanted() => {}
                // One that has come may hold what nobody near held before.
                () = changed(&mut peers) => {}
                () = tokio::time::sleep_until(garbage_due) => {}
                _ = flush.tick() => note("last uses", store.flush_uses().await.map(|_| ())),
            }
            if Instant::now() >= garbage_due {
                let collected = self.collect(false, None).await;
                let again = Instant::now() + GARBAGE_AGAIN.min(every);
                garbage_due = if collected.is_ok() { self.garbage_due(every) } else { again };
                note("garbage", collected.map(|_| ()));
            }
            let over = store.excess().is_ok_and(|bytes| bytes > 0);
            let freed = self.sweep().await;
            let in_vain = over && !freed.as_ref().is_ok_and(|freed| freed.bytes > 0);
            store.swept(in_vain);
            note("room", freed.map(|_| ()));
            let pause = if in_vain { VAIN_PAUSE } else { PAUSE };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        note("last uses", store.flush_uses().await.map(|_| ()));
        Ok(())
    }

    /// Never at once: a node that has just started has other things to do.
    fn garbage_due(&self, every: Duration) -> Instant {
        let last = self.last_garbage().unwrap_or_default().map(|last| last.at);
        let left = upkeep::due_in(upkeep::now(), last, every);
        Instant::now() + left.max(GARBAGE_PAUSE.min(every))
    }

    fn last_garbage(&self) -> Result<Option<LastGarbage>, Error> {
        upkeep::last(&self.inner.store, upkeep::GARBAGE)
    }

    /// Lets go of what can be had again, if a limit is near. Says how much went.
    ///
    /// # Errors
    /// When the store fails, or a pin cannot be read.
    pub async fn sweep(&self) -> Result<Amount, Error> {
        let store = &self.inner.store;
        let mut excess = store.excess()?;
        let mut gone = Amount::default();
        if excess == 0 {
            return Ok(gone);
        }
        let pinned = self.pinned_digests()?;
        let candidates = store.evictable(pinned.clone()).await?;
        for some in candidates.chunks(EVICTED_AT_ONCE) {
            if excess == 0 {
                break;
            }
            let going = self.chosen_of(some, excess).await;
            let of_peers: BTreeSet<Digest> =
                some.iter().filter(|one| one.of_peers).map(|one| one.digest).collect();
            let went = store.evict(going, pinned.clone()).await?;
            let mut of_others = 0;
            for info in went {
                gone.add(info.size);
                excess = excess.saturating_sub(info.size);
                of_others += if of_peers.contains(&info.digest) { info.size } else { 0 };
            }
            self.note_freed(of_others).await?;
        }
        tracing::info!(files = gone.count, bytes = gone.bytes, lacking = excess, "made room");
        Ok(gone)
    }

    /// As many as it takes: those that can be had again at this moment.
    async fn chosen_of(&self, some: &[Candidate], excess: u64) -> BTreeSet<Digest> {
        let asked: Vec<Digest> =
            some.iter().filter(|one| one.of_peers).map(|one| one.digest).collect();
        let held = match self.mesh() {
            Some(mesh) if !asked.is_empty() => mesh.held_by_peers(&asked).await,
            _ => vec![false; asked.len()],
        };
        let near: BTreeSet<&Digest> =
            asked.iter().zip(&held).filter(|(_, held)| **held).map(|(digest, _)| digest).collect();
        let (mut going, mut sum) = (BTreeSet::new(), 0_u64);
        for one in some.iter().filter(|one| !one.of_peers || near.contains(&one.digest)) {
            if sum >= excess {
                break;
            }
            sum = sum.saturating_add(one.size);
            going.insert(one.digest);
        }
        going
    }

    /// What was fetched ahead and let go may be fetched ahead again.
    async fn note_freed(&self, bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        let freed = self.freed()?.saturating_add(bytes);
        Ok(self.inner.store.put_row(FREED, "bytes", freed.to_string().into_bytes()).await?)
    }

    pub(super) fn freed(&self) -> Result<u64, Error> {
        let row = self.inner.store.row(FREED, "bytes")?;
        let text = row.and_then(|row| String::from_utf8(row).ok());
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Removes what nothing refers to, or says what would go.
    ///
    /// # Errors
    /// When the store fails; what is gone is gone.
    pub async fn collect(
        &self,
        trial: bool,
        steps: Option<&mpsc::Sender<GarbageStep>>,
    ) -> Result<Garbage, Error> {
        let store = &self.inner.store;
        let of = store.blob_amount()?.count;
        let (mut after, mut blobs, mut unnamed) = (None, 0, Amount::default());
        loop {
            let (gone, looked, next) = store.collect_blobs(after, trial).await?;
            unnamed.count += gone.count;
            unnamed.bytes += gone.bytes;
            blobs += looked as u64;
            tell(steps, GarbageStep::Looked { blobs, of }).await?;
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let garbage = Garbage { unnamed, ..store.collect_files(trial).await? };
        if !trial {
            let Amount { count, bytes } = garbage.total();
            let done = LastGarbage { at: upkeep::now(), count, bytes };
            upkeep::note(store, upkeep::GARBAGE, &done).await?;
        }
        tell(steps, GarbageStep::Done(garbage)).await?;
        Ok(garbage)
    }

    /// What is held, why, and what to do about it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn storage(&self) -> Result<Storage, Error> {
        let store = &self.inner.store;
        let kinds = store.kinds(self.pinned_digests()?).await?;
        let room = store.room()?;
        let (count, bytes) = store.evicted();
        let advice = (room.excess() > 0).then(|| advice(&kinds)).map(ToOwned::to_owned);
        Ok(Storage {
            kinds,
            partial: store.halves().await?,
            quarantined: store.quarantined().await?,
            evicted: Amount { count, bytes },
            free: room.free,
            reserve: room.reserve,
            quota: room.quota,
            advice,
            collected: self.last_garbage()?,
            verified: self.last_verify()?,
        })
    }
}

/// Resolves when a peer comes or goes; never without a mesh.
async fn changed(peers: &mut Option<watch::Receiver<u64>>) {
    let gone = match peers {
        Some(peers) => peers.changed().await.is_err(),
        None => true,
    };
    if gone {
        std::future::pending::<()>().await;
    }
}

/// The next thing to type when there is too little room.
fn advice(kinds: &Kinds) -> &'static str {
    if kinds.unnamed.bytes > 0 {
        "griot gc removes what nothing needs"
    } else if kinds.pinned.bytes > 0 {
        "griot keep lists what is pinned, griot unkeep NAME lets go of it"
    } else if kinds.mirrored.bytes + kinds.cached.bytes > 0 {
        "what can be had again goes by itself; what nobody near holds stays: griot peer list"
    } else {
        "all that is held was published here: move the home to a larger disk, or raise --quota"
    }
}

async fn tell(steps: Option<&mpsc::Sender<GarbageStep>>, step: GarbageStep) -> Result<(), Error> {
    let Some(steps) = steps else { return Ok(()) };
    steps.send(step).await.map_err(|_| Error::invalid("nobody listens any more"))
}

/// Upkeep that fails must not end the node: what it holds is still served.
fn note(what: &str, result: Result<(), impl std::fmt::Display>) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "upkeep failed; it is tried again");
    }
}
