//! A package as a format renders it: its one source's view, through the offline view.
//!
//! A version is offered to new resolution when it stands (or is pinned), is not refused, and its
//! bytes are held here or by a connected peer. What is hidden is only not offered: a file asked
//! for exactly is served by `artifact`. Tags whose target cannot be had fall back to the highest
//! offered version at or below it; `latest` is always set when anything is offered. Rendering a
//! document pins nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crdt::derive::{Candidate, FileView, VersionView, best_meta};
use crdt::routes::Decision;
use crdt::statement::{Meta, MetaBody};
use crdt::{Body, Content, Digest, PackageId, PackageView, RealmId, SlotState};

use super::{Door, Error, Registry, Rules, Stamp};

/// A package, ready to be rendered.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Where the name comes from, and why.
    pub decision: Decision,
    /// The derived view, every version in it.
    pub view: PackageView,
    /// Normal versions offered to new resolution, in the format's order, lowest first.
    pub offered: Vec<String>,
    /// Tag → normal version, after the fall-back; `latest` is set if anything is offered.
    pub tags: BTreeMap<String, String>,
    /// Normal versions left out because no bytes are in reach.
    pub hidden: Vec<String>,
    /// Changes whenever anything above does: the seed of an ETag.
    pub revision: String,
    /// What vouches for all of this later; absent where bytes lack here, so that it hangs on what
    /// peers hold and on what comes.
    pub stamp: Option<Stamp>,
    pub(super) metas: BTreeMap<(String, String), Vec<u8>>,
    /// Files that are held here or by a connected peer.
    pub(super) reach: BTreeSet<Digest>,
}

impl Metadata {
    /// Whether the bytes of a file are held here or by a connected peer: versions of several files
    /// may be offered with some of them.
    #[must_use]
    pub fn is_in_reach(&self, content: &Content) -> bool {
        self.reach.contains(&content.blake3)
    }

    /// What the format extracted from a file of a version, inline or from its blob.
    #[must_use]
    pub fn meta(&self, version: &str, file: &str) -> Option<&[u8]> {
        self.metas.get(&(version.to_owned(), file.to_owned())).map(Vec::as_slice)
    }
}

/// What is in reach of this node for one package.
struct Reach {
    digests: BTreeSet<Digest>,
    /// Whether peers were asked.
    on_peers: bool,
}

impl Registry {
    /// The package behind a door.
    ///
    /// # Errors
    /// NotFound (absent, or no source), NotHere (unrouted, or nothing arrived yet), Forbidden
    /// (denied by a route).
    pub async fn metadata(&self, door: Door, package: &PackageId) -> Result<Metadata, Error> {
        let stamp = self.stamp(package);
        let (realm, decision) = self.source_for(door, package)?;
        let rules = *self.require_rules(&package.format)?;
        let view = self.inner.store.package(&realm, package)?;
        let Some(view) = view else { return Err(self.nothing_of(package, &realm, &decision)) };

        let (metas, metas_held) = self.metas(&view).await?;
        let candidates: Vec<&String> = self.candidates(&rules, &view, &metas);
        let reach = self.reach(&view, &candidates).await?;
        let (mut offered, mut hidden) = (Vec::new(), Vec::new());
        for version in candidates {
            let found = &view.versions[version];
            let list = if reach.covers(found) { &mut offered } else { &mut hidden };
            list.push(version.clone());
        }
        offered.sort_by(|a, b| (rules.compare_versions)(a, b));
        hidden.sort_by(|a, b| (rules.compare_versions)(a, b));
        let live = |version: &str| view.versions[version].yanked.is_none();
        let tags = offered_tags(&rules, &view.tags, &offered, live);
        let revision = self.revision(package, &decision, (&offered, &reach.digests), &tags)?;
        let stamp = (metas_held && !reach.on_peers).then_some(stamp);
        Ok(Metadata {
            decision,
            view,
            offered,
            tags,
            hidden,
            revision,
            stamp,
            metas,
            reach: reach.digests,
        })
    }

