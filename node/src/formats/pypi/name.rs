//! What a project may be called: PEP 503's normal form.
//!
//! `Acme.Demo`, `acme_demo` and `acme--demo` are one project; its pages, files and slots lie under
//! the normal name alone, so no two names are ever told apart that clients take for one.
//!
//! Source: formats/pypi.md section 3; packaging.python.org "Names and normalization".

use crate::formats::text;

const NAME_MAX_BYTES: usize = 128;

/// Lower case, runs of `-`, `_` and `.` as one `-`; or why it is no name.
pub(super) fn canonical(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(format!("a Python name has 1 to {NAME_MAX_BYTES} bytes"));
    }
    let bad = || {
        let rule = "letters, digits, - _ . alone, a letter or digit at both ends";
        format!("{name:?} is not a Python name: {rule}")
    };
    let ends = [name.bytes().next(), name.bytes().next_back()];
    if !ends.iter().flatten().all(u8::is_ascii_alphanumeric) {
        return Err(bad());
    }
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c if c.is_ascii_alphanumeric() => normal.push(c.to_ascii_lowercase()),
            _ => return Err(bad()),
        }
    }
    Ok(normal)
}

/// Why a project of this normal name may not be published, if so.
pub(super) fn publishable(name: &str) -> Result<(), String> {
    if text::is_device(name) {
        return Err(format!("{name:?} is the name of a device on some systems"));
    }
    Ok(())
}
