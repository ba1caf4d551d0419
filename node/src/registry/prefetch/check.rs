//! What of a project is held: looked up, never asked for. No upstream and no peer hears of it.
//!
//! A file is held when its blob is complete and has the checksum that the lockfile demands, and the
//! one that the document declares where that is held. A lockfile and a document that contradict
//! each other are told, and nothing is fetched under either.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crdt::{PackageId, RealmId};
use url::{Host, Url};

use super::integrity::Integrity;
use super::{Lack, LackOf, Locked, Polluted, Project, Report};
use crate::registry::sought::{Place, Sought};
use crate::registry::{Door, Error, Outline, OutlineFile, Registry};
use crate::store::BlobInfo;
use crate::store::cached::CachedFile;

/// The locked versions of one name, and what is found out about them.
struct Name<'p> {
    package: PackageId,
    locked: Vec<&'p Locked>,
    lacks: Vec<Lack>,
    polluted: Vec<Polluted>,
}

impl Registry {
    /// What of a project lacks here. `node` is this node's own URL.
    ///
    /// # Errors
    /// Invalid for an unknown format, and when the store fails.
    pub async fn check(&self, project: &Project, node: &str) -> Result<Report, Error> {
        self.require_rules(&project.format)?;
        let mut report = Report::default();
        let mut names: BTreeMap<&str, Vec<&Locked>> = BTreeMap::new();
        for locked in &project.locked {
            if locked.from.is_registry() {
                names.entry(&locked.name).or_default().push(locked);
            } else {
                report.elsewhere.push(locked.clone());
            }
        }
        for (name, locked) in names {
            // A project may have 50,000 names, and looking them up waits for nothing.
            tokio::task::yield_now().await;
            let count = locked.len() as u64;
            report.packages += count;
            let (lacks, polluted) = self.check_name(project, name, locked, node).await?;
            let all = lacks.iter().any(|lack| lack.version.is_none());
            report.need += if all { count } else { lacks.len() as u64 };
            report.lacks.extend(lacks);
            report.polluted.extend(polluted);
        }
        let rank = |lack: &Lack| std::cmp::Reverse(lack.size);
        report.lacks.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        Ok(report)
    }

