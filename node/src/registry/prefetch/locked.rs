//! One entry of a lockfile, as the registry is told of it.
//!
//! What a lockfile says is as hostile as any input: nothing here is judged.

use serde::{Deserialize, Serialize};

/// One package that a lockfile names exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Locked {
    /// Name as the lockfile has it.
    pub name: String,
    /// Version as the lockfile has it.
    pub version: String,
    /// Name of the file, where a version may have several and the lockfile says which: one entry
    /// for each. Without it the checksums say which of them are meant, or all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// URL of the registry, where the lockfile has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
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
    /// What it says of the systems that it is for, in the format's own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<String>,
    /// What has the bytes.
    #[serde(default, skip_serializing_if = "LockedFrom::is_registry")]
    pub from: LockedFrom,
}

/// What has the bytes of a locked package. No registry serves what comes from elsewhere.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum LockedFrom {
    /// A registry, by name and version.
    #[default]
    Registry,
    /// A repository of source code.
    Git,
    /// A URL that the project names itself.
    Url,
    /// A file or folder beside the project.
    File,
}

impl LockedFrom {
    /// Whether a registry serves it.
    #[must_use]
    pub const fn is_registry(&self) -> bool {
        matches!(self, Self::Registry)
    }
}
