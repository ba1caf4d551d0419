//! `realms` and `statements`: what the command needs in order to sign, and where it posts it.
//!
//! The command reads a realm's authority here, signs the next epoch, a seal, a revocation or a
//! route with the root key file, and posts the envelope: `post`. It is verified and admitted like
//! one from any peer: the admin token gives no right to a realm. `releases` lists what stands, and
//! takes lists of releases that are too long for a statement.

use std::sync::Arc;

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::realm::Claim;
use crdt::realm::Lists;
use crdt::routes::{Rule, site_rules};
use crdt::statement::{Counter, Grant, Root};
use crdt::{Authority, Body, ChainStatus, Digest, PublicKey, RealmId, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::follows::{self, find};
use super::peers::title;
use super::{Admin, Failure, Json};
use crate::store::{FollowKind, Store};

pub mod post;
pub mod releases;

/// A realm as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmInfo {
    /// Its id.
    pub realm: RealmId,
    /// Its title: shown beside the id, never alone.
    pub title: String,
    /// How its chain of root epochs ends.
    pub status: ChainStatus,
    /// Own, site, followed; absent if it is merely offered.
    pub kind: Option<FollowKind>,
    /// Epoch of the head.
    pub epoch: u64,
    /// How many roots must sign.
    pub k: u32,
    /// Root keys.
    pub roots: Vec<PublicKey>,
    /// Hashes of its recovery keys.
    pub recovery: Vec<Digest>,
    /// How many recovery keys act; 0 for none.
    pub rk: u32,
    /// Who may do what.
    pub grants: Vec<Grant>,
    /// Keys that are revoked.
    pub revoked: Vec<RevokedKey>,
    /// The rival successors where the chain forks or a recovery waits.
    pub evidence: Vec<StatementId>,
    /// The keys that signed more than one of them.
    pub double_signers: Vec<PublicKey>,
    /// How many statements wait for more signatures.
    pub pending: usize,
    /// Names that following it would take.
    pub claims: Vec<Claim>,
    /// Id of the head, for the next epoch's `prev`.
    pub head: Option<StatementId>,
    /// Payload of the head in base64: the next epoch restates it.
    pub payload: Option<String>,
    /// Its standing `route` statements.
    pub routes: Vec<Rule>,
    /// Counter for the next `route` statement.
    pub next_route: Counter,
}

/// A key that no longer counts, but for what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedKey {
    /// Which.
    pub key: PublicKey,
    /// The revocations that count, sorted.
    pub by: Vec<StatementId>,
}

/// All that the roots of a realm have said, as this node holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmStatements {
    /// Which realm.
    pub realm: RealmId,
    /// How its chain ends here.
    pub status: ChainStatus,
    /// The chain that this node follows, genesis first.
    pub path: Vec<StatementId>,
    /// Envelopes in base64: roots, seals, revocations, routes.
    pub statements: Vec<String>,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<RealmInfo>>, Failure> {
    let mut realms: Vec<RealmId> =
        admin.store.followed()?.into_iter().map(|followed| followed.realm).collect();
    realms.extend(admin.mesh.offers().await.into_iter().map(|offer| offer.realm));
    let mut seen = std::collections::BTreeSet::new();
    realms.retain(|realm| seen.insert(*realm));
    let mut rows = Vec::new();
    for realm in realms {
        rows.push(describe(&admin, realm).await?);
    }
    Ok(Json(rows))
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(realm): Path<String>,
) -> Result<Json<RealmInfo>, Failure> {
    let realm = find(&admin, &realm).await?;
    let info = describe(&admin, realm).await?;
    if info.status == ChainStatus::Unknown && info.kind.is_none() {
        return Err(Failure::not_found(format!("nothing is known here of the realm {realm}"))
            .hint("griot peer list; a realm that is elsewhere is joined by its invite"));
    }
    Ok(Json(info))
}

pub(super) async fn statements(
    State(admin): State<Arc<Admin>>,
    Path(realm): Path<String>,
) -> Result<Json<RealmStatements>, Failure> {
    let realm = find(&admin, &realm).await?;
    let (authority, shown) = follows::authority(&admin, &realm).await?;
    let mut statements = admin.store.authority_statements(&realm)?;
    statements.extend(shown);
    let statements =
        statements.iter().map(|it| BASE64_STANDARD.encode(it.envelope().encode())).collect();
    let Authority { status, path, .. } = authority;
    Ok(Json(RealmStatements { realm, status, path, statements }))
}

/// One statement with all its signatures, in base64; of a release, what a seal is about.
pub(super) async fn statement(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<String>, Failure> {
    let id: StatementId = id.parse()?;
    let held = admin.store.statement(&id)?;
    let held = held.ok_or_else(|| Failure::not_found(format!("{id} is not held here")))?;
    Ok(Json(BASE64_STANDARD.encode(held.envelope().encode())))
}

async fn describe(admin: &Admin, realm: RealmId) -> Result<RealmInfo, Failure> {
    let (authority, _) = follows::authority(admin, &realm).await?;
    let followed = admin.store.followed()?;
    let head = authority.path.last().copied();
    let held = head.map(|id| admin.store.statement(&id)).transpose()?.flatten();
    let payload = held.map(|verified| BASE64_STANDARD.encode(verified.statement().payload()));
    let statements = admin.store.authority_statements(&realm)?;
    let routes = site_rules(&authority, &statements);
    let next_route = next_route(&admin.store, &authority, &statements)?;
    let title = title(&authority);
    let claims = authority.claims();
    let status = authority.status;
    let epoch = authority.epoch();
    let revoked = crdt::realm::revoked(&authority, &statements, &Lists::new());
    let revoked = revoked.into_iter().map(|(key, kept)| {
        let by = kept.by.iter().copied().collect();
        RevokedKey { key, by }
    });
    let revoked = revoked.collect();
    let pending = crdt::realm::pending(&authority, &statements).len();
    let double_signers = authority.double_signers.into_iter().collect();
    let of = authority.head.unwrap_or_else(nothing);
    let kind = followed.iter().find(|known| known.realm == realm).map(|known| known.kind);
    Ok(RealmInfo {
        realm,
        title,
        status,
        kind,
        epoch,
        k: of.k,
        roots: of.roots,
        recovery: of.recovery,
        rk: of.rk,
        grants: of.grants,
        revoked,
        evidence: authority.evidence,
        double_signers,
        pending,
        claims,
        head,
        payload,
        routes,
        next_route,
    })
}

/// What is shown of a realm of which no head is held.
fn nothing() -> Root {
    Root {
        epoch: 0,
        prev: None,
        nonce: [0; 16],
        title: String::new(),
        roots: Vec::new(),
        k: 0,
        recovery: Vec::new(),
        rk: 0,
        grants: Vec::new(),
        cleared: Vec::new(),
        seals: None,
    }
}

/// One above every counter of the head's epoch.
fn next_route(
    store: &Store,
    authority: &Authority,
    statements: &[Verified],
) -> Result<Counter, Failure> {
    let epoch = authority.epoch();
    let counters = statements.iter().filter_map(|verified| match verified.statement().body() {
        Body::Route { counter, .. } if counter.epoch == epoch => Some(counter.n),
        _ => None,
    });
    let last = counters.max().unwrap_or(0);
    Ok(Counter { epoch, n: store.next_counter(last)? })
}