    async fn check_name(
        &self,
        project: &Project,
        name: &str,
        locked: Vec<&Locked>,
        node: &str,
    ) -> Result<(Vec<Lack>, Vec<Polluted>), Error> {
        let placed = self
            .package_id(&project.format, name)
            .and_then(|package| Ok((self.place(Door::Virtual, &package)?, package)));
        let (place, package) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                let lack = |locked: &&Locked| unobtainable(locked, &error.message);
                return Ok((locked.iter().map(lack).collect(), Vec::new()));
            }
        };
        let mut name = Name { package, locked, lacks: Vec::new(), polluted: Vec::new() };
        match place {
            Place::Realm(realm, _) => self.check_hosted(&realm, &mut name)?,
            Place::Upstream(sought) => {
                self.check_upstream(&sought, &project.document, &mut name, node).await?;
            }
        }
        Ok((name.lacks, name.polluted))
    }

    fn check_hosted(&self, realm: &RealmId, name: &mut Name<'_>) -> Result<(), Error> {
        let view = self.inner.store.package(realm, &name.package)?;
        for locked in &name.locked {
            let Some(view) = &view else {
                let why = format!("nothing of it has arrived from {realm} yet");
                name.lacks.push(lack(locked, LackOf::File, None, why));
                continue;
            };
            let named = self.locked_file(&name.package, locked);
            let found =
                named.and_then(|(version, file)| self.content_served(view, &version, &file));
            let found = match found {
                Ok(content) => self.inner.store.blob(&content.blake3)?.ok_or(content.size),
                Err(error) => {
                    name.lacks.push(unobtainable(locked, &error.message));
                    continue;
                }
            };
            match found {
                Ok(info) => name.lacks.extend(contradiction(locked, &info)),
                Err(size) => {
                    let why = "the file is not held".to_owned();
                    name.lacks.push(lack(locked, LackOf::File, Some(size), why));
                }
            }
        }
        Ok(())
    }

    async fn check_upstream(
        &self,
        sought: &Sought,
        document: &str,
        name: &mut Name<'_>,
        node: &str,
    ) -> Result<(), Error> {
        let asked = sought.variant(document).or_else(|error| {
            // A format with other forms than the lockfile's kind says: its fullest.
            sought.rules.variants.first().copied().ok_or(error)
        })?;
        if self.best_held(sought, sought.answers(asked))?.is_none() {
            let some = name.locked.iter().all(|locked| locked.optional);
            name.lacks.push(Lack {
                name: name.package.name.clone(),
                version: None,
                what: LackOf::Document,
                size: None,
                why: "the document with its versions is not held".to_owned(),
                optional: some,
            });
        }
        let outlines = self.held_outlines(sought).await?;
        let known = Known { described: described(&outlines), held: self.cached_files_of(sought)? };
        let held = known.held_by_slot();
        for locked in name.locked.clone() {
            let (version, file) = match self.locked_file(&name.package, locked) {
                Ok(named) => named,
                Err(error) => {
                    name.lacks.push(unobtainable(locked, &error.message));
                    continue;
                }
            };
            let slot = (version.as_str(), file.as_str());
            let described = known.described.get(&slot).copied();
            name.polluted.extend(polluted(sought, locked, described, node));
            let files = held.get(&slot).map_or(&[][..], Vec::as_slice);
            let mut lack = self.lack_of(locked, files, described)?;
            if described.is_none() && !outlines.is_empty() {
                lack = lack.map(unknown_version);
            }
            name.lacks.extend(lack);
        }
        Ok(())
    }

    /// What lacks of one version of an upstream's package.
    fn lack_of(
        &self,
        locked: &Locked,
        files: &[&CachedFile],
        described: Option<&OutlineFile>,
    ) -> Result<Option<Lack>, Error> {
        if let (Some(demanded), Some(described)) = (demand(locked), described)
            && demanded.agrees_with(&described.declared) == Some(false)
        {
            let why = "the lockfile demands other bytes than the upstream's document declares";
            return Ok(Some(unobtainable(locked, why)));
        }
        for held in files {
            let Some(info) = self.inner.store.blob(&held.digest)? else { continue };
            let declared = described.map(|described| &described.declared);
            if declared.is_none_or(|d| *d == Default::default() || d.fits(&info.checksums)) {
                return Ok(contradiction(locked, &info));
            }
        }
        let by_checksum = described.map(|described| self.blob_of(&described.declared));
        if let Some(digest) = by_checksum.transpose()?.flatten()
            && let Some(info) = self.inner.store.blob(&digest)?
        {
            return Ok(contradiction(locked, &info));
        }
        let size = described.and_then(|described| described.size);
        Ok(Some(lack(locked, LackOf::File, size, "the file is not held".to_owned())))
    }

    /// Normal version and file name of what is locked.
    pub(super) fn locked_file(
        &self,
        package: &PackageId,
        locked: &Locked,
    ) -> Result<(String, String), Error> {
        let version = self.normal_version(package, &locked.version)?;
        let rules = self.require_rules(&package.format)?;
        let name = rules
            .file_name
            .ok_or_else(|| Error::invalid(format!("{} has no lockfiles", package.format)))?;
        let file = name(&package.name, &version);
        Ok((version, file))
    }

    /// What is in the documents of a package that are held.
    async fn held_outlines(&self, sought: &Sought) -> Result<Vec<Arc<Outline>>, Error> {
        let mut outlines = Vec::new();
        for variant in sought.rules.variants {
            let held = self.held_document(&sought.subject(variant.name))?;
            let Some(body) = held.and_then(|held| held.body) else { continue };
            outlines.push(self.outline(sought, &body).await?);
        }
        Ok(outlines)
    }
}

