//! One connection of the child's tree, from its first request to its end.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use reqwest::Body;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::scope::Site;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may wait for its next request.
const IDLE_MAX: Duration = Duration::from_secs(300);
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);

/// What becomes of a connection after its CONNECT was answered.
enum Next {
    /// Bytes are copied both ways.
    Tunnel(OnUpgrade, TcpStream),
    /// We speak for the host.
    Opened(OnUpgrade, Site),
}

type Slot = Arc<Mutex<Option<Next>>>;

/// Serves a connection to its end; what fails ends it.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    drop(stream.set_nodelay(true));
    let slot = Slot::default();
    let service = service_fn(|request| {
        let (shared, slot) = (Arc::clone(&shared), Arc::clone(&slot));
        async move { Ok::<_, Infallible>(first(&shared, &slot, request).await) }
    });
    let served = http().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the proxy broke off");
        return;
    }
    let next = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    match next {
        Some(Next::Tunnel(upgrade, outbound)) => tunnel(upgrade, outbound).await,
        Some(Next::Opened(upgrade, site)) => opened(&shared, upgrade, &site).await,
        None => {}
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX).max_buf_size(HEAD_BYTES_MAX);
    http
}

/// A request to the proxy itself: CONNECT, or one for a plain `http` URL.
async fn first(shared: &Shared, slot: &Slot, request: Request<Incoming>) -> Response<Body> {
    if !knows_the_secret(shared, request.headers()) {
        let mut response = plain(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "this proxy serves the command behind griot run alone",
        );
        let basic = HeaderValue::from_static("Basic realm=\"griot run\"");
        response.headers_mut().insert(PROXY_AUTHENTICATE, basic);
        return response;
    }
    if request.method() == Method::CONNECT {
        return connect(shared, slot, request).await;
    }
    let uri = request.uri();
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => {
            let site = Site {
                tls: false,
                host: host.to_ascii_lowercase(),
                port: uri.port_u16().unwrap_or(80),
            };
            shared.ways.answer(&site, request).await
        }
        _ => plain(StatusCode::BAD_REQUEST, "this is a proxy: it takes CONNECT and http:// URLs"),
    }
}

/// Compared as digests, which takes the same time wherever they differ.
fn knows_the_secret(shared: &Shared, headers: &HeaderMap) -> bool {
    let shown = headers.get(PROXY_AUTHORIZATION);
    shown.is_some_and(|shown| blake3::hash(shown.as_bytes()) == shared.credential)
}

async fn connect(shared: &Shared, slot: &Slot, mut request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().authority();
    let target = target.and_then(|target| Some((target.host().to_owned(), target.port_u16()?)));
    let Some((host, port)) = target else {
        return plain(StatusCode::BAD_REQUEST, "CONNECT needs host:port");
    };
    let site = shared.ways.opened(&host, port);
    let upgrade = hyper::upgrade::on(&mut request);
    let next = match site.filter(|_| !is_git(request.headers())) {
        Some(site) => Next::Opened(upgrade, site),
        None => match shared.former.connect(&host, port).await {
            Ok(outbound) => Next::Tunnel(upgrade, outbound),
            Err(error) => {
                let why = format!("griot run: {host}:{port} cannot be reached: {error}");
                return plain(StatusCode::BAD_GATEWAY, why);
            }
        },
    };
    tracing::debug!(host, port, opened = matches!(next, Next::Opened(..)), "connect");
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    Response::new(Body::default())
}

/// git has certificates of its own, which this run leaves alone, and nothing that the node holds.
fn is_git(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("git/"))
}

async fn tunnel(upgrade: OnUpgrade, mut outbound: TcpStream) {
    if let Ok(inbound) = upgrade.await {
        // A side that breaks off ends the other: that is all there is to say.
        drop(tokio::io::copy_bidirectional(&mut TokioIo::new(inbound), &mut outbound).await);
    }
}

/// Speaks for an adopted host.
async fn opened(shared: &Shared, upgrade: OnUpgrade, site: &Site) {
    let Ok(stream) = upgrade.await else { return };
    if !site.tls {
        return requests(shared, stream, site).await;
    }
    let config = match shared.authority.speak_for(&site.host) {
        Ok(config) => config,
        Err(error) => return tracing::error!(host = site.host, error, "no certificate"),
    };
    let accepted = TlsAcceptor::from(config).accept(TokioIo::new(stream));
    match tokio::time::timeout(HANDSHAKE_MAX, accepted).await {
        Ok(Ok(stream)) => requests(shared, TokioIo::new(stream), site).await,
        Ok(Err(error)) => tracing::warn!(
            host = site.host,
            %error,
            "a client does not take this run's certificate; which variable does it read?"
        ),
        Err(_) => tracing::debug!(host = site.host, "a handshake took too long"),
    }
}

async fn requests(shared: &Shared, stream: impl Read + Write + Unpin, site: &Site) {
    let service = service_fn(|request| async move {
        Ok::<_, Infallible>(shared.ways.answer(site, request).await)
    });
    if let Err(error) = http().serve_connection(stream, service).await {
        tracing::debug!(host = site.host, %error, "an opened connection broke off");
    }
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{}\n", text.into())));
    *response.status_mut() = status;
    response
}
