//! Construction and supervision of a node.
//!
//! ```text
//!  start(Config) ─▶ store ─▶ keys ─▶ own realm ─▶ mesh ─▶ registry ─▶ tokens ─▶ listener ─▶ tasks
//!                                                                                   │
//!  run(stop)     ◀── a task ended (its error) or the person stops (drain, clean) ◀──┘
//! ```
//!
//! Only this layer constructs; everything below receives handles. It decides nothing about packages
//! or trust. `node.json` appears when the node serves and goes at a clean stop; after a crash the
//! next start replaces it, and everything else that survives is the store's.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use crdt::digest::to_hex;
use crdt::{PublicKey, RealmId, SecretKey};
use tokio::net::TcpListener;

use crate::formats::{self, Front};
use crate::http::auth::Tokens;
use crate::http::ready::{Folder, Ready};
use crate::http::server;
use crate::mesh::{self, Mesh, Multiaddr, PeerId};
use crate::registry::{self, BEAT_EVERY, GARBAGE_EVERY, Registry, Scrub, Setup};
use crate::store::{self, Blobs, Recovered, Store};
use crate::upstream::Upstream;

pub mod admin;
pub mod backup;
mod doors;
mod genesis;
pub mod invite;
mod joining;
pub mod keys;
mod mesh_port;
mod metrics;
pub mod node_json;
pub mod pairing;
mod private_file;
mod router;
pub mod tasks;
mod web;

pub use genesis::personal;

use joining::Joining;
use keys::Role;
use node_json::NodeJson;
use tasks::Tasks;

/// Kind of the small rows that belong to this layer.
const ROWS: &str = "daemon";
/// Folder of documents that were rendered.
const RENDERED: &str = "rendered";
/// How long a start waits for the mesh's first address.
const MESH_LISTEN_WAIT: Duration = Duration::from_secs(3);
/// Tokens age by the hour of running time.
const TOKEN_TICK: Duration = Duration::from_secs(60 * 60);

/// What to do when not even a start finds room.
const NO_ROOM: &str = "make some megabytes of room on that disk, then griot up: all is still there";

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of everything that the node keeps.
    pub home: PathBuf,
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where peers connect; empty for all addresses at the usual port.
    pub mesh_listen: Vec<Multiaddr>,
    /// Peers to dial.
    pub peers: Vec<Multiaddr>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to dial peers that other peers tell of.
    pub introductions: bool,
    /// Whether strangers on the mesh get nothing but the names of realms; as the last time if
    /// absent.
    pub members_only: Option<bool>,
    /// Ask no upstream; the mesh still works.
    pub offline: bool,
    /// Where blobs are kept for good.
    pub blobs: Blobs,
    /// Memory for documents that are ready to be sent, in bytes.
    pub metadata_memory: usize,
    /// Disk for such documents, in bytes; 0 keeps none there.
    pub metadata_disk: u64,
    /// What may be kept, and how it is looked after.
    pub upkeep: Upkeep,
}

/// How much room blobs may take, and whether they are read again now and then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Bytes that all blobs may take.
    pub quota: Option<u64>,
    /// Bytes of the device that are left to others.
    pub reserve: Option<u64>,
    /// How often garbage is collected; once a day if absent.
    pub gc_every: Option<Duration>,
    /// The least time between two beats of a realm; the usual one if absent.
    pub beat_every: Option<Duration>,
    /// How blobs are verified in the background; not at all if absent.
    pub scrub: Option<Scrub>,
}

