//! What must hold at the end of a run, whatever its seed.

use std::collections::BTreeSet;

use crdt::session::MemoryIndex;

use crate::Report;

/// What was declared to go wrong: each must have happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Faults {
    /// Frames are lost.
    pub loss: bool,
    /// The network is parted.
    pub partition: bool,
}

/// What a run has broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Some nodes never came to hold what the others hold.
    #[error("the nodes did not converge")]
    NotConverged,
    /// A node holds a statement that its signature does not cover.
    #[error("node {node} holds a statement that is not signed")]
    Unsigned {
        /// Which node.
        node: usize,
    },
    /// A fault was declared and never fired: the run proves nothing about it.
    #[error("{0} was declared and never happened")]
    Idle(&'static str),
    /// Two honest nodes took each other for hostile.
    #[error("{0} conversations were ended for breaking the protocol")]
    Closed(u64),
    /// More traffic than the scenario allows.
    #[error("{bytes} bytes a node, {limit} are allowed")]
    Bytes {
        /// Sent, for each node.
        bytes: u64,
        /// The scenario's limit.
        limit: u64,
    },
}

/// All checks over one finished run.
///
/// # Errors
/// The first that fails.
pub fn check(
    report: &Report,
    nodes: &[MemoryIndex],
    faults: Faults,
    bytes_per_node_max: u64,
) -> Result<(), Broken> {
    fired(report, faults)?;
    if report.counts.closed > 0 {
        return Err(Broken::Closed(report.counts.closed));
    }
    if report.converged_ms.is_none() {
        return Err(Broken::NotConverged);
    }
    signed(nodes)?;
    let bytes = report.counts.bytes / report.nodes as u64;
    if bytes > bytes_per_node_max {
        return Err(Broken::Bytes { bytes, limit: bytes_per_node_max });
    }
    Ok(())
}

fn fired(report: &Report, faults: Faults) -> Result<(), Broken> {
    if faults.loss && report.counts.lost == 0 {
        return Err(Broken::Idle("loss"));
    }
    if faults.partition && report.counts.cut == 0 {
        return Err(Broken::Idle("the partition"));
    }
    Ok(())
}

/// Verifies again what every node holds; the same envelope only once.
fn signed(nodes: &[MemoryIndex]) -> Result<(), Broken> {
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (node, index) in nodes.iter().enumerate() {
        for envelope in index.envelopes() {
            let unsigned = envelope.signatures.is_empty()
                || (seen.insert(envelope.encode()) && envelope.clone().verify().is_err());
            if unsigned {
                return Err(Broken::Unsigned { node });
            }
        }
    }
    Ok(())
}
