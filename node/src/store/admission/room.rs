//! Who finds room: strangers little, mirrors their quota, known keys always.
//!
//! A stranger is a key that no root of the realm names, and for a receipt any that none grants the
//! role `mirror` for the format. Of them a realm keeps [`STRANGER_ITEMS_MAX`] pairs and
//! [`STRANGER_BYTES_MAX`], so that nobody unknown can fill it. While the genesis lacks, everybody
//! is unknown and [`UNFOUNDED_ITEMS_MAX`] holds. Of the 16 signatures of a statement known keys
//! have the first claim.
//!
//! A realm may take so much in all: [`OWN_MAX`] the node's own and its site, [`FOLLOWED_MAX`] any
//! other. At its limit what known keys say of packages is not dropped: it waits at the peer and is
//! warned about, until the keeper raises the limit or unfollows. Statements of authority come in
//! all the same, or nobody could ever put such a realm in order; so do further signatures, of
//! which a statement has 16 at most, and what this node signs itself. Receipts of mirrors have a
//! quota of their own.
//!
//! Source: trust.md section 12; index.md section 2.6.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crdt::statement::MAX_SIGNATURES;
use crdt::{Collection, PublicKey, RealmId, Statement, StatementId};
use redb::{ReadableTable, WriteTransaction};

use super::super::authority::Standing;
use super::super::statements::{IDS, load_statement};
use super::super::tables::{self, Tables};
use super::super::{Error, FollowKind, Store, collections, lock};
use super::{Batch, Newcomer};

/// Pairs by strangers that are kept of a realm.
pub(in crate::store) const STRANGER_ITEMS_MAX: u64 = 32;
/// Bytes of statements by strangers that are kept of a realm.
pub(in crate::store) const STRANGER_BYTES_MAX: u64 = 64 << 10;
/// Pairs that are kept of a realm whose genesis lacks.
pub(in crate::store) const UNFOUNDED_ITEMS_MAX: u64 = 4096;

/// What a realm may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealmLimit {
    /// Statements.
    pub statements: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// What the node's own realm and its site may take, each.
pub(in crate::store) const OWN_MAX: RealmLimit =
    RealmLimit { statements: 2_000_000, bytes: 2 << 30 };
/// What any other realm may take.
pub(in crate::store) const FOLLOWED_MAX: RealmLimit =
    RealmLimit { statements: 100_000, bytes: 256 << 20 };

impl RealmLimit {
    fn holds(&self, (statements, bytes): (u64, u64)) -> bool {
        statements <= self.statements && bytes <= self.bytes
    }

    /// Whether four fifths of it are taken.
    fn is_near(&self, (statements, bytes): (u64, u64)) -> bool {
        let near = |taken: u64, max: u64| taken.saturating_mul(5) >= max.saturating_mul(4);
        near(statements, self.statements) || near(bytes, self.bytes)
    }
}

/// The limits in force: of the own realm and the site, and of the others.
#[derive(Debug)]
pub(in crate::store) struct RealmLimits(Mutex<(RealmLimit, RealmLimit)>);

impl Default for RealmLimits {
    fn default() -> Self {
        Self(Mutex::new((OWN_MAX, FOLLOWED_MAX)))
    }
}

impl RealmLimits {
    fn of(&self, kind: FollowKind) -> RealmLimit {
        let (own, followed) = *lock(&self.0);
        match kind {
            FollowKind::Own | FollowKind::Site => own,
            FollowKind::Followed | FollowKind::Delegate => followed,
        }
    }
}

impl Store {
    /// What realms may take from now on: the own one and the site, and each other.
    pub fn set_realm_limits(&self, own: RealmLimit, followed: RealmLimit) {
        *lock(&self.inner.realm_limits.0) = (own, followed);
    }

    /// What a realm takes, statements and bytes without receipts and beats, and what it may take;
    /// `None` if it is not followed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn realm_room(&self, realm: &RealmId) -> Result<Option<(RealmLimit, RealmLimit)>, Error> {
        let followed = self.followed()?.into_iter().find(|followed| followed.realm == *realm);
        let Some(followed) = followed else { return Ok(None) };
        let (statements, bytes) = self.reading(|txn| taken(txn, realm))?;
        let limit = self.inner.realm_limits.of(followed.kind);
        Ok(Some((RealmLimit { statements, bytes }, limit)))
    }
}

/// What a realm takes.
#[derive(Debug, Default)]
pub(super) struct Taken {
    before: (u64, u64),
    now: (u64, u64),
    /// Pairs of the batch that found no room.
    waiting: u64,
}

fn taken(txn: &impl Tables, realm: &RealmId) -> Result<(u64, u64), Error> {
    let row = txn.table(tables::TAKEN)?.get(realm.0.as_bytes())?.map(|row| row.value());
    Ok(row.unwrap_or_default())
}

/// Whether a statement counts: what is replaced has quotas of its own.
pub(in crate::store) fn counts(statement: &Statement) -> bool {
    statement.subject().is_none()
}

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
            false => self.has_room_for_receipt(pair)? && self.has_room_in_realm(pair)?,
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

    /// Whether the realm may take another statement of a known key.
    fn has_room_in_realm(&mut self, pair: &Newcomer<'_>) -> Result<bool, Error> {
        let statement = pair.statement;
        let is_free = self.is_own || matches!(statement.collection(), Collection::Authority(_));
        if is_free || !pair.is_new || !counts(statement) {
            return Ok(true);
        }
        let realm = statement.realm();
        let Some(kind) = self.kind(&realm)? else { return Ok(false) };
        let limit = self.inner.realm_limits.of(kind);
        let taken = self.taken(&realm)?;
        let size = statement.payload().len() as u64;
        let fits = limit.holds((taken.now.0 + 1, taken.now.1.saturating_add(size)));
        taken.waiting += u64::from(!fits);
        Ok(fits)
    }

    /// A new statement takes its room.
    pub(super) fn take_room(&mut self, statement: &Statement) -> Result<(), Error> {
        if counts(statement) {
            let size = statement.payload().len() as u64;
            let (statements, bytes) = &mut self.taken(&statement.realm())?.now;
            (*statements, *bytes) = (*statements + 1, bytes.saturating_add(size));
        }
        Ok(())
    }

    fn taken(&mut self, realm: &RealmId) -> Result<&mut Taken, Error> {
        if !self.taken.contains_key(realm) {
            let now = taken(self.txn, realm)?;
            self.taken.insert(*realm, Taken { before: now, now, waiting: 0 });
        }
        Ok(self.taken.entry(*realm).or_default())
    }

    /// Writes what was taken.
    pub(super) fn keep_taken(&self) -> Result<(), Error> {
        let mut table = self.txn.open_table(tables::TAKEN)?;
        for (realm, taken) in &self.taken {
            if taken.now != taken.before {
                table.insert(realm.0.as_bytes(), taken.now)?;
            }
        }
        Ok(())
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

    /// Says what waits, and when a realm comes near its limits.
    pub(super) fn warn_of_limits(&mut self) {
        self.warn_of_receipts();
        for (realm, Taken { before, now, waiting }) in &self.taken {
            let Some(kind) = self.kinds.get(realm).copied().flatten() else { continue };
            let limit = self.inner.realm_limits.of(kind);
            let (statements, bytes) = now;
            if *waiting > 0 {
                tracing::warn!(
                    %realm, statements, bytes, waiting,
                    "the realm is at its limit: new statements wait at the peer"
                );
            } else if !limit.is_near(*before) && limit.is_near(*now) {
                tracing::warn!(%realm, statements, bytes, "the realm comes near its limit");
            }
        }
    }

    fn warn_of_receipts(&self) {
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
