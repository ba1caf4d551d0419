//! `griot verify`: what is held is read again, what rotted is put aside and fetched anew.
//!
//! At a bounded rate, so that a disk serves others meanwhile. Where it is, is remembered every few
//! seconds: a run that was cut goes on there. Something that rotted is fetched as anything that
//! lacks: from a connected peer by its digest, or from the upstream as the document declares; what
//! nobody near has becomes a want. Each finding says in words what it was, and is remembered with
//! the place: what the last run found is told by `status` and by the run after it.
//!
//! `griot up --scrub` does the same by itself, a run in each period, also of a node that is
//! restarted more often than that.
//!
//! Source: product.md section 10.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crdt::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard, mpsc};

use super::documents::DocumentAsk;
use super::upkeep::{self, LastVerify};
use super::{BlobInfo, Door, Error, Registry};
use crate::store::verify::Rotten;
use run::{Pace, Run};

mod index;
mod run;

pub use index::{IndexStep, IndexVerified};

/// The kind of row that remembers where a run is.
const VERIFY: &str = "verify";
const POSITION: &str = "position";
/// How long a person waits for that.
const YIELD_MAX: Duration = Duration::from_secs(10);
/// After a background run that failed, at the latest.
const SCRUB_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Findings that are remembered, the newest ones.
const FINDINGS_MAX: usize = 100;
/// How long they are, as the files in quarantine.
const FINDINGS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How a run is to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOrder {
    /// Bytes a second; as fast as it goes if absent.
    pub rate: Option<u64>,
    /// Begin at the beginning, also if a run was cut.
    #[serde(default)]
    pub anew: bool,
}

/// How the background runs are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// Bytes a second.
    pub rate: u64,
    /// From the end of one run to the beginning of the next.
    pub every: Duration,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs in all.
    pub blobs_of: u64,
    /// Bytes in all.
    pub bytes_of: u64,
}

/// What became of something that rotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mended {
    /// It is here again, whole.
    FetchedAgain,
    /// Nobody near has it; it is wanted.
    Missing,
    /// Nothing needed it any more.
    NotNeeded,
}

/// Something that rotted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Seconds of this node's clock when it was found.
    #[serde(default)]
    pub at: u64,
    /// What it was: `name@version (file)`, each that it was.
    pub names: Vec<String>,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What became of it.
    pub end: Mended,
    /// Why it is missing, if it is.
    pub why: Option<String>,
}

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// What was read, in this run and the one that it went on with.
    pub course: Course,
    /// What rotted, found in this run and the one that it went on with.
    pub findings: Vec<Finding>,
    /// Whether it went on where one was cut.
    pub resumed: bool,
    /// The last run before it that came to its end, whoever began it.
    #[serde(default)]
    pub last: Option<LastVerify>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyStep {
    /// How far it is.
    At(Course),
    /// Something rotted.
    Found(Finding),
    /// The end.
    Done(Scrubbed),
}

/// Where a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    after: Digest,
    blobs: u64,
    bytes: u64,
    #[serde(default)]
    findings: Vec<Finding>,
}

/// Whose turn it is to verify.
#[derive(Debug, Default)]
pub(super) struct Turn {
    held: Mutex<()>,
    /// A person waits for it.
    asked: AtomicBool,
}

impl Registry {
    /// Reads all blobs again, puts aside what rotted, and fetches it anew.
    ///
    /// # Errors
    /// Conflict while another run is under way; when the store fails, or nobody listens any more:
    /// the next run goes on from there.
    pub async fn verify(
        &self,
        order: VerifyOrder,
        steps: Option<&mpsc::Sender<VerifyStep>>,
    ) -> Result<Scrubbed, Error> {
        let _alone = self.alone(steps.is_some()).await?;
        let from = if order.anew { None } else { self.position()? };
        let of = self.inner.store.blob_amount()?;
        let (resumed, last) = (from.is_some(), self.last_verify()?);
        let mut verified = Scrubbed { resumed, last, ..Scrubbed::default() };
        verified.course = Course { blobs_of: of.count, bytes_of: of.bytes, ..Course::default() };
        let after = from.as_ref().map(|from| from.after);
        if let Some(from) = from {
            (verified.course.blobs, verified.course.bytes) = (from.blobs, from.bytes);
            verified.findings = self.as_of_now(from.findings)?;
        }
        let (now, rate) = (Instant::now(), order.rate);
        let pace = Pace { rate, began: now, bytes: 0 };
        let mut run =
            Run { registry: self, steps, pace, verified, after: None, told: now, remembered: now };
        if let Err(error) = run.all(after).await {
            run.leave().await?;
            return Err(error);
        }
        self.inner.store.recount().await?;
        self.note_verified(&run.verified).await?;
        self.inner.store.delete_row(VERIFY, POSITION).await?;
        run.tell(VerifyStep::Done(run.verified.clone())).await?;
        Ok(run.verified)
    }

