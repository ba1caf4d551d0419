//! The body of a request: into a blob, or, when it is small, into memory.
//!
//! Every byte is counted before it is kept. A body that stops early, stalls or is longer than it
//! may be stores nothing: the staged file vanishes with its writer. `Digest`, `Repr-Digest` and
//! `Content-Digest` of the request are compared with what was hashed on the way. A small body may
//! come compressed (npm sends gzip); what it unpacks to is bounded too.
//!
//! `refuse` answers before the body was read: clients that do not wait for `100 Continue` would see
//! a broken connection instead of the reason, so what they send is read and thrown away, bounded.
//!
//! Source: RFC 9530; RFC 9110 section 10.1.1; formats/README.md section 7.

use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crdt::Checksums;
use futures::StreamExt as _;

use super::error::Error;
use crate::registry;
use crate::store::blob::{BlobWriter, Staged};

/// The longest silence of a client in the middle of a body.
const STALL_MAX: Duration = Duration::from_secs(60);
/// What is read and thrown away so that a refusal arrives.
const DRAIN_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How long that may take.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Compressed bytes handed to the inflater at once: at most a thousand times as many come out.
const INFLATE_STEP_BYTES: usize = 4 * 1024;

/// Streams a whole body into a staged file and verifies the digests that the headers name.
///
/// # Errors
/// 400 for a body that ends early or does not have its digest; 408, 413, 415, 507.
pub async fn receive(
    headers: &HeaderMap,
    body: Body,
    mut writer: BlobWriter,
) -> Result<Staged, Error> {
    if encoding(headers)?.is_some() {
        return Err(Error::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the file as it is, without Content-Encoding",
        ));
    }
    let mut chunks = Chunks::new(headers, body)?;
    if let Some(size) = chunks.announced()
        && let Err(error) = expect(&mut writer, size).await
    {
        chunks.refuse(headers).await;
        return Err(error);
    }
    while let Some(bytes) = chunks.next().await? {
        if let Err(error) = write(&mut writer, bytes).await {
            chunks.drain().await;
            return Err(error);
        }
    }
    let staged = finish(writer).await?;
    verify(headers, &staged.info().checksums)?;
    Ok(staged)
}

/// Takes room for as many bytes as will come.
///
/// # Errors
/// 413 past the writer's limit, 507 when the disk has no such room.
pub async fn expect(writer: &mut BlobWriter, size: u64) -> Result<(), Error> {
    writer.expect(size).await.map_err(stored)
}

/// Hands bytes to a writer.
///
/// # Errors
/// 413 past the writer's limit, 507 when the disk is full.
pub async fn write(writer: &mut BlobWriter, bytes: Bytes) -> Result<(), Error> {
    writer.write(bytes).await.map_err(stored)
}

/// Closes a writer.
///
/// # Errors
/// 507 when the disk is full.
pub async fn finish(writer: BlobWriter) -> Result<Staged, Error> {
    writer.finish().await.map_err(stored)
}

/// What the store's refusal of bytes is to a client.
pub(super) fn stored(error: crate::store::Error) -> Error {
    match error {
        crate::store::Error::TooLarge { limit } => Error::too_large(limit),
        other => registry::Error::from(other).into(),
    }
}

/// Reads a small body into memory, unpacked if it came as gzip.
///
/// # Errors
/// 413 beyond `limit_bytes`; else as [`receive`].
pub async fn small(headers: &HeaderMap, body: Body, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    let mut chunks = Chunks::new(headers, body)?;
    let mut inflate = Inflate::new(headers, limit_bytes)?;
    let mut out = Vec::new();
    while let Some(bytes) = chunks.next().await? {
        for piece in inflate.pieces(&bytes) {
            out.extend_from_slice(&inflate.push(piece)?);
        }
    }
    out.extend_from_slice(&inflate.finish()?);
    Ok(out)
}

/// The chunks of a body, each waited for only so long, their sum compared with `Content-Length`.
#[derive(Debug)]
pub struct Chunks {
    stream: BodyDataStream,
    announced: Option<u64>,
    read: u64,
}

impl Chunks {
    /// Of this request.
    ///
    /// # Errors
    /// 400 for a `Content-Length` that is not a number.
    pub fn new(headers: &HeaderMap, body: Body) -> Result<Self, Error> {
        let announced = match headers.get(header::CONTENT_LENGTH) {
            None => None,
            Some(value) => {
                let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                Some(length.ok_or_else(|| Error::invalid("Content-Length is not a number"))?)
            }
        };
        Ok(Self { stream: body.into_data_stream(), announced, read: 0 })
    }

    /// The next chunk; `None` at the true end.
    ///
    /// # Errors
    /// 400 when the body breaks off, 408 when it stalls.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let stalled = |_| Error::new(StatusCode::REQUEST_TIMEOUT, "the body stopped arriving");
        let broken = || Error::invalid("the body broke off before its end; nothing was stored");
        match tokio::time::timeout(STALL_MAX, self.stream.next()).await.map_err(stalled)? {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Some(Err(_)) => Err(broken()),
            None if self.announced.is_some_and(|announced| announced != self.read) => Err(broken()),
            None => Ok(None),
        }
    }

    /// How long the body is, where the client said so.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Throws all away that comes, unless the client waits to be told whether to send it.
    pub async fn refuse(&mut self, headers: &HeaderMap) {
        if !headers.contains_key(header::EXPECT) {
            self.drain().await;
        }
    }

    /// Throws the rest away, bounded, so that a refusal in the middle of a body arrives.
    pub async fn drain(&mut self) {
        throw_away(&mut self.stream).await;
    }
}

