//! What vouches that a document is still what it was: a look at a few numbers, no database.
//!
//! A document of a realm hangs on the store alone, if nothing of it lacks here: its stamp is good
//! until a commit that may concern its package. One of an upstream hangs on time and on whether the
//! upstream answers, too. What hangs on more than that gets no stamp and is looked up for every
//! request.
//!
//! A stamp that is not good any more says nothing: the same bytes may come out again.

use crdt::{Digest, PackageId};

use super::freshness::{self, Freshness};
use super::sought::Sought;
use super::{Registry, UpstreamDocument};
use crate::store::Generation;
use crate::store::cached::CachedBy;
use crate::upstream::Reach;

/// Taken before the first look at what it vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    generation: Generation,
    upstream: Option<(Digest, u64)>,
}

impl Stamp {
    /// Seconds since the upstream confirmed the document; absent for one of a realm.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.upstream.map(|(_, checked)| freshness::now().saturating_sub(checked))
    }

    /// For a document that was found after it was taken.
    pub(super) fn of_upstream(self, sought: &Sought, found: &UpstreamDocument) -> Option<Self> {
        let whole = found.offered.is_none() && found.tags.is_none();
        let lasts = whole && found.by == CachedBy::Upstream && !found.stale;
        let upstream = Some((sought.origin(), found.checked_at));
        lasts.then_some(Self { upstream, ..self })
    }
}

impl Registry {
    /// What vouches for what is looked up of the package from now on.
    #[must_use]
    pub fn stamp(&self, package: &PackageId) -> Stamp {
        Stamp { generation: self.inner.store.generation(package), upstream: None }
    }

    /// Whether what was found under that stamp would be found again. `refresh`: the client asks for
    /// a check.
    #[must_use]
    pub fn vouches(&self, stamp: &Stamp, refresh: bool) -> bool {
        let same = self.inner.store.is_current(&stamp.generation);
        same && stamp.upstream.is_none_or(|(origin, checked)| {
            freshness::judge(freshness::now(), checked, refresh) == Freshness::Fresh
                && self.inner.upstream.reach(&origin) == Reach::Up
        })
    }
}
