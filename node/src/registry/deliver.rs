//! A document that a believed receipt names: its bytes come from a connected member, and serve
//! while the upstream cannot be reached. What was taken so is looked at again once it can.
//!
//! What is held from the upstream itself gives way only to a document that continues it: every
//! version with the same files, and more. So no clock decides what is newer.
//!
//! Own state: rows of kind `believed`, one a document, until the upstream was compared with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crdt::statement::Subject;
use crdt::{Digest, PackageId, PublicKey};
use serde::{Deserialize, Serialize};

use super::compare;
use super::fetch_document::earlier;
use super::flight::Landing;
use super::receipts::Believed;
use super::rules::Variant;
use super::sought::{Place, Sought};
use super::{Door, Error, Outcome, Registry, freshness, outlines};
use crate::store::cached::{CachedBy, CachedDocument};

/// The kind of row that keeps what was believed.
const BELIEVED: &str = "believed";
/// How long a person waits for a document that a neighbour has.
const DELIVERY_MAX: Duration = Duration::from_secs(25);
/// Bodies that are offered as bases of a patch.
const BASES_MAX: usize = 8;
/// Documents that are looked at in one review.
const REVIEWED_MAX: usize = 16;
/// Bodies that were compared and not taken.
const DECLINED_MAX: usize = 1024;

/// What was taken on a mirror's word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) package: PackageId,
    pub(super) subject: Subject,
    pub(super) digest: Digest,
    pub(super) authors: Vec<PublicKey>,
}

/// Digests of receipts that do not continue what is held.
#[derive(Debug, Default)]
pub(super) struct Declined(Mutex<BTreeSet<Digest>>);

impl Declined {
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn learn(&self, digest: &Digest) {
        let mut declined = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if declined.len() >= DECLINED_MAX {
            declined.clear();
        }
        declined.insert(*digest);
    }
}

impl Registry {
    /// The fullest form of the document that a believed receipt gives, the one asked for first.
    pub(super) async fn document_by_receipt(
        &self,
        sought: &Sought,
        asked: Variant,
    ) -> Result<Option<CachedDocument>, Error> {
        let mut disagreement = None;
        for variant in sought.answers(asked).chain(sought.lesser(asked)) {
            let subject = sought.subject(variant.name);
            let believed = match self.believed(&sought.package, &subject) {
                Ok(Some(believed)) => believed,
                Ok(None) => continue,
                Err(error) => {
                    disagreement.get_or_insert(error);
                    continue;
                }
            };
            let landing = self.delivery(sought, &subject, believed);
            match tokio::time::timeout(DELIVERY_MAX, landing).await {
                Ok(Ok(document)) => return Ok(Some(document)),
                Ok(Err(error)) => tracing::debug!(%error, "a receipt's document did not come"),
                Err(_) => tracing::debug!("a receipt's document is still on its way"),
            }
        }
        disagreement.map_or(Ok(None), Err)
    }

    /// While the upstream is away: a mirror may know a later form of what is held.
    pub(super) fn newer_receipt_behind(&self, sought: &Sought, held: &CachedDocument) {
        if !self.is_away(&sought.origin()) {
            return;
        }
        // No receipt, or none that is believed: what is held stays.
        let Ok(Some(believed)) = self.believed(&sought.package, &held.subject) else { return };
        let digest = believed.receipt.blake3;
        if Some(digest) != held.body && !self.inner.declined.knows(&digest) {
            drop(self.delivery(sought, &held.subject, believed));
        }
    }

    fn delivery(
        &self,
        sought: &Sought,
        subject: &Subject,
        believed: Believed,
    ) -> Landing<CachedDocument> {
        let key = format!("{} {}", believed.receipt.blake3, sought.package);
        self.inner.deliveries.board(&self.inner.background, key, || {
            let (this, sought, subject) = (self.clone(), sought.clone(), subject.clone());
            async move { this.take_delivery(&sought, subject, believed).await }
        })
    }

