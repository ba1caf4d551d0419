//! What a name, a version and a file name may be.
//!
//! All three are keys in the store, never paths on a disk; what is refused here would trick a person
//! or a client that saves the file: control and direction characters, trailing dots and spaces,
//! names of doors. Text is brought into NFC, so that what looks the same is the same.
//!
//! Source: formats/generic.md section 3; red-team.md rows 26 and 30.

use unicode_normalization::UnicodeNormalization as _;

/// The file that is rendered, not stored.
pub(super) const SUMS: &str = "SHA256SUMS";
const NAME_MAX_BYTES: usize = 214;
const VERSION_MAX_BYTES: usize = 128;
const FILE_MAX_BYTES: usize = 255;
const PARTS_MAX: usize = 8;

/// Normal form of a name: parts between `/` that each obey the rules.
pub(super) fn canonical_name(name: &str) -> Result<String, String> {
    let name = composed(name, "name", NAME_MAX_BYTES)?;
    if name.starts_with('~') {
        return Err(format!("the name {name:?} starts with ~, which is kept for doors"));
    }
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() > PARTS_MAX {
        return Err(format!("the name {name:?} has more than {PARTS_MAX} parts"));
    }
    for part in parts {
        check_part(part, "name")?;
    }
    Ok(name)
}

/// Normal form of a version.
pub(super) fn canonical_version(version: &str) -> Result<String, String> {
    single(version, "version", VERSION_MAX_BYTES)
}

/// Normal form of a file name.
pub(in crate::formats) fn file_name(file: &str) -> Result<String, String> {
    let file = single(file, "file name", FILE_MAX_BYTES)?;
    if file.eq_ignore_ascii_case(SUMS) {
        return Err(format!("{SUMS} is made by the node and cannot be published"));
    }
    Ok(file)
}

fn single(text: &str, what: &str, max_bytes: usize) -> Result<String, String> {
    let text = composed(text, what, max_bytes)?;
    if text.contains('/') {
        return Err(format!("the {what} {text:?} holds a slash"));
    }
    check_part(&text, what)?;
    Ok(text)
}

fn composed(text: &str, what: &str, max_bytes: usize) -> Result<String, String> {
    // Composition can only make it longer by a factor of three: bound it before and after.
    let text: String = if text.len() <= max_bytes { text.nfc().collect() } else { String::new() };
    if text.is_empty() || text.len() > max_bytes {
        return Err(format!("a {what} has 1 to {max_bytes} bytes"));
    }
    Ok(text)
}

fn check_part(part: &str, what: &str) -> Result<(), String> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if part.is_empty() || part == "." || part == ".." {
        return Err(format!("the {what} has an empty or dotted part"));
    }
    if part.contains(hidden) {
        return Err(format!("the {what} {part:?} holds a backslash or a hidden character"));
    }
    if part.ends_with(['.', ' ']) || part.starts_with(' ') {
        return Err(format!("the {what} {part:?} starts with a space or ends with a dot or space"));
    }
    Ok(())
}
