//! Verified bytes, and how they are had: held here, else from the mesh. A file of an upstream goes
//! its own way: see `files`.
//!
//! Nothing leaves the node but a [`VerifiedBytes`]: a complete blob whose digest and checksums are
//! those that a standing release signed for, or that a person asked for by digest. A file that is
//! asked for exactly is never hidden by the offline view. When the bytes arrive, the format's
//! extractor is run over them again: a release whose meta does not come out of its bytes is
//! refused here (a row of kind `refused` keeps the proof), whoever signed it.

use crdt::routes::{Decision, Source};
use crdt::statement::MetaBody;
use crdt::{Body, Content, Digest, PackageId, PackageView, RealmId, SlotState, StatementId};

use super::change::absent;
use super::sought::{Place, Sought};
use super::wants::{Want, Wanted};
use super::{Door, Error, Obtained, Outcome, Registry, sentences};
use crate::mesh;
use crate::store::{ArtifactRef, BlobInfo, Slot};

/// The kind of row that keeps a refused release: id → why.
pub(super) const REFUSED: &str = "refused";

/// Bytes that may leave the node: complete, verified, and allowed for this asker.
#[derive(Debug)]
pub struct VerifiedBytes {
    /// Size, digest and checksums.
    pub info: BlobInfo,
    /// Positioned at the start.
    pub file: tokio::fs::File,
    /// The name to save it under.
    pub filename: String,
    /// To be completed when the whole body was sent; absent where that pins nothing.
    pub completion: Option<Completion>,
}

impl VerifiedBytes {
    /// Takes it as received whole, without reading it: for who wants it to be held here.
    ///
    /// # Errors
    /// As [`Registry::artifact`], for one that was still arriving.
    pub async fn whole(self) -> Result<BlobInfo, Error> {
        if let Some(completion) = self.completion {
            completion.completed().await;
        }
        Ok(self.info)
    }
}

/// Pins what a client has received whole.
#[derive(Debug, Clone)]
pub struct Completion {
    registry: Registry,
    package: PackageId,
    source: Source,
    /// Of a realm: content by slot. An upstream's bytes are what its document declares.
    content: Option<(Slot, Content)>,
}

impl Completion {
    /// For a file of an upstream: the source of the name is pinned, as it was decided. What was
    /// asked for behind the upstream's own door says nothing about where the name comes from.
    pub(super) fn of_upstream(registry: &Registry, sought: &Sought) -> Option<Self> {
        (sought.door == Door::Virtual).then(|| Self {
            registry: registry.clone(),
            package: sought.package.clone(),
            source: sought.decision.source.clone(),
            content: None,
        })
    }

    /// The last byte was handed over: this node stands by what it gave.
    pub async fn completed(self) {
        let Self { registry, package, source, content } = self;
        let store = &registry.inner.store;
        let pinned = async {
            store.pin_source(&package, source, false).await?;
            match content {
                Some((slot, content)) => store.pin_content(&slot, content, false).await,
                None => Ok(false),
            }
        };
        if let Err(error) = pinned.await {
            tracing::warn!(%error, %package, "could not pin what was served");
        }
    }
}

impl Registry {
    /// A file asked for exactly, fetched from the mesh if it is not held.
    ///
    /// # Errors
    /// NotFound (no such version or file, or no source), Conflict (disputed and not pinned here),
    /// NotHere (known, but nobody in reach has it: it became a want), Corrupt (refused).
    pub async fn artifact(
        &self,
        door: Door,
        package: &PackageId,
        version: &str,
        file: &str,
    ) -> Result<VerifiedBytes, Error> {
        let version = self.normal_version(package, version)?;
        match self.place(door, package)? {
            Place::Realm(realm, decision) => {
                self.realm_artifact((realm, decision), package, version, file).await
            }
            Place::Upstream(sought) => self.upstream_artifact(&sought, &version, file).await,
        }
    }

    /// The same for a client that can take a big file while it arrives: no HEAD and no range.
    ///
    /// # Errors
    /// As [`Registry::artifact`].
    pub async fn obtain(
        &self,
        door: Door,
        package: &PackageId,
        version: &str,
        file: &str,
    ) -> Result<Obtained, Error> {
        let version = self.normal_version(package, version)?;
        match self.place(door, package)? {
            Place::Realm(realm, decision) => {
                self.realm_obtain((realm, decision), package, version, file).await
            }
            Place::Upstream(sought) => self.upstream_obtain(&sought, &version, file).await,
        }
    }

