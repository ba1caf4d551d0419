//! The functions of the fuzz targets under random changes of their seeds, for machines without a
//! nightly compiler. How to run them for hours: docs/reference/testing.md.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::bodies::{TARGETS, seeds};

/// One change of an input: what, where, with which byte.
type Edit = (u8, prop::sample::Index, u8);

fn edited(mut input: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for (what, place, byte) in edits {
        let place = place.index(input.len() + 1);
        match what % 6 {
            0 => input.insert(place, *byte),
            1 => input.truncate(place),
            2 if place < input.len() => drop(input.remove(place)),
            3 if place < input.len() => input[place] ^= 1 << (byte % 8),
            4 => {
                let rest = input[place..].to_vec();
                input.extend(rest.iter().take(usize::from(*byte)));
            }
            _ if place < input.len() => input[place] = *byte,
            _ => {}
        }
    }
    input
}

/// Every seed, and so many changed ones; enough of both get past the decoder to show something.
fn holds(target: &str, count: u32) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let (_, seeds) = seeds::all().into_iter().find(|(name, _)| *name == target).unwrap();
    let accepted = seeds.iter().filter(|seed| body(seed)).count();
    assert!(accepted * 2 >= seeds.len(), "{accepted} of {} seeds are accepted", seeds.len());
    let accepted = Cell::new(0_u32);
    let changes = prop::collection::vec(any::<Edit>(), 0..4);
    let inputs = (any::<prop::sample::Index>(), changes);
    let ran = TestRunner::new(crate::network::cases(count)).run(&inputs, |(seed, edits)| {
        let input = edited(seeds[seed.index(seeds.len())].clone(), &edits);
        accepted.set(accepted.get() + u32::from(body(&input)));
        Ok(())
    });
    ran.unwrap();
    assert!(accepted.get() * 50 > count, "only {} of {count} got past the decoder", accepted.get());
}

#[test]
fn statements_are_canonical_or_refused() {
    holds("statement", 400);
}

#[test]
fn envelopes_are_canonical_or_refused() {
    holds("envelope", 400);
}

#[test]
fn batches_are_bounded_and_canonical_or_refused() {
    holds("batch", 300);
}

#[test]
fn frames_are_read_as_they_are_in_any_pieces() {
    holds("frames", 500);
}

#[test]
fn cells_that_may_be_lies_end_in_bounded_work() {
    holds("cells", 150);
}

#[test]
fn a_conversation_with_a_liar_stays_bounded_and_leaves_no_mark() {
    holds("session", 60);
}

#[test]
fn documents_are_one_function_of_their_statements_and_load_again() {
    holds("document", 60);
}
