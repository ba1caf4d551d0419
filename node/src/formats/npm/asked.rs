//! What of a request the documents of a package depend on, and how they are kept ready.
//!
//! Packument, manifest of one version and tags differ in what they make of a package; what of the
//! request counts, where it is looked up and under what it is kept is here once.
//!
//! Source: formats/npm.md sections 1, 2 and 3.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use crdt::PackageId;
use futures::FutureExt as _;

use super::metadata::Form;
use super::mode::{self, Mode};
use super::packument::{is_update_check, says_no_cache};
use super::routes::readable;
use super::upstream_rules::{FULL, SHORT};
use super::{FORMAT, MOUNT};
use crate::formats::Context;
use crate::http::body::etag_of;
use crate::http::error::Error;
use crate::http::ready::{Ask, Label, Look, Looked, Made, Plain, Render, Seed, Wish};
use crate::registry::{Document, DocumentAsk, Door, Error as RegistryError, Registry};

/// The code that renders: another number when the same package comes out as other bytes.
pub(super) const RENDERER: &str = "npm 1";

/// Everything of a request that the answers depend on, and where to look.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) registry: Registry,
    pub(super) door: Door,
    /// URL of the door, without a slash at its end.
    pub(super) url: String,
    pub(super) package: PackageId,
    pub(super) mode: Mode,
    /// The largest document that is held as it is, in bytes.
    pub(super) part: usize,
}

/// Which document is meant, and whether it is worth to be made again behind.
pub(super) struct What<'a> {
    /// Its kind, and what else of the request counts.
    pub(super) parts: &'a [&'a str],
    pub(super) early: bool,
}

impl Asked {
    pub(super) fn of(context: &Context, head: &Parts, name: &str) -> Result<Self, Error> {
        let package = readable(context, name)?;
        context.check_read(&package)?;
        Ok(Self {
            package,
            registry: context.registry.clone(),
            door: context.door,
            url: context.door_url(MOUNT),
            mode: Mode::of(&head.headers),
            part: context.ready.part(),
        })
    }

    /// The document as it is now, in what form it can be had.
    pub(super) async fn document(&self, form: Form, wish: Wish) -> Result<Document, Error> {
        let variant = if form == Form::Full { FULL } else { SHORT };
        let Wish { refresh, wanted } = wish;
        let ask = DocumentAsk { variant, refresh, wanted };
        Ok(self.registry.document(self.door, &self.package, ask).await?)
    }

    /// Answers with what is ready, or with what `look` finds.
    pub(super) async fn answer<F, L>(
        self,
        context: &Context,
        head: &Parts,
        what: What<'_>,
        look: L,
    ) -> Result<Response<Body>, Error>
    where
        F: Future<Output = Result<Looked, Error>> + Send + 'static,
        L: Fn(Self, Wish) -> F + Send + Sync + 'static,
    {
        let (key, package) = (self.key(what.parts), self.package.clone());
        let wanted = !is_update_check(head, &package.name);
        let wish = Wish { refresh: says_no_cache(head), wanted };
        let ask = Ask { key: &key, package: &package, early: what.early, wish };
        let registry = self.registry.clone();
        let look = || -> Look { Arc::new(move |wish| look(self.clone(), wish).boxed()) };
        context.ready.answer(&registry, head, ask, look).await
    }

    /// Parts are counted: a client may put anything into its own.
    fn key(&self, parts: &[&str]) -> String {
        let mut key = String::with_capacity(64 + self.url.len() + self.package.name.len());
        key.push_str(FORMAT.id);
        let own = [self.mode.word(), &self.url, &self.package.name];
        for part in own.iter().chain(parts) {
            // Writing into a string does not fail.
            let _ = write!(key, "\n{} {part}", part.len());
        }
        key
    }
}

/// What is made of these parts by this code.
pub(super) fn seed(parts: &[&[u8]]) -> Seed {
    Seed::of(RENDERER, parts)
}

pub(super) fn label(kind: &'static str, etag: String, hidden: usize) -> Label {
    Label { kind: kind.into(), etag, vary: mode::VARY.into(), hidden }
}

/// Bytes that `make` gives, made where blocking is allowed.
pub(super) fn rendered(
    (kind, hidden): (&'static str, usize),
    make: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Render {
    Box::new(move || {
        async move {
            let bytes = off_thread(make).await?;
            let label = label(kind, etag_of(&bytes), hidden);
            Ok(Made { label, plain: held(bytes), read: None, lies: false })
        }
        .boxed()
    })
}

pub(super) fn held(bytes: Vec<u8>) -> Plain {
    Plain::Held(Bytes::from(bytes.into_boxed_slice()))
}

pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| RegistryError::not_here("the document could not be rendered").into())
}
