//! The worlds that can be run, by name.

mod churn;
mod classroom;
mod clocks;
mod courier;
mod hostile;
mod ship;
mod split;
mod village;

#[cfg(test)]
pub(crate) use split::GUESTS;

use crdt::session::Millis;

use crate::checkers::{self, Broken};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::network::Weather;
use crate::report::Report;
use crate::workload::Realm;
use crate::world::World;

/// 5 % loss; datagrams take up to five times their time, and every tenth comes twice.
const ROUGH: Weather = Weather { loss_per_mille: 50, double_per_mille: 100, jitter_ms: 25 };

/// A world to run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// How many nodes, if nobody says.
    pub nodes: usize,
    /// What must have gone wrong in the end.
    pub faults: &'static [Fault],
    /// Links.
    pub weather: Weather,
    /// Statements published; where there are two sides, by each.
    pub publishes: u64,
    /// How long after the last planned event all nodes must hold the same.
    pub settle_ms: Millis,
    /// Bytes that honest nodes may send, of a hundred that are needed.
    pub percent_max: u64,
    /// Plans the world.
    plan: Plan,
}

/// Sets up links, publishes and faults; the realm is followed by all.
type Plan = fn(&Scenario, &mut World, &Realm);

/// Every scenario.
pub static ALL: [&Scenario; 8] = [
    &village::VILLAGE,
    &classroom::CLASSROOM,
    &courier::COURIER,
    &ship::SHIP,
    &split::SPLIT,
    &churn::CHURN,
    &hostile::HOSTILE,
    &clocks::CLOCKS,
];

/// The scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.into_iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// The same with so many statements.
    #[must_use]
    pub const fn publishing(self, publishes: u64) -> Self {
        Self { publishes, ..self }
    }

    /// The same in other weather.
    #[must_use]
    pub const fn under(self, weather: Weather) -> Self {
        Self { weather, ..self }
    }

    /// The same with so long to settle.
    #[must_use]
    pub const fn settling(self, settle_ms: Millis) -> Self {
        Self { settle_ms, ..self }
    }

    /// Runs it and checks what must hold. `seed` decides all chance.
    pub fn run(&self, nodes: usize, seed: u64) -> (Report, Result<(), Broken>) {
        let mut world = self.set_up(nodes, seed);
        let mut report = self.play(&mut world, seed);
        let checked = checkers::check(&world, &mut report, self.percent_max);
        (report, checked)
    }

    pub(crate) fn set_up(&self, nodes: usize, seed: u64) -> World {
        let mut world = World::new(nodes.max(4), self.weather, Dice::new(seed));
        let realm = Realm::found(world.dice(), "village");
        (self.plan)(self, &mut world, &realm);
        world
    }

    pub(crate) fn play(&self, world: &mut World, seed: u64) -> Report {
        let converged_ms = world.run(self.settle_ms);
        let last = world.last_planned;
        let strangers = |peer: &crate::peer::Peer| {
            peer.index.statements().flat_map(|held| held.items()).count()
                - world.known(&peer.index).count()
        };
        let honest: Vec<_> = world.peers.iter().filter(|peer| peer.is_honest()).collect();
        Report {
            scenario: self.name,
            nodes: world.peers.len(),
            honest: honest.len(),
            seed,
            trace: world.trace().to_hex().to_string(),
            converged_ms,
            settled_ms: converged_ms.map(|at| at.saturating_sub(last)),
            events: world.events,
            items: world.known(&world.expected).count() as u64,
            strangers: honest.iter().map(|peer| strangers(peer) as u64).sum(),
            views: 0,
            traffic: world.network.traffic.clone(),
            needed_bytes: world.needed_bytes(),
            declared: self.faults.to_vec(),
            faults: world.network.fired.clone(),
        }
    }
}
