//! What a person is told about a package: `info`, `why`, `add`, and what met peers offer.

use std::collections::BTreeMap;

use crdt::derive::{FallenRelease, FileView, VersionView};
use crdt::realm::Publishers;
use crdt::routes::{Decision, Ground, Source};
use crdt::{Body, Digest, PackageId, PackageView, PublicKey, RealmId, SlotState};
use serde::{Deserialize, Serialize};

use super::artifact::REFUSED;
use super::change::absent;
use super::sought::Place;
use super::{Alarm, Door, Error, Principal, Registry, sentences};
use crate::mesh::Offer;
use crate::store::{PackageSummary, Slot};

/// `griot info --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    /// The format's id.
    pub format: String,
    /// The normal name.
    pub name: String,
    /// Where the name comes from, and why.
    pub source: Decision,
    /// Every version, lowest first.
    pub versions: Vec<InfoVersion>,
    /// Tag → version, as the documents offer them now.
    pub tags: BTreeMap<String, String>,
    /// Who may sign a release of it, sorted; empty for a name of an upstream.
    #[serde(default)]
    pub publishers: Vec<PublicKey>,
    /// How many of them it takes.
    #[serde(default)]
    pub need: u32,
    /// Releases that do not stand though a publisher signed them.
    #[serde(default)]
    pub fallen: Vec<InfoFallen>,
    /// What is odd about its realm.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A release that does not stand, in [`Info`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InfoFallen {
    /// The normal version.
    pub version: String,
    /// Which release, with its files and signers, and why.
    #[serde(flatten)]
    pub release: FallenRelease,
    /// What happened, and what to type.
    pub note: String,
}

/// One version in [`Info`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InfoVersion {
    /// As its publisher wrote it.
    pub version: String,
    /// `ok`, `yanked`, `disputed`, `disputed-pinned` or `pinned-unsupported`.
    pub state: String,
    /// Every content of every file; several of one name are what a dispute is about.
    pub artifacts: Vec<InfoArtifact>,
    /// All who stand behind some file of it.
    pub signers: Vec<PublicKey>,
    /// RFC 3339, as its publisher claimed.
    pub published: String,
    /// One sentence for the person, where there is something to say.
    pub note: Option<String>,
}

/// One content of a file in [`InfoVersion`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InfoArtifact {
    /// File name.
    pub filename: String,
    /// Bytes; absent where an upstream does not say, and the file is not held.
    pub size: Option<u64>,
    /// BLAKE3; absent for a file of an upstream that is not held.
    pub digest: Option<Digest>,
    /// SHA-256, hexadecimal; absent as the digest is.
    pub sha256: Option<String>,
    /// Whether the bytes are held here.
    pub held: bool,
    /// Who signed this content.
    pub signers: Vec<PublicKey>,
}

/// What `griot add` got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Added {
    /// The format's id.
    pub format: String,
    /// The normal name.
    pub name: String,
    /// The version that the range resolved to.
    pub version: String,
    /// Its files, all held now.
    pub artifacts: Vec<InfoArtifact>,
}

/// A package of a realm that is not followed: shown, never installed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offered {
    /// The realm that has it.
    pub realm: RealmId,
    /// What the realm calls itself.
    pub title: String,
    /// The peer that showed it.
    pub peer: String,
    /// The package.
    pub package: PackageId,
    /// Normal versions seen.
    pub versions: Vec<String>,
}

