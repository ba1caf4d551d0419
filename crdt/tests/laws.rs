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
/// In so many pools every mistake comes to light, most in the first few.
const POOLS_TO_NOTICE: u64 = 500;

/// Whether the two are the same; else what to print.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}:\n{one:?}\nand\n{other:?}")) }
}

/// The code that is judged: [`derive::realm`], or one with a mistake in it.
type Rules = dyn Fn(&[Verified], RealmId, &AllPins, &Lists) -> RealmView;

/// The view, once it was compared with the model's.
fn seen(
    rules: &Rules,
    set: &[Verified],
    realm: RealmId,
    pins: &AllPins,
    lists: &Lists,
) -> Result<(RealmView, Model), String> {
    let view = rules(set, realm, pins, lists);
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

fn judge(rules: &Rules, pool: &Pool, number: u64) -> Result<Model, String> {
    let mut dice = Dice(number ^ 0x5eed);
    let (realm, pins) = (pool.realms[0], &pool.pins);
    let (view, theirs) = seen(rules, &pool.set, realm, pins, &pool.lists)?;
    keeps_pins(pool, &view)?;
    for _ in 0..ORDERS {
        let other = rules(&pool.delivery(&mut dice), realm, pins, &pool.lists);
        same("one order and another", &view, &other)?;
    }
    let known = rules(&pool.without_strangers(), realm, pins, &pool.lists);
    same("with strangers and without", &format!("{view:?}"), &format!("{known:?}"))?;
    // Late blobs: known at last, in whatever order.
    let all = pool.all_lists();
    let (whole, _) = seen(rules, &pool.set, realm, pins, &all)?;
    let other = rules(&pool.delivery(&mut dice), realm, pins, &all);
    same("one order and another, with late lists", &whole, &other)?;
    // Nodes that held parts, each with its own lists, agree once they hold all.
    for (at, part) in pool.parts(&mut dice).into_iter().enumerate() {
        seen(rules, &part, realm, pins, if at == 0 { &pool.late } else { &pool.lists })?;
        let mut held = part;
        held.extend(pool.delivery(&mut dice));
        same("a part and then all", &rules(&held, realm, pins, &all), &whole)?;
    }
    // A team is a realm like any other.
    seen(rules, &split(&pool.set), pool.realms[1], pins, &pool.lists)?;
    Ok(theirs)
}

/// The pool with as few statements as it takes to fail.
fn smallest(mut pool: Pool, number: u64) -> Pool {
    let mut at = 0;
    while at < pool.set.len() {
        let mut less = pool.clone();
        less.set.remove(at);
        if judge(&derive::realm, &less, number).is_err() {
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
        match judge(&derive::realm, &pool, number) {
            Ok(model) => tally.count(&pool, &model),
            Err(_) => {
                let pool = smallest(pool, number);
                let why = judge(&derive::realm, &pool, number).unwrap_err();
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

/// Whether a mistake is noticed in one of the first pools.
fn is_noticed(rules: &Rules) -> bool {
    (0..POOLS_TO_NOTICE).any(|number| judge(rules, &Pool::of(number), number).is_err())
}

/// The rules on what is left of a set.
fn of_part(
    set: &[Verified],
    realm: RealmId,
    (pins, lists): (&AllPins, &Lists),
    counts: impl Fn(&Verified) -> bool,
) -> RealmView {
    let part: Vec<Verified> = set.iter().filter(|one| counts(one)).cloned().collect();
    derive::realm(&part, realm, pins, lists)
}

#[test]
#[should_panic(expected = "only 0 of 1 pools")]
fn a_case_that_no_pool_comes_to_fails_the_run() {
    run(0..1).assert_at_least(100);
}

#[test]
fn every_law_is_broken_by_rules_with_a_mistake() {
    // One type of statement that has no effect.
    for deaf in ["root", "release", "withdraw", "yank", "unyank", "tag", "revoke", "seal"] {
        let rules = move |set: &[Verified], realm: RealmId, pins: &AllPins, lists: &Lists| {
            of_part(set, realm, (pins, lists), |one| {
                let is_genesis = one.statement().id().0 == realm.0;
                is_genesis || one.statement().kind() != deaf
            })
        };
        assert!(is_noticed(&rules), "a {deaf} without effect");
    }
    // What came last is not seen: the order decides.
    let hasty = |set: &[Verified], realm: RealmId, pins: &AllPins, lists: &Lists| {
        derive::realm(&set[..set.len().saturating_sub(1)], realm, pins, lists)
    };
    assert!(is_noticed(&hasty), "the order decides");
    // A pin moves by itself.
    let loose = |set: &[Verified], realm: RealmId, _: &AllPins, lists: &Lists| {
        derive::realm(set, realm, &AllPins::default(), lists)
    };
    assert!(is_noticed(&loose), "pins are forgotten");
    // A list that has not come is taken for an empty one.
    let guessing = |set: &[Verified], realm: RealmId, pins: &AllPins, lists: &Lists| {
        let missing = derive::realm(set, realm, pins, lists).missing;
        let mut all = lists.clone();
        all.extend(missing.into_iter().map(|digest| (digest, Vec::new())));
        derive::realm(set, realm, pins, &all)
    };
    assert!(is_noticed(&guessing), "a list that lacks is empty");
    // Of several signatures one is enough to be heard, and the others are lost.
    let narrow = |set: &[Verified], realm: RealmId, pins: &AllPins, lists: &Lists| {
        let one_each = |one: &Verified| {
            let mut envelope = one.envelope().clone();
            envelope.signatures = envelope.signatures.into_iter().take(1).collect();
            Verified::from_admitted(envelope)
        };
        let set: Vec<Verified> = set.iter().map(one_each).collect();
        derive::realm(&set, realm, pins, lists)
    };
    assert!(is_noticed(&narrow), "further signatures are lost");
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
