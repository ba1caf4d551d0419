//! Statements, authority and pins in; what a package is, out.
//!
//! ```text
//!  release signed by enough granted keys ──▶ stands
//!  standing releases ──▶ slots (version, file name) ──▶ contents
//!      one content                    ok
//!      several, or not the pinned one disputed-pinned: the pin is served
//!      several, nothing pinned        disputed: served to nobody by name
//!      none, but pinned               pinned-unsupported: exact requests go on
//! ```
//!
//! Invariant: the view depends on the set of statements, the authority and the pins, never on an
//! order of arrival, a clock or which of several valid signatures is held. The content of a slot is
//! size and digests; meta, extras and times decide nothing. Two contents are never ranked: an
//! attacker would choose whatever decides.
//!
//! Source: trust.md sections 5 (steps 4, 6, 7) and 6. Revocations, seals and delegation are kept
//! as statements and have no effect here yet; they join in [`Standing::gather`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::statement::{BlobRef, Body, Counter, File, Meta, MetaBody, Release};
use crate::{Authority, Checksums, Digest, PackageId, PublicKey, RealmId, StatementId, Verified};

/// A counter above this has no effect. Source: trust.md section 3.
const COUNTER_MAX: u64 = 1 << 53;

/// What must not change in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Our digest.
    pub blake3: Digest,
    /// The clients' checksums.
    pub checksums: Checksums,
}

/// What this node has pinned in one package: (normal version, file name) → content.
pub type Pins = BTreeMap<(String, String), Content>;

/// How a slot or a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// One content.
    Ok,
    /// Several contents, or another one than the pin: the pin is served.
    DisputedPinned,
    /// Several contents and no pin: nothing is served by name.
    Disputed,
    /// Nothing stands any more, but something is pinned: exact requests go on.
    PinnedUnsupported,
}

/// One content of a slot, with who stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The content.
    pub content: Content,
    /// Counted signers, sorted.
    pub signers: Vec<PublicKey>,
    /// Standing releases that carry it, sorted.
    pub releases: Vec<StatementId>,
    /// What the format extracted: of several, the highest extractor version, then lowest digest.
    pub meta: Option<Meta>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// How the slot stands.
    pub state: SlotState,
    /// The content that this node serves by name, if any.
    pub serves: Option<Content>,
    /// All contents that stand, sorted.
    pub candidates: Vec<Candidate>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Disputed if a slot is; else disputed-pinned if one is; else ok if one is.
    pub state: SlotState,
    /// As its publisher wrote it; of several, the standing release with the lowest id decides.
    pub written: String,
    /// By file name.
    pub files: BTreeMap<String, FileView>,
    /// Standing releases, sorted.
    pub releases: Vec<StatementId>,
    /// The reason, if every standing release is yanked.
    pub yanked: Option<String>,
    /// Seconds since 1970: the lowest that a standing release claims. Shown, never judged.
    pub claimed_time: u64,
    /// Descriptive extras of the standing release with the lowest id that has any.
    pub extras: Option<BlobRef>,
    /// Other bytes were once signed for a file of it, and withdrawn.
    pub withdrawn_others: bool,
}

/// What a package is, for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageView {
    /// The realm.
    pub realm: RealmId,
    /// The package.
    pub package: PackageId,
    /// By normal version.
    pub versions: BTreeMap<String, VersionView>,
    /// Tag → normal version. A tag is absent when its newest statements disagree, or its target
    /// does not stand, is disputed or is yanked.
    pub tags: BTreeMap<String, String>,
    /// Tag → highest n within the head's epoch, for who signs next.
    pub tag_counters: BTreeMap<String, u64>,
    /// Release id → highest n of its yanks and unyanks within the head's epoch.
    pub yank_counters: BTreeMap<String, u64>,
}

