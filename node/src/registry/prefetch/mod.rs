//! A lockfile's content → everything that an install asks for; and the proof that it is here.
//!
//! The formats read lockfiles (`Format::lockfiles`); what they found comes here as a [`Project`].
//! `check` looks at what is held and asks nobody; `fetch` brings what lacks, and is resumable by
//! nature: what is held is not fetched again. What was prefetched is remembered in rows of kind
//! `project`, so that a collector of garbage can keep it.
//!
//! Source: product.md sections 3 and 9.1; formats/README.md section 5.

use serde::{Deserialize, Serialize};

mod check;
mod fetch;
mod integrity;
mod locked;
mod slots;

pub use fetch::{Failed, Progress};
pub use locked::{Locked, LockedFrom};

/// What is read of one lockfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The format's id.
    pub format: String,
    /// Where the lockfile is: a label, and what the project is remembered by.
    pub path: String,
    /// The form of documents that its client asks for.
    pub document: String,
    /// Endings of further files that its client asks for beside one, where the document has them.
    #[serde(default)]
    pub beside: Vec<String>,
    /// What it locks.
    pub locked: Vec<Locked>,
}

/// What of a project is held here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Packages that come from a registry.
    pub packages: u64,
    /// Those of them that lack a file, or the document of their name.
    pub need: u64,
    /// Each thing that lacks; the largest first, those of unknown size last.
    pub lacks: Vec<Lack>,
    /// What no registry serves; files of the project itself lack nothing.
    pub elsewhere: Vec<Locked>,
    /// Lockfile entries that point at a node instead of the registry.
    pub polluted: Vec<Polluted>,
}

impl Report {
    /// Whether the project installs with the cable out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let beside = |locked: &Locked| locked.from == LockedFrom::File;
        self.lacks.is_empty() && self.elsewhere.iter().all(beside)
    }

    /// Bytes of what lacks, as far as they are known, and of how many things they are not.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        // What is signed or declared may be any number.
        let known = self.lacks.iter().filter_map(|lack| lack.size).fold(0, u64::saturating_add);
        let unknown = self.lacks.iter().filter(|lack| lack.size.is_none()).count();
        (known, unknown as u64)
    }
}

/// Something that an install would ask for in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// The package.
    pub name: String,
    /// Its version; absent for what all versions share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its file, where a version may have several and it is known which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it is.
    pub what: LackOf,
    /// Bytes, where somebody has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// In words.
    pub why: String,
    /// Whether an install on some platforms works without it.
    #[serde(default)]
    pub optional: bool,
}

/// What lacks of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LackOf {
    /// The document with its versions.
    Document,
    /// The file of a version.
    File,
    /// A version that the held document does not know, and its file.
    Version,
    /// A file that cannot be had as it is locked: nobody is asked for it.
    Unobtainable,
}

/// An entry of a lockfile that names a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polluted {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// As the lockfile has it.
    pub url: String,
    /// As the upstream has it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
}
