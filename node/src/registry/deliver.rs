//! A document that a believed receipt names: its bytes come from a connected member, and serve
//! while the upstream cannot be reached. What was taken so is looked at again once it can.
//!
//! What is held from the upstream itself gives way only to a document that continues it: every
//! version with the same files, and more. What is held on a mirror's word gives way to a later one
//! of that mirror, or to one that lacks nothing of it. Other checksums for a version that is held
//! are never taken: that is an alarm. So no clock decides what is newer. What is not taken is not
//! kept.
//!
//! Own state: rows of kind `believed`, one a document, until the upstream was compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt::statement::Subject;
use crdt::{Digest, PackageId, PublicKey};
use serde::{Deserialize, Serialize};

use super::compare;
use super::fetch_document::earlier;
use super::flight::Landing;
use super::receipts::Believed;
use super::rules::Variant;
use super::sought::{Place, Sought};
use super::{Door, Error, Outcome, Outline, Registry, freshness, outlines};
use crate::store::cached::{CachedBy, CachedDocument};

/// The kind of row that keeps what was believed.
const BELIEVED: &str = "believed";
/// How long a person waits for a document that a neighbour has, while none comes at all.
const DELIVERY_MAX: Duration = Duration::from_secs(25);
/// How long one that waits its turn behind others may take; clients give up after five minutes.
const QUEUE_MAX: Duration = Duration::from_secs(240);
/// How often it is asked whether a meeting goes on.
const MEETING_LOOK: Duration = Duration::from_millis(100);
/// Mirrors' words that are tried for one document.
const RECEIPTS_TRIED_MAX: usize = 3;
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

/// Digests of receipts that do not continue what is held, and what was reviewed last.
#[derive(Debug, Default)]
pub(super) struct Declined {
    digests: Mutex<BTreeSet<Digest>>,
    reviewed: Mutex<String>,
}

impl Declined {
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn learn(&self, digest: &Digest) {
        let mut declined = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if declined.len() >= DECLINED_MAX {
            declined.clear();
        }
        declined.insert(*digest);
    }

    /// The rows whose turn it is, after those of the last time, all of them in the end.
    fn turn<'r>(&self, rows: &'r BTreeMap<String, Vec<u8>>) -> Vec<&'r Vec<u8>> {
        let mut last = self.reviewed.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (Bound::Excluded(last.clone()), Bound::Unbounded);
        let turn: Vec<_> =
            rows.range(after).chain(rows).take(REVIEWED_MAX.min(rows.len())).collect();
        if let Some((key, _)) = turn.last() {
            last.clone_from(key);
        }
        turn.into_iter().map(|(_, row)| row).collect()
    }
}

impl Registry {
    /// What a believed receipt gives; while a member that was met just now is still telling what it
    /// knows, that is waited for.
    pub(super) async fn document_from_members(
        &self,
        sought: &Sought,
        asked: Variant,
    ) -> Result<Option<CachedDocument>, Error> {
        loop {
            // Asked before the look: what is told between the two would never be looked at.
            let meeting = match self.mesh() {
                Some(mesh) => mesh.is_meeting().await,
                None => false,
            };
            let receipt = self.document_by_receipt(sought, asked).await;
            if !meeting || !matches!(receipt, Ok(None)) {
                return receipt;
            }
            tokio::time::sleep(MEETING_LOOK).await;
        }
    }

    /// The fullest form of the document that a believed receipt gives, the one asked for first.
    ///
    /// An install asks for hundreds at once, and a thin link or a slow machine brings them one
    /// after the other: as long as any document lands, waiting is worth it.
    async fn document_by_receipt(
        &self,
        sought: &Sought,
        asked: Variant,
    ) -> Result<Option<CachedDocument>, Error> {
        let begun = Instant::now();
        loop {
            let landed = self.inner.landed.load(Ordering::Relaxed);
            let (found, is_late) = self.delivered_in_time(sought, asked).await?;
            let moves = self.inner.landed.load(Ordering::Relaxed) != landed;
            if found.is_some() || !is_late || !moves || begun.elapsed() >= QUEUE_MAX {
                return Ok(found);
            }
        }
    }

