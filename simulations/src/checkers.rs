//! What must hold at the end of a run, whatever its seed.
//!
//! Converged: all honest nodes hold equal sets and derive equal views. Nothing lost: whatever was
//! published is held by all. Nothing unauthorised: without the statements of strangers every view
//! is the same. Within the budget of bytes. And every fault that the scenario declares has fired.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::derive::{self, AllPins, RealmView};
use crdt::realm::Lists;
use crdt::session::{Index as _, MemoryIndex};
use crdt::{Item, PublicKey, RealmId, Verified};

use crate::faults::{Fault, Fired};
use crate::report::Report;
use crate::world::{Publish, World};

/// Nodes whose views are derived.
const NODES_VIEWED: usize = 64;

/// What a run has broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Some honest nodes never came to hold what the others hold.
    #[error("{behind} of the honest nodes did not come to hold what the others hold")]
    NotConverged {
        /// How many.
        behind: usize,
    },
    /// What was published is not held by somebody.
    #[error("node {node} lacks what node {publisher} has published")]
    Lost {
        /// Who lacks it.
        node: usize,
        /// Who published it.
        publisher: usize,
    },
    /// A node holds a statement that its signature does not cover.
    #[error("node {node} holds a statement that is not signed")]
    Unsigned {
        /// Which node.
        node: usize,
    },
    /// Equal sets, and another view.
    #[error("node {node} sees another realm than the first node, and holds the same")]
    Views {
        /// Which node.
        node: usize,
    },
    /// The statements of strangers change a view.
    #[error("on node {node} the statements of strangers change a view")]
    Unauthorised {
        /// Which node.
        node: usize,
    },
    /// A fault was declared and never fired: the run proves nothing about it.
    #[error("{0} was declared and never happened")]
    Idle(Fault),
    /// Strangers flooded and nobody holds anything of theirs: nothing was shown about it.
    #[error("no honest node holds a statement of a stranger")]
    NoStrangers,
    /// Two honest nodes took each other for hostile.
    #[error("{0} conversations between honest nodes were ended for breaking the protocol")]
    Quarrels(u64),
    /// More traffic than the scenario allows.
    #[error("{percent} % of the bytes that are needed were sent, {limit} % are allowed")]
    Bytes {
        /// Sent by honest nodes, of a hundred needed.
        percent: u64,
        /// The scenario's limit.
        limit: u64,
    },
}

/// All checks over one finished run; the first that fails. Notes in the report what was compared.
pub(crate) fn check(world: &World, report: &mut Report, percent_max: u64) -> Result<(), Broken> {
    fired(&report.declared, &report.faults)?;
    if report.traffic.quarrels > 0 {
        return Err(Broken::Quarrels(report.traffic.quarrels));
    }
    converged(world)?;
    nothing_lost(world)?;
    signed(world)?;
    report.views = views(world)?;
    nothing_unauthorised(world, &world.strangers)?;
    if report.declared.contains(&Fault::Flood) && report.strangers == 0 {
        return Err(Broken::NoStrangers);
    }
    let percent = report.percent();
    if percent > percent_max {
        return Err(Broken::Bytes { percent, limit: percent_max });
    }
    Ok(())
}

/// Whether each fault that was declared has taken effect.
///
/// # Errors
/// [`Broken::Idle`] with the first that has not.
pub fn fired(declared: &[Fault], fired: &Fired) -> Result<(), Broken> {
    let idle = declared.iter().find(|fault| fired.count(**fault) == 0);
    idle.map_or(Ok(()), |fault| Err(Broken::Idle(*fault)))
}

fn honest(world: &World) -> impl Iterator<Item = (usize, &MemoryIndex)> {
    let honest = world.peers.iter().enumerate().filter(|(_, peer)| peer.is_honest());
    honest.map(|(node, peer)| (node, &peer.index))
}

/// All hold equal sets: of the statements by known keys, as strangers' differ by design.
fn converged(world: &World) -> Result<(), Broken> {
    let expected: Vec<Item> = world.known(&world.expected).collect();
    let behind =
        honest(world).filter(|(_, index)| !world.known(index).eq(expected.iter().copied())).count();
    if behind > 0 { Err(Broken::NotConverged { behind }) } else { Ok(()) }
}

/// Each statement that an honest node published, and was answered for, is held by all of them,
/// unless it is a receipt in whose place a newer one stands.
fn nothing_lost(world: &World) -> Result<(), Broken> {
    let newest = |publish: &&Publish| {
        let (verified, statement) = (&publish.statement, publish.statement.statement());
        let Some(subject) = statement.subject() else { return true };
        let rivals = world.publishes.iter().map(|rival| &rival.statement).filter(|rival| {
            rival.statement().subject() == Some(subject)
                && rival.statement().realm() == statement.realm()
                && rival.signatures().keys().eq(verified.signatures().keys())
        });
        rivals.map(|rival| rival.statement().rank()).max() == Some(statement.rank())
    };
    let by_honest = world.publishes.iter().filter(|one| world.peers[one.node].is_honest());
    for publish in by_honest.filter(newest) {
        for (node, index) in honest(world) {
            if !publish.statement.items().all(|item| index.holds(&item)) {
                return Err(Broken::Lost { node, publisher: publish.node });
            }
        }
    }
    Ok(())
}

/// Verifies again what every node holds; the same copy only once.
fn signed(world: &World) -> Result<(), Broken> {
    let mut seen: BTreeSet<*const Verified> = BTreeSet::new();
    for (node, index) in honest(world) {
        for held in index.statements().filter(|held| seen.insert(Arc::as_ptr(held))) {
            if held.envelope().clone().verify().is_err() {
                return Err(Broken::Unsigned { node });
            }
        }
    }
    Ok(())
}

/// Some of the honest nodes.
fn viewers(world: &World) -> impl Iterator<Item = (usize, &MemoryIndex)> {
    let step = honest(world).count().div_ceil(NODES_VIEWED).max(1);
    honest(world).step_by(step)
}

/// What a realm is by these statements; packages of which nothing stands nor falls are left out.
pub(crate) fn view(
    index: &MemoryIndex,
    realm: RealmId,
    counts: impl Fn(&Verified) -> bool,
) -> RealmView {
    let held: Vec<Verified> =
        index.statements().map(|held| &**held).filter(|held| counts(held)).cloned().collect();
    let mut view = derive::realm(&held, realm, &AllPins::default(), &Lists::default());
    view.packages.retain(|_, package| !package.versions.is_empty() || !package.fallen.is_empty());
    view
}

/// All see the same; answers how many views of packages were derived.
fn views(world: &World) -> Result<u64, Broken> {
    let mut count = 0;
    for realm in &world.realms {
        let mut first = None;
        for (node, index) in viewers(world) {
            let seen = view(index, *realm, |_| true);
            count += seen.packages.len() as u64;
            if first.get_or_insert_with(|| seen.clone()) != &seen {
                return Err(Broken::Views { node });
            }
        }
    }
    Ok(count)
}

/// Without the statements that strangers alone have signed, everything is as with them.
pub(crate) fn nothing_unauthorised(
    world: &World,
    strangers: &BTreeSet<PublicKey>,
) -> Result<(), Broken> {
    let counts = |held: &Verified| !held.signatures().keys().all(|key| strangers.contains(key));
    for realm in &world.realms {
        for (node, index) in viewers(world) {
            if view(index, *realm, |_| true) != view(index, *realm, counts) {
                return Err(Broken::Unauthorised { node });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "checkers_tests.rs"]
mod tests;
