//! `chain(held, realm, pins) → (path, status)`, with the evidence that it reports.
//!
//! Source: trust.md section 6, `sound` and `chain`.

use std::collections::BTreeSet;

use crdt::realm::ChainStatus;
use crdt::statement::{Root, recovery_hash};
use crdt::{Body, PublicKey, RealmId, StatementId};

use super::{Given, both};

pub(crate) struct Chain {
    pub(crate) path: Vec<StatementId>,
    pub(crate) status: ChainStatus,
    pub(crate) evidence: BTreeSet<StatementId>,
    pub(crate) double_signers: BTreeSet<PublicKey>,
}

fn sound(root: &Root) -> bool {
    let (n, k) = (root.roots.len(), root.k as usize);
    let distinct = root.roots.iter().collect::<BTreeSet<_>>().len() == n;
    let majority = n / 2 + 1;
    distinct && (1..=15).contains(&n) && (majority..=n).contains(&k)
}

/// How many recovery keys of `parent` are among the signers.
fn recovering(parent: &Root, signers: &[PublicKey]) -> usize {
    signers.iter().filter(|key| parent.recovery.contains(&recovery_hash(key))).count()
}

pub(crate) fn chain(given: &Given<'_>, realm: RealmId) -> Chain {
    let mut chain = Chain {
        path: vec![],
        status: ChainStatus::Unknown,
        evidence: BTreeSet::new(),
        double_signers: BTreeSet::new(),
    };
    let id = StatementId(realm.0);
    let Some((genesis, signers)) = given.root(id) else { return chain };
    let wrong = genesis.prev.is_some() || genesis.epoch != 0 || !sound(genesis);
    if wrong || both(signers, &genesis.roots) < genesis.k as usize {
        chain.status = ChainStatus::Invalid;
        return chain;
    }
    chain.path.push(id);
    chain.status = ChainStatus::Ok;
    let none = vec![];
    let pin = given.pins.chains.get(&realm).unwrap_or(&none);
    while let Some(next) = step(given, realm, pin, &mut chain) {
        chain.path.push(next);
    }
    chain
}

/// The members of `some` that lie on the pinned chain.
fn on_pin(pin: &[StatementId], some: &[StatementId]) -> Vec<StatementId> {
    some.iter().filter(|id| pin.contains(id)).copied().collect()
}

/// One turn of the loop: the root to append, or none to stop.
fn step(
    given: &Given<'_>,
    realm: RealmId,
    pin: &[StatementId],
    chain: &mut Chain,
) -> Option<StatementId> {
    let last = *chain.path.last().unwrap();
    let (parent, _) = given.root(last).unwrap();
    let (mut ordinary, mut rescued) = (vec![], vec![]);
    for fact in given.of_realm(realm) {
        let Body::Root(child) = fact.body else { continue };
        let follows = child.prev == Some(last) && child.epoch == parent.epoch + 1;
        if !follows || !sound(child) || both(&fact.signers, &child.roots) < child.k as usize {
            continue;
        }
        if both(&fact.signers, &parent.roots) >= parent.k as usize {
            ordinary.push(fact.id);
        }
        if parent.rk >= 1 && recovering(parent, &fact.signers) >= parent.rk as usize {
            rescued.push(fact.id);
        }
    }
    let next = if rescued.is_empty() { ordinary.clone() } else { rescued.clone() };
    let mut pinned = [on_pin(pin, &ordinary), on_pin(pin, &rescued)].concat();
    pinned.dedup();
    let pinned = pinned.first().copied();
    if !rescued.is_empty() && !pin.is_empty() && on_pin(pin, &rescued).is_empty() {
        chain.status = ChainStatus::RecoverPending;
        report(given, parent, &rescued, chain);
        return pinned;
    }
    if next.len() < 2 {
        return next.first().copied();
    }
    report(given, parent, &next, chain);
    if let Some(pinned) = pinned.filter(|id| next.contains(id)) {
        chain.status = ChainStatus::ForkPinned;
        return Some(pinned);
    }
    chain.status = ChainStatus::Forked;
    None
}

/// The rivals, and those who had a say in the parent and signed more than one of them.
fn report(given: &Given<'_>, parent: &Root, rivals: &[StatementId], chain: &mut Chain) {
    chain.evidence.extend(rivals);
    let mut seen = vec![];
    for id in rivals {
        for key in given.root(*id).unwrap().1 {
            let had_a_say =
                parent.roots.contains(key) || parent.recovery.contains(&recovery_hash(key));
            if had_a_say && seen.contains(key) {
                chain.double_signers.insert(*key);
            }
            seen.push(*key);
        }
    }
}
