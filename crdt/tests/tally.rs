//! What the pools came to: a generator that never reaches a case proves nothing about it.
//!
//! A case is counted where it mattered: the model without it says something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crdt::derive::SlotState;
use crdt::realm::ChainStatus;
use crdt::statement::{Counter, Grantee, Root};
use crdt::{Body, PublicKey, RealmId, StatementId, Verified};

use crate::oracle::{Candidate, Given, Model, Slot, chain, model};
use crate::pool::Pool;

/// How many pools came to each case.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pools: usize,
    statements: usize,
    cases: BTreeMap<&'static str, usize>,
}

/// All that must be reached.
const CASES: [&str; 30] = [
    "a blob of a list changes something",
    "a chain of delegation that is too deep",
    "a chain that was followed by a recovery",
    "a cycle of delegation",
    "a meta is chosen",
    "a tag is set",
    "a team's key counts",
    "a team's revocation counts",
    "a tie of yank and unyank is a yank",
    "a version is yanked",
    "an exclusive grant keeps others out",
    "cleared changes something",
    "disputed",
    "disputed-pinned",
    "endorsed",
    "fork-pinned",
    "forked",
    "more than one signer is needed",
    "not yet known",
    "other bytes were withdrawn",
    "pinned-unsupported",
    "recover-pending",
    "revoked",
    "roots rotated",
    "sealed",
    "sealed without any signer that counts",
    "several files a version",
    "the seals of a root cut one off",
    "waits for a seal",
    "withdrawn",
];

impl Tally {
    pub(crate) fn count(&mut self, pool: &Pool, model: &Model) {
        self.pools += 1;
        self.statements += pool.set.len();
        for case in of_model(model).into_iter().chain(of_pool(pool, model)) {
            *self.cases.entry(case).or_default() += 1;
        }
    }

    /// Every case was reached in at least one pool of so many.
    pub(crate) fn assert_at_least(&self, of: usize) {
        for case in CASES {
            let count = self.cases.get(case).copied().unwrap_or(0);
            assert!(count * of >= self.pools, "only {count} of {} pools: {case}", self.pools);
        }
        assert!(self.cases.keys().all(|case| CASES.contains(case)), "a case that is not listed");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} pools, {} statements", self.pools, self.statements)?;
        self.cases.iter().try_for_each(|(case, count)| writeln!(f, "{count:>6} {case}"))
    }
}

/// What can be read off the model.
fn of_model(model: &Model) -> Vec<&'static str> {
    let packages = || model.packages.values();
    let slots: Vec<&Slot> = packages().flat_map(|package| package.slots.values()).collect();
    let slot = |state| slots.iter().any(|slot| slot.state == state);
    let candidate = |test: &dyn Fn(&Candidate) -> bool| {
        slots.iter().flat_map(|slot| &slot.candidates).any(test)
    };
    let several = packages().any(|package| {
        let versions = package.standing.keys();
        versions.clone().any(|of| package.slots.keys().filter(|slot| slot.0 == *of).count() > 1)
    });
    let cases = [
        ("forked", model.status == ChainStatus::Forked),
        ("fork-pinned", model.status == ChainStatus::ForkPinned),
        ("recover-pending", model.status == ChainStatus::RecoverPending),
        ("disputed", slot(SlotState::Disputed)),
        ("disputed-pinned", slot(SlotState::DisputedPinned)),
        ("pinned-unsupported", slot(SlotState::PinnedUnsupported)),
        ("sealed", candidate(&|one| one.sealed)),
        ("sealed without any signer that counts", candidate(&|one| one.signers.is_empty())),
        ("endorsed", candidate(&|one| one.signers.len() > 1)),
        ("several files a version", several),
        ("a meta is chosen", candidate(&|one| one.releases.len() > 1 && one.meta.is_some())),
        ("other bytes were withdrawn", packages().any(|one| !one.withdrawn_others.is_empty())),
        ("waits for a seal", packages().any(|package| !package.closed.is_empty())),
        ("not yet known", packages().any(|package| !package.not_yet_known.is_empty())),
        ("a version is yanked", packages().any(|package| !package.yanked.is_empty())),
        ("a tag is set", packages().any(|package| !package.tags.is_empty())),
    ];
    cases.into_iter().filter(|(_, reached)| *reached).map(|(case, _)| case).collect()
}

