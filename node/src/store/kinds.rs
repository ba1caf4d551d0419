//! Why a blob is held: published here, pinned, a file of somebody's release, from an upstream, or
//! for no reason that is known.
//!
//! The first that applies, in this order. "Published here" is a release that a key of this node has
//! signed, or of this node's own realm; until the node has said which keys are its own, every
//! release counts as that, so that nothing goes by mistake. What is pinned is worked out above,
//! where names and ranges are understood.
//!
//! How much there is of each kind is not counted when somebody asks: see `kinds::kept`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crdt::{Digest, PublicKey, StatementId};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};

use super::statements::{self, IDS};
use super::tables::{self, Tables};
use super::{Error, FollowKind, Followed, Inner, Store};
use super::{blocking, cached_rows, lists, lock, sessions};

mod kept;

pub(super) use kept::{around, around_all, count_package};

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
    /// Packages of an upstream of which a file is recorded.
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

/// Which keys are this node's own; `None` until it has said so.
pub(super) type OwnKeys = Mutex<Option<BTreeSet<PublicKey>>>;

/// What makes a release this node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Own {
    /// Public keys as their bytes.
    keys: Option<BTreeSet<Vec<u8>>>,
    realms: BTreeSet<Digest>,
}

impl Own {
    /// As it is now.
    fn now(inner: &Inner, txn: &impl Tables) -> Result<Self, Error> {
        let mut realms = BTreeSet::new();
        for row in txn.table(tables::FOLLOWED)?.iter()? {
            let row: Followed = tables::decode("followed realm", row?.1.value())?;
            if row.kind == FollowKind::Own {
                realms.insert(row.realm.0);
            }
        }
        let keys = lock(&inner.own_keys)
            .as_ref()
            .map(|keys| keys.iter().map(|key| key.as_bytes().to_vec()).collect());
        Ok(Self { keys, realms })
    }
}

/// Says why a blob is held, as of one transaction.
pub(super) struct Judge<'a, T> {
    txn: &'a T,
    own: Own,
    pinned: &'a BTreeSet<Digest>,
}

impl<'a, T: Tables> Judge<'a, T> {
    pub(super) fn new(
        inner: &Inner,
        txn: &'a T,
        pinned: &'a BTreeSet<Digest>,
    ) -> Result<Self, Error> {
        Ok(Self { txn, own: Own::now(inner, txn)?, pinned })
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

    /// Whether a seal or a revocation has it for its list.
    pub(super) fn is_list(&self, digest: &Digest) -> Result<bool, Error> {
        lists::is_list(self.txn, digest)
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
        let Some(keys) = &self.own.keys else { return Ok(true) };
        let signatures = self.txn.table(tables::SIG)?;
        for key in keys.iter().filter_map(|key| key.as_slice().try_into().ok()) {
            if signatures.get((id.0.as_bytes(), key))?.is_some() {
                return Ok(true);
            }
        }
        let statement = statements::load_statement(self.txn, id)?;
        Ok(statement.is_some_and(|statement| self.own.realms.contains(&statement.realm().0)))
    }
}

/// Whether the sums that are kept are those of a walk over every record; void ones are not wrong.
pub(super) fn are_right(inner: &Inner) -> Result<bool, Error> {
    inner.database.reading(|txn| kept::are_right(txn, Own::now(inner, txn)?))
}

impl Store {
    /// The keys that sign for this node. Until they are said, no release is evicted.
    pub fn set_own_keys(&self, keys: impl IntoIterator<Item = PublicKey>) {
        *lock(&self.inner.own_keys) = Some(keys.into_iter().collect());
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

    /// How much there is of each kind. Costs a few look-ups, and one for each that is pinned.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kinds(&self, pinned: BTreeSet<Digest>) -> Result<Kinds, Error> {
        if let Some(kinds) = self.kept_kinds(&pinned).await? {
            return Ok(kinds);
        }
        // They were never counted, or by other keys. A disk that refuses must not hide them.
        match self.recount().await {
            Ok(()) => {}
            Err(why) => tracing::warn!(%why, "the sums of what is held could not be kept"),
        }
        match self.kept_kinds(&pinned).await? {
            Some(kinds) => Ok(kinds),
            None => self.walked_kinds(pinned).await,
        }
    }

    pub(super) async fn kept_kinds(
        &self,
        pinned: &BTreeSet<Digest>,
    ) -> Result<Option<Kinds>, Error> {
        let (inner, pinned) = (Arc::clone(&self.inner), pinned.clone());
        blocking(move || {
            let txn = inner.read()?;
            kept::read(&txn, Own::now(&inner, &txn)?, &pinned)
        })
        .await
    }

    /// The same by reading every row, whatever was kept.
    pub(super) async fn walked_kinds(&self, pinned: BTreeSet<Digest>) -> Result<Kinds, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || kept::count(&Judge::new(&inner, &inner.read()?, &pinned)?)).await
    }

    /// Counts anew what is held and why: reads every record, and holds the writer as long.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn recount(&self) -> Result<(), Error> {
        self.write(|inner, txn| kept::recount(txn, Own::now(inner, txn)?), |_, ()| {}).await
    }
}
