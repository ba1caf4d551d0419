//! The name of a file tells the project, the version and what kind of file it is.
//!
//! Names of sdists are ambiguous by themselves (`foo-bar-1.0.zip` may be `foo` at `bar-1.0`), so
//! all are read against the project that they are asked for under. Old ones write it in their own
//! way (`Foo.Bar-1.0.zip`) and may hold dashes in the version. What is not understood is junk, and
//! never a version.
//!
//! Source: PEP 427, PEP 625; formats/pypi.md section 8, case 8.

use super::{name, version};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `.whl`
    Wheel,
    /// Sources, in an archive.
    Sdist,
    /// What installers pass over today: eggs, installers for one system, dumb archives.
    Other,
}

/// What the name of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dist {
    /// In its normal form.
    pub(super) version: String,
    /// By its ending.
    pub(super) kind: Kind,
}

const FILE_MAX_BYTES: usize = 255;
const SDISTS: [&str; 8] =
    [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tbz", ".tar.Z", ".tar"];
const OTHERS: [&str; 6] = [".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg"];

/// Reads the name of a file of a project (in its normal form); `None` for junk.
pub(super) fn parse(project: &str, file: &str) -> Option<Dist> {
    if file.len() > FILE_MAX_BYTES {
        return None;
    }
    if let Some(stem) = file.strip_suffix(".whl") {
        return wheel(project, stem);
    }
    if let Some(stem) = SDISTS.iter().find_map(|ending| file.strip_suffix(ending)) {
        let whole = after_project(project, stem, |rest| version::canonical(rest).ok());
        let sdist = whole.map(|version| Dist { version, kind: Kind::Sdist });
        // A dumb archive is for one system: `foo-1.0.linux-x86_64.tar.gz`.
        return sdist.or_else(|| other(project, stem));
    }
    let stem = OTHERS.iter().find_map(|ending| file.strip_suffix(ending))?;
    other(project, stem)
}

/// `{name}-{version}(-{build})?-{python}-{abi}-{platform}`
fn wheel(project: &str, stem: &str) -> Option<Dist> {
    let parts: Vec<&str> = stem.split('-').collect();
    let (name, written) = match parts.as_slice() {
        [name, version, _, _, _] => (name, version),
        [name, version, build, _, _, _] if build.starts_with(|c: char| c.is_ascii_digit()) => {
            (name, version)
        }
        _ => return None,
    };
    let tags = &parts[2..];
    if tags.iter().any(|tag| tag.is_empty()) || name::canonical(name).ok()? != project {
        return None;
    }
    let version = version::canonical(&written.replace('_', "-")).ok()?;
    Some(Dist { version, kind: Kind::Wheel })
}

/// The longest beginning of what follows the project that is a version, then something else.
fn other(project: &str, stem: &str) -> Option<Dist> {
    let version = after_project(project, stem, |rest| {
        let cuts = rest.rmatch_indices(['-', '.']).map(|(at, _)| at);
        std::iter::once(rest.len())
            .chain(cuts)
            .find_map(|end| version::canonical(&rest[..end]).ok())
    })?;
    Some(Dist { version, kind: Kind::Other })
}

/// What `read` makes of the text after the project's name, however that is written.
fn after_project(
    project: &str,
    stem: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    stem.match_indices('-')
        .filter(|(at, _)| name::canonical(&stem[..*at]).is_ok_and(|name| name == project))
        .find_map(|(at, _)| read(&stem[at + 1..]))
}
