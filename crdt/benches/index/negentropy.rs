//! The same sets by the crate `negentropy`, in the same run.
//!
//! It sorts items by time and then by id. *By time* is its best case: all items have one, and the
//! differences are the newest. Statements have no time to sort by, so *none* is what we would get.
//! Frames are not limited: a limit costs it more round trips.

use crdt::Item;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::figures::timed;
use crate::sketch::Pair;

/// What it sorts by, beside the ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    ByTime,
}

/// What a meeting took.
pub(crate) struct Meeting {
    /// Both ways.
    pub(crate) bytes: f64,
    pub(crate) trips: f64,
    /// Both sides, building and sorting included.
    pub(crate) cpu: f64,
}

/// Lets two sides meet: the common part of `all`, and each its own.
pub(crate) fn meet(all: &[Item], pair: &Pair, order: Order) -> Meeting {
    let common: Vec<[u8; 32]> = all[..pair.common].iter().map(Item::hash).collect();
    let (cpu, (bytes, trips, found)) = timed(|| {
        let asker = storage(&common, &pair.receiver, order);
        let answerer = storage(&common, &pair.streamer, order);
        talk(&asker, &answerer)
    });
    assert_eq!(found, pair.streamer.len() + pair.receiver.len(), "all differences");
    Meeting { bytes: bytes as f64, trips: f64::from(trips), cpu }
}

fn storage(common: &[[u8; 32]], own: &[Item], order: Order) -> NegentropyStorageVector {
    let hashes = common.iter().copied().chain(own.iter().map(Item::hash));
    let mut storage = NegentropyStorageVector::with_capacity(common.len() + own.len());
    for (hash, time) in hashes.zip(1_000_000_u64..) {
        let time = if order == Order::ByTime { time } else { 0 };
        storage.insert(time, Id::from_byte_array(hash)).expect("it is not sealed");
    }
    storage.seal().expect("items are distinct");
    storage
}

/// Bytes, round trips, and how many differences were found.
fn talk(
    asker: &NegentropyStorageVector,
    answerer: &NegentropyStorageVector,
) -> (usize, u32, usize) {
    let mut asker = Negentropy::borrowed(asker, 0).expect("no limit of a frame");
    let mut answerer = Negentropy::borrowed(answerer, 0).expect("no limit of a frame");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let (mut bytes, mut trips) = (0, 0);
    let mut question = Some(asker.initiate().expect("it is the first"));
    while let Some(asked) = question {
        let answer = answerer.reconcile(&asked).expect("both speak the protocol");
        bytes += asked.len() + answer.len();
        trips += 1;
        question = asker
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .expect("both speak the protocol");
    }
    (bytes, trips, have.len() + need.len())
}
