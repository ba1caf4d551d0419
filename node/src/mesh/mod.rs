//! Peers, over libp2p: who is there, what they know, and the bytes they hold.
//!
//! One task owns the swarm (`swarm`); everybody else holds a [`Mesh`], which sends it commands
//! over a bounded channel. The task starts subtasks in a set of its own, so that they end with it:
//!
//! ```text
//!  Mesh ──Command──▶ swarm ──┬── sync      one conversation a peer, drives crdt::session
//!                      ▲     ├── announce  gossip of what is new here, judging what arrives
//!                      │     ├── serve     answers blob requests      (/griot/blob/1)
//!                   Report   ├── transfer  fetches one blob a flight  (/griot/blob/1)
//!                      │     └── pair      joins by invite            (/griot/pair/1)
//!                            ├── introduce tells peers of peers       (/griot/peers/1)
//!                      └───────── subtasks, and for the cache of members (/griot/mirror/1):
//!                                 mirror brings documents, files asks who holds what,
//!                                 mirror_serve answers both, members says who is one, and
//!                                 readers who may see private realms
//! ```
//!
//! A peer that is merely met changes nothing about what is installed: its offers are kept in
//! memory and shown. The mesh does not decide what to fetch, whom to follow, or what a name means.
//! Surviving a crash: the key file, the told addresses (rows of kind `peer`) and half downloads.
//!
//! Source: mesh.md sections 3, 5, 7 and 8.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crdt::{Digest, PublicKey, RealmId, SecretKey};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::store::Store;

mod address;
pub mod allowance;
mod announce;
mod behaviour;
pub mod budget;
pub mod calendar;
mod carrier;
mod choose;
mod command;
mod conversation;
mod crowd;
mod discovery;
mod doors;
mod draw;
mod files;
mod frame;
mod frugal;
mod held;
mod interfaces;
mod introduce;
pub mod lane;
pub mod ledger;
pub mod link;
mod listening;
mod lobby;
mod many;
mod many_serve;
mod meeting;
pub mod members;
pub mod meter;
mod metered;
mod mirror;
mod mirror_frame;
mod mirror_link;
mod mirror_serve;
mod neighbours;
mod network;
mod pack;
mod packings;
mod pair;
mod peers;
mod pulse;
mod readers;
mod serve;
mod swarm;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod transports;

pub use libp2p::{Multiaddr, PeerId};

use budget::Budget;
use command::Command;
use lane::Lane;
use mirror::Brought;
use mirror_frame::Listing;

/// The kind of the store's rows that remember told addresses. Key: the address; no value.
const PEER_ROW: &str = "peer";

/// Commands that wait for the task; more make the callers wait.
const COMMANDS_MAX: usize = 64;

/// How the mesh is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the ed25519 identity of this peer lies; created with mode 0600 when absent.
    pub key_file: PathBuf,
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to dial peers that other peers tell of.
    pub introductions: bool,
    /// Addresses to keep connected, from the command line or the configuration.
    pub dial: Vec<Multiaddr>,
    /// What identify says that we are, such as `griot/0.1.0`.
    pub agent: String,
    /// Keys by which this node may see private realms: proven to each peer that is met.
    pub keys: Arc<Vec<SecretKey>>,
    /// Whether strangers get nothing but the names of realms.
    pub members_only: bool,
}

/// Why the mesh could not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody whom we can ask now has the blob: it may become a want.
    #[error("no connected peer has {0}")]
    Nowhere(Digest),
    /// Somebody had it, but no copy arrived whole; what did arrive is kept for the next try.
    #[error("every peer that had {0} failed: {1}")]
    Failed(Digest, String),
    /// The address does not answer, or somebody else does.
    #[error("cannot reach the peer: {0}")]
    Unreachable(String),
    /// The daemon is going down.
    #[error("the mesh has stopped")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Somebody may have it, but the budget of every link there says later.
    #[error("{0} waits: {1}")]
    Waits(Digest, String),
    /// The request itself is wrong, or the peer refused it.
    #[error("{0}")]
    Refused(String),
    /// The mesh cannot start: its key or an address to listen on.
    #[error("cannot start the mesh: {0}")]
    Listen(String),
}

/// Refuses what could never be dialled, with the form to write instead.
fn dialable(address: &Multiaddr) -> Result<(), Error> {
    if address::is_dialable(address) {
        return Ok(());
    }
    let why = if address::needs_interface(address) {
        "holds on one cable alone, and a multiaddress cannot say which: write the peer's other \
         address (griot status there), or let mDNS find it"
    } else {
        "is not an address of a peer: write /ip4/ADDRESS/tcp/PORT, /ip4/ADDRESS/udp/PORT/quic-v1 \
         or the same with /dns/NAME, and /p2p/ID behind it if you know it"
    };
    Err(Error::Refused(format!("{address} {why}")))
}

