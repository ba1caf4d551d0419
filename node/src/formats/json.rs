//! A pull reader of JSON over a stream: values are visited or passed over, never held.
//!
//! Documents exceed 50 MB, and a tree of one costs ten times that. So what is wanted is taken as
//! it goes by, with its place in bytes, and the rest is only checked: the grammar is RFC 8259 in
//! full, since what a client cannot parse must not be stored as a document. Keys come in the order
//! of the bytes and as often as they are written; that the last one wins is the visitor's business.
//!
//! Bounded: nesting by [`DEPTH_MAX`], a kept string by its caller, memory by the input's buffer.
//! Half a surrogate pair, and bytes that are not UTF-8, become the replacement character, as
//! clients read them.
//!
//! Source: RFC 8259; ECMA-262 `JSON.parse`.

use std::io::BufRead;
use std::ops::Range;

/// The deepest nesting.
pub(super) const DEPTH_MAX: usize = 64;
/// A longer key is none that is looked for.
const KEY_MAX_BYTES: usize = 512;

/// Why a stream is no JSON that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it cannot be read: {0}")]
    Io(String),
    #[error("it is not JSON at byte {0}")]
    NotJson(u64),
    #[error("it is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Of a visitor.
    #[error("{0}")]
    Refused(&'static str),
}

/// A stream, read up to some byte.
pub(super) struct Json<'r> {
    input: &'r mut dyn BufRead,
    at: u64,
    depth: usize,
}

/// A member of an object whose value comes next.
#[derive(Debug)]
pub(super) struct Key {
    /// Decoded; empty if it was longer than any key that matters.
    pub(super) text: String,
    /// Place of its first quote.
    pub(super) at: u64,
}

impl<'r> Json<'r> {
    pub(super) fn new(input: &'r mut dyn BufRead) -> Self {
        Self { input, at: 0, depth: 0 }
    }

    /// The first byte of the next value, its place being [`Json::at`] then.
    pub(super) fn peek(&mut self) -> Result<u8, Error> {
        self.blanks()?;
        self.byte()?.ok_or(Error::NotJson(self.at))
    }

    /// How many bytes were read.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Visits the members of an object; the visitor reads or skips each value.
    pub(super) fn object(
        &mut self,
        visit: &mut dyn FnMut(&mut Self, Key) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.open(b'{')?;
        if self.peek()? != b'}' {
            loop {
                self.peek()?;
                let at = self.at;
                let text = self.text(KEY_MAX_BYTES)?.unwrap_or_default();
                self.peek()?;
                self.expect(b':')?;
                visit(self, Key { text, at })?;
                if !self.comma(b'}')? {
                    break;
                }
            }
        }
        self.close()
    }

    /// Visits the items of an array.
    pub(super) fn array(
        &mut self,
        visit: &mut dyn FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.open(b'[')?;
        if self.peek()? != b']' {
            loop {
                visit(self)?;
                if !self.comma(b']')? {
                    break;
                }
            }
        }
        self.close()
    }

    /// Reads a string; `None` if it is longer than `max_bytes`.
    pub(super) fn text(&mut self, max_bytes: usize) -> Result<Option<String>, Error> {
        let mut kept = Kept { bytes: Vec::new(), max: max_bytes, over: false, high: None };
        self.string(&mut kept)?;
        Ok(kept.text())
    }

