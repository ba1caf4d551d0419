//! What the rules cost: a whole realm, one more statement in it, one large package.
//!
//! A realm is derived package by package, as a store does it; its statements are made in stretches,
//! so that a million do not lie in memory at once. One more statement derives its package alone.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use crdt::derive::Ground;
use crdt::realm::{Realms, Revoked, authority, publishers};
use crdt::{Authority, PackageView, Pins, Verified};

use crate::figures::{Options, Report, median, timed};
use crate::made::{RELEASES, Realm, package};

/// Packages of which the statements lie in memory at once.
const STRETCH: u64 = 2_000;
/// How often one more statement is derived.
const MORE: u64 = 101;

/// Whole realms, and one more statement in each; then packages.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let realm = Realm::new(1);
    let rules = Rules::of(&realm);
    let sizes: &[u64] =
        options.size(&[10][..], &[10, 10_000, 100_000], &[10, 10_000, 100_000, 1_000_000]);
    for statements in sizes {
        whole(&realm, &rules, *statements, report);
    }
    let sizes: &[u64] = options.size(&[5][..], &[5, 100, 1_000], &[5, 100, 1_000, 10_000]);
    for releases in sizes {
        let held: Vec<Verified> = (0..*releases).map(|number| realm.filler(1, number)).collect();
        let rounds = options.size(1, 11, 11);
        let each = || timed(|| black_box(rules.derive(1, &held))).0;
        let taken = median((0..rounds).map(|_| each()).collect());
        let name = format!("derive: one package of {releases} releases");
        report.line(&name, (taken * 1e6, "CPU-µs"), &[]);
    }
}

fn whole(realm: &Realm, rules: &Rules, statements: u64, report: &mut Report) {
    let packages = statements / RELEASES;
    let mut taken = 0.0;
    let mut more = Vec::new();
    for first in (0..packages).step_by(STRETCH as usize) {
        let stretch: Vec<(u64, Vec<Verified>)> = (first..packages.min(first + STRETCH))
            .map(|number| (number, (0..RELEASES).map(|n| realm.filler(number, n)).collect()))
            .collect();
        let all = || {
            for (number, held) in &stretch {
                black_box(rules.derive(*number, held));
            }
        };
        taken += timed(all).0;
        if first + STRETCH >= packages {
            more = stretch;
        }
    }
    let name = format!("derive: a realm of {statements} statements");
    report.line(&name, (taken * 1e3, "CPU-ms"), &[]);
    let each = taken / statements as f64 * 1e6;
    report.line(&format!("{name}, each statement"), (each, "CPU-µs"), &[]);
    let name = format!("derive: one more statement among {statements}");
    let one = (0..MORE).map(|round| {
        let at = (round * 7 % more.len() as u64) as usize;
        let (number, held) = &mut more[at];
        held.push(realm.filler(*number, RELEASES + round));
        let taken = timed(|| black_box(rules.derive(*number, held))).0;
        held.pop();
        taken
    });
    report.line(&name, (median(one.collect()) * 1e6, "CPU-µs"), &[]);
}

/// What a store looks up for each package.
struct Rules {
    authority: Authority,
    realms: Realms,
}

impl Rules {
    fn of(realm: &Realm) -> Self {
        let authority = authority(realm.id, [&realm.genesis], &[]);
        let seen = crdt::realm::Realm { authority: authority.clone(), revoked: Revoked::new() };
        let realms = BTreeMap::from([(realm.id, Arc::new(seen))]);
        Self { authority, realms }
    }

    /// As the store does it: with the publishers of the name, and what is sealed of the package.
    fn derive(&self, number: u64, held: &[Verified]) -> PackageView {
        let name = package(number);
        let publishers = publishers(&self.realms, &self.authority.realm, &name);
        let ground = Ground { authority: &self.authority, publishers, firm: BTreeSet::new() };
        crdt::derive::package(&ground, &name, held, &Pins::new())
    }
}
