//! Two sets meet: what they find out, how many cells it takes, and what lies bring about.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::mapping::mix;
use super::*;

/// Distinct items that look drawn.
fn items(range: std::ops::Range<u64>) -> Vec<u64> {
    range.map(|n| mix(n.wrapping_mul(0x1234_5678_9abc_def1))).collect()
}

fn sketch(items: impl IntoIterator<Item = u64>) -> Sketch {
    Sketch::of(items.into_iter().collect()).expect("items are distinct")
}

/// What the receiver finds out, and after how many cells, if so many come at a time.
fn meet(streamer: &[u64], receiver: &[u64], step: usize) -> (BTreeSet<(u64, bool)>, usize) {
    let mut theirs = sketch(streamer.iter().copied());
    let mut peeler = Peeler::new(sketch(receiver.iter().copied()));
    let mut sent = 0;
    while !peeler.feed(theirs.cells(sent, sent + step)).expect("nobody lies") {
        sent += step;
        assert!(sent < 100_000, "it never ends");
    }
    let found = peeler.found().map(|(item, side)| (item, side == Side::Streamer));
    (found.collect(), peeler.cells())
}

fn difference(streamer: &[u64], receiver: &[u64]) -> BTreeSet<(u64, bool)> {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) =
        (streamer.iter().collect(), receiver.iter().collect());
    let theirs = one.difference(&other).map(|item| (**item, true));
    theirs.chain(other.difference(&one).map(|item| (**item, false))).collect()
}

#[test]
fn cell_by_cell_finds_what_a_batch_finds_for_every_small_difference() {
    let common = items(0..500);
    for count in 0..=200_u64 {
        let half = count / 2;
        let streamer = [&common[..], &items(1_000..1_000 + half)].concat();
        let receiver = [&common[..], &items(2_000..2_000 + count - half)].concat();
        let expected = difference(&streamer, &receiver);
        assert_eq!(expected.len() as u64, count);
        assert_eq!(meet(&streamer, &receiver, 1).0, expected, "{count}, cell by cell");
        assert_eq!(meet(&streamer, &receiver, 512).0, expected, "{count}, at once");
    }
}

#[test]
fn the_number_of_cells_is_as_it_was_measured() {
    let common = items(0..2_000);
    for (count, most) in [(0_u64, 1), (1, 1), (10, 33), (100, 172), (1_000, 1_441)] {
        let mut needed: Vec<usize> = (0..20_u64)
            .map(|round| {
                let at = 10_000 * (round + 1);
                let streamer = [&common[..], &items(at..at + count / 2)].concat();
                let receiver =
                    [&common[..], &items(at + 5_000..at + 5_000 + count - count / 2)].concat();
                meet(&streamer, &receiver, 1).1
            })
            .collect();
        needed.sort_unstable();
        // The 99th percentile of many trials, at the median of some.
        assert!(needed[10] <= most, "{count} differences took {} cells", needed[10]);
    }
}

#[test]
fn the_first_cells_tell_about_how_many_differences_there_are() {
    for (count, more) in [(100_u64, 50), (1_000, 0), (1_000, 400), (10_000, 5_000), (10_000, 0)] {
        // `more` is what one side has beyond half of them.
        let streamer = items(0..count / 2 + more);
        let receiver = items(100_000..100_000 + count / 2 - more);
        let mut theirs = sketch(streamer);
        let mut peeler = Peeler::new(sketch(receiver));
        assert_eq!(peeler.estimate(), 0, "nothing has come");
        for (cells, off) in [(32, 2.5), (400, 1.4)] {
            let from = peeler.cells();
            if peeler.feed(theirs.cells(from, cells)).unwrap() {
                assert_eq!(peeler.estimate() as u64, count, "all of them are known");
                break;
            }
            let estimate = peeler.estimate() as f64 / count as f64;
            assert!((1.0 / off..off).contains(&estimate), "{count}: {estimate} × by {cells} cells");
        }
    }
}

#[test]
fn ten_differences_among_many_items_take_less_than_a_kilobyte() {
    let common = items(0..100_000);
    let streamer = [&common[..], &items(200_000..200_005)].concat();
    let receiver = [&common[..], &items(300_000..300_005)].concat();
    let (found, cells) = meet(&streamer, &receiver, 8);
    assert_eq!(found, difference(&streamer, &receiver));
    assert!(cells * CELL_BYTES <= 1_024, "{cells} cells");
}

#[test]
fn equal_items_are_told_before_they_cancel() {
    assert!(Sketch::of(vec![3, 4, 3]).is_none());
    assert!(Sketch::of(vec![]).is_some_and(|sketch| sketch.is_empty()));
}

#[test]
fn an_item_that_is_put_back_by_its_own_removal_ends_the_conversation() {
    // One cell that says it holds x, and the others of x, which say that they do not.
    for x in items(0..50) {
        let mut lie = vec![Cell::default(); 4_096];
        lie[0].add(x);
        let mut peeler = Peeler::new(sketch(items(100..200)));
        let mut own = sketch(items(100..200));
        for (cell, ours) in lie.iter_mut().zip(own.cells(0, 4_096)) {
            let mut with = *ours;
            std::mem::swap(cell, &mut with);
            if with.pure().is_some() {
                cell.add(x);
            }
        }
        let breach = peeler.feed(&lie).expect_err("it is a lie");
        assert!(matches!(breach, Breach::Twice | Breach::WrongSide), "{breach}");
        assert_eq!(peeler.feed(&[]), Err(breach), "and it stays one");
    }
}

#[test]
fn our_own_item_with_the_wrong_sign_and_a_strangers_as_ours_are_lies() {
    let (own, strange) = (items(0..10), items(50..51)[0]);
    let mut twice = sketch(own.clone()).cells(0, 8).to_vec();
    twice[0].add(own[3]);
    assert_eq!(Peeler::new(sketch(own.clone())).feed(&twice[..1]), Err(Breach::WrongSide));
    let mut without = sketch(own.clone()).cells(0, 8).to_vec();
    without[0].remove(strange);
    assert_eq!(Peeler::new(sketch(own)).feed(&without[..1]), Err(Breach::WrongSide));
}

proptest! {
    #[test]
    fn any_two_sets_find_out_what_they_lack(
        streamer in proptest::collection::btree_set(0_u64..400, 0..200),
        receiver in proptest::collection::btree_set(0_u64..400, 0..200),
        step in 1_usize..64,
    ) {
        let (streamer, receiver): (Vec<u64>, Vec<u64>) =
            (streamer.into_iter().collect(), receiver.into_iter().collect());
        prop_assert_eq!(meet(&streamer, &receiver, step).0, difference(&streamer, &receiver));
    }

    #[test]
    fn garbage_ends_or_is_refused_and_finds_no_more_than_its_cells(
        garbage in proptest::collection::vec(any::<[u8; CELL_BYTES]>(), 0..200),
        small in any::<bool>(),
    ) {
        let cells: Vec<Cell> = garbage.iter().map(|bytes| {
            let mut bytes = *bytes;
            if small {
                // Counts and items that repeat: more of them look pure.
                bytes[1..16].fill(0);
                bytes[17..].fill(0);
            }
            Cell::from_bytes(&bytes)
        }).collect();
        let mut peeler = Peeler::new(sketch(items(0..20)));
        let _ = peeler.feed(&cells);
        prop_assert!(peeler.found().count() <= cells.len());
    }
}
