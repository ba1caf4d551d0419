//! What a person is told about a package of an upstream: `info`, `why`, `add`.
//!
//! `why` asks nobody: it says what is held, on whose word, and what is hidden for which reason.

use std::collections::BTreeSet;

use crdt::PackageId;
use crdt::digest::to_hex;

use super::documents::DocumentAsk;
use super::freshness::{self, age_words};
use super::sought::{Place, Sought};
use super::{
    Added, Door, Error, Info, InfoArtifact, InfoVersion, OutlineVersion, Registry, UpstreamDocument,
};
use crate::store::BlobInfo;
use crate::store::cached::{CachedBy, CachedDocument};

/// Versions that one sentence names.
const NAMED_MAX: usize = 5;

impl Registry {
    /// A document of any form, for people: what is held, else the smallest.
    async fn any_document(&self, sought: &Sought) -> Result<UpstreamDocument, Error> {
        let smallest = sought.rules.variants.last().map_or("", |variant| variant.name);
        let ask = DocumentAsk { variant: smallest, refresh: false, wanted: false };
        self.upstream_document(sought, ask).await
    }

    pub(super) async fn upstream_info(&self, sought: &Sought) -> Result<Info, Error> {
        let document = self.any_document(sought).await?;
        let mut order: Vec<&OutlineVersion> = document.outline.versions.iter().collect();
        order.sort_by(|a, b| (sought.format.compare_versions)(&a.version, &b.version));
        let mut versions = Vec::new();
        for version in order {
            versions.push(self.upstream_version(sought, &document, version)?);
        }
        let PackageId { format, name } = sought.package.clone();
        let tags = document.tags.unwrap_or_else(|| document.outline.tags.clone());
        let source = sought.decision.clone();
        let (publishers, fallen, notes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Info { format, name, source, versions, tags, publishers, need: 0, fallen, notes })
    }

    fn upstream_version(
        &self,
        sought: &Sought,
        document: &UpstreamDocument,
        version: &OutlineVersion,
    ) -> Result<InfoVersion, Error> {
        let mut artifacts = Vec::new();
        for file in &version.files {
            let held = self.held_info(sought, &version.version, &file.file)?;
            let held = match held {
                Some(held) => Some(held),
                None => match self.blob_of(&file.declared)? {
                    Some(digest) => self.inner.store.blob(&digest)?,
                    None => None,
                },
            };
            let declared = file.declared.sha256.map(|sum| to_hex(&sum));
            artifacts.push(InfoArtifact {
                filename: file.file.clone(),
                size: held.as_ref().map(|info| info.size).or(file.size),
                digest: held.as_ref().map(|info| info.digest),
                sha256: held.as_ref().map(|info| to_hex(&info.checksums.sha256)).or(declared),
                held: held.is_some(),
                signers: Vec::new(),
            });
        }
        let offered = document.offered.as_ref();
        let hidden = offered.is_some_and(|offered| !offered.contains(&version.version));
        let yanked = version.yanked.as_ref().map(|reason| format!("yanked: {reason}"));
        let not_offered = || {
            let why = "not offered now: its files are out of reach, or a signature is missing";
            hidden.then(|| why.to_owned())
        };
        Ok(InfoVersion {
            version: version.written.clone(),
            state: if version.yanked.is_some() { "yanked" } else { "ok" }.to_owned(),
            artifacts,
            signers: Vec::new(),
            published: String::new(),
            note: yanked.or_else(not_offered),
        })
    }

