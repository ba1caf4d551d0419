//! Where others can reach us.
//!
//! A wildcard address becomes one address an interface, and libp2p tells them one by one. Whoever
//! asks at the start would get half of them, so an answer waits until every listener has its
//! address, and with a wildcard for a quarter of a second. Loopback is told only if there is
//! nothing else. Does not guess what a router in front of us looks like from outside.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Error;
use super::address::{needs_interface, rank};
use super::behaviour::Behaviour;
use super::interfaces::Interfaces;

/// How long the addresses of a wildcard may take to come.
const SETTLE: Duration = Duration::from_millis(250);

/// The listeners, and who waits for their addresses.
#[derive(Debug)]
pub(super) struct Listening {
    pending: HashSet<ListenerId>,
    wildcard: bool,
    settled: Instant,
    asked: Vec<oneshot::Sender<Vec<Multiaddr>>>,
}

impl Listening {
    /// Listens on all of them.
    pub(super) fn start(
        swarm: &mut Swarm<Behaviour>,
        addresses: Vec<Multiaddr>,
    ) -> Result<Self, Error> {
        let wildcard = addresses.iter().any(|address| has_ip(address, |ip| ip.is_unspecified()));
        let mut pending = HashSet::new();
        for address in addresses {
            let listener = swarm.listen_on(address.clone());
            let refused = |error| Error::Listen(format!("cannot listen on {address}: {error}"));
            pending.insert(listener.map_err(refused)?);
        }
        let settled = Instant::now() + SETTLE;
        Ok(Self { pending, wildcard, settled, asked: Vec::new() })
    }

    /// Somebody wants to know.
    pub(super) fn ask(&mut self, reply: oneshot::Sender<Vec<Multiaddr>>) {
        self.asked.push(reply);
    }

    /// A listener has an address, or never will.
    pub(super) fn heard(&mut self, listener: ListenerId) {
        self.pending.remove(&listener);
    }

    /// When to answer at the latest.
    pub(super) fn next_answer(&self) -> Option<Instant> {
        (!self.asked.is_empty()).then_some(self.settled)
    }

    /// Answers those who wait, if it is time.
    pub(super) fn answer(&mut self, swarm: &Swarm<Behaviour>) {
        let known = self.pending.is_empty() && !self.wildcard;
        if self.asked.is_empty() || (!known && Instant::now() < self.settled) {
            return;
        }
        let addresses = addresses(swarm);
        for reply in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(addresses.clone());
        }
    }
}

/// Each with our id behind it. What means nothing to others is left out: the bridges of containers
/// and what holds on one cable alone.
pub(super) fn addresses(swarm: &Swarm<Behaviour>) -> Vec<Multiaddr> {
    let interfaces = Interfaces::read();
    let is_near = |address: &Multiaddr| has_ip(address, |ip| ip.is_loopback());
    let is_useless = |address: &Multiaddr| {
        needs_interface(address) || has_ip(address, |ip| interfaces.is_inward(ip))
    };
    let all = swarm.listeners().filter(|address| !is_useless(address)).cloned();
    let (near, far): (Vec<_>, Vec<_>) = all.partition(is_near);
    let mut addresses = if far.is_empty() { near } else { far };
    addresses.sort_by_cached_key(rank);
    let ours = *swarm.local_peer_id();
    addresses.into_iter().map(|address| address.with(Protocol::P2p(ours))).collect()
}

fn has_ip(address: &Multiaddr, is: impl Fn(std::net::IpAddr) -> bool) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => is(ip.into()),
        Protocol::Ip6(ip) => is(ip.into()),
        _ => false,
    })
}
