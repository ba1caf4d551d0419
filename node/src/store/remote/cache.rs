//! Which copies of the bucket's blobs the home holds, and which of them go first.
//!
//! Order of use, in memory: a start finds the files by their names and takes the times at which
//! they were written. Holds no file and removes none: see `Remote::evict`. The newest copy always
//! stays, or a blob larger than the cache could not be read at all.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use crdt::Digest;

use super::super::{Error, lock};

/// Copies, in the order of their use.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Size, and when it was used last.
    copies: HashMap<Digest, (u64, u64)>,
    order: BTreeMap<u64, Digest>,
    bytes: u64,
    clock: u64,
}

impl Cache {
    /// Takes what lies in `blobs/`, the oldest first.
    pub(super) fn find(&self, blobs: &Path) -> Result<(), Error> {
        let mut found = Vec::new();
        for shard in fs_err::read_dir(blobs)? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for file in fs_err::read_dir(shard.path())? {
                let file = file?;
                let about = file.metadata()?;
                if let Some(digest) = file.file_name().to_str().and_then(|name| name.parse().ok()) {
                    let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push((written, digest, about.len()));
                }
            }
        }
        found.sort_by_key(|(written, ..)| *written);
        for (_, digest, size) in found {
            self.used(&digest, size);
        }
        Ok(())
    }

    /// It is the newest now.
    pub(super) fn used(&self, digest: &Digest, size: u64) {
        let mut held = lock(&self.held);
        held.forget(digest);
        held.clock += 1;
        let now = held.clock;
        held.copies.insert(*digest, (size, now));
        held.order.insert(now, *digest);
        held.bytes += size;
    }

    /// It is held no more.
    pub(super) fn gone(&self, digest: &Digest) {
        lock(&self.held).forget(digest);
    }

    /// Bytes of all copies.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.held).bytes
    }

    /// What must go so that no more bytes than `limit` are held: the longest unused first, never
    /// the newest, and never what `stays`.
    pub(super) fn excess(&self, limit: u64, stays: impl Fn(&Digest) -> bool) -> Vec<Digest> {
        let held = lock(&self.held);
        let mut bytes = held.bytes;
        let mut going = Vec::new();
        for (used, digest) in &held.order {
            if bytes <= limit || *used == held.clock {
                break;
            }
            if !stays(digest) {
                bytes -= held.copies.get(digest).map_or(0, |(size, _)| *size);
                going.push(*digest);
            }
        }
        going
    }
}

impl Held {
    fn forget(&mut self, digest: &Digest) {
        if let Some((size, used)) = self.copies.remove(digest) {
            self.order.remove(&used);
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_the_newest_never() {
        let digest = |byte: u8| Digest::of(&[byte]);
        let cache = Cache::default();
        (0..3).for_each(|byte| cache.used(&digest(byte), 4));
        assert_eq!(cache.excess(10, |_| false), [digest(0)]);
        cache.used(&digest(0), 4);
        assert_eq!(cache.excess(10, |_| false), [digest(1)]);
        assert_eq!(
            cache.excess(10, |held| *held == digest(1)),
            [digest(2)],
            "what stays is passed by"
        );
        cache.gone(&digest(1));
        assert_eq!((cache.bytes(), cache.excess(10, |_| false).len()), (8, 0));
        cache.used(&digest(9), 1000);
        assert_eq!(
            cache.excess(10, |_| false),
            [digest(2), digest(0)],
            "too large, and the newest"
        );
    }
}
