//! Misses become wants: a file that somebody asked for and nobody near had.
//!
//! A want is a row (kind `want`, key = digest) that survives a restart. It is written when an
//! exact file cannot be had, never for a look at metadata, and goes when the bytes arrive.

use crdt::{Digest, PackageId};
use serde::{Deserialize, Serialize};

use super::{Error, Registry};

/// The kind of row that `griot status` counts.
pub(super) const WANT: &str = "want";

/// A file that lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The package that it belongs to.
    pub package: PackageId,
    /// Its normal version.
    pub version: String,
    /// Its file name.
    pub file: String,
    /// Its bytes.
    pub size: u64,
}

impl Registry {
    /// Remembers that the file was asked for in vain.
    pub(super) async fn want(&self, digest: &Digest, want: Want) -> Result<(), Error> {
        let value = serde_json::to_vec(&want).map_err(|e| Error::invalid(e.to_string()))?;
        let key = digest.to_hex();
        // Tried again in vain every few seconds: that is no reason to write.
        if self.inner.store.row(WANT, &key)?.as_ref() != Some(&value) {
            self.inner.store.put_row(WANT, &key, value).await?;
        }
        Ok(())
    }

    /// What lacks, by digest.
    ///
    /// # Errors
    /// When the store fails.
    pub fn wants(&self) -> Result<Vec<(Digest, Want)>, Error> {
        let rows = self.inner.store.rows(WANT)?;
        let read = |(key, value): (&String, &Vec<u8>)| {
            Some((key.parse().ok()?, serde_json::from_slice(value).ok()?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    pub(super) async fn fulfil(&self, digest: &Digest) -> Result<(), Error> {
        self.inner.store.delete_row(WANT, &digest.to_hex()).await?;
        Ok(())
    }
}
