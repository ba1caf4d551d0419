//! A folder with a `Cargo.toml` → the `.crate` that cargo makes of it; a `.crate` goes as it is.
//!
//! cargo alone knows how a manifest is normalised and which files belong to a crate, so it is asked
//! to pack, into a folder of its own. It is asked first to stay offline: what it needs to know of
//! dependencies is mostly there already. Nothing is built, and what git holds must be committed, as
//! cargo wants it.
//!
//! Source: the documentation of `cargo package`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{manifest, meta, name, version};
use crate::formats::{Packed, PackedBytes};

/// Recognises a folder with a `Cargo.toml`, or a `.crate`.
pub(super) fn pack(path: &Path) -> Option<Result<Packed, String>> {
    if path.is_dir() {
        return path.join("Cargo.toml").is_file().then(|| pack_folder(path));
    }
    let is_crate = path.extension().is_some_and(|ending| ending == "crate");
    is_crate.then(|| packed(PackedBytes::File(path.to_owned()), fs_err::File::open(path)))
}

/// Reads what the archive says of itself.
fn packed(archive: PackedBytes, opened: std::io::Result<fs_err::File>) -> Result<Packed, String> {
    let mut file = opened.map_err(|error| error.to_string())?.into_parts().0;
    let extracted = manifest::extract(&mut file, "")?;
    meta::admits(&extracted.meta)?;
    let canonical = name::canonical(&extracted.name)?;
    name::publishable(&canonical)?;
    let filename = name::file_name(&canonical, &version::canonical(&extracted.version)?);
    Ok(Packed { name: extracted.name, version: extracted.version, filename, tag: None, archive })
}

fn pack_folder(folder: &Path) -> Result<Packed, String> {
    let made = tempfile::tempdir().map_err(|error| error.to_string())?;
    if let Err(offline) = cargo_package(folder, made.path(), true) {
        // Only what cargo says with the network counts, but for a machine without one.
        cargo_package(folder, made.path(), false)
            .map_err(|online| if online.is_empty() { offline } else { online })?;
    }
    let archive = the_crate(&made.path().join("package"))?;
    let copy = || {
        // The folder vanishes; a file without a name does when it is closed.
        let mut copy = tempfile::tempfile()?;
        std::io::copy(&mut fs_err::File::open(&archive)?, &mut copy)?;
        Ok::<_, std::io::Error>(copy)
    };
    let copy = copy().map_err(|error| error.to_string())?;
    packed(PackedBytes::Made(copy), fs_err::File::open(&archive))
}

/// Lets cargo pack; what it says if it will not.
fn cargo_package(folder: &Path, target: &Path, offline: bool) -> Result<(), String> {
    let mut command = Command::new("cargo");
    command.args(["package", "--no-verify", "--quiet", "--target-dir"]).arg(target);
    command.args(offline.then_some("--offline")).current_dir(folder);
    let output = command.output().map_err(|error| {
        format!("cargo packs it, and cannot be started ({error}); or publish the .crate itself")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("cargo package failed: {}", said.trim().trim_start_matches("error: ")))
}

/// The one crate that cargo made.
fn the_crate(folder: &Path) -> Result<PathBuf, String> {
    let listed = fs_err::read_dir(folder).map_err(|error| error.to_string())?;
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let mut crates: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "crate")).collect();
    match (crates.pop(), crates.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err("cargo package made no crate".to_owned()),
        (Some(_), false) => Err("the folder holds several crates: name the folder of one".into()),
    }
}
