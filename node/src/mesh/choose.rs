//! Which range from which peer next, in which pieces, and when to dial again: pure.
//!
//! [`Plan`] hands out the ranges of one blob. Each peer draws ranges as fast as it delivers them;
//! what a lost peer had drawn goes back to the front. At the end the last two ranges are given out
//! twice, and a peer with nothing else to do takes a second copy of any, so that one slow peer does
//! not hold up the whole. No clock and no entropy: both are arguments. Nothing here survives a
//! crash; what is verified is in the store's partial download.
//!
//! Source: mesh.md sections 6.3 and 7.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use libp2p::PeerId;

use super::frame::DATA_BYTES_MAX;

/// The first retry of a dial waits at most this long.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// No retry of a dial waits longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(5 * 60);
/// So many ranges at the end are asked of a second peer too.
const TWICE_AT_THE_END: usize = 2;

/// Ranges begin at a group, and end at one or at the end of the blob.
pub(super) const GROUP_BYTES: u64 = 16 * 1024;
/// The first piece of a stream; later ones follow the link's pace.
const FIRST_PIECE_BYTES: u64 = 64 * 1024;
/// A piece that took less is followed by a larger one.
const PIECE_FAST: Duration = Duration::from_millis(500);
/// A piece that took more is followed by a smaller one.
const PIECE_SLOW: Duration = Duration::from_secs(4);

/// How long to wait before the dial after `failures` failed ones: doubling from one second to five
/// minutes, of which `random` takes off up to a half so that nodes do not dial in step.
pub(super) fn back_off(failures: u32, random: u32) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1_u32 << failures.min(16)).min(BACK_OFF_MAX);
    let half = doubled / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The ranges of one blob that lack, and who was asked for which.
#[derive(Debug, Default)]
pub(super) struct Plan {
    waiting: VecDeque<Range<u64>>,
    drawn: Vec<Drawn>,
}

/// One range that one peer was asked for; its start moves as verified bytes arrive.
#[derive(Debug, Clone)]
struct Drawn {
    peer: PeerId,
    range: Range<u64>,
}

impl Plan {
    /// Ranges to be fetched, in order.
    pub(super) fn new(missing: Vec<Range<u64>>) -> Self {
        Self { waiting: missing.into(), drawn: Vec::new() }
    }

    /// The next range for `peer`, or `None` if it has nothing to do for now.
    pub(super) fn next(&mut self, peer: PeerId) -> Option<Range<u64>> {
        let range = self.waiting.pop_front().or_else(|| self.second_copy(peer))?;
        self.drawn.push(Drawn { peer, range: range.clone() });
        Some(range)
    }

    /// At the end: a range that one other peer alone was asked for. While more than the last ranges
    /// are out, only for a peer that would otherwise do nothing, and one at a time.
    fn second_copy(&self, peer: PeerId) -> Option<Range<u64>> {
        let is_busy = self.drawn.iter().any(|one| one.peer == peer);
        if self.drawn.len() > TWICE_AT_THE_END && is_busy {
            return None;
        }
        let touches = |range: &Range<u64>, by: &Drawn| {
            by.range.start < range.end && range.start < by.range.end
        };
        let alone =
            |one: &&Drawn| self.drawn.iter().filter(|by| touches(&one.range, by)).count() == 1;
        let other = |one: &&Drawn| one.peer != peer;
        self.drawn.iter().filter(other).find(alone).map(|one| one.range.clone())
    }

    /// `piece` was delivered, verified: nobody owes it any more, or a second copy of it would be
    /// drawn again and again while the slow peer that owed it first is still waited for.
    pub(super) fn arrived(&mut self, piece: &Range<u64>) {
        let drawn = self.drawn.iter_mut();
        for one in drawn.filter(|one| piece.contains(&one.range.start)) {
            one.range.start = piece.end;
        }
        self.drawn.retain(|one| one.range.start < one.range.end);
    }

