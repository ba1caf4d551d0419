//! Peers, over libp2p. (header to be written)
use std::path::PathBuf;
use crdt::{Digest, Envelope, PublicKey, RealmId};
use serde::{Deserialize, Serialize};
use crate::store::Store;
pub use libp2p::{Multiaddr, PeerId};

/// How the mesh is set up.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Config { pub key_file: PathBuf, pub listen: Vec<Multiaddr>, pub mdns: bool, pub dial: Vec<Multiaddr>, pub agent: String }

/// Why the mesh could not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("no connected peer has {0}")] Nowhere(Digest),
    #[error("every peer that had {0} failed: {1}")] Failed(Digest, String),
    #[error("cannot reach the peer: {0}")] Unreachable(String),
    #[error("the mesh has stopped")] Stopped,
    #[error(transparent)] Store(#[from] crate::store::Error),
    #[error("{0}")] Refused(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PeerInfo { pub id: String, pub address: String, pub behind: u64, pub follows: Vec<RealmId>, /// realms it showed us (lobby), followed or not
    pub offers: Vec<RealmId>, /// connected over mDNS, configured, told
    pub found: String }

/// What strangers offer: shown by `search`, `follow` and `peer list`, never installed.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Offer { pub realm: RealmId, pub peer: String, pub envelopes: Vec<crdt::Verified> }

/// A request to take part with a role, carried by `/griot/pair/1` to the inviting node.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PairRequest { pub invite: String, pub secret: [u8; 32], pub role: String, pub publisher: PublicKey, pub node_key: PublicKey, pub name: String }
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PairAnswer { Welcome, Waiting, Refused(String) }

/// A handle to the one task that owns the swarm; clones are cheap.
#[derive(Clone, Debug)] pub struct Mesh { _p: () }

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Mesh {
    /// Builds the swarm and returns the handle with the future to be spawned by daemon/tasks.rs.
    /// `pairing`: asked for each PairRequest that arrives.
    pub fn start(config: Config, store: Store, pairing: std::sync::Arc<dyn Fn(PairRequest, PeerId) -> PairAnswer + Send + Sync>) -> Result<(Self, impl std::future::Future<Output = Result<(), Error>> + Send + 'static), Error> { Ok((Self { _p: () }, async { todo!() })) }
    pub fn local_peer(&self) -> PeerId { todo!() }
    /// Full multiaddresses with /p2p/ID that others can dial.
    pub async fn addresses(&self) -> Vec<Multiaddr> { todo!() }
    pub async fn peers(&self) -> Vec<PeerInfo> { todo!() }
    pub async fn offers(&self) -> Vec<Offer> { todo!() }
    /// Remembers a static address and dials it now, again and again with back-off while unconnected.
    pub async fn add_peer(&self, address: Multiaddr) -> Result<(), Error> { todo!() }
    pub async fn remove_peer(&self, address: &Multiaddr) -> Result<bool, Error> { todo!() }
    /// Fetches a blob into the store, verified while it arrives, from any connected peers that have it; one flight a digest.
    pub async fn fetch(&self, digest: Digest, size: u64) -> Result<(), Error> { todo!() }
    /// Which of these some connected peer says it holds (answers kept ~10 s; asks at most 1 s).
    pub async fn held_by_peers(&self, digests: &[Digest]) -> Vec<bool> { todo!() }
    /// Dials the inviter and hands in a request.
    pub async fn pair(&self, addresses: Vec<Multiaddr>, request: PairRequest) -> Result<PairAnswer, Error> { todo!() }
    /// Compares with every connected peer now instead of at the timer.
    pub async fn sync_now(&self) { todo!() }
}
fn _e(_: Envelope) {}