/// Why a node could not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The home folder or a file in it.
    #[error("the home folder: {0}")]
    Home(#[from] std::io::Error),
    /// The store could not be opened, or failed.
    #[error("the store: {0}")]
    Store(#[from] store::Error),
    /// The own realm's genesis is damaged.
    #[error("the own realm's first statement: {0}")]
    Genesis(#[from] crdt::Error),
    /// The mesh could not start.
    #[error("the mesh: {0}")]
    Mesh(#[from] mesh::Error),
    /// Tokens or registry could not be opened.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The listener could not be bound.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// As it was asked for.
        address: SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// Listening beyond this machine.
    #[error(
        "cannot listen on {0}: beyond this machine, writing needs TLS, which this version lacks"
    )]
    NotLoopback(SocketAddr),
    /// A task ended although nobody stopped the node.
    #[error(transparent)]
    Ended(#[from] tasks::Ended),
}

impl Error {
    /// The next command to type, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(store::Error::Locked) => Some("griot status"),
            Self::Store(store::Error::Full { .. }) => Some(NO_ROOM),
            Self::Home(why) if is_full(why) => Some(NO_ROOM),
            Self::Mesh(mesh::Error::Listen(_)) => {
                Some("griot up without --mesh-listen takes a free port")
            }
            Self::Listen { .. } => Some("griot up --listen 127.0.0.1:0 takes a free port"),
            Self::NotLoopback(_) => {
                Some("griot up --listen 127.0.0.1:7878; other nodes get the packages over the mesh")
            }
            _ => None,
        }
    }
}

fn is_full(why: &std::io::Error) -> bool {
    matches!(why.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// A node that serves.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    http: String,
    realm: RealmId,
    mesh: Mesh,
    tasks: Tasks,
    recovered: Recovered,
}

/// The handles that the tasks and the router are made from.
struct Parts {
    store: Store,
    mesh: Mesh,
    registry: Registry,
    tokens: Tokens,
    realm: RealmId,
    node_key: PublicKey,
    joining: Arc<Joining>,
}

/// One line for search, as the format makes it of what it once extracted.
fn describe(format: &str, meta: &[u8]) -> String {
    let found = formats::ALL.iter().find(|known| known.id == format);
    found.map(|known| (known.rules.describe)(meta)).unwrap_or_default()
}

/// Starts a node. When this returns, it serves.
///
/// # Errors
/// Another node runs on this home, a file or address is not to be had, or the listener would be
/// reachable from other machines.
pub async fn start(config: Config) -> Result<Daemon, Error> {
    if !config.listen.ip().is_loopback() {
        return Err(Error::NotLoopback(config.listen));
    }
    create_home(&config.home)?;
    let store = Store::open_in(&config.home, describe, config.blobs.clone())?;
    store.set_limits(config.upkeep.quota, config.upkeep.reserve);
    let recovered = store.recovered().await?;
    let listener = bind(config.listen).await?;
    let address = listener.local_addr()?;
    let mut tasks = Tasks::new();
    let token = admin_token()?;
    let parts = assemble(&config, store, &token, &mut tasks).await?;
    let http = format!("http://{address}");
    serve(&config, &parts, listener, &mut tasks)?;
    tasks.start("artifacts", parts.registry.clone().keep_new_artifacts());
    tasks.start("bucket", parts.store.clone().send_unsent());
    let store = parts.store.clone();
    tasks.start("settling", async move { store.keep_settled().await });
    tasks.start("background", parts.registry.clone().run_background());
    tasks.start("uploads", parts.registry.clone().sweep_uploads());
    let joining = Arc::clone(&parts.joining);
    tasks.start("joining", async move { joining.run().await });
    tasks.start("token clock", tick(parts.tokens.clone()));
    let stop = tasks.stop_token();
    let every = config.upkeep.gc_every.unwrap_or(GARBAGE_EVERY);
    tasks.start_draining("room", parts.registry.clone().mind_room(stop, every));
    let every = config.upkeep.beat_every.unwrap_or(BEAT_EVERY);
    tasks.start("beats", parts.registry.clone().beat(every));
    if let Some(scrub) = config.upkeep.scrub {
        tasks.start("scrub", parts.registry.clone().scrub(scrub));
    }
    let daemon = Daemon { http, realm: parts.realm, mesh: parts.mesh, tasks, config, recovered };
    daemon.remember_mesh_port(&parts.store).await?;
    let version = env!("CARGO_PKG_VERSION").into();
    let found = NodeJson { pid: std::process::id(), http: daemon.http.clone(), token, version };
    found.write(&daemon.config.home)?;
    Ok(daemon)
}

impl Daemon {
    /// Base address for clients, such as `http://127.0.0.1:7878`.
    #[must_use]
    pub fn http(&self) -> &str {
        &self.http
    }

    /// This node's own realm.
    #[must_use]
    pub const fn realm(&self) -> RealmId {
        self.realm
    }

    /// What the last run left half done.
    #[must_use]
    pub const fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// This node's id in the mesh.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.mesh.local_peer()
    }

    /// Where other nodes can dial this one.
    pub async fn mesh_addresses(&self) -> Vec<Multiaddr> {
        self.mesh.addresses().await
    }

    /// Serves until `stop` is done, then drains; or until a task ends by itself.
    ///
    /// # Errors
    /// A task ended; or `node.json` could not be removed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let ended = tokio::select! {
            () = stop => None,
            ended = self.tasks.first_end() => Some(ended),
        };
        NodeJson::remove(&self.config.home)?;
        self.tasks.drain().await;
        ended.map_or(Ok(()), |ended| Err(ended.into()))
    }

    /// Waits for the mesh to listen, and keeps the port if the usual one was taken.
    async fn remember_mesh_port(&self, store: &Store) -> Result<(), Error> {
        let listening = async {
            loop {
                let addresses = self.mesh.addresses().await;
                if !addresses.is_empty() {
                    return addresses;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok(addresses) = tokio::time::timeout(MESH_LISTEN_WAIT, listening).await else {
            tracing::warn!("the mesh listens on no address yet");
            return Ok(());
        };
        if self.config.mesh_listen.is_empty() {
            mesh_port::remember(store, &addresses).await?;
        }
        Ok(())
    }
}

/// Resolves when the system asks the program to stop: SIGINT or SIGTERM.
pub async fn until_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            },
            Err(error) => {
                tracing::warn!("SIGTERM cannot be watched: {error}");
                drop(tokio::signal::ctrl_c().await);
            }
        }
    }
    #[cfg(not(unix))]
    drop(tokio::signal::ctrl_c().await);
}

