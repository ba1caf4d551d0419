//! A package's document, from the one source of its name: a realm's view, or the upstream's bytes.
//!
//! Source: DESIGN section 7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt::routes::Decision;
use crdt::{Digest, PackageId};

use super::deliver::authors;
use super::fetch_document::{Word, no_such_package};
use super::freshness::{self, Freshness};
use super::metadata::offered_tags;
use super::rules::Variant;
use super::sought::{Place, Sought};
use super::{Door, Error, Metadata, Outcome, Outline, OutlineVersion, Registry, Stamp};
use crate::store::cached::{CachedBy, CachedDocument};

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
    /// The form that was asked for to get these bytes.
    pub variant: String,
    /// As the upstream sent it; some answer with another form than the one asked for.
    pub content_type: String,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// What is in them.
    pub outline: Arc<Outline>,
    /// Normal versions offered to new resolution; absent for all that the document names.
    pub offered: Option<BTreeSet<String>>,
    /// Files (version, name) of those versions that are in reach; absent for all of them.
    pub files: Option<BTreeSet<(String, String)>>,
    /// Tags after the fall-back; absent for those of the document.
    pub tags: Option<BTreeMap<String, String>>,
    /// On whose word the bytes are believed.
    pub by: CachedBy,
    /// Base URL of the upstream, with the slash at its end.
    pub base: String,
    /// Where redirects led to the bytes; absent where nothing was redirected.
    pub moved: Option<String>,
    /// Seconds since 1970 when the upstream last confirmed them.
    pub checked_at: u64,
    /// Seconds since then.
    pub age: u64,
    /// Whether they are older than they may be, or the upstream is out of reach.
    pub stale: bool,
    /// Changes whenever what is offered does: the seed of an ETag, together with the digest.
    pub revision: String,
    /// What vouches for all of this later; absent where it hangs on what peers hold, on a receipt,
    /// or on an upstream that is out of reach.
    pub stamp: Option<Stamp>,
}

/// What may be offered of a document; absent: all that it has.
#[derive(Default)]
struct Offer {
    versions: Option<BTreeSet<String>>,
    files: Option<BTreeSet<(String, String)>>,
    tags: Option<BTreeMap<String, String>>,
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
    /// As [`Registry::metadata`]; NotFound also when the upstream says so, NotHere when it is out
    /// of reach and no copy is held nor believed.
    pub async fn document(
        &self,
        door: Door,
        package: &PackageId,
        ask: DocumentAsk<'_>,
    ) -> Result<Document, Error> {
        let stamp = self.stamp(package);
        match self.place(door, package)? {
            Place::Realm(..) => Ok(Document::Hosted(Box::new(self.metadata(door, package).await?))),
            Place::Upstream(sought) => {
                let mut found = self.upstream_document(&sought, ask).await?;
                found.stamp = stamp.of_upstream(&sought, &found);
                Ok(Document::Upstream(Box::new(found)))
            }
        }
    }

    /// What is held never waits for a network: a stale copy is answered and looked after behind.
    /// Only what came by a receipt is compared first, while its upstream can be reached.
    pub(super) async fn upstream_document(
        &self,
        sought: &Sought,
        ask: DocumentAsk<'_>,
    ) -> Result<UpstreamDocument, Error> {
        let variant = sought.variant(ask.variant)?;
        let held = self.best_held(sought, sought.answers(variant))?;
        let Some(held) = held else {
            if !ask.refresh && self.inner.absences.knows(&sought.package, &sought.origin()) {
                return Err(no_such_package(sought));
            }
            return self.first_document(sought, variant, ask.wanted).await;
        };
        match self.judge(sought, &held, ask.refresh) {
            Freshness::Fresh => self.present(sought, held, false).await,
            Freshness::Stale => {
                drop(self.document_flight(sought, sought.variant(&held.subject.variant)?));
                self.newer_receipt_behind(sought, &held);
                self.present(sought, held, true).await
            }
            Freshness::Check => {
                let of = sought.variant(&held.subject.variant)?;
                match self.document_in_time(sought, of).await {
                    Ok(Word::Held(found)) => self.present(sought, *found, false).await,
                    Ok(Word::Absent) => Err(no_such_package(sought)),
                    Ok(Word::Doubted(_)) | Err(_) => {
                        self.newer_receipt_behind(sought, &held);
                        self.present(sought, held, true).await
                    }
                }
            }
        }
    }

    fn judge(&self, sought: &Sought, held: &CachedDocument, refresh: bool) -> Freshness {
        let away = self.is_away(&sought.origin());
        match freshness::judge(freshness::now(), held.checked_at, refresh) {
            // No answer is to be had, so there is nothing to wait for.
            Freshness::Check if away => Freshness::Stale,
            _ if held.by != CachedBy::Upstream && !away => Freshness::Check,
            _ if held.by != CachedBy::Upstream => Freshness::Stale,
            judged => judged,
        }
    }

