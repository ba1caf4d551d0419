//! Uploads in several requests, as every format offers them.
//!
//! | request | answer |
//! |---|---|
//! | `POST …/`, `?label=`, `?size=` | 202, `Location`: a new upload, or the one with that label |
//! | `PATCH …/{id}`, `Content-Range` | 202: the bytes are durable; 416 when they begin elsewhere |
//! | `GET`, `HEAD …/{id}` | 204 |
//! | `DELETE …/{id}` | 204 |
//! | the format's finish | the last bytes, `?digest=`: then it is a file as any other |
//!
//! `Range: 0-N` names the last byte, as OCI has it, and cannot say "none"; `Upload-Offset` is the
//! next byte, exactly. A PATCH whose body breaks off keeps what came: that is what it is for. Where
//! a second request goes on with an upload, the first one, which has lost its line, ends.
//!
//! What a format publishes is its own business. Source: OCI distribution specification, "Pushing
//! a blob in chunks"; RFC 9110 section 14.4.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use crdt::digest::to_hex;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::path::PathQuery;
use super::upload::{self, Chunks, stored};
use crate::registry::{Outcome, Principal, Registry, Staged};
use crate::store::sessions::{Session, SessionId, SessionWriter};

/// The offset at which an upload goes on.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Silence after which what has come is made durable.
const REST: Duration = Duration::from_secs(2);

/// The uploads of one format, for one asker.
#[derive(Debug, Clone, Copy)]
pub struct Uploads<'a> {
    /// The use-cases.
    pub registry: &'a Registry,
    /// Who asks.
    pub who: &'a Principal,
    /// The format's id.
    pub format: &'static str,
    /// The URL under which they are, without a slash at its end.
    pub url: &'a str,
}

