//! Brings what a project lacks: the documents first, since they say where the files are.
//!
//! A few at a time; one that fails does not stop the rest. What is held is not asked for, so a cut
//! costs only what was under way. At the end everything is checked again: the last word is the
//! proof, never the sum of what went well.
//!
//! Who drops the future stops it; flights that are under way land all the same.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::check::Missing;
use super::integrity::Integrity;
use super::{Lack, LackOf, Project, Report};
use crate::registry::{Document, DocumentAsk, Door, Error, Outcome, Registry};

/// Fetches at a time.
const AT_ONCE: usize = 8;
/// A refusal after this long is impatience. Silence alone ends the wait for an upstream sooner, and
/// is remembered for a while: then the next refusal comes at once.
const SLOW: Duration = Duration::from_secs(5);
/// How often one thing is asked for again: a gigabyte over a slow link comes in that time, and a
/// document that a live upstream never gives ends the wait.
const ASKED_MAX: u32 = 120;
/// A refusal that comes sooner than a person's patience ends is that of the flight itself.
const WHOLE_WAIT: Duration = Duration::from_secs(24);
/// So many of those are enough.
const FAILED_MAX: u32 = 3;
/// The kind of row that remembers what was prefetched: hash of format and path → [`Kept`].
const PROJECT: &str = "project";

/// How far it is. The last one is [`Progress::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Progress {
    /// What is to be done; told again when the documents have said more.
    Plan {
        /// Packages of the project that come from a registry.
        packages: u64,
        /// Those that lack something.
        need: u64,
        /// Things to fetch from now on.
        things: u64,
        /// Their bytes, as far as they are known.
        bytes: u64,
        /// Things of which the size is not known.
        unknown: u64,
    },
    /// One more thing is held.
    Fetched {
        /// The package.
        name: String,
        /// Its version; absent for a document.
        version: Option<String>,
        /// Its bytes.
        bytes: u64,
    },
    /// One could not be had.
    Failed(Failed),
    /// All was tried, and everything was looked at again.
    Done {
        /// What lacks still.
        report: Report,
    },
}

/// Something that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The package.
    pub name: String,
    /// Its version; absent for a document.
    pub version: Option<String>,
    /// In words.
    pub why: String,
}

/// What is remembered of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    format: String,
    path: String,
    /// `name@version`.
    packages: Vec<String>,
}

impl Registry {
    /// Fetches what a project lacks, and tells how far it is.
    ///
    /// # Errors
    /// As [`Registry::check`]; what cannot be had is told, and is no error.
    pub async fn prefetch(
        &self,
        project: &Project,
        node: &str,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Error> {
        let mut survey = self.survey(project, node).await?;
        self.remember(project).await?;
        tell(&progress, plan(&survey.report)).await;
        let names = names_to_ask(&survey.report);
        if !names.is_empty() {
            let documents = names
                .into_iter()
                .map(|(name, refresh)| self.bring_document(project, name, refresh));
            run(documents, &progress).await;
            survey = self.survey(project, node).await?;
            tell(&progress, plan(&survey.report)).await;
        }
        let missing = survey.missing.into_iter();
        let files = missing.map(|missing| self.bring_file(&project.format, missing));
        run(files, &progress).await;
        let report = self.check(project, node).await?;
        tell(&progress, Progress::Done { report }).await;
        Ok(())
    }

    async fn bring_document(&self, project: &Project, name: String, refresh: bool) -> Progress {
        let fetched = async {
            let package = self.package_id(&project.format, &name)?;
            let ask = DocumentAsk { variant: &project.document, refresh, wanted: true };
            patiently(|| self.document(Door::Virtual, &package, ask)).await
        };
        match fetched.await {
            Ok(Document::Upstream(found)) => {
                Progress::Fetched { name, version: None, bytes: found.size }
            }
            Ok(Document::Hosted(_)) => Progress::Fetched { name, version: None, bytes: 0 },
            Err(error) => failed(name, None, &error),
        }
    }

    async fn bring_file(&self, format: &str, missing: Missing) -> Progress {
        let Missing { name, version, slot: (normal, file), demanded } = missing;
        let fetched = async {
            let package = self.package_id(format, &name)?;
            patiently(|| self.artifact(Door::Virtual, &package, &normal, &file)).await
        };
        let version = Some(version);
        let got = match fetched.await {
            Ok(got) => got,
            Err(error) => return failed(name, version, &error),
        };
        let demanded = demanded.as_deref().and_then(Integrity::parse);
        if demanded.is_some_and(|demanded| demanded.fits(&got.info.checksums) == Some(false)) {
            let why = "its bytes are not those that the lockfile demands".to_owned();
            return Progress::Failed(Failed { name, version, why });
        }
        Progress::Fetched { name, version, bytes: got.info.size }
    }

    /// Writes down that this project wants these packages.
    async fn remember(&self, project: &Project) -> Result<(), Error> {
        let registry = project.locked.iter().filter(|locked| locked.from.is_registry());
        let mut packages: Vec<_> =
            registry.map(|locked| format!("{}@{}", locked.name, locked.version)).collect();
        // A version of several files stands there once.
        packages.dedup();
        let (format, path) = (project.format.clone(), project.path.clone());
        let key = blake3::hash(format!("{format} {path}").as_bytes()).to_hex();
        let kept = Kept { format, path, packages };
        let value = serde_json::to_vec(&kept).map_err(|e| Error::invalid(e.to_string()))?;
        if self.inner.store.row(PROJECT, &key)?.as_ref() != Some(&value) {
            self.inner.store.put_row(PROJECT, &key, value).await?;
        }
        Ok(())
    }

    /// How many lockfiles were prefetched here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn projects(&self) -> Result<u64, Error> {
        Ok(self.inner.store.rows(PROJECT)?.len() as u64)
    }
}

