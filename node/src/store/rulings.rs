//! What the seals and revocations that count say of releases, kept release by release.
//!
//! A seal of a million releases is read once. While it counts, each release that it names has a row
//! (`sealed`), and what a revocation keeps has one too (`kept`): deriving a package looks its own
//! releases up, whatever the realm holds. The row of each statement says how it counts: not, or
//! with its list in the tables, or with a list whose blob is not held, which is "not yet known".
//! Everything here is derived from the statements and the blobs of lists, in the transaction that
//! brings them: see `lists`.
//!
//! Source: trust.md sections 3 (lists), 4 and 5.

use std::collections::{BTreeMap, BTreeSet};

use crdt::statement::IdList;
use crdt::{Authority, Body, Digest, PublicKey, RealmId, StatementId};
use redb::{ReadableTable as _, WriteTransaction};

use super::authority::Cut;
use super::statements::{IDS, load, load_statement};
use super::tables::{self, KEPT, SEALED, Tables};
use super::{Error, Inner, Store, lists};

/// The statement has no effect, or none of this kind: also of roots and routes.
pub(super) const IDLE: u64 = 0;
/// It counts, and what its list names is in the tables.
pub(super) const READ: u64 = 1;
/// It counts, and its list is not known.
pub(super) const UNREAD: u64 = 2;

/// The types that rule of releases.
pub(super) const KINDS: [&str; 2] = ["seal", "revoke"];

/// What came of judging a statement anew.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Whether it is a seal.
    pub(super) is_seal: bool,
    /// Whether it counts otherwise than before.
    pub(super) changed: bool,
    /// Releases that are sealed now and were not, or the other way round.
    pub(super) turned: Vec<StatementId>,
}

/// The statements of a realm's authority of one type, by id.
pub(super) fn of_kind(
    txn: &impl Tables,
    realm: &RealmId,
    kind: &str,
) -> Result<Vec<StatementId>, Error> {
    Ok(rows(txn, realm, kind)?.into_iter().map(|(id, _)| id).collect())
}

fn rows(txn: &impl Tables, realm: &RealmId, kind: &str) -> Result<Vec<(StatementId, u64)>, Error> {
    let table = txn.table(tables::AUTHORITY)?;
    let of = realm.0.as_bytes();
    let mut found = Vec::new();
    for row in table.range((of, kind, &IDS.0)..=(of, kind, &IDS.1))? {
        let (key, state) = row?;
        found.push((StatementId(Digest::from_bytes(*key.value().2)), state.value()));
    }
    Ok(found)
}

/// Revoked keys, by the revocations that count.
pub(super) fn cuts(txn: &impl Tables, realm: &RealmId) -> Result<BTreeMap<PublicKey, Cut>, Error> {
    let mut cuts = BTreeMap::<PublicKey, Cut>::new();
    for (id, state) in rows(txn, realm, "revoke")? {
        if state == IDLE {
            continue;
        }
        let statement = load_statement(txn, &id)?;
        let statement = statement.ok_or_else(|| Error::unreadable("revocation", "it is gone"))?;
        let Body::Revoke { key, keep, .. } = statement.body() else { continue };
        let lacks = keep.blob().filter(|_| state == UNREAD).map(|blob| blob.digest);
        cuts.entry(*key).or_default().insert(id, lacks);
    }
    Ok(cuts)
}

/// Those of the statements that are sealed releases of the realm.
pub(super) fn firm(
    txn: &impl Tables,
    realm: &RealmId,
    ids: &[StatementId],
) -> Result<BTreeSet<StatementId>, Error> {
    let table = txn.table(SEALED)?;
    let mut firm = BTreeSet::new();
    if has_rows(&table, realm)? {
        for id in ids {
            if names(&table, realm, id)? {
                firm.insert(*id);
            }
        }
    }
    Ok(firm)
}

/// Whether a revocation whose list is known keeps the release.
pub(super) fn keeps(
    txn: &impl Tables,
    realm: &RealmId,
    release: &StatementId,
    revoke: &StatementId,
) -> Result<bool, Error> {
    let key = (realm.0.as_bytes(), release.0.as_bytes(), revoke.0.as_bytes());
    Ok(txn.table(KEPT)?.get(key)?.is_some())
}

impl Store {
    /// The seals that count and name the release, sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn seals_of(
        &self,
        realm: &RealmId,
        release: &StatementId,
    ) -> Result<Vec<StatementId>, Error> {
        self.reading(|txn| {
            let (of, release) = (realm.0.as_bytes(), release.0.as_bytes());
            let table = txn.table(SEALED)?;
            let rows = table.range((of, release, &IDS.0)..=(of, release, &IDS.1))?;
            rows.map(|row| Ok(StatementId(Digest::from_bytes(*row?.0.value().2)))).collect()
        })
    }
}

type Key = (tables::Id, tables::Id, tables::Id);

fn has_rows(table: &impl redb::ReadableTable<Key, ()>, realm: &RealmId) -> Result<bool, Error> {
    let of = realm.0.as_bytes();
    let mut rows = table.range((of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1))?;
    Ok(rows.next().transpose()?.is_some())
}

