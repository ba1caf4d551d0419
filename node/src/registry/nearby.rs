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
use super::sought::{FILE_BYTES_MAX, Sought};
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

/// A version, and the name of one of its files.
pub(super) type FileOf = (String, String);

/// What is near of one document's files.
#[derive(Debug)]
pub(super) struct Near {
    pub(super) at: Instant,
    /// The document that it was looked up for.
    pub(super) of: Digest,
    /// Files that are held here under their strong checksum.
    pub(super) held: BTreeSet<FileOf>,
    /// What neighbours say.
    pub(super) hints: Vec<FileHint>,
}

/// Hints of one file that are kept; more are a liar's.
const OF_FILE_MAX: usize = 16;
/// Hints that led nowhere and are remembered; room is made by forgetting all.
const REFUTED_MAX: usize = 16_384;

/// By origin and package; and hints that led nowhere, until when.
#[derive(Debug, Default)]
pub(super) struct Nearby {
    known: Mutex<HashMap<(Digest, PackageId), Arc<Near>>>,
    refuted: Mutex<HashMap<Digest, Instant>>,
}

impl Nearby {
    /// The blob is not what the file should be, or nobody gives it: it is not asked for again for
    /// so long, nor shown as in reach.
    pub(super) fn refute(&self, sought: &Sought, hint: &FileHint, long: Duration) {
        let mut refuted = self.refuted.lock().unwrap_or_else(PoisonError::into_inner);
        if refuted.len() >= REFUTED_MAX {
            refuted.clear();
        }
        refuted.insert(name_of(sought, hint), Instant::now() + long);
    }

    /// Whether it led nowhere a while ago.
    pub(super) fn is_refuted(&self, sought: &Sought, hint: &FileHint) -> bool {
        let refuted = self.refuted.lock().unwrap_or_else(PoisonError::into_inner);
        refuted.get(&name_of(sought, hint)).is_some_and(|until| *until > Instant::now())
    }

    fn get(&self, sought: &Sought, of: &Digest) -> Option<Arc<Near>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let near = known.get(&(sought.origin(), sought.package.clone()))?;
        (near.of == *of && near.at.elapsed() < KEPT).then(|| Arc::clone(near))
    }

    pub(super) fn put(&self, sought: &Sought, near: &Arc<Near>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PACKAGES_MAX {
            known.clear();
        }
        known.insert((sought.origin(), sought.package.clone()), Arc::clone(near));
    }
}

fn name_of(sought: &Sought, hint: &FileHint) -> Digest {
    let (origin, package) = (sought.origin(), &sought.package);
    let FileHint { version, file, digest, size } = hint;
    Digest::of(format!("{origin} {package}\0{version}\0{file}\0{digest} {size}").as_bytes())
}

/// Of what neighbours say that which can be true: a file that the document knows, of a size that it
/// may have. Strangers to the document could fill our memory.
fn sensible(outline: &Outline, hints: Vec<FileHint>) -> Vec<FileHint> {
    let files = outline.versions.iter().flat_map(|version| {
        version.files.iter().map(|file| ((version.version.as_str(), file.file.as_str()), file))
    });
    let files: HashMap<_, _> = files.collect();
    let mut said: HashMap<(String, String), usize> = HashMap::new();
    let mut kept = Vec::new();
    for hint in hints {
        let Some(file) = files.get(&(hint.version.as_str(), hint.file.as_str())) else { continue };
        let fits = hint.size <= FILE_BYTES_MAX && file.size.is_none_or(|size| size == hint.size);
        let count = said.entry((hint.version.clone(), hint.file.clone())).or_default();
        if fits && *count < OF_FILE_MAX {
            *count += 1;
            kept.push(hint);
        }
    }
    kept
}

impl Registry {
    /// Files of the document that are held here or by a connected member.
    pub(super) async fn in_reach(
        &self,
        sought: &Sought,
        document: &Digest,
        outline: &Arc<Outline>,
    ) -> Result<BTreeSet<FileOf>, Error> {
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
        let live = hints.filter(|hint| !self.inner.nearby.is_refuted(sought, hint));
        reach.extend(live.map(|hint| (hint.version.clone(), hint.file.clone())));
        for file in self.cached_files_of(sought)? {
            if self.inner.store.blob(&file.digest)?.is_some() {
                reach.insert((file.version, file.file));
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
        let flight = self.inner.looks.board(&self.inner.background, key, |_| {
            let (this, sought) = (self.clone(), sought.clone());
            let (of, outline) = (*document, Arc::clone(outline));
            async move {
                let held = this.held_by_checksum(&outline).await?;
                let hints = sensible(&outline, this.neighbours(&sought).await?);
                let near = Arc::new(Near { at: Instant::now(), of, held, hints });
                this.inner.nearby.put(&sought, &near);
                Ok(near)
            }
        });
        flight.landing
    }

    async fn neighbours(&self, sought: &Sought) -> Result<Vec<FileHint>, Error> {
        let Some(mesh) = self.mesh() else { return Ok(Vec::new()) };
        let PackageId { format, name } = &sought.package;
        let same = self.same_origins(format, &sought.origin())?;
        let asked = same.iter().map(|origin| mesh.files_of(origin, format, name));
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }

    async fn held_by_checksum(&self, outline: &Arc<Outline>) -> Result<BTreeSet<FileOf>, Error> {
        let (this, outline) = (self.clone(), Arc::clone(outline));
        let work = move || {
            let mut held = BTreeSet::new();
            for version in &outline.versions {
                for file in &version.files {
                    if this.blob_of(&file.declared)?.is_some() {
                        held.insert((version.version.clone(), file.file.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{OutlineFile, OutlineVersion};

    fn hint(version: &str, file: &str, at: u64) -> FileHint {
        let digest = Digest::of(&at.to_le_bytes());
        FileHint { version: version.to_owned(), file: file.to_owned(), digest, size: 7 }
    }

    #[test]
    fn red_25_of_garbage_that_neighbours_say_nothing_is_kept() {
        let file = OutlineFile { file: "pad.txt".to_owned(), size: Some(7), ..Default::default() };
        let version = OutlineVersion {
            version: "1.0.0".to_owned(),
            files: vec![file],
            ..OutlineVersion::default()
        };
        let outline = Outline { versions: vec![version], ..Outline::default() };
        let mut said: Vec<_> = (0..4096).map(|at| hint("1.0.0", "other.txt", at)).collect();
        said.extend((0..4096).map(|at| hint(&format!("{at}.9.9"), "pad.txt", at)));
        said.push(FileHint { size: 1 << 60, ..hint("1.0.0", "pad.txt", 1) });
        assert_eq!(sensible(&outline, said.clone()), []);
        said.extend((0..4096).map(|at| hint("1.0.0", "pad.txt", at)));
        assert_eq!(sensible(&outline, said).len(), OF_FILE_MAX);
    }
}
