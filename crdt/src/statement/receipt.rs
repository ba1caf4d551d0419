//! What a receipt says: "I saw this upstream give these bytes for this document".
//!
//! Of one author and one subject the newest counts and the others leave. The order is
//! [`Receipt::rank`], which no clock and no arrival has a part in, so that nodes which heard of the
//! same receipts keep the same ones. Whose word is believed is not decided here.
//!
//! Source: trust.md section 10.

use serde::{Deserialize, Serialize};

use super::MAX_COUNTER;
use crate::{Checksums, Digest, StatementId};

/// Separates the names of subjects from every other use of BLAKE3.
const SUBJECT_CONTEXT: &str = "griot 2026 receipt subject v1";

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

impl Subject {
    /// Its name: BLAKE3 over the origin, then each text with its length (u64 LE) before it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key(SUBJECT_CONTEXT);
        hasher.update(self.origin.as_bytes());
        for text in [&self.format, &self.document, &self.variant] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
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

impl Receipt {
    /// Its place among those of one author and subject, where the greatest counts: by `n`, then by
    /// statement id. `None` if its counter has no effect, and it is not to be kept.
    #[must_use]
    pub fn rank(&self, id: StatementId) -> Option<(u64, StatementId)> {
        (self.n <= MAX_COUNTER).then_some((self.n, id))
    }
}