async fn assemble(
    config: &Config,
    store: Store,
    token: &str,
    tasks: &mut Tasks,
) -> Result<Parts, Error> {
    keys::create_folder(&config.home)?;
    let publisher: SecretKey = keys::load_or_create(&config.home, Role::Publisher)?;
    let mirror = keys::load_or_create(&config.home, Role::Node)?;
    let node_key = mirror.public();
    let realm = genesis::ensure(&store, &config.home, publisher.public(), node_key).await?;
    // By these the node may see private realms.
    let shown = [&publisher, &mirror].map(|key| SecretKey::from_seed(&key.seed()));
    let members_only = doors::choose(config.members_only, &store).await?;
    let mesh = start_mesh(config, &store, (shown.into(), members_only), tasks)?;
    let rules = formats::ALL.iter().map(|format| format.rules).collect();
    let upstream = Upstream::new(store.clone(), config.offline).map_err(registry::Error::from)?;
    let registry = Registry::new(Setup {
        store: store.clone(),
        mesh: Some(mesh.clone()),
        upstream,
        rules,
        publisher,
        mirror,
        own: realm,
    })?;
    let tokens = Tokens::open(store.clone(), token.to_owned())?;
    let joining = Arc::new(Joining::new(store.clone(), mesh.clone()));
    Ok(Parts { store, mesh, registry, tokens, realm, node_key, joining })
}

