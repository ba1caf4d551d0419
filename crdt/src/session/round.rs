//! Comparing, and exchanging what differs: CHECK, COLLS, ALLIDS, DONE, from both sides. Where
//! cells take the place of ids: see `cells`.
//!
//! The initiator has at most one question open. A round that moved nothing is not repeated before
//! the timer: a peer that refuses or delays statements stays unequal by design.
//!
//! Source: index.md section 7.7.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cells::{Attempt, Peeling, Sketched, Stalled, are_worth_it};
use super::limits::Recent;
use super::outgoing::{Work, grouped};
use super::{Checked, Handled, Index, Millis, Output, Phase, Session, Violation};
use crate::message::{COLLS_MAX, Frame, IDS_MAX, Listed};
use crate::reconcile::short_id;
use crate::{Collection, Item};

/// Collections in a round, of either side.
const COLLECTIONS_MAX: usize = 65_536;
/// Ids that wait for a DONE: bounds what the responder remembers of its lists.
const WINDOW_IDS: usize = 262_144;

type Name = [u8; 32];

/// What the initiator asks.
#[derive(Debug, Default)]
pub(super) struct Asking {
    question: Question,
    /// Another comparison is due once this question is answered.
    again: bool,
    /// Something was admitted since our last CHECK: the peer does not know that we are equal.
    gained: bool,
}

#[derive(Debug, Default)]
enum Question {
    #[default]
    None,
    Check,
    Round(Box<Round>),
}

#[derive(Debug, Default)]
pub(super) struct Round {
    names: BTreeMap<Name, Collection>,
    current: Option<Progress>,
    /// The collection whose cells are coming, if any.
    pub(super) peeling: Option<Peeling>,
    /// Cells that came and wait for a place.
    pub(super) stalled: Option<Stalled>,
    finished: BTreeSet<Name>,
    /// Pairs asked for and not known to have come.
    wanted: u64,
    moved: bool,
}

/// A collection whose ids are coming.
#[derive(Debug)]
struct Progress {
    name: Name,
    own: VecDeque<(u64, Item)>,
    refused: BTreeSet<u64>,
    last_id: Option<u64>,
}

/// What the responder answers.
#[derive(Debug, Default)]
pub(super) struct Answering {
    listed: Vec<Listed>,
    queue: VecDeque<Unequal>,
    open: BTreeMap<Name, Offered>,
    listing_over: bool,
    /// When a place for a sketch is looked for again.
    look_at: Option<Millis>,
}

/// A collection that differs; absent if we have nothing of it.
#[derive(Debug)]
struct Unequal {
    name: Name,
    collection: Option<Collection>,
    ours: u64,
    theirs: u64,
}

/// A collection whose ids or cells were sent.
#[derive(Debug)]
pub(super) enum Offered {
    Ids { own: Vec<(u64, Item)>, answers_due: usize },
    Cells(Box<Sketched>),
}

impl Offered {
    fn len(&self) -> usize {
        match self {
            Self::Ids { own, .. } => own.len(),
            Self::Cells(sketched) => sketched.len(),
        }
    }
}

impl Answering {
    pub(super) fn offered(&mut self, name: Name) -> Option<&mut Offered> {
        self.open.get_mut(&name)
    }

    pub(super) fn withdraw(&mut self, name: Name) {
        self.open.remove(&name);
    }

    /// The sketch that waits for an answer; there is one at a time.
    pub(super) fn sketched(&self) -> Option<&Sketched> {
        self.open.values().find_map(|offered| match offered {
            Offered::Cells(sketched) => Some(&**sketched),
            Offered::Ids { .. } => None,
        })
    }

    /// When a place for a sketch is looked for again.
    pub(super) const fn look_at(&self) -> Option<Millis> {
        self.look_at
    }

    pub(super) fn is_due(&mut self, now: Millis) -> bool {
        self.look_at.take_if(|at| now >= *at).is_some()
    }
}

impl Asking {
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.question, Question::None)
    }

    pub(super) const fn in_round(&self) -> bool {
        matches!(self.question, Question::Round(_))
    }

    /// When cells that came look for a place again.
    pub(super) fn place_at(&self) -> Option<Millis> {
        match &self.question {
            Question::Round(round) => round.stalled.as_ref().map(Stalled::look_at),
            Question::None | Question::Check => None,
        }
    }

    pub(super) const fn round(&mut self) -> Option<&mut Round> {
        match &mut self.question {
            Question::Round(round) => Some(round),
            Question::None | Question::Check => None,
        }
    }

    pub(super) fn gained(&mut self) {
        self.gained = true;
        if let Question::Round(round) = &mut self.question {
            round.moved = true;
        }
    }
}

