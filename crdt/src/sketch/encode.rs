//! The cells of a set, made as far as somebody wants them, and kept up to date.
//!
//! Takes 24 bytes an item beside the cells, and one look at each item for every further stretch of
//! cells: so stretches should grow. Items are distinct; [`Sketch::of`] says when they are not.

use super::cell::Cell;
use super::mapping::Walk;

/// A set of short ids, and the beginning of its cells.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    cells: Vec<Cell>,
    /// Each item, and the cells that it goes to next.
    items: Vec<(u64, Walk)>,
}

impl Sketch {
    /// Of these items, as yet without cells. `None` if two are the same: they would cancel, and the
    /// key under which they were made has to be another one.
    #[must_use]
    pub fn of(mut items: Vec<u64>) -> Option<Self> {
        items.sort_unstable();
        let distinct = items.windows(2).all(|pair| pair[0] != pair[1]);
        let walks = items.into_iter().map(|item| (item, Walk::of(item)));
        distinct.then(|| Self { cells: Vec::new(), items: walks.collect() })
    }

    /// How many items are in the set.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether an item is in the set.
    #[must_use]
    pub fn contains(&self, item: u64) -> bool {
        self.items.binary_search_by_key(&item, |(item, _)| *item).is_ok()
    }

    /// The cells from `from` to before `end`; those before are made as well.
    pub fn cells(&mut self, from: usize, end: usize) -> &[Cell] {
        if self.cells.len() < end {
            self.cells.resize(end, Cell::default());
            for (item, walk) in &mut self.items {
                while let Some(at) = walk.below(end) {
                    self.cells[at].add(*item);
                }
            }
        }
        &self.cells[from.min(end)..end]
    }
}
