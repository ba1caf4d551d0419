//! Whether the slots of a publish are free: a version never changes.
//!
//! A slot is taken by every content that a granted key ever signed for it, withdrawn ones too, so
//! that unpublish and republish of one version with other bytes is refused. A stranger's signature
//! takes nothing.

use std::collections::BTreeSet;

use crdt::statement::File;
use crdt::{Body, Content, PackageId, RealmId, StatementId};

use super::{Error, Publication, Registry, Rules};
use crate::store::Moment;
use crate::store::blob::Staged;

impl Registry {
    /// Every content that a granted key ever signed for a slot of the version.
    pub(super) fn taken_slots(
        &self,
        moment: &Moment<'_>,
        (realm, package): (&RealmId, &PackageId),
        version: &str,
    ) -> Result<Vec<Taken>, Error> {
        let keys = self.inner.store.publishers(realm, package)?.keys;
        let statements = moment.package_statements(realm, package)?;
        let standing = standing_releases(moment, (realm, package), version)?;
        let mut taken = Vec::new();
        for statement in &statements {
            let Body::Release(release) = statement.statement().body() else { continue };
            let granted = statement.signatures().keys().any(|key| keys.contains_key(key));
            if release.version != version || !granted {
                continue;
            }
            let id = statement.statement().id();
            let stands = standing.contains(&id);
            taken.extend(release.files.iter().map(|file| Taken {
                file: file.name.clone(),
                content: content_of(file),
                release: id,
                stands,
            }));
        }
        Ok(taken)
    }
}

fn standing_releases(
    moment: &Moment<'_>,
    (realm, package): (&RealmId, &PackageId),
    version: &str,
) -> Result<BTreeSet<StatementId>, Error> {
    let view = moment.derived(realm, package)?;
    let version = view.as_ref().and_then(|view| view.versions.get(version));
    Ok(version.map(|version| version.releases.iter().copied().collect()).unwrap_or_default())
}

/// A slot's content, and whether a standing release carries it.
pub(super) struct Taken {
    file: String,
    content: Content,
    release: StatementId,
    stands: bool,
}

pub(super) fn content_of(file: &File) -> Content {
    Content { size: file.size, blake3: file.blake3, checksums: file.checksums.clone() }
}

pub(super) fn content_of_staged(staged: &Staged) -> Content {
    let info = staged.info();
    Content { size: info.size, blake3: info.digest, checksums: info.checksums.clone() }
}

pub(super) fn contents_of(publication: &Publication) -> Vec<(String, Content)> {
    let files = publication.files.iter();
    files.map(|(name, staged)| (name.clone(), content_of_staged(staged))).collect()
}

/// The standing release that carries exactly these files already, if all of them are there.
pub(super) fn same_bytes(taken: &[Taken], contents: &[(String, Content)]) -> Option<StatementId> {
    let found: Vec<_> = contents
        .iter()
        .filter_map(|(name, content)| {
            let same = |t: &&Taken| t.stands && t.file == *name && t.content == *content;
            taken.iter().find(same).map(|t| t.release)
        })
        .collect();
    if found.len() == contents.len() { found.first().copied() } else { None }
}

/// A version never changes, and where files may not join it, it never grows.
pub(super) fn refuse_taken(
    rules: &Rules,
    package: &PackageId,
    version: &str,
    taken: &[Taken],
    contents: &[(String, Content)],
) -> Result<(), Error> {
    let other = |(name, content): &(String, Content)| {
        taken.iter().any(|t| t.file == *name && t.content != *content)
    };
    let changes = contents.iter().any(other);
    let grows = !rules.files_may_join
        && taken.iter().any(|t| contents.iter().all(|(name, _)| *name != t.file));
    if !changes && !grows {
        return Ok(());
    }
    let name = &package.name;
    Err(Error::conflict(format!(
        "{name}@{version} exists with other bytes, and a version never changes"
    ))
    .with_hint("publish under a higher version"))
}
