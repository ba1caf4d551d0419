//! `join`: becoming part of another realm's site, by its invite.
//!
//! Three calls, because a person decides in between:
//!
//! 1. `join` remembers and dials the addresses, follows the realm as the site, and waits a bounded
//!    time until its authority has arrived over sync. The own realm stays; an earlier site becomes
//!    a realm that is merely followed.
//! 2. `join/mirrors` believes exactly those of the site's mirrors, with their formats, that were
//!    shown and accepted. What the realm grants later is listed by `follows` as not accepted, and
//!    waits for the same call.
//! 3. `join/pair` hands in the request: for a role, or to be a member; `joining` does it later
//!    when nobody is at home.
//!
//! The authority of a private realm comes when its reader is granted: the request is handed in at
//! once, by `joining`, and if nobody grants it within that time, `join` says so.
//!
//! Everything is remembered before it is tried, so a join without a network completes later.
//!
//! Source: trust.md section 11.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use crdt::realm::Claim;
use crdt::{Authority, ChainStatus, RealmId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::follows::confirmed;
use super::peers::title;
use super::{Admin, Done, Failure, Json, Read};
use crate::daemon::invite::{Invite, InviteRole};
use crate::mesh::{PairAnswer, PairRequest};
use crate::store::{AcceptedMirror, FollowKind, Followed};

/// How long a join waits for the realm's authority.
const AUTHORITY_WAIT: Duration = Duration::from_secs(15);

/// An invite as it was pasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteText {
    /// `griot1…`
    pub invite: String,
}

/// What a join has reached so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The realm that is now the site.
    pub realm: RealmId,
    /// Its title.
    pub title: String,
    /// What the invite offers.
    pub role: InviteRole,
    /// Whether the realm's authority is here; if not, it comes when a peer can be reached.
    pub arrived: bool,
    /// Whether the inviting peer is connected: then what lacks is the right to see a private realm.
    #[serde(default)]
    pub met: bool,
    /// Mirrors that could be believed, with their formats.
    pub mirrors: Vec<AcceptedMirror>,
    /// Names that come from the realm now.
    pub claims: Vec<Claim>,
}

/// Which of a site's mirrors to believe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorChoice {
    /// The site.
    pub realm: RealmId,
    /// Those that the person was shown and accepted; none to believe none.
    pub mirrors: Vec<AcceptedMirror>,
}

/// How a request for a role stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Paired {
    /// The role is granted.
    Welcome,
    /// A holder of the root key must grant it.
    Waiting,
    /// It will not be granted.
    Refused {
        /// As the inviter says.
        why: String,
    },
}

pub(super) async fn join(
    State(admin): State<Arc<Admin>>,
    Read(text): Read<InviteText>,
) -> Result<Json<Joined>, Failure> {
    let invite = parse(&text)?;
    if invite.realm == admin.own {
        return Err(Failure::invalid("this invite is into this node's own realm")
            .hint("type it on the node that is to join"));
    }
    let mut admissions = admin.store.subscribe();
    for address in invite.dial() {
        admin.mesh.add_peer(address).await?;
    }
    admin.joining.remember(&invite, request(&admin, &invite)).await?;
    adopt(&admin, invite.realm, Vec::new()).await?;
    admin.mesh.sync_now().await;
    let deadline = Instant::now() + AUTHORITY_WAIT;
    let mut authority = admin.store.authority(&invite.realm)?;
    while authority.status == ChainStatus::Unknown {
        // A lagging receiver has missed admissions, so looking again is right then, too.
        let news = tokio::time::timeout_at(deadline, admissions.recv()).await;
        authority = admin.store.authority(&invite.realm)?;
        if news.is_err() {
            break;
        }
    }
    let claims = authority.claims();
    if !claims.is_empty() {
        adopt(&admin, invite.realm, claims).await?;
    }
    let inviter = invite.peer.to_string();
    let met = admin.mesh.peers().await.iter().any(|peer| peer.id == inviter);
    Ok(Json(Joined { met, ..joined(&invite, &authority) }))
}

