//! What the links have cost, by day and by month, for each peer and kind of link.
//!
//! ```text
//!  now                      → the month and the day that are counted in
//!  LABEL/CLASS/PEER         → bytes sent and received
//! ```
//!
//! The rows are written five seconds after a byte has passed or at 64 kB, whichever comes first,
//! though at most once a second; less than 4 kB, as an idle link's pings, wait for ten minutes, as
//! each commit wears the card. So a cut loses at most that from the count. Peers beyond the first
//! 64 of a stretch are counted together; the last 35 days and 24 months are kept.
//!
//! Source: product.md section 5.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Error;
use super::calendar::{Moment, Stretch, Turn, Unit};
use super::link::LinkClass;
use super::meter::{Count, Drawn, Meter};
use crate::store::Store;

/// The kind of the rows.
pub(super) const TRAFFIC: &str = "traffic";
/// The row that says what is counted in.
const NOW: &str = "now";
/// Who never said who he was.
const UNKNOWN: &str = "unknown";
/// All further peers.
const OTHERS: &str = "others";
/// Peers that a stretch counts apart.
const PEERS_MAX: usize = 64;
/// Days that are kept.
const DAYS_KEPT: usize = 35;
/// Months that are kept.
const MONTHS_KEPT: usize = 24;
/// From the first byte to the commit.
const SOON: Duration = Duration::from_secs(5);
/// Between two commits.
const PAUSE: Duration = Duration::from_secs(1);
/// For a trickle.
const LATER: Duration = Duration::from_secs(10 * 60);
/// What a trickle is.
const TRICKLE_MAX: u64 = 4 * 1024;

/// Whose bytes, over which kind of link.
type Owner = (LinkClass, String);

/// One stretch and its counts.
#[derive(Debug, Default)]
struct Page {
    stretch: Stretch,
    counts: BTreeMap<Owner, Count>,
    /// Whose counts are not written yet.
    dirty: BTreeSet<Owner>,
}

/// The row of what is counted in.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Current {
    month: Stretch,
    day: Stretch,
}

/// What one commit writes.
struct Batch {
    rows: Vec<(String, Vec<u8>)>,
    /// How many of the rows left over are among them.
    left: usize,
    /// Bytes that are written with it.
    bytes: u64,
    renamed: Vec<String>,
}

#[derive(Debug)]
struct Book {
    month: Page,
    day: Page,
    /// Bytes that are not written yet.
    unwritten: u64,
    /// Rows of stretches that are over.
    left: Vec<(String, Vec<u8>)>,
    /// Labels whose rows have become another's.
    renamed: Vec<String>,
    /// Another stretch has begun: old ones go.
    has_turned: bool,
    passed: Instant,
}

/// The counts; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    meter: Meter,
    store: Store,
    book: Arc<Mutex<Book>>,
}

/// A row of what a link has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// `2026-11`, `2026-11-22`, or `run-1` while the clock was wrong.
    pub label: String,
    /// The kind of link.
    pub link: LinkClass,
    /// The peer; `unknown` for who never said, `others` for the rest of very many.
    pub peer: String,
    /// Bytes.
    #[serde(flatten)]
    pub count: Count,
}

impl Page {
    fn open(store: &Store, stretch: Stretch) -> Result<Self, Error> {
        let counts = counts_of(store, &stretch.label)?;
        Ok(Self { stretch, counts, dirty: BTreeSet::new() })
    }

    fn book(&mut self, drawn: &Drawn) {
        let peer = drawn.peer.map_or_else(|| UNKNOWN.to_owned(), |peer| peer.to_string());
        let mut owner = (drawn.class, peer);
        if !self.counts.contains_key(&owner) && self.counts.len() >= PEERS_MAX {
            owner.1 = OTHERS.to_owned();
        }
        self.counts.entry(owner.clone()).or_default().add(drawn.count);
        self.dirty.insert(owner);
    }

    /// What was counted under another label is counted here.
    fn join(&mut self, counts: BTreeMap<Owner, Count>) {
        for (owner, count) in counts {
            self.counts.entry(owner).or_default().add(count);
        }
        self.dirty = self.counts.keys().cloned().collect();
    }

