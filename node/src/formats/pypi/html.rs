//! An upstream's page in HTML, tag by tag: anchors with their attributes, and where they stand.
//!
//! Reads tag soup as browsers do (`html5gum` is the tokenizer), so what a client sees as a link is
//! one here: entities in attributes, quotes of either kind or none, capitals, scripts and comments
//! with things in them that look like links. What is kept of it is in `html_tags.rs`. The first of
//! two equal attributes counts.
//!
//! A page says little of itself. It is one of a project if it names the version of the interface,
//! or is headed like one, or links at least one file that can be the project's: the login page of a
//! captive portal does none of that.
//!
//! Source: PEP 503, 592, 629, 658, 714, 740, 792; WHATWG HTML section 13.2.5.

use std::io::BufRead;

use html5gum::{IoReader, Tokenizer};
use percent_encoding::percent_decode_str;

use super::dist;
use super::html_tags::{Piece, Tag, Tags, Value};
use super::outline::{Entry, Head, Said, Visit, Written, checksum, is_file_name};
use crate::registry::Declared;

/// Reads a page; see [`super::outline::read`].
pub(super) fn read(
    project: &str,
    input: &mut dyn BufRead,
    visit: &mut Visit<'_>,
) -> Result<Head, String> {
    let mut page = Page::new(project, visit);
    let mut tokenizer = Tokenizer::new_with_emitter(IoReader::new(input), Tags::default());
    for piece in &mut tokenizer {
        page.piece(piece.map_err(|error| format!("it cannot be read: {error}"))?)?;
    }
    page.finish()
}

/// What the reading of a page has come to.
struct Page<'p, 'v> {
    project: &'p str,
    visit: &'p mut Visit<'v>,
    /// A link whose end has not come yet.
    open: Option<Entry>,
    /// One that has ended, but for a line break behind it.
    ended: Option<Entry>,
    base: Option<String>,
    head: Head,
    /// Whether it is a project's page.
    known: bool,
}

impl<'p, 'v> Page<'p, 'v> {
    fn new(project: &'p str, visit: &'p mut Visit<'v>) -> Self {
        let head = Head { name: project.to_owned(), ..Head::new(Written::Html) };
        Self { project, visit, open: None, ended: None, base: None, head, known: false }
    }

    fn piece(&mut self, piece: Piece) -> Result<(), String> {
        match piece {
            Piece::Open(tag) => match tag.name.as_slice() {
                b"a" => {
                    self.pass()?;
                    self.open = self.entry(&tag);
                }
                b"base" => self.base(&tag),
                _ => self.meta(&tag),
            },
            Piece::Close { end } => {
                self.ended = self.open.take().map(|mut entry| {
                    entry.place.end = end;
                    entry
                });
            }
            Piece::Break { end } => {
                if let Some(ended) = &mut self.ended {
                    ended.place.end = end;
                }
                self.pass()?;
            }
            Piece::Heading(text) => self.known |= text.trim().starts_with("Links for "),
            Piece::End { end } => self.head.size = end,
            Piece::TooLarge => return Err("it is larger than 4 GiB".to_owned()),
        }
        Ok(())
    }

    /// Hands the links over that are complete.
    fn pass(&mut self) -> Result<(), String> {
        for entry in [self.ended.take(), self.open.take()].into_iter().flatten() {
            self.known |=
                entry.is_checked() || dist::parse(self.project, &entry.filename).is_some();
            (self.visit)(entry)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Head, String> {
        self.pass()?;
        if self.known { Ok(self.head) } else { Err("it is not the page of a project".to_owned()) }
    }

    /// What the URLs behind it are relative to; the first counts.
    fn base(&mut self, tag: &Tag) {
        if let (None, Some(href)) = (&self.base, tag.get(b"href")) {
            self.base = Some(href.text());
            self.head.base = Some(tag.place);
        }
    }

    fn meta(&mut self, tag: &Tag) {
        let (Some(name), Some(content)) = (tag.get(b"name"), tag.get(b"content")) else { return };
        match name.bytes.as_slice() {
            b"pypi:repository-version" => self.known = true,
            b"pypi:project-status" => {
                let reason = self.head.status.take().and_then(|(_, reason)| reason);
                self.head.status = Some((content.text(), reason));
            }
            b"pypi:project-status-reason" => {
                let (state, _) = self.head.status.take().unwrap_or_default();
                self.head.status = Some((state, Some(content.text())));
            }
            _ => {}
        }
    }

    /// A link as a file; `None` for one that leads to none.
    fn entry(&self, tag: &Tag) -> Option<Entry> {
        let href = tag.get(b"href")?;
        let written = href.text();
        let written = written.trim_matches(|c: char| c <= ' ');
        let (url, fragment) = written.split_once('#').unwrap_or((written, ""));
        let last = url.split('?').next()?.rsplit('/').next()?;
        let filename = percent_decode_str(last).decode_utf8().ok()?.into_owned();
        if !is_file_name(&filename) {
            return None;
        }
        let text = |name: &[u8]| tag.get(name).map(Value::text);
        let metadata = text(b"data-core-metadata").or_else(|| text(b"data-dist-info-metadata"));
        let mut entry = Entry {
            filename,
            url: joined(self.base.as_deref(), url),
            fragment: fragment.to_owned(),
            declared: declared(fragment),
            requires_python: text(b"data-requires-python"),
            yanked: text(b"data-yanked"),
            metadata: metadata.as_deref().map(said),
            provenance: text(b"data-provenance"),
            gpg_sig: text(b"data-gpg-sig").map(|signed| signed == "true"),
            place: tag.place,
            inside: tag.place.start + 2,
            url_place: href.place,
            ..Entry::default()
        };
        tag.data().for_each(|(name, value)| entry.add_more(name, value.text()));
        Some(entry)
    }
}

/// What an attribute says of the file's METADATA.
fn said(text: &str) -> Said {
    let sha256 = text.strip_prefix("sha256=").and_then(checksum);
    match (sha256, text) {
        (Some(sha256), _) => Said::Sha256(sha256),
        (None, "false") => Said::No,
        (None, _) => Said::Yes,
    }
}

/// The checksums in a fragment: `sha256=…`, of several the first of each kind.
fn declared(fragment: &str) -> Declared {
    let mut declared = Declared::default();
    for (kind, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
        declared.sha256 = declared.sha256.or_else(|| checksum(value).filter(|_| kind == "sha256"));
        declared.sha512 = declared.sha512.or_else(|| checksum(value).filter(|_| kind == "sha512"));
        declared.sha1 = declared.sha1.or_else(|| checksum(value).filter(|_| kind == "sha1"));
        declared.md5 = declared.md5.or_else(|| checksum(value).filter(|_| kind == "md5"));
    }
    declared
}

/// A URL of a page with a base; what is relative still is.
fn joined(base: Option<&str>, url: &str) -> String {
    let Some(base) = base else { return url.to_owned() };
    if let Ok(base) = url::Url::parse(base) {
        return base.join(url).map_or_else(|_| url.to_owned(), String::from);
    }
    let absolute = url.starts_with('/') || url::Url::parse(url).is_ok();
    let folder = base.split(['?', '#']).next().and_then(|path| path.rsplit_once('/'));
    match folder.filter(|_| !absolute) {
        Some((folder, _)) => format!("{folder}/{url}"),
        None => url.to_owned(),
    }
}
