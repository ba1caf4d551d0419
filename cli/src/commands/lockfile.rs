//! Lockfiles as a person names them: found, read, and told to the node.
//!
//! The formats parse them here, beside the file; the node hears only what they lock. `--fix` is the
//! one thing that writes to a lockfile: it replaces URLs byte by byte and touches nothing else.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use node::formats::lockfile::{self, BYTES_MAX, Parsed};
use node::formats::platform::Platform;
use node::registry::{Lack, LackOf, Locked, LockedFrom, Polluted, Project, Report};

use crate::link::shown;
use crate::output::{Code, Failure, count, plain, size};

/// Lines about things that lack; the rest is counted.
const LINES_MAX: usize = 50;

/// A lockfile, and what it locks.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) project: Project,
    /// What no entry says.
    pub(super) notes: Vec<String>,
    /// Those that count; none: all.
    pub(super) platforms: Vec<Platform>,
    /// What is for none of them.
    pub(super) skipped: Vec<Locked>,
}

/// The lockfiles that were named; without any, those of this folder. Of each what can be of use on
/// one of the platforms, if any are named.
pub(super) fn read(paths: &[PathBuf], on: &[Platform]) -> Result<Vec<Read>, Failure> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(inside(path)?);
        } else {
            found.push(path.clone());
        }
    }
    found.into_iter().map(|path| read_one(&path, on)).collect()
}

/// The lockfiles of a folder.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let names = lockfile::names();
    let all = names.iter().map(|name| folder.join(name));
    let found: Vec<PathBuf> = all.filter(|path| path.is_file() && counts(path)).collect();
    if found.is_empty() {
        let names = names.join(", ");
        let shown = folder.display();
        return Err(Failure::new(format!("there is no lockfile in {shown}; known are {names}"))
            .hint("name it: griot prefetch LOCKFILE")
            .code(Code::Usage));
    }
    // A dot stands for this folder and says nothing in front of a name.
    let plain = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(found.into_iter().map(plain).collect())
}

/// Whether a file that was found is a lockfile: people write some by hand. One that cannot be read
/// is a failure later.
fn counts(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path);
    let read = file.and_then(|file| file.take(BYTES_MAX as u64).read_to_end(&mut bytes));
    read.is_err() || lockfile::counts(name, &String::from_utf8_lossy(&bytes))
}

fn read_one(path: &Path, on: &[Platform]) -> Result<Read, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    // One byte more than is allowed tells that there is more, whatever the file's size says.
    let file = fs_err::File::open(path)?;
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let bad = |why: String| {
        Failure::new(format!("{shown} cannot be read as a lockfile: {why}")).code(Code::Usage)
    };
    let text = String::from_utf8(bytes).map_err(|_| {
        let binary = path.extension().is_some_and(|end| end == "lockb");
        let hint =
            if binary { "bun install --save-text-lockfile" } else { "is it the right file?" };
        bad("it is no text".into()).hint(hint)
    })?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parsed = lockfile::parse(name, &text);
    let parsed = parsed.map_err(|error| {
        bad(error.to_string()).hint("let its client write it anew, then type this again")
    })?;
    let Parsed { format, lockfile, locked, notes } = parsed;
    let fits = |locked: &Locked| on.iter().any(|on| (lockfile.installs)(locked, on));
    let (locked, skipped) = locked.into_iter().partition(|locked| on.is_empty() || fits(locked));
    let absolute = fs_err::canonicalize(path)?;
    let project = Project {
        format: format.id.into(),
        path: absolute.to_string_lossy().into_owned(),
        document: lockfile.document.into(),
        beside: lockfile.beside.iter().map(ToString::to_string).collect(),
        locked,
    };
    let platforms = on.to_vec();
    Ok(Read { path: path.to_owned(), text, project, notes, platforms, skipped })
}

impl Read {
    /// As the person called it.
    pub(super) fn title(&self) -> String {
        plain(&self.path.display().to_string())
    }

