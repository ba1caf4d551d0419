//! Whether the network is still the one that the connections were made in.
//!
//! A machine that moves to another network, or wakes up after a night, has connections that nobody
//! will ever answer on, and QUIC as libp2p runs it does not move along. TCP would find out after a
//! quarter of an hour. So two things are watched: the addresses of the cards, by if-watch, and
//! whether the wall clock has run further than the clock that stands still while the machine
//! sleeps. What follows from it, `swarm` does: lines from an address that is gone are dead, after a
//! sleep all are.
//!
//! A wall clock that a person sets looks like a sleep: one reconnect too many. Does not notice a
//! router that changed its mind; pings do.
//!
//! Source: mesh.md section 3.1.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p::Multiaddr;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::address::ip_of;
use super::interfaces::Interfaces;

/// How often the clocks are compared.
const TICK: Duration = Duration::from_secs(10);
/// How far the clocks may part in that time.
const DRIFT_MAX: Duration = Duration::from_secs(30);
/// At its start if-watch tells all addresses that there are: no change.
const SETTLE: Duration = Duration::from_secs(1);

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A card has an address that it did not have.
    Appeared,
    /// This address of ours is gone.
    Gone(IpAddr),
    /// The machine has slept.
    Slept,
}

/// Watches.
pub(super) struct Network {
    watcher: Option<IfWatcher>,
    ours: BTreeSet<IpAddr>,
    started: Instant,
    tick: Interval,
    clocks: Clocks,
}

/// What both clocks showed.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// Whether the wall clock jumped in between, in either direction.
    fn jumped_until(self, later: Self) -> bool {
        let steady = later.steady.duration_since(self.steady);
        match later.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(steady) > DRIFT_MAX,
            Err(back) => back.duration() + steady > DRIFT_MAX,
        }
    }
}

impl Network {
    /// Watches from now on. Where addresses cannot be watched, only the clocks are.
    pub(super) fn new() -> Self {
        let watcher = IfWatcher::new();
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "a change of the network is noticed late"));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (started, clocks) = (Instant::now(), Clocks::now());
        Self { watcher: watcher.ok(), ours: BTreeSet::new(), started, tick, clocks }
    }

    /// The next change; cancelled without loss.
    pub(super) async fn changed(&mut self) -> Change {
        loop {
            let event = async {
                match &mut self.watcher {
                    Some(watcher) => watcher.select_next_some().await,
                    None => std::future::pending().await,
                }
            };
            let change = tokio::select! {
                event = event => self.heard(event),
                _ = self.tick.tick() => self.compare(Clocks::now()),
            };
            if let Some(change) = change {
                return change;
            }
        }
    }

    fn heard(&mut self, event: std::io::Result<IfEvent>) -> Option<Change> {
        match event {
            Ok(IfEvent::Up(net)) => {
                let is_new = self.ours.insert(net.addr()) && is_of_use(net.addr());
                (is_new && self.started.elapsed() > SETTLE).then_some(Change::Appeared)
            }
            Ok(IfEvent::Down(net)) => {
                self.ours.remove(&net.addr()).then_some(Change::Gone(net.addr()))
            }
            Err(error) => {
                tracing::warn!(%error, "a change of the network is noticed late");
                self.watcher = None;
                None
            }
        }
    }

    fn compare(&mut self, now: Clocks) -> Option<Change> {
        let before = std::mem::replace(&mut self.clocks, now);
        before.jumped_until(now).then_some(Change::Slept)
    }
}

/// Whether peers may be reached from it: not by loopback, nor by the bridge of a container that was
/// just started.
fn is_of_use(ip: IpAddr) -> bool {
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    !is_local && !Interfaces::read().is_inward(ip)
}

/// From which of our addresses the system would talk to this one; nothing is sent.
pub(super) fn ours_towards(remote: &Multiaddr) -> Option<IpAddr> {
    let remote = SocketAddr::new(ip_of(remote)?, 9);
    let any: IpAddr = if remote.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_a_jump_of_the_wall_clock_and_ordinary_time_is_none() {
        let before = Clocks::now();
        let after = |wall: Duration, steady: Duration| Clocks {
            wall: before.wall + wall,
            steady: before.steady + steady,
        };
        let (tick, night) = (TICK, Duration::from_secs(8 * 60 * 60));
        assert!(!before.jumped_until(after(tick, tick)));
        assert!(!before.jumped_until(after(night, night)), "a busy machine");
        assert!(before.jumped_until(after(night, tick)));
        let set_back = Clocks { wall: before.wall - night, steady: before.steady + tick };
        assert!(before.jumped_until(set_back));
    }

    #[test]
    fn we_talk_to_ourselves_from_loopback() {
        let remote = "/ip4/127.0.0.1/tcp/1".parse().expect("a sound address");
        assert_eq!(ours_towards(&remote), Some([127, 0, 0, 1].into()));
        assert_eq!(ours_towards(&"/dns/hub.test/tcp/1".parse().expect("sound")), None);
    }

    #[tokio::test]
    async fn an_address_that_goes_is_told_once() {
        let mut network = Network::new();
        let net = "198.51.100.7/24".parse().expect("a network");
        network.started -= SETTLE * 2;
        assert_eq!(network.heard(Ok(IfEvent::Up(net))), Some(Change::Appeared));
        assert_eq!(network.heard(Ok(IfEvent::Up(net))), None);
        assert_eq!(network.heard(Ok(IfEvent::Down(net))), Some(Change::Gone(net.addr())));
        assert_eq!(network.heard(Ok(IfEvent::Down(net))), None);
        let loopback = "127.0.0.9/8".parse().expect("a network");
        assert_eq!(network.heard(Ok(IfEvent::Up(loopback))), None);
    }
}