/// What a `Content-Encoding` says: nothing, or gzip.
fn encoding(headers: &HeaderMap) -> Result<Option<()>, Error> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?")) {
        None | Some("" | "identity") => Ok(None),
        Some("gzip" | "x-gzip") => Ok(Some(())),
        Some(_) => Err(Error::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the only Content-Encoding that is understood is gzip",
        )),
    }
}

/// Unpacks a body piece by piece, or passes it through.
#[derive(Debug)]
pub struct Inflate {
    decoder: Option<flate2::write::GzDecoder<Vec<u8>>>,
    left_bytes: u64,
    limit_bytes: u64,
}

impl Inflate {
    /// `limit_bytes` bounds what comes out.
    ///
    /// # Errors
    /// 415 for an encoding other than gzip.
    pub fn new(headers: &HeaderMap, limit_bytes: u64) -> Result<Self, Error> {
        let decoder = encoding(headers)?.map(|()| flate2::write::GzDecoder::new(Vec::new()));
        Ok(Self { decoder, left_bytes: limit_bytes, limit_bytes })
    }

    /// Whether bytes come out as they go in.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.decoder.is_none()
    }

    /// Cuts a chunk so small that no piece unpacks to more than a few MiB.
    #[must_use]
    pub fn pieces(&self, bytes: &Bytes) -> Vec<Bytes> {
        if self.decoder.is_none() {
            return vec![bytes.clone()];
        }
        let starts = (0..bytes.len()).step_by(INFLATE_STEP_BYTES);
        starts.map(|at| bytes.slice(at..bytes.len().min(at + INFLATE_STEP_BYTES))).collect()
    }

    /// What a piece unpacks to.
    ///
    /// # Errors
    /// 400 for bytes that are not gzip, 413 beyond the limit.
    pub fn push(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let out = match &mut self.decoder {
            None => piece,
            Some(decoder) => {
                decoder.write_all(&piece).map_err(|_| not_gzip())?;
                Bytes::from(std::mem::take(decoder.get_mut()))
            }
        };
        self.count(&out)?;
        Ok(out)
    }

    /// What the decoder held back, if the compressed stream was whole.
    ///
    /// # Errors
    /// 400 when it was cut, 413 beyond the limit.
    pub fn finish(mut self) -> Result<Bytes, Error> {
        let Some(decoder) = self.decoder.take() else { return Ok(Bytes::new()) };
        let out = decoder.finish().map(Bytes::from).map_err(|_| not_gzip())?;
        self.count(&out)?;
        Ok(out)
    }

    fn count(&mut self, out: &Bytes) -> Result<(), Error> {
        let left = self.left_bytes.checked_sub(out.len() as u64);
        self.left_bytes = left.ok_or_else(|| Error::too_large(self.limit_bytes))?;
        Ok(())
    }
}

fn not_gzip() -> Error {
    Error::invalid("the body is not whole gzip, though its Content-Encoding says so")
}

/// Compares the digest fields of a request with what the bytes hashed to. Algorithms that were not
/// computed are passed over, as RFC 9530 asks.
///
/// # Errors
/// 400 on a difference or an unreadable value.
pub fn verify(headers: &HeaderMap, checksums: &Checksums) -> Result<(), Error> {
    for name in ["content-digest", "repr-digest", "digest"] {
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| unreadable(name))?;
            for item in text.split(',') {
                let (algorithm, digest) = item.split_once('=').ok_or_else(|| unreadable(name))?;
                let Some(ours) = named(checksums, algorithm.trim()) else { continue };
                let digest = digest.trim().trim_matches(':');
                let theirs = STANDARD.decode(digest).map_err(|_| unreadable(name))?;
                if theirs != ours {
                    let message = format!("the body does not have the {name} that was sent");
                    return Err(Error::invalid(message));
                }
            }
        }
    }
    Ok(())
}

fn named<'c>(checksums: &'c Checksums, algorithm: &str) -> Option<&'c [u8]> {
    match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => Some(&checksums.sha256),
        "sha-512" => checksums.sha512.as_ref().map(<[u8; 64]>::as_slice),
        "sha" => checksums.sha1.as_ref().map(<[u8; 20]>::as_slice),
        "md5" => checksums.md5.as_ref().map(<[u8; 16]>::as_slice),
        _ => None,
    }
}

fn unreadable(name: &str) -> Error {
    Error::invalid(format!("the header {name} cannot be read"))
}

/// Answers a request whose body has not been read: see the head of this file.
pub async fn refuse(headers: &HeaderMap, body: Body, answer: Response<Body>) -> Response<Body> {
    if headers.contains_key(header::EXPECT) {
        return answer;
    }
    throw_away(&mut body.into_data_stream()).await;
    answer
}

async fn throw_away(stream: &mut BodyDataStream) {
    let drain = async {
        let mut left = DRAIN_MAX_BYTES;
        while let Some(Ok(bytes)) = stream.next().await {
            left = left.saturating_sub(bytes.len() as u64);
            if left == 0 {
                break;
            }
        }
    };
    // Whether it came to its end makes no difference to the answer.
    let _ = tokio::time::timeout(DRAIN_MAX, drain).await;
}