/// Whether some statement names the release.
fn names(
    table: &impl redb::ReadableTable<Key, ()>,
    realm: &RealmId,
    release: &StatementId,
) -> Result<bool, Error> {
    let (of, release) = (realm.0.as_bytes(), release.0.as_bytes());
    let mut rows = table.range((of, release, &IDS.0)..=(of, release, &IDS.1))?;
    Ok(rows.next().transpose()?.is_some())
}

/// Judges a seal or a revocation by the authority as it is now, and brings the tables there.
pub(super) fn judge(
    inner: &Inner,
    txn: &WriteTransaction,
    authority: &Authority,
    id: &StatementId,
) -> Result<Judged, Error> {
    let Some(verified) = load(txn, id)? else { return Ok(Judged::default()) };
    let statement = verified.statement();
    let signers = verified.signatures().keys().copied().collect();
    let (counts, list, table) = match statement.body() {
        Body::Seal { releases } => (authority.seal_counts(id, &signers), releases, SEALED),
        Body::Revoke { key, keep, .. } => (authority.revoke_counts(id, key, &signers), keep, KEPT),
        _ => return Ok(Judged::default()),
    };
    let (realm, kind) = (statement.realm(), statement.kind());
    let row = (realm.0.as_bytes(), kind, id.0.as_bytes());
    let before = txn.table(tables::AUTHORITY)?.get(row)?.map_or(IDLE, |row| row.value());
    let is_seal = matches!(statement.body(), Body::Seal { .. });
    let mut judged = Judged { is_seal, ..Judged::default() };
    let after = match (counts, before) {
        (true, READ) => READ,
        (true, _) => match lists::read(inner, txn, list)? {
            Some(ids) => {
                judged.turned = add(txn, table, (&realm, id), ids)?;
                READ
            }
            None => UNREAD,
        },
        (false, READ) => {
            judged.turned = take(txn, table, (&realm, id), list)?;
            IDLE
        }
        (false, _) => IDLE,
    };
    judged.changed = after != before;
    if judged.changed {
        txn.open_table(tables::AUTHORITY)?.insert(row, after)?;
    }
    Ok(judged)
}

/// Names releases; says which nothing named before.
fn add(
    txn: &WriteTransaction,
    table: tables::Rulings,
    (realm, by): (&RealmId, &StatementId),
    mut ids: Vec<StatementId>,
) -> Result<Vec<StatementId>, Error> {
    let mut table = txn.open_table(table)?;
    let (of, by) = (realm.0.as_bytes(), by.0.as_bytes());
    let mut failed = None;
    ids.retain(|id| {
        let mut one = || {
            let is_new = !names(&table, realm, id)?;
            table.insert((of, id.0.as_bytes(), by), ())?;
            Ok::<_, Error>(is_new)
        };
        one().unwrap_or_else(|why| {
            failed = Some(why);
            false
        })
    });
    failed.map_or(Ok(ids), Err)
}

/// Names them no more; says which nothing names now.
fn take(
    txn: &WriteTransaction,
    table: tables::Rulings,
    (realm, by): (&RealmId, &StatementId),
    list: &IdList,
) -> Result<Vec<StatementId>, Error> {
    let mut table = txn.open_table(table)?;
    let (of, by) = (realm.0.as_bytes(), by.0.as_bytes());
    let mut gone = match list {
        IdList::Inline(ids) => ids.clone(),
        // Its blob may have been damaged since: the rows know.
        IdList::Blob { .. } => {
            let mut found = Vec::new();
            for row in table.range((of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1))? {
                let key = row?.0;
                let (_, release, ruling) = key.value();
                if ruling == by {
                    found.push(StatementId(Digest::from_bytes(*release)));
                }
            }
            found
        }
    };
    for id in &gone {
        table.remove((of, id.0.as_bytes(), by))?;
    }
    let mut turned = Vec::new();
    for id in gone.drain(..) {
        if !names(&table, realm, &id)? {
            turned.push(id);
        }
    }
    Ok(turned)
}

/// Takes out all that is kept here of a realm.
pub(super) fn forget(txn: &WriteTransaction, realm: &RealmId) -> Result<(), Error> {
    let of = realm.0.as_bytes();
    for table in [SEALED, KEPT] {
        let all = (of, &IDS.0, &IDS.0)..=(of, &IDS.1, &IDS.1);
        txn.open_table(table)?.retain_in(all, |_, ()| false)?;
    }
    let mut gone = Vec::new();
    {
        let table = txn.table(tables::AUTHORITY)?;
        for row in table.range((of, "", &IDS.0)..)? {
            let key = row?.0;
            let (realm, kind, id) = key.value();
            if realm != of {
                break;
            }
            gone.push((kind.to_owned(), *id));
        }
    }
    let mut table = txn.open_table(tables::AUTHORITY)?;
    for (kind, id) in &gone {
        table.remove((of, kind.as_str(), id))?;
    }
    txn.open_table(tables::LIST)?.retain(|_, realm| realm != of)?;
    Ok(())
}
