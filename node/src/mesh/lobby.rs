//! What peers show of their realms, in memory: for people to look at, never for installing.
//!
//! An offer is kept by (realm, peer), so that a liar cannot fill the place of an honest peer's
//! offer of the same realm. Each is bounded, all together too, and the one that was renewed longest
//! ago goes first. The statements are verified and nothing more: no grant was asked, nothing is
//! stored, and a restart begins empty.
//!
//! Source: trust.md section 12.

use std::collections::{BTreeMap, HashSet};

use crdt::{RealmId, Verified};
use libp2p::PeerId;

use super::Offer;

/// Statements of one offer.
const STATEMENTS_MAX: usize = 32;
/// Bytes of one offer.
const OFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all offers of one peer.
const PEER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all offers.
const LOBBY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// All offers.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    offers: BTreeMap<(RealmId, PeerId), Shown>,
    renewals: u64,
}

#[derive(Debug, Default)]
struct Shown {
    envelopes: Vec<Verified>,
    bytes: usize,
    renewed: u64,
}

impl Lobby {
    /// Keeps what a peer shows now, realm by realm, and of what it showed before what still fits:
    /// the statements of one realm may come in two frames.
    pub(super) fn show(&mut self, peer: PeerId, mut envelopes: Vec<Verified>) {
        self.renewals += 1;
        let ids: HashSet<_> = envelopes.iter().map(|shown| shown.statement().id()).collect();
        let realms: HashSet<_> = envelopes.iter().map(|shown| shown.statement().realm()).collect();
        for realm in realms {
            let before = self.offers.remove(&(realm, peer)).unwrap_or_default().envelopes;
            let other = before.into_iter().filter(|old| !ids.contains(&old.statement().id()));
            envelopes.extend(other);
        }
        let mut fresh: BTreeMap<RealmId, Shown> = BTreeMap::new();
        for envelope in envelopes {
            let bytes = envelope.envelope().encode().len();
            let shown = fresh.entry(envelope.statement().realm()).or_default();
            let fits = shown.bytes + bytes <= OFFER_BYTES_MAX;
            if fits && shown.envelopes.len() < STATEMENTS_MAX {
                shown.bytes += bytes;
                shown.envelopes.push(envelope);
            }
        }
        for (realm, shown) in fresh {
            self.offers.insert((realm, peer), Shown { renewed: self.renewals, ..shown });
        }
        self.shrink(PEER_BYTES_MAX, |(_, of)| *of == peer);
        self.shrink(LOBBY_BYTES_MAX, |_| true);
    }

    /// Drops the offers renewed longest ago until those that `counts` selects fit.
    fn shrink(&mut self, bytes_max: usize, counts: impl Fn(&(RealmId, PeerId)) -> bool) {
        loop {
            let counted = || self.offers.iter().filter(|(key, _)| counts(key));
            if counted().map(|(_, shown)| shown.bytes).sum::<usize>() <= bytes_max {
                return;
            }
            let oldest = counted().min_by_key(|(_, shown)| shown.renewed).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.offers.remove(&oldest);
        }
    }

    /// Drops what a peer showed that is not to be listened to any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.offers.retain(|(_, of), _| *of != peer);
    }

    /// The realms that a peer showed.
    pub(super) fn realms_of(&self, peer: PeerId) -> Vec<RealmId> {
        self.offers.keys().filter(|(_, of)| *of == peer).map(|(realm, _)| *realm).collect()
    }

    /// Everything that is kept, by realm.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let offer = |((realm, peer), shown): (&(RealmId, PeerId), &Shown)| Offer {
            realm: *realm,
            peer: peer.to_string(),
            envelopes: shown.envelopes.clone(),
        };
        self.offers.iter().map(offer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Realm;
    use super::*;

    fn release(realm: &Realm, version: usize) -> Verified {
        realm.release("drum", &format!("1.0.{version}"), b"boom")
    }

    #[test]
    fn an_offer_is_bounded_and_what_is_shown_last_has_its_place() {
        let (realm, peer) = (Realm::new("theirs"), PeerId::random());
        let mut lobby = Lobby::default();
        let many = (0..=STATEMENTS_MAX).map(|version| release(&realm, version)).collect();
        lobby.show(peer, many);
        assert_eq!(lobby.offers()[0].envelopes.len(), STATEMENTS_MAX);
        lobby.show(peer, vec![realm.genesis.clone()]);
        let offer = &lobby.offers()[0].envelopes;
        assert_eq!(offer.len(), STATEMENTS_MAX);
        assert_eq!(offer[0], realm.genesis);
        assert_eq!(lobby.realms_of(peer), [realm.id]);
        lobby.forget(peer);
        assert!(lobby.offers().is_empty());
    }

    #[test]
    fn another_peers_offer_of_the_same_realm_stays() {
        let (realm, honest, liar) = (Realm::new("theirs"), PeerId::random(), PeerId::random());
        let mut lobby = Lobby::default();
        lobby.show(honest, vec![realm.genesis.clone()]);
        lobby.show(liar, vec![release(&realm, 1)]);
        let by_honest = lobby.offers().into_iter().find(|one| one.peer == honest.to_string());
        let kept = by_honest.expect("is kept").envelopes;
        assert_eq!(kept, std::slice::from_ref(&realm.genesis));
    }

    #[test]
    fn the_offers_renewed_longest_ago_go_first() {
        let (peer, first, second) = (PeerId::random(), Realm::new("one"), Realm::new("two"));
        let mut lobby = Lobby::default();
        lobby.show(peer, vec![first.genesis.clone()]);
        lobby.show(peer, vec![second.genesis.clone()]);
        let one = lobby.offers[&(first.id, peer)].bytes;
        lobby.shrink(one + one / 2, |_| true);
        assert_eq!(lobby.realms_of(peer), [second.id]);
    }
}
