//! What each input does: greeting, statements that arrive, follows, wants, time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::limits::Bucket;
use super::outgoing::{Work, grouped};
use super::readers::Claims;
use super::{
    ANSWERS_BURST, ANSWERS_PER_SECOND, Checked, FRESH_MAX, Handled, Index, LOBBY_PAUSE_MS, Millis,
    Output, PROTOCOL_VERSION, Peer, Phase, Session, Timer, Violation, shared,
};
use crate::message::{
    FEATURE_CELLS, FEATURE_FRUGAL, FEATURE_HIDDEN, FRAME_LEAST_BYTES, FRAME_MAX_BYTES, Frame,
    HELLO_FOLLOWS_MAX, WANT_MAX,
};
use crate::{Collection, Envelope, Item, RealmId, StatementId};

/// Statements of one realm in a lobby.
const LOBBY_STATEMENTS_MAX: usize = 32;
/// Payload bytes of one realm in a lobby.
const LOBBY_BYTES_MAX: usize = 64 * 1024;
/// A batch of so many statements that we have costs the peer more than us.
const NOISE_MAX: usize = 64;
/// Work that may wait: above it the peer asks faster than it reads.
const WORK_MAX: usize = 65_536;

impl Session {
    pub(super) fn start(
        &mut self,
        key: [u8; 32],
        initiator: bool,
        seen: Option<(u64, u64)>,
        index: &dyn Index,
    ) -> Handled {
        if self.phase != Phase::Unstarted {
            return Ok(());
        }
        self.phase = Phase::Greeting;
        (self.key, self.initiator, self.cursor) = (key, initiator, seen);
        self.timer = Timer::new(key);
        if !initiator {
            self.questions = Bucket::new(ANSWERS_PER_SECOND, ANSWERS_BURST);
        }
        self.peer.frame_max_bytes = FRAME_LEAST_BYTES;
        let (follows, more) = self.introduce(HELLO_FOLLOWS_MAX, index);
        let frugal = if self.frugal { FEATURE_FRUGAL } else { 0 };
        self.out.push_back(Output::Send(Frame::Hello {
            version: PROTOCOL_VERSION,
            features: FEATURE_CELLS | FEATURE_HIDDEN | frugal,
            max_frame: FRAME_MAX_BYTES as u64,
            key,
            epoch: index.epoch(),
            seen,
            follows,
        }));
        self.out.extend(more.map(Output::Send));
        self.queue_lobby(index);
        Ok(())
    }

    fn queue_lobby(&mut self, index: &dyn Index) {
        let lobby: VecDeque<Envelope> =
            index.lobby().into_iter().map(|shown| shown.envelope().clone()).collect();
        self.shown = lobby.iter().map(|envelope| envelope.statement.realm()).collect();
        if !lobby.is_empty() {
            self.work.push_back(Work::Lobby(lobby));
        }
    }

    /// Shows the lobby again if it is old and the peer was left in peace for a while.
    pub(super) fn show_lobby(&mut self, now: Millis, index: &dyn Index) {
        if self.shown_is_old && now >= self.show_again_at && self.phase == Phase::Open {
            self.shown_is_old = false;
            self.show_again_at = now + LOBBY_PAUSE_MS;
            self.queue_lobby(index);
        }
    }

    pub(super) fn frame(&mut self, now: Millis, frame: Frame, index: &dyn Index) -> Handled {
        if self.phase == Phase::Unstarted {
            return Err(Violation("a frame before the start"));
        }
        if (self.phase == Phase::Greeting) != matches!(frame, Frame::Hello { .. })
            && !matches!(frame, Frame::GoAway { .. })
        {
            return Err(Violation("hello must come first, and once"));
        }
        if self.is_unasked(&frame) && !self.control.take(now) {
            return Err(Violation("too many messages"));
        }
        if self.work.len() > WORK_MAX {
            return Err(Violation("asks faster than it reads"));
        }
        if self.asking.is_open() {
            self.timer.waiting(now);
        }
        self.dispatch(now, frame, index)
    }

    fn dispatch(&mut self, now: Millis, frame: Frame, index: &dyn Index) -> Handled {
        match frame {
            Frame::Hello { .. } => self.hello(now, frame, index),
            Frame::Follows { follows } => {
                self.exchanged.clear();
                self.refused.clear();
                self.peer_follows(now, follows, index)
            }
            Frame::Proof { keys } => self.proof(now, &keys, index),
            Frame::Hidden { tags } => self.hidden(now, tags, index),
            Frame::Resume { from, to, batch } => self.resumed(now, (from, to), batch, index),
            Frame::Statements { batch } => self.receive(now, batch, None, index),
            Frame::Want { ids } => self.answer_want(&ids),
            Frame::Lobby { batch } => {
                self.out.push_back(Output::Lobby(within_lobby(batch)));
                Ok(())
            }
            Frame::Check { count, fingerprint, sequence } => {
                self.check(Checked { count, fingerprint, sequence })
            }
            Frame::Colls { last, entries } => self.colls(now, (last, entries), index),
            Frame::AllIds { coll, ids, last } => self.all_ids(coll, &ids, last, index),
            Frame::Done { coll, last, want } => self.done(now, coll, (last, &want), index),
            Frame::Cells { coll, first, cells } => self.cells(now, (coll, first), cells, index),
            Frame::More { coll, count } => self.more(now, (coll, count), index),
            Frame::GoAway { .. } => {
                self.end("the peer said goodbye");
                Ok(())
            }
        }
    }

