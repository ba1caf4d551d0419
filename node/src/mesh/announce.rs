//! Gossip: what was published here is told to all at once, and what arrives is judged.
//!
//! ```text
//!  0x00 ‖ envelope      a whole statement with its signatures, if that fits
//!  0x01 ‖ id, 32 bytes  a larger one, to be asked for on the sync stream
//! ```
//!
//! Gossip only makes things fast. Whatever it loses, the sync streams repair, so nothing here waits
//! or retries. Only what was published on this node is announced: what came from a peer is passed
//! on by gossipsub and by the sync streams already ([`Learned`] remembers which those are). A
//! message is forwarded only when its statement was checked and new here.
//!
//! Private realms take no part: the topic is everybody's. Nothing of one is published here, what
//! comes of one is neither believed nor passed on, and to who names a statement of one it is as if
//! we had never heard of it.
//!
//! Source: mesh.md section 5.1, index.md section 2.5.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crdt::session::{Index as _, Readers};
use crdt::{Envelope, Item, RealmId, StatementId, Verified};
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;

use super::behaviour::GOSSIP_BYTES_MAX;
use super::command::Context;
use crate::store::{Admission, Store};

const WHOLE: u8 = 0;
const NAMED: u8 = 1;
/// Room that gossipsub's own frame takes: author, number, topic, key and signature.
const GOSSIP_FRAME_BYTES: usize = 512;
/// More new statements than this in one commit are an import: the sync streams carry those.
const ANNOUNCED_MAX: usize = 64;
/// Pairs from peers that are remembered until their admission is seen.
const LEARNED_MAX: usize = 65_536;

/// The (statement, signer) pairs that peers gave us and that are just being admitted.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pairs: Mutex<(HashSet<Item>, VecDeque<Item>)>,
}

impl Learned {
    /// Notes what is about to be admitted on behalf of a peer.
    pub(super) fn note(&self, verified: &[Verified]) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        for item in verified.iter().flat_map(items) {
            if pairs.0.insert(item) {
                pairs.1.push_back(item);
            }
        }
        while pairs.1.len() > LEARNED_MAX {
            if let Some(oldest) = pairs.1.pop_front() {
                pairs.0.remove(&oldest);
            }
        }
    }

    /// Whether a peer gave us the pair.
    pub(super) fn knows(&self, item: &Item) -> bool {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).0.contains(item)
    }
}

fn items(verified: &Verified) -> impl Iterator<Item = Item> + '_ {
    let id = verified.statement().id();
    verified.signatures().keys().map(move |key| Item { id, key: *key })
}

/// What to announce of an admission: the messages for the topic.
pub(super) fn messages(admission: &Admission, learned: &Learned, store: &Store) -> Vec<Vec<u8>> {
    let ours = admission.new.iter().filter(|new| !learned.knows(&new.item));
    let mut ids: Vec<StatementId> = ours.map(|new| new.item.id).collect();
    ids.dedup();
    if ids.len() > ANNOUNCED_MAX {
        return Vec::new();
    }
    let held = ids.iter().filter_map(|id| store.statement(id).ok().flatten());
    let open = held.filter(|verified| is_open(store, &verified.statement().realm()));
    open.map(|verified| message(&verified)).collect()
}

/// Whether a realm is known to be everybody's.
fn is_open(store: &Store, realm: &RealmId) -> bool {
    store.readers_of(realm).is_ok_and(|readers| readers == Readers::Anybody)
}

fn message(verified: &Verified) -> Vec<u8> {
    let whole = verified.envelope().encode();
    let mut message = vec![WHOLE];
    if whole.len() < GOSSIP_BYTES_MAX - GOSSIP_FRAME_BYTES {
        message.extend_from_slice(&whole);
    } else {
        message[0] = NAMED;
        message.extend_from_slice(verified.statement().id().0.as_bytes());
    }
    message
}

/// What to answer gossipsub, and what to ask the sender for.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whether it is forwarded, dropped, or counted against its sender.
    pub(super) acceptance: MessageAcceptance,
    /// A statement that was named and is not here.
    pub(super) want: Option<StatementId>,
}

