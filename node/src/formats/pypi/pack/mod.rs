//! What `griot publish` makes of a path: a wheel, an sdist, or a folder that is built into both.
//!
//! An archive is recognised by its ending and by the metadata inside, which decides name and
//! version. A folder is recognised by what builds it; `build.rs` runs the tool that the person has
//! for it. Nothing is changed in an archive.
//!
//! Source: packaging.python.org, "The Packaging Flow".

use std::path::Path;

use crate::formats::{Packed, PackedBytes};
use crate::registry::Extract;

mod build;
mod folder;
#[cfg(test)]
mod tests;

/// Recognises a wheel, an sdist, or a folder that builds them.
pub(super) fn pack(path: &Path) -> Option<Result<Packed, String>> {
    let extract = super::FORMAT.rules.extract?;
    if path.is_dir() {
        return folder::is_buildable(path).then(|| build::build(path, extract));
    }
    let name = path.file_name()?.to_str()?;
    let wheel = name.to_ascii_lowercase().ends_with(".whl");
    if !wheel && !name.ends_with(".tar.gz") && !name.ends_with(".zip") {
        return None;
    }
    let said = std::fs::File::open(path)
        .map_err(|error| error.to_string())
        .and_then(|mut file| said(&mut file, name, extract));
    match said {
        Ok((project, version)) => Some(Ok(Packed {
            name: project,
            version,
            filename: name.to_owned(),
            tag: None,
            archive: PackedBytes::File(path.to_owned()),
        })),
        // Any tool may write a `.tar.gz` or a `.zip`; a wheel is nobody else's.
        Err(why) => wheel.then_some(Err(why)),
    }
}

/// Name and version as the metadata inside says.
fn said(
    file: &mut std::fs::File,
    name: &str,
    extract: Extract,
) -> Result<(String, String), String> {
    let extracted = extract(file, name)?;
    Ok((extracted.name, extracted.version))
}
