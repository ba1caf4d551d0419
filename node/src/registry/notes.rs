//! What a format remembers for itself, such as advisories: rows of kind `note`, key `FORMAT/KEY`.
//!
//! Local to this node; nothing here reads them.

use super::{Error, Registry};

/// The kind of row.
const NOTE: &str = "note";
/// Bytes of one note.
const NOTE_BYTES_MAX: usize = 1024 * 1024;

impl Registry {
    /// Keeps a note of a format; it takes the place of the one under that key.
    ///
    /// # Errors
    /// Invalid beyond a mebibyte; when the store fails.
    pub async fn put_note(&self, format: &str, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(Error::invalid("a note is a mebibyte at most"));
        }
        Ok(self.inner.store.put_row(NOTE, &format!("{format}/{key}"), bytes).await?)
    }

    /// Keeps several notes of a format, in one commit.
    ///
    /// # Errors
    /// As [`Registry::put_note`]: none is kept then.
    pub async fn put_notes(
        &self,
        format: &str,
        notes: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Error> {
        if notes.iter().any(|(_, bytes)| bytes.len() > NOTE_BYTES_MAX) {
            return Err(Error::invalid("a note is a mebibyte at most"));
        }
        let row = |(key, bytes)| (format!("{format}/{key}"), bytes);
        let rows: Vec<_> = notes.into_iter().map(row).collect();
        Ok(self.inner.store.put_rows(NOTE, rows).await?)
    }

    /// The note under that key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn note(&self, format: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.inner.store.row(NOTE, &format!("{format}/{key}"))?)
    }
}
