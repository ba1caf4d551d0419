//! The networks that this machine has a card in, and which of them lead to neighbours.
//!
//! Containers, virtual machines and tunnels have bridges of their own on the machine, and every
//! answer that mDNS hears there names addresses that nobody else can dial. So a hint counts only if
//! its address lies in a network behind a card that is none of these, and that is private or leads
//! out. The table of routes is read anew each time somebody asks, as it changes under us. Where it
//! cannot be read (only Linux has it), an address counts if it is private.
//!
//! Does not watch for changes: that is `network`.
//!
//! Source: mesh.md sections 3.1 and 8.

use std::net::{IpAddr, Ipv4Addr};

use libp2p::Multiaddr;

use super::address::{ip_of, is_private};

/// The table of routes, of this process's own network namespace.
const ROUTES: &str = "/proc/net/route";
/// Routes that are looked at.
const ROUTES_MAX: usize = 1024;
/// How the names of cards begin that lead to containers, virtual machines and tunnels.
const INWARD: [&str; 21] = [
    "docker",
    "podman",
    "veth",
    "br-",
    "virbr",
    "vnet",
    "vboxnet",
    "vmnet",
    "cni",
    "cali",
    "flannel",
    "cilium",
    "kube",
    "lxc",
    "lxd",
    "incus",
    "tun",
    "tap",
    "wg",
    "tailscale",
    "zt",
];

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    card: String,
    network: Ipv4Addr,
    mask: Ipv4Addr,
    gateway: Ipv4Addr,
}

/// The networks of this machine, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interfaces(Option<Vec<Route>>);

impl Interfaces {
    /// As they are now.
    pub(super) fn read() -> Self {
        Self(fs_err::read_to_string(ROUTES).ok().map(|table| parse(&table)))
    }

    /// Whether a neighbour can be behind this address, which mDNS hinted at.
    pub(super) fn is_neighbour(&self, address: &Multiaddr) -> bool {
        match ip_of(address) {
            Some(IpAddr::V4(ip)) if !ip.is_loopback() => match &self.0 {
                Some(routes) => leads_to(routes, ip),
                None => is_private(ip.into()),
            },
            Some(IpAddr::V6(ip)) => ip.is_unique_local(),
            _ => false,
        }
    }

    /// Whether the address is of this machine's own inner world, of use to nobody else.
    pub(super) fn is_inward(&self, ip: IpAddr) -> bool {
        let (IpAddr::V4(ip), Some(routes)) = (ip, &self.0) else { return false };
        let mut behind = routes.iter().filter(|route| is_behind(route, ip));
        let first = behind.next();
        first.is_some_and(is_inward) && behind.all(is_inward)
    }
}

fn leads_to(routes: &[Route], ip: Ipv4Addr) -> bool {
    let leads_out =
        |card: &str| routes.iter().any(|route| route.card == card && route.mask.is_unspecified());
    let mut behind = routes.iter().filter(|route| is_behind(route, ip) && !is_inward(route));
    behind.any(|route| is_private(ip.into()) || leads_out(&route.card))
}

/// Whether the address is in a network that the card of the route is itself in.
fn is_behind(route: &Route, ip: Ipv4Addr) -> bool {
    let (mask, network) = (u32::from(route.mask), u32::from(route.network));
    mask != 0 && route.gateway.is_unspecified() && u32::from(ip) & mask == network
}

fn is_inward(route: &Route) -> bool {
    INWARD.iter().any(|start| route.card.starts_with(start))
}

/// Reads what Linux prints: a line of titles, then card, network and gateway, and further on the
/// mask, as hexadecimal numbers whose bytes are in the order of the machine.
fn parse(table: &str) -> Vec<Route> {
    table.lines().skip(1).take(ROUTES_MAX).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let ip = |place: usize| {
        let number = u32::from_str_radix(fields.get(place)?, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let (network, gateway, mask) = (ip(1)?, ip(2)?, ip(7)?);
    Some(Route { card: (*fields.first()?).to_owned(), network, mask, gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(card: &str, network: [u8; 4], gateway: [u8; 4], mask: [u8; 4]) -> String {
        let [network, gateway, mask] =
            [network, gateway, mask].map(|ip| format!("{:08X}", u32::from_ne_bytes(ip)));
        format!("{card}\t{network}\t{gateway}\t0001\t0\t0\t100\t{mask}\t0\t0\t0\n")
    }

    fn table() -> Interfaces {
        let none = [0; 4];
        let lines = [
            route("wlan0", none, [192, 168, 4, 1], none),
            route("wlan0", [192, 168, 4, 0], none, [255, 255, 255, 0]),
            route("eth1", [203, 0, 113, 0], none, [255, 255, 255, 0]),
            route("docker0", [172, 17, 0, 0], none, [255, 255, 0, 0]),
            route("tun0", [10, 8, 0, 0], none, [255, 255, 255, 0]),
        ];
        Interfaces(Some(parse(&format!("Iface Destination\n{}garbage\n", lines.concat()))))
    }

    #[test]
    fn a_hint_counts_on_the_lan_and_not_on_bridges_and_tunnels_or_elsewhere() {
        let table = table();
        for (address, counts) in [
            ("/ip4/192.168.4.7/tcp/7879", true),
            ("/ip4/192.168.4.7/udp/7879/quic-v1", true),
            ("/ip4/172.17.0.2/tcp/7879", false),
            ("/ip4/10.8.0.2/tcp/7879", false),
            ("/ip4/203.0.113.9/tcp/7879", false),
            ("/ip4/192.168.5.7/tcp/7879", false),
            ("/ip4/127.0.0.1/tcp/7879", false),
            ("/ip6/fe80::1/tcp/7879", false),
            ("/ip6/fd00::1/tcp/7879", true),
            ("/dns/hub.test/tcp/7879", false),
        ] {
            let parsed = address.parse().expect("a sound address");
            assert_eq!(table.is_neighbour(&parsed), counts, "{address}");
        }
        let blind = Interfaces(None);
        let near = "/ip4/192.168.9.9/tcp/1".parse().expect("a sound address");
        assert!(blind.is_neighbour(&near));
    }

    #[test]
    fn a_public_network_counts_where_it_leads_out() {
        let (none, mask) = ([0; 4], [255, 255, 255, 0]);
        let lines = route("eth0", [203, 0, 113, 0], none, mask)
            + &route("eth0", none, [203, 0, 113, 1], none);
        let table = Interfaces(Some(parse(&format!("titles\n{lines}"))));
        let address = "/ip4/203.0.113.9/tcp/7879".parse().expect("a sound address");
        assert!(table.is_neighbour(&address));
    }

    #[test]
    fn addresses_of_bridges_are_told_to_nobody() {
        let table = table();
        assert!(table.is_inward([172, 17, 0, 1].into()));
        assert!(!table.is_inward([192, 168, 4, 2].into()));
        assert!(!table.is_inward([198, 51, 100, 1].into()));
    }
}
