//! Two documents of one package, compared: does the later one continue the earlier, and does what a
//! receipt stood for contradict what the upstream says?
//!
//! Documents change for good reasons: versions join, tags move, a release is deprecated, a file of
//! a version is deleted (PyPI). A file that is declared with other bytes, or a version that the
//! upstream does not know, is no such reason. No clock is asked.
//!
//! Source: trust.md section 10.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use super::{Declared, Outline, OutlineVersion};

/// Bytes of one version's declaration that are compared.
const DECLARED_BYTES_MAX: u64 = 1024 * 1024;

/// Whether `new` has every version of `old` with the same files, and more versions.
pub(super) fn extends(old: &Outline, new: &Outline) -> bool {
    new.versions.len() > old.versions.len() && covers(old, new)
}

/// Whether `new` has every version of `old` with the same files.
pub(super) fn covers(old: &Outline, new: &Outline) -> bool {
    let news = by_version(new);
    old.versions.iter().all(|version| {
        news.get(version.version.as_str()).is_some_and(|found| files_agree(version, found))
    })
}

/// The first version of which both have a file with other checksums.
pub(super) fn switched(old: &Outline, new: &Outline) -> Option<String> {
    let news = by_version(new);
    let differs = |version: &&OutlineVersion| {
        let found = news.get(version.version.as_str());
        found.is_some_and(|found| has_other_bytes(version, found))
    };
    old.versions.iter().find(differs).map(|version| version.written.clone())
}

/// How a document that was believed contradicts the upstream's, if it does.
pub(super) fn contradiction(upstream: &Outline, believed: &Outline) -> Option<String> {
    let known = by_version(upstream);
    for version in &believed.versions {
        match known.get(version.version.as_str()) {
            None => {
                return Some(format!(
                    "it has the version {}, which the upstream does not know",
                    version.written
                ));
            }
            Some(found) if has_other_bytes(version, found) => {
                let written = &version.written;
                return Some(format!("it declares other checksums for the version {written}"));
            }
            Some(_) => {}
        }
    }
    // With new versions tags move; without, somebody may have moved them.
    if upstream.versions.len() > believed.versions.len() {
        return None;
    }
    let moved =
        believed.tags.iter().find(|(tag, version)| upstream.tags.get(*tag) != Some(version));
    moved.map(|(tag, version)| format!("its tag {tag} points at {version}"))
}

/// The first version of which the two documents say something different, byte by byte. A changed
/// deprecation is the upstream's right.
pub(super) fn other_words(
    (upstream, file): (&Outline, &mut File),
    (believed, other): (&Outline, &mut File),
) -> std::io::Result<Option<String>> {
    let known = by_version(upstream);
    for version in &believed.versions {
        let Some(found) = known.get(version.version.as_str()) else { continue };
        if found.yanked != version.yanked || found.signatures != version.signatures {
            continue;
        }
        if slice(file, &found.declared)? != slice(other, &version.declared)? {
            return Ok(Some(version.written.clone()));
        }
    }
    Ok(None)
}