    /// The blob that is recorded as the file, if it is held.
    fn held_info(
        &self,
        sought: &Sought,
        version: &str,
        file: &str,
    ) -> Result<Option<BlobInfo>, Error> {
        let files = self.cached_files_of(sought)?;
        let of_it = files.into_iter().filter(|held| held.version == version && held.file == file);
        for held in of_it {
            if let Some(info) = self.inner.store.blob(&held.digest)? {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    /// As [`Registry::add`], for a name of an upstream.
    pub(super) async fn upstream_add_package(
        &self,
        sought: &Sought,
        range: Option<&str>,
    ) -> Result<Added, Error> {
        let document = self.any_document(sought).await?;
        let version = resolve(sought, &document, range.unwrap_or("latest"))?;
        let package = &sought.package;
        let mut artifacts = Vec::new();
        for file in &version.files {
            let got = self.artifact(Door::Virtual, package, &version.version, &file.file).await?;
            let info = got.whole().await?;
            artifacts.push(InfoArtifact {
                filename: file.file.clone(),
                size: Some(info.size),
                digest: Some(info.digest),
                sha256: Some(to_hex(&info.checksums.sha256)),
                held: true,
                signers: Vec::new(),
            });
        }
        let PackageId { format, name } = package.clone();
        Ok(Added { format, name, version: version.written.clone(), artifacts })
    }

    /// The reasons for a name that comes from an upstream, one sentence each.
    pub(super) async fn upstream_why(&self, package: &PackageId) -> Result<Vec<String>, Error> {
        let sought = match self.place(Door::Virtual, package) {
            Ok(Place::Upstream(sought)) => sought,
            Ok(Place::Realm(..)) => return Ok(Vec::new()),
            Err(error) => return Ok(vec![error.to_string()]),
        };
        let name = &package.name;
        let mut lines = vec![format!("its upstream is {}", sought.endpoint.url)];
        if let Some(away) = self.inner.upstream.away(&sought.origin()) {
            lines.push(format!("it is out of reach since {}", age_words(away.as_secs())));
        }
        let mut held_any = false;
        for variant in sought.rules.variants {
            let subject = sought.subject(variant.name);
            if let Some(held) = self.held_document(&subject)? {
                held_any = true;
                lines.push(ground_of(&held));
                if !self.is_believed(package, &held.by)? {
                    lines.push(
                        "who signed for it is no mirror of the site any more: it is not used"
                            .to_owned(),
                    );
                }
                lines.extend(self.hidden_words(&sought, held).await?);
            }
            if let Err(disagreement) = self.believed(package, &subject) {
                lines.push(disagreement.to_string());
            }
        }
        if !held_any {
            lines.push(format!("no document of {name} is held here"));
        }
        let files = self.cached_files_of(&sought)?;
        if !files.is_empty() {
            let sure = files.iter().filter(|held| held.by == CachedBy::Checksum).count();
            lines.push(format!(
                "{} of its files came here, {sure} of them under a strong checksum of the document",
                files.len()
            ));
        }
        Ok(lines)
    }

    /// What a document has that is not offered, and for which reason.
    async fn hidden_words(
        &self,
        sought: &Sought,
        held: CachedDocument,
    ) -> Result<Vec<String>, Error> {
        let document = self.present(sought, held.clone(), false).await?;
        let unsigned = self.unsigned(sought, &held, &document.outline).await?;
        let mut lines = Vec::new();
        if !unsigned.is_empty() {
            lines.push(format!(
                "{} are refused: they came on a mirror's word without the upstream's signature",
                some_of(unsigned.iter())
            ));
        }
        let Some(offered) = &document.offered else { return Ok(lines) };
        let versions = document.outline.versions.iter().map(|version| &version.version);
        let out_of_reach: BTreeSet<&String> = versions
            .filter(|version| !offered.contains(*version) && !unsigned.contains(*version))
            .collect();
        if !out_of_reach.is_empty() {
            lines.push(format!(
                "{} are not offered while the upstream is out of reach: neither this node nor a \
                 connected member holds their files",
                some_of(out_of_reach.into_iter())
            ));
        }
        Ok(lines)
    }
}

/// The version that a tag, a version or a range means, among those offered and not yanked.
fn resolve<'d>(
    sought: &Sought,
    document: &'d UpstreamDocument,
    range: &str,
) -> Result<&'d OutlineVersion, Error> {
    let name = &sought.package.name;
    let versions = &document.outline.versions;
    let find = |version: &str| versions.iter().find(|found| found.version == version);
    // What is asked for exactly is never hidden.
    let exact = (sought.format.canonical_version)(range).ok();
    if let Some(found) = exact.as_deref().and_then(find) {
        return Ok(found);
    }
    let tags = document.tags.as_ref().unwrap_or(&document.outline.tags);
    if let Some(found) = tags.get(range).and_then(|version| find(version)) {
        return Ok(found);
    }
    let offers = |version: &&OutlineVersion| {
        version.yanked.is_none()
            && document.offered.as_ref().is_none_or(|all| all.contains(&version.version))
    };
    let live: Vec<String> =
        versions.iter().filter(offers).map(|found| found.version.clone()).collect();
    let why = format!("griot why {name} --format {}", sought.package.format);
    if range == "latest" {
        let text = format!("no version of {name} is in reach");
        return Err(Error::not_here(text).with_hint(why));
    }
    let found = (sought.format.resolve)(range, &live).map_err(Error::invalid)?;
    found.as_deref().and_then(find).ok_or_else(|| {
        Error::not_found(format!("no version of {name} in reach satisfies {range}")).with_hint(why)
    })
}

/// On what ground a document is believed.
fn ground_of(held: &CachedDocument) -> String {
    let age = freshness::now().saturating_sub(held.checked_at);
    let (form, age) = (&held.subject.variant, age_words(age));
    match &held.by {
        CachedBy::Upstream | CachedBy::Checksum => {
            format!("its document ({form}) came from the upstream itself, confirmed {age} ago")
        }
        CachedBy::Receipt { author } => format!(
            "its document ({form}) is believed on a receipt of the site's mirror {author}, \
             {age} old"
        ),
        CachedBy::Agreement { authors } => {
            let authors: Vec<String> = authors.iter().map(ToString::to_string).collect();
            format!(
                "its document ({form}) is believed because mirrors of the site agree: {}",
                authors.join(" and ")
            )
        }
    }
}

/// The first few, and how many more.
fn some_of<'a>(versions: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = versions.len();
    let named: Vec<&str> = versions.take(NAMED_MAX).map(String::as_str).collect();
    let more = count.saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", named.join(", "))
}
