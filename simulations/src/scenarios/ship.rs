//! Contact once a week, for ten minutes, over a thin line.
//!
//! A ship and its port release two thousand versions each in two weeks, in full length: all
//! checksums, and 600 bytes of metadata. Twice they reach each other for at most ten minutes, at
//! 64 kbit/s, 600 ms there and back, 5 % loss. Shows that ten minutes are enough for a week's
//! releases, that the second contact sends only what came since the first, and that the nodes on
//! either side are fed from there.

use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::network::Road;
use crate::topology;
use crate::workload::{Realm, Season, season};
use crate::world::{Event, World};

const MINUTE_MS: u64 = 60_000;
const WEEK_MS: u64 = 7 * 24 * 60 * MINUTE_MS;
/// How long they hear each other.
const CONTACT_MS: u64 = 10 * MINUTE_MS;
/// The line, each way: 64 kbit/s.
const LINE: Road = Road { latency_ms: 300, bytes_per_second: 8_000, gossips: false };

pub(super) static SHIP: Scenario = Scenario {
    name: "ship",
    about: "contact once a week for ten minutes at 64 kbit/s, 2,000 full releases a side",
    nodes: 4,
    faults: &[Fault::Loss, Fault::Bandwidth, Fault::Partition],
    weather: ROUGH,
    publishes: 2_000,
    settle_ms: CONTACT_MS,
    percent_max: 200,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    let nodes = world.peers.len();
    let half = nodes / 2;
    world.follow(realm.id());
    world.publish(0, 0, realm.genesis.clone());
    for (number, side) in [0..half, half..nodes].into_iter().enumerate() {
        topology::star(world, side.clone());
        let (count, first) = (scenario.publishes, number as u64 * scenario.publishes);
        let during = 1..2 * WEEK_MS - MINUTE_MS;
        season(world, realm, &Season { count, during, nodes: side, first, in_full: true });
    }
    let line = topology::connect(world, (half, 0), LINE);
    world.network.links[line].parted = 1;
    world.groups.push(vec![line]);
    world.schedule(WEEK_MS, Event::Join(0));
    world.schedule(WEEK_MS + CONTACT_MS, Event::Part(0));
    world.schedule(2 * WEEK_MS, Event::Join(0));
}