fn start_mesh(
    config: &Config,
    store: &Store,
    (shown, members_only): (Vec<SecretKey>, bool),
    tasks: &mut Tasks,
) -> Result<Mesh, Error> {
    let desk = Arc::new(pairing::Desk::new(store.clone()));
    let mesh_config = mesh::Config {
        key_file: keys::folder(&config.home).join("peer"),
        keys: Arc::new(shown),
        listen: mesh_port::choose(&config.mesh_listen, store)?,
        mdns: config.mdns,
        introductions: config.introductions,
        dial: config.peers.clone(),
        agent: format!("griot/{}", env!("CARGO_PKG_VERSION")),
        members_only,
    };
    let pairing: mesh::Pairing = Arc::new(move |request, peer| {
        let desk = Arc::clone(&desk);
        Box::pin(async move { desk.answer(request, peer).await })
    });
    let (mesh, swarm) = Mesh::start(mesh_config, store.clone(), pairing)?;
    tasks.start("mesh", swarm);
    Ok(mesh)
}

fn serve(
    config: &Config,
    parts: &Parts,
    listener: TcpListener,
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let port = listener.local_addr()?.port();
    let hosts = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
    let ready = Ready::new(config.metadata_memory, rendered(config, &parts.store));
    tasks.start("documents", {
        let (warm, changed) = (ready.clone(), parts.store.watch_packages());
        async move {
            warm.keep_warm(changed).await;
            Ok::<_, std::convert::Infallible>(())
        }
    });
    let front = Front {
        registry: parts.registry.clone(),
        tokens: parts.tokens.clone(),
        hosts: Arc::new(hosts.to_vec()),
        ready,
    };
    let admin = admin::Admin {
        store: parts.store.clone(),
        registry: parts.registry.clone(),
        mesh: parts.mesh.clone(),
        tokens: parts.tokens.clone(),
        own: parts.realm,
        node_key: parts.node_key,
        title: genesis::host_title(),
        http: format!("http://{}", listener.local_addr()?),
        offline: config.offline,
        joining: Arc::clone(&parts.joining),
        epochs: Arc::default(),
    };
    let surface = router::Surface::new(front, admin);
    let answer = move |request: Request<Body>| surface.clone().answer(request);
    let stop = tasks.stop_token();
    tasks.start_draining("http", server::serve(listener, answer, stop.cancelled_owned()));
    Ok(())
}

/// Where documents that were rendered survive a restart. Without room for it, it is emptied.
fn rendered(config: &Config, store: &Store) -> Option<Folder> {
    let path = config.home.join(RENDERED);
    if config.metadata_disk == 0 {
        // It is not there, or costs its room until it can be removed.
        let _ = fs_err::remove_dir_all(path);
        return None;
    }
    let store = store.clone();
    let has_room = move |bytes| {
        let room = store.room();
        room.is_ok_and(|room| room.free.saturating_sub(bytes) > room.reserve.saturating_mul(2))
    };
    Some(Folder::new(&path, config.metadata_disk, Box::new(has_room)))
}

async fn tick(tokens: Tokens) -> Result<(), registry::Error> {
    loop {
        tokio::time::sleep(TOKEN_TICK).await;
        tokens.tick_hour().await?;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|why| Error::Listen { address, why })
}

/// The home holds keys and tokens: nobody else looks in.
fn create_home(home: &std::path::Path) -> std::io::Result<()> {
    let new = !home.exists();
    fs_err::create_dir_all(home)?;
    #[cfg(unix)]
    if new {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(home, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn admin_token() -> Result<String, Error> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(format!("griot_local_{}", to_hex(&secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_beyond_this_machine_is_refused_before_anything_is_made() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().join("new");
        let config = Config {
            home: home.clone(),
            listen: "0.0.0.0:0".parse().unwrap(),
            mesh_listen: Vec::new(),
            peers: Vec::new(),
            mdns: false,
            introductions: true,
            members_only: None,
            offline: true,
            blobs: Blobs::Here,
            metadata_memory: 0,
            metadata_disk: 0,
            upkeep: Upkeep::default(),
        };
        let error = start(config).await.unwrap_err();
        assert!(matches!(error, Error::NotLoopback(_)));
        assert!(error.to_string().contains("TLS"), "{error}");
        assert!(!home.exists());
    }

    #[test]
    fn admin_tokens_differ() {
        assert_ne!(admin_token().unwrap(), admin_token().unwrap());
    }
}
