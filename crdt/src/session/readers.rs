//! What each side may see of the other's realms, and how it is told.
//!
//! ```text
//!  HELLO ─────────────▶  ◀───────────── HELLO   realms that anybody may see, by their ids
//!  PROOF ─────────────▶  ◀───────────── PROOF   keys that each holds, signed for this meeting
//!  HIDDEN ────────────▶  ◀──────────── HIDDEN   further realms, by tags
//! ```
//!
//! A private realm is named to nobody: to a peer that has proven a key of one of its readers it is
//! named by a tag, which is the realm's id under a key made of both HELLO keys, the sender's first.
//! Only who knows the realm understands it, no two conversations have one in common, and it cannot
//! be sent back. Of a realm whose first statement is not held here it is not known whether it is
//! private: it is named by a tag, too, and by its id only to who has named it.
//!
//! So a realm is exchanged if both sides name it in one of these ways, and if the peer may see it.
//! For everybody else it is not there: nothing in a conversation is computed from it. A peer that
//! may no longer see what it was shown is cut off at once, and finds nothing when it comes again.
//!
//! What a node asks, sends and answers, and when, does not depend on what it hides: the comparison
//! of what is open begins at once, and what a peer has proven to be a reader of joins it when it is
//! known. Until then nobody here is told that both hold the same, if something hidden may follow.
//!
//! Source: trust.md section 14, index.md section 5.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::outgoing::{Grouped, Work};
use super::{Handled, Index, Millis, Output, Phase, Session, Violation};
use crate::message::{FOLLOWS_MAX, Frame, HIDDEN_MAX, PROOF_MAX};
use crate::signature::Hello;
use crate::{Authority, Body, PublicKey, RealmId, SecretKey, Signature, StatementId};

/// Who may see a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// It is not private.
    Anybody,
    /// Its first statement is not held, so nobody can tell.
    Unknown,
    /// It is private: those who hold one of these keys.
    Holders(Arc<BTreeSet<PublicKey>>),
}

impl Readers {
    /// As a realm's authority says.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        match &authority.head {
            None => Self::Unknown,
            Some(_) if authority.is_private() => Self::Holders(Arc::new(authority.readers())),
            Some(_) => Self::Anybody,
        }
    }

    /// Whether who has proven these keys may see it.
    #[must_use]
    pub fn admit(&self, proven: &BTreeSet<PublicKey>) -> bool {
        match self {
            Self::Anybody | Self::Unknown => true,
            Self::Holders(keys) => proven.iter().any(|key| keys.contains(key)),
        }
    }
}

/// Who we are in a conversation, and the keys by which we may see private realms.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    /// Our peer id.
    pub own: Vec<u8>,
    /// The id of the peer, as the transport has authenticated it.
    pub peer: Vec<u8>,
    /// Keys that this node holds; of more than [`PROOF_MAX`] the first.
    pub keys: Arc<Vec<SecretKey>>,
}

impl Bearer {
    /// Shows our keys to the peer that drew `challenge`.
    fn prove(&self, challenge: &[u8; 32]) -> Frame {
        let hello = Hello { prover: &self.own, verifier: &self.peer, challenge };
        let keys = self.keys.iter().take(PROOF_MAX);
        let mut keys: Vec<_> = keys.map(|key| (key.public(), hello.sign(key))).collect();
        keys.sort_unstable();
        keys.dedup_by_key(|(key, _)| *key);
        Frame::Proof { keys }
    }
}

/// How a realm is called to one peer alone.
type Tag = [u8; 32];

/// The key of the tags of one side.
fn tags_of(sender: &[u8; 32], receiver: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("griot 2026 sync hidden realms v1", [*sender, *receiver].as_flattened())
}

fn tag(key: &[u8; 32], realm: &RealmId) -> Tag {
    *blake3::keyed_hash(key, realm.0.as_bytes()).as_bytes()
}

/// What the peer has said of itself.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// It reads PROOF and HIDDEN.
    reads: bool,
    follows: BTreeSet<RealmId>,
    tags: BTreeSet<Tag>,
    proven: BTreeSet<PublicKey>,
    /// It has proven its keys, even if there are none.
    has_proven: bool,
    /// It has said which hidden realms it follows.
    has_answered: bool,
    /// One of us has named a realm by a tag.
    has_hidden: bool,
    /// Our log that it lacks: after the one sequence, up to the other.
    log: Option<(u64, u64)>,
}

impl Claims {
    /// As of its HELLO.
    pub(super) fn new(reads: bool, follows: Vec<RealmId>, log: Option<(u64, u64)>) -> Self {
        Self { reads, follows: follows.into_iter().collect(), log, ..Self::default() }
    }
}

