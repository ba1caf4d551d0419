//! The file beside the bytes of an upload session: what it is for, and how far it is durable.
//!
//! The head is written once. How far the bytes are durable stands in two slots that are written in
//! turn, each with its own checksum: a write that a power cut tears leaves the other one. A file
//! that cannot be read is as good as none.
//!
//! Source: docs/reference/disk.md, "Upload sessions".

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::disk::{Disk, DiskFile, Opening};
use super::super::{Error, Hashes, tables};

/// How the file begins.
const MAGIC: &[u8; 8] = b"griotup1";
/// The head and each slot have a page of their own.
const PAGE_BYTES: u64 = 4096;
/// Sequence, bytes, time.
const SLOT_BYTES: usize = 24;
/// The checksum behind the head and each slot.
const SUM_BYTES: usize = 32;

/// What never changes about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// BLAKE3 of the owner's name, hexadecimal.
    pub(super) owner: String,
    /// Whose routes it belongs to: a format's id.
    pub(super) purpose: String,
    /// What its owner calls it.
    pub(super) label: Option<String>,
    /// Which checksums are computed: sha512, sha1, md5.
    pub(super) hashes: (bool, bool, bool),
    /// The most that it may hold, in bytes.
    pub(super) limit: u64,
    /// Its size at the end, if that was said.
    pub(super) size: Option<u64>,
    /// Seconds of this node's clock when it was started.
    pub(super) created: u64,
}

impl Head {
    pub(super) fn hashes(&self) -> Hashes {
        let (sha512, sha1, md5) = self.hashes;
        Hashes { sha512, sha1, md5 }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Counts the writes of the slots.
    pub(super) sequence: u64,
    /// Bytes that are durable.
    pub(super) bytes: u64,
    /// Seconds of this node's clock when they were made so.
    pub(super) used: u64,
}

impl Progress {
    fn to_bytes(self) -> [u8; SLOT_BYTES + SUM_BYTES] {
        let mut slot = [0; SLOT_BYTES + SUM_BYTES];
        let numbers = [self.sequence, self.bytes, self.used];
        for (place, number) in slot.chunks_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = blake3::hash(&slot[..SLOT_BYTES]);
        slot[SLOT_BYTES..].copy_from_slice(sum.as_bytes());
        slot
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
        let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let found = Self { sequence: number(0)?, bytes: number(8)?, used: number(16)? };
        (blake3::hash(body) == *sum).then_some(found)
    }
}

/// Makes the file of a new session, durable but for its name.
pub(super) fn create(disk: &Disk, path: &Path, head: &Head) -> Result<(), Error> {
    let body = tables::encode("upload session", head)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut page = [MAGIC.as_slice(), &length.to_le_bytes(), &body].concat();
    page.extend_from_slice(blake3::hash(&page).as_bytes());
    if page.len() as u64 > PAGE_BYTES {
        return Err(Error::TooLarge { limit: PAGE_BYTES });
    }
    let file = disk.open(path, Opening::New)?;
    file.write_all_at(0, &page)?;
    note(&file, Progress { used: head.created, ..Progress::default() })?;
    Ok(())
}

/// Writes the next slot, durably.
pub(super) fn note(file: &DiskFile, progress: Progress) -> io::Result<()> {
    let slot = PAGE_BYTES * (1 + progress.sequence % 2);
    file.write_all_at(slot, &progress.to_bytes())?;
    file.sync()
}

/// What a file says, if it is sound.
pub(super) fn read(path: &Path) -> Option<(Head, Progress)> {
    let file = fs_err::File::open(path).ok()?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, 3 * PAGE_BYTES), &mut bytes).ok()?;
    let length = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(12)?;
    let (page, sum) = bytes.get(..end.checked_add(SUM_BYTES)?)?.split_last_chunk::<SUM_BYTES>()?;
    if blake3::hash(page) != *sum {
        return None;
    }
    let head = tables::decode("upload session", page.strip_prefix(MAGIC)?.get(4..)?).ok()?;
    let page = PAGE_BYTES as usize;
    let slots = [page, 2 * page]
        .into_iter()
        .filter_map(|at| Progress::from_bytes(bytes.get(at..at + SLOT_BYTES + SUM_BYTES)?));
    let newest = slots.max_by_key(|progress| progress.sequence)?;
    Some((head, newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            owner: "o".into(),
            purpose: "generic".into(),
            label: Some("l".into()),
            hashes: (true, false, true),
            limit: 7,
            size: None,
            created: 5,
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::default(), folder.path().join("x.mark"));
        create(&disk, &path, &head()).unwrap();
        let at = |sequence| Progress { sequence, bytes: 10 * sequence, used: 6 };
        let file = disk.open(&path, Opening::Kept).unwrap();
        note(&file, at(1)).unwrap();
        note(&file, at(2)).unwrap();
        assert_eq!(read(&path), Some((head(), at(2))));
        file.write_all_at(PAGE_BYTES + 3, b"torn").unwrap();
        assert_eq!(read(&path), Some((head(), at(1))));
        file.write_all_at(2 * PAGE_BYTES, b"torn").unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn a_damaged_head_is_no_head() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::default(), folder.path().join("x.mark"));
        create(&disk, &path, &head()).unwrap();
        let sound = fs_err::read(&path).unwrap();
        for at in [0, 8, 9, 11, 20] {
            let mut bytes = sound.clone();
            bytes[at] ^= 0xff;
            fs_err::write(&path, bytes).unwrap();
            assert_eq!(read(&path), None, "byte {at}");
        }
        fs_err::write(&path, &sound[..40]).unwrap();
        assert_eq!(read(&path), None);
    }
}