    async fn realm_artifact(
        &self,
        (realm, decision): (RealmId, Decision),
        package: &PackageId,
        version: String,
        file: &str,
    ) -> Result<VerifiedBytes, Error> {
        let place = (realm, decision);
        let (slot, content, completion) = self.signed_for(place, package, version, file)?;
        self.bring(&slot, &content).await?;
        let (info, opened) = self.open(&content.blake3, file).await?;
        let completion = Some(completion);
        Ok(VerifiedBytes { info, file: opened, filename: file.to_owned(), completion })
    }

    async fn realm_obtain(
        &self,
        place: (RealmId, Decision),
        package: &PackageId,
        version: String,
        file: &str,
    ) -> Result<Obtained, Error> {
        if self.inner.store.has_bucket() {
            let signed = self.signed_for(place.clone(), package, version.clone(), file)?;
            let (slot, content, completion) = signed;
            if let Some(arriving) = self.follow_slot((&slot, &content), completion).await? {
                return Ok(Obtained::Arriving(Box::new(arriving)));
            }
        }
        let held = self.realm_artifact(place, package, version, file).await?;
        Ok(Obtained::Held(Box::new(held)))
    }

    /// What a realm says that a file is, and what is pinned when it was handed over.
    fn signed_for(
        &self,
        (realm, decision): (RealmId, Decision),
        package: &PackageId,
        version: String,
        file: &str,
    ) -> Result<(Slot, Content, Completion), Error> {
        let view = self.inner.store.derived(&realm, package)?;
        let known = |view: &PackageView| {
            !view.versions.is_empty() || view.fallen.contains_key(version.as_str())
        };
        let Some(view) = view.filter(known) else {
            return Err(self.nothing_of(package, &realm, &decision));
        };
        let content = self.content_served(&view, &version, file)?;
        let slot = Slot { realm, package: package.clone(), version, file: file.to_owned() };
        let completion = Completion {
            registry: self.clone(),
            package: package.clone(),
            source: Source::Realm { realm },
            content: Some((slot.clone(), content.clone())),
        };
        Ok((slot, content, completion))
    }

    /// The realm behind a door, or the answer to give instead.
    pub(super) fn source_for(
        &self,
        door: Door,
        package: &PackageId,
    ) -> Result<(RealmId, Decision), Error> {
        match self.place(door, package)? {
            Place::Realm(realm, decision) => Ok((realm, decision)),
            Place::Upstream(sought) => Err(Error::not_found(format!(
                "{} comes from the upstream {}, and no realm publishes it here",
                package.name, sought.endpoint.url
            ))
            .with_hint(format!("griot why {} --format {}", package.name, package.format))),
        }
    }

    /// The content that this node serves for a slot by name.
    pub(super) fn content_served(
        &self,
        view: &PackageView,
        version: &str,
        file: &str,
    ) -> Result<Content, Error> {
        let package = &view.package;
        let found = view.versions.get(version).ok_or_else(|| {
            let fallen = sentences::of_all_fallen(view, version);
            let gone = absent(package, version);
            fallen.into_iter().next().map_or(gone, |note| {
                Error::not_found(format!("{} does not stand: {note}", package.name))
            })
        })?;
        let slot = found.files.get(file).ok_or_else(|| {
            let known: Vec<_> = found.files.keys().cloned().collect();
            Error::not_found(format!("{}@{version} has no file {file}", package.name))
                .with_hint(format!("its files are: {}", known.join(", ")))
        })?;
        let Some(content) = &slot.serves else {
            return Err(disputed(view, version, file));
        };
        if slot.state != SlotState::PinnedUnsupported && self.all_refused(slot, content) {
            return Err(Error::new(
                Outcome::Corrupt,
                format!("{}@{version} is refused here: its bytes contradict it", package.name),
            )
            .with_hint(format!("griot why {} --format {}", package.name, package.format)));
        }
        Ok(content.clone())
    }

    /// Whether every release that carries the content was refused here.
    pub(super) fn all_refused(&self, slot: &crdt::derive::FileView, content: &Content) -> bool {
        let refused = self.inner.refused.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if refused.is_empty() {
            return false;
        }
        let candidate = slot.candidates.iter().find(|candidate| candidate.content == *content);
        candidate.is_some_and(|found| found.releases.iter().all(|id| refused.contains(id)))
    }

