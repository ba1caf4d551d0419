//! Misses become wants: a file or a document that somebody asked for and nobody near had.
//!
//! A want is a row (kind `want`) that survives a restart. It is written when something that is
//! asked for by name cannot be had, never for a look at metadata of a realm nor for a client's
//! check for its own updates, and goes when it is here. The keep loop hears of each new one, and
//! tries wants again, each at its own pace.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt::statement::Subject;
use crdt::{Digest, PackageId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::documents::DocumentAsk;
use super::freshness;
use super::rules::Variant;
use super::sought::{Place, Sought};
use super::{Door, Error, Outcome, Registry};

/// The kind of row that `griot status` counts.
pub(super) const WANT: &str = "want";
/// Wants of upstreams at most: anybody who may ask can make one.
const WANTS_MAX: usize = 4096;
/// Wants that are tried in one round.
pub(super) const TRIED_AT_ONCE_MAX: usize = 32;
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Something that lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The package that it belongs to.
    pub package: PackageId,
    /// Its normal version; empty for a document.
    pub version: String,
    /// Its file name; of a document, its form.
    pub file: String,
    /// Its bytes; zero where nobody knows.
    pub size: u64,
    /// What it is.
    #[serde(default)]
    pub of: Wanted,
    /// Seconds since 1970 when it was first asked for in vain; zero where that was not noted.
    #[serde(default)]
    pub since: u64,
}

/// A want as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantRow {
    /// What lacks.
    #[serde(flatten)]
    pub want: Want,
    /// Why it lacks still, in words.
    pub why: String,
}

/// What a want is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// A file that a realm's release names by its digest.
    #[default]
    Artifact,
    /// A file of an upstream.
    UpstreamFile,
    /// A package's document of an upstream.
    Document,
}

/// When a want is tried next, and how long it is left alone after that.
#[derive(Debug, Default)]
pub(super) struct Pace {
    turns: Mutex<BTreeMap<Digest, (Instant, Duration)>>,
    news: Notify,
}

