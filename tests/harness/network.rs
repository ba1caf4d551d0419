//! Two hosts on one machine: network namespaces joined by a virtual cable.
//!
//! mDNS skips loopback, so nodes find each other only on a link like this one. It needs root and
//! `ip`; without them the test skips loudly. The namespaces go, by name, when the value is dropped.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::client::{find, skip};
use super::wait::{run, run_ok};

const LIMIT: Duration = Duration::from_secs(20);
/// More than one pair can exist at a time.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A pair of hosts, `10.231.N.1` and `10.231.N.2`.
#[derive(Debug)]
pub(crate) struct Lan {
    hosts: [String; 2],
    cards: [String; 2],
    number: u32,
}

impl Lan {
    /// Makes the pair, or skips the test.
    pub(crate) fn new() -> Option<Self> {
        if find("ip").is_none() {
            skip("needs `ip` (iproute2)");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let tag = format!("{}-{number}", std::process::id());
        let hosts = [format!("griot-{tag}-a"), format!("griot-{tag}-b")];
        let cards = [format!("ga{tag}"), format!("gb{tag}")];
        if !run(&mut ip(&["netns", "add", &hosts[0]]), LIMIT).status.success() {
            skip("needs root, to make network namespaces");
            return None;
        }
        let lan = Self { hosts, cards, number };
        run_ok(&mut ip(&["netns", "add", &lan.hosts[1]]), LIMIT);
        lan.wire();
        Some(lan)
    }

    fn wire(&self) {
        let [host_a, host_b] = [&self.hosts[0], &self.hosts[1]];
        let [card_a, card_b] = [&self.cards[0], &self.cards[1]];
        run_ok(
            &mut ip(&[
                "link", "add", card_a, "netns", host_a, "type", "veth", "peer", "name", card_b,
                "netns", host_b,
            ]),
            LIMIT,
        );
        for side in 0..2 {
            let address = format!("{}/24", self.address(side));
            let (host, card) = (&self.hosts[side], &self.cards[side]);
            run_ok(&mut ip(&["-n", host, "addr", "add", &address, "dev", card]), LIMIT);
            run_ok(&mut ip(&["-n", host, "link", "set", "lo", "up"]), LIMIT);
            run_ok(&mut ip(&["-n", host, "link", "set", card, "up"]), LIMIT);
            // Multicast needs a route of its own where there is no default one.
            run_ok(&mut ip(&["-n", host, "route", "add", "224.0.0.0/4", "dev", card]), LIMIT);
        }
    }

    /// The name of a host's namespace.
    pub(crate) fn host(&self, side: usize) -> String {
        self.hosts[side].clone()
    }

    /// A host's address on the cable.
    pub(crate) fn address(&self, side: usize) -> String {
        format!("10.231.{}.{}", self.number % 250, side + 1)
    }

    /// Gives a host another address, as a router does after a while; answers the new one.
    pub(crate) fn move_host(&self, side: usize) -> String {
        let (host, card) = (&self.hosts[side], &self.cards[side]);
        let old = format!("{}/24", self.address(side));
        let new = format!("10.231.{}.{}", self.number % 250, side + 101);
        let with_mask = format!("{new}/24");
        run_ok(&mut ip(&["-n", host, "addr", "del", &old, "dev", card]), LIMIT);
        run_ok(&mut ip(&["-n", host, "addr", "add", &with_mask, "dev", card]), LIMIT);
        run_ok(&mut ip(&["-n", host, "route", "replace", "224.0.0.0/4", "dev", card]), LIMIT);
        new
    }

    /// Pulls the cable out, or plugs it in again.
    pub(crate) fn set_cable(&self, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        run_ok(&mut ip(&["-n", &self.hosts[0], "link", "set", &self.cards[0], state]), LIMIT);
        if plugged {
            let (host, card) = (&self.hosts[0], &self.cards[0]);
            run_ok(&mut ip(&["-n", host, "route", "replace", "224.0.0.0/4", "dev", card]), LIMIT);
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = ip(&["netns", "del", host]).status();
        }
    }
}

fn ip(arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments);
    command
}
