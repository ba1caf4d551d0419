//! A lockfile's content → everything that an install asks for; and the proof that it is here.
//!
//! The formats read lockfiles (`Format::lockfiles`); what they found comes here. Resumable by
//! nature: what is held is not fetched again.

use serde::{Deserialize, Serialize};

/// One package that a lockfile names exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Locked {
    /// Name as the lockfile has it.
    pub name: String,
    /// Version as the lockfile has it.
    pub version: String,
    /// URL of the file, where the lockfile has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `sha512-…`, `sha1-…`: the checksum that the lockfile demands of the file, in the notation of
    /// subresource integrity; several apart by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// Whether an install works without it: optional dependencies of other platforms.
    #[serde(default)]
    pub optional: bool,
}
