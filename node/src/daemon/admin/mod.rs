//! The admin API, `/api/admin/…`: what the command talks to.
//!
//! JSON in and out, on loopback only, for the bearer of the token in `node.json` (or of one with
//! the scope `admin`). Subjects have a file each; this one holds what they share: the token check,
//! bounded bodies, and errors in the shape `{"error": {"code", "message", "hint"}}`.
//!
//! Nothing here signs with a root key. `realm`, `invite` and `publish` of the command sign with the
//! key file themselves and post finished envelopes to `statements`.
//!
//! The API belongs to the command of the same version: it may change without notice.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::joining::Joining;
use super::pairing;
use crate::http::auth::Tokens;
use crate::http::error;
use crate::mesh::{self, Mesh};
use crate::registry::{self, Outcome, Principal, Registry, Scope};
use crate::store::{self, Store};
use crdt::RealmId;

pub mod backup;
pub mod budget;
pub mod disputes;
pub mod follows;
pub mod join;
pub mod lines;
pub mod packages;
pub mod pairs;
pub mod peers;
pub mod prefetch;
pub mod realms;
pub mod routes;
pub mod status;
pub mod tokens;
pub mod upkeep;
pub mod upstreams;

/// Bytes of a JSON body; the largest is an envelope of 64 KiB.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the subjects work on. Cheap to share.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) mesh: Mesh,
    pub(super) tokens: Tokens,
    pub(super) own: RealmId,
    pub(super) node_key: crdt::PublicKey,
    pub(super) title: String,
    pub(super) http: String,
    pub(super) offline: bool,
    pub(super) joining: Arc<Joining>,
    /// Held while a posted root epoch is judged and admitted: see `realms`.
    pub(super) epochs: Arc<tokio::sync::Mutex<()>>,
}

/// The routes below `/api/admin`, without the token check.
pub(super) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/api/admin/status", get(status::status))
        .route("/api/admin/keys", get(status::keys))
        .route("/api/admin/peers", get(peers::list).post(peers::add).delete(peers::remove))
        .route("/api/admin/budget", get(budget::show).post(budget::set).delete(budget::clear))
        .route("/api/admin/offers", get(peers::offers))
        .route("/api/admin/invites", get(pairs::invites).post(pairs::invite))
        .route("/api/admin/requests", get(pairs::requests))
        .route("/api/admin/members", get(pairs::members).delete(pairs::dismiss))
        .route("/api/admin/requests/{id}/granted", post(pairs::granted))
        .route("/api/admin/join", post(join::join))
        .route("/api/admin/join/mirrors", post(join::mirrors))
        .route("/api/admin/join/pair", post(join::pair))
        .route("/api/admin/follows", get(follows::list).post(follows::follow))
        .route("/api/admin/follows/{realm}", delete(follows::unfollow))
        .route("/api/admin/routes", get(routes::list).post(routes::add).delete(routes::remove))
        .route(
            "/api/admin/upstreams",
            get(upstreams::list).post(upstreams::add).delete(upstreams::remove),
        )
        .route("/api/admin/statements", post(realms::post::post_statement))
        .route("/api/admin/statements/{id}", get(realms::statement))
        .route("/api/admin/realms", get(realms::list).post(realms::post::found))
        .route("/api/admin/realms/{realm}", get(realms::show))
        .route("/api/admin/realms/{realm}/statements", get(realms::statements))
        .route("/api/admin/realms/{realm}/releases", get(realms::releases::list))
        .route("/api/admin/realms/{realm}/accept", post(realms::post::accept))
        .route("/api/admin/disputes", get(disputes::list).post(disputes::show))
        .route("/api/admin/disputes/withdraw", post(disputes::withdraw))
        .route("/api/admin/lists", post(realms::releases::keep_list))
        .route("/api/admin/tokens", get(tokens::list).post(tokens::create))
        .route("/api/admin/tokens/{id}", delete(tokens::revoke))
        .route("/api/admin/info", post(packages::info))
        .route("/api/admin/why", post(packages::why))
        .route("/api/admin/add", post(packages::add))
        .route("/api/admin/search", post(packages::search))
        .route("/api/admin/yank", post(packages::yank))
        .route("/api/admin/endorse", post(packages::endorse))
        .route("/api/admin/tag", post(packages::tag))
        .route("/api/admin/accept", post(packages::accept))
        .route("/api/admin/document", post(packages::document))
        .route("/api/admin/check", post(prefetch::check))
        .route("/api/admin/prefetch", post(prefetch::prefetch))
        .route("/api/admin/backup", post(backup::backup))
        .route("/api/admin/up-to-date", post(backup::up_to_date))
        .route("/api/admin/wants", get(prefetch::wants).delete(prefetch::forget))
        .route("/api/admin/gc", post(upkeep::gc))
        .route("/api/admin/gc/bucket", post(upkeep::gc_bucket))
        .route("/api/admin/verify", post(upkeep::verify))
        .route("/api/admin/verify/index", post(upkeep::verify_index))
        .route("/api/admin/kept", get(upkeep::kept).post(upkeep::keep).delete(upkeep::unkeep))
        .fallback(|| async { Failure::not_found("no such admin call") })
        .with_state(admin)
}

