//! An upstream's page in HTML, tag by tag: anchors with their attributes, and where they stand.
//!
//! Reads tag soup as browsers do (`html5gum` is the tokenizer), so what a client sees as a link is
//! one here: entities in attributes, quotes of either kind or none, capitals, scripts and comments
//! with things in them that look like links. Text is not kept, and of a tag no more than has a use:
//! memory has a bound whatever comes. The first of two equal attributes counts.
//!
//! A page says little of itself. It is one of a project if it names the version of the interface,
//! or is headed like one, or links at least one file that can be the project's: the login page of a
//! captive portal does none of that.
//!
//! Source: PEP 503, 592, 629, 658, 714, 740, 792; WHATWG HTML section 13.2.5.

use std::collections::VecDeque;
use std::io::BufRead;

use html5gum::{Emitter, IoReader, State, Tokenizer, naive_next_state};
use percent_encoding::percent_decode_str;

use super::dist;
use super::outline::{Entry, Head, Said, Visit, Written, checksum, is_file_name};
use crate::formats::splice::Span;
use crate::registry::Declared;

/// Of a tag's or an attribute's name; none that matters is as long.
const NAME_MAX_BYTES: usize = 40;
/// Of an attribute's value; a longer one is as good as none.
const VALUE_MAX_BYTES: usize = 8 * 1024;
/// Attributes of one tag that are looked at.
const ATTRIBUTES_MAX: usize = 32;
/// Letters of a heading.
const HEADING_MAX_BYTES: usize = 128;
/// Tags with attributes that matter.
const WANTED: [&[u8]; 3] = [b"a", b"base", b"meta"];

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
        Some(Entry {
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
        })
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

/// What matters of a page.
#[derive(Debug)]
enum Piece {
    /// A tag with attributes that matter.
    Open(Tag),
    /// The end of a link.
    Close { end: u32 },
    /// A line break right behind the end of a link.
    Break { end: u32 },
    /// The text of a heading, or of the title.
    Heading(String),
    /// All of it.
    End { end: u64 },
    /// No place fits any more.
    TooLarge,
}

#[derive(Debug, Default)]
struct Tag {
    name: Vec<u8>,
    attributes: Vec<(Vec<u8>, Value)>,
    place: Span,
}

#[derive(Debug, Default)]
struct Value {
    bytes: Vec<u8>,
    /// Between the quotes, if it has any.
    place: Span,
    over: bool,
}

impl Tag {
    /// The first of that name.
    fn get(&self, name: &[u8]) -> Option<&Value> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).filter(|value| !value.over)
    }
}

impl Value {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Puts tags together out of what the tokenizer says, and drops the rest.
#[derive(Debug, Default)]
struct Tags {
    pieces: VecDeque<Piece>,
    position: usize,
    /// Where the tag that is being read begins.
    start: usize,
    tag: Tag,
    is_end: bool,
    /// The name of the last start tag: it says how the text behind it is read.
    last: Vec<u8>,
    /// Nothing but blanks since a link has ended.
    quiet: bool,
    heading: Option<String>,
}

impl Tags {
    fn give(&mut self, make: impl FnOnce(u32) -> Piece) {
        let piece = u32::try_from(self.position).map_or(Piece::TooLarge, make);
        self.pieces.push_back(piece);
    }

    fn attribute(&mut self) -> Option<&mut (Vec<u8>, Value)> {
        self.tag.attributes.last_mut().filter(|_| !self.is_end)
    }

    fn opened(&mut self) {
        let quiet = std::mem::take(&mut self.quiet);
        match self.tag.name.as_slice() {
            name if WANTED.contains(&name) => {
                let mut tag = std::mem::take(&mut self.tag);
                let start = u32::try_from(self.start).unwrap_or(u32::MAX);
                self.give(|end| {
                    tag.place = Span { start, end };
                    Piece::Open(tag)
                });
            }
            b"br" if quiet => self.give(|end| Piece::Break { end }),
            b"h1" | b"title" => self.heading = Some(String::new()),
            _ => {}
        }
    }

