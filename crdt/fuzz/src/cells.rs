//! Cells of a sketch that may be lies: no loop, bounded work, and what comes out obeys the rules.

use std::collections::BTreeSet;

use crdt::sketch::{CELL_BYTES, Cell, Peeler, Side, Sketch, mix};

use super::draw::Draw;

/// Items of a set: what costs more than it shows is left out.
const ITEMS_MAX: usize = 300;
/// Cells in all.
const CELLS_MAX: usize = 1024;

/// Two sets and the cells of the one, some of them replaced, fed in pieces to the other.
pub fn cells(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let common = draw.below(ITEMS_MAX);
    let (ours, theirs) = (draw.below(ITEMS_MAX / 2), draw.below(ITEMS_MAX / 2));
    let set = |part: u64, count: usize| (0..count as u64).map(move |n| mix(part << 32 | n));
    let own: BTreeSet<u64> = set(0, common).chain(set(1, ours)).collect();
    let remote: BTreeSet<u64> = set(0, common).chain(set(2, theirs)).collect();
    let sketch = |items: &BTreeSet<u64>| Sketch::of(items.iter().copied().collect());
    let mut streamer = sketch(&remote).expect("distinct items");
    let mut stream = streamer.cells(0, draw.below(CELLS_MAX) + 1).to_vec();
    let lies = usize::from(draw.byte());
    for _ in 0..lies {
        lie(&mut stream, &own, &mut draw);
    }
    let mut peeler = Peeler::new(sketch(&own).expect("distinct items"));
    let done = feed(&mut peeler, &stream, &mut draw);
    is_sound(&peeler, &own);
    if lies == 0 {
        is_right(&peeler, done, &own, &remote);
    }
    done == Some(true)
}

/// Puts one cell that no set has into the stream.
fn lie(stream: &mut [Cell], own: &BTreeSet<u64>, draw: &mut Draw<'_>) {
    let at = draw.below(stream.len());
    let from = draw.below(stream.len());
    stream[at] = match draw.byte() % 6 {
        0 => Cell::from_bytes(&draw.fixed()),
        1 => Cell::default(),
        2 => stream[from],
        3 => only(draw.number(), 1),
        4 => only(own.iter().nth(draw.below(own.len() + 1)).copied().unwrap_or(7), 1),
        _ => only(draw.number(), 0x00ff_ffff),
    };
}

/// A cell with one item and a number of the liar's choice.
fn only(item: u64, count: u32) -> Cell {
    let mut bytes = [0; CELL_BYTES];
    bytes[..8].copy_from_slice(&item.to_le_bytes());
    bytes[8..16].copy_from_slice(&mix(item).to_le_bytes());
    bytes[16..].copy_from_slice(&count.to_le_bytes()[..3]);
    Cell::from_bytes(&bytes)
}

/// `None` once a lie was seen.
fn feed(peeler: &mut Peeler, stream: &[Cell], draw: &mut Draw<'_>) -> Option<bool> {
    let mut from = 0;
    while from < stream.len() {
        let end = (from + usize::from(draw.byte()) + 1).min(stream.len());
        match peeler.feed(&stream[from..end]) {
            Ok(true) => return Some(true),
            Ok(false) => from = end,
            Err(breach) => {
                let again = peeler.feed(&stream[..1]);
                assert_eq!(again, Err(breach), "a liar was believed again");
                return None;
            }
        }
    }
    Some(false)
}

/// Items come out once, on their side, and no more of them than cells.
fn is_sound(peeler: &Peeler, own: &BTreeSet<u64>) {
    let found: Vec<(u64, Side)> = peeler.found().collect();
    assert!(found.len() <= peeler.cells(), "more items than cells");
    let distinct: BTreeSet<u64> = found.iter().map(|(item, _)| *item).collect();
    assert_eq!(distinct.len(), found.len(), "an item twice");
    for (item, side) in found {
        assert_eq!(own.contains(&item), side == Side::Receiver, "an item on the wrong side");
    }
}

/// Honest cells give the difference away, and nothing else.
fn is_right(peeler: &Peeler, done: Option<bool>, own: &BTreeSet<u64>, remote: &BTreeSet<u64>) {
    assert!(done.is_some(), "honest cells were called lies");
    let found: BTreeSet<u64> = peeler.found().map(|(item, _)| item).collect();
    let difference: BTreeSet<u64> = own.symmetric_difference(remote).copied().collect();
    assert!(found.is_subset(&difference), "an item that both have");
    if done == Some(true) {
        assert_eq!(found, difference);
    }
    let enough = difference.len() * 3 + 40;
    assert!(done == Some(true) || peeler.cells() < enough, "honest cells are never enough");
}
