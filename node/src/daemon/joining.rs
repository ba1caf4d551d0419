//! What this node owes to those who invited it: the request of each invite, until it is handed in.
//!
//! A join may find nobody at home. So two rows are written first: `inviter`, by which the inviting
//! peer is a member of the site as soon as it is met, and `joining`, with the request to be handed
//! in. When a peer comes, the requests to it are handed in; any answer ends that. Rows survive a
//! restart, are bounded in number, and go when the realm is unfollowed. What an answer means is the
//! business of who asks; here one that comes late is only logged.
//!
//! Source: trust.md sections 11 and 14.

use std::time::Duration;

use crdt::RealmId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::invite::Invite;
use crate::mesh::members::INVITER_ROW;
use crate::mesh::{self, Mesh, Multiaddr, PairAnswer, PairRequest};
use crate::store::{self, Store};

/// The kind of rows of requests that are to be handed in; the key is the invite's id.
const JOINING: &str = "joining";
/// Requests that wait; of more, the first by name is forgotten.
const WAITING_MAX: usize = 16;
/// After a peer that is connected took no request; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// No pause is longer.
const RETRY_MAX: Duration = Duration::from_secs(10 * 60);

/// A request that waits for its inviter.
#[derive(Serialize, Deserialize)]
struct Waiting {
    realm: RealmId,
    peer: String,
    addresses: Vec<Multiaddr>,
    request: PairRequest,
}

/// Hands requests in.
#[derive(Debug)]
pub(super) struct Joining {
    store: Store,
    mesh: Mesh,
    news: Notify,
}

impl Joining {
    pub(super) fn new(store: Store, mesh: Mesh) -> Self {
        Self { store, mesh, news: Notify::new() }
    }

    /// Writes down what is owed for an invite, before anything is tried.
    pub(super) async fn remember(
        &self,
        invite: &Invite,
        request: PairRequest,
    ) -> Result<(), store::Error> {
        let (peer, realm) = (invite.peer.to_string(), invite.realm);
        self.store.put_row(INVITER_ROW, &peer, realm.0.as_bytes().to_vec()).await?;
        let others = self.store.rows(JOINING)?.into_keys().filter(|id| *id != request.invite);
        let others: Vec<String> = others.collect();
        for forgotten in others.iter().take((others.len() + 1).saturating_sub(WAITING_MAX)) {
            self.store.delete_row(JOINING, forgotten).await?;
        }
        let id = request.invite.clone();
        let waiting = Waiting { realm, peer, addresses: invite.dial(), request };
        let bytes = serde_json::to_vec(&waiting)
            .map_err(|error| store::Error::Database(error.to_string()))?;
        self.store.put_row(JOINING, &id, bytes).await?;
        self.news.notify_one();
        Ok(())
    }

    /// Hands one in now. What was answered is not handed in again.
    pub(super) async fn hand_in(
        &self,
        addresses: Vec<Multiaddr>,
        request: PairRequest,
    ) -> Result<PairAnswer, mesh::Error> {
        let id = request.invite.clone();
        let answer = self.mesh.pair(addresses, request).await?;
        self.store.delete_row(JOINING, &id).await?;
        Ok(answer)
    }

    /// Hands in what waits whenever a peer comes.
    pub(super) async fn run(&self) -> Result<(), store::Error> {
        let mut arrivals = self.mesh.watch_peers();
        let mut pause = RETRY_FIRST;
        loop {
            arrivals.borrow_and_update();
            let failed = self.hand_in_all().await?;
            let retry = async {
                if failed { tokio::time::sleep(pause).await } else { std::future::pending().await }
            };
            tokio::select! {
                changed = arrivals.changed() => match changed {
                    Ok(()) => pause = RETRY_FIRST,
                    // The mesh has stopped, which is told by its own task.
                    Err(_) => std::future::pending().await,
                },
                () = self.news.notified() => pause = RETRY_FIRST,
                () = retry => pause = RETRY_MAX.min(pause * 2),
            }
        }
    }

    /// Says whether some peer that is here took none.
    async fn hand_in_all(&self) -> Result<bool, store::Error> {
        let rows = self.store.rows(JOINING)?;
        if rows.is_empty() {
            return Ok(false);
        }
        let here = self.mesh.peers().await;
        let mut failed = false;
        for (id, bytes) in rows {
            let Ok(waiting) = serde_json::from_slice::<Waiting>(&bytes) else {
                self.store.delete_row(JOINING, &id).await?;
                continue;
            };
            let Waiting { realm, peer, addresses, request } = waiting;
            if !here.iter().any(|one| one.id == peer) {
                continue;
            }
            match self.hand_in(addresses, request).await {
                Ok(answer) => {
                    tracing::info!(%realm, ?answer, "a request to take part is handed in")
                }
                Err(mesh::Error::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(%realm, %error, "a request to take part is not handed in");
                    failed = true;
                }
            }
        }
        Ok(failed)
    }
}

/// Forgets the inviters into a realm, and what they are owed.
pub(super) async fn forget(store: &Store, realm: &RealmId) -> Result<(), store::Error> {
    for (peer, into) in store.rows(INVITER_ROW)? {
        if into == realm.0.as_bytes() {
            store.delete_row(INVITER_ROW, &peer).await?;
        }
    }
    for (id, bytes) in store.rows(JOINING)? {
        let of_realm = |waiting: Waiting| waiting.realm == *realm;
        if serde_json::from_slice(&bytes).map_or(true, of_realm) {
            store.delete_row(JOINING, &id).await?;
        }
    }
    Ok(())
}
