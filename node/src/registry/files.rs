//! A file of an upstream: held here, else from a connected member, else from the upstream itself.
//!
//! The document says where the file is and what its checksums are. Under a strong one bytes may
//! come from anybody; under a weak one, or none, from the upstream alone, or under a file receipt
//! that is believed. What does not fit is refused and nothing of it is kept. A file that is asked
//! for exactly is never hidden because of what the offline view shows.
//!
//! Source: DESIGN sections 4 and 7; formats/README.md sections 1 and 2.

use std::sync::Arc;

use crdt::{Checksums, Digest};
use futures::{FutureExt as _, TryFutureExt as _};

use super::arriving::{self, Arriving, Obtained};
use super::artifact::{Completion, VerifiedBytes};
use super::fetch_document::{Word, no_such_package};
use super::flight::Flight;
use super::freshness::{self, Freshness};
use super::sought::{FILE_BYTES_MAX, Sought};
use super::{
    BlobInfo, Declared, Error, Outcome, Outline, OutlineFile, OutlineVersion, Registry, Staged,
};
use crate::store::cached::{CachedBy, CachedDocument, CachedFile};

/// A file that was looked for.
enum Found {
    Held(CachedFile),
    Described(Box<Described>),
}

/// A file as a document that is held describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) version: OutlineVersion,
    pub(super) file: OutlineFile,
    pub(super) document: CachedDocument,
    pub(super) outline: Arc<Outline>,
}

impl Described {
    /// On whose word a file under its strong checksum is what it is.
    pub(super) fn ground(&self) -> CachedBy {
        match &self.document.by {
            CachedBy::Upstream | CachedBy::Checksum => CachedBy::Checksum,
            word => word.clone(),
        }
    }

    /// Whether a blob with these checksums is the file, as far as the document can tell.
    pub(super) fn fits(&self, checksums: &Checksums) -> bool {
        let declared = &self.file.declared;
        *declared == Declared::default() || declared.fits(checksums)
    }
}

impl Registry {
    /// A file of an upstream's package, asked for exactly; whole.
    pub(super) async fn upstream_artifact(
        &self,
        sought: &Sought,
        version: &str,
        file: &str,
    ) -> Result<VerifiedBytes, Error> {
        let got = match self.find_file(sought, version, file).await? {
            Found::Held(held) => held,
            Found::Described(described) => {
                let got = self.fetch_file(sought, &described).await;
                self.or_want(sought, &described, got).await?
            }
        };
        self.hand_over(sought, &got.digest, file).await
    }

    /// The same; a big one may still be arriving.
    pub(super) async fn upstream_obtain(
        &self,
        sought: &Sought,
        version: &str,
        file: &str,
    ) -> Result<Obtained, Error> {
        let described = match self.find_file(sought, version, file).await? {
            Found::Held(held) => return self.held_or_arriving(sought, &held.digest, file).await,
            Found::Described(described) => described,
        };
        let key = key_of(sought, &described);
        let followed = async {
            // Peers come first, and only then is there a flight to follow.
            let seen = self.inner.arrivals.begun(&key).await;
            arriving::worth_following(seen).await
        };
        let end = tokio::select! {
            biased;
            got = self.fetch_file(sought, &described) => Err(got),
            followed = followed => Ok(followed),
        };
        match end {
            Ok((arrival, handle, size)) => Ok(Obtained::Arriving(Box::new(Arriving {
                size,
                filename: file.to_owned(),
                completion: Completion::of_upstream(self, sought),
                landing: self
                    .file_flight(sought, &described)
                    .landing
                    .map_ok(|got| got.size)
                    .boxed()
                    .shared(),
                arrival,
                file: handle,
                sent: 0,
            }))),
            Err(got) => {
                let got = self.or_want(sought, &described, got).await?;
                let held = self.hand_over(sought, &got.digest, file).await?;
                Ok(Obtained::Held(Box::new(held)))
            }
        }
    }

    /// The file as it is held, or what is known of it.
    async fn find_file(&self, sought: &Sought, version: &str, file: &str) -> Result<Found, Error> {
        if let Some(held) = self.sure_file(sought, (version, file))? {
            return Ok(Found::Held(held));
        }
        let described = self.describe_held(sought, version, file).await?;
        if described.is_none()
            && let Some(held) = self.held_file(sought, (version, file), None).await?
        {
            return Ok(Found::Held(held));
        }
        let described = match described {
            Some(described) => described,
            None => self.describe(sought, version, file).await?,
        };
        self.require_signature(sought, &described).await?;
        let held = self.held_file(sought, (version, file), Some(&described)).await?;
        Ok(held.map_or_else(|| Found::Described(Box::new(described)), Found::Held))
    }

    /// What could not be had now is wanted.
    async fn or_want(
        &self,
        sought: &Sought,
        described: &Described,
        got: Result<CachedFile, Error>,
    ) -> Result<CachedFile, Error> {
        if got.as_ref().is_err_and(|error| error.outcome == Outcome::NotHere) {
            let slot = (described.version.version.as_str(), described.file.file.as_str());
            self.want_file(sought, slot, described.file.size.unwrap_or(0)).await?;
        }
        got
    }

