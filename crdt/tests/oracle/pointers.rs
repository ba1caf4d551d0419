//! Yanks and tags, by counter.
//!
//! Source: trust.md section 4 (`yank`, `tag`), and section 6, the last lines of `derive`.

use std::collections::{BTreeMap, BTreeSet};

use crdt::derive::SlotState;
use crdt::statement::Counter;
use crdt::{Body, PackageId, StatementId};

use super::rights::{Rights, Taken};
use super::{Fact, Package};

/// Whether the statement is by a publisher who was not revoked, with a counter that counts.
fn counts(rights: &Rights<'_>, name: &PackageId, fact: &Fact<'_>, counter: Counter) -> bool {
    let publishers = rights.publishers(name, None, Taken::Strictly);
    fact.signers.iter().any(|key| publishers.contains(key))
        && counter.epoch <= rights.head().epoch
        && counter.n <= 9_007_199_254_740_992
}

pub(crate) fn yanks(rights: &Rights<'_>, name: &PackageId, package: &mut Package) {
    for (version, standing) in &package.standing {
        if standing.iter().all(|id| is_yanked(rights, name, *id)) {
            package.yanked.insert(version.clone());
        }
    }
}

fn is_yanked(rights: &Rights<'_>, name: &PackageId, id: StatementId) -> bool {
    let (mut yank, mut unyank) = (None, None);
    for fact in rights.about(name) {
        match fact.body {
            Body::Yank { release, counter, .. }
                if *release == id && counts(rights, name, fact, *counter) =>
            {
                yank = yank.max(Some((counter.epoch, counter.n)));
            }
            Body::Unyank { release, counter, .. }
                if *release == id && counts(rights, name, fact, *counter) =>
            {
                unyank = unyank.max(Some((counter.epoch, counter.n)));
            }
            _ => {}
        }
    }
    yank.is_some() && yank >= unyank
}

/// A counter, and the release that it points a tag at.
type Pointer = ((u64, u64), Option<StatementId>);

pub(crate) fn tags(rights: &Rights<'_>, name: &PackageId, package: &mut Package) {
    let mut tags: BTreeMap<&str, Vec<Pointer>> = BTreeMap::new();
    for fact in rights.about(name) {
        let Body::Tag { tag, release, counter } = fact.body else { continue };
        if counts(rights, name, fact, *counter) {
            tags.entry(tag).or_default().push(((counter.epoch, counter.n), *release));
        }
    }
    for (tag, points) in tags {
        let highest = points.iter().map(|(counter, _)| *counter).max();
        let highest = points.iter().filter(|(counter, _)| Some(*counter) == highest);
        let targets: BTreeSet<_> = highest.map(|(_, to)| version_of(package, *to)).collect();
        if targets.len() > 1 {
            continue;
        }
        let Some(version) = targets.into_iter().next().flatten() else { continue };
        let disputed = package.versions[&version] == SlotState::Disputed;
        if !disputed && !package.yanked.contains(&version) {
            package.tags.insert(tag.to_owned(), version);
        }
    }
}

/// The version for which the release stands, if it does.
fn version_of(package: &Package, release: Option<StatementId>) -> Option<String> {
    let mut of = package.standing.iter();
    of.find(|(_, ids)| release.is_some_and(|id| ids.contains(&id))).map(|(of, _)| of.clone())
}
