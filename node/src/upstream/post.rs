//! A small question with a small answer: what audits are.
//!
//! Sent once and to one place: a redirect is refused rather than followed, because the body names
//! what a project uses. Nothing is stored here.
//!
//! Source: formats/npm.md section 2.

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::body::{PORTAL, length, too_large};
use super::client::{Client, Outgoing, parse};
use super::{Endpoint, Error, Progress};

/// Sends a body of JSON with the largest size of an answer; gives content type and answer.
pub(super) async fn post(
    client: &Client,
    endpoint: &Endpoint,
    url: &str,
    (body, limit): (Bytes, u64),
    progress: Progress,
) -> Result<(String, Bytes), Error> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let outgoing = Outgoing { method: Method::POST, headers, body, urgent: true, progress };
    let (base, url) = (parse(&endpoint.url)?, parse(url)?);
    let mut reply = client.hop(endpoint, &base, &url, &outgoing).await?;
    let status = reply.response.status();
    if status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED
        || (reply.is_html() && status.is_success())
    {
        return Err(Error::Wrong(PORTAL.to_owned()));
    }
    if !status.is_success() {
        return Err(reply.refusal().await);
    }
    if length(&reply).is_some_and(|size| size > limit) {
        return Err(too_large(limit));
    }
    let mut answer = BytesMut::new();
    loop {
        match reply.chunk().await {
            Ok(Some(piece)) if (answer.len() + piece.len()) as u64 > limit => {
                return Err(too_large(limit));
            }
            Ok(Some(piece)) => answer.extend_from_slice(&piece),
            Ok(None) => break,
            Err(cut) => return Err(reply.line.unreachable(cut.why())),
        }
    }
    Ok((reply.header("content-type").unwrap_or_default(), answer.freeze()))
}
