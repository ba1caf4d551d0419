//! Publishing: who may, into which realm, then one commit with all of it, then the answer.
//!
//! The bytes are durable before the commit that names them, and the commit before the answer. The
//! records of the blobs, the release, its tags and the pins are in one commit: a crash leaves all
//! of them or none, and the same publish succeeds again. Publishes at the same time share the
//! commit; what is there is looked at inside it. A version never changes: the slot (version, file
//! name) is checked against every release that a granted key ever signed for it, withdrawn ones
//! too.
//!
//! Does not read the client's request (`formats`) and does not announce: the mesh hears of every
//! admission by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use crdt::derive::{Fallen, FallenRelease};
use crdt::routes::Source;
use crdt::statement::{BlobRef, Counter, File, Meta, MetaBody, Release};
use crdt::{Body, Content, Digest, PackageId, RealmId, Statement, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::rules::Extracted;
use super::slots::{content_of, content_of_staged, contents_of, refuse_taken, same_bytes};
use super::{Error, Outcome, Principal, Registry, Rules, refuse_ignored};
use crate::store::blob::{BlobWriter, Staged};
use crate::store::{Hashes, Moment, Plan, Slot};

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
    /// Signatures of other publishers that it takes until the release stands.
    #[serde(default)]
    pub needs: u32,
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
    /// format refuses, and for a tag that it does not take; Conflict for a slot with other bytes.
    pub async fn publish(
        &self,
        who: &Principal,
        publication: Publication,
    ) -> Result<Published, Error> {
        self.publish_if(who, publication, |_| Ok(())).await
    }

    /// The same, if what its archive says fits: so that an archive is read once. `fits` is asked
    /// of every file of a format that reads archives, and says why it does not.
    ///
    /// # Errors
    /// As [`Registry::publish`]; Invalid for what does not fit.
    pub async fn publish_if(
        &self,
        who: &Principal,
        publication: Publication,
        fits: impl Fn(&Extracted) -> Result<(), String> + Send + 'static,
    ) -> Result<Published, Error> {
        let realm = self
            .check_publish(who, publication.format, &publication.name, publication.realm)
            .await?;
        let rules = *self.require_rules(publication.format)?;
        let package = self.package_id(publication.format, &publication.name)?;
        let version = (rules.canonical_version)(&publication.version).map_err(Error::invalid)?;
        check_file_names(&rules, &package, &version, &publication)?;
        for tag in &publication.tags {
            (rules.tag_name)(tag).map_err(Error::invalid)?;
        }
        let place = (&package, &*version);
        let (publication, extracted) = extract_all(rules, place, publication, fits).await?;
        self.refuse_spelling((&rules, &realm), &package, &extracted).await?;

        let (written, tags) = (publication.version.clone(), publication.tags.clone());
        let draft = Draft { realm, package, version, written, rules, tags };
        // Before anything is written for what cannot be. Whether it may be is decided later.
        draft.look(self, &self.inner.store.moment()?, &contents_of(&publication))?;
        let (release, staged) = self.stage_release(&draft, publication, extracted).await?;
        let package = draft.package.clone();
        let mut published = self
            .change(staged, move |registry, moment| draft.decide(registry, moment, release))
            .await?;
        published.routed = self.is_routed(&package)?;
        Ok(published)
    }

    /// Refuses another spelling of a name than the package has, where clients go by it.
    async fn refuse_spelling(
        &self,
        (rules, realm): (&Rules, &RealmId),
        package: &PackageId,
        extracted: &[Option<Extracted>],
    ) -> Result<(), Error> {
        let Some(spelling) = rules.spelling else { return Ok(()) };
        let Some(there) = self.newest_meta(rules, realm, package).await? else { return Ok(()) };
        let Some(there) = spelling(&there) else { return Ok(()) };
        let news = extracted.iter().flatten().map(|extracted| &extracted.name);
        let Some(other) = news.into_iter().find(|name| **name != there) else { return Ok(()) };
        let why = format!("the package is called {there} here, not {other}");
        Err(Error::conflict(why).with_hint(format!("write {there:?} in its manifest")))
    }

    /// Decides about a change of a package, and keeps all of it in one commit that those at the
    /// same time share.
    pub(super) async fn change<T, F>(&self, blobs: Vec<Staged>, decide: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Moment<'_>) -> Result<(Plan, T), Error> + Send + 'static,
    {
        let registry = self.clone();
        let decide = move |moment: &Moment<'_>| decide(&registry, moment);
        let (value, admission) = self.inner.store.publish(blobs, decide).await?;
        refuse_ignored(&admission)?;
        Ok(value)
    }

    /// The content of the statement, and all that it names: files first, as they came.
    async fn stage_release(
        &self,
        draft: &Draft,
        publication: Publication,
        extracted: Vec<Option<Extracted>>,
    ) -> Result<(Release, Vec<Staged>), Error> {
        let mut files = Vec::with_capacity(publication.files.len());
        let (mut staged, mut beside) = (Vec::new(), Vec::new());
        let mut extras = None;
        let mut inline = 0;
        for ((name, file), extracted) in publication.files.into_iter().zip(extracted) {
            let Content { size, blake3, checksums } = content_of_staged(&file);
            staged.push(file);
            let meta = match extracted {
                Some(extracted) => {
                    if let Some(readme) = &extracted.readme {
                        extras = Some(self.stage_bytes(readme, &mut beside).await?);
                    }
                    let sizes = (&mut inline, &mut beside);
                    Some(self.meta(publication.format, extracted, sizes).await?)
                }
                None => None,
            };
            files.push(File { name, size, blake3, checksums, meta });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        staged.append(&mut beside);
        let release = Release {
            version: draft.version.clone(),
            written: publication.version,
            files,
            extras,
            claimed_time: publication.claimed_time.unwrap_or_else(now_seconds),
        };
        Ok((release, staged))
    }

    async fn meta(
        &self,
        format: &str,
        extracted: Extracted,
        (inline, beside): (&mut usize, &mut Vec<Staged>),
    ) -> Result<Meta, Error> {
        *inline += extracted.meta.len();
        let body = if *inline <= INLINE_META_MAX {
            MetaBody::Inline(extracted.meta)
        } else {
            *inline -= extracted.meta.len();
            MetaBody::Blob(self.stage_bytes(&extracted.meta, beside).await?)
        };
        Ok(Meta { extractor: format.to_owned(), version: extracted.extractor_version, body })
    }

    /// Stages a small blob that a statement refers to.
    async fn stage_bytes(&self, bytes: &[u8], beside: &mut Vec<Staged>) -> Result<BlobRef, Error> {
        let mut writer = self.inner.store.writer(Hashes::default(), ARTIFACT_MAX).await?;
        writer.write(bytes::Bytes::copy_from_slice(bytes)).await?;
        let staged = writer.finish().await?;
        let named = BlobRef { digest: staged.info().digest, size: staged.info().size };
        beside.push(staged);
        Ok(named)
    }

    /// Signs with this node's publisher key.
    pub(super) fn sign(
        &self,
        realm: RealmId,
        package: &PackageId,
        body: Body,
    ) -> Result<Verified, Error> {
        let statement = Statement::new(realm, Some(package.clone()), body)?;
        Ok(Verified::sign(statement, &[&self.inner.publisher]))
    }

    /// A statement that points a tag at a release, or removes it.
    pub(super) fn tag(
        &self,
        moment: &Moment<'_>,
        (realm, package): (RealmId, &PackageId),
        (tag, release): (&str, Option<StatementId>),
    ) -> Result<Verified, Error> {
        let view = moment.derived(&realm, package)?;
        let last = view.and_then(|view| view.tag_counters.get(tag).copied()).unwrap_or_default();
        let epoch = self.inner.store.authority(&realm)?.epoch();
        let counter = Counter { epoch, n: moment.next_counter(last.last_in(epoch))? };
        self.sign(realm, package, Body::Tag { tag: tag.to_owned(), release, counter })
    }

    /// Whether a rule that people wrote names the source, rather than the publication alone.
    fn is_routed(&self, package: &PackageId) -> Result<bool, Error> {
        let table = self.table()?;
        Ok(table.routed_realm(package).is_some())
    }
}

/// A publish that may be asked whether it can be.
struct Draft {
    realm: RealmId,
    package: PackageId,
    version: String,
    /// The version as the client wrote it.
    written: String,
    rules: Rules,
    tags: Vec<String>,
}

impl Draft {
    /// The release that has the same bytes already; refuses if the slots have others.
    fn look(
        &self,
        registry: &Registry,
        moment: &Moment<'_>,
        contents: &[(String, Content)],
    ) -> Result<Option<StatementId>, Error> {
        let place = (&self.realm, &self.package);
        let taken = registry.taken_slots(moment, place, &self.version)?;
        if let Some(release) = same_bytes(&taken, contents) {
            return Ok(Some(release));
        }
        refuse_taken(&self.rules, &self.package, &self.written, &taken, contents)?;
        self.refuse_yanked(moment)?;
        self.refuse_twin(moment)?;
        Ok(None)
    }

    /// A yank is of all releases of a version: a file that joins would bring the others back.
    fn refuse_yanked(&self, moment: &Moment<'_>) -> Result<(), Error> {
        let view = moment.derived(&self.realm, &self.package)?;
        let found = view.as_ref().and_then(|view| view.versions.get(&self.version));
        if found.is_none_or(|found| found.yanked.is_none()) {
            return Ok(());
        }
        let (PackageId { format, name }, version) = (&self.package, &self.written);
        Err(Error::conflict(format!("{name}@{version} is yanked: a new file would bring it back"))
            .with_hint(format!("griot unyank {name}@{version} --format {format}")))
    }

    /// A new name that clients cannot tell from one that is there would be theirs in turns.
    fn refuse_twin(&self, moment: &Moment<'_>) -> Result<(), Error> {
        if moment.derived(&self.realm, &self.package)?.is_some() {
            return Ok(());
        }
        for twin in (self.rules.twins)(&self.package.name) {
            let other = PackageId::new(&self.package.format, &twin);
            if moment.derived(&self.realm, &other)?.is_some() {
                let name = &self.package.name;
                let why = format!("clients cannot tell {name} from {twin}, which is there already");
                return Err(Error::new(Outcome::Conflict, why)
                    .with_hint(format!("publish it as {twin}, or under another name")));
            }
        }
        Ok(())
    }

    /// Inside the transaction: signs the release, unless the same bytes are there (then lost tags
    /// are set again, and the bytes are kept), its tags, and what this node commits itself to.
    fn decide(
        self,
        registry: &Registry,
        moment: &Moment<'_>,
        release: Release,
    ) -> Result<(Plan, Published), Error> {
        registry.require_grant(&self.package, &self.realm)?;
        let file = |file: &File| (file.name.clone(), content_of(file));
        let contents: Vec<_> = release.files.iter().map(file).collect();
        let (realm, mut plan) = (self.realm, Plan::default());
        let there = self.look(registry, moment, &contents)?;
        let mut needs = 0;
        let id = match there {
            Some(id) => id,
            None => {
                let (signed, lacks) = self.signed(registry, moment, release)?;
                let id = signed.statement().id();
                // What does not stand yet is nothing to hold on to.
                if lacks == 0 {
                    plan = self.commitments(&contents);
                }
                plan.statements.push(signed);
                needs = lacks;
                id
            }
        };
        for tag in &self.tags {
            let place = (realm, &self.package);
            plan.statements.push(registry.tag(moment, place, (tag, Some(id)))?);
        }
        let published = Published {
            format: self.package.format,
            name: self.package.name,
            version: self.written,
            realm,
            release: id,
            files: contents.iter().map(published_file).collect(),
            new: there.is_none(),
            routed: false,
            needs,
        };
        Ok((plan, published))
    }

    /// The release with this node's signature, and how many others it lacks: another publisher's
    /// statement about the same files, or a new one.
    fn signed(
        &self,
        registry: &Registry,
        moment: &Moment<'_>,
        release: Release,
    ) -> Result<(Verified, u32), Error> {
        let need = registry.inner.store.publishers(&self.realm, &self.package)?.need;
        if need > 1 {
            let view = moment.derived(&self.realm, &self.package)?;
            let fallen = view
                .into_iter()
                .flat_map(|mut view| view.fallen.remove(&self.version).unwrap_or_default());
            let own = registry.publisher_key();
            for FallenRelease { release: id, why, signers, .. } in fallen {
                let Fallen::Signers { have, .. } = why else { continue };
                let have = if signers.contains(&own) { have } else { have + 1 };
                let held = registry.inner.store.statement(&id)?;
                let Some(held) = held.map(|held| held.statement().clone()) else { continue };
                if matches!(held.body(), Body::Release(other) if other.files == release.files) {
                    let signed = Verified::sign(held, &[&registry.inner.publisher]);
                    return Ok((signed, need.saturating_sub(have)));
                }
            }
        }
        let signed = registry.sign(self.realm, &self.package, Body::Release(release))?;
        Ok((signed, need.saturating_sub(1)))
    }

    /// Where the name comes from, and what the files are.
    fn commitments(&self, contents: &[(String, Content)]) -> Plan {
        let Self { realm, package, version, .. } = self;
        let slot = |file: &String| Slot {
            realm: *realm,
            package: package.clone(),
            version: version.clone(),
            file: file.clone(),
        };
        Plan {
            source: Some((package.clone(), Source::Realm { realm: *realm })),
            pins: contents.iter().map(|(file, content)| (slot(file), content.clone())).collect(),
            ..Plan::default()
        }
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
    (package, version): (&PackageId, &str),
    publication: Publication,
    fits: impl Fn(&Extracted) -> Result<(), String> + Send + 'static,
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
            (rules.admits)(&extracted.meta)
                .and_then(|()| fits(&extracted))
                .map_err(|why| Error::invalid(format!("{name}: {why}")))?;
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

fn published_file((name, content): &(String, Content)) -> PublishedFile {
    let Content { size, blake3, checksums } = content;
    let sha256 = crdt::digest::to_hex(&checksums.sha256);
    PublishedFile { filename: name.clone(), size: *size, digest: *blake3, sha256 }
}

/// This node's clock, for `claimed_time` alone: a label that decides nothing.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
