//! Laws over random pools: order, repetition and the way of delivery do not matter, strangers do
//! not matter, and the code says what the reference model says.
//!
//! 500 pools here; ten thousand with
//! `GRIOT_POOLS=10000 cargo test -p griot-crdt red_07_five_hundred -- --nocapture`.
//! A failing pool is named by its number and cut down to the statements that it takes.
//!
//! Source: trust.md section 6; red-team.md 1 and 7.

use std::collections::BTreeMap;

use crdt::derive::{self, AllPins, RealmView};
use crdt::realm::Lists;
use crdt::{RealmId, Verified};

use crate::oracle::{Given, Model, model, project};
use crate::pool::{Dice, Pool, split};
use crate::tally::Tally;

/// How many orders a pool is delivered in.
const ORDERS: usize = 6;

/// Whether the two are the same; else what to print.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}:\n{one:?}\nand\n{other:?}")) }
}

/// The view, once it was compared with the model's.
fn seen(
    set: &[Verified],
    realm: RealmId,
    pins: &AllPins,
    lists: &Lists,
) -> Result<(RealmView, Model), String> {
    let view = derive::realm(set, realm, pins, lists);
    let theirs = model(&Given::gather(set, pins, lists), realm);
    same("the code and the model", &project(&view), &theirs)?;
    Ok((view, theirs))
}

/// A chain that was accepted is never left, and content that was pinned is what is served.
fn keeps_pins(pool: &Pool, view: &RealmView) -> Result<(), String> {
    let path = &view.authority.path;
    let chain = pool.pins.chains.get(&view.authority.realm).cloned().unwrap_or_default();
    if !chain.is_empty() && path.get(..chain.len()) != Some(&chain[..]) {
        return Err(format!("{path:?} leaves the pinned {chain:?}"));
    }
    let pins = pool.pins.contents.iter().filter(|_| !path.is_empty());
    for (package, slots) in pins {
        for ((version, file), pin) in slots {
            let slot = &view.packages[package].versions[version].files[file];
            same("what is served and the pin", &slot.serves, &Some(pin.clone()))?;
        }
    }
    Ok(())
}

fn judge(pool: &Pool, number: u64) -> Result<Model, String> {
    let mut dice = Dice(number ^ 0x5eed);
    let (realm, pins) = (pool.realms[0], &pool.pins);
    let (view, theirs) = seen(&pool.set, realm, pins, &pool.lists)?;
    keeps_pins(pool, &view)?;
    for _ in 0..ORDERS {
        let other = derive::realm(&pool.delivery(&mut dice), realm, pins, &pool.lists);
        same("one order and another", &view, &other)?;
    }
    let known = derive::realm(&pool.without_strangers(), realm, pins, &pool.lists);
    same("with strangers and without", &format!("{view:?}"), &format!("{known:?}"))?;
    // Late blobs: known at last, in whatever order.
    let all = pool.all_lists();
    let (whole, _) = seen(&pool.set, realm, pins, &all)?;
    let other = derive::realm(&pool.delivery(&mut dice), realm, pins, &all);
    same("one order and another, with late lists", &whole, &other)?;
    // Nodes that held parts, each with its own lists, agree once they hold all.
    for (at, part) in pool.parts(&mut dice).into_iter().enumerate() {
        seen(&part, realm, pins, if at == 0 { &pool.late } else { &pool.lists })?;
        let mut held = part;
        held.extend(pool.delivery(&mut dice));
        same("a part and then all", &derive::realm(&held, realm, pins, &all), &whole)?;
    }
    // A team is a realm like any other.
    seen(&split(&pool.set), pool.realms[1], pins, &pool.lists)?;
    Ok(theirs)
}

/// The pool with as few statements as it takes to fail.
fn smallest(mut pool: Pool, number: u64) -> Pool {
    let mut at = 0;
    while at < pool.set.len() {
        let mut less = pool.clone();
        less.set.remove(at);
        if judge(&less, number).is_err() {
            (pool, at) = (less, 0);
        } else {
            at += 1;
        }
    }
    pool
}

fn run(numbers: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let pool = Pool::of(number);
        match judge(&pool, number) {
            Ok(model) => tally.count(&pool, &model),
            Err(_) => {
                let pool = smallest(pool, number);
                let why = judge(&pool, number).unwrap_err();
                panic!("pool {number}\n{}\n{why}", pool.text());
            }
        }
    }
    tally
}

#[test]
fn red_07_five_hundred_pools_agree_in_any_order_and_with_the_model() {
    #[expect(clippy::disallowed_methods, reason = "how long to run is said from outside")]
    let more = std::env::var("GRIOT_POOLS").ok().and_then(|pools| pools.parse().ok());
    let tally = run(0..more.unwrap_or(500).max(500));
    println!("{tally}");
    tally.assert_at_least(100);
}

#[test]
fn merging_copies_gives_one_set_of_signatures() {
    for number in 0..100 {
        let mut dice = Dice(number);
        for whole in &Pool::of(number).set {
            let mut parts = split(std::slice::from_ref(whole));
            dice.shuffle(&mut parts);
            let mut joined = parts[0].clone();
            for part in &parts[1..] {
                assert!(joined.merge(part), "pool {number}");
                assert!(!joined.merge(part), "pool {number}");
            }
            assert_eq!(&joined, whole, "pool {number}");
        }
    }
}

#[test]
fn a_pool_is_known_by_its_number() {
    let text = |number| Pool::of(number).text();
    assert_eq!(text(7), text(7));
    let distinct: BTreeMap<_, _> = (0..50).map(|number| (text(number), number)).collect();
    assert_eq!(distinct.len(), 50);
}