    /// `peer` is lost: what it still owed goes back to the front, unless another was asked too.
    pub(super) fn release(&mut self, peer: PeerId) {
        let owed: Vec<_> = self.drawn.iter().filter(|one| one.peer == peer).cloned().collect();
        self.drawn.retain(|one| one.peer != peer);
        for one in owed.into_iter().rev() {
            let covered =
                |by: &Drawn| by.range.start <= one.range.start && one.range.end <= by.range.end;
            if !self.drawn.iter().any(covered) {
                self.waiting.push_front(one.range);
            }
        }
    }

    /// Whether everything that was to be fetched has been handed out and delivered.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.drawn.is_empty()
    }

    /// Adds what still lacks after the plan is done.
    pub(super) fn refill(&mut self, missing: Vec<Range<u64>>) {
        self.waiting.extend(missing);
    }
}

/// How large the pieces of one stream are: small on a slow link, where a cut would cost much and
/// where everything else has to wait behind them.
#[derive(Debug)]
pub(super) struct Pace {
    piece_bytes: u64,
}

impl Pace {
    /// Before anything is known of the link.
    pub(super) const fn new() -> Self {
        Self { piece_bytes: FIRST_PIECE_BYTES }
    }

    /// The size of the next piece.
    pub(super) const fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// How long the last piece took.
    pub(super) fn note(&mut self, took: Duration) {
        if took < PIECE_FAST {
            self.piece_bytes = (self.piece_bytes * 2).min(DATA_BYTES_MAX);
        } else if took > PIECE_SLOW {
            self.piece_bytes = (self.piece_bytes / 2).max(GROUP_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_starts_within_a_second_and_ends_at_five_minutes() {
        assert!(back_off(0, u32::MAX) <= Duration::from_secs(1));
        assert!(back_off(0, 0) >= Duration::from_millis(500));
        assert_eq!(back_off(40, u32::MAX), BACK_OFF_MAX);
    }

    #[test]
    fn a_lost_peers_ranges_go_to_the_next_without_what_had_arrived() {
        let (first, second) = (PeerId::random(), PeerId::random());
        let mut plan = Plan::new(vec![0..100, 100..200, 200..250]);
        assert_eq!(plan.next(first), Some(0..100));
        assert_eq!(plan.next(first), Some(100..200));
        plan.arrived(&(0..60));
        plan.release(first);
        assert_eq!(plan.next(second), Some(60..100));
        assert_eq!(plan.next(second), Some(100..200));
    }

    #[test]
    fn the_last_ranges_are_given_out_twice_but_not_to_the_same_peer() {
        let (slow, fast, third) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut plan = Plan::new(vec![0..100; 1]);
        assert_eq!(plan.next(slow), Some(0..100));
        assert_eq!(plan.next(slow), None);
        assert_eq!(plan.next(fast), Some(0..100));
        assert_eq!(plan.next(third), None);
        plan.release(slow);
        assert_eq!(plan.next(slow), Some(0..100), "the fast one alone has it now");
        plan.arrived(&(0..100));
        assert!(plan.is_done());
    }

    #[test]
    fn a_fast_peer_takes_over_each_range_of_a_stalled_one_once() {
        let (stalled, fast) = (PeerId::random(), PeerId::random());
        let ranges: Vec<Range<u64>> = (0..6).map(|at| at * 100..at * 100 + 100).collect();
        let mut plan = Plan::new(ranges.clone());
        let drawn: Vec<_> = (0..4).filter_map(|_| plan.next(stalled)).collect();
        assert_eq!(drawn, ranges[..4]);
        let mut got = Vec::new();
        while let Some(range) = plan.next(fast) {
            assert!(got.len() < ranges.len(), "{range:?} was drawn again");
            plan.arrived(&range);
            got.push(range);
        }
        got.sort_by_key(|range| range.start);
        assert_eq!(got, ranges);
        assert!(plan.is_done());
    }

    #[test]
    fn pieces_shrink_to_a_group_on_a_slow_link_and_grow_on_a_fast_one() {
        let mut pace = Pace::new();
        (0..9).for_each(|_| pace.note(Duration::from_secs(20)));
        assert_eq!(pace.piece_bytes(), GROUP_BYTES);
        (0..9).for_each(|_| pace.note(Duration::from_millis(3)));
        assert_eq!(pace.piece_bytes(), DATA_BYTES_MAX);
    }
}