    /// Replaces URLs of a node by the upstream's; how many were replaced.
    pub(super) fn fix(&mut self, polluted: &[Polluted]) -> Result<usize, Failure> {
        let mut fixed = 0;
        let mut text = std::mem::take(&mut self.text);
        for Polluted { url, canonical, .. } in polluted {
            let Some(canonical) = canonical else { continue };
            let pairs = [
                (url.clone(), canonical.clone()),
                // As berry writes it into its locators.
                (escaped(url), escaped(canonical)),
            ];
            for (from, to) in pairs {
                let replaced = replace(&text, &from, &to);
                fixed += replaced.1;
                text = replaced.0;
            }
        }
        if fixed > 0 {
            write_over(&self.path, text.as_bytes())?;
        }
        *self = read_one(&self.path, &self.platforms)?;
        Ok(fixed)
    }
}

/// Everything but what never needs an escape in a URL's parameter.
fn escaped(url: &str) -> String {
    url::form_urlencoded::byte_serialize(url.as_bytes()).collect()
}

/// Replaces a URL where it stands whole, not as the start of a longer one.
fn replace(text: &str, from: &str, to: &str) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut replaced) = (text, 0);
    while let Some(at) = rest.find(from) {
        let (before, found) = rest.split_at(at);
        let behind = &found[from.len()..];
        out.push_str(before);
        let goes_on = |c: char| c.is_alphanumeric() || "/%-._~?=".contains(c);
        if behind.starts_with(goes_on) {
            out.push_str(from);
        } else {
            out.push_str(to);
            replaced += 1;
        }
        rest = behind;
    }
    out.push_str(rest);
    (out, replaced)
}

/// Replaces a file's content whole or not at all; its mode stays.
fn write_over(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let path = fs_err::canonicalize(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let partial = path.with_file_name(format!(".{name}.griot-{}", std::process::id()));
    let written = (|| {
        let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(&partial)?;
        file.set_permissions(fs_err::metadata(&path)?.permissions())?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::rename(&partial, &path)
    })();
    if written.is_err() {
        drop(fs_err::remove_file(&partial));
    }
    Ok(written?)
}

/// The head of a report: `412 packages   need 41 (3.2 MB)`.
pub(super) fn head(packages: u64, need: u64, bytes: (u64, u64)) -> String {
    let packages = count(packages, "package");
    if need == 0 {
        return format!("{packages}   all here");
    }
    format!("{packages}   need {need} ({})", sizes(bytes))
}

/// `3.2 MB and 4 of unknown size`.
pub(super) fn sizes((known, unknown): (u64, u64)) -> String {
    match (known, unknown) {
        (known, 0) => size(known),
        (0, unknown) => format!("{unknown} of unknown size"),
        (known, unknown) => format!("{} and {unknown} of unknown size", size(known)),
    }
}

/// What lacks, and what no registry serves, a line each.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut out: Vec<String> = report.lacks.iter().take(LINES_MAX).map(line).collect();
    if let Some(more) = report.lacks.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        out.push(format!("  … and {more} more; --json lists all"));
    }
    if !report.lacks.is_empty() {
        let things = count(report.lacks.len() as u64, "thing");
        out.push(format!("{things} in all: {}", sizes(report.bytes())));
    }
    out.extend(report.elsewhere.iter().take(LINES_MAX).map(elsewhere));
    out
}

fn line(lack: &Lack) -> String {
    let version = lack.version.as_ref().map_or(String::new(), |version| format!("@{version}"));
    let id = match &lack.file {
        Some(file) => plain(file),
        None => plain(&format!("{}{version}", lack.name)),
    };
    let what = match lack.what {
        LackOf::Document => "document",
        LackOf::File => "file",
        LackOf::Version => "version",
        LackOf::Unobtainable => "cannot be had",
    };
    let bytes = lack.size.map_or_else(|| "unknown size".into(), size);
    let optional = if lack.optional { " (optional)" } else { "" };
    match lack.what {
        LackOf::Unobtainable => format!("  {id}{optional}   {what}: {}", plain(&lack.why)),
        _ => format!("  {id}{optional}   {what}   {bytes}"),
    }
}

