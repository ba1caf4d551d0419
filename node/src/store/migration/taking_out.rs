//! Statements of some types leave every table, because they were filed by rules that are others
//! now.
//!
//! A program that does not know a type keeps its statements unread. Once it is known they may be no
//! statements at all, or belong elsewhere. So they are taken out, and the peers' cursors are
//! forgotten with them: they come again from those who have them, and are checked as they come.

use crdt::{Digest, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::statements::signatures;
use super::super::tables::{self, Tables as _};
use super::super::{Error, collections};

/// Rows that are looked at between two changes.
const ROWS: usize = 1024;
/// Rows between two lines of the log.
const TOLD_EVERY: u64 = 100_000;

/// An entry of the log.
struct Entry {
    sequence: u64,
    realm: RealmId,
    part: String,
    item: crdt::Item,
}

/// Takes each statement of these types out of every table.
pub(super) fn take_out(txn: &WriteTransaction, kinds: &[&str]) -> Result<(), Error> {
    let (mut last, mut looked, mut taken) = (0, 0_u64, 0_u64);
    loop {
        let (entries, next) = entries_after(txn, last, kinds)?;
        for entry in entries {
            take_one(txn, &entry)?;
            taken += 1;
        }
        let Some(next) = next else { break };
        last = next;
        looked += ROWS as u64;
        if looked % TOLD_EVERY < ROWS as u64 {
            tracing::info!("{looked} entries of the log are looked through");
        }
    }
    if taken > 0 {
        txn.open_table(tables::PEER_SEEN)?.retain(|_, _| false)?;
    }
    Ok(())
}

/// Those among the next rows of the log, and the last row that was looked at.
fn entries_after(
    txn: &WriteTransaction,
    last: u64,
    kinds: &[&str],
) -> Result<(Vec<Entry>, Option<u64>), Error> {
    let (log, statements) = (txn.table(tables::LOG)?, txn.table(tables::STMT)?);
    let (mut found, mut next) = (Vec::new(), None);
    for row in log.range(last + 1..)?.take(ROWS) {
        let row = row?;
        let (sequence, (realm, part, id, key)) = (row.0.value(), row.1.value());
        next = Some(sequence);
        if statements.get(id)?.is_none_or(|row| !kinds.contains(&row.value().0)) {
            continue;
        }
        let (realm, part) = (RealmId(Digest::from_bytes(*realm)), part.to_owned());
        found.push(Entry { sequence, realm, part, item: collections::item_of(id, key)? });
    }
    Ok((found, next))
}

fn take_one(txn: &WriteTransaction, entry: &Entry) -> Result<(), Error> {
    let Entry { sequence, realm, part, item } = entry;
    let (id, key) = (item.id.0.as_bytes(), item.key.as_bytes());
    txn.open_table(tables::LOG)?.remove(sequence)?;
    if txn.open_table(tables::SIG)?.remove((id, key))?.is_none() {
        return Ok(());
    }
    let collection = collections::parse(*realm, part);
    txn.open_table(tables::COLL)?.remove((collection.id().0.as_bytes(), &item.hash()))?;
    txn.open_table(tables::STRANGER)?.remove((realm.0.as_bytes(), id, key))?;
    let mut state = collections::state(txn, &collection)?;
    state.remove(item);
    collections::set_state(txn, &collection, &state)?;
    if signatures(txn, &item.id)?.is_empty() {
        forget(txn, &item.id)?;
    }
    Ok(())
}

/// The statement itself; a later layout lists those that stay anew.
fn forget(txn: &WriteTransaction, id: &StatementId) -> Result<(), Error> {
    txn.open_table(tables::STMT)?.remove(id.0.as_bytes())?;
    Ok(())
}