/// What shows where something is taken away.
fn of_pool(pool: &Pool, model: &Model) -> Vec<&'static str> {
    let alone = pool.realms[0];
    let ours = |one: &&Verified| one.statement().realm() == alone;
    let is_revoke = |one: &&Verified| one.statement().kind() == "revoke";
    let own: Vec<_> = pool.set.iter().filter(ours).cloned().collect();
    let unrevoked: Vec<_> =
        pool.set.iter().filter(|one| ours(one) || !is_revoke(one)).cloned().collect();
    let differs = |set: &[Verified]| look(pool, set, &|_| {}) != *model;
    let without = |change: &dyn Fn(&mut Root)| look(pool, &pool.set, change) != *model;
    let late = Given::gather(&pool.set, &pool.pins, &pool.late);
    let ways = ways(pool);
    let cases = [
        ("revoked", differs(&pool.without("revoke"))),
        ("withdrawn", differs(&pool.without("withdraw"))),
        ("a team's key counts", differs(&own)),
        ("a team's revocation counts", differs(&unrevoked)),
        (
            "a blob of a list changes something",
            self::model(&late, alone).packages != model.packages,
        ),
        ("a tie of yank and unyank is a yank", differs(&untied(pool))),
        ("cleared changes something", without(&|root| root.cleared.clear())),
        ("the seals of a root cut one off", without(&|root| root.seals = None)),
        ("an exclusive grant keeps others out", without(&drop_exclusive)),
        ("more than one signer is needed", without(&drop_need)),
        ("a chain that was followed by a recovery", recovered(pool, model)),
        ("roots rotated", rotated(pool, model)),
        ("a cycle of delegation", ways.iter().any(|way| repeats(way))),
        ("a chain of delegation that is too deep", ways.iter().any(|way| is_deep(way))),
    ];
    cases.into_iter().filter(|(_, reached)| *reached).map(|(case, _)| case).collect()
}

/// The pool without the yanks that have an equal: the same release, the same counter.
fn untied(pool: &Pool) -> Vec<Verified> {
    let undone = |release: &StatementId, counter: &Counter| {
        pool.set.iter().any(|one| match one.statement().body() {
            Body::Unyank { release: of, counter: at, .. } => of == release && at == counter,
            _ => false,
        })
    };
    let keep = |one: &&Verified| match one.statement().body() {
        Body::Yank { release, counter, .. } => !undone(release, counter),
        _ => true,
    };
    pool.set.iter().filter(keep).cloned().collect()
}

fn drop_exclusive(root: &mut Root) {
    root.grants.iter_mut().for_each(|grant| grant.exclusive = false);
}

fn drop_need(root: &mut Root) {
    root.grants.iter_mut().for_each(|grant| grant.need = 1);
}

/// The model of a set whose roots say something else under the ids that they have.
fn look(pool: &Pool, set: &[Verified], change: &dyn Fn(&mut Root)) -> Model {
    let changed: Vec<_> = set
        .iter()
        .filter_map(|one| {
            let Body::Root(mut root) = one.statement().body().clone() else { return None };
            change(&mut root);
            Some((one.statement().id(), Body::Root(root)))
        })
        .collect();
    let mut given = Given::gather(set, &pool.pins, &pool.lists);
    for fact in &mut given.held {
        if let Some((_, body)) = changed.iter().find(|(id, _)| *id == fact.id) {
            fact.body = body;
        }
    }
    model(&given, pool.realms[0])
}

/// The roots of the path, with all who signed each.
fn path<'p>(pool: &'p Pool, model: &Model) -> Vec<(&'p Root, Vec<PublicKey>)> {
    let of = |id: &StatementId| {
        let copies = || pool.set.iter().filter(|one| one.statement().id() == *id);
        let Body::Root(root) = copies().next()?.statement().body() else { return None };
        Some((root, copies().flat_map(|one| one.signatures().keys().copied()).collect()))
    };
    model.path.iter().filter_map(of).collect()
}

fn recovered(pool: &Pool, model: &Model) -> bool {
    path(pool, model).windows(2).any(|pair| {
        let [(parent, _), (_, signers)] = pair else { return false };
        let by: BTreeSet<_> = parent.roots.iter().filter(|key| signers.contains(key)).collect();
        by.len() < parent.k as usize
    })
}

fn rotated(pool: &Pool, model: &Model) -> bool {
    path(pool, model).windows(2).any(|pair| pair[0].0.roots != pair[1].0.roots)
}

/// The ways along which a right to publish is delegated, each followed until it repeats itself.
fn ways(pool: &Pool) -> Vec<Vec<RealmId>> {
    let given = Given::gather(&pool.set, &pool.pins, &pool.lists);
    let mut ways = vec![vec![pool.realms[0]]];
    let mut at = 0;
    while at < ways.len() {
        let way = ways[at].clone();
        at += 1;
        if repeats(&way) {
            continue;
        }
        let head = way.last().and_then(|realm| chain(&given, *realm).path.last().copied());
        let fact = given.held.iter().find(|fact| Some(fact.id) == head);
        let Some(Body::Root(head)) = fact.map(|fact| fact.body) else { continue };
        for grant in head.grants.iter().filter(|grant| grant.role == "publish") {
            if let Grantee::Realm(to) = grant.to {
                ways.push([&way[..], &[to]].concat());
            }
        }
    }
    ways
}

fn repeats(way: &[RealmId]) -> bool {
    way.iter().collect::<BTreeSet<_>>().len() < way.len()
}

fn is_deep(way: &[RealmId]) -> bool {
    way.len() > 4 && !repeats(way)
}
