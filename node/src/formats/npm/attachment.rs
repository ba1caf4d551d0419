//! The body of a publish, byte by byte: JSON whose attachments are files in base64.
//!
//! Such a body exceeds 100 MB, so it is never held. The scanner copies the document into memory
//! with the data of its tarballs left empty (that is small, and bounded), and gives the decoded
//! bytes of each `_attachments.*.tgz.data` as they come. It knows just enough of JSON for that:
//! strings, escapes, nesting and keys. Whether the rest is JSON at all is the parser's business
//! afterwards.
//!
//! Pure: bytes in, events out; where the input is cut makes no difference.
//!
//! Source: formats/npm.md section 4; RFC 8259.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

/// Everything but the tarballs.
pub(super) const DOCUMENT_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The deepest nesting.
const DEPTH_MAX: usize = 64;
/// A longer key is none of those that matter.
const KEY_MAX_BYTES: usize = 1024;
/// Levels whose keys matter: the document, `_attachments`, one attachment.
const KEYED_LEVELS: usize = 3;

/// At the end there may be padding or none.
const LAST: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the document beside the tarball is larger than {DOCUMENT_MAX_BYTES} bytes")]
    TooLarge,
    #[error("the body is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("the body is not JSON")]
    NotJson,
    #[error("the data of an attachment is not base64")]
    NotBase64,
}

/// What comes out of the scanner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A tarball starts, under this key.
    Begin(String),
    /// Some of its bytes, decoded.
    Data(Bytes),
    /// It is whole.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of strings.
    Between,
    /// In a string; `escape`: after a backslash.
    Text { key: bool, escape: bool },
    /// In the data of a tarball.
    Data { escape: bool },
}

/// An open object or array.
#[derive(Debug)]
struct Level {
    object: bool,
    /// In an object: whether a string would be a key now.
    at_key: bool,
    key: Option<String>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Scanner {
    document: Vec<u8>,
    state: State,
    levels: Vec<Level>,
    /// The raw text of the key being read.
    key: Vec<u8>,
    /// Characters of base64 that wait for more: at most four.
    carry: Vec<u8>,
}

impl Scanner {
    pub(super) fn new() -> Self {
        let (document, levels, key, carry) = Default::default();
        Self { document, state: State::Between, levels, key, carry }
    }

    /// Takes the next piece of the body and appends what it means.
    pub(super) fn push(&mut self, mut input: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        while let Some((&first, rest)) = input.split_first() {
            input = match self.state {
                State::Between => {
                    self.between(first, events)?;
                    rest
                }
                State::Text { key, escape: true } => {
                    self.text(&input[..1], key)?;
                    self.state = State::Text { key, escape: false };
                    rest
                }
                State::Text { key, escape: false } => self.text_run(input, key)?,
                State::Data { escape: true } => {
                    self.escaped_data(first, events)?;
                    rest
                }
                State::Data { escape: false } => self.data_run(input, events)?,
            };
        }
        Ok(())
    }

    /// The document without the tarballs' data.
    pub(super) fn finish(self) -> Result<Vec<u8>, Error> {
        if self.state == State::Between && self.levels.is_empty() && !self.document.is_empty() {
            return Ok(self.document);
        }
        Err(Error::NotJson)
    }

