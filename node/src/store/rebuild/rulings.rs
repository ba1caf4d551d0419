//! What seals and revocations say of releases, judged again.
//!
//! Rows of `sealed` and `kept`, and how each statement counts, are taken out and made again by the
//! code that admission uses, for one realm in one transaction. A list that was read once and whose
//! blob cannot be read now keeps its rows: what it says is known.
//!
//! Source: trust.md sections 3 (lists), 4 and 5.

use std::collections::BTreeSet;
use std::ops::Bound;

use crdt::{Body, Digest, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};

use super::super::authority::Standing;
use super::super::rulings::{IDLE, KINDS, READ, judge as judge_one, of_kind};
use super::super::statements::{IDS, load_statement};
use super::super::tables::{self, AUTHORITY, KEPT, SEALED, Tables};
use super::super::{Error, Inner, lists};
use super::Difference;

/// Statements with their types.
type Anew = Vec<(&'static str, StatementId)>;

/// The realm behind one of which statements are kept, and whether it has seals or revocations.
pub(super) fn behind(
    txn: &impl Tables,
    after: Option<&RealmId>,
) -> Result<Option<(RealmId, bool)>, Error> {
    let table = txn.table(tables::FOLLOWED)?;
    let from = after.map_or(Bound::Unbounded, |realm| Bound::Excluded(realm.0.as_bytes()));
    let Some(row) = table.range::<&[u8; 32]>((from, Bound::Unbounded))?.next() else {
        return Ok(None);
    };
    let realm = RealmId(Digest::from_bytes(*row?.0.value()));
    let mut has_some = false;
    for kind in KINDS {
        has_some |= !of_kind(txn, &realm, kind)?.is_empty();
    }
    for table in [SEALED, KEPT] {
        let of = realm.0.as_bytes();
        has_some |=
            txn.table(table)?.range((of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1))?.next().is_some();
    }
    Ok(Some((realm, has_some)))
}

/// Judges all of a realm; says which tables became others.
pub(super) fn judge(
    inner: &Inner,
    txn: &WriteTransaction,
    realm: &RealmId,
) -> Result<Vec<Difference>, Error> {
    let before = digests(txn, realm)?;
    let (anew, kept) = judged(inner, txn, realm)?;
    let of = realm.0.as_bytes();
    for table in [SEALED, KEPT] {
        let all = (of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1);
        txn.open_table(table)?.retain_in(all, |(_, _, by), ()| kept.contains(by))?;
    }
    for (kind, id) in &anew {
        txn.open_table(AUTHORITY)?.insert((of, *kind, id.0.as_bytes()), IDLE)?;
    }
    let standing = Standing::compute(txn, realm)?;
    for (_, id) in &anew {
        judge_one(inner, txn, standing.authority(), id)?;
    }
    let after = digests(txn, realm)?;
    let changed = before.into_iter().zip(after).filter(|(before, after)| before != after);
    let what = |((table, _), _)| Difference::mended(table, format!("rulings of realm {realm}"));
    Ok(changed.map(what).collect())
}

/// Statements to judge again, by type; and those whose list was read and cannot be read again.
fn judged(
    inner: &Inner,
    txn: &WriteTransaction,
    realm: &RealmId,
) -> Result<(Anew, BTreeSet<[u8; 32]>), Error> {
    let (mut anew, mut kept) = (Vec::new(), BTreeSet::new());
    for kind in KINDS {
        for id in of_kind(txn, realm, kind)? {
            let row = (realm.0.as_bytes(), kind, id.0.as_bytes());
            let state = txn.table(AUTHORITY)?.get(row)?.map_or(IDLE, |row| row.value());
            let statement = load_statement(txn, &id)?;
            let list = match statement.as_ref().map(|statement| statement.body()) {
                Some(Body::Seal { releases }) => releases,
                Some(Body::Revoke { keep, .. }) => keep,
                _ => continue,
            };
            if state == READ && lists::read(inner, txn, list)?.is_none() {
                kept.insert(*id.0.as_bytes());
            } else {
                anew.push((kind, id));
            }
        }
    }
    Ok((anew, kept))
}

/// A digest of each table's rows of the realm.
fn digests(txn: &impl Tables, realm: &RealmId) -> Result<[(&'static str, blake3::Hash); 3], Error> {
    let of = realm.0.as_bytes();
    let mut states = blake3::Hasher::new();
    for kind in KINDS {
        let table = txn.table(AUTHORITY)?;
        for row in table.range((of, kind, &IDS.0)..=(of, kind, &IDS.1))? {
            let (key, state) = row?;
            states.update(key.value().2).update(&state.value().to_le_bytes());
        }
    }
    let rows = |table: tables::Rulings| {
        let mut hasher = blake3::Hasher::new();
        for row in txn.table(table)?.range((of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1))? {
            let key = row?.0;
            let (_, release, by) = key.value();
            hasher.update(release).update(by);
        }
        Ok::<_, Error>(hasher.finalize())
    };
    Ok([("authority", states.finalize()), ("sealed", rows(SEALED)?), ("kept", rows(KEPT)?)])
}
