//! `GET /{pkg}`: the whole packument, ready before it is asked for.
//!
//! The first who asks renders it, for everybody who asks at that time; then it is sent as it is
//! until something changes (`http::ready`). A realm's is rendered from its view, an upstream's is
//! its bytes in pieces; both have the same validators as ever, so clients' caches stay good.
//!
//! Source: formats/npm.md sections 1, 2, 3 and 5.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use crdt::PackageId;
use futures::FutureExt as _;

use super::attestation::Attested;
use super::metadata::{self, ABBREVIATED, Beside, Form};
use super::mode::{self, Mode};
use super::packument::{is_update_check, says_no_cache};
use super::render::{self, Look, Segment};
use super::routes::readable;
use super::upstream_rules::{FULL, SHORT};
use super::{FORMAT, MOUNT, attestation, spans, stream};
use crate::formats::Context;
use crate::http::body::{self, etag_of};
use crate::http::error::Error;
use crate::http::ready::{Again, Found, Label, Made, Place, Plain, Read, Ready};
use crate::registry::{
    Document, DocumentAsk, Door, Error as RegistryError, Metadata, Registry, Stamp,
    UpstreamDocument,
};

/// Everything of a request that the answer depends on, and where to look.
#[derive(Clone)]
struct Asked {
    registry: Registry,
    door: Door,
    /// URL of the door, without a slash at its end.
    url: String,
    package: PackageId,
    form: Form,
    mode: Mode,
    /// The client changes the document, so one without versions is as good as any.
    writing: bool,
    refresh: bool,
    wanted: bool,
    /// Whether a client waits.
    waits: bool,
}

/// The whole packument.
pub(super) async fn packument(
    context: &Context,
    head: &Parts,
    name: &str,
) -> Result<Response<Body>, Error> {
    let package = readable(context, name)?;
    let asked = Asked {
        door: context.door,
        url: context.door_url(MOUNT),
        form: metadata::form(body::joined(&head.headers, header::ACCEPT).as_deref()),
        mode: Mode::of(&head.headers),
        writing: context.path.parameter("write").is_some(),
        refresh: says_no_cache(head),
        wanted: !is_update_check(head, &package.name),
        waits: true,
        registry: context.registry.clone(),
        package,
    };
    let (ready, key) = (&context.ready, asked.key());
    let found = match ready.fresh(&context.registry, &key, asked.refresh) {
        Some(found) => found,
        None => asked.look(ready, &key).await?,
    };
    let mut response = found.document.answer(&head.method, &head.headers, found.age).await?;
    if found.stale {
        response.headers_mut().insert("x-griot-stale", HeaderValue::from_static("1"));
    }
    Ok(response)
}

impl Asked {
    fn key(&self) -> String {
        let Self { url, package, form, mode, writing, .. } = self;
        let mut key = String::with_capacity(64 + url.len() + package.name.len());
        let form = if *form == Form::Full { FULL } else { SHORT };
        for text in [FORMAT.id, form, mode.word(), if *writing { "write" } else { "read" }, url] {
            key.push_str(text);
            key.push('\n');
        }
        key.push_str(&package.name);
        key
    }

    /// Looks it up, together with all who ask for the same before the next commit.
    async fn look(self, ready: &Ready, key: &str) -> Result<Found, Error> {
        let mut flight = key.to_owned();
        let Self { refresh, wanted, .. } = self;
        let generation = self.registry.stamp(&self.package).generation();
        write!(flight, "\n{refresh} {wanted} {generation}").map_err(|_| Error::no_such_path())?;
        let (inside, place) = (ready.clone(), self.place(key));
        ready.together(flight, || async move { self.make(&inside, &place).await }.boxed()).await
    }

    fn place(&self, key: &str) -> Place {
        // It must not hold the documents themselves: they hold it.
        let early = Self { waits: false, refresh: false, wanted: false, ..self.clone() };
        let again: Again = Arc::new(move |ready| {
            let early = early.clone();
            async move {
                let key = early.key();
                // Whoever asks next is told why.
                drop(early.look(&ready, &key).await);
            }
            .boxed()
        });
        let (package, asked) = (self.package.clone(), self.waits);
        Place { key: key.into(), package, again, asked }
    }