    fn between(&mut self, byte: u8, events: &mut Vec<Event>) -> Result<(), Error> {
        self.keep(&[byte])?;
        match byte {
            b'{' | b'[' => {
                if self.levels.len() == DEPTH_MAX {
                    return Err(Error::TooDeep);
                }
                let object = byte == b'{';
                self.levels.push(Level { object, at_key: object, key: None });
            }
            b'}' | b']' => {
                let closed = self.levels.pop().ok_or(Error::NotJson)?;
                if closed.object != (byte == b'}') {
                    return Err(Error::NotJson);
                }
            }
            b',' => {
                if let Some(level) = self.levels.last_mut() {
                    level.at_key = level.object;
                }
            }
            b'"' => match self.tarball() {
                Some(name) => {
                    events.push(Event::Begin(name));
                    self.state = State::Data { escape: false };
                }
                None => {
                    let key = self.levels.last().is_some_and(|level| level.at_key);
                    self.key.clear();
                    self.state = State::Text { key, escape: false };
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// The attachment's key, if a string that starts here is the data of a tarball.
    fn tarball(&self) -> Option<String> {
        let [document, attachments, attachment] = self.levels.as_slice() else { return None };
        let name = attachments.key.as_ref()?;
        let data = !attachment.at_key
            && attachment.key.as_deref() == Some("data")
            && document.key.as_deref() == Some("_attachments")
            && name.ends_with(".tgz");
        data.then(|| name.clone())
    }

    /// Copies up to the end of a string or its next escape.
    fn text_run<'i>(&mut self, input: &'i [u8], key: bool) -> Result<&'i [u8], Error> {
        let Some(at) = memchr::memchr2(b'"', b'\\', input) else {
            self.text(input, key)?;
            return Ok(&[]);
        };
        self.text(&input[..at], key)?;
        if input[at] == b'\\' {
            self.text(b"\\", key)?;
            self.state = State::Text { key, escape: true };
        } else {
            self.keep(b"\"")?;
            self.state = State::Between;
            if key {
                self.end_key()?;
            }
        }
        Ok(&input[at + 1..])
    }

    fn text(&mut self, bytes: &[u8], key: bool) -> Result<(), Error> {
        self.keep(bytes)?;
        if key && self.levels.len() <= KEYED_LEVELS && self.key.len() <= KEY_MAX_BYTES {
            self.key.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end_key(&mut self) -> Result<(), Error> {
        let matters = self.levels.len() <= KEYED_LEVELS && self.key.len() <= KEY_MAX_BYTES;
        let key = if matters {
            let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
            Some(serde_json::from_slice(&quoted).map_err(|_| Error::NotJson)?)
        } else {
            None
        };
        let level = self.levels.last_mut().ok_or(Error::NotJson)?;
        level.key = key;
        level.at_key = false;
        Ok(())
    }

    /// Decodes up to the end of the data or its next escape.
    fn data_run<'i>(
        &mut self,
        input: &'i [u8],
        events: &mut Vec<Event>,
    ) -> Result<&'i [u8], Error> {
        let Some(at) = memchr::memchr2(b'"', b'\\', input) else {
            self.decode(input, events)?;
            return Ok(&[]);
        };
        self.decode(&input[..at], events)?;
        if input[at] == b'\\' {
            self.state = State::Data { escape: true };
        } else {
            self.keep(b"\"")?;
            let last = LAST.decode(&self.carry).map_err(|_| Error::NotBase64)?;
            self.carry.clear();
            if !last.is_empty() {
                events.push(Event::Data(last.into()));
            }
            events.push(Event::End);
            self.state = State::Between;
        }
        Ok(&input[at + 1..])
    }

    /// Some writers escape the slash, and some break lines.
    fn escaped_data(&mut self, byte: u8, events: &mut Vec<Event>) -> Result<(), Error> {
        self.state = State::Data { escape: false };
        match byte {
            b'/' => self.decode(b"/", events),
            b'n' | b'r' => Ok(()),
            _ => Err(Error::NotBase64),
        }
    }

    /// Decodes whole groups of four and keeps back the last, which may be padded.
    fn decode(&mut self, mut text: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        let mut out = Vec::new();
        if !self.carry.is_empty() {
            let missing = (4 - self.carry.len()).min(text.len());
            self.carry.extend_from_slice(&text[..missing]);
            text = &text[missing..];
            if text.is_empty() {
                return Ok(());
            }
            decode_into(&self.carry, &mut out)?;
            self.carry.clear();
        }
        let whole = text.len().saturating_sub(1) / 4 * 4;
        decode_into(&text[..whole], &mut out)?;
        self.carry.extend_from_slice(&text[whole..]);
        if !out.is_empty() {
            events.push(Event::Data(out.into()));
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.document.len() + bytes.len() > DOCUMENT_MAX_BYTES {
            return Err(Error::TooLarge);
        }
        self.document.extend_from_slice(bytes);
        Ok(())
    }
}

/// Whole groups of four, in vectors: a third of what the other library takes, which counts where
/// most of a body of 133 MB passes through here.
fn decode_into(text: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.reserve(text.len() / 4 * 3);
    base64_simd::STANDARD_NO_PAD.decode_append(text, out).map_err(|_| Error::NotBase64)
}
