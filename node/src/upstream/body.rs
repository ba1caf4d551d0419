//! The body of an answer: into the store as it comes, with all hashes in that one pass.
//!
//! A body that breaks off is resumed where the upstream lets us, else fetched anew; one that never
//! ends well never counts. A web page where a package was asked for is a captive portal's, and is
//! not kept. What is encoded is decoded with the limit on what comes out. Nothing here survives a
//! crash: the file is temporary until somebody commits it.
//!
//! Source: formats/README.md sections 1, 4 and 7.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use reqwest::{Method, StatusCode};
use tokio::time::sleep;

use super::client::{Client, Cut, Outgoing, Reply};
use super::{Answer, Arrival, Ask, Endpoint, Error};
use crate::store::blob::BlobWriter;
use crate::store::{self, Store};

/// How often a body that broke off is asked for again.
const RESUMES_MAX: u32 = 4;
/// Before the first time; doubled each time.
const RESUME_PAUSE: Duration = Duration::from_millis(50);
/// Encoded bytes that are decoded at once: a thousand times that is the most that comes out.
const GUNZIP_BYTES: usize = 1024;
/// Decoded bytes after which others get a turn.
const GUNZIP_TURN: usize = 256 << 10;

pub(super) const PORTAL: &str =
    "the upstream answered a web page, not a package (captive portal?): nothing was stored";

/// One GET, resumed where it broke off.
pub(super) async fn fetch(
    client: &Client,
    store: &Store,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<Answer, Error> {
    let mut begun: Option<Incoming> = None;
    let mut resumes = 0;
    loop {
        let outgoing = outgoing(ask, begun.as_ref())?;
        let mut reply = client.follow(endpoint, &ask.url, &outgoing).await?;
        let mut incoming = match (reply.response.status(), begun.take()) {
            (StatusCode::OK, _) => Incoming::begin(store, ask, &reply).await?,
            (StatusCode::PARTIAL_CONTENT, Some(begun)) if begun.continues(&reply) => begun,
            // The rest cannot be had alone: once more from the start.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(_))
                if resumes < RESUMES_MAX =>
            {
                resumes += 1;
                continue;
            }
            (_, _) => return other(reply, ask).await,
        };
        let why = match incoming.take(&mut reply, ask).await? {
            None => {
                // Others can be served while this one is made durable.
                drop(reply);
                return incoming.finish(ask).await;
            }
            Some(Cut::Broken(why)) => why,
            Some(cut) => return Err(reply.line.unreachable(cut.why())),
        };
        if resumes == RESUMES_MAX {
            let why = format!("the body breaks off after {} bytes: {why}", incoming.received);
            return Err(reply.line.unreachable(why));
        }
        drop(reply);
        sleep(RESUME_PAUSE * 2_u32.pow(resumes)).await;
        resumes += 1;
        begun = Some(incoming);
    }
}

/// Answers without a body that is kept.
async fn other(reply: Reply, ask: &Ask) -> Result<Answer, Error> {
    let status = reply.response.status();
    let asked = ask.etag.is_some() || ask.last_modified.is_some();
    let portal =
        status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED || (reply.strayed && reply.is_html());
    match status {
        _ if portal => Err(Error::Wrong(PORTAL.to_owned())),
        StatusCode::NOT_MODIFIED if asked => Ok(Answer::NotModified),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Ok(Answer::Absent)
        }
        status if status.is_client_error() || status.is_server_error() => {
            Err(reply.refusal().await)
        }
        status => Err(Error::Wrong(format!("the upstream answered {status}, which is no answer"))),
    }
}

