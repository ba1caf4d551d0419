//! Lists of releases in seals and revocations: in the statement, or in a blob that it names.
//!
//! The blob is the 32-byte ids one after the other, ascending, each once. A list whose blob is not
//! held is not known; it is never taken for an empty one.
//!
//! Source: trust.md section 3.

use super::BlobRef;
use super::limits::{MAX_INLINE_IDS, MAX_LISTED_IDS, malformed};
use crate::{Digest, Error, StatementId};

/// Bytes of one id.
const ID_BYTES: u64 = 32;

/// A set of releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdList {
    /// At most 500, ascending.
    Inline(Vec<StatementId>),
    /// More.
    Blob {
        /// Digest of the ids' bytes.
        digest: Digest,
        /// How many there are, at least 1.
        count: u64,
    },
}

impl IdList {
    /// The list of these releases, and the bytes of its blob if it has one.
    ///
    /// # Errors
    /// [`Error::OverLimit`] for more than 2,000,000.
    pub fn of(mut ids: Vec<StatementId>) -> Result<(Self, Option<Vec<u8>>), Error> {
        ids.sort_unstable();
        ids.dedup();
        let count = ids.len() as u64;
        if count > MAX_LISTED_IDS {
            return Err(Error::OverLimit {
                what: "number of releases in a list",
                limit: MAX_LISTED_IDS,
            });
        }
        if ids.len() <= MAX_INLINE_IDS {
            return Ok((Self::Inline(ids), None));
        }
        let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.0.as_bytes()).collect();
        Ok((Self::Blob { digest: Digest::of(&bytes), count }, Some(bytes)))
    }

    /// The blob that holds it, if one does.
    #[must_use]
    pub const fn blob(&self) -> Option<BlobRef> {
        match self {
            Self::Inline(_) => None,
            Self::Blob { digest, count } => {
                Some(BlobRef { digest: *digest, size: count.saturating_mul(ID_BYTES) })
            }
        }
    }

    /// Reads the bytes of a blob, whose digest was verified.
    ///
    /// # Errors
    /// [`Error::Malformed`] if they are no ascending ids: such a list is empty for everybody.
    pub fn read(bytes: &[u8]) -> Result<Vec<StatementId>, Error> {
        let (ids, rest) = bytes.as_chunks::<32>();
        let ids: Vec<_> = ids.iter().map(|id| StatementId(Digest::from_bytes(*id))).collect();
        if rest.is_empty() && ids.is_sorted_by(|a, b| a < b) {
            Ok(ids)
        } else {
            Err(malformed("the blob of a list is not ascending ids"))
        }
    }

    pub(super) fn sort(&mut self) {
        if let Self::Inline(ids) = self {
            ids.sort_unstable();
            ids.dedup();
        }
    }
}
