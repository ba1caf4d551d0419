//! Documents of an upstream that are no package's: signing keys, attestations, search, audits.
//!
//! They are kept like a package's documents (variant `side`), with the same freshness, but no
//! receipt is issued for them and nobody is believed about them but the upstream itself.
//!
//! Source: formats/npm.md sections 1 and 5.

use bytes::Bytes;
use crdt::PackageId;
use crdt::statement::Subject;
use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::fetch_document::unanswered;
use super::flight::Flight;
use super::freshness::{self, Freshness};
use super::sought::{Place, Sought};
use super::{Door, Error, Registry};
use crate::store::Hashes;
use crate::store::cached::{CachedBy, CachedDocument};
use crate::upstream::{Answer, Ask, Endpoint, Progress};

/// The variant under which they are kept.
const SIDE_VARIANT: &str = "side";
/// Bytes of an answer to a POST: it is read into memory, and a tree of it takes many times that.
const POSTED_MAX: u64 = 8 * 1024 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Names it among the side documents of its upstream.
    pub key: &'a str,
    /// Below the base URL, escaped, without a slash in front; or a whole URL, on any host.
    pub path: &'a str,
    /// The header `Accept`.
    pub accept: &'a str,
    /// Whether an HTML page can be no answer.
    pub never_html: bool,
    /// Bytes at most; it is read into memory.
    pub limit: u64,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct SideDocument {
    /// Verbatim.
    pub bytes: Bytes,
    /// As received.
    pub content_type: String,
    /// Seconds since the upstream last confirmed it.
    pub age: u64,
    /// Whether that is longer ago than it may be.
    pub stale: bool,
}

/// The same, owned by a flight.
#[derive(Debug, Clone)]
struct SideAsk {
    key: String,
    path: String,
    accept: String,
    never_html: bool,
    limit: u64,
}

impl SideAsk {
    fn of(side: &Side<'_>) -> Self {
        let Side { key, path, accept, never_html, limit } = *side;
        let [key, path, accept] = [key, path, accept].map(ToOwned::to_owned);
        Self { key, path, accept, never_html, limit }
    }

    fn side(&self) -> Side<'_> {
        let Self { key, path, accept, never_html, limit } = self;
        Side { key, path, accept, never_html: *never_html, limit: *limit }
    }
}

impl Registry {
    /// A side document of the upstream that `package` comes from, or of the format's default one.
    ///
    /// # Errors
    /// NotFound (no upstream, or it has none), NotHere (out of reach, and no copy is held).
    pub async fn side_document(
        &self,
        format: &str,
        package: Option<&PackageId>,
        side: Side<'_>,
    ) -> Result<SideDocument, Error> {
        let endpoint = self.side_endpoint(format, package)?;
        let subject = side_subject(&endpoint, format, side.key);
        let held = self.read_side(&subject, side.limit).await?;
        let Some(held) = held else { return self.ask_side(&endpoint, subject, &side).await };
        if held.stale {
            drop(self.side_flight(&endpoint, subject, &side));
        }
        Ok(held)
    }

    fn side_endpoint(&self, format: &str, package: Option<&PackageId>) -> Result<Endpoint, Error> {
        if let Some(package) = package {
            return match self.place(Door::Upstream, package)? {
                Place::Upstream(sought) => Ok(sought.endpoint),
                Place::Realm(..) => Err(Error::not_found("a realm has no side documents")),
            };
        }
        self.default_endpoint(format)?.ok_or_else(|| {
            Error::not_found(format!("no upstream of {format} is adopted"))
                .with_hint(format!("griot upstream add {format} URL"))
        })
    }

    async fn ask_side(
        &self,
        endpoint: &Endpoint,
        subject: Subject,
        side: &Side<'_>,
    ) -> Result<SideDocument, Error> {
        let Flight { landing, progress } = self.side_flight(endpoint, subject, side);
        tokio::select! {
            biased;
            found = landing => found,
            () = self.inner.upstream.patience(endpoint, &progress) => Err(Error::not_here(format!(
                "{}: the upstream does not answer and no copy is held", side.key
            ))
            .with_hint("griot status")),
        }
    }

    fn side_flight(
        &self,
        endpoint: &Endpoint,
        subject: Subject,
        side: &Side<'_>,
    ) -> Flight<SideDocument> {
        let key = format!("{} {} {}", subject.origin, subject.format, subject.document);
        self.inner.sides.board(&self.inner.background, key, |progress| {
            let (this, endpoint, ask) = (self.clone(), endpoint.clone(), SideAsk::of(side));
            async move { this.fetch_side(&endpoint, (&ask.side(), subject), progress).await }
        })
    }

