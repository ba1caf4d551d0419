//! Why a blob is held: published here, pinned, a file of somebody's release, from an upstream, or
//! for no reason that is known.
//!
//! The first that applies, in this order. "Published here" is a release that a key of this node has
//! signed, or of this node's own realm; until the node has said which keys are its own, every
//! release counts as that, so that nothing goes by mistake. What is pinned is worked out above,
//! where names and ranges are understood.
//!
//! Counting all kinds reads every row of `blob`; the result is remembered, and a change makes it
//! stale only after a while that grows with what counting costs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crdt::{Digest, PublicKey, StatementId};
use redb::{ReadableTable as _, ReadableTableMetadata as _};
use serde::{Deserialize, Serialize};

use super::statements::{self, IDS};
use super::tables::{self, Tables};
use super::{BlobInfo, Error, FollowKind, Followed, Inner, Store};
use super::{blocking, cached_rows, lock, sessions};

/// Counting may take this part of the time: one in so many.
const SHARE: u32 = 20;

/// Why a blob is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By this node.
    Published,
    /// By a person: `griot keep`.
    Pinned,
    /// A release that somebody else has signed names it.
    Mirrored,
    /// It came from an upstream.
    Cached,
    /// Nothing names it.
    Unnamed,
}

/// Blobs and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// How much there is of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    /// Published here.
    pub published: Amount,
    /// Pinned by a person.
    pub pinned: Amount,
    /// Files of somebody else's releases.
    pub mirrored: Amount,
    /// From upstreams.
    pub cached: Amount,
    /// Named by nothing: `griot gc` removes it.
    pub unnamed: Amount,
    /// Packages of upstreams of which a file is recorded.
    pub cached_packages: u64,
}

impl Kinds {
    fn of(&mut self, kind: Kind) -> &mut Amount {
        match kind {
            Kind::Published => &mut self.published,
            Kind::Pinned => &mut self.pinned,
            Kind::Mirrored => &mut self.mirrored,
            Kind::Cached => &mut self.cached,
            Kind::Unnamed => &mut self.unnamed,
        }
    }
}

/// Which keys are this node's own, and the last count.
#[derive(Debug, Default)]
pub(super) struct Memo {
    own: Mutex<Option<BTreeSet<PublicKey>>>,
    counted: Mutex<Option<Counted>>,
}

#[derive(Debug, Clone)]
struct Counted {
    /// What there was then.
    state: (u64, u64, u64, u64, BTreeSet<Digest>),
    kinds: Kinds,
    at: Instant,
    took: Duration,
}

/// Says why a blob is held, as of one transaction.
pub(super) struct Judge<'a, T> {
    txn: &'a T,
    own: Option<BTreeSet<PublicKey>>,
    realms: BTreeSet<Digest>,
    pinned: &'a BTreeSet<Digest>,
}

impl<'a, T: Tables> Judge<'a, T> {
    pub(super) fn new(
        inner: &Inner,
        txn: &'a T,
        pinned: &'a BTreeSet<Digest>,
    ) -> Result<Self, Error> {
        let mut realms = BTreeSet::new();
        for row in txn.table(tables::FOLLOWED)?.iter()? {
            let row: Followed = tables::decode("followed realm", row?.1.value())?;
            if row.kind == FollowKind::Own {
                realms.insert(row.realm.0);
            }
        }
        Ok(Self { txn, own: lock(&inner.kinds.own).clone(), realms, pinned })
    }

    pub(super) fn kind(&self, digest: &Digest) -> Result<Kind, Error> {
        let releases = self.releases(digest)?;
        for id in &releases {
            if self.is_own(id)? {
                return Ok(Kind::Published);
            }
        }
        Ok(if self.pinned.contains(digest) {
            Kind::Pinned
        } else if !releases.is_empty() {
            Kind::Mirrored
        } else if cached_rows::is_used(self.txn, digest)? {
            Kind::Cached
        } else {
            Kind::Unnamed
        })
    }

    /// Whether an upload that is finished may still be about to name it.
    pub(super) fn is_held(&self, digest: &Digest) -> Result<bool, Error> {
        sessions::is_held(self.txn, digest)
    }

    fn releases(&self, digest: &Digest) -> Result<Vec<StatementId>, Error> {
        let digest = digest.as_bytes();
        let table = self.txn.table(tables::ARTIFACT)?;
        let rows = table.range((digest, &IDS.0)..=(digest, &IDS.1))?;
        rows.map(|row| Ok(StatementId(Digest::from_bytes(*row?.0.value().1)))).collect()
    }

    fn is_own(&self, id: &StatementId) -> Result<bool, Error> {
        let Some(own) = &self.own else { return Ok(true) };
        let signatures = self.txn.table(tables::SIG)?;
        for key in own {
            if signatures.get((id.0.as_bytes(), key.as_bytes()))?.is_some() {
                return Ok(true);
            }
        }
        let statement = statements::load_statement(self.txn, id)?;
        Ok(statement.is_some_and(|statement| self.realms.contains(&statement.realm().0)))
    }
}

impl Store {
    /// The keys that sign for this node. Until they are said, no release is evicted.
    pub fn set_own_keys(&self, keys: impl IntoIterator<Item = PublicKey>) {
        *lock(&self.inner.kinds.own) = Some(keys.into_iter().collect());
    }

    /// All bytes that a release names: its files, large metas, extras.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn release_digests(&self, release: &StatementId) -> Result<Vec<Digest>, Error> {
        let statement = statements::load_statement(&self.read()?, release)?;
        let named = |statement| statements::named(statement).map(|it| it.digest).collect();
        Ok(statement.as_ref().map(named).unwrap_or_default())
    }

    /// How much there is of each kind, as of a moment ago.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kinds(&self, pinned: BTreeSet<Digest>) -> Result<Kinds, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let txn = inner.read()?;
            let state = (
                txn.table(tables::BLOB)?.len()?,
                txn.meta(tables::META_BLOB_BYTES)?,
                txn.meta(tables::META_SEQUENCE)?,
                txn.table(tables::CACHED_DIGEST)?.len()?,
                pinned,
            );
            if let Some(counted) = lock(&inner.kinds.counted).as_ref()
                && (counted.state == state || counted.at.elapsed() < counted.took * SHARE)
            {
                return Ok(counted.kinds);
            }
            let at = Instant::now();
            let kinds = count(&inner, &txn, &state.4)?;
            let counted = Counted { state, kinds, at, took: at.elapsed() };
            *lock(&inner.kinds.counted) = Some(counted);
            Ok(kinds)
        })
        .await
    }
}

fn count(
    inner: &Inner,
    txn: &redb::ReadTransaction,
    pinned: &BTreeSet<Digest>,
) -> Result<Kinds, Error> {
    let (judge, mut kinds) = (Judge::new(inner, txn, pinned)?, Kinds::default());
    for row in txn.table(tables::BLOB)?.iter()? {
        let info: BlobInfo = tables::decode("blob record", row?.1.value())?;
        kinds.of(judge.kind(&info.digest)?).add(info.size);
    }
    let mut packages = BTreeSet::new();
    for row in txn.table(tables::CACHED_FILE)?.iter()? {
        let key = row?.0;
        let (_, format, name, _) = key.value();
        packages.insert(Digest::of(format!("{format}/{name}").as_bytes()));
    }
    kinds.cached_packages = packages.len() as u64;
    Ok(kinds)
}
