//! What of a node survives a power cut: a log of what it admitted, and how far the disk has it.
//!
//! Everything is written at once and synced a little later, but for what was published here: that
//! is synced before the answer. A crash takes what was not synced, statements and cursors alike,
//! and the node goes on under the same store epoch, with sequences that it has told to others and
//! gives out a second time. The node's real store syncs before it tells anybody; this disk lies, so
//! that the conversations must cope with more than they will ever see.
//!
//! Does not model: torn records, and disks that are full (the store's own tests do).

use std::sync::Arc;

use crdt::Verified;
use crdt::session::Millis;

/// How long something may stay unsynced.
const SYNC_MS: Millis = 4_000;

/// One record.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// A statement, with the signatures that were new.
    Admitted(Arc<Verified>),
    /// How far a peer's log was read.
    Cursor(usize, (u64, u64)),
}

/// The log of one node.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: Vec<(Millis, Record)>,
    /// So many were synced because somebody waited for it.
    forced: usize,
    /// When in each interval this disk syncs by itself.
    phase: Millis,
}

impl Disk {
    pub(crate) fn new(phase: Millis) -> Self {
        Self { phase: phase % SYNC_MS, ..Self::default() }
    }

    pub(crate) fn write(&mut self, now: Millis, record: Record) {
        self.records.push((now, record));
    }

    pub(crate) const fn sync(&mut self) {
        self.forced = self.records.len();
    }

    /// The power goes: what was synced, in order, and how many admissions are gone.
    pub(crate) fn crash(&mut self, now: Millis) -> (Vec<Record>, u64) {
        let last = ((now + self.phase) / SYNC_MS * SYNC_MS).saturating_sub(self.phase);
        let synced = self.records.partition_point(|(at, _)| *at < last).max(self.forced);
        let gone = self.records.split_off(synced);
        let lost = gone.iter().filter(|(_, gone)| matches!(gone, Record::Admitted(_))).count();
        (self.records.iter().map(|(_, record)| record.clone()).collect(), lost as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_takes_what_came_after_the_last_sync() {
        let mut disk = Disk::new(0);
        disk.write(3_999, Record::Cursor(1, (1, 1)));
        disk.write(4_000, Record::Cursor(1, (1, 2)));
        assert_eq!(disk.crash(7_999).0.len(), 1);
        disk.write(7_999, Record::Cursor(1, (1, 3)));
        disk.sync();
        disk.write(7_999, Record::Cursor(1, (1, 4)));
        let (left, lost) = disk.crash(7_999);
        assert_eq!((left.len(), lost), (2, 0));
    }
}
