//! The chain of root epochs and the grants of its head.

use crdt::realm::{ChainStatus, Claim};
use crdt::statement::{Grantee, Pattern};
use crdt::{Statement, Verified};

use crate::world::{World, grant, keys, publish};

#[test]
fn a_realm_without_its_genesis_is_unknown() {
    let w = World::new();
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    let authority = w.authority(&[&next]);
    assert_eq!((authority.status, authority.head), (ChainStatus::Unknown, None));
}

#[test]
fn a_genesis_with_one_of_three_signatures_is_invalid() {
    let w = World::new();
    let alone = Verified::sign(w.genesis.statement().clone(), &[&w.a]);
    assert_eq!(w.authority(&[&alone]).status, ChainStatus::Invalid);
    let other = Verified::sign(w.genesis.statement().clone(), &[&w.c]);
    assert_eq!(w.authority(&[&alone, &other]).status, ChainStatus::Ok, "two copies, two keys");
}

#[test]
fn a_genesis_whose_k_is_no_majority_is_invalid() {
    let w = World::with(|root| root.k = 1);
    assert_eq!(w.authority(&[&w.genesis]).status, ChainStatus::Invalid);
    let w = World::with(|root| root.k = 4);
    assert_eq!(w.authority(&[&w.genesis]).status, ChainStatus::Invalid);
}

#[test]
fn a_majority_of_old_and_new_roots_advances_the_epoch() {
    let w = World::new();
    let new = [&w.b, &w.c, &w.d];
    let next = w.successor(&w.genesis, &[&w.b, &w.c], |root| {
        root.roots = new.map(|key| key.public()).to_vec();
    });
    let authority = w.authority(&[&next, &w.genesis, &next]);
    assert_eq!((authority.status, authority.epoch()), (ChainStatus::Ok, 1));
    assert_eq!(authority.path, [w.genesis.statement().id(), next.statement().id()]);
}

#[test]
fn one_root_alone_drops_nobody() {
    let w = World::new();
    let next = w.successor(&w.genesis, &[&w.a], |root| {
        (root.roots, root.k) = (vec![w.a.public()], 1);
    });
    let authority = w.authority(&[&w.genesis, &next]);
    assert_eq!((authority.status, authority.epoch()), (ChainStatus::Ok, 0));
}

fn rivals(w: &World) -> (Verified, Verified) {
    let without_c = w.successor(&w.genesis, &[&w.a, &w.b], |root| {
        root.roots = vec![w.a.public(), w.b.public()];
    });
    let without_a = w.successor(&w.genesis, &[&w.b, &w.c], |root| {
        root.roots = vec![w.b.public(), w.c.public()];
    });
    (without_c, without_a)
}

#[test]
fn mutual_removal_forks_and_names_who_signed_both() {
    let w = World::new();
    let (one, two) = rivals(&w);
    let authority = w.authority(&[&two, &w.genesis, &one]);
    assert_eq!((authority.status, authority.epoch()), (ChainStatus::Forked, 0));
    assert_eq!(authority.double_signers, keys(&[&w.b]));
    assert_eq!(authority.evidence.len(), 2);
}

#[test]
fn a_pinned_node_stays_on_its_branch_of_a_fork() {
    let w = World::new();
    let (one, two) = rivals(&w);
    let pin = [w.genesis.statement().id(), one.statement().id()];
    let authority = w.pinned_authority(&[&w.genesis, &two, &one], &pin);
    assert_eq!((authority.status, authority.epoch()), (ChainStatus::ForkPinned, 1));
    assert_eq!(authority.path, pin);
    assert_eq!(authority.double_signers, keys(&[&w.b]), "the fork is shown all the same");
}

#[test]
fn a_recovery_outranks_for_newcomers_and_waits_on_pinned_nodes() {
    let w = World::new();
    let ordinary = w.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    let rescue = w.successor(&w.genesis, &[&w.p, &w.d], |root| {
        (root.roots, root.k) = (vec![w.d.public()], 1);
    });
    let set = [&w.genesis, &ordinary, &rescue];
    let newcomer = w.authority(&set);
    assert_eq!((newcomer.status, newcomer.epoch()), (ChainStatus::Ok, 1));
    assert_eq!(newcomer.path[1], rescue.statement().id());

    let pin = [w.genesis.statement().id()];
    let pinned = w.pinned_authority(&set, &pin);
    assert_eq!((pinned.status, pinned.epoch()), (ChainStatus::RecoverPending, 0));
    assert_eq!(pinned.evidence, [rescue.statement().id()]);

    let pin = [w.genesis.statement().id(), ordinary.statement().id()];
    let stays = w.pinned_authority(&set, &pin);
    assert_eq!((stays.status, stays.path.as_slice()), (ChainStatus::RecoverPending, &pin[..]));

    let accepted = [w.genesis.statement().id(), rescue.statement().id()];
    let authority = w.pinned_authority(&set, &accepted);
    assert_eq!((authority.status, authority.path.as_slice()), (ChainStatus::Ok, &accepted[..]));
}

