//! A node's clock: where it begins, how fast it runs, and how often it was asleep.
//!
//! The sessions of a node get its clock as their time, and what it publishes is dated with it. No
//! set and no view may depend on either, so a world may give its nodes any clocks.

use crdt::session::Millis;

/// Seconds since 1970 when an honest clock's world begins: in 2026.
const NOW_SECONDS: u64 = 1_790_000_000;

/// A clock that may be wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// What it shows when the world begins, in milliseconds since 1970.
    base: Millis,
    /// Its milliseconds in a thousand of the world's.
    pace: u64,
    /// How far it was put forward while the world stood still for it.
    slept: Millis,
    /// Whether it was made wrong on purpose.
    pub(crate) is_wrong: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self { base: NOW_SECONDS * 1000, pace: 1000, slept: 0, is_wrong: false }
    }
}

impl Clock {
    /// Shows `seconds` since 1970 when the world begins, and runs at `pace` per mille.
    pub(crate) const fn wrong(seconds: u64, pace: u64) -> Self {
        Self { base: seconds * 1000, pace, slept: 0, is_wrong: true }
    }

    /// What it shows.
    pub(crate) const fn local(&self, world: Millis) -> Millis {
        self.base + self.slept + world * self.pace / 1000
    }

    /// Seconds since 1970 that it shows.
    pub(crate) const fn seconds(&self, world: Millis) -> u64 {
        self.local(world) / 1000
    }

    /// When it will show `local`, or 0 if that is long past.
    pub(crate) const fn world(&self, local: Millis) -> Millis {
        let passed = local.saturating_sub(self.base + self.slept);
        (passed * 1000).div_ceil(self.pace)
    }

    /// The machine was suspended: it wakes at once, so much later.
    pub(crate) const fn sleep(&mut self, how_long: Millis) {
        self.slept += how_long;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_of_a_clock_go_together() {
        for mut clock in [Clock::default(), Clock::wrong(0, 950), Clock::wrong(4_070_908_800, 1050)]
        {
            for world in [0, 1, 999, 123_456] {
                let at = clock.world(clock.local(world));
                assert!(at <= world && clock.local(at) == clock.local(world), "{clock:?} {world}");
            }
            clock.sleep(3_600_000);
            assert_eq!(clock.world(clock.local(5_000) - 3_600_000), 0);
        }
    }
}
