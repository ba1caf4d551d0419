//! Laws over random sets: order, repetition and the way of delivery do not matter, strangers do
//! not matter, and the code says what the reference model says.

use crdt::derive::{self, Pins};
use crdt::realm;
use crdt::statement::{Body, Envelope};
use crdt::{PackageId, SecretKey, StatementId, Verified};
use proptest::prelude::*;

use crate::oracle::{Model, model, project};
use crate::world::{World, content, x};

/// Random bytes that become one event; so a failing set shrinks to few and plain events.
type Dice = [u8; 6];

fn pick<'k>(keys: &[&'k SecretKey], bits: u8) -> Vec<&'k SecretKey> {
    keys.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, key)| *key).collect()
}

/// Builds the set that the dice say on top of a genesis with one of four lists of grants.
fn build(grants: u8, events: &[Dice]) -> (World, Vec<Verified>) {
    let w = World::with(|root| match grants % 4 {
        0 => {}
        1 => root.grants[0].need = 2,
        2 => {
            root.grants[1].exclusive = true;
            root.grants[1].pattern.0 = "x".to_owned();
        }
        _ => root.grants[0].format = "npm".to_owned(),
    });
    let mut set = vec![w.genesis.clone()];
    for dice in events {
        let event = event(&w, &set, *dice);
        set.extend(event);
    }
    (w, set)
}

fn event(w: &World, set: &[Verified], [kind, who, what, at, n, more]: Dice) -> Option<Verified> {
    let of_type = |wanted: &str| -> Vec<&Verified> {
        set.iter().filter(|one| one.statement().kind() == wanted).collect()
    };
    let publishers = pick(&[&w.m, &w.n, &w.z], 1 + who % 7);
    let version = ["1.0", "2.0"][usize::from(what % 2)];
    let releases = of_type("release");
    let release = releases.get(usize::from(at) % releases.len().max(1)).copied();
    let counter = (u64::from(n % 3), [1, 2, 1 << 53, (1 << 53) + 1][usize::from(more % 4)]);
    match kind % 20 {
        0..=4 => {
            let known = of_type("root");
            let prev = known[usize::from(at) % known.len()];
            let all = [&w.a, &w.b, &w.c, &w.d, &w.p];
            let roots = pick(&all[..4], 1 + what % 15);
            let signers = pick(&all, 1 + who % 31);
            Some(w.successor(prev, &signers, |root| {
                root.roots = roots.iter().take(3).map(|key| key.public()).collect();
                root.k = u32::try_from(root.roots.len() / 2 + 1).unwrap();
                root.nonce = [n % 2; 16];
                if more % 4 == 0 {
                    root.grants.pop();
                }
            }))
        }
        5..=12 => {
            let file = ["x.whl", "x.tar.gz"][usize::from(at % 2)];
            Some(w.file(version, file, 1 + n % 2, &publishers))
        }
        13 | 14 => Some(w.withdraw(release?, &publishers)),
        15 => Some(w.yank(release?, counter, &publishers)),
        16 => Some(w.unyank(release?, counter, &publishers)),
        17 | 18 => Some(w.tag("latest", release.filter(|_| what % 5 > 0), counter, &publishers)),
        _ => {
            let body = Body::Withdraw { release: release?.statement().id(), reason: String::new() };
            Some(w.sign(Some(PackageId::new("pypi", "y")), body, &publishers))
        }
    }
}

/// Each statement once for each of its signers, as pairs replicate.
fn split(set: &[Verified]) -> Vec<Verified> {
    let one = |one: &Verified| -> Vec<Verified> {
        let alone = |(key, signature): (&_, &_)| {
            let signatures = [(*key, *signature)].into();
            let statement = one.statement().clone();
            Verified::from_admitted(Envelope { statement, signatures })
        };
        one.signatures().iter().map(alone).collect()
    };
    set.iter().flat_map(one).collect()
}

