//! When a copy may be served as it is, when it is looked after, and when it is looked at first.
//!
//! Pure: (now, when it was checked, what was asked) → what to do. The clock is this node's, so a
//! check in the future means that the clock was moved: such a copy is old.
//!
//! Source: formats/README.md section 1.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds for which a copy is served without a look at its upstream.
pub(super) const FRESH_S: u64 = 300;
/// Seconds after which `no-cache` asks the upstream again: a client sends it many times in a row.
const REFRESH_AFTER_S: u64 = 5;

/// What to do with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and ask the upstream behind.
    Stale,
    /// Ask the upstream first, as far as patience goes.
    Check,
}

/// Judges a copy that the upstream last confirmed at `checked_at`.
pub(super) fn judge(now: u64, checked_at: u64, refresh: bool) -> Freshness {
    match now.checked_sub(checked_at) {
        Some(age) if refresh && age <= REFRESH_AFTER_S => Freshness::Fresh,
        _ if refresh => Freshness::Check,
        Some(age) if age <= FRESH_S => Freshness::Fresh,
        _ => Freshness::Stale,
    }
}

/// Seconds since 1970 by this node's clock: a label that decides no validity.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// An age for people.
pub(super) fn age_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_fresh_for_five_minutes_and_old_when_the_clock_was_moved() {
        for (now, checked, refresh, expected) in [
            (1_000, 1_000, false, Freshness::Fresh),
            (1_300, 1_000, false, Freshness::Fresh),
            (1_301, 1_000, false, Freshness::Stale),
            (999, 1_000, false, Freshness::Stale),
            (1_005, 1_000, true, Freshness::Fresh),
            (1_006, 1_000, true, Freshness::Check),
            (999, 1_000, true, Freshness::Check),
        ] {
            assert_eq!(judge(now, checked, refresh), expected, "{now} {checked} {refresh}");
        }
    }

    #[test]
    fn ages_are_told_in_the_largest_sensible_unit() {
        assert_eq!(age_words(45), "45 s");
        assert_eq!(age_words(600), "10 min");
        assert_eq!(age_words(7_200), "2 h");
        assert_eq!(age_words(400_000), "4 days");
    }
}