    async fn make(self, ready: &Ready, place: &Place) -> Result<Found, Error> {
        let ask = DocumentAsk {
            variant: if self.form == Form::Full { FULL } else { SHORT },
            refresh: self.refresh,
            wanted: self.wanted,
        };
        match self.registry.document(self.door, &self.package, ask).await? {
            Document::Hosted(metadata) => self.hosted(ready, place, metadata).await,
            Document::Upstream(document) => self.upstream(ready, place, &document).await,
        }
    }

    async fn hosted(
        self,
        ready: &Ready,
        place: &Place,
        metadata: Box<Metadata>,
    ) -> Result<Found, Error> {
        let (hidden, stamp) = (metadata.hidden.len(), metadata.stamp);
        if metadata.offered.is_empty() && hidden > 0 && !self.writing {
            return Err(all_hidden(&self.package.name, &metadata.hidden.join(", ")));
        }
        let attested: Attested = attestation::attested(&self.registry, &self.package)?;
        let (form, url) = (self.form, self.url);
        let render = move || {
            metadata::packument(&metadata, Beside { door: &url, attested: &attested }, form)
        };
        let bytes = off_thread(render).await?;
        let label = label(kind(form), etag_of(&bytes), hidden);
        let plain = || Ok(Made { label: label.clone(), plain: held(bytes), read: None });
        kept(ready, place, (&label, stamp), async { plain() }).await
    }

    async fn upstream(
        self,
        ready: &Ready,
        place: &Place,
        document: &UpstreamDocument,
    ) -> Result<Found, Error> {
        let name = &self.package.name;
        if document.hidden() > 0 && document.offered.as_ref().is_some_and(|o| o.is_empty()) {
            return Err(all_hidden(name, &format!("all {} versions", document.hidden())));
        }
        let (form, kind) = shown(&self.registry, document, self.form).await?;
        let look = look(document, form, self.mode, &self.url);
        let label = label(kind, etag(document, &look, ""), document.hidden());
        let made = self.pieces(ready, document, (&label, &look));
        let found = kept(ready, place, (&label, document.stamp), made).await?;
        Ok(Found { age: Some(document.age), stale: document.stale, ..found })
    }

