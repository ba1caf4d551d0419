//! Which keys the connected peers have proven, and what they may therefore be asked for and given.
//!
//! The conversation with a peer verifies its keys and writes them down here; they are forgotten
//! when its last connection is gone. Who may see what is asked of the store each time, so that a
//! reader that has lost its grant is a stranger at once. Lost at a restart.
//!
//! Source: trust.md section 14.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crdt::session::Readers;
use crdt::{Digest, PublicKey};
use libp2p::PeerId;

use super::swarm::Driver;
use crate::store::ProvenKeys;

/// Keys by peer. A handle; clones are cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Proven(Arc<RwLock<HashMap<PeerId, Arc<ProvenKeys>>>>);

impl Proven {
    /// The peer holds exactly these.
    pub(super) fn note(&self, peer: PeerId, keys: BTreeSet<PublicKey>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(peer, Arc::new(keys));
    }

    /// The peer is gone.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }

    /// What a peer has proven.
    pub(super) fn of(&self, peer: &PeerId) -> Arc<ProvenKeys> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(peer).cloned().unwrap_or_default()
    }
}

impl Driver {
    /// The connected peers that may hear of a blob, those first that are likely to hold it. A
    /// failure of the store names nobody: rather no blob than a question to a stranger.
    pub(super) fn may_hear_of(&self, digest: &Digest) -> Vec<PeerId> {
        let store = &self.context.store;
        let named = store.naming(digest).and_then(|realms| {
            let readers = realms.iter().map(|realm| store.readers_of(realm));
            Ok((realms.clone(), readers.collect::<Result<Vec<_>, _>>()?))
        });
        let (realms, readers) = match named {
            Ok(named) => named,
            Err(error) => {
                tracing::warn!(%digest, %error, "nobody is asked for a blob");
                return Vec::new();
            }
        };
        let follows = |id: &PeerId| {
            let peer = self.peers.get(id);
            peer.is_some_and(|peer| realms.iter().any(|realm| peer.follows.contains(realm)))
        };
        let mut peers = self.peers.ids();
        peers.retain(|id| self.context.doors.are_open_to(id));
        if !readers.is_empty() {
            peers.retain(|id| {
                let proven = self.context.proven.of(id);
                readers.iter().any(|of| *of != Readers::Unknown && of.admit(&proven)) || follows(id)
            });
        }
        peers.sort_by_cached_key(|id| !follows(id));
        peers
    }
}
