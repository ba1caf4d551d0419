//! Outcome → status: the only mapping in the program, and the body that every client can show.
//!
//! npm prints `error`, cargo the whole body, others `message` or `errors[].detail`: all of them
//! carry the same one sentence, with the next command at its end. A format may restyle the body, or
//! pick another status where its client would retry for a minute instead of failing.
//!
//! Does not log: what went wrong inside was logged where it happened.
//!
//! Source: formats/README.md section 4; style.md section 11.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::registry::{self, Outcome};

/// A request that is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The status line.
    pub status: StatusCode,
    /// What failed and why, in one sentence.
    pub message: String,
    /// The next command to type.
    pub hint: Option<String>,
    /// One more header that the status asks for, such as `Allow`.
    pub header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Error {
    /// A status with its sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None, header: None }
    }

    /// The same with the next command.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 for a path under which nothing is ever served.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "nothing is served under this path")
    }

    /// 405 with the methods that are there.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        let mut error = Self::new(StatusCode::METHOD_NOT_ALLOWED, message);
        error.header = Some(Box::new((header::ALLOW, HeaderValue::from_static(allow))));
        error
    }

    /// 413 with the limit.
    pub fn too_large(limit_bytes: u64) -> Self {
        let message = format!("the body is larger than {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// The sentence with the next command at its end.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; hint: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The answer, as JSON.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let sentence = self.sentence();
        let mut body = json!({
            "error": sentence, "message": sentence, "errors": [{ "detail": sentence }],
        });
        if let Some(hint) = &self.hint {
            body["hint"] = json!(hint);
        }
        self.into_response_with(&body)
    }

    /// The answer with a body in the format's own shape; status and headers stay.
    #[must_use]
    pub fn into_response_with(self, body: &serde_json::Value) -> Response<Body> {
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            let schemes = HeaderValue::from_static("Bearer realm=\"griot\", Basic realm=\"griot\"");
            headers.insert(header::WWW_AUTHENTICATE, schemes);
        }
        if let Some(more) = self.header {
            headers.insert(more.0, more.1);
        }
        response
    }
}

/// The status of an outcome.
const fn status(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::NotFound => StatusCode::NOT_FOUND,
        // "We do not know" is never 404 (clients remember it) nor 5xx (they retry and hang).
        // Corrupt bytes are of the same kind: other bytes may come from another peer.
        Outcome::NotHere | Outcome::Corrupt => StatusCode::FAILED_DEPENDENCY,
        Outcome::Invalid => StatusCode::BAD_REQUEST,
        Outcome::Unauthenticated => StatusCode::UNAUTHORIZED,
        Outcome::Forbidden => StatusCode::FORBIDDEN,
        Outcome::Conflict => StatusCode::CONFLICT,
        // The disk is full, or the store failed: 507 says that sending it again will not help. 429
        // would make most clients try again at once. A client that retries any 5xx for a minute
        // gets another status from its format (npm: 424).
        Outcome::Unavailable => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        let registry::Error { outcome, message, hint } = error;
        Self { status: status(outcome), message, hint, header: None }
    }
}

impl From<super::path::Error> for Error {
    fn from(error: super::path::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

/// For handlers that give their answer or an error.
pub fn settle(result: Result<Response<Body>, Error>) -> Response<Body> {
    result.unwrap_or_else(Error::into_response)
}
