//! An archive → its meta: the core metadata, as the archive has it, byte by byte.
//!
//! Of a wheel `NAME-VERSION.dist-info/METADATA`, of an sdist `NAME-VERSION/PKG-INFO`. The same
//! bytes are served as `.metadata`. Runs when a release is published and again wherever its bytes
//! arrive; everything here depends on the archive and its name alone. An archive in which two
//! readers could find two metadata, whose name says another project or version than its metadata,
//! or which would unpack to more than it should, is refused; nothing but the metadata is unpacked.
//!
//! The head of core metadata is that of a mail; fields that decide something may be there once.
//!
//! Source: PEP 427, 566, 625; trust.md section 13; formats/pypi.md section 3.

use std::io::Read;

use super::dist::{self, Kind};
use super::specifier::Specifiers;
use super::{name, version, zipped};
use crate::formats::archive::{self, Error};
use crate::formats::text;
use crate::registry::Extracted;

/// Of this extractor.
const VERSION: u32 = 1;
/// The largest metadata.
pub(super) const METADATA_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The longest description in a list.
const SUMMARY_MAX_CHARS: usize = 200;

/// Reads name, version and meta.
pub(super) fn extract(file: &mut std::fs::File, filename: &str) -> Result<Extracted, String> {
    let meta = if filename.ends_with(".whl") {
        zipped::wheel(file, filename)
    } else if filename.ends_with(".zip") {
        zipped::sdist(file)
    } else if filename.ends_with(".tar.gz") {
        tarred(file)
    } else {
        return Err(format!("{filename:?} is neither a wheel nor an sdist (.tar.gz, .zip)"));
    };
    let meta = meta.map_err(|error| error.to_string())?;
    let head = Head::of(&meta)?;
    let (name, version) = (head.required("Name")?, head.required("Version")?);
    for field in ["Metadata-Version", "Requires-Python"] {
        head.once(field)?;
    }
    agree(filename, name, version)?;
    let (name, version) = (name.to_owned(), version.to_owned());
    Ok(Extracted { name, version, meta, extractor_version: VERSION, readme: None })
}

/// What the extractor lets pass, since old files of upstreams have it.
pub(super) fn admits(meta: &[u8]) -> Result<(), String> {
    let requires = Head::of(meta)?.first("Requires-Python").map(Specifiers::parse);
    requires.transpose().map(|_| ())
}

/// Compares the file's name with what its metadata says.
fn agree(filename: &str, written: &str, numbered: &str) -> Result<(), String> {
    let project = name::canonical(written)?;
    let normal = version::canonical(numbered)?;
    let found = dist::parse(&project, filename);
    if found.is_some_and(|found| found.version == normal && found.kind != Kind::Other) {
        return Ok(());
    }
    Err(format!("{filename:?} is not a file name for {written} {numbered}, as its metadata says"))
}

/// `{folder}/PKG-INFO` of a `.tar.gz` with one folder.
fn tarred(file: &mut std::fs::File) -> Result<Vec<u8>, Error> {
    let (mut top, mut found) = (None, None);
    archive::walk(file, &mut |entry, bytes| {
        let (folder, path) = entry.path.split_once('/').unwrap_or((&entry.path, ""));
        if top.get_or_insert_with(|| folder.to_owned()) != folder {
            return Err(Error::Ambiguous("its files do not lie in one folder"));
        }
        if path == "PKG-INFO" {
            found = Some(bounded(entry.size, bytes)?);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::Refused("the archive holds no PKG-INFO".to_owned()))
}

/// Metadata of so many bytes, whole.
pub(super) fn bounded(size: u64, bytes: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let limit = METADATA_MAX_BYTES;
    if size > limit {
        return Err(Error::OverLimit { what: "bytes in its metadata", limit });
    }
    let mut out = Vec::new();
    bytes.take(limit).read_to_end(&mut out)?;
    Ok(out)
}

/// The fields of core metadata, in their order, the description behind them left out.
#[derive(Debug, Default)]
pub(super) struct Head<'m> {
    fields: Vec<Field<'m>>,
}

#[derive(Debug)]
struct Field<'m> {
    name: &'m str,
    value: &'m str,
    /// Whether it goes on in lines that begin with a blank.
    is_folded: bool,
}

impl<'m> Head<'m> {
    /// Reads the lines before the first that is none of a head.
    pub(super) fn of(meta: &'m [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(meta).map_err(|_| "its metadata is not UTF-8")?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut fields: Vec<Field<'m>> = Vec::new();
        for line in text.split('\n') {
            if line.starts_with([' ', '\t']) {
                let Some(last) = fields.last_mut() else { break };
                last.is_folded = true;
                continue;
            }
            let line = line.strip_suffix('\r').unwrap_or(line);
            let field = line.split_once(':').filter(|(name, _)| is_field(name));
            let Some((name, value)) = field else { break };
            fields.push(Field { name, value: value.trim(), is_folded: false });
        }
        Ok(Self { fields })
    }

    /// All values of a field.
    pub(super) fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'m str> + use<'h, 'm> {
        let named = move |field: &&Field<'m>| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|field| field.value)
    }

    /// The first value of a field, `UNKNOWN` aside, which some tools write for none.
    pub(super) fn first(&self, name: &str) -> Option<&'m str> {
        self.all(name).next().filter(|value| !matches!(*value, "" | "UNKNOWN"))
    }

    /// The value of a field that two readers must read alike.
    fn once(&self, name: &str) -> Result<Option<&'m str>, String> {
        let mut named = self.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name));
        if named.next().is_some_and(|field| field.is_folded) || named.next().is_some() {
            return Err(format!("its metadata says {name} twice, or in several lines"));
        }
        let value = self.first(name);
        if value.is_some_and(|value| value.contains(text::is_hidden)) {
            return Err(format!("its metadata holds a hidden character in {name}"));
        }
        Ok(value)
    }

    fn required(&self, name: &str) -> Result<&'m str, String> {
        self.once(name)?.ok_or_else(|| format!("its metadata has no {name}"))
    }
}

fn is_field(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The summary as one line that no terminal can misread.
pub(super) fn describe(meta: &[u8]) -> String {
    let head = Head::of(meta).unwrap_or_default();
    let summary = head.first("Summary").unwrap_or_default();
    let line: String = summary.chars().map(|c| if text::is_hidden(c) { ' ' } else { c }).collect();
    line.trim().chars().take(SUMMARY_MAX_CHARS).collect()
}
