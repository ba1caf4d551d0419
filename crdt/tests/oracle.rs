//! The reference model: a straight transcription of the pseudocode, slow and plain on purpose.
//!
//! It shares no code with what it checks but the statements themselves, and keeps everything in
//! lists. Revocations, seals and delegation are left out, as in the code under test.
//!
//! Source: trust.md section 6.

use std::collections::{BTreeMap, BTreeSet};

use crdt::derive::{Content, PackageView, Pins, SlotState};
use crdt::realm::{Authority, ChainStatus};
use crdt::statement::{Body, Counter, Grant, Grantee, Root, recovery_hash};
use crdt::{PublicKey, StatementId, Verified};

use crate::world::x;

type Slots = BTreeMap<(String, String), (SlotState, Vec<Content>)>;

/// What the model says; the view under test is projected to the same.
#[derive(Debug, PartialEq)]
pub(crate) struct Model {
    pub(crate) status: ChainStatus,
    pub(crate) path: Vec<StatementId>,
    slots: Slots,
    versions: BTreeMap<String, SlotState>,
    yanked: Vec<String>,
    tags: BTreeMap<String, String>,
}

pub(crate) fn project(authority: &Authority, view: &PackageView) -> Model {
    let mut slots = Slots::new();
    for (version, one) in &view.versions {
        for (name, file) in &one.files {
            let contents = match file.state {
                SlotState::Disputed => file.candidates.iter().map(|c| c.content.clone()).collect(),
                _ => file.serves.iter().cloned().collect(),
            };
            slots.insert((version.clone(), name.clone()), (file.state, contents));
        }
    }
    let yanked = view.versions.iter().filter(|(_, one)| one.yanked.is_some());
    Model {
        status: authority.status,
        path: authority.path.clone(),
        slots,
        versions: view.versions.iter().map(|(name, one)| (name.clone(), one.state)).collect(),
        yanked: yanked.map(|(name, _)| name.clone()).collect(),
        tags: view.tags.clone(),
    }
}

struct Fact<'a> {
    id: StatementId,
    body: &'a Body,
    ours: bool,
    signers: Vec<PublicKey>,
}

pub(crate) fn model(
    realm: crdt::RealmId,
    envelopes: &[Verified],
    chain_pin: &[StatementId],
    pins: &Pins,
) -> Model {
    let mut held: Vec<Fact<'_>> = Vec::new();
    for envelope in envelopes.iter().filter(|envelope| envelope.statement().realm() == realm) {
        let statement = envelope.statement();
        let at = held.iter().position(|fact| fact.id == statement.id()).unwrap_or_else(|| {
            let ours = statement.package() == Some(&x());
            held.push(Fact { id: statement.id(), body: statement.body(), ours, signers: vec![] });
            held.len() - 1
        });
        for key in envelope.signatures().keys() {
            if !held[at].signers.contains(key) {
                held[at].signers.push(*key);
            }
        }
    }
    held.sort_by_key(|fact| fact.id);
    let (path, status) = chain(&held, StatementId(realm.0), chain_pin);
    let mut model = Model {
        status,
        path,
        slots: Slots::new(),
        versions: BTreeMap::new(),
        yanked: vec![],
        tags: BTreeMap::new(),
    };
    let Some(head) = model.path.last().and_then(|id| root(&held, *id)) else {
        return model;
    };
    package(&mut model, head.0, &held, pins);
    model
}

fn root<'a>(held: &'a [Fact<'a>], id: StatementId) -> Option<(&'a Root, &'a [PublicKey])> {
    let fact = held.iter().find(|fact| fact.id == id)?;
    match fact.body {
        Body::Root(root) => Some((root, &fact.signers)),
        _ => None,
    }
}

fn both(signers: &[PublicKey], roots: &[PublicKey]) -> usize {
    signers.iter().filter(|key| roots.contains(key)).count()
}

