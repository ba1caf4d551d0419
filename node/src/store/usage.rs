//! When a blob was last of use, and which blobs have come just now.
//!
//! No read writes anything. A use is noted in memory, to the second; [`Store::flush_uses`] makes
//! rows of it now and then, to the day, so that a blob that is read all day costs one row. A crash
//! loses the uses of some minutes, which nothing hangs on.
//!
//! A blob that has just come is about to be named by a release or a cached row: for an hour of the
//! process's own running time nobody takes it for garbage. After a restart whoever was about to
//! name it is gone.
//!
//! Does not decide what goes: see `quota` and `gc`. Source: product.md section 3.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crdt::Digest;
use redb::{ReadableTable as _, WriteTransaction};

use super::blob::{now_seconds, record};
use super::tables;
use super::{Error, Inner, Store, lock};

/// Seconds of a day: what a row counts in.
pub(super) const DAY: u64 = 86_400;
/// Uses that are remembered; who reads more blobs between two flushes loses some.
const USES_MAX: usize = 65_536;
/// How long a blob that has come is about to be named.
const YOUNG: Duration = Duration::from_secs(60 * 60);
/// How many are remembered at least, however young.
const YOUNG_MAX: usize = 65_536;

/// What is remembered of this run of the node.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Digest → second of the last use, and the day that its row says.
    seen: Mutex<HashMap<Digest, (u64, u64)>>,
    arrived: Mutex<HashMap<Digest, Instant>>,
}

impl Uses {
    /// Somebody reads it now.
    pub(super) fn touch(&self, digest: &Digest) {
        let mut seen = lock(&self.seen);
        if seen.len() < USES_MAX || seen.contains_key(digest) {
            seen.entry(*digest).or_default().0 = now_seconds();
        }
    }

    /// It comes now, or came before and is given once more.
    pub(super) fn arrive(&self, digest: &Digest) {
        let mut arrived = lock(&self.arrived);
        if arrived.len() >= YOUNG_MAX {
            arrived.retain(|_, at| at.elapsed() < YOUNG);
        }
        arrived.insert(*digest, Instant::now());
    }

    /// Whether somebody may be about to name it, or to read it for the first time.
    pub(super) fn is_younger(&self, digest: &Digest, age: Duration) -> bool {
        lock(&self.arrived).get(digest).is_some_and(|at| at.elapsed() < age)
    }

    /// Whether somebody may be about to name it.
    pub(super) fn is_young(&self, digest: &Digest) -> bool {
        self.is_younger(digest, YOUNG)
    }

    /// As if an hour had passed.
    #[cfg(test)]
    pub(super) fn grow_old(&self) {
        lock(&self.arrived).clear();
    }

    /// As if it had been read then.
    #[cfg(test)]
    pub(super) fn touch_at(&self, digest: &Digest, second: u64) {
        lock(&self.seen).entry(*digest).or_default().0 = second;
    }

    fn second(&self, digest: &Digest) -> u64 {
        lock(&self.seen).get(digest).map_or(0, |(second, _)| *second)
    }

    /// Uses whose day no row says yet.
    fn due(&self) -> Vec<(Digest, u64)> {
        let seen = lock(&self.seen);
        let due = seen.iter().map(|(digest, (second, day))| (*digest, second / DAY, *day));
        due.filter(|(_, now, day)| now != day).map(|(digest, now, _)| (digest, now)).collect()
    }

    fn flushed(&self, rows: &[(Digest, u64)]) {
        let mut seen = lock(&self.seen);
        if seen.len() >= USES_MAX {
            return seen.clear();
        }
        for (digest, day) in rows {
            if let Some(use_) = seen.get_mut(digest) {
                use_.1 = *day;
            }
        }
    }
}

impl Store {
    /// Notes that a blob is of use now: for who serves it out of memory. Costs no write.
    pub fn touch(&self, digest: &Digest) {
        self.inner.uses.touch(digest);
    }

    /// Whether it was used in this run of the node.
    #[cfg(test)]
    pub(crate) fn is_used(&self, digest: &Digest) -> bool {
        self.inner.uses.second(digest) > 0
    }

    /// As if nothing had been used in this run.
    #[cfg(test)]
    pub(crate) fn forget_uses(&self) {
        lock(&self.inner.uses.seen).clear();
    }

    /// Makes rows of what was used since: one for each blob and day, in one commit. Says how many.
    ///
    /// # Errors
    /// When the database refuses; the uses are still remembered then.
    pub async fn flush_uses(&self) -> Result<usize, Error> {
        let due = self.inner.uses.due();
        if due.is_empty() {
            return Ok(0);
        }
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut written = 0;
            let mut table = txn.open_table(tables::LAST_USE)?;
            for (digest, day) in &due {
                let same = table.get(digest.as_bytes())?.is_some_and(|row| row.value() == *day);
                if !same && record(txn, digest)?.is_some() {
                    table.insert(digest.as_bytes(), day)?;
                    written += 1;
                }
            }
            drop(table);
            Ok((written, due))
        };
        let after = |inner: &Inner, done: &(usize, Vec<(Digest, u64)>)| inner.uses.flushed(&done.1);
        let (written, due) = self.write_if(|done| done.0 > 0, change, after).await?;
        if written == 0 {
            self.inner.uses.flushed(&due);
        }
        Ok(written)
    }
}

/// The second of the last use that is known, the day of its row, or when it was stored: the latest.
/// One that lies ahead of the clock says nothing.
pub(super) fn last_use(
    inner: &Inner,
    rows: Option<&redb::ReadOnlyTable<tables::Id, u64>>,
    (digest, stored): (&Digest, u64),
) -> Result<u64, Error> {
    let row = rows.map(|rows| rows.get(digest.as_bytes())).transpose()?.flatten();
    let day = row.map_or(0, |row| row.value().saturating_mul(DAY));
    let limit = now_seconds().saturating_add(DAY);
    let known = [inner.uses.second(digest), day, stored];
    Ok(known.into_iter().filter(|second| *second <= limit).max().unwrap_or(0))
}

/// The rows; a home of an earlier program has none yet.
pub(super) fn rows(
    txn: &redb::ReadTransaction,
) -> Result<Option<redb::ReadOnlyTable<tables::Id, u64>>, Error> {
    match txn.open_table(tables::LAST_USE) {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// The blob goes.
pub(super) fn forget(txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    txn.open_table(tables::LAST_USE)?.remove(digest.as_bytes())?;
    Ok(())
}