    /// One run at a time. A person's goes on where one in the background was, which ends.
    async fn alone(&self, is_persons: bool) -> Result<MutexGuard<'_, ()>, Error> {
        let turn = &self.inner.verifying;
        let mine = match turn.held.try_lock() {
            Err(_) if is_persons => {
                turn.asked.store(true, Ordering::Relaxed);
                let waited = tokio::time::timeout(YIELD_MAX, turn.held.lock()).await;
                turn.asked.store(false, Ordering::Relaxed);
                waited.ok()
            }
            mine => mine.ok(),
        };
        mine.ok_or_else(|| {
            Error::conflict("another griot verify is under way").with_hint("wait for its end")
        })
    }

    /// What the last run found that came to its end, and what has come back since.
    ///
    /// # Errors
    /// When the store fails.
    pub fn last_verify(&self) -> Result<Option<LastVerify>, Error> {
        let last = upkeep::last::<LastVerify>(&self.inner.store, upkeep::VERIFY)?;
        let now = |last: LastVerify| {
            let findings = self.as_of_now(last.findings)?;
            Ok(LastVerify { findings, ..last })
        };
        last.map(now).transpose()
    }

    async fn note_verified(&self, done: &Scrubbed) -> Result<(), Error> {
        let Course { blobs, bytes, .. } = done.course;
        let (at, rotten) = (upkeep::now(), done.findings.len() as u64);
        let before = done.last.iter().flat_map(|last| &last.findings);
        let recent = |found: &&Finding| at.saturating_sub(found.at) <= FINDINGS_KEPT.as_secs();
        let findings = done.findings.iter().chain(before.filter(recent));
        let findings = findings.take(FINDINGS_MAX).cloned().collect();
        let last = LastVerify { at, blobs, bytes, rotten, findings };
        upkeep::note(&self.inner.store, upkeep::VERIFY, &last).await
    }

    /// What was missing may have come since.
    fn as_of_now(&self, mut findings: Vec<Finding>) -> Result<Vec<Finding>, Error> {
        for found in findings.iter_mut().filter(|found| found.end == Mended::Missing) {
            if self.inner.store.blob(&found.digest)?.is_some() {
                (found.end, found.why) = (Mended::FetchedAgain, None);
            }
        }
        Ok(findings)
    }

    /// Verifies in the background, a run in each period, for as long as the node runs.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn scrub(self, scrub: Scrub) -> Result<(), Error> {
        loop {
            let last = upkeep::last::<LastVerify>(&self.inner.store, upkeep::VERIFY);
            let last = last.unwrap_or_default().map(|last| last.at);
            tokio::time::sleep(upkeep::due_in(upkeep::now(), last, scrub.every)).await;
            let order = VerifyOrder { rate: Some(scrub.rate), anew: false };
            match self.verify(order, None).await {
                Ok(done) if done.findings.is_empty() => {}
                Ok(done) => {
                    tracing::warn!(rotten = done.findings.len(), "the disk damages files");
                }
                Err(error) => {
                    tracing::warn!(%error, "the background verification failed");
                    tokio::time::sleep(scrub.every.min(SCRUB_AGAIN)).await;
                }
            }
        }
    }

    fn position(&self) -> Result<Option<Position>, Error> {
        let row = self.inner.store.row(VERIFY, POSITION)?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
    }

    /// Puts a rotten blob aside and fetches it anew; `None` if it was whole or gone by then.
    async fn mend(&self, info: &BlobInfo, rotten: Rotten) -> Result<Option<Finding>, Error> {
        let BlobInfo { digest, size, .. } = info;
        if !self.inner.store.quarantine(digest, rotten).await? {
            return Ok(None);
        }
        tracing::error!(%digest, "a file rotted on the disk: it was put aside");
        // What a bucket has is recorded still: reading it makes a new copy.
        let recalled = match self.inner.store.bucket() {
            Some(_) => self.inner.store.open_blob(digest).await.map(|_| ()),
            None => Ok(()),
        };
        let (names, fetched) = self.fetch_again(digest).await?;
        let held = self.inner.store.blob(digest)?.is_some();
        let (end, why) = match fetched {
            _ if recalled.is_err() => (Mended::Missing, recalled.err().map(|e| e.to_string())),
            _ if held => (Mended::FetchedAgain, None),
            Some(Err(error)) => (Mended::Missing, Some(error.message)),
            // Another body has come, or none was named.
            Some(Ok(())) | None => (Mended::NotNeeded, None),
        };
        let (digest, size) = (*digest, *size);
        Ok(Some(Finding { at: upkeep::now(), names, digest, size, end, why }))
    }

    /// By every name that it has, until it is here. Says which they are, and how the last try went.
    async fn fetch_again(
        &self,
        digest: &Digest,
    ) -> Result<(Vec<String>, Option<Result<(), Error>>), Error> {
        let store = &self.inner.store;
        let (mut names, mut end) = (Vec::new(), None);
        for found in store.artifact(digest)? {
            names.push(titled(&found.package.name, &found.version, &found.file));
            if store.blob(digest)?.is_none() {
                end = Some(self.fetch_artifact(&found).await);
            }
        }
        let (documents, files) = store.cached_naming(*digest).await?;
        for row in files {
            names.push(titled(&row.package, &row.version, &row.file));
            if store.blob(digest)?.is_none() {
                let package = self.package_id(&row.format, &row.package)?;
                let got = self.artifact(Door::Upstream, &package, &row.version, &row.file).await;
                end = Some(got.map(|_| ()));
            }
        }
        for row in documents.into_iter().filter(|row| row.body == Some(*digest)) {
            let subject = &row.subject;
            names.push(format!("{} (document)", subject.document));
            let Ok(package) = self.package_id(&subject.format, &subject.document) else { continue };
            let ask = DocumentAsk { variant: &subject.variant, refresh: true, wanted: true };
            end = Some(self.document(Door::Upstream, &package, ask).await.map(|_| ()));
        }
        Ok((names, end))
    }
}

fn titled(name: &str, version: &str, file: &str) -> String {
    if file.is_empty() {
        return format!("{name}@{version} (its description)");
    }
    format!("{name}@{version} ({file})")
}
