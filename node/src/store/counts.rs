//! How much there is of everything, without counting it.
//!
//! redb knows the length of each table, and the sum of the blobs is kept beside them, so that
//! `griot status` costs the same on an empty and on a full node.

use redb::ReadableTableMetadata;

use super::tables::{self, Tables};
use super::{Counts, Error, Store};

/// The kind of the rows that are wants.
const WANT: &str = "want";

impl Store {
    /// Numbers for `griot status`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        let txn = self.read()?;
        let rows = txn.table(tables::ROW)?;
        let mut wants = 0;
        for row in rows.range((WANT, "")..)? {
            if row?.0.value().0 != WANT {
                break;
            }
            wants += 1;
        }
        Ok(Counts {
            realms: txn.table(tables::FOLLOWED)?.len()?,
            packages: txn.table(tables::PACKAGE)?.len()?,
            releases: txn.table(tables::VIEW_VERSION)?.len()?,
            statements: txn.table(tables::STMT)?.len()?,
            blobs: txn.table(tables::BLOB)?.len()?,
            blob_bytes: txn.meta(tables::META_BLOB_BYTES)?,
            wants,
        })
    }
}
