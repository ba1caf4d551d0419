//! Half of the villages are cut off for a hundred seconds, and publish on.
//!
//! Both halves publish while they are apart; in one of them a guest's key is revoked, while the
//! guest publishes on in the other. Shows that a minute after the heal all hold the same, resumed
//! by cursors where peers know each other, for at most twice the bytes that are needed; and that
//! the revocation and a seal rule in both halves then.

use super::village::everybody_publishes;
use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::topology;
use crate::workload::{Realm, Song};
use crate::world::{Event, World};

/// When the halves lose each other.
const PART_MS: u64 = 20_000;
/// The number of the guest's package.
pub(crate) const GUESTS: u64 = 99;
/// Publishing goes on for so long.
const PUBLISHING_MS: u64 = 110_000;
/// When they meet again.
const HEAL_MS: u64 = 120_000;

pub(super) static SPLIT: Scenario = Scenario {
    name: "split",
    about: "half of the villages are cut off, publish on and come back",
    nodes: 200,
    faults: &[Fault::Loss, Fault::Partition],
    weather: ROUGH,
    publishes: 40,
    settle_ms: 60_000,
    percent_max: 200,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    let across = topology::villages(world, false);
    world.groups.push(across);
    world.schedule(PART_MS, Event::Part(0));
    world.schedule(HEAL_MS, Event::Join(0));
    everybody_publishes(scenario.publishes, PUBLISHING_MS, world, realm);
    the_guest_leaves(world, realm);
}

/// Of the guest's releases one is kept, one sealed, one neither, and one comes after.
fn the_guest_leaves(world: &mut World, realm: &Realm) {
    let last = world.peers.len() - 1;
    let release = |version: &str| {
        let (version, content) = (version.to_owned(), "a guest's".to_owned());
        let song = Song { version, content, claimed: 0, in_full: false };
        realm.release(realm.guest(), GUESTS, &song)
    };
    let before = ["1.0.0", "2.0.0", "3.0.0"].map(release);
    let [kept, sealed] = [0, 1].map(|place: usize| before[place].statement().id());
    for release in before {
        world.publish(PART_MS / 2, last, release);
    }
    world.publish(2 * PART_MS, 0, realm.revocation(kept));
    world.publish(2 * PART_MS, 0, realm.seal(sealed));
    world.publish(3 * PART_MS, last, release("4.0.0"));
}
