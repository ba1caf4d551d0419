//! Who is connected with whom: villages with gateways, networks of a site, stars.
//!
//! Every world is connected by construction, and so is what each partition leaves. Each answers the
//! links that it made; dialling is planned by it too.

use std::ops::Range;

use crdt::session::Millis;

use crate::network::Road;
use crate::world::{Event, World};

/// Nodes of one village.
pub(crate) const VILLAGE: usize = 20;
/// Neighbours that a node of a LAN connects with at most.
const NEIGHBOURS_MAX: usize = 64;
/// A node dials within this time after it appeared.
const DIAL_MS: Millis = 1_000;

/// Villages of twenty: everybody knows the gateway and a neighbour; the gateways stand in a ring
/// with one further road each. Answers the links between the first half of the villages and the
/// second.
pub(crate) fn villages(world: &mut World, gossips: bool) -> Vec<usize> {
    let nodes = world.peers.len();
    let gateways: Vec<usize> = (0..nodes).step_by(VILLAGE).collect();
    let mut roads = Vec::new();
    for node in 0..nodes {
        let gateway = node / VILLAGE * VILLAGE;
        if node != gateway {
            roads.push((node, gateway, world.dice().between(2, 8), gossips));
        }
        if node + 1 < nodes && node + 1 < gateway + VILLAGE && node != gateway {
            roads.push((node, node + 1, world.dice().between(2, 8), gossips));
        }
    }
    for (place, gateway) in gateways.iter().enumerate() {
        let next = gateways[(place + 1) % gateways.len()];
        let other = gateways[world.dice().between(0, gateways.len() as u64) as usize];
        for to in [next, other] {
            if to != *gateway {
                roads.push((*gateway, to, world.dice().between(150, 451), false));
            }
        }
    }
    let half = if gateways.len() > 1 { gateways[gateways.len() / 2] } else { nodes / 2 };
    let mut across = Vec::new();
    for (from, to, latency_ms, gossips) in roads {
        let link = connect(world, (from, to), Road { latency_ms, bytes_per_second: 0, gossips });
        if (from < half) != (to < half) {
            across.push(link);
        }
    }
    across
}

/// A LAN: everybody finds everybody, up to a number.
pub(crate) fn lan(world: &mut World, nodes: Range<usize>) -> Vec<usize> {
    let mut links = Vec::new();
    for from in nodes.clone() {
        for to in from + 1..nodes.end.min(from + 1 + NEIGHBOURS_MAX / 2) {
            let latency_ms = world.dice().between(1, 4);
            let road = Road { latency_ms, bytes_per_second: 0, gossips: true };
            links.push(connect(world, (from, to), road));
        }
    }
    links
}

/// A site: everybody knows its first node.
pub(crate) fn star(world: &mut World, nodes: Range<usize>) {
    for node in nodes.clone().skip(1) {
        let latency_ms = world.dice().between(2, 8);
        let road = Road { latency_ms, bytes_per_second: 0, gossips: false };
        connect(world, (node, nodes.start), road);
    }
}

/// One link, dialled soon.
pub(crate) fn connect(world: &mut World, (from, to): (usize, usize), road: Road) -> usize {
    let link = world.network.connect(from, to, road);
    let at = world.dice().between(0, DIAL_MS);
    world.schedule(at, Event::Dial(link));
    link
}
