//! What a beat says: "so much of this realm have I heard of".
//!
//! Of one author the newest counts, by counter (epoch, n), and the others leave. Who holds no more
//! than the author did and cannot reproduce the digest is missing something: a peer hides it. The
//! age of the news is shown, and decides nothing.
//!
//! Source: trust.md sections 4 and 9.

use super::Counter;
use crate::{Digest, RealmId, StatementId};

/// Separates the subjects of beats from every other use of BLAKE3.
const SUBJECT_CONTEXT: &str = "griot 2026 beat subject v1";
/// Separates the digests of sets from every other use of BLAKE3.
const SET_CONTEXT: &str = "griot 2026 beat set v1";

/// `beat`: the newest of each author counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The head of the chain that its author sees.
    pub head: StatementId,
    /// The highest of an author replaces.
    pub counter: Counter,
    /// [`Beat::digest_of`] the statements that its author counts.
    pub digest: Digest,
    /// Their number.
    pub count: u64,
    /// Seconds since 1970: shown as an age, decides nothing.
    pub claimed_time: u64,
}

impl Beat {
    /// The digest of a set of statements: BLAKE3 over their ids in ascending order.
    #[must_use]
    pub fn digest_of<'a>(ascending: impl IntoIterator<Item = &'a StatementId>) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key(SET_CONTEXT);
        for id in ascending {
            hasher.update(id.0.as_bytes());
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// What all beats of a realm are about.
    #[must_use]
    pub fn subject(realm: &RealmId) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key(SUBJECT_CONTEXT);
        Digest::from_bytes(*hasher.update(realm.0.as_bytes()).finalize().as_bytes())
    }
}
