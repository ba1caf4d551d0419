//! `follows`: the realms whose packages this node keeps.
//!
//! Following takes the names that a realm's grants claim, exact or by prefix. The person has seen
//! and confirmed a list of claims; what is stored is that list and nothing that has joined since.

use std::sync::Arc;

use axum::extract::{Path, State};
use crdt::realm::Claim;
use crdt::{Authority, ChainStatus, RealmId, Verified};
use serde::{Deserialize, Serialize};

use super::join::granted_mirrors;
use super::peers::title;
use super::{Admin, Done, Failure, Json, Read};
use crate::daemon::joining;
use crate::mesh::Offer;
use crate::store::{AcceptedMirror, FollowKind, Followed, believed_mirrors};

/// What to follow, as it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowOrder {
    /// Which realm.
    pub realm: RealmId,
    /// Claims that were confirmed.
    pub claims: Vec<Claim>,
}

/// A followed realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowRow {
    /// Its id.
    pub realm: RealmId,
    /// Its title.
    pub title: String,
    /// Own, site or followed.
    pub kind: FollowKind,
    /// Names that come from it.
    pub claims: Vec<Claim>,
    /// Its mirrors that are believed.
    pub mirrors: Vec<AcceptedMirror>,
    /// Of the site: mirrors that it grants and that were not accepted here.
    pub unaccepted: Vec<AcceptedMirror>,
}

/// What following has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The realm.
    pub realm: RealmId,
    /// Names that come from it now.
    pub claims: Vec<Claim>,
    /// Those of them that a realm confirmed before claims, too: they take nothing until chosen.
    pub overlaps: Vec<Overlap>,
}

/// Two realms claim one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The new claim.
    pub claim: Claim,
    /// Who has it.
    pub earlier: RealmId,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<FollowRow>>, Failure> {
    let mut rows = Vec::new();
    for followed in admin.store.followed()? {
        let authority = admin.store.authority(&followed.realm)?;
        let believed = believed_mirrors(&followed, &authority).into_iter();
        let mirrors = believed.map(|(key, format)| AcceptedMirror { key, format }).collect();
        let mut unaccepted = granted_mirrors(&authority);
        let is_site = followed.kind == FollowKind::Site;
        unaccepted.retain(|mirror| is_site && !followed.mirrors.contains(mirror));
        rows.push(FollowRow {
            realm: followed.realm,
            title: title(&authority),
            kind: followed.kind,
            claims: followed.claims,
            mirrors,
            unaccepted,
        });
    }
    Ok(Json(rows))
}

pub(super) async fn follow(
    State(admin): State<Arc<Admin>>,
    Read(order): Read<FollowOrder>,
) -> Result<Json<Follows>, Failure> {
    let (authority, roots) = authority(&admin, &order.realm).await?;
    if authority.head.is_none() {
        return Err(Failure::not_found("no peer that is connected shows this realm")
            .hint("griot peer list; a realm that is elsewhere is joined by its invite"));
    }
    let held = authority.claims();
    if let Some(gone) = order.claims.iter().find(|claim| !held.contains(claim)) {
        let pattern = &gone.pattern.0;
        return Err(Failure::invalid(format!(
            "the realm does not claim {}:{pattern}",
            gone.format
        ))
        .hint(format!("griot follow {}", order.realm)));
    }
    let followed = admin.store.followed()?;
    let known = followed.iter().find(|known| known.realm == order.realm);
    if known.is_some_and(|known| matches!(known.kind, FollowKind::Own | FollowKind::Site)) {
        return Err(Failure::invalid("this realm is followed already, as the own one or the site"));
    }
    let overlaps = overlaps(&followed, &order);
    let claims = confirmed(&followed, order.realm, order.claims);
    let next = followed.iter().map(|known| known.order + 1).max().unwrap_or(1);
    let row = Followed {
        realm: order.realm,
        kind: FollowKind::Followed,
        claims: claims.clone(),
        order: known.filter(|it| it.kind == FollowKind::Followed).map_or(next, |it| it.order),
        mirrors: Vec::new(),
    };
    admin.store.follow(row).await?;
    admin.store.admit(roots, None).await?;
    admin.mesh.sync_now().await;
    Ok(Json(Follows { realm: order.realm, claims, overlaps }))
}

/// The claims to keep. A realm keeps the place of its first follow, so a claim that joins later and
/// overlaps another realm's would take its names: it is left out until a person adds a route.
pub(super) fn confirmed(followed: &[Followed], realm: RealmId, claims: Vec<Claim>) -> Vec<Claim> {
    // One that is followed for a grant alone has no place yet.
    let known = |known: &&Followed| known.realm == realm && known.kind != FollowKind::Delegate;
    let Some(known) = followed.iter().find(known) else { return claims };
    let others = || followed.iter().filter(|other| other.realm != realm);
    let free = |claim: &Claim| {
        !others().flat_map(|other| &other.claims).any(|other| overlap(claim, other))
    };
    let keep = |claim: &Claim| known.claims.contains(claim) || free(claim);
    claims.into_iter().filter(keep).collect()
}

fn overlap(one: &Claim, two: &Claim) -> bool {
    let formats = one.format == "*" || two.format == "*" || one.format == two.format;
    formats && one.pattern.overlaps(&two.pattern)
}

pub(super) async fn unfollow(
    State(admin): State<Arc<Admin>>,
    Path(realm): Path<String>,
) -> Result<Json<Done>, Failure> {
    let realm = find(&admin, &realm).await?;
    if realm == admin.own {
        return Err(Failure::invalid("a node always follows its own realm"));
    }
    let changed = admin.store.unfollow(&realm).await?;
    joining::forget(&admin.store, &realm).await?;
    Ok(Json(Done { changed }))
}

