//! What everybody hears when the database was opened again after a write that the disk refused,
//! and when `rebuild` has mended something.
//!
//! A commit whose last sync failed told its caller that it failed, and may be there all the same;
//! and what was read in between may have been of another state. So the next writer, before it
//! changes anything, tells those who keep something in memory what nobody told them: admissions
//! that are in the log behind the last one that was told, the packages that they are about, that
//! realms may have come or gone; and the generation is another one.
//!
//! Does not repair anything: see `database` for the opening, `recovery` for files.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crdt::{Digest, RealmId, StatementId};
use redb::ReadableTable as _;

use super::changes::Scope;
use super::tables::{self, Tables};
use super::{Admission, Error, Inner, NewItem, collections, lock, statements};

/// Admissions that are told one by one; behind more than that each is behind by itself.
const TOLD_MAX: usize = 10_000;

impl Inner {
    /// The admissions up to here were told.
    pub(super) fn told_upto(&self, admission: &Admission) {
        let last = admission.new.iter().map(|new| new.sequence).max();
        self.told.fetch_max(last.unwrap_or(0), Ordering::SeqCst);
    }

    /// Tells what nobody was told; for who has the writer's turn.
    pub(super) fn tell_anew(&self) {
        let told = self.told.load(Ordering::SeqCst);
        let missed = self.read().and_then(|txn| missed(&txn, told)).unwrap_or_else(|why| {
            tracing::warn!(%why, "what was admitted while the disk failed is not told one by one");
            Admission::default()
        });
        lock(&self.authorities).clear();
        self.follows.send_modify(|n| *n += 1);
        let packages: BTreeSet<_> =
            missed.new.iter().filter_map(|new| new.package.clone()).collect();
        if !missed.new.is_empty() {
            self.told_upto(&missed);
            // Without subscribers there is nobody to tell.
            let _ = self.admissions.send(Arc::new(missed));
        }
        self.changes.count(&Scope::All);
        packages.into_iter().for_each(|package| self.changes.touched(package));
    }
}

/// What is in the log behind an admission.
fn missed(txn: &impl Tables, last: u64) -> Result<Admission, Error> {
    let mut missed = Admission::default();
    let log = txn.table(tables::LOG)?;
    for row in log.range(last.saturating_add(1)..)?.take(TOLD_MAX) {
        let row = row?;
        let (sequence, (realm, part, id, key)) = (row.0.value(), row.1.value());
        let collection = collections::parse(RealmId(Digest::from_bytes(*realm)), part);
        let item = collections::item_of(id, key)?;
        let statement = statements::load_statement(txn, &StatementId(Digest::from_bytes(*id)))?;
        let package = statement.and_then(|statement| statement.package().cloned());
        missed.new.push(NewItem { sequence, collection, item, package });
    }
    Ok(missed)
}
