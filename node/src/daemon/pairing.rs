//! Invites that this node has given, and the requests that came back for them.
//!
//! An invite is a row `invite`/ID with the hash of its secret; the first request that shows the
//! secret uses it up, and makes its peer a member of this node's site: a row `member`/PEER. A
//! request is a row `request`/ID with the keys that want the role. A reader is welcome at once; a
//! role changes what somebody may do, and that takes a root epoch, signed by the command with the
//! root key and posted like any statement. If this node's own realm is private, being a reader is
//! such a role, too. Rows survive a restart.
//!
//! The mesh asks the `Desk` about each request that arrives; what it answers is on disk first.
//!
//! Source: trust.md section 11.

use std::collections::HashMap;

use crdt::digest::{from_hex, to_hex};
use crdt::{Digest, PublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::invite::{Invite, InviteRole};
use crate::mesh::members::MEMBER_ROW;
use crate::mesh::{PairAnswer, PairRequest, PeerId};
use crate::store::{self, Store};

const INVITES: &str = "invite";
const REQUESTS: &str = "request";
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
    /// A root epoch that grants it was signed here, or it needs none.
    pub granted: bool,
}

/// A node that redeemed an invite of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its peer id.
    pub peer: String,
    /// What it calls itself: shown, never believed.
    pub name: String,
}

/// Where requests are judged, one after another: an invite has one answer.
#[derive(Debug)]
pub(super) struct Desk {
    store: Mutex<Store>,
}

impl Desk {
    pub(super) fn new(store: Store) -> Self {
        Self { store: Mutex::new(store) }
    }

    /// Judges a request by its secret, and writes it down if it is the first for its invite.
    pub(super) async fn answer(&self, request: PairRequest, peer: PeerId) -> PairAnswer {
        let store = self.store.lock().await;
        match judge(&store, &request, &peer).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!("a request to take part cannot be kept: {error}");
                refused("the inviting node cannot read its invites now")
            }
        }
    }
}

async fn judge(
    store: &Store,
    request: &PairRequest,
    peer: &PeerId,
) -> Result<PairAnswer, store::Error> {
    let given = invite(store, &request.invite)?;
    let fits = |given: &Given| {
        secret_fits(given, &request.secret) && request.role.parse() == Ok(given.role)
    };
    let Some(mut given) = given.filter(fits) else {
        return Ok(refused("no such invite here, or it was taken back"));
    };
    let is_private = store.own_is_private()?;
    let wanted = request_row(&given, request, peer, is_private);
    let first = match &given.used_by {
        // The same keys and the same peer: keys are public, and a secret may have been seen.
        Some(by) if *by == wanted.id => request_of(store, by)?,
        Some(_) => None,
        None => {
            // The request first: after a crash in between, the same node simply asks again.
            put(store, REQUESTS, &wanted.id, &wanted).await?;
            given.used_by = Some(wanted.id.clone());
            put(store, INVITES, &given.id, &given).await?;
            Some(wanted)
        }
    };
    let Some(first) = first.filter(|first| first.peer == peer.to_string()) else {
        return Ok(refused("this invite was used by another node"));
    };
    store.put_row(MEMBER_ROW, &first.peer, first.id.into_bytes()).await?;
    Ok(if first.granted { PairAnswer::Welcome } else { PairAnswer::Waiting })
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

/// The members by an invite of this node, by peer id.
pub(super) fn members(store: &Store) -> Result<Vec<Member>, store::Error> {
    let mut names = HashMap::new();
    for request in requests(store)? {
        names.insert(request.peer, request.name);
    }
    let peers = store.rows(MEMBER_ROW)?.into_keys();
    let member = |peer: String| Member { name: names.remove(&peer).unwrap_or_default(), peer };
    Ok(peers.map(member).collect())
}

/// Takes back that a peer is a member. Its requests go, too: with one of them it would be welcome
/// again by the invite that it has used. They go first, so that a crash in between changes nothing
/// that the next try does not end.
pub(super) async fn dismiss(store: &Store, peer: &str) -> Result<(), store::Error> {
    for request in requests(store)?.into_iter().filter(|request| request.peer == peer) {
        store.delete_row(REQUESTS, &request.id).await?;
    }
    store.delete_row(MEMBER_ROW, peer).await?;
    Ok(())
}

/// Marks a request as granted; `None` if there is no such request.
pub(super) async fn mark_granted(store: &Store, id: &str) -> Result<Option<Request>, store::Error> {
    let Some(bytes) = store.row(REQUESTS, id)? else { return Ok(None) };
    let mut request: Request = read(&bytes)?;
    request.granted = true;
    put(store, REQUESTS, id, &request).await?;
    Ok(Some(request))
}

fn request_row(given: &Given, request: &PairRequest, peer: &PeerId, is_private: bool) -> Request {
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
        granted: given.role == InviteRole::Reader && !is_private,
    }
}

