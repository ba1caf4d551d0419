//! Cells in place of all ids, where two large collections differ little.
//!
//! ```text
//!  initiator                                  responder
//!                                     ◀──────────────── CELLS  the first 32, or more
//!  MORE ──────────────────────────▶   ◀──────────────── CELLS  as many as are likely to be enough
//!  STATEMENTS*, DONE* ────────────▶   ◀─────────── STATEMENTS*
//! ```
//!
//! A collection is listed instead when it is small, when its counts alone tell that a fifth of it
//! differs, and when the cells have become as large as the list, or are likely to: then the
//! responder sends it in the place of more cells, or the initiator asks for it.
//!
//! A sketch is a snapshot: what is admitted while cells travel belongs to the next comparison. Each
//! side builds one at a time in a conversation, and few in all: who finds no place waits. The two
//! sides wait for different places, so that no circle of nodes can wait for itself.
//!
//! Source: index.md sections 7.5 and 7.7.

use std::collections::{BTreeMap, BTreeSet};

use super::answering::Offered;
use super::outgoing::Work;
use super::round::Name;
use super::{Handled, Index, Millis, Output, Session, Violation};
use crate::message::{CELLS_MAX, Frame, IDS_MAX};
use crate::reconcile::short_id;
use crate::sketch::{CELL_BYTES, Cell, Peeler, Side, Sketch, Slot, Slots};
use crate::{Collection, Item};

/// Sketches of all conversations that ask, and as many of those that answer.
const SKETCHES_MAX: usize = 2;
/// Below so many items all ids are not larger than the first cells.
const SMALL: u64 = 80;
/// Cells that are sent first, if the counts tell nothing.
const FIRST_CELLS: usize = 32;
/// When a place for a sketch is looked for again.
const LOOK_AGAIN_MS: Millis = 250;
/// A peer that lets a sketch wait for so long has had its time.
const HELD_MAX_MS: Millis = 120_000;
/// Bytes of a short id.
const ID_BYTES: u64 = 8;

/// Places for the sketches of all conversations of a node; clones share them.
#[derive(Debug, Clone)]
pub struct Sketches {
    asking: Slots,
    answering: Slots,
}

impl Sketches {
    /// Places for so many sketches of each side.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { asking: Slots::new(count), answering: Slots::new(count) }
    }

    /// Whether some are in use.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.asking.taken() + self.answering.taken() > 0
    }
}

impl Default for Sketches {
    fn default() -> Self {
        Self::new(SKETCHES_MAX)
    }
}

/// A collection of which cells were sent.
#[derive(Debug)]
pub(super) struct Sketched {
    collection: Collection,
    sketch: Sketch,
    sent: usize,
    /// More cells than this are larger than all ids.
    most: usize,
    want: Vec<u64>,
    since: Millis,
    _slot: Slot,
}

/// A collection of which cells are coming.
#[derive(Debug)]
pub(super) struct Peeling {
    name: Name,
    collection: Collection,
    peeler: Peeler,
    /// How many were asked for: those before are on their way.
    asked: usize,
    _slot: Slot,
}

/// Cells of a collection whose difference is known by now: they were asked for, and are on their
/// way, as a large flight comes in several frames.
#[derive(Debug)]
pub(super) struct Surplus {
    name: Name,
    next: usize,
    asked: usize,
}

/// The first cells of a collection, which wait for a place.
#[derive(Debug)]
pub(super) struct Stalled {
    name: Name,
    cells: Vec<Cell>,
    look_at: Millis,
}

impl Peeling {
    pub(super) fn is_of(&self, name: Name) -> bool {
        self.name == name
    }
}

impl Surplus {
    /// Lets those pass that go on where the last ones ended.
    fn pass(&mut self, first: u64, count: usize) -> Handled {
        let end = self.next + count;
        if first != self.next as u64 || end > self.asked {
            return Err(Violation("cells after the end"));
        }
        self.next = end;
        Ok(())
    }
}

impl Stalled {
    pub(super) const fn look_at(&self) -> Millis {
        self.look_at
    }
}

/// Whether cells are expected to be smaller than a list.
pub(super) fn are_worth_it(ours: u64, theirs: u64) -> bool {
    // Divided, not multiplied: what a peer says of itself may be any number.
    ours.min(theirs) >= SMALL && ours.abs_diff(theirs) <= ours.max(theirs) / 5
}

