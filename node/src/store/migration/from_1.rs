//! Layout 1 → 2: the newest receipt of each author is found by a table, and the mirrors that a
//! person accepted are a list.
//!
//! What layout 1 held:
//! - `followed`: `mirrors` was a flag, "the realm's mirrors are believed". Where it was set, those
//!   that the realm's head grants now take its place: whom the program before believed.
//! - receipts: no program of layout 1 signed one. What later nodes sent was filed as statements of
//!   an unknown type, without the rule that only the newest stays. They are taken out; and as the
//!   peers' cursors are forgotten with them, they come again from those who have them.

use crdt::realm::Claim;
use crdt::{Digest, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::super::authority::Standing;
use super::super::statements::signatures;
use super::super::tables::{self, Tables as _};
use super::super::{Error, collections};

/// Rows that are looked at between two changes.
const ROWS: usize = 1024;
/// Rows between two lines of the log.
const TOLD_EVERY: u64 = 100_000;

/// `followed` of layout 1.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    realm: RealmId,
    kind: String,
    claims: Vec<Claim>,
    order: u64,
    mirrors: bool,
}

/// `followed` of layout 2.
#[derive(Debug, Serialize, Deserialize)]
struct After {
    realm: RealmId,
    kind: String,
    claims: Vec<Claim>,
    order: u64,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mirror {
    key: crdt::PublicKey,
    format: String,
}

/// An entry of the log.
struct Entry {
    sequence: u64,
    realm: RealmId,
    part: String,
    item: crdt::Item,
}

/// The whole step.
pub(super) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    txn.open_table(tables::LATEST)?;
    list_mirrors(txn)?;
    if take_receipts_out(txn)? > 0 {
        txn.open_table(tables::PEER_SEEN)?.retain(|_, _| false)?;
    }
    Ok(())
}

fn list_mirrors(txn: &WriteTransaction) -> Result<(), Error> {
    let mut rows = Vec::new();
    for row in txn.table(tables::FOLLOWED)?.iter()? {
        let before: Before = tables::decode("followed realm", row?.1.value())?;
        rows.push(before);
    }
    for before in rows {
        let Before { realm, kind, claims, order, mirrors } = before;
        let granted = if mirrors && kind == "site" {
            Standing::compute(txn, &realm)?.authority.mirrors()
        } else {
            Vec::new()
        };
        let mirrors = granted.into_iter().map(|(key, format)| Mirror { key, format }).collect();
        let after = After { realm, kind, claims, order, mirrors };
        let bytes = tables::encode("followed realm", &after)?;
        txn.open_table(tables::FOLLOWED)?.insert(realm.0.as_bytes(), bytes.as_slice())?;
    }
    Ok(())
}

/// Takes each receipt out of every table; says how many.
fn take_receipts_out(txn: &WriteTransaction) -> Result<u64, Error> {
    let (mut last, mut looked, mut taken) = (0, 0_u64, 0);
    loop {
        let (entries, next) = receipts_after(txn, last)?;
        for entry in entries {
            take_out(txn, &entry)?;
            taken += 1;
        }
        let Some(next) = next else { return Ok(taken) };
        last = next;
        looked += ROWS as u64;
        if looked % TOLD_EVERY < ROWS as u64 {
            tracing::info!("{looked} entries of the log are looked through");
        }
    }
}

/// The receipts among the next rows of the log, and the last row that was looked at.
fn receipts_after(txn: &WriteTransaction, last: u64) -> Result<(Vec<Entry>, Option<u64>), Error> {
    let (log, statements) = (txn.table(tables::LOG)?, txn.table(tables::STMT)?);
    let (mut found, mut next) = (Vec::new(), None);
    for row in log.range(last + 1..)?.take(ROWS) {
        let row = row?;
        let (sequence, (realm, part, id, key)) = (row.0.value(), row.1.value());
        next = Some(sequence);
        if statements.get(id)?.is_none_or(|row| row.value().0 != "receipt") {
            continue;
        }
        let (realm, part) = (RealmId(Digest::from_bytes(*realm)), part.to_owned());
        found.push(Entry { sequence, realm, part, item: collections::item_of(id, key)? });
    }
    Ok((found, next))
}

fn take_out(txn: &WriteTransaction, entry: &Entry) -> Result<(), Error> {
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

/// The statement itself, and where its package listed it.
fn forget(txn: &WriteTransaction, id: &StatementId) -> Result<(), Error> {
    txn.open_table(tables::STMT)?.remove(id.0.as_bytes())?;
    Ok(())
}
