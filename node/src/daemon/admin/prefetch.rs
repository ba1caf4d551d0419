//! `check`, `prefetch` and `wants`: what a project lacks here, and what was asked for in vain.
//!
//! The command reads the lockfile and posts what it locks. `prefetch` answers with a line of JSON
//! for each step; its work lives in the answer's body, so a dropped connection ends it after the
//! fetches that are under way.

use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::extract::{FromRequest, State};
use axum::http::{Request, Response, header};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Admin, ErrorDetail, Failure, Json, Read, word};
use crate::registry::{Progress, Project, Report, WantRow};

/// Bytes of a project: about 300 for each package.
const PROJECT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines that wait for a slow reader.
const LINES_MAX: usize = 64;

/// A line of the answer to `prefetch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// One step.
    Progress(Progress),
    /// It ended here.
    Error(ErrorDetail),
}

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
    let lines = steps(admin, project).map(|line| {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        Ok::<_, serde_json::Error>(bytes::Bytes::from(text))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let kind = header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The steps as they come. The work is done by whoever reads them.
fn steps(admin: Arc<Admin>, project: Project) -> impl Stream<Item = Line> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(LINES_MAX);
    let work = async move {
        let node = admin.http.clone();
        let failed = admin.registry.prefetch(&project, &node, sender).await.err()?;
        let failure = Failure::from(failed);
        let code = word(failure.outcome).to_owned();
        Some(Line::Error(ErrorDetail { code, message: failure.message, hint: failure.hint }))
    };
    let work = work.into_stream().filter_map(futures::future::ready);
    let told = stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(one) => Poll::Ready(one.map(Line::Progress)),
        Poll::Pending => Poll::Pending,
    });
    // What was told comes out before the work goes on.
    stream::select_with_strategy(told, work, |_: &mut ()| stream::PollNext::Left)
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
