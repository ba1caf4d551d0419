//! The composed network behaviour, its limits, and the identity that it runs under.
//!
//! Everything that libp2p does for a node is chosen here, once: identify, ping, mDNS, gossipsub,
//! limits on connections and memory, a block list, and raw streams for our own protocols. No kad,
//! no rendezvous, no relay. What the events mean is decided in `swarm`; what carries connections is
//! in `transports`.
//!
//! The settings of gossipsub matter for safety: a message is validated before it is forwarded, and
//! its id is a digest of its bytes, the statement's signatures included, or a copy with a broken
//! signature that comes first would hide the honest one until the duplicate cache forgets it.
//!
//! Source: mesh.md sections 3.1, 5.1 and 8.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use libp2p::identity::{Keypair, ed25519};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, Swarm, allow_block_list, connection_limits, gossipsub, identify, mdns,
    memory_connection_limits, swarm,
};
use zeroize::Zeroizing;

use super::Error;
use super::budget::Budget;
use super::crowd::Crowd;
use super::meter::Meter;
use super::pulse::{IsMetered, Pulse};
use super::transports::transports;

/// The one topic of the mesh.
pub(super) const TOPIC: &str = "griot/statements/1";
/// Largest gossip message: a typical statement (0.45 KB) travels whole.
pub(super) const GOSSIP_BYTES_MAX: usize = 4 * 1024;

/// Incoming connections that are still being authenticated.
const PENDING_INCOMING_MAX: u32 = 32;
/// Outgoing connections that are still being authenticated.
const PENDING_OUTGOING_MAX: u32 = 32;
/// Established connections that others opened.
const ESTABLISHED_INCOMING_MAX: u32 = 128;
/// Established connections with one peer: two nodes that dial each other at once keep both, and one
/// that has lost both without our hearing of it may call again.
const PER_PEER_MAX: u32 = 3;
/// Inbound streams whose protocol is still being negotiated, on one connection.
const NEGOTIATING_MAX: usize = 32;
/// Share of the machine's memory above which no new connection is taken.
const MEMORY_SHARE_MAX: f64 = 0.25;
/// A connection without any stream is closed after this.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Between two exchanges of identify, on all links: who has none that is metered may be at the
/// other end of one.
const IDENTIFY: Duration = Duration::from_secs(60 * 60);

/// How gossipsub is parametrised: no transform, one topic admitted.
pub(super) type Gossip =
    gossipsub::Behaviour<gossipsub::IdentityTransform, gossipsub::WhitelistSubscriptionFilter>;

/// All that the swarm does beside moving bytes.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    crowd: Crowd,
    memory: memory_connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    identify: identify::Behaviour,
    ping: Pulse,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) gossip: Gossip,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// Who counts, and whose bytes are paid for.
pub(super) struct Metering {
    pub(super) meter: Meter,
    pub(super) is_metered: IsMetered,
}

impl Metering {
    /// By what a person or the system says of the links.
    pub(super) fn by(budget: &Budget, meter: Meter) -> Self {
        let judge = budget.clone();
        Self { meter, is_metered: Arc::new(move |peer, address| judge.is_metered(peer, address)) }
    }
}

/// Builds the swarm, subscribed to the topic and not yet listening.
pub(super) fn swarm(
    key: Keypair,
    (agent, use_mdns): (&str, bool),
    metering: Metering,
) -> Result<Swarm<Behaviour>, Error> {
    let listen = |error: &dyn std::fmt::Display| Error::Listen(error.to_string());
    let behaviour = Behaviour::new(&key, (agent, use_mdns), metering.is_metered)
        .map_err(|error| listen(&error))?;
    let transports = transports(&key, &metering.meter).map_err(|error| listen(&error))?;
    let settings = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX);
    Ok(Swarm::new(transports, behaviour, key.public().to_peer_id(), settings))
}