/// Derives one package. The statements may come in any order and repeated; those of another realm
/// or package are passed over.
#[must_use]
pub fn package<'a>(
    authority: &Authority,
    package: &PackageId,
    statements: impl IntoIterator<Item = &'a Verified>,
    pins: &Pins,
) -> PackageView {
    let held = gather(authority.realm, package, statements);
    let standing = Standing::gather(authority, package, &held);
    let yanks = standing.yanks(&held);
    let mut versions = BTreeMap::new();
    for version in standing.versions(pins) {
        let view = standing.version(version, pins, &yanks);
        versions.insert(version.to_owned(), view);
    }
    let tags = standing.tags(&held, &versions);
    PackageView {
        realm: authority.realm,
        package: package.clone(),
        versions,
        tags,
        tag_counters: standing.tag_counters(&held),
        yank_counters: standing.yank_counters(&held),
    }
}

/// One statement of the package with all its signers.
struct Held<'a> {
    body: &'a Body,
    signers: BTreeSet<PublicKey>,
}

type Set<'a> = BTreeMap<StatementId, Held<'a>>;

/// Joins signers by id; order and repetition disappear here.
fn gather<'a>(
    realm: RealmId,
    package: &PackageId,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> Set<'a> {
    let mut held: Set<'a> = BTreeMap::new();
    for verified in statements {
        let statement = verified.statement();
        if statement.realm() != realm || statement.package() != Some(package) {
            continue;
        }
        let entry = held
            .entry(statement.id())
            .or_insert_with(|| Held { body: statement.body(), signers: BTreeSet::new() });
        entry.signers.extend(verified.signatures().keys().copied());
    }
    held
}

/// The releases that stand, and those that a granted key signed and withdrew.
struct Standing<'a> {
    epoch: u64,
    keys: BTreeSet<PublicKey>,
    releases: BTreeMap<StatementId, (&'a Release, Vec<PublicKey>)>,
    withdrawn: Vec<&'a Release>,
}

impl<'a> Standing<'a> {
    fn gather(authority: &Authority, package: &PackageId, held: &Set<'a>) -> Self {
        let publishers = authority.publishers(&package.format, &package.name);
        let gone = withdrawals(held);
        let mut releases = BTreeMap::new();
        let mut withdrawn = Vec::new();
        for (id, Held { body, signers }) in held {
            let Body::Release(release) = *body else { continue };
            let granted: BTreeSet<_> = signers.intersection(&publishers.keys).copied().collect();
            let taken_back = gone.get(id);
            let counted: Vec<PublicKey> = granted
                .iter()
                .filter(|key| !taken_back.is_some_and(|keys| keys.contains(*key)))
                .copied()
                .collect();
            let enough = u32::try_from(counted.len()).is_ok_and(|count| count >= publishers.need);
            if enough {
                releases.insert(*id, (release, counted));
            } else if !granted.is_empty() && taken_back.is_some() {
                withdrawn.push(release);
            }
        }
        Self { epoch: authority.epoch(), keys: publishers.keys, releases, withdrawn }
    }