    /// Frames that a peer sends of its own accord; what we asked for is not counted.
    fn is_unasked(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Hello { .. } | Frame::Follows { .. } | Frame::Want { .. } => true,
            Frame::Lobby { .. } | Frame::Proof { .. } | Frame::Hidden { .. } => true,
            Frame::Check { .. } | Frame::Colls { .. } => !self.initiator,
            // These are judged where it is known whether they were asked for.
            Frame::Resume { .. } | Frame::Statements { .. } => false,
            Frame::AllIds { .. } | Frame::Done { .. } | Frame::GoAway { .. } => false,
            Frame::Cells { .. } | Frame::More { .. } => false,
        }
    }

    fn hello(&mut self, now: Millis, frame: Frame, index: &dyn Index) -> Handled {
        let Frame::Hello { version, features, max_frame, key, epoch, seen, follows } = frame else {
            return Ok(());
        };
        if version != PROTOCOL_VERSION {
            return Err(Violation("speaks another version of the protocol"));
        }
        if max_frame < FRAME_LEAST_BYTES as u64 {
            return Err(Violation("its frames are too small for a statement"));
        }
        if key == self.key {
            return Err(Violation("its key is ours"));
        }
        let frame_max_bytes =
            usize::try_from(max_frame).map_or(FRAME_MAX_BYTES, |max| max.min(FRAME_MAX_BYTES));
        let reads_cells = features & FEATURE_CELLS != 0;
        self.frugal |= features & FEATURE_FRUGAL != 0;
        let log =
            seen.filter(|(known, after)| *known == index.epoch() && *after < index.last_sequence());
        let log = log.map(|(_, after)| (after, index.last_sequence()));
        let claims = Claims::new(features & FEATURE_HIDDEN != 0, follows, log);
        self.peer = Peer { key, epoch, frame_max_bytes, reads_cells, claims };
        self.names = names_of(if self.initiator { [self.key, key] } else { [key, self.key] });
        // A cursor into another history of the peer's store means nothing.
        self.cursor = self.cursor.filter(|(known, _)| *known == epoch);
        self.phase = Phase::Open;
        self.prove();
        if let Some((after, until)) = log {
            self.work.push_back(Work::Resume { from: after, after, until, of: None });
        }
        self.look(now, index)?;
        // Where something is shared that has asked already, and once is enough.
        if !self.asking.is_open() {
            self.ask(now);
        }
        Ok(())
    }

    /// What the peer may hear of it was told before this; both start from nothing again.
    pub(super) fn follows_changed(&mut self, now: Millis) -> Handled {
        self.exchanged.clear();
        self.refused.clear();
        if self.phase == Phase::Open {
            self.work.push_back(Work::Frame(self.follows_frame()));
        }
        self.ask(now);
        Ok(())
    }

    /// The initiator asks; a responder makes it ask, by repeating what it follows.
    pub(super) fn compare(&mut self, now: Millis) -> Handled {
        if self.phase == Phase::Open && !self.initiator {
            self.work.push_back(Work::Frame(self.follows_frame()));
        }
        self.ask(now);
        Ok(())
    }

    fn resumed(
        &mut self,
        now: Millis,
        (from, to): (u64, u64),
        batch: Vec<Envelope>,
        index: &dyn Index,
    ) -> Handled {
        if to < from {
            return Err(Violation("a log that runs backwards"));
        }
        // Of realms that are hidden from others it comes when it is known that we may see them.
        if self.heard_check && !self.may_resume_late() {
            return Err(Violation("a log after the comparison"));
        }
        // Only what continues our cursor moves it: a hole would never be noticed.
        let cursor = self.cursor.filter(|(_, at)| *at == from).map(|(epoch, _)| (epoch, to));
        if cursor.is_some() {
            self.cursor = cursor;
        }
        self.receive(now, batch, cursor, index)
    }

    fn receive(
        &mut self,
        now: Millis,
        batch: Vec<Envelope>,
        cursor: Option<(u64, u64)>,
        index: &dyn Index,
    ) -> Handled {
        let count = batch.len();
        let asked = self.wanted > 0 || self.asking.in_round() || self.answering.is_some();
        self.wanted = self.wanted.saturating_sub(count as u64);
        let shared = Arc::clone(&self.sight.shared);
        let mut brought = Vec::new();
        let mut envelopes = Vec::new();
        for mut envelope in batch {
            let statement = &envelope.statement;
            if !shared.contains(&statement.realm()) {
                continue;
            }
            let (id, collection) = (statement.id(), statement.collection());
            envelope.signatures.retain(|key, _| {
                let item = Item { id, key: *key };
                self.exchanged.insert(item);
                let lacking = !index.holds(&item) && !self.refused.contains(&item);
                if lacking {
                    brought.push((collection.clone(), item));
                }
                lacking
            });
            if !envelope.signatures.is_empty() {
                envelopes.push(envelope);
            }
        }
        if !envelopes.is_empty() {
            self.admitting.push_back(brought);
            self.out.push_back(Output::Admit { envelopes, cursor });
        } else if count < NOISE_MAX && !asked && !self.control.take(now) {
            return Err(Violation("too many statements that we have"));
        }
        Ok(())
    }

    pub(super) fn admitted(&mut self, now: Millis, index: &dyn Index) -> Handled {
        let mut gained = false;
        let mut authority = false;
        for (collection, item) in self.admitting.pop_front().unwrap_or_default() {
            if index.holds(&item) {
                gained = true;
                authority |= matches!(collection, Collection::Authority(_));
            } else {
                self.refused.insert(item);
            }
        }
        if authority {
            // What was refused for want of authority may be welcome now.
            self.refused.clear();
        }
        if gained {
            self.asking.gained();
            self.changed(now);
        }
        Ok(())
    }

    /// The initiator compares soon again, unless it waits for an answer.
    pub(super) fn changed(&mut self, now: Millis) {
        if self.initiator && self.phase == Phase::Open && !self.asking.is_open() {
            self.timer.changed(now);
        }
    }

    /// What is `heard` from another peer waits for a moment: this one may push it first.
    pub(super) fn new_items(
        &mut self,
        (items, heard): (Vec<(Collection, Item)>, bool),
        now: Millis,
    ) -> Handled {
        let shared = Arc::clone(&self.sight.shared);
        let strange = |(collection, _): &(Collection, Item)| {
            let realm = collection.realm();
            self.shown.contains(&realm) && !shared.contains(&realm)
        };
        for (collection, _) in items.iter().filter(|item| strange(item)) {
            self.shown_is_old = true;
            // What a realm claims is shown at once: a stranger that follows it confirms just that.
            if matches!(collection, Collection::Authority(_)) {
                self.show_again_at = self.show_again_at.min(now);
            }
        }
        if self.phase != Phase::Open {
            return Ok(());
        }
        let before = self.fresh.len();
        for (collection, item) in items {
            let lacks = shared.contains(&collection.realm()) && !self.exchanged.contains(&item);
            if lacks && self.fresh.len() < FRESH_MAX {
                self.fresh.push((collection, item));
            }
        }
        if self.fresh.len() > before {
            let at = now + self.timer.courtesy(self.frugal, heard);
            self.push_at = if before == 0 { at } else { self.push_at.min(at) };
            self.changed(now);
        }
        Ok(())
    }

    /// Sends what is fresh, at the pace that the peer accepts.
    pub(super) fn push_fresh(&mut self, now: Millis) {
        if self.fresh.is_empty() || now < self.push_at || !self.pushes.take(now) {
            return;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|(_, item)| !self.exchanged.contains(item));
        fresh.sort_by(|(a, _), (b, _)| shared::authority_first(a).cmp(&shared::authority_first(b)));
        let items = grouped(fresh.into_iter().map(|(_, item)| item));
        self.work.push_back(Work::Items { items, lobby: false });
    }

    pub(super) fn want(&mut self, ids: &[StatementId]) -> Handled {
        if self.phase == Phase::Open {
            for part in ids.chunks(WANT_MAX) {
                self.wanted += part.len() as u64;
                self.work.push_back(Work::Frame(Frame::Want { ids: part.to_vec() }));
            }
        }
        Ok(())
    }

    fn answer_want(&mut self, ids: &[StatementId]) -> Handled {
        let items = ids.iter().map(|id| (*id, Vec::new())).collect();
        self.work.push_back(Work::Items { items, lobby: true });
        Ok(())
    }

    pub(super) fn timeout(&mut self, now: Millis, index: &dyn Index) -> Handled {
        self.look_again(now, index)?;
        if self.timer.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        if !self.asking.is_open() {
            self.ask(now);
        } else if self.checked.is_some() || !self.admitting.is_empty() || !self.work.is_empty() {
            self.timer.waiting(now);
        } else if self.timer.is_gone(now) {
            return Err(Violation("no answer for too long"));
        }
        Ok(())
    }
}

/// The key of the names of collections: made of both HELLO keys, the initiator's first.
#[must_use]
pub fn names_of(keys: [[u8; 32]; 2]) -> [u8; 32] {
    blake3::derive_key("griot 2026 sync names v1", keys.as_flattened())
}

/// Drops what a realm shows beyond a lobby's limits.
fn within_lobby(batch: Vec<Envelope>) -> Vec<Envelope> {
    let mut shown: BTreeMap<RealmId, (usize, usize)> = BTreeMap::new();
    batch
        .into_iter()
        .filter(|envelope| {
            let (count, bytes) = shown.entry(envelope.statement.realm()).or_default();
            *count += 1;
            *bytes += envelope.statement.payload().len();
            *count <= LOBBY_STATEMENTS_MAX && *bytes <= LOBBY_BYTES_MAX
        })
        .collect()
}
