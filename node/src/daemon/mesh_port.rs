//! Where peers connect: the addresses that were asked for, or one port that a node keeps.
//!
//! Peers remember an address, so a node that was told nothing listens at the port of its last run.
//! A port that another program has is never shared: of two that were started on one machine the
//! second takes a free one, and is refused if it was told to take that one.

use std::net::IpAddr;

use libp2p::multiaddr::Protocol;

use super::{Error, ROWS};
use crate::mesh::{self, Multiaddr};
use crate::store::Store;

/// A row: the port of the last run.
const MESH_PORT: &str = "mesh-port";
/// Source: DESIGN section 6.
const PORT_DEFAULT: u16 = 7879;

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
    let free = std::net::TcpListener::bind(("0.0.0.0", wanted)).is_ok();
    let port = if free { wanted } else { 0 };
    let all = Multiaddr::empty().with(Protocol::Ip4([0, 0, 0, 0].into())).with(Protocol::Tcp(port));
    Ok(vec![all])
}

/// Whether another program listens at a TCP address.
fn is_taken(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return false,
    };
    let Some(Protocol::Tcp(port)) = parts.next() else { return false };
    let in_use = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    port != 0 && std::net::TcpListener::bind((ip, port)).is_err_and(in_use)
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
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        assert!(is_taken(&address));
        drop(other);
        assert!(!is_taken(&address));
        assert!(!is_taken(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()));
    }
}
