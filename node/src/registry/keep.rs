//! Artifacts of new releases are fetched ahead of any request, so that they are there when the
//! publisher has left.
//!
//! The admission log is the queue's source: a cursor row remembers how far it was read, or a little
//! less, and each file that lacks becomes a row until it is held or given up, so a restart loses
//! nothing. Bounds:
//! 64 MiB a file, and in all the smaller of 5 GiB and a tenth of the free space, taken in turns by
//! signer. A release without a standing publisher is not fetched; when a realm's authority
//! changes, its releases are looked at again. Lists of seals and revocations come before all of it,
//! whatever the budget is; of realms that are followed for a grant alone nothing else comes. Wants
//! are tried in the same rounds.
//!
//! Source: DESIGN section 4; trust.md section 12.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crdt::session::Index as _;
use crdt::statement::MetaBody;
use crdt::{Body, Collection, Digest, PublicKey, RealmId, StatementId};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::keep_queue::{Entry, KEEP, KEYS, Lacking, Places, Stretch};
use super::{Error, FollowKind, Registry};
use crate::mesh::lane::Lane;

/// The largest file that is kept ahead. Source: trust.md section 12.
const KEEP_FILE_MAX: u64 = 64 * 1024 * 1024;
/// The most that is kept ahead in all.
const KEEP_TOTAL_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Where the log was read to, and the bytes kept so far.
const KEEP_STATE: &str = "keep-state";
const LOG_PAGE: usize = 1024;
/// Entries of the log that a start may read once more: the cursor is not written for each.
const REREAD_MAX: u64 = 1024;
/// Files that are fetched at a time.
pub(super) const KEEP_AT_ONCE: usize = 4;
/// Rows that are dropped in one commit.
const DROPPED_AT_ONCE: usize = 4096;
/// A pass waits no longer for a slow peer: what is new has its turn, the flight goes on meanwhile.
pub(super) const ROUND_MAX: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// While something lacks: a peer that has it may have come back.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// While nothing lacks; an admission or a new want wakes it at once.
const IDLE_WAKE: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    epoch: u64,
    sequence: u64,
    kept_bytes: u64,
    /// How the keys of the queue are made.
    #[serde(default)]
    keys: u8,
}

