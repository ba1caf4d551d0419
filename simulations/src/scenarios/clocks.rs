//! Clocks at 1970 and at 2099, too slow, too fast, and machines that are suspended.
//!
//! A third of the nodes believe that it is 1970 and run 5 % slow, a third 2099 and 5 % fast; some
//! are asleep for an hour in the middle of a conversation. Their conversations are timed and their
//! releases dated by these clocks. Shows that no set and no view depends on any of it.

use super::village::everybody_publishes;
use super::{ROUGH, Scenario};
use crate::clock::Clock;
use crate::faults::Fault;
use crate::topology;
use crate::workload::Realm;
use crate::world::{Event, World};

/// Publishing goes on for so long.
const PUBLISHING_MS: u64 = 40_000;
/// A machine that is suspended is away for an hour of its own time.
const SLEEP_MS: u64 = 60 * 60_000;
/// Seconds from 1970 to 2099.
const IN_2099: u64 = 4_070_908_800;

pub(super) static CLOCKS: Scenario = Scenario {
    name: "clocks",
    about: "clocks at 1970 and 2099, slow and fast, and machines that slept",
    nodes: 200,
    faults: &[Fault::Loss, Fault::Reordering, Fault::Duplication, Fault::WrongClock],
    weather: ROUGH,
    publishes: 30,
    settle_ms: 60_000,
    percent_max: 300,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    topology::villages(world, true);
    for node in 0..world.peers.len() {
        world.peers[node].clock = match node % 3 {
            0 => Clock::wrong(0, 950),
            1 => Clock::wrong(IN_2099, 1050),
            _ => Clock::default(),
        };
        if node % 5 == 0 {
            let at = world.dice().between(2_000, PUBLISHING_MS);
            world.schedule(at, Event::Sleep(node, SLEEP_MS));
        }
    }
    everybody_publishes(scenario.publishes, PUBLISHING_MS, world, realm);
}
