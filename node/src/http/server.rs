//! Connections: accepted up to a bound, timed, and drained at the end.
//!
//! One loop accepts; each connection is a task of its own in a set that this function owns, so when
//! it returns none is left. A client must send its request head within [`HEAD_MAX`] (that is also
//! how long an idle kept-alive connection lives) and move some byte within [`SILENCE_MAX`].
//! HTTP/1.1 only; an offer to switch to h2c is ignored. When `shutdown` is done, no connection is
//! accepted any more, idle ones are closed, and those at work get [`DRAIN_MAX`].
//!
//! Every answer says `nosniff`: packages must never be taken for pages of this origin. What to
//! answer is the caller's; nothing here reads a request. Nothing survives a crash, and nothing
//! needs to.
//!
//! Source: trust.md section 16; formats/README.md section 7.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::direct::{Direct, Outgoing, Road};
use super::idle::Watched;

/// The most connections at once; more wait in the operating system's queue.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a request head may take to arrive.
pub const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a connection at work may stand still in both directions.
pub const SILENCE_MAX: Duration = Duration::from_secs(300);
/// How long connections at work have after `shutdown`.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is done and the connections are drained.
///
/// # Errors
/// None at present: what fails on one connection is that connection's end.
pub async fn serve<F, R>(
    listener: TcpListener,
    answer: F,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    F: Fn(Request<Body>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let closing = CancellationToken::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, answer.clone(), closing.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    closing.cancel();
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended)
        }
    };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        tracing::warn!(left = connections.len(), "closed connections that were still at work");
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection<F, R>(stream: TcpStream, answer: F, closing: CancellationToken)
where
    F: Fn(Request<Body>) -> R + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    // Answers are written whole; waiting for more would delay each small one by 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not switch Nagle's algorithm off");
    }
    let outgoing = Outgoing::default();
    let stream = Direct::new(stream, outgoing.clone());
    let answered = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (response, outgoing) = (answer(request.map(Body::new)), outgoing.clone());
        async move {
            let response = response.await;
            if let Some(road) = response.extensions().get::<Road>() {
                road.open(&outgoing);
            }
            Ok::<_, Infallible>(with_nosniff(response))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(Watched::new(stream, SILENCE_MAX)), answered);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn with_nosniff(mut response: Response<Body>) -> Response<Body> {
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request met a broken invariant; its connection was closed");
    }
}
