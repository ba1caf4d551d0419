//! What of an upstream's package can be had without it: files that are held here, and files that
//! connected members of the site say they hold.
//!
//! Asked often while an upstream is away, so the neighbours' answers are remembered for ten seconds
//! and then asked for again behind. What they say are hints: the bytes are verified on arrival.
//!
//! Source: DESIGN section 7 (the offline view).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt::{Digest, PackageId};

use super::rules::Declared;
use super::sought::Sought;
use super::{Error, Outcome, Outline, Registry};
use crate::mesh::FileHint;

/// How long a neighbour's answer counts as new.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How long a document waits for the first one.
const LOOK_MAX: Duration = Duration::from_millis(1500);
/// How long it is better than none.
const KEPT: Duration = Duration::from_secs(300);
/// Packages that are remembered; room is made by forgetting all.
const PACKAGES_MAX: usize = 1024;

/// What is near of one document's files.
#[derive(Debug)]
pub(super) struct Near {
    at: Instant,
    /// The document that it was looked up for.
    of: Digest,
    /// Versions of which a file is held here under its strong checksum.
    held: BTreeSet<String>,
    /// What neighbours say.
    pub(super) hints: Vec<FileHint>,
}

/// By origin and package.
#[derive(Debug, Default)]
pub(super) struct Nearby(Mutex<HashMap<(Digest, PackageId), Arc<Near>>>);

impl Nearby {
    fn get(&self, sought: &Sought, of: &Digest) -> Option<Arc<Near>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let near = known.get(&(sought.origin(), sought.package.clone()))?;
        (near.of == *of && near.at.elapsed() < KEPT).then(|| Arc::clone(near))
    }

    fn put(&self, sought: &Sought, near: &Arc<Near>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PACKAGES_MAX {
            known.clear();
        }
        known.insert((sought.origin(), sought.package.clone()), Arc::clone(near));
    }
}

impl Registry {
    /// Versions of the document whose files are held here or by a connected member.
    pub(super) async fn in_reach(
        &self,
        sought: &Sought,
        document: &Digest,
        outline: &Arc<Outline>,
    ) -> Result<BTreeSet<String>, Error> {
        let near = match self.inner.nearby.get(sought, document) {
            Some(near) => {
                if near.at.elapsed() >= REMEMBERED {
                    drop(self.look_around(sought, document, outline));
                }
                Some(near)
            }
            None => self.look_in_time(sought, document, outline).await?,
        };
        let mut reach = near.as_ref().map_or_else(BTreeSet::new, |near| near.held.clone());
        let hints = near.iter().flat_map(|near| &near.hints);
        reach.extend(hints.map(|hint| hint.version.clone()));
        for file in self.cached_files_of(sought)? {
            if self.inner.store.blob(&file.digest)?.is_some() {
                reach.insert(file.version);
            }
        }
        Ok(reach)
    }

    /// The first look; nothing while the background has no room for it, or is busy with what is
    /// stuck: what is held must not wait for that.
    async fn look_in_time(
        &self,
        sought: &Sought,
        document: &Digest,
        outline: &Arc<Outline>,
    ) -> Result<Option<Arc<Near>>, Error> {
        let look = self.look_around(sought, document, outline);
        match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(Ok(near)) => Ok(Some(near)),
            Ok(Err(error)) if error.outcome != Outcome::Unavailable => Err(error),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// What neighbours say they hold of the package, at most ten seconds old.
    pub(super) async fn hints(
        &self,
        sought: &Sought,
        document: &Digest,
    ) -> Result<Vec<FileHint>, Error> {
        let known = self.inner.nearby.get(sought, document);
        match known.filter(|near| near.at.elapsed() < REMEMBERED) {
            Some(near) => Ok(near.hints.clone()),
            // What is held here of the other versions is of no interest, and costs much.
            None => self.neighbours(sought).await,
        }
    }

    fn look_around(
        &self,
        sought: &Sought,
        document: &Digest,
        outline: &Arc<Outline>,
    ) -> super::flight::Landing<Arc<Near>> {
        let key = format!("{} {}", sought.origin(), sought.package);
        self.inner.looks.board(&self.inner.background, key, || {
            let (this, sought) = (self.clone(), sought.clone());
            let (of, outline) = (*document, Arc::clone(outline));
            async move {
                let held = this.held_by_checksum(&outline).await?;
                let hints = this.neighbours(&sought).await?;
                let near = Arc::new(Near { at: Instant::now(), of, held, hints });
                this.inner.nearby.put(&sought, &near);
                Ok(near)
            }
        })
    }

    async fn neighbours(&self, sought: &Sought) -> Result<Vec<FileHint>, Error> {
        let Some(mesh) = self.mesh() else { return Ok(Vec::new()) };
        let PackageId { format, name } = &sought.package;
        let same = self.same_origins(format, &sought.origin())?;
        let asked = same.iter().map(|origin| mesh.files_of(origin, format, name));
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }

    async fn held_by_checksum(&self, outline: &Arc<Outline>) -> Result<BTreeSet<String>, Error> {
        let (this, outline) = (self.clone(), Arc::clone(outline));
        let work = move || {
            let mut held = BTreeSet::new();
            for version in &outline.versions {
                for file in &version.files {
                    if this.blob_of(&file.declared)?.is_some() {
                        held.insert(version.version.clone());
                    }
                }
            }
            Ok(held)
        };
        let looked = tokio::task::spawn_blocking(work).await;
        looked.map_err(|_| Error::invalid("the store could not be looked through"))?
    }

    /// The blob under a strong checksum, if one is held and all that is declared fits it.
    pub(super) fn blob_of(&self, declared: &Declared) -> Result<Option<Digest>, Error> {
        let store = &self.inner.store;
        let found = match (&declared.sha512, &declared.sha256) {
            (Some(sum), _) => store.blob_by_sha512(sum)?,
            (None, Some(sum)) => store.blob_by_sha256(sum)?,
            (None, None) => None,
        };
        let Some(digest) = found else { return Ok(None) };
        let info = store.blob(&digest)?;
        Ok(info.filter(|info| declared.fits(&info.checksums)).map(|info| info.digest))
    }
}
