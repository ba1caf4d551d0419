//! Thirty nodes on one LAN that all appear at once.
//!
//! One of them, the teacher's, holds a season's statements; everybody finds everybody and asks for
//! them, then all publish. Gossip goes beside the streams, lost, doubled and overtaking itself.
//! Shows that a crowd neither deadlocks nor quarrels, and what a full mesh costs in bytes.

use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::topology;
use crate::workload::{Realm, Season, season};
use crate::world::World;

/// When the pupils publish: everybody is there.
const LESSON_MS: (u64, u64) = (5_000, 15_000);

pub(super) static CLASSROOM: Scenario = Scenario {
    name: "classroom",
    about: "thirty nodes on a LAN that all appear at once and find one another",
    nodes: 30,
    faults: &[Fault::Loss, Fault::Reordering, Fault::Duplication],
    weather: ROUGH,
    publishes: 30,
    settle_ms: 60_000,
    percent_max: 1_000,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    topology::lan(world, 0..world.peers.len());
    world.follow(realm.id());
    world.publish(0, 0, realm.genesis.clone());
    let (count, nodes) = (scenario.publishes, 0..world.peers.len());
    season(world, realm, &Season { count, during: 0..1, nodes: 0..1, first: 0, in_full: false });
    let during = LESSON_MS.0..LESSON_MS.1;
    season(world, realm, &Season { count, during, nodes, first: count, in_full: false });
}
