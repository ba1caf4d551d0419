//! What both sides follow, and whether both hold the same of it.

use super::{Checked, Index, Session};
use crate::Collection;
use crate::reconcile::{Fingerprint, collection_name, overall};

/// Authority first, then by realm and format: the order of every list in a conversation.
pub(super) fn authority_first(collection: &Collection) -> (bool, &Collection) {
    (!matches!(collection, Collection::Authority(_)), collection)
}

impl Session {
    /// Non-empty shared collections with their states, authority first.
    pub(super) fn collections(&self, index: &dyn Index) -> Vec<(Collection, Fingerprint)> {
        let mut all: Vec<(Collection, Fingerprint)> = self
            .sight
            .shared
            .iter()
            .flat_map(|realm| index.collections(realm))
            .filter(|(_, state)| state.count > 0)
            .collect();
        all.sort_by(|(a, _), (b, _)| authority_first(a).cmp(&authority_first(b)));
        all
    }

    /// How a collection is called in this conversation.
    pub(super) fn name(&self, collection: &Collection) -> [u8; 32] {
        collection_name(&self.names, collection)
    }

    /// What a CHECK would say now, under `key`.
    pub(super) fn state(&self, key: &[u8; 32], index: &dyn Index) -> Checked {
        // Read first: what is admitted meanwhile may be counted, but not promised.
        let sequence = index.last_sequence();
        let all = self.collections(index);
        Checked {
            count: all.iter().map(|(_, state)| state.count).sum(),
            fingerprint: overall(key, &all),
            sequence,
        }
    }
}
