//! `griot verify`: what is held is read again, what rotted is put aside and fetched anew.
//!
//! At a bounded rate, so that a disk serves others meanwhile. Where it is, is remembered every few
//! seconds: a run that was cut goes on there. Something that rotted is fetched as anything that
//! lacks: from a connected peer by its digest, or from the upstream as the document declares; what
//! nobody near has becomes a want. Each finding says in words what it was.
//!
//! Source: product.md section 10.

use std::time::{Duration, Instant};

use crdt::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::documents::DocumentAsk;
use super::{BlobInfo, Door, Error, Registry};
use crate::store::verify::{Checked, Rotten};

/// The kind of row that remembers where a run is.
const VERIFY: &str = "verify";
const POSITION: &str = "position";
/// How often it is remembered.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Blobs that are listed at a time.
const PAGE: usize = 256;
/// Between two background runs.
const SCRUB_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How a run is to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOrder {
    /// Bytes a second; as fast as it goes if absent.
    pub rate: Option<u64>,
    /// Begin at the beginning, also if a run was cut.
    #[serde(default)]
    pub anew: bool,
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
    /// What rotted, found in this run.
    pub findings: Vec<Finding>,
    /// Whether it went on where one was cut.
    pub resumed: bool,
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
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position {
    after: Digest,
    blobs: u64,
    bytes: u64,
}

/// A run under way.
struct Run<'a> {
    registry: &'a Registry,
    steps: Option<&'a mpsc::Sender<VerifyStep>>,
    pace: Pace,
    verified: Scrubbed,
    told: Instant,
    remembered: Instant,
}

/// Not more bytes than so many a second.
struct Pace {
    rate: Option<u64>,
    began: Instant,
    bytes: u64,
}

impl Pace {
    /// When the next bytes may be read.
    fn due(&self) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let millis = self.bytes.saturating_mul(1000) / rate;
        Duration::from_millis(millis).checked_sub(self.began.elapsed())
    }
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
        let _alone = self.inner.verifying.try_lock().map_err(|_| {
            Error::conflict("the store is being verified already").with_hint("griot status")
        })?;
        let from = if order.anew { None } else { self.position()? };
        let of = self.inner.store.blob_amount()?;
        let mut verified = Scrubbed { resumed: from.is_some(), ..Scrubbed::default() };
        verified.course = Course { blobs_of: of.count, bytes_of: of.bytes, ..Course::default() };
        if let Some(from) = from {
            (verified.course.blobs, verified.course.bytes) = (from.blobs, from.bytes);
        }
        let (now, rate) = (Instant::now(), order.rate);
        let pace = Pace { rate, began: now, bytes: 0 };
        let mut run = Run { registry: self, steps, pace, verified, told: now, remembered: now };
        run.all(from.map(|from| from.after)).await?;
        self.inner.store.recount().await?;
        self.inner.store.delete_row(VERIFY, POSITION).await?;
        run.tell(VerifyStep::Done(run.verified.clone())).await?;
        Ok(run.verified)
    }

    /// Verifies in the background, a run a week, for as long as the node runs.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn scrub(self, rate: u64) -> Result<(), Error> {
        loop {
            let order = VerifyOrder { rate: Some(rate), anew: false };
            match self.verify(order, None).await {
                Ok(done) if done.findings.is_empty() => {}
                Ok(done) => {
                    tracing::warn!(rotten = done.findings.len(), "the disk damages files");
                }
                Err(error) => tracing::warn!(%error, "the background verification failed"),
            }
            tokio::time::sleep(SCRUB_EVERY).await;
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
        Ok(Some(Finding { names, digest, size, end, why }))
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

impl Run<'_> {
    async fn all(&mut self, mut after: Option<Digest>) -> Result<(), Error> {
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
        if let Some(rotten) = self.read(info.clone()).await?
            && let Some(finding) = self.registry.mend(&info, rotten).await?
        {
            self.tell(VerifyStep::Found(finding.clone())).await?;
            self.verified.findings.push(finding);
        }
        let course = &mut self.verified.course;
        (course.blobs, course.bytes) = (course.blobs + 1, before + info.size);
        if self.remembered.elapsed() >= REMEMBER_EVERY {
            self.remembered = Instant::now();
            let position = Position { after: digest, blobs: course.blobs, bytes: course.bytes };
            let value = serde_json::to_vec(&position).map_err(|e| Error::invalid(e.to_string()))?;
            self.registry.inner.store.put_row(VERIFY, POSITION, value).await?;
            tracing::debug!(blobs = position.blobs, "remembered the verify position");
        }
        self.progress().await
    }

    /// Reads one blob at the pace.
    async fn read(&mut self, info: BlobInfo) -> Result<Option<Rotten>, Error> {
        let Some(mut check) = self.registry.inner.store.check_blob(info).await? else {
            return Ok(Some(Rotten::MISSING));
        };
        loop {
            if let Some(wait) = self.pace.due() {
                tokio::time::sleep(wait).await;
            }
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

    async fn progress(&mut self) -> Result<(), Error> {
        if self.told.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        self.tell(VerifyStep::At(self.verified.course)).await
    }

    async fn tell(&self, step: VerifyStep) -> Result<(), Error> {
        let Some(steps) = self.steps else { return Ok(()) };
        steps.send(step).await.map_err(|_| Error::invalid("nobody listens any more"))
    }
}

fn titled(name: &str, version: &str, file: &str) -> String {
    if file.is_empty() {
        return format!("{name}@{version} (its description)");
    }
    format!("{name}@{version} ({file})")
}
