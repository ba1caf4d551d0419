//! One verification: blob after blob, at a pace, with a place to go on at.
//!
//! A run in the background ends when a person wants to verify, who then goes on where it was. What
//! became of what rotted is decided in `scrub`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crdt::Digest;
use tokio::sync::mpsc;

use super::super::{BlobInfo, Error, Registry};
use super::{FINDINGS_MAX, POSITION, Position, Scrubbed, VERIFY, VerifyStep};
use crate::store::verify::{Checked, Rotten};

/// How often it is remembered.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How often progress is told.
pub(super) const TELL_EVERY: Duration = Duration::from_millis(250);
/// Blobs that are listed at a time.
const PAGE: usize = 256;
/// A run in the background that waits looks so often whether a person wants to go on with it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) registry: &'a Registry,
    pub(super) steps: Option<&'a mpsc::Sender<VerifyStep>>,
    pub(super) pace: Pace,
    pub(super) verified: Scrubbed,
    /// The last blob that was read to its end, and the bytes up to there.
    pub(super) after: Option<(Digest, u64)>,
    pub(super) told: Instant,
    pub(super) remembered: Instant,
}

/// Not more bytes than so many a second.
pub(super) struct Pace {
    pub(super) rate: Option<u64>,
    pub(super) began: Instant,
    pub(super) bytes: u64,
}

impl Pace {
    /// When the next bytes may be read.
    fn due(&self) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let millis = self.bytes.saturating_mul(1000) / rate;
        Duration::from_millis(millis).checked_sub(self.began.elapsed())
    }
}

impl Run<'_> {
    pub(super) async fn all(&mut self, mut after: Option<Digest>) -> Result<(), Error> {
        loop {
            let page = self.registry.inner.store.blobs_after(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.digest);
            for info in page {
                self.one(info).await?;
            }
        }
    }

    async fn one(&mut self, info: BlobInfo) -> Result<(), Error> {
        let (digest, before) = (info.digest, self.verified.course.bytes);
        let mut found = false;
        if let Some(rotten) = self.read(info.clone()).await?
            && let Some(finding) = self.registry.mend(&info, rotten).await?
        {
            self.tell(VerifyStep::Found(finding.clone())).await?;
            self.verified.findings.push(finding);
            found = true;
        }
        let course = &mut self.verified.course;
        (course.blobs, course.bytes) = (course.blobs + 1, before + info.size);
        self.after = Some((digest, course.bytes));
        if found || self.remembered.elapsed() >= REMEMBER_EVERY {
            self.remember((digest, before + info.size)).await?;
        }
        self.progress().await
    }

    /// A run that is cut goes on behind this blob.
    async fn remember(&mut self, (after, bytes): (Digest, u64)) -> Result<(), Error> {
        self.remembered = Instant::now();
        let (course, findings) = (&self.verified.course, &self.verified.findings);
        let findings = findings.iter().take(FINDINGS_MAX).cloned().collect();
        let position = Position { after, blobs: course.blobs, bytes, findings };
        let value = serde_json::to_vec(&position).map_err(|e| Error::invalid(e.to_string()))?;
        self.registry.inner.store.put_row(VERIFY, POSITION, value).await?;
        tracing::debug!(blobs = position.blobs, "remembered the verify position");
        Ok(())
    }

    /// Reads one blob at the pace.
    async fn read(&mut self, info: BlobInfo) -> Result<Option<Rotten>, Error> {
        let Some(mut check) = self.registry.inner.store.check_blob(info).await? else {
            return Ok(Some(Rotten::MISSING));
        };
        loop {
            self.go_slow().await?;
            match check.go_on().await? {
                Checked::Going(on, bytes) => {
                    check = on;
                    self.pace.bytes += bytes;
                    self.verified.course.bytes += bytes;
                    self.progress().await?;
                }
                Checked::Sound => return Ok(None),
                Checked::Rotten(rotten) => return Ok(Some(rotten)),
            }
        }
    }

    /// Waits until the next bytes may be read; a run in the background ends for a person's.
    async fn go_slow(&self) -> Result<(), Error> {
        loop {
            let asked = &self.registry.inner.verifying.asked;
            if self.steps.is_none() && asked.load(Ordering::Relaxed) {
                return Err(Error::conflict("griot verify goes on with it"));
            }
            let Some(wait) = self.pace.due() else { return Ok(()) };
            tokio::time::sleep(wait.min(LOOK_EVERY)).await;
        }
    }

    /// The next run goes on here.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        // What was read of the blob under way is read again.
        match self.after {
            Some(after) => self.remember(after).await,
            None => Ok(()),
        }
    }

    async fn progress(&mut self) -> Result<(), Error> {
        if self.told.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        self.tell(VerifyStep::At(self.verified.course)).await
    }

    pub(super) async fn tell(&self, step: VerifyStep) -> Result<(), Error> {
        let Some(steps) = self.steps else { return Ok(()) };
        steps.send(step).await.map_err(|_| Error::invalid("nobody listens any more"))
    }
}