/// What is exchanged, as of one revision of the index and one state of the claims.
#[derive(Debug, Default)]
pub(super) struct Sight {
    revision: Option<u64>,
    /// Followed by both, and the peer may see them.
    pub(super) shared: Arc<BTreeSet<RealmId>>,
    /// What we name by its id.
    named: Vec<RealmId>,
    /// What we name by a tag.
    tags: BTreeSet<Tag>,
    /// What the peer claims and may not see.
    denied: BTreeSet<RealmId>,
    /// Something hidden is followed here that the peer may have.
    hopes: bool,
    /// Both hold the same of what was known to be shared, and nobody here was told.
    pub(super) untold: bool,
}

/// What the peer was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    named: Vec<RealmId>,
    tags: BTreeSet<Tag>,
    has_answered: bool,
    /// What our caller knows of the peer.
    follows: Option<Vec<RealmId>>,
}

/// What may be named to a stranger.
fn open(index: &dyn Index) -> Vec<RealmId> {
    let mut follows = index.follows();
    follows.retain(|realm| index.readers(realm) == Readers::Anybody);
    follows
}

impl Session {
    /// The realms for a HELLO, and the frame with all of them if they are too many for one.
    pub(super) fn introduce(
        &mut self,
        limit: usize,
        index: &dyn Index,
    ) -> (Vec<RealmId>, Option<Frame>) {
        let mut follows = open(index);
        follows.truncate(FOLLOWS_MAX);
        self.told.named.clone_from(&follows);
        let more = (follows.len() > limit).then(|| self.follows_frame());
        follows.truncate(limit);
        (follows, more)
    }

    /// Shows our keys, if the peer can read that.
    pub(super) fn prove(&mut self) {
        if self.peer.claims.reads {
            self.out.push_back(Output::Send(self.bearer.prove(&self.peer.key)));
        }
    }

    /// The peer follows these from now on.
    pub(super) fn peer_follows(
        &mut self,
        now: Millis,
        follows: Vec<RealmId>,
        index: &dyn Index,
    ) -> Handled {
        self.peer.claims.follows = follows.into_iter().collect();
        let was_open = self.asking.is_open();
        self.claims_changed(now, index)?;
        if was_open || !self.asking.is_open() {
            self.ask(now);
        }
        Ok(())
    }

    /// The peer shows its keys.
    pub(super) fn proof(
        &mut self,
        now: Millis,
        keys: &[(PublicKey, Signature)],
        index: &dyn Index,
    ) -> Handled {
        let Bearer { own, peer, .. } = &self.bearer;
        let hello = Hello { prover: peer, verifier: own, challenge: &self.key };
        if keys.iter().any(|(key, signature)| hello.verify(key, signature).is_err()) {
            return Err(Violation("a key that it does not hold"));
        }
        let claims = &mut self.peer.claims;
        claims.proven = keys.iter().map(|(key, _)| *key).collect();
        claims.has_proven = true;
        let proven = claims.proven.clone();
        self.out.push_back(Output::Proven(proven));
        self.claims_changed(now, index)
    }

    /// The peer follows what these tags are for, too.
    pub(super) fn hidden(&mut self, now: Millis, tags: Vec<Tag>, index: &dyn Index) -> Handled {
        let claims = &mut self.peer.claims;
        claims.has_hidden |= !tags.is_empty();
        claims.tags = tags.into_iter().collect();
        claims.has_answered = true;
        let before = Arc::clone(&self.sight.shared);
        let was_untold = std::mem::take(&mut self.sight.untold);
        self.claims_changed(now, index)?;
        if was_untold && before == self.sight.shared {
            self.out.push_back(Output::InSync);
        }
        Ok(())
    }

    fn claims_changed(&mut self, now: Millis, index: &dyn Index) -> Handled {
        self.sight.revision = None;
        self.look(now, index)
    }

    /// Brings what is exchanged up to date with the index and with what the peer claims, and tells
    /// the peer what it may hear of that. Before anything else in each turn.
    pub(super) fn look(&mut self, now: Millis, index: &dyn Index) -> Handled {
        let revision = index.revision();
        if self.phase != Phase::Open || self.sight.revision == Some(revision) {
            return Ok(());
        }
        let sight = self.seen(revision, index);
        if self.sight.shared.intersection(&sight.denied).next().is_some() {
            return Err(Violation("starts afresh"));
        }
        let before = std::mem::replace(&mut self.sight, sight);
        self.tell_sight();
        if before.shared != self.sight.shared {
            self.exchanged.clear();
            self.refused.clear();
            self.resume_shared(&before.shared);
            self.asking.is_moot();
            self.ask(now);
        }
        Ok(())
    }

