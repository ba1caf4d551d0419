//! What upkeep a node has done, and when the next is due: a row for each kind, so that one that is
//! restarted every hour still does what is due once a day.
//!
//! The wall clock is used, and trusted in nothing: a time that lies ahead of it was noted by
//! another clock, and the work is due. A row that cannot be read is none.
//!
//! Does not do the work: see `room` and `scrub`. Source: product.md section 10.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Error, Finding, freshness};
use crate::store::Store;

/// The kind of row.
const UPKEEP: &str = "upkeep";
/// The key for the collection of garbage.
pub(super) const GARBAGE: &str = "gc";
/// The key for the verification of all that is held.
pub(super) const VERIFY: &str = "verify";

/// The last collection of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGarbage {
    /// Seconds of this node's clock at its end.
    pub at: u64,
    /// Files that went.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The last verification that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastVerify {
    /// Seconds of this node's clock at its end.
    pub at: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them had rotted.
    pub rotten: u64,
    /// What has rotted in thirty days and what became of it by now, the newest first, at most a
    /// hundred.
    pub findings: Vec<Finding>,
}

/// Seconds of this node's clock.
pub(super) fn now() -> u64 {
    freshness::now()
}

/// What was noted last.
pub(super) fn last<T: DeserializeOwned>(store: &Store, key: &str) -> Result<Option<T>, Error> {
    let row = store.row(UPKEEP, key)?;
    Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
}

/// Notes that it was done.
pub(super) async fn note(store: &Store, key: &str, done: &impl Serialize) -> Result<(), Error> {
    let value = serde_json::to_vec(done).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(store.put_row(UPKEEP, key, value).await?)
}

/// How long until it is done again, `every` so often.
pub(super) fn due_in(now: u64, last: Option<u64>, every: Duration) -> Duration {
    let since = last.and_then(|last| now.checked_sub(last)).map(Duration::from_secs);
    since.map_or(Duration::ZERO, |since| every.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_due_again_after_its_time_whatever_was_restarted_in_between() {
        let day = Duration::from_secs(86_400);
        let hour = Duration::from_secs(3_600);
        assert_eq!(due_in(500_000, None, day), Duration::ZERO, "it was never done");
        assert_eq!(due_in(500_000, Some(500_000), day), day);
        for restart in 1..24 {
            let left = due_in(500_000 + restart * 3_600, Some(500_000), day);
            assert_eq!(left, day - hour * u32::try_from(restart).unwrap());
        }
        assert_eq!(due_in(586_400, Some(500_000), day), Duration::ZERO);
        assert_eq!(due_in(9_000_000, Some(500_000), day), Duration::ZERO);
        assert_eq!(due_in(499_999, Some(500_000), day), Duration::ZERO, "the clock was moved");
    }

    #[tokio::test]
    async fn what_was_noted_is_there_after_a_restart_and_rubbish_counts_as_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        assert_eq!(last::<LastGarbage>(&store, GARBAGE).unwrap(), None);
        let done = LastGarbage { at: 7, count: 1, bytes: 2 };
        note(&store, GARBAGE, &done).await.unwrap();
        drop(store);
        let store = Store::open(home.path()).unwrap();
        assert_eq!(last::<LastGarbage>(&store, GARBAGE).unwrap(), Some(done));
        store.put_row(UPKEEP, GARBAGE, b"{".to_vec()).await.unwrap();
        assert_eq!(last::<LastGarbage>(&store, GARBAGE).unwrap(), None);
    }
}
