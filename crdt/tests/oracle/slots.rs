//! Which releases stand, and what their slots hold.
//!
//! Source: trust.md section 6, `derive`, and section 5, steps 4 to 6.

use std::collections::{BTreeMap, BTreeSet};

use crdt::derive::{Content, SlotState};
use crdt::statement::{Meta, Release};
use crdt::{Body, PackageId, PublicKey, StatementId};

use super::rights::{Rights, Taken};
use super::{Candidate, Package, Slot};

/// A release, and who stands behind it.
struct Signed<'a> {
    id: StatementId,
    release: &'a Release,
    counted: BTreeSet<PublicKey>,
}

pub(crate) fn package(rights: &Rights<'_>, name: &PackageId) -> Package {
    let mut package = Package::default();
    let mut standing: Vec<Signed<'_>> = vec![];
    for fact in rights.about(name) {
        let Body::Release(release) = fact.body else { continue };
        let gone = gone(rights, name, fact.id);
        let of = |taken| {
            let mut keys = rights.publishers(name, Some(fact.id), taken);
            keys.retain(|key| fact.signers.contains(key) && !gone.contains(key));
            keys
        };
        let (counted, need) = (of(Taken::Strictly), rights.need(name));
        if counted.len() >= need || rights.firm.contains(&fact.id) {
            standing.push(Signed { id: fact.id, release, counted });
        } else if of(Taken::Hopefully).len() >= need {
            package.not_yet_known.insert(fact.id);
        }
    }
    let closed: BTreeSet<_> = standing
        .iter()
        .filter(|one| rights.firm.contains(&one.id))
        .map(|one| one.release.version.clone())
        .collect();
    standing.retain(|one| {
        let stays = !closed.contains(&one.release.version) || rights.firm.contains(&one.id);
        if !stays {
            package.closed.insert(one.id);
        }
        stays
    });
    for one in &standing {
        let version = one.release.version.clone();
        package.standing.entry(version).or_default().insert(one.id);
    }
    fill(rights, name, &standing, &mut package);
    versions(&mut package);
    package.withdrawn_others = withdrawn_others(rights, name, &package);
    package
}

/// Who withdrew the release.
fn gone(rights: &Rights<'_>, name: &PackageId, id: StatementId) -> BTreeSet<PublicKey> {
    let mut gone = BTreeSet::new();
    for fact in rights.about(name) {
        if matches!(fact.body, Body::Withdraw { release, .. } if *release == id) {
            gone.extend(&fact.signers);
        }
    }
    gone
}

fn fill(rights: &Rights<'_>, name: &PackageId, standing: &[Signed<'_>], package: &mut Package) {
    let none = BTreeMap::new();
    let pins = rights.given.pins.contents.get(name).unwrap_or(&none);
    let mut slots = BTreeSet::new();
    for one in standing {
        for file in &one.release.files {
            slots.insert((one.release.version.clone(), file.name.clone()));
        }
    }
    for slot in slots {
        let candidates = candidates(rights, standing, &slot);
        let (state, serves) = decide(&candidates, pins.get(&slot));
        package.slots.insert(slot, Slot { state, serves, candidates });
    }
    for (slot, pin) in pins {
        let state = SlotState::PinnedUnsupported;
        let lost = Slot { state, serves: Some(pin.clone()), candidates: vec![] };
        package.slots.entry(slot.clone()).or_insert(lost);
    }
}

fn candidates(
    rights: &Rights<'_>,
    standing: &[Signed<'_>],
    slot: &(String, String),
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = vec![];
    for one in standing.iter().filter(|one| one.release.version == slot.0) {
        for file in one.release.files.iter().filter(|file| file.name == slot.1) {
            let content = Content::of(file);
            let at = found.iter().position(|other| other.content == content);
            let at = at.unwrap_or_else(|| {
                let (signers, releases) = (BTreeSet::new(), BTreeSet::new());
                found.push(Candidate { content, signers, releases, sealed: false, meta: None });
                found.len() - 1
            });
            let candidate = &mut found[at];
            candidate.signers.extend(&one.counted);
            candidate.releases.insert(one.id);
            candidate.sealed |= rights.firm.contains(&one.id);
            candidate.meta = newer(candidate.meta.take(), file.meta.clone());
        }
    }
    found.sort_by(|one, other| one.content.cmp(&other.content));
    found
}

/// The highest extractor version, then the lowest digest.
fn newer(one: Option<Meta>, other: Option<Meta>) -> Option<Meta> {
    let (Some(one), Some(other)) = (&one, &other) else { return one.or(other) };
    let better = other.version > one.version
        || other.version == one.version && other.body.digest() < one.body.digest();
    Some(if better { other.clone() } else { one.clone() })
}

/// "For each slot, the first line that fits".
fn decide(candidates: &[Candidate], pin: Option<&Content>) -> (SlotState, Option<Content>) {
    let all: Vec<_> = candidates.iter().map(|one| &one.content).collect();
    let sealed: Vec<_> =
        candidates.iter().filter(|one| one.sealed).map(|one| &one.content).collect();
    let allows = |some: &[&Content]| pin.is_none_or(|pin| some.contains(&pin));
    if all.len() == 1 && allows(&all) {
        return (SlotState::Ok, Some(all[0].clone()));
    }
    if all.len() > 1 && sealed.len() == 1 && allows(&sealed) {
        return (SlotState::Ok, Some(sealed[0].clone()));
    }
    match pin {
        Some(pin) => (SlotState::DisputedPinned, Some(pin.clone())),
        None => (SlotState::Disputed, None),
    }
}

fn versions(package: &mut Package) {
    for (version, _) in package.slots.keys() {
        let of = package.slots.iter().filter(|(slot, _)| slot.0 == *version);
        let states: Vec<_> = of.map(|(_, slot)| slot.state).collect();
        let first = [SlotState::Disputed, SlotState::DisputedPinned, SlotState::Ok];
        let found = first.into_iter().find(|state| states.contains(state));
        let state = found.unwrap_or(SlotState::PinnedUnsupported);
        package.versions.insert(version.clone(), state);
    }
}

/// Versions with a file that stands, for which other bytes stood before they were withdrawn.
fn withdrawn_others(rights: &Rights<'_>, name: &PackageId, package: &Package) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for fact in rights.about(name) {
        let Body::Release(release) = fact.body else { continue };
        let gone = gone(rights, name, fact.id);
        let signers = rights.publishers(name, Some(fact.id), Taken::Strictly);
        let before: Vec<_> = fact.signers.iter().filter(|key| signers.contains(key)).collect();
        let after = before.iter().filter(|key| !gone.contains(key)).count();
        let need = rights.need(name);
        if before.len() < need || after >= need || rights.firm.contains(&fact.id) {
            continue;
        }
        for file in &release.files {
            let slot = (release.version.clone(), file.name.clone());
            let others = package.slots.get(&slot).map_or(&[][..], |slot| &slot.candidates);
            if !others.is_empty() && others.iter().all(|one| one.content != Content::of(file)) {
                found.insert(release.version.clone());
            }
        }
    }
    found
}