    /// What came into our log since the peer saw it, of realms that are exchanged only now because
    /// it has just said so; of all others it was sent before.
    fn resume_shared(&mut self, before: &BTreeSet<RealmId>) {
        if !self.peer.claims.has_answered {
            return;
        }
        let Some((after, until)) = self.peer.claims.log.take() else { return };
        let of = self.sight.shared.difference(before).copied().collect();
        self.work.push_back(Work::Resume { from: after, after, until, of: Some(Arc::new(of)) });
    }

    fn seen(&self, revision: u64, index: &dyn Index) -> Sight {
        let claims = &self.peer.claims;
        let ours = tags_of(&self.key, &self.peer.key);
        let theirs = tags_of(&self.peer.key, &self.key);
        let mut sight = Sight { revision: Some(revision), ..Sight::default() };
        let mut shared = BTreeSet::new();
        for realm in index.follows() {
            let readers = index.readers(&realm);
            let by_id = claims.follows.contains(&realm);
            let claimed =
                by_id || !claims.tags.is_empty() && claims.tags.contains(&tag(&theirs, &realm));
            let admitted = readers.admit(&claims.proven);
            match readers {
                Readers::Anybody => sight.named.push(realm),
                Readers::Unknown if by_id => sight.named.push(realm),
                _ if admitted => drop(sight.tags.insert(tag(&ours, &realm))),
                _ => {}
            }
            match (claimed, admitted) {
                (true, true) => drop(shared.insert(realm)),
                (true, false) => drop(sight.denied.insert(realm)),
                (false, _) => {}
            }
            let is_hidden = readers != Readers::Anybody;
            sight.hopes |= is_hidden && !(claimed && admitted);
        }
        sight.named.truncate(FOLLOWS_MAX);
        sight.tags = std::mem::take(&mut sight.tags).into_iter().take(HIDDEN_MAX).collect();
        sight.shared = Arc::new(shared);
        sight
    }

    /// Tells the peer, and our caller, what has changed since they were told.
    fn tell_sight(&mut self) {
        if self.told.named != self.sight.named {
            self.told.named.clone_from(&self.sight.named);
            self.out.push_back(Output::Send(self.follows_frame()));
        }
        let claims = &self.peer.claims;
        let answers = claims.has_proven && !self.told.has_answered;
        let differs = self.told.has_answered && self.told.tags != self.sight.tags;
        if claims.reads && (answers || differs) {
            self.told.has_answered = true;
            self.told.tags.clone_from(&self.sight.tags);
            let tags: Vec<Tag> = self.sight.tags.iter().copied().collect();
            self.peer.claims.has_hidden |= !tags.is_empty();
            self.out.push_back(Output::Send(Frame::Hidden { tags }));
        }
        let claims = &self.peer.claims;
        let follows: BTreeSet<_> = claims.follows.union(&self.sight.shared).copied().collect();
        let follows: Vec<_> = follows.into_iter().collect();
        if self.told.follows.as_ref() != Some(&follows) {
            self.told.follows = Some(follows.clone());
            self.out.push_back(Output::PeerFollows(follows));
        }
    }

    /// Where a realm's first statement is among what the peer gets, the roots go before all others,
    /// the newest first: so the peer knows whether the realm is private when it knows the realm.
    pub(super) fn newest_root_first(&self, items: &mut VecDeque<Grouped>, index: &dyn Index) {
        if !items.iter().any(|(id, _)| self.sight.shared.contains(&RealmId(id.0))) {
            return;
        }
        let epoch = |id: &StatementId| match index.envelope(id, &[])?.statement().body() {
            Body::Root(root) => Some(root.epoch),
            _ => None,
        };
        items.make_contiguous().sort_by_cached_key(|(id, _)| Reverse(epoch(id)));
    }

    /// What the peer was told that we follow.
    pub(super) fn follows_frame(&self) -> Frame {
        Frame::Follows { follows: self.told.named.clone() }
    }

    /// Whether the peer may send what came into its log of realms that one of us hid at first: we
    /// may name them openly by now, so that no tag is left of them.
    pub(super) const fn may_resume_late(&self) -> bool {
        self.peer.claims.has_hidden
    }

    /// Whether the peer is about to say what else it shares.
    pub(super) const fn may_share_more(&self) -> bool {
        let claims = &self.peer.claims;
        claims.reads && !claims.has_answered && self.sight.hopes
    }
}
