//! How many sketches a node keeps at a time: one of a million items takes 24 MB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for some sketches; clones share it.
#[derive(Debug, Clone)]
pub struct Slots {
    taken: Arc<AtomicUsize>,
    count: usize,
}

impl Slots {
    /// Room for so many.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { taken: Arc::default(), count }
    }

    /// How many places are in use.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes a place if there is one; it is given back when it is dropped.
    #[must_use]
    pub fn take(&self) -> Option<Slot> {
        let more = |taken: usize| (taken < self.count).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Slot(self.clone()))
    }
}

/// A place for one sketch.
#[derive(Debug)]
pub struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_given_back() {
        let slots = Slots::new(2);
        let (one, _two) = (slots.take(), slots.take());
        assert!(one.is_some() && slots.clone().take().is_none());
        drop(one);
        assert!(slots.take().is_some());
    }
}
