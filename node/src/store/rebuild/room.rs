//! How much room a realm takes, counted again: statements, and the bytes of their payloads.
//!
//! Those count that nothing replaces, so all but receipts and beats. A statement is counted at the
//! least of its signers, so nothing is remembered for those that were counted.
//!
//! Source: trust.md section 12.

use crdt::{Collection, RealmId};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::statements::IDS;
use super::super::tables::{self, Tables};
use super::super::{Error, collections};
use super::Difference;

/// What is counted, if it is not what is kept.
pub(super) fn differs(txn: &impl Tables, realm: &RealmId) -> Result<Option<(u64, u64)>, Error> {
    let mut counted = (0_u64, 0_u64);
    for (collection, _) in collections::of_realm(txn, realm)? {
        if !matches!(collection, Collection::Receipts(..) | Collection::Beats(_)) {
            count(txn, &collection, &mut counted)?;
        }
    }
    let kept = txn.table(tables::TAKEN)?.get(realm.0.as_bytes())?.map(|row| row.value());
    Ok((kept.unwrap_or_default() != counted).then_some(counted))
}

/// Keeps what is counted.
pub(super) fn mend(txn: &WriteTransaction, realm: &RealmId) -> Result<Vec<Difference>, Error> {
    let Some(counted) = differs(txn, realm)? else { return Ok(Vec::new()) };
    txn.open_table(tables::TAKEN)?.insert(realm.0.as_bytes(), counted)?;
    Ok(vec![Difference::mended("taken", format!("room of realm {realm}"))])
}

fn count(
    txn: &impl Tables,
    collection: &Collection,
    (statements, bytes): &mut (u64, u64),
) -> Result<(), Error> {
    let (items, signatures) = (txn.table(tables::COLL)?, txn.table(tables::SIG)?);
    let all = txn.table(tables::STMT)?;
    let of = collection.id();
    let of = of.0.as_bytes();
    for row in items.range((of, &IDS.0)..=(of, &IDS.1))? {
        let item = row?.1;
        let (id, key) = item.value();
        let least = signatures.range((id, &[0; 33])..=(id, &[0xff; 33]))?.next().transpose()?;
        if least.is_some_and(|(row, _)| row.value().1 == key)
            && let Some(row) = all.get(id)?
        {
            *statements += 1;
            *bytes = bytes.saturating_add(row.value().1.len() as u64);
        }
    }
    Ok(())
}
