//! The loopback proxy of `griot run`: for one process tree, as long as it lives.
//!
//! ```text
//!  child ── CONNECT host:port ──▶ adopted? ── no ──▶ blind tunnel, as without us
//!        (with the run's secret)     │ yes
//!                                TLS with a leaf of ours, HTTP/1.1
//!                                    ├─ reads below an adopted base ──▶ the node
//!                                    └─ all else, writes above all  ──▶ the host itself
//! ```
//!
//! Who may use it: who knows the secret of this run, which stands in the child's environment alone.
//! It holds no body, follows no redirect, and keeps nothing. A dropped [`Proxy`] ends all that
//! passes through it.
//!
//! Source: formats/README.md section 3.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::default_provider;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::output::Failure;

pub(crate) mod authority;
mod connection;
pub(crate) mod environment;
mod former;
pub(crate) mod forward;
pub(crate) mod scope;
pub(crate) mod trust;

use authority::Authority;
use former::Former;
use forward::Ways;
use scope::Scope;

/// Connections at once: clients open some dozens each, and each takes two descriptors here.
const CONNECTIONS_MAX: usize = 480;
/// After an accept that failed, as it does when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const SECRET_BYTES: usize = 16;
/// The user of the proxy's credentials.
const USER: &str = "griot";

/// What every connection works with.
#[derive(Debug)]
struct Shared {
    ways: Ways,
    former: Former,
    authority: Authority,
    /// Of the `Proxy-Authorization` that the child's clients send.
    credential: blake3::Hash,
}

/// A proxy that listens.
#[derive(Debug)]
pub(crate) struct Proxy {
    listener: TcpListener,
    address: SocketAddr,
    secret: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port of loopback; connections wait until [`Self::serve`] is polled.
    ///
    /// # Errors
    /// There is no free port, no random bytes, or no HTTP client.
    pub(crate) async fn bind(
        scope: Scope,
        authority: Authority,
        node: &str,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut secret = [0; SECRET_BYTES];
        let random = default_provider().secure_random.fill(&mut secret);
        random.map_err(|_| Failure::new("no random bytes could be had"))?;
        let secret = crdt::digest::to_hex(&secret);
        let credential = format!("Basic {}", STANDARD.encode(format!("{USER}:{secret}")));
        let shared = Shared {
            ways: Ways::new(scope, node)?,
            former: Former::from_env(),
            authority,
            credential: blake3::hash(credential.as_bytes()),
        };
        Ok(Self { listener, address, secret, shared: Arc::new(shared) })
    }

    /// For the child's variables: with the secret.
    pub(crate) fn url(&self) -> String {
        format!("http://{USER}:{}@{}", self.secret, self.address)
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(&self) -> std::convert::Infallible {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((stream, _)) => {
                            open.spawn(connection::serve(Arc::clone(&self.shared), stream));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(_) = open.join_next(), if !open.is_empty() => {}
            }
        }
    }
}
