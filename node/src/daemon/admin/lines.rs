//! Answers that are a line of JSON for each step of something long.
//!
//! The work lives in the answer's body: it goes on as its lines are read, and a dropped connection
//! ends it where it is.

use std::future::Future;
use std::task::Poll;

use axum::body::Body;
use axum::http::{Response, header};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{ErrorDetail, Failure, word};
use crate::registry::Error;

/// Lines that wait for a slow reader.
const LINES_MAX: usize = 64;

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line<T> {
    /// One step.
    Progress(T),
    /// It ended here.
    Error(ErrorDetail),
}

/// The answer that does `work` and tells its steps.
pub(super) fn answer<T, W, F>(work: W) -> Response<Body>
where
    T: Serialize + Send + 'static,
    W: FnOnce(mpsc::Sender<T>) -> F + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(LINES_MAX);
    let work = async move {
        let failure = Failure::from(work(sender).await.err()?);
        let code = word(failure.outcome).to_owned();
        Some(Line::Error(ErrorDetail { code, message: failure.message, hint: failure.hint }))
    };
    let work = work.into_stream().filter_map(futures::future::ready);
    let told = stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(one) => Poll::Ready(one.map(Line::Progress)),
        Poll::Pending => Poll::Pending,
    });
    // What was told comes out before the work goes on.
    let steps = stream::select_with_strategy(told, work, |_: &mut ()| stream::PollNext::Left);
    written(steps)
}

/// An answer with a line for each of these, as they come.
pub(super) fn written<T: Serialize + Send + 'static>(
    steps: impl Stream<Item = T> + Send + 'static,
) -> Response<Body> {
    let lines = steps.map(|line| {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        Ok::<_, serde_json::Error>(bytes::Bytes::from(text))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let kind = header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