    /// The bytes, with what is pinned once a client has them.
    pub(super) async fn hand_over(
        &self,
        sought: &Sought,
        digest: &Digest,
        filename: &str,
    ) -> Result<VerifiedBytes, Error> {
        let (info, file) = self.open(digest, filename).await?;
        let completion = Completion::of_upstream(self, sought);
        Ok(VerifiedBytes { info, file, filename: filename.to_owned(), completion })
    }

    /// The same for who can take it while its copy comes out of a bucket.
    async fn held_or_arriving(
        &self,
        sought: &Sought,
        digest: &Digest,
        filename: &str,
    ) -> Result<Obtained, Error> {
        let completion = Completion::of_upstream(self, sought);
        let of = (Some(&sought.package), filename);
        if let Some(arriving) = self.follow_known(digest, of, completion).await? {
            return Ok(Obtained::Arriving(Box::new(arriving)));
        }
        Ok(Obtained::Held(Box::new(self.hand_over(sought, digest, filename).await?)))
    }

    /// The files of the package that are recorded here, under every name of its upstream.
    pub(super) fn cached_files_of(&self, sought: &Sought) -> Result<Vec<CachedFile>, Error> {
        let (format, name) = (&sought.package.format, &sought.package.name);
        let mut found = Vec::new();
        for origin in self.same_origins(format, &sought.origin())? {
            found.extend(self.inner.store.cached_files(&origin, format, name)?);
        }
        Ok(found)
    }

