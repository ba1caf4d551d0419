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
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::choose::back_off;

/// Peers that mDNS may make us know.
const MDNS_PEERS_MAX: usize = 64;
/// Addresses of one peer that mDNS may make us dial.
const MDNS_ADDRESSES_MAX: usize = 4;
/// Static and told addresses.
const STATIC_MAX: usize = 256;
/// Addresses that one name may stand for.
const RESOLVED_MAX: usize = 4;
/// Looking up a name.
const RESOLVING: Duration = Duration::from_secs(10);
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
    dialling: Option<u64>,
}

impl Contact {
    fn is_of(&self, peer: PeerId) -> bool {
        self.expected.or(self.answered) == Some(peer)
    }
}

/// One dial to make; its number comes back with how it went.
#[derive(Debug)]
pub(super) struct Dial {
    /// Which dial.
    pub(super) number: u64,
    /// Where to.
    pub(super) addresses: Vec<Multiaddr>,
    expected: Option<PeerId>,
}

impl Dial {
    /// Whether an address has to be looked up first.
    pub(super) fn has_names(&self) -> bool {
        self.addresses.iter().any(|address| name_of(address).is_some())
    }

    /// What libp2p needs to know; `None` if no address is left.
    pub(super) fn options(&self) -> Option<DialOpts> {
        let first = self.addresses.first()?.clone();
        Some(match self.expected {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(self.addresses.clone())
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build(),
            None => DialOpts::unknown_peer_id().address(first).build(),
        })
    }
}

/// All contacts.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    list: Vec<Contact>,
    dials: u64,
}

/// The peer that the end of an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// An address that we can dial: an IP address or a name, a TCP port, and perhaps who answers.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    let parts: Vec<_> = address.iter().collect();
    let host = |part: &Protocol<'_>| {
        use Protocol::{Dns, Dns4, Dns6, Ip4, Ip6};
        matches!(part, Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_))
    };
    match parts.as_slice() {
        [first, Protocol::Tcp(_)] | [first, Protocol::Tcp(_), Protocol::P2p(_)] => host(first),
        _ => false,
    }
}

fn name_of(address: &Multiaddr) -> Option<String> {
    match address.iter().next()? {
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            Some(name.into_owned())
        }
        _ => None,
    }
}

/// Replaces names by what the system's resolver says; a name that it does not know is dropped.
pub(super) async fn resolve(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut resolved = Vec::new();
    for address in addresses {
        let Some(name) = name_of(&address) else {
            resolved.push(address);
            continue;
        };
        let Ok(Ok(hosts)) = timeout(RESOLVING, lookup_host((name.as_str(), 0))).await else {
            tracing::debug!(%name, "a name of a peer is not known");
            continue;
        };
        let fits = |host: &std::net::SocketAddr| match address.iter().next() {
            Some(Protocol::Dns4(_)) => host.is_ipv4(),
            Some(Protocol::Dns6(_)) => host.is_ipv6(),
            _ => true,
        };
        let found = hosts.filter(fits).take(RESOLVED_MAX).map(|host| Multiaddr::from(host.ip()));
        resolved.extend(found.map(|host| host.into_iter().chain(address.iter().skip(1)).collect()));
    }
    resolved
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
    pub(super) fn due(&mut self, now: Instant, connected: impl Fn(&PeerId) -> bool) -> Vec<Dial> {
        let mut dials = Vec::new();
        for contact in &mut self.list {
            let peer = contact.expected.or(contact.answered);
            let idle = contact.dialling.is_none() && contact.due <= now;
            if idle && !peer.as_ref().is_some_and(&connected) {
                self.dials += 1;
                contact.dialling = Some(self.dials);
                let (addresses, expected) = (contact.addresses.clone(), contact.expected);
                dials.push(Dial { number: self.dials, addresses, expected });
            }
        }
        dials
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
    pub(super) fn connected(&mut self, peer: PeerId, dial: Option<u64>) -> Option<Found> {
        for contact in &mut self.list {
            if dial.is_some() && contact.dialling == dial {
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
    pub(super) fn failed(&mut self, dial: u64, ourselves: bool, now: Instant, random: u32) {
        for contact in self.list.iter_mut().filter(|one| one.dialling == Some(dial)) {
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
        contacts.failed(dial.number, false, now, u32::MAX);
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
    fn only_what_we_speak_is_dialled() {
        let id = PeerId::random();
        for good in ["/ip4/10.0.0.1/tcp/7879", "/ip6/::1/tcp/1", "/dns/hub.test/tcp/7879"] {
            assert!(is_dialable(&address(good)), "{good}");
            assert!(is_dialable(&address(&format!("{good}/p2p/{id}"))), "{good}");
        }
        for bad in ["/ip4/10.0.0.1", "/tcp/1", "/ip4/10.0.0.1/udp/7879/quic-v1", "/memory/1"] {
            assert!(!is_dialable(&address(bad)), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_becomes_its_addresses_and_the_rest_stays() {
        let id = PeerId::random();
        let named = address(&format!("/dns4/localhost/tcp/7879/p2p/{id}"));
        let plain = address("/ip4/10.0.0.1/tcp/1");
        let resolved = resolve(vec![named, plain.clone()]).await;
        assert!(resolved.contains(&address(&format!("/ip4/127.0.0.1/tcp/7879/p2p/{id}"))));
        assert!(resolved.contains(&plain));
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