impl From<MessageAcceptance> for Verdict {
    fn from(acceptance: MessageAcceptance) -> Self {
        Self { acceptance, want: None }
    }
}

/// Judges a message, and admits its statement if it is one that we keep.
pub(super) async fn judge(context: &Context, source: PeerId, message: Vec<u8>) -> Verdict {
    match message.split_first() {
        Some((&WHOLE, bytes)) => match Envelope::decode(bytes) {
            Ok(envelope) => judge_whole(context, source, envelope).await.into(),
            Err(_) => MessageAcceptance::Reject.into(),
        },
        Some((&NAMED, bytes)) => match <[u8; 32]>::try_from(bytes) {
            Ok(id) => judge_named(context, StatementId(crdt::Digest::from_bytes(id))),
            Err(_) => MessageAcceptance::Reject.into(),
        },
        // A later version may know more kinds; this one does not forward what it cannot check.
        _ => MessageAcceptance::Ignore.into(),
    }
}

/// A bare name cannot be checked, so it goes no further than to those who hear it from its holder.
fn judge_named(context: &Context, id: StatementId) -> Verdict {
    let store = &context.store;
    let held = store.statement(&id).ok().flatten();
    let held = held.is_some_and(|held| is_open(store, &held.statement().realm()));
    Verdict { acceptance: MessageAcceptance::Ignore, want: (!held).then_some(id) }
}

async fn judge_whole(context: &Context, source: PeerId, envelope: Envelope) -> MessageAcceptance {
    if !is_open(&context.store, &envelope.statement.realm()) {
        return MessageAcceptance::Ignore;
    }
    let Some(envelope) = unknown_part(&context.store, envelope) else {
        return MessageAcceptance::Ignore;
    };
    let verified = match tokio::task::spawn_blocking(move || envelope.verify()).await {
        Ok(Ok(verified)) => verified,
        Ok(Err(_)) => return MessageAcceptance::Reject,
        Err(_) => return MessageAcceptance::Ignore,
    };
    let batch = vec![verified];
    context.learned.note(&batch);
    match context.store.admit(batch, None).await {
        Ok(admission) if !admission.new.is_empty() => MessageAcceptance::Accept,
        Ok(_) => MessageAcceptance::Ignore,
        Err(error) => {
            tracing::warn!(%source, %error, "a gossiped statement could not be stored");
            MessageAcceptance::Ignore
        }
    }
}

/// The envelope with the signatures that we do not hold yet; `None` if there are none, or if its
/// realm is not followed. What is held was verified when it came.
pub(super) fn unknown_part(store: &Store, mut envelope: Envelope) -> Option<Envelope> {
    let id = envelope.statement.id();
    if !store.follows().contains(&envelope.statement.realm()) {
        return None;
    }
    envelope.signatures.retain(|key, _| !store.holds(&Item { id, key: *key }));
    (!envelope.signatures.is_empty()).then_some(envelope)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Realm;
    use super::*;

    #[test]
    fn a_small_statement_travels_whole_and_a_large_one_by_name() {
        let realm = Realm::new("village");
        let small = realm.release("drum", "1.0.0", b"boom");
        let large = realm.large_release("drum");
        assert_eq!(message(&small)[0], WHOLE);
        assert_eq!(message(&small)[1..], small.envelope().encode());
        let named = [&[NAMED][..], large.statement().id().0.as_bytes()].concat();
        assert_eq!(message(&large), named);
    }

    #[test]
    fn what_a_peer_gave_us_is_not_announced_again() {
        let realm = Realm::new("village");
        let (ours, theirs) = (realm.release("a", "1.0.0", b"a"), realm.release("b", "1.0.0", b"b"));
        let learned = Learned::default();
        learned.note(std::slice::from_ref(&theirs));
        assert!(items(&theirs).all(|item| learned.knows(&item)));
        assert!(!items(&ours).any(|item| learned.knows(&item)));
    }
}
