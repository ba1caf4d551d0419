//! One request of the child: to the node, or as it is to the host that it names.
//!
//! Bodies stream both ways. To the node go the end-to-end headers but credentials: the node has its
//! own for the upstream. To the host goes everything, with the child's credentials. A redirect is
//! passed on, not followed.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Request, Response, StatusCode};
use reqwest::Body;

use super::scope::{Goal, Scope, Site};
use crate::output::Failure;

/// Asks the node to leave the URLs in documents as the upstream wrote them.
const URLS: HeaderName = HeaderName::from_static("x-griot-urls");
/// For one hop alone, beside those that have a name in the library.
const HOP: [&str; 3] = ["keep-alive", "proxy-connection", "proxy-authorization"];
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The two ways out of an opened connection.
#[derive(Debug)]
pub(crate) struct Ways {
    scope: Scope,
    /// Base address of the node, without a slash at its end.
    node: String,
    to_node: reqwest::Client,
    to_host: reqwest::Client,
}

impl Ways {
    /// The node is asked past every proxy; hosts as before, through the former one.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub(crate) fn new(scope: Scope, node: &str) -> Result<Self, Failure> {
        let plain = || {
            let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
            client.no_gzip().connect_timeout(CONNECT_MAX).http1_only()
        };
        let cannot = |error| Failure::new(format!("no HTTP client: {error}"));
        let to_node = plain().no_proxy().build().map_err(cannot)?;
        let to_host = plain().build().map_err(cannot)?;
        Ok(Self { scope, node: node.trim_end_matches('/').to_owned(), to_node, to_host })
    }

    /// What is opened.
    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Answers a request that came inside an opened connection to `site`.
    pub(crate) async fn answer(&self, site: &Site, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let goal = self.scope.goal(site, request.method(), &path);
        tracing::debug!(method = %request.method(), host = site.host, path, ?goal, "request");
        let (client, url, who) = match &goal {
            Goal::Node(path) => (&self.to_node, format!("{}{path}", self.node), "the node"),
            Goal::Host => (&self.to_host, format!("{}{path}", site.url()), "the upstream"),
        };
        let (head, body) = request.into_parts();
        let mut headers = end_to_end(head.headers);
        if matches!(goal, Goal::Node(_)) {
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
            headers.insert(URLS, HeaderValue::from_static("canonical"));
        }
        let mut outgoing = client.request(head.method, url).headers(headers);
        if !hyper::body::Body::is_end_stream(&body) {
            outgoing = outgoing.body(Body::wrap(body));
        }
        match outgoing.send().await {
            Ok(answer) => incoming(answer.into()),
            Err(error) => failed(&format!("griot run: {who} cannot be asked: {}", root(&error))),
        }
    }
}

fn incoming(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    head.version = hyper::Version::HTTP_11;
    head.headers = end_to_end(head.headers);
    Response::from_parts(head, body)
}

/// Without what is meant for one hop, and without `Host`, which the URL says.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().filter(|name| name != AUTHORIZATION) {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, EXPECT, HOST] {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
    headers
}

/// 424: clients repeat a 5xx for a minute, and show this at once.
fn failed(message: &str) -> Response<Body> {
    let text = serde_json::json!({ "error": message, "message": message });
    let mut response = Response::new(Body::from(text.to_string()));
    *response.status_mut() = StatusCode::FAILED_DEPENDENCY;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
