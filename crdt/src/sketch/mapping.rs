//! Which cells an item belongs to, on every machine the same.
//!
//! An item is in cell 0, and in cell `i` with probability `1 / (1 + i/2)`. The next cell is jumped
//! to: the chance that none of the next `g` is chosen telescopes to about
//! `((i + 1.5) / (i + g + 1.5))²`, which is set equal to a uniform number and solved for `g`.
//!
//! The arithmetic is IEEE 754 double precision with correctly rounded operations alone, so both
//! sides find the same cells; test vectors hold it to that.
//!
//! Source: index.md section 7.3.

/// Multiplies the state of the generator.
const STEP: u64 = 0xda94_2042_e4dd_58b5;
/// Mixed into an item first, so that 0 is no fixed point.
const OFFSET: u64 = 0x9e37_79b9_7f4a_7c15;

/// A fixed mixing of 64 bits: the checksum of an item, and the seed of its cells. Whoever knows the
/// item knows it; what is secret is the key under which items are made.
#[must_use]
pub const fn mix(item: u64) -> u64 {
    let mut z = item ^ OFFSET;
    z ^= z >> 30;
    z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The cells of one item, in ascending order, without end but for the largest number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// The cell that comes next.
    at: u64,
    state: u64,
}

impl Walk {
    /// From cell 0 on.
    pub(super) const fn of(item: u64) -> Self {
        Self { at: 0, state: mix(item) }
    }

    /// The next cell below `end`.
    pub(super) fn below(&mut self, end: usize) -> Option<usize> {
        let index = usize::try_from(self.at).ok().filter(|index| *index < end)?;
        self.state = self.state.wrapping_mul(STEP);
        self.at = self.at.saturating_add(gap(self.at, self.state));
        Some(index)
    }
}

/// About how many of the items are in a cell.
#[expect(clippy::cast_precision_loss, reason = "about")]
pub(super) fn share(at: usize) -> f64 {
    1.0 / (1.0 + at as f64 / 2.0)
}

/// From cell `at` to the next one.
#[expect(clippy::cast_precision_loss, reason = "rounded in the same way on both sides")]
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
#[expect(clippy::cast_sign_loss, reason = "a gap is never negative")]
fn gap(at: u64, state: u64) -> u64 {
    // 2^32: the square root of the range of the generator.
    let inverse_root = 4_294_967_296.0 / (state as f64 + 1.0).sqrt();
    let gap = ((at as f64 + 1.5) * (inverse_root - 1.0)).ceil() as u64;
    // At the very top of the range the root rounds to one: the walk still goes on.
    gap.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(item: u64, end: usize) -> Vec<usize> {
        let mut walk = Walk::of(item);
        std::iter::from_fn(|| walk.below(end)).collect()
    }

    #[test]
    fn mixing_and_cells_are_those_of_every_other_machine() {
        for (item, mixed, expected) in [
            (0x1, 0xe4d9_7177_1b65_2c20, &[0, 6, 7, 34, 39, 41][..]),
            (0x2, 0x9758_35de_1c97_56ce, &[0, 1, 4, 7, 8, 10, 14, 18, 21, 37, 38]),
            (0x0123_4567_89ab_cdef, 0x8e39_8032_3f3d_ce39, &[0, 1, 4, 8, 10, 18]),
        ] {
            assert_eq!(mix(item), mixed, "{item:x}");
            assert_eq!(cells(item, 100), expected, "{item:x}");
        }
    }

    #[test]
    fn cells_are_as_frequent_as_they_should_be() {
        let mut seen = vec![0_u32; 65];
        let items = 20_000_u32;
        for item in 0..items {
            cells(mix(u64::from(item)), 65).into_iter().for_each(|at| seen[at] += 1);
        }
        assert_eq!(seen[0], items);
        for at in [1_u32, 2, 4, 8, 16, 32, 64] {
            let (share, expected) = (
                f64::from(seen[at as usize]) / f64::from(items),
                1.0 / (1.0 + f64::from(at) / 2.0),
            );
            assert!((share - expected).abs() < 0.03, "cell {at}: {share} of {expected}");
        }
    }

    #[test]
    fn a_walk_ascends_wherever_the_generator_stands() {
        for state in [0, 1, u64::MAX, u64::MAX - 1, 1 << 63] {
            for at in [0, 1, 1 << 20, u64::MAX - 1] {
                assert!(gap(at, state) >= 1, "{at} {state}");
            }
        }
        let far = cells(7, usize::MAX);
        assert!(far.is_sorted_by(|one, next| one < next) && far.len() < 200, "{}", far.len());
    }
}
