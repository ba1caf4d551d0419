//! One cell: the XOR of the items that map to it, of their checksums, and their number.
//!
//! On the wire 19 bytes: items and checksums (u64 LE each), and the number modulo 2^24 (LE). A
//! difference of two numbers is read as signed, so it is right as long as the sets differ in fewer
//! than 2^23 items.
//!
//! Source: index.md section 7.2.

use super::mapping::mix;

/// Bytes of a cell on the wire.
pub const CELL_BYTES: usize = 19;
/// Numbers are kept modulo this.
const MODULUS_BITS: u32 = 24;

/// What is known of the items that map to one place of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    items: u64,
    checks: u64,
    /// Modulo 2^32 in memory; compared modulo 2^24.
    count: u32,
}

impl Cell {
    /// Puts an item in.
    pub(super) const fn add(&mut self, item: u64) {
        self.toggle(item);
        self.count = self.count.wrapping_add(1);
    }

    /// Takes an item out; it need not be in, the number then goes below zero.
    pub(super) const fn remove(&mut self, item: u64) {
        self.toggle(item);
        self.count = self.count.wrapping_sub(1);
    }

    const fn toggle(&mut self, item: u64) {
        self.items ^= item;
        self.checks ^= mix(item);
    }

    /// Takes all items of another cell out.
    pub(super) const fn subtract(&mut self, other: &Self) {
        self.items ^= other.items;
        self.checks ^= other.checks;
        self.count = self.count.wrapping_sub(other.count);
    }

    /// The number, signed.
    pub(super) const fn signed(&self) -> i32 {
        (self.count << (u32::BITS - MODULUS_BITS)).cast_signed() >> (u32::BITS - MODULUS_BITS)
    }

    /// Whether nothing is left in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items == 0 && self.checks == 0 && self.signed() == 0
    }

    /// The one item in it, and whether it was added: or nothing, if there are more, or none.
    pub(super) const fn pure(&self) -> Option<(u64, bool)> {
        let is_one = matches!(self.signed(), 1 | -1) && mix(self.items) == self.checks;
        if is_one { Some((self.items, self.signed() == 1)) } else { None }
    }

    /// For the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CELL_BYTES] {
        let mut out = [0; CELL_BYTES];
        out[..8].copy_from_slice(&self.items.to_le_bytes());
        out[8..16].copy_from_slice(&self.checks.to_le_bytes());
        out[16..].copy_from_slice(&self.count.to_le_bytes()[..3]);
        out
    }

    /// Reads what came from the wire: every 19 bytes are a cell.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CELL_BYTES]) -> Self {
        let word = |from: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[from..from + 8]);
            u64::from_le_bytes(word)
        };
        let count = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], 0]);
        Self { items: word(0), checks: word(8), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_survives_the_wire_also_where_its_number_wraps() {
        let mut cell = Cell::default();
        cell.remove(7);
        assert_eq!(cell.pure(), Some((7, false)));
        let mut read = Cell::from_bytes(&cell.to_bytes());
        assert_eq!(read.pure(), Some((7, false)));
        read.add(7);
        assert!(read.is_empty());
        let large = Cell { count: (1 << MODULUS_BITS) + 5, ..Cell::default() };
        let mut left = Cell::from_bytes(&large.to_bytes());
        left.subtract(&large);
        assert!(left.is_empty(), "more items than the wire can count");
    }

    #[test]
    fn only_one_item_that_is_itself_is_pure() {
        let mut cell = Cell::default();
        assert_eq!(cell.pure(), None);
        cell.add(3);
        assert_eq!(cell.pure(), Some((3, true)));
        cell.add(4);
        assert_eq!(cell.pure(), None);
        cell.remove(5);
        assert_eq!(cell.pure(), None, "one by number, three by content");
    }
}
