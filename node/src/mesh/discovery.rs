//! Whom to dial, and when: static addresses, told ones, and what mDNS hints at. Pure.
//!
//! A [`Contact`] is dialled while nobody is connected behind it, with a back-off that doubles from
//! one second to five minutes. It starts over at once when its address is added again or its
//! connection is lost. What mDNS says is a hint for a dial and nothing else, in bounded numbers; it
//! is forgotten when it expires. The instants and the randomness are arguments; what is told is
//! remembered in the store, by the handle.
//!
//! Source: mesh.md sections 7 and 8.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::choose::back_off;

/// Peers that mDNS may make us know.
const MDNS_PEERS_MAX: usize = 64;
/// Addresses of one peer that mDNS may make us dial.
const MDNS_ADDRESSES_MAX: usize = 4;
/// Static and told addresses.
const STATIC_MAX: usize = 256;
/// A dial that leads to ourselves is not tried again before.
const SELF_RETRY: Duration = Duration::from_secs(60 * 60);

/// How a peer came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It called us.
    Inbound,
    /// It answered on the local network.
    Mdns,
    /// The configuration names it.
    Configured,
    /// A person told us.
    Told,
}

impl Found {
    /// The word for it in `peer list`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Mdns => "mdns",
            Self::Configured => "configured",
            Self::Told => "told",
        }
    }
}

#[derive(Debug)]
struct Contact {
    addresses: Vec<Multiaddr>,
    found: Found,
    /// Who must answer, if the address says it.
    expected: Option<PeerId>,
    /// Who answered last.
    answered: Option<PeerId>,
    failures: u32,
    due: Instant,
    dialling: Option<ConnectionId>,
}

impl Contact {
    fn is_of(&self, peer: PeerId) -> bool {
        self.expected.or(self.answered) == Some(peer)
    }
}

/// All contacts.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    list: Vec<Contact>,
}

/// The peer that the end of an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

impl Contacts {
    /// Adds a static or told address, to be dialled at once; a known one starts over.
    pub(super) fn add(&mut self, address: Multiaddr, found: Found, now: Instant) {
        let known = self.list.iter_mut().find(|one| is_static(one) && one.addresses[0] == address);
        if let Some(contact) = known {
            (contact.failures, contact.due) = (0, now);
            return;
        }
        if self.list.iter().filter(|one| is_static(one)).count() < STATIC_MAX {
            let expected = peer_of(&address);
            self.push(vec![address], found, expected, now);
        }
    }

