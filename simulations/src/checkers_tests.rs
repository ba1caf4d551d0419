//! Each checker bites: a world in which it must fail does.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::{Envelope, Verified};

use super::*;
use crate::peer::Conduct;
use crate::scenarios::{self, GUESTS, Scenario};
use crate::world::Event;

fn played(name: &str, nodes: usize, spoil: impl FnOnce(&mut World)) -> (World, Report) {
    let scenario = scenarios::find(name).unwrap();
    let mut world = scenario.set_up(nodes, 3);
    spoil(&mut world);
    let report = scenario.play(&mut world, 3);
    (world, report)
}

fn checked(world: &World, report: &mut Report) -> Result<(), Broken> {
    check(world, report, u64::MAX)
}

#[test]
fn a_node_that_drops_statements_fails_the_run() {
    let (world, mut report) = played("village", 20, |world| {
        world.peers[4].conduct = Conduct::Drops;
    });
    assert_eq!(report.converged_ms, None);
    assert_eq!(checked(&world, &mut report), Err(Broken::NotConverged { behind: 1 }));
    let lost = nothing_lost(&world);
    assert!(matches!(lost, Err(Broken::Lost { node: 4, .. })), "{lost:?}");
}

#[test]
fn a_fault_without_a_chance_fails_the_run() {
    let calm = scenarios::find("village").unwrap().under(crate::Weather::default());
    assert_eq!(calm.run(20, 1).1, Err(Broken::Idle(Fault::Loss)));
    for (name, fault) in [("churn", Fault::Reordering), ("hostile", Fault::Duplication)] {
        let calm = scenarios::find(name).unwrap();
        let lossy = crate::Weather { loss_per_mille: 50, ..crate::Weather::default() };
        let (report, checked) = calm.under(lossy).run(40, 1);
        assert_eq!(report.faults.count(fault), 0);
        assert!(matches!(checked, Err(Broken::Idle(_))), "{name}: {checked:?}");
    }
}

#[test]
fn every_fault_that_a_scenario_declares_can_fail_it() {
    let (_, report) = played("hostile", 40, |_| ());
    assert!(report.declared.len() >= 9);
    for fault in &report.declared {
        assert_eq!(fired(&[*fault], &Fired::default()), Err(Broken::Idle(*fault)));
        assert_eq!(fired(&[*fault], &report.faults), Ok(()), "{fault}");
    }
}

#[test]
fn a_breach_of_the_protocol_between_honest_nodes_fails_the_run() {
    // Frames that are none, that are too long, and lists that nobody asked for.
    for trick in [0, 1, 2, 5] {
        let (world, mut report) = played("village", 20, |world| {
            world.peers[4].conduct = Conduct::Stumbles;
            world.schedule(4_000, Event::Mischief(4, trick));
        });
        assert!(report.converged_ms.is_some(), "they dial again, and all is well: {report}");
        let links = world.network.at[4].len() as u64;
        let ended = report.traffic.quarrels;
        assert!((1..=links).contains(&ended), "trick {trick}: {ended} of {links} links");
        assert_eq!(checked(&world, &mut report), Err(Broken::Quarrels(ended)), "trick {trick}");
    }
    // From a node that is known to be hostile it is no quarrel.
    let (world, mut report) = played("village", 20, |world| {
        world.peers[4].conduct = Conduct::Babbles;
        world.schedule(4_000, Event::Mischief(4, 1));
    });
    assert!(report.traffic.closed > 0, "{report}");
    assert_eq!(report.traffic.quarrels, 0);
    assert_eq!(checked(&world, &mut report), Ok(()));
}

#[test]
fn a_partition_that_heals_too_late_is_noticed() {
    let hasty = scenarios::find("split").unwrap().settling(100);
    let checked = hasty.run(40, 1).1;
    assert!(matches!(checked, Err(Broken::NotConverged { .. })), "{checked:?}");
}

#[test]
fn more_bytes_than_the_budget_fail_the_run() {
    let mut tight: Scenario = *scenarios::find("village").unwrap();
    tight.percent_max = 50;
    let checked = tight.run(20, 1).1;
    assert!(matches!(checked, Err(Broken::Bytes { limit: 50, .. })), "{checked:?}");
}

