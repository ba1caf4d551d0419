//! A file that is still arriving as the body of an answer: 200 with its length, then the bytes as
//! they come.
//!
//! There is no validator and no digest yet, and ranges are for files that are held: see
//! [`may_flow`]. If the bytes
//! turn out wrong, the connection is cut before the last one: a client sees a broken body, never a
//! complete wrong file.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, header};
use bytes::Bytes;
use futures::stream::{self, Stream};

use super::body::attachment;
use crate::registry::Arriving;

/// Whether a request can be answered with a file that is still arriving: a GET of the whole that
/// depends on no validator.
#[must_use]
pub fn may_flow(head: &Parts) -> bool {
    let whole = [header::RANGE, header::IF_MATCH, header::IF_NONE_MATCH];
    head.method == Method::GET && !whole.iter().any(|name| head.headers.contains_key(name))
}

/// The answer to a GET without a range; `is_attachment`: a browser saves it under its name.
#[must_use]
pub fn arriving(file: Arriving, content_type: &'static str, is_attachment: bool) -> Response<Body> {
    let length = HeaderValue::from(file.size);
    let saved = is_attachment.then(|| HeaderValue::from_str(&attachment(&file.filename)).ok());
    let mut response = Response::new(Body::from_stream(pieces(file)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Some(saved) = saved.flatten() {
        headers.insert(header::CONTENT_DISPOSITION, saved);
    }
    // Nothing in between may keep what could still break off.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn pieces(file: Arriving) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold(file, |mut file| async move {
        let next = file.next().await.map_err(std::io::Error::other)?;
        Ok(next.map(|bytes| (bytes, file)))
    })
}