fn secret_fits(given: &Given, secret: &[u8; 32]) -> bool {
    // `blake3::Hash` compares in constant time.
    from_hex::<32>(&given.secret_hash)
        .is_some_and(|kept| blake3::Hash::from_bytes(kept) == blake3::hash(secret))
}

fn request_of(store: &Store, id: &str) -> Result<Option<Request>, store::Error> {
    store.row(REQUESTS, id)?.map(|bytes| read(&bytes)).transpose()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [5; 32];

    fn request(seed: u8, secret: [u8; 32]) -> PairRequest {
        let key = |n: u8| crdt::SecretKey::from_seed(&[n; 32]).public();
        PairRequest {
            invite: Invite::id_of(&SECRET),
            secret,
            role: "publisher".into(),
            publisher: key(seed),
            node_key: key(seed + 100),
            name: "baba\u{1b}[31m-pc".into(),
        }
    }

    async fn desk() -> (tempfile::TempDir, Store, Desk) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        give(&store, &SECRET, InviteRole::Publisher, "npm:*").await.unwrap();
        (home, store.clone(), Desk::new(store))
    }

    #[tokio::test]
    async fn a_secret_works_once_and_its_node_may_ask_again() {
        let (_home, store, desk) = desk().await;
        let peer = PeerId::random();
        assert_eq!(desk.answer(request(1, SECRET), peer).await, PairAnswer::Waiting);
        assert_eq!(desk.answer(request(1, SECRET), peer).await, PairAnswer::Waiting);
        for (seed, peer) in [(2, peer), (1, PeerId::random())] {
            let other = desk.answer(request(seed, SECRET), peer).await;
            assert!(matches!(other, PairAnswer::Refused(_)), "{other:?}");
        }
        let members: Vec<String> = store.rows(MEMBER_ROW).unwrap().into_keys().collect();
        assert_eq!(members, [peer.to_string()]);
        let rows = requests(&store).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].names.as_str(), rows[0].name.as_str()), ("npm:*", "baba[31m-pc"));
        mark_granted(&store, &rows[0].id).await.unwrap().unwrap();
        assert_eq!(desk.answer(request(1, SECRET), peer).await, PairAnswer::Welcome);
    }

    #[tokio::test]
    async fn a_reader_is_welcome_at_once_and_a_member_from_then_on() {
        let (_home, store, desk) = desk().await;
        let (secret, peer) = ([9; 32], PeerId::random());
        give(&store, &secret, InviteRole::Reader, "*:*").await.unwrap();
        let role = "reader".into();
        let request = PairRequest { invite: Invite::id_of(&secret), role, ..request(1, secret) };
        for _ in 0..2 {
            assert_eq!(desk.answer(request.clone(), peer).await, PairAnswer::Welcome);
        }
        assert!(store.row(MEMBER_ROW, &peer.to_string()).unwrap().is_some());
        let thief = desk.answer(request, PeerId::random()).await;
        assert!(matches!(thief, PairAnswer::Refused(_)), "{thief:?}");
        assert_eq!(store.rows(MEMBER_ROW).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn who_is_dismissed_is_no_member_and_does_not_become_one_by_the_same_invite() {
        let (_home, store, desk) = desk().await;
        let (peer, other) = (PeerId::random(), PeerId::random());
        desk.answer(request(1, SECRET), peer).await;
        let (secret, role) = ([9; 32], "reader".into());
        give(&store, &secret, InviteRole::Reader, "*:*").await.unwrap();
        let reader = PairRequest { invite: Invite::id_of(&secret), role, ..request(2, secret) };
        desk.answer(reader, other).await;
        assert_eq!(members(&store).unwrap().len(), 2);
        dismiss(&store, &peer.to_string()).await.unwrap();
        let left = members(&store).unwrap();
        assert_eq!((left.len(), &left[0].peer), (1, &other.to_string()));
        assert_eq!(left[0].name, "baba[31m-pc");
        let again = desk.answer(request(1, SECRET), peer).await;
        assert!(matches!(again, PairAnswer::Refused(_)), "{again:?}");
        assert_eq!(members(&store).unwrap(), left);
    }

    #[tokio::test]
    async fn a_wrong_secret_role_or_invite_is_refused_alike() {
        let (_home, store, desk) = desk().await;
        let wrong = [
            request(1, [6; 32]),
            PairRequest { role: "mirror".into(), ..request(1, SECRET) },
            PairRequest { role: "king".into(), ..request(1, SECRET) },
            PairRequest { invite: "0123".into(), ..request(1, SECRET) },
        ];
        let expected = refused("no such invite here, or it was taken back");
        for request in wrong {
            assert_eq!(desk.answer(request, PeerId::random()).await, expected);
        }
        assert!(requests(&store).unwrap().is_empty());
        assert!(store.rows(MEMBER_ROW).unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_secret_is_not_on_disk() {
        let (_home, store, _desk) = desk().await;
        let rows = store.rows(INVITES).unwrap();
        let text = String::from_utf8(rows.values().next().unwrap().clone()).unwrap();
        assert!(!text.contains(&to_hex(&SECRET)), "{text}");
    }
}
