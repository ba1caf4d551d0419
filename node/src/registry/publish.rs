//! Publishing: who may, into which realm, then blobs durable, statement admitted, answer.
//!
//! The order is what makes a crash harmless: the bytes are durable before the statement that
//! names them, the statement before the answer. A crash between the two leaves blobs that nothing
//! names; the same publish succeeds again. A version never changes: the slot (version, file name)
//! is checked against every release that a granted key ever signed for it, withdrawn ones too.
//!
//! Does not read the client's request (`formats`) and does not announce: the mesh hears of every
//! admission by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use crdt::routes::Source;
use crdt::statement::{BlobRef, Counter, File, Meta, MetaBody, Release};
use crdt::{Body, Content, Digest, PackageId, RealmId, Statement, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::rules::Extracted;
use super::slots::{content_of, contents_of, refuse_taken, same_bytes};
use super::{Error, Principal, Registry, Rules};
use crate::store::blob::{BlobWriter, Staged};
use crate::store::{Hashes, Slot};

/// Meta that is larger travels as a blob. Source: trust.md section 12.
const INLINE_META_MAX: usize = 16 * 1024;
/// The largest artifact. Source: trust.md section 12.
pub(super) const ARTIFACT_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// One upload, already staged and hashed.
#[derive(Debug)]
pub struct Publication {
    /// The format's id.
    pub format: &'static str,
    /// The name as the client wrote it.
    pub name: String,
    /// The version as the client wrote it.
    pub version: String,
    /// (file name, staged bytes); one or more.
    pub files: Vec<(String, Staged)>,
    /// Tags that the version shall carry.
    pub tags: Vec<String>,
    /// The realm asked for; `None`: where the name is routed.
    pub realm: Option<RealmId>,
    /// Seconds since 1970 to write down; `None`: this node's clock. Decides nothing.
    pub claimed_time: Option<u64>,
}

/// What a publish did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The format's id.
    pub format: String,
    /// The normal name.
    pub name: String,
    /// The version as it was written.
    pub version: String,
    /// The realm it went to.
    pub realm: RealmId,
    /// The statement that carries it.
    pub release: StatementId,
    /// What was stored.
    pub files: Vec<PublishedFile>,
    /// False: the same bytes were there already.
    pub new: bool,
    /// Whether a route names the source; if not, `griot publish` adds one.
    pub routed: bool,
}

/// One file of a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// File name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3.
    pub digest: Digest,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

impl Registry {
    /// A place to stream one file of the format into.
    ///
    /// # Errors
    /// [`super::Outcome::Unavailable`] when the disk is full.
    pub async fn stage(&self, format: &str) -> Result<BlobWriter, Error> {
        let hashes = self.require_rules(format)?.hashes;
        Ok(self.inner.store.writer(hashes, ARTIFACT_MAX).await?)
    }

    /// Publishes what was staged. Visible here, offline too, when it returns.
    ///
    /// # Errors
    /// As [`Registry::check_publish`]; Invalid for an archive that says something else or that the
    /// format refuses; Conflict for a slot with other bytes.
    pub async fn publish(
        &self,
        who: &Principal,
        publication: Publication,
    ) -> Result<Published, Error> {
        let realm = self
            .check_publish(who, publication.format, &publication.name, publication.realm)
            .await?;
        let rules = *self.require_rules(publication.format)?;
        let package = self.package_id(publication.format, &publication.name)?;
        let version = (rules.canonical_version)(&publication.version).map_err(Error::invalid)?;
        check_file_names(&rules, &package, &version, &publication)?;
        let (publication, extracted) = extract_all(rules, &package, &version, publication).await?;

        let _one_at_a_time = self.inner.publishing.lock().await;
        let taken = self.taken_slots(&realm, &package, &version)?;
        let contents = contents_of(&publication);
        if let Some(release) = same_bytes(&taken, &contents) {
            return self.already_there(&realm, &package, publication, release).await;
        }
        refuse_taken(&rules, &package, &publication.version, &taken, &contents)?;

        let release = self.store_files(&version, publication, extracted).await?;
        self.admit_release(realm, package, release).await
    }

