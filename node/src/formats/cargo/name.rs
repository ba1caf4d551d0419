//! Names of crates, and what follows from them: paths in an index, names of files.
//!
//! Source: formats/cargo.md section 2; doc.rust-lang.org/cargo/reference/registry-index.

/// The longest name.
const NAME_MAX_BYTES: usize = 64;

/// Normal form: in lower case.
pub(super) fn canonical(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let sound = !name.is_empty() && name.len() <= NAME_MAX_BYTES && name.bytes().all(allowed);
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if sound && starts {
        return Ok(name.to_ascii_lowercase());
    }
    let shown: String = name.chars().take(80).collect();
    Err(format!("{shown:?} is not the name of a crate"))
}

/// The folders before a name in an index: `1`, `2`, `3/s`, `se/rd`.
pub(super) fn prefix(name: &str) -> String {
    match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", name.get(..1).unwrap_or_default()),
        _ => match (name.get(..2), name.get(2..4)) {
            (Some(first), Some(second)) => format!("{first}/{second}"),
            _ => String::new(),
        },
    }
}

/// Path of a crate's file in an index, for a normal name.
pub(super) fn index_path(name: &str) -> String {
    format!("{}/{name}", prefix(name))
}

/// The one file that a version may have.
pub(super) fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.crate")
}

/// The version that a file name of the crate says, whatever the case of the name.
pub(super) fn version_in<'f>(name: &str, file: &'f str) -> Option<&'f str> {
    let stem = file.strip_suffix(".crate")?;
    let (before, rest) = stem.split_at_checked(name.len())?;
    let version = rest.strip_prefix('-')?;
    before.eq_ignore_ascii_case(name).then_some(version)
}
