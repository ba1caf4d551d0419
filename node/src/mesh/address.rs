//! Addresses of peers: what we can dial, by which way, and in which order. Pure but for names.
//!
//! Two ways lead to a peer, TCP and QUIC. TCP is preferred where both do, since on a lossy line the
//! congestion control of the system beats the one that QUIC brings along. Link-local addresses of
//! IPv6 are not dialled: they mean nothing without the interface, which a multiaddress of libp2p's
//! transports cannot name.
//!
//! Source: mesh.md sections 2, 7 and 8.

use std::net::IpAddr;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Addresses that one name may stand for.
const RESOLVED_MAX: usize = 4;
/// Looking up a name.
const RESOLVING: Duration = Duration::from_secs(10);

/// By what a connection runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// TCP, noise and yamux.
    Tcp,
    /// QUIC over UDP.
    Quic,
}

impl Way {
    /// The word for it in `peer list`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    /// Of the address of a connection.
    pub(super) fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|part| matches!(part, Protocol::QuicV1)) {
            Self::Quic
        } else {
            Self::Tcp
        }
    }
}

/// The peer that the end of an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The IP address that it begins with; one of IPv4 inside IPv6 is the one of IPv4.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

/// Whether only this machine and its neighbours know the address.
pub(super) const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Whether it holds on one cable alone, and so needs an interface beside it.
pub(super) fn needs_interface(address: &Multiaddr) -> bool {
    matches!(ip_of(address), Some(IpAddr::V6(ip)) if ip.is_unicast_link_local())
}

/// An address that we can dial: an IP address or a name, a port of TCP or QUIC, and perhaps who
/// answers.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    use Protocol::{Dns, Dns4, Dns6, Ip4, Ip6, P2p, QuicV1, Tcp, Udp};
    let mut parts: Vec<_> = address.iter().collect();
    parts.pop_if(|last| matches!(last, P2p(_)));
    let [host, port @ ..] = parts.as_slice() else { return false };
    let has_host = matches!(host, Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_));
    let has_port = matches!(port, [Tcp(_)] | [Udp(_), QuicV1]);
    has_host && has_port && !needs_interface(address)
}

/// Which of several to prefer: TCP to QUIC, IPv4 to IPv6, the near to the far.
pub(super) fn rank(address: &Multiaddr) -> (Way, bool, bool, Multiaddr) {
    let ip = ip_of(address);
    let is_far = !ip.is_some_and(is_private);
    (Way::of(address), ip.is_some_and(|ip| ip.is_ipv6()), is_far, address.clone())
}

/// The name that it begins with, to be looked up.
pub(super) fn name_of(address: &Multiaddr) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a test writes sound addresses")
    }

    #[test]
    fn only_what_we_speak_is_dialled() {
        let id = PeerId::random();
        for good in [
            "/ip4/10.0.0.1/tcp/7879",
            "/ip6/::1/tcp/1",
            "/dns/hub.test/tcp/7879",
            "/ip4/10.0.0.1/udp/7879/quic-v1",
            "/dns4/hub.test/udp/7879/quic-v1",
        ] {
            assert!(is_dialable(&address(good)), "{good}");
            assert!(is_dialable(&address(&format!("{good}/p2p/{id}"))), "{good}");
        }
        for bad in [
            "/ip4/10.0.0.1",
            "/tcp/1",
            "/ip4/10.0.0.1/udp/7879",
            "/ip4/10.0.0.1/tcp/1/quic-v1",
            "/memory/1",
            "/ip6/fe80::1/tcp/7879",
        ] {
            assert!(!is_dialable(&address(bad)), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_becomes_its_addresses_and_the_rest_stays() {
        let id = PeerId::random();
        let named = address(&format!("/dns4/localhost/udp/7879/quic-v1/p2p/{id}"));
        let plain = address("/ip4/10.0.0.1/tcp/1");
        let resolved = resolve(vec![named, plain.clone()]).await;
        let local = format!("/ip4/127.0.0.1/udp/7879/quic-v1/p2p/{id}");
        assert!(resolved.contains(&address(&local)));
        assert!(resolved.contains(&plain));
    }

    #[test]
    fn tcp_comes_before_quic_and_the_near_before_the_far() {
        let order = [
            "/ip4/192.168.4.1/tcp/7879",
            "/ip4/203.0.113.1/tcp/7879",
            "/ip6/fd00::1/tcp/7879",
            "/ip4/192.168.4.1/udp/7879/quic-v1",
            "/ip6/2001:db8::1/udp/7879/quic-v1",
        ];
        let order = order.map(address);
        let mut sorted = order.to_vec();
        sorted.reverse();
        sorted.sort_by_cached_key(rank);
        assert_eq!(sorted, order);
    }
}