/// The request, for the whole body or for the rest of one.
fn outgoing(ask: &Ask, begun: Option<&Incoming>) -> Result<Outgoing, Error> {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value);
        let wrong = |_| Error::Wrong(format!("the value of {name} is no header"));
        headers.insert(name.clone(), value.map_err(wrong)?);
        Ok(())
    };
    set(ACCEPT, &ask.accept)?;
    set(ACCEPT_ENCODING, if is_text(&ask.accept) { "gzip" } else { "identity" })?;
    match begun.and_then(Incoming::rest) {
        Some((range, condition)) => {
            set(RANGE, &range)?;
            if let Some(condition) = condition {
                set(IF_RANGE, &condition)?;
            }
        }
        None => {
            if let Some(etag) = &ask.etag {
                set(IF_NONE_MATCH, etag)?;
            }
            if let Some(date) = &ask.last_modified {
                set(IF_MODIFIED_SINCE, date)?;
            }
        }
    }
    Ok(Outgoing {
        method: Method::GET,
        headers,
        body: Bytes::new(),
        urgent: ask.urgent,
        progress: ask.progress.clone(),
    })
}

/// Documents shrink to a tenth; files are compressed already, and must stay as they are.
fn is_text(accept: &str) -> bool {
    ["json", "html", "xml", "text"].iter().any(|kind| accept.contains(kind))
}

/// A body that is coming.
#[derive(Debug)]
struct Incoming {
    writer: BlobWriter,
    gunzip: Option<Gunzip>,
    /// Bytes on the wire so far.
    received: u64,
    /// How many there will be.
    size: Option<u64>,
    content_type: String,
    encoding: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    moved: Option<String>,
    /// Whether it still can turn out to be a web page.
    suspect: bool,
    shown: Arrival,
}

impl Incoming {
    async fn begin(store: &Store, ask: &Ask, reply: &Reply) -> Result<Self, Error> {
        if reply.is_html() && (ask.never_html || reply.strayed) {
            return Err(Error::Wrong(PORTAL.to_owned()));
        }
        let size = length(reply);
        if size.is_some_and(|size| size > ask.limit) {
            return Err(too_large(ask.limit));
        }
        let encoding = encoding(reply);
        // A file that claims to be encoded is stored as it came: checksums are over that.
        let gunzip = match encoding.as_deref().filter(|_| is_text(&ask.accept)) {
            None => None,
            Some("gzip" | "x-gzip") => Some(Gunzip::default()),
            Some(_) => {
                let why = "the upstream answered in an encoding that was not asked for";
                return Err(Error::Wrong(why.to_owned()));
            }
        };
        let shown = Arrival { size: size.filter(|_| gunzip.is_none()), ..Arrival::default() };
        Ok(Self {
            writer: store.writer(ask.hashes, ask.limit).await.map_err(refused)?,
            gunzip,
            received: 0,
            size,
            content_type: reply.header("content-type").unwrap_or_default(),
            encoding,
            etag: reply.header("etag"),
            last_modified: reply.header("last-modified"),
            moved: reply.moved.clone().map(String::from),
            suspect: ask.never_html,
            shown,
        })
    }

    /// The range that lacks, and the condition that it is of the same bytes.
    fn rest(&self) -> Option<(String, Option<String>)> {
        let strong = self.etag.clone().filter(|etag| !etag.starts_with("W/"));
        let condition = strong.or_else(|| self.last_modified.clone());
        let known = condition.is_some() || self.size.is_some();
        (self.received > 0 && known).then(|| (format!("bytes={}-", self.received), condition))
    }

    /// Whether a 206 goes on exactly where this ended.
    fn continues(&self, reply: &Reply) -> bool {
        let range = reply.header("content-range").unwrap_or_default();
        let parts = range.strip_prefix("bytes ").and_then(|it| it.split_once('/'));
        let Some((place, total)) = parts else { return false };
        let first = place.split('-').next().and_then(|first| first.parse::<u64>().ok());
        let total = total.parse::<u64>().ok();
        let validators = [(&self.etag, "etag"), (&self.last_modified, "last-modified")];
        let encoding = encoding(reply);
        first == Some(self.received)
            && (self.size.is_none() || total == self.size)
            && encoding == self.encoding
            && validators.iter().all(|(held, name)| {
                reply.header(name).is_none_or(|now| held.as_ref() == Some(&now))
            })
    }

