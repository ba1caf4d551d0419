//! HTML put together out of what the tokenizer says: tags that matter, and nothing of the rest.
//!
//! Memory has a bound: a tokenizer would keep a text, a comment or a value of any length, so what
//! it says is cut here, and what was cut is never taken for whole. Places are counted in bytes.
//!
//! Source: WHATWG HTML section 13.2.5.

use std::collections::VecDeque;

use html5gum::{Emitter, State, naive_next_state};

use crate::formats::splice::Span;

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

/// What matters of a page.
#[derive(Debug)]
pub(super) enum Piece {
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

/// A start tag.
#[derive(Debug, Default)]
pub(super) struct Tag {
    pub(super) name: Vec<u8>,
    attributes: Vec<(Vec<u8>, Value)>,
    pub(super) place: Span,
}

/// The value of an attribute.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    /// Between the quotes, if it has any.
    pub(super) place: Span,
    over: bool,
}

impl Tag {
    /// The first of that name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Value> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).filter(|value| !value.over)
    }

    /// Those of the page's own, `data-NAME`: the name and the value. A long name was cut, and would
    /// be another one.
    pub(super) fn data(&self) -> impl Iterator<Item = (&str, &Value)> {
        let whole = self.attributes.iter().filter(|(name, _)| name.len() < NAME_MAX_BYTES);
        let own = whole.filter_map(|(name, value)| {
            Some((std::str::from_utf8(name.strip_prefix(b"data-")?).ok()?, value))
        });
        own.filter(|(_, value)| !value.over)
    }
}

impl Value {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Puts tags together out of what the tokenizer says, and drops the rest.
#[derive(Debug, Default)]
pub(super) struct Tags {
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
