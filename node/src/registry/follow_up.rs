//! What follows from a document or a file that has just come, off the path of whoever asked: a
//! receipt, the comparison with what was believed, whether the origin signs, whether a document
//! says of a file what the file says of itself.
//!
//! Source: DESIGN section 4; trust.md section 10.

use std::sync::Arc;

use crdt::Digest;
use futures::FutureExt as _;

use super::alarms::Evidence;
use super::compare;
use super::deliver::authors;
use super::files::Described;
use super::sought::Sought;
use super::{Error, Outline, Registry};
use crate::store::BlobInfo;
use crate::store::cached::{CachedBy, CachedDocument, CachedFile};

/// Files of a package that are compared with a new form of its document.
const COMPARED_MAX: usize = 64;

impl Registry {
    /// A document was fetched or confirmed.
    pub(super) fn after_fetch(
        &self,
        sought: &Sought,
        before: Option<CachedDocument>,
        fresh: &CachedDocument,
    ) {
        let Some(digest) = fresh.body else { return };
        self.issue_for_document(&sought.package, fresh);
        let (this, sought, fresh) = (self.clone(), sought.clone(), fresh.clone());
        let changed = before.and_then(|before| before.body) != Some(digest);
        let job = async move {
            if let Err(error) = this.look_into(&sought, &fresh, changed).await {
                tracing::warn!(%error, package = %sought.package, "a document was not compared");
            }
        };
        // Refused when too much waits: the next fetch looks again.
        let _ = self.inner.background.take_on(job.boxed());
    }

    /// A file was kept.
    pub(super) fn after_file(
        &self,
        sought: &Sought,
        described: &Described,
        info: &BlobInfo,
        by: &CachedBy,
    ) {
        if *by == CachedBy::Upstream {
            let subject = sought.file_subject(&described.file.file);
            self.issue_for_file(&sought.package, subject, info);
        }
        // Hundreds of them wait at once: the versions beside this one are of no use there.
        let described = Described { outline: Arc::default(), ..described.clone() };
        let (this, sought, digest) = (self.clone(), sought.clone(), info.digest);
        let job = async move {
            if let Err(error) = this.compare_file(&sought, &described, &digest).await {
                tracing::warn!(%error, package = %sought.package, "a file was not compared");
            }
        };
        let _ = self.inner.background.take_on_quietly(job.boxed());
    }

    async fn look_into(
        &self,
        sought: &Sought,
        fresh: &CachedDocument,
        changed: bool,
    ) -> Result<(), Error> {
        let Some(digest) = fresh.body else { return Ok(()) };
        let outline = self.outline(sought, &digest).await?;
        self.compare_believed(sought, fresh, &outline).await?;
        self.learn_signing(sought, &outline).await?;
        if !changed {
            return Ok(());
        }
        for held in self.cached_files_of(sought)?.into_iter().take(COMPARED_MAX) {
            let slot = (held.version.as_str(), held.file.as_str());
            let described = self.described(sought, fresh.clone(), slot).await?;
            let info = self.inner.store.blob(&held.digest)?;
            let fits =
                |info: &BlobInfo| described.as_ref().is_some_and(|d| d.fits(&info.checksums));
            if info.as_ref().is_some_and(|info| !fits(info)) {
                self.taken_wrongly(sought, &held).await?;
            }
            let (Some(described), Some(info)) = (described, info) else { continue };
            if described.fits(&info.checksums) {
                self.compare_file(sought, &described, &held.digest).await?;
            } else {
                self.declared_again(sought, &described, &held.by).await?;
            }
        }
        Ok(())
    }