/// Asks again while that takes its time: the use-cases wait only as long as a person would, and
/// what they have begun goes on. An answer that comes at once is the answer.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut patience = Patience::default();
    loop {
        let started = Instant::now();
        match ask().await {
            Err(error)
                if error.outcome == Outcome::NotHere && patience.lasts(started.elapsed()) =>
            {
                tracing::debug!(why = error.message, "it takes long; asked again");
            }
            answer => return answer,
        }
    }
}

/// What was refused so far.
#[derive(Debug, Default)]
struct Patience {
    asked: u32,
    failed: u32,
}

impl Patience {
    /// Whether a refusal after so long is worth another try.
    fn lasts(&mut self, waited: Duration) -> bool {
        self.asked += 1;
        self.failed += u32::from(waited < WHOLE_WAIT);
        waited > SLOW && self.asked < ASKED_MAX && self.failed < FAILED_MAX
    }
}

/// Runs a few at a time, and tells of each as it ends.
async fn run<F>(work: impl Iterator<Item = F>, progress: &mpsc::Sender<Progress>)
where
    F: Future<Output = Progress>,
{
    let mut under_way = stream::iter(work).buffer_unordered(AT_ONCE);
    while let Some(one) = under_way.next().await {
        tell(progress, one).await;
    }
}

/// Nobody may listen any more: then this future is about to be dropped.
async fn tell(progress: &mpsc::Sender<Progress>, one: Progress) {
    drop(progress.send(one).await);
}

fn plan(report: &Report) -> Progress {
    let can = |lack: &&Lack| lack.what != LackOf::Unobtainable;
    let things = report.lacks.iter().filter(can);
    Progress::Plan {
        packages: report.packages,
        need: report.need,
        things: things.clone().count() as u64,
        bytes: things.clone().filter_map(|lack| lack.size).fold(0, u64::saturating_add),
        unknown: things.filter(|lack| lack.size.is_none()).count() as u64,
    }
}

/// Names whose document lacks, or does not know a version that is locked: that one is asked for
/// anew.
fn names_to_ask(report: &Report) -> BTreeSet<(String, bool)> {
    let lacks = |what| report.lacks.iter().filter(move |lack| lack.what == what);
    let absent: BTreeSet<&str> = lacks(LackOf::Document).map(|lack| lack.name.as_str()).collect();
    let old = lacks(LackOf::Version).filter(|lack| !absent.contains(lack.name.as_str()));
    let anew = old.map(|lack| (lack.name.clone(), true));
    absent.iter().map(|name| ((*name).to_owned(), false)).chain(anew).collect()
}

fn failed(name: String, version: Option<String>, error: &Error) -> Progress {
    Progress::Failed(Failed { name, version, why: error.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_is_asked_for_a_few_times_and_no_more() {
        for (waits, most) in [(&[25, 6][..], 6), (&[25], ASKED_MAX as usize), (&[1], 1)] {
            let mut patience = Patience::default();
            let mut waits = waits.iter().cycle().map(|seconds| Duration::from_secs(*seconds));
            let asked = 1 + waits.by_ref().take_while(|wait| patience.lasts(*wait)).count();
            assert_eq!(asked, most);
        }
    }
}
