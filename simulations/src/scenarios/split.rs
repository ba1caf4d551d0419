//! Half of the villages are cut off for a hundred seconds, and publish on.
//!
//! Both halves publish while they are apart. Shows that a minute after the heal all hold the same,
//! resumed by cursors where peers know each other, for at most twice the bytes that are needed.

use super::village::everybody_publishes;
use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::topology;
use crate::workload::Realm;
use crate::world::{Event, World};

/// When the halves lose each other.
const PART_MS: u64 = 20_000;
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
}