/// The bytes in which a document declares a version; nothing for one that is too long to compare.
pub(super) fn slice(file: &mut File, range: &Range<u64>) -> std::io::Result<Vec<u8>> {
    let length = range.end.saturating_sub(range.start);
    let mut bytes = Vec::new();
    if length <= DECLARED_BYTES_MAX {
        file.seek(SeekFrom::Start(range.start))?;
        file.take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn by_version(outline: &Outline) -> BTreeMap<&str, &OutlineVersion> {
    outline.versions.iter().map(|found| (found.version.as_str(), found)).collect()
}

/// Whether a file that both have has a checksum of one kind that differs. What one of them lacks is
/// no word about its bytes: upstreams delete files.
fn has_other_bytes(one: &OutlineVersion, other: &OutlineVersion) -> bool {
    let all: BTreeMap<&str, &Declared> =
        other.files.iter().map(|file| (file.file.as_str(), &file.declared)).collect();
    one.files
        .iter()
        .any(|file| all.get(file.file.as_str()).is_some_and(|found| !agree(&file.declared, found)))
}

/// Whether the other one has every file, with no checksum of one kind that differs.
fn files_agree(one: &OutlineVersion, other: &OutlineVersion) -> bool {
    one.files.iter().all(|file| {
        let same = other.files.iter().find(|found| found.file == file.file);
        same.is_some_and(|found| agree(&file.declared, &found.declared))
    })
}

fn agree(one: &Declared, other: &Declared) -> bool {
    fn same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.is_none() || other.is_none() || one == other
    }
    same(one.sha512.as_ref(), other.sha512.as_ref())
        && same(one.sha256.as_ref(), other.sha256.as_ref())
        && same(one.sha1.as_ref(), other.sha1.as_ref())
        && same(one.md5.as_ref(), other.md5.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::OutlineFile;

    fn outline(versions: &[(&str, u8)], latest: &str) -> Outline {
        let version = |(version, sum): &(&str, u8)| OutlineVersion {
            version: (*version).to_owned(),
            written: (*version).to_owned(),
            files: vec![OutlineFile {
                file: format!("pad-{version}.txt"),
                declared: Declared { sha512: Some([*sum; 64]), ..Declared::default() },
                ..OutlineFile::default()
            }],
            ..OutlineVersion::default()
        };
        Outline {
            name: "pad".to_owned(),
            tags: BTreeMap::from([("latest".to_owned(), latest.to_owned())]),
            versions: versions.iter().map(version).collect(),
        }
    }

    #[test]
    fn more_versions_continue_a_document_and_other_bytes_do_not() {
        let old = outline(&[("1.0.0", 1)], "1.0.0");
        let new = outline(&[("1.0.0", 1), ("1.1.0", 2)], "1.1.0");
        assert!(extends(&old, &new));
        assert!(!extends(&new, &old));
        assert!(!extends(&old, &old), "nothing new");
        assert!(!extends(&old, &outline(&[("1.0.0", 9), ("1.1.0", 2)], "1.1.0")));
    }

    #[test]
    fn a_file_that_was_deleted_is_no_lie_and_one_with_other_bytes_is() {
        let whole = with_second_file(outline(&[("1.0.0", 1), ("1.1.0", 2)], "1.1.0"), 3);
        let less = outline(&[("1.0.0", 1), ("1.1.0", 2)], "1.1.0");
        for (upstream, believed) in [(&less, &whole), (&whole, &less)] {
            assert_eq!(contradiction(upstream, believed), None);
            assert_eq!(switched(upstream, believed), None);
        }
        assert!(covers(&less, &whole) && !covers(&whole, &less), "it has less than was held");
        let other = with_second_file(less, 4);
        assert!(contradiction(&whole, &other).unwrap().contains("checksums"));
        assert_eq!(switched(&whole, &other).as_deref(), Some("1.1.0"));
    }

    /// The highest version gets a file beside the one that it has.
    fn with_second_file(mut outline: Outline, sum: u8) -> Outline {
        let files = &mut outline.versions.last_mut().unwrap().files;
        files.push(OutlineFile {
            file: "pad.whl".to_owned(),
            declared: Declared { sha256: Some([sum; 32]), ..Declared::default() },
            ..OutlineFile::default()
        });
        outline
    }

    #[test]
    fn an_older_document_is_no_lie_but_another_checksum_or_version_or_tag_is() {
        let upstream = outline(&[("1.0.0", 1), ("1.1.0", 2)], "1.1.0");
        assert_eq!(contradiction(&upstream, &outline(&[("1.0.0", 1)], "1.0.0")), None);
        assert_eq!(contradiction(&upstream, &upstream), None);
        for (lie, word) in [
            (outline(&[("1.0.0", 9)], "1.0.0"), "checksums"),
            (outline(&[("1.0.0", 1), ("6.6.6", 2)], "6.6.6"), "does not know"),
            (outline(&[("1.0.0", 1), ("1.1.0", 2)], "1.0.0"), "tag latest"),
        ] {
            let found = contradiction(&upstream, &lie).unwrap();
            assert!(found.contains(word), "{found}");
        }
    }
}