    /// Takes the pieces of an answer; `None` when that was all.
    async fn take(&mut self, reply: &mut Reply, ask: &Ask) -> Result<Option<Cut>, Error> {
        loop {
            let piece = match reply.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) if self.size.is_none_or(|size| size == self.received) => return Ok(None),
                Ok(None) => return Ok(Some(Cut::Broken("the connection ended".to_owned()))),
                Err(cut) => return Ok(Some(cut)),
            };
            self.received += piece.len() as u64;
            // Encoded bytes, too: a thousand empty parts of gzip decode to nothing.
            if self.received > ask.limit {
                return Err(too_large(ask.limit));
            }
            if self.size.is_some_and(|size| self.received > size) {
                let why = "the upstream sent more bytes than it had said";
                return Err(Error::Wrong(why.to_owned()));
            }
            if self.gunzip.is_some() {
                self.decode(&piece).await?;
            } else {
                self.write(piece).await?;
            }
            self.show(ask, false).await?;
        }
    }

    async fn decode(&mut self, piece: &[u8]) -> Result<(), Error> {
        let mut since_turn = 0;
        for part in piece.chunks(GUNZIP_BYTES) {
            let Some(gunzip) = &mut self.gunzip else { return Ok(()) };
            let plain = gunzip.push(part)?;
            since_turn += plain.len();
            self.write(plain).await?;
            if since_turn >= GUNZIP_TURN {
                since_turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        if self.suspect {
            let text = piece.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(&piece);
            match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'<') => return Err(Error::Wrong(PORTAL.to_owned())),
                Some(_) => self.suspect = false,
                None => {}
            }
        }
        self.writer.write(piece).await.map_err(refused)
    }

    /// Tells who streams along how far it is.
    async fn show(&mut self, ask: &Ask, all: bool) -> Result<(), Error> {
        let Some(arrival) = ask.arrival.as_ref().filter(|_| !self.suspect || all) else {
            return Ok(());
        };
        self.writer.tell(&mut self.shown, arrival).await.map_err(refused)
    }

    async fn finish(mut self, ask: &Ask) -> Result<Answer, Error> {
        if let Some(gunzip) = &mut self.gunzip {
            let rest = gunzip.finish()?;
            self.write(rest).await?;
        }
        self.show(ask, true).await?;
        let staged = self.writer.finish().await.map_err(refused)?;
        if let Some(arrival) = &ask.arrival {
            let size = staged.info().size;
            arrival.send_replace(Arrival { size: Some(size), written: size, ..self.shown });
        }
        let Self { content_type, etag, last_modified, moved, .. } = self;
        Ok(Answer::Body { staged, content_type, etag, last_modified, moved })
    }
}

/// In lower case, as it is compared; absent for plain bytes.
fn encoding(reply: &Reply) -> Option<String> {
    let named = reply.header("content-encoding")?.trim().to_ascii_lowercase();
    Some(named).filter(|named| !matches!(named.as_str(), "" | "identity"))
}

/// The length that was declared, of the bytes on the wire.
pub(super) fn length(reply: &Reply) -> Option<u64> {
    reply.header("content-length")?.parse().ok()
}

pub(super) fn too_large(limit: u64) -> Error {
    Error::Wrong(format!("the upstream's answer is larger than the {limit} bytes allowed"))
}

/// Whose fault it is that the store did not take it.
fn refused(error: store::Error) -> Error {
    match error {
        store::Error::TooLarge { limit } => too_large(limit),
        other => Error::Store(other.to_string()),
    }
}

/// Decodes gzip piece by piece.
struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
}

impl std::fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gunzip")
    }
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()) }
    }
}

impl Gunzip {
    fn push(&mut self, part: &[u8]) -> Result<Bytes, Error> {
        self.decoder.write_all(part).map_err(|_| Self::wrong())?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }

    fn finish(&mut self) -> Result<Bytes, Error> {
        self.decoder.try_finish().map_err(|_| Self::wrong())?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }

    fn wrong() -> Error {
        Error::Wrong("the upstream's answer calls itself gzip and is not, or is cut".to_owned())
    }
}
