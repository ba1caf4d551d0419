//! `routes`: this node's own word on where a name comes from.
//!
//! An own route comes before everything else. The site's routes are listed beside, but belong to
//! whoever holds its root key.

use std::sync::Arc;

use axum::extract::State;
use crdt::routes::Rule;
use crdt::statement::{Pattern, RouteSource};
use serde::{Deserialize, Serialize};

use super::follows::find;
use super::upstreams::refuse_itself;
use super::{Admin, Done, Failure, Json, Read};
use crate::registry::UpstreamChoice;

/// A route to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOrder {
    /// Format id, or `*`.
    pub format: String,
    /// Exact name, or prefix and `*`.
    pub pattern: String,
    /// A realm (or the start of its id), `own`, `site`, `deny`, `upstream` (the format's default
    /// of now), or the URL of an upstream, which is adopted for it.
    pub source: String,
}

/// A route to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteName {
    /// Format id, or `*`.
    pub format: String,
    /// As it was added.
    pub pattern: String,
}

/// A route and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// `own`, `site`, or the realm whose confirmed claim it is.
    pub of: String,
    /// The rule.
    pub rule: Rule,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<RouteRow>>, Failure> {
    let rows = admin.registry.route_list()?;
    Ok(Json(rows.into_iter().map(|(of, rule)| RouteRow { of, rule }).collect()))
}

pub(super) async fn add(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<RouteOrder>,
) -> Result<Json<Done>, Failure> {
    Pattern::parse(&order.pattern)?;
    let source = match order.source.as_str() {
        "deny" => RouteSource::Deny,
        "upstream" => default_upstream(&admin, &order.format)?,
        url if url.contains("://") => {
            refuse_itself(&admin, url)?;
            let RouteOrder { format, pattern, source: url } = order;
            let pattern = Some(pattern);
            let choice = UpstreamChoice { format, url, pattern, ..UpstreamChoice::default() };
            admin.registry.upstream_add(choice).await?;
            return Ok(Json(Done { changed: true }));
        }
        realm => RouteSource::Realm(find(&admin, realm).await?),
    };
    admin.registry.route_add(&order.format, &order.pattern, source).await?;
    Ok(Json(Done { changed: true }))
}

/// A route names its upstream: one that is changed later does not move what was routed.
fn default_upstream(admin: &Admin, format: &str) -> Result<RouteSource, Failure> {
    let endpoint = admin.registry.default_endpoint(format)?.ok_or_else(|| {
        Failure::not_found(format!("no upstream is configured for {format:.40}"))
            .hint(format!("griot upstream add {format:.40} URL"))
    })?;
    let format = format.to_owned();
    Ok(RouteSource::Upstream { origin: endpoint.origin, format, url: endpoint.url })
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Read(name): Read<RouteName>,
) -> Result<Json<Done>, Failure> {
    let changed = admin.registry.route_remove(&name.format, &name.pattern).await?;
    Ok(Json(Done { changed }))
}