    /// An upstream's bytes: held if they are few enough, else read for each who wants them.
    async fn pieces(
        &self,
        ready: &Ready,
        document: &UpstreamDocument,
        (label, look): (&Label, &Look<'_>),
    ) -> Result<Made, Error> {
        let (registry, digest) = (self.registry.clone(), document.digest);
        let segments = segments_of(&registry, document, (&label.etag, look)).await?;
        let size: u64 = segments.iter().map(Segment::len).sum();
        let file = registry.open_document(&digest).await?.into_std().await;
        let label = label.clone();
        if usize::try_from(size).is_ok_and(|size| size <= ready.part()) {
            let whole = move || {
                let mut bytes = Vec::new();
                stream::write(file, segments, &mut bytes).map(|()| bytes)
            };
            let bytes = off_thread(whole).await?.map_err(gone)?;
            return Ok(Made { label, plain: held(bytes), read: None });
        }
        let read: Read = Box::new(move |out| stream::write(file, segments, out));
        let (document, etag) = (Arc::new(document.clone()), label.etag.clone());
        let (form, mode, url) = (look.form, look.mode, self.url.clone());
        let open = Arc::new(move || {
            let (registry, document) = (registry.clone(), Arc::clone(&document));
            let (etag, url) = (etag.clone(), url.clone());
            async move {
                let look = self::look(&document, form, mode, &url);
                let segments = segments_of(&registry, &document, (&etag, &look)).await?;
                let file = registry.open_document(&document.digest).await?.into_std().await;
                Ok(stream::body(file, segments))
            }
            .boxed()
        });
        Ok(Made { label, plain: Plain::Elsewhere { size, open }, read: Some(read) })
    }
}

/// What is held already, if it is the same, under its new stamp; else what `made` gives.
async fn kept(
    ready: &Ready,
    place: &Place,
    (label, stamp): (&Label, Option<Stamp>),
    made: impl Future<Output = Result<Made, Error>>,
) -> Result<Found, Error> {
    let document = match ready.same(&place.key, label) {
        Some(document) => {
            ready.keep(place, &document, stamp);
            document
        }
        None => ready.put(place, made.await?, stamp).await?,
    };
    Ok(Found { document, age: None, stale: false })
}

async fn segments_of(
    registry: &Registry,
    document: &UpstreamDocument,
    (etag, look): (&str, &Look<'_>),
) -> Result<Arc<[Segment]>, Error> {
    let untouched = look.form == Form::Full && look.mode == Mode::Canonical;
    if untouched && look.offered.is_none() && look.tags.is_none() {
        return Ok(Arc::from([Segment::Range(0..document.size)]));
    }
    let table = spans::table(registry, &document.digest).await?;
    Ok(stream::shared(etag, || render::packument(&table, look)).await)
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| RegistryError::not_here("the packument could not be rendered").into())
}

fn gone(why: std::io::Error) -> Error {
    RegistryError::not_here(format!("the packument could not be read: {why}")).into()
}

fn held(bytes: Vec<u8>) -> Plain {
    Plain::Held(Bytes::from(bytes.into_boxed_slice()))
}

fn label(kind: &'static str, etag: String, hidden: usize) -> Label {
    Label { kind, etag, vary: mode::VARY, hidden }
}

/// A document without versions would read as "unpublished".
fn all_hidden(name: &str, known: &str) -> Error {
    let message = format!("{name}: {known} cannot be had now, neither here nor from a peer");
    Error::new(StatusCode::FAILED_DEPENDENCY, message)
        .with_hint(format!("griot info {name} --format npm"))
}

const fn kind(form: Form) -> &'static str {
    match form {
        Form::Full => "application/json",
        Form::Abbreviated => ABBREVIATED,
    }
}

/// The form in which an upstream's bytes are shown, and its media type.
///
/// A client gets what the upstream itself would answer: npm 8 writes members of a full document
/// into its lockfile if it gets one. So the answer to the short ask stays as it is, and a full
/// document is shortened unless this upstream is known to answer the short ask in full.
async fn shown(
    registry: &Registry,
    document: &UpstreamDocument,
    asked: Form,
) -> Result<(Form, &'static str), Error> {
    if asked == Form::Full {
        return Ok((Form::Full, kind(Form::Full)));
    }
    let key = format!("full-alone/{}", document.base);
    let full_alone = registry.note(FORMAT.id, &key)?.is_some();
    if document.variant != SHORT {
        let form = if full_alone { Form::Full } else { Form::Abbreviated };
        return Ok((form, kind(form)));
    }
    let short = document.content_type.starts_with(ABBREVIATED);
    if !short && !full_alone {
        registry.put_note(FORMAT.id, &key, Vec::new()).await?;
    }
    Ok((Form::Full, kind(if short { Form::Abbreviated } else { Form::Full })))
}

pub(super) fn look<'a>(
    document: &'a UpstreamDocument,
    form: Form,
    mode: Mode,
    door: &'a str,
) -> Look<'a> {
    Look {
        form,
        mode,
        door,
        base: &document.base,
        offered: document.offered.as_ref(),
        tags: document.tags.as_ref(),
    }
}

/// Everything that the bytes depend on.
pub(super) fn etag(document: &UpstreamDocument, look: &Look<'_>, part: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(document.digest.as_bytes());
    let door = if look.mode == Mode::Own { look.door } else { "" };
    for text in [kind(look.form), look.mode.word(), door, &document.revision, part] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    format!("\"{}\"", &hasher.finalize().to_hex()[..32])
}
