//! What keeps a conversation bounded: a token bucket, and a memory that forgets its older half.

use std::collections::BTreeSet;

use super::Millis;
use crate::Item;

/// Allows so many events a second, and a burst.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    burst: u64,
    /// In thousandths of a token.
    level: u64,
    at: Millis,
}

impl Bucket {
    /// Full.
    pub(super) const fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, level: burst * 1000, at: 0 }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Millis) -> bool {
        let gained = now.saturating_sub(self.at).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(gained).min(self.burst * 1000);
        self.at = self.at.max(now);
        if self.level < 1000 {
            return false;
        }
        self.level -= 1000;
        true
    }

    /// When the next token will be there.
    pub(super) const fn ready_at(&self) -> Millis {
        self.at + 1000_u64.saturating_sub(self.level).div_ceil(self.per_second)
    }
}

/// Items, of which the most recent ones are remembered for certain.
#[derive(Debug, Default)]
pub(super) struct Recent {
    new: BTreeSet<Item>,
    old: BTreeSet<Item>,
}

impl Recent {
    /// How many are remembered for certain.
    const HALF: usize = 16_384;

    pub(super) fn insert(&mut self, item: Item) {
        self.new.insert(item);
        if self.new.len() >= Self::HALF {
            self.old = std::mem::take(&mut self.new);
        }
    }

    pub(super) fn contains(&self, item: &Item) -> bool {
        self.new.contains(item) || self.old.contains(item)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.new.iter().chain(&self.old)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
