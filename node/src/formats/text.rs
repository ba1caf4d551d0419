//! What names, versions and file names may hold, whatever the format.
//!
//! All three are keys in the store, never paths on a disk of this node; what is refused here would
//! trick a person, a terminal, or the disk of a client that saves the file: hidden and direction
//! characters, trailing dots and spaces, names of devices. Text is brought into NFC, so that what
//! looks the same is the same key. What else a format asks of its names is its own.
//!
//! Source: trust.md section 11; formats/generic.md section 3; red-team.md rows 26 and 30.

use unicode_normalization::UnicodeNormalization as _;

/// A rendered file of generic folders, so never an artifact's name.
pub(super) const SUMS: &str = "SHA256SUMS";
const FILE_MAX_BYTES: usize = 255;

/// Normal form of one piece of text without a slash, or why it is not one.
pub(super) fn single(text: &str, what: &str, max_bytes: usize) -> Result<String, String> {
    // Composition can make it longer, by a factor of three at most: bound it before and after.
    let short = text.len() <= max_bytes;
    let text: String = if short { text.nfc().collect() } else { String::new() };
    if text.is_empty() || text.len() > max_bytes {
        return Err(format!("a {what} has 1 to {max_bytes} bytes"));
    }
    if text == "." || text == ".." || text.contains('/') {
        return Err(format!("the {what} {text:?} would be a path"));
    }
    if text.contains(is_hidden) {
        return Err(format!("the {what} {text:?} holds a backslash or a hidden character"));
    }
    if text.ends_with(['.', ' ']) || text.starts_with(' ') {
        return Err(format!("the {what} {text:?} starts with a space or ends with a dot or space"));
    }
    Ok(text)
}

/// Normal form of an artifact's file name, or why it is not one.
pub(super) fn file_name(file: &str) -> Result<String, String> {
    let file = single(file, "file name", FILE_MAX_BYTES)?;
    if file.eq_ignore_ascii_case(SUMS) {
        return Err(format!("{SUMS} is made by the node and cannot be published"));
    }
    if is_device(&file) {
        return Err(format!("{file:?} is the name of a device on some systems"));
    }
    Ok(file)
}

/// Whether some disks take the text, with any ending, for a device.
pub(super) fn is_device(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |stem: &str| {
        let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
        port.is_some_and(|port| matches!(port.as_bytes(), [b'1'..=b'9']))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered(&stem)
}

/// Control, zero-width and direction characters, and the backslash.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}