    fn closed(&mut self) {
        self.quiet = self.tag.name == b"a";
        if self.quiet {
            self.give(|end| Piece::Close { end });
        }
        if let Some(text) = self.heading.take() {
            self.pieces.push_back(Piece::Heading(text));
        }
    }
}

/// Appends as much as fits; says whether that was all.
fn append(to: &mut Vec<u8>, bytes: &[u8], max: usize) -> bool {
    let room = max.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
    bytes.len() <= room
}

impl Emitter for Tags {
    type Token = Piece;

    fn set_last_start_tag(&mut self, last: Option<&[u8]>) {
        self.last.clear();
        append(&mut self.last, last.unwrap_or_default(), NAME_MAX_BYTES);
    }

    fn emit_eof(&mut self) {
        let end = self.position as u64;
        self.pieces.push_back(Piece::End { end });
    }

    fn emit_error(&mut self, _: html5gum::Error) {}

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    fn emit_string(&mut self, text: &[u8]) {
        self.quiet &= text.iter().all(u8::is_ascii_whitespace);
        if let Some(heading) = &mut self.heading {
            let room = HEADING_MAX_BYTES.saturating_sub(heading.len());
            heading.push_str(&String::from_utf8_lossy(&text[..text.len().min(room)]));
        }
    }

    fn init_start_tag(&mut self) {
        (self.tag, self.is_end) = (Tag::default(), false);
    }

    fn init_end_tag(&mut self) {
        (self.tag, self.is_end) = (Tag::default(), true);
    }

    fn init_comment(&mut self) {}

    fn emit_current_tag(&mut self) -> Option<State> {
        if self.is_end {
            self.last.clear();
            self.closed();
            return None;
        }
        self.last.clone_from(&self.tag.name);
        self.opened();
        naive_next_state(&self.last)
    }

    fn emit_current_comment(&mut self) {}

    fn emit_current_doctype(&mut self) {}

    fn set_self_closing(&mut self) {}

    fn set_force_quirks(&mut self) {}

    fn push_tag_name(&mut self, name: &[u8]) {
        append(&mut self.tag.name, name, NAME_MAX_BYTES);
    }

    fn push_comment(&mut self, _: &[u8]) {}

    fn push_doctype_name(&mut self, _: &[u8]) {}

    fn init_doctype(&mut self) {}

    fn init_attribute(&mut self) {
        let wanted = !self.is_end && WANTED.contains(&self.tag.name.as_slice());
        if wanted && self.tag.attributes.len() < ATTRIBUTES_MAX {
            self.tag.attributes.push(Default::default());
        } else if let Some((name, value)) = self.attribute() {
            // What comes now is none of the last one.
            (value.over, *name) = (true, Vec::new());
        }
    }

    fn init_attribute_value(&mut self) {
        let at = u32::try_from(self.position).unwrap_or(u32::MAX);
        if let Some((_, value)) = self.attribute() {
            value.place = Span { start: at, end: at };
        }
    }

    fn push_attribute_name(&mut self, text: &[u8]) {
        if let Some((name, _)) = self.attribute() {
            append(name, text, NAME_MAX_BYTES);
        }
    }

    fn push_attribute_value(&mut self, text: &[u8]) {
        let at = u32::try_from(self.position).unwrap_or(u32::MAX);
        if let Some((_, value)) = self.attribute() {
            value.over |= !append(&mut value.bytes, text, VALUE_MAX_BYTES);
            value.place.end = at;
        }
    }

    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn start_open_tag(&mut self) {
        self.start = self.position.saturating_sub(1);
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.is_end && !self.last.is_empty() && self.last == self.tag.name
    }

    fn move_position(&mut self, offset: isize) {
        self.position = self.position.saturating_add_signed(offset);
    }
}
