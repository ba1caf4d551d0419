//! An upstream's page in JSON, file by file.
//!
//! The last of several equal keys counts, as clients have it; a page that has `files` twice is
//! refused. What has another type than it should counts as absent.
//!
//! Source: PEP 691, 700, 714, 740, 792.

use std::io::BufRead;

use super::outline::{
    Entry, FILES_MAX, Head, Said, TEXT_MAX_BYTES, Visit, Written, checksum, is_file_name,
};
use super::page::FROM_HTML;
use crate::formats::json::{Error, Json, Key};
use crate::formats::splice::Span;

/// Versions that a page lists.
const VERSIONS_MAX: usize = 65_536;
/// Of a number of a version.
const VERSION_MAX_BYTES: usize = 256;

/// Reads a page; see [`super::outline::read`].
pub(super) fn read(input: &mut dyn BufRead, visit: &mut Visit<'_>) -> Result<Head, String> {
    let mut json = Json::new(input);
    let mut page = Page { head: Head::new(Written::Json), visit, files: false, refused: None };
    let read = json.object(&mut |json, key| page.member(json, &key)).and_then(|()| json.end());
    if let Some(why) = page.refused.take() {
        return Err(why);
    }
    read.map_err(|error| error.to_string())?;
    if !page.files {
        return Err("it lists no files".to_owned());
    }
    page.head.size = json.at();
    Ok(page.head)
}

struct Page<'p, 'v> {
    head: Head,
    visit: &'p mut Visit<'v>,
    /// Whether they came.
    files: bool,
    /// Why the reading was ended.
    refused: Option<String>,
}

impl Page<'_, '_> {
    fn member(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        match (key.text.as_str(), json.peek()?) {
            ("name", b'"') => self.head.name = text(json)?.unwrap_or_default(),
            ("versions", b'[') => {
                self.head.versions.clear();
                json.array(&mut |json| self.version(json))?;
            }
            ("files", b'[') if !self.files => {
                self.files = true;
                json.array(&mut |json| self.file(json))?;
            }
            ("files", _) if self.files => {
                return Err(Error::Refused("it lists its files twice"));
            }
            ("project-status", b'{') => self.status(json)?,
            _ => json.pass()?,
        }
        Ok(())
    }

    fn version(&mut self, json: &mut Json<'_>) -> Result<(), Error> {
        if self.head.versions.len() >= VERSIONS_MAX {
            return Err(Error::Refused("it lists more versions than are read"));
        }
        let (first, start) = (json.peek()?, json.at());
        let written = match first {
            b'"' => json.text(VERSION_MAX_BYTES)?.unwrap_or_default(),
            _ => {
                json.pass()?;
                String::new()
            }
        };
        self.head.versions.push((written, span(start, json.at())?));
        Ok(())
    }

    fn status(&mut self, json: &mut Json<'_>) -> Result<(), Error> {
        let (mut state, mut reason) = (None, None);
        json.object(&mut |json, key| {
            match (key.text.as_str(), json.peek()?) {
                ("status", b'"') => state = text(json)?,
                ("reason", b'"') => reason = text(json)?,
                _ => json.pass()?,
            }
            Ok(())
        })?;
        self.head.status = state.map(|state| (state, reason));
        Ok(())
    }

    fn file(&mut self, json: &mut Json<'_>) -> Result<(), Error> {
        let (first, start) = (json.peek()?, json.at());
        let mut found = Found::default();
        match first {
            b'{' => json.object(&mut |json, key| found.member(json, &key))?,
            _ => json.pass()?,
        }
        let place = span(start, json.at())?;
        let Some(mut entry) = found.entry() else { return self.odd(place) };
        entry.place = place;
        entry.inside = entry.place.start + 1;
        (self.visit)(entry).map_err(|why| {
            self.refused = Some(why);
            Error::Refused("the reading was ended")
        })
    }
}

impl Page<'_, '_> {
    fn odd(&mut self, place: Span) -> Result<(), Error> {
        if self.head.odd.len() >= FILES_MAX {
            return Err(Error::Refused("it lists too much that is no file"));
        }
        self.head.odd.push(place);
        Ok(())
    }
}

/// A file as it is read.
#[derive(Default)]
struct Found {
    entry: Entry,
    /// `core-metadata`, and the name that it had at first.
    metadata: [Option<Said>; 2],
}

