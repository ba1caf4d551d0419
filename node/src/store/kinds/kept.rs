//! How much is held of each kind, kept in the transactions that change it.
//!
//! A node with a million blobs must tell what it holds as an empty one does: at once, and without
//! bringing its records into memory. So whoever changes why a blob is held does it [`around`] here:
//! the blob is judged before and after, and the sums are moved by the difference, in the same
//! commit. A blob is judged by the keys and realms that the sums were counted with, which lie
//! beside them; others, after a restore for instance, make them void, and who asks counts anew.
//!
//! *Invariant:* while the row `own` is there, the row `kinds` is what [`count`] finds.
//!
//! Pins are not among them: they are the caller's, few, and looked up when somebody asks.

use std::collections::BTreeSet;

use crdt::Digest;
use redb::{ReadableTable as _, WriteTransaction};

use super::super::blob::record;
use super::super::tables::{self, HELD, Tables};
use super::super::{BlobInfo, Error};
use super::{Judge, Kind, Kinds, Own};

/// What the sums were counted with.
const OWN: &str = "own";
/// The sums.
const KINDS: &str = "kinds";

/// The kind of a blob that is held, and its bytes.
type Part = Option<(Kind, u64)>;

const NO_PINS: &BTreeSet<Digest> = &BTreeSet::new();

/// Does what may change why a blob is held, or whether. Of the tables that say so, and of `held`,
/// none may be open.
pub(in super::super) fn around<T>(
    txn: &WriteTransaction,
    digest: &Digest,
    change: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    around_all(txn, BTreeSet::from([*digest]), change)
}

/// The same for many at once.
pub(in super::super) fn around_all<T>(
    txn: &WriteTransaction,
    digests: BTreeSet<Digest>,
    change: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let own = match row(txn, OWN)? {
        Some(own) if !digests.is_empty() => own,
        _ => return change(),
    };
    let judge = Judge { txn, own, pinned: NO_PINS };
    let before: Vec<Part> = digests.iter().map(|it| judge.part(it)).collect::<Result<_, _>>()?;
    let value = change()?;
    let after: Vec<Part> = digests.iter().map(|it| judge.part(it)).collect::<Result<_, _>>()?;
    if before != after {
        let mut kinds: Kinds = row(txn, KINDS)?.unwrap_or_default();
        before.into_iter().flatten().for_each(|part| kinds.take(part));
        after.into_iter().flatten().for_each(|part| kinds.give(part));
        put(txn, KINDS, &kinds)?;
    }
    Ok(value)
}

/// A package of an upstream got its first file, or lost its last.
pub(in super::super) fn count_package(txn: &WriteTransaction, is_first: bool) -> Result<(), Error> {
    let Some(mut kinds) = row::<Kinds>(txn, KINDS)? else { return Ok(()) };
    let count = kinds.cached_packages;
    kinds.cached_packages = if is_first { count + 1 } else { count.saturating_sub(1) };
    put(txn, KINDS, &kinds)
}

/// What is kept, with what is pinned taken apart; `None` if it was counted with other keys.
pub(super) fn read(
    txn: &redb::ReadTransaction,
    own: Own,
    pinned: &BTreeSet<Digest>,
) -> Result<Option<Kinds>, Error> {
    if row::<Own>(txn, OWN)?.is_none_or(|kept| kept != own) {
        return Ok(None);
    }
    let mut kinds: Kinds = row(txn, KINDS)?.unwrap_or_default();
    let judge = Judge { txn, own, pinned: NO_PINS };
    for digest in pinned {
        if let Some((kind, bytes)) = judge.part(digest)?
            && kind != Kind::Published
        {
            kinds.take((kind, bytes));
            kinds.give((Kind::Pinned, bytes));
        }
    }
    Ok(Some(kinds))
}

/// Counts anew, and with it the bytes of all blobs.
pub(super) fn recount(txn: &WriteTransaction, own: Own) -> Result<(), Error> {
    let kinds = count(&Judge { txn, own: own.clone(), pinned: NO_PINS })?;
    put(txn, OWN, &own)?;
    put(txn, KINDS, &kinds)?;
    tables::set_meta(txn, tables::META_BLOB_BYTES, kinds.bytes())
}

/// Whether the bytes of all blobs and, if they were counted with these keys, the sums are those of
/// a count.
pub(super) fn are_right(txn: &redb::ReadTransaction, own: Own) -> Result<bool, Error> {
    let kept = row::<Own>(txn, OWN)?.filter(|kept| *kept == own);
    let sums = kept.map(|_| row::<Kinds>(txn, KINDS)).transpose()?;
    let counted = count(&Judge { txn, own, pinned: NO_PINS })?;
    let is_right = sums.is_none_or(|sums| sums.unwrap_or_default() == counted);
    Ok(is_right && txn.meta(tables::META_BLOB_BYTES)? == counted.bytes())
}

/// Reads every record.
pub(super) fn count<T: Tables>(judge: &Judge<'_, T>) -> Result<Kinds, Error> {
    let mut kinds = Kinds::default();
    for row in judge.txn.table(tables::BLOB)?.iter()? {
        let info: BlobInfo = tables::decode("blob record", row?.1.value())?;
        kinds.give((judge.kind(&info.digest)?, info.size));
    }
    let mut last = None;
    for row in judge.txn.table(tables::CACHED_FILE)?.iter()? {
        let key = row?.0;
        let (origin, format, package, _) = key.value();
        let package = (*origin, format.to_owned(), package.to_owned());
        if last.as_ref() != Some(&package) {
            kinds.cached_packages += 1;
            last = Some(package);
        }
    }
    Ok(kinds)
}

impl<T: Tables> Judge<'_, T> {
    fn part(&self, digest: &Digest) -> Result<Part, Error> {
        let Some(info) = record(self.txn, digest)? else { return Ok(None) };
        Ok(Some((self.kind(digest)?, info.size)))
    }
}

impl Kinds {
    /// Of all kinds.
    fn bytes(&self) -> u64 {
        let Self { published, pinned, mirrored, cached, unnamed, .. } = self;
        [published, pinned, mirrored, cached, unnamed].iter().map(|part| part.bytes).sum()
    }

    fn give(&mut self, (kind, bytes): (Kind, u64)) {
        self.of(kind).add(bytes);
    }

    fn take(&mut self, (kind, bytes): (Kind, u64)) {
        let part = self.of(kind);
        part.count = part.count.saturating_sub(1);
        part.bytes = part.bytes.saturating_sub(bytes);
    }
}

fn row<V: serde::de::DeserializeOwned>(txn: &impl Tables, name: &str) -> Result<Option<V>, Error> {
    let table = txn.table(HELD)?;
    let row = table.get(name)?;
    row.map(|row| tables::decode("sums of what is held", row.value())).transpose()
}

fn put<V: serde::Serialize>(txn: &WriteTransaction, name: &str, value: &V) -> Result<(), Error> {
    let bytes = tables::encode("sums of what is held", value)?;
    txn.open_table(HELD)?.insert(name, bytes.as_slice())?;
    Ok(())
}
