//! A blob as the body of an answer: GET, HEAD, ranges, validators, the file streamed as it is.
//!
//! Blobs never change, so the ETag is strong and comes from a digest. Bytes go out as they lie on
//! the disk, without any encoding; how, is in `pieces`. `Repr-Digest` is of the file, whatever part
//! of it is sent; `Content-Digest` is of the very bytes of an answer, so only the whole has it.
//! HEAD is GET of the whole without the body. A whole body that was handed to the connection
//! completes the artifact (the registry pins what was served): the last byte waits for that, so
//! that a body which broke off never counts.
//!
//! Does not decide who may read what: it gets bytes that may leave the node.
//!
//! Source: RFC 9110 sections 13 to 15; RFC 9530.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::direct::Road;
use super::error::Error;
use super::multipart::Multipart;
use super::pieces::{self, Pieces, Section};
use super::range::{self, Part};
use crate::registry::VerifiedBytes;

/// Up to this size a file goes out in one piece.
const SMALL_BYTES: u64 = 64 * 1024;

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
/// 412 and 416 for what the request's own headers ask; 507 when the file cannot be read.
pub async fn blob(
    method: &Method,
    headers: &HeaderMap,
    artifact: VerifiedBytes,
    label: &Label,
) -> Result<Response<Body>, Error> {
    let size = artifact.info.size;
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &artifact, label)?;
    match precondition(headers, &label.etag) {
        Some(StatusCode::NOT_MODIFIED) => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Some(status) => return Err(Error::new(status, "the file here is not the one expected")),
        None => {}
    }
    let out = response.headers_mut();
    let (sections, length) = match asked(method, headers, label, size) {
        Part::Outside => return Err(outside(size)?),
        Part::Whole => {
            // A part has another digest than the whole, and an answer to HEAD has no content.
            if *method == Method::GET {
                out.insert("content-digest", digest_field(&artifact)?);
            }
            (vec![Section::File(0..size)], size)
        }
        Part::Bytes(span) => {
            let value = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            out.insert(header::CONTENT_RANGE, ascii(&value)?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (vec![Section::File(span.clone())], span.end - span.start)
        }
        Part::Several(parts) => {
            let parts = Multipart::new(parts, label.content_type, size).map_err(unreadable)?;
            out.insert(header::CONTENT_TYPE, ascii(&parts.content_type)?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (parts.sections, parts.length)
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if *method != Method::HEAD {
        fill(&mut response, artifact, sections).await?;
    }
    Ok(response)
}

/// What the validators decide, before any range is looked at.
fn precondition(headers: &HeaderMap, etag: &str) -> Option<StatusCode> {
    if joined(headers, header::IF_MATCH).is_some_and(|list| !range::names_strongly(&list, etag)) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let known = joined(headers, header::IF_NONE_MATCH).is_some_and(|l| range::names(&l, etag));
    known.then_some(StatusCode::NOT_MODIFIED)
}

/// The part that is asked for; ranges are for GET alone.
fn asked(method: &Method, headers: &HeaderMap, label: &Label, size: u64) -> Part {
    let if_range = joined(headers, header::IF_RANGE);
    match joined(headers, header::RANGE) {
        Some(asked)
            if *method == Method::GET && range::range_applies(if_range.as_deref(), &label.etag) =>
        {
            range::select(Some(&asked), size)
        }
        _ => Part::Whole,
    }
}

fn describe(headers: &mut HeaderMap, artifact: &VerifiedBytes, label: &Label) -> Result<(), Error> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(label.content_type));
    headers.insert(header::ETAG, ascii(&label.etag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert("repr-digest", digest_field(artifact)?);
    let sha256 = STANDARD.encode(artifact.info.checksums.sha256);
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

/// The SHA-256 of the whole file, as RFC 9530 writes it.
fn digest_field(artifact: &VerifiedBytes) -> Result<HeaderValue, Error> {
    ascii(&format!("sha-256=:{}:", STANDARD.encode(artifact.info.checksums.sha256)))
}

fn outside(size: u64) -> Result<Error, Error> {
    let message = format!("the file has {size} bytes, and the range lies outside");
    let mut error = Error::new(StatusCode::RANGE_NOT_SATISFIABLE, message);
    let range = ascii(&format!("bytes */{size}"))?;
    error.header = Some(Box::new((header::CONTENT_RANGE, range)));
    Ok(error)
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

/// Puts the sections into the answer: a small file at once, else piece by piece.
async fn fill(
    response: &mut Response<Body>,
    artifact: VerifiedBytes,
    mut sections: Vec<Section>,
) -> Result<(), Error> {
    let VerifiedBytes { info, file, completion, .. } = artifact;
    let file = file.into_std().await;
    let whole = matches!(sections.as_slice(), [Section::File(span)] if *span == (0..info.size));
    let completion = completion.filter(|_| whole);
    if let [Section::File(span)] = sections.as_slice()
        && span.end - span.start <= SMALL_BYTES
    {
        let bytes = pieces::small(file, span).await.map_err(unreadable)?;
        // No byte of it can be held back: handing it over is all in one.
        if let Some(completion) = completion {
            completion.completed().await;
        }
        *response.body_mut() = Body::from(bytes);
        return Ok(());
    }
    if let Some(completion) = completion {
        let last = info.size - 1;
        sections = vec![
            Section::File(0..last),
            Section::Complete(Box::new(completion)),
            Section::File(last..info.size),
        ];
    }
    let road = Road::default();
    response.extensions_mut().insert(road.clone());
    let pieces = Pieces::new(file, sections, road);
    *response.body_mut() = Body::from_stream(pieces.into_stream());
    Ok(())
}

fn unreadable(error: std::io::Error) -> Error {
    crate::registry::Error::from(crate::store::Error::from(error)).into()
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

fn ascii(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("the answer would need a header that HTTP cannot carry"))
}
