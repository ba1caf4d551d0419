//! How many connections one address may have: libp2p counts peers, not addresses.
//!
//! Peer ids cost nothing to make, addresses do, so a single machine must not be able to take all
//! the places. On a private network many nodes are honest neighbours, sometimes behind one NAT:
//! there the limit is wider. Counts incoming connections alone, from the first byte until they are
//! closed. A behaviour without protocol or events of its own.
//!
//! Source: mesh.md section 8.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address::{ip_of, is_private};

/// Connections of one public address that are being authenticated.
const PENDING_MAX: usize = 8;
/// Established connections of one public address.
const ESTABLISHED_MAX: usize = 16;
/// Either, of one address of a private network.
const PRIVATE_MAX: usize = 64;

/// The places of one address are taken.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from {0}")]
struct Crowded(IpAddr);

/// The incoming connections by address.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pending: HashMap<ConnectionId, IpAddr>,
    established: HashMap<ConnectionId, IpAddr>,
}

fn admit(
    places: &mut HashMap<ConnectionId, IpAddr>,
    connection: ConnectionId,
    remote: &Multiaddr,
    public_max: usize,
) -> Result<(), ConnectionDenied> {
    let Some(ip) = ip_of(remote) else { return Ok(()) };
    let limit = if is_private(ip) { PRIVATE_MAX } else { public_max };
    if places.values().filter(|other| **other == ip).count() >= limit {
        return Err(ConnectionDenied::new(Crowded(ip)));
    }
    places.insert(connection, ip);
    Ok(())
}

impl NetworkBehaviour for Crowd {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        admit(&mut self.pending, connection, remote, PENDING_MAX)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        admit(&mut self.established, connection, remote, ESTABLISHED_MAX)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.established.remove(&closed.connection_id);
            }
            // Authentication failed, or another behaviour refused it after us.
            FromSwarm::ListenFailure(failure) => {
                self.pending.remove(&failure.connection_id);
                self.established.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred connections are let in while they are being authenticated.
    fn let_in(crowd: &mut Crowd, first: usize, remote: &str) -> usize {
        let (local, remote) = (Multiaddr::empty(), remote.parse().expect("a sound address"));
        let ids = (first..first + 100).map(ConnectionId::new_unchecked);
        ids.filter(|id| crowd.handle_pending_inbound_connection(*id, &local, &remote).is_ok())
            .count()
    }

    #[test]
    fn one_public_address_takes_a_few_places_and_a_private_one_more() {
        let mut crowd = Crowd::default();
        assert_eq!(let_in(&mut crowd, 0, "/ip4/203.0.113.1/tcp/1"), PENDING_MAX);
        assert_eq!(let_in(&mut crowd, 100, "/ip6/::ffff:203.0.113.1/tcp/1"), 0, "the same one");
        assert_eq!(let_in(&mut crowd, 200, "/ip4/203.0.113.2/tcp/1"), PENDING_MAX);
        assert_eq!(let_in(&mut crowd, 300, "/ip4/192.168.1.1/tcp/1"), PRIVATE_MAX);
    }

    #[test]
    fn an_established_connection_frees_its_place_among_the_pending() {
        let (mut crowd, local) = (Crowd::default(), Multiaddr::empty());
        let remote: Multiaddr = "/ip4/203.0.113.1/tcp/1".parse().expect("a sound address");
        let mut established = 0;
        for id in (0..100).map(ConnectionId::new_unchecked) {
            crowd.handle_pending_inbound_connection(id, &local, &remote).expect("has a place");
            let peer = PeerId::random();
            let taken = crowd.handle_established_inbound_connection(id, peer, &local, &remote);
            established += usize::from(taken.is_ok());
        }
        assert_eq!(established, ESTABLISHED_MAX);
        assert!(crowd.pending.is_empty());
    }
}
