//! What was fetched from upstreams: which document or file has which bytes.
//!
//! Local rows, never replicated: others learn of them by receipts. The bytes are ordinary blobs.
//! Times are labels of this node's clock. Freshness is judged elsewhere. Rows are durable when a
//! call returns, and are written by `batch`; a row whose blob is gone is as good as none.
//!
//! Source: formats/README.md section 1, trust.md section 10.

use std::ops::Bound;

use crdt::statement::Subject;
use crdt::{Digest, PublicKey};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::batch::Change;
use super::blob::Staged;
use super::cached_rows;
use super::tables::{self, Tables};
use super::{BlobInfo, Error, Store};

/// On whose word a cached thing is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CachedBy {
    /// This node asked the upstream.
    Upstream,
    /// A mirror's receipt.
    Receipt {
        /// Who signed it.
        author: PublicKey,
    },
    /// Several mirrors that agree.
    Agreement {
        /// Who signed.
        authors: Vec<PublicKey>,
    },
    /// A strong checksum in a document that is believed.
    Checksum,
}

/// A document of an upstream, as it is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedDocument {
    /// Which.
    pub subject: Subject,
    /// Its bytes; absent when the upstream said that there is no such document.
    pub body: Option<Digest>,
    /// Bytes of the body.
    pub size: u64,
    /// As received.
    pub content_type: String,
    /// As received.
    pub etag: Option<String>,
    /// As received.
    pub last_modified: Option<String>,
    /// Where redirects led to these bytes, absolute: what is relative in them is relative to that.
    #[serde(default)]
    pub moved: Option<String>,
    /// Seconds since 1970 when these bytes came from the upstream.
    pub fetched_at: u64,
    /// Seconds since 1970 when the upstream last said that they are current.
    pub checked_at: u64,
    /// On whose word.
    pub by: CachedBy,
    /// Earlier bodies that are still held, newest first: bases of patches.
    pub earlier: Vec<Digest>,
}

/// A file of an upstream that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedFile {
    /// Which upstream.
    pub origin: Digest,
    /// The format's id.
    pub format: String,
    /// Normal name of the package.
    pub package: String,
    /// Normal version.
    pub version: String,
    /// File name.
    pub file: String,
    /// Its bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// On whose word.
    pub by: CachedBy,
}

/// Longer validators and content types are not kept: they come from outside.
const TEXT_MAX: usize = 1024;
/// Names of more bytes than this in all are refused.
const NAMES_MAX: usize = 4096;
/// Earlier bodies that are held beside the newest.
pub(super) const EARLIER_MAX: usize = 2;
/// Signers that are remembered of an agreement.
const AUTHORS_MAX: usize = 16;

impl Store {
    /// Keeps what is known of a document. The body that was held before becomes the first of
    /// `earlier`, whatever the caller says there. A body that is pushed out of `earlier` is
    /// removed, unless something else refers to it. Calls at the same time share one commit.
    ///
    /// # Errors
    /// When the database refuses; [`Error::TooLarge`] for absurdly long names.
    pub async fn put_cached_document(&self, document: CachedDocument) -> Result<(), Error> {
        self.keep(vec![document.change()?]).await.map(|_| ())
    }

    /// The same together with its body: one commit makes both durable.
    ///
    /// # Errors
    /// As [`Store::put_cached_document`] and [`Store::commit`].
    pub async fn commit_document(
        &self,
        staged: Staged,
        document: CachedDocument,
    ) -> Result<BlobInfo, Error> {
        self.commit_with(staged, Some(document.change()?)).await
    }

