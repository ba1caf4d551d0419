//! Archives, read as a stream with bounds and never unpacked to a disk.
//!
//! [`walk`] goes through a `.tgz` once and shows every file to its caller. What two readers could
//! understand differently, or what would leave the folder that it is unpacked into, is refused:
//! that is what a publish and a check on arrival rest on. Headers are read raw, so that the long
//! names and PAX records of an archive are bounded before they are held, and a PAX size that
//! differs from the header's is seen.
//!
//! Archives inside archives are bytes like any other. Nothing here knows any format's manifest.
//!
//! Source: trust.md section 13; RUSTSEC-2025-0110, -0111, 2026-0068.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::GzDecoder;
use tar::EntryType;
use unicode_normalization::UnicodeNormalization as _;

/// The most entries of an archive.
pub const ENTRIES_MAX: usize = 200_000;
/// The most bytes that it unpacks to.
pub const UNPACKED_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The most bytes that it unpacks to, as a multiple of its own size.
pub const RATIO_MAX: u64 = 200;
/// What may be unpacked whatever the ratio: a small archive of headers alone exceeds it.
pub const RATIO_FLOOR_BYTES: u64 = 16 * 1024 * 1024;
/// The largest file in it.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// The longest path in it, in bytes.
pub const PATH_MAX_BYTES: usize = 1024;
/// The deepest path in it.
pub const DEPTH_MAX: usize = 64;
/// The largest long name or PAX record.
const EXTENSION_MAX_BYTES: u64 = 64 * 1024;
/// The most paths that are remembered, folders too.
const PATHS_MAX: usize = 1_000_000;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a whole gzip stream of a tar archive.
    #[error("not a readable .tgz archive: {0}")]
    Unreadable(#[from] io::Error),
    /// A bound was reached.
    #[error("the archive has more than {limit} {what}")]
    OverLimit {
        /// What was counted.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A path that no archive should hold.
    #[error("the archive holds the path {path:?}, which {why}")]
    Path {
        /// As it is written, cut.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The bytes say two things at once.
    #[error("the archive is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// The caller did not want to go on.
    #[error("{0}")]
    Refused(String),
}

/// One file, as it is shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, parts joined by `/`, without `.` parts.
    pub path: String,
    /// Its bytes.
    pub size: u64,
}

/// Goes through a gzip-compressed tar archive and shows every regular file, in its order.
///
/// # Errors
/// The first thing that is wrong; what `visit` refuses is passed on.
pub fn walk(
    file: &mut std::fs::File,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let packed = file.metadata()?.len();
    let limit = UNPACKED_MAX_BYTES.min((packed * RATIO_MAX).max(RATIO_FLOOR_BYTES));
    let unpacked = Counted { inner: GzDecoder::new(BufReader::new(file)), left: limit };
    let mut archive = tar::Archive::new(unpacked);
    let mut names = Names::default();
    let mut pending = Extension::default();
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        if count >= ENTRIES_MAX {
            return Err(Error::OverLimit { what: "entries", limit: ENTRIES_MAX as u64 });
        }
        let mut entry = entry.map_err(|error| over(error, limit))?;
        if pending.take_from(&mut entry)? {
            continue;
        }
        let extension = std::mem::take(&mut pending);
        if let Some(found) = check(&entry, extension, &mut names)? {
            visit(&found, &mut entry).map_err(|error| match error {
                Error::Unreadable(error) => over(error, limit),
                other => other,
            })?;
        }
    }
    if pending != Extension::default() {
        return Err(Error::Ambiguous("it ends with the name of a file that does not come"));
    }
    nothing_follows(archive.into_inner(), limit)
}

/// After the archive's end there are zeros, then the end of the file.
fn nothing_follows(
    mut rest: Counted<GzDecoder<BufReader<&mut std::fs::File>>>,
    limit: u64,
) -> Result<(), Error> {
    let mut block = [0_u8; 8192];
    loop {
        match rest.read(&mut block).map_err(|error| over(error, limit))? {
            0 => break,
            count if block[..count].iter().any(|byte| *byte != 0) => {
                return Err(Error::Ambiguous("bytes follow the end of the archive"));
            }
            _ => {}
        }
    }
    if rest.inner.into_inner().fill_buf()?.is_empty() {
        return Ok(());
    }
    Err(Error::Ambiguous("bytes follow the end of the compressed stream"))
}

/// Looks at one entry; `Some` for a regular file.
fn check<R: Read>(
    entry: &tar::Entry<'_, R>,
    extension: Extension,
    names: &mut Names,
) -> Result<Option<Entry>, Error> {
    let header = entry.header();
    let raw = extension.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let parts = parts(&raw)?;
    let bad = |why| Error::Path { path: shown(&raw), why };
    let size = header.entry_size()?;
    if extension.size.is_some_and(|pax| pax != size) {
        return Err(Error::Ambiguous("a PAX size differs from the header's"));
    }
    if header.mode()? & 0o6000 != 0 {
        return Err(bad("would run as another user"));
    }
    let kind = header.entry_type();
    match kind {
        EntryType::Regular | EntryType::Continuous => {
            if size > FILE_MAX_BYTES {
                return Err(Error::OverLimit { what: "bytes in one file", limit: FILE_MAX_BYTES });
            }
            if raw.ends_with(b"/") || parts.is_empty() {
                return Err(bad("names a folder but is a file"));
            }
            names.add(&parts, Kind::File).map_err(bad)?;
            Ok(Some(Entry { path: parts.join("/"), size }))
        }
        EntryType::Directory | EntryType::Link | EntryType::Symlink if size != 0 => {
            Err(bad("is a folder or a link with bytes of its own"))
        }
        EntryType::Directory => {
            names.add(&parts, Kind::Folder).map_err(bad)?;
            Ok(None)
        }
        EntryType::Link | EntryType::Symlink => {
            let target = extension.link.or_else(|| entry.link_name_bytes().map(Into::into));
            let from = if kind == EntryType::Symlink { parts.len().saturating_sub(1) } else { 0 };
            if !stays_inside(from, &target.unwrap_or_default()) {
                return Err(bad("links to something outside of the archive"));
            }
            names.add(&parts, Kind::Link).map_err(bad)?;
            Ok(None)
        }
        _ => Err(bad("is neither a file, a folder nor a link")),
    }
}