fn sound(root: &Root) -> bool {
    let (n, k) = (root.roots.len(), root.k as usize);
    let distinct = root.roots.iter().collect::<BTreeSet<_>>().len() == n;
    let majority = n / 2 + 1;
    distinct && (1..=15).contains(&n) && (majority..=n).contains(&k)
}

fn chain(
    held: &[Fact<'_>],
    realm: StatementId,
    pin: &[StatementId],
) -> (Vec<StatementId>, ChainStatus) {
    let Some((genesis, signers)) = root(held, realm) else {
        return (vec![], ChainStatus::Unknown);
    };
    let wrong = genesis.prev.is_some() || genesis.epoch != 0 || !sound(genesis);
    if wrong || both(signers, &genesis.roots) < genesis.k as usize {
        return (vec![], ChainStatus::Invalid);
    }
    let (mut path, mut status) = (vec![realm], ChainStatus::Ok);
    loop {
        let last = path[path.len() - 1];
        let (p, _) = root(held, last).unwrap();
        let (mut ordinary, mut rescued) = (vec![], vec![]);
        for fact in held {
            let Body::Root(c) = fact.body else { continue };
            let child = c.prev == Some(last) && c.epoch == p.epoch + 1 && sound(c);
            if !child || both(&fact.signers, &c.roots) < c.k as usize {
                continue;
            }
            if both(&fact.signers, &p.roots) >= p.k as usize {
                ordinary.push(fact.id);
            }
            let known = |key: &&PublicKey| p.recovery.contains(&recovery_hash(key));
            if p.rk >= 1 && fact.signers.iter().filter(known).count() >= p.rk as usize {
                rescued.push(fact.id);
            }
        }
        let mut on_pin: Vec<_> =
            ordinary.iter().chain(&rescued).filter(|id| pin.contains(id)).copied().collect();
        on_pin.sort();
        on_pin.dedup();
        let pinned = if on_pin.len() == 1 { Some(on_pin[0]) } else { None };
        if !rescued.is_empty() && !pin.is_empty() && !rescued.iter().any(|id| pin.contains(id)) {
            status = ChainStatus::RecoverPending;
            match pinned {
                Some(id) => path.push(id),
                None => return (path, status),
            }
            continue;
        }
        let next = if rescued.is_empty() { ordinary } else { rescued };
        match (next.len(), pinned) {
            (0, _) => return (path, status),
            (1, _) => path.push(next[0]),
            (_, Some(id)) if next.contains(&id) => {
                path.push(id);
                status = ChainStatus::ForkPinned;
            }
            _ => return (path, ChainStatus::Forked),
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, _)) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Longer is greater, exact is greater than any prefix.
fn length(grant: &Grant) -> usize {
    let text = &grant.pattern.0;
    if text.ends_with('*') { text.len() - 1 } else { 1_000_000 + text.len() }
}

fn package(model: &mut Model, head: &Root, held: &[Fact<'_>], pins: &Pins) {
    let mut grants: Vec<_> = head.grants.iter().filter(|grant| grant.role == "publish").collect();
    grants.retain(|grant| grant.format == "*" || grant.format == "pypi");
    grants.retain(|grant| matches(&grant.pattern.0, "x"));
    if let Some(top) = grants.iter().filter(|grant| grant.exclusive).map(|g| length(g)).max() {
        grants.retain(|grant| length(grant) >= top);
    }
    let need = grants.iter().map(|grant| grant.need as usize).max().unwrap_or(1).max(1);
    let granted: Vec<_> = grants
        .iter()
        .filter_map(|grant| if let Grantee::Key(key) = grant.to { Some(key) } else { None })
        .collect();

    let mut all: BTreeMap<(String, String), Vec<Content>> = BTreeMap::new();
    let mut standing = vec![];
    for fact in held.iter().filter(|fact| fact.ours) {
        let Body::Release(r) = fact.body else { continue };
        let gone = |key: &PublicKey| {
            held.iter().any(|w| {
                w.ours
                    && matches!(w.body, Body::Withdraw { release, .. } if *release == fact.id)
                    && w.signers.contains(key)
            })
        };
        let counted = fact.signers.iter().filter(|key| granted.contains(key) && !gone(key));
        if counted.count() < need {
            continue;
        }
        standing.push((fact.id, r.version.clone()));
        for file in &r.files {
            let contents = all.entry((r.version.clone(), file.name.clone())).or_default();
            if !contents.contains(&Content::of(file)) {
                contents.push(Content::of(file));
            }
        }
    }
    for (slot, contents) in &mut all {
        contents.sort();
        let decided = match (contents.len(), pins.get(slot)) {
            (1, None) => (SlotState::Ok, contents.clone()),
            (1, Some(pin)) if contents[0] == *pin => (SlotState::Ok, contents.clone()),
            (_, Some(pin)) => (SlotState::DisputedPinned, vec![pin.clone()]),
            (_, None) => (SlotState::Disputed, contents.clone()),
        };
        model.slots.insert(slot.clone(), decided);
    }
    for (slot, pin) in pins.iter().filter(|(slot, _)| !all.contains_key(slot)) {
        model.slots.insert(slot.clone(), (SlotState::PinnedUnsupported, vec![pin.clone()]));
    }
    for (version, _) in model.slots.keys() {
        let of = model.slots.iter().filter(|(slot, _)| slot.0 == *version);
        let states: Vec<_> = of.map(|(_, (state, _))| *state).collect();
        let first = [SlotState::Disputed, SlotState::DisputedPinned, SlotState::Ok];
        let found = first.into_iter().find(|state| states.contains(state));
        let state = found.unwrap_or(SlotState::PinnedUnsupported);
        model.versions.insert(version.clone(), state);
    }
    pointers(model, head, held, &granted, &standing);
}

/// A counter, and the release that it points a tag at.
type Pointer = ((u64, u64), Option<StatementId>);

fn pointers(
    model: &mut Model,
    head: &Root,
    held: &[Fact<'_>],
    granted: &[PublicKey],
    standing: &[(StatementId, String)],
) {
    let counts = |fact: &Fact<'_>, counter: Counter| {
        fact.ours
            && both(&fact.signers, granted) > 0
            && counter.epoch <= head.epoch
            && counter.n <= 9_007_199_254_740_992
    };
    let is_yanked = |id: StatementId| {
        let (mut yank, mut unyank) = (None, None);
        for fact in held {
            match fact.body {
                Body::Yank { release, counter, .. } if *release == id && counts(fact, *counter) => {
                    yank = yank.max(Some((counter.epoch, counter.n)));
                }
                Body::Unyank { release, counter, .. }
                    if *release == id && counts(fact, *counter) =>
                {
                    unyank = unyank.max(Some((counter.epoch, counter.n)));
                }
                _ => {}
            }
        }
        yank.is_some() && yank >= unyank
    };
    for version in model.versions.keys() {
        let of: Vec<_> = standing.iter().filter(|(_, of)| of == version).collect();
        if !of.is_empty() && of.iter().all(|(id, _)| is_yanked(*id)) {
            model.yanked.push(version.clone());
        }
    }
    let mut tags: BTreeMap<&str, Vec<Pointer>> = BTreeMap::new();
    for fact in held {
        let Body::Tag { tag, release, counter } = fact.body else { continue };
        if counts(fact, *counter) {
            tags.entry(tag).or_default().push(((counter.epoch, counter.n), *release));
        }
    }
    for (tag, points) in tags {
        let highest = points.iter().map(|(counter, _)| *counter).max();
        let targets = points.iter().filter(|(counter, _)| Some(*counter) == highest);
        let mut versions: Vec<Option<String>> = targets
            .map(|(_, target)| {
                standing.iter().find(|(id, _)| Some(*id) == *target).map(|(_, of)| of.clone())
            })
            .collect();
        versions.dedup();
        if let [Some(version)] = versions.as_slice() {
            let disputed = model.versions[version] == SlotState::Disputed;
            if !disputed && !model.yanked.contains(version) {
                model.tags.insert(tag.to_owned(), version.clone());
            }
        }
    }
}
