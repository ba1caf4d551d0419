//! What a name and a version of a generic package may be.
//!
//! Names are the plain ones that every realm takes: lower-case letters and digits with single
//! separators inside, in parts between `/`. Versions are free text.
//!
//! Source: trust.md section 11.

use crate::formats::text;

/// Bytes of one part of a name.
const PART_MAX_BYTES: usize = 64;
/// Parts between `/`.
const PARTS_MAX: usize = 4;
const VERSION_MAX_BYTES: usize = 128;

/// Normal form of a name.
pub(super) fn canonical_name(name: &str) -> Result<String, String> {
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() > PARTS_MAX {
        return Err(format!("a name has at most {PARTS_MAX} parts"));
    }
    for (index, part) in parts.iter().enumerate() {
        // A scope, as npm writes it.
        let part = match part.strip_prefix('@') {
            Some(scope) if index == 0 && parts.len() > 1 => scope,
            _ => part,
        };
        check_part(part)?;
    }
    Ok(name.to_owned())
}

fn check_part(part: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let allowed = bytes.iter().all(|byte| plain(*byte) || b"-._".contains(byte));
    let ends = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
    let single = bytes.windows(2).all(|pair| plain(pair[0]) || plain(pair[1]));
    if bytes.len() > PART_MAX_BYTES || !allowed || !ends || !single {
        let shown: String = part.chars().take(PART_MAX_BYTES).collect();
        return Err(format!(
            "{shown:?} is not a name: 1 to {PART_MAX_BYTES} lower-case letters and digits, \
             with single - . _ inside"
        ));
    }
    if text::is_device(part) {
        return Err(format!("{part:?} is the name of a device on some systems"));
    }
    Ok(())
}

/// Normal form of a version.
pub(super) fn canonical_version(version: &str) -> Result<String, String> {
    text::single(version, "version", VERSION_MAX_BYTES)
}