    /// Nothing that would do is held: the upstream, else a receipt, else a lesser form, else a
    /// want.
    pub(super) async fn first_document(
        &self,
        sought: &Sought,
        variant: Variant,
        wanted: bool,
    ) -> Result<UpstreamDocument, Error> {
        let why = match self.document_in_time(sought, variant).await {
            Ok(Word::Held(found) | Word::Doubted(found)) => {
                return self.present(sought, *found, false).await;
            }
            Ok(Word::Absent) => return Err(no_such_package(sought)),
            Err(why) => why,
        };
        let receipt = self.document_from_members(sought, variant).await;
        if let Ok(Some(found)) = receipt {
            return self.present(sought, found, true).await;
        }
        if let Some(found) = self.best_held(sought, sought.lesser(variant))? {
            return self.present(sought, found, true).await;
        }
        if wanted && why.outcome != Outcome::Unavailable {
            self.want_document(sought, variant).await?;
        }
        // What receipts say against each other is the better thing to know.
        let why = receipt.err().unwrap_or(why);
        Err(self.disowned(sought)?.filter(|_| why.outcome == Outcome::NotHere).unwrap_or(why))
    }

    /// The answer when a copy is held on the word of somebody who has none any more.
    fn disowned(&self, sought: &Sought) -> Result<Option<Error>, Error> {
        for variant in sought.rules.variants {
            let held = self.held_document(&sought.subject(variant.name))?;
            let Some(held) = held else { continue };
            if self.is_believed(&sought.package, &held.by)? {
                continue;
            }
            let PackageId { format, name } = &sought.package;
            let authors: Vec<_> = authors(&held.by).iter().map(ToString::to_string).collect();
            let text = format!(
                "{name}: the upstream is out of reach, and the copy that is held was taken on the \
                 word of {}, who is no mirror of the site any more",
                authors.join(" and ")
            );
            let hint = format!("griot why {name} --format {format}");
            return Ok(Some(Error::not_here(text).with_hint(hint)));
        }
        Ok(None)
    }

    /// Of these forms the held one that was confirmed last. What was taken on the word of somebody
    /// who has none any more is as good as not held.
    pub(super) fn best_held(
        &self,
        sought: &Sought,
        variants: impl Iterator<Item = Variant>,
    ) -> Result<Option<CachedDocument>, Error> {
        let mut best: Option<CachedDocument> = None;
        for variant in variants {
            let held = self.held_document(&sought.subject(variant.name))?;
            let Some(held) = held else { continue };
            if !self.is_believed(&sought.package, &held.by)? {
                continue;
            }
            // The first in the order wins a draw.
            if best.as_ref().is_none_or(|best| rank(&held) > rank(best)) {
                best = Some(held);
            }
        }
        Ok(best)
    }

    /// A held document, as it may be offered now.
    pub(super) async fn present(
        &self,
        sought: &Sought,
        held: CachedDocument,
        stale: bool,
    ) -> Result<UpstreamDocument, Error> {
        let digest = held.body.ok_or_else(|| no_such_package(sought))?;
        let outline = self.outline(sought, &digest).await?;
        let Offer { versions: offered, files, tags } = self.offer(sought, &held, &outline).await?;
        let seed = format!("{:?}{digest}{offered:?}{files:?}{tags:?}", sought.decision.source);
        let revision = blake3::hash(seed.as_bytes()).to_hex()[..32].to_owned();
        Ok(UpstreamDocument {
            decision: sought.decision.clone(),
            package: sought.package.clone(),
            variant: held.subject.variant,
            content_type: held.content_type,
            digest,
            size: held.size,
            outline,
            offered,
            files,
            tags,
            by: held.by,
            base: sought.endpoint.url.clone(),
            moved: held.moved,
            checked_at: held.checked_at,
            age: freshness::now().saturating_sub(held.checked_at),
            stale: stale || self.is_away(&sought.origin()),
            revision,
            stamp: None,
        })
    }

    /// What may be offered of a document, if that is not all of it, and the tags that follow.
    async fn offer(
        &self,
        sought: &Sought,
        held: &CachedDocument,
        outline: &Arc<Outline>,
    ) -> Result<Offer, Error> {
        let unsigned = self.unsigned(sought, held, outline).await?;
        let away = !self.is_near(&sought.endpoint);
        if !away && unsigned.is_empty() {
            return Ok(Offer::default());
        }
        let mut offered: BTreeSet<String> =
            outline.versions.iter().map(|version| version.version.clone()).collect();
        offered.retain(|version| !unsigned.contains(version));
        let mut files = None;
        if let (true, Some(digest)) = (away, &held.body) {
            let reach = self.in_reach(sought, digest, outline).await?;
            let versions: BTreeSet<&str> =
                reach.iter().map(|(version, _)| version.as_str()).collect();
            offered.retain(|version| versions.contains(version.as_str()));
            files = Some(reach);
        }
        let mut order: Vec<String> = offered.iter().cloned().collect();
        order.sort_by(|a, b| (sought.format.compare_versions)(a, b));
        let yanked = |version: &&OutlineVersion| version.yanked.is_some();
        let yanked: BTreeSet<&str> =
            outline.versions.iter().filter(yanked).map(|found| found.version.as_str()).collect();
        let live = |version: &str| !yanked.contains(version);
        let tags = offered_tags(&sought.format, &outline.tags, &order, live);
        Ok(Offer { versions: Some(offered), files, tags: Some(tags) })
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

/// What was confirmed by the upstream comes before what was not; then the later one.
fn rank(held: &CachedDocument) -> (bool, u64) {
    (held.by == CachedBy::Upstream, held.checked_at.min(freshness::now()))
}