impl Found {
    fn member(&mut self, json: &mut Json<'_>, key: &Key) -> Result<(), Error> {
        let (entry, first) = (&mut self.entry, json.peek()?);
        let start = json.at();
        match (key.text.as_str(), first) {
            ("filename", b'"') => entry.filename = text(json)?.unwrap_or_default(),
            ("url", b'"') => {
                let url = text(json)?.unwrap_or_default();
                let (url, fragment) = url.split_once('#').unwrap_or((&url, ""));
                (entry.url, entry.fragment) = (url.to_owned(), fragment.to_owned());
                entry.url_place = span(start, json.at())?;
            }
            ("hashes", b'{') => self.hashes(json)?,
            ("size", b'0'..=b'9') => entry.size = json.number()?,
            ("upload-time", b'"') => entry.upload_time = text(json)?,
            ("requires-python", b'"') => entry.requires_python = text(json)?,
            ("provenance", b'"') => entry.provenance = text(json)?,
            ("yanked", b'"') => {
                let reason = text(json)?;
                entry.yanked = Some(reason.unwrap_or_else(|| "a very long reason".to_owned()));
            }
            ("yanked", _) => entry.yanked = truth(json)?.and_then(|yes| yes.then(String::new)),
            ("gpg-sig", _) => entry.gpg_sig = truth(json)?,
            ("core-metadata", _) => self.metadata[0] = said(json)?,
            ("dist-info-metadata", _) => self.metadata[1] = said(json)?,
            (name, b'"') => {
                let value = text(json)?;
                value.into_iter().for_each(|value| entry.add_more(plain(name), value));
            }
            (name, b't' | b'f') => {
                let yes = truth(json)?.unwrap_or_default();
                entry.add_more(plain(name), yes.to_string());
            }
            _ => json.pass()?,
        }
        Ok(())
    }

    fn hashes(&mut self, json: &mut Json<'_>) -> Result<(), Error> {
        let mut declared = crate::registry::Declared::default();
        json.object(&mut |json, key| {
            if json.peek()? != b'"' {
                return json.pass();
            }
            let value = text(json)?.unwrap_or_default();
            match key.text.as_str() {
                "sha256" => declared.sha256 = checksum(&value),
                "sha512" => declared.sha512 = checksum(&value),
                "sha1" => declared.sha1 = checksum(&value),
                "md5" => declared.md5 = checksum(&value),
                _ => {}
            }
            Ok(())
        })?;
        self.entry.declared = declared;
        Ok(())
    }

    /// `None` for what is no file that could be asked for.
    fn entry(self) -> Option<Entry> {
        let Self { mut entry, metadata: [metadata, before] } = self;
        entry.metadata = metadata.or(before);
        let usable = is_file_name(&entry.filename) && !entry.url.is_empty();
        usable.then_some(entry)
    }
}

/// The name of a word that came out of HTML once.
fn plain(name: &str) -> &str {
    name.strip_prefix(FROM_HTML).unwrap_or(name)
}

fn text(json: &mut Json<'_>) -> Result<Option<String>, Error> {
    json.text(TEXT_MAX_BYTES)
}

/// `true` or `false`.
fn truth(json: &mut Json<'_>) -> Result<Option<bool>, Error> {
    let first = json.peek()?;
    json.pass()?;
    Ok(match first {
        b't' => Some(true),
        b'f' => Some(false),
        _ => None,
    })
}

/// `true`, `false`, or an object with checksums.
fn said(json: &mut Json<'_>) -> Result<Option<Said>, Error> {
    if json.peek()? != b'{' {
        let truth = truth(json)?;
        return Ok(truth.map(|yes| if yes { Said::Yes } else { Said::No }));
    }
    let mut sha256 = None;
    json.object(&mut |json, key| {
        if (key.text.as_str(), json.peek()?) != ("sha256", b'"') {
            return json.pass();
        }
        sha256 = checksum(&text(json)?.unwrap_or_default());
        Ok(())
    })?;
    Ok(Some(sha256.map_or(Said::Yes, Said::Sha256)))
}

fn span(start: u64, end: u64) -> Result<Span, Error> {
    let place = |at: u64| u32::try_from(at).map_err(|_| Error::Refused("it is larger than 4 GiB"));
    Ok(Span { start: place(start)?, end: place(end)? })
}
