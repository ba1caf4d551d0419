//! An upstream's page of a project, in either form: what is in it, and where in the bytes.
//!
//! Everything that reads such a page reads it here, file by file, so that what is decided (the
//! outline), where it is changed (`upstream_places.rs`) and what is shown in the other form cannot
//! contradict each other. The form is told by the first byte, whatever the upstream calls it.
//! Nothing is held but what is asked for, and the sum of that has a bound.
//!
//! A file whose name is no archive's, nor of this project, has no version. It can be downloaded all
//! the same, and counts as of [`UNVERSIONED`], the lowest there is. What the page advertises beside
//! a file (`.metadata`, `.asc`) is one more file of the version.
//!
//! Does not judge: everything in here is the upstream's word.
//!
//! Source: PEP 503, 592, 658, 691, 700, 714; formats/pypi.md sections 3 and 8.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read as _};

use crdt::digest::from_hex;

use super::dist::{self, Kind};
use super::{html, upstream_json};
use crate::formats::splice::{Span, wide};
use crate::registry::{Declared, Outline, OutlineFile, OutlineVersion};

/// The largest page that is read.
pub(super) const DOCUMENT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Of files without a version.
pub(super) const UNVERSIONED: &str = "0.dev0+unversioned";
/// What is added to a file's name for its METADATA, and for a signature.
pub(super) const METADATA: &str = ".metadata";
pub(super) const SIGNATURE: &str = ".asc";
/// Before the first byte that means something.
const BLANKS_MAX: usize = 64 * 1024;
/// Of a file's name.
const FILE_NAME_MAX_BYTES: usize = 255;
/// Files of one page.
pub(super) const FILES_MAX: usize = 65_536;
/// What is kept of one page, in all.
const KEPT_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Anything that is kept of one file.
pub(super) const TEXT_MAX_BYTES: usize = 8 * 1024;

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Json,
    Html,
}

/// What a page says of a file's METADATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    No,
    Yes,
    Sha256([u8; 32]),
}

/// A file, as a page has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// One segment of a path, without control characters.
    pub(super) filename: String,
    /// Absolute or relative to the page, without its fragment.
    pub(super) url: String,
    /// Of its URL, without the `#`.
    pub(super) fragment: String,
    pub(super) declared: Declared,
    pub(super) size: Option<u64>,
    pub(super) upload_time: Option<String>,
    pub(super) requires_python: Option<String>,
    /// The reason, empty without one; `None`: it is not yanked.
    pub(super) yanked: Option<String>,
    /// `None`: nothing is said.
    pub(super) metadata: Option<Said>,
    pub(super) provenance: Option<String>,
    pub(super) gpg_sig: Option<bool>,
    /// What else is said in one word: see [`add_more`].
    pub(super) more: Vec<(String, String)>,
    /// All of it: what is left out if it is.
    pub(super) place: Span,
    /// Where more can be said of it.
    pub(super) inside: u32,
    /// The URL: in JSON with its quotes, in HTML without.
    pub(super) url_place: Span,
}

impl Entry {
    /// Whether something is declared of its bytes.
    pub(super) fn is_checked(&self) -> bool {
        self.declared != Declared::default()
    }

    fn size(&self) -> usize {
        let more = [&self.upload_time, &self.requires_python, &self.yanked, &self.provenance];
        let more: usize = more.into_iter().flatten().map(String::len).sum();
        let words = self.more.iter().map(|(name, value)| 64 + name.len() + value.len());
        let more = more + words.sum::<usize>();
        256 + 2 * (self.filename.len() + self.url.len()) + self.fragment.len() + more
    }
}

/// What both forms have a place for of their own.
const KNOWN: [&str; 11] = [
    "filename",
    "url",
    "hashes",
    "size",
    "upload-time",
    "requires-python",
    "yanked",
    "core-metadata",
    "dist-info-metadata",
    "provenance",
    "gpg-sig",
];
/// Words that are kept of one file beside those.
const MORE_MAX: usize = 16;
/// Of the name of one.
const WORD_MAX_BYTES: usize = 64;

impl Entry {
    /// Keeps what nobody here knows, so that the other form can say it: an attribute `data-NAME` in
    /// HTML, a member in JSON whose value is text or a truth. Objects, lists and numbers have no
    /// place in HTML.
    pub(super) fn add_more(&mut self, name: &str, value: String) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let usable = (1..=WORD_MAX_BYTES).contains(&name.len()) && name.chars().all(plain);
        let again = self.more.iter().any(|(known, _)| known == name);
        if usable && !again && !KNOWN.contains(&name) && self.more.len() < MORE_MAX {
            self.more.push((name.to_owned(), value));
        }
    }
}

/// What a page says of the project.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) written: Written,
    /// As the page has it, or as it was asked for where it says none.
    pub(super) name: String,
    /// Bytes of the page.
    pub(super) size: u64,
    /// Items of JSON's list of files that are none.
    pub(super) odd: Vec<Span>,
    /// The versions that JSON lists, as written; empty for what is no text.
    pub(super) versions: Vec<(String, Span)>,
    /// The tag that says what URLs in HTML are relative to.
    pub(super) base: Option<Span>,
    /// The project's state, and the reason.
    pub(super) status: Option<(String, Option<String>)>,
}

impl Head {
    pub(super) fn new(written: Written) -> Self {
        let (name, odd, versions) = (String::new(), Vec::new(), Vec::new());
        Self { written, name, size: 0, odd, versions, base: None, status: None }
    }
}

