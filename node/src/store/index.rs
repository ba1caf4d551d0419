//! What a sync session reads of this store.
//!
//! The trait has no room for errors: a session is pure and could do nothing about a damaged disk.
//! A read that fails is logged and looks like "nothing held", which delays the peer and changes
//! nothing here; the next write meets the same disk and reports it to whoever asked.
//!
//! Source: index.md section 7.7, trust.md section 12 (lobby).

use std::sync::Arc;

use crdt::reconcile::Fingerprint;
use crdt::session::{Index, Readers};
use crdt::{Body, Collection, Item, PublicKey, RealmId, StatementId, Verified};
use redb::{ReadTransaction, ReadableTable};

use super::tables::{self, Tables};
use super::{Error, FollowKind, Store, collections, rulings, statements};

/// Statements of one realm that strangers are shown.
const LOBBY_STATEMENTS_MAX: usize = 32;
/// Bytes of envelopes of one realm that strangers are shown.
const LOBBY_BYTES_MAX: usize = 64 << 10;
/// Log entries that are looked through for newest releases.
const LOBBY_LOOK_BACK_MAX: usize = 4096;

impl Index for Store {
    fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    fn last_sequence(&self) -> u64 {
        self.look(|txn| txn.meta(tables::META_SEQUENCE))
    }

    fn follows(&self) -> Vec<RealmId> {
        self.look(|txn| {
            let mut found = Vec::new();
            for row in txn.table(tables::FOLLOWED)?.iter()? {
                found.push(RealmId(crdt::Digest::from_bytes(*row?.0.value())));
            }
            Ok(found)
        })
    }

    fn revision(&self) -> u64 {
        self.revision_of_readers()
    }

    fn readers(&self, realm: &RealmId) -> Readers {
        self.readers_of(realm).unwrap_or_else(|why| {
            tracing::error!(%why, %realm, "who may see a realm cannot be read");
            Readers::Holders(Arc::default())
        })
    }

    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)> {
        self.look(|txn| collections::of_realm(txn, realm))
    }

    fn items(&self, collection: &Collection) -> Vec<Item> {
        self.look(|txn| collections::items(txn, collection))
    }

    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>> {
        self.look(|txn| {
            if after < txn.meta(tables::META_FLOOR)? {
                return Ok(None);
            }
            let table = txn.table(tables::LOG)?;
            let held = txn.table(tables::SIG)?;
            let mut found = Vec::new();
            for row in table.range(after.saturating_add(1)..)? {
                if found.len() == limit {
                    break;
                }
                let (sequence, entry) = row?;
                let (realm, part, id, key) = entry.value();
                // A stranger's signature may have made room for another since, or a receipt been
                // replaced.
                if held.get((id, key))?.is_some() {
                    let realm = RealmId(crdt::Digest::from_bytes(*realm));
                    let item = collections::item_of(id, key)?;
                    found.push((sequence.value(), collections::parse(realm, part), item));
                }
            }
            Ok(Some(found))
        })
    }

    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified> {
        let whole = self.look(|txn| statements::load(txn, id))?;
        if keys.is_empty() {
            return Some(whole);
        }
        let mut envelope = whole.envelope().clone();
        envelope.signatures.retain(|key, _| keys.contains(key));
        (!envelope.signatures.is_empty()).then(|| Verified::from_admitted(envelope))
    }

    fn holds(&self, item: &Item) -> bool {
        self.look(|txn| {
            let table = txn.table(tables::SIG)?;
            Ok(table.get((item.id.0.as_bytes(), item.key.as_bytes()))?.is_some())
        })
    }

    fn lobby(&self) -> Vec<Verified> {
        let own = self.followed().unwrap_or_default();
        let own = own.into_iter().filter(|followed| followed.kind == FollowKind::Own);
        // Private ones are shown to nobody, and one that cannot be judged is taken for private.
        let own = own.filter(|followed| !self.is_private(&followed.realm).unwrap_or(true));
        let own: Vec<_> = own.collect();
        self.look(|txn| {
            let mut shown = Vec::new();
            for followed in &own {
                shown.extend(lobby_of(txn, &followed.realm)?);
            }
            Ok(shown)
        })
    }
}

impl Store {
    /// A read whose failure looks like nothing.
    fn look<T: Default>(&self, read: impl Fn(&ReadTransaction) -> Result<T, Error>) -> T {
        self.reading(read).unwrap_or_else(|why| {
            tracing::error!(%why, "the index cannot be read for a peer");
            T::default()
        })
    }
}

/// Roots, then the newest releases, as far as the limits reach.
fn lobby_of(txn: &ReadTransaction, realm: &RealmId) -> Result<Vec<Verified>, Error> {
    let mut shown = Vec::new();
    for id in rulings::of_kind(txn, realm, "root")? {
        shown.extend(statements::load(txn, &id)?);
    }
    let mut seen: std::collections::BTreeSet<StatementId> =
        shown.iter().map(|verified| verified.statement().id()).collect();
    let table = txn.table(tables::LOG)?;
    for row in table.range::<u64>(..)?.rev().take(LOBBY_LOOK_BACK_MAX) {
        if shown.len() >= LOBBY_STATEMENTS_MAX {
            break;
        }
        let (_, entry) = row?;
        let (of, _, id, _) = entry.value();
        let id = StatementId(crdt::Digest::from_bytes(*id));
        if of != realm.0.as_bytes() || !seen.insert(id) {
            continue;
        }
        let verified = statements::load(txn, &id)?;
        let is_release = |it: &Verified| matches!(it.statement().body(), Body::Release(_));
        shown.extend(verified.filter(is_release));
    }
    let mut room = LOBBY_BYTES_MAX;
    shown.truncate(LOBBY_STATEMENTS_MAX);
    shown.retain(|verified| {
        let size = verified.envelope().encode().len();
        let fits = size <= room;
        room = if fits { room - size } else { 0 };
        fits
    });
    Ok(shown)
}
