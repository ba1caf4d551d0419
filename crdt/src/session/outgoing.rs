//! What waits to be sent, in order, and how it becomes frames.
//!
//! Work is a description, not bytes: statements are read when their turn comes. At most about 1 MiB
//! of frames is made at a time; the rest goes on at the next time-out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Index, Millis, Output, Phase, Readers, Session};
use crate::message::Frame;
use crate::statement::MAX_SIGNATURES;
use crate::{Envelope, Item, PublicKey, RealmId, StatementId};

/// Bytes of frames that are given out at once.
const OUT_MAX_BYTES: usize = 1024 * 1024;
/// Bytes of statements in a batch before compression: small frames keep a slow link responsive.
const BATCH_MAX_BYTES: usize = 256 * 1024;
/// What a frame needs around an incompressible batch.
const FRAME_OVERHEAD_BYTES: usize = 4 * 1024;
/// Bytes that a batch adds to an envelope.
const PART_OVERHEAD_BYTES: usize = 5;
/// Bytes that a further signature adds to an envelope, with its key.
const SIGNATURE_BYTES: usize = 104;
/// Log entries read at once.
const LOG_PAGE: usize = 512;

/// A statement, with the signers that go with it; all, if there are none.
pub(super) type Grouped = (StatementId, Vec<PublicKey>);

/// One piece of work.
#[derive(Debug)]
pub(super) enum Work {
    /// A frame as it is.
    Frame(Frame),
    /// The log after `after` up to `until`; the next frame continues what was sent at `from`.
    Resume {
        from: u64,
        after: u64,
        until: u64,
        /// These realms alone; absent for all that are shared.
        of: Option<Arc<BTreeSet<RealmId>>>,
    },
    /// Statements with the given signers (all, if none is given).
    Items {
        items: VecDeque<Grouped>,
        /// Whether the realms that strangers may see are open too.
        lobby: bool,
    },
    /// The lobby, as it was when it was to be shown.
    Lobby(VecDeque<Envelope>),
    /// A CHECK of what is held once all that came is admitted.
    Check,
    /// The CHECK that ends the answer to a COLLS.
    RoundEnd,
}

/// Items by statement, in the order in which the statements appear first.
pub(super) fn grouped(items: impl Iterator<Item = Item>) -> VecDeque<Grouped> {
    let mut places = BTreeMap::new();
    let mut out: VecDeque<Grouped> = VecDeque::new();
    for item in items {
        let place = *places.entry(item.id).or_insert_with(|| {
            out.push_back((item.id, Vec::new()));
            out.len() - 1
        });
        out[place].1.push(item.key);
    }
    out
}

/// A batch that is being filled.
#[derive(Default)]
struct Batch {
    envelopes: Vec<Envelope>,
    places: BTreeMap<StatementId, usize>,
    bytes: usize,
}

impl Batch {
    /// Adds the envelope unless the batch would pass `limit`; an empty batch takes anything.
    fn add(&mut self, envelope: &Envelope, limit: usize) -> bool {
        let bytes = envelope.encode().len() + PART_OVERHEAD_BYTES;
        let fits = self.envelopes.is_empty() || self.bytes + bytes <= limit;
        if fits {
            self.bytes += bytes;
            self.places.insert(envelope.statement.id(), self.envelopes.len());
            self.envelopes.push(envelope.clone());
        }
        fits
    }

    /// Adds the signatures to an envelope of the same statement, if there is one.
    fn join(&mut self, envelope: &Envelope) -> bool {
        let Some(place) = self.places.get(&envelope.statement.id()) else { return false };
        let signatures = &mut self.envelopes[*place].signatures;
        for (key, signature) in &envelope.signatures {
            if signatures.len() < MAX_SIGNATURES {
                signatures.insert(*key, *signature);
                self.bytes += SIGNATURE_BYTES;
            }
        }
        true
    }
}

impl Session {
    /// Works the queue off, as far as one turn allows.
    pub(super) fn pump(&mut self, now: Millis, index: &dyn Index) {
        self.overflow_at = None;
        if self.phase == Phase::Unstarted {
            return;
        }
        let mut sent_bytes = 0;
        while let Some(work) = self.work.pop_front() {
            let waits = matches!(work, Work::Check | Work::RoundEnd) && !self.admitting.is_empty();
            if waits || sent_bytes >= OUT_MAX_BYTES {
                self.overflow_at = (!waits).then_some(now);
                self.work.push_front(work);
                return;
            }
            sent_bytes += self.step(work, index);
        }
    }

    /// Does one piece, or the first part of it; answers how many bytes went out at most.
    fn step(&mut self, work: Work, index: &dyn Index) -> usize {
        match work {
            Work::Frame(frame) => self.send(frame),
            Work::Resume { from, after, until, of } => {
                self.send_log((from, after, until), of, index)
            }
            Work::Items { items, lobby } => self.send_items(items, lobby, index),
            Work::Lobby(rest) => self.send_lobby(rest, index),
            Work::Check => self.send_check(index),
            Work::RoundEnd => {
                self.answering = None;
                self.send_check(index)
            }
        }
    }