fn most_cells(count: u64) -> usize {
    usize::try_from(count.saturating_mul(ID_BYTES) / CELL_BYTES as u64).unwrap_or(usize::MAX)
}

/// The difference of the counts is the least that there can be; about one and a half cells an item
/// are enough.
fn first_cells(ours: u64, theirs: u64) -> usize {
    let least = usize::try_from(ours.abs_diff(theirs)).unwrap_or(usize::MAX);
    (least.saturating_mul(3) / 2).saturating_add(FIRST_CELLS).min(CELLS_MAX)
}

/// The items of a collection that have one of these short ids.
fn named(
    key: &[u8; 32],
    ids: &BTreeSet<u64>,
    collection: &Collection,
    index: &dyn Index,
) -> Vec<Item> {
    let all = index.items(collection).into_iter();
    all.filter(|item| ids.contains(&short_id(key, item))).collect()
}

fn sketch_of(key: &[u8; 32], collection: &Collection, index: &dyn Index) -> Option<Sketch> {
    Sketch::of(index.items(collection).iter().map(|item| short_id(key, item)).collect())
}

impl Sketched {
    pub(super) fn len(&self) -> usize {
        self.sketch.len()
    }

    /// The frames with the cells up to `end`.
    fn next(&mut self, name: Name, end: usize) -> Vec<Work> {
        let (from, cells) = (self.sent, self.sketch.cells(self.sent, end));
        self.sent = end;
        let frames = cells.chunks(CELLS_MAX).enumerate().map(|(place, part)| {
            let first = (from + place * CELLS_MAX) as u64;
            Work::Frame(Frame::Cells { coll: name, first, cells: part.to_vec() })
        });
        frames.collect()
    }
}

/// What came of an attempt to send cells.
pub(super) enum Attempt {
    /// They are on their way.
    Sent(Box<Sketched>),
    /// There is no place for a sketch now.
    Later,
    /// Two ids are the same under this key: only a list tells them apart.
    Never,
}

impl Session {
    /// The responder sends the first cells of a collection, of which each side has so many items.
    pub(super) fn offer_cells(
        &mut self,
        now: Millis,
        (name, collection): (Name, &Collection),
        (ours, theirs): (u64, u64),
        index: &dyn Index,
    ) -> Attempt {
        let Some(slot) = self.sketches.answering.take() else { return Attempt::Later };
        let Some(sketch) = sketch_of(&self.key, collection, index) else { return Attempt::Never };
        let most = most_cells(ours.max(theirs));
        let (collection, want) = (collection.clone(), Vec::new());
        let mut sketched =
            Sketched { collection, sketch, sent: 0, most, want, since: now, _slot: slot };
        let first = sketched.next(name, first_cells(ours, theirs).min(most.max(FIRST_CELLS)));
        self.work.extend(first);
        Attempt::Sent(Box::new(sketched))
    }

    /// When there is something to do about sketches that are being sent.
    pub(super) fn answering_at(&self) -> Option<Millis> {
        let answering = self.answering.as_ref()?;
        let held = answering.sketched().map(|sketched| sketched.since + HELD_MAX_MS + 1);
        [answering.look_at(), held].into_iter().flatten().min()
    }

    /// When the responder looks for a place again.
    pub(super) const fn look_again_at(now: Millis) -> Millis {
        now + LOOK_AGAIN_MS
    }

    /// The initiator needs more cells, or all ids.
    pub(super) fn more(
        &mut self,
        now: Millis,
        (name, count): (Name, u64),
        index: &dyn Index,
    ) -> Handled {
        let unknown = Violation("more of what was not offered");
        let answering = self.answering.as_mut().ok_or(unknown)?;
        let Some(Offered::Cells(sketched)) = answering.offered(name) else { return Err(unknown) };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if !sketched.want.is_empty() || (count != 0 && count <= sketched.sent) {
            return Err(Violation("more of what has come"));
        }
        if count != 0 && count <= sketched.most {
            sketched.since = now;
            let next = sketched.next(name, count);
            self.work.extend(next);
            return Ok(());
        }
        let collection = sketched.collection.clone();
        answering.withdraw(name);
        self.offer_ids(name, Some(&collection), index);
        Ok(())
    }

