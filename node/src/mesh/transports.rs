//! What carries connections: TCP with noise and yamux, and QUIC beside it.
//!
//! Both listen on the port of the same number. Where a peer can be had by both, TCP goes first and
//! QUIC follows a moment later: whichever is up first is kept, so QUIC is used where TCP is
//! blocked. Decides nothing about whom to dial. TCP is counted below its encryption, to the byte;
//! of QUIC what its streams carry, and about as much for a handshake as it takes.
//!
//! The settings bound what one peer can make us buffer. The windows of yamux cannot be set: there
//! the number of streams is the bound.
//!
//! Source: mesh.md sections 2, 3, 7 and 8.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OrTransport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, noise, quic, tcp, yamux};

use super::meter::Meter;
use super::metered::{CountedMuxer, Metered};

/// Streams on one connection: bounds what may be buffered.
const STREAMS_MAX: u32 = 64;
/// What one stream of QUIC may have under way.
const STREAM_WINDOW_BYTES: u32 = 4_000_000;
/// What one connection of QUIC may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 8_000_000;
/// A connection of QUIC on which nothing arrives is dead after this, in milliseconds.
const QUIC_IDLE_MS: u32 = 60_000;
/// Between two signs of life on a silent connection of QUIC.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What a handshake of QUIC takes each way, about: certificates, and datagrams that are filled up.
const QUIC_HANDSHAKE_BYTES: usize = 4_000;
/// Authentication of a connection may take this long.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How far TCP is ahead of QUIC when both are dialled.
const HEAD_START: Duration = Duration::from_millis(500);

/// An authenticated connection that carries streams.
type Connected = (PeerId, StreamMuxerBox);

/// Both transports as one.
pub(super) fn transports(key: &Keypair, meter: &Meter) -> Result<Boxed<Connected>, noise::Error> {
    let tcp = over_tcp(key, meter.clone())?;
    let quic = Later { inner: over_quic(key, meter.clone()), pause: HEAD_START };
    let both = OrTransport::new(tcp, quic).map(|either, _| either.into_inner());
    Ok(TransportTimeout::new(both, HANDSHAKE).boxed())
}

fn over_tcp(key: &Keypair, meter: Meter) -> Result<Boxed<Connected>, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut multiplexer = yamux::Config::default();
    multiplexer.set_max_num_streams(STREAMS_MAX as usize);
    Ok(Metered::over(tcp, meter)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(multiplexer)
        .boxed())
}

fn over_quic(key: &Keypair, meter: Meter) -> Boxed<Connected> {
    let mut config = quic::Config::new(key);
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config.max_stream_data = STREAM_WINDOW_BYTES;
    config.max_connection_data = CONNECTION_WINDOW_BYTES;
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.handshake_timeout = HANDSHAKE;
    quic::tokio::Transport::new(config)
        .map(move |(peer, connection), end| {
            let tally = meter.open(end.get_remote_address());
            tally.sent(QUIC_HANDSHAKE_BYTES);
            tally.received(QUIC_HANDSHAKE_BYTES);
            (peer, StreamMuxerBox::new(CountedMuxer::new(connection, tally)))
        })
        .boxed()
}

/// A transport whose dials begin a moment later, so that another one has a head start.
struct Later {
    inner: Boxed<Connected>,
    pause: Duration,
}

impl Transport for Later {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Connected> as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<Connected, io::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let (dial, pause) = (self.inner.dial(address, options)?, self.pause);
        Ok(async move {
            tokio::time::sleep(pause).await;
            dial.await
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}