impl Registry {
    /// Runs as long as the store does: reads the log, fetches what lacks, tries wants again.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn keep_new_artifacts(self) -> Result<(), Error> {
        let mut admissions = self.inner.store.subscribe();
        let (mut wait, mut from_start) = (RETRY_FIRST, false);
        let mut places = Places::default();
        loop {
            // A full disk or a broken file must not end the node: what it holds is still served.
            let (progressed, lacking) = match self.keep_round(from_start, &mut places).await {
                Ok(kept) => {
                    from_start = false;
                    kept
                }
                Err(error) => {
                    tracing::warn!(%error, "could not fetch ahead");
                    (false, true)
                }
            };
            wait = if progressed { RETRY_FIRST } else { (wait * 2).min(RETRY_MAX) };
            let idle = if lacking { wait } else { IDLE_WAKE };
            let admission = tokio::select! {
                admission = admissions.recv() => admission,
                () = self.inner.pace.news() => {
                    wait = RETRY_FIRST;
                    continue;
                }
                () = tokio::time::sleep(idle) => continue,
            };
            match admission {
                Err(RecvError::Closed) => return Ok(()),
                Ok(admission) => {
                    wait = RETRY_FIRST;
                    let authority = |c: &Collection| matches!(c, Collection::Authority(_));
                    from_start |= admission.new.iter().any(|new| authority(&new.collection));
                }
                Err(RecvError::Lagged(_)) => from_start = true,
            }
        }
    }

    /// One pass: whether anything was fetched, and whether anything still lacks.
    ///
    /// `from_start` reads the whole log: a key that was granted since makes old releases stand.
    async fn keep_round(
        &self,
        from_start: bool,
        places: &mut Places,
    ) -> Result<(bool, bool), Error> {
        let (listed, lists_lack) = self.fetch_lists().await?;
        // What a list seals stands now.
        let fresh = self.read_log(from_start || listed).await?;
        let (fetched, lacking) = self.fetch_lacking(fresh, places).await?;
        let (wants, wanting) = self.due_wants()?;
        let tries = wants.into_iter().map(|(digest, want)| self.try_want(digest, want));
        let tries = stream::iter(tries).buffer_unordered(KEEP_AT_ONCE);
        let tried: Vec<_> = tries.take_until(tokio::time::sleep(ROUND_MAX)).collect().await;
        let found = tried.into_iter().collect::<Result<Vec<bool>, _>>()?;
        let progressed = listed || fetched || found.contains(&true);
        Ok((progressed, lists_lack || lacking || wanting))
    }

    /// Realms that are held for their authority alone: nothing of theirs is kept.
    fn delegates(&self) -> Result<BTreeSet<RealmId>, Error> {
        let followed = self.inner.store.followed()?.into_iter();
        let delegates = followed.filter(|one| one.kind == FollowKind::Delegate);
        Ok(delegates.map(|one| one.realm).collect())
    }

    /// Turns releases admitted since the cursor into rows of the queue; answers the last of them.
    pub(super) async fn read_log(&self, from_start: bool) -> Result<Vec<Entry>, Error> {
        let store = &self.inner.store;
        let (mut fresh, delegates) = (Vec::new(), self.delegates()?);
        let mut progress = self.progress()?;
        let same = progress.epoch == store.epoch();
        let seen = if same { progress.sequence } else { 0 };
        if progress.keys != KEYS {
            while store.delete_rows(KEEP, DROPPED_AT_ONCE).await? > 0 {}
        }
        if from_start || !same || progress.keys != KEYS {
            progress = Progress { epoch: store.epoch(), sequence: 0, keys: KEYS, ..progress };
        }
        while let Some(page) = store.log(progress.sequence, LOG_PAGE) {
            let Some((last, ..)) = page.last() else { break };
            progress.sequence = *last;
            let mut queued = Vec::new();
            for (sequence, collection, item) in &page {
                if matches!(collection, Collection::Format(..))
                    && !delegates.contains(&collection.realm())
                {
                    let is_new = *sequence > seen;
                    self.lacking_of((item.id, item.key), is_new, &mut queued).await?;
                }
            }
            self.queue(&queued).await?;
            self.advance(progress).await?;
            fresh = queued;
        }
        Ok(fresh)
    }

    /// Writes rows of the queue, in one commit.
    async fn queue(&self, lacking: &[Entry]) -> Result<(), Error> {
        let mut rows = Vec::new();
        for (digest, row) in lacking {
            let value = serde_json::to_vec(row).map_err(|e| Error::invalid(e.to_string()))?;
            rows.push((row.key(digest), value));
        }
        Ok(self.inner.store.put_rows(KEEP, rows).await?)
    }

    /// What lacks of one release, if it is one. What a new one says of bytes that are held already
    /// is compared with them now, as they will not arrive again.
    async fn lacking_of(
        &self,
        (id, signer): (StatementId, PublicKey),
        is_new: bool,
        lacking: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let Some(statement) = self.inner.store.statement(&id)? else { return Ok(()) };
        let statement = statement.statement();
        let (Body::Release(release), Some(package)) = (statement.body(), statement.package())
        else {
            return Ok(());
        };
        let files = release.files.iter().map(|file| (file.blake3, file.size, false));
        let metas = release.files.iter().filter_map(|file| match &file.meta.as_ref()?.body {
            MetaBody::Blob(blob) => Some((blob.digest, blob.size, true)),
            MetaBody::Inline(_) => None,
        });
        let extras = release.extras.iter().map(|blob| (blob.digest, blob.size, true));
        for (digest, size, attached) in files.chain(metas).chain(extras) {
            let held = self.inner.store.blob(&digest)?.is_some();
            if held && is_new && !attached && signer != self.publisher_key() {
                self.check_meta(&digest).await?;
            }
            if held || size > KEEP_FILE_MAX {
                continue;
            }
            let package = package.clone();
            lacking.push((digest, Lacking { package, release: id, signer, size, attached }));
        }
        Ok(())
    }

    /// Fetches what lacks, a few at a time and the fresh ones first: one slow peer holds up nobody
    /// else's files. Says whether anything came, and whether anything that has room still lacks.
    async fn fetch_lacking(
        &self,
        fresh: Vec<Entry>,
        places: &mut Places,
    ) -> Result<(bool, bool), Error> {
        let mut progress = self.progress()?;
        let budget_bytes = self.keep_budget()?.saturating_sub(progress.kept_bytes);
        let stretch = self.next_stretch(places).await?;
        if self.is_alone().await {
            return Ok((false, !stretch.entries.is_empty()));
        }
        let entries = stretch.choose(fresh, budget_bytes);
        let digests: Vec<Digest> = entries.iter().map(|(digest, _)| *digest).collect();
        let chosen = entries.len();
        let fetches = entries.into_iter().map(|(digest, row)| self.keep_one(digest, row));
        let fetches = stream::iter(fetches).buffer_unordered(KEEP_AT_ONCE);
        let tried: Vec<_> = fetches.take_until(tokio::time::sleep(ROUND_MAX)).collect().await;
        let under_way = KEEP_AT_ONCE.min(chosen - tried.len());
        let tried = tried.into_iter().collect::<Result<Vec<Option<u64>>, _>>()?;
        let kept: Vec<u64> = tried.iter().copied().flatten().collect();
        // What lacks still waits there; the next pass begins behind it.
        stretch.had_turns(places, &digests, tried.len() + under_way);
        progress.kept_bytes += kept.iter().sum::<u64>();
        if !kept.is_empty() {
            self.set_progress(progress).await?;
        }
        Ok((!kept.is_empty(), kept.len() < chosen || stretch.more))
    }

    async fn next_stretch(&self, places: &mut Places) -> Result<Stretch, Error> {
        let (store, mut at) = (self.inner.store.clone(), std::mem::take(places));
        let read = move || Stretch::read(&store, &mut at).map(|stretch| (stretch, at));
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|_| Error::invalid("the queue could not be read"))?;
        let (stretch, at) = read?;
        *places = at;
        Ok(stretch)
    }

    /// Whether nobody is connected: then nobody has a file, and nothing is looked up in vain.
    async fn is_alone(&self) -> bool {
        match self.mesh() {
            Some(mesh) => mesh.peers().await.is_empty(),
            None => true,
        }
    }

    /// Fetches one file; answers the bytes it counts for, or `None` if nothing came.
    async fn keep_one(&self, digest: Digest, row: Lacking) -> Result<Option<u64>, Error> {
        let store = &self.inner.store;
        let Some(mesh) = self.mesh() else { return Ok(None) };
        if !self.stands(&row)? {
            store.delete_row(KEEP, &row.key(&digest)).await?;
            return Ok(None);
        }
        // Here already: it came after its pass was over, or somebody asked for it.
        if store.blob(&digest)?.is_none()
            && let Err(error) = mesh.fetch_in(Lane::Bulk, digest, row.size).await
        {
            tracing::debug!(%error, %digest, "not kept yet");
            return Ok(None);
        }
        self.check_meta(&digest).await?;
        store.delete_row(KEEP, &row.key(&digest)).await?;
        Ok(Some(if row.attached { 0 } else { row.size }))
    }

    /// Whether a standing publisher is behind the release, or the realm's authority has not
    /// arrived yet.
    fn stands(&self, row: &Lacking) -> Result<bool, Error> {
        let Some(statement) = self.inner.store.statement(&row.release)? else { return Ok(false) };
        let realm = statement.statement().realm();
        if self.inner.store.authority(&realm)?.head.is_none() {
            return Ok(true);
        }
        let view = self.inner.store.package(&realm, &row.package)?;
        Ok(view.is_some_and(|view| {
            view.versions.values().any(|version| version.releases.contains(&row.release))
        }))
    }

    fn keep_budget(&self) -> Result<u64, Error> {
        let progress = self.progress()?;
        let room = self.inner.store.room()?;
        // What was let go since may come again, but nothing comes only to be let go.
        let kept = progress.kept_bytes.saturating_sub(self.freed()?);
        let most = KEEP_TOTAL_MAX.min((room.free + kept) / 10);
        let ahead = most.saturating_sub(kept).min(room.spare());
        Ok(progress.kept_bytes.saturating_add(ahead))
    }

    fn progress(&self) -> Result<Progress, Error> {
        if let Some(progress) = *self.inner.kept_to.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(progress);
        }
        self.written_progress()
    }

    fn written_progress(&self) -> Result<Progress, Error> {
        let row = self.inner.store.row(KEEP_STATE, "log")?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default())
    }

    /// Remembers how far the log was read. What a start reads once more is known by then, so a
    /// release that brings nothing to fetch costs no commit.
    async fn advance(&self, progress: Progress) -> Result<(), Error> {
        let written = self.written_progress()?;
        let behind = progress.sequence.abs_diff(written.sequence);
        if written.epoch != progress.epoch || behind >= REREAD_MAX {
            return self.set_progress(progress).await;
        }
        *self.inner.kept_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        Ok(())
    }

    async fn set_progress(&self, progress: Progress) -> Result<(), Error> {
        *self.inner.kept_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        let value = serde_json::to_vec(&progress).map_err(|e| Error::invalid(e.to_string()))?;
        self.inner.store.put_row(KEEP_STATE, "log", value).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Mesh;
    use crate::mesh::tests::{lists, slow};
    use crate::store::Store;

    async fn keep(store: Store, mesh: Mesh) {
        let publisher = crdt::SecretKey::from_seed(&[7; 32]);
        let own = RealmId(Digest::of(b"own"));
        let upstream = crate::upstream::Upstream::new(store.clone(), true).expect("starts");
        let registry = Registry::new(crate::registry::Setup {
            upstream,
            mirror: crdt::SecretKey::from_seed(&[77; 32]),
            store,
            mesh: Some(mesh),
            rules: Vec::new(),
            publisher,
            own,
        });
        registry.expect("starts").keep_new_artifacts().await.expect("goes on");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_trickles_in_does_not_hold_up_new_artifacts_of_others() {
        slow::a_new_artifact_comes_past_a_trickling_peer(keep).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lists_of_seals_come_without_being_asked_for() {
        lists::the_list_of_a_seal_comes_with_the_realm(keep).await;
    }
}
