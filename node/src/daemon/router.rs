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

/// The whole HTTP surface of a node.
pub(super) fn router(front: Front, admin: Admin) -> Router {
    let metrics = Arc::new(Metrics::new());
    let own = Own { front: front.clone(), store: admin.store.clone(), metrics };
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
        .layer(from_fn_with_state(own, every))
}

/// On every request: Host and Origin are checked, and the outcome is counted.
async fn every(State(own): State<Own>, request: Request<Body>, next: Next) -> Response<Body> {
    let label = own.metrics.label(request.uri().path());
    let response = match origin::check(&own.front.hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    };
    own.metrics.count(label, response.status());
    response
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