    /// Versions that stand for new resolution, whether or not their bytes are in reach.
    fn candidates<'v>(
        &self,
        rules: &Rules,
        view: &'v PackageView,
        metas: &BTreeMap<(String, String), Vec<u8>>,
    ) -> Vec<&'v String> {
        let stands = |version: &VersionView| {
            matches!(version.state, SlotState::Ok | SlotState::DisputedPinned)
        };
        let usable = |version: &String, name: &String, file: &FileView| {
            let Some(content) = &file.serves else { return false };
            let known =
                rules.extract.is_none() || metas.contains_key(&(version.clone(), name.clone()));
            known && !self.all_refused(file, content)
        };
        view.versions
            .iter()
            .filter(|(version, found)| {
                stands(found) && found.files.iter().any(|(name, file)| usable(version, name, file))
            })
            .map(|(version, _)| version)
            .collect()
    }

    /// Which files of the versions are held here or by a connected peer.
    async fn reach(&self, view: &PackageView, versions: &[&String]) -> Result<Reach, Error> {
        let mut digests = BTreeSet::new();
        let mut elsewhere = BTreeSet::new();
        for version in versions {
            for file in view.versions[*version].files.values() {
                let Some(content) = &file.serves else { continue };
                if self.inner.store.blob(&content.blake3)?.is_some() {
                    digests.insert(content.blake3);
                } else {
                    elsewhere.insert(content.blake3);
                }
            }
        }
        let on_peers = !elsewhere.is_empty();
        if let (Some(mesh), true) = (self.mesh(), on_peers) {
            let asked: Vec<Digest> = elsewhere.into_iter().collect();
            let held = mesh.held_by_peers(&asked).await;
            digests.extend(asked.into_iter().zip(held).filter(|(_, held)| *held).map(|(d, _)| d));
        }
        Ok(Reach { digests, on_peers })
    }

    /// The metas of all files that this node would serve; one in a blob that is not held is
    /// fetched when its version's turn comes, and hides the version until then. Says whether all
    /// were held.
    async fn metas(
        &self,
        view: &PackageView,
    ) -> Result<(BTreeMap<(String, String), Vec<u8>>, bool), Error> {
        let (mut metas, mut all) = (BTreeMap::new(), true);
        for (version, found) in &view.versions {
            for (name, file) in &found.files {
                let candidate =
                    file.candidates.iter().find(|c| Some(&c.content) == file.serves.as_ref());
                let meta = candidate.map(|candidate| self.unrefused_meta(name, candidate));
                let Some(meta) = meta.transpose()?.flatten() else { continue };
                let bytes = match &meta.body {
                    MetaBody::Inline(bytes) => Some(bytes.clone()),
                    MetaBody::Blob(blob) => self.small_blob(&blob.digest, blob.size).await?,
                };
                all &= bytes.is_some();
                metas.extend(bytes.map(|bytes| ((version.clone(), name.clone()), bytes)));
            }
        }
        Ok((metas, all))
    }

    /// The meta of the newest version that has one here.
    pub(super) async fn newest_meta(
        &self,
        rules: &Rules,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(view) = self.inner.store.package(realm, package)? else { return Ok(None) };
        let mut versions: Vec<_> = view.versions.iter().collect();
        versions.sort_by(|(a, _), (b, _)| (rules.compare_versions)(b, a));
        let files = versions.into_iter().flat_map(|(_, version)| &version.files);
        for (name, file) in files {
            let served = file.candidates.iter().find(|c| Some(&c.content) == file.serves.as_ref());
            let meta = served.map(|candidate| self.unrefused_meta(name, candidate));
            let found = match meta.transpose()?.flatten().map(|meta| meta.body) {
                Some(MetaBody::Inline(bytes)) => Some(bytes),
                Some(MetaBody::Blob(blob)) => self.small_blob(&blob.digest, blob.size).await?,
                None => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The meta of a content; where this node refused some of its releases, that of the others.
    fn unrefused_meta(&self, file: &str, of: &Candidate) -> Result<Option<Meta>, Error> {
        let refused = self.inner.refused.read().unwrap_or_else(PoisonError::into_inner).clone();
        if of.releases.iter().all(|id| !refused.contains(id)) {
            return Ok(of.meta.clone());
        }
        let mut metas = Vec::new();
        for id in of.releases.iter().filter(|id| !refused.contains(id)) {
            let Some(held) = self.inner.store.statement(id)? else { continue };
            let Body::Release(release) = held.statement().body() else { continue };
            let found = release.files.iter().find(|found| found.name == file);
            metas.extend(found.and_then(|found| found.meta.clone()));
        }
        Ok(best_meta(metas.iter()))
    }

    /// A small blob that a statement refers to, whole; `None` if it is not held.
    pub(super) async fn small_blob(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        use tokio::io::AsyncReadExt as _;
        const SMALL_BLOB_MAX: u64 = 16 * 1024 * 1024;
        if size > SMALL_BLOB_MAX {
            return Ok(None);
        }
        let Some((info, file)) = self.inner.store.open_blob(digest).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(info.size).read_to_end(&mut bytes).await;
        read.map_err(crate::store::Error::Io)?;
        Ok(Some(bytes))
    }

    fn revision(
        &self,
        package: &PackageId,
        decision: &Decision,
        (offered, reach): (&[String], &BTreeSet<Digest>),
        tags: &BTreeMap<String, String>,
    ) -> Result<String, Error> {
        let stored = self.inner.store.revision(package)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&stored.to_le_bytes());
        hasher.update(format!("{:?}{offered:?}{tags:?}", decision.source).as_bytes());
        for digest in reach {
            hasher.update(digest.as_bytes());
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }
}

impl Reach {
    /// Whether some file of the version can be had.
    fn covers(&self, version: &VersionView) -> bool {
        let mut served = version.files.values().filter_map(|file| file.serves.as_ref());
        served.any(|content| self.digests.contains(&content.blake3))
    }
}

/// Tags after the fall-back: one whose target is not offered falls to the highest version below it
/// that is, and is live; `latest` is always set when anything is offered. `offered` is in order.
pub(super) fn offered_tags(
    rules: &Rules,
    tags: &BTreeMap<String, String>,
    offered: &[String],
    live: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let live = |version: &&String| live(version);
    let stable = |version: &&String| !(rules.is_prerelease)(version);
    let mut fallen = BTreeMap::new();
    for (tag, target) in tags {
        let within = |v: &&String| (rules.compare_versions)(v, target).is_le();
        let best = offered.iter().rev().filter(live).find(within);
        if offered.contains(target) {
            fallen.insert(tag.clone(), target.clone());
        } else if let Some(best) = best {
            fallen.insert(tag.clone(), best.clone());
        }
    }
    if !fallen.contains_key("latest") {
        let latest = offered
            .iter()
            .rev()
            .find(|version| live(version) && stable(version))
            .or_else(|| offered.iter().rev().find(live))
            .or_else(|| offered.last());
        if let Some(latest) = latest {
            fallen.insert("latest".to_owned(), latest.clone());
        }
    }
    fallen
}