/// Who asks, if he may administrate.
pub(super) fn authorize(tokens: &Tokens, request: &Request<Body>) -> Result<Principal, Failure> {
    let who = tokens.principal(request.headers())?;
    let bound = who.realm.is_some() || !who.patterns.is_empty();
    if who.scopes.contains(&Scope::Admin) && !bound {
        return Ok(who);
    }
    Err(Failure {
        outcome: if who.is_anonymous() { Outcome::Unauthenticated } else { Outcome::Forbidden },
        message: "the admin API needs the token of node.json, or one with the scope admin".into(),
        hint: Some("griot status --home DIR reads the token of the node that runs on DIR".into()),
    })
}

/// Why an admin call did not succeed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    outcome: Outcome,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), hint: None }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Outcome::Invalid, message)
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(Outcome::NotFound, message)
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// The error of an admin call as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// The three parts of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One of the eight outcomes, such as `not_found`.
    pub code: String,
    /// What failed and why.
    pub message: String,
    /// The next command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let status = error::Error::from(registry::Error::new(self.outcome, "")).status;
        let code = word(self.outcome).into();
        let detail = ErrorDetail { code, message: self.message, hint: self.hint };
        json(status, &ErrorBody { error: detail })
    }
}

/// The outcome as a word for programs.
const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotFound => "not_found",
        Outcome::NotHere => "not_here",
        Outcome::Invalid => "invalid",
        Outcome::Unauthenticated => "unauthenticated",
        Outcome::Forbidden => "forbidden",
        Outcome::Conflict => "conflict",
        Outcome::Corrupt => "corrupt",
        Outcome::Unavailable => "unavailable",
    }
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        Self { outcome: error.outcome, message: error.message, hint: error.hint }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::new(Outcome::Unavailable, format!("the store: {error}"))
    }
}

impl From<crdt::Error> for Failure {
    fn from(error: crdt::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<mesh::Error> for Failure {
    fn from(error: mesh::Error) -> Self {
        let outcome = match error {
            mesh::Error::Refused(_) => Outcome::Forbidden,
            _ => Outcome::Unavailable,
        };
        Self::new(outcome, error.to_string())
    }
}

/// A JSON answer with status 200.
#[derive(Debug)]
pub(super) struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response<Body> {
        json(StatusCode::OK, &self.0)
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let (status, bytes) = match serde_json::to_vec(value) {
        Ok(bytes) => (status, bytes),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A bounded JSON body.
#[derive(Debug)]
pub(super) struct Read<T>(T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Read<T> {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Failure> {
        let Bytes(bytes) = Bytes::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Read).map_err(|error| {
            Failure::invalid(format!("the body is not the expected JSON: {error}"))
        })
    }
}

/// A bounded body as it is.
#[derive(Debug)]
pub(super) struct Bytes(bytes::Bytes);

impl<S: Sync> FromRequest<S> for Bytes {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, _state: &S) -> Result<Self, Failure> {
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
        body.map(|collected| Self(collected.to_bytes()))
            .map_err(|error| Failure::invalid(format!("the body cannot be read: {error}")))
    }
}

/// The answer of calls that have nothing else to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether anything changed.
    pub changed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let body = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
        let read = Read::<serde_json::Value>::from_request(Request::new(body), &()).await;
        assert_eq!(read.unwrap_err().outcome, Outcome::Invalid);
    }

    #[tokio::test]
    async fn an_error_carries_code_message_and_hint() {
        let failure = Failure::not_found("no package").hint("griot search");
        let response = failure.into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body: ErrorBody = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body.error.code, "not_found");
        assert_eq!(body.error.hint.as_deref(), Some("griot search"));
    }
}
