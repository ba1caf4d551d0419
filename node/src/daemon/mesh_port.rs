//! Where peers connect: the addresses that were asked for, or one port that a node keeps.
//!
//! Peers remember an address, so a node that was told nothing listens at the port of its last run,
//! by TCP and by QUIC, over IPv4 and, where the machine has it, IPv6. A port that another program
//! has is never shared: of two that were started on one machine the second takes a free one, and is
//! refused if it was told to take that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use libp2p::multiaddr::Protocol;

use super::{Error, ROWS};
use crate::mesh::{self, Multiaddr};
use crate::store::Store;

/// A row: the port of the last run.
const MESH_PORT: &str = "mesh-port";
/// Source: DESIGN section 6.
const PORT_DEFAULT: u16 = 7879;
/// How often a port is drawn that must be free for TCP and UDP.
const DRAWS: usize = 16;

const ALL_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ALL_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// What was asked for; else all addresses at the port of the last time, the usual one, or a free
/// one where another program has it.
pub(super) fn choose(asked: &[Multiaddr], store: &Store) -> Result<Vec<Multiaddr>, Error> {
    if !asked.is_empty() {
        // libp2p shares a port with whoever listens there already, and each would get half of the
        // calls.
        let taken = asked.iter().find(|address| is_taken(address));
        return match taken {
            Some(address) => Err(mesh::Error::Listen(format!("{address} is in use")).into()),
            None => Ok(asked.to_vec()),
        };
    }
    let last = store.row(ROWS, MESH_PORT)?;
    let last = last.and_then(|row| String::from_utf8(row).ok()?.parse::<u16>().ok());
    let wanted = last.unwrap_or(PORT_DEFAULT);
    let port = if is_free(wanted) { wanted } else { draw().unwrap_or(0) };
    let hosts = [Some(ALL_V4), has_ipv6(port).then_some(ALL_V6)];
    Ok(hosts.into_iter().flatten().flat_map(|host| both(host, port)).collect())
}

/// The two addresses of a port.
fn both(host: IpAddr, port: u16) -> [Multiaddr; 2] {
    let host = Multiaddr::from(host);
    let quic = host.clone().with(Protocol::Udp(port)).with(Protocol::QuicV1);
    [host.with(Protocol::Tcp(port)), quic]
}

/// Whether nobody has it, for TCP nor for UDP.
fn is_free(port: u16) -> bool {
    TcpListener::bind((ALL_V4, port)).is_ok() && UdpSocket::bind((ALL_V4, port)).is_ok()
}

/// A free one, drawn by the system.
fn draw() -> Option<u16> {
    let drawn = || Some(TcpListener::bind((ALL_V4, 0)).ok()?.local_addr().ok()?.port());
    (0..DRAWS).filter_map(|_| drawn()).find(|port| is_free(*port))
}

/// Whether the machine has IPv6, with this port free in it.
fn has_ipv6(port: u16) -> bool {
    // Loopback, as a socket for all addresses would also be one of IPv4.
    let host = Ipv6Addr::LOCALHOST;
    TcpListener::bind((host, port)).is_ok() && UdpSocket::bind((host, port)).is_ok()
}

/// Whether another program has the port of an address.
fn is_taken(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return false,
    };
    let bound = match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).err(),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).err(),
        _ => None,
    };
    bound.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Writes down the port that the node got, for its next run.
pub(super) async fn remember(store: &Store, addresses: &[Multiaddr]) -> Result<(), Error> {
    if let Some(port) = addresses.iter().find_map(tcp_port) {
        store.put_row(ROWS, MESH_PORT, port.to_string().into_bytes()).await?;
    }
    Ok(())
}

fn tcp_port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_shared_with_another_program() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        assert!(is_taken(&address) && !is_free(port));
        drop(other);
        assert!(!is_taken(&address));
        assert!(!is_taken(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()));
    }

    #[test]
    fn a_port_that_is_taken_for_quic_alone_is_not_shared_either() {
        let other = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/0.0.0.0/udp/{port}/quic-v1").parse().unwrap();
        assert!(is_taken(&address) && !is_free(port));
        let drawn = draw().unwrap();
        assert_ne!(drawn, port);
        assert!(is_free(drawn));
    }

    #[test]
    fn tcp_and_quic_have_the_port_of_one_number() {
        let [tcp, quic] = both(ALL_V4, 7879).map(|address| address.to_string());
        assert_eq!(tcp, "/ip4/0.0.0.0/tcp/7879");
        assert_eq!(quic, "/ip4/0.0.0.0/udp/7879/quic-v1");
    }
}