fn look(w: &World, set: &[Verified], chain_pin: &[StatementId], pins: &Pins) -> (Model, String) {
    let authority = realm::authority(w.realm, set, chain_pin);
    let view = derive::package(&super::world::ground(&authority), &x(), set, pins);
    let text = format!("{authority:?} {view:?}");
    (project(&authority, &view), text)
}

fn pins(dice: u8) -> Pins {
    let slot = |version: &str, file: &str| (version.to_owned(), file.to_owned());
    let all = [
        (slot("1.0", "x.whl"), content(1)),
        (slot("1.0", "x.tar.gz"), content(2)),
        (slot("2.0", "x.whl"), content(3)),
    ];
    all.into_iter().enumerate().filter(|(at, _)| dice >> at & 1 == 1).map(|(_, pin)| pin).collect()
}

prop_compose! {
    fn scenario()(
        grants: u8,
        events in prop::collection::vec(any::<Dice>(), 3..=11),
        pin: u8,
        known in 0..12_usize,
        seed: u64,
    ) -> (u8, Vec<Dice>, u8, usize, u64) {
        (grants, events, pin, known, seed)
    }
}

/// A small generator for shuffles, so that a failing case replays from its seed.
fn shuffled(mut set: Vec<Verified>, mut seed: u64) -> Vec<Verified> {
    for at in (1..set.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        set.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn red_07_any_order_same_view_equal_to_the_model(
        (grants, events, pin, known, seed) in scenario(),
    ) {
        let (w, set) = build(grants, &events);
        let pins = pins(pin);
        // A node may have pinned the chain that it saw when it knew less.
        let chain = realm::authority(w.realm, &set[..known.min(set.len())], &[]).path;
        let (seen, text) = look(&w, &set, &chain, &pins);
        prop_assert_eq!(&seen, &model(w.realm, &set, &chain, &pins));
        for round in 0..4 {
            let mut twice = split(&set);
            twice.extend(set.iter().take(known).cloned());
            let (_, other) = look(&w, &shuffled(twice, seed.wrapping_add(round)), &chain, &pins);
            prop_assert_eq!(&other, &text);
        }
    }

    #[test]
    fn red_07_nodes_that_held_parts_agree_once_they_hold_all(
        (grants, events, pin, _, seed) in scenario(),
    ) {
        let (w, set) = build(grants, &events);
        let (whole, pins) = (split(&set), pins(pin));
        let (_, text) = look(&w, &set, &[], &pins);
        for node in 0..3_u64 {
            let part = |at: &usize| seed.rotate_left(u32::try_from(*at).unwrap()) % 3 != node;
            let mut held: Vec<_> =
                (0..whole.len()).filter(part).map(|at| whole[at].clone()).collect();
            // In parts too, a node says what the model says of that part.
            prop_assert_eq!(look(&w, &held, &[], &pins).0, model(w.realm, &held, &[], &pins));
            held.extend(shuffled(whole.clone(), seed ^ node));
            prop_assert_eq!(&look(&w, &held, &[], &pins).1, &text);
        }
    }

    #[test]
    fn red_01_strangers_change_no_view_byte_for_byte((grants, events, pin, _, _) in scenario()) {
        let (w, set) = build(grants, &events);
        let stranger = w.z.public();
        let known: Vec<_> = split(&set)
            .into_iter()
            .filter(|one| !one.signatures().contains_key(&stranger))
            .collect();
        let pins = pins(pin);
        prop_assert_eq!(look(&w, &set, &[], &pins).1, look(&w, &known, &[], &pins).1);
    }

    #[test]
    fn merging_copies_gives_one_set_of_signatures((grants, events, _, _, seed) in scenario()) {
        let (_, set) = build(grants, &events);
        for whole in &set {
            let parts = shuffled(split(std::slice::from_ref(whole)), seed);
            let mut joined = parts[0].clone();
            for part in &parts[1..] {
                prop_assert!(joined.merge(part));
                prop_assert!(!joined.merge(part));
            }
            prop_assert_eq!(&joined, whole);
        }
    }
}
