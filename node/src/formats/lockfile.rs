//! Lockfiles: which one a file is, and what it locks.
//!
//! A format lists its kinds (`Format::lockfiles`); each is recognised by its file name and, where
//! the name is unusual or two clients share it, by its content. Parsers are pure: text in, packages
//! out. A lockfile comes with somebody's project and is as hostile as any input: its size and
//! depth are bounded, and a bad one is an error with its line.
//!
//! Source: formats/README.md section 5.

use std::fmt;

use super::platform::Platform;
use super::{ALL, Format};
use crate::registry::Locked;

/// The largest lockfile that is read, in bytes.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A kind of lockfile.
#[derive(Debug, Clone, Copy)]
pub struct Lockfile {
    /// For people, with the client: `pnpm-lock.yaml`.
    pub title: &'static str,
    /// Names under which its client writes it; the client prefers the first.
    pub names: &'static [&'static str],
    /// Whether a text looks like one, whatever its name.
    pub is: fn(&str) -> bool,
    /// Every package that it locks, each once, for all platforms; those that no registry serves
    /// too, but for the project's own folders.
    pub parse: fn(&str) -> Result<Vec<Locked>, LockError>,
    /// Form of the packages' documents that its clients ask for, as in `UpstreamRules.variants`.
    pub document: &'static str,
    /// Endings of further files that its clients ask for beside a locked one.
    pub beside: &'static [&'static str],
    /// What a person should know that no entry says, a sentence each.
    pub notes: fn(&str, &[Locked]) -> Vec<String>,
    /// Whether a locked file can be of use on a platform; true where nothing tells.
    pub installs: fn(&Locked, &Platform) -> bool,
    /// Whether people write files of that name, too, which lock nothing: one that is found in a
    /// folder counts only where it looks like one.
    pub by_hand: bool,
}

impl Lockfile {
    /// A kind of which nothing is known: what a format does not say is as here.
    pub const PLAIN: Self = Self {
        title: "",
        names: &[],
        is: |_| false,
        parse: |_| Ok(Vec::new()),
        document: "",
        beside: &[],
        notes: |_, _| Vec::new(),
        installs: |_, _| true,
        by_hand: false,
    };
}

/// Why a lockfile cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LockError {
    /// Where, from 1; absent where it is about the whole file.
    pub line: Option<usize>,
    /// In words.
    pub why: String,
}

impl LockError {
    /// About the whole file.
    pub fn whole(why: impl Into<String>) -> Self {
        Self { line: None, why: why.into() }
    }

    /// At a line, counted from 1.
    pub fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line: Some(line), why: why.into() }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// A lockfile that was read.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// Whose clients write it.
    pub format: &'static Format,
    /// Which kind.
    pub lockfile: &'static Lockfile,
    /// What it locks.
    pub locked: Vec<Locked>,
    /// What a person should know that no entry says.
    pub notes: Vec<String>,
}

/// Reads a lockfile by its file name, else by its content.
///
/// # Errors
/// When it is none that is known here, too large, or not sound.
pub fn parse(name: &str, text: &str) -> Result<Parsed, LockError> {
    if text.len() > BYTES_MAX {
        return Err(LockError::whole(format!(
            "it has {} bytes; a lockfile has at most {BYTES_MAX}",
            text.len()
        )));
    }
    // Some editors begin a text with a mark that is no part of it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = recognise(name, text);
    let (format, lockfile) = found.ok_or_else(|| {
        LockError::whole(format!("it is no lockfile that is known here: {}", names().join(", ")))
    })?;
    let locked = (lockfile.parse)(text)?;
    let notes = (lockfile.notes)(text, &locked);
    Ok(Parsed { format, lockfile, locked, notes })
}

/// Whether a file that was found, and not named by a person, is to be read as a lockfile.
#[must_use]
pub fn counts(name: &str, text: &str) -> bool {
    let mut named = all().filter(|(_, lockfile)| lockfile.names.contains(&name));
    named.any(|(_, lockfile)| !lockfile.by_hand || (lockfile.is)(text))
}

fn all() -> impl Iterator<Item = (&'static Format, &'static Lockfile)> {
    ALL.iter().flat_map(|f| f.lockfiles.iter().map(|lockfile| (*f, lockfile)))
}

fn recognise(name: &str, text: &str) -> Option<(&'static Format, &'static Lockfile)> {
    let named: Vec<_> = all().filter(|(_, lockfile)| lockfile.names.contains(&name)).collect();
    let is = |(_, lockfile): &(&Format, &Lockfile)| (lockfile.is)(text);
    // A name that says it alone is believed: then the error is about that kind.
    match named.as_slice() {
        [] => all().find(is),
        [one] => Some(*one),
        several => several.iter().copied().find(is).or_else(|| several.first().copied()),
    }
}

/// Every name that a lockfile has, each once; formats in their order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for name in ALL.iter().flat_map(|f| f.lockfiles).flat_map(|lockfile| lockfile.names) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// The line of an offset, from 1.
#[must_use]
pub fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    memchr::memchr_iter(b'\n', before).count() + 1
}
