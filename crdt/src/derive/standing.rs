//! Which releases stand, and who may say anything about them.
//!
//! A signature counts if its key may publish the name and has not withdrawn from the release; a
//! release stands if enough distinct keys count, or if it is sealed. The sets that revocations
//! (`keep`) and seals (`firm`) fill are part of the rule and empty in this version.
//!
//! Source: trust.md section 5, steps 4 and 5.

use std::collections::{BTreeMap, BTreeSet};

use super::Held;
use crate::realm::Publishers;
use crate::statement::{Body, Release};
use crate::{Authority, PackageId, PublicKey, StatementId};

/// What was found about the releases of one package.
#[derive(Debug)]
pub(super) struct Judgement<'a> {
    /// The releases that stand, with the signers that count.
    pub(super) standing: BTreeMap<StatementId, Standing<'a>>,
    /// Releases that would stand if nobody had withdrawn from them.
    pub(super) withdrawn: Vec<&'a Release>,
    /// Sealed releases.
    pub(super) firm: BTreeSet<StatementId>,
    /// The keys whose yanks and tags count.
    pub(super) publishers: BTreeSet<PublicKey>,
}

/// A release that stands.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub(super) release: &'a Release,
    pub(super) signers: BTreeSet<PublicKey>,
}

/// Key → the releases that survive its revocations.
type Keep = BTreeMap<PublicKey, BTreeSet<StatementId>>;

pub(super) fn judge<'a>(
    authority: &Authority,
    package: &PackageId,
    held: &Held<'a>,
) -> Judgement<'a> {
    let Publishers { keys, need } = authority.publishers(&package.format, &package.name);
    let keep = Keep::new();
    let mut judgement = Judgement {
        standing: BTreeMap::new(),
        withdrawn: Vec::new(),
        firm: BTreeSet::new(),
        publishers: keys.iter().filter(|key| !keep.contains_key(key)).copied().collect(),
    };
    let gone = withdrawals(held);
    for (id, (statement, signers)) in held {
        let Body::Release(release) = statement.body() else { continue };
        let survives = |key: &PublicKey| keep.get(key).is_none_or(|kept| kept.contains(id));
        let granted: BTreeSet<_> =
            signers.intersection(&keys).filter(|key| survives(key)).copied().collect();
        let counted: BTreeSet<_> = match gone.get(id) {
            Some(gone) => granted.difference(gone).copied().collect(),
            None => granted.clone(),
        };
        if counted.len() >= need as usize || judgement.firm.contains(id) {
            judgement.standing.insert(*id, Standing { release, signers: counted });
        } else if granted.len() >= need as usize {
            judgement.withdrawn.push(release);
        }
    }
    close_sealed(&mut judgement);
    judgement
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
fn close_sealed(judgement: &mut Judgement<'_>) {
    let firm = &judgement.firm;
    let sealed = judgement.standing.iter().filter(|(id, _)| firm.contains(id));
    let closed: BTreeSet<_> = sealed.map(|(_, one)| one.release.version.as_str()).collect();
    judgement
        .standing
        .retain(|id, one| firm.contains(id) || !closed.contains(one.release.version.as_str()));
}
