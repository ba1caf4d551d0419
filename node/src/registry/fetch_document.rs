//! A document is asked of its upstream, judged, and kept.
//!
//! What comes is kept only if it is no web page, its outline can be read, it is about the package
//! that was asked for, and it does not suddenly lack most of what is held (said twice, a minute
//! apart, it is believed). Bytes and record are durable at once. What else follows from them —
//! receipts, alarms, the question whether the origin signs — is left to the background.
//!
//! Source: DESIGN section 7; formats/README.md sections 1, 4 and 10.

use std::sync::Arc;
use std::time::Instant;

use crdt::PackageId;
use crdt::statement::Subject;
use futures::FutureExt as _;

use super::flight::Flight;
use super::freshness;
use super::outlines;
use super::rules::Variant;
use super::sought::Sought;
use super::{Error, Outcome, Outline, Registry, Staged};
use crate::store::cached::{CachedBy, CachedDocument};
use crate::upstream::{Answer, Error as Silence, Progress};

/// Earlier bodies that are kept as bases of patches.
const EARLIER_MAX: usize = 3;

/// The upstream's word on a document.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// Held, and confirmed by it just now.
    Held(Box<CachedDocument>),
    /// Held, but what the upstream says now is not believed yet.
    Doubted(Box<CachedDocument>),
    /// There is none.
    Absent,
}

impl Registry {
    /// Asks for a document, or joins who asks for it already.
    pub(super) fn document_flight(&self, sought: &Sought, variant: Variant) -> Flight<Word> {
        let subject = sought.subject(variant.name);
        let flights = &self.inner.documents;
        flights.board(&self.inner.background, key_of(&subject), |progress| {
            let (this, sought) = (self.clone(), sought.clone());
            async move { this.fetch_document(&sought, variant, progress).await }
        })
    }

    /// Asks for a document, and waits as long as a person should.
    pub(super) async fn document_in_time(
        &self,
        sought: &Sought,
        variant: Variant,
    ) -> Result<Word, Error> {
        let Flight { mut landing, progress } = self.document_flight(sought, variant);
        tokio::select! {
            biased;
            word = &mut landing => word,
            () = self.inner.upstream.patience(&sought.endpoint, &progress) => {
                // It may have failed for the same reason at the same moment: it knows more.
                let failed = landing.now_or_never();
                failed.unwrap_or_else(|| Err(self.no_answer(sought)))
            }
        }
    }

    /// The sentence for a person whose patience is over while the request goes on.
    fn no_answer(&self, sought: &Sought) -> Error {
        let PackageId { format, name } = &sought.package;
        if self.inner.upstream.is_offline() {
            return unanswered(name, format, Silence::Offline);
        }
        Error::not_here(format!(
            "{name}: the upstream does not answer and no copy is held; it is still being asked"
        ))
        .with_hint("griot status")
    }

    /// The record of a document whose bytes are held.
    pub(super) fn held_document(&self, subject: &Subject) -> Result<Option<CachedDocument>, Error> {
        let Some(held) = self.inner.store.cached_document(subject)? else { return Ok(None) };
        let Some(body) = held.body else { return Ok(None) };
        Ok(self.inner.store.blob(&body)?.is_some().then_some(held))
    }

    async fn fetch_document(
        &self,
        sought: &Sought,
        variant: Variant,
        progress: Progress,
    ) -> Result<Word, Error> {
        let held = self.held_document(&sought.subject(variant.name))?;
        let mut ask = sought.ask(variant, progress);
        // Only what came from the upstream itself may be confirmed by its validators: those of a
        // receipt could belong to other bytes.
        if let Some(held) = held.as_ref().filter(|held| held.by == CachedBy::Upstream) {
            ask.etag.clone_from(&held.etag);
            ask.last_modified.clone_from(&held.last_modified);
        }
        let asked = ask.etag.is_some() || ask.last_modified.is_some();
        match self.inner.upstream.get(&sought.endpoint, &ask).await {
            Ok(Answer::NotModified) => match held {
                Some(held) if asked => self.confirmed(sought, held).await,
                _ => Err(wrong(sought, "it said `not modified` of something it never gave")),
            },
            Ok(Answer::Absent) => self.absent_upstream(sought, variant, held).await,
            Ok(Answer::Body { staged, content_type, etag, last_modified, moved }) => {
                let outline = read_document(sought, &staged).await?;
                // What a mirror said is no measure of what the upstream says.
                if let Some(held) = held.filter(|held| held.by == CachedBy::Upstream)
                    && !self.allows(sought, &held, &outline).await
                {
                    tracing::warn!(package = %sought.package, "the upstream's document shrank");
                    return Ok(Word::Doubted(Box::new(held)));
                }
                let now = freshness::now();
                let fresh = CachedDocument {
                    subject: sought.subject(variant.name),
                    body: Some(staged.info().digest),
                    size: staged.info().size,
                    content_type,
                    etag,
                    last_modified,
                    moved,
                    fetched_at: now,
                    checked_at: now,
                    by: CachedBy::Upstream,
                    earlier: Vec::new(),
                };
                self.keep_document(sought, (staged, fresh), &Arc::new(outline)).await
            }
            Err(error) => Err(unanswered(&sought.package.name, &sought.package.format, error)),
        }
    }

    /// Whether the outline may take the place of a document that is held.
    async fn allows(&self, sought: &Sought, held: &CachedDocument, new: &Outline) -> bool {
        let Some(body) = held.body else { return true };
        // One that cannot be read any more is worth nothing.
        let old = self.outline(sought, &body).await;
        let old = old.map_or(0, |outline| outline.versions.len());
        let doubts = &self.inner.doubts;
        doubts.allows(&held.subject, old, new.versions.len(), Instant::now())
    }