fn joined(invite: &Invite, authority: &Authority) -> Joined {
    let arrived = authority.status != ChainStatus::Unknown;
    Joined {
        realm: invite.realm,
        title: if arrived { title(authority) } else { invite.title.clone() },
        role: invite.role,
        arrived,
        met: false,
        mirrors: granted_mirrors(authority),
        claims: authority.claims(),
    }
}

/// Makes the realm this node's site; an earlier one is merely followed from now on.
async fn adopt(admin: &Admin, realm: RealmId, claims: Vec<Claim>) -> Result<(), Failure> {
    let followed = admin.store.followed()?;
    for earlier in &followed {
        if earlier.kind == FollowKind::Site && earlier.realm != realm {
            let (kind, mirrors) = (FollowKind::Followed, Vec::new());
            let merely = Followed { kind, mirrors, ..earlier.clone() };
            admin.store.follow(merely).await?;
        }
    }
    let known = followed.iter().find(|known| known.realm == realm);
    let next = followed.iter().map(|known| known.order + 1).max().unwrap_or(1);
    let site = Followed {
        realm,
        kind: FollowKind::Site,
        claims: if claims.is_empty() {
            known.map(|known| known.claims.clone()).unwrap_or_default()
        } else {
            confirmed(&followed, realm, claims)
        },
        order: known.map_or(next, |known| known.order),
        mirrors: known.map(|known| known.mirrors.clone()).unwrap_or_default(),
    };
    Ok(admin.store.follow(site).await?)
}

pub(super) async fn mirrors(
    State(admin): State<Arc<Admin>>,
    Read(choice): Read<MirrorChoice>,
) -> Result<Json<Done>, Failure> {
    let followed = admin.store.followed()?;
    let site = followed
        .into_iter()
        .find(|known| known.realm == choice.realm && known.kind == FollowKind::Site)
        .ok_or_else(|| Failure::not_found("that realm is not this node's site"))?;
    let granted = granted_mirrors(&admin.store.authority(&choice.realm)?);
    let mut mirrors = choice.mirrors;
    if let Some(other) = mirrors.iter().find(|mirror| !granted.contains(mirror)) {
        let format = &other.format;
        return Err(Failure::invalid(format!(
            "the site grants no mirror {} for {format}",
            other.key
        ))
        .hint("griot accept --mirrors shows those that it grants now"));
    }
    mirrors.sort();
    mirrors.dedup();
    let changed = site.mirrors != mirrors;
    admin.store.follow(Followed { mirrors, ..site }).await?;
    Ok(Json(Done { changed }))
}

/// The mirrors of a realm as a person is shown them.
pub(super) fn granted_mirrors(authority: &Authority) -> Vec<AcceptedMirror> {
    let mirrors = authority.mirrors().into_iter();
    mirrors.map(|(key, format)| AcceptedMirror { key, format }).collect()
}

pub(super) async fn pair(
    State(admin): State<Arc<Admin>>,
    Read(text): Read<InviteText>,
) -> Result<Json<Paired>, Failure> {
    let invite = parse(&text)?;
    let request = request(&admin, &invite);
    Ok(Json(match admin.joining.hand_in(invite.dial(), request).await? {
        PairAnswer::Welcome => Paired::Welcome,
        PairAnswer::Waiting => Paired::Waiting,
        PairAnswer::Refused(why) => Paired::Refused { why },
    }))
}

fn request(admin: &Admin, invite: &Invite) -> PairRequest {
    PairRequest {
        invite: Invite::id_of(&invite.secret),
        secret: invite.secret,
        role: invite.role.to_string(),
        publisher: admin.registry.publisher_key(),
        node_key: admin.node_key,
        name: admin.title.clone(),
    }
}

fn parse(text: &InviteText) -> Result<Invite, Failure> {
    text.invite.parse().map_err(|error: crate::daemon::invite::Error| {
        Failure::invalid(error.to_string())
            .hint("copy the whole line that `griot invite` printed, from griot1 to its end")
    })
}
