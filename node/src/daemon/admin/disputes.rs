//! `disputes`: what this node cannot decide by itself, and one of the three ways to decide it.
//!
//! A version is disputed where two contents stand for one file of it. A publisher ends that by
//! withdrawing his rival, the roots by a seal, and for one node its user by `accept`. Only the
//! first is here: a seal is signed by the command and posted to `statements`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use crdt::derive::{Candidate, FallenRelease};
use crdt::routes::Source;
use crdt::{
    ChainStatus, Content, Digest, PackageId, PackageView, PublicKey, RealmId, SlotState,
    StatementId,
};
use serde::{Deserialize, Serialize};

use super::packages::{Named, package, version};
use super::peers::title;
use super::realms::releases::packages;
use super::{Admin, Failure, Json, Read};
use crate::registry::Principal;

/// What waits for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disputes {
    /// Realms whose chain does not end in one head.
    pub realms: Vec<ContestedRealm>,
    /// Versions that are disputed, or of which only a pin is left.
    pub versions: Vec<DisputedVersion>,
}

/// A realm with rival successors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContestedRealm {
    /// Its id.
    pub realm: RealmId,
    /// Its title.
    pub title: String,
    /// Forked, fork-pinned or recover-pending.
    pub status: ChainStatus,
    /// The last epoch that is not contested here.
    pub epoch: u64,
    /// The rivals.
    pub evidence: Vec<StatementId>,
    /// Who signed more than one of them.
    pub double_signers: Vec<PublicKey>,
}

/// A version that is not simply there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedVersion {
    /// Realm of the package.
    pub realm: RealmId,
    /// The package.
    pub package: PackageId,
    /// Normal version.
    pub version: String,
    /// Disputed, disputed-pinned or pinned-unsupported.
    pub state: SlotState,
}

/// One version with all that is known against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Realm of the package.
    pub realm: RealmId,
    /// The package.
    pub package: PackageId,
    /// Normal version.
    pub version: String,
    /// Its state here.
    pub state: SlotState,
    /// Its files.
    pub files: Vec<DisputedFile>,
    /// The seals that name releases of it.
    pub seals: Vec<SealOf>,
    /// Releases of it that do not stand.
    pub fallen: Vec<FallenRelease>,
    /// The key that this node publishes with.
    pub publisher: PublicKey,
}

/// That a seal names a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealOf {
    /// Id of the seal: what `realm clear` takes.
    pub seal: StatementId,
    /// The release.
    pub release: StatementId,
}

/// A file and the contents that stand for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputedFile {
    /// Its name.
    pub name: String,
    /// Its state here.
    pub state: SlotState,
    /// What this node has committed itself to.
    pub pin: Option<Content>,
    /// The contents, sorted.
    pub candidates: Vec<Candidate>,
}

/// A rival to withdraw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawOrder {
    /// Which version.
    #[serde(flatten)]
    pub named: Named,
    /// The content that shall stay.
    pub digest: Digest,
    /// Why, for people.
    pub reason: String,
}

/// What was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// Releases.
    pub count: usize,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Disputes>, Failure> {
    let work = move || all(&admin);
    let all = tokio::task::spawn_blocking(work).await;
    all.map_err(|error| Failure::invalid(format!("the disputes were not read: {error}")))?.map(Json)
}

fn all(admin: &Admin) -> Result<Disputes, Failure> {
    let mut found = Disputes::default();
    for followed in admin.store.followed()? {
        let authority = admin.store.authority(&followed.realm)?;
        if matches!(
            authority.status,
            ChainStatus::Forked | ChainStatus::ForkPinned | ChainStatus::RecoverPending
        ) {
            found.realms.push(ContestedRealm {
                realm: followed.realm,
                title: title(&authority),
                status: authority.status,
                epoch: authority.epoch(),
                evidence: authority.evidence,
                double_signers: authority.double_signers.into_iter().collect(),
            });
        }
        for package in packages(&admin.store, &followed.realm)? {
            if let Some(view) = admin.store.package(&followed.realm, &package)? {
                found.versions.extend(unsettled(view));
            }
        }
    }
    Ok(found)
}

fn unsettled(view: PackageView) -> impl Iterator<Item = DisputedVersion> {
    let PackageView { realm, package, versions, .. } = view;
    let rows = versions.into_iter().filter(|(_, row)| row.state != SlotState::Ok);
    rows.map(move |(version, row)| {
        let package = package.clone();
        DisputedVersion { realm, package, version, state: row.state }
    })
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Read(named): Read<Named>,
) -> Result<Json<Dispute>, Failure> {
    let package = package(&admin, &named).await?;
    let asked = version(&named)?;
    let lacks = || {
        Failure::not_found(format!("{} has no version {asked}", package.name))
            .hint(format!("griot info {} --format {}", package.name, package.format))
    };
    let realm = realm_of(&admin, &package)?.ok_or_else(lacks)?;
    let mut view = admin.store.derived(&realm, &package)?.ok_or_else(lacks)?;
    let pins = admin.store.pins(&realm, &package)?;
    let version = admin.registry.normal_version(&package, asked)?;
    let row = view.versions.remove(&version);
    let fallen = view.fallen.remove(&version).unwrap_or_default();
    if row.is_none() && fallen.is_empty() {
        return Err(lacks());
    }
    let state = row.as_ref().map_or(SlotState::PinnedUnsupported, |row| row.state);
    let files = row.into_iter().flat_map(|row| row.files).map(|(name, file)| DisputedFile {
        pin: pins.get(&(version.clone(), name.clone())).cloned(),
        name,
        state: file.state,
        candidates: file.candidates,
    });
    let files: Vec<DisputedFile> = files.collect();
    let seals = seals(&admin, &realm, &files)?;
    let publisher = admin.registry.publisher_key();
    Ok(Json(Dispute { realm, package, version, state, files, seals, fallen, publisher }))
}

/// The seals behind what is sealed of these files: who wants to clear one has to name it.
fn seals(admin: &Admin, realm: &RealmId, files: &[DisputedFile]) -> Result<Vec<SealOf>, Failure> {
    let sealed = files.iter().flat_map(|file| &file.candidates).filter(|one| one.sealed);
    let releases: BTreeSet<StatementId> =
        sealed.flat_map(|one| one.releases.iter().copied()).collect();
    let mut found = Vec::new();
    for release in releases {
        let of_release = admin.store.seals_of(realm, &release)?;
        found.extend(of_release.into_iter().map(|seal| SealOf { seal, release }));
    }
    Ok(found)
}

/// The realm that supplies the name, or else one that has it; one in which it has fallen is the
/// last to be taken.
fn realm_of(admin: &Admin, package: &PackageId) -> Result<Option<RealmId>, Failure> {
    if let Source::Realm { realm } = admin.registry.decide(package)?.source {
        return Ok(Some(realm));
    }
    let standing = admin.store.realms_with(package)?.first().copied();
    Ok(standing.or(admin.registry.fallen_in(package)?))
}

pub(super) async fn withdraw(
    State(admin): State<Arc<Admin>>,
    Extension(who): Extension<Principal>,
    Read(order): Read<WithdrawOrder>,
) -> Result<Json<Withdrawn>, Failure> {
    let package = package(&admin, &order.named).await?;
    let which = (version(&order.named)?, &order.digest);
    let count = admin.registry.withdraw_rivals(&who, &package, which, &order.reason).await?;
    Ok(Json(Withdrawn { count }))
}
