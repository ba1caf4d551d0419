//! An upstream's index file in one pass: what resolving needs, and where in the bytes it stands.
//!
//! Both come out of the same walk, so that what is decided (the outline) and what is rendered (the
//! table of lines) cannot contradict each other. A line is a JSON object; one that cannot be used
//! (junk, another package's, without a sound version or checksum) stays in the document, as cargo
//! passes over it, too. Keys that are not known here are of no matter, whatever `v` says.
//!
//! Versions that differ by build metadata alone are one version with several files: the first has
//! the plain name, and one without metadata a `+` behind its version where it comes later. Of lines with the same version, letter by letter, the last one counts.
//!
//! Does not judge: everything in here is the upstream's word.
//!
//! Source: formats/cargo.md section 1; doc.rust-lang.org/cargo/reference/registry-index.

use std::collections::HashMap;
use std::io::BufRead;
use std::ops::Range;

use crdt::digest::from_hex;
use serde::Deserialize;

use super::{name, version};
use crate::formats::splice::Span;
use crate::registry::{Declared, Outline, OutlineFile, OutlineVersion};

/// The largest index file that is read.
pub(super) const DOCUMENT_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// A longer line is passed over.
const LINE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Lines of one file.
const LINES_MAX: usize = 131_072;
/// What is said of a version that is yanked: the index has no reasons.
const YANKED: &str = "yanked";

/// The lines of an index file, in their order.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// With its line break.
    pub(super) place: Span,
    /// Normal version and file; absent where the outline does not have it.
    pub(super) slot: Option<(String, String)>,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Said {
    name: String,
    vers: String,
    cksum: String,
    #[serde(default)]
    yanked: Option<bool>,
}

/// What resolving and fetching need of an index file.
pub(super) fn outline(package: &str, input: &mut dyn BufRead) -> Result<Outline, String> {
    scan(package, input).map(|(outline, _)| outline)
}

/// The outline together with the places.
pub(super) fn scan(package: &str, input: &mut dyn BufRead) -> Result<(Outline, Table), String> {
    let mut reader = Reader::new(package);
    let (mut line, mut at) = (Vec::new(), 0);
    loop {
        let length = next(input, &mut line).map_err(|why| format!("it cannot be read: {why}"))?;
        if length == 0 {
            return reader.finish();
        }
        reader.line(&line, at..at + length)?;
        at += length;
    }
}

/// Reads a line; its length with the line break, 0 at the end. What is too long is not kept.
fn next(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    line.clear();
    let mut length = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(length);
        }
        let end = memchr::memchr(b'\n', buffer);
        let taken = end.map_or(buffer.len(), |end| end + 1);
        if line.len() <= LINE_MAX_BYTES {
            line.extend_from_slice(&buffer[..taken]);
        }
        length += taken as u64;
        input.consume(taken);
        if end.is_some() {
            return Ok(length);
        }
    }
}

struct Reader<'p> {
    package: &'p str,
    /// As the last line of the package writes it.
    name: Option<String>,
    /// Another package's name, if a line had one.
    stranger: Option<String>,
    /// Whether some line was not empty.
    any: bool,
    versions: Vec<OutlineVersion>,
    /// Normal version → its place in `versions`.
    places: HashMap<String, usize>,
    /// Whether some line of a version is not yanked, by its place.
    live: Vec<bool>,
    table: Table,
}

impl<'p> Reader<'p> {
    fn new(package: &'p str) -> Self {
        Self {
            package,
            name: None,
            stranger: None,
            any: false,
            versions: Vec::new(),
            places: HashMap::new(),
            live: Vec::new(),
            table: Table::default(),
        }
    }

    fn line(&mut self, bytes: &[u8], place: Range<u64>) -> Result<(), String> {
        if self.table.lines.len() >= LINES_MAX {
            return Err(format!("it has more than {LINES_MAX} lines"));
        }
        let narrow = |at: u64| u32::try_from(at).map_err(|_| "it is too large".to_owned());
        let span = Span { start: narrow(place.start)?, end: narrow(place.end)? };
        let text = bytes.trim_ascii();
        self.any |= !text.is_empty();
        let said = Some(bytes).filter(|_| bytes.len() <= LINE_MAX_BYTES);
        let said = said.and_then(|_| serde_json::from_slice::<Said>(text).ok());
        let slot = said.and_then(|said| self.entry(said, place));
        self.table.lines.push(Line { place: span, slot });
        Ok(())
    }

    /// Takes a line into the outline, if it can be used; its slot.
    fn entry(&mut self, said: Said, place: Range<u64>) -> Option<(String, String)> {
        if !name::canonical(&said.name).is_ok_and(|name| name == self.package) {
            self.stranger = Some(said.name);
            return None;
        }
        let sha256 = from_hex(&said.cksum)?;
        let normal = version::canonical(&said.vers).ok()?;
        let at = self.place_of(&normal, &said.vers, &place);
        self.name = Some(said.name);
        let version = &mut self.versions[at];
        let file = name::file_name(
            self.package,
            &match version.written == said.vers {
                true => normal.clone(),
                // The plain name is taken by the first of them.
                false if said.vers == normal => format!("{normal}+"),
                false => said.vers.clone(),
            },
        );
        let declared = Declared { sha256: Some(sha256), ..Declared::default() };
        let entry = OutlineFile { file: file.clone(), declared, ..OutlineFile::default() };
        match version.files.iter_mut().find(|known| known.file == file) {
            Some(known) => *known = entry,
            None => version.files.push(entry),
        }
        // What is said of a file can be compared with it only where there is one.
        version.declared = if version.files.len() > 1 { 0..0 } else { place };
        if version.files.len() == 1 {
            self.live[at] = false;
        }
        self.live[at] |= !said.yanked.unwrap_or(false);
        version.yanked = (!self.live[at]).then(|| YANKED.to_owned());
        Some((normal, file))
    }

    fn place_of(&mut self, normal: &str, written: &str, declared: &Range<u64>) -> usize {
        if let Some(at) = self.places.get(normal) {
            return *at;
        }
        self.versions.push(OutlineVersion {
            version: normal.to_owned(),
            written: written.to_owned(),
            declared: declared.clone(),
            ..OutlineVersion::default()
        });
        self.live.push(false);
        self.places.insert(normal.to_owned(), self.versions.len() - 1);
        self.versions.len() - 1
    }

    fn finish(self) -> Result<(Outline, Table), String> {
        let name = match (self.name, self.stranger) {
            (Some(name), _) => name,
            (None, Some(other)) => other,
            (None, None) if self.any => {
                return Err("no line of it declares a version".to_owned());
            }
            // A package whose versions are all gone.
            (None, None) => self.package.to_owned(),
        };
        let outline = Outline { name, versions: self.versions, ..Outline::default() };
        Ok((outline, self.table))
    }
}

/// The version that a file name of the crate says, whatever the case of the name.
pub(super) fn version_in<'f>(package: &str, file: &'f str) -> Option<&'f str> {
    let stem = file.strip_suffix(".crate")?;
    let (before, rest) = stem.split_at_checked(package.len())?;
    let version = rest.strip_prefix('-')?;
    before.eq_ignore_ascii_case(package).then_some(version)
}

/// The version as the line of a file wrote it.
pub(super) fn written<'o>(package: &str, of: &'o OutlineVersion, file: &'o str) -> &'o str {
    if file == name::file_name(package, &of.version) {
        return &of.written;
    }
    version_in(package, file).map_or(&of.written, |version| version.trim_end_matches('+'))
}