/// The parts of a path that stays below the folder it is unpacked into.
///
/// # Errors
/// For a path that leaves it, or that two readers could understand differently.
pub(super) fn parts(raw: &[u8]) -> Result<Vec<&str>, Error> {
    let bad = |why| Error::Path { path: shown(raw), why };
    if raw.len() > PATH_MAX_BYTES {
        return Err(bad("is too long"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| bad("is not UTF-8"))?;
    if text.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(bad("holds a backslash or a control character"));
    }
    if text.starts_with('/') {
        return Err(bad("is absolute"));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let drive = |part: &&str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
    };
    if parts.contains(&"..") {
        return Err(bad("climbs out with `..`"));
    }
    if parts.iter().any(drive) {
        return Err(bad("names a drive"));
    }
    if parts.len() > DEPTH_MAX {
        return Err(bad("is too deep"));
    }
    Ok(parts)
}

/// Whether a link's target, followed from `depth` folders below the root, stays below the root.
fn stays_inside(depth: usize, target: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(target) else { return false };
    let odd = |c: char| c == '\\' || c == ':' || c.is_control();
    if text.is_empty() || text.starts_with('/') || text.contains(odd) {
        return false;
    }
    let mut depth = Some(depth);
    for part in text.split('/') {
        depth = match part {
            "" | "." => depth,
            ".." => depth.and_then(|depth| depth.checked_sub(1)),
            _ => depth.map(|depth| depth + 1),
        };
    }
    depth.is_some()
}

/// A path for a message: cut, escapes shown.
fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(120)]).into_owned()
}

/// What lies under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder, named or implied.
    Folder,
    /// Bytes.
    File,
    /// A symbolic or hard link.
    Link,
}

/// Every path so far, folded as disks fold names, by hash: bounded whatever their length.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: HashMap<[u8; 16], Kind>,
}

impl Names {
    /// Remembers a path and the folders above it; says why it cannot stand beside the others.
    pub(super) fn add(&mut self, parts: &[&str], kind: Kind) -> Result<(), &'static str> {
        let mut hasher = blake3::Hasher::new();
        for (index, part) in parts.iter().enumerate() {
            let folded = part.nfc().collect::<String>().to_lowercase();
            hasher.update(folded.as_bytes());
            hasher.update(b"/");
            let mut key = [0_u8; 16];
            key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
            let kind = if index + 1 == parts.len() { kind } else { Kind::Folder };
            match self.seen.insert(key, kind) {
                None | Some(Kind::Folder) if kind == Kind::Folder => {}
                None => {}
                Some(Kind::Link) => return Err("goes through a link"),
                Some(_) => return Err("is there twice, if only case or accents differ"),
            }
        }
        if self.seen.len() > PATHS_MAX { Err("is one of too many") } else { Ok(()) }
    }
}

/// What the headers before an entry say about it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    /// Reads a long name or a PAX record; false for an entry of its own.
    fn take_from<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<bool, Error> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => set(&mut self.path, trimmed(extension_bytes(entry)?))?,
            EntryType::GNULongLink => set(&mut self.link, trimmed(extension_bytes(entry)?))?,
            EntryType::XHeader => self.pax(&extension_bytes(entry)?)?,
            // A comment for all entries, as git writes it; it may not rename or resize them.
            EntryType::XGlobalHeader => {
                let mut global = Self::default();
                global.pax(&extension_bytes(entry)?)?;
                if global != Self::default() {
                    return Err(Error::Ambiguous("a global header renames or resizes files"));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pax(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for record in tar::PaxExtensions::new(bytes) {
            let record = record?;
            match record.key_bytes() {
                b"path" => set(&mut self.path, record.value_bytes().to_vec())?,
                b"linkpath" => set(&mut self.link, record.value_bytes().to_vec())?,
                b"size" => {
                    let size = record.value().ok().and_then(|text| text.parse().ok());
                    set(&mut self.size, size.ok_or(Error::Ambiguous("a PAX size is no number"))?)?;
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(Error::Ambiguous("it holds a sparse file"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Ambiguous("two headers name or size one file")),
    }
}

fn extension_bytes<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, Error> {
    let size = entry.header().entry_size()?;
    if size > EXTENSION_MAX_BYTES {
        let what = "bytes in the header of one file";
        return Err(Error::OverLimit { what, limit: EXTENSION_MAX_BYTES });
    }
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// GNU writes long names with a NUL at their end.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// A reader that ends with an error when more comes out than may.
struct Counted<R> {
    inner: R,
    left: u64,
}

/// The kind of error that marks the bound; nothing below uses it.
const BOUND: io::ErrorKind = io::ErrorKind::FileTooLarge;

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.left = self.left.checked_sub(count as u64).ok_or(BOUND)?;
        Ok(count)
    }
}

fn over(error: io::Error, limit: u64) -> Error {
    if error.kind() == BOUND {
        return Error::OverLimit { what: "bytes unpacked", limit };
    }
    Error::Unreadable(error)
}