    /// Versions that stand or are pinned.
    fn versions<'v>(&self, pins: &'v Pins) -> BTreeSet<&'v str>
    where
        'a: 'v,
    {
        let standing = self.releases.values().map(|(release, _)| release.version.as_str());
        standing.chain(pins.keys().map(|(version, _)| version.as_str())).collect()
    }

    fn version(
        &self,
        version: &str,
        pins: &Pins,
        yanks: &BTreeMap<StatementId, String>,
    ) -> VersionView {
        let releases: Vec<(StatementId, &Release)> = self
            .releases
            .iter()
            .filter(|(_, (release, _))| release.version == version)
            .map(|(id, (release, _))| (*id, *release))
            .collect();
        let files = self.files(version, pins);
        let yanked: Vec<&String> = releases.iter().filter_map(|(id, _)| yanks.get(id)).collect();
        let all_yanked = !releases.is_empty() && yanked.len() == releases.len();
        let first = releases.first().map(|(_, release)| release.written.clone());
        VersionView {
            state: version_state(&files),
            written: first.unwrap_or_else(|| version.to_owned()),
            yanked: if all_yanked { yanked.first().map(|reason| (*reason).clone()) } else { None },
            claimed_time: releases.iter().map(|(_, r)| r.claimed_time).min().unwrap_or(0),
            extras: releases.iter().find_map(|(_, release)| release.extras.clone()),
            withdrawn_others: self.withdrew_others(version, &files),
            releases: releases.into_iter().map(|(id, _)| id).collect(),
            files,
        }
    }

    /// The slots of a version, each decided by itself.
    fn files(&self, version: &str, pins: &Pins) -> BTreeMap<String, FileView> {
        let mut slots: BTreeMap<&str, BTreeMap<Content, Candidate>> = BTreeMap::new();
        for (id, (release, signers)) in &self.releases {
            if release.version != version {
                continue;
            }
            for file in &release.files {
                let content = content(file);
                let slot = slots.entry(&file.name).or_default();
                let candidate =
                    slot.entry(content.clone()).or_insert_with(|| Candidate::new(content));
                candidate.join(*id, signers, file.meta.as_ref());
            }
        }
        for (pinned, name) in pins.keys() {
            if pinned == version {
                slots.entry(name).or_default();
            }
        }
        slots
            .into_iter()
            .map(|(name, contents)| {
                let pin = pins.get(&(version.to_owned(), name.to_owned()));
                (name.to_owned(), slot(contents.into_values().collect(), pin))
            })
            .collect()
    }

    /// Whether a withdrawn release gave a file of the version other bytes than the ones that stand.
    fn withdrew_others(&self, version: &str, files: &BTreeMap<String, FileView>) -> bool {
        let mut once =
            self.withdrawn.iter().filter(|r| r.version == version).flat_map(|r| &r.files);
        once.any(|file| {
            let held = files.get(&file.name);
            held.is_some_and(|held| {
                !held.candidates.is_empty()
                    && held.candidates.iter().all(|other| other.content != content(file))
            })
        })
    }

    /// Yanked releases with the reason. The highest counter wins; on a tie, yanked.
    fn yanks(&self, held: &Set<'_>) -> BTreeMap<StatementId, String> {
        let mut newest: BTreeMap<StatementId, (Counter, Option<&String>)> = BTreeMap::new();
        for statement in held.values() {
            let (release, counter, yank) = match statement.body {
                Body::Yank { release, counter, reason } => (release, counter, Some(reason)),
                Body::Unyank { release, counter, .. } => (release, counter, None),
                _ => continue,
            };
            if !self.counts(statement, counter) {
                continue;
            }
            let slot = newest.entry(*release).or_insert((*counter, yank));
            // Of two yanks with one counter the lesser reason is shown, whatever came first.
            let tie = slot.0 == *counter
                && match (yank, slot.1) {
                    (Some(new), Some(old)) => new < old,
                    (new, old) => new.is_some() && old.is_none(),
                };
            if *counter > slot.0 || tie {
                *slot = (*counter, yank);
            }
        }
        let yanked = newest.into_iter().filter_map(|(id, (_, reason))| Some((id, reason?.clone())));
        yanked.collect()
    }

    /// Each tag's target, where its newest statements agree on one that can be offered.
    fn tags(
        &self,
        held: &Set<'_>,
        versions: &BTreeMap<String, VersionView>,
    ) -> BTreeMap<String, String> {
        let mut newest: BTreeMap<&String, (Counter, BTreeSet<Option<StatementId>>)> =
            BTreeMap::new();
        for statement in held.values() {
            let Body::Tag { tag, release, counter } = statement.body else { continue };
            if !self.counts(statement, counter) {
                continue;
            }
            let (highest, targets) =
                newest.entry(tag).or_insert_with(|| (*counter, BTreeSet::new()));
            if *counter > *highest {
                *highest = *counter;
                targets.clear();
            }
            if *counter == *highest {
                targets.insert(*release);
            }
        }
        newest
            .into_iter()
            .filter_map(|(tag, (_, targets))| {
                let target = (targets.len() == 1).then(|| targets.first().copied()).flatten()??;
                let (release, _) = self.releases.get(&target)?;
                let version = versions.get(&release.version)?;
                let offered = version.state == SlotState::Ok && version.yanked.is_none();
                offered.then(|| (tag.clone(), release.version.clone()))
            })
            .collect()
    }

    /// Whether a yank or tag has an effect: by a publisher, with a counter that counts.
    fn counts(&self, statement: &Held<'_>, counter: &Counter) -> bool {
        counter.epoch <= self.epoch
            && counter.n <= COUNTER_MAX
            && !statement.signers.is_disjoint(&self.keys)
    }

    fn tag_counters(&self, held: &Set<'_>) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for statement in held.values() {
            if let Body::Tag { tag, counter, .. } = statement.body {
                self.note_counter(&mut counters, tag.clone(), statement, counter);
            }
        }
        counters
    }

    fn yank_counters(&self, held: &Set<'_>) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for statement in held.values() {
            if let Body::Yank { release, counter, .. } | Body::Unyank { release, counter, .. } =
                statement.body
            {
                self.note_counter(&mut counters, release.to_string(), statement, counter);
            }
        }
        counters
    }

    fn note_counter(
        &self,
        counters: &mut BTreeMap<String, u64>,
        subject: String,
        statement: &Held<'_>,
        counter: &Counter,
    ) {
        if counter.epoch == self.epoch && self.counts(statement, counter) {
            let highest = counters.entry(subject).or_insert(counter.n);
            *highest = (*highest).max(counter.n);
        }
    }
}

