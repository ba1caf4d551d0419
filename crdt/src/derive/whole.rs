//! A whole realm at once: `derive(statements, realm, pins)` as the rule book has it.
//!
//! For tests, simulations and checks; a store looks up what one package needs and calls
//! [`package`](super::package). Both must agree.
//!
//! Source: trust.md section 6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Ground, PackageView, Pins, package};
use crate::realm::{self, Lists, Realm, Realms};
use crate::{Authority, Digest, PackageId, RealmId, StatementId, Verified};

/// What this node has pinned: realm → the chain it accepted, package of a realm → its contents.
#[derive(Debug, Clone, Default)]
pub struct AllPins {
    /// Genesis first.
    pub chains: BTreeMap<RealmId, Vec<StatementId>>,
    /// Of the realm that is derived.
    pub contents: BTreeMap<PackageId, Pins>,
}

/// What a realm is, for this node.
#[derive(Debug, Clone, PartialEq)]
pub struct RealmView {
    /// Its chain.
    pub authority: Authority,
    /// The packages of which there is something to show: a stranger who names one adds none.
    pub packages: BTreeMap<PackageId, PackageView>,
    /// Blobs of lists in seals and revocations that are not held: what they say is not yet known.
    pub missing: BTreeSet<Digest>,
}

/// Derives a realm from statements of any realms, in any order, repeated or not.
#[must_use]
pub fn realm(statements: &[Verified], of: RealmId, pins: &AllPins, lists: &Lists) -> RealmView {
    let realms = realms(statements, of, pins, lists);
    let authority = realms[&of].authority.clone();
    let (firm, mut missing) = realm::firm(&authority, statements, lists);
    for revoked in realms.values().flat_map(|realm| realm.revoked.values()) {
        missing.extend(revoked.missing.iter().copied());
    }
    let of_realm = |verified: &&Verified| verified.statement().realm() == of;
    let mut by_package = BTreeMap::<PackageId, Vec<&Verified>>::new();
    for name in pins.contents.keys() {
        by_package.entry(name.clone()).or_default();
    }
    for verified in statements.iter().filter(of_realm) {
        if let Some(name) = verified.statement().package() {
            by_package.entry(name.clone()).or_default().push(verified);
        }
    }
    let none = Pins::new();
    let packages = by_package.into_iter().filter_map(|(name, held)| {
        let publishers = realm::publishers(&realms, &of, &name);
        let ground = Ground { authority: &authority, publishers, firm: firm.clone() };
        let view = package(&ground, &name, held, pins.contents.get(&name).unwrap_or(&none));
        (!view.is_empty()).then_some((name, view))
    });
    RealmView { packages: packages.collect(), authority: authority.clone(), missing }
}

/// The realm and all that it delegates to, as far as grants reach.
fn realms(statements: &[Verified], of: RealmId, pins: &AllPins, lists: &Lists) -> Realms {
    let mut found = Realms::new();
    let mut next = BTreeSet::from([of]);
    for _ in 0..=realm::MAX_DELEGATION_DEPTH {
        for id in std::mem::take(&mut next) {
            let pin = pins.chains.get(&id).map_or(&[][..], Vec::as_slice);
            let authority = realm::authority(id, statements, pin);
            let revoked = realm::revoked(&authority, statements, lists);
            next.extend(realm::delegates(&authority));
            found.insert(id, Arc::new(Realm { authority, revoked }));
        }
        next.retain(|id| !found.contains_key(id));
    }
    found
}
