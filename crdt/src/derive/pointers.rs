//! Yanks and tags: what points at releases, the highest counter winning.
//!
//! A statement counts if one of its signers may publish the name and its counter can have an
//! effect. On a tie a release is yanked, and a tag with different targets is unset.
//!
//! Source: trust.md sections 3 (counters), 4 (yank, tag) and 5, step 7.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::Judgement;
use super::{Held, PackageView, SlotState};
use crate::statement::{Body, Counter};
use crate::{Authority, StatementId};

/// The statements about each subject that share the highest counter.
type Newest<S, T> = BTreeMap<S, (Counter, BTreeSet<T>)>;

/// Marks the versions whose every standing release is yanked.
pub(super) fn yanks(
    authority: &Authority,
    judgement: &Judgement<'_>,
    held: &Held<'_>,
    view: &mut PackageView,
) {
    let mut newest = Newest::<StatementId, Option<&str>>::new();
    for (body, counter) in counting(authority, judgement, held) {
        let (release, reason) = match body {
            Body::Yank { release, reason, .. } => (release, Some(reason.as_str())),
            Body::Unyank { release, .. } => (release, None),
            _ => continue,
        };
        note(&mut newest, *release, reason, counter);
        note_counter(&mut view.yank_counters, &release.to_string(), counter);
    }
    // A tie counts as yanked, and the least reason is shown: `None` sorts before any.
    let reason = |id| newest.get(id).and_then(|(_, says)| says.iter().find_map(|reason| *reason));
    for version in view.versions.values_mut() {
        let reasons: Option<Vec<_>> = version.releases.iter().map(reason).collect();
        version.yanked =
            reasons.and_then(|reasons| reasons.first().map(|reason| (*reason).to_owned()));
    }
}

/// Sets the tags whose one target stands in a version that is neither disputed nor yanked.
pub(super) fn tags(
    authority: &Authority,
    judgement: &Judgement<'_>,
    held: &Held<'_>,
    view: &mut PackageView,
) {
    let mut newest = Newest::<&str, Option<&str>>::new();
    for (body, counter) in counting(authority, judgement, held) {
        let Body::Tag { tag, release, .. } = body else { continue };
        let target = release.and_then(|id| judgement.standing.get(&id));
        let version = target.map(|standing| standing.release.version.as_str());
        note(&mut newest, tag.as_str(), version, counter);
        note_counter(&mut view.tag_counters, tag, counter);
    }
    for (tag, (_, targets)) in newest {
        let target = targets.first().copied().flatten().filter(|_| targets.len() == 1);
        let usable = target.and_then(|target| view.versions.get(target)).is_some_and(|version| {
            version.state != SlotState::Disputed && version.yanked.is_none()
        });
        if let (Some(target), true) = (target, usable) {
            view.tags.insert(tag.to_owned(), target.to_owned());
        }
    }
}

/// Yanks, unyanks and tags by those who may say so, with counters that can have an effect.
fn counting<'h>(
    authority: &'h Authority,
    judgement: &'h Judgement<'_>,
    held: &'h Held<'_>,
) -> impl Iterator<Item = (&'h Body, Counter)> {
    held.values().filter_map(move |(statement, signers)| {
        let body = statement.body();
        let counter = counter_of(body)?;
        let counts = authority.admits(counter) && !signers.is_disjoint(&judgement.publishers);
        counts.then_some((body, counter))
    })
}

const fn counter_of(body: &Body) -> Option<Counter> {
    match body {
        Body::Yank { counter, .. } | Body::Unyank { counter, .. } | Body::Tag { counter, .. } => {
            Some(*counter)
        }
        _ => None,
    }
}

fn note<S: Ord, T: Ord>(newest: &mut Newest<S, T>, subject: S, says: T, counter: Counter) {
    let (highest, all) = newest.entry(subject).or_insert((counter, BTreeSet::new()));
    if counter > *highest {
        *highest = counter;
        all.clear();
    }
    if counter == *highest {
        all.insert(says);
    }
}

fn note_counter(counters: &mut BTreeMap<String, Counter>, subject: &str, counter: Counter) {
    let highest = counters.entry(subject.to_owned()).or_default();
    *highest = counter.max(*highest);
}
