//! A lossy day: everything published anywhere reaches everybody.
//!
//! Villages of 20 nodes, a LAN inside, slow roads between, 5 % loss and nothing else; all links are
//! metered, so the streams alone carry it. Shows that they do, how soon, and for how many bytes:
//! at most twice what it takes to send each statement once to each node.

use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::topology;
use crate::workload::{Realm, Season, season};
use crate::world::World;

/// Publishing goes on for so long.
const PUBLISHING_MS: u64 = 20_000;

pub(super) static VILLAGE: Scenario = Scenario {
    name: "village",
    about: "villages on slow roads, 5 % loss: all that is published reaches everybody",
    nodes: 200,
    faults: &[Fault::Loss],
    weather: ROUGH,
    publishes: 20,
    settle_ms: 60_000,
    percent_max: 200,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    topology::villages(world, false);
    everybody_publishes(scenario.publishes, PUBLISHING_MS, world, realm);
}

/// The genesis at once, then the season, by any honest nodes.
pub(super) fn everybody_publishes(count: u64, until: u64, world: &mut World, realm: &Realm) {
    world.follow(realm.id());
    let nodes = 0..world.peers.len();
    let founder = world.honest_of(&nodes);
    world.publish(0, founder, realm.genesis.clone());
    season(world, realm, &Season { count, during: 1..until, nodes, first: 0, in_full: false });
}