    /// The same bytes once more: nothing to sign; lost tags are set again, and the bytes are kept.
    async fn already_there(
        &self,
        realm: &RealmId,
        package: &PackageId,
        publication: Publication,
        release: StatementId,
    ) -> Result<Published, Error> {
        let mut files = Vec::new();
        for (name, staged) in publication.files {
            let info = self.inner.store.commit(staged).await?;
            files.push(published_file(&name, info.size, &info.digest, &info.checksums.sha256));
        }
        self.sign_tags(realm, package, &publication.tags, release).await?;
        Ok(Published {
            format: package.format.clone(),
            name: package.name.clone(),
            version: publication.version,
            realm: *realm,
            release,
            files,
            new: false,
            routed: self.is_routed(package)?,
        })
    }

    /// Makes the staged files blobs and the statement's content. Durable when it returns.
    async fn store_files(
        &self,
        version: &str,
        publication: Publication,
        extracted: Vec<Option<Extracted>>,
    ) -> Result<(Release, Vec<String>), Error> {
        let mut files = Vec::with_capacity(publication.files.len());
        let mut extras = None;
        let mut inline = 0;
        for ((name, staged), extracted) in publication.files.into_iter().zip(extracted) {
            let info = self.inner.store.commit(staged).await?;
            let meta = match extracted {
                Some(extracted) => {
                    if let Some(readme) = &extracted.readme {
                        extras = Some(self.store_bytes(readme).await?);
                    }
                    Some(self.meta(publication.format, extracted, &mut inline).await?)
                }
                None => None,
            };
            let checksums = info.checksums;
            files.push(File { name, size: info.size, blake3: info.digest, checksums, meta });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let release = Release {
            version: version.to_owned(),
            written: publication.version,
            files,
            extras,
            claimed_time: publication.claimed_time.unwrap_or_else(now_seconds),
        };
        Ok((release, publication.tags))
    }

    async fn meta(
        &self,
        format: &str,
        extracted: Extracted,
        inline: &mut usize,
    ) -> Result<Meta, Error> {
        *inline += extracted.meta.len();
        let body = if *inline <= INLINE_META_MAX {
            MetaBody::Inline(extracted.meta)
        } else {
            *inline -= extracted.meta.len();
            MetaBody::Blob(self.store_bytes(&extracted.meta).await?)
        };
        Ok(Meta { extractor: format.to_owned(), version: extracted.extractor_version, body })
    }

    /// Stores a small blob that a statement refers to.
    async fn store_bytes(&self, bytes: &[u8]) -> Result<BlobRef, Error> {
        let mut writer = self.inner.store.writer(Hashes::default(), ARTIFACT_MAX).await?;
        writer.write(bytes::Bytes::copy_from_slice(bytes)).await?;
        let info = self.inner.store.commit(writer.finish().await?).await?;
        Ok(BlobRef { digest: info.digest, size: info.size })
    }

    /// Signs, admits, pins. The release is public from here on.
    async fn admit_release(
        &self,
        realm: RealmId,
        package: PackageId,
        (release, tags): (Release, Vec<String>),
    ) -> Result<Published, Error> {
        let version = release.version.clone();
        let written = release.written.clone();
        let slots: Vec<_> =
            release.files.iter().map(|file| (file.name.clone(), content_of(file))).collect();
        let statement = Statement::new(realm, Some(package.clone()), Body::Release(release))?;
        let id = statement.id();
        self.sign_and_admit(statement).await?;
        self.sign_tags(&realm, &package, &tags, id).await?;

        let routed = self.is_routed(&package)?;
        self.inner.store.pin_source(&package, Source::Realm { realm }, false).await?;
        let mut files = Vec::new();
        for (name, content) in slots {
            let Content { size, blake3, checksums } = &content;
            files.push(published_file(&name, *size, blake3, &checksums.sha256));
            let slot =
                Slot { realm, package: package.clone(), version: version.clone(), file: name };
            self.inner.store.pin_content(&slot, content, false).await?;
        }
        let PackageId { format, name } = package;
        Ok(Published {
            format,
            name,
            version: written,
            realm,
            release: id,
            files,
            new: true,
            routed,
        })
    }

    /// Signs with this node's publisher key and admits.
    pub(super) async fn sign_and_admit(&self, statement: Statement) -> Result<(), Error> {
        let signed = Verified::sign(statement, &[&self.inner.publisher]);
        self.admit(vec![signed]).await?;
        Ok(())
    }

    async fn sign_tags(
        &self,
        realm: &RealmId,
        package: &PackageId,
        tags: &[String],
        release: StatementId,
    ) -> Result<(), Error> {
        for tag in tags {
            self.sign_tag(realm, package, tag, Some(release)).await?;
        }
        Ok(())
    }

    /// Points a tag at a release, or removes it.
    pub(super) async fn sign_tag(
        &self,
        realm: &RealmId,
        package: &PackageId,
        tag: &str,
        release: Option<StatementId>,
    ) -> Result<(), Error> {
        let view = self.inner.store.derived(realm, package)?;
        let last = view.and_then(|view| view.tag_counters.get(tag).copied()).unwrap_or(0);
        let epoch = self.inner.store.authority(realm)?.epoch();
        let counter = Counter { epoch, n: self.inner.store.next_counter(last)? };
        let body = Body::Tag { tag: tag.to_owned(), release, counter };
        self.sign_and_admit(Statement::new(*realm, Some(package.clone()), body)?).await
    }

    /// Whether a rule that people wrote names the source, rather than the publication alone.
    fn is_routed(&self, package: &PackageId) -> Result<bool, Error> {
        let table = self.table()?;
        Ok(table.routed_realm(package).is_some())
    }
}

fn check_file_names(
    rules: &Rules,
    package: &PackageId,
    version: &str,
    publication: &Publication,
) -> Result<(), Error> {
    if publication.files.is_empty() {
        return Err(Error::invalid("a release needs at least one file"));
    }
    if let Some(file_name) = rules.file_name {
        let only = file_name(&package.name, version);
        if publication.files.len() != 1 || publication.files[0].0 != only {
            return Err(Error::invalid(format!("the one file of this version is called {only}")));
        }
    }
    Ok(())
}

/// Runs the format's extractor over each staged file, off the async threads, and compares what the
/// archive says with what was asked for.
async fn extract_all(
    rules: Rules,
    package: &PackageId,
    version: &str,
    publication: Publication,
) -> Result<(Publication, Vec<Option<Extracted>>), Error> {
    let Some(extract) = rules.extract else {
        let none = publication.files.iter().map(|_| None).collect();
        return Ok((publication, none));
    };
    let run = move || {
        let mut all = Vec::new();
        for (name, staged) in &publication.files {
            let mut file = staged.open()?;
            let extracted = extract(&mut file, name).map_err(Error::invalid)?;
            all.push(Some(extracted));
        }
        Ok::<_, Error>((publication, all))
    };
    let (publication, all) = tokio::task::spawn_blocking(run)
        .await
        .map_err(|_| Error::invalid("the archive could not be read"))??;
    for extracted in all.iter().flatten() {
        let name = (rules.canonical_name)(&extracted.name).map_err(Error::invalid)?;
        let says = (rules.canonical_version)(&extracted.version).map_err(Error::invalid)?;
        if name != package.name || says != version {
            return Err(Error::invalid(format!(
                "the archive says {}@{}, the request {}@{version}",
                extracted.name, extracted.version, package.name
            )));
        }
    }
    Ok((publication, all))
}

fn published_file(name: &str, size: u64, digest: &Digest, sha256: &[u8]) -> PublishedFile {
    let sha256 = crdt::digest::to_hex(sha256);
    PublishedFile { filename: name.to_owned(), size, digest: *digest, sha256 }
}

/// This node's clock, for `claimed_time` alone: a label that decides nothing.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