    /// Asks the upstream. `of` gives origin and format.
    pub(super) async fn fetch_side(
        &self,
        endpoint: &Endpoint,
        (side, of): (&Side<'_>, Subject),
        progress: Progress,
    ) -> Result<SideDocument, Error> {
        let subject = side_subject(endpoint, &of.format, side.key);
        let held = self.held_document(&subject)?;
        let ask = Ask {
            url: url_of(endpoint, side.path),
            accept: side.accept.to_owned(),
            etag: held.as_ref().and_then(|held| held.etag.clone()),
            last_modified: held.as_ref().and_then(|held| held.last_modified.clone()),
            hashes: Hashes::default(),
            limit: side.limit,
            never_html: side.never_html,
            urgent: true,
            arrival: None,
            progress,
        };
        let now = freshness::now();
        let fresh = match self.inner.upstream.get(endpoint, &ask).await {
            Ok(Answer::Body { staged, content_type, etag, last_modified, moved }) => {
                let info = self.inner.store.commit(staged).await?;
                CachedDocument {
                    subject: subject.clone(),
                    body: Some(info.digest),
                    size: info.size,
                    content_type,
                    etag,
                    last_modified,
                    moved,
                    fetched_at: now,
                    checked_at: now,
                    by: CachedBy::Upstream,
                    earlier: Vec::new(),
                }
            }
            Ok(Answer::NotModified) => match held {
                Some(held) => CachedDocument { checked_at: now, ..held },
                None => return Err(Error::not_here("the upstream gave nothing")),
            },
            Ok(Answer::Absent) => {
                return Err(Error::not_found(format!("the upstream has no {}", side.key)));
            }
            Err(error) => return Err(unanswered(side.key, &of.format, error)),
        };
        self.inner.store.put_cached_document(fresh).await?;
        let read = self.read_side(&subject, side.limit).await?;
        read.ok_or_else(|| Error::not_here("the document has just gone"))
    }

    /// One that is held, whatever its age.
    pub(super) async fn held_side(
        &self,
        sought: &Sought,
        side: &Side<'_>,
    ) -> Result<Option<SideDocument>, Error> {
        let subject = side_subject(&sought.endpoint, &sought.package.format, side.key);
        self.read_side(&subject, side.limit).await
    }

    async fn read_side(
        &self,
        subject: &Subject,
        limit: u64,
    ) -> Result<Option<SideDocument>, Error> {
        use tokio::io::AsyncReadExt as _;
        let Some(held) = self.held_document(subject)? else { return Ok(None) };
        let Some(digest) = held.body else { return Ok(None) };
        let Some((_, file)) = self.inner.store.open_blob(&digest).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit).read_to_end(&mut bytes).await;
        read.map_err(crate::store::Error::from)?;
        let now = freshness::now();
        Ok(Some(SideDocument {
            bytes: bytes.into(),
            content_type: held.content_type,
            age: now.saturating_sub(held.checked_at),
            stale: freshness::judge(now, held.checked_at, false) != Freshness::Fresh,
        }))
    }

    /// Sends a small body to the format's upstream and gives back its answer with its content type.
    ///
    /// # Errors
    /// As [`Registry::side_document`]; nothing is kept.
    pub async fn upstream_post(
        &self,
        format: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(String, Bytes), Error> {
        let endpoint = self.side_endpoint(format, None)?;
        let url = format!("{}{path}", endpoint.url);
        // In the background: what is asked of an upstream that is away finds out whether it is
        // back.
        let (tell, told) = oneshot::channel();
        let progress = Progress::default();
        let telling = progress.clone();
        let (upstream, to) = (self.inner.upstream.clone(), endpoint.clone());
        let job = async move {
            let _ = tell.send(upstream.post(&to, &url, (body, POSTED_MAX), telling).await);
        };
        if !self.inner.background.take_on(job.boxed()) {
            return Err(Error::not_here(format!("{path}: too much waits for upstreams already")));
        }
        tokio::select! {
            biased;
            answer = told => match answer {
                Ok(answer) => answer.map_err(|error| unanswered(path, format, error)),
                Err(_) => Err(Error::not_here(format!("{path}: this node is about to end"))),
            },
            () = self.inner.upstream.patience(&endpoint, &progress) => Err(Error::not_here(format!(
                "{path}: the upstream does not answer"
            ))
            .with_hint("griot status")),
        }
    }
}

fn url_of(endpoint: &Endpoint, path: &str) -> String {
    let whole = ["http://", "https://"].iter().any(|scheme| path.starts_with(scheme));
    if whole { path.to_owned() } else { format!("{}{path}", endpoint.url) }
}

fn side_subject(endpoint: &Endpoint, format: &str, key: &str) -> Subject {
    Subject {
        origin: endpoint.origin,
        format: format.to_owned(),
        document: key.to_owned(),
        variant: SIDE_VARIANT.to_owned(),
    }
}
