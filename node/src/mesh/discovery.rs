//! Whom to dial, and when: static addresses, told ones, hints of mDNS and of other peers. Pure.
//!
//! A [`Contact`] is dialled while nobody is connected behind it, with a back-off that doubles from
//! one second to five minutes, or to thirty where only a hint led there, and that is drawn anew
//! each time so that nodes do not dial in step. It starts over at once when its address is added
//! again, its connection is lost, or the network has changed. All contacts of one peer share a
//! dial, TCP first. What mDNS and other peers say is a hint for a dial and nothing else, in bounded
//! numbers; it is forgotten when it expires. The instants and the randomness are arguments; what a
//! person told is remembered in the store, by the handle.
//!
//! Source: mesh.md sections 7 and 8.

use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::address::{name_of, peer_of, rank};

/// Peers that mDNS may make us know, and as many that other peers may.
const HINTED_PEERS_MAX: usize = 64;
/// Addresses of one peer that a hint may make us dial.
const HINTED_ADDRESSES_MAX: usize = 4;
/// A hint of the local network that never led to its peer is tried as often.
const HINT_RETRY: Duration = Duration::from_secs(30);
/// What another peer told is forgotten when nobody has told it again for this long.
const TOLD_BY_PEERS: Duration = Duration::from_secs(60 * 60);
/// Static and told addresses.
const STATIC_MAX: usize = 256;
/// Addresses of one dial.
const DIALLED_MAX: usize = 8;
/// The longest pause after the first failed dial; doubled by each further one.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before an address that was configured or told.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// The longest pause before an address that was hinted at.
const PAUSE_HINTED_MAX: Duration = Duration::from_secs(30 * 60);
/// No pause is shorter, whatever was drawn.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// A dial that leads to ourselves is not tried again before.
const SELF_RETRY: Duration = Duration::from_secs(60 * 60);

/// How a peer came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It called us.
    Inbound,
    /// It answered on the local network.
    Mdns,
    /// Another peer named it.
    Peer,
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
            Self::Peer => "peer",
            Self::Configured => "configured",
            Self::Told => "told",
        }
    }

    const fn is_chosen(self) -> bool {
        matches!(self, Self::Configured | Self::Told)
    }

    /// How long to wait before the dial after `failures` failed ones: anything up to a limit that
    /// doubles each time.
    fn pause(self, failures: u32, random: u32) -> Duration {
        let longest = if self.is_chosen() { PAUSE_MAX } else { PAUSE_HINTED_MAX };
        let limit = PAUSE_FIRST.saturating_mul(1_u32 << failures.min(16)).min(longest);
        limit.mul_f64(f64::from(random) / f64::from(u32::MAX)).max(PAUSE_MIN)
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
    /// The dial that is under way.
    dialling: Option<u64>,
    /// When the last one began.
    dialled: Option<Instant>,
    /// When it is forgotten if nobody is connected behind it.
    expires: Option<Instant>,
}

impl Contact {
    fn new(
        addresses: Vec<Multiaddr>,
        found: Found,
        expected: Option<PeerId>,
        due: Instant,
    ) -> Self {
        let (answered, dialling, dialled, expires) = (None, None, None, None);
        let failures = 0;
        Self { addresses, found, expected, answered, failures, due, dialling, dialled, expires }
    }

    const fn peer(&self) -> Option<PeerId> {
        match self.expected {
            Some(peer) => Some(peer),
            None => self.answered,
        }
    }

    fn is_hint_of(&self, peer: PeerId, found: Found) -> bool {
        self.found == found && self.expected == Some(peer)
    }

    /// Due at this instant, or later where a mere hint was followed only just now.
    fn start_over(&mut self, at: Instant) {
        self.failures = 0;
        let unproven = self.found == Found::Mdns && self.answered.is_none();
        let earliest = self.dialled.filter(|_| unproven).map(|dialled| dialled + HINT_RETRY);
        self.due = earliest.map_or(at, |earliest| earliest.max(at));
    }
}

/// One dial to make; its number comes back with how it went.
#[derive(Debug)]
pub(super) struct Dial {
    /// Which dial.
    pub(super) number: u64,
    /// Where to, the best first.
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
            // Whether it is connected is known better here: a line may be dead and not yet closed.
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(self.addresses.clone())
                .condition(PeerCondition::Always)
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
    /// Whether so many peers are connected that no hint of another peer is followed.
    crowded: bool,
}

impl Contacts {
    /// Adds a static or told address, to be dialled at once; a known one starts over.
    pub(super) fn add(&mut self, address: Multiaddr, found: Found, now: Instant) {
        let is_it = |one: &&mut Contact| one.found.is_chosen() && one.addresses[0] == address;
        if let Some(contact) = self.list.iter_mut().find(is_it) {
            return contact.start_over(now);
        }
        if self.list.iter().filter(|one| one.found.is_chosen()).count() < STATIC_MAX {
            let expected = peer_of(&address);
            self.list.push(Contact::new(vec![address], found, expected, now));
        }
    }

