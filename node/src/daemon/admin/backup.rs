//! `backup`: a copy of the whole node while it runs, told step by step.
//!
//! The answer is a line of JSON for each step. The work ends soon after the connection does; what
//! was copied until then is used the next time.

use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use futures::{FutureExt as _, Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Admin, Done, ErrorDetail, Failure, Json, Read, lines, word};
use crate::daemon::backup::{Wish, order};
use crate::registry::Outcome;
use crate::store::Error;
use crate::store::backup::{Progress, Report};

/// Lines that wait for a slow reader.
const LINES_MAX: usize = 16;

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// How far it is.
    Progress(Progress),
    /// All is done.
    Done(Report),
    /// It ended here.
    Error(ErrorDetail),
}

pub(super) async fn backup(
    State(admin): State<Arc<Admin>>,
    Read(wish): Read<Wish>,
) -> Result<Response<Body>, Failure> {
    if !wish.folder.is_absolute() {
        return Err(Failure::invalid("the folder of a backup is named by an absolute path"));
    }
    Ok(lines::written(steps(admin, wish)))
}

/// The steps as they come; whoever reads them drives the work.
fn steps(admin: Arc<Admin>, wish: Wish) -> impl Stream<Item = Line> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(LINES_MAX);
    let work = async move {
        let order = order(admin.store.home(), wish);
        let tell = Box::new(move |progress| sender.blocking_send(progress).is_ok());
        match admin.store.back_up(order, tell).await {
            Ok(report) => Line::Done(report),
            Err(error) => {
                let failure = refused(error);
                let code = word(failure.outcome).to_owned();
                Line::Error(ErrorDetail { code, message: failure.message, hint: failure.hint })
            }
        }
    };
    let told = stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(one) => Poll::Ready(one.map(Line::Progress)),
        Poll::Pending => Poll::Pending,
    });
    // What was told comes out before the work goes on.
    stream::select_with_strategy(told, work.into_stream(), |_: &mut ()| stream::PollNext::Left)
}

/// A refusal of the backup itself has its own sentence and its own next step.
fn refused(error: Error) -> Failure {
    match error {
        Error::Backup(refusal) => {
            Failure::new(Outcome::Conflict, refusal.to_string()).hint(refusal.hint())
        }
        other => other.into(),
    }
}

/// Nothing newer of a restored node's realm is elsewhere.
pub(super) async fn up_to_date(State(admin): State<Arc<Admin>>) -> Result<Json<Done>, Failure> {
    let changed = admin.store.restored()?;
    admin.store.set_up_to_date().await?;
    Ok(Json(Done { changed }))
}