#[test]
fn a_statement_of_a_key_without_authority_would_be_noticed_in_a_view() {
    let (world, _) = played("hostile", 40, |_| ());
    assert_eq!(nothing_unauthorised(&world, &world.strangers), Ok(()));
    // Were the publishers strangers, the views would be made of strangers' statements.
    let all = world.publishes.iter().flat_map(|publish| publish.statement.signatures().keys());
    let unknown = nothing_unauthorised(&world, &all.copied().collect());
    assert!(matches!(unknown, Err(Broken::Unauthorised { .. })), "{unknown:?}");
}

#[test]
fn a_signature_that_is_not_its_keys_own_is_noticed() {
    let (mut world, mut report) = played("village", 20, |_| ());
    assert_eq!(checked(&world, &mut report), Ok(()));
    let mut forged: Envelope = world.publishes[0].statement.envelope().clone();
    forged.signatures.values_mut().for_each(|signature| signature.0[3] ^= 1);
    let index = &mut world.peers[7].index;
    let restored = index.restored(1);
    *index = MemoryIndex::new(1);
    world.realms.iter().for_each(|realm| index.follow(*realm));
    index.admit(Verified::from_admitted(forged));
    let forged = world.publishes[0].statement.statement().id();
    let others = restored.statements().filter(|held| held.statement().id() != forged);
    others.for_each(|held| drop(index.admit(Arc::clone(held))));
    assert_eq!(signed(&world), Err(Broken::Unsigned { node: 7 }));
}

#[test]
fn other_views_of_a_package_are_noticed() {
    let (mut world, _) = played("village", 20, |_| ());
    assert!(views(&world).is_ok_and(|count| count > 20));
    let realm = world.realms[0];
    let index = &mut world.peers[5].index;
    *index = MemoryIndex::new(9);
    index.follow(realm);
    let seen = views(&world);
    assert!(matches!(seen, Err(Broken::Views { node: 5 })), "{seen:?}");
}

#[test]
fn strangers_have_little_room_and_known_keys_all_of_it() {
    let (world, report) = played("hostile", 40, |_| ());
    let most = crate::standing::STRANGER_ITEMS_MAX;
    for (node, index) in honest(&world) {
        let all: BTreeSet<Item> = index.statements().flat_map(|held| held.items()).collect();
        let strange = all.iter().filter(|item| world.strangers.contains(&item.key)).count() as u64;
        assert!(strange <= most, "node {node} holds {strange} pairs of strangers");
    }
    assert!(report.strangers > 0, "nobody was flooded: {report}");
    let mut without = report;
    without.strangers = 0;
    assert_eq!(checked(&world, &mut without), Err(Broken::NoStrangers));
}

#[test]
fn many_nodes_share_one_copy_of_a_statement() {
    let (world, _) = played("village", 20, |_| ());
    let copies: BTreeSet<_> =
        honest(&world).flat_map(|(_, index)| index.statements().map(Arc::as_ptr)).collect();
    let held: usize = honest(&world).map(|(_, index)| index.statements().count()).sum();
    // A publisher's own copy and the one that was read from a frame.
    assert!(copies.len() * 5 < held, "{} copies of {held}", copies.len());
}

#[test]
fn who_is_cut_off_from_honest_nodes_is_noticed() {
    let (world, mut report) = played("village", 20, |world| {
        // All links of one node are parted, and nobody joins them.
        for (link, _) in world.network.at[11].clone() {
            world.network.links[link].parted = 1;
        }
    });
    // The node publishes, too: nobody else ever holds that.
    assert_eq!(checked(&world, &mut report), Err(Broken::NotConverged { behind: 20 }));
}

#[test]
fn a_revocation_and_a_seal_in_one_half_rule_in_both_after_the_heal() {
    let (world, mut report) = played("split", 40, |_| ());
    assert_eq!(checked(&world, &mut report), Ok(()));
    let realm = world.realms[0];
    for (node, index) in honest(&world) {
        let seen = view(index, realm, |_| true);
        let guest = &seen.packages[&crate::workload::package_id(GUESTS)];
        let standing: Vec<&str> = guest.versions.keys().map(String::as_str).collect();
        let fallen: Vec<&str> = guest.fallen.keys().map(String::as_str).collect();
        assert_eq!(standing, ["1.0.0", "2.0.0"], "kept and sealed, on node {node}");
        assert_eq!(fallen, ["3.0.0", "4.0.0"], "revoked, on node {node}");
    }
}