    /// A file that was taken on a mirror's word is none of the upstream's.
    async fn taken_wrongly(&self, sought: &Sought, held: &CachedFile) -> Result<(), Error> {
        let authors: Vec<_> = authors(&held.by).iter().map(ToString::to_string).collect();
        if authors.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{}@{}: {} was taken on the word of {}, and the upstream declares no such file",
            sought.package.name,
            held.version,
            held.file,
            authors.join(" and ")
        );
        self.raise(&sought.package, "receipt", &text, None).await
    }

    /// A version never changes: what is held keeps installing, and a person hears of it.
    async fn declared_again(
        &self,
        sought: &Sought,
        described: &Described,
        by: &CachedBy,
    ) -> Result<(), Error> {
        if !matches!(by, CachedBy::Checksum | CachedBy::Upstream) {
            return Ok(());
        }
        let text = format!(
            "{}@{}: {} is declared with other checksums than before; the bytes that are held stay",
            sought.package.name, described.version.written, described.file.file
        );
        self.raise(&sought.package, "declared-again", &text, None).await
    }

    /// Compares what was taken on a mirror's word with what the upstream says itself.
    async fn compare_believed(
        &self,
        sought: &Sought,
        fresh: &CachedDocument,
        outline: &Arc<Outline>,
    ) -> Result<(), Error> {
        let Some(digest) = fresh.body else { return Ok(()) };
        let Some(taken) = self.taken(&fresh.subject)? else { return Ok(()) };
        if taken.digest != digest
            && let Some(why) = self.lie(sought, (&digest, outline), &taken.digest).await?
        {
            let text = format!("a receipt for {} was no true word: {why}", sought.package);
            let evidence =
                Evidence { upstream: digest, believed: taken.digest, authors: taken.authors };
            self.raise(&sought.package, "receipt", &text, Some(evidence)).await?;
        }
        self.forget_taken(&fresh.subject).await
    }

    /// How what was believed contradicts what the upstream says, if it does.
    async fn lie(
        &self,
        sought: &Sought,
        (digest, outline): (&Digest, &Arc<Outline>),
        believed: &Digest,
    ) -> Result<Option<String>, Error> {
        // The bytes are one of the earlier ones; if they have gone, nothing is left to compare.
        let Ok(said) = self.outline(sought, believed).await else { return Ok(None) };
        if let Some(why) = compare::contradiction(outline, &said) {
            return Ok(Some(why));
        }
        let ours = self.open_document(digest).await?.into_std().await;
        let theirs = self.open_document(believed).await?.into_std().await;
        self.other_words((outline, ours), (&said, theirs)).await
    }

    /// The upstream says that there is no such document: who said that there is one?
    pub(super) async fn denied(&self, sought: &Sought, held: &CachedDocument) -> Result<(), Error> {
        let Some(taken) = self.taken(&held.subject)? else { return Ok(()) };
        let authors: Vec<_> = taken.authors.iter().map(ToString::to_string).collect();
        let text = format!(
            "a receipt for {} was no true word: {} signed for it, and the upstream knows no such \
             package",
            sought.package,
            authors.join(" and ")
        );
        self.raise(&sought.package, "receipt", &text, None).await?;
        self.forget_taken(&held.subject).await
    }

    async fn other_words(
        &self,
        (outline, mut ours): (&Arc<Outline>, std::fs::File),
        (believed, mut theirs): (&Arc<Outline>, std::fs::File),
    ) -> Result<Option<String>, Error> {
        let (outline, believed) = (Arc::clone(outline), Arc::clone(believed));
        let work = move || compare::other_words((&outline, &mut ours), (&believed, &mut theirs));
        let found = tokio::task::spawn_blocking(work).await;
        let found = found.map_err(|_| Error::invalid("the documents could not be read"))?;
        let found = found.map_err(crate::store::Error::from)?;
        Ok(found.map(|version| format!("it says something else of the version {version}")))
    }

    /// Compares what the document says of a version with what is in the version's file.
    async fn compare_file(
        &self,
        sought: &Sought,
        described: &Described,
        digest: &Digest,
    ) -> Result<(), Error> {
        let Some(extract) = sought.format.extract else { return Ok(()) };
        let Some(body) = &described.document.body else { return Ok(()) };
        let Some((_, file)) = self.inner.store.open_blob(digest).await? else { return Ok(()) };
        let mut file = file.into_std().await;
        let mut document = self.open_document(body).await?.into_std().await;
        let own = Some(&described.file.place).filter(|place| !place.is_empty());
        let range = own.unwrap_or(&described.version.declared).clone();
        let (name, differs) = (described.file.file.clone(), sought.rules.differs);
        let work = move || {
            let declared = compare::slice(&mut document, &range).ok()?;
            if declared.is_empty() {
                return None;
            }
            match extract(&mut file, &name) {
                Ok(extracted) => differs(&declared, &extracted.meta),
                Err(why) => Some(format!("the file cannot be read: {why}")),
            }
        };
        let found = tokio::task::spawn_blocking(work).await;
        let found = found.map_err(|_| Error::invalid("the file could not be read"))?;
        let Some(why) = found else { return Ok(()) };
        let text = format!(
            "{}@{}: the document and the file do not say the same: {why}",
            sought.package.name, described.version.written
        );
        self.raise(&sought.package, "manifest", &text, None).await
    }
}
