//! Which bytes of a blob a client wants, and whether it has them already: arithmetic alone.
//!
//! A wrong 206 corrupts the downloads of clients that resume, so what is not understood is answered
//! with the whole (RFC 9110 allows that for any range), and several ranges are answered with the
//! whole too. Comparison of validators: strong for `If-Range`, weak for `If-None-Match`.
//!
//! Source: RFC 9110 sections 8.8.3, 13.1, 14.2.

use std::ops::Range;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes; never empty.
    Bytes(Range<u64>),
    /// 416: the range lies outside.
    Outside,
}

/// Reads a `Range` header against a body of `size` bytes.
#[must_use]
pub fn select(header: Option<&str>, size: u64) -> Part {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    if last.contains([',', '-']) {
        return Part::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), last) if last.is_some() || blank(spec, '-') => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            if first < end { Part::Bytes(first..end) } else { Part::Outside }
        }
        (None, Some(suffix)) if first.trim().is_empty() => {
            let start = size.saturating_sub(suffix);
            if start < size { Part::Bytes(start..size) } else { Part::Outside }
        }
        _ => Part::Whole,
    }
}

/// Whether nothing follows the separator.
fn blank(spec: &str, separator: char) -> bool {
    spec.trim().ends_with(separator)
}

/// Digits alone; a number beyond 64 bits is as large as can be.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// `If-Range`: whether the range may be honoured. Absent: yes.
#[must_use]
pub fn range_applies(if_range: Option<&str>, etag: &str, last_modified: Option<&str>) -> bool {
    match if_range.map(str::trim) {
        None => true,
        Some(validator) => {
            (validator == etag && !etag.starts_with("W/")) || Some(validator) == last_modified
        }
    }
}

/// Whether a list of entity tags, as `If-None-Match` carries them, names `etag`.
#[must_use]
pub fn names(list: &str, etag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|tag| weak(tag) == weak(etag))
}