    /// The initiator says what it wants of the cells: in parts, and each id once.
    pub(super) fn want_of_cells(
        &mut self,
        name: Name,
        last: bool,
        want: &[u64],
        index: &dyn Index,
    ) -> Handled {
        let Some(Offered::Cells(sketched)) = self.answering.as_mut().and_then(|a| a.offered(name))
        else {
            return Err(Violation("an answer for a collection that was not offered"));
        };
        let ascends = sketched.want.last().is_none_or(|before| want.first() > Some(before));
        if !want.is_empty() && !ascends {
            return Err(Violation("ids out of order"));
        }
        if want.iter().any(|id| !sketched.sketch.contains(*id)) {
            return Err(Violation("an id that was not offered"));
        }
        sketched.want.extend_from_slice(want);
        if last {
            let ids: BTreeSet<u64> = std::mem::take(&mut sketched.want).into_iter().collect();
            let collection = sketched.collection.clone();
            if let Some(answering) = &mut self.answering {
                answering.withdraw(name);
            }
            self.send_named(&ids, &collection, index);
        }
        Ok(())
    }

    fn send_named(&mut self, ids: &BTreeSet<u64>, collection: &Collection, index: &dyn Index) {
        if ids.is_empty() {
            return;
        }
        // One that has left meanwhile was replaced: the next comparison finds the newer one.
        self.give(named(&self.key, ids, collection, index), index);
    }

    /// Cells came.
    pub(super) fn cells(
        &mut self,
        now: Millis,
        (name, first): (Name, u64),
        cells: Vec<Cell>,
        index: &dyn Index,
    ) -> Handled {
        let Some(round) = self.asking.round() else {
            return Err(Violation("cells nobody asked for"));
        };
        if round.peeling.as_ref().is_some_and(|peeling| peeling.name == name) {
            return self.peel(first, &cells, index);
        }
        if let Some(surplus) = round.surplus.as_mut().filter(|surplus| surplus.name == name) {
            return surplus.pass(first, cells.len());
        }
        if round.peeling.is_some() || round.stalled.is_some() {
            return Err(Violation("cells of two collections at once"));
        }
        if first != 0 || !round.begins(name) {
            return Err(Violation("cells of a collection twice"));
        }
        self.begin_peeling(now, name, cells, index)
    }

    /// The first cells of a collection, now or when there is a place.
    fn begin_peeling(
        &mut self,
        now: Millis,
        name: Name,
        cells: Vec<Cell>,
        index: &dyn Index,
    ) -> Handled {
        let (places, key) = (self.sketches.asking.clone(), self.peer.key);
        let Some(round) = self.asking.round() else { return Ok(()) };
        let Some(collection) = round.collection(&name) else {
            return Err(Violation("cells of a collection that we do not have"));
        };
        let Some(slot) = places.take() else {
            round.stalled = Some(Stalled { name, cells, look_at: now + LOOK_AGAIN_MS });
            return Ok(());
        };
        let Some(own) = sketch_of(&key, &collection, index) else {
            self.ask_for_ids(name);
            return Ok(());
        };
        let (peeler, asked) = (Peeler::new(own), cells.len());
        round.peeling = Some(Peeling { name, collection, peeler, asked, _slot: slot });
        self.peel(0, &cells, index)
    }

    /// Looks for places again.
    pub(super) fn look_again(&mut self, now: Millis, index: &dyn Index) -> Handled {
        let is_due = |stalled: &mut Stalled| now >= stalled.look_at;
        let stalled = self.asking.round().and_then(|round| round.stalled.take_if(is_due));
        if let Some(Stalled { name, cells, .. }) = stalled {
            self.begin_peeling(now, name, cells, index)?;
        }
        let held = self.answering.as_ref().and_then(|answering| answering.sketched());
        if held.is_some_and(|sketched| now > sketched.since + HELD_MAX_MS) {
            return Err(Violation("lets a sketch wait"));
        }
        if self.answering.as_mut().is_some_and(|answering| answering.is_due(now)) {
            self.offer(now, index);
        }
        Ok(())
    }