    /// Forgets a static or told address.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> bool {
        let before = self.list.len();
        self.list.retain(|one| !one.found.is_chosen() || one.addresses[0] != *address);
        self.list.len() < before
    }

    /// A peer answered on the local network.
    pub(super) fn hint(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        let known = self.list.iter_mut().find(|one| one.is_hint_of(peer, Found::Mdns));
        match known {
            Some(contact) if contact.addresses.contains(&address) => {}
            Some(contact) if contact.addresses.len() < HINTED_ADDRESSES_MAX => {
                contact.addresses.push(address);
                contact.start_over(now);
            }
            Some(_) => {}
            None => self.push_hint(Contact::new(vec![address], Found::Mdns, Some(peer), now)),
        }
    }

    /// The local network has not heard of the peer at this address for a while.
    pub(super) fn expire(&mut self, peer: PeerId, address: &Multiaddr) {
        for contact in self.list.iter_mut().filter(|one| one.is_hint_of(peer, Found::Mdns)) {
            contact.addresses.retain(|known| known != address);
        }
        self.list.retain(|one| !one.addresses.is_empty());
    }

    /// Another peer said where this one is.
    pub(super) fn tell(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>, now: Instant) {
        addresses.truncate(HINTED_ADDRESSES_MAX);
        let expires = Some(now + TOLD_BY_PEERS);
        let known = self.list.iter_mut().find(|one| one.is_hint_of(peer, Found::Peer));
        match known {
            Some(contact) => {
                if contact.addresses != addresses {
                    contact.addresses = addresses;
                    contact.start_over(now);
                }
                contact.expires = expires;
            }
            None if addresses.is_empty() => {}
            None => {
                let contact = Contact::new(addresses, Found::Peer, Some(peer), now);
                self.push_hint(Contact { expires, ..contact });
            }
        }
        self.list.retain(|one| !one.addresses.is_empty());
    }

    /// Where the table of hints is full, one that led nowhere makes room.
    fn push_hint(&mut self, contact: Contact) {
        let found = contact.found;
        if self.list.iter().filter(|one| one.found == found).count() >= HINTED_PEERS_MAX {
            let led_nowhere =
                |one: &Contact| one.found == found && one.answered.is_none() && one.failures > 0;
            let Some(place) = self.list.iter().position(led_nowhere) else { return };
            self.list.swap_remove(place);
        }
        self.list.push(contact);
    }

    /// Whether enough peers are connected without those that other peers name.
    pub(super) const fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    /// The dials to make now: those that are due and have nobody connected behind them.
    pub(super) fn due(&mut self, now: Instant, connected: impl Fn(&PeerId) -> bool) -> Vec<Dial> {
        let is_here = |one: &Contact| one.peer().as_ref().is_some_and(&connected);
        let is_over = |one: &Contact| one.expires.is_some_and(|at| at <= now) && !is_here(one);
        self.list.retain(|one| !is_over(one));
        let mut dials = Vec::new();
        for place in 0..self.list.len() {
            let one = &self.list[place];
            if self.waits(one) && one.due <= now && !is_here(one) {
                dials.push(self.dial(place, now));
            }
        }
        dials
    }

    /// Whether it is to be dialled at all.
    fn waits(&self, one: &Contact) -> bool {
        one.dialling.is_none() && !(self.crowded && one.found == Found::Peer)
    }

    /// One dial for all that is known of the peer behind this contact.
    fn dial(&mut self, place: usize, now: Instant) -> Dial {
        self.dials += 1;
        let (number, expected) = (self.dials, self.list[place].expected);
        let mut addresses = Vec::new();
        for (other, contact) in self.list.iter_mut().enumerate() {
            let is_same = expected.is_some() && contact.expected == expected;
            let may = contact.due <= now || contact.found.is_chosen();
            if other == place || (is_same && may && contact.dialling.is_none()) {
                (contact.dialling, contact.dialled) = (Some(number), Some(now));
                addresses.extend(contact.addresses.iter().cloned());
            }
        }
        addresses.sort_by_cached_key(rank);
        addresses.dedup();
        addresses.truncate(DIALLED_MAX);
        Dial { number, addresses, expected }
    }

    /// When the next dial is due, as far as is known now.
    pub(super) fn next_due(&self, connected: impl Fn(&PeerId) -> bool) -> Option<Instant> {
        let idle = |one: &&Contact| self.waits(one) && !one.peer().as_ref().is_some_and(&connected);
        self.list.iter().filter(idle).map(|one| one.due).min()
    }

    /// A connection is up: by whichever dial, or by the peer's own.
    pub(super) fn connected(&mut self, peer: PeerId, dial: Option<u64>) -> Option<Found> {
        for contact in &mut self.list {
            let dialled = dial.is_some() && contact.dialling == dial;
            if dialled {
                contact.dialling = None;
            }
            if dialled || contact.peer() == Some(peer) {
                contact.answered = Some(peer);
                contact.failures = 0;
            }
        }
        let known = self.list.iter().filter(|one| one.peer() == Some(peer));
        known.map(|one| one.found).max_by_key(|found| found.is_chosen())
    }

    /// A dial failed: the next one waits. `ourselves`: our own key answered.
    pub(super) fn failed(&mut self, dial: u64, ourselves: bool, now: Instant, random: u32) {
        for contact in self.list.iter_mut().filter(|one| one.dialling == Some(dial)) {
            contact.dialling = None;
            let failures = contact.failures.saturating_add(1);
            let pause = contact.found.pause(contact.failures, random);
            contact.start_over(now + if ourselves { SELF_RETRY } else { pause });
            contact.failures = failures;
        }
    }

    /// The last connection of a peer is gone: its contacts start over within a second.
    pub(super) fn lost(&mut self, peer: PeerId, now: Instant, random: u32) {
        for contact in self.list.iter_mut().filter(|one| one.peer() == Some(peer)) {
            contact.start_over(now + contact.found.pause(0, random));
        }
    }

    /// The network is another one: everybody is dialled at once, even where a dial is under way,
    /// which the old network may have swallowed.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for contact in &mut self.list {
            (contact.dialling, contact.dialled) = (None, None);
            contact.start_over(now);
        }
    }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
