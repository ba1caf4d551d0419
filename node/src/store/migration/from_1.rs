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
use crdt::{Authority, RealmId};
use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::super::statements::load;
use super::super::tables::{self, Tables as _};
use super::super::{Error, chains, collections};
use super::taking_out;

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

/// The whole step.
pub(super) fn run(txn: &WriteTransaction) -> Result<(), Error> {
    txn.open_table(tables::LATEST)?;
    list_mirrors(txn)?;
    taking_out::take_out(txn, &["receipt"])
}

fn list_mirrors(txn: &WriteTransaction) -> Result<(), Error> {
    let mut rows = Vec::new();
    for row in txn.table(tables::FOLLOWED)?.iter()? {
        let before: Before = tables::decode("followed realm", row?.1.value())?;
        rows.push(before);
    }
    for before in rows {
        let Before { realm, kind, claims, order, mirrors } = before;
        let granted =
            if mirrors && kind == "site" { authority(txn, &realm)?.mirrors() } else { Vec::new() };
        let mirrors = granted.into_iter().map(|(key, format)| Mirror { key, format }).collect();
        let after = After { realm, kind, claims, order, mirrors };
        let bytes = tables::encode("followed realm", &after)?;
        txn.open_table(tables::FOLLOWED)?.insert(realm.0.as_bytes(), bytes.as_slice())?;
    }
    Ok(())
}

/// Of its roots alone: what else was filed with them may be no statement.
fn authority(txn: &WriteTransaction, realm: &RealmId) -> Result<Authority, Error> {
    let mut roots = Vec::new();
    for item in collections::items(txn, &collections::parse(*realm, "authority"))? {
        let row = txn.table(tables::STMT)?;
        let is_root = row.get(item.id.0.as_bytes())?.is_some_and(|row| row.value().0 == "root");
        if is_root {
            roots.extend(load(txn, &item.id)?);
        }
    }
    Ok(crdt::realm::authority(*realm, &roots, &chains::pin(txn, realm)?))
}
