//! Which releases stand, and who may say anything about them.
//!
//! A signature counts if its key may publish the name, has not withdrawn from the release, and is
//! not revoked or the revocation keeps the release. A release stands if enough distinct keys count,
//! or if it is sealed. A version with a sealed release is closed: of its files only sealed ones
//! stand.
//!
//! Releases that fall short are listed with the reason, as long as a key that is granted signed
//! them: what strangers sign leaves no trace.
//!
//! Source: trust.md section 5, steps 3 to 6.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fallen, FallenRelease, Ground, Held};
use crate::statement::{Body, Release};
use crate::{PublicKey, StatementId};

/// What was found about the releases of one package.
#[derive(Debug)]
pub(super) struct Judgement<'a> {
    /// The releases that stand, with the signers that count.
    pub(super) standing: BTreeMap<StatementId, Standing<'a>>,
    /// Releases that would stand if nobody had withdrawn from them.
    pub(super) withdrawn: Vec<&'a Release>,
    /// Sealed releases.
    pub(super) firm: &'a BTreeSet<StatementId>,
    /// The keys whose yanks and tags count.
    pub(super) publishers: BTreeSet<PublicKey>,
    /// The others, by version.
    pub(super) fallen: BTreeMap<String, Vec<FallenRelease>>,
}

/// A release that stands.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub(super) release: &'a Release,
    pub(super) signers: BTreeSet<PublicKey>,
}

pub(super) fn judge<'a>(ground: &'a Ground<'_>, held: &Held<'a>) -> Judgement<'a> {
    let publishers = &ground.publishers;
    let mut judgement = Judgement {
        standing: BTreeMap::new(),
        withdrawn: Vec::new(),
        firm: &ground.firm,
        publishers: publishers.keys.keys().filter(|key| publishers.counts(key)).copied().collect(),
        fallen: BTreeMap::new(),
    };
    let gone = withdrawals(held);
    let nobody = BTreeSet::new();
    for (id, (statement, signers)) in held {
        if let Body::Release(release) = statement.body() {
            let signed =
                Signed { id: *id, release, signers, gone: gone.get(id).unwrap_or(&nobody) };
            signed.judge(ground, &mut judgement);
        }
    }
    close_sealed(&mut judgement, held, ground);
    judgement
}

/// A release with the keys that signed it, and those that took that back.
struct Signed<'a, 'h> {
    id: StatementId,
    release: &'a Release,
    signers: &'h BTreeSet<PublicKey>,
    gone: &'h BTreeSet<PublicKey>,
}

impl<'a> Signed<'a, '_> {
    fn judge(&self, ground: &Ground<'_>, judgement: &mut Judgement<'a>) {
        let (keys, need) = (&ground.publishers.keys, ground.publishers.need as usize);
        let granted = || self.signers.iter().filter(|key| keys.contains_key(key));
        let surviving: BTreeSet<_> =
            granted().filter(|key| keys[*key].holds(&self.id)).copied().collect();
        let counted: BTreeSet<_> = surviving.difference(self.gone).copied().collect();
        let is_withdrawn = surviving.len() >= need && counted.len() < need;
        if counted.len() >= need || ground.firm.contains(&self.id) {
            let standing = Standing { release: self.release, signers: counted };
            judgement.standing.insert(self.id, standing);
            return;
        }
        if is_withdrawn {
            judgement.withdrawn.push(self.release);
        }
        if granted().next().is_some() {
            let why = self.why(ground, &counted, is_withdrawn);
            judgement.fall(&self.id, self.release, granted().copied().collect(), why);
        }
    }

    fn why(
        &self,
        ground: &Ground<'_>,
        counted: &BTreeSet<PublicKey>,
        is_withdrawn: bool,
    ) -> Fallen {
        let (keys, need) = (&ground.publishers.keys, ground.publishers.need);
        let staying = || self.signers.difference(self.gone).filter_map(|key| keys.get(key));
        if staying().filter(|reach| reach.may_hold(&self.id)).count() >= need as usize {
            return Fallen::NotYetKnown;
        }
        if is_withdrawn {
            return Fallen::Withdrawn;
        }
        let lost = staying().filter(|reach| !reach.holds(&self.id));
        let by: BTreeSet<_> = lost.flat_map(super::super::realm::Reach::limited_by).collect();
        if by.is_empty() {
            let have = u32::try_from(counted.len()).unwrap_or(u32::MAX);
            return Fallen::Signers { have, need };
        }
        Fallen::Revoked(by.into_iter().collect())
    }
}

impl Judgement<'_> {
    fn fall(&mut self, id: &StatementId, of: &Release, signers: Vec<PublicKey>, why: Fallen) {
        let files = of.files.iter().map(|file| file.name.clone()).collect();
        let fallen = FallenRelease { release: *id, signers, files, why };
        self.fallen.entry(of.version.clone()).or_default().push(fallen);
    }
}

/// Release → the keys that took their signature off it.
fn withdrawals(held: &Held<'_>) -> BTreeMap<StatementId, BTreeSet<PublicKey>> {
    let mut gone = BTreeMap::<_, BTreeSet<_>>::new();
    for (statement, signers) in held.values() {
        if let Body::Withdraw { release, .. } = statement.body() {
            gone.entry(*release).or_default().extend(signers);
        }
    }
    gone
}

/// A sealed version is closed: of its files only those of sealed releases stand.
fn close_sealed(judgement: &mut Judgement<'_>, held: &Held<'_>, ground: &Ground<'_>) {
    let firm = judgement.firm;
    let sealed = judgement.standing.iter().filter(|(id, _)| firm.contains(id));
    let closed: BTreeSet<_> = sealed.map(|(_, one)| one.release.version.clone()).collect();
    let late: Vec<_> = judgement
        .standing
        .iter()
        .filter(|(id, one)| !firm.contains(id) && closed.contains(&one.release.version))
        .map(|(id, _)| *id)
        .collect();
    for id in late {
        let Some(Standing { release, .. }) = judgement.standing.remove(&id) else { continue };
        let signers = held.get(&id).into_iter().flat_map(|(_, signers)| signers);
        let granted = signers.filter(|key| ground.publishers.keys.contains_key(key));
        let granted = granted.copied().collect();
        judgement.fall(&id, release, granted, Fallen::Closed);
    }
    judgement.fallen.values_mut().for_each(|all| all.sort_by_key(|one| one.release));
}
