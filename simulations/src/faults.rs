//! What can go wrong in a world, and how often it did.
//!
//! A scenario declares its faults. Each is counted where it takes effect, not where it is drawn: a
//! partition that separates nobody, a duplicate that never arrives and a crash that loses nothing
//! count nothing, and a declared fault without a count fails the run.
//!
//! Source: mesh.md section 9.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A transmission that was lost: repeated on a stream, gone as a datagram.
    Loss,
    /// A datagram that arrived after one that was sent later.
    Reordering,
    /// A datagram that arrived a second time.
    Duplication,
    /// A frame that waited because the line was busy.
    Bandwidth,
    /// A connection that stood and was cut by a partition, or by the end of a contact.
    Partition,
    /// A node that left while it was connected.
    Churn,
    /// A node that lost its power while it was connected.
    Crash,
    /// A statement that was admitted, not yet synced, and gone after a crash.
    LostWrite,
    /// A conversation begun, a statement dated or a sleep slept through by a wrong clock.
    WrongClock,
    /// An honest node came to hold a second content of one slot, both by a granted key.
    Equivocation,
    /// An honest node came to hold a second successor of one root.
    Fork,
    /// A hostile node kept to itself a statement that it says it holds.
    Withholding,
    /// A statement of a stranger, an unknown realm or with a broken signature reached a node.
    Flood,
    /// Bytes that break the protocol reached a node.
    Junk,
    /// An old frame, datagram or cursor reached a node again.
    Replay,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Loss,
        Self::Reordering,
        Self::Duplication,
        Self::Bandwidth,
        Self::Partition,
        Self::Churn,
        Self::Crash,
        Self::LostWrite,
        Self::WrongClock,
        Self::Equivocation,
        Self::Fork,
        Self::Withholding,
        Self::Flood,
        Self::Junk,
        Self::Replay,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Loss => "loss",
            Self::Reordering => "reordering",
            Self::Duplication => "duplication",
            Self::Bandwidth => "bandwidth",
            Self::Partition => "partition",
            Self::Churn => "churn",
            Self::Crash => "crash",
            Self::LostWrite => "lost-write",
            Self::WrongClock => "wrong-clock",
            Self::Equivocation => "equivocation",
            Self::Fork => "fork",
            Self::Withholding => "withholding",
            Self::Flood => "flood",
            Self::Junk => "junk",
            Self::Replay => "replay",
        };
        f.pad(name)
    }
}

/// How often each fault took effect.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Fired(BTreeMap<Fault, u64>);

impl Fired {
    pub(crate) fn note(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    pub(crate) fn add(&mut self, fault: Fault, count: u64) {
        if count > 0 {
            *self.0.entry(fault).or_default() += count;
        }
    }

    /// How often it took effect.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    /// All that took effect.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        self.0.iter().map(|(fault, count)| (*fault, *count))
    }
}
