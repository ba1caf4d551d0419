//! Comparing, and exchanging what differs, as the one who answers: the collections that are
//! unequal, in order, each as a list of ids or as cells, and then what is wanted of them.
//!
//! What was sent and is not answered yet is bounded; the rest waits.
//!
//! Source: index.md section 7.7.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cells::{Attempt, Sketched, are_worth_it};
use super::outgoing::Work;
use super::round::{COLLECTIONS_MAX, Name};
use super::{Handled, Index, Millis, Session, Violation};
use crate::message::{Frame, IDS_MAX, Listed};
use crate::reconcile::short_id;
use crate::{Collection, Item};

/// Ids that wait for a DONE: bounds what the responder remembers of its lists.
const WINDOW_IDS: usize = 262_144;

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

/// The short ids of a collection under `key`, ascending.
pub(super) fn short_ids(
    key: &[u8; 32],
    collection: &Collection,
    index: &dyn Index,
) -> Vec<(u64, Item)> {
    let mut ids: Vec<(u64, Item)> =
        index.items(collection).into_iter().map(|item| (short_id(key, &item), item)).collect();
    ids.sort_unstable();
    ids
}

impl Session {
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
        let attempt = held.map(|held| self.offer_cells(now, (next.name, held), counts, index));
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
                self.give(items, index);
            }
        }
        self.offer(now, index);
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
