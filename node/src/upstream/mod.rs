//! The outside registries, over HTTP.
//!
//! One request in, one honest answer out: a body that was checked, "not modified", "absent", or why
//! there is none. What a name's source is, what may be believed and what is kept is decided above,
//! in `registry`; nothing here knows a format. State is in memory alone: a start knows of no origin
//! whether it answers.
//!
//! Hops and redirects are in `client`, bodies in `body`, small posts in `post`; whether an origin
//! answers is in `breaker`, shared by `line`, and how long a person waits for it in `patience`.
//!
//! Source: DESIGN sections 4 and 7; formats/README.md sections 1, 4 and 7.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crdt::Digest;
use tokio::sync::watch;

use client::Client;
pub use progress::Progress;

pub use crate::store::Arrival;
use crate::store::blob::Staged;
use crate::store::{Hashes, Store};

mod body;
mod breaker;
mod client;
mod line;
mod patience;
mod post;
mod progress;
#[cfg(test)]
mod tests;

/// An upstream registry as a request needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Id of its normalised URL.
    pub origin: Digest,
    /// Normalised base URL, with the slash at its end.
    pub url: String,
    /// Sent as `Authorization`, to the host of `url` alone.
    pub credential: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The credential stays out of logs.
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Absolute URL, on any host; the credential goes with it only to the endpoint's own.
    pub url: String,
    /// The header `Accept`.
    pub accept: String,
    /// From the copy that is held.
    pub etag: Option<String>,
    /// From the copy that is held.
    pub last_modified: Option<String>,
    /// Checksums to compute beside BLAKE3 and SHA-256.
    pub hashes: Hashes,
    /// Bytes after decoding, at most.
    pub limit: u64,
    /// Whether an HTML page can be no answer to this: a captive portal's login page.
    pub never_html: bool,
    /// Whether a person waits: a connection is then given up after a second.
    pub urgent: bool,
    /// Told how far the body is, for who passes it on while it comes.
    pub arrival: Option<watch::Sender<Arrival>>,
    /// Told what the request waits for, for who waits for it.
    pub progress: Progress,
}

/// What the upstream said.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an answer is taken apart where it arrives")]
pub enum Answer {
    /// Bytes, hashed and durable as a staged blob; nothing refers to them yet.
    Body {
        /// To be committed once they were judged.
        staged: Staged,
        /// As received; empty if there was none.
        content_type: String,
        /// As received.
        etag: Option<String>,
        /// As received.
        last_modified: Option<String>,
        /// Where redirects led; absent where nothing was redirected.
        moved: Option<String>,
    },
    /// The copy that is held is current.
    NotModified,
    /// 404, 410 or 451: the upstream says that there is no such thing.
    Absent,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This node was started with `--offline`.
    #[error("this node asks no upstream (--offline)")]
    Offline,
    /// No connection, or no answer in time; the breaker may be open.
    #[error("the upstream is unreachable for {since}: {why}")]
    Unreachable {
        /// For people: how long, such as `3 min`.
        since: String,
        /// What failed.
        why: String,
    },
    /// It answered with a status that is no answer: 401, 429, 5xx.
    #[error("the upstream answered {status}: {why}")]
    Status {
        /// As received.
        status: u16,
        /// The first words of what it said.
        why: String,
    },
    /// It answered with something else than what was asked for.
    #[error("{0}")]
    Wrong(String),
    /// The store could not take it.
    #[error("{0}")]
    Store(String),
}

/// Whether an origin answers, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The last request was answered.
    Up,
    /// Nothing was heard of it since this node started.
    Unknown,
    /// The breaker is open, or `--offline`.
    Down,
}

/// A handle; clones are cheap.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    client: Client,
    offline: bool,
}

impl Upstream {
    /// `offline` asks nobody, ever. Nothing is read or opened before the first request.
    ///
    /// # Errors
    /// None today: TLS roots that cannot be read only make https upstreams unreachable.
    pub fn new(store: Store, offline: bool) -> Result<Self, Error> {
        Ok(Self { inner: Arc::new(Inner { store, client: Client::new(), offline }) })
    }

    /// Whether this node asks nobody.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.inner.offline
    }

    /// One GET. Dropping the future drops the request.
    ///
    /// # Errors
    /// See [`Error`]; a client error of the upstream never counts as "unreachable".
    pub async fn get(&self, endpoint: &Endpoint, ask: &Ask) -> Result<Answer, Error> {
        self.check_online()?;
        body::fetch(&self.inner.client, &self.inner.store, endpoint, ask).await
    }

    /// One POST of a small body, answered with a small body: audits. Never sent twice, and never to
    /// where a redirect points.
    ///
    /// # Errors
    /// As [`Upstream::get`].
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        url: &str,
        (body, limit): (Bytes, u64),
        progress: Progress,
    ) -> Result<(String, Bytes), Error> {
        self.check_online()?;
        post::post(&self.inner.client, endpoint, url, (body, limit), progress).await
    }

    /// Returns when a person should not wait any longer for a flight that begins at this endpoint:
    /// at once while the origin that it waits for is known to be away, else when that one was
    /// silent for long, whatever was asked of it. Requests under way go on; a silence makes
    /// [`Upstream::reach`] say `Down`.
    pub async fn patience(&self, endpoint: &Endpoint, progress: &Progress) {
        if !self.inner.offline {
            patience::patience(&self.inner.client, endpoint, progress).await;
        }
    }

    /// Whether the origin answers; never asks it.
    #[must_use]
    pub fn reach(&self, origin: &Digest) -> Reach {
        if self.inner.offline {
            return Reach::Down;
        }
        let line = self.inner.client.lines.find(origin);
        line.map_or(Reach::Unknown, |line| line.breaker().reach())
    }

    /// Asks the origin for a sign of life, so that [`Upstream::reach`] knows.
    pub async fn probe(&self, endpoint: &Endpoint) {
        if !self.inner.offline {
            patience::probe(&self.inner.client, endpoint).await;
        }
    }

    /// How long the origin has not answered, if the breaker is open.
    #[must_use]
    pub fn away(&self, origin: &Digest) -> Option<Duration> {
        self.inner.client.lines.find(origin)?.away()
    }

    fn check_online(&self) -> Result<(), Error> {
        if self.inner.offline { Err(Error::Offline) } else { Ok(()) }
    }
}
