//! The pings of each connection, as often as its link can afford.
//!
//! libp2p's ping is set for a node; here its handlers are made for a connection: every minute, or
//! every five where each byte is paid for. What a connection was made with stays as long as it is
//! up. Keeps nothing, and decides nothing of what a missing answer means.
//!
//! Source: mesh.md sections 3.1 and 5.4.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, ping};

/// Between two pings.
const OFTEN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// The same where each byte is paid for.
const SELDOM: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 5 * 60 });
/// A ping may take as long, because bulk data delays it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether each byte to and from a peer at an address is paid for.
pub(super) type IsMetered = Arc<dyn Fn(&PeerId, &Multiaddr) -> bool + Send + Sync>;

/// The behaviour.
pub(super) struct Pulse {
    often: ping::Behaviour,
    seldom: ping::Behaviour,
    is_metered: IsMetered,
}

impl Pulse {
    pub(super) fn new(is_metered: IsMetered) -> Self {
        let every = |interval| {
            ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(PATIENCE))
        };
        Self { often: every(OFTEN), seldom: every(SELDOM), is_metered }
    }

    fn of(&mut self, peer: &PeerId, address: &Multiaddr) -> &mut ping::Behaviour {
        if (self.is_metered)(peer, address) { &mut self.seldom } else { &mut self.often }
    }
}

impl NetworkBehaviour for Pulse {
    type ConnectionHandler = <ping::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let pings = self.of(&peer, remote);
        pings.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let pings = self.of(&peer, address);
        pings.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.often.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        // Which of the two made the handler is no matter to what it found.
        self.often.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.often.poll(cx)
    }
}
