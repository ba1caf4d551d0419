//! A blob as the body of an answer: GET, HEAD, ranges, validators, the file streamed as it is.
//!
//! Blobs never change, so the ETag is strong and comes from a digest. Bytes go out as they lie on
//! the disk, without any encoding, in large reads, whatever the size of the file. HEAD is GET
//! without the body: same status, same headers. A whole body that was handed to the connection
//! completes the artifact (the registry pins what was served): the last byte waits for that, so
//! that a body which broke off never counts.
//!
//! Does not decide who may read what: it gets bytes that may leave the node.
//!
//! Source: RFC 9110 sections 13 to 15; RFC 9530.

use std::io::SeekFrom;
use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::error::Error;
use super::range::{self, Part};
use crate::registry::{Completion, VerifiedBytes};

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// What a format says about the bytes.
#[derive(Debug, Clone)]
pub struct Label {
    /// Media type.
    pub content_type: &'static str,
    /// Strong, with its quotes.
    pub etag: String,
    /// The name to save it under; makes it an attachment.
    pub attachment: Option<String>,
    /// Whether the bytes under this URL can never change.
    pub immutable: bool,
}

/// Answers a GET or HEAD for a blob.
///
/// # Errors
/// 416 is an answer, not an error; 507 when the file cannot be read.
pub async fn blob(
    method: &Method,
    headers: &HeaderMap,
    artifact: VerifiedBytes,
    label: &Label,
) -> Result<Response<Body>, Error> {
    let size = artifact.info.size;
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &artifact, label)?;
    if let Some(list) = joined(headers, header::IF_NONE_MATCH)
        && range::names(&list, &label.etag)
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let part = match joined(headers, header::RANGE) {
        Some(asked) if range::range_applies(text(headers, header::IF_RANGE), &label.etag, None) => {
            range::select(Some(&asked), size)
        }
        _ => Part::Whole,
    };
    let span = match part {
        Part::Whole => 0..size,
        Part::Bytes(span) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let value = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(&value)?);
            span
        }
        Part::Outside => return outside(size),
    };
    let length = HeaderValue::from(span.end - span.start);
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    if *method != Method::HEAD {
        *response.body_mut() = stream_file(artifact, span).await?;
    }
    Ok(response)
}

fn describe(headers: &mut HeaderMap, artifact: &VerifiedBytes, label: &Label) -> Result<(), Error> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(label.content_type));
    headers.insert(header::ETAG, ascii(&label.etag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let sha256 = STANDARD.encode(artifact.info.checksums.sha256);
    headers.insert("repr-digest", ascii(&format!("sha-256=:{sha256}:"))?);
    headers.insert("digest", ascii(&format!("sha-256={sha256}"))?);
    if let Some(name) = &label.attachment {
        headers.insert(header::CONTENT_DISPOSITION, ascii(&attachment(name))?);
    }
    // Whatever a package holds, a browser must never run it as a page of this origin.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    let cache = if label.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(())
}

fn outside(size: u64) -> Result<Response<Body>, Error> {
    let message = format!("the file has {size} bytes, and the range lies outside");
    let mut error = Error::new(StatusCode::RANGE_NOT_SATISFIABLE, message);
    let range = ascii(&format!("bytes */{size}"))?;
    error.header = Some(Box::new((header::CONTENT_RANGE, range)));
    Ok(error.into_response())
}

/// `attachment` with both forms of the name. Source: RFC 6266 and RFC 8187.
#[must_use]
pub fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' })
        .collect();
    let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

async fn stream_file(artifact: VerifiedBytes, span: Range<u64>) -> Result<Body, Error> {
    let VerifiedBytes { info, mut file, completion, .. } = artifact;
    if span.start > 0 {
        file.seek(SeekFrom::Start(span.start))
            .await
            .map_err(crate::store::Error::from)
            .map_err(|error| Error::from(crate::registry::Error::from(error)))?;
    }
    let whole = span == (0..info.size);
    let left = span.end - span.start;
    // Where no byte can be held back, handing over nothing is handing over all.
    if let (0, true, Some(completion)) = (left, whole, completion.clone()) {
        completion.completed().await;
    }
    let state = Sending { file, left, held: None, completion: completion.filter(|_| whole) };
    Ok(Body::from_stream(pieces(state)))
}

struct Sending {
    file: File,
    left: u64,
    /// The last byte, kept until the completion is done.
    held: Option<Bytes>,
    completion: Option<Completion>,
}

fn pieces(state: Sending) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold(state, |mut state| async move {
        if let Some(last) = state.held.take() {
            if let Some(completion) = state.completion.take() {
                completion.completed().await;
            }
            return Ok(Some((last, state)));
        }
        if state.left == 0 {
            return Ok(None);
        }
        let mut bytes = read(&mut state.file, state.left).await?;
        state.left -= bytes.len() as u64;
        if state.left == 0 && state.completion.is_some() {
            state.held = Some(bytes.split_off(bytes.len() - 1));
        }
        Ok(Some((bytes, state)))
    })
}

/// The next piece, never empty.
async fn read(file: &mut File, left: u64) -> std::io::Result<Bytes> {
    let most = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
    let mut bytes = BytesMut::with_capacity(most);
    while bytes.len() < most {
        let mut rest = (&mut *file).take((most - bytes.len()) as u64);
        if rest.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}

/// The strong validator of a document's bytes, with its quotes.
#[must_use]
pub fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32])
}

/// A small document with its validator: 200, or 304 when the client has it.
#[must_use]
pub fn document(
    method: &Method,
    headers: &HeaderMap,
    content_type: &'static str,
    bytes: Vec<u8>,
) -> Response<Body> {
    let etag = etag_of(&bytes);
    let mut response = Response::new(Body::empty());
    let known = joined(headers, header::IF_NONE_MATCH).is_some_and(|l| range::names(&l, &etag));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if *method != Method::HEAD {
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// All lines of one header as one list.
#[must_use]
pub fn joined(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn ascii(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("the answer would need a header that HTTP cannot carry"))
}