#[test]
fn a_recovery_without_its_own_new_roots_is_no_recovery() {
    let w = World::new();
    let rescue = w.successor(&w.genesis, &[&w.p], |root| {
        (root.roots, root.k) = (vec![w.d.public()], 1);
    });
    assert_eq!(w.authority(&[&w.genesis, &rescue]).epoch(), 0);
}

#[test]
fn all_matching_grants_count_until_one_is_exclusive() {
    let w = World::with(|root| root.grants.clear());
    let with = |exclusive| {
        w.successor(&w.genesis, &[&w.a, &w.b], |root| {
            root.grants = vec![publish("*", &w.m), publish("@acme/*", &w.n)];
            root.grants[1].exclusive = exclusive;
        })
    };
    let both = w.authority(&[&w.genesis, &with(false)]);
    assert_eq!(super::world::may(&both, "npm", "@acme/ui"), keys(&[&w.m, &w.n]));
    let alone = w.authority(&[&w.genesis, &with(true)]);
    assert_eq!(super::world::may(&alone, "npm", "@acme/ui"), keys(&[&w.n]));
    assert_eq!(super::world::may(&alone, "npm", "other"), keys(&[&w.m]));
}

#[test]
fn a_grant_to_a_realm_that_is_not_held_yields_nobody() {
    let other = World::with(|root| root.title = "other".to_owned()).realm;
    let w = World::with(|root| {
        root.grants = vec![grant("publish", "*", Grantee::Realm(other))];
    });
    assert!(super::world::may(&w.authority(&[&w.genesis]), "pypi", "x").is_empty());
}

#[test]
fn claims_are_the_publish_patterns_but_never_everything() {
    let w = World::with(|root| {
        let m = Grantee::Key(super::world::key(6).public());
        root.grants.push(grant("publish", "@acme/*", m.clone()));
        root.grants.push(grant("publish", "tool", m.clone()));
        root.grants.push(grant("mirror", "mirrored", m));
    });
    let claims = w.authority(&[&w.genesis]).claims();
    let claim = |text| Claim { format: "*".to_owned(), pattern: Pattern::parse(text).unwrap() };
    assert_eq!(claims, [claim("@acme/*"), claim("tool")]);
}

#[test]
fn a_mirror_of_some_names_is_no_mirror_of_the_format() {
    let w = World::with(|root| {
        let [m, n] = [6, 7].map(|seed| Grantee::Key(super::world::key(seed).public()));
        root.grants.push(grant("mirror", "*", m));
        root.grants.push(grant("mirror", "left-pad", n));
    });
    let mirrors = w.authority(&[&w.genesis]).mirrors();
    assert_eq!(mirrors, [(w.m.public(), "*".to_owned())]);
}

#[test]
fn may_publish_needs_the_grant_and_a_need_of_one() {
    let w = World::with(|root| root.grants[1].need = 2);
    let authority = w.authority(&[&w.genesis]);
    assert!(
        !super::world::publishers(&authority, &super::world::x()).may_publish(&w.m.public()),
        "the highest need applies"
    );
    let w = World::new();
    let authority = w.authority(&[&w.genesis]);
    assert!(super::world::publishers(&authority, &super::world::x()).may_publish(&w.m.public()));
    assert!(!super::world::publishers(&authority, &super::world::x()).may_publish(&w.z.public()));
}

#[test]
fn roots_of_another_realm_are_ignored() {
    let w = World::new();
    let other = World::with(|root| root.title = "other".to_owned());
    let foreign = other.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    assert_eq!(w.authority(&[&w.genesis, &foreign]).epoch(), 0);
    assert!(Statement::decode("root", foreign.statement().payload()).is_ok());
}