    /// Any artifact of a followed realm, or any blob held, by its digest, disputed or not.
    ///
    /// # Errors
    /// NotFound (no followed realm names it), NotHere (nobody in reach has it).
    pub async fn by_digest(&self, digest: &Digest) -> Result<VerifiedBytes, Error> {
        let known = self.inner.store.artifact(digest)?;
        let filename = filename_of(&known, digest);
        if self.inner.store.blob(digest)?.is_none() {
            let Some(found) = known.into_iter().next() else {
                return Err(nobody_names(digest));
            };
            self.fetch_artifact(&found).await?;
        }
        let (info, file) = self.open(digest, &filename).await?;
        Ok(VerifiedBytes { info, file, filename, completion: None })
    }

    /// The same for a client that can take a big file while it arrives: no HEAD and no range.
    ///
    /// # Errors
    /// As [`Registry::by_digest`].
    pub async fn obtain_digest(&self, digest: &Digest) -> Result<Obtained, Error> {
        let filename = filename_of(&self.inner.store.artifact(digest)?, digest);
        if let Some(arriving) = self.follow_known(digest, (None, &filename), None).await? {
            return Ok(Obtained::Arriving(Box::new(arriving)));
        }
        Ok(Obtained::Held(Box::new(self.by_digest(digest).await?)))
    }

    pub(super) async fn fetch_artifact(&self, found: &ArtifactRef) -> Result<(), Error> {
        let slot = Slot {
            realm: found.realm,
            package: found.package.clone(),
            version: found.version.clone(),
            file: found.file.clone(),
        };
        self.fetch(&slot, &found.digest, found.size).await
    }

    /// Makes sure that the bytes of a slot are held, and that they are what was signed for.
    pub(super) async fn bring(&self, slot: &Slot, content: &Content) -> Result<(), Error> {
        let mut info = self.inner.store.blob(&content.blake3)?;
        if info.is_none() {
            self.fetch(slot, &content.blake3, content.size).await?;
            info = self.inner.store.blob(&content.blake3)?;
        }
        let agrees = info.is_some_and(|info| {
            let (ours, theirs) = (&info.checksums, &content.checksums);
            let sha512 =
                ours.sha512.is_none() || theirs.sha512.is_none() || ours.sha512 == theirs.sha512;
            info.size == content.size && ours.sha256 == theirs.sha256 && sha512
        });
        if agrees {
            return Ok(());
        }
        Err(Error::new(
            Outcome::Corrupt,
            format!(
                "{} of {}: the signed checksums are not those of its bytes",
                slot.file, slot.package
            ),
        ))
    }

    /// Fetches from the mesh and looks at what came; a miss becomes a want.
    async fn fetch(&self, slot: &Slot, digest: &Digest, size: u64) -> Result<(), Error> {
        let fetched = match self.mesh() {
            Some(mesh) => mesh.fetch(*digest, size).await,
            None => Err(mesh::Error::Nowhere(*digest)),
        };
        let waits = match &fetched {
            Err(mesh::Error::Waits(_, why)) => Some(why.clone()),
            _ => None,
        };
        let fetched = fetched.map_err(Error::from);
        if let Err(error) = fetched {
            if error.outcome == Outcome::NotHere {
                let Slot { package, version, file, .. } = slot.clone();
                self.want(
                    digest,
                    Want { package, version, file, size, of: Wanted::Artifact, since: 0 },
                )
                .await?;
                if let Some(why) = waits {
                    let (file, package) = (&slot.file, &slot.package);
                    let message = format!("{file} of {package} is wanted now, and waits: {why}");
                    return Err(Error::not_here(message).with_hint("griot budget show"));
                }
                return Err(Error::not_here(format!(
                    "{} of {} is known, but neither held here nor by a connected peer; \
                     it is wanted now",
                    slot.file, slot.package
                ))
                .with_hint("griot peer list"));
            }
            return Err(error);
        }
        self.fulfil(digest).await?;
        self.check_meta(digest).await
    }

    /// Runs the extractor over bytes that have just arrived; a release that they contradict is
    /// refused here.
    pub(super) async fn check_meta(&self, digest: &Digest) -> Result<(), Error> {
        // What a release carries beside its files has no checksums, and no meta to compare.
        let files = |found: &ArtifactRef| found.checksums.is_some();
        for found in self.inner.store.artifact(digest)?.into_iter().filter(files) {
            let Some(extract) = self.rules(&found.package.format).and_then(|rules| rules.extract)
            else {
                continue;
            };
            let Some((_, file)) = self.inner.store.open_blob(digest).await? else { continue };
            let mut file = file.into_std().await;
            let name = found.file.clone();
            let extracted = tokio::task::spawn_blocking(move || extract(&mut file, &name))
                .await
                .map_err(|_| Error::invalid("the archive could not be read"))?;
            let why = match extracted {
                Err(why) => Some(why),
                Ok(extracted) => self.contradiction(&found, &extracted)?,
            };
            if let Some(why) = why {
                self.refuse(found.release, &why).await?;
            }
        }
        Ok(())
    }

