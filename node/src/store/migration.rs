//! Bringing the records of a home to the layout of this program, and a way back.
//!
//! `meta.schema` is the layout. Each [`Step`] leads from one to the next in one transaction that
//! sets the number last, so a cut at any point leaves the layout before or the one after, and the
//! next start goes on. Before the first step the file is copied to `store.redb.before-N`: with that
//! under the name `store.redb` the program before runs again. The copy gets an epoch of its own,
//! because a store that went back in time must not go on in the log that its peers remember.
//! It is removed at a start [`KEPT_DAYS`] days later, or by hand.
//!
//! A file of a later program is refused before anything is written. Derived tables are not brought
//! over but made anew: see `views`. Steps are frozen: they use no type that may change later.
//!
//! Source: DESIGN.md section 5.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use redb::{Database, ReadableTable as _, WriteTransaction};

use super::database::Base;
use super::disk::Disk;
use super::paths::Paths;
use super::quota::RESERVE_BYTES;
use super::tables::{self, Tables};
use super::{BlobInfo, Error, blob, database};

mod from_1;
mod from_2;
mod taking_out;

/// How long the copy of the layout before is kept.
const KEPT_DAYS: u64 = 14;
/// Bytes that are copied at once.
const PIECE_BYTES: usize = 1 << 20;
/// Kind and key of the row that says which program wrote last.
const PROGRAM: (&str, &str) = ("store", "program");

/// From one layout to the next.
struct Step {
    from: u64,
    run: fn(&WriteTransaction) -> Result<(), Error>,
}

/// All of them, by `from`.
const STEPS: &[Step] = &[Step { from: 1, run: from_1::run }, Step { from: 2, run: from_2::run }];

/// Opens or creates the database in the layout of this program; gives the store's epoch with it.
///
/// # Errors
/// [`Error::Newer`] if a later program wrote it, [`Error::Full`] if there is no room for the copy;
/// the file is then as it was.
pub(super) fn open(disk: &Disk, paths: &Paths, cache: usize) -> Result<(Base, u64), Error> {
    let path = paths.database();
    peek(&path)?;
    let (mut base, schema) = database::open(disk, &path, cache, |found| {
        match schema_of(found)? {
            0 => create(found)?,
            tables::SCHEMA_VERSION => complete(found)?,
            older => return Ok(older),
        }
        Ok(tables::SCHEMA_VERSION)
    })?;
    if schema < tables::SCHEMA_VERSION {
        drop(base);
        keep_copy(disk, paths, schema, cache)?;
        (base, _) = database::open(disk, &path, cache, |found| {
            bring_on(found, schema)?;
            complete(found)?;
            Ok(tables::SCHEMA_VERSION)
        })?;
    } else {
        drop_old_copies(disk, paths)?;
    }
    let epoch = base.begin_read()?.meta(tables::META_EPOCH)?;
    Ok((base, epoch))
}

/// Refuses a later layout without writing to the file. One that was not closed cleanly is told
/// apart when it is opened.
fn peek(path: &Path) -> Result<(), Error> {
    let Ok(database) = Database::builder().open_read_only(path) else { return Ok(()) };
    match redb::ReadableDatabase::begin_read(&database) {
        Ok(txn) => refuse_newer(&txn),
        Err(_) => Ok(()),
    }
}

fn refuse_newer(txn: &impl Tables) -> Result<(), Error> {
    // A file without the table is new.
    let found = txn.meta(tables::META_SCHEMA).unwrap_or(0);
    if found <= tables::SCHEMA_VERSION {
        return Ok(());
    }
    let program = txn.table(tables::ROW).ok().and_then(|rows| {
        let row = rows.get(PROGRAM).ok()??;
        String::from_utf8(row.value().to_vec()).ok()
    });
    let program = program.unwrap_or_else(|| "the griot that wrote it".into());
    Err(Error::Newer { found, known: tables::SCHEMA_VERSION, program })
}

/// The layout; 0 of a new file.
fn schema_of(database: &Database) -> Result<u64, Error> {
    let txn = database.begin_write()?;
    refuse_newer(&txn)?;
    let schema = txn.meta(tables::META_SCHEMA)?;
    txn.abort()?;
    Ok(schema)
}

/// Makes the tables of a new file.
fn create(database: &Database) -> Result<(), Error> {
    let txn = database.begin_write()?;
    tables::create(&txn)?;
    tables::set_meta(&txn, tables::META_EPOCH, draw_epoch()?)?;
    set_program(&txn)?;
    tables::set_meta(&txn, tables::META_SCHEMA, tables::SCHEMA_VERSION)?;
    Ok(txn.commit()?)
}

