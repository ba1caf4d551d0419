//! Versions and ranges by npm's own rules.
//!
//! Source: node-semver's documentation; the crate `nodejs-semver` follows it, prereleases included.

use std::cmp::Ordering;

use nodejs_semver::{Range, Version};

/// Longer ones are not versions for npm either.
const VERSION_MAX_BYTES: usize = 256;
const RANGE_MAX_BYTES: usize = 1024;

/// Normal form: without `v` or `=` in front, and without build metadata, which does not count.
pub(super) fn canonical(version: &str) -> Result<String, String> {
    let bad = || format!("{:?} is not a semantic version", cut(version));
    if version.len() > VERSION_MAX_BYTES {
        return Err(bad());
    }
    let plain = version.trim().trim_start_matches(['v', '=', ' ']);
    let parsed = Version::parse(plain).map_err(|_| bad())?;
    let mut text = format!("{}.{}.{}", parsed.major(), parsed.minor(), parsed.patch());
    for (index, identifier) in parsed.pre_release().iter().enumerate() {
        text.push(if index == 0 { '-' } else { '.' });
        text.push_str(&identifier.to_string());
    }
    // What the lenient parser reads in another way than it is written is no version.
    let written = plain.split('+').next().unwrap_or_default();
    if text == written { Ok(text) } else { Err(bad()) }
}

/// By precedence; what is no version sorts below.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let parsed = |text: &str| Version::parse(text).ok();
    parsed(a).cmp(&parsed(b)).then_with(|| a.cmp(b))
}

/// Whether it has a prerelease part.
pub(super) fn is_prerelease(version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| version.is_prerelease())
}

/// Whether a tag of this name would be taken for a range.
pub(super) fn is_range(text: &str) -> bool {
    text.len() <= RANGE_MAX_BYTES && Range::parse(text).is_ok()
}

/// Highest version that satisfies the range.
pub(super) fn resolve(range: &str, versions: &[String]) -> Result<Option<String>, String> {
    let bad = || format!("{:?} is not a range that npm understands", cut(range));
    if range.len() > RANGE_MAX_BYTES {
        return Err(bad());
    }
    let parsed = Range::parse(range).map_err(|_| bad())?;
    let fits = |version: &&String| Version::parse(version).is_ok_and(|v| parsed.satisfies(&v));
    Ok(versions.iter().filter(fits).max_by(|a, b| compare(a, b)).cloned())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