    /// The same within one wait; and whether something is still on its way.
    async fn delivered_in_time(
        &self,
        sought: &Sought,
        asked: Variant,
    ) -> Result<(Option<CachedDocument>, bool), Error> {
        let (mut disagreement, mut is_late) = (None, false);
        for variant in sought.answers(asked).chain(sought.lesser(asked)) {
            let subject = sought.subject(variant.name);
            let believed = match self.believed(&sought.package, &subject) {
                Ok(believed) => believed,
                Err(error) => {
                    disagreement.get_or_insert(error);
                    continue;
                }
            };
            // One that names bytes which nobody has, or sends them without end, hides no other.
            let some = believed.len().clamp(1, RECEIPTS_TRIED_MAX);
            let patience = DELIVERY_MAX / u32::try_from(some).unwrap_or(1);
            for one in believed.into_iter().take(some) {
                let landing = self.delivery(sought, &subject, one);
                match tokio::time::timeout(patience, landing).await {
                    Ok(Ok(document)) => return Ok((Some(document), false)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a receipt's document did not come");
                    }
                    Err(_) => is_late = true,
                }
            }
        }
        disagreement.map_or(Ok((None, is_late)), Err)
    }

    /// While the upstream is away: a mirror may know a later form of what is held.
    pub(super) fn newer_receipt_behind(&self, sought: &Sought, held: &CachedDocument) {
        if !self.is_away(&sought.origin()) {
            return;
        }
        // No receipt, or none that is believed: what is held stays.
        let Ok(believed) = self.believed(&sought.package, &held.subject) else { return };
        let is_news =
            |digest: &Digest| Some(*digest) != held.body && !self.inner.declined.knows(digest);
        let news = believed.into_iter().find(|one| is_news(&one.receipt.blake3));
        if let Some(believed) = news {
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
        let deliveries = &self.inner.deliveries;
        let flight = deliveries.board(&self.inner.background, key, |_| {
            let (this, sought, subject) = (self.clone(), sought.clone(), subject.clone());
            async move { this.take_delivery(&sought, subject, believed).await }
        });
        flight.landing
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
        let digest = receipt.blake3;
        let came = self.fetch_body(sought, &digest, receipt.size).await?;
        let judged = self.judge_delivery(sought, &subject, (&digest, &by)).await;
        let outline = match judged {
            Ok(Judged::Taken(outline)) => outline,
            unwanted => {
                self.inner.declined.learn(&digest);
                if came {
                    self.inner.store.remove_unused_blob(&digest).await?;
                }
                return match unwanted? {
                    Judged::Stays(held) => Ok(*held),
                    Judged::Taken(_) => Err(Error::not_here("the document has just gone")),
                };
            }
        };
        let before = self.inner.store.cached_document(&subject)?;
        let fresh = CachedDocument {
            subject,
            body: Some(receipt.blake3),
            size: receipt.size,
            content_type: receipt.content_type,
            etag: receipt.etag,
            last_modified: receipt.last_modified,
            // A receipt does not say it: files come by their checksums, or from who sent it.
            moved: None,
            fetched_at: receipt.fetched_at,
            checked_at: receipt.fetched_at.min(freshness::now()),
            by,
            earlier: Vec::new(),
        };
        let fresh = CachedDocument { earlier: earlier(before.as_ref(), &fresh), ..fresh };
        self.remember_believed(sought, &fresh).await?;
        self.inner.store.put_cached_document(fresh.clone()).await?;
        self.inner.landed.fetch_add(1, Ordering::Relaxed);
        let key = outlines::key(&sought.package, &receipt.blake3);
        self.inner.outlines.put(key, &outline);
        self.fulfil_document(&fresh.subject).await?;
        Ok(fresh)
    }

    /// Reads a body that came, and compares it with what is held.
    async fn judge_delivery(
        &self,
        sought: &Sought,
        subject: &Subject,
        (digest, by): (&Digest, &CachedBy),
    ) -> Result<Judged, Error> {
        let file = self.open_document(digest).await?.into_std().await;
        let outline = outlines::read(sought.rules, &sought.package.name, file).await;
        let outline = Arc::new(outline.map_err(|why| Error::new(Outcome::Corrupt, why))?);
        if !(sought.format.canonical_name)(&outline.name).is_ok_and(|n| n == sought.package.name) {
            return Err(Error::new(Outcome::Corrupt, "a receipt for the document of another name"));
        }
        let Some(held) = self.held_document(subject)? else { return Ok(Judged::Taken(outline)) };
        let (Some(body), true) = (&held.body, self.is_believed(&sought.package, &held.by)?) else {
            return Ok(Judged::Taken(outline));
        };
        let ours = self.outline(sought, body).await?;
        if let Some(version) = compare::switched(&ours, &outline) {
            self.refuse_switch(sought, &version, authors(by)).await?;
            return Ok(Judged::Stays(Box::new(held)));
        }
        let taken = match &held.by {
            CachedBy::Upstream | CachedBy::Checksum => {
                body != digest && compare::extends(&ours, &outline)
            }
            word => word == by || compare::covers(&ours, &outline),
        };
        Ok(if taken { Judged::Taken(outline) } else { Judged::Stays(Box::new(held)) })
    }

    async fn refuse_switch(
        &self,
        sought: &Sought,
        version: &str,
        authors: Vec<PublicKey>,
    ) -> Result<(), Error> {
        let authors: Vec<_> = authors.iter().map(ToString::to_string).collect();
        let text = format!(
            "{}@{version}: a receipt by {} declares other checksums than the document that is \
             held, which stays",
            sought.package.name,
            authors.join(" and ")
        );
        self.raise(&sought.package, "receipt", &text, None).await
    }

    /// Says whether it had to be fetched.
    async fn fetch_body(&self, sought: &Sought, digest: &Digest, size: u64) -> Result<bool, Error> {
        if self.inner.store.blob(digest)?.is_some() {
            return Ok(false);
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
        mesh.fetch_document(*digest, size, &bases).await?;
        Ok(true)
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

    /// What was believed for a document and is not compared yet.
    pub(super) fn taken(&self, subject: &Subject) -> Result<Option<Taken>, Error> {
        let row = self.inner.store.row(BELIEVED, &row_key(subject))?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
    }

    /// It was compared, and what came of that is durable.
    pub(super) async fn forget_taken(&self, subject: &Subject) -> Result<(), Error> {
        self.inner.store.delete_row(BELIEVED, &row_key(subject)).await?;
        Ok(())
    }

    /// Asks the upstreams of what was believed again: they may be back. A name that has another
    /// source by now is not told to any of them.
    pub(super) fn review_believed(&self) {
        let rows = self.inner.store.rows(BELIEVED).unwrap_or_default();
        let turn = self.inner.declined.turn(&rows).into_iter();
        for taken in turn.filter_map(|row| serde_json::from_slice::<Taken>(row).ok()) {
            let Ok(Place::Upstream(sought)) = self.place(Door::Virtual, &taken.package) else {
                continue;
            };
            if sought.origin() != taken.subject.origin {
                continue;
            }
            if let Ok(variant) = sought.variant(&taken.subject.variant) {
                drop(self.document_flight(&sought, variant));
            }
        }
    }
}

/// What becomes of a delivery.
enum Judged {
    Taken(Arc<Outline>),
    /// What is held is better.
    Stays(Box<CachedDocument>),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_turn_whatever_becomes_of_the_first() {
        let rows: BTreeMap<_, _> = (0..40_u8).map(|n| (format!("{n:02}"), vec![n])).collect();
        let (declined, mut seen) = (Declined::default(), BTreeSet::new());
        for _ in 0..3 {
            let turn = declined.turn(&rows);
            assert_eq!(turn.len(), REVIEWED_MAX);
            seen.extend(turn);
        }
        assert_eq!(seen.len(), 40);
        assert!(declined.turn(&BTreeMap::new()).is_empty());
    }
}
