//! The undecoded path of a request, parsed and percent-decoded exactly once.
//!
//! Hostile names end here: whatever reaches a format is a list of segments none of which can climb,
//! hide or end a string early. The framework's router cannot do this (it decodes before it splits),
//! so each format takes one catch-all and works on what this file gives it.
//!
//! `%2f` is data: it stays inside its segment as `/`, as in npm's `/@scope%2fname`; the parts on
//! both sides of it obey the same rules as segments do. A path is never decoded twice, so `%252e`
//! is the three characters `%2e` and no dot.
//!
//! Does not know which names a format allows: see its `canonical_name`.
//!
//! Source: formats/README.md section 7, rule 2; RFC 3986 section 3.3.

use axum::http::Uri;

/// The longest path that is looked at, in bytes, undecoded.
pub const PATH_MAX_BYTES: usize = 1024;
/// The longest query, in bytes, undecoded.
pub const QUERY_MAX_BYTES: usize = 4096;
/// The most parameters of a query.
pub const PARAMETERS_MAX: usize = 64;

/// A path and its query, decoded once.
///
/// Invariant: no segment is empty, `.` or `..`, nor holds a NUL, a backslash or a control
/// character; the same is true of the parts between the `/` that came as `%2f`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathQuery {
    /// The segments, decoded.
    pub segments: Vec<String>,
    /// Whether the path ended in `/`.
    pub folder: bool,
    /// The parameters in their order, decoded.
    pub query: Vec<(String, String)>,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`PATH_MAX_BYTES`] or [`QUERY_MAX_BYTES`].
    #[error("the path or its query is too long")]
    TooLong,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("the path holds a broken percent escape")]
    BadEscape,
    /// The decoded bytes are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Two slashes in a row.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.` or `..`, plain or escaped.
    #[error("the path holds a `.` or `..` segment")]
    DotSegment,
    /// NUL, backslash or another control character.
    #[error("the path holds a backslash or a control character")]
    BadCharacter,
}

impl PathQuery {
    /// Parses the path and the query of a request target.
    ///
    /// # Errors
    /// Any of [`Error`]; the answer is 400.
    pub fn parse(uri: &Uri) -> Result<Self, Error> {
        let path = uri.path();
        if path.len() > PATH_MAX_BYTES {
            return Err(Error::TooLong);
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let (path, folder) = match path.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (path, path.is_empty()),
        };
        let segments = match path {
            "" => Vec::new(),
            path => path.split('/').map(segment).collect::<Result<_, _>>()?,
        };
        Ok(Self { segments, folder, query: query(uri.query().unwrap_or(""))? })
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The segments as slices, for matching.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The same without its first `count` segments.
    #[must_use]
    pub fn below(mut self, count: usize) -> Self {
        self.segments.drain(..count.min(self.segments.len()));
        self
    }
}

fn segment(raw: &str) -> Result<String, Error> {
    let decoded = String::from_utf8(unescape(raw)?).map_err(|_| Error::NotUtf8)?;
    for part in decoded.split('/') {
        match part {
            "" => return Err(Error::EmptySegment),
            "." | ".." => return Err(Error::DotSegment),
            part if part.contains(|c: char| c == '\\' || c.is_control()) => {
                return Err(Error::BadCharacter);
            }
            _ => {}
        }
    }
    Ok(decoded)
}

fn query(raw: &str) -> Result<Vec<(String, String)>, Error> {
    if raw.len() > QUERY_MAX_BYTES {
        return Err(Error::TooLong);
    }
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    let decode = |text: &str| {
        let bytes = unescape(&text.replace('+', " "))?;
        String::from_utf8(bytes).map_err(|_| Error::NotUtf8)
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    };
    let pairs: Vec<_> = pairs.take(PARAMETERS_MAX + 1).map(pair).collect::<Result<_, _>>()?;
    if pairs.len() > PARAMETERS_MAX { Err(Error::TooLong) } else { Ok(pairs) }
}

/// Decodes `%XX` once. The library's decoder passes broken escapes through; here they are refused.
fn unescape(raw: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(Error::BadEscape);
        };
        out.push(u8::try_from(high * 16 + low).map_err(|_| Error::BadEscape)?);
    }
    Ok(out)
}
