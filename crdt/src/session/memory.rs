//! The set of statements in memory: the twin of the node's store in tests and simulations.
//!
//! Follows the store's rules: only followed realms, an item once, at most 16 signatures, of several
//! by one key the bytewise least, of an author's receipts and beats for one subject the newest, a
//! log in the order of admission. Fingerprints are kept up to date with every admission. Nothing
//! survives; [`MemoryIndex::restored`] plays a store rebuilt.
//!
//! Statements are shared: many indexes that admit the same [`Arc`] hold its bytes once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Index, Readers};
use crate::reconcile::Fingerprint;
use crate::statement::MAX_SIGNATURES;
use crate::{
    Body, Collection, Digest, Envelope, Item, PublicKey, RealmId, Statement, StatementId, Verified,
};

/// Statements of one realm that strangers see.
const LOBBY_STATEMENTS_MAX: usize = 32;
/// Bytes of statements of one realm that strangers see.
const LOBBY_BYTES_MAX: usize = 64 * 1024;

/// An index in memory.
#[derive(Debug, Default, Clone)]
pub struct MemoryIndex {
    epoch: u64,
    follows: BTreeSet<RealmId>,
    /// Counts what `Index::revision` tells of.
    revision: u64,
    /// Of realms with a root statement.
    readers: BTreeMap<RealmId, Readers>,
    own: BTreeSet<RealmId>,
    statements: BTreeMap<StatementId, Arc<Verified>>,
    collections: BTreeMap<Collection, Held>,
    /// Realm, author and subject → the receipt that is kept.
    latest: BTreeMap<(RealmId, PublicKey, Digest), StatementId>,
    log: Vec<(Collection, Item)>,
    /// Entries of the log that are gone.
    cut: u64,
}

#[derive(Debug, Default, Clone)]
struct Held {
    items: BTreeSet<Item>,
    state: Fingerprint,
}

impl MemoryIndex {
    /// Empty, with this store epoch.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Follows a realm.
    pub fn follow(&mut self, realm: RealmId) {
        self.revision += 1;
        self.follows.insert(realm);
    }

    /// Follows a realm and shows it to strangers, as a node does with its own.
    pub fn own(&mut self, realm: RealmId) {
        self.follow(realm);
        self.own.insert(realm);
    }

    /// Follows a realm no longer; what is held of it stays.
    pub fn unfollow(&mut self, realm: &RealmId) {
        self.revision += 1;
        self.follows.remove(realm);
    }

    /// Admits what is not held yet; answers the pairs that are new.
    pub fn admit(&mut self, verified: impl Into<Arc<Verified>>) -> Vec<(Collection, Item)> {
        let verified: Arc<Verified> = verified.into();
        let statement = verified.statement();
        if !self.follows.contains(&statement.realm()) {
            return Vec::new();
        }
        let mut new = Vec::new();
        for key in verified.signatures().keys() {
            let item = Item { id: statement.id(), key: *key };
            if self.is_welcome(statement, &item) && self.keep(&verified, &item) {
                self.replace(statement, &item);
                let entry = (statement.collection(), item);
                self.log.push(entry.clone());
                new.push(entry);
            }
        }
        if !new.is_empty() && matches!(statement.body(), Body::Root(_)) {
            self.judge(statement.realm());
        }
        new
    }

    /// A root has come: who may see the realm is judged again.
    fn judge(&mut self, realm: RealmId) {
        let held = self.collections.get(&Collection::Authority(realm));
        let ids: BTreeSet<_> = held.iter().flat_map(|held| &held.items).map(|it| it.id).collect();
        let roots = ids.iter().filter_map(|id| self.statements.get(id)).map(AsRef::as_ref);
        let authority = crate::realm::authority(realm, roots, &[]);
        self.revision += 1;
        self.readers.insert(realm, Readers::of(&authority));
    }

    /// Whether the pair may be kept: a receipt only if it is the newest of its author.
    fn is_welcome(&self, statement: &Statement, item: &Item) -> bool {
        let signatures = self.statements.get(&item.id).map(|held| held.signatures());
        let is_full = signatures
            .is_some_and(|held| held.len() >= MAX_SIGNATURES && !held.contains_key(&item.key));
        let Some(subject) = statement.subject() else { return !is_full };
        let subject = (statement.realm(), item.key, subject);
        let kept =
            self.latest.get(&subject).and_then(|id| self.statements.get(id)?.statement().rank());
        !is_full && statement.rank().is_some_and(|rank| kept.is_none_or(|kept| kept <= rank))
    }

    /// Keeps a pair or the lesser signature of one; says whether the pair is new.
    fn keep(&mut self, verified: &Arc<Verified>, item: &Item) -> bool {
        match self.statements.entry(item.id) {
            Entry::Vacant(free) => drop(free.insert(of_one(verified, &item.key))),
            Entry::Occupied(mut held) => {
                let of_one = of_one(verified, &item.key);
                let (ours, theirs) = (held.get().signatures(), of_one.signatures());
                if ours.get(&item.key).is_none_or(|ours| Some(ours) > theirs.get(&item.key)) {
                    Arc::make_mut(held.get_mut()).merge(&of_one);
                }
            }
        }
        let held = self.collections.entry(verified.statement().collection()).or_default();
        let is_new = held.items.insert(*item);
        if is_new {
            held.state.add(item);
        }
        is_new
    }