    /// Records a document that was fetched, then leaves what follows from it to the background.
    async fn keep_document(
        &self,
        sought: &Sought,
        (staged, fresh): (Staged, CachedDocument),
        outline: &Arc<Outline>,
    ) -> Result<Word, Error> {
        let before = self.inner.store.cached_document(&fresh.subject)?;
        let fresh = CachedDocument { earlier: earlier(before.as_ref(), &fresh), ..fresh };
        self.inner.store.commit_document(staged, fresh.clone()).await?;
        if let Some(body) = &fresh.body {
            self.inner.outlines.put(outlines::key(&sought.package, body), outline);
        }
        self.inner.absences.forget(&sought.package);
        self.fulfil_document(&fresh.subject).await?;
        self.after_fetch(sought, before, &fresh);
        Ok(Word::Held(Box::new(fresh)))
    }

    /// The upstream said that the copy is current.
    async fn confirmed(&self, sought: &Sought, held: CachedDocument) -> Result<Word, Error> {
        let held = CachedDocument { checked_at: freshness::now(), ..held };
        self.inner.doubts.settle(&held.subject);
        self.inner.store.put_cached_document(held.clone()).await?;
        self.after_fetch(sought, Some(held.clone()), &held);
        Ok(Word::Held(Box::new(held)))
    }

    /// The upstream said that there is no such document. What is held goes only when it says so
    /// twice; the bytes stay, as a base and for who asks for a file exactly.
    async fn absent_upstream(
        &self,
        sought: &Sought,
        variant: Variant,
        held: Option<CachedDocument>,
    ) -> Result<Word, Error> {
        let subject = sought.subject(variant.name);
        if let Some(held) = held {
            let own = held.by == CachedBy::Upstream;
            if own && !self.inner.doubts.allows(&subject, usize::MAX, 0, Instant::now()) {
                return Ok(Word::Doubted(Box::new(held)));
            }
            self.denied(sought, &held).await?;
            let now = freshness::now();
            let gone = CachedDocument { body: None, size: 0, checked_at: now, ..held.clone() };
            let earlier = earlier(Some(&held), &gone);
            self.inner.store.put_cached_document(CachedDocument { earlier, ..gone }).await?;
        }
        self.inner.absences.learn(&sought.package, &sought.origin());
        self.fulfil_document(&subject).await?;
        Ok(Word::Absent)
    }
}

/// Bodies to keep beside a new one, newest first.
pub(super) fn earlier(
    before: Option<&CachedDocument>,
    fresh: &CachedDocument,
) -> Vec<crdt::Digest> {
    let Some(before) = before else { return Vec::new() };
    let mut kept: Vec<_> = before.body.into_iter().chain(before.earlier.iter().copied()).collect();
    kept.retain(|digest| Some(*digest) != fresh.body);
    kept.truncate(EARLIER_MAX);
    kept
}

/// Reads what came, and refuses what is no document of the package.
async fn read_document(sought: &Sought, staged: &Staged) -> Result<Outline, Error> {
    let outline = outlines::read(sought.rules, &sought.package.name, staged.open()?).await;
    let outline = outline.map_err(|why| wrong(sought, &format!("it sent no document: {why}")))?;
    let name = (sought.format.canonical_name)(&outline.name);
    if name.is_ok_and(|name| name == sought.package.name) {
        return Ok(outline);
    }
    let other: String = outline.name.chars().take(80).collect();
    Err(wrong(sought, &format!("it sent the document of {other:?}")))
}

fn key_of(subject: &Subject) -> String {
    let Subject { origin, format, document, variant } = subject;
    format!("{origin} {format} {variant} {document}")
}

/// The answer for a name of which the upstream says that there is none.
pub(super) fn no_such_package(sought: &Sought) -> Error {
    let name = &sought.package.name;
    Error::not_found(format!("{name} is not in the upstream {}", sought.endpoint.url))
        .with_hint(format!("griot search {name}"))
}

fn wrong(sought: &Sought, why: &str) -> Error {
    unusable(&sought.package.name, why)
}

/// The sentence for an answer that is none: a captive portal's login page, another document.
fn unusable(name: &str, why: &str) -> Error {
    Error::new(Outcome::Corrupt, format!("{name}: the answer of the upstream is not usable: {why}"))
        .with_hint("a login page may be in between: open a browser, then try again")
}

/// The sentence for an upstream that gave no answer, where no copy is held.
pub(super) fn unanswered(name: &str, format: &str, error: Silence) -> Error {
    match error {
        Silence::Offline => Error::not_here(format!(
            "{name}: no copy is held, and this node asks no upstream (--offline)"
        ))
        .with_hint("start it without --offline: griot up"),
        Silence::Unreachable { since, .. } => Error::not_here(format!(
            "{name}: the upstream is unreachable and no copy is held; offline since {since}"
        ))
        .with_hint("griot status"),
        Silence::Status { status, why } => {
            let what = if why.is_empty() { String::new() } else { format!(" ({why})") };
            let login = matches!(status, 401 | 403);
            let hint = if login {
                format!("griot upstream add {format} URL --token-file FILE")
            } else {
                "try again in a moment".to_owned()
            };
            Error::not_here(format!(
                "{name}: the upstream answered {status}{what}, and no copy is held"
            ))
            .with_hint(hint)
        }
        Silence::Wrong(why) => unusable(name, &why),
        Silence::Store(why) => Error::new(Outcome::Unavailable, why),
    }
}