/// A random number of 53 bits: peers may be written in languages whose integers end there.
pub(super) fn draw_epoch() -> Result<u64, Error> {
    let mut epoch = [0; 8];
    getrandom::fill(&mut epoch).map_err(std::io::Error::from)?;
    Ok(u64::from_le_bytes(epoch) >> 11)
}

/// Runs the steps from a layout on.
fn bring_on(database: &Database, schema: u64) -> Result<(), Error> {
    for from in schema..tables::SCHEMA_VERSION {
        let step = STEPS.iter().find(|step| step.from == from);
        let step = step.ok_or(Error::Older { found: from, known: tables::SCHEMA_VERSION })?;
        let to = from + 1;
        tracing::info!("upgrading the records of this home from layout {from} to {to}");
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        (step.run)(&txn)?;
        tables::set_meta(&txn, tables::META_SCHEMA, to)?;
        txn.commit()?;
        tracing::info!("the records of this home have layout {to} now");
    }
    Ok(())
}

/// Adds what came without a change of the layout: tables, and the ways to find a blob.
fn complete(database: &Database) -> Result<(), Error> {
    let txn = database.begin_write()?;
    let lacking = tables::lacking(&txn)?;
    let known = is_program(&txn)?;
    if lacking.is_empty() && known {
        return Ok(txn.abort()?);
    }
    tables::create(&txn)?;
    let index =
        [redb::TableHandle::name(&tables::SHA256), redb::TableHandle::name(&tables::SHA512)];
    if lacking.iter().any(|name| index.contains(&name.as_str())) {
        index_blobs(&txn)?;
    }
    set_program(&txn)?;
    Ok(txn.commit()?)
}

fn index_blobs(txn: &WriteTransaction) -> Result<(), Error> {
    for row in txn.table(tables::BLOB)?.iter()? {
        let info: BlobInfo = tables::decode("blob record", row?.1.value())?;
        blob::index_checksums(txn, &info)?;
    }
    Ok(())
}

/// As a person would ask for it.
fn program() -> String {
    format!("griot {}", env!("CARGO_PKG_VERSION"))
}

fn is_program(txn: &WriteTransaction) -> Result<bool, Error> {
    let rows = txn.table(tables::ROW)?;
    Ok(rows.get(PROGRAM)?.is_some_and(|row| row.value() == program().as_bytes()))
}

fn set_program(txn: &WriteTransaction) -> Result<(), Error> {
    txn.open_table(tables::ROW)?.insert(PROGRAM, program().as_bytes())?;
    Ok(())
}

/// Keeps the file as it is now, beside it; whole or not at all.
fn keep_copy(disk: &Disk, paths: &Paths, schema: u64, cache: usize) -> Result<(), Error> {
    let mut from = fs_err::File::open(paths.database())?;
    let needed = from.metadata()?.len().saturating_add(RESERVE_BYTES);
    let free = disk.free_space(paths.home())?;
    if free < needed {
        return Err(Error::Full { free, needed });
    }
    let temporary = paths.tmp().join("before.new");
    let to = disk.fresh(&temporary)?;
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        to.write_all_at(offset, &piece[..count])?;
        offset += count as u64;
    }
    to.sync()?;
    drop(to);
    let copy = database::plain(disk, &temporary, cache)?;
    renew_epoch(&copy)?;
    copy.close()?;
    disk.rename(&temporary, &paths.database_before(schema))?;
    Ok(disk.sync_folder(paths.home())?)
}

/// Another epoch: what this store says from here on is another log.
pub(super) fn renew_epoch(database: &Database) -> Result<(), Error> {
    let txn = database.begin_write()?;
    tables::set_meta(&txn, tables::META_EPOCH, draw_epoch()?)?;
    Ok(txn.commit()?)
}

/// Removes copies that nobody went back to.
fn drop_old_copies(disk: &Disk, paths: &Paths) -> Result<(), Error> {
    for entry in fs_err::read_dir(paths.home())? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(Paths::is_database_before) {
            continue;
        }
        let written = entry.metadata()?.modified()?;
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        if age >= Duration::from_secs(KEPT_DAYS * 24 * 60 * 60) {
            disk.remove(&entry.path())?;
            tracing::info!(
                "the copy from before an upgrade was removed: {}",
                entry.path().display()
            );
        }
    }
    Ok(())
}
