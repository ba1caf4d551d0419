//! What kind of way leads to a peer: within this network, beyond it, or through a third node.
//!
//! Told by the address alone, which is what a node knows of a link: private, link-local and
//! loopback addresses are within, all others beyond. A tunnel that gives out private addresses
//! looks like the local network; a budget names its peer then. Decides nothing.
//!
//! Source: mesh.md section 3.1.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};

/// The kind of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkClass {
    /// Within this network, or this machine.
    Lan,
    /// Beyond it.
    Wan,
    /// Through a third node; its bytes are counted on the way to that one.
    Relayed,
}

impl LinkClass {
    /// The kind of the link to an address; an address without an IP counts as beyond.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return Self::Relayed;
        }
        ip(address).map_or(Self::Wan, Self::of_ip)
    }

    fn of_ip(ip: IpAddr) -> Self {
        let near = match ip.to_canonical() {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        };
        if near { Self::Lan } else { Self::Wan }
    }
}

impl fmt::Display for LinkClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Relayed => "relayed",
        })
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The socket's other end, if the address is one of a socket.
pub(super) fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })?;
    Some(SocketAddr::new(ip(address)?.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> LinkClass {
        LinkClass::of(&text.parse().expect("a sound address"))
    }

    #[test]
    fn the_address_tells_the_kind_of_the_link() {
        for near in ["127.0.0.1", "10.1.2.3", "192.168.4.1", "172.16.9.9", "169.254.1.1"] {
            assert_eq!(class(&format!("/ip4/{near}/tcp/7879")), LinkClass::Lan, "{near}");
        }
        for near in ["::1", "fe80::1", "fd00::7", "::ffff:192.168.4.1"] {
            assert_eq!(class(&format!("/ip6/{near}/tcp/7879")), LinkClass::Lan, "{near}");
        }
        for far in ["/ip4/203.0.113.9/tcp/7879", "/ip6/2001:db8::1/udp/7879/quic-v1"] {
            assert_eq!(class(far), LinkClass::Wan, "{far}");
        }
        assert_eq!(class("/dns/hub.example.test/tcp/7879"), LinkClass::Wan);
        assert_eq!(class("/ip4/203.0.113.9/tcp/7879/p2p-circuit"), LinkClass::Relayed);
    }

    #[test]
    fn the_other_end_of_a_socket_is_found_in_its_address() {
        let of = |text: &str| socket(&text.parse().expect("a sound address"));
        assert_eq!(of("/ip4/10.0.0.7/tcp/99"), Some("10.0.0.7:99".parse().expect("sound")));
        assert_eq!(of("/ip4/10.0.0.7/udp/99/quic-v1"), of("/ip6/::ffff:10.0.0.7/tcp/99"));
        assert_eq!(of("/dns/hub.example.test/tcp/99"), None);
    }
}