    /// What is not written yet.
    fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let row = |owner: &Owner| {
            let count = self.counts.get(owner)?;
            let key = format!("{}/{}/{}", self.stretch.label, owner.0, owner.1);
            Some((key, serde_json::to_vec(count).ok()?))
        };
        self.dirty.iter().filter_map(row).collect()
    }
}

impl Ledger {
    /// Reads what was counted before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn open(store: Store, meter: Meter) -> Result<Self, Error> {
        let row = store.row(TRAFFIC, NOW)?;
        let current: Current =
            row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
        let book = Book {
            month: Page::open(&store, current.month)?,
            day: Page::open(&store, current.day)?,
            unwritten: 0,
            left: Vec::new(),
            renamed: Vec::new(),
            has_turned: false,
            passed: Instant::now(),
        };
        Ok(Self { meter, store, book: Arc::new(Mutex::new(book)) })
    }

    /// Writes down what passes, as long as it is polled.
    pub(super) async fn run(self) {
        loop {
            self.meter.stirred().await;
            tokio::select! {
                () = sleep(SOON) => {}
                () = self.meter.full() => sleep(PAUSE).await,
            }
            if self.unwritten() < TRICKLE_MAX {
                tokio::select! {
                    () = sleep(LATER) => {}
                    () = self.meter.full() => {}
                }
            }
            if let Err(error) = self.write(&Moment::now()).await {
                // A full disk ends no node: the counts stay in memory until there is room.
                tracing::warn!(%error, "what passed is not written down yet");
            }
        }
    }

    fn unwritten(&self) -> u64 {
        // What cannot be read now is tried again at the write.
        let _ = self.take(&Moment::now());
        self.book().unwritten
    }

    /// Takes what the meter has counted into the month and the day that it is.
    pub(super) fn take(&self, moment: &Moment) -> Result<(), Error> {
        let mut book = self.book();
        let now = Instant::now();
        // Whole seconds are counted; the rest waits for the next time.
        let ran = Duration::from_secs(now.duration_since(book.passed).as_secs());
        book.passed += ran;
        let Book { month, day, left, renamed, has_turned, .. } = &mut *book;
        for (page, unit) in [(month, Unit::Month), (day, Unit::Day)] {
            let before = (page.stretch.label.clone(), page.rows());
            match page.stretch.pass(unit, moment, ran) {
                Turn::Same => {}
                Turn::Next => {
                    left.extend(before.1);
                    *page = Page::open(&self.store, page.stretch.clone())?;
                    *has_turned = true;
                }
                Turn::Named => {
                    page.join(counts_of(&self.store, &page.stretch.label)?);
                    renamed.push(before.0);
                }
            }
        }
        for drawn in self.meter.draw() {
            book.unwritten += drawn.count.bytes();
            book.month.book(&drawn);
            book.day.book(&drawn);
        }
        Ok(())
    }

    /// Makes the counts durable.
    ///
    /// # Errors
    /// When the store refuses; they stay in memory.
    pub(super) async fn write(&self, moment: &Moment) -> Result<(), Error> {
        self.take(moment)?;
        let batch = self.batch();
        if batch.rows.is_empty() {
            return Ok(());
        }
        self.store.put_rows(TRAFFIC, batch.rows).await?;
        let has_turned = {
            let mut book = self.book();
            book.left.drain(..batch.left);
            // Bytes since then have made the same rows dirty again.
            book.unwritten = book.unwritten.saturating_sub(batch.bytes);
            if book.unwritten == 0 {
                book.month.dirty.clear();
                book.day.dirty.clear();
            }
            book.has_turned
        };
        if has_turned || !batch.renamed.is_empty() {
            self.prune(&batch.renamed).await?;
        }
        Ok(())
    }

    fn batch(&self) -> Batch {
        let book = self.book();
        let mut rows = book.left.clone();
        rows.extend(book.month.rows());
        rows.extend(book.day.rows());
        let current = Current { month: book.month.stretch.clone(), day: book.day.stretch.clone() };
        if let (false, Ok(value)) = (rows.is_empty(), serde_json::to_vec(&current)) {
            rows.push((NOW.to_owned(), value));
        }
        let (left, bytes, renamed) = (book.left.len(), book.unwritten, book.renamed.clone());
        Batch { rows, left, bytes, renamed }
    }

    async fn prune(&self, renamed: &[String]) -> Result<(), Error> {
        let rows = self.store.rows(TRAFFIC)?;
        let label = |key: &str| key.split_once('/').map(|(label, _)| label.to_owned());
        let labels: BTreeSet<String> = rows.keys().filter_map(|key| label(key)).collect();
        let old = |unit: Unit, kept: usize| {
            let of_unit: Vec<&String> =
                labels.iter().filter(|label| unit_of(label) == Some(unit)).collect();
            let gone = of_unit.len().saturating_sub(kept);
            of_unit.into_iter().take(gone).cloned().collect::<Vec<_>>()
        };
        let mut gone = old(Unit::Day, DAYS_KEPT);
        gone.extend(old(Unit::Month, MONTHS_KEPT));
        gone.extend(renamed.iter().cloned());
        for key in rows.keys().filter(|key| label(key).is_some_and(|it| gone.contains(&it))) {
            self.store.delete_row(TRAFFIC, key).await?;
        }
        let mut book = self.book();
        book.has_turned = false;
        book.renamed.retain(|label| !renamed.contains(label));
        Ok(())
    }

    /// What the stretch that goes on has cost, of the links that are meant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn used(
        &self,
        unit: Unit,
        moment: &Moment,
        is_meant: impl Fn(LinkClass, &str) -> bool,
    ) -> Result<Count, Error> {
        self.take(moment)?;
        let book = self.book();
        let page = match unit {
            Unit::Month => &book.month,
            Unit::Day => &book.day,
        };
        let mut used = Count::default();
        for ((class, peer), count) in &page.counts {
            if is_meant(*class, peer) {
                used.add(*count);
            }
        }
        Ok(used)
    }

    /// All that is remembered, the oldest first: days, months, and what goes on now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn history(&self) -> Result<Vec<Traffic>, Error> {
        self.take(&Moment::now())?;
        let mut all = BTreeMap::new();
        for (key, value) in self.store.rows(TRAFFIC)? {
            if let Some((label, owner, count)) = parse(&key, &value) {
                all.insert((label, owner), count);
            }
        }
        let book = self.book();
        for page in [&book.month, &book.day] {
            for (owner, count) in &page.counts {
                all.insert((page.stretch.label.clone(), owner.clone()), *count);
            }
        }
        let row = |((label, (link, peer)), count)| Traffic { label, link, peer, count };
        Ok(all.into_iter().map(row).collect())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unit_of(label: &str) -> Option<Unit> {
    match label.len() {
        7 => Some(Unit::Month),
        10 => Some(Unit::Day),
        _ => None,
    }
}

fn counts_of(store: &Store, label: &str) -> Result<BTreeMap<Owner, Count>, Error> {
    use std::ops::Bound::Excluded;
    let (low, high) = (format!("{label}/"), format!("{label}0"));
    let bounds = (Excluded(low.as_str()), Excluded(high.as_str()));
    let rows = store.rows_between(TRAFFIC, bounds, PEERS_MAX * 4)?;
    let counts = rows.iter().filter_map(|(key, value)| parse(key, value));
    Ok(counts.map(|(_, owner, count)| (owner, count)).collect())
}

fn parse(key: &str, value: &[u8]) -> Option<(String, Owner, Count)> {
    let mut parts = key.splitn(3, '/');
    let label = parts.next()?.to_owned();
    let class = match parts.next()? {
        "lan" => LinkClass::Lan,
        "wan" => LinkClass::Wan,
        "relayed" => LinkClass::Relayed,
        _ => return None,
    };
    let peer = parts.next()?.to_owned();
    Some((label, (class, peer), serde_json::from_slice(value).ok()?))
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
