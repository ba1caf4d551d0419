//! `gc`, `verify`, `keep` and `unkeep`: what is held, whether it is whole, and what stays.
//!
//! The first two take long and answer with a line of JSON for each step.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::{Deserialize, Serialize};

use super::packages::{Named, package};
use super::{Admin, Failure, Json, Read, lines};
use crate::registry::{GarbageStep, IndexStep, Kept, KeptRow, VerifyOrder, VerifyStep};
use crate::store::rebuild::RebuildOrder;
use crate::store::{SweepOrder, SweepStep};

/// A line of the answer to `gc`.
pub type GarbageLine = lines::Line<GarbageStep>;
/// A line of the answer to `verify`.
pub type VerifyLine = lines::Line<VerifyStep>;
/// A line of the answer to `verify/index`.
pub type IndexLine = lines::Line<IndexStep>;

/// A line of the answer to `gc/bucket`.
pub type SweepLine = lines::Line<SweepStep>;

/// What is to be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageOrder {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

pub(super) async fn gc(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<GarbageOrder>,
) -> Response<Body> {
    lines::answer(move |steps| async move {
        admin.registry.collect(order.dry_run, Some(&steps)).await.map(|_| ())
    })
}

pub(super) async fn gc_bucket(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<SweepOrder>,
) -> Response<Body> {
    lines::answer(move |steps| async move {
        admin.registry.collect_bucket(&order, Some(&steps)).await.map(|_| ())
    })
}

pub(super) async fn verify(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<VerifyOrder>,
) -> Response<Body> {
    lines::answer(move |steps| async move {
        admin.registry.verify(order, Some(&steps)).await.map(|_| ())
    })
}

pub(super) async fn verify_index(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<RebuildOrder>,
) -> Response<Body> {
    lines::answer(move |steps| async move { admin.registry.verify_index(order, &steps).await })
}

pub(super) async fn kept(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<KeptRow>>, Failure> {
    Ok(Json(admin.registry.kept_rows()?))
}

pub(super) async fn keep(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<KeptRow>, Failure> {
    let package = package(&admin, &named).await?;
    Ok(Json(admin.registry.keep(&package, named.version.as_deref()).await?))
}

pub(super) async fn unkeep(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Vec<Kept>>, Failure> {
    let Named { name, format, version } = &named;
    // A pin may outlive all that is known of its name.
    let meant = admin.registry.kept_rows()?.into_iter().map(|row| row.kept.package);
    let meant = meant.filter(|of| of.name == *name);
    let mut meant = meant.filter(|of| format.as_ref().is_none_or(|format| of.format == *format));
    let found = match meant.next() {
        Some(first) if meant.all(|other| other == first) => first,
        _ => package(&admin, &named).await?,
    };
    Ok(Json(admin.registry.unkeep(&found, version.as_deref()).await?))
}