    /// Makes a new receipt or beat the latest of its author; the one before it leaves.
    fn replace(&mut self, statement: &Statement, item: &Item) {
        let Some(subject) = statement.subject() else { return };
        let subject = (statement.realm(), item.key, subject);
        let Some(old) = self.latest.insert(subject, item.id) else { return };
        let gone = Item { id: old, key: item.key };
        if let Some(held) = self.collections.get_mut(&statement.collection())
            && held.items.remove(&gone)
        {
            held.state.remove(&gone);
        }
        if let Some(held) = self.statements.remove(&old) {
            let mut envelope = held.envelope().clone();
            envelope.signatures.remove(&item.key);
            if !envelope.signatures.is_empty() {
                self.statements.insert(old, Arc::new(Verified::from_admitted(envelope)));
            }
        }
    }

    /// Forgets the log up to and with this sequence.
    pub fn cut_log(&mut self, sequence: u64) {
        let gone = sequence.saturating_sub(self.cut).min(self.log.len() as u64);
        self.log.drain(..usize::try_from(gone).unwrap_or(self.log.len()));
        self.cut += gone;
    }

    /// The same set in a store that was rebuilt: another epoch, another order in the log.
    #[must_use]
    pub fn restored(&self, epoch: u64) -> Self {
        let mut again =
            Self { epoch, follows: self.follows.clone(), own: self.own.clone(), ..Self::default() };
        for held in self.statements.values() {
            again.admit(Arc::clone(held));
        }
        again
    }

    /// All that is held of the followed realms: equal maps, equal sets.
    #[must_use]
    pub fn fingerprints(&self) -> BTreeMap<Collection, Fingerprint> {
        let followed =
            self.collections.iter().filter(|(held, _)| self.follows.contains(&held.realm()));
        followed.map(|(held, content)| (held.clone(), content.state.clone())).collect()
    }

    /// How many pairs are held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.collections.values().map(|held| held.state.count).sum()
    }

    /// Everything held, signatures with it, in the order of ids.
    pub fn envelopes(&self) -> impl Iterator<Item = &Envelope> {
        self.statements.values().map(|held| held.envelope())
    }

    /// The same, shared.
    pub fn statements(&self) -> impl Iterator<Item = &Arc<Verified>> {
        self.statements.values()
    }
}

/// The statement with the signature of this key alone.
fn of_one(verified: &Arc<Verified>, key: &PublicKey) -> Arc<Verified> {
    if verified.signatures().len() == 1 {
        return Arc::clone(verified);
    }
    let mut envelope = verified.envelope().clone();
    envelope.signatures.retain(|signer, _| signer == key);
    Arc::new(Verified::from_admitted(envelope))
}

impl Index for MemoryIndex {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn last_sequence(&self) -> u64 {
        self.cut + self.log.len() as u64
    }

    fn follows(&self) -> Vec<RealmId> {
        self.follows.iter().copied().collect()
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn readers(&self, realm: &RealmId) -> Readers {
        self.readers.get(realm).cloned().unwrap_or(Readers::Unknown)
    }

    fn collections(&self, realm: &RealmId) -> Vec<(Collection, Fingerprint)> {
        let of_realm = self.collections.iter().filter(|(held, _)| held.realm() == *realm);
        of_realm.map(|(held, content)| (held.clone(), content.state.clone())).collect()
    }

    fn items(&self, collection: &Collection) -> Vec<Item> {
        let held = self.collections.get(collection);
        held.map(|held| held.items.iter().copied().collect()).unwrap_or_default()
    }

    fn log(&self, after: u64, limit: usize) -> Option<Vec<(u64, Collection, Item)>> {
        let skipped = usize::try_from(after.checked_sub(self.cut)?).ok()?;
        let rest = self.log.get(skipped..)?;
        // A receipt may have been replaced since.
        let held = rest.iter().zip(after + 1..).filter(|((_, item), _)| self.holds(item));
        Some(
            held.take(limit)
                .map(|((held, item), sequence)| (sequence, held.clone(), *item))
                .collect(),
        )
    }

    fn envelope(&self, id: &StatementId, keys: &[PublicKey]) -> Option<Verified> {
        let mut envelope = self.statements.get(id)?.envelope().clone();
        if !keys.is_empty() {
            envelope.signatures.retain(|key, _| keys.contains(key));
        }
        (!envelope.signatures.is_empty()).then(|| Verified::from_admitted(envelope))
    }

    fn holds(&self, item: &Item) -> bool {
        self.statements.get(&item.id).is_some_and(|held| held.signatures().contains_key(&item.key))
    }

    fn lobby(&self) -> Vec<Verified> {
        let mut shown = Vec::new();
        let is_hidden = |realm: &&RealmId| matches!(self.readers(realm), Readers::Holders(_));
        for realm in self.own.iter().filter(|realm| !is_hidden(realm)) {
            let (mut count, mut bytes) = (0, 0);
            let newest = self.log.iter().rev().filter(|(held, _)| held.realm() == *realm);
            let mut seen = BTreeSet::new();
            for held in newest.filter_map(|(_, item)| self.statements.get(&item.id)) {
                let statement = held.statement();
                let fits = count < LOBBY_STATEMENTS_MAX
                    && bytes + statement.payload().len() <= LOBBY_BYTES_MAX;
                let shows = matches!(statement.body(), Body::Root(_) | Body::Release(_));
                if fits && shows && seen.insert(statement.id()) {
                    count += 1;
                    bytes += statement.payload().len();
                    shown.push(Verified::clone(held));
                }
            }
        }
        shown
    }
}
