//! What is shown of an upstream's packument: its bytes in pieces, in a form and a mode.
//!
//! Source: formats/npm.md sections 3 and 5.

use std::sync::Arc;

use futures::FutureExt as _;

use super::asked::{self, Asked, RENDERER};
use super::metadata::{ABBREVIATED, Form};
use super::mode::Mode;
use super::render::{self, Look};
use super::spans;
use crate::formats::spliced::{Prepare, Render, Spliced};
use crate::http::error::Error;
use crate::http::ready::{Label, Looked};
use crate::registry::UpstreamDocument;

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
        let spliced = Spliced {
            registry: self.asked.registry.clone(),
            document: Arc::clone(&self.document),
            part: self.asked.part,
            label: self.label(),
            renderer: RENDERER,
            prepare: (!self.is_verbatim()).then(|| self.prepare()),
        };
        spliced.looked()
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

    fn prepare(&self) -> Prepare {
        let this = self.clone();
        Arc::new(move || {
            let this = this.clone();
            async move {
                let table = spans::table(&this.asked.registry, &this.document).await?;
                let render: Render = Box::new(move || match &this.version {
                    None => Ok(render::packument(&table, &this.look())),
                    Some(version) => render::manifest(&table, version, &this.look())
                        .ok_or_else(Error::no_such_path),
                });
                Ok(render)
            }
            .boxed()
        })
    }
}

/// The media type of a form.
pub(super) const fn kind(form: Form) -> &'static str {
    match form {
        Form::Full => "application/json",
        Form::Abbreviated => ABBREVIATED,
    }
}
