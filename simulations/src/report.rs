//! What a run was and how it ended: for people, or as JSON.

use std::fmt;

use crdt::session::Millis;
use serde::Serialize;

use crate::faults::{Fault, Fired};
use crate::network::Traffic;

/// One finished run. The same scenario, nodes and seed give the same report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// Nodes, all of them.
    pub nodes: usize,
    /// Those that behave.
    pub honest: usize,
    /// All chance.
    pub seed: u64,
    /// Over every event and every byte, in order; hex.
    pub trace: String,
    /// When all honest nodes held the same, in milliseconds of the world's time.
    pub converged_ms: Option<Millis>,
    /// How long that was after the last thing that was planned: a publish, a heal, a return.
    pub settled_ms: Option<Millis>,
    /// Events that were handled.
    pub events: u64,
    /// Pairs of statement and signer that each honest node holds in the end, of known keys.
    pub items: u64,
    /// Pairs by strangers that honest nodes hold, in all.
    pub strangers: u64,
    /// Views that were derived and compared.
    pub views: u64,
    /// What was sent.
    pub traffic: Traffic,
    /// What each statement costs, sent once and alone to each honest node that lacks it.
    pub needed_bytes: u64,
    /// What was to go wrong.
    pub declared: Vec<Fault>,
    /// What went wrong, and how often.
    pub faults: Fired,
}

impl Report {
    /// What honest nodes sent, of a hundred needed.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.traffic.bytes * 100 / self.needed_bytes.max(1)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, nodes, honest, seed, .. } = self;
        writeln!(f, "scenario  {scenario}, {nodes} nodes, {honest} of them honest, seed {seed}")?;
        writeln!(f, "trace     {}", self.trace)?;
        match (self.converged_ms, self.settled_ms) {
            (Some(at), Some(after)) => writeln!(
                f,
                "converged {at} ms, {after} ms after the last that was planned; {} items each",
                self.items
            )?,
            _ => writeln!(f, "converged never")?,
        }
        let Traffic { frames, bytes, dropped, closed, hostile_bytes, .. } = &self.traffic;
        let each = bytes / (*honest).max(1) as u64;
        writeln!(f, "events    {}", self.events)?;
        writeln!(f, "frames    {frames}, {dropped} cut off, {closed} conversations closed")?;
        writeln!(
            f,
            "bytes     {bytes}, {each} a node, {} % of the {} that are needed",
            self.percent(),
            self.needed_bytes
        )?;
        for (kind, bytes) in &self.traffic.by_kind {
            writeln!(f, "          {kind:<10} {bytes}")?;
        }
        if *hostile_bytes > 0 {
            writeln!(
                f,
                "hostile   {hostile_bytes} bytes, {} strangers' pairs held",
                self.strangers
            )?;
        }
        writeln!(f, "views     {} derived and compared", self.views)?;
        for (fault, count) in self.faults.iter() {
            let declared = if self.declared.contains(&fault) { "" } else { " (not declared)" };
            writeln!(f, "fault     {fault:<12} {count}{declared}")?;
        }
        Ok(())
    }
}
