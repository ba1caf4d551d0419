//! Documents with their packed forms in a folder of the home, so that a restart makes none again.
//!
//! ```text
//! rendered/ab/<name>   one document: 8 bytes of magic, BLAKE3 of all that follows (32),
//!                      length of the head (4, little-endian), the head in JSON, the forms
//! rendered/new-<n>     being written; removed at the next start
//! ```
//!
//! The name is a hash of the key that the document is kept under; in the head are that key, the
//! seed, the label and the lengths of the forms. The bytes as they are lie here only where the
//! store does not have what they are made of. A document is answered from here only if key and seed
//! are those that were looked up now and the hash over all of it holds: whatever a power cut, a
//! full disk or a person left is removed and made anew. So nothing is synced, nothing here is in a
//! backup, and the folder may be deleted at any time. For the same reason it does not go through
//! `store::disk`, which is there for what must not be lost: no crash can make this wrong.
//!
//! All files together stay below a bound, each counted in whole blocks; above it the least recently
//! used go, by the time of the file, which a use renews. Where the device runs out of room all go.
//!
//! Survives a crash: whatever is whole.

use std::fs::FileTimes;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Seed;
use super::document::Label;
use super::pack::Packed;

/// Disk for all stored documents, in bytes, unless the person says otherwise.
pub const DISK_BYTES: u64 = 256 << 20;
/// Smaller documents are packed in half a millisecond, which is what opening and checking a file
/// costs, too.
pub(super) const STORED_MIN_BYTES: u64 = 16 * 1024;

/// Its last digit is the layout's number.
const MAGIC: &[u8; 8] = b"griotrd1";
const HASH_BYTES: usize = 32;
const PREFIX_BYTES: usize = MAGIC.len() + HASH_BYTES + 4;
/// Key, label and numbers of a document.
const HEAD_MAX_BYTES: u64 = 64 * 1024;
/// What a file takes is counted in these.
const BLOCK_BYTES: u64 = 4096;
/// What is being written is called so.
const NEW: &str = "new-";

/// Says whether the device has room for so many bytes more.
pub type HasRoom = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// A document as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) label: Label,
    /// Bytes of it as it is.
    pub(super) size: u64,
    /// Those bytes, where the store does not have them.
    pub(super) plain: Option<Bytes>,
    pub(super) packed: Packed,
}

/// What is before the forms.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: String,
    seed: String,
    kind: String,
    etag: String,
    vary: String,
    hidden: u64,
    size: u64,
    /// Lengths of the forms that are there, in this order.
    plain: Option<u64>,
    gzip: Option<u64>,
    zstd: Option<u64>,
}

/// The folder.
pub struct Folder {
    path: PathBuf,
    max: u64,
    /// No form is larger.
    form_max: u64,
    has_room: HasRoom,
    /// What all files take; absent until they were counted.
    taken: Mutex<Option<u64>>,
    numbers: AtomicU64,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A file of it.
struct Entry {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

impl Folder {
    /// One that may take `max` bytes. Touches nothing yet.
    #[must_use]
    pub fn new(path: &Path, max: u64, has_room: HasRoom) -> Self {
        let (taken, numbers) = Default::default();
        Self { path: path.to_owned(), max, form_max: max, has_room, taken, numbers }
    }

    /// No form is larger than this.
    pub(super) fn of_forms_up_to(self, bytes: u64) -> Self {
        Self { form_max: bytes, ..self }
    }

    /// The document under a key, if it was made from that seed. Blocks. What is broken is removed.
    pub(super) fn get(&self, key: &str, seed: Seed) -> Option<Stored> {
        let path = self.place(key);
        let file = std::fs::File::open(&path).ok()?;
        let found = self.read(&file).and_then(|bytes| parse(&bytes));
        let Some((head, stored)) = found else {
            tracing::debug!(path = %path.display(), "a stored document is broken: made anew");
            drop(self.remove(&path));
            return None;
        };
        if head.key != key || head.seed != seed.hex() {
            return None;
        }
        // Only its turn to go depends on it.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(stored)
    }

    /// Keeps a document in place of what is there under its key. Blocks.
    ///
    /// # Errors
    /// What the system says; nothing is kept then, and nothing is lost.
    pub(super) fn put(&self, key: &str, seed: Seed, stored: &Stored) -> io::Result<()> {
        let (prefix, forms) = (written(key, seed, stored)?, forms(stored));
        let len = prefix.len() as u64 + forms.iter().map(|form| form.len() as u64).sum::<u64>();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !(self.has_room)(len) {
            *taken = Some(self.sweep(0)?);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let before = match *taken {
            Some(before) => before,
            None => self.sweep(self.max)?,
        };
        *taken = Some(before);
        let path = self.place(key);
        let old = fs_err::metadata(&path).map_or(0, |it| blocks(it.len()));
        if blocks(len) > self.max {
            self.remove_of(&path, old, taken.as_mut())?;
            return Ok(());
        }
        if before - old.min(before) + blocks(len) > self.max {
            // An eighth at once, so that not every document that comes reads the whole folder.
            let goal = (self.max - self.max / 8).min(self.max - blocks(len));
            *taken = Some(self.sweep(goal)?);
        }
        let old = fs_err::metadata(&path).map_or(0, |it| blocks(it.len()));
        self.write(&path, &prefix, &forms)?;
        *taken = taken.map(|taken| taken - old.min(taken) + blocks(len));
        Ok(())
    }

    /// What all files take, in bytes. Blocks.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u64 {
        self.entries().map_or(0, |all| all.iter().map(|entry| entry.size).sum())
    }