    /// What is known of a document.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_document(&self, subject: &Subject) -> Result<Option<CachedDocument>, Error> {
        self.reading(|txn| cached_rows::document(txn, subject))
    }

    /// All documents of a format that are held, of every origin; for search and counts. Those that
    /// the upstream does not have are among them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_documents(&self, format: &str) -> Result<Vec<CachedDocument>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::CACHED_DOCUMENT)?;
            let mut found = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                if key.value().1 == format {
                    found.push(tables::decode("cached document", value.value())?);
                }
            }
            Ok(found)
        })
    }

    /// At most `count` documents of every format and origin, in the order of their keys, from the
    /// first behind `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_documents_after(
        &self,
        after: Option<&Subject>,
        count: usize,
    ) -> Result<Vec<CachedDocument>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::CACHED_DOCUMENT)?;
            let from = match after {
                Some(after) => Bound::Excluded(cached_rows::document_key(after)),
                None => Bound::Unbounded,
            };
            let rows = table.range::<cached_rows::DocumentKey<'_>>((from, Bound::Unbounded))?;
            rows.take(count).map(|row| tables::decode("cached document", row?.1.value())).collect()
        })
    }

    /// Keeps that a file is held. Calls at the same time share one commit.
    ///
    /// # Errors
    /// When the database refuses; [`Error::TooLarge`] for absurdly long names.
    pub async fn put_cached_file(&self, file: CachedFile) -> Result<(), Error> {
        self.keep(vec![file.change()?]).await.map(|_| ())
    }

    /// The same together with its bytes: one commit makes both durable.
    ///
    /// # Errors
    /// As [`Store::put_cached_file`] and [`Store::commit`].
    pub async fn commit_file(&self, staged: Staged, file: CachedFile) -> Result<BlobInfo, Error> {
        self.commit_with(staged, Some(file.change()?)).await
    }

    /// The files of a package of an upstream that are held, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_files(
        &self,
        origin: &Digest,
        format: &str,
        package: &str,
    ) -> Result<Vec<CachedFile>, Error> {
        self.reading(|txn| {
            let table = txn.table(tables::CACHED_FILE)?;
            let mut found = Vec::new();
            for row in table.range((origin.as_bytes(), format, package, "")..)? {
                let (key, value) = row?;
                let (of, its_format, its_package, _) = key.value();
                if (of, its_format, its_package) != (origin.as_bytes(), format, package) {
                    break;
                }
                found.push(tables::decode("cached file", value.value())?);
            }
            Ok(found)
        })
    }

    /// The blob that has this SHA-512, if one is held and the sum was computed when it came. Weak
    /// checksums are no names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob_by_sha512(&self, sha512: &[u8; 64]) -> Result<Option<Digest>, Error> {
        self.reading(|txn| {
            let row = txn.table(tables::SHA512)?.get(sha512)?;
            self.if_held(row.map(|row| Digest::from_bytes(*row.value())))
        })
    }

    /// The blob that has this SHA-256, if one is held.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob_by_sha256(&self, sha256: &[u8; 32]) -> Result<Option<Digest>, Error> {
        self.reading(|txn| {
            let row = txn.table(tables::SHA256)?.get(sha256)?;
            self.if_held(row.map(|row| Digest::from_bytes(*row.value())))
        })
    }

    fn if_held(&self, digest: Option<Digest>) -> Result<Option<Digest>, Error> {
        let Some(digest) = digest else { return Ok(None) };
        Ok(self.blob(&digest)?.map(|info| info.digest))
    }

    /// Whether some cached document or file has these bytes: members of the site may have them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_cached(&self, digest: &Digest) -> Result<bool, Error> {
        self.reading(|txn| cached_rows::is_used(txn, digest))
    }
}

impl CachedDocument {
    /// Within bounds: names, validators and content types come from outside.
    fn change(mut self) -> Result<Change, Error> {
        let subject = &self.subject;
        check_names(&[&subject.format, &subject.document, &subject.variant])?;
        if self.content_type.len() > TEXT_MAX {
            self.content_type.clear();
        }
        for text in [&mut self.etag, &mut self.last_modified, &mut self.moved] {
            *text = text.take().filter(|text| text.len() <= TEXT_MAX);
        }
        self.by = self.by.bounded();
        Ok(Change::Document(Box::new(self)))
    }
}

impl CachedFile {
    fn change(mut self) -> Result<Change, Error> {
        check_names(&[&self.format, &self.package, &self.version, &self.file])?;
        self.by = self.by.bounded();
        Ok(Change::File(Box::new(self)))
    }
}

impl CachedBy {
    fn bounded(mut self) -> Self {
        if let Self::Agreement { authors } = &mut self {
            authors.truncate(AUTHORS_MAX);
        }
        self
    }
}

/// Names come from clients and upstreams; the database takes any length, and would grow.
fn check_names(names: &[&str]) -> Result<(), Error> {
    let size: usize = names.iter().map(|name| name.len()).sum();
    if size > NAMES_MAX { Err(Error::TooLarge { limit: NAMES_MAX as u64 }) } else { Ok(()) }
}