fn overlaps(followed: &[Followed], order: &FollowOrder) -> Vec<Overlap> {
    let earlier = followed.iter().filter(|known| known.realm != order.realm);
    earlier
        .flat_map(|known| {
            let taken = |claim: &&Claim| known.claims.iter().any(|other| overlap(claim, other));
            let found = order.claims.iter().filter(taken);
            found.map(|claim| Overlap { claim: claim.clone(), earlier: known.realm })
        })
        .collect()
}

/// The authority of a realm, from what is held or else from what a met peer shows; and the shown
/// root statements, to be admitted once it is followed.
pub(super) async fn authority(
    admin: &Admin,
    realm: &RealmId,
) -> Result<(Authority, Vec<Verified>), Failure> {
    let held = admin.store.authority(realm)?;
    if held.status != ChainStatus::Unknown {
        return Ok((held, Vec::new()));
    }
    Ok(shown(realm, admin.mesh.offers().await))
}

/// What all peers together show: one that leaves out signatures or newer epochs hides nothing that
/// another shows.
fn shown(realm: &RealmId, offers: Vec<Offer>) -> (Authority, Vec<Verified>) {
    let of_realm = offers.into_iter().filter(|offer| offer.realm == *realm);
    let envelopes = of_realm.flat_map(|offer| offer.envelopes);
    let roots: Vec<_> =
        envelopes.filter(|envelope| envelope.statement().kind() == "root").collect();
    (crdt::realm::authority(*realm, &roots, &[]), roots)
}

/// A realm by its id, by the start of one that is followed or offered, or by `own` and `site`.
pub(super) async fn find(admin: &Admin, text: &str) -> Result<RealmId, Failure> {
    match text {
        "own" => return Ok(admin.own),
        "site" => return Ok(admin.registry.site_realm()?),
        _ => {}
    }
    if let Ok(realm) = text.parse() {
        return Ok(realm);
    }
    let mut known: Vec<RealmId> =
        admin.store.followed()?.into_iter().map(|followed| followed.realm).collect();
    known.extend(admin.mesh.offers().await.into_iter().map(|offer| offer.realm));
    known.sort_unstable();
    known.dedup();
    known.retain(|realm| text.starts_with("r1") && realm.to_string().starts_with(text));
    match known.as_slice() {
        [one] => Ok(*one),
        [] => {
            Err(Failure::not_found(format!("no realm that is known here begins with {text:.80}"))
                .hint("griot realm list; griot peer list"))
        }
        several => Err(Failure::invalid(format!(
            "{} realms begin with {text:.80}: type more of it",
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::statement::{Grant, Grantee, Pattern, Root};
    use crdt::{Body, Digest, SecretKey, Statement};

    fn claim(format: &str, pattern: &str) -> Claim {
        Claim { format: format.into(), pattern: Pattern::parse(pattern).unwrap() }
    }

    fn followed(name: &str, order: u64, claims: Vec<Claim>) -> Followed {
        let realm = RealmId(Digest::of(name.as_bytes()));
        Followed { realm, kind: FollowKind::Followed, claims, order, mirrors: Vec::new() }
    }

    #[test]
    fn a_claim_that_joins_later_takes_no_name_that_another_realm_has() {
        let first = followed("first", 1, vec![claim("npm", "one")]);
        let second = followed("second", 2, vec![claim("npm", "two-*")]);
        let all = [first.clone(), second];
        let wider = vec![claim("npm", "one"), claim("*", "two-x"), claim("npm", "three")];
        let kept = confirmed(&all, first.realm, wider.clone());
        assert_eq!(kept, [claim("npm", "one"), claim("npm", "three")]);
        let order = FollowOrder { realm: first.realm, claims: wider };
        let shown = overlaps(&all, &order);
        assert_eq!(shown.len(), 1, "an overlap through the format * is shown, too");
        assert_eq!(shown[0].claim, claim("*", "two-x"));
    }

    /// A genesis, and the next epoch, which grants `pattern`.
    fn chain(root: &SecretKey, pattern: &str) -> [Statement; 2] {
        let key = root.public();
        let genesis = crate::daemon::genesis::personal(root, key, key, [1; 16], "realm").unwrap();
        let Body::Root(first) = genesis.statement().body() else { panic!("a genesis is a root") };
        let grant = Grant {
            format: "npm".into(),
            pattern: Pattern::parse(pattern).unwrap(),
            role: "publish".into(),
            to: Grantee::Key(key),
            need: 1,
            exclusive: false,
        };
        let prev = Some(genesis.statement().id());
        let next = Root { epoch: 1, prev, grants: vec![grant], ..first.clone() };
        let realm = genesis.statement().realm();
        let next = Statement::new(realm, None, Body::Root(next)).unwrap();
        [genesis.statement().clone(), next]
    }

    #[test]
    fn a_peer_that_shows_less_hides_nothing_that_another_shows() {
        let (root, liar) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let [genesis, next] = chain(&root, "tool");
        let realm = genesis.realm();
        let offer = |peer: &str, envelopes| Offer { realm, peer: peer.into(), envelopes };
        let unsigned = Verified::sign(genesis.clone(), &[&liar]);
        let (authority, _) = shown(&realm, vec![offer("liar", vec![unsigned.clone()])]);
        assert!(authority.head.is_none());
        let stale = Verified::sign(genesis.clone(), &[&root]);
        let all = vec![stale.clone(), Verified::sign(next, &[&root])];
        let offers =
            vec![offer("liar", vec![unsigned]), offer("old", vec![stale]), offer("new", all)];
        let (authority, roots) = shown(&realm, offers);
        assert_eq!(authority.claims(), [claim("npm", "tool")]);
        assert_eq!(roots.len(), 4);
    }
}
