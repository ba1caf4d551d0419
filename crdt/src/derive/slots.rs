//! Slots: which content each file of each version has, and how sure that is.
//!
//! A slot is (version, file name) within the package. Standing releases fill one slot for each of
//! their files, so files may join a version one upload at a time. Two contents in one slot are
//! disputed, and neither wins by itself.
//!
//! Source: trust.md section 5, step 6, and the end of section 6.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::standing::{Judgement, Standing};
use super::{Candidate, Content, FileView, Pins, SlotState, VersionView};
use crate::StatementId;
use crate::statement::{File, Meta, Release};

/// A release that carries some content, with its id and the file that says so.
type Carrier<'j> = (StatementId, &'j Standing<'j>, &'j File);
type Slot<'j> = BTreeMap<Content, Vec<Carrier<'j>>>;

/// What there is of one version. All are filled in one pass, so that a package costs what its
/// releases are, however many versions they make.
#[derive(Default)]
struct Version<'j> {
    slots: BTreeMap<&'j str, Slot<'j>>,
    /// By id, ascending.
    standing: Vec<(StatementId, &'j Release)>,
    withdrawn: Vec<&'j Release>,
}

/// The views of all versions that have a standing release or a pin.
pub(super) fn versions(judgement: &Judgement<'_>, pins: &Pins) -> BTreeMap<String, VersionView> {
    let mut versions = BTreeMap::<&str, Version<'_>>::new();
    for (version, file) in pins.keys() {
        versions.entry(version).or_default().slots.entry(file).or_default();
    }
    for (id, standing) in &judgement.standing {
        let version = versions.entry(&standing.release.version).or_default();
        version.standing.push((*id, standing.release));
        for file in &standing.release.files {
            let slot = version.slots.entry(&file.name).or_default();
            slot.entry(Content::of(file)).or_default().push((*id, standing, file));
        }
    }
    for release in &judgement.withdrawn {
        if let Some(version) = versions.get_mut(release.version.as_str()) {
            version.withdrawn.push(release);
        }
    }
    versions
        .into_iter()
        .map(|(name, version)| (name.to_owned(), version.view(name, judgement.firm, pins)))
        .collect()
}

fn file_view(slot: &Slot<'_>, firm: &BTreeSet<StatementId>, pin: Option<&Content>) -> FileView {
    let (state, serves) = decide(slot, firm, pin);
    let candidates = slot.iter().map(|(content, carriers)| Candidate {
        content: content.clone(),
        signers: carriers
            .iter()
            .flat_map(|(_, standing, _)| standing.signers.iter().copied())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        releases: carriers.iter().map(|(id, ..)| *id).collect(),
        sealed: carriers.iter().any(|(id, ..)| firm.contains(id)),
        meta: best_meta(carriers.iter().filter_map(|(.., file)| file.meta.as_ref())),
    });
    FileView { state, serves: serves.cloned(), candidates: candidates.collect() }
}

/// The first line that fits, as the reference model has them.
fn decide<'s>(
    slot: &'s Slot<'_>,
    firm: &BTreeSet<StatementId>,
    pin: Option<&'s Content>,
) -> (SlotState, Option<&'s Content>) {
    let all: Vec<_> = slot.keys().collect();
    let is_sealed = |carriers: &[Carrier<'_>]| carriers.iter().any(|(id, ..)| firm.contains(id));
    let sealed: Vec<_> = slot
        .iter()
        .filter(|(_, carriers)| is_sealed(carriers))
        .map(|(content, _)| content)
        .collect();
    let fits = |content: &Content| pin.is_none_or(|pin| pin == content);
    match (all.as_slice(), sealed.as_slice()) {
        ([], _) => (SlotState::PinnedUnsupported, pin),
        ([only], _) | (_, [only]) if fits(only) => (SlotState::Ok, Some(only)),
        _ if pin.is_some() => (SlotState::DisputedPinned, pin),
        _ => (SlotState::Disputed, None),
    }
}

/// Of several metas for equal bytes: the highest extractor version, then the lowest digest.
#[must_use]
pub fn best_meta<'a>(metas: impl Iterator<Item = &'a Meta>) -> Option<Meta> {
    metas
        .min_by_key(|meta| (Reverse(meta.version), meta.body.digest(), meta.extractor.as_str()))
        .cloned()
}

impl Version<'_> {
    fn view(&self, name: &str, firm: &BTreeSet<StatementId>, pins: &Pins) -> VersionView {
        let files = self.slots.iter().map(|(file, slot)| {
            let pin = pins.get(&(name.to_owned(), (*file).to_owned()));
            ((*file).to_owned(), file_view(slot, firm, pin))
        });
        let files: BTreeMap<_, _> = files.collect();
        let releases = || self.standing.iter().map(|(_, release)| *release);
        VersionView {
            state: version_state(&files),
            written: releases().next().map_or(name, |lowest| &lowest.written).to_owned(),
            releases: self.standing.iter().map(|(id, _)| *id).collect(),
            yanked: None,
            claimed_time: releases().map(|release| release.claimed_time).min().unwrap_or(0),
            extras: releases().find_map(|release| release.extras.clone()),
            withdrawn_others: self.withdrawn.iter().flat_map(|one| &one.files).any(|file| {
                let slot = self.slots.get(file.name.as_str());
                slot.is_some_and(|all| !all.is_empty() && !all.contains_key(&Content::of(file)))
            }),
            files,
        }
    }
}

fn version_state(files: &BTreeMap<String, FileView>) -> SlotState {
    [SlotState::Disputed, SlotState::DisputedPinned, SlotState::Ok]
        .into_iter()
        .find(|state| files.values().any(|file| file.state == *state))
        .unwrap_or(SlotState::PinnedUnsupported)
}
