//! What two sets lack from each other: fingerprints, and short ids.
//!
//! A [`Fingerprint`] is a multiset hash (LtHash16): each item is expanded to 1,024 numbers of 16
//! bits, which are added lane by lane. Adding and removing are O(1) and independent of order, and
//! unlike an XOR or a plain sum it does not fall to chosen items. On the wire only 16 bytes of it
//! travel, keyed, so that a collision found at home is of no use.
//!
//! A [`short_id`] is 8 bytes of an item's hash under a key drawn afresh for each conversation:
//! whoever grinds statements to collide does not know it in time.
//!
//! An item enters a fingerprint once: the caller's table decides that, since 2^16 copies of one
//! item would cancel. Does not decide what is sent: see [`session`](crate::session).
//!
//! Source: index.md sections 7.1, 7.6, 7.7.

use std::fmt;

use crate::{Collection, CollectionId, Item};

/// Separates the expansion of items from every other use of BLAKE3.
const STATE_DOMAIN: &str = "griot 2026 collection state v1";
/// Counters in a fingerprint.
const LANES: usize = 1024;
/// Bytes of the counters.
const STATE_BYTES: usize = LANES * 2;

/// A set of items in 2 KiB: add and remove in any order.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many items are in the set.
    pub count: u64,
    lanes: Box<[u16; LANES]>,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.count)
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::empty()
    }
}

impl Fingerprint {
    /// Of the empty set.
    #[must_use]
    pub fn empty() -> Self {
        Self { count: 0, lanes: Box::new([0; LANES]) }
    }

    /// Adds one item; the caller makes sure that it was not in the set.
    pub fn add(&mut self, item: &Item) {
        self.count = self.count.wrapping_add(1);
        self.each_lane(item, u16::wrapping_add);
    }

    /// Removes one item that was in the set.
    pub fn remove(&mut self, item: &Item) {
        self.count = self.count.wrapping_sub(1);
        self.each_lane(item, u16::wrapping_sub);
    }

    fn each_lane(&mut self, item: &Item, change: fn(u16, u16) -> u16) {
        let mut expanded = [0_u8; STATE_BYTES];
        let mut hasher = blake3::Hasher::new_derive_key(STATE_DOMAIN);
        hasher.update(&item.hash());
        hasher.finalize_xof().fill(&mut expanded);
        for (lane, bytes) in self.lanes.iter_mut().zip(expanded.chunks_exact(2)) {
            *lane = change(*lane, u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    /// For the disk: count (u64 LE), then the counters (u16 LE each), 2,056 bytes in all.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + STATE_BYTES);
        out.extend_from_slice(&self.count.to_le_bytes());
        for lane in self.lanes.iter() {
            out.extend_from_slice(&lane.to_le_bytes());
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 8 + STATE_BYTES {
            return None;
        }
        let (count, state) = bytes.split_first_chunk::<8>()?;
        let mut read = Self { count: u64::from_le_bytes(*count), ..Self::empty() };
        for (lane, pair) in read.lanes.iter_mut().zip(state.chunks_exact(2)) {
            *lane = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Some(read)
    }

    /// What goes on the wire: 16 bytes of `BLAKE3_keyed(key, count ‖ state)`.
    #[must_use]
    pub fn keyed(&self, key: &[u8; 32]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&self.to_bytes());
        first(&hasher)
    }
}

/// One fingerprint over many collections: 16 bytes of BLAKE3 under `key` over the list of
/// (collection id, count, state), sorted by id. Empty collections do not count.
#[must_use]
pub fn overall<'a>(
    key: &[u8; 32],
    collections: impl IntoIterator<Item = &'a (Collection, Fingerprint)>,
) -> [u8; 16] {
    let mut sorted: Vec<(CollectionId, &Fingerprint)> = collections
        .into_iter()
        .filter(|(_, state)| state.count > 0)
        .map(|(collection, state)| (collection.id(), state))
        .collect();
    sorted.sort_by_key(|(id, _)| *id);
    let mut hasher = blake3::Hasher::new_keyed(key);
    for (id, state) in sorted {
        hasher.update(id.0.as_bytes());
        hasher.update(&state.to_bytes());
    }
    first(&hasher)
}

/// The first 8 bytes of `BLAKE3_keyed(session key, item hash)`.
#[must_use]
pub fn short_id(key: &[u8; 32], item: &Item) -> u64 {
    let hash = blake3::keyed_hash(key, &item.hash());
    let mut short = [0_u8; 8];
    short.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(short)
}

/// How a collection is called within one conversation: its id under the conversation's key.
#[must_use]
pub fn collection_name(key: &[u8; 32], collection: &Collection) -> [u8; 32] {
    *blake3::keyed_hash(key, collection.id().0.as_bytes()).as_bytes()
}

fn first(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut out = [0_u8; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, SecretKey, StatementId};

    fn items(count: u8) -> Vec<Item> {
        let key = SecretKey::from_seed(&[1; 32]).public();
        (0..count).map(|n| Item { id: StatementId(Digest::of(&[n])), key }).collect()
    }

    fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Fingerprint {
        let mut state = Fingerprint::empty();
        items.into_iter().for_each(|item| state.add(item));
        state
    }

    #[test]
    fn order_and_history_leave_no_trace() {
        let items = items(20);
        let whole = of(&items);
        assert_eq!(of(items.iter().rev()), whole);
        let mut shrunk = whole.clone();
        items[5..].iter().for_each(|item| shrunk.remove(item));
        assert_eq!(shrunk, of(&items[..5]));
        assert_eq!(Fingerprint::from_bytes(&whole.to_bytes()), Some(whole.clone()));
        assert_eq!(Fingerprint::from_bytes(&whole.to_bytes()[1..]), None);
    }

    #[test]
    fn sets_differ_and_so_do_keys() {
        let items = items(4);
        let (one, two) = (of(&items[..2]), of(&items[2..]));
        assert_ne!(one.keyed(&[1; 32]), two.keyed(&[1; 32]));
        assert_ne!(one.keyed(&[1; 32]), one.keyed(&[2; 32]));
        assert_ne!(short_id(&[1; 32], &items[0]), short_id(&[2; 32], &items[0]));
        // Adding an item twice is another multiset: under XOR it would vanish.
        assert_ne!(of([&items[0], &items[0]]).lanes, Fingerprint::empty().lanes);
    }

    #[test]
    fn empty_collections_do_not_count_in_the_overall_line() {
        let realm = crate::RealmId(Digest::of(b"realm"));
        let held = (Collection::Authority(realm), of(&items(3)));
        let empty = (Collection::Other(realm), Fingerprint::empty());
        let key = [3; 32];
        assert_eq!(overall(&key, [&held, &empty]), overall(&key, [&held]));
        assert_ne!(overall(&key, [&held]), overall(&key, [&empty]));
    }
}
