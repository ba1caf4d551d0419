//! Counts every byte that passes the sockets of peers, sent and received.
//!
//! A socket has a tally from its first byte on. Whose it is turns out when the handshake is over:
//! then all of it, the handshake too, counts for that peer; one that ends before counts for nobody
//! by name. `Meter::draw` hands out what came since the last time, each byte once. Keeps nothing
//! over a restart and decides nothing: `ledger` writes down, `budget` judges.
//!
//! Source: mesh.md sections 3.1 and 5.4.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::link::{self, LinkClass};

/// Bytes that are written down at once rather than in a while.
const PENDING_MAX: u64 = 64 * 1024;

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// From here.
    pub sent: u64,
    /// To here.
    pub received: u64,
}

impl Count {
    /// Both together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    /// Adds another.
    pub(super) const fn add(&mut self, other: Self) {
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
    }
}

/// What one socket carried.
#[derive(Debug)]
pub(super) struct Tally {
    class: LinkClass,
    remote: Option<std::net::SocketAddr>,
    peer: OnceLock<PeerId>,
    sent: AtomicU64,
    received: AtomicU64,
    meter: Arc<Shared>,
}

impl Tally {
    /// Bytes went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.meter.count(bytes as u64);
    }

    /// Bytes came in.
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.meter.count(bytes as u64);
    }

    /// Whether nothing came since the last time.
    fn is_empty(&self) -> bool {
        self.sent.load(Ordering::Relaxed) == 0 && self.received.load(Ordering::Relaxed) == 0
    }

    /// What came since the last time; the tally starts over.
    fn take(&self) -> Count {
        let sent = self.sent.swap(0, Ordering::Relaxed);
        Count { sent, received: self.received.swap(0, Ordering::Relaxed) }
    }
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<Arc<Tally>>>,
    /// Bytes since the last draw.
    pending: AtomicU64,
    /// The first byte since, or a socket that has closed.
    stirred: Notify,
    /// More than is to be lost.
    full: Notify,
}

impl Shared {
    fn count(&self, bytes: u64) {
        let before = self.pending.fetch_add(bytes, Ordering::Relaxed);
        if before == 0 {
            self.stirred.notify_one();
        }
        if before < PENDING_MAX && before + bytes >= PENDING_MAX {
            self.full.notify_one();
        }
    }
}

/// What passed one link since the last draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Its kind.
    pub(super) class: LinkClass,
    /// Whose; nobody's if it closed before its handshake was over.
    pub(super) peer: Option<PeerId>,
    /// How much.
    pub(super) count: Count,
}

/// The counters of all sockets; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    shared: Arc<Shared>,
}

impl Meter {
    /// A tally for a new socket; it ends with its last holder.
    pub(super) fn open(&self, remote: &Multiaddr) -> Arc<Tally> {
        let tally = Arc::new(Tally {
            class: LinkClass::of(remote),
            remote: link::socket(remote),
            peer: OnceLock::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            meter: Arc::clone(&self.shared),
        });
        let mut tallies = self.tallies();
        // Calls that nobody answered.
        tallies.retain(|old| Arc::strong_count(old) > 1 || !old.is_empty());
        tallies.push(Arc::clone(&tally));
        tally
    }

    /// Who is at the other end of the sockets to an address, now that it has been proven.
    pub(super) fn is_of(&self, remote: &Multiaddr, peer: PeerId) {
        let Some(remote) = link::socket(remote) else { return };
        for tally in self.tallies().iter().filter(|tally| tally.remote == Some(remote)) {
            // A socket stays whose it is.
            let _ = tally.peer.set(peer);
        }
        self.shared.stirred.notify_one();
    }

    /// What came since the last draw. A handshake that still goes on waits for its end.
    pub(super) fn draw(&self) -> Vec<Drawn> {
        self.shared.pending.store(0, Ordering::Relaxed);
        let (mut drawn, mut tallies) = (Vec::new(), self.tallies());
        tallies.retain(|tally| {
            // Asked before the bytes are taken: what a last holder counts is not lost.
            let is_open = Arc::strong_count(tally) > 1;
            let peer = tally.peer.get().copied();
            if peer.is_some() || !is_open {
                let count = tally.take();
                if count.bytes() > 0 {
                    drawn.push(Drawn { class: tally.class, peer, count });
                }
            }
            is_open
        });
        drawn
    }

    /// Waits for a byte since the last draw.
    pub(super) async fn stirred(&self) {
        self.shared.stirred.notified().await;
    }

    /// Waits for so many bytes that they should be written down.
    pub(super) async fn full(&self) {
        self.shared.full.notified().await;
    }

    /// A socket has closed: what it still counted may be drawn.
    pub(super) fn closed(tally: &Tally) {
        tally.meter.stirred.notify_one();
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Tally>>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/203.0.113.9/tcp/{port}").parse().expect("a sound address")
    }

    #[test]
    fn a_handshake_counts_for_the_peer_that_it_proves() {
        let (meter, peer) = (Meter::default(), PeerId::random());
        let tally = meter.open(&address(1));
        tally.sent(30);
        tally.received(12);
        assert_eq!(meter.draw(), [], "nobody knows yet whose it is");
        meter.is_of(&address(1), peer);
        tally.sent(1);
        let count = Count { sent: 31, received: 12 };
        assert_eq!(meter.draw(), [Drawn { class: LinkClass::Wan, peer: Some(peer), count }]);
        assert_eq!(meter.draw(), [], "each byte is drawn once");
    }

    #[test]
    fn a_socket_that_closes_before_it_is_anybodys_counts_for_nobody() {
        let meter = Meter::default();
        let tally = meter.open(&address(1));
        tally.received(7);
        drop(tally);
        let count = Count { sent: 0, received: 7 };
        assert_eq!(meter.draw(), [Drawn { class: LinkClass::Wan, peer: None, count }]);
        assert!(meter.tallies().is_empty(), "what has closed is forgotten");
    }

    #[test]
    fn calls_that_nobody_answers_leave_nothing_behind() {
        let meter = Meter::default();
        for port in 1..100 {
            drop(meter.open(&address(port)));
        }
        assert_eq!(meter.tallies().len(), 1);
    }

    #[test]
    fn of_two_sockets_each_has_its_own_peer() {
        let (meter, one, two) = (Meter::default(), PeerId::random(), PeerId::random());
        let (first, second) = (meter.open(&address(1)), meter.open(&address(2)));
        meter.is_of(&address(1), one);
        meter.is_of(&address(2), two);
        meter.is_of(&address(1), two);
        first.sent(5);
        second.sent(6);
        let peers: Vec<_> = meter.draw().iter().map(|it| (it.peer, it.count.sent)).collect();
        assert_eq!(peers, [(Some(one), 5), (Some(two), 6)]);
    }
}