impl Registry {
    /// Everything known of a package, disputed versions too.
    ///
    /// # Errors
    /// NotFound when nothing of it is here.
    pub async fn info(&self, package: &PackageId) -> Result<Info, Error> {
        let rules = *self.require_rules(&package.format)?;
        let (realm, decision) = match self.place(Door::Virtual, package)? {
            Place::Realm(realm, decision) => (realm, decision),
            Place::Upstream(sought) => return self.upstream_info(&sought).await,
        };
        let view = self.inner.store.derived(&realm, package)?;
        let is_known = |view: &PackageView| !view.versions.is_empty() || !view.fallen.is_empty();
        let Some(view) = view.filter(is_known) else {
            return Err(self.nothing_of(package, &realm, &decision));
        };
        let tags = match self.metadata(Door::Virtual, package).await {
            Ok(metadata) => metadata.tags,
            Err(_) if view.versions.is_empty() => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let mut order: Vec<&String> = view.versions.keys().collect();
        order.sort_by(|a, b| (rules.compare_versions)(a, b));
        let versions = order
            .into_iter()
            .map(|version| self.info_version(&view, version))
            .collect::<Result<_, _>>()?;
        let PackageId { format, name } = package.clone();
        let fallen = fallen_of(&view);
        let notes = self.realm_notes(&realm)?;
        let Publishers { keys, need } = self.inner.store.publishers(&realm, package)?;
        let publishers = keys.into_iter().filter(|(_, reach)| reach.is_whole());
        let publishers = publishers.map(|(key, _)| key).collect();
        let source = decision;
        Ok(Info { format, name, source, versions, tags, publishers, need, fallen, notes })
    }

    /// What is odd about a realm: a fork, a recovery, news that are old or kept back.
    fn realm_notes(&self, realm: &RealmId) -> Result<Vec<String>, Error> {
        let authority = self.inner.store.authority(realm)?;
        let note = sentences::of_realm(&authority);
        Ok(note.into_iter().chain(self.news(realm)?.note).collect())
    }

    fn info_version(&self, view: &PackageView, version: &str) -> Result<InfoVersion, Error> {
        let found = &view.versions[version];
        let mut artifacts = Vec::new();
        for (name, file) in &found.files {
            artifacts.extend(self.info_artifacts(name, file)?);
        }
        let mut signers: Vec<PublicKey> =
            artifacts.iter().flat_map(|artifact| artifact.signers.clone()).collect();
        signers.sort_unstable();
        signers.dedup();
        Ok(InfoVersion {
            version: found.written.clone(),
            state: state_word(found).to_owned(),
            artifacts,
            signers,
            published: rfc3339(found.claimed_time),
            note: self.version_note(view, found)?,
        })
    }

    /// What a person should know of a version that is not plainly ok.
    fn version_note(
        &self,
        view: &PackageView,
        version: &VersionView,
    ) -> Result<Option<String>, Error> {
        let using = match version.state {
            SlotState::Disputed => self.highest(&view.realm, &view.package)?,
            _ => None,
        };
        Ok(sentences::of_version(&view.package, version, using.as_deref()))
    }

    /// All contents of a file: those that stand, and a pinned one that stands no more.
    fn info_artifacts(&self, name: &str, file: &FileView) -> Result<Vec<InfoArtifact>, Error> {
        let standing = file.candidates.iter().map(|c| (&c.content, c.signers.clone()));
        let pinned = file.serves.iter().filter(|serves| {
            !file.candidates.iter().any(|candidate| candidate.content == **serves)
        });
        standing
            .chain(pinned.map(|content| (content, Vec::new())))
            .map(|(content, signers)| {
                Ok(InfoArtifact {
                    filename: name.to_owned(),
                    size: Some(content.size),
                    digest: Some(content.blake3),
                    sha256: Some(crdt::digest::to_hex(&content.checksums.sha256)),
                    held: self.inner.store.blob(&content.blake3)?.is_some(),
                    signers,
                })
            })
            .collect()
    }

    /// Highest offered version that satisfies `range` (absent: the tag `latest`), with its files
    /// fetched, and source and content pinned.
    ///
    /// # Errors
    /// NotFound (no such package, tag or version in range), Invalid (not a range), and as
    /// [`Registry::artifact`].
    pub async fn add(&self, package: &PackageId, range: Option<&str>) -> Result<Added, Error> {
        if let Place::Upstream(sought) = self.place(Door::Virtual, package)? {
            return self.upstream_add_package(&sought, range).await;
        }
        let metadata = self.metadata(Door::Virtual, package).await?;
        let asked = range.unwrap_or("latest");
        let version = match self.exact(&metadata, asked) {
            Some(version) => version,
            None => self.resolve(&metadata, asked)?,
        };
        if range.is_none() && metadata.view.versions[&version].yanked.is_some() {
            let name = &package.name;
            return Err(Error::not_found(format!("every version of {name} in reach is yanked"))
                .with_hint(format!("to have one all the same: griot add {name}@{version}")));
        }
        let files: Vec<String> = metadata.view.versions[&version].files.keys().cloned().collect();
        let mut artifacts = Vec::new();
        for file in files {
            let got = self.artifact(Door::Virtual, package, &version, &file).await?;
            let digest = got.whole().await?.digest;
            let view = &metadata.view.versions[&version].files[&file];
            let all = self.info_artifacts(&file, view)?;
            artifacts.extend(all.into_iter().filter(|one| one.digest == Some(digest)));
        }
        let PackageId { format, name } = package.clone();
        let version = metadata.view.versions[&version].written.clone();
        Ok(Added { format, name, version, artifacts })
    }

    /// The version that is asked for exactly: never hidden, also when it is yanked; and one that is
    /// disputed is then refused as that, not as absent.
    fn exact(&self, metadata: &super::Metadata, asked: &str) -> Option<String> {
        let rules = self.rules(&metadata.view.package.format)?;
        let version = (rules.canonical_version)(asked).ok()?;
        metadata.view.versions.contains_key(&version).then_some(version)
    }

    /// The version that a tag or a range means, among those offered and not yanked.
    ///
    /// # Errors
    /// NotFound (nothing satisfies it), Invalid (not a range).
    pub fn resolve(&self, metadata: &super::Metadata, range: &str) -> Result<String, Error> {
        if let Some(version) = metadata.tags.get(range) {
            return Ok(version.clone());
        }
        let package = &metadata.view.package;
        let rules = self.require_rules(&package.format)?;
        // A version asked for by its number is had even when it is yanked.
        if let Some(exact) = self.exact(metadata, range) {
            let offered = metadata.offered.contains(&exact);
            return if offered { Ok(exact) } else { Err(not_offered(metadata, &exact)) };
        }
        let live = |version: &&String| metadata.view.versions[*version].yanked.is_none();
        let versions: Vec<String> = metadata.offered.iter().filter(live).cloned().collect();
        let found = (rules.resolve)(range, &versions).map_err(Error::invalid)?;
        found.ok_or_else(|| {
            let PackageId { format, name } = package;
            let seen: Vec<&str> = versions.iter().rev().take(5).map(String::as_str).collect();
            Error::not_found(format!("no version of {name} satisfies {range}")).with_hint(format!(
                "it has {}; griot info {name} --format {format}",
                seen.join(", ")
            ))
        })
    }

    /// Packages of the realms that this node follows, as far as `who` may read them; so many after
    /// so many, and how many there are in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(
        &self,
        who: &Principal,
        query: &str,
        format: Option<&str>,
        (limit, offset): (usize, usize),
    ) -> Result<(Vec<PackageSummary>, usize), Error> {
        let shows = self.readable(who)?;
        let page = (limit, offset);
        let (mut rows, total) = self.inner.store.search_shown(query, format, page, &shows)?;
        for row in rows.iter_mut().filter(|row| row.latest.is_none()) {
            row.latest = self.highest(&row.realm, &row.package)?;
        }
        Ok((rows, total))
    }

