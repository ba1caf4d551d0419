//! Nodes leave, come back, lose their power and restart from disk.
//!
//! A third of the nodes, gateways among them, go away once and come back; another third lose their
//! power, and with it what their disk had not synced: statements and cursors, while others remember
//! sequences that are given out again. Shows that no published statement is lost, and that the
//! comparison repairs what resuming cannot know.

use super::village::everybody_publishes;
use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::topology;
use crate::workload::Realm;
use crate::world::{Event, World};

/// Publishing goes on for so long.
const PUBLISHING_MS: u64 = 60_000;
/// Nodes are away this long at most.
const AWAY_MS: u64 = 20_000;

pub(super) static CHURN: Scenario = Scenario {
    name: "churn",
    about: "nodes leave and come back, and restart from a disk that lacks the newest",
    nodes: 200,
    faults: &[
        Fault::Loss,
        Fault::Reordering,
        Fault::Duplication,
        Fault::Churn,
        Fault::Crash,
        Fault::LostWrite,
    ],
    weather: ROUGH,
    publishes: 40,
    settle_ms: 120_000,
    percent_max: 400,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    topology::villages(world, true);
    for node in 0..world.peers.len() {
        let phase = world.dice().between(0, u64::from(u32::MAX));
        world.peers[node].keep_a_disk(phase);
        let at = world.dice().between(2_000, PUBLISHING_MS);
        let back = at + world.dice().between(1, AWAY_MS);
        match node % 3 {
            0 => world.schedule(at, Event::Leave(node)),
            1 => world.schedule(at, Event::Crash(node)),
            _ => continue,
        }
        world.schedule(back, Event::Return(node));
    }
    everybody_publishes(scenario.publishes, PUBLISHING_MS, world, realm);
}
