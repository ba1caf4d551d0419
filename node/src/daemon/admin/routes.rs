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
use super::{Admin, Done, Failure, Json, Read};

/// A route to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOrder {
    /// Format id, or `*`.
    pub format: String,
    /// Exact name, or prefix and `*`.
    pub pattern: String,
    /// A realm (or the start of its id), `own`, `site`, or `deny`.
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
        realm => RouteSource::Realm(find(&admin, realm).await?),
    };
    admin.registry.route_add(&order.format, &order.pattern, source).await?;
    Ok(Json(Done { changed: true }))
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Read(name): Read<RouteName>,
) -> Result<Json<Done>, Failure> {
    let changed = admin.registry.route_remove(&name.format, &name.pattern).await?;
    Ok(Json(Done { changed }))
}
