//! `griot keep`: packages that a person pins, so that nothing of them is evicted.
//!
//! A row (kind `kept`) names a package and a range, and is replicated nowhere. What it protects is
//! worked out anew each time, from what is held: every version in the range, of every realm and
//! upstream, with the documents of the package; so a version that comes later is pinned from its
//! first moment. Pinning fetches the version that the range resolves to, and the rest of the range
//! stays if it is here.
//!
//! Not the pins of contents and sources, which say *what* a name is: see `store::pins`.
//! Source: product.md section 2 (16).

use std::collections::{BTreeMap, BTreeSet};

use crdt::{Digest, PackageId};
use serde::{Deserialize, Serialize};

use super::{Error, Outcome, Registry, Rules};

/// The kind of row.
const KEPT: &str = "kept";
/// Pins of a person at most.
const KEPT_MAX: usize = 10_000;

/// What a person pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which package.
    pub package: PackageId,
    /// Which versions, by the format's own rules; all of them if absent.
    pub range: Option<String>,
}

/// A pin as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRow {
    /// The pin.
    #[serde(flatten)]
    pub kept: Kept,
    /// Versions of which bytes are held, lowest first.
    pub versions: Vec<String>,
    /// Files that are held for it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why its newest version could not be fetched now, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

impl Kept {
    fn key(&self) -> String {
        let PackageId { format, name } = &self.package;
        format!("{format}/{name}@{}", self.range.as_deref().unwrap_or_default())
    }

    /// Whether a normal version is in the range.
    fn takes(&self, rules: &Rules, version: &str) -> bool {
        let Some(range) = &self.range else { return true };
        if (rules.canonical_version)(range).is_ok_and(|exact| exact == version) {
            return true;
        }
        let found = (rules.resolve)(range, &[version.to_owned()]);
        found.is_ok_and(|found| found.is_some())
    }
}

impl Registry {
    /// Pins a package, or the versions of a range, and fetches the one that the range resolves to.
    /// What cannot be fetched now is said, and stays pinned: it became a want.
    ///
    /// # Errors
    /// NotFound or Invalid where the name or range means nothing: nothing is pinned then.
    pub async fn keep(&self, package: &PackageId, range: Option<&str>) -> Result<KeptRow, Error> {
        let rules = *self.require_rules(&package.format)?;
        if self.kept_all()?.len() >= KEPT_MAX {
            return Err(Error::invalid(format!("there are {KEPT_MAX} pins already"))
                .with_hint("griot unkeep NAME"));
        }
        let range = range.filter(|range| !range.is_empty()).map(str::to_owned);
        let mut kept = Kept { package: package.clone(), range };
        let known = self.kept_all()?.contains(&kept);
        // Before the fetch: what comes must not be evicted in the same moment.
        self.put_kept(&kept).await?;
        let lacks = match self.add(package, kept.range.as_deref()).await {
            Ok(added) => {
                let version = (rules.canonical_version)(&added.version).map_err(Error::invalid)?;
                if !kept.takes(&rules, &version) {
                    // A tag moves; what it meant when it was pinned is what is kept.
                    self.inner.store.delete_row(KEPT, &kept.key()).await?;
                    kept.range = Some(version);
                    self.put_kept(&kept).await?;
                }
                None
            }
            Err(error) if matches!(error.outcome, Outcome::NotHere | Outcome::Unavailable) => {
                Some(error.message)
            }
            Err(error) => {
                let row = self.kept_row(kept.clone())?;
                if row.files == 0 && !known {
                    self.inner.store.delete_row(KEPT, &kept.key()).await?;
                    return Err(error);
                }
                Some(error.message)
            }
        };
        Ok(KeptRow { lacks, ..self.kept_row(kept)? })
    }

    async fn put_kept(&self, kept: &Kept) -> Result<(), Error> {
        let value = serde_json::to_vec(kept).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(self.inner.store.put_row(KEPT, &kept.key(), value).await?)
    }

