//! What a receipt says: "I saw this upstream give these bytes for this document".
//!
//! Source: trust.md section 10.

use serde::{Deserialize, Serialize};

use crate::{Checksums, Digest};

/// One document of one upstream in one form: what a receipt is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Id of the upstream's normalised URL.
    pub origin: Digest,
    /// The format's id.
    pub format: String,
    /// The format's own key: a package's normal name, or the path of a file.
    pub document: String,
    /// The form that was asked for, such as `full`; empty where there is one only.
    pub variant: String,
}

/// How its author came to believe the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// The upstream's TLS.
    Tls,
    /// The upstream's signature over them.
    Signed,
}

/// `receipt`: the newest of each author and subject counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which document.
    pub subject: Subject,
    /// Digest of the verbatim bytes.
    pub blake3: Digest,
    /// Their number.
    pub size: u64,
    /// As received.
    pub content_type: String,
    /// As received.
    pub etag: Option<String>,
    /// As received.
    pub last_modified: Option<String>,
    /// Seconds since 1970: shown as an age, decides nothing.
    pub fetched_at: u64,
    /// On what ground.
    pub via: Via,
    /// The highest of an author replaces; above 2^53 it replaces nothing.
    pub n: u64,
    /// Of a file whose document shows no strong checksum.
    pub checksums: Option<Checksums>,
}
