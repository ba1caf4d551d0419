//! Who is a member of this node's site: who may have what was only cached from an upstream.
//!
//! A peer is one for any of three reasons:
//!
//! 1. it redeemed an invite of this node: a row of kind `member`, its key the peer id;
//! 2. its invite brought this node into what is the site now: a row of kind `inviter`, its value
//!    the realm; it ends with the site;
//! 3. the head of the site's realm grants it the role `member`.
//!
//! Rows are read when somebody asks. What the realm grants is kept until the follows change or the
//! mesh hears of a new root. Who becomes one is decided elsewhere: by the pairing desk, by a join,
//! by the holders of the root key.
//!
//! Source: trust.md section 14, DESIGN section 4.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crdt::RealmId;
use crdt::statement::Grantee;
use libp2p::PeerId;

use crate::store::{self, FollowKind, Store};

/// The kind of rows of peers that redeemed an invite of this node.
pub const MEMBER_ROW: &str = "member";
/// The kind of rows of peers whose invite this node has joined by; the value is the realm's id.
pub const INVITER_ROW: &str = "inviter";
/// The role that makes a peer a member.
const ROLE: &str = "member";

/// Answers whether a peer is a member; clones are cheap.
#[derive(Debug, Clone)]
pub(super) struct Members {
    store: Store,
    granted: Arc<Mutex<Option<Granted>>>,
}

/// What the site's realm grants.
#[derive(Debug)]
struct Granted {
    /// As of which change of the follows.
    follows: u64,
    site: Option<RealmId>,
    peers: HashSet<Vec<u8>>,
}

impl Members {
    /// Of the node with this store.
    pub(super) fn new(store: Store) -> Self {
        Self { store, granted: Arc::default() }
    }

    /// Whether the peer is a member now. When the store fails nobody is.
    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.ask(peer).unwrap_or_else(|error| {
            tracing::warn!(%error, "the members of the site cannot be read");
            false
        })
    }

    /// A root was admitted: what is remembered of grants may be wrong.
    pub(super) fn forget(&self) {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn ask(&self, peer: &PeerId) -> Result<bool, store::Error> {
        let key = peer.to_string();
        if self.store.row(MEMBER_ROW, &key)?.is_some() {
            return Ok(true);
        }
        let inviter_into = self.store.row(INVITER_ROW, &key)?;
        // Only one at a time computes; who waits finds it done.
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = *self.store.watch_follows().borrow();
        let fresh = match granted.take() {
            Some(known) if known.follows == follows => known,
            _ => Granted::compute(&self.store, follows)?,
        };
        let invited = inviter_into.is_some_and(|realm| {
            fresh.site.is_some_and(|site| site.0.as_bytes().as_slice() == realm)
        });
        let is_member = invited || fresh.peers.contains(&peer.to_bytes());
        *granted = Some(fresh);
        Ok(is_member)
    }
}

impl Granted {
    fn compute(store: &Store, follows: u64) -> Result<Self, store::Error> {
        let followed = store.followed()?;
        let of_kind = |kind| followed.iter().find(|known| known.kind == kind);
        let site = of_kind(FollowKind::Site).or_else(|| of_kind(FollowKind::Own));
        let site = site.map(|known| known.realm);
        let head = site.map(|site| store.authority(&site)).transpose()?.and_then(|of| of.head);
        let grants = head.into_iter().flat_map(|head| head.grants);
        let peers = grants.filter(|grant| grant.role == ROLE).filter_map(|grant| match grant.to {
            Grantee::Peer(peer) => Some(peer),
            Grantee::Key(_) | Grantee::Realm(_) => None,
        });
        let peers = peers.collect();
        Ok(Self { follows, site, peers })
    }
}
