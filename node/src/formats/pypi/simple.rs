//! The handler of a project's page, and what the other documents of a project share with it.
//!
//! It is kept ready (`http::ready`) until the project changes. A realm's is rendered from its view,
//! an upstream's is its own bytes.
//!
//! Source: formats/pypi.md sections 2 and 3.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use crdt::PackageId;
use futures::FutureExt as _;

use super::accept::{self, Form};
use super::mode::{self, Mode};
use super::routes::readable;
use super::{FORMAT, MOUNT, hosted, page, provenance, upstream_page};
use crate::formats::Context;
use crate::http::body::{etag_of, joined};
use crate::http::error::Error;
use crate::http::ready::{Ask, Label, Look, Looked, Made, Plain, Seed, Wish};
use crate::registry::{Document, DocumentAsk, Door, Error as RegistryError, Metadata, Registry};

/// The code that renders: another number when the same project comes out as other bytes.
const RENDERER: &str = "pypi 1";

/// Everything of a request that the answers depend on, and where to look.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) registry: Registry,
    pub(super) door: Door,
    /// URL of the door, without a slash at its end.
    pub(super) url: String,
    pub(super) package: PackageId,
    /// The largest document that is held as it is, in bytes.
    pub(super) part: usize,
}

impl Asked {
    /// Of a request for a project that its asker may read.
    pub(super) fn of(context: &Context, name: &str) -> Result<Self, Error> {
        let package = readable(context, name)?;
        context.check_read(&package)?;
        Ok(Self {
            package,
            registry: context.registry.clone(),
            door: context.door,
            url: context.door_url(MOUNT),
            part: context.ready.part(),
        })
    }

    /// Answers with what is ready, or with what `look` finds. `what`: its kind, and what else of
    /// the request counts; `early`: whether it is worth to be made again behind.
    pub(super) async fn answer<F, L>(
        self,
        (context, head): (&Context, &Parts),
        what: &[&str],
        early: bool,
        look: L,
    ) -> Result<Response<Body>, Error>
    where
        F: Future<Output = Result<Looked, Error>> + Send + 'static,
        L: Fn(Self, Wish) -> F + Send + Sync + 'static,
    {
        let mut key = FORMAT.id.to_owned();
        for part in [&*self.url, &*self.package.name].iter().chain(what) {
            // Parts are counted: a client may put anything into its own. Writing does not fail.
            let _ = write!(key, "\n{} {part}", part.len());
        }
        let (registry, package) = (self.registry.clone(), self.package.clone());
        let wish = Wish { refresh: says_no_cache(head), wanted: true };
        let ask = Ask { key: &key, package: &package, early, wish };
        let look = || -> Look { Arc::new(move |wish| look(self.clone(), wish).boxed()) };
        context.ready.answer(&registry, head, ask, look).await
    }

    /// What a realm has of the project; an error for one of an upstream.
    pub(super) async fn metadata(&self) -> Result<Metadata, Error> {
        Ok(self.registry.metadata(self.door, &self.package).await?)
    }
}

fn says_no_cache(head: &Parts) -> bool {
    let control = joined(&head.headers, header::CACHE_CONTROL).unwrap_or_default();
    control.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// `GET /simple/{name}/`.
pub(super) async fn page(
    context: &Context,
    head: &Parts,
    name: &str,
) -> Result<Response<Body>, Error> {
    let asked = Asked::of(context, name)?;
    let form = form(context, head)?;
    let mode = Mode::of(&head.headers);
    let look = move |asked: Asked, wish| look(asked, wish, (form, mode));
    let what = ["page", form.media_type(), mode.word()];
    let mut response = asked.answer((context, head), &what, true, look).await?;
    if mode == Mode::Canonical {
        mode::name_hosts(&context.registry, response.headers_mut())?;
    }
    Ok(response)
}

/// The form that is asked for.
pub(super) fn form(context: &Context, head: &Parts) -> Result<Form, Error> {
    let accept = joined(&head.headers, header::ACCEPT);
    let found = accept::form(accept.as_deref(), context.path.parameter("format"));
    found.ok_or_else(|| {
        let [json, html] = [Form::Json, Form::Html].map(Form::media_type);
        let message = format!("this page comes as {json}, {html} or text/html alone");
        Error::new(StatusCode::NOT_ACCEPTABLE, message)
    })
}

async fn look(asked: Asked, wish: Wish, (form, mode): (Form, Mode)) -> Result<Looked, Error> {
    match document_of(&asked.registry, (asked.door, &asked.package), wish).await? {
        Document::Hosted(metadata) => hosted_page(&asked, *metadata, form),
        Document::Upstream(document) => upstream_page::looked(asked, *document, (form, mode)).await,
    }
}

/// The document of a project, behind the door that was used.
pub(super) async fn document(context: &Context, package: &PackageId) -> Result<Document, Error> {
    let wish = Wish { refresh: false, wanted: true };
    document_of(&context.registry, (context.door, package), wish).await
}

pub(super) async fn document_of(
    registry: &Registry,
    (door, package): (Door, &PackageId),
    Wish { refresh, wanted }: Wish,
) -> Result<Document, Error> {
    let upstream = registry.rules(FORMAT.id).and_then(|rules| rules.upstream);
    // The fullest form has all that the others are made of.
    let variant = upstream.and_then(|rules| rules.variants.first()).map_or("", |first| first.name);
    let ask = DocumentAsk { variant, refresh, wanted };
    Ok(registry.document(door, package, ask).await?)
}

fn hosted_page(asked: &Asked, metadata: Metadata, form: Form) -> Result<Looked, Error> {
    if metadata.offered.is_empty() && !metadata.hidden.is_empty() {
        // A page without files would read as a project that has none.
        let (name, known) = (&asked.package.name, metadata.hidden.join(", "));
        let message = format!("{name}: {known} cannot be had now, neither here nor from a peer");
        return Err(Error::new(StatusCode::FAILED_DEPENDENCY, message)
            .with_hint(format!("griot info {name} --format {}", FORMAT.id)));
    }
    let attested = provenance::attested(&asked.registry, &asked.package)?;
    let (url, said) = (asked.url.clone(), attested.join("\n"));
    let kind = form.media_type();
    let parts: [&[u8]; 4] = [&metadata.seed()?, said.as_bytes(), url.as_bytes(), kind.as_bytes()];
    let (seed, stamp, hidden) = (Seed::of(RENDERER, &parts), metadata.stamp, metadata.hidden.len());
    let make = move || {
        let page = hosted::page(&metadata, &url, &attested);
        if form == Form::Json { page::json(&page) } else { page::html(&page) }
    };
    Ok(looked((seed, stamp), (kind, accept::VARY, hidden), make))
}

/// A document that `make` gives where blocking is allowed.
pub(super) fn looked(
    (seed, stamp): (Seed, Option<crate::registry::Stamp>),
    (kind, vary, hidden): (&'static str, &'static str, usize),
    make: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Looked {
    let render = Box::new(move || {
        async move {
            let made = tokio::task::spawn_blocking(make).await;
            let bytes =
                made.map_err(|_| RegistryError::not_here("the document could not be rendered"))?;
            let (etag, vary) = (etag_of(&bytes), vary.into());
            let label = Label { kind: kind.into(), etag, vary, hidden };
            let plain = Plain::Held(Bytes::from(bytes.into_boxed_slice()));
            Ok(Made { label, plain, read: None, lies: false })
        }
        .boxed()
    });
    Looked { seed, stamp, age: None, stale: false, render, lies: None }
}
