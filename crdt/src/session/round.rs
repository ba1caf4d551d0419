//! Comparing, and exchanging what differs, as the one who asks: CHECK, COLLS, and what is made of
//! ALLIDS. Where cells take the place of ids: see `cells`; who answers: see `answering`.
//!
//! The initiator has at most one question open. A round that moved nothing is not repeated before
//! the timer: a peer that refuses or delays statements stays unequal by design.
//!
//! Source: index.md section 7.7.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answering::short_ids;
use super::cells::{Peeling, Stalled, Surplus};
use super::limits::Recent;
use super::outgoing::{Work, grouped};
use super::{Checked, Handled, Index, Millis, Output, Phase, Session, Violation};
use crate::message::{COLLS_MAX, Frame};
use crate::reconcile::short_id;
use crate::{Collection, Item};

/// Collections in a round, of either side.
pub(super) const COLLECTIONS_MAX: usize = 65_536;

/// How a collection is called in a conversation.
pub(super) type Name = [u8; 32];

/// What the initiator asks.
#[derive(Debug, Default)]
pub(super) struct Asking {
    question: Question,
    /// Another comparison is due once this question is answered.
    again: bool,
    /// Something was admitted since our last CHECK: the peer does not know that we are equal.
    gained: bool,
    /// What is shared is another set than when the CHECK was asked for.
    moot: bool,
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
    /// Cells of the collection before that may still come.
    pub(super) surplus: Option<Surplus>,
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

    /// What is shared has changed: the answer to a CHECK says nothing about it.
    pub(super) const fn is_moot(&mut self) {
        self.moot = matches!(self.question, Question::Check);
    }

    pub(super) fn gained(&mut self) {
        self.gained = true;
        if let Question::Round(round) = &mut self.question {
            round.moved = true;
        }
    }
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
        if std::mem::take(&mut self.asking.moot) {
            return self.rest(now, true);
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
        self.sight.untold = self.may_share_more();
        if !self.sight.untold {
            self.out.push_back(Output::InSync);
        }
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
        self.tell_difference(name, want, lacking, index);
        Ok(())
    }

    /// Sends what a comparison has shown the peer to lack.
    pub(super) fn give(&mut self, items: Vec<Item>, index: &dyn Index) {
        if items.is_empty() {
            return;
        }
        self.out.push_back(Output::Lacked(items.clone()));
        let mut items = grouped(items.into_iter());
        self.newest_root_first(&mut items, index);
        self.work.push_back(Work::Items { items, lobby: false });
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