/// What is known of a package's files, looked up by normal version and file name: a lockfile may
/// name thousands of versions of one package.
struct Known<'o> {
    described: BTreeMap<(&'o str, &'o str), &'o OutlineFile>,
    held: Vec<CachedFile>,
}

impl Known<'_> {
    fn held_by_slot(&self) -> BTreeMap<(&str, &str), Vec<&CachedFile>> {
        let mut slots: BTreeMap<_, Vec<&CachedFile>> = BTreeMap::new();
        for held in &self.held {
            slots.entry((held.version.as_str(), held.file.as_str())).or_default().push(held);
        }
        slots
    }
}

/// What the documents say of each file; the first one that names it counts.
fn described(outlines: &[Arc<Outline>]) -> BTreeMap<(&str, &str), &OutlineFile> {
    let mut all = BTreeMap::new();
    for version in outlines.iter().flat_map(|outline| &outline.versions) {
        for file in &version.files {
            all.entry((version.version.as_str(), file.file.as_str())).or_insert(file);
        }
    }
    all
}

fn lack(locked: &Locked, what: LackOf, size: Option<u64>, why: String) -> Lack {
    let Locked { name, version, optional, .. } = locked.clone();
    Lack { name, version: Some(version), what, size, why, optional }
}

fn unobtainable(locked: &Locked, why: &str) -> Lack {
    lack(locked, LackOf::Unobtainable, None, why.to_owned())
}

/// The same, where the document that is held is too old to say anything of the file.
fn unknown_version(lack: Lack) -> Lack {
    if lack.what != LackOf::File {
        return lack;
    }
    let why = "the document that is held does not know this version".to_owned();
    Lack { what: LackOf::Version, why, ..lack }
}

/// What the lockfile demands of the bytes.
fn demand(locked: &Locked) -> Option<Integrity> {
    locked.integrity.as_deref().and_then(Integrity::parse)
}

/// Whether bytes that are held are others than the lockfile demands.
fn contradiction(locked: &Locked, info: &BlobInfo) -> Option<Lack> {
    match demand(locked)?.fits(&info.checksums) {
        Some(true) => None,
        Some(false) => {
            Some(unobtainable(locked, "the lockfile demands other bytes than those that are held"))
        }
        None => Some(unobtainable(
            locked,
            "the checksum that the lockfile demands was not computed of what is held",
        )),
    }
}

/// A URL in a lockfile that names a node and not the registry.
fn polluted(
    sought: &Sought,
    locked: &Locked,
    described: Option<&OutlineFile>,
    node: &str,
) -> Option<Polluted> {
    let url = locked.url.as_deref()?;
    let canonical = described.and_then(|described| sought.file_url(described));
    // A registry on this machine is no node.
    if url.starts_with(&sought.endpoint.url) || canonical.as_deref() == Some(url) {
        return None;
    }
    is_node(url, node).then(|| Polluted {
        name: locked.name.clone(),
        version: locked.version.clone(),
        url: url.to_owned(),
        canonical,
    })
}

/// Whether a URL is on loopback, or at the node's own address.
fn is_node(url: &str, node: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let own = Url::parse(node).is_ok_and(|node| node.origin() == url.origin());
    own || match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_node;

    #[test]
    fn a_url_on_loopback_or_at_the_nodes_own_address_is_a_nodes() {
        let node = "http://192.168.4.1:7878";
        for url in [
            "http://127.0.0.1:1/npm/a/-/a-1.0.0.tgz",
            "http://localhost/npm/a",
            "http://[::1]:7878/a",
            "http://192.168.4.1:7878/npm/a/-/a-1.0.0.tgz",
        ] {
            assert!(is_node(url, node), "{url}");
        }
        for url in ["https://packages.test/a", "http://192.168.4.1/a", "not a url"] {
            assert!(!is_node(url, node), "{url}");
        }
    }
}