    /// The version to show for a package without the tag `latest`, by the format's own order: the
    /// highest stable one, else the highest.
    fn highest(&self, realm: &RealmId, package: &PackageId) -> Result<Option<String>, Error> {
        let Some(rules) = self.rules(&package.format) else { return Ok(None) };
        let Some(view) = self.inner.store.package(realm, package)? else { return Ok(None) };
        let live = view.versions.iter().filter(|(_, version)| {
            matches!(version.state, SlotState::Ok | SlotState::DisputedPinned)
                && version.yanked.is_none()
        });
        let best = live.max_by(|(a, _), (b, _)| {
            let stable = |version: &str| !(rules.is_prerelease)(version);
            stable(a).cmp(&stable(b)).then_with(|| (rules.compare_versions)(a, b))
        });
        Ok(best.map(|(_, version)| version.written.clone()))
    }

    /// What met peers offer in realms that are not followed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn offered(&self, query: &str) -> Result<Vec<Offered>, Error> {
        let Some(mesh) = self.mesh() else { return Ok(Vec::new()) };
        let followed = self.inner.store.followed()?;
        let strange =
            |offer: &Offer| !followed.iter().any(|followed| followed.realm == offer.realm);
        let offers = mesh.offers().await;
        let mut found: Vec<Offered> =
            offers.iter().filter(|offer| strange(offer)).flat_map(offered_packages).collect();
        let query = query.to_lowercase();
        found.retain(|offered| offered.package.name.contains(&query));
        Ok(found)
    }

    /// Formats under which some followed realm has the name, or an upstream has given it; if none
    /// does, those that have an upstream to ask.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn formats_of(&self, name: &str) -> Result<Vec<String>, Error> {
        let (mut formats, mut may_have) = (Vec::new(), Vec::new());
        for rules in &self.inner.rules {
            let Ok(name) = (rules.canonical_name)(name) else { continue };
            let package = PackageId::new(rules.format, name);
            let stands = !self.inner.store.realms_with(&package)?.is_empty();
            if stands || self.fallen_in(&package)?.is_some() || self.upstream_known(&package)? {
                formats.push(rules.format.to_owned());
            } else if self.default_endpoint(rules.format)?.is_some() {
                may_have.push(rules.format.to_owned());
            }
        }
        Ok(if formats.is_empty() { may_have } else { formats })
    }

    /// The first followed realm that has releases of the name which do not stand.
    ///
    /// # Errors
    /// When the store fails.
    pub fn fallen_in(&self, package: &PackageId) -> Result<Option<RealmId>, Error> {
        for followed in self.inner.store.followed()? {
            let view = self.inner.store.derived(&followed.realm, package)?;
            if view.is_some_and(|view| !view.fallen.is_empty()) {
                return Ok(Some(followed.realm));
            }
        }
        Ok(None)
    }

    /// Why the name is what it is here, one sentence a line.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn why(&self, package: &PackageId) -> Result<Vec<String>, Error> {
        let decision = self.decide(package)?;
        let mut lines = vec![ground_sentence(package, &decision)];
        if let Some(pending) = &decision.pending {
            lines.push(format!(
                "the routes now say {}; this node keeps what it has until: \
                 griot accept {} --format {}",
                source_words(pending),
                package.name,
                package.format
            ));
        }
        lines.extend(self.alarms_of(package)?.iter().map(Alarm::sentence));
        let Source::Realm { realm } = decision.source else {
            if matches!(decision.source, Source::Upstream { .. }) {
                lines.extend(self.upstream_why(package).await?);
            }
            return Ok(lines);
        };
        lines.extend(self.realm_notes(&realm)?);
        let Some(view) = self.inner.store.derived(&realm, package)? else { return Ok(lines) };
        lines.extend(
            view.fallen.keys().flat_map(|version| sentences::of_all_fallen(&view, version)),
        );
        for (version, found) in &view.versions {
            if let Some(note) = self.version_note(&view, found)? {
                lines.push(format!("{version}: {note}"));
            }
            for release in &found.releases {
                if let Some(why) = self.inner.store.row(REFUSED, &release.to_string())? {
                    let why = String::from_utf8_lossy(&why).into_owned();
                    lines.push(format!("{version}: a release of it is refused here: {why}"));
                }
            }
        }
        Ok(lines)
    }

    /// A person's word that this node takes another content for a slot from now on.
    ///
    /// # Errors
    /// NotFound when no standing release has that content there.
    pub async fn accept_content(
        &self,
        package: &PackageId,
        version: &str,
        file: &str,
        digest: &Digest,
    ) -> Result<(), Error> {
        let (realm, _) = self.source_for(Door::Virtual, package)?;
        let version = self.normal_version(package, version)?;
        let view = self.inner.store.package(&realm, package)?;
        let slot = view.as_ref().and_then(|view| view.versions.get(&version)?.files.get(file));
        let found = slot
            .and_then(|slot| slot.candidates.iter().find(|c| c.content.blake3 == *digest))
            .map(|candidate| candidate.content.clone())
            .ok_or_else(|| absent(package, &version))?;
        let slot = Slot { realm, package: package.clone(), version, file: file.to_owned() };
        self.inner.store.pin_content(&slot, found, true).await?;
        Ok(())
    }
}

