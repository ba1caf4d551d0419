//! The worlds that can be run, by name.

mod split;
mod village;

use crdt::session::Millis;

use crate::checkers::{self, Broken, Faults};
use crate::dice::Dice;
use crate::workload;
use crate::world::{Event, Report, World};

/// Nodes of one village.
const VILLAGE: usize = 20;

/// A world to run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Transmissions lost, of a thousand.
    pub loss_per_mille: u64,
    /// Releases published.
    pub publishes: u64,
    /// All of them before this time.
    pub publishing_ms: Millis,
    /// From when to when half of the villages are cut off.
    pub partition_ms: Option<(Millis, Millis)>,
    /// When all nodes must hold the same.
    pub deadline_ms: Millis,
    /// Bytes that a node may send, on average.
    pub bytes_per_node_max: u64,
}

/// Every scenario.
pub static ALL: [&Scenario; 2] = [&split::SPLIT, &village::VILLAGES];

/// The scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.into_iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Runs it and checks what must hold.
    pub fn run(&self, nodes: usize, seed: u64) -> (Report, Result<(), Broken>) {
        let nodes = nodes.max(2);
        let mut world = World::new(nodes, Dice::new(seed));
        world.network.loss_per_mille = self.loss_per_mille;
        let (realm, publishes) =
            workload::publishes(world.dice(), nodes, self.publishes, self.publishing_ms);
        world.nodes.iter_mut().for_each(|node| node.follow(realm));
        for (number, publish) in publishes.iter().enumerate() {
            world.schedule(publish.at, Event::Publish(number));
        }
        world.workload = publishes;
        settle_villages(&mut world);
        if let Some((from, to)) = self.partition_ms {
            world.schedule(from, Event::Split);
            world.schedule(to, Event::Heal);
        }
        let report = world.run(self.deadline_ms);
        let faults =
            Faults { loss: self.loss_per_mille > 0, partition: self.partition_ms.is_some() };
        let checked = checkers::check(&report, &world.nodes, faults, self.bytes_per_node_max);
        (report, checked)
    }
}

/// Villages of twenty: everybody knows the gateway and a neighbour; the gateways stand in a ring
/// with one further road each. So the network is connected by construction, and so is each half
/// that a partition leaves.
fn settle_villages(world: &mut World) {
    let nodes = world.nodes.len();
    let gateways: Vec<usize> = (0..nodes).step_by(VILLAGE).collect();
    let mut roads = Vec::new();
    for node in 0..nodes {
        let gateway = node / VILLAGE * VILLAGE;
        if node != gateway {
            roads.push((node, gateway, world.dice().between(2, 8)));
        }
        if node + 1 < nodes && node + 1 < gateway + VILLAGE && node != gateway {
            roads.push((node, node + 1, world.dice().between(2, 8)));
        }
    }
    for (place, gateway) in gateways.iter().enumerate() {
        let next = gateways[(place + 1) % gateways.len()];
        let other = gateways[world.dice().between(0, gateways.len() as u64) as usize];
        for to in [next, other] {
            if to != *gateway {
                roads.push((*gateway, to, world.dice().between(150, 451)));
            }
        }
    }
    let half = if gateways.len() > 1 { gateways[gateways.len() / 2] } else { nodes / 2 };
    for (link, (from, to, latency_ms)) in roads.into_iter().enumerate() {
        world.network.connect(from, to, latency_ms);
        if (from < half) != (to < half) {
            world.across.push(link);
        }
        let at = world.dice().between(0, 1_000);
        world.schedule(at, Event::Dial(link));
    }
}
