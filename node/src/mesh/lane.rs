//! How urgent what passes a link is: the order in which a budget stops things.
//!
//! Source: DESIGN section 6.

use serde::{Deserialize, Serialize};

/// How urgent a transfer is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Who may publish, what is revoked and sealed: never stops.
    Authority,
    /// What there is: never stops.
    Index,
    /// Somebody waits for it.
    Wanted,
    /// It is to be here some day: what a site keeps, mirrors or fetches ahead.
    Bulk,
}

impl Lane {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Index => "index",
            Self::Wanted => "wanted",
            Self::Bulk => "bulk",
        }
    }
}