    fn send(&mut self, frame: Frame) -> usize {
        let bytes = match &frame {
            Frame::AllIds { ids, .. } => 64 + ids.len() * 8,
            Frame::Done { want, .. } => 64 + want.len() * 8,
            Frame::Colls { entries, .. } => 16 + entries.len() * 64,
            _ => 64,
        };
        self.out.push_back(Output::Send(frame));
        bytes
    }

    fn send_check(&mut self, index: &dyn Index) -> usize {
        let ours = self.state(&self.key, index);
        self.send(Frame::Check {
            count: ours.count,
            fingerprint: ours.fingerprint,
            sequence: ours.sequence,
        })
    }

    fn batch_limit(&self) -> usize {
        BATCH_MAX_BYTES.min(self.peer.frame_max_bytes - FRAME_OVERHEAD_BYTES)
    }

    fn send_items(
        &mut self,
        mut items: VecDeque<Grouped>,
        lobby: bool,
        index: &dyn Index,
    ) -> usize {
        let open = self.open_realms(lobby, index);
        let mut batch = Batch::default();
        while let Some((id, keys)) = items.pop_front() {
            let Some(held) = index.envelope(&id, &keys) else { continue };
            if !open.contains(&held.statement().realm()) || held.signatures().is_empty() {
                continue;
            }
            if !batch.add(held.envelope(), self.batch_limit()) {
                items.push_front((id, keys));
                self.work.push_front(Work::Items { items, lobby });
                break;
            }
        }
        if batch.envelopes.is_empty() {
            return 0;
        }
        self.remember(&batch.envelopes);
        self.out.push_back(Output::Send(Frame::Statements { batch: batch.envelopes }));
        batch.bytes
    }

    fn open_realms(&self, lobby: bool, index: &dyn Index) -> BTreeSet<RealmId> {
        let mut open = BTreeSet::clone(&self.sight.shared);
        if lobby {
            open.extend(index.lobby().iter().map(|shown| shown.statement().realm()));
        }
        open
    }

    fn remember(&mut self, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let id = envelope.statement.id();
            for key in envelope.signatures.keys() {
                self.exchanged.insert(Item { id, key: *key });
            }
        }
    }

    fn send_log(
        &mut self,
        (from, after, until): (u64, u64, u64),
        of: Option<Arc<BTreeSet<RealmId>>>,
        index: &dyn Index,
    ) -> usize {
        // Where the log was cut, the comparison that follows finds the difference.
        let Some(page) = index.log(after, LOG_PAGE) else { return 0 };
        let shared = Arc::clone(&self.sight.shared);
        let mut batch = Batch::default();
        let mut to = after;
        let mut ended = page.len() < LOG_PAGE;
        for (sequence, collection, item) in page {
            if sequence > until {
                ended = true;
                break;
            }
            let realm = collection.realm();
            let is_meant = of.as_ref().is_none_or(|of| of.contains(&realm));
            let lacks = is_meant && shared.contains(&realm) && !self.exchanged.contains(&item);
            if let Some(held) = index.envelope(&item.id, &[item.key]).filter(|_| lacks) {
                let limit = self.batch_limit();
                if !batch.join(held.envelope()) && !batch.add(held.envelope(), limit) {
                    ended = false;
                    break;
                }
            }
            to = sequence;
        }
        if ended {
            to = until;
        }
        let empty = batch.envelopes.is_empty();
        if !ended {
            let from = if empty { from } else { to };
            self.work.push_front(Work::Resume { from, after: to, until, of });
        }
        // A stretch without anything for the peer is not worth a frame.
        if empty {
            return 0;
        }
        self.remember(&batch.envelopes);
        self.out.push_back(Output::Send(Frame::Resume { from, to, batch: batch.envelopes }));
        batch.bytes
    }

    fn send_lobby(&mut self, mut rest: VecDeque<Envelope>, index: &dyn Index) -> usize {
        // It may have become private while it waited.
        let is_hidden = |realm: &RealmId| matches!(index.readers(realm), Readers::Holders(_));
        rest.retain(|envelope| !is_hidden(&envelope.statement.realm()));
        if rest.is_empty() {
            return 0;
        }
        let mut batch = Batch::default();
        while let Some(envelope) = rest.pop_front() {
            if !batch.join(&envelope) && !batch.add(&envelope, self.batch_limit()) {
                rest.push_front(envelope);
                self.work.push_front(Work::Lobby(rest));
                break;
            }
        }
        self.out.push_back(Output::Send(Frame::Lobby { batch: batch.envelopes }));
        batch.bytes
    }
}
