//! A hostile minority: a tenth of the nodes, each in its own way.
//!
//! Some say that they hold everything and never send a half of it; some flood their neighbours with
//! statements of strangers, of unknown realms and with broken signatures; some send bytes that
//! break the protocol, some what they heard long ago, under cursors that are none. A key that may
//! publish signs two contents for one slot, and a root key two successors of its realm, and each
//! copy starts at another node. Shows that honest nodes converge all the same, on both copies with
//! equal views; that they never quarrel among themselves; that strangers change no view; and what
//! it costs.

use super::village::everybody_publishes;
use super::{ROUGH, Scenario};
use crate::faults::Fault;
use crate::peer::Conduct;
use crate::topology::{self, VILLAGE};
use crate::workload::{Realm, Song};
use crate::world::{Event, World};
use crdt::{PublicKey, SecretKey};

/// Publishing goes on for so long.
const PUBLISHING_MS: u64 = 30_000;
/// Tricks of each hostile node.
const ROUNDS: usize = 8;
/// Statements of strangers in one flood: more than a realm keeps.
const STRANGE: u64 = 48;
/// The hostile conducts, dealt in turn.
const CONDUCTS: [Conduct; 4] =
    [Conduct::Withholds, Conduct::Floods, Conduct::Babbles, Conduct::Replays];

pub(super) static HOSTILE: Scenario = Scenario {
    name: "hostile",
    about: "a tenth of the nodes withhold, flood, babble, replay and sign twice",
    nodes: 200,
    faults: &[
        Fault::Loss,
        Fault::Reordering,
        Fault::Duplication,
        Fault::Equivocation,
        Fault::Fork,
        Fault::Withholding,
        Fault::Flood,
        Fault::Junk,
        Fault::Replay,
    ],
    weather: ROUGH,
    publishes: 30,
    settle_ms: 120_000,
    percent_max: 600,
    plan,
};

fn plan(scenario: &Scenario, world: &mut World, realm: &Realm) {
    topology::villages(world, true);
    let hostile = corrupt(world);
    everybody_publishes(scenario.publishes, PUBLISHING_MS, world, realm);
    arm(world, realm);
    equivocate(world, &hostile, realm);
    fork(world, &hostile);
    for node in hostile {
        for round in 0..ROUNDS {
            let at = world.dice().between(1_000, PUBLISHING_MS);
            world.schedule(at, Event::Mischief(node, round));
        }
    }
}

/// Every tenth node, never a gateway: who knows hostile nodes alone cannot know more than they say.
fn corrupt(world: &mut World) -> Vec<usize> {
    let hostile: Vec<usize> = (0..world.peers.len()).filter(|node| node % 10 == 7).collect();
    for (place, node) in hostile.iter().enumerate() {
        debug_assert!(node % VILLAGE != 0, "a gateway must be honest");
        world.peers[*node].conduct = CONDUCTS[place % CONDUCTS.len()];
    }
    hostile
}

/// What the tricks are made of.
fn arm(world: &mut World, realm: &Realm) {
    let stranger = SecretKey::from_seed(&world.dice().bytes());
    let unknown = Realm::found(world.dice(), "nobody's");
    let song = |number: u64| Song {
        version: format!("1.0.{number}"),
        content: "a stranger's".to_owned(),
        claimed: number,
        in_full: false,
    };
    let tricks = &mut world.tricks;
    tricks.strange = (0..STRANGE).map(|n| realm.release(&stranger, n % 7, &song(n))).collect();
    tricks.unknown =
        (0..STRANGE).map(|n| unknown.release(unknown.key(), n % 7, &song(n))).collect();
    let broken = |n: u64| {
        let mut envelope = realm.release(realm.key(), n, &song(n)).envelope().clone();
        envelope.signatures.values_mut().for_each(|signature| signature.0[7] ^= 1);
        envelope
    };
    tricks.broken = (0..4).map(broken).collect();
    let strangers: [PublicKey; 2] = [stranger.public(), unknown.key().public()];
    world.strangers.extend(strangers);
}

/// One slot, two contents: each told by another node. One of them is a slot of an honest release.
fn equivocate(world: &mut World, hostile: &[usize], realm: &Realm) {
    for (package, version) in [(0, "6.6.6"), (0, "1.0.7")] {
        for (copy, content) in ["one", "another"].into_iter().enumerate() {
            let (version, content) = (version.to_owned(), content.to_owned());
            let song = Song { version, content, claimed: 0, in_full: false };
            let release = realm.release(realm.guest(), package, &song);
            if copy > 0 {
                world.planted.insert(release.statement().id(), Fault::Equivocation);
            }
            let node = hostile[copy % hostile.len()];
            world.publish(5_000, node, release);
        }
    }
}

/// A second realm whose root key signs two successors.
fn fork(world: &mut World, hostile: &[usize]) {
    let torn = Realm::found(world.dice(), "torn");
    world.follow(torn.id());
    world.publish(1, hostile[0], torn.genesis.clone());
    let song = |version: &str| Song {
        version: version.to_owned(),
        content: "torn".to_owned(),
        claimed: 0,
        in_full: false,
    };
    world.publish(2, hostile[0], torn.release(torn.key(), 1, &song("0.1.0")));
    for (copy, title) in ["left", "right"].into_iter().enumerate() {
        let successor = torn.successor(world.dice(), title);
        if copy > 0 {
            world.planted.insert(successor.statement().id(), Fault::Fork);
        }
        world.publish(10_000, hostile[copy % hostile.len()], successor);
    }
}
