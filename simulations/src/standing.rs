//! Which keys a realm names: of all others a node keeps little.
//!
//! The rule of the node's store: a stranger is a key that no root of the realm's chain, or of a
//! proven fork of it, names. A realm keeps 32 pairs and 64 KiB by strangers, so which ones differs
//! from node to node; everything by known keys is kept. Not modelled: that a receipt needs the role
//! `mirror`, and that a statement with 16 signatures gives a known key a stranger's place.
//!
//! Source: trust.md section 12.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crdt::session::{Index as _, MemoryIndex};
use crdt::statement::{Grantee, Root};
use crdt::{Body, ChainStatus, Collection, PublicKey, RealmId, Verified};

/// Pairs by strangers that are kept of a realm.
pub(crate) const STRANGER_ITEMS_MAX: u64 = 32;
/// Bytes of statements by strangers that are kept of a realm.
const STRANGER_BYTES_MAX: u64 = 64 << 10;
/// Pairs that are kept of a realm whose genesis lacks.
const UNFOUNDED_ITEMS_MAX: u64 = 4096;

/// The keys that a realm names, as far as its roots are held.
#[derive(Debug, Default)]
pub(crate) struct Named {
    is_founded: bool,
    keys: BTreeSet<PublicKey>,
}

impl Named {
    fn of(realm: RealmId, roots: &[Verified]) -> Self {
        let authority = crdt::realm::authority(realm, roots, &[]);
        let counts = |root: &Verified| {
            let id = root.statement().id();
            authority.path.contains(&id) || authority.evidence.contains(&id)
        };
        let mut keys = BTreeSet::new();
        for root in roots.iter().filter(|root| counts(root)) {
            if let Body::Root(root) = root.statement().body() {
                learn(root, &mut keys);
            }
        }
        Self { is_founded: authority.status != ChainStatus::Unknown, keys }
    }

    pub(crate) fn knows(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }
}

fn learn(root: &Root, keys: &mut BTreeSet<PublicKey>) {
    keys.extend(&root.roots);
    keys.extend(root.grants.iter().filter_map(|grant| match &grant.to {
        Grantee::Key(key) => Some(*key),
        Grantee::Realm(_) | Grantee::Peer(_) => None,
    }));
}

/// What was computed before, by the roots that were held.
#[derive(Debug, Default)]
pub(crate) struct Standings(HashMap<blake3::Hash, Rc<Named>>);

impl Standings {
    /// The keys that the roots in this index name.
    pub(crate) fn named(&mut self, realm: RealmId, index: &MemoryIndex) -> Rc<Named> {
        let items = index.items(&Collection::Authority(realm));
        let mut name = blake3::Hasher::new();
        for item in &items {
            name.update(&item.hash());
        }
        let compute = || {
            let ids: BTreeSet<_> = items.iter().map(|item| item.id).collect();
            let roots: Vec<Verified> =
                ids.iter().filter_map(|id| index.envelope(id, &[])).collect();
            Rc::new(Named::of(realm, &roots))
        };
        self.0.entry(name.finalize()).or_insert_with(compute).clone()
    }
}

/// What strangers have in one realm of one node, and who is none.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) named: Rc<Named>,
    items: u64,
    bytes: u64,
}

impl Room {
    /// Whether one more pair finds room; counts it if it is a stranger's.
    pub(crate) fn take(&mut self, key: &PublicKey, bytes: u64) -> bool {
        if self.named.knows(key) {
            return true;
        }
        let (items, bytes) = (self.items + 1, self.bytes + bytes);
        let fits = match self.named.is_founded {
            true => items <= STRANGER_ITEMS_MAX && bytes <= STRANGER_BYTES_MAX,
            false => items <= UNFOUNDED_ITEMS_MAX,
        };
        if fits {
            (self.items, self.bytes) = (items, bytes);
        }
        fits
    }

    /// The realm's authority has changed: who was a stranger may be none now.
    pub(crate) fn renew(&mut self, realm: RealmId, named: Rc<Named>, index: &MemoryIndex) {
        (self.items, self.bytes) = (0, 0);
        for held in index.statements().filter(|held| held.statement().realm() == realm) {
            let strangers = held.signatures().keys().filter(|key| !named.knows(key)).count() as u64;
            self.items += strangers;
            self.bytes += strangers * held.statement().payload().len() as u64;
        }
        self.named = named;
    }
}

/// The rooms of one node.
pub(crate) type Rooms = BTreeMap<RealmId, Room>;
