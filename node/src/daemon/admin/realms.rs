//! `realms` and `statements`: what the command needs in order to sign, and where it posts it.
//!
//! The command reads the head of a realm's chain here, signs the next epoch or a route with the
//! root key file, and posts the envelope. It is verified and admitted like one from any peer: the
//! admin token gives no right to a realm.

use std::sync::Arc;

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crdt::realm::Claim;
use crdt::routes::{Rule, site_rules};
use crdt::statement::{Counter, Grant, Root, recovery_hash};
use crdt::{Authority, Body, ChainStatus, Envelope, PublicKey, RealmId, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::follows::{self, find};
use super::peers::title;
use super::{Admin, Bytes, Failure, Json};
use crate::registry::Outcome;
use crate::store::{FollowKind, Store};

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
    /// Who may do what.
    pub grants: Vec<Grant>,
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

/// What became of a posted statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Its id.
    pub id: StatementId,
    /// Whether anything of it was new here.
    pub new: bool,
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

pub(super) async fn post_statement(
    State(admin): State<Arc<Admin>>,
    Bytes(bytes): Bytes,
) -> Result<Json<Posted>, Failure> {
    let verified = Envelope::decode(&bytes)?.verify()?;
    let id = verified.statement().id();
    let realm = verified.statement().realm();
    if !admin.store.followed()?.iter().any(|followed| followed.realm == realm) {
        return Err(Failure::new(Outcome::Forbidden, "the statement is of a realm not followed"));
    }
    let _one_epoch_at_a_time = admin.epochs.lock().await;
    refuse_after_restore(&admin, &verified)?;
    refuse_second_successor(&admin, &verified)?;
    let new = admin.registry.admit(vec![verified]).await? > 0;
    Ok(Json(Posted { id, new }))
}

/// The chain of a restored home may have gone on elsewhere: a second successor of the same epoch
/// would fork it. A member of the site has to show that it has not, or somebody to say so.
fn refuse_after_restore(admin: &Admin, verified: &Verified) -> Result<(), Failure> {
    let is_root = matches!(verified.statement().body(), Body::Root(_));
    if !is_root || !admin.store.may_be_outdated(&verified.statement().realm())? {
        return Ok(());
    }
    let why =
        "this node was restored from a backup: the realm may have newer root epochs elsewhere";
    Err(Failure::new(Outcome::Conflict, why).hint(
        "once it is in sync with a member of its site that knew it before, this ends by itself: \
         griot peer list; if there is none: griot restore --up-to-date",
    ))
}

/// Two commands that sign at once would fork the chain and freeze it for ever: the later is told to
/// look again. A recovery may branch off, since that is what it is for.
fn refuse_second_successor(admin: &Admin, verified: &Verified) -> Result<(), Failure> {
    let statement = verified.statement();
    let Body::Root(Root { prev: Some(prev), .. }) = statement.body() else { return Ok(()) };
    let path = admin.store.authority(&statement.realm())?.path;
    let Some(at) = path.iter().position(|id| id == prev) else { return Ok(()) };
    if path.get(at + 1).is_none_or(|next| *next == statement.id()) {
        return Ok(());
    }
    let parent = admin.store.statement(prev)?;
    let rescues = parent.is_some_and(|parent| match parent.statement().body() {
        Body::Root(parent) => {
            let mut signers = verified.signatures().keys();
            signers.any(|key| parent.recovery.contains(&recovery_hash(key)))
        }
        _ => false,
    });
    if rescues {
        return Ok(());
    }
    Err(Failure::new(Outcome::Conflict, "another epoch of this realm was signed in between")
        .hint("nothing is lost: type the command again"))
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
    let (k, roots, grants) =
        authority.head.map(|head| (head.k, head.roots, head.grants)).unwrap_or_default();
    let kind = followed.iter().find(|known| known.realm == realm).map(|known| known.kind);
    Ok(RealmInfo {
        realm,
        title,
        status,
        kind,
        epoch,
        k,
        roots,
        grants,
        claims,
        head,
        payload,
        routes,
        next_route,
    })
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
