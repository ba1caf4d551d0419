//! Versions and requirements by cargo's own rules.
//!
//! Build metadata does not count: `0.1.0+b1` and `0.1.0` are one version, so the normal form drops
//! it, and the second of them is refused as other bytes for a slot that is taken. How the version
//! was written is in the meta.
//!
//! Source: cargo's `specifying-dependencies.md`; the crate `semver` is the one that cargo uses.

use std::cmp::Ordering;

use semver::{BuildMetadata, Version, VersionReq};

const VERSION_MAX_BYTES: usize = 256;
const REQUIREMENT_MAX_BYTES: usize = 1024;

/// Normal form: without build metadata.
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
    match (parsed(a), parsed(b)) {
        (Some(one), Some(two)) => one.cmp_precedence(&two).then_with(|| a.cmp(b)),
        (one, two) => one.cmp(&two).then_with(|| a.cmp(b)),
    }
}

/// Whether it has a prerelease part.
pub(super) fn is_prerelease(version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| !version.pre.is_empty())
}

/// Highest version that a requirement allows; nothing at all allows what `*` does.
pub(super) fn resolve(range: &str, versions: &[String]) -> Result<Option<String>, String> {
    let wanted = match range.trim() {
        "" => VersionReq::STAR,
        range => requirement(range).ok_or_else(|| {
            format!("{:?} is not a requirement that cargo understands", cut(range))
        })?,
    };
    let fits = |version: &&String| Version::parse(version).is_ok_and(|v| wanted.matches(&v));
    Ok(versions.iter().filter(fits).max_by(|a, b| compare(a, b)).cloned())
}

/// Reads a requirement as a manifest or an index line has it.
pub(super) fn requirement(text: &str) -> Option<VersionReq> {
    let short = text.len() <= REQUIREMENT_MAX_BYTES;
    short.then(|| VersionReq::parse(text).ok()).flatten()
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_metadata_is_no_other_version() {
        assert_eq!(canonical("0.1.0+b1").unwrap(), canonical("0.1.0").unwrap());
        assert_eq!(canonical("1.0.0-rc.1+x.y").unwrap(), "1.0.0-rc.1");
        let long = format!("1.0.0-{}", "a".repeat(300));
        for bad in ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0 ", "1.0.0-", "1.0.0-01", &long] {
            assert!(canonical(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prereleases_come_before_what_they_announce() {
        let mut all = ["1.10.0", "1.9.0", "1.0.0-rc.10", "1.0.0-rc.9", "1.0.0", "junk"];
        all.sort_by(|a, b| compare(a, b));
        assert_eq!(all, ["junk", "1.0.0-rc.9", "1.0.0-rc.10", "1.0.0", "1.9.0", "1.10.0"]);
        assert!(is_prerelease("1.0.0-rc.1") && !is_prerelease("1.0.0"));
    }

    #[test]
    fn a_bare_requirement_is_a_caret_and_takes_no_prerelease() {
        let all: Vec<String> =
            ["0.3.9", "1.2.0", "1.9.1", "2.0.0-rc.1"].map(str::to_owned).to_vec();
        let best = |range: &str| resolve(range, &all).unwrap();
        assert_eq!(best("1.2").as_deref(), Some("1.9.1"));
        assert_eq!(best("=1.2.0").as_deref(), Some("1.2.0"));
        assert_eq!(best("0.3.2").as_deref(), Some("0.3.9"));
        assert_eq!(best("0.2").as_deref(), None);
        assert_eq!(best("").as_deref(), Some("1.9.1"));
        assert_eq!(best("2.0.0-rc.0").as_deref(), Some("2.0.0-rc.1"));
        assert_eq!(best(">=0.3, <1").as_deref(), Some("0.3.9"));
        assert!(resolve("not a range", &all).is_err());
        assert!(resolve(&">=1,".repeat(400), &all).is_err());
    }
}
