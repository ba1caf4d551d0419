//! Who answers which request: the daemon's own few paths here, all others in `formats`.
//!
//! ```text
//!  request ─▶ count ─▶ Host and Origin ─▶ /api/admin/…  admin token ─▶ admin
//!                                     ├─▶ / /healthz /metrics /openapi.json
//!                                     └─▶ formats::serve
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tower_service::Service as _;

use super::admin::{self, Admin};
use super::metrics::Metrics;
use super::web;
use crate::formats::{self, Front};
use crate::http::error::Error;
use crate::http::origin;
use crate::store::Store;

/// What the daemon's own pages read.
#[derive(Clone)]
struct Own {
    front: Front,
    store: Store,
    metrics: Arc<Metrics>,
}

/// The whole HTTP surface of a node. A handle; clones are cheap.
#[derive(Clone)]
pub(super) struct Surface(Arc<(Own, Router)>);

impl Surface {
    pub(super) fn new(front: Front, admin: Admin) -> Self {
        let metrics = Arc::new(Metrics::new());
        let own = Own { front, store: admin.store.clone(), metrics };
        let router = router(&own, admin);
        Self(Arc::new((own, router)))
    }

    /// On every request: Host and Origin are checked, and the outcome is counted.
    pub(super) async fn answer(self, request: Request<Body>) -> Response<Body> {
        let (own, router) = &*self.0;
        let path = request.uri().path();
        let (label, owned) = (own.metrics.label(path), is_own(path));
        let response = match origin::check(&own.front.hosts, &request) {
            Err(refusal) => refusal,
            Ok(()) if owned => {
                let answer = router.clone().call(request).await;
                answer.unwrap_or_else(|never| match never {})
            }
            // Past the framework, whose routing costs as much as a document that is ready.
            Ok(()) => formats::serve(own.front.clone(), request).await,
        };
        own.metrics.count(label, response.status());
        response
    }
}

/// Whether the path may be one of the daemon's own.
fn is_own(path: &str) -> bool {
    matches!(path, "/" | "/healthz" | "/metrics" | "/openapi.json")
        || path.starts_with("/api/admin")
}

fn router(own: &Own, admin: Admin) -> Router {
    let front = own.front.clone();
    let admin = admin::router(Arc::new(admin)).route_layer(from_fn_with_state(own.clone(), guard));
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(numbers))
        .route("/openapi.json", get(described))
        .method_not_allowed_fallback(|| async {
            Error::method_not_allowed("GET, HEAD").into_response()
        })
        .with_state(own.clone())
        .merge(admin)
        .fallback(move |request: Request<Body>| formats::serve(front.clone(), request))
}

/// On every admin call: the token.
async fn guard(State(own): State<Own>, mut request: Request<Body>, next: Next) -> Response<Body> {
    match admin::authorize(&own.front.tokens, &request) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

async fn page(State(own): State<Own>, request: Request<Body>) -> Response<Body> {
    let base = own.front.base(&request);
    let query = request.uri().query().unwrap_or_default().to_owned();
    drop(request);
    web::page(&own.front.registry, &base, &query).await
}

/// The native API for machines; `tests/openapi.rs` compares it with the running node.
async fn described() -> Response<Body> {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

async fn numbers(State(own): State<Own>) -> Response<Body> {
    let storage = own.front.registry.storage().await;
    let counts = own.store.counts().map_err(crate::registry::Error::from);
    match counts.and_then(|counts| Ok((counts, storage?))) {
        Ok((counts, storage)) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (kind, own.metrics.render(&counts, &storage)).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
