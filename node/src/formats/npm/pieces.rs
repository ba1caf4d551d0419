//! A rendering of an upstream's bytes: pieces of the blob with a few of ours between them.
//!
//! It is held if it is small enough; else every reader who wants it as it is reads the blob. Where
//! its packed forms are there already, nothing is rendered before such a reader comes.
//!
//! Source: formats/npm.md sections 3 and 5.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt as _;

use super::asked::{self, Asked};
use super::metadata::{ABBREVIATED, Form};
use super::mode::Mode;
use super::render::{self, Look, Segment};
use super::{spans, stream};
use crate::http::error::Error;
use crate::http::ready::{Label, Lies, Looked, Made, Open, Plain, Read};
use crate::registry::{Error as RegistryError, UpstreamDocument};

/// What is shown of an upstream's document.
#[derive(Clone)]
pub(super) struct Pieces {
    asked: Asked,
    document: Arc<UpstreamDocument>,
    form: Form,
    kind: &'static str,
    /// The normal version whose manifest it is; absent for the whole.
    version: Option<String>,
}

impl Pieces {
    /// The whole in a form, as a media type.
    pub(super) fn whole(
        asked: Asked,
        document: UpstreamDocument,
        (form, kind): (Form, &'static str),
    ) -> Self {
        Self { asked, document: Arc::new(document), form, kind, version: None }
    }

    /// The manifest of one version.
    pub(super) fn manifest(asked: Asked, document: UpstreamDocument, version: String) -> Self {
        let (document, version) = (Arc::new(document), Some(version));
        Self { asked, document, form: Form::Full, kind: kind(Form::Full), version }
    }

    /// What it will be, and how it is made.
    pub(super) fn looked(self) -> Looked {
        let label = self.label();
        let hidden = label.hidden.to_string();
        let said = [label.kind.as_bytes(), label.etag.as_bytes(), hidden.as_bytes()];
        let seed = asked::seed(&said);
        let UpstreamDocument { stamp, age, stale, .. } = *self.document;
        let lying = self.clone();
        let lies: Lies = Box::new(move |size| async move { lying.plain(size).await }.boxed());
        let render = Box::new(move || self.made(label).boxed());
        Looked { seed, stamp, age: Some(age), stale, render, lies: Some(lies) }
    }

    fn label(&self) -> Label {
        let part = self.version.as_deref().unwrap_or_default();
        // One version is asked for by its name: what is hidden is no matter of it.
        let hidden = if self.version.is_some() { 0 } else { self.document.hidden() };
        asked::label(self.kind, self.etag(part), hidden)
    }

    /// Everything that the bytes depend on.
    fn etag(&self, part: &str) -> String {
        let (document, mode) = (&self.document, self.asked.mode);
        let mut hasher = blake3::Hasher::new();
        hasher.update(document.digest.as_bytes());
        let own = mode == Mode::Own;
        let (door, base) = if own { (&*self.asked.url, &*document.base) } else { ("", "") };
        for text in [kind(self.form), mode.word(), door, base, &document.revision, part] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        format!("\"{}\"", &hasher.finalize().to_hex()[..32])
    }

    fn look(&self) -> Look<'_> {
        Look {
            form: self.form,
            mode: self.asked.mode,
            door: &self.asked.url,
            base: &self.document.base,
            offered: self.document.offered.as_ref(),
            tags: self.document.tags.as_ref(),
        }
    }

    /// Whether it is the upstream's bytes from the first to the last.
    fn is_verbatim(&self) -> bool {
        let Look { form, mode, offered, tags, .. } = self.look();
        let untouched = form == Form::Full && mode == Mode::Canonical;
        self.version.is_none() && untouched && offered.is_none() && tags.is_none()
    }

    async fn segments(&self) -> Result<Arc<[Segment]>, Error> {
        if self.is_verbatim() {
            return Ok(Arc::from([Segment::Range(0..self.document.size)]));
        }
        let table = spans::table(&self.asked.registry, &self.document.digest).await?;
        let look = self.look();
        if let Some(version) = &self.version {
            let segments = render::manifest(&table, version, &look);
            return Ok(segments.ok_or_else(Error::no_such_path)?.into());
        }
        Ok(stream::shared(&self.etag(""), || render::packument(&table, &look)).await)
    }

    async fn file(&self) -> Result<std::fs::File, Error> {
        Ok(self.asked.registry.open_document(&self.document.digest).await?.into_std().await)
    }

    async fn made(self, label: Label) -> Result<Made, Error> {
        let (segments, file) = (self.segments().await?, self.file().await?);
        let size: u64 = segments.iter().map(Segment::len).sum();
        let lies = self.is_verbatim();
        if let Some(plain) = self.held(size, &segments, &file).await? {
            return Ok(Made { label, plain, read: None, lies });
        }
        let read: Read = Box::new(move |out| stream::write(file, segments, out));
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
        usize::try_from(size).is_ok_and(|size| size <= self.asked.part)
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
            stream::write(file, segments, &mut bytes).map(|()| bytes)
        };
        Ok(Some(asked::held(asked::off_thread(whole).await?.map_err(gone)?)))
    }

    /// Reads it anew for each reader.
    fn open(&self) -> Open {
        let this = self.clone();
        Arc::new(move || {
            let this = this.clone();
            async move {
                let segments = this.segments().await?;
                Ok::<Body, _>(stream::body(this.file().await?, segments))
            }
            .boxed()
        })
    }
}

fn gone(why: std::io::Error) -> Error {
    RegistryError::not_here(format!("the packument could not be read: {why}")).into()
}

/// The media type of a form.
pub(super) const fn kind(form: Form) -> &'static str {
    match form {
        Form::Full => "application/json",
        Form::Abbreviated => ABBREVIATED,
    }
}
