//! `peers` and `offers`: whom this node is connected to, and what strangers show.
//!
//! A peer that is merely met changes nothing about what is installed here.

use std::sync::Arc;

use axum::extract::State;
use crdt::{Authority, RealmId};
use serde::{Deserialize, Serialize};

use super::{Admin, Done, Failure, Json, Read};
use crate::mesh::{self, Multiaddr, Offer, PeerInfo};

/// An address as it is written.
const ADD_HINT: &str = "griot peer add /ip4/192.168.4.1/tcp/7879";

/// An address to dial or to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// A multiaddress, such as `/ip4/192.168.4.1/tcp/7879`.
    pub address: String,
}

/// A realm that a met peer shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedRealm {
    /// Its id.
    pub realm: RealmId,
    /// Its title: shown, never believed.
    pub title: String,
    /// The peer that shows it.
    pub peer: String,
    /// Whether it is followed already.
    pub followed: bool,
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<PeerInfo>> {
    Json(admin.mesh.peers().await)
}

pub(super) async fn add(
    State(admin): State<Arc<Admin>>,
    Read(peer): Read<PeerAddress>,
) -> Result<Json<Done>, Failure> {
    match admin.mesh.add_peer(parse(&peer.address)?).await {
        // Not for reasons of trust: it can never be dialled.
        Err(mesh::Error::Refused(why)) => Err(Failure::invalid(why).hint(ADD_HINT)),
        added => Ok(Json(Done { changed: added.map(|()| true)? })),
    }
}

pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Read(peer): Read<PeerAddress>,
) -> Result<Json<Done>, Failure> {
    let changed = admin.mesh.remove_peer(&parse(&peer.address)?).await?;
    Ok(Json(Done { changed }))
}

pub(super) async fn offers(
    State(admin): State<Arc<Admin>>,
) -> Result<Json<Vec<OfferedRealm>>, Failure> {
    let followed = admin.store.followed()?;
    let offers = admin.mesh.offers().await;
    let shown = offers.iter().map(|offer| OfferedRealm {
        realm: offer.realm,
        title: title(&authority_of(offer)),
        peer: offer.peer.clone(),
        followed: followed.iter().any(|known| known.realm == offer.realm),
    });
    Ok(Json(shown.collect()))
}

/// What an offer's own root statements amount to.
pub(super) fn authority_of(offer: &Offer) -> Authority {
    crdt::realm::authority(offer.realm, &offer.envelopes, &[])
}

pub(super) fn title(authority: &Authority) -> String {
    authority.head.as_ref().map(|head| head.title.clone()).unwrap_or_default()
}

fn parse(address: &str) -> Result<Multiaddr, Failure> {
    address.parse().map_err(|error| {
        Failure::invalid(format!("not a multiaddress: {address:.200} ({error})")).hint(ADD_HINT)
    })
}
