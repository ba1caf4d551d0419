//! What was fetched from upstreams: which document or file has which bytes.
//!
//! Local rows, never replicated: others learn of them by receipts. The bytes are ordinary blobs.
//! Times are labels of this node's clock. Freshness is judged elsewhere.

use crdt::statement::Subject;
use crdt::{Digest, PublicKey};
use serde::{Deserialize, Serialize};

use super::{Error, Store};

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

impl Store {
    /// Keeps what is known of a document. A body that is pushed out of `earlier` is removed, unless
    /// something else refers to it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_cached_document(&self, document: CachedDocument) -> Result<(), Error> {
        let _ = document;
        Ok(())
    }

    /// What is known of a document.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_document(&self, subject: &Subject) -> Result<Option<CachedDocument>, Error> {
        let _ = subject;
        Ok(None)
    }

    /// All documents of a format that are held, of every origin; for search and counts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_documents(&self, format: &str) -> Result<Vec<CachedDocument>, Error> {
        let _ = format;
        Ok(Vec::new())
    }

    /// Keeps that a file is held.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_cached_file(&self, file: CachedFile) -> Result<(), Error> {
        let _ = file;
        Ok(())
    }

    /// The files of a package of an upstream that are held.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cached_files(
        &self,
        origin: &Digest,
        format: &str,
        package: &str,
    ) -> Result<Vec<CachedFile>, Error> {
        let _ = (origin, format, package);
        Ok(Vec::new())
    }

    /// The blob that has this SHA-512, if one is held. Weak checksums are no names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob_by_sha512(&self, sha512: &[u8; 64]) -> Result<Option<Digest>, Error> {
        let _ = sha512;
        Ok(None)
    }

    /// The blob that has this SHA-256, if one is held.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blob_by_sha256(&self, sha256: &[u8; 32]) -> Result<Option<Digest>, Error> {
        let _ = sha256;
        Ok(None)
    }

    /// Whether some cached document or file has these bytes: members of the site may have them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_cached(&self, digest: &Digest) -> Result<bool, Error> {
        let _ = digest;
        Ok(false)
    }
}
