//! Host and Origin, checked on every request, GET too.
//!
//! A node on loopback can be reached by every page that the person's browser opens. The `Host` list
//! stops DNS rebinding; `Origin` and `Sec-Fetch-Site` stop other sites from making the node fetch
//! or change anything: even a GET by an `<img>` could fill a disk or probe for private names. There
//! are no CORS headers and no answers to preflights, so no page is ever let in.
//!
//! Nothing here looks at tokens: see `auth`.
//!
//! Source: trust.md section 16, items 2 to 4.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};

use super::error::Error;

/// Where a browser says that a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `Ok`, or the answer to give: 421 for a foreign `Host`, 403 for a foreign `Origin`, a cross-site
/// fetch or OPTIONS. `hosts` are `host:port` in lower case.
#[expect(clippy::result_large_err, reason = "the answer is passed on at once, never kept")]
pub fn check(hosts: &[String], request: &Request<Body>) -> Result<(), Response<Body>> {
    judge(hosts, request).map_err(Error::into_response)
}

fn judge(hosts: &[String], request: &Request<Body>) -> Result<(), Error> {
    let headers = request.headers();
    let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let named = all(headers, header::HOST)?;
    if named.len() > 1 {
        return Err(Error::new(StatusCode::BAD_REQUEST, "the request has several Host headers"));
    }
    if target.is_none() && named.is_empty() || !target.iter().chain(&named).all(|h| ours(hosts, h))
    {
        let message = "this name is not one of the node's own";
        return Err(Error::new(StatusCode::MISDIRECTED_REQUEST, message).with_hint(format!(
            "use http://{}",
            hosts.first().map_or("localhost", String::as_str)
        )));
    }
    let foreign = |origin: &&str| {
        let host = origin.strip_prefix("http://");
        !host.is_some_and(|host| ours(hosts, host))
    };
    if all(headers, header::ORIGIN)?.iter().any(foreign) {
        return Err(forbidden("a page of another origin may not use this node"));
    }
    let own_site = |site: &&str| matches!(*site, "same-origin" | "none");
    if !all(headers, FETCH_SITE)?.iter().all(own_site) {
        return Err(forbidden("a page of another site may not use this node"));
    }
    if *request.method() == Method::OPTIONS {
        return Err(forbidden("this node answers no preflight: pages may not use it"));
    }
    Ok(())
}

fn ours(hosts: &[String], host: &str) -> bool {
    known(hosts, host).is_some()
}

/// A `host[:port]` of the list in the one spelling that the list has, so that answers which name it
/// are few; a client leaves port 80 out.
pub(crate) fn known<'h>(hosts: &'h [String], host: &str) -> Option<&'h str> {
    let spellings = |known: &'h String| [Some(known.as_str()), known.strip_suffix(":80")];
    hosts.iter().flat_map(spellings).flatten().find(|known| known.eq_ignore_ascii_case(host))
}

fn all(headers: &HeaderMap, name: HeaderName) -> Result<Vec<&str>, Error> {
    let values = headers.get_all(&name).iter().map(axum::http::HeaderValue::to_str);
    values.collect::<Result<_, _>>().map_err(|_| {
        Error::new(StatusCode::BAD_REQUEST, format!("the header {name} is not plain text"))
    })
}

fn forbidden(message: &str) -> Error {
    Error::new(StatusCode::FORBIDDEN, message)
}
