//! All chance in a world, from one seed.

/// A stream of random numbers: BLAKE3's extendable output over the seed.
#[derive(Debug)]
pub(crate) struct Dice(blake3::OutputReader);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("griot 2026 simulation v1");
        Self(hasher.update(&seed.to_le_bytes()).finalize_xof())
    }

    /// The next 32 bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill(&mut out);
        out
    }

    /// A number from `low` up to and without `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let mut out = [0; 8];
        self.0.fill(&mut out);
        low + u64::from_le_bytes(out) % (high - low).max(1)
    }

    /// Whether an event of this chance happens.
    pub(crate) fn per_mille(&mut self, chance: u64) -> bool {
        self.between(0, 1000) < chance
    }
}