impl Uploads<'_> {
    /// Starts one.
    ///
    /// # Errors
    /// 400 for a size that is no number, 401, 403, 409, 413, 507.
    pub async fn start(&self, path: &PathQuery) -> Result<Response<Body>, Error> {
        let size = path.parameter("size").map(|text| {
            text.parse().map_err(|_| Error::invalid("the size is not a number of bytes"))
        });
        let label = path.parameter("label").map(str::to_owned);
        let size = size.transpose()?;
        let session = self.registry.start_upload(self.who, self.format, label, size).await;
        let session = session.map_err(|error| too_large(error, size))?;
        self.answer(StatusCode::ACCEPTED, &session)
    }

    /// Says how far one is.
    ///
    /// # Errors
    /// 401, 403, 404.
    pub fn status(&self, id: &str) -> Result<Response<Body>, Error> {
        let session = self.registry.upload(self.who, self.format, parse(id)?)?;
        self.answer(StatusCode::NO_CONTENT, &session)
    }

    /// Ends one without its bytes.
    ///
    /// # Errors
    /// 401, 403, 404.
    pub async fn cancel(&self, id: &str) -> Result<Response<Body>, Error> {
        self.registry.cancel_upload(self.who, self.format, parse(id)?).await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Appends a body. What came stays, whether or not it came to its end.
    ///
    /// # Errors
    /// As [`Uploads::status`]; 400, 408, 413, 507. A wrong offset is an answer: 416.
    pub async fn append(
        &self,
        id: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        let begun = match self.begin(id, headers).await {
            Ok(Begun::At(writer)) => writer,
            Ok(Begun::Elsewhere(answer)) => return Ok(upload::refuse(headers, body, answer).await),
            Err(error) => {
                return Ok(upload::refuse(headers, body, error.into_response()).await);
            }
        };
        let mut writer = begun;
        take(headers, body, &mut writer).await?;
        let bytes = writer.close().await.map_err(stored)?;
        let session = self.registry.upload(self.who, self.format, parse(id)?)?;
        self.answer(StatusCode::ACCEPTED, &Session { bytes, ..session })
    }

    /// Appends the last bytes, if there are any, and compares the whole with `?digest=`.
    ///
    /// # Errors
    /// As [`Uploads::append`]; 400 for another digest, 409 while bytes are missing.
    pub async fn finish(
        &self,
        id: &str,
        path: &PathQuery,
        request: (&HeaderMap, Body),
    ) -> Result<Staged, Error> {
        let (headers, body) = request;
        let mut writer = match self.begin(id, headers).await? {
            Begun::At(writer) => writer,
            Begun::Elsewhere(_) => {
                return Err(Error::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "the bytes do not begin where the upload ends: ask for its Upload-Offset",
                ));
            }
        };
        take(headers, body, &mut writer).await?;
        let staged = writer.finish().await.map_err(stored)?;
        if let Some(digest) = path.parameter("digest") {
            compare(digest, &staged)?;
        }
        self.registry.hold_upload(&staged).await?;
        Ok(staged)
    }

    async fn begin(&self, id: &str, headers: &HeaderMap) -> Result<Begun, Error> {
        let id = parse(id)?;
        let session = self.registry.upload(self.who, self.format, id)?;
        let at = start_of(headers)?;
        match self.registry.resume_upload(self.who, self.format, id, at).await {
            Ok(writer) => Ok(Begun::At(Box::new(writer))),
            Err(error) if error.outcome == Outcome::Conflict => {
                let now = self.registry.upload(self.who, self.format, id).unwrap_or(session);
                if at.is_some_and(|at| at != now.bytes) {
                    return self
                        .answer(StatusCode::RANGE_NOT_SATISFIABLE, &now)
                        .map(Begun::Elsewhere);
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&self, status: StatusCode, session: &Session) -> Result<Response<Body>, Error> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let location = format!("{}/{}", self.url, session.id);
        let range = format!("0-{}", session.bytes.saturating_sub(1));
        for (name, value) in [(header::LOCATION, location), (header::RANGE, range)] {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| Error::invalid("the address of this node is no header"))?;
            headers.insert(name, value);
        }
        headers.insert(UPLOAD_OFFSET, HeaderValue::from(session.bytes));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// Whether the bytes of a request follow on those that are there.
enum Begun {
    At(Box<SessionWriter>),
    Elsewhere(Response<Body>),
}

/// Writes a body into an upload; what came before an error stays, durably.
async fn take(headers: &HeaderMap, body: Body, writer: &mut SessionWriter) -> Result<(), Error> {
    let taken = write_all(headers, body, writer).await;
    if taken.is_err() {
        // A writer that failed itself has nothing more to keep.
        let _ = writer.checkpoint().await;
    }
    taken
}

async fn write_all(
    headers: &HeaderMap,
    body: Body,
    writer: &mut SessionWriter,
) -> Result<(), Error> {
    let mut chunks = Chunks::new(headers, body)?;
    let taken_over = writer.taken_over();
    while let Some(bytes) = next(&mut chunks, writer, &taken_over).await? {
        if let Err(error) = writer.write(bytes).await {
            chunks.drain().await;
            return Err(stored(error));
        }
    }
    Ok(())
}

/// The next bytes. In a silence, what has come before is made durable.
async fn next(
    chunks: &mut Chunks,
    writer: &mut SessionWriter,
    taken_over: &CancellationToken,
) -> Result<Option<Bytes>, Error> {
    let next = chunks.next();
    tokio::pin!(next);
    loop {
        tokio::select! {
            next = &mut next => return next,
            () = taken_over.cancelled() => {
                let message = "another request goes on with this upload, or it was cancelled";
                return Err(Error::new(StatusCode::CONFLICT, message));
            }
            () = tokio::time::sleep(REST) => writer.checkpoint().await.map_err(stored)?,
        }
    }
}

/// Where a body begins, if it says so: `Content-Range` as OCI writes it or as RFC 9110 does.
fn start_of(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        let offset = headers.get(UPLOAD_OFFSET).map(|value| value.to_str().unwrap_or("?"));
        let parsed = offset.map(|text| text.trim().parse().map_err(|_| no_range()));
        return parsed.transpose();
    };
    let text = value.to_str().map_err(|_| no_range())?.trim();
    let text = text.strip_prefix("bytes").unwrap_or(text).trim_start_matches([' ', '=']);
    let (start, _) = text.split_once('-').ok_or_else(no_range)?;
    start.trim().parse().map(Some).map_err(|_| no_range())
}

fn no_range() -> Error {
    Error::invalid("the Content-Range cannot be read: send START-END, such as 0-4194303")
}

fn parse(id: &str) -> Result<SessionId, Error> {
    id.parse()
        .map_err(|error: crate::store::Error| Error::new(StatusCode::NOT_FOUND, error.to_string()))
}

/// 413 where the announced size was what is wrong.
fn too_large(error: crate::registry::Error, size: Option<u64>) -> Error {
    let wrong = size.is_some() && error.outcome == Outcome::Invalid;
    let mut error = Error::from(error);
    if wrong {
        error.status = StatusCode::PAYLOAD_TOO_LARGE;
    }
    error
}

/// Compares `ALGORITHM:HEX` with what was hashed.
fn compare(digest: &str, staged: &Staged) -> Result<(), Error> {
    let info = staged.info();
    let (algorithm, theirs) = digest
        .split_once(':')
        .ok_or_else(|| Error::invalid("the digest is not ALGORITHM:HEX, such as sha256:…"))?;
    let ours = match algorithm {
        "sha256" => Some(to_hex(&info.checksums.sha256)),
        "sha512" => info.checksums.sha512.as_ref().map(|sha512| to_hex(sha512)),
        "blake3" => Some(info.digest.to_hex()),
        _ => None,
    };
    let ours = ours.ok_or_else(|| {
        Error::invalid(format!("the digest {algorithm:.20} is not computed here: use sha256"))
    })?;
    if ours.eq_ignore_ascii_case(theirs) {
        return Ok(());
    }
    Err(Error::invalid(format!("the upload does not have the digest {digest:.160}")))
}
