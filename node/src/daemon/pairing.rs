//! Invites that this node has given, and the requests that came back for them.
//!
//! An invite for a role is a row `invite`/ID with the hash of its secret; the first request that
//! shows the secret uses it up. A request is a row `request`/ID with the keys that want the role.
//! Neither changes what anybody may do: that takes a root epoch, signed by the command with the
//! root key and posted like any statement. Rows survive a restart.
//!
//! The mesh asks [`Desk::answer`] from its one task, which must not wait for a disk: what is to be
//! written goes through a bounded queue to the task [`write_requests`]. A queue that is full refuses
//! the request; the joining node asks again.
//!
//! Source: trust.md section 11.

use crdt::digest::{from_hex, to_hex};
use crdt::{Digest, PublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::invite::{Invite, InviteRole};
use crate::mesh::{PairAnswer, PairRequest, PeerId};
use crate::store::{self, Store};

const INVITES: &str = "invite";
const REQUESTS: &str = "request";
/// Requests that wait for the disk.
const QUEUE_MAX: usize = 32;
/// Letters of a joining node's name that are kept.
const NAME_CHARS_MAX: usize = 64;

/// An invite as this node remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Name of the row; also what the request quotes.
    pub id: String,
    /// What was offered.
    pub role: InviteRole,
    /// `FORMAT:PATTERN` for which the role would be granted.
    pub names: String,
    /// BLAKE3 of the secret, in hexadecimal digits.
    secret_hash: String,
    /// The request that used it up.
    pub used_by: Option<String>,
}

/// A node that asks for a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Name of the row.
    pub id: String,
    /// The invite that it answers.
    pub invite: String,
    /// What it asks for.
    pub role: InviteRole,
    /// `FORMAT:PATTERN`, as the invite said.
    pub names: String,
    /// Key that would publish.
    pub publisher: PublicKey,
    /// Key that would mirror.
    pub node_key: PublicKey,
    /// What the node calls itself: shown, never believed.
    pub name: String,
    /// The peer that asked.
    pub peer: String,
    /// A root epoch that grants it was signed here.
    pub granted: bool,
}

/// Where requests are judged and queued.
#[derive(Debug)]
pub(super) struct Desk {
    store: Store,
    queue: mpsc::Sender<Request>,
}

impl Desk {
    /// The desk, and what its writing task reads.
    pub(super) fn new(store: Store) -> (Self, mpsc::Receiver<Request>) {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        (Self { store, queue }, requests)
    }

    /// Judges a request by its secret. Called by the mesh; waits for nothing.
    pub(super) fn answer(&self, request: &PairRequest, peer: &PeerId) -> PairAnswer {
        let given = match invite(&self.store, &request.invite) {
            Ok(Some(given)) => given,
            Ok(None) => return refused("no such invite here, or it was taken back"),
            Err(_) => return refused("the inviting node cannot read its invites now"),
        };
        let Ok(role) = request.role.parse::<InviteRole>() else {
            return refused("an unknown role");
        };
        if !secret_fits(&given, &request.secret) || given.role != role {
            return refused("no such invite here, or it was taken back");
        }
        let wanted = request_row(&given, request, peer);
        match &given.used_by {
            Some(by) if *by != wanted.id => refused("this invite was used by another node"),
            Some(_) if is_granted(&self.store, &wanted.id) => PairAnswer::Welcome,
            Some(_) => PairAnswer::Waiting,
            None => match self.queue.try_send(wanted) {
                Ok(()) => PairAnswer::Waiting,
                Err(_) => refused("too many nodes are joining at this moment; try again"),
            },
        }
    }
}

/// Writes down the requests that [`Desk::answer`] has let through, until the node stops.
pub(super) async fn write_requests(
    store: Store,
    mut queue: mpsc::Receiver<Request>,
) -> Result<(), store::Error> {
    while let Some(request) = queue.recv().await {
        let Some(mut given) = invite(&store, &request.invite)? else { continue };
        // Two requests may have passed the desk before the first was written: the first has it.
        if given.used_by.is_some() {
            continue;
        }
        // The request first: after a crash in between, the same node simply asks again.
        put(&store, REQUESTS, &request.id, &request).await?;
        given.used_by = Some(request.id);
        put(&store, INVITES, &given.id, &given).await?;
    }
    std::future::pending().await
}

/// Remembers an invite with a secret.
pub(super) async fn give(
    store: &Store,
    secret: &[u8; 32],
    role: InviteRole,
    names: &str,
) -> Result<Given, store::Error> {
    let given = Given {
        id: Invite::id_of(secret),
        role,
        names: names.into(),
        secret_hash: Digest::of(secret).to_hex(),
        used_by: None,
    };
    put(store, INVITES, &given.id, &given).await?;
    Ok(given)
}

/// Invites given, by id.
pub(super) fn invites(store: &Store) -> Result<Vec<Given>, store::Error> {
    all(store, INVITES)
}

/// Requests received, by id.
pub(super) fn requests(store: &Store) -> Result<Vec<Request>, store::Error> {
    all(store, REQUESTS)
}

/// Marks a request as granted; `None` if there is no such request.
pub(super) async fn mark_granted(store: &Store, id: &str) -> Result<Option<Request>, store::Error> {
    let Some(bytes) = store.row(REQUESTS, id)? else { return Ok(None) };
    let mut request: Request = read(&bytes)?;
    request.granted = true;
    put(store, REQUESTS, id, &request).await?;
    Ok(Some(request))
}

fn request_row(given: &Given, request: &PairRequest, peer: &PeerId) -> Request {
    let mut named = given.id.clone().into_bytes();
    named.extend_from_slice(request.publisher.as_bytes());
    named.extend_from_slice(request.node_key.as_bytes());
    let plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    Request {
        id: to_hex(&Digest::of(&named).as_bytes()[..4]),
        invite: given.id.clone(),
        role: given.role,
        names: given.names.clone(),
        publisher: request.publisher,
        node_key: request.node_key,
        name: request.name.chars().filter(plain).take(NAME_CHARS_MAX).collect(),
        peer: peer.to_string(),
        granted: false,
    }
}

fn secret_fits(given: &Given, secret: &[u8; 32]) -> bool {
    // `blake3::Hash` compares in constant time.
    from_hex::<32>(&given.secret_hash)
        .is_some_and(|kept| blake3::Hash::from_bytes(kept) == blake3::hash(secret))
}

fn is_granted(store: &Store, id: &str) -> bool {
    let row = store.row(REQUESTS, id).ok().flatten();
    row.and_then(|bytes| read::<Request>(&bytes).ok()).is_some_and(|request| request.granted)
}

fn invite(store: &Store, id: &str) -> Result<Option<Given>, store::Error> {
    store.row(INVITES, id)?.map(|bytes| read(&bytes)).transpose()
}

fn refused(why: &str) -> PairAnswer {
    PairAnswer::Refused(why.into())
}

fn all<T: for<'de> Deserialize<'de>>(store: &Store, kind: &str) -> Result<Vec<T>, store::Error> {
    store.rows(kind)?.values().map(|bytes| read(bytes)).collect()
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, store::Error> {
    serde_json::from_slice(bytes).map_err(|error| store::Error::Database(error.to_string()))
}

async fn put<T: Serialize>(
    store: &Store,
    kind: &str,
    key: &str,
    row: &T,
) -> Result<(), store::Error> {
    let bytes =
        serde_json::to_vec(row).map_err(|error| store::Error::Database(error.to_string()))?;
    store.put_row(kind, key, bytes).await
}
