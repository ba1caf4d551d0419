//! The metadata of a zip archive: a wheel, or an old sdist.
//!
//! The library reads a whole directory of files into memory and looks far for one that is hidden;
//! so the record at the end of the file is looked at first: a directory that is small, lies right
//! before it, and holds what the record says. Then every local header is compared with the
//! directory, since some readers trust the one and some the other.
//!
//! Source: APPNOTE 6.3.10 sections 4.3 and 4.4; trust.md section 13.

use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::dist::{self, Kind as DistKind};
use super::metadata::bounded;
use super::name;
use crate::formats::archive::{
    Error, FILE_MAX_BYTES, Kind, Names, RATIO_FLOOR_BYTES, RATIO_MAX, UNPACKED_MAX_BYTES, parts,
};

/// Bytes of the record at the end, without a comment.
const END_BYTES: u64 = 22;
/// The largest directory: some 65,000 files with paths of 200 bytes.
const DIRECTORY_MAX_BYTES: u64 = 16 * 1024 * 1024;

type Archive<'f> = ZipArchive<BufReader<&'f mut std::fs::File>>;

/// `NAME-VERSION.dist-info/METADATA` of a wheel.
pub(super) fn wheel(file: &mut std::fs::File, filename: &str) -> Result<Vec<u8>, Error> {
    metadata(file, &|folder, path| path == "METADATA" && is_of(folder, filename))
}

/// `FOLDER/PKG-INFO` of an sdist.
pub(super) fn sdist(file: &mut std::fs::File) -> Result<Vec<u8>, Error> {
    metadata(file, &|_, path| path == "PKG-INFO")
}

/// Whether the folder with the metadata is named like the wheel.
fn is_of(folder: &str, filename: &str) -> bool {
    let project = filename.split('-').next().and_then(|text| name::canonical(text).ok());
    let (Some(project), Some(stem)) = (project, folder.strip_suffix(".dist-info")) else {
        return false;
    };
    // As an sdist's name is made: the project, a dash, the version.
    let (ours, theirs) = (format!("{stem}.zip"), dist::parse(&project, filename));
    let ours = dist::parse(&project, &ours).filter(|found| found.kind == DistKind::Sdist);
    matches!((ours, theirs), (Some(ours), Some(theirs)) if ours.version == theirs.version)
}

/// The one file that `is` picks by its first folder and the path below it.
fn metadata(file: &mut std::fs::File, is: &dyn Fn(&str, &str) -> bool) -> Result<Vec<u8>, Error> {
    let packed = check_end(file)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
    let found = check_entries(&mut archive, packed, is)?;
    let Some(index) = found else {
        let why = "the archive holds no metadata where its name says";
        return Err(Error::Refused(why.to_owned()));
    };
    archive.validate_header_consistency().map_err(unreadable)?;
    let mut entry = archive.by_index(index).map_err(unreadable)?;
    let size = entry.size();
    bounded(size, &mut entry)
}

/// Looks at the record at the end of the file, before anything is read by its word; gives the
/// file's size.
fn check_end(file: &mut std::fs::File) -> Result<u64, Error> {
    let size = file.seek(SeekFrom::End(0))?;
    let no_end = Error::Refused("not a zip archive: it does not end like one".to_owned());
    let Some(at) = size.checked_sub(END_BYTES) else { return Err(no_end) };
    file.seek(SeekFrom::Start(at))?;
    let mut end = [0; END_BYTES as usize];
    file.read_exact(&mut end)?;
    file.rewind()?;
    let short = |at: usize| u16::from_le_bytes([end[at], end[at + 1]]);
    let long =
        |at: usize| u64::from(u32::from_le_bytes([end[at], end[at + 1], end[at + 2], end[at + 3]]));
    let (disks, files, comment) = ((short(4), short(6)), (short(8), short(10)), short(20));
    if !end.starts_with(b"PK\x05\x06") || comment != 0 {
        return Err(no_end);
    }
    let (directory, start) = (long(12), long(16));
    if disks != (0, 0) || files.0 != files.1 || start + directory != at {
        return Err(Error::Ambiguous("its directory is not where its end says"));
    }
    if files.0 == u16::MAX || directory > DIRECTORY_MAX_BYTES {
        return Err(Error::OverLimit { what: "files", limit: u64::from(u16::MAX) - 1 });
    }
    Ok(size)
}

/// Looks at every path and size; finds the metadata.
fn check_entries(
    archive: &mut Archive<'_>,
    packed: u64,
    is: &dyn Fn(&str, &str) -> bool,
) -> Result<Option<usize>, Error> {
    let limit = UNPACKED_MAX_BYTES.min((packed * RATIO_MAX).max(RATIO_FLOOR_BYTES));
    let (mut names, mut unpacked, mut found, mut described) = (Names::default(), 0, None, None);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(unreadable)?;
        if entry.encrypted() {
            return Err(Error::Ambiguous("some of its files are encrypted"));
        }
        if entry.size() > FILE_MAX_BYTES {
            return Err(Error::OverLimit { what: "bytes in one file", limit: FILE_MAX_BYTES });
        }
        unpacked += entry.size();
        if unpacked > limit {
            return Err(Error::OverLimit { what: "bytes unpacked", limit });
        }
        let path = entry.name_raw();
        let parts = parts(path)?;
        let kind = kind(&entry);
        let text = || String::from_utf8_lossy(&path[..path.len().min(120)]).into_owned();
        names.add(&parts, kind).map_err(|why| Error::Path { path: text(), why })?;
        let [folder, rest @ ..] = parts.as_slice() else { continue };
        if folder.ends_with(".dist-info")
            && described.get_or_insert_with(|| (*folder).to_owned()) != folder
        {
            return Err(Error::Ambiguous("it holds two folders with metadata"));
        }
        if kind == Kind::File && is(folder, &rest.join("/")) && found.replace(index).is_some() {
            return Err(Error::Ambiguous("it holds two metadata"));
        }
    }
    Ok(found)
}

fn kind<R: std::io::Read>(entry: &zip::read::ZipFile<'_, R>) -> Kind {
    match (entry.is_dir(), entry.is_symlink()) {
        (true, _) => Kind::Folder,
        (_, true) => Kind::Link,
        _ => Kind::File,
    }
}

fn unreadable(error: ZipError) -> Error {
    Error::Refused(format!("not a zip archive that all would read alike: {error}"))
}
