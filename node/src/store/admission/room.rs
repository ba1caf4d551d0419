//! Who finds room: strangers little, mirrors their quota, known keys always.
//!
//! A stranger is a key that no root of the realm names, and for a receipt any that none grants the
//! role `mirror` for the format. Of them a realm keeps [`STRANGER_ITEMS_MAX`] pairs and
//! [`STRANGER_BYTES_MAX`], so that nobody unknown can fill it. While the genesis lacks, everybody
//! is unknown and [`UNFOUNDED_ITEMS_MAX`] holds. Of the 16 signatures of a statement known keys
//! have the first claim. Receipts of mirrors have a quota of their own; what is over it is not
//! dropped: it waits at the peer and is warned about. Other statements of known keys always find
//! room.
//!
//! Source: trust.md section 12.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crdt::statement::MAX_SIGNATURES;
use crdt::{Collection, PublicKey, RealmId, StatementId};
use redb::{ReadableTable, WriteTransaction};

use super::super::authority::Standing;
use super::super::statements::{IDS, load_statement};
use super::super::tables::{self, Tables};
use super::super::{Error, collections};
use super::{Batch, Newcomer};

/// Pairs by strangers that are kept of a realm.
pub(in crate::store) const STRANGER_ITEMS_MAX: u64 = 32;
/// Bytes of statements by strangers that are kept of a realm.
pub(in crate::store) const STRANGER_BYTES_MAX: u64 = 64 << 10;
/// Pairs that are kept of a realm whose genesis lacks.
pub(in crate::store) const UNFOUNDED_ITEMS_MAX: u64 = 4096;

/// Receipts of a realm.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Before this batch.
    before: u64,
    /// Now.
    pub(super) held: u64,
    /// Those of the batch that found no room.
    waiting: u64,
}

impl Batch<'_> {
    /// Whether another signature may be kept; a stranger's makes room for a known key's.
    pub(super) fn make_room(
        &mut self,
        pair: &Newcomer<'_>,
        signers: &mut BTreeSet<PublicKey>,
        known: &impl Fn(&PublicKey) -> bool,
    ) -> Result<bool, Error> {
        let is_full = signers.len() >= MAX_SIGNATURES;
        let weakest = signers.iter().rev().find(|key| !known(key)).copied();
        if is_full && (pair.is_stranger || weakest.is_none()) {
            return Ok(false);
        }
        let fits = match pair.is_stranger {
            true => self.has_room_for_stranger(pair)?,
            false => self.has_room_for_receipt(pair)?,
        };
        if let (true, true, Some(weakest)) = (fits, is_full, weakest) {
            signers.remove(&weakest);
            self.remove(pair.statement, &weakest)?;
            self.strangers.remove(&pair.statement.realm());
        }
        Ok(fits)
    }

    /// Counts a stranger's pair, if the realm has room for it.
    fn has_room_for_stranger(&mut self, pair: &Newcomer<'_>) -> Result<bool, Error> {
        let realm = pair.statement.realm();
        let (items, bytes) = match self.strangers.get(&realm) {
            Some(sums) => *sums,
            None => stranger_sums(self.txn, &realm)?,
        };
        // What it replaces leaves.
        let old = match &pair.replaces {
            Some(old) => stranger_size(self.txn, &realm, &old.id, pair.key)?,
            None => None,
        };
        let size = pair.statement.payload().len() as u64;
        let sums = (
            (items + 1).saturating_sub(u64::from(old.is_some())),
            bytes.saturating_add(size).saturating_sub(old.unwrap_or(0)),
        );
        let fits = if self.standing(&realm)?.is_founded() {
            sums.0 <= STRANGER_ITEMS_MAX && sums.1 <= STRANGER_BYTES_MAX
        } else {
            sums.0 <= UNFOUNDED_ITEMS_MAX
        };
        self.strangers.insert(realm, if fits { sums } else { (items, bytes) });
        Ok(fits)
    }

    /// Whether a mirror's receipt fits the realm's quota; anything else does. One that takes
    /// another's place always does, or no mirror of a full realm could correct what it said.
    fn has_room_for_receipt(&mut self, pair: &Newcomer<'_>) -> Result<bool, Error> {
        if pair.statement.receipt().is_none() || pair.replaces.is_some() {
            return Ok(true);
        }
        let max = self.inner.receipts_max.load(Ordering::Relaxed);
        let count = self.receipts(&pair.statement.realm())?;
        let fits = count.held < max;
        count.waiting += u64::from(!fits);
        Ok(fits)
    }

    /// How many receipts of a realm there are, with those of this batch so far.
    pub(super) fn receipts(&mut self, realm: &RealmId) -> Result<&mut Receipts, Error> {
        if !self.receipts.contains_key(realm) {
            let parts = collections::of_realm(self.txn, realm)?.into_iter();
            let receipts = parts.filter(|(part, _)| matches!(part, Collection::Receipts(..)));
            let before = receipts.map(|(_, state)| state.count).sum();
            self.receipts.insert(*realm, Receipts { before, held: before, waiting: 0 });
        }
        Ok(self.receipts.entry(*realm).or_default())
    }

    /// Says what waits, and when a realm comes near its quota.
    pub(super) fn warn_of_receipts(&self) {
        let max = self.inner.receipts_max.load(Ordering::Relaxed);
        for (realm, Receipts { before, held, waiting }) in &self.receipts {
            if *waiting > 0 {
                tracing::warn!(
                    %realm, held, waiting,
                    "the realm's receipts are at their limit: new ones wait at the peer"
                );
            } else if before * 5 < max * 4 && held * 5 >= max * 4 {
                tracing::warn!(%realm, held, max, "the realm's receipts come near their limit");
            }
        }
    }
}