impl Error {
    /// The same outcome for another caller who waited for the same flight.
    fn echo(&self) -> Self {
        match self {
            Self::Nowhere(digest) => Self::Nowhere(*digest),
            Self::Failed(digest, why) => Self::Failed(*digest, why.clone()),
            Self::Unreachable(why) => Self::Unreachable(why.clone()),
            Self::Waits(digest, why) => Self::Waits(*digest, why.clone()),
            Self::Stopped => Self::Stopped,
            Self::Store(crate::store::Error::Full { free, needed }) => {
                Self::Store(crate::store::Error::Full { free: *free, needed: *needed })
            }
            Self::Store(crate::store::Error::OverQuota { quota, held, needed }) => {
                let (quota, held, needed) = (*quota, *held, *needed);
                Self::Store(crate::store::Error::OverQuota { quota, held, needed })
            }
            Self::Store(error) => Self::Refused(error.to_string()),
            Self::Refused(why) => Self::Refused(why.clone()),
            Self::Listen(why) => Self::Listen(why.clone()),
        }
    }
}

/// One connected peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its peer id.
    pub id: String,
    /// Where it is connected from or to.
    pub address: String,
    /// By what: `tcp` or `quic`.
    #[serde(default)]
    pub transport: String,
    /// About how many statements we still lack from it.
    pub behind: u64,
    /// The realms that it says it follows.
    pub follows: Vec<RealmId>,
    /// The realms that it showed us, followed here or not.
    pub offers: Vec<RealmId>,
    /// How we know it: `mdns`, `configured`, `told`, `peer` when another peer named it, or
    /// `inbound` when it called us.
    pub found: String,
    /// Whether it is a member of this node's site.
    #[serde(default)]
    pub member: bool,
}

/// What strangers offer: shown by `search`, `follow` and `peer list`, never installed.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The realm.
    pub realm: RealmId,
    /// The peer that showed it.
    pub peer: String,
    /// Its root statements and newest releases; every signature verified, nothing believed.
    pub envelopes: Vec<crdt::Verified>,
}

/// A request to take part with a role, carried by `/griot/pair/1` to the inviting node.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct PairRequest {
    /// The id of the invite.
    pub invite: String,
    /// The one-time secret of the invite.
    pub secret: [u8; 32],
    /// `reader`, `publisher` or `mirror`.
    pub role: String,
    /// The key that wants to publish.
    pub publisher: PublicKey,
    /// The key of the node, for receipts.
    pub node_key: PublicKey,
    /// What the person calls the node; shown to who grants.
    pub name: String,
}

impl std::fmt::Debug for PairRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret is left out: it would let a reader of the log join.
        f.debug_struct("PairRequest")
            .field("invite", &self.invite)
            .field("role", &self.role)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the inviting node says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum PairAnswer {
    /// The role is granted, or needs no grant.
    Welcome,
    /// A holder of the root key has to grant it first.
    Waiting,
    /// No, and why.
    Refused(String),
}

/// Asked for each [`PairRequest`] that arrives, with the authenticated peer that sent it.
pub type Pairing = Arc<dyn Fn(PairRequest, PeerId) -> BoxFuture<'static, PairAnswer> + Send + Sync>;

/// What a peer says it holds: believed only once the bytes fit what is known otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHint {
    /// Normal version.
    pub version: String,
    /// File name.
    pub file: String,
    /// Digest under which the peer gives it.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// A handle to the one task that owns the swarm; clones are cheap.
#[derive(Clone)]
pub struct Mesh {
    commands: mpsc::Sender<Command>,
    local: PeerId,
    control: libp2p_stream::Control,
    arrivals: watch::Receiver<u64>,
    budget: Budget,
    store: Store,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Mesh {
    /// Builds the swarm inside the current tokio runtime, and returns the handle with the future
    /// to be spawned by `daemon/tasks.rs`. Dropping that future ends everything the mesh started.
    ///
    /// # Errors
    /// [`Error::Listen`] when the key file cannot be used or an address cannot be listened on.
    pub fn start(
        config: Config,
        store: Store,
        pairing: Pairing,
    ) -> Result<(Self, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let driver = swarm::Driver::build(config, store.clone(), pairing, receiver)?;
        let (local, control) = (driver.local(), driver.control());
        let arrivals = driver.arrivals.subscribe();
        let budget = driver.context.budget.clone();
        let mesh = Self { commands, local, control, arrivals, budget, store };
        Ok((mesh, driver.run()))
    }

    /// The id of this node's own peer key.
    #[must_use]
    pub const fn local_peer(&self) -> PeerId {
        self.local
    }

    /// Full multiaddresses with `/p2p/ID` that others can dial; loopback only if there is no other.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        self.ask(Command::Addresses).await.unwrap_or_default()
    }

    /// The connected peers.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// What peers showed of their realms.
    pub async fn offers(&self) -> Vec<Offer> {
        self.ask(Command::Offers).await.unwrap_or_default()
    }

