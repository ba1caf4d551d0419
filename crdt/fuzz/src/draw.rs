//! Numbers and bytes drawn out of an input: what is missing at its end reads as zero.
//!
//! So every input means something, and a change of one byte changes one decision.

/// The rest of an input.
#[derive(Debug)]
pub struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    /// Of a whole input.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether everything was drawn.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes(self.fixed())) % end
    }

    /// One of some, at a byte's choice.
    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[usize::from(self.byte()) % of.len()]
    }

    /// A number: mostly small, else near an edge where sums and products overflow, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::from_le_bytes(self.fixed()),
            254 => u64::MAX - u64::from(self.byte()),
            252 => (u64::MAX / (u64::from(self.byte() % 20) + 1)).wrapping_add(self.byte().into()),
            253 => (1 << 53) - 3 + u64::from(self.byte() % 6),
            small => u64::from(small),
        }
    }

    /// Exactly so many bytes.
    pub fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let drawn = self.bytes(N);
        out[..drawn.len()].copy_from_slice(drawn);
        out
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (drawn, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        drawn
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }
}