fn elsewhere(locked: &Locked) -> String {
    let id = plain(&locked.name);
    let url = plain(&shown(locked.url.as_deref().unwrap_or(&locked.version)));
    match locked.from {
        LockedFrom::Git => format!("  {id}   not from a registry: a git repository, {url}"),
        LockedFrom::Url => format!("  {id}   not from a registry: {url}"),
        _ => format!("  {id}   not from a registry: a file of the project, {url}"),
    }
}

/// What no entry says, a line each.
pub(super) fn notes(notes: &[String]) -> impl Iterator<Item = String> {
    notes.iter().take(LINES_MAX).map(|note| format!("  {}", plain(note)))
}

/// The failure of a project that does not install offline; the result was printed.
pub(super) fn lacks(read: &Read, report: &Report) -> Failure {
    let title = read.title();
    let beside = |locked: &&Locked| locked.from != LockedFrom::File;
    let others = report.elsewhere.iter().filter(beside).count() as u64;
    let hopeless = report.lacks.iter().all(|lack| lack.what == LackOf::Unobtainable);
    let (why, hint) = if !report.lacks.is_empty() {
        let why = format!("{} of {}", report.need, count(report.packages, "package"));
        let hint = if hopeless {
            "griot why NAME tells where a name comes from".to_owned()
        } else {
            format!("griot prefetch {title}")
        };
        (format!("{why} lack something here"), hint)
    } else {
        let why = format!("{} from no registry", count(others, "dependency").replace("ys", "ies"));
        (format!("it has {why}"), "publish what they need: griot publish PATH".to_owned())
    };
    Failure::new(format!("{title} does not install offline: {why}"))
        .hint(hint)
        .code(Code::Lacks)
        .answered()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "http://127.0.0.1:7878/npm/a/-/a-1.0.0.tgz";
    const TO: &str = "https://packages.test/a/-/a-1.0.0.tgz";

    #[test]
    fn only_whole_urls_are_replaced_and_nothing_else() {
        let text = format!("x \"{FROM}\",\n{FROM}#da39\n{FROM}.sig\n{{tarball: {FROM}}}\n");
        let (fixed, count) = replace(&text, FROM, TO);
        assert_eq!(count, 3);
        assert_eq!(fixed, format!("x \"{TO}\",\n{TO}#da39\n{FROM}.sig\n{{tarball: {TO}}}\n"));
    }

    #[test]
    fn a_lockfile_is_written_over_whole_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("yarn.lock");
        let entry =
            format!("# yarn lockfile v1\n\na@^1:\n  version \"1.0.0\"\n  resolved \"{FROM}\"\n");
        fs_err::write(&path, &entry).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let mut read = read_one(&path, &[]).unwrap();
        let polluted = Polluted {
            name: "a".into(),
            version: "1.0.0".into(),
            url: FROM.into(),
            canonical: Some(TO.into()),
        };
        assert_eq!(read.fix(&[polluted]).unwrap(), 1);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), entry.replace(FROM, TO));
        assert_eq!(read.project.locked[0].url.as_deref(), Some(TO));
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_folder_without_a_lockfile_and_a_broken_one_are_wrong_use() {
        let folder = tempfile::tempdir().unwrap();
        let failure = read(&[folder.path().to_owned()], &[]).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.message.contains("package-lock.json"), "{failure:?}");
        let broken = folder.path().join("package-lock.json");
        fs_err::write(&broken, "{\n\"lockfileVersion\": 3,\n").unwrap();
        let failure = read(&[folder.path().to_owned()], &[]).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.message.contains("line 3"), "{failure:?}");
    }

    #[test]
    fn sizes_that_nobody_knows_are_said_to_be_unknown() {
        assert_eq!(head(412, 41, (3_200_000, 0)), "412 packages   need 41 (3.2 MB)");
        assert_eq!(head(1, 1, (0, 2)), "1 package   need 1 (2 of unknown size)");
        assert_eq!(head(5, 0, (0, 0)), "5 packages   all here");
    }
}