/// Pairs and bytes that strangers have in a realm.
fn stranger_sums(txn: &WriteTransaction, realm: &RealmId) -> Result<(u64, u64), Error> {
    let table = txn.table(tables::STRANGER)?;
    let realm = realm.0.as_bytes();
    let mut sums = (0, 0);
    for row in table.range((realm, &IDS.0, &[0; 33])..=(realm, &IDS.1, &[0xff; 33]))? {
        sums = (sums.0 + 1, row?.1.value().saturating_add(sums.1));
    }
    Ok(sums)
}

/// What a stranger's pair counts, if it is one.
fn stranger_size(
    txn: &WriteTransaction,
    realm: &RealmId,
    id: &StatementId,
    key: &PublicKey,
) -> Result<Option<u64>, Error> {
    let table = txn.table(tables::STRANGER)?;
    let row = table.get((realm.0.as_bytes(), id.0.as_bytes(), key.as_bytes()))?;
    Ok(row.map(|row| row.value()))
}

/// Strangers no more: their pairs stop counting against the limit.
pub(super) fn recognise(
    txn: &WriteTransaction,
    realm: &RealmId,
    standing: &Standing,
) -> Result<(), Error> {
    let of = realm.0.as_bytes();
    let mut known = Vec::new();
    for row in
        txn.table(tables::STRANGER)?.range((of, &IDS.0, &[0; 33])..=(of, &IDS.1, &[0xff; 33]))?
    {
        let row = row?;
        let (_, id, key) = row.0.value();
        let item = collections::item_of(id, key)?;
        // Most are of keys that nobody names: their statements are not read.
        let statement = match standing.names(&item.key) {
            true => load_statement(txn, &item.id)?,
            false => None,
        };
        if statement.is_some_and(|statement| standing.knows(&item.key, &statement)) {
            known.push(item);
        }
    }
    let mut table = txn.open_table(tables::STRANGER)?;
    for item in known {
        table.remove((of, item.id.0.as_bytes(), item.key.as_bytes()))?;
    }
    Ok(())
}