    /// How a release's meta differs from what its bytes say, if this node can judge it.
    fn contradiction(
        &self,
        found: &ArtifactRef,
        extracted: &super::Extracted,
    ) -> Result<Option<String>, Error> {
        let Some(statement) = self.inner.store.statement(&found.release)? else { return Ok(None) };
        let Body::Release(release) = statement.statement().body() else { return Ok(None) };
        let file = release.files.iter().find(|file| file.name == found.file);
        let Some(meta) = file.and_then(|file| file.meta.as_ref()) else { return Ok(None) };
        if meta.version != extracted.extractor_version {
            return Ok(None);
        }
        let same = match &meta.body {
            MetaBody::Inline(bytes) => *bytes == extracted.meta,
            MetaBody::Blob(blob) => blob.digest == Digest::of(&extracted.meta),
        };
        Ok((!same)
            .then(|| "what the statement says of the archive is not in the archive".to_owned()))
    }

    async fn refuse(&self, release: StatementId, why: &str) -> Result<(), Error> {
        tracing::warn!(%release, why, "refused a release");
        let key = release.to_string();
        self.inner.store.put_row(REFUSED, &key, why.as_bytes().to_vec()).await?;
        let mut refused =
            self.inner.refused.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        refused.insert(release);
        drop(refused);
        self.inner.store.count_change();
        Ok(())
    }

    pub(super) async fn open(
        &self,
        digest: &Digest,
        filename: &str,
    ) -> Result<(BlobInfo, tokio::fs::File), Error> {
        let opened = self.inner.store.open_blob(digest).await?;
        opened.ok_or_else(|| Error::not_here(format!("{filename} is not held here any more")))
    }

    /// The answer when the source of a name is a realm of which nothing has arrived.
    pub(super) fn nothing_of(
        &self,
        package: &PackageId,
        realm: &RealmId,
        decision: &Decision,
    ) -> Error {
        let name = &package.name;
        if *realm == self.inner.own {
            return Error::not_found(format!("{name} is not published here"))
                .with_hint(format!("griot search {name}"));
        }
        tracing::debug!(ground = ?decision.ground, %realm, name, "nothing held of a routed name");
        // If the store cannot say, the plainer sentence is true as well.
        let followed = self.inner.store.followed();
        if followed.is_ok_and(|all| all.iter().all(|known| known.realm != *realm)) {
            let message = format!("{name} comes from {realm}, which is not followed here");
            return Error::not_here(message).with_hint(format!("griot follow {realm}"));
        }
        let statements = self.inner.store.package_statements(realm, package);
        if statements.is_ok_and(|statements| !statements.is_empty()) {
            return Error::not_found(format!("no version of {name} stands in {realm} any more"))
                .with_hint(format!("griot why {name} --format {}", package.format));
        }
        Error::not_here(format!(
            "{name} comes from {realm}, and nothing of it has arrived here yet"
        ))
        .with_hint("griot peer list")
    }
}

/// The answer for bytes that no statement names.
pub(super) fn nobody_names(digest: &Digest) -> Error {
    Error::not_found(format!("no followed realm has a file {digest}"))
}

/// The name under which a file is saved that was asked for by its digest.
fn filename_of(known: &[ArtifactRef], digest: &Digest) -> String {
    let named = known.iter().find(|found| found.checksums.is_some());
    named.map_or_else(|| digest.to_hex(), |found| found.file.clone())
}

/// The sentence for a slot that nobody is given by name.
fn disputed(view: &PackageView, version: &str, file: &str) -> Error {
    let name = &view.package.name;
    let candidates = view.versions.get(version).and_then(|found| found.files.get(file));
    let signed: Vec<String> = candidates
        .map(|slot| {
            slot.candidates
                .iter()
                .map(|candidate| {
                    let digest = &candidate.content.blake3.to_hex()[..12];
                    let signer = candidate.signers.first().map(ToString::to_string);
                    format!("{digest} by {:.12}", signer.unwrap_or_default())
                })
                .collect()
        })
        .unwrap_or_default();
    Error::conflict(format!(
        "{name}@{version} is disputed: {file} was signed with different bytes ({}), \
         and nobody is switched silently",
        signed.join(", ")
    ))
    .with_hint(format!("griot info {name} --format {}", view.package.format))
}
