//! What of a project is held: looked up, never asked for. No upstream and no peer hears of it.
//!
//! A file is held when its blob is complete and has the checksum that the lockfile demands, and the
//! one that the document declares where that is held. A lockfile and a document that contradict
//! each other are told, and nothing is fetched under either. Which files an entry means is in
//! `slots.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crdt::{PackageId, RealmId};
use url::{Host, Url};

use super::integrity::Integrity;
use super::slots::{Known, Slot};
use super::{Lack, LackOf, Locked, Polluted, Project, Report};
use crate::registry::sought::{Place, Sought};
use crate::registry::{Door, Error, Outline, OutlineFile, Registry};
use crate::store::BlobInfo;
use crate::store::cached::CachedFile;

/// The locked versions of one name, and what is found out about them.
struct Name<'p> {
    package: PackageId,
    project: &'p Project,
    locked: Vec<&'p Locked>,
    lacks: Vec<Lack>,
    missing: Vec<Missing>,
    polluted: Vec<Polluted>,
}

impl Name<'_> {
    /// Notes what lacks of a slot; what can be had is to be brought.
    fn lacks(&mut self, slot: &Slot<'_>, lack: Lack) {
        let file = slot.several.then(|| slot.file.clone());
        if matches!(lack.what, LackOf::File | LackOf::Version) {
            self.missing.push(Missing {
                name: lack.name.clone(),
                version: lack.version.clone().unwrap_or_default(),
                slot: (slot.version.clone(), slot.file.clone()),
                demanded: slot.demanded().map(str::to_owned),
            });
        }
        self.lacks.push(Lack { file, ..lack });
    }
}

/// A file that lacks here and can be asked for.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) name: String,
    /// As the lockfile has it.
    pub(super) version: String,
    /// Normal version and file name.
    pub(super) slot: (String, String),
    /// What the lockfile demands of its bytes.
    pub(super) demanded: Option<String>,
}

/// What is found out about a project.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) report: Report,
    pub(super) missing: Vec<Missing>,
}

impl Registry {
    /// What of a project lacks here. `node` is this node's own URL.
    ///
    /// # Errors
    /// Invalid for an unknown format, and when the store fails.
    pub async fn check(&self, project: &Project, node: &str) -> Result<Report, Error> {
        Ok(self.survey(project, node).await?.report)
    }

