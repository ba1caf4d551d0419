//! What vouches that a document is still what it was: a look at a few numbers, no database.
//!
//! A document of a realm hangs on the store alone, if no peer was asked: its stamp is good until a
//! new commit. One of an upstream hangs on time and on whether the upstream answers, too. What
//! hangs on more than that gets no stamp and is looked up for every request.
//!
//! A stamp that is not good any more says nothing: the same bytes may come out again.

use crdt::Digest;

use super::freshness::{self, Freshness};
use super::sought::Sought;
use super::{Registry, UpstreamDocument};
use crate::store::cached::CachedBy;
use crate::upstream::Reach;

/// Taken before the first look at what it vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    generation: u64,
    upstream: Option<OfUpstream>,
}

/// What a document of an upstream hangs on besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OfUpstream {
    origin: Digest,
    /// Seconds of this node's clock.
    checked_at: u64,
    /// Its bytes: whoever is given them out of memory uses them.
    body: Digest,
}

impl Stamp {
    /// The commits that it knows of: what is the same at two times is asked for once.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Seconds since the upstream confirmed the document; absent for one of a realm.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.upstream.map(|of| freshness::now().saturating_sub(of.checked_at))
    }

    /// For a document that was found after it was taken.
    pub(super) fn of_upstream(self, sought: &Sought, found: &UpstreamDocument) -> Option<Self> {
        let whole = found.offered.is_none() && found.tags.is_none();
        let lasts = whole && found.by == CachedBy::Upstream && !found.stale;
        let (origin, checked_at, body) = (sought.origin(), found.checked_at, found.digest);
        let upstream = Some(OfUpstream { origin, checked_at, body });
        lasts.then_some(Self { upstream, ..self })
    }
}

impl Registry {
    /// What vouches for what is looked up from now on.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { generation: self.inner.store.generation(), upstream: None }
    }

    /// Whether what was found under that stamp would be found again; if so, it counts as used now.
    /// `refresh`: the client asks for a check.
    #[must_use]
    pub fn vouches(&self, stamp: &Stamp, refresh: bool) -> bool {
        if stamp.generation != self.inner.store.generation() {
            return false;
        }
        let Some(of) = &stamp.upstream else { return true };
        let fresh = freshness::judge(freshness::now(), of.checked_at, refresh) == Freshness::Fresh
            && self.inner.upstream.reach(&of.origin) == Reach::Up;
        if fresh {
            self.inner.store.touch(&of.body);
        }
        fresh
    }
}
