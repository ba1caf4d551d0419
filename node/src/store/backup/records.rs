//! The records of a backup: one snapshot, copied table by table into a fresh file.
//!
//! A file of pages that is being written cannot be copied as it is; what a read transaction sees
//! can. The copy is packed, whatever the node's file has grown to. What a reader of the backup must
//! not get is left out on the way.

use std::path::Path;

use crdt::Digest;
use redb::{Database, ReadOnlyDatabase, ReadTransaction, ReadableTable as _};
use redb::{ReadableTableMetadata as _, TableDefinition, WriteTransaction};

use super::super::tables::{self, Tables as _, every_table};
use super::super::{BlobInfo, Error, FollowKind, Followed, blob};
use super::{Course, Phase};

/// Rows of one transaction. Its pages beyond the cache go to the file meanwhile.
const ROWS: usize = 10_000;
/// Memory for the pages of a file that is read.
const CACHE_BYTES: usize = 8 << 20;

/// What is kept of rows that are not for everybody.
pub(super) struct Keep {
    pub(super) row: fn(&str, &str, &[u8]) -> Option<Vec<u8>>,
    pub(super) is_own: bool,
}

/// Copies all tables; says how many rows they have.
pub(super) fn copy(
    from: &ReadTransaction,
    to: &Database,
    keep: &Keep,
    course: &mut Course,
) -> Result<u64, Error> {
    let mut total = 0;
    macro_rules! count {
        ($($table:ident)*) => {$( total += from.table(tables::$table)?.len()?; )*};
    }
    every_table!(count);
    course.begin(Phase::Records, total)?;
    macro_rules! each {
        ($($table:ident)*) => {$( table(from, to, tables::$table, course)?; )*};
    }
    every_table!(each);
    let txn = to.begin_write()?;
    sift(&txn, keep.row)?;
    if !keep.is_own {
        disown(&txn)?;
    }
    txn.commit()?;
    Ok(total)
}

fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
    from: &ReadTransaction,
    to: &Database,
    definition: TableDefinition<'static, K, V>,
    course: &mut Course,
) -> Result<(), Error> {
    let source = from.table(definition)?;
    let mut rows = source.iter()?;
    loop {
        let txn = to.begin_write()?;
        let mut count = 0;
        {
            let mut target = txn.open_table(definition)?;
            for row in rows.by_ref().take(ROWS) {
                let (key, value) = row?;
                target.insert(key.value(), value.value())?;
                count += 1;
            }
        }
        txn.commit()?;
        course.step(count)?;
        if count < ROWS as u64 {
            return Ok(());
        }
    }
}

/// Passes the rows of other layers by their owner.
fn sift(
    txn: &WriteTransaction,
    keep: fn(&str, &str, &[u8]) -> Option<Vec<u8>>,
) -> Result<(), Error> {
    let mut changed = Vec::new();
    for row in txn.table(tables::ROW)?.iter()? {
        let row = row?;
        let (kind, key) = row.0.value();
        let kept = keep(kind, key, row.1.value());
        if kept.as_deref() != Some(row.1.value()) {
            changed.push((kind.to_owned(), key.to_owned(), kept));
        }
    }
    let mut rows = txn.open_table(tables::ROW)?;
    for (kind, key, kept) in changed {
        let key = (kind.as_str(), key.as_str());
        match kept {
            Some(value) => rows.insert(key, value.as_slice())?,
            None => rows.remove(key)?,
        };
    }
    Ok(())
}

/// Without its keys a realm is somebody else's: the site, if there is none yet.
fn disown(txn: &WriteTransaction) -> Result<(), Error> {
    let followed = super::super::local::all_followed(txn)?;
    let has_site = followed.iter().any(|it| it.kind == FollowKind::Site);
    for own in followed.into_iter().filter(|it| it.kind == FollowKind::Own) {
        let kind = if has_site { FollowKind::Followed } else { FollowKind::Site };
        let realm = own.realm;
        let bytes = tables::encode("followed realm", &Followed { kind, ..own })?;
        txn.open_table(tables::FOLLOWED)?.insert(realm.0.as_bytes(), bytes.as_slice())?;
    }
    Ok(())
}

/// Forgets blobs that could not be brought.
pub(super) fn leave_out(copy: &Database, lacking: &[Digest]) -> Result<(), Error> {
    let txn = copy.begin_write()?;
    for digest in lacking {
        blob::forget(&txn, digest)?;
    }
    Ok(txn.commit()?)
}

/// The blobs that the records name, by digest.
pub(in crate::store) fn blobs(
    txn: &ReadTransaction,
) -> Result<impl Iterator<Item = Result<BlobInfo, Error>> + use<>, Error> {
    let rows = txn.table(tables::BLOB)?.range::<&[u8; 32]>(..)?;
    Ok(rows.map(|row| tables::decode("blob record", row?.1.value())))
}

/// Opens records that nobody writes.
pub(super) fn open(path: &Path) -> Result<ReadOnlyDatabase, Error> {
    let mut builder = Database::builder();
    Ok(builder.set_cache_size(CACHE_BYTES).open_read_only(path)?)
}