/// The short ids of a collection under `key`, ascending.
fn short_ids(key: &[u8; 32], collection: &Collection, index: &dyn Index) -> Vec<(u64, Item)> {
    let mut ids: Vec<(u64, Item)> =
        index.items(collection).into_iter().map(|item| (short_id(key, &item), item)).collect();
    ids.sort_unstable();
    ids
}

impl Session {
    /// The initiator asks whether both hold the same, or will once its question is answered.
    pub(super) fn ask(&mut self, now: Millis) {
        if !self.initiator || self.phase != Phase::Open {
            return;
        }
        if self.asking.is_open() {
            self.asking.again = true;
            return;
        }
        self.asking = Asking { question: Question::Check, ..Asking::default() };
        self.work.push_back(Work::Check);
        self.timer.waiting(now);
    }

    /// A CHECK came: the answer to ours, or a question.
    pub(super) fn check(&mut self, checked: Checked) -> Handled {
        if self.initiator && (!self.asking.is_open() || self.checked.is_some()) {
            return Err(Violation("an answer without a question"));
        }
        if !self.initiator {
            if self.answering.is_some() {
                return Err(Violation("a question within a question"));
            }
            self.work.push_back(Work::Check);
        }
        self.heard_check = true;
        self.checked = Some(checked);
        Ok(())
    }

    /// Compares the peer's CHECK with what we hold, once all that it sent is admitted.
    pub(super) fn judge(&mut self, now: Millis, index: &dyn Index) {
        if !self.admitting.is_empty() {
            return;
        }
        let Some(theirs) = self.checked.take() else { return };
        let ours = self.state(&self.peer.key, index);
        let question = std::mem::take(&mut self.asking.question);
        if (ours.count, ours.fingerprint) == (theirs.count, theirs.fingerprint) {
            self.equal(theirs.sequence);
            // After a round the peer has not seen our side since.
            let tell = self.asking.gained || matches!(question, Question::Round(_));
            self.rest(now, tell);
            return;
        }
        self.out.push_back(Output::Behind(theirs.count.saturating_sub(ours.count)));
        if !self.initiator {
            return;
        }
        match question {
            Question::Round(round) if !round.moved || !self.questions.take(now) => {
                self.rest(now, false);
            }
            _ => self.list(now, index),
        }
    }

    fn equal(&mut self, sequence: u64) {
        let cursor = Some((self.peer.epoch, sequence));
        if self.cursor != cursor {
            self.cursor = cursor;
            self.out.push_back(Output::Cursor { epoch: self.peer.epoch, sequence });
        }
        self.out.push_back(Output::InSync);
    }

    /// The question is answered: ask again if there is a reason, else later.
    fn rest(&mut self, now: Millis, tell: bool) {
        if !self.initiator {
            return;
        }
        self.timer.quiet(now);
        if (self.asking.again || tell) && self.questions.take(now) {
            self.ask(now);
        }
    }

    /// Starts a round: lists our shared collections.
    fn list(&mut self, now: Millis, index: &dyn Index) {
        let mut round = Round::default();
        let mut entries = Vec::new();
        for (collection, state) in self.collections(index).into_iter().take(COLLECTIONS_MAX) {
            let name = self.name(&collection);
            entries.push((name, state.count, state.keyed(&self.key)));
            round.names.insert(name, collection);
        }
        let mut parts: VecDeque<_> = entries.chunks(COLLS_MAX).collect();
        let end = parts.pop_back().unwrap_or_default();
        for part in parts {
            self.work.push_back(Work::Frame(Frame::Colls { last: false, entries: part.to_vec() }));
        }
        self.work.push_back(Work::Frame(Frame::Colls { last: true, entries: end.to_vec() }));
        self.asking.question = Question::Round(Box::new(round));
        self.timer.waiting(now);
    }

    /// The responder takes the list and answers with the ids of what is unequal.
    pub(super) fn colls(
        &mut self,
        now: Millis,
        (last, entries): (bool, Vec<Listed>),
        index: &dyn Index,
    ) -> Handled {
        if self.initiator {
            return Err(Violation("collections nobody asked for"));
        }
        if self.answering.is_none() && !self.questions.take(now) {
            return Err(Violation("too many comparisons"));
        }
        let answering = self.answering.get_or_insert_default();
        if answering.listing_over {
            return Err(Violation("a question within a question"));
        }
        if answering.listed.len() + entries.len() > COLLECTIONS_MAX {
            return Err(Violation("too many collections"));
        }
        answering.listed.extend(entries);
        if last {
            answering.listing_over = true;
            self.choose(index)?;
            self.offer(now, index);
        }
        Ok(())
    }