    /// Remembers a static address and dials it now, and again with back-off while unconnected.
    ///
    /// # Errors
    /// [`Error::Refused`] for an address that cannot be dialled, [`Error::Store`] when it cannot be
    /// remembered; [`Error::Stopped`].
    pub async fn add_peer(&self, address: Multiaddr) -> Result<(), Error> {
        dialable(&address)?;
        self.store.put_row(PEER_ROW, &address.to_string(), Vec::new()).await?;
        self.ask(|reply| Command::Add(address, reply)).await
    }

    /// Forgets a static address; a connection that is up stays. Returns whether it was known.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be forgotten; [`Error::Stopped`].
    pub async fn remove_peer(&self, address: &Multiaddr) -> Result<bool, Error> {
        let row = self.store.delete_row(PEER_ROW, &address.to_string()).await?;
        let dialled = self.ask(|reply| Command::Remove(address.clone(), reply)).await?;
        Ok(row || dialled)
    }

    /// Fetches a blob into the store from any connected peers that have it, verified while it
    /// arrives. Callers who ask for the same digest meanwhile wait for the same flight. Somebody
    /// waits for it: it goes before what is fetched in [`Lane::Bulk`].
    ///
    /// # Errors
    /// [`Error::Nowhere`], [`Error::Failed`], [`Error::Waits`], [`Error::Store`]; what arrived is
    /// kept for a resume.
    pub async fn fetch(&self, digest: Digest, size: u64) -> Result<(), Error> {
        self.fetch_in(Lane::Wanted, digest, size).await
    }

    /// The same, as urgent as the lane says. The flight is as urgent as the most urgent caller.
    ///
    /// # Errors
    /// As [`Mesh::fetch`].
    pub async fn fetch_in(&self, lane: Lane, digest: Digest, size: u64) -> Result<(), Error> {
        self.ask(|reply| Command::Fetch { lane, blob: (digest, size), reply }).await?
    }

    /// Brings those of these blobs that are small (below 64 KiB) and not held, many to a frame,
    /// from connected peers that have them. After `patience` no more is asked for; what was asked
    /// for still comes. Those that nobody gave just lack afterwards: [`Mesh::fetch_in`] says why.
    pub async fn fetch_many(&self, lane: Lane, blobs: Vec<(Digest, u64)>, patience: Duration) {
        let until = Instant::now() + patience;
        // A mesh that has stopped brings nothing.
        let _ = self.ask(|reply| Command::Many { lane, blobs, until, reply }).await;
    }

    /// What links may cost, and have cost.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Which of these some connected peer says it holds; answers are kept for ten seconds, and
    /// asking takes at most one.
    pub async fn held_by_peers(&self, digests: &[Digest]) -> Vec<bool> {
        let asked = digests.to_vec();
        let answer = self.ask(|reply| Command::Held { digests: asked, reply }).await;
        answer.unwrap_or_else(|_| vec![false; digests.len()])
    }

    /// Brings a cached document into the store from a connected member of the site, packed, or as
    /// a patch against one of `bases` (bodies that are held here) that the peer holds too. Verified
    /// by its digest before it is stored.
    ///
    /// # Errors
    /// As [`Mesh::fetch`].
    pub async fn fetch_document(
        &self,
        digest: Digest,
        size: u64,
        bases: &[Digest],
    ) -> Result<(), Error> {
        let (wanted, bases) = ((digest, size), bases.to_vec());
        let brought = self.ask(|reply| Command::Document { wanted, bases, reply }).await??;
        match brought {
            Brought::Here => Ok(()),
            Brought::AsBlob => self.fetch(digest, size).await,
        }
    }

    /// What connected members of the site say they hold of a package of an upstream: hints, that
    /// the checksums of the document verify on arrival. Takes at most a second.
    pub async fn files_of(&self, origin: &Digest, format: &str, package: &str) -> Vec<FileHint> {
        let (format, package) = (format.to_owned(), package.to_owned());
        let listing = Listing { origin: *origin, format, package };
        self.ask(|reply| Command::FilesOf { listing, reply }).await.unwrap_or_default()
    }

    /// Whether a member of the site that was met may still be telling what this node lacks. A peer
    /// that never agrees with us is waited for once, for twenty seconds.
    pub async fn is_meeting(&self) -> bool {
        self.ask(Command::IsMeeting).await.unwrap_or(false)
    }

    /// Fires when a peer comes or goes.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<u64> {
        self.arrivals.clone()
    }

    /// Dials the inviter and hands in a request. Each address must end in `/p2p/ID`, all in one.
    ///
    /// # Errors
    /// [`Error::Refused`] for addresses that name no peer, [`Error::Unreachable`] otherwise.
    pub async fn pair(
        &self,
        addresses: Vec<Multiaddr>,
        request: PairRequest,
    ) -> Result<PairAnswer, Error> {
        let peer = pair::invited_peer(&addresses)?;
        let addresses = address::resolve(addresses).await;
        self.ask(|reply| Command::Reach { peer, addresses, reply }).await??;
        pair::ask(self.control.clone(), peer, &request).await
    }

    /// Compares with every connected peer now instead of at the timer.
    pub async fn sync_now(&self) {
        // A stopped mesh has nobody to compare with.
        let _ = self.commands.send(Command::Compare).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }
}