/// Takes the files of a page one by one; an error ends the reading.
pub(super) type Visit<'v> = dyn FnMut(Entry) -> Result<(), String> + 'v;

/// Reads a page of a project (in its normal form) of either form. Each name is visited once: the
/// first of several files of one name counts, and `again` gets the others.
pub(super) fn read(
    project: &str,
    input: &mut dyn BufRead,
    visit: &mut dyn FnMut(Entry, Seen) -> Result<(), String>,
) -> Result<Head, String> {
    let (mut names, mut kept) = (BTreeSet::new(), 0);
    let mut checked = |entry: Entry| {
        kept += entry.size();
        if names.len() >= FILES_MAX {
            return Err("it has more files than are read".to_owned());
        }
        if kept > KEPT_MAX_BYTES {
            return Err("what it says of its files is longer than is kept".to_owned());
        }
        let first = names.insert(entry.filename.clone());
        visit(entry, if first { Seen::First } else { Seen::Again })
    };
    let read = blanks(input).and_then(|(blanks, first)| {
        let mut input = blanks.as_slice().chain(input);
        match first {
            Some(b'{') => upstream_json::read(&mut input, &mut checked),
            _ => html::read(project, &mut input, &mut checked),
        }
    });
    read.map_err(|error| format!("the simple page cannot be used: {error}"))
}

/// Whether a file of the same name came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    First,
    Again,
}

/// The blanks at the beginning, and the byte behind them.
fn blanks(input: &mut dyn BufRead) -> Result<(Vec<u8>, Option<u8>), String> {
    let mut blanks = Vec::new();
    loop {
        let start = input.fill_buf().map_err(|error| format!("it cannot be read: {error}"))?;
        let first = start.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let many = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if first.is_some() || many == 0 {
            blanks.extend_from_slice(&start[..many]);
            input.consume(many);
            return Ok((blanks, first));
        }
        blanks.extend_from_slice(start);
        input.consume(many);
        if blanks.len() > BLANKS_MAX {
            return Err("it begins with blanks alone".to_owned());
        }
    }
}

/// What resolving and fetching need of a page of either form.
pub(super) fn outline(project: &str, input: &mut dyn BufRead) -> Result<Outline, String> {
    let mut versions = Versions::default();
    let head = read(project, input, &mut |entry, seen| {
        if seen == Seen::First {
            versions.add(project, entry);
        }
        Ok(())
    })?;
    Ok(Outline { name: head.name, tags: BTreeMap::new(), versions: versions.finish() })
}

/// The normal version that a file of a project belongs to.
pub(super) fn version_of(project: &str, file: &str) -> String {
    let beside = [METADATA, SIGNATURE].iter().find_map(|ending| file.strip_suffix(ending));
    let known = beside.and_then(|file| dist::parse(project, file));
    let known = known.or_else(|| dist::parse(project, file));
    known.map_or_else(|| UNVERSIONED.to_owned(), |dist| dist.version)
}

#[derive(Default)]
struct Versions {
    all: Vec<OutlineVersion>,
    /// Normal version → its place in `all`.
    places: BTreeMap<String, usize>,
}

impl Versions {
    fn add(&mut self, project: &str, entry: Entry) {
        let version = version_of(project, &entry.filename);
        let place = *self.places.entry(version.clone()).or_insert_with(|| {
            let written = version.clone();
            // It is yanked until a file comes that is not.
            let yanked = Some(String::new());
            self.all.push(OutlineVersion { version, written, yanked, ..OutlineVersion::default() });
            self.all.len() - 1
        });
        let of = &mut self.all[place];
        of.yanked = match (of.yanked.take(), &entry.yanked) {
            (Some(before), Some(now)) => Some(if before.is_empty() { now.clone() } else { before }),
            _ => None,
        };
        let is_wheel = dist::parse(project, &entry.filename).is_some_and(|d| d.kind == Kind::Wheel);
        of.files.extend(beside(&entry));
        let place = if is_wheel { wide(entry.place) } else { 0..0 };
        let Entry { filename: file, url, size, declared, .. } = entry;
        of.files.push(OutlineFile { file, url, size, declared, place });
    }

    fn finish(self) -> Vec<OutlineVersion> {
        self.all
    }
}

/// What the page says to be beside a file.
fn beside(entry: &Entry) -> impl Iterator<Item = OutlineFile> {
    let metadata = match entry.metadata {
        Some(Said::Yes) => Some(Declared::default()),
        Some(Said::Sha256(sum)) => Some(Declared { sha256: Some(sum), ..Declared::default() }),
        Some(Said::No) | None => None,
    };
    let signature = entry.gpg_sig.unwrap_or(false).then(Declared::default);
    let files = [(METADATA, metadata), (SIGNATURE, signature)].map(|(ending, declared)| {
        Some(OutlineFile {
            file: format!("{}{ending}", entry.filename),
            url: beside_url(&entry.url, ending),
            declared: declared?,
            ..OutlineFile::default()
        })
    });
    files.into_iter().flatten()
}

/// The ending goes to the path, before a query.
fn beside_url(url: &str, ending: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{path}{ending}?{query}"),
        None => format!("{url}{ending}"),
    }
}

/// A checksum in hexadecimal, of any case.
pub(super) fn checksum<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_hex(&text.trim().to_ascii_lowercase())
}

/// Whether a name can be one segment of a path, and a file on a disk.
pub(super) fn is_file_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    !matches!(name, "" | "." | "..") && name.len() <= FILE_NAME_MAX_BYTES && !name.contains(odd)
}
