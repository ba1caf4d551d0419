//! The receiver's side: cells come, differences come out.
//!
//! From each cell the receiver's own items are taken, and those that were recovered before, which
//! a cell that comes later holds as well. A cell with one item left gives it away; it is taken from
//! all cells that it maps to, which may leave one item in another.
//!
//! Cells may be lies. A recovered item counts as a difference only: what it stands for is asked for
//! and verified elsewhere. No lie costs more than the honest work for as many cells.
//!
//! Source: index.md section 7.5.

use std::collections::HashSet;

use super::cell::Cell;
use super::encode::Sketch;
use super::mapping::{Walk, share};

/// Who alone has an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The other side, which sends the cells.
    Streamer,
    /// This one.
    Receiver,
}

/// What no honest streamer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// An item came out a second time.
    #[error("an item was recovered twice")]
    Twice,
    /// An item is said to be theirs alone that is ours, or the other way round.
    #[error("an item was recovered on the wrong side")]
    WrongSide,
    /// More items came out than cells went in.
    #[error("more items were recovered than cells came")]
    TooMany,
}

/// What is left of the cells that came.
#[derive(Debug)]
pub struct Peeler {
    own: Sketch,
    cells: Vec<Cell>,
    /// Cells that something is left in.
    filled: usize,
    /// Recovered items, who has them, and the cells that they go to next.
    found: Vec<(u64, Side, Walk)>,
    seen: HashSet<u64>,
    breach: Option<Breach>,
}

impl Peeler {
    /// For a receiver with these items.
    #[must_use]
    pub fn new(own: Sketch) -> Self {
        let (cells, found, seen) = (Vec::new(), Vec::new(), HashSet::new());
        Self { own, cells, filled: 0, found, seen, breach: None }
    }

    /// How many cells have come.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Takes the next cells of the sequence. True when the difference is known.
    ///
    /// # Errors
    /// [`Breach`], also for every call after one: the streamer is not to be believed any more.
    pub fn feed(&mut self, cells: &[Cell]) -> Result<bool, Breach> {
        self.breach.map_or(Ok(()), Err)?;
        let from = self.cells.len();
        let end = from + cells.len();
        self.cells.extend_from_slice(cells);
        for (cell, own) in self.cells[from..].iter_mut().zip(self.own.cells(from, end)) {
            cell.subtract(own);
        }
        for (item, side, walk) in &mut self.found {
            while let Some(at) = walk.below(end) {
                take(&mut self.cells[at], *item, *side);
            }
        }
        self.filled += self.cells[from..].iter().filter(|cell| !cell.is_empty()).count();
        let peeled = self.peel((from..end).collect());
        self.breach = peeled.err();
        peeled.map(|()| self.is_done())
    }

    /// Whether the difference is known: nothing is left in any cell.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.filled == 0 && !self.cells.is_empty()
    }

    /// About how many differences there are, so that as many cells can be asked for at once. After
    /// 32 cells it is a quarter off, after a thousand a few parts in a hundred; a streamer that
    /// lies can make it anything.
    ///
    /// Cell 0 tells by how much one side has more. As far as an item is in a cell by chance, what
    /// is left in that cell spreads around its share of this, the wider the more there are.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "about")]
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    #[expect(clippy::cast_sign_loss, reason = "squares are not negative")]
    pub fn estimate(&self) -> usize {
        let Some((first, rest)) = self.cells.split_first() else { return 0 };
        let more = f64::from(first.signed());
        let spread = rest.iter().zip(1..).map(|(cell, at)| {
            let share = share(at);
            (f64::from(cell.signed()) - more * share).powi(2) / (share * (1.0 - share))
        });
        let left = spread.sum::<f64>() / rest.len().max(1) as f64;
        self.found.len().saturating_add(left.max(more.abs()) as usize)
    }

    /// What was recovered so far: all of the difference once it is known.
    pub fn found(&self) -> impl Iterator<Item = (u64, Side)> + '_ {
        self.found.iter().map(|(item, side, _)| (*item, *side))
    }

    /// The receiver's own set.
    #[must_use]
    pub const fn own(&self) -> &Sketch {
        &self.own
    }

    /// Recovers what can be recovered, beginning with these cells.
    fn peel(&mut self, mut queue: Vec<usize>) -> Result<(), Breach> {
        while let Some(at) = queue.pop() {
            let Some((item, added)) = self.cells[at].pure() else { continue };
            let side = if added { Side::Streamer } else { Side::Receiver };
            self.admit(item, side)?;
            let mut walk = Walk::of(item);
            while let Some(at) = walk.below(self.cells.len()) {
                let cell = &mut self.cells[at];
                let before = cell.is_empty();
                take(cell, item, side);
                match (before, cell.is_empty()) {
                    (false, true) => self.filled -= 1,
                    (true, false) => self.filled += 1,
                    _ => {}
                }
                queue.push(at);
            }
            self.found.push((item, side, walk));
        }
        Ok(())
    }

    fn admit(&mut self, item: u64, side: Side) -> Result<(), Breach> {
        if self.own.contains(item) != (side == Side::Receiver) {
            return Err(Breach::WrongSide);
        }
        if self.found.len() >= self.cells.len() {
            return Err(Breach::TooMany);
        }
        if self.seen.insert(item) { Ok(()) } else { Err(Breach::Twice) }
    }
}

/// Takes a recovered item out of a cell.
const fn take(cell: &mut Cell, item: u64, side: Side) {
    match side {
        Side::Streamer => cell.remove(item),
        Side::Receiver => cell.add(item),
    }
}