/// Why a version that exists is not offered.
fn not_offered(metadata: &super::Metadata, version: &str) -> Error {
    let PackageId { format, name } = &metadata.view.package;
    let why = format!("griot why {name} --format {format}");
    let found = &metadata.view.versions[version];
    if let Some(note) = sentences::of_version(&metadata.view.package, found, None) {
        return Error::conflict(note).with_hint(why);
    }
    let reason = if metadata.hidden.iter().any(|hidden| hidden == version) {
        "neither this node nor a connected peer holds its files"
    } else {
        "this node refuses it"
    };
    Error::not_here(format!("{name}@{version} is known, but {reason}")).with_hint(why)
}

fn fallen_of(view: &PackageView) -> Vec<InfoFallen> {
    let all =
        view.fallen.iter().flat_map(|(version, all)| all.iter().map(move |one| (version, one)));
    all.map(|(version, release)| InfoFallen {
        version: version.clone(),
        release: release.clone(),
        note: sentences::of_fallen(&view.package, version, release),
    })
    .collect()
}

/// The packages among the envelopes of an offer.
fn offered_packages(offer: &Offer) -> Vec<Offered> {
    let mut title = String::new();
    let mut packages: BTreeMap<PackageId, Vec<String>> = BTreeMap::new();
    for envelope in &offer.envelopes {
        let statement = envelope.statement();
        match (statement.body(), statement.package()) {
            (Body::Root(root), _) => title.clone_from(&root.title),
            (Body::Release(release), Some(package)) => {
                packages.entry(package.clone()).or_default().push(release.version.clone());
            }
            _ => {}
        }
    }
    packages
        .into_iter()
        .map(|(package, versions)| Offered {
            realm: offer.realm,
            title: title.clone(),
            peer: offer.peer.clone(),
            package,
            versions,
        })
        .collect()
}

