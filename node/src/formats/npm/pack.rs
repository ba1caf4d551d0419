//! A folder with a `package.json` → the `.tgz` that `npm pack` would make, the same bytes each
//! time.
//!
//! Times, owners and modes are fixed, files sorted, nothing of the machine written down: packing
//! the same files twice, anywhere, gives one digest, so publishing them twice is no conflict. No
//! script of the package is run. A `.tgz` that is a package already goes as it is.
//!
//! Source: the documentation of `npm pack`.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value};
use tar::{EntryType, Header};

use super::{manifest, name, packlist, version};
use crate::formats::{Packed, PackedBytes};

/// 1985-10-26T08:15:00Z, as `npm pack` writes it.
const MTIME_SECONDS: u64 = 499_162_500;
/// "Unknown", whatever the system is.
const GZIP_SYSTEM: u8 = 255;

/// Recognises a folder with a `package.json`, or a `.tgz` with one inside.
pub(super) fn pack(path: &Path) -> Option<Result<Packed, String>> {
    if path.is_dir() {
        return path.join("package.json").is_file().then(|| pack_folder(path));
    }
    let name = path.file_name()?.to_str()?;
    if !(name.ends_with(".tgz") || name.ends_with(".tar.gz")) {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let extracted = manifest::extract(&mut file, name).ok()?;
    Some(packed(&extracted.name, &extracted.version, PackedBytes::File(path.to_owned())))
}

fn packed(name: &str, version: &str, archive: PackedBytes) -> Result<Packed, String> {
    let canonical = name::canonical(name)?;
    name::publishable(&canonical)?;
    let filename = name::file_name(&canonical, &version::canonical(version)?);
    let tag = (!version::is_prerelease(version)).then_some("latest");
    Ok(Packed { name: canonical, version: version.to_owned(), filename, tag, archive })
}

fn pack_folder(folder: &Path) -> Result<Packed, String> {
    let text = fs_err::read(folder.join("package.json")).map_err(|error| error.to_string())?;
    let manifest = manifest::parse(&text)?;
    if manifest.get("private") == Some(&Value::Bool(true)) {
        return Err("package.json says that the package is private".to_owned());
    }
    let field = |key: &str| {
        let value = manifest.get(key).and_then(Value::as_str);
        value.ok_or_else(|| format!("package.json has no {key}"))
    };
    let (name, version) = (field("name")?, field("version")?);
    let archive = write(folder, &manifest).map_err(|error| format!("cannot pack: {error}"))?;
    packed(name, version, PackedBytes::Made(archive))
}

fn write(folder: &Path, manifest: &Map<String, Value>) -> Result<std::fs::File, String> {
    let files = packlist::list(folder, manifest)?;
    let bins = packlist::bin_files(manifest);
    let run = |path: &str| bins.iter().any(|bin| bin.trim_start_matches("./") == path);
    let made = tempfile::tempfile().map_err(|error| error.to_string())?;
    let gzip = GzBuilder::new().mtime(0).operating_system(GZIP_SYSTEM);
    let mut archive = tar::Builder::new(gzip.write(made, Compression::best()));
    for path in &files {
        append(&mut archive, folder, path, run(path))
            .map_err(|error| format!("{path}: {error}"))?;
    }
    let finish = || {
        let mut made = archive.into_inner()?.finish()?;
        made.seek(SeekFrom::Start(0))?;
        Ok::<_, std::io::Error>(made)
    };
    finish().map_err(|error| error.to_string())
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    folder: &Path,
    path: &str,
    named_in_bin: bool,
) -> std::io::Result<()> {
    let file = fs_err::File::open(folder.join(path))?;
    let found = file.metadata()?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(found.len());
    header.set_mode(if named_in_bin || is_executable(&found) { 0o755 } else { 0o644 });
    header.set_mtime(MTIME_SECONDS);
    header.set_uid(0);
    header.set_gid(0);
    // A file that grows meanwhile is cut at the size that the header says.
    let bytes = std::io::Read::take(file, found.len());
    archive.append_data(&mut header, format!("package/{path}"), bytes)
}

#[cfg(unix)]
fn is_executable(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_found: &std::fs::Metadata) -> bool {
    false
}