    /// Queues the unequal collections: our authority that the peer lacks, the peer's list in its
    /// order (authority first), then the rest of ours.
    fn choose(&mut self, index: &dyn Index) -> Handled {
        let mut ours: BTreeMap<Name, (Collection, u64, [u8; 16])> = BTreeMap::new();
        let mut order = Vec::new();
        for (collection, state) in self.collections(index) {
            let name = self.name(&collection);
            order.push(name);
            ours.insert(name, (collection, state.count, state.keyed(&self.peer.key)));
        }
        let Some(answering) = &mut self.answering else { return Ok(()) };
        let mut listed = BTreeSet::new();
        let mut queue = VecDeque::new();
        for (name, theirs, fingerprint) in std::mem::take(&mut answering.listed) {
            if !listed.insert(name) {
                return Err(Violation("a collection listed twice"));
            }
            let (collection, ours) = match ours.get(&name) {
                Some((_, count, ours)) if (*count, *ours) == (theirs, fingerprint) => continue,
                Some((collection, count, _)) => (Some(collection.clone()), *count),
                None => (None, 0),
            };
            queue.push_back(Unequal { name, collection, ours, theirs });
        }
        let unlisted = order.iter().filter(|name| !listed.contains(*name));
        let (first, rest): (Vec<_>, Vec<_>) = unlisted
            .filter_map(|name| {
                let (collection, ours, _) = ours.get(name)?;
                let collection = Some(collection.clone());
                Some(Unequal { name: *name, collection, ours: *ours, theirs: 0 })
            })
            .partition(|one| matches!(one.collection, Some(Collection::Authority(_))));
        for entry in first.into_iter().rev() {
            queue.push_front(entry);
        }
        queue.extend(rest);
        answering.queue = queue;
        Ok(())
    }

    /// Sends ids and cells as far as the window allows; ends the round when nothing is left.
    pub(super) fn offer(&mut self, now: Millis, index: &dyn Index) {
        while let Some(next) = self.answering.as_mut().and_then(Answering::next) {
            if !self.offer_one(now, next, index) {
                return;
            }
        }
        if self.answering.as_ref().is_some_and(Answering::is_over) {
            self.work.push_back(Work::RoundEnd);
        }
    }

    /// Says whether it could be done now.
    fn offer_one(&mut self, now: Millis, next: Unequal, index: &dyn Index) -> bool {
        let counts = (next.ours, next.theirs);
        let held = next.collection.as_ref();
        let held = held.filter(|_| self.peer.reads_cells && are_worth_it(counts.0, counts.1));
        let attempt = held.map(|held| self.offer_cells(now, next.name, held, counts, index));
        let Some(answering) = &mut self.answering else { return false };
        match attempt {
            Some(Attempt::Sent(sketched)) => {
                answering.open.insert(next.name, Offered::Cells(sketched));
            }
            Some(Attempt::Later) => {
                answering.queue.push_front(next);
                answering.look_at = Some(Self::look_again_at(now));
                return false;
            }
            Some(Attempt::Never) | None => {
                self.offer_ids(next.name, next.collection.as_ref(), index);
            }
        }
        true
    }