impl Behaviour {
    fn new(
        key: &Keypair,
        (agent, use_mdns): (&str, bool),
        is_metered: IsMetered,
    ) -> Result<Self, String> {
        let local = key.public().to_peer_id();
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_INCOMING_MAX))
            .with_max_pending_outgoing(Some(PENDING_OUTGOING_MAX))
            .with_max_established_incoming(Some(ESTABLISHED_INCOMING_MAX))
            .with_max_established_per_peer(Some(PER_PEER_MAX));
        let identity = identify::Config::new("/griot/1".to_owned(), key.public())
            .with_agent_version(agent.to_owned())
            .with_interval(IDENTIFY)
            .with_push_listen_addr_updates(false)
            // Who may know where we are is told by `/griot/peers/1`.
            .with_hide_listen_addrs(true)
            .with_cache_size(0);
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            crowd: Crowd::default(),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MEMORY_SHARE_MAX),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identity),
            ping: Pulse::new(is_metered),
            mdns: Toggle::from(use_mdns.then(|| local_discovery(local)).flatten()),
            gossip: gossip(key)?,
            streams: libp2p_stream::Behaviour::new(),
        })
    }
}

/// A machine without a usable interface still runs, by static addresses.
fn local_discovery(local: PeerId) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), local)
        .inspect_err(
            |error| tracing::warn!(%error, "mDNS is off: no peers are found by themselves"),
        )
        .ok()
}

fn gossip(key: &Keypair) -> Result<Gossip, String> {
    let topic = gossipsub::IdentTopic::new(TOPIC);
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(|message| {
            gossipsub::MessageId::from(blake3::hash(&message.data).as_bytes().to_vec())
        })
        .max_transmit_size(GOSSIP_BYTES_MAX)
        .mesh_n(4)
        .mesh_n_low(2)
        .mesh_n_high(6)
        .mesh_outbound_min(1)
        .gossip_lazy(3)
        .heartbeat_interval(Duration::from_secs(5))
        .history_length(12)
        .history_gossip(6)
        .duplicate_cache_time(Duration::from_secs(10 * 60))
        .flood_publish(true)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = gossipsub::WhitelistSubscriptionFilter(HashSet::from([topic.hash()]));
    let authenticity = gossipsub::MessageAuthenticity::Signed(key.clone());
    let mut gossip = Gossip::new_with_subscription_filter(authenticity, config, filter)?;
    gossip.with_peer_score(scores(&topic), gossipsub::PeerScoreThresholds::default())?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// Invalid messages and bad behaviour count. Delivery rates (P3) and shared addresses (P6) do not:
/// quiet topics and villages behind one NAT would be punished.
fn scores(topic: &gossipsub::IdentTopic) -> gossipsub::PeerScoreParams {
    let of_topic = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -100.0,
        invalid_message_deliveries_decay: 0.9,
        ..gossipsub::TopicScoreParams::default()
    };
    gossipsub::PeerScoreParams {
        topics: HashMap::from([(topic.hash(), of_topic)]),
        ip_colocation_factor_weight: 0.0,
        ..gossipsub::PeerScoreParams::default()
    }
}

/// Reads the identity of this peer: 32 bytes of an ed25519 seed, made with mode 0600 when absent.
pub(super) fn identity(file: &Path) -> Result<Keypair, Error> {
    let named = |error: io::Error| Error::Listen(error.to_string());
    let mut seed = match fs_err::read(file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(file).map_err(named)?,
        Err(error) => return Err(named(error)),
    };
    let secret = ed25519::SecretKey::try_from_bytes(seed.as_mut_slice())
        .map_err(|_| Error::Listen(format!("{} is not a peer key of 32 bytes", file.display())))?;
    Ok(Keypair::from(ed25519::Keypair::from(secret)))
}

/// Written beside, synced and renamed: a cut never leaves a short key that stops every start.
fn create(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut seed = Zeroizing::new(vec![0_u8; 32]);
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let fresh = file.with_extension("new");
    let mut options = fs_err::OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    out.write_all(&seed)?;
    out.sync_all()?;
    fs_err::rename(&fresh, file)?;
    fs_err::File::open(folder)?.sync_all()?;
    Ok(seed)
}

#[cfg(test)]
impl Metering {
    /// Of a node whose bytes nobody counts.
    pub(super) fn none() -> Self {
        Self { meter: Meter::default(), is_metered: Arc::new(|_, _| false) }
    }
}