    /// Passes over a value, checking it; gives its place.
    pub(super) fn skip(&mut self) -> Result<Range<u64>, Error> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'{' => self.object(&mut |json, _| json.pass())?,
            b'[' => self.array(&mut |json| json.pass())?,
            b'"' => self.string(&mut Kept { max: 0, ..Kept::default() })?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => drop(self.number()?),
        }
        Ok(start..self.at)
    }

    /// The same for a place that does not matter.
    pub(super) fn pass(&mut self) -> Result<(), Error> {
        self.skip().map(|_| ())
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.blanks()?;
        if self.byte()?.is_some() { Err(Error::NotJson(self.at)) } else { Ok(()) }
    }

    fn open(&mut self, bracket: u8) -> Result<(), Error> {
        self.peek()?;
        self.expect(bracket)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Error::TooDeep) } else { Ok(()) }
    }

    /// The bracket was seen by `peek`.
    fn close(&mut self) -> Result<(), Error> {
        self.depth -= 1;
        self.consume(1);
        Ok(())
    }

    /// Whether another item follows; else the bracket is next.
    fn comma(&mut self, bracket: u8) -> Result<bool, Error> {
        match self.peek()? {
            b',' => {
                self.consume(1);
                Ok(true)
            }
            byte if byte == bracket => Ok(false),
            _ => Err(Error::NotJson(self.at)),
        }
    }

    fn string(&mut self, kept: &mut Kept) -> Result<(), Error> {
        self.peek()?;
        self.expect(b'"')?;
        loop {
            let chunk = fill(self.input)?;
            let plain = memchr::memchr2(b'"', b'\\', chunk).unwrap_or(chunk.len());
            let stop = chunk.get(plain).copied();
            let broken = chunk.is_empty() || chunk[..plain].iter().any(|byte| *byte < 0x20);
            kept.push(&chunk[..plain]);
            if broken {
                return Err(Error::NotJson(self.at));
            }
            self.consume(plain + usize::from(stop.is_some()));
            match stop {
                Some(b'"') => return Ok(()),
                Some(_) => self.escape(kept)?,
                None => {}
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, kept: &mut Kept) -> Result<(), Error> {
        let byte = self.byte()?.ok_or(Error::NotJson(self.at))?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.consume(1);
                return self.unit(kept);
            }
            _ => return Err(Error::NotJson(self.at)),
        };
        self.consume(1);
        kept.push(&[plain]);
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self, kept: &mut Kept) -> Result<(), Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.byte()?.and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or(Error::NotJson(self.at))?;
            self.consume(1);
        }
        kept.unit(unit);
        Ok(())
    }

    /// Reads a number; `None` if it is no whole one of 64 bits, written without an exponent.
    pub(super) fn number(&mut self) -> Result<Option<u64>, Error> {
        self.peek()?;
        let mut value = Some(0);
        if self.byte()? == Some(b'-') {
            self.consume(1);
            value = None;
        }
        if self.byte()? == Some(b'0') {
            self.consume(1);
        } else {
            value = self.digits()?.and_then(|digits| value.map(|_| digits));
        }
        if self.byte()? == Some(b'.') {
            self.consume(1);
            self.digits()?;
            value = None;
        }
        if matches!(self.byte()?, Some(b'e' | b'E')) {
            self.consume(1);
            if matches!(self.byte()?, Some(b'+' | b'-')) {
                self.consume(1);
            }
            self.digits()?;
            value = None;
        }
        Ok(value)
    }

    /// One or more; `None` if they are too many for a value.
    fn digits(&mut self) -> Result<Option<u64>, Error> {
        let (start, mut value) = (self.at, Some(0_u64));
        while let Some(digit) = self.byte()?.filter(u8::is_ascii_digit) {
            let more = |value: u64| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
            value = value.and_then(more);
            self.consume(1);
        }
        if self.at == start { Err(Error::NotJson(self.at)) } else { Ok(value) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Error> {
        word.iter().try_for_each(|byte| self.expect(*byte))
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Error> {
        if self.byte()? != Some(wanted) {
            return Err(Error::NotJson(self.at));
        }
        self.consume(1);
        Ok(())
    }

    fn blanks(&mut self) -> Result<(), Error> {
        loop {
            let chunk = fill(self.input)?;
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            let many = chunk.iter().position(|byte| !blank(byte));
            let all = chunk.len();
            self.consume(many.unwrap_or(all));
            if many.is_some() || all == 0 {
                return Ok(());
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, Error> {
        Ok(fill(self.input)?.first().copied())
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.at += count as u64;
    }
}

fn fill(input: &mut dyn BufRead) -> Result<&[u8], Error> {
    // Nothing may use `input` between a failure and the next try, which the checker of borrows
    // cannot see; an interrupted read is rare enough for a second call.
    while let Err(error) = input.fill_buf() {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(Error::Io(error.to_string()));
        }
    }
    input.fill_buf().map_err(|error| Error::Io(error.to_string()))
}

/// A string as it is decoded.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    max: usize,
    over: bool,
    /// The first half of a surrogate pair.
    high: Option<u32>,
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.high.take().is_some() {
            self.append("\u{fffd}".as_bytes());
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.over |= self.bytes.len() + bytes.len() > self.max;
        if !self.over {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn unit(&mut self, unit: u32) {
        let pair = self.high.filter(|_| (0xdc00..0xe000).contains(&unit));
        if let Some(high) = pair {
            self.high = None;
            self.char(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00)));
            return;
        }
        if self.high.take().is_some() {
            self.char(None);
        }
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
        } else {
            self.char(char::from_u32(unit));
        }
    }

    fn char(&mut self, char: Option<char>) {
        let char = char.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.append(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn text(mut self) -> Option<String> {
        if self.high.take().is_some() {
            self.char(None);
        }
        if self.over {
            return None;
        }
        let lossy = |error: std::string::FromUtf8Error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        };
        Some(String::from_utf8(self.bytes).unwrap_or_else(lossy))
    }
}
