//! `invites`, `requests` and `members`: giving a place in this node's realm, and taking it back.
//!
//! An invite is into this node's own realm, whose root key lies beside it. Granting what a request
//! asks for is done by the command: it signs a root epoch, posts it, and marks the request.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::peers::title;
use super::{Admin, Failure, Json, Read, pairing};
use crate::daemon::invite::{Invite, InviteRole};
use crate::daemon::pairing::{Given, Member, Request};
use crate::registry::Outcome;

/// What to invite to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteOrder {
    /// The role.
    pub role: InviteRole,
    /// `FORMAT:PATTERN` of the names for which it would be granted.
    pub names: String,
}

/// The line of text, and the row to look for when somebody answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteLine {
    /// `griot1…`
    pub invite: String,
    /// Which invite a request will quote.
    pub id: String,
}

/// A member, as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberName {
    /// Its peer id, or the start of one that no other member's has.
    pub peer: String,
}

pub(super) async fn members(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<Member>>, Failure> {
    Ok(Json(pairing::members(&admin.store)?))
}

/// Dismisses one; what it may do in the realm is a matter of grants, and stays.
pub(super) async fn dismiss(
    State(admin): State<Arc<Admin>>,
    Read(name): Read<MemberName>,
) -> Result<Json<Member>, Failure> {
    let start = name.peer.trim_end_matches('…');
    let mut found = pairing::members(&admin.store)?;
    found.retain(|member| member.peer.starts_with(start));
    let why = match found.pop() {
        Some(member) if found.is_empty() && !start.is_empty() => {
            pairing::dismiss(&admin.store, &member.peer).await?;
            return Ok(Json(member));
        }
        Some(_) => "more than one member has an id that begins so",
        None => "no node with this id is a member by an invite of this one",
    };
    Err(Failure::not_found(why).hint("griot peer list shows who is"))
}

pub(super) async fn invites(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<Given>>, Failure> {
    Ok(Json(pairing::invites(&admin.store)?))
}

pub(super) async fn requests(
    State(admin): State<Arc<Admin>>,
) -> Result<Json<Vec<Request>>, Failure> {
    Ok(Json(pairing::requests(&admin.store)?))
}

pub(super) async fn granted(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Request>, Failure> {
    let request = pairing::mark_granted(&admin.store, &id).await?;
    request.map(Json).ok_or_else(|| {
        Failure::not_found(format!("no request {id:.40}")).hint("griot realm requests")
    })
}

pub(super) async fn invite(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<InviteOrder>,
) -> Result<Json<InviteLine>, Failure> {
    let addresses = Invite::fitting(&admin.mesh.addresses().await);
    if addresses.is_empty() {
        return Err(Failure::new(Outcome::Unavailable, "this node listens on no mesh address")
            .hint("griot up --mesh-listen /ip4/0.0.0.0/tcp/7879"));
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new(Outcome::Unavailable, error.to_string()))?;
    let line = Invite {
        realm: admin.own,
        peer: admin.mesh.local_peer(),
        addresses,
        role: order.role,
        title: title(&admin.store.authority(&admin.own)?),
        secret,
    };
    let id = pairing::give(&admin.store, &secret, order.role, &order.names).await?.id;
    Ok(Json(InviteLine { invite: line.to_string(), id }))
}
