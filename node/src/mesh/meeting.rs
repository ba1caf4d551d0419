//! Whether a peer that was met may still be telling what we lack.
//!
//! A person who has just joined a site installs at once, and the receipts that the install needs
//! are on their way. So who finds nothing asks here first. A peer that tells without end, or never
//! agrees, is waited for once: from the first question for so long.

use std::time::Duration;

use tokio::time::Instant;

/// How long one meeting may hold anybody up.
const MEETING_MAX: Duration = Duration::from_secs(20);

/// The meeting with one connected peer.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    /// The follows, as counted by the store, as of which we held all that it holds.
    over: Option<u64>,
    /// Those as of which somebody asked first, and when.
    asked: Option<(u64, Instant)>,
}

impl Meeting {
    /// We hold what it holds.
    pub(super) fn is_over(&mut self, follows: u64) {
        self.over = Some(follows);
    }

    /// Whether waiting is worth it at `now`, with this state of the follows.
    pub(super) fn goes_on(&mut self, follows: u64, now: Instant) -> bool {
        if self.over == Some(follows) {
            return false;
        }
        let begun = match self.asked {
            Some((of, begun)) if of == follows => begun,
            _ => now,
        };
        self.asked = Some((follows, begun));
        now.duration_since(begun) < MEETING_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_both_agree_or_for_twenty_seconds() {
        let (mut meeting, now) = (Meeting::default(), Instant::now());
        assert!(meeting.goes_on(0, now));
        assert!(meeting.goes_on(0, now + MEETING_MAX / 2));
        meeting.is_over(0);
        assert!(!meeting.goes_on(0, now));
        assert!(meeting.goes_on(1, now), "another realm is followed now");
        assert!(!meeting.goes_on(1, now + MEETING_MAX), "a peer that never agrees");
    }
}