fn state_word(version: &VersionView) -> &'static str {
    match version.state {
        SlotState::Ok if version.yanked.is_some() => "yanked",
        SlotState::Ok => "ok",
        SlotState::Disputed => "disputed",
        SlotState::DisputedPinned => "disputed-pinned",
        SlotState::PinnedUnsupported => "pinned-unsupported",
    }
}

fn ground_sentence(package: &PackageId, decision: &Decision) -> String {
    let ground = match decision.ground {
        Ground::Pin => "since it was first used here",
        Ground::OwnRoute => "by this node's own route",
        Ground::SiteRoute => "by a route of the site",
        Ground::Claim => "by a confirmed claim of a followed realm",
        Ground::Published => "because it is published there",
        Ground::Default => "because nothing else says otherwise",
    };
    format!("{} comes from {}, {ground}", package.name, source_words(&decision.source))
}

fn source_words(source: &Source) -> String {
    match source {
        Source::Realm { realm } => realm.to_string(),
        Source::Upstream { .. } => "the upstream".to_owned(),
        Source::Deny => "nobody: it is denied".to_owned(),
        Source::Unrouted { realms, upstream } => {
            let mut places: Vec<String> = realms.iter().map(ToString::to_string).collect();
            if *upstream {
                places.push("the upstream".to_owned());
            }
            format!("nobody until it is routed, as {} have it", places.join(" and "))
        }
    }
}

/// A claimed time as text; 1970 for one that no calendar has.
fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(0);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