    /// What a document that is held says of the file; no network.
    pub(super) async fn describe_held(
        &self,
        sought: &Sought,
        version: &str,
        file: &str,
    ) -> Result<Option<Described>, Error> {
        for variant in sought.rules.variants {
            let held = self.held_document(&sought.subject(variant.name))?;
            let Some(document) = held else { continue };
            if !self.is_believed(&sought.package, &document.by)? {
                continue;
            }
            if let Some(found) = self.described(sought, document, (version, file)).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub(super) async fn described(
        &self,
        sought: &Sought,
        document: CachedDocument,
        (version, file): (&str, &str),
    ) -> Result<Option<Described>, Error> {
        let Some(body) = &document.body else { return Ok(None) };
        let outline = self.outline(sought, body).await?;
        let Some(found) = outline.versions.iter().find(|found| found.version == version) else {
            return Ok(None);
        };
        let Some(of) = found.files.iter().find(|of| of.file == file) else { return Ok(None) };
        let (version, file) = (found.clone(), of.clone());
        Ok(Some(Described { version, file, document, outline }))
    }

    /// What a document says of the file, fetched or looked at again if those held say nothing.
    async fn describe(
        &self,
        sought: &Sought,
        version: &str,
        file: &str,
    ) -> Result<Described, Error> {
        let smallest = sought.rules.variants.last().copied();
        let smallest = smallest.ok_or_else(|| no_such_file(sought, version, file))?;
        let held = self.best_held(sought, sought.answers(smallest))?;
        let told = match held {
            None => self.first_document(sought, smallest, false).await.map(|found| found.variant),
            Some(held) => self.look_again(sought, held).await,
        };
        let variant = match told {
            Ok(variant) => variant,
            Err(error) if error.outcome == Outcome::NotHere => {
                self.want_file(sought, (version, file), 0).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let document = self.held_document(&sought.subject(&variant))?;
        let document = document.ok_or_else(|| Error::not_here("the document has just gone"))?;
        let found = self.described(sought, document, (version, file)).await?;
        found.ok_or_else(|| no_such_file(sought, version, file))
    }

    /// Makes sure that a document which lacks the file is what the upstream says now.
    async fn look_again(&self, sought: &Sought, held: CachedDocument) -> Result<String, Error> {
        let variant = sought.variant(&held.subject.variant)?;
        let fresh = freshness::judge(freshness::now(), held.checked_at, false);
        if fresh == Freshness::Fresh && held.by == CachedBy::Upstream {
            return Ok(held.subject.variant);
        }
        match self.document_in_time(sought, variant).await? {
            Word::Held(found) | Word::Doubted(found) => Ok(found.subject.variant),
            Word::Absent => Err(no_such_package(sought)),
        }
    }

    /// A file that is recorded here as the upstream itself declared it: nothing need be read.
    fn sure_file(
        &self,
        sought: &Sought,
        (version, file): (&str, &str),
    ) -> Result<Option<CachedFile>, Error> {
        for held in self.cached_files_of(sought)? {
            let sure = matches!(held.by, CachedBy::Checksum | CachedBy::Upstream);
            let it = held.version == version && held.file == file;
            if sure && it && self.inner.store.blob(&held.digest)?.is_some() {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// A file that is held here, by its record or by its strong checksum.
    async fn held_file(
        &self,
        sought: &Sought,
        (version, file): (&str, &str),
        described: Option<&Described>,
    ) -> Result<Option<CachedFile>, Error> {
        for held in self.cached_files_of(sought)? {
            if held.version != version || held.file != file {
                continue;
            }
            let Some(info) = self.inner.store.blob(&held.digest)? else { continue };
            // One that was taken on a mirror's word goes with that word.
            if described.is_none_or(|described| described.fits(&info.checksums)) {
                return Ok(Some(held));
            }
        }
        let Some(described) = described else { return Ok(None) };
        let Some(digest) = self.blob_of(&described.file.declared)? else { return Ok(None) };
        self.keep_file(sought, described, &digest, described.ground()).await.map(Some)
    }

    /// Records a blob as the file, and leaves what follows to the background.
    pub(super) async fn keep_file(
        &self,
        sought: &Sought,
        described: &Described,
        digest: &Digest,
        by: CachedBy,
    ) -> Result<CachedFile, Error> {
        let info = self.inner.store.blob(digest)?;
        let info = info.ok_or_else(|| Error::not_here("the file has just gone"))?;
        let kept = row_of(sought, described, &info, by);
        self.inner.store.put_cached_file(kept.clone()).await?;
        self.kept(sought, described, &info, kept).await
    }

    /// The same for bytes that were judged and are no blob yet: one commit makes both durable.
    pub(super) async fn keep_staged(
        &self,
        sought: &Sought,
        described: &Described,
        staged: Staged,
        by: CachedBy,
    ) -> Result<CachedFile, Error> {
        let kept = row_of(sought, described, staged.info(), by);
        let info = self.inner.store.commit_file(staged, kept.clone()).await?;
        self.kept(sought, described, &info, kept).await
    }

    async fn kept(
        &self,
        sought: &Sought,
        described: &Described,
        info: &BlobInfo,
        kept: CachedFile,
    ) -> Result<CachedFile, Error> {
        self.fulfil_file(sought, (&kept.version, &kept.file)).await?;
        self.after_file(sought, described, info, &kept.by);
        Ok(kept)
    }

    async fn fetch_file(
        &self,
        sought: &Sought,
        described: &Described,
    ) -> Result<CachedFile, Error> {
        if described.file.declared.is_strong()
            && let Some(got) = self.file_from_peers(sought, described).await?
        {
            return Ok(got);
        }
        let why = match self.file_in_time(sought, described).await {
            Err(why) if why.outcome == Outcome::NotHere => why,
            end => return end,
        };
        match self.file_by_receipt(sought, described).await {
            Ok(Some(got)) => Ok(got),
            Ok(None) => Err(why),
            Err(disagreement) => Err(disagreement),
        }
    }

    /// Under a file receipt that is believed, where the document's own checksum is too weak.
    async fn file_by_receipt(
        &self,
        sought: &Sought,
        described: &Described,
    ) -> Result<Option<CachedFile>, Error> {
        let subject = sought.file_subject(&described.file.file);
        // Those who are believed agree about a file, or there is none.
        let Some(believed) = self.believed(&sought.package, &subject)?.into_iter().next() else {
            return Ok(None);
        };
        let offer = (believed.receipt.blake3, believed.receipt.size);
        if offer.1 > FILE_BYTES_MAX {
            return Ok(None);
        }
        match self.peer_flight(sought, described, offer, believed.by).await {
            Ok(got) => Ok(Some(got)),
            Err(error) if error.outcome == Outcome::NotHere => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the upstream for the file, and waits as long as a person should.
    async fn file_in_time(
        &self,
        sought: &Sought,
        described: &Described,
    ) -> Result<CachedFile, Error> {
        let Flight { mut landing, progress } = self.file_flight(sought, described);
        tokio::select! {
            biased;
            got = &mut landing => got,
            () = self.inner.upstream.patience(&sought.endpoint, &progress) => {
                let name = format!("{} of {}", described.file.file, sought.package.name);
                landing.now_or_never().unwrap_or_else(|| Err(Error::not_here(format!(
                    "{name}: the upstream does not answer and no copy is held; it is wanted now"
                ))
                .with_hint("griot status")))
            }
        }
    }
}

fn row_of(sought: &Sought, described: &Described, info: &BlobInfo, by: CachedBy) -> CachedFile {
    CachedFile {
        origin: sought.origin(),
        format: sought.package.format.clone(),
        package: sought.package.name.clone(),
        version: described.version.version.clone(),
        file: described.file.file.clone(),
        digest: info.digest,
        size: info.size,
        by,
    }
}

pub(super) fn key_of(sought: &Sought, described: &Described) -> String {
    let (version, file) = (&described.version.version, &described.file.file);
    format!("{} {} {version} {file}", sought.origin(), sought.package)
}

fn no_such_file(sought: &Sought, version: &str, file: &str) -> Error {
    let name = &sought.package.name;
    let file: String = file.chars().take(120).collect();
    Error::not_found(format!("{name}@{version}: the upstream knows no file {file}"))
        .with_hint(format!("griot info {name} --format {}", sought.package.format))
}
