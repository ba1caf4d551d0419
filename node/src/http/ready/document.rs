//! One document with its forms: as it is, gzip, zstd; each with its headers made once.
//!
//! The validator of a packed form is that of the bytes with a letter behind: strong validators of
//! different bytes differ. A client that shows one of them has the current content: it hears 304,
//! with the validator that it showed. A form that a client refuses is not sent; 406 if that leaves
//! none.
//!
//! A document that is too large to be held is read from where it lies for those who want it as it
//! is. Its packed forms are a small part of it, and what clients ask for, so they are held alike.
//!
//! Source: RFC 9110 sections 8.8.3 and 12.5.3.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::Seed;
use super::negotiate::{Accepted, Coding};
use super::pack::{self, Packed};
use crate::http::body::joined;
use crate::http::error::Error;
use crate::http::range;

/// How many versions are not offered now.
const HIDDEN: HeaderName = HeaderName::from_static("x-griot-hidden-versions");

/// What the headers of every form say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Media type.
    pub kind: Cow<'static, str>,
    /// Strong validator of the bytes as they are, with its quotes.
    pub etag: String,
    /// Which headers of a request the bytes depend on: `Accept-Encoding` among them.
    pub vary: Cow<'static, str>,
    /// How many versions are not offered now.
    pub hidden: usize,
}

/// Reads a document from where it lies, for one reader.
pub type Open = Arc<dyn Fn() -> BoxFuture<'static, Result<Body, Error>> + Send + Sync>;
/// Writes a document from where it lies; may block.
pub type Read = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// The bytes as they are.
pub enum Plain {
    /// In memory.
    Held(Bytes),
    /// Too large for that: how many there are, and how to get at them.
    Elsewhere {
        /// Bytes.
        size: u64,
        /// For each reader that wants them as they are.
        open: Open,
    },
}

/// A document, ready to be sent.
pub struct Document {
    seed: Seed,
    label: Label,
    plain: Plain,
    identity: HeaderMap,
    packed: OnceLock<Forms>,
    done: Notify,
}

/// The packed forms that were made.
#[derive(Default)]
struct Forms {
    gzip: Option<Form>,
    zstd: Option<Form>,
}

struct Form {
    bytes: Bytes,
    headers: HeaderMap,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (held, size) = match self {
            Self::Held(bytes) => (true, bytes.len() as u64),
            Self::Elsewhere { size, .. } => (false, *size),
        };
        f.debug_struct("Plain").field("held", &held).field("size", &size).finish()
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Document {
    /// Without packed forms yet.
    ///
    /// # Errors
    /// When the label is not one that HTTP can carry.
    pub(super) fn new(seed: Seed, label: Label, plain: Plain) -> Result<Self, Error> {
        let size = match &plain {
            Plain::Held(bytes) => bytes.len() as u64,
            Plain::Elsewhere { size, .. } => *size,
        };
        let identity = headers(&label, Coding::Identity, size)
            .ok_or_else(|| Error::invalid("the document has no name that HTTP can carry"))?;
        let (packed, done) = (OnceLock::new(), Notify::new());
        Ok(Self { seed, label, plain, identity, packed, done })
    }

    /// What the headers of every form say.
    #[must_use]
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// What it was made from.
    pub(super) const fn seed(&self) -> Seed {
        self.seed
    }

    /// The packed forms that there are.
    pub(super) fn packed(&self) -> Packed {
        let form = |form: &Option<Form>| form.as_ref().map(|form| form.bytes.clone());
        let packed = self.packed.get();
        packed.map_or_else(Packed::default, |forms| Packed {
            gzip: form(&forms.gzip),
            zstd: form(&forms.zstd),
        })
    }

    /// Bytes of it as it is.
    pub(super) fn size(&self) -> u64 {
        match &self.plain {
            Plain::Held(bytes) => bytes.len() as u64,
            Plain::Elsewhere { size, .. } => *size,
        }
    }

    /// The bytes, where they are held.
    pub(super) fn held(&self) -> Option<Bytes> {
        match &self.plain {
            Plain::Held(bytes) => Some(bytes.clone()),
            Plain::Elsewhere { .. } => None,
        }
    }

    /// Memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        /// Three maps of headers and the rest, roughly.
        const ITSELF: usize = 2048;
        let forms = self.packed.get();
        let packed = forms.map_or(0, |forms| {
            [&forms.gzip, &forms.zstd].into_iter().flatten().map(|form| form.bytes.len()).sum()
        });
        ITSELF + packed + self.held().map_or(0, |bytes| bytes.len())
    }

    /// Its packed forms are made now, or will never be.
    pub(super) fn settle(&self, packed: Packed) {
        let form = |coding, bytes: Option<Bytes>| {
            let bytes = bytes?;
            let headers = headers(&self.label, coding, bytes.len() as u64)?;
            Some(Form { bytes, headers })
        };
        let (gzip, zstd) = (form(Coding::Gzip, packed.gzip), form(Coding::Zstd, packed.zstd));
        // Whoever came first made the same.
        let _ = self.packed.set(Forms { gzip, zstd });
        self.done.notify_waiters();
    }