    fn ask_for_ids(&mut self, name: Name) {
        if let Some(round) = self.asking.round() {
            round.peeling = None;
            round.expects_ids(name);
        }
        self.work.push_back(Work::Frame(Frame::More { coll: name, count: 0 }));
    }

    fn peel(&mut self, first: u64, cells: &[Cell], index: &dyn Index) -> Handled {
        let Some(round) = self.asking.round() else { return Ok(()) };
        let Some(peeling) = &mut round.peeling else { return Ok(()) };
        let (name, have) = (peeling.name, peeling.peeler.cells());
        if first != have as u64 || have + cells.len() > peeling.asked {
            return Err(Violation("cells out of order"));
        }
        let done = peeling.peeler.feed(cells);
        if done.map_err(|_| Violation("cells that no set has"))? {
            return self.peeled(index);
        }
        let have = peeling.peeler.cells();
        if have < peeling.asked {
            return Ok(());
        }
        // The counts differ by a fifth at most, or there were no cells.
        let most = most_cells(peeling.peeler.own().len() as u64);
        let expected = peeling.peeler.estimate();
        if have >= most || expected > most {
            self.ask_for_ids(name);
            return Ok(());
        }
        // Nearly always enough for as many; if not, it is known better by then.
        let enough = expected.saturating_mul(7) / 4;
        peeling.asked = enough.max(have * 2).min(most);
        let count = peeling.asked as u64;
        self.work.push_back(Work::Frame(Frame::More { coll: name, count }));
        Ok(())
    }

    /// The difference is known: asks for what we lack, sends what the peer lacks, and says DONE.
    fn peeled(&mut self, index: &dyn Index) -> Handled {
        let key = self.peer.key;
        let refused: BTreeSet<u64> = self.refused.iter().map(|item| short_id(&key, item)).collect();
        let Some(round) = self.asking.round() else { return Ok(()) };
        let Some(Peeling { name, collection, peeler, asked, .. }) = round.peeling.take() else {
            return Ok(());
        };
        round.surplus = Some(Surplus { name, next: peeler.cells(), asked });
        let mut sides: BTreeMap<bool, BTreeSet<u64>> = BTreeMap::new();
        for (id, side) in peeler.found() {
            sides.entry(side == Side::Streamer).or_default().insert(id);
        }
        let mut want: Vec<u64> = sides.remove(&true).unwrap_or_default().into_iter().collect();
        want.retain(|id| !refused.contains(id));
        let ours = sides.remove(&false).unwrap_or_default();
        let mut lacking = Vec::new();
        if !ours.is_empty() {
            lacking = named(&key, &ours, &collection, index);
            lacking.retain(|item| !self.exchanged.contains(item));
        }
        self.tell_difference(name, want, lacking, index);
        Ok(())
    }

    /// What the peer lacks goes before the DONE, so that it has it before the round ends.
    pub(super) fn tell_difference(
        &mut self,
        name: Name,
        want: Vec<u64>,
        lacking: Vec<Item>,
        index: &dyn Index,
    ) {
        let wanted = self.asking.round().map(|round| round.differs(&want, &lacking));
        if let Some(wanted) = wanted.filter(|_| !want.is_empty()) {
            self.out.push_back(Output::Behind(wanted));
        }
        self.give(lacking, index);
        let mut parts: Vec<&[u64]> = want.chunks(IDS_MAX).collect();
        let end = parts.pop().unwrap_or_default();
        for part in parts {
            let frame = Frame::Done { coll: name, last: false, want: part.to_vec() };
            self.work.push_back(Work::Frame(frame));
        }
        self.work.push_back(Work::Frame(Frame::Done {
            coll: name,
            last: true,
            want: end.to_vec(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_serve_small_sets_and_large_differences() {
        assert!(!are_worth_it(79, 1_000_000) && !are_worth_it(0, 0) && !are_worth_it(79, 79));
        assert!(!are_worth_it(100, u64::MAX) && !are_worth_it(100, u64::MAX / 5 + 100));
        assert!(are_worth_it(80, 80) && are_worth_it(1_000, 800) && !are_worth_it(1_000, 799));
        assert_eq!(first_cells(500, 500), FIRST_CELLS);
        assert_eq!(first_cells(1_000, 800), 332);
        assert_eq!(first_cells(0, u64::MAX), CELLS_MAX);
    }
}
