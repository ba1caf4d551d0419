//! `check`, `prefetch` and `wants`: what a project lacks here, and what was asked for in vain.
//!
//! The command reads the lockfile and posts what it locks. `prefetch` answers with a line of JSON
//! for each step; its work lives in the answer's body, so a dropped connection ends it after the
//! fetches that are under way.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, State};
use axum::http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, Json, Read, lines};
use crate::registry::{Progress, Project, Report, WantRow};

/// Bytes of a project: about 300 for each package.
const PROJECT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A line of the answer to `prefetch`.
pub type Line = lines::Line<Progress>;

/// A project as the body of a request, which may be larger than others.
#[derive(Debug)]
pub(super) struct Posted(Project);

impl<S: Sync> FromRequest<S> for Posted {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, _state: &S) -> Result<Self, Failure> {
        let body = Limited::new(request.into_body(), PROJECT_BYTES_MAX).collect().await;
        let body = body.map_err(|error| {
            Failure::invalid(format!("the project cannot be read: {error}"))
                .hint(format!("its packages may have {PROJECT_BYTES_MAX} bytes in all"))
        })?;
        serde_json::from_slice(&body.to_bytes())
            .map(Self)
            .map_err(|error| Failure::invalid(format!("the body is no project: {error}")))
    }
}

pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    Posted(project): Posted,
) -> Result<Json<Report>, Failure> {
    Ok(Json(admin.registry.check(&project, &admin.http).await?))
}

pub(super) async fn prefetch(
    State(admin): State<Arc<Admin>>,
    Posted(project): Posted,
) -> Response<Body> {
    lines::answer(|steps| async move {
        admin.registry.prefetch(&project, &admin.http, steps).await.map(|_| ())
    })
}

/// Wants to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetOrder {
    /// Of a package, as it is listed.
    pub name: String,
    /// Only in this format.
    #[serde(default)]
    pub format: Option<String>,
}

/// How many wants were forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Of the name.
    pub forgotten: u64,
}

pub(super) async fn wants(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<WantRow>>, Failure> {
    Ok(Json(admin.registry.want_list()?))
}

pub(super) async fn forget(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<ForgetOrder>,
) -> Result<Json<Forgotten>, Failure> {
    let ForgetOrder { name, format } = order;
    let forgotten = admin.registry.want_forget(&name, format.as_deref()).await?;
    if forgotten == 0 {
        return Err(
            Failure::not_found(format!("nothing of {name:.200} is wanted")).hint("griot want list")
        );
    }
    Ok(Json(Forgotten { forgotten }))
}