    /// Fetches the bytes that a receipt names, and keeps them unless what is held is better.
    async fn take_delivery(
        &self,
        sought: &Sought,
        subject: Subject,
        Believed { receipt, by }: Believed,
    ) -> Result<CachedDocument, Error> {
        if receipt.size > sought.rules.document_bytes_max {
            return Err(Error::new(Outcome::Corrupt, "a receipt for a document beyond all size"));
        }
        self.fetch_body(sought, &receipt.blake3, receipt.size).await?;
        let file = self.open_document(&receipt.blake3).await?.into_std().await;
        let outline = outlines::read(sought.rules, file).await;
        let outline = Arc::new(outline.map_err(|why| Error::new(Outcome::Corrupt, why))?);
        if !(sought.format.canonical_name)(&outline.name).is_ok_and(|n| n == sought.package.name) {
            return Err(Error::new(Outcome::Corrupt, "a receipt for the document of another name"));
        }
        let held = self.held_document(&subject)?;
        if let Some(held) = &held
            && held.by == CachedBy::Upstream
            && let Some(body) = &held.body
        {
            let ours = self.outline(sought.rules, body).await?;
            if *body == receipt.blake3 || !compare::extends(&ours, &outline) {
                self.inner.declined.learn(&receipt.blake3);
                return Ok(held.clone());
            }
        }
        let before = self.inner.store.cached_document(&subject)?;
        let fresh = CachedDocument {
            subject,
            body: Some(receipt.blake3),
            size: receipt.size,
            content_type: receipt.content_type,
            etag: receipt.etag,
            last_modified: receipt.last_modified,
            fetched_at: receipt.fetched_at,
            checked_at: receipt.fetched_at.min(freshness::now()),
            by,
            earlier: Vec::new(),
        };
        let fresh = CachedDocument { earlier: earlier(before.as_ref(), &fresh), ..fresh };
        self.remember_believed(sought, &fresh).await?;
        self.inner.store.put_cached_document(fresh.clone()).await?;
        self.inner.outlines.put(receipt.blake3, &outline);
        self.fulfil_document(&fresh.subject).await?;
        Ok(fresh)
    }

    async fn fetch_body(&self, sought: &Sought, digest: &Digest, size: u64) -> Result<(), Error> {
        if self.inner.store.blob(digest)?.is_some() {
            return Ok(());
        }
        let mesh = self.mesh();
        let mesh = mesh.ok_or_else(|| Error::not_here("this node runs without a mesh"))?;
        let mut bases = Vec::new();
        for variant in sought.rules.variants {
            let held = self.inner.store.cached_document(&sought.subject(variant.name))?;
            bases.extend(held.into_iter().flat_map(|held| {
                held.body.into_iter().chain(held.earlier).collect::<Vec<Digest>>()
            }));
        }
        bases.truncate(BASES_MAX);
        Ok(mesh.fetch_document(*digest, size, &bases).await?)
    }

    async fn remember_believed(
        &self,
        sought: &Sought,
        document: &CachedDocument,
    ) -> Result<(), Error> {
        let authors = authors(&document.by);
        let (Some(digest), false) = (document.body, authors.is_empty()) else { return Ok(()) };
        let (package, subject) = (sought.package.clone(), document.subject.clone());
        let taken = Taken { package, subject, digest, authors };
        let value = serde_json::to_vec(&taken).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(self.inner.store.put_row(BELIEVED, &row_key(&document.subject), value).await?)
    }

    /// What was believed for a document and is not compared yet; it is forgotten by this.
    pub(super) async fn take_believed(&self, subject: &Subject) -> Result<Option<Taken>, Error> {
        let key = row_key(subject);
        let Some(row) = self.inner.store.row(BELIEVED, &key)? else { return Ok(None) };
        self.inner.store.delete_row(BELIEVED, &key).await?;
        Ok(serde_json::from_slice(&row).ok())
    }

    /// Asks the upstreams of what was believed again: they may be back.
    pub(super) fn review_believed(&self) {
        let rows = self.inner.store.rows(BELIEVED).unwrap_or_default();
        let taken = rows.values().filter_map(|row| serde_json::from_slice::<Taken>(row).ok());
        for taken in taken.take(REVIEWED_MAX) {
            let Ok(Place::Upstream(sought)) = self.place(Door::Upstream, &taken.package) else {
                continue;
            };
            if let Ok(variant) = sought.variant(&taken.subject.variant) {
                drop(self.document_flight(&sought, variant));
            }
        }
    }
}

/// Who stands behind what was not asked of the upstream.
pub(super) fn authors(by: &CachedBy) -> Vec<PublicKey> {
    match by {
        CachedBy::Receipt { author } => vec![*author],
        CachedBy::Agreement { authors } => authors.clone(),
        CachedBy::Upstream | CachedBy::Checksum => Vec::new(),
    }
}

fn row_key(subject: &Subject) -> String {
    let Subject { origin, format, document, variant } = subject;
    format!("{origin}/{format}/{variant}/{document}")
}