    fn place(&self, key: &str) -> PathBuf {
        let name = &blake3::hash(key.as_bytes()).to_hex()[..32];
        self.path.join(&name[..2]).join(name)
    }

    fn read(&self, file: &std::fs::File) -> Option<Vec<u8>> {
        let len = file.metadata().ok()?.len();
        let most = HEAD_MAX_BYTES + PREFIX_BYTES as u64 + self.form_max.saturating_mul(3);
        if len > most {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).ok()?);
        file.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn write(&self, path: &Path, prefix: &[u8], forms: &[&Bytes]) -> io::Result<()> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let new = self.path.join(format!("{NEW}{number}"));
        let written = (|| {
            folder(path.parent().unwrap_or(&self.path))?;
            let mut file = private(&new)?;
            file.write_all(prefix)?;
            forms.iter().try_for_each(|form| file.write_all(form))?;
            drop(file);
            fs_err::rename(&new, path)
        })();
        if written.is_err() {
            // The next start removes it, too.
            let _ = fs_err::remove_file(&new);
        }
        written
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let size = fs_err::metadata(path).map_or(0, |it| blocks(it.len()));
        self.remove_of(path, size, taken.as_mut())
    }

    fn remove_of(&self, path: &Path, size: u64, taken: Option<&mut u64>) -> io::Result<()> {
        match fs_err::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        if let Some(taken) = taken {
            *taken -= size.min(*taken);
        }
        Ok(())
    }

    /// Lets the least recently used go until the rest takes `goal` bytes; says what it takes. What
    /// an earlier run was writing goes, too: of this one nothing is, whoever writes waits.
    fn sweep(&self, goal: u64) -> io::Result<u64> {
        let mut all = self.entries()?;
        let (mut rest, now) = (all.iter().map(|entry| entry.size).sum::<u64>(), SystemTime::now());
        // A time that lies ahead says nothing.
        all.sort_by_key(|entry| if entry.used > now { SystemTime::UNIX_EPOCH } else { entry.used });
        for entry in all {
            let unfinished = entry.path.parent() == Some(&self.path);
            if rest > goal || unfinished {
                self.remove_of(&entry.path, entry.size, Some(&mut rest))?;
            }
        }
        Ok(rest)
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for place in names(&self.path)? {
            if fs_err::metadata(&place).is_ok_and(|it| it.is_dir()) {
                names(&place)?.iter().for_each(|path| found.extend(entry(path)));
            } else {
                found.extend(entry(&place));
            }
        }
        Ok(found)
    }
}

fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// What is in a folder; nothing if it is not there.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Ok(found) => found.map(|it| Ok(it?.path())).collect(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

fn entry(path: &Path) -> Option<Entry> {
    let it = fs_err::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let used = it.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Entry { path: path.to_owned(), size: blocks(it.len()), used })
}

/// Documents of private realms lie here: nobody else looks in.
fn folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn forms(stored: &Stored) -> Vec<&Bytes> {
    let Packed { gzip, zstd } = &stored.packed;
    [&stored.plain, gzip, zstd].into_iter().flatten().collect()
}

/// All that comes before the forms.
fn written(key: &str, seed: Seed, stored: &Stored) -> io::Result<Vec<u8>> {
    let Stored { label, size, plain, packed } = stored;
    let len = |form: &Option<Bytes>| form.as_ref().map(|form| form.len() as u64);
    let head = Head {
        key: key.to_owned(),
        seed: seed.hex(),
        kind: label.kind.to_string(),
        etag: label.etag.clone(),
        vary: label.vary.to_string(),
        hidden: label.hidden as u64,
        size: *size,
        plain: len(plain),
        gzip: len(&packed.gzip),
        zstd: len(&packed.zstd),
    };
    let head = serde_json::to_vec(&head).map_err(io::Error::other)?;
    let many = u32::try_from(head.len()).map_err(io::Error::other)?;
    if u64::from(many) > HEAD_MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&many.to_le_bytes()).update(&head);
    for form in forms(stored) {
        hasher.update(form);
    }
    Ok([MAGIC, hasher.finalize().as_bytes().as_slice(), &many.to_le_bytes(), &head].concat())
}

/// A whole file; `None` for whatever is not exactly what was written.
fn parse(bytes: &[u8]) -> Option<(Head, Stored)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (hash, rest) = rest.split_at_checked(HASH_BYTES)?;
    if blake3::hash(rest).as_bytes() != hash {
        return None;
    }
    let (many, rest) = rest.split_first_chunk::<4>()?;
    let many = usize::try_from(u32::from_le_bytes(*many)).ok()?;
    let (head, mut rest) = rest.split_at_checked(many)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let mut form = |len: Option<u64>| -> Option<Option<Bytes>> {
        let Some(len) = len else { return Some(None) };
        let (form, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        // Each has memory of its own: they may be let go of apart.
        Some(Some(Bytes::copy_from_slice(form)))
    };
    let (plain, gzip, zstd) = (form(head.plain)?, form(head.gzip)?, form(head.zstd)?);
    let label = Label {
        kind: head.kind.clone().into(),
        etag: head.etag.clone(),
        vary: head.vary.clone().into(),
        hidden: usize::try_from(head.hidden).ok()?,
    };
    let stored = Stored { label, size: head.size, plain, packed: Packed { gzip, zstd } };
    rest.is_empty().then_some((head, stored))
}
