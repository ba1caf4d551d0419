//! One request of the child: to the node, or as it is to the host that it names.
//!
//! Bodies stream both ways. To the node go the end-to-end headers but credentials: the node has its
//! own for the upstream. To the host goes everything, with the child's credentials. A redirect is
//! passed on, not followed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};
use reqwest::Body;

use super::scope::{Goal, Scope, Site};
use crate::output::Failure;

/// Asks the node to leave the URLs in documents as the upstream wrote them.
const URLS: HeaderName = HeaderName::from_static("x-griot-urls");
/// Hosts of files that the node's pages have named: `scheme://host:port`, with commas.
const HOSTS: HeaderName = HeaderName::from_static("x-griot-hosts");
/// More of them than a node tells.
const HOSTS_MAX: usize = 64;
/// For one hop alone, beside those that have a name in the library.
const HOP: [&str; 3] = ["keep-alive", "proxy-connection", "proxy-authorization"];
/// For what is good to know at the start.
const ASK_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The two ways out of an opened connection.
#[derive(Debug)]
pub(crate) struct Ways {
    scope: Scope,
    /// Hosts of files that pages have named meanwhile, opened as well from then on. None that
    /// speaks TLS: the child was given a certificate for those of the beginning alone.
    named: Mutex<BTreeSet<Site>>,
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
        let (named, node) = (Mutex::default(), node.trim_end_matches('/').to_owned());
        Ok(Self { scope, named, node, to_node, to_host })
    }

    /// The host at this name and port, if it is opened.
    pub(crate) fn opened(&self, host: &str, port: u16) -> Option<Site> {
        let adopted = self.scope.opened(host, port).cloned();
        let is = |site: &&Site| site.port == port && site.host.eq_ignore_ascii_case(host);
        adopted.or_else(|| self.named().iter().find(is).cloned())
    }

    /// Answers a request that came inside an opened connection to `site`.
    pub(crate) async fn answer(&self, site: &Site, request: Request<Incoming>) -> Response<Body> {
        let path = path_of(request.uri());
        let mut goal = self.scope.goal(site, request.method(), &path);
        if goal == Goal::Host && (self.scope.has_files(site) || self.named().contains(site)) {
            goal = self.scope.file_goal(site, request.method(), &path);
        }
        tracing::debug!(method = %request.method(), host = site.host, path, ?goal, "request");
        let (head, body) = request.into_parts();
        let headers = end_to_end(head.headers);
        if let Goal::Node(here) | Goal::NodeOrHost(here) = &goal {
            let asked = (head.method.clone(), here.as_str());
            let is_sure = matches!(goal, Goal::Node(_));
            let body = is_sure.then_some(body);
            let answer = self.ask_node(asked, headers.clone(), body).await;
            if is_sure || !knows_nothing(answer.status()) {
                return answer;
            }
            // Only what is read comes here: it has no body, and can be asked twice.
            return self.ask_host(site, (head.method, &path), headers, None).await;
        }
        self.ask_host(site, (head.method, &path), headers, Some(body)).await
    }

    async fn ask_node(
        &self,
        (method, path): (Method, &str),
        mut headers: HeaderMap,
        body: Option<Incoming>,
    ) -> Response<Body> {
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
        headers.insert(URLS, HeaderValue::from_static("canonical"));
        let request = self.to_node.request(method, format!("{}{path}", self.node));
        let mut answer = send(request.headers(headers), body, "the node").await;
        if let Some(hosts) = answer.headers_mut().remove(HOSTS) {
            self.open(hosts.to_str().unwrap_or_default());
        }
        answer
    }

    async fn ask_host(
        &self,
        site: &Site,
        (method, path): (Method, &str),
        headers: HeaderMap,
        body: Option<Incoming>,
    ) -> Response<Body> {
        let request = self.to_host.request(method, format!("{}{path}", site.url()));
        send(request.headers(headers), body, "the upstream").await
    }

    /// Opens hosts that the node has named.
    fn open(&self, hosts: &str) {
        let mut named = self.named();
        for site in hosts.split(',').filter_map(|host| Site::of(host.trim())) {
            if !site.tls && named.len() < HOSTS_MAX {
                named.insert(site);
            }
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<Site>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts on which the node knows files of upstreams to be.
pub(crate) async fn file_hosts(node: &str, scope: &Scope) -> Vec<Site> {
    let client = reqwest::Client::builder().no_proxy().timeout(ASK_MAX).build();
    let Ok(client) = client else { return Vec::new() };
    let mut all = Vec::new();
    for paths in scope.host_asks() {
        for path in paths {
            let request = client.get(format!("{}{path}", node.trim_end_matches('/')));
            let Ok(answer) = request.header(URLS, "canonical").send().await else { return all };
            let hosts = answer.headers().get(HOSTS).and_then(|hosts| hosts.to_str().ok());
            let hosts = hosts.unwrap_or_default().split(',');
            let sites: Vec<Site> = hosts.filter_map(|host| Site::of(host.trim())).collect();
            if !sites.is_empty() {
                all.extend(sites);
                break;
            }
        }
    }
    all.truncate(HOSTS_MAX);
    all
}

/// Whether the node has no such file, or cannot even be asked for it.
fn knows_nothing(status: StatusCode) -> bool {
    let odd = [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG];
    status == StatusCode::NOT_FOUND || odd.contains(&status)
}

fn path_of(uri: &hyper::Uri) -> String {
    uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()
}

async fn send(
    mut request: reqwest::RequestBuilder,
    body: Option<Incoming>,
    who: &str,
) -> Response<Body> {
    if let Some(body) = body.filter(|body| !hyper::body::Body::is_end_stream(body)) {
        request = request.body(Body::wrap(body));
    }
    match request.send().await {
        Ok(answer) => incoming(answer.into()),
        Err(error) => failed(&format!("griot run: {who} cannot be asked: {}", root(&error))),
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
