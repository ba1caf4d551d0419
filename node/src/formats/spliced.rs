//! A rendering of an upstream's document, ready to be answered with: see `splice` for what it is
//! made of.
//!
//! It is held if it is small enough; else every reader who wants it as it is reads the blob. Where
//! its packed forms are there already, nothing is rendered before such a reader comes.
//!
//! Source: formats/README.md section 1.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::splice::{self, Segment};
use crate::http::error::Error;
use crate::http::ready::{Label, Lies, Looked, Made, Open, Plain, Read, Seed};
use crate::registry::{Error as RegistryError, Registry, UpstreamDocument};

/// Puts segments together.
pub(super) type Render = Box<dyn FnOnce() -> Result<Vec<Segment>, Error> + Send>;
/// Fetches what that needs.
pub(super) type Prepare = Arc<dyn Fn() -> BoxFuture<'static, Result<Render, Error>> + Send + Sync>;

/// What is shown of an upstream's document.
#[derive(Clone)]
pub(super) struct Spliced {
    pub(super) registry: Registry,
    pub(super) document: Arc<UpstreamDocument>,
    /// The largest rendering that is held as it is, in bytes: [`crate::http::ready::Ready::part`].
    pub(super) part: usize,
    /// What its headers say; the validator is everything that the bytes depend on.
    pub(super) label: Label,
    /// The code that renders: another number when the same document comes out as other bytes.
    pub(super) renderer: &'static str,
    /// Absent where it is the upstream's bytes from the first to the last.
    pub(super) prepare: Option<Prepare>,
}

impl Spliced {
    /// What it will be, and how it is made.
    pub(super) fn looked(self) -> Looked {
        let hidden = self.label.hidden.to_string();
        let said = [self.label.kind.as_bytes(), self.label.etag.as_bytes(), hidden.as_bytes()];
        let seed = Seed::of(self.renderer, &said);
        let UpstreamDocument { stamp, age, stale, .. } = UpstreamDocument::clone(&self.document);
        let lying = self.clone();
        let lies: Lies = Box::new(move |size| async move { lying.plain(size).await }.boxed());
        let render = Box::new(move || self.made().boxed());
        Looked { seed, stamp, age: Some(age), stale, render, lies: Some(lies) }
    }

    async fn segments(&self) -> Result<Arc<[Segment]>, Error> {
        let Some(prepare) = &self.prepare else {
            return Ok(Arc::from([Segment::Range(0..self.document.size)]));
        };
        let render = prepare().await?;
        splice::shared(&self.label.etag, render).await
    }

    async fn file(&self) -> Result<std::fs::File, Error> {
        Ok(self.registry.open_document(&self.document.digest).await?.into_std().await)
    }

    async fn made(self) -> Result<Made, Error> {
        let (segments, file) = (self.segments().await?, self.file().await?);
        let size: u64 = segments.iter().map(Segment::len).sum();
        let (label, lies) = (self.label.clone(), self.prepare.is_none());
        if let Some(plain) = self.held(size, &segments, &file).await? {
            return Ok(Made { label, plain, read: None, lies });
        }
        let read: Read = Box::new(move |out| splice::write(file, segments, out));
        let plain = Plain::Elsewhere { size, open: self.open() };
        Ok(Made { label, plain, read: Some(read), lies })
    }

    /// The bytes as they are, so many, for packed forms that were made before.
    async fn plain(self, size: u64) -> Result<Plain, Error> {
        if !self.is_small(size) {
            return Ok(Plain::Elsewhere { size, open: self.open() });
        }
        let (segments, file) = (self.segments().await?, self.file().await?);
        let held = self.held(size, &segments, &file).await?;
        Ok(held.unwrap_or_else(|| Plain::Elsewhere { size, open: self.open() }))
    }

    fn is_small(&self, size: u64) -> bool {
        usize::try_from(size).is_ok_and(|size| size <= self.part)
    }

    async fn held(
        &self,
        size: u64,
        segments: &Arc<[Segment]>,
        file: &std::fs::File,
    ) -> Result<Option<Plain>, Error> {
        if !self.is_small(size) {
            return Ok(None);
        }
        let (segments, file) = (Arc::clone(segments), file.try_clone().map_err(gone)?);
        let whole = move || {
            let mut bytes = Vec::new();
            splice::write(file, segments, &mut bytes).map(|()| bytes)
        };
        let written = tokio::task::spawn_blocking(whole).await;
        let written = written.map_err(std::io::Error::other).and_then(|written| written);
        Ok(Some(Plain::Held(written.map_err(gone)?.into_boxed_slice().into())))
    }

    /// Reads it anew for each reader.
    fn open(&self) -> Open {
        let this = self.clone();
        Arc::new(move || {
            let this = this.clone();
            async move {
                let segments = this.segments().await?;
                Ok::<Body, _>(splice::body(this.file().await?, segments))
            }
            .boxed()
        })
    }
}

fn gone(why: std::io::Error) -> Error {
    RegistryError::not_here(format!("the document could not be read: {why}")).into()
}