    /// Returns when its packed forms are made.
    pub(super) async fn settled(&self) {
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            if self.packed.get().is_some() {
                return;
            }
            done.await;
        }
    }

    /// The form for a client, or 304. `age`: seconds since the document was confirmed.
    ///
    /// # Errors
    /// 406 where no form is taken; those of reading a large one.
    pub async fn answer(
        &self,
        method: &Method,
        asked: &HeaderMap,
        age: Option<u64>,
    ) -> Result<Response<Body>, Error> {
        let accepted = Accepted::of(asked);
        if accepted.weight(Coding::Identity) == 0 {
            self.settled().await;
        }
        let refused = || {
            let message = "this document is there as it is, and packed by gzip and by zstd";
            Error::new(StatusCode::NOT_ACCEPTABLE, message)
        };
        // A packed form that is no smaller is for those alone who refuse the bytes as they are.
        let plain = accepted.weight(Coding::Identity) > 0;
        let useful = |(coding, size): &(Coding, u64)| {
            !plain || *coding == Coding::Identity || *size < self.size()
        };
        let coding = accepted.best(self.forms().filter(useful)).ok_or_else(refused)?;
        let mut response = Response::new(Body::empty());
        let (headers, bytes) = self.form(coding);
        response.headers_mut().clone_from(headers);
        if let Some(age) = age {
            response.headers_mut().insert(header::AGE, HeaderValue::from(age));
        }
        if self.is_known(asked, &mut response) {
            return Ok(response);
        }
        if *method != Method::HEAD {
            *response.body_mut() = match (bytes, &self.plain) {
                (Some(bytes), _) | (None, Plain::Held(bytes)) => Body::from(bytes.clone()),
                (None, Plain::Elsewhere { open, .. }) => open().await?,
            };
        }
        Ok(response)
    }

    fn forms(&self) -> impl Iterator<Item = (Coding, u64)> {
        let packed = self.packed.get();
        let size = |form: &Form| form.bytes.len() as u64;
        let gzip = packed.and_then(|forms| forms.gzip.as_ref()).map(|f| (Coding::Gzip, size(f)));
        let zstd = packed.and_then(|forms| forms.zstd.as_ref()).map(|f| (Coding::Zstd, size(f)));
        [Some((Coding::Identity, self.size())), gzip, zstd].into_iter().flatten()
    }

    /// Headers, and the bytes of a packed form.
    fn form(&self, coding: Coding) -> (&HeaderMap, Option<&Bytes>) {
        let packed = self.packed.get();
        let form = match coding {
            Coding::Identity => None,
            Coding::Gzip => packed.and_then(|forms| forms.gzip.as_ref()),
            Coding::Zstd => packed.and_then(|forms| forms.zstd.as_ref()),
        };
        form.map_or((&self.identity, None), |form| (&form.headers, Some(&form.bytes)))
    }

    /// Turns the answer into 304 if the client has the content in some form.
    fn is_known(&self, asked: &HeaderMap, response: &mut Response<Body>) -> bool {
        let Some(list) = joined(asked, header::IF_NONE_MATCH) else { return false };
        let chosen = response.headers().get(header::ETAG).cloned();
        let chosen = chosen.iter().filter_map(|value| value.to_str().ok().map(ToOwned::to_owned));
        let all = [Coding::Identity, Coding::Gzip, Coding::Zstd];
        let others = all.into_iter().map(|coding| etag(&self.label, coding));
        let mut candidates = chosen.chain(others);
        let Some(known) = candidates.find(|etag| range::names(&list, etag)) else { return false };
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::CONTENT_ENCODING);
        if let Ok(known) = HeaderValue::from_str(&known) {
            headers.insert(header::ETAG, known);
        }
        true
    }
}

/// Settles its document whatever happens: those who wait for the forms must not wait for ever.
pub(super) struct Settling(pub(super) Arc<Document>);

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.settle(Packed::default());
    }
}

impl Settling {
    /// Packs what `read` writes, each form up to `most` bytes.
    pub(super) fn pack(self, read: Read, most: usize) {
        match pack::both(read, self.0.size(), most) {
            Ok(packed) => self.0.settle(packed),
            Err(why) => tracing::debug!(%why, "a document could not be packed"),
        }
    }
}

/// The validator of a form.
fn etag(label: &Label, coding: Coding) -> String {
    let letter = match coding {
        Coding::Identity => return label.etag.clone(),
        Coding::Gzip => 'g',
        Coding::Zstd => 'z',
    };
    format!("{}-{letter}\"", label.etag.strip_suffix('"').unwrap_or(&label.etag))
}

fn headers(label: &Label, coding: Coding, size: u64) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&label.kind).ok()?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_str(&label.vary).ok()?);
    headers.insert(header::ETAG, HeaderValue::from_str(&etag(label, coding)).ok()?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let encoding = match coding {
        Coding::Identity => None,
        Coding::Gzip => Some("gzip"),
        Coding::Zstd => Some("zstd"),
    };
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if label.hidden > 0 {
        headers.insert(HIDDEN, HeaderValue::from(label.hidden));
    }
    Some(headers)
}