    /// Forgets a static or told address.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> bool {
        let before = self.list.len();
        self.list.retain(|one| !is_static(one) || one.addresses[0] != *address);
        self.list.len() < before
    }

    /// A peer answered on the local network.
    pub(super) fn hint(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        let hints = self.list.iter().filter(|one| one.found == Found::Mdns).count();
        let known =
            self.list.iter_mut().find(|one| one.found == Found::Mdns && one.expected == Some(peer));
        match known {
            Some(contact) if contact.addresses.contains(&address) => {}
            Some(contact) if contact.addresses.len() < MDNS_ADDRESSES_MAX => {
                contact.addresses.push(address);
                (contact.failures, contact.due) = (0, now);
            }
            Some(_) => {}
            None if hints < MDNS_PEERS_MAX => {
                self.push(vec![address], Found::Mdns, Some(peer), now)
            }
            None => {}
        }
    }

    /// The local network has not heard of the peer at this address for a while.
    pub(super) fn expire(&mut self, peer: PeerId, address: &Multiaddr) {
        let hints = |one: &Contact| one.found == Found::Mdns && one.expected == Some(peer);
        for contact in self.list.iter_mut().filter(|one| hints(one)) {
            contact.addresses.retain(|known| known != address);
        }
        self.list.retain(|one| !one.addresses.is_empty());
    }

    fn push(
        &mut self,
        addresses: Vec<Multiaddr>,
        found: Found,
        expected: Option<PeerId>,
        due: Instant,
    ) {
        let (answered, dialling) = (None, None);
        self.list.push(Contact {
            addresses,
            found,
            expected,
            answered,
            failures: 0,
            due,
            dialling,
        });
    }

    /// The dials to make now: those that are due and have nobody connected behind them.
    pub(super) fn due(
        &mut self,
        now: Instant,
        connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<DialOpts> {
        let idle = |one: &&mut Contact| {
            let peer = one.expected.or(one.answered);
            one.dialling.is_none() && one.due <= now && !peer.as_ref().is_some_and(&connected)
        };
        self.list.iter_mut().filter(idle).map(dial).collect()
    }

    /// When the next dial is due, as far as is known now.
    pub(super) fn next_due(&self, connected: impl Fn(&PeerId) -> bool) -> Option<Instant> {
        let idle = |one: &&Contact| {
            let peer = one.expected.or(one.answered);
            one.dialling.is_none() && !peer.as_ref().is_some_and(&connected)
        };
        self.list.iter().filter(idle).map(|one| one.due).min()
    }

    /// A connection is up: by whichever dial, or by the peer's own.
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId) -> Option<Found> {
        for contact in &mut self.list {
            if contact.dialling == Some(connection) {
                (contact.dialling, contact.answered) = (None, Some(peer));
            }
            if contact.is_of(peer) {
                contact.failures = 0;
            }
        }
        let known = self.list.iter().filter(|one| one.is_of(peer));
        known.map(|one| one.found).max_by_key(|found| is_chosen(*found))
    }

    /// A dial failed: the next one waits. `ourselves`: our own key answered.
    pub(super) fn failed(
        &mut self,
        connection: ConnectionId,
        ourselves: bool,
        now: Instant,
        random: u32,
    ) {
        for contact in self.list.iter_mut().filter(|one| one.dialling == Some(connection)) {
            contact.dialling = None;
            let wait = if ourselves { SELF_RETRY } else { back_off(contact.failures, random) };
            contact.due = now + wait;
            contact.failures = contact.failures.saturating_add(1);
        }
    }

    /// The last connection of a peer is gone: its contacts start over within a second.
    pub(super) fn lost(&mut self, peer: PeerId, now: Instant, random: u32) {
        for contact in self.list.iter_mut().filter(|one| one.is_of(peer)) {
            (contact.failures, contact.due) = (0, now + back_off(0, random));
        }
    }
}

const fn is_static(contact: &Contact) -> bool {
    is_chosen(contact.found)
}

const fn is_chosen(found: Found) -> bool {
    matches!(found, Found::Configured | Found::Told)
}

fn dial(contact: &mut Contact) -> DialOpts {
    let options = match contact.expected {
        Some(peer) => DialOpts::peer_id(peer)
            .addresses(contact.addresses.clone())
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build(),
        None => DialOpts::unknown_peer_id().address(contact.addresses[0].clone()).build(),
    };
    contact.dialling = Some(options.connection_id());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a test writes sound addresses")
    }

    #[test]
    fn a_failed_dial_waits_and_an_added_address_starts_over() {
        let now = Instant::now();
        let mut contacts = Contacts::default();
        contacts.add(address("/ip4/127.0.0.1/tcp/1"), Found::Told, now);
        let dial = contacts.due(now, |_| false).remove(0);
        assert!(contacts.due(now, |_| false).is_empty(), "it is being dialled");
        contacts.failed(dial.connection_id(), false, now, u32::MAX);
        assert_eq!(contacts.next_due(|_| false), Some(now + Duration::from_secs(1)));
        contacts.add(address("/ip4/127.0.0.1/tcp/1"), Found::Told, now);
        assert_eq!(contacts.due(now, |_| false).len(), 1);
    }

    #[test]
    fn nobody_is_dialled_while_connected_and_a_lost_one_within_a_second() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut contacts = Contacts::default();
        contacts.add(address(&format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}")), Found::Configured, now);
        assert!(contacts.due(now, |other| *other == peer).is_empty());
        contacts.lost(peer, now, u32::MAX);
        assert!(contacts.next_due(|_| false).expect("due") <= now + Duration::from_secs(1));
    }

    #[test]
    fn hints_of_the_local_network_are_bounded() {
        let now = Instant::now();
        let mut contacts = Contacts::default();
        let chatty = PeerId::random();
        for port in 1..100 {
            contacts.hint(chatty, address(&format!("/ip4/10.0.0.1/tcp/{port}")), now);
            contacts.hint(PeerId::random(), address("/ip4/10.0.0.2/tcp/1"), now);
        }
        assert_eq!(contacts.list.len(), MDNS_PEERS_MAX);
        assert_eq!(contacts.list[0].addresses.len(), MDNS_ADDRESSES_MAX);
    }
}