    pub(super) async fn survey(&self, project: &Project, node: &str) -> Result<Survey, Error> {
        self.require_rules(&project.format)?;
        let mut survey = Survey::default();
        let report = &mut survey.report;
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
            let versions: BTreeSet<&str> = locked.iter().map(|one| one.version.as_str()).collect();
            let count = versions.len() as u64;
            report.packages += count;
            let found = self.check_name(project, name, locked, node).await?;
            let all = found.lacks.iter().any(|lack| lack.version.is_none());
            let some: BTreeSet<_> = found.lacks.iter().map(|lack| &lack.version).collect();
            report.need += if all { count } else { some.len() as u64 };
            report.lacks.extend(found.lacks);
            for polluted in found.polluted {
                // The registry's own URL stands at each package.
                if report.polluted.last().is_none_or(|last| last.url != polluted.url) {
                    report.polluted.push(polluted);
                }
            }
            survey.missing.extend(found.missing);
        }
        let rank = |lack: &Lack| std::cmp::Reverse(lack.size);
        report.lacks.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        Ok(survey)
    }

    async fn check_name<'p>(
        &self,
        project: &'p Project,
        name: &str,
        locked: Vec<&'p Locked>,
        node: &str,
    ) -> Result<Name<'p>, Error> {
        let placed = self
            .package_id(&project.format, name)
            .and_then(|package| Ok((self.place(Door::Virtual, &package)?, package)));
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let (lacks, missing, polluted) = nothing;
        let (place, package) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                let lack = |locked: &&Locked| unobtainable(locked, &error.message);
                let lacks = locked.iter().map(lack).collect();
                let package = PackageId { format: project.format.clone(), name: name.to_owned() };
                return Ok(Name { package, project, locked, lacks, missing, polluted });
            }
        };
        let mut name = Name { package, project, locked, lacks, missing, polluted };
        match place {
            Place::Realm(realm, _) => self.check_hosted(&realm, &mut name)?,
            Place::Upstream(sought) => self.check_upstream(&sought, &mut name, node).await?,
        }
        Ok(name)
    }

    fn check_hosted(&self, realm: &RealmId, name: &mut Name<'_>) -> Result<(), Error> {
        let view = self.inner.store.package(realm, &name.package)?;
        for locked in name.locked.clone() {
            let Some(view) = &view else {
                let why = format!("nothing of it has arrived from {realm} yet");
                name.lacks.push(lack(locked, LackOf::File, None, why));
                continue;
            };
            let slots = match self.hosted_slots(&name.package, view, locked) {
                Ok(slots) => slots,
                Err(error) => {
                    name.lacks.push(unobtainable(locked, &error.message));
                    continue;
                }
            };
            for slot in slots {
                match self.content_served(view, &slot.version, &slot.file) {
                    Err(error) => name.lacks(&slot, unobtainable(locked, &error.message)),
                    Ok(content) => match self.inner.store.blob(&content.blake3)? {
                        Some(info) => {
                            let lack = contradiction(&slot, &info);
                            lack.into_iter().for_each(|lack| name.lacks(&slot, lack));
                        }
                        None => {
                            let why = "the file is not held".to_owned();
                            let lack = lack(locked, LackOf::File, Some(content.size), why);
                            name.lacks(&slot, lack);
                        }
                    },
                }
            }
        }
        Ok(())
    }

    async fn check_upstream(
        &self,
        sought: &Sought,
        name: &mut Name<'_>,
        node: &str,
    ) -> Result<(), Error> {
        let asked = sought.variant(&name.project.document).or_else(|error| {
            // A format with other forms than the lockfile's kind says: its fullest.
            sought.rules.variants.first().copied().ok_or(error)
        })?;
        if self.best_held(sought, sought.answers(asked))?.is_none() {
            let some = name.locked.iter().all(|locked| locked.optional);
            name.lacks.push(Lack {
                name: name.package.name.clone(),
                version: None,
                file: None,
                what: LackOf::Document,
                size: None,
                why: "the document with its versions is not held".to_owned(),
                optional: some,
            });
        }
        let outlines = self.held_outlines(sought).await?;
        let moved = self.moved(sought)?;
        let known = Known::of(&outlines, self.cached_files_of(sought)?);
        let held = known.held_by_slot();
        for locked in name.locked.clone() {
            name.polluted.extend(polluted_index(sought, locked, node));
            let slots = match self.slots(&name.package, locked, &known, &name.project.beside) {
                Ok(slots) => slots,
                Err(error) => {
                    name.lacks.push(unobtainable(locked, &error.message));
                    continue;
                }
            };
            if slots.is_empty() {
                name.lacks.push(no_file(locked, !outlines.is_empty()));
            }
            for slot in slots {
                let at = (slot.version.as_str(), slot.file.as_str());
                let described = known.described.get(&at).copied();
                if !slot.is_beside {
                    let url = described.and_then(|file| sought.file_url(moved.as_deref(), file));
                    name.polluted.extend(polluted(sought, locked, url, node));
                }
                let files = held.get(&at).map_or(&[][..], Vec::as_slice);
                let mut lack = self.lack_of(&slot, files, described)?;
                if described.is_none() && !outlines.is_empty() {
                    lack = lack.map(unknown_version);
                }
                lack.into_iter().for_each(|lack| name.lacks(&slot, lack));
            }
        }
        Ok(())
    }

    /// What lacks of one file of an upstream's package.
    fn lack_of(
        &self,
        slot: &Slot<'_>,
        files: &[&CachedFile],
        described: Option<&OutlineFile>,
    ) -> Result<Option<Lack>, Error> {
        let locked = slot.locked;
        if let (Some(demanded), Some(described)) = (demand(slot), described)
            && demanded.agrees_with(&described.declared) == Some(false)
        {
            let why = "the lockfile demands other bytes than the upstream's document declares";
            return Ok(Some(unobtainable(locked, why)));
        }
        for held in files {
            let Some(info) = self.inner.store.blob(&held.digest)? else { continue };
            let declared = described.map(|described| &described.declared);
            if declared.is_none_or(|d| *d == Default::default() || d.fits(&info.checksums)) {
                return Ok(contradiction(slot, &info));
            }
        }
        let by_checksum = described.map(|described| self.blob_of(&described.declared));
        if let Some(digest) = by_checksum.transpose()?.flatten()
            && let Some(info) = self.inner.store.blob(&digest)?
        {
            return Ok(contradiction(slot, &info));
        }
        let size = described.and_then(|described| described.size);
        Ok(Some(lack(locked, LackOf::File, size, "the file is not held".to_owned())))
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

    /// Where redirects led to the document that is held, if they did.
    fn moved(&self, sought: &Sought) -> Result<Option<String>, Error> {
        for variant in sought.rules.variants {
            if let Some(held) = self.held_document(&sought.subject(variant.name))? {
                return Ok(held.moved);
            }
        }
        Ok(None)
    }
}

fn lack(locked: &Locked, what: LackOf, size: Option<u64>, why: String) -> Lack {
    let Locked { name, version, optional, .. } = locked.clone();
    Lack { name, version: Some(version), file: None, what, size, why, optional }
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

/// What lacks where it is not known which files the version has.
fn no_file(locked: &Locked, told: bool) -> Lack {
    if told {
        let why = "the document that is held does not know this version".to_owned();
        return lack(locked, LackOf::Version, None, why);
    }
    lack(locked, LackOf::File, None, "the files of the version are not known".to_owned())
}

/// What the lockfile demands of the bytes.
fn demand(slot: &Slot<'_>) -> Option<Integrity> {
    slot.demanded().and_then(Integrity::parse)
}

/// Whether bytes that are held are others than the lockfile demands.
fn contradiction(slot: &Slot<'_>, info: &BlobInfo) -> Option<Lack> {
    let locked = slot.locked;
    match demand(slot)?.fits(&info.checksums) {
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
    canonical: Option<String>,
    node: &str,
) -> Option<Polluted> {
    let url = locked.url.as_deref()?;
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

/// A registry in a lockfile that is a node and not the upstream.
fn polluted_index(sought: &Sought, locked: &Locked, node: &str) -> Option<Polluted> {
    let url = locked.index.as_deref()?;
    let base = sought.endpoint.url.trim_end_matches('/');
    // A registry on this machine is no node.
    if url.trim_end_matches('/') == base || !is_node(url, node) {
        return None;
    }
    let slash = if url.ends_with('/') { "/" } else { "" };
    Some(Polluted {
        name: locked.name.clone(),
        version: locked.version.clone(),
        url: url.to_owned(),
        canonical: Some(format!("{base}{slash}")),
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
