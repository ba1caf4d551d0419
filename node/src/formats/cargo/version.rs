//! Versions and ranges by cargo's own rules.
//!
//! Source: formats/cargo.md section 3; doc.rust-lang.org/cargo/reference/specifying-dependencies.

use std::cmp::Ordering;

use semver::{BuildMetadata, Version, VersionReq};

const VERSION_MAX_BYTES: usize = 256;
const RANGE_MAX_BYTES: usize = 1024;

/// Normal form: without build metadata, which does not count.
pub(super) fn canonical(version: &str) -> Result<String, String> {
    let bad = || format!("{:?} is not a semantic version", cut(version));
    if version.len() > VERSION_MAX_BYTES {
        return Err(bad());
    }
    let mut parsed = Version::parse(version).map_err(|_| bad())?;
    parsed.build = BuildMetadata::EMPTY;
    Ok(parsed.to_string())
}

/// By precedence; what is no version sorts below.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let parsed = |text: &str| Version::parse(text).ok();
    parsed(a).cmp(&parsed(b)).then_with(|| a.cmp(b))
}

/// Whether it has a prerelease part.
pub(super) fn is_prerelease(version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| !version.pre.is_empty())
}

/// Highest version that satisfies the range.
pub(super) fn resolve(range: &str, versions: &[String]) -> Result<Option<String>, String> {
    let bad = || format!("{:?} is not a range that cargo understands", cut(range));
    if range.len() > RANGE_MAX_BYTES {
        return Err(bad());
    }
    let range = if range.trim().is_empty() { "*" } else { range };
    let parsed = VersionReq::parse(range).map_err(|_| bad())?;
    let fits = |version: &&String| Version::parse(version).is_ok_and(|v| parsed.matches(&v));
    Ok(versions.iter().filter(fits).max_by(|a, b| compare(a, b)).cloned())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