    /// Takes pins of a package back: that of the range, or all of them. Says which.
    ///
    /// # Errors
    /// NotFound if there is none.
    pub async fn unkeep(
        &self,
        package: &PackageId,
        range: Option<&str>,
    ) -> Result<Vec<Kept>, Error> {
        let is_meant = |kept: &Kept| {
            kept.package == *package && (range.is_none() || kept.range.as_deref() == range)
        };
        let meant: Vec<Kept> = self.kept_all()?.into_iter().filter(is_meant).collect();
        if meant.is_empty() {
            let name = &package.name;
            let range = range.map(|range| format!("@{range:.100}")).unwrap_or_default();
            return Err(Error::not_found(format!("{name:.200}{range} is not pinned"))
                .with_hint("griot keep lists what is"));
        }
        for kept in &meant {
            self.inner.store.delete_row(KEPT, &kept.key()).await?;
        }
        Ok(meant)
    }

    fn kept_all(&self) -> Result<Vec<Kept>, Error> {
        let rows = self.inner.store.rows(KEPT)?;
        let read = |value: &Vec<u8>| {
            serde_json::from_slice(value).map_err(|error| {
                // To pass over it would let go of what a person pinned.
                Error::new(Outcome::Unavailable, format!("a pin cannot be read: {error}"))
            })
        };
        rows.values().map(read).collect()
    }

    /// All pins, with what is held for each.
    ///
    /// # Errors
    /// When the store fails.
    pub fn kept_rows(&self) -> Result<Vec<KeptRow>, Error> {
        self.kept_all()?.into_iter().map(|kept| self.kept_row(kept)).collect()
    }

    fn kept_row(&self, kept: Kept) -> Result<KeptRow, Error> {
        let (mut versions, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for (version, of_version) in self.protected(&kept)? {
            for digest in of_version {
                if self.inner.store.blob(&digest)?.is_some() {
                    versions.insert(version.clone());
                    digests.insert(digest);
                }
            }
        }
        let (mut files, mut bytes) = (0, 0);
        for digest in digests {
            if let Some(info) = self.inner.store.blob(&digest)? {
                (files, bytes) = (files + 1, bytes + info.size);
            }
        }
        let mut versions: Vec<String> =
            versions.into_iter().filter(|version| !version.is_empty()).collect();
        if let Some(rules) = self.rules(&kept.package.format) {
            versions.sort_by(|a, b| (rules.compare_versions)(a, b));
        }
        Ok(KeptRow { kept, versions, files, bytes, lacks: None })
    }

    /// Every blob that a pin protects, held or not.
    ///
    /// # Errors
    /// When the store fails: then nothing may be evicted.
    pub fn pinned_digests(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut all = BTreeSet::new();
        for kept in self.kept_all()? {
            all.extend(self.protected(&kept)?.into_values().flatten());
        }
        Ok(all)
    }

    /// By version; documents of the package under an empty one.
    fn protected(&self, kept: &Kept) -> Result<BTreeMap<String, BTreeSet<Digest>>, Error> {
        let mut found: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        let (package, store) = (&kept.package, &self.inner.store);
        let Some(rules) = self.rules(&package.format) else { return Ok(found) };
        for followed in store.followed()? {
            let Some(view) = store.package(&followed.realm, package)? else { continue };
            for (version, of) in view.versions.iter().filter(|(at, _)| kept.takes(rules, at)) {
                let place = found.entry(version.clone()).or_default();
                for release in &of.releases {
                    place.extend(store.release_digests(release)?);
                }
                let served = of.files.values().filter_map(|file| file.serves.as_ref());
                place.extend(served.map(|content| content.blake3));
            }
        }
        let (documents, files) = store.cached_of(package)?;
        for file in files.iter().filter(|file| kept.takes(rules, &file.version)) {
            found.entry(file.version.clone()).or_default().insert(file.digest);
        }
        let bodies = documents.iter().filter_map(|document| document.body);
        found.entry(String::new()).or_default().extend(bodies);
        Ok(found)
    }
}
