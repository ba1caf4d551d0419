//! Blobs that a finished upload is going to name: no garbage, however long that takes.
//!
//! Between the last byte of an upload and the statement that names it lie checks, a queue, perhaps
//! a restart: an hour of the process's own time (see `usage`) is not enough for that. So whoever
//! finishes an upload leaves a row (kind `upload-hold`) with the blob's digest, durable before the
//! session goes; it lasts as long as a session that nobody uses. A blob that is named meanwhile is
//! held by its name, and the row is without effect; the daily sweep takes it.

use crdt::Digest;
use redb::{ReadableTable as _, WriteTransaction};

use super::super::blob::now_seconds;
use super::super::tables::{self, Tables};
use super::super::{Error, Inner, Store};
use super::EXPIRY_SECONDS;

/// The kind of row.
const HOLD: &str = "upload-hold";

/// Whether an upload is going to name it.
pub(in crate::store) fn is_held(txn: &impl Tables, digest: &Digest) -> Result<bool, Error> {
    let (table, key) = (txn.table(tables::ROW)?, digest.to_hex());
    let row = table.get((HOLD, key.as_str()))?;
    Ok(row.is_some_and(|row| lasts(row.value(), now_seconds())))
}

/// A row that cannot be read, or that a clock ahead of this one wrote, lasts until it is swept.
fn lasts(value: &[u8], now: u64) -> bool {
    let since = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    since.is_none_or(|since| now.saturating_sub(since) <= EXPIRY_SECONDS)
}

impl Store {
    /// Holds the bytes of a finished upload, whether they are a blob yet or not, for as long as a
    /// session would last.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn hold_for_upload(&self, digest: &Digest) -> Result<(), Error> {
        let value = now_seconds().to_string().into_bytes();
        self.put_shared_row(HOLD, &digest.to_hex(), value).await
    }

    /// Removes the rows whose time is over.
    pub(super) async fn sweep_holds(&self, now: u64) -> Result<(), Error> {
        if self.rows(HOLD)?.values().all(|value| lasts(value, now)) {
            return Ok(());
        }
        let change = move |_: &Inner, txn: &WriteTransaction| {
            let mut table = txn.open_table(tables::ROW)?;
            let mut over = Vec::new();
            for row in table.range((HOLD, "")..)? {
                let (key, value) = row?;
                if key.value().0 != HOLD {
                    break;
                }
                if !lasts(value.value(), now) {
                    over.push(key.value().1.to_owned());
                }
            }
            for key in over {
                table.remove((HOLD, key.as_str()))?;
            }
            Ok(())
        };
        self.write(change, |_, ()| {}).await
    }
}
