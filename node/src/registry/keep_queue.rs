//! The queue of files that are fetched ahead: a row for each, by signer.
//!
//! ```text
//!  SIGNER/DIGEST/RELEASE → Lacking
//! ```
//!
//! A node that has just joined a large realm may lack half a million files. So a pass looks at a
//! stretch of the queue and never at all of it: of each signer the rows behind those that earlier
//! passes have tried, in turns, so that one who publishes much does not hold up the others; and of
//! more signers than a pass takes the next ones in the next pass. Where it goes on is remembered in
//! memory alone: after a start it begins anywhere.
//!
//! Does not fetch: `keep` does.
//!
//! Source: DESIGN section 4; trust.md section 12.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use crdt::{Digest, PackageId, PublicKey, StatementId};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::store::Store;

/// Rows of the queue, read again after a restart.
pub(super) const KEEP: &str = "keep";
/// How the keys of rows are made; rows of another number are dropped and made anew from the log.
pub(super) const KEYS: u8 = 1;
/// Files that are tried in one pass; the next pass goes on behind them.
pub(super) const ROUND_FILES_MAX: usize = 1024;
/// Signers that have a turn in one pass.
const SIGNERS_MAX: usize = 256;

/// One file that lacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lacking {
    pub(super) package: PackageId,
    pub(super) release: StatementId,
    pub(super) signer: PublicKey,
    pub(super) size: u64,
    /// A meta blob or extras rather than an artifact: never counted nor bounded by signer.
    pub(super) attached: bool,
}

impl Lacking {
    /// The key of its row: by release, too, as one that does not stand must not take the place of
    /// one that does.
    pub(super) fn key(&self, digest: &Digest) -> String {
        format!("{}/{}/{}", self.signer, digest.to_hex(), self.release)
    }

    const fn cost_bytes(&self) -> u64 {
        if self.attached { 0 } else { self.size }
    }
}

/// A file of the queue.
pub(super) type Entry = (Digest, Lacking);

/// Where the next pass goes on.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The last signer that had a turn.
    signer: String,
    /// Signer → the last row of its that was tried.
    tried: BTreeMap<String, String>,
}

/// What a pass looks at.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// In turns by signer.
    pub(super) entries: Vec<Entry>,
    /// Whether the queue has more.
    pub(super) more: bool,
}

impl Stretch {
    /// The next stretch of the queue.
    pub(super) fn read(store: &Store, places: &mut Places) -> Result<Self, Error> {
        let (signers, all) = signers(store, &places.signer)?;
        let share = (ROUND_FILES_MAX / signers.len().max(1)).max(1);
        let (mut queues, mut more) = (Vec::new(), !all);
        for signer in &signers {
            let tried = places.tried.get(signer).map(String::as_str);
            let mut rows = of_signer(store, signer, tried, share + 1)?;
            more |= rows.len() > share;
            rows.truncate(share);
            queues.push(VecDeque::from(rows));
        }
        places.tried.retain(|signer, _| !all || signers.contains(signer));
        if places.tried.len() > SIGNERS_MAX * 16 {
            places.tried.clear();
        }
        places.signer = signers.into_iter().next_back().filter(|_| !all).unwrap_or_default();
        let mut entries = Vec::new();
        while !queues.is_empty() {
            queues.retain_mut(|rows| {
                entries.extend(rows.pop_front());
                !rows.is_empty()
            });
        }
        Ok(Self { entries, more })
    }

    /// Fresh files, then those of the stretch, as far as the budget goes.
    pub(super) fn choose(&self, fresh: Vec<Entry>, mut budget_bytes: u64) -> Vec<Entry> {
        let (mut seen, mut chosen) = (BTreeSet::new(), Vec::new());
        for (digest, row) in fresh.into_iter().chain(self.entries.clone()) {
            if chosen.len() >= ROUND_FILES_MAX {
                break;
            }
            if let Some(left) = budget_bytes.checked_sub(row.cost_bytes())
                && seen.insert(digest)
            {
                budget_bytes = left;
                chosen.push((digest, row));
            }
        }
        chosen
    }

    /// So many of what was chosen had their turn: the next pass begins behind them, and behind what
    /// there was no room for.
    pub(super) fn had_turns(&self, places: &mut Places, chosen: &[Digest], count: usize) {
        let turn: HashMap<_, _> = chosen.iter().enumerate().map(|(at, one)| (one, at)).collect();
        let mut waits = BTreeSet::new();
        for (digest, row) in &self.entries {
            let had = turn.get(digest).is_none_or(|at| *at < count);
            if !had {
                waits.insert(row.signer);
            } else if !waits.contains(&row.signer) {
                places.tried.insert(row.signer.to_string(), row.key(digest));
            }
        }
    }
}

/// Signers that have rows, behind one of them and round; and whether these are all.
fn signers(store: &Store, behind: &str) -> Result<(Vec<String>, bool), Error> {
    let (mut found, mut after, mut round) = (Vec::<String>::new(), past(behind), false);
    while found.len() < SIGNERS_MAX {
        let keys = (Bound::Excluded(after.as_str()), Bound::Unbounded);
        let next = store.rows_between(KEEP, keys, 1)?.pop();
        match next.as_ref().and_then(|(key, _)| key.split('/').next()) {
            Some(signer) if round && signer > behind => return Ok((found, true)),
            Some(signer) => {
                after = past(signer);
                found.push(signer.to_owned());
            }
            None if round || behind.is_empty() => return Ok((found, true)),
            None => (after, round) = (String::new(), true),
        }
    }
    Ok((found, false))
}

/// Behind all rows of a signer: the sign after the slash.
fn past(signer: &str) -> String {
    if signer.is_empty() { String::new() } else { format!("{signer}0") }
}

/// Rows of one signer, behind the one that was tried last and round.
fn of_signer(
    store: &Store,
    signer: &str,
    tried: Option<&str>,
    most: usize,
) -> Result<Vec<Entry>, Error> {
    let (first, end) = (format!("{signer}/"), past(signer));
    let from = tried.unwrap_or(&first);
    let mut rows =
        store.rows_between(KEEP, (Bound::Excluded(from), Bound::Excluded(&end)), most)?;
    if tried.is_some() && rows.len() < most {
        let keys = (Bound::Excluded(first.as_str()), Bound::Included(from));
        rows.extend(store.rows_between(KEEP, keys, most - rows.len())?);
    }
    let entry = |(key, value): (String, Vec<u8>)| {
        let digest = key.split('/').nth(1)?.parse().ok()?;
        Some((digest, serde_json::from_slice(&value).ok()?))
    };
    Ok(rows.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
#[path = "keep_queue_tests.rs"]
mod tests;
