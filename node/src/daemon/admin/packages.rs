//! `info`, `why`, `add`, `search`, `yank`, `endorse`, `tag`, `accept`, `document`: packages by
//! name.
//!
//! The command knows a name, and a format if there is doubt; both are made into a package here, by
//! the format's own rule for names. Everything else is asked of the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::digest::to_hex;
use crdt::routes::{Decision, Source};
use crdt::{Digest, PackageId, RealmId, StatementId};
use serde::{Deserialize, Serialize};

use super::follows::find;
use super::{Admin, Done, Failure, Json, Read};
use crate::registry::{Added, Endorsed, Info, InfoArtifact, Offered, Outcome, Principal};
use crate::store::PackageSummary;

/// Rows of one search.
const SEARCH_ROWS_MAX: usize = 1_000;

/// A package as a person names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The format; absent if only one is meant.
    #[serde(default)]
    pub format: Option<String>,
    /// A version or a range, where the call takes one.
    #[serde(default)]
    pub version: Option<String>,
}

/// What to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchOrder {
    /// Part of a name or description; empty for all.
    pub query: String,
    /// Only this format.
    #[serde(default)]
    pub format: Option<String>,
    /// Rows at most.
    pub limit: usize,
    /// Rows to pass over.
    #[serde(default)]
    pub offset: usize,
    /// Also what met peers show in realms that are not followed.
    #[serde(default)]
    pub offered: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// Packages that can be installed here.
    pub packages: Vec<PackageSummary>,
    /// How many there are in all.
    pub total: usize,
    /// Shown by met peers, not installable until their realm is followed.
    pub offered: Vec<Offered>,
}

/// A yank or its reverse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct YankOrder {
    /// Which version.
    #[serde(flatten)]
    pub named: Named,
    /// For those who read it later.
    pub reason: String,
    /// False takes a yank back.
    pub yank: bool,
}

/// A tag to set (with a version) or remove (without).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagOrder {
    /// Which package, and the version to point at.
    #[serde(flatten)]
    pub named: Named,
    /// The tag.
    pub tag: String,
}

/// A person's decision, which alone changes a pin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptOrder {
    /// Which package, and which version if it is about a file's content.
    #[serde(flatten)]
    pub named: Named,
    /// A realm, `own`, `site`, `upstream` or `deny`; absent: the source that waits.
    #[serde(default)]
    pub source: Option<String>,
    /// The file, if its version has several.
    #[serde(default)]
    pub file: Option<String>,
    /// The content to take for the file.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Nothing is decided: the person has read the alarms of the package.
    #[serde(default)]
    pub alarms: bool,
}

/// Why a name is what it is here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// The package.
    pub package: PackageId,
    /// The reasons as sentences.
    pub reasons: Vec<String>,
    /// Where the name comes from, and by which rule.
    pub decision: Decision,
    /// Realms that are followed and have the name.
    pub realms: Vec<RealmId>,
    /// All versions with their state.
    pub info: Option<Info>,
}

/// A package's automerge document and the signatures that it leaves out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Realm of the package.
    pub realm: RealmId,
    /// The package.
    pub package: PackageId,
    /// Saved automerge document, in base64.
    pub automerge: String,
    /// Statement → key → signature, in hexadecimal digits.
    pub signatures: BTreeMap<StatementId, BTreeMap<String, String>>,
}