/// Release → keys that withdrew their own signature from it.
fn withdrawals(held: &Set<'_>) -> BTreeMap<StatementId, BTreeSet<PublicKey>> {
    let mut gone: BTreeMap<StatementId, BTreeSet<PublicKey>> = BTreeMap::new();
    for statement in held.values() {
        if let Body::Withdraw { release, .. } = statement.body {
            gone.entry(*release).or_default().extend(&statement.signers);
        }
    }
    gone
}

impl Candidate {
    fn new(content: Content) -> Self {
        Self { content, signers: Vec::new(), releases: Vec::new(), meta: None }
    }

    fn join(&mut self, id: StatementId, signers: &[PublicKey], meta: Option<&Meta>) {
        self.releases.push(id);
        self.signers.extend_from_slice(signers);
        self.signers.sort_unstable();
        self.signers.dedup();
        if let Some(meta) = meta {
            let better = self.meta.as_ref().is_none_or(|held| rank(meta) < rank(held));
            if better {
                self.meta = Some(meta.clone());
            }
        }
    }
}

/// The lesser is the better meta: highest extractor version, then lowest digest.
fn rank(meta: &Meta) -> (std::cmp::Reverse<u32>, Digest) {
    let digest = match &meta.body {
        MetaBody::Inline(bytes) => Digest::of(bytes),
        MetaBody::Blob(blob) => blob.digest,
    };
    (std::cmp::Reverse(meta.version), digest)
}

fn content(file: &File) -> Content {
    Content { size: file.size, blake3: file.blake3, checksums: file.checksums.clone() }
}

/// Decides one slot: the first line that fits. Source: trust.md section 6.
fn slot(candidates: Vec<Candidate>, pin: Option<&Content>) -> FileView {
    let only = match candidates.as_slice() {
        [only] if pin.is_none_or(|pin| *pin == only.content) => Some(only.content.clone()),
        _ => None,
    };
    let (state, serves) = match (only, pin) {
        (Some(content), _) => (SlotState::Ok, Some(content)),
        (None, Some(pin)) if candidates.is_empty() => {
            (SlotState::PinnedUnsupported, Some(pin.clone()))
        }
        (None, Some(pin)) => (SlotState::DisputedPinned, Some(pin.clone())),
        (None, None) => (SlotState::Disputed, None),
    };
    FileView { state, serves, candidates }
}

/// Disputed if a slot of it is; else disputed-pinned if one is; else ok if one is.
fn version_state(files: &BTreeMap<String, FileView>) -> SlotState {
    let any = |state| files.values().any(|file| file.state == state);
    [SlotState::Disputed, SlotState::DisputedPinned, SlotState::Ok]
        .into_iter()
        .find(|state| any(*state))
        .unwrap_or(SlotState::PinnedUnsupported)
}
