//! What the registry must know of a format, handed down as data.
//!
//! The registry fetches without a request in hand (wants, new releases, sync), so it needs each
//! ecosystem's rules; it may not import `formats`, so the daemon passes these values in. All of
//! them are pure functions.

use std::cmp::Ordering;

use crate::store::Hashes;

/// The rules of one format.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The format's id, as in `PackageId.format`.
    pub format: &'static str,
    /// Normal form of a name, or why it is not one.
    pub canonical_name: fn(&str) -> Result<String, String>,
    /// Normal form of a version (the slot key), or why it is not one.
    pub canonical_version: fn(&str) -> Result<String, String>,
    /// Order of two normal versions.
    pub compare_versions: fn(&str, &str) -> Ordering,
    /// Whether new resolution passes over the version unless it is named.
    pub is_prerelease: fn(&str) -> bool,
    /// Highest of `versions` that satisfies `range`; an error says why the range is not one.
    pub resolve: fn(range: &str, versions: &[String]) -> Result<Option<String>, String>,
    /// Checksums that its files need beside BLAKE3 and SHA-256.
    pub hashes: Hashes,
    /// Whether files may join a version after its first publish.
    pub files_may_join: bool,
    /// The one file name that a version may have, where the format fixes it.
    pub file_name: Option<fn(name: &str, version: &str) -> String>,
    /// Extracts the meta of a file, deterministically: run at publish and when bytes arrive.
    pub extract: Option<Extract>,
    /// One line for search, from the inline meta.
    pub describe: fn(meta: &[u8]) -> String,
}

/// An extractor: the file, positioned at its start, and its name; an error says what is wrong.
pub type Extract = fn(file: &mut std::fs::File, name: &str) -> Result<Extracted, String>;

/// What an archive says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The package's name as the archive writes it.
    pub name: String,
    /// The version as the archive writes it.
    pub version: String,
    /// All that rendering and resolving need, in the format's own form.
    pub meta: Vec<u8>,
    /// Raised whenever the extractor makes other bytes of the same archive.
    pub extractor_version: u32,
    /// Descriptive text that decides nothing.
    pub readme: Option<Vec<u8>>,
}
