//! What two sets lack from each other: fingerprints (LtHash16), and the plain list of short ids.
//! Source: index.md sections 7.1, 7.6, 7.7.

use crate::Item;

/// 1,024 counters of 16 bits over a set of items: add and remove in any order.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint { /// number of items
    pub count: u64, #[allow(dead_code)] lanes: Box<[u16; 1024]> }
impl std::fmt::Debug for Fingerprint { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "Fingerprint({})", self.count) } }
impl Fingerprint {
    /// Of the empty set.
    #[must_use] pub fn empty() -> Self { Self { count: 0, lanes: Box::new([0; 1024]) } }
    /// Adds one item; the caller makes sure that it was not in the set.
    pub fn add(&mut self, item: &Item) { let _ = item; todo!() }
    /// Removes one item that was in the set.
    pub fn remove(&mut self, item: &Item) { let _ = item; todo!() }
    /// 8 + 2,048 bytes for the disk.
    #[must_use] pub fn to_bytes(&self) -> Vec<u8> { todo!() }
    /// Reads what `to_bytes` wrote.
    #[must_use] pub fn from_bytes(bytes: &[u8]) -> Option<Self> { let _ = bytes; todo!() }
    /// What goes on the wire: 16 bytes of `BLAKE3_keyed(session key, count ‖ state)`.
    #[must_use] pub fn keyed(&self, key: &[u8; 32]) -> [u8; 16] { let _ = key; todo!() }
}
/// The first 8 bytes of `BLAKE3_keyed(session key, item hash)`.
#[must_use] pub fn short_id(key: &[u8; 32], item: &Item) -> u64 { let _ = (key, item); todo!() }
