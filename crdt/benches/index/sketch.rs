//! The sketch by itself: cells, bytes, flights and CPU, beside the bound and beside `negentropy`.
//!
//! *Needed* is the number of cells after which the difference is known, if they came one by one;
//! common items cancel, so it is counted with the differences alone. *In flights* is what a
//! conversation sends: 32 cells, then twice as many until it is enough, a round trip each. The
//! bound is 8 bytes a difference, the ids themselves.

use crdt::reconcile::short_id;
use crdt::sketch::{CELL_BYTES, Peeler, Sketch};
use crdt::{Digest, Item, PublicKey, StatementId};

use crate::figures::{Beside, Options, Report, percentile, timed};
use crate::made::{Realm, noise};
use crate::negentropy::{self, Order};

/// The conversation's key.
const KEY: [u8; 32] = [9; 32];
/// Cells of the first flight.
const FIRST: usize = 32;
/// Bytes of an id.
const ID_BYTES: usize = 8;

/// Two sets that differ.
pub(crate) struct Pair {
    pub(crate) common: usize,
    pub(crate) streamer: Vec<Item>,
    pub(crate) receiver: Vec<Item>,
}

/// So many items, the same for the same start.
pub(crate) fn items(key: PublicKey, start: u64, count: u64) -> Vec<Item> {
    let item = |n| Item { id: StatementId(Digest::from_bytes(noise(&[n]))), key };
    (start..start + count).map(item).collect()
}

/// Differences, half of them on each side.
pub(crate) fn differences(key: PublicKey, count: u64, seed: u64) -> (Vec<Item>, Vec<Item>) {
    let half = count / 2;
    let start = (1 << 40) + seed * (1 << 24);
    (items(key, start, count - half), items(key, start + (1 << 23), half))
}

fn short(items: &[Item]) -> Vec<u64> {
    items.iter().map(|item| short_id(&KEY, item)).collect()
}

fn sketch(ids: Vec<u64>) -> Sketch {
    Sketch::of(ids).expect("short ids are distinct")
}

/// Percentiles, then each size with each difference.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let key = Realm::new(1).key.public();
    percentiles(key, options, report);
    let sizes: &[u64] = options.size(&[1_000][..], &[100_000], &[100_000, 1_000_000]);
    let counts: &[u64] = options.size(
        &[0, 1, 10, 100][..],
        &[0, 1, 10, 1_000, 100_000],
        &[0, 1, 10, 1_000, 100_000],
    );
    for size in sizes {
        let all = items(key, 0, *size);
        let (taken, ids) = timed(|| short(&all));
        let name = format!("sketch: short ids of {size} items");
        report.line(&name, (taken * 1e3, "CPU-ms"), &[]);
        for count in counts {
            let (streamer, receiver) = differences(key, *count, 0);
            let pair = Pair { common: all.len() - streamer.len(), streamer, receiver };
            one(&all, &ids, &pair, report);
        }
    }
}

/// Cells that are needed, by the number of differences.
fn percentiles(key: PublicKey, options: &Options, report: &mut Report) {
    let trials = options.size(5, 1_000, 1_000);
    for count in [1, 2, 5, 10, 20, 50, 100] {
        let mut needed: Vec<usize> = (0..trials)
            .map(|trial| {
                let (streamer, receiver) = differences(key, count, trial + 1);
                needed(&short(&streamer), &short(&receiver), 1)
            })
            .collect();
        for (share, word) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (1.0, "most")] {
            let name = format!("sketch: cells for {count} differences, {word} of {trials}");
            report.line(&name, (percentile(&mut needed, share), "cells"), &[]);
        }
    }
}

/// Cells after which the difference is known, if `step` come at a time.
fn needed(streamer: &[u64], receiver: &[u64], step: usize) -> usize {
    let mut theirs = sketch(streamer.to_vec());
    let mut peeler = Peeler::new(sketch(receiver.to_vec()));
    while !feed(&mut peeler, &mut theirs, step) {}
    peeler.cells()
}

/// The next cells; whether the difference is known.
fn feed(peeler: &mut Peeler, theirs: &mut Sketch, step: usize) -> bool {
    let from = peeler.cells();
    peeler.feed(theirs.cells(from, from + step)).expect("nobody lies")
}

/// One size with one difference, against `negentropy` with the same ids.
fn one(all: &[Item], ids: &[u64], pair: &Pair, report: &mut Report) {
    let (streamer, receiver) = (short(&pair.streamer), short(&pair.receiver));
    let count = streamer.len() + receiver.len();
    let least = needed(&streamer, &receiver, (count / 500).max(1));
    let ids = &ids[..pair.common];
    let (sender, mut theirs) = timed(|| {
        let mut theirs = sketch([ids, &streamer].concat());
        theirs.cells(0, FIRST);
        theirs
    });
    let (asker, mut peeler) = timed(|| Peeler::new(sketch([ids, &receiver].concat())));
    let mut flights = 0_u32;
    let (rest, ()) = timed(|| {
        let mut step = FIRST;
        loop {
            flights += 1;
            if feed(&mut peeler, &mut theirs, step) {
                break;
            }
            step = peeler.cells();
        }
    });
    assert_eq!(peeler.found().count(), count, "all differences, and nothing else");
    let time = negentropy::meet(all, pair, Order::ByTime);
    let none = negentropy::meet(all, pair, Order::None);
    let name = format!("sketch: {} ids, {count} differences", all.len());
    let both = |one: f64, other: f64| {
        [Beside::Other("negentropy", one), Beside::Other("negentropy by time", other)]
    };
    let mut beside = vec![Beside::Bound((count * ID_BYTES) as f64)];
    beside.extend(both(none.bytes, time.bytes));
    report.line(&format!("{name}, needed"), ((least * CELL_BYTES) as f64, "bytes"), &beside);
    let sent = (peeler.cells() * CELL_BYTES) as f64;
    report.line(&format!("{name}, in flights"), (sent, "bytes"), &beside[..1]);
    let trips = both(none.trips, time.trips);
    report.line(&format!("{name}, round trips"), (f64::from(flights), "trips"), &trips);
    let cpu = both(none.cpu * 1e3, time.cpu * 1e3);
    report.line(
        &format!("{name}, both sides without short ids"),
        ((sender + asker + rest) * 1e3, "CPU-ms"),
        &cpu,
    );
}