pub(super) async fn info(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Info>, Failure> {
    let package = package(&admin, &named).await?;
    Ok(Json(admin.registry.info(&package).await?))
}

pub(super) async fn why(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Why>, Failure> {
    let package = package(&admin, &named).await?;
    let info = match admin.registry.info(&package).await {
        Ok(info) => Some(info),
        // A name that is denied or has no source yet: the reasons are what was asked for.
        Err(error) if says_nothing(error.outcome) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Json(Why {
        reasons: admin.registry.why(&package).await?,
        decision: admin.registry.decide(&package)?,
        realms: admin.store.realms_with(&package)?,
        info,
        package,
    }))
}

const fn says_nothing(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::NotFound | Outcome::NotHere | Outcome::Forbidden)
}

pub(super) async fn add(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Added>, Failure> {
    let package = package(&admin, &named).await?;
    Ok(Json(admin.registry.add(&package, named.version.as_deref()).await?))
}

pub(super) async fn search(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<SearchOrder>,
) -> Result<Json<Found>, Failure> {
    let limit = order.limit.min(SEARCH_ROWS_MAX);
    let (format, page) = (order.format.as_deref(), (limit, order.offset));
    let (packages, total) =
        admin.registry.search(&Principal::admin(), &order.query, format, page).await?;
    let offered =
        if order.offered { admin.registry.offered(&order.query).await? } else { Vec::new() };
    Ok(Json(Found { packages, total, offered }))
}

pub(super) async fn yank(
    State(admin): State<Arc<Admin>>,
    Extension(who): Extension<Principal>,
    Read(order): Read<YankOrder>,
) -> Result<Json<Done>, Failure> {
    let package = package(&admin, &order.named).await?;
    let version = version(&order.named)?;
    let reason = order.yank.then_some(order.reason.as_str());
    admin.registry.yank(&who, &package, version, reason).await?;
    Ok(Json(Done { changed: true }))
}

pub(super) async fn endorse(
    State(admin): State<Arc<Admin>>,
    Extension(who): Extension<Principal>,
    Read(named): Read<Named>,
) -> Result<Json<Endorsed>, Failure> {
    let package = package(&admin, &named).await?;
    let version = version(&named)?;
    Ok(Json(admin.registry.endorse(&who, &package, version).await?))
}

pub(super) async fn tag(
    State(admin): State<Arc<Admin>>,
    Extension(who): Extension<Principal>,
    Read(order): Read<TagOrder>,
) -> Result<Json<Done>, Failure> {
    let package = package(&admin, &order.named).await?;
    admin.registry.set_tag(&who, &package, &order.tag, order.named.version.as_deref()).await?;
    Ok(Json(Done { changed: true }))
}

pub(super) async fn accept(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<AcceptOrder>,
) -> Result<Json<Done>, Failure> {
    let package = package(&admin, &order.named).await?;
    if order.alarms {
        let read = admin.registry.read_alarms(&package).await?;
        return Ok(Json(Done { changed: read > 0 }));
    }
    if let Some(version) = &order.named.version {
        let (file, digest) = content(&admin, &package, version, &order).await?;
        admin.registry.accept_content(&package, version, &file, &digest).await?;
        return Ok(Json(Done { changed: true }));
    }
    let source = match order.source.as_deref() {
        Some("upstream") => Source::Upstream { origin: None },
        Some("deny") => Source::Deny,
        Some(realm) => Source::Realm { realm: find(&admin, realm).await? },
        None => admin.registry.decide(&package)?.pending.ok_or_else(|| {
            Failure::invalid(format!("nothing about {package} waits to be accepted"))
                .hint(format!("griot why {} --format {}", package.name, package.format))
        })?,
    };
    admin.registry.accept_source(&package, source).await?;
    Ok(Json(Done { changed: true }))
}

/// The file and content of a version that a person means; only what is unmistakable is filled in.
async fn content(
    admin: &Admin,
    package: &PackageId,
    version: &str,
    order: &AcceptOrder,
) -> Result<(String, Digest), Failure> {
    let info = admin.registry.info(package).await?;
    let row = info.versions.into_iter().find(|row| row.version == version);
    let row =
        row.ok_or_else(|| Failure::not_found(format!("no version {version} of {package}")))?;
    let wanted = |artifact: &&InfoArtifact| {
        order.digest.is_none_or(|digest| Some(digest) == artifact.digest)
            && order.file.as_ref().is_none_or(|file| *file == artifact.filename)
    };
    let found: Vec<&InfoArtifact> = row.artifacts.iter().filter(wanted).collect();
    let [one] = found.as_slice() else {
        let digest = |one: &InfoArtifact| one.digest.map(|digest| digest.to_string());
        let all = row
            .artifacts
            .iter()
            .map(|one| format!("{} {}", one.filename, digest(one).unwrap_or_default()));
        let all: Vec<String> = all.collect();
        return Err(Failure::invalid(format!("{version} stands with {}", all.join(" and with ")))
            .hint(format!("griot accept {}@{version} --digest DIGEST", package.name)));
    };
    let digest = one.digest.ok_or_else(|| {
        Failure::invalid(format!("{package} comes from an upstream: no content of it is pinned"))
    })?;
    Ok((one.filename.clone(), digest))
}

pub(super) async fn document(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Document>, Failure> {
    let package = package(&admin, &named).await?;
    let realms = admin.store.realms_with(&package)?;
    let realm = match admin.registry.decide(&package)?.source {
        Source::Realm { realm } => realm,
        _ => *realms.first().ok_or_else(|| {
            Failure::not_found(format!("no realm that is followed has {package}"))
        })?,
    };
    let automerge = BASE64_STANDARD.encode(admin.store.document(&realm, &package).await?);
    let statements = admin.store.package_statements(&realm, &package)?;
    let signatures = statements.iter().map(|verified| {
        let signed = verified.signatures().iter();
        let signed = signed.map(|(key, signature)| (key.to_string(), to_hex(&signature.0)));
        (verified.statement().id(), signed.collect())
    });
    let signatures = signatures.collect();
    Ok(Json(Document { realm, package, automerge, signatures }))
}

pub(super) fn version(named: &Named) -> Result<&str, Failure> {
    let missing = || Failure::invalid("a version is needed").hint("write NAME@VERSION");
    named.version.as_deref().ok_or_else(missing)
}

/// The package that a person means.
pub(super) async fn package(admin: &Admin, named: &Named) -> Result<PackageId, Failure> {
    let format = match &named.format {
        Some(format) => format.clone(),
        None => only_format(admin, &named.name).await?,
    };
    Ok(admin.registry.package_id(&format, &named.name)?)
}

async fn only_format(admin: &Admin, name: &str) -> Result<String, Failure> {
    let mut formats = admin.registry.formats_of(name).await?;
    match formats.len() {
        1 => Ok(formats.remove(0)),
        0 => {
            Err(Failure::not_found(format!("no realm that is followed has a package {name:.200}"))
                .hint(format!("griot search {name:.200}")))
        }
        _ => Err(Failure::invalid(format!("{name:.200} is there as {}", formats.join(" and as ")))
            .hint(format!("say which one: --format {}", formats[0]))),
    }
}