impl Pace {
    /// Something is wanted that was not before.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether its turn has come; the next one is later then.
    fn is_due(&self, key: &Digest, now: Instant) -> bool {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, wait) = turns.entry(*key).or_insert((now, RETRY_FIRST));
        if *next > now {
            return false;
        }
        *next = now + *wait;
        *wait = (*wait * 2).min(RETRY_MAX);
        true
    }

    fn forget(&self, key: &Digest) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Registry {
    /// Remembers that the file was asked for in vain.
    pub(super) async fn want(&self, digest: &Digest, want: Want) -> Result<(), Error> {
        let key = digest.to_hex();
        let store = &self.inner.store;
        let known = store.row(WANT, &key)?;
        let held: Option<Want> = known.as_deref().and_then(|row| serde_json::from_slice(row).ok());
        let since = held.as_ref().map_or_else(freshness::now, |held| held.since);
        let want = Want { since, ..want };
        // Tried again in vain every few seconds: that is no reason to write.
        if held.as_ref() == Some(&want) {
            return Ok(());
        }
        let value = serde_json::to_vec(&want).map_err(|e| Error::invalid(e.to_string()))?;
        if want.of != Wanted::Artifact
            && known.is_none()
            && store.counts()?.wants >= WANTS_MAX as u64
        {
            return Ok(());
        }
        // A burst of misses must not fill every thread with commits that wait for the disk.
        store.put_shared_row(WANT, &key, value).await?;
        self.inner.pace.news.notify_one();
        Ok(())
    }

    /// Remembers a file of an upstream.
    pub(super) async fn want_file(
        &self,
        sought: &Sought,
        slot: (&str, &str),
        size: u64,
    ) -> Result<(), Error> {
        let (version, file) = (slot.0.to_owned(), slot.1.to_owned());
        let package = sought.package.clone();
        let want = Want { package, version, file, size, of: Wanted::UpstreamFile, since: 0 };
        self.want(&file_key(&sought.package, slot), want).await
    }

    /// Remembers a document of an upstream.
    pub(super) async fn want_document(
        &self,
        sought: &Sought,
        variant: Variant,
    ) -> Result<(), Error> {
        let PackageId { format, name } = &sought.package;
        let (package, file) = (sought.package.clone(), variant.name.to_owned());
        let want =
            Want { package, version: String::new(), file, size: 0, of: Wanted::Document, since: 0 };
        self.want(&document_key(format, name, variant.name), want).await
    }

    /// What lacks, by digest; what has none yet, by a digest of its name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn wants(&self) -> Result<Vec<(Digest, Want)>, Error> {
        let rows = self.inner.store.rows(WANT)?;
        let read = |(key, value): (&String, &Vec<u8>)| {
            Some((key.parse().ok()?, serde_json::from_slice(value).ok()?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// What lacks, why, and since when; the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn want_list(&self) -> Result<Vec<WantRow>, Error> {
        let mut wants: Vec<Want> = self.wants()?.into_iter().map(|(_, want)| want).collect();
        wants.sort_by(|a, b| (a.since, &a.package).cmp(&(b.since, &b.package)));
        let row = |want: Want| WantRow { why: self.why_wanted(&want), want };
        Ok(wants.into_iter().map(row).collect())
    }

    fn why_wanted(&self, want: &Want) -> String {
        match self.place(Door::Virtual, &want.package) {
            Ok(Place::Upstream(_)) if self.inner.upstream.is_offline() => {
                "this node asks no upstream (--offline)".to_owned()
            }
            Ok(Place::Upstream(sought)) if self.is_away(&sought.origin()) => {
                format!("the upstream {} is out of reach", sought.endpoint.url)
            }
            Ok(Place::Upstream(sought)) => {
                format!("the upstream {} has not given it yet", sought.endpoint.url)
            }
            Ok(Place::Realm(realm, _)) => format!("no connected peer has it of {realm}"),
            Err(error) => error.message,
        }
    }

    /// Stops wanting everything of a name; how many wants that were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn want_forget(&self, name: &str, format: Option<&str>) -> Result<u64, Error> {
        let mut forgotten = 0;
        for (digest, want) in self.wants()? {
            let PackageId { format: of, name: known } = &want.package;
            if known == name && format.is_none_or(|format| format == of) {
                self.fulfil(&digest).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// It is here, or nobody will ever have it.
    pub(super) async fn fulfil(&self, digest: &Digest) -> Result<(), Error> {
        self.inner.pace.forget(digest);
        let key = digest.to_hex();
        if self.inner.store.row(WANT, &key)?.is_some() {
            self.inner.store.delete_row(WANT, &key).await?;
        }
        Ok(())
    }

    pub(super) async fn fulfil_file(
        &self,
        sought: &Sought,
        slot: (&str, &str),
    ) -> Result<(), Error> {
        self.fulfil(&file_key(&sought.package, slot)).await
    }

    pub(super) async fn fulfil_document(&self, subject: &Subject) -> Result<(), Error> {
        let Subject { format, document, variant, .. } = subject;
        self.fulfil(&document_key(format, document, variant)).await
    }

    /// The wants whose turn has come.
    pub(super) fn due_wants(&self) -> Result<(Vec<(Digest, Want)>, bool), Error> {
        let all = self.wants()?;
        let (any, now) = (!all.is_empty(), Instant::now());
        let due = all
            .into_iter()
            .filter(|(key, want)| want.of == Wanted::Artifact || self.inner.pace.is_due(key, now));
        let mut upstreams = 0;
        let due = due.filter(|(_, want)| {
            upstreams += usize::from(want.of != Wanted::Artifact);
            want.of == Wanted::Artifact || upstreams <= TRIED_AT_ONCE_MAX
        });
        Ok((due.collect(), any))
    }

    /// Tries a want again; says whether it is here now.
    pub(super) async fn try_want(&self, digest: Digest, want: Want) -> Result<bool, Error> {
        let tried = match want.of {
            Wanted::Artifact | Wanted::UpstreamFile => {
                let (package, version) = (&want.package, &want.version);
                self.artifact(Door::Virtual, package, version, &want.file).await.map(|_| ())
            }
            Wanted::Document => {
                let ask = DocumentAsk { variant: &want.file, refresh: false, wanted: false };
                self.document(Door::Virtual, &want.package, ask).await.map(|_| ())
            }
        };
        match tried {
            Err(error) if may_come_later(error.outcome) => Ok(false),
            Ok(()) => {
                // Whoever asked may have gone before the bytes came, and looked at nothing.
                if want.of == Wanted::Artifact {
                    self.check_meta(&digest).await?;
                }
                self.fulfil(&digest).await.map(|()| true)
            }
            // Disputed, withdrawn, not in the upstream, or routed away since: nobody will be given
            // it by name.
            Err(_) => self.fulfil(&digest).await.map(|()| false),
        }
    }
}

const fn may_come_later(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::NotHere | Outcome::Unavailable)
}

fn file_key(package: &PackageId, (version, file): (&str, &str)) -> Digest {
    Digest::of(format!("want file\0{package}\0{version}\0{file}").as_bytes())
}

fn document_key(format: &str, name: &str, variant: &str) -> Digest {
    Digest::of(format!("want document\0{format}\0{name}\0{variant}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_waits_longer_after_each_vain_try() {
        let (pace, key, start) = (Pace::default(), Digest::of(b"pad"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(pace.is_due(&key, start));
        assert!(!pace.is_due(&key, at(4)));
        assert!(pace.is_due(&key, at(5)));
        assert!(!pace.is_due(&key, at(14)));
        assert!(pace.is_due(&key, at(15)));
        pace.forget(&key);
        assert!(pace.is_due(&key, at(15)));
    }
}