    pub(super) fn offer_ids(
        &mut self,
        name: Name,
        collection: Option<&Collection>,
        index: &dyn Index,
    ) {
        let own = collection.map(|held| short_ids(&self.key, held, index)).unwrap_or_default();
        let mut ids: Vec<u64> = own.iter().map(|(id, _)| *id).collect();
        ids.dedup();
        let mut parts: Vec<&[u64]> = ids.chunks(IDS_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let end = parts.len() - 1;
        for (place, part) in parts.iter().enumerate() {
            let frame = Frame::AllIds { coll: name, ids: part.to_vec(), last: place == end };
            self.work.push_back(Work::Frame(frame));
        }
        if let Some(answering) = &mut self.answering {
            answering.open.insert(name, Offered::Ids { own, answers_due: parts.len() });
        }
    }

    /// The responder sends what the initiator lacks of one ALLIDS, or of cells.
    pub(super) fn done(
        &mut self,
        now: Millis,
        name: Name,
        (last, want): (bool, &[u64]),
        index: &dyn Index,
    ) -> Handled {
        let unknown = Violation("an answer for a collection that was not offered");
        let answering = self.answering.as_mut().ok_or(unknown)?;
        match answering.open.get_mut(&name).ok_or(unknown)? {
            Offered::Cells(_) => self.want_of_cells(name, last, want, index)?,
            Offered::Ids { .. } if !last => {
                return Err(Violation("a part of an answer where one is all"));
            }
            Offered::Ids { own, answers_due } => {
                let items = chosen(own, want)?;
                *answers_due -= 1;
                if *answers_due == 0 {
                    answering.open.remove(&name);
                }
                if !items.is_empty() {
                    let items = grouped(items.into_iter());
                    self.work.push_back(Work::Items { items, lobby: false });
                }
            }
        }
        self.offer(now, index);
        Ok(())
    }

    /// The initiator walks both lists side by side: asks for what it lacks, sends what the peer
    /// lacks, and only then says DONE, so that the peer has it before the round ends.
    pub(super) fn all_ids(
        &mut self,
        name: Name,
        ids: &[u64],
        last: bool,
        index: &dyn Index,
    ) -> Handled {
        let Question::Round(round) = &mut self.asking.question else {
            return Err(Violation("ids nobody asked for"));
        };
        let mut progress = round.progress(name, &self.peer.key, &self.refused, index)?;
        if ids.first().is_some_and(|first| progress.last_id.is_some_and(|last| *first <= last)) {
            return Err(Violation("ids out of order"));
        }
        let (want, mut lacking) = progress.walk(ids, last);
        lacking.retain(|item| !self.exchanged.contains(item));
        if !last {
            round.current = Some(progress);
        }
        self.tell_difference(name, want, lacking);
        Ok(())
    }
}

/// The items of these ids.
fn chosen(own: &[(u64, Item)], want: &[u64]) -> Result<Vec<Item>, Violation> {
    let mut items = Vec::new();
    for id in want {
        let start = own.partition_point(|(own, _)| own < id);
        let found = own[start..].iter().take_while(|(own, _)| own == id);
        let before = items.len();
        items.extend(found.map(|(_, item)| *item));
        if items.len() == before {
            return Err(Violation("an id that was not offered"));
        }
    }
    Ok(items)
}

impl Answering {
    /// The next collection to send, if the window has room for it; one sketch at a time.
    fn next(&mut self) -> Option<Unequal> {
        let open_ids: usize = self.open.values().map(Offered::len).sum();
        let has_room = self.open.is_empty() || open_ids < WINDOW_IDS;
        let waits = self.look_at.is_some() || self.sketched().is_some();
        (has_room && !waits).then(|| self.queue.pop_front()).flatten()
    }

    fn is_over(&self) -> bool {
        self.open.is_empty() && self.queue.is_empty() && self.listing_over
    }
}

impl Round {
    /// The collection of this name, if we have anything of it.
    pub(super) fn collection(&self, name: &Name) -> Option<Collection> {
        self.names.get(name).cloned()
    }

    /// A collection's turn begins; false if it has been.
    pub(super) fn begins(&mut self, name: Name) -> bool {
        self.finished.insert(name) && self.finished.len() <= COLLECTIONS_MAX
    }

    /// Its ids are to come in the place of its cells.
    pub(super) fn expects_ids(&mut self, name: Name) {
        self.finished.remove(&name);
    }

    /// Notes a difference; how many pairs are wanted in all.
    pub(super) fn differs(&mut self, want: &[u64], lacking: &[Item]) -> u64 {
        self.moved |= !lacking.is_empty();
        self.wanted += want.len() as u64;
        self.wanted
    }

    /// Where the collection's ids are to go on, or a beginning if it is its turn.
    fn progress(
        &mut self,
        name: Name,
        key: &[u8; 32],
        refused: &Recent,
        index: &dyn Index,
    ) -> Result<Progress, Violation> {
        match self.current.take() {
            Some(progress) if progress.name == name => return Ok(progress),
            Some(_) => return Err(Violation("ids of two collections at once")),
            None => {}
        }
        // The responder may send the list in the place of further cells.
        let instead = self.peeling.take_if(|peeling| peeling.is_of(name)).is_some();
        if !instead && !self.begins(name) {
            return Err(Violation("ids of a collection twice"));
        }
        let own = self.names.get(&name).map(|held| short_ids(key, held, index));
        let refused = refused.iter().map(|item| short_id(key, item)).collect();
        Ok(Progress { name, own: own.unwrap_or_default().into(), refused, last_id: None })
    }
}

impl Progress {
    /// The ids that we lack, and our items that the peer lacks, up to the end of `ids`.
    fn walk(&mut self, ids: &[u64], last: bool) -> (Vec<u64>, Vec<Item>) {
        let (mut want, mut lacking) = (Vec::new(), Vec::new());
        for id in ids {
            let mut held = false;
            while let Some((own, item)) = self.own.front().copied().filter(|(own, _)| own <= id) {
                self.own.pop_front();
                if own == *id {
                    held = true;
                } else {
                    lacking.push(item);
                }
            }
            if !held && !self.refused.contains(id) {
                want.push(*id);
            }
        }
        if last {
            lacking.extend(self.own.drain(..).map(|(_, item)| item));
        }
        self.last_id = ids.last().copied().or(self.last_id);
        (want, lacking)
    }
}
