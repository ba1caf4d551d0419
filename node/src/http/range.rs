//! Which bytes of a blob a client wants, and whether it has them already: arithmetic alone.
//!
//! A wrong 206 corrupts the downloads of clients that resume, so what is not understood is answered
//! with the whole (RFC 9110 allows that for any range). Several ranges become several parts, in the
//! order in which they were asked for; those that overlap or touch become one, so that no byte is
//! sent twice. Too many of them are a mistake or an attack, and get the whole. Comparison of
//! validators: strong for `If-Range` and `If-Match`, weak for `If-None-Match`.
//!
//! Source: RFC 9110 sections 8.8.3, 13.1, 14.1.2, 14.2.

use std::ops::Range;

/// The most parts of one answer.
pub const PARTS_MAX: usize = 16;
/// The most ranges of one request that are looked at.
const ASKED_MAX: usize = 256;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes; never empty.
    Bytes(Range<u64>),
    /// 206 with two parts or more, each not empty, none touching another.
    Several(Vec<Range<u64>>),
    /// 416: every range lies outside.
    Outside,
}

/// Reads a `Range` header against a body of `size` bytes.
#[must_use]
pub fn select(header: Option<&str>, size: u64) -> Part {
    let Some((unit, set)) = header.and_then(|header| header.trim().split_once('=')) else {
        return Part::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    // An empty element of a list means nothing.
    let asked = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
    let asked = asked.filter(|spec| !spec.is_empty());
    let mut found = Vec::new();
    let mut count = 0;
    for spec in asked {
        count += 1;
        let Some(range) = one(spec, size).filter(|_| count <= ASKED_MAX) else {
            return Part::Whole;
        };
        if !range.is_empty() {
            found.push(range);
        }
    }
    let parts = coalesced(found);
    match (count, parts.as_slice()) {
        (0, _) => Part::Whole,
        (_, []) => Part::Outside,
        (_, [part]) => Part::Bytes(part.clone()),
        (_, parts) if parts.len() > PARTS_MAX => Part::Whole,
        _ => Part::Several(parts),
    }
}

/// One range of the set, empty where it lies outside; none if it is not one.
fn one(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", last) => Some(size.saturating_sub(number(last)?)..size),
        (first, "") => Some(number(first)?..size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first..last.saturating_add(1).min(size))
        }
    }
}

/// Digits alone; a number beyond 64 bits is as large as can be.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Ranges that overlap or touch as one, where the first of them was asked for.
fn coalesced(asked: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = asked.into_iter().enumerate().collect();
    sorted.sort_by_key(|(_, range)| range.start);
    let mut merged: Vec<(usize, Range<u64>)> = Vec::with_capacity(sorted.len());
    for (place, range) in sorted {
        match merged.last_mut() {
            Some((first, before)) if range.start <= before.end => {
                *first = place.min(*first);
                before.end = range.end.max(before.end);
            }
            _ => merged.push((place, range)),
        }
    }
    merged.sort_by_key(|(place, _)| *place);
    merged.into_iter().map(|(_, range)| range).collect()
}

/// `If-Range`: whether the range may be honoured. Absent: yes. There are no dates to compare.
#[must_use]
pub fn range_applies(if_range: Option<&str>, etag: &str) -> bool {
    if_range.is_none_or(|validator| is_strong(etag) && validator.trim() == etag)
}

/// Whether a list of entity tags, as `If-None-Match` carries them, names `etag`.
#[must_use]
pub fn names(list: &str, etag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|tag| weak(tag) == weak(etag))
}

/// Whether a list of entity tags, as `If-Match` carries them, names `etag`, which is there.
#[must_use]
pub fn names_strongly(list: &str, etag: &str) -> bool {
    list.trim() == "*" || (is_strong(etag) && list.split(',').any(|tag| tag.trim() == etag))
}

fn is_strong(etag: &str) -> bool {
    !etag.starts_with("W/")
}
