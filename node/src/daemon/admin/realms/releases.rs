//! What stands in a realm, for who seals or revokes; and lists that are too long for a statement.
//!
//! A seal and a revocation name releases by id. Up to 500 ids lie in the statement itself; a longer
//! list is a blob of sorted ids, which is stored here before the statement that names it is posted.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::{Path, Request, State};
use crdt::statement::{IdList, MAX_LISTED_IDS};
use crdt::{Digest, PackageId, PublicKey, RealmId, SlotState, StatementId};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::super::follows::find;
use super::super::{Admin, Failure, Json};
use crate::store::{Hashes, Store};

/// Bytes of the longest list.
const LIST_BYTES_MAX: u64 = MAX_LISTED_IDS * 32;
/// Packages that are looked at in one go.
const PAGE: usize = 1_000;

/// A release that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRelease {
    /// Its id.
    pub release: StatementId,
    /// Of which package.
    pub package: PackageId,
    /// Its normal version.
    pub version: String,
    /// Keys that stand behind one of its files, sorted.
    pub signers: Vec<PublicKey>,
    /// The contents of its files, sorted.
    pub files: Vec<Digest>,
    /// Whether a seal names it.
    pub sealed: bool,
    /// Whether its version is disputed here.
    pub disputed: bool,
}

/// A list that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptList {
    /// Digest of its bytes.
    pub digest: Digest,
    /// How many releases it names.
    pub count: u64,
}

pub(in crate::daemon::admin) async fn list(
    State(admin): State<Arc<Admin>>,
    Path(realm): Path<String>,
) -> Result<Json<Vec<StandingRelease>>, Failure> {
    let realm = find(&admin, &realm).await?;
    let store = admin.store.clone();
    let rows = tokio::task::spawn_blocking(move || standing(&store, &realm)).await;
    rows.map_err(|error| Failure::invalid(format!("the releases were not read: {error}")))?
        .map(Json)
}

/// Every standing release of a realm, by package and version.
pub(in crate::daemon::admin) fn standing(
    store: &Store,
    realm: &RealmId,
) -> Result<Vec<StandingRelease>, Failure> {
    let mut found = Vec::new();
    for package in packages(store, realm)? {
        let Some(view) = store.package(realm, &package)? else { continue };
        for (version, row) in &view.versions {
            let disputed = matches!(row.state, SlotState::Disputed | SlotState::DisputedPinned);
            for release in &row.releases {
                let carries = row.files.values().flat_map(|file| &file.candidates);
                let carries: Vec<_> =
                    carries.filter(|one| one.releases.contains(release)).collect();
                let mut signers: Vec<PublicKey> =
                    carries.iter().flat_map(|one| one.signers.iter().copied()).collect();
                let mut files: Vec<Digest> = carries.iter().map(|one| one.content.blake3).collect();
                signers.sort_unstable();
                signers.dedup();
                files.sort_unstable();
                found.push(StandingRelease {
                    release: *release,
                    package: package.clone(),
                    version: version.clone(),
                    signers,
                    files,
                    sealed: carries.iter().any(|one| one.sealed),
                    disputed,
                });
            }
        }
    }
    Ok(found)
}

/// Every package of which some version is known here.
pub(in crate::daemon::admin) fn packages(
    store: &Store,
    realm: &RealmId,
) -> Result<Vec<PackageId>, Failure> {
    let mut found = Vec::new();
    for page in 0.. {
        let (rows, _) = store.search("", None, PAGE, page * PAGE)?;
        let count = rows.len();
        let here = rows.into_iter().filter(|row| row.realm == *realm);
        found.extend(here.map(|row| row.package));
        if count < PAGE {
            break;
        }
    }
    Ok(found)
}

/// Stores the blob of a list. What is no ascending list of ids is refused.
pub(in crate::daemon::admin) async fn keep_list(
    State(admin): State<Arc<Admin>>,
    request: Request<HttpBody>,
) -> Result<Json<KeptList>, Failure> {
    let mut writer = admin.store.writer(Hashes::default(), LIST_BYTES_MAX).await?;
    let (mut body, mut order) = (request.into_body().into_data_stream(), Ascending::default());
    while let Some(piece) = body.next().await {
        let piece =
            piece.map_err(|error| Failure::invalid(format!("the list broke off: {error}")))?;
        order.take(&piece)?;
        writer.write(piece).await?;
    }
    let count = order.end()?;
    let staged = writer.finish().await?;
    let digest = admin.store.commit(staged).await?.digest;
    Ok(Json(KeptList { digest, count }))
}

/// Checks the order of ids as their bytes go by.
#[derive(Default)]
struct Ascending {
    rest: Vec<u8>,
    last: Option<StatementId>,
    count: u64,
}

impl Ascending {
    fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() - self.rest.len() % 32;
        let ids = IdList::read(&self.rest[..whole])?;
        if let (Some(last), Some(first)) = (self.last, ids.first())
            && *first <= last
        {
            return Err(Failure::invalid("the ids of a list ascend, each once"));
        }
        self.last = ids.last().copied().or(self.last);
        self.count += ids.len() as u64;
        self.rest.drain(..whole);
        Ok(())
    }

    fn end(self) -> Result<u64, Failure> {
        if self.rest.is_empty() && self.count > 0 {
            Ok(self.count)
        } else {
            Err(Failure::invalid("a list is 32 bytes for each release, of one or more"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> Option<u64> {
        let mut order = Ascending::default();
        for piece in pieces {
            order.take(piece).ok()?;
        }
        order.end().ok()
    }

    #[test]
    fn a_list_is_taken_in_any_pieces_and_only_in_order() {
        let (one, two) = ([1_u8; 32], [2_u8; 32]);
        let both = [one, two].concat();
        assert_eq!(check(&[&both]), Some(2));
        assert_eq!(check(&[&both[..5], &both[5..40], &both[40..]]), Some(2));
        assert_eq!(check(&[&two, &one]), None);
        assert_eq!(check(&[&one, &one]), None);
        assert_eq!(check(&[&both[..63]]), None);
        assert_eq!(check(&[]), None);
    }
}
