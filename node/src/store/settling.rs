//! When a commit also writes down what is free in the file.
//!
//! The first start after a kill reads a database whole, unless its last commit says which of its
//! pages are free. That is two bits a page: nothing for a small file, a megabyte for one of many
//! gibibytes, whatever the change itself needs. So a change says it at once, but of a burst, whose
//! changes follow one another without a pause, only some do; who runs the store calls
//! [`Store::settle`] soon after. A kill in a burst costs time at the next start, and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::tables::{self, Tables as _};
use super::{Error, Inner, Store, blocking, lock};

/// Bytes of a database from which on reading it whole takes longer than a person notices.
const LARGE_BYTES: u64 = 16 << 20;
/// Changes that come within this are of one burst: installs and gossip are slower than that.
const CLOSE_MS: u64 = 50;
/// How long a burst may last before what is free is written down.
const WAIT: Duration = Duration::from_millis(100);
/// Before that is tried again on a disk that is full.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// What was written down, and what was not.
#[derive(Debug)]
pub(super) struct Settling {
    /// [`LARGE_BYTES`], but for tests.
    pub(super) above: AtomicU64,
    /// [`CLOSE_MS`], but for tests; milliseconds.
    pub(super) close: AtomicU64,
    last: Mutex<Option<Instant>>,
    is_behind: AtomicBool,
    fell_behind: Notify,
}

impl Default for Settling {
    fn default() -> Self {
        Self {
            above: AtomicU64::new(LARGE_BYTES),
            close: AtomicU64::new(CLOSE_MS),
            last: Mutex::default(),
            is_behind: AtomicBool::new(false),
            fell_behind: Notify::new(),
        }
    }
}

impl Settling {
    /// Whether the change that begins now writes down what is free in a file of so many bytes.
    pub(super) fn is_due(&self, bytes: u64) -> bool {
        if bytes <= self.above.load(Ordering::Relaxed) {
            return false;
        }
        let mut last = lock(&self.last);
        let close = Duration::from_millis(self.close.load(Ordering::Relaxed));
        let is_due = last.is_none_or(|at| at.elapsed() >= close);
        if is_due {
            *last = Some(Instant::now());
        } else if !self.is_behind.swap(true, Ordering::Relaxed) {
            self.fell_behind.notify_one();
        }
        is_due
    }
}

impl Inner {
    /// For who has the turn.
    fn settle_now(&self) -> Result<(), Error> {
        let mut txn = self.begin_write()?;
        txn.set_quick_repair(true);
        // The same number again: a commit needs a change.
        tables::set_meta(&txn, tables::META_SEQUENCE, txn.meta(tables::META_SEQUENCE)?)?;
        txn.commit()?;
        self.settling.is_behind.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Store {
    /// Writes down what is free in the file, if the last changes did not. Says whether it did.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn settle(&self) -> Result<bool, Error> {
        if !self.inner.settling.is_behind.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let _turn = inner.writer.take();
            inner.settle_now().map_err(|why| inner.give_up(why))
        })
        .await?;
        Ok(true)
    }

    /// Does that again and again, a moment after changes that came close together.
    ///
    /// # Errors
    /// As [`Store::settle`], but not for a full disk: there is no hurry.
    pub async fn keep_settled(&self) -> Result<(), Error> {
        loop {
            self.inner.settling.fell_behind.notified().await;
            while self.inner.settling.is_behind.load(Ordering::Relaxed) {
                tokio::time::sleep(WAIT).await;
                match self.settle().await {
                    Ok(_) => {}
                    Err(Error::Full { .. }) => tokio::time::sleep(FULL_WAIT).await,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
