//! Two sites without a link, and one node that travels between them.
//!
//! Each site publishes; the courier is with one of them for a minute, on the road for ten seconds,
//! with the other for a minute. Shows that what a node carries is as good as a link: after its
//! second visit both sites hold the same.

use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::network::Road;
use crate::topology;
use crate::workload::{Realm, Season, season};
use crate::world::{Event, World};

/// A visit.
const VISIT_MS: u64 = 60_000;
/// From one visit to the next.
const ROUND_MS: u64 = 70_000;
/// Visits, to one site and the other in turn.
const VISITS: u64 = 4;
/// Publishing goes on for so long: into the second visit.
const PUBLISHING_MS: u64 = 90_000;

pub(super) static COURIER: Scenario = Scenario {
    name: "courier",
    about: "two sites without a link, one node that travels between them",
    nodes: 21,
    faults: &[Fault::Loss, Fault::Partition],
    weather: ROUGH,
    publishes: 30,
    settle_ms: 60_000,
    percent_max: 150,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    let courier = world.peers.len() - 1;
    let half = courier / 2;
    let sites = [0..half, half..courier];
    world.follow(realm.id());
    world.publish(0, 0, realm.genesis.clone());
    for (number, site) in sites.into_iter().enumerate() {
        topology::star(world, site.clone());
        let road = Road { latency_ms: 5, bytes_per_second: 0, gossips: false };
        let link = topology::connect(world, (courier, site.start), road);
        world.groups.push(vec![link]);
        world.network.links[link].parted = u32::from(number > 0);
        let (count, first) = (scenario.publishes, number as u64 * scenario.publishes);
        let during = 1..PUBLISHING_MS;
        season(world, realm, &Season { count, during, nodes: site, first, in_full: false });
    }
    for visit in 1..VISITS {
        let (from, to) = ((visit + 1) % 2, visit % 2);
        let leaves = (visit - 1) * ROUND_MS + VISIT_MS;
        world.schedule(leaves, Event::Part(from as usize));
        world.schedule(visit * ROUND_MS, Event::Join(to as usize));
    }
}
