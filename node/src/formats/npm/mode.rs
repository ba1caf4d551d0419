//! Whose tarball URLs a client is shown: the upstream's own, or this node's.
//!
//! A lockfile must come out the same with and without the node. npm, bun and yarn 1 write down the
//! URL that the document has; pnpm and berry leave out the URL that follows from the registry they
//! were given, and write down any other. So one document cannot serve both, and the client's name
//! decides: the first token of `User-Agent` alone, since pnpm's also holds ` npm/?`.
//!
//! Source: formats/npm.md section 3; formats/README.md section 3.

use axum::http::{HeaderMap, header};

/// What this node's proxy sends to have the upstream's URLs, whatever the client.
const URLS: &str = "x-griot-urls";
/// Clients that write down what the document says.
const LITERAL_CLIENTS: [&str; 3] = ["npm/", "Bun/", "yarn/1."];

/// The request headers that change an answer.
pub(super) const VARY: &str = "User-Agent, Accept, Accept-Encoding, X-Griot-Urls";

/// Whose URLs a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The upstream's, untouched.
    Canonical,
    /// This node's, where the upstream's are the standard ones.
    Own,
}

impl Mode {
    /// Chosen by the request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match text(header::HeaderName::from_static(URLS)) {
            Some("canonical") => return Self::Canonical,
            Some("self") => return Self::Own,
            _ => {}
        }
        let agent = text(header::USER_AGENT).unwrap_or_default();
        let literal = LITERAL_CLIENTS.iter().any(|client| agent.starts_with(client));
        if literal { Self::Canonical } else { Self::Own }
    }

    /// As it goes into an ETag.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Own => "self",
        }
    }
}
