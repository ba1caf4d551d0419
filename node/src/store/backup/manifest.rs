//! `griot-backup.json`: what a backup is, written once all of it is on the disk.
//!
//! It names the file of the records and the small files with size and digest, and the blobs by one
//! digest over their list; the list itself is the table `blob` of the records. A digest over the
//! whole says that the manifest itself is whole. Numbers have fixed widths and the order of bytes
//! does not depend on the machine: a backup restores on another CPU.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crdt::{Digest, RealmId};
use serde::{Deserialize, Serialize};

use super::super::{BlobInfo, Error, blob, tables};
use super::Refusal;

/// Name of the manifest.
pub(in crate::store) const NAME: &str = "griot-backup.json";
/// The layout of a backup's folder and manifest.
const VERSION: u64 = 1;
/// A manifest is never larger.
const BYTES_MAX: u64 = 1 << 20;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the folder.
    pub version: u64,
    /// The program that made it, such as `griot 0.1.0`.
    pub program: String,
    /// Layout of the records.
    pub schema: u64,
    /// Seconds of the node's clock when it was made: a label.
    pub made: u64,
    /// The node's own realm.
    pub realm: Option<RealmId>,
    /// The file of the records.
    pub records: File,
    /// The blobs.
    pub blobs: Blobs,
    /// Small files that go along.
    pub files: Vec<File>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name below the folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of them.
    pub blake3: Digest,
    /// Where it lies below the folder, if not under its name: the backup before has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl File {
    /// Where it lies below the folder.
    #[must_use]
    pub fn place(&self) -> &str {
        self.place.as_deref().unwrap_or(&self.name)
    }
}

/// All blobs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blobs {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// BLAKE3 of digest ‖ size (u64, little-endian) of each, by digest.
    pub list: Digest,
}

/// The manifest with its own digest, as it lies in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    backup: Manifest,
    digest: Digest,
}

/// Only what must be known before the rest is read.
#[derive(Deserialize)]
struct Outline {
    backup: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
    #[serde(default)]
    program: String,
}

/// The sum over a list of blobs, as it is walked.
#[derive(Debug, Default)]
pub(in crate::store) struct Sum {
    count: u64,
    bytes: u64,
    list: Box<blake3::Hasher>,
}

impl Sum {
    pub(in crate::store) fn add(&mut self, info: &BlobInfo) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(info.size);
        self.list.update(info.digest.as_bytes());
        self.list.update(&info.size.to_le_bytes());
    }

    pub(in crate::store) fn finish(&self) -> Blobs {
        let list = Digest::from_bytes(*self.list.finalize().as_bytes());
        Blobs { count: self.count, bytes: self.bytes, list }
    }
}

impl Manifest {
    /// Of a backup that was made just now.
    pub(super) fn new(
        realm: Option<RealmId>,
        records: File,
        blobs: Blobs,
        files: Vec<File>,
    ) -> Self {
        Self {
            version: VERSION,
            program: format!("griot {}", env!("CARGO_PKG_VERSION")),
            schema: tables::SCHEMA_VERSION,
            made: blob::now_seconds(),
            realm,
            records,
            blobs,
            files,
        }
    }

    /// Which backup it is.
    pub(in crate::store) fn digest(&self) -> Result<Digest, Error> {
        Ok(Digest::of(&json(self)?))
    }

    /// The file's bytes.
    pub(super) fn sealed(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = json(&Sealed { backup: self.clone(), digest: self.digest()? })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Names that stay below the folder, and of which a home has a use.
    fn names_are_safe(&self) -> bool {
        let plain = |name: &str| {
            let part = |part: &str| {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
            };
            name.len() <= 200 && name.split('/').count() <= 2 && name.split('/').all(part)
        };
        let in_keys = |name: &str| plain(name) && name.starts_with("keys/");
        let is_key = |file: &File| in_keys(&file.name) && in_keys(file.place());
        plain(&self.records.name)
            && self.records.place.is_none()
            && self.records.name.starts_with("records-")
            && self.files.len() <= 16
            && self.files.iter().all(is_key)
    }
}

/// Reads the manifest of a folder.
///
/// # Errors
/// [`Error::Backup`]: there is none, it is damaged, or a later program made it.
pub(in crate::store) fn read(folder: &Path) -> Result<Manifest, Error> {
    let path = folder.join(NAME);
    let file = match fs_err::File::open(&path) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Err(Refusal::NotWhole { folder: folder.to_owned() }.into());
        }
        Err(why) => return Err(why.into()),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    if let Ok(Outline { backup }) = serde_json::from_slice(&bytes)
        && backup.version > VERSION
    {
        let program =
            if backup.program.is_empty() { "a later griot".into() } else { backup.program };
        return Err(Refusal::Later { folder: folder.to_owned(), program }.into());
    }
    let read: Sealed = serde_json::from_slice(&bytes)
        .map_err(|why| damaged(&path, format!("cannot be read: {why}")))?;
    let Sealed { backup, digest } = read;
    if backup.digest()? != digest || backup.version != VERSION || !backup.names_are_safe() {
        return Err(damaged(&path, "does not have the digest that it names"));
    }
    Ok(backup)
}

/// The refusal of a file of a backup.
pub(in crate::store) fn damaged(file: &Path, why: impl Into<String>) -> Error {
    Refusal::Damaged { file: PathBuf::from(file), why: why.into() }.into()
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(value).map_err(std::io::Error::other)?)
}
