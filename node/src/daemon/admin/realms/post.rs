//! Taking envelopes in: statements of followed realms, and the genesis of a new one.
//!
//! What is posted here is verified and admitted like what a peer sends, but with two refusals that
//! a set cannot make: a second successor of an epoch that has one would fork the realm, and a home
//! that was restored from a backup may not know that it has one.

use std::sync::Arc;

use axum::extract::{Path, State};
use crdt::statement::{Root, recovery_hash};
use crdt::{Body, Envelope, RealmId, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::super::follows::find;
use super::super::{Admin, Bytes, Done, Failure, Json, Read};
use crate::registry::Outcome;
use crate::store::{FollowKind, Followed};

/// What became of a posted statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Its id.
    pub id: StatementId,
    /// Whether anything of it was new here.
    pub new: bool,
}

/// Which root a person accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptRoot {
    /// Its id.
    pub root: StatementId,
}

/// Takes the chain through a root for the realm from now on: a person's word.
pub(in crate::daemon::admin) async fn accept(
    State(admin): State<Arc<Admin>>,
    Path(realm): Path<String>,
    Read(order): Read<AcceptRoot>,
) -> Result<Json<Done>, Failure> {
    let realm = find(&admin, &realm).await?;
    let before = admin.store.authority(&realm)?.path;
    let after = admin.store.accept_chain(&realm, &order.root).await?;
    admin.mesh.sync_now().await;
    Ok(Json(Done { changed: after.path != before }))
}

/// Follows a realm by its genesis, with all names that it claims: whoever hands it in has founded
/// it, or has compared its id.
pub(in crate::daemon::admin) async fn found(
    State(admin): State<Arc<Admin>>,
    Bytes(bytes): Bytes,
) -> Result<Json<Posted>, Failure> {
    let verified = Envelope::decode(&bytes)?.verify()?;
    let id = verified.statement().id();
    let realm = RealmId(id.0);
    let authority = crdt::realm::authority(realm, [&verified], &[]);
    if authority.head.is_none() {
        return Err(Failure::invalid("this founds no realm: too few of its roots have signed it")
            .hint("griot realm sign FILE, where the other root keys are"));
    }
    let followed = admin.store.followed()?;
    if !followed.iter().any(|known| known.realm == realm) {
        let order = followed.iter().map(|known| known.order + 1).max().unwrap_or(1);
        let (kind, mirrors) = (FollowKind::Followed, Vec::new());
        let claims = authority.claims();
        admin.store.follow(Followed { realm, kind, claims, order, mirrors }).await?;
    }
    let new = admin.registry.admit(vec![verified]).await? > 0;
    admin.mesh.sync_now().await;
    Ok(Json(Posted { id, new }))
}

pub(in crate::daemon::admin) async fn post_statement(
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
