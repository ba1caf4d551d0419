//! Delegation to other realms: who may publish through a team, and what a team cannot give.
//!
//! Each look goes through `derive::realm`, and is compared with the reference model on the way.
//!
//! Source: trust.md sections 4 (sub-delegation) and 6 (`publishers`); red-team.md 17.

use crdt::derive::{self, AllPins};
use crdt::realm::Lists;
use crdt::statement::{Grant, Grantee};
use crdt::{RealmId, Verified};

use crate::scene::{ids, look, look_on, ok, set_roots, wheel, why};
use crate::world::{H1, World, grant, key, publish};

/// A realm with these grants and the usual roots.
fn realm(title: &str, grants: Vec<Grant>) -> World {
    World::with(|root| {
        root.title = title.to_owned();
        root.grants = grants;
    })
}

fn to(pattern: &str, realm: RealmId) -> Grant {
    grant("publish", pattern, Grantee::Realm(realm))
}

/// Realms of which each delegates everything to the next, the last grants it to m.
fn line(length: usize) -> Vec<World> {
    let mut line = vec![realm("last", vec![publish("*", &key(6))])];
    for at in 1..length {
        let next = line.last().unwrap().realm;
        line.push(realm(&format!("{at} before the last"), vec![to("*", next)]));
    }
    line.reverse();
    line
}

#[test]
fn a_teams_publisher_publishes_under_both_patterns() {
    let team = realm("team", vec![publish("x*", &key(6))]);
    let firm = |pattern| realm("firm", vec![to(pattern, team.realm)]);
    let sees = |w: &World, held: &[&Verified]| {
        let release = w.release("1.0", H1, &[&w.m]);
        wheel(&look(w, &[held, &[&release]].concat()), "1.0")
    };
    assert_eq!(sees(&firm("*"), &[&team.genesis]), ok(H1));
    assert_eq!(sees(&firm("*"), &[]), None, "the team is not held yet");
    assert_eq!(sees(&firm("y*"), &[&team.genesis]), None, "not under the realm's own pattern");
    let narrow = realm("narrow", vec![publish("y*", &key(6))]);
    let wide = realm("firm", vec![to("*", narrow.realm)]);
    assert_eq!(sees(&wide, &[&narrow.genesis]), None, "not under the team's pattern");
}

#[test]
fn delegation_reaches_three_realms_deep() {
    for (length, expected) in [(2, ok(H1)), (4, ok(H1)), (5, None), (11, None)] {
        let line = line(length);
        let first = &line[0];
        let release = first.release("1.0", H1, &[&first.m]);
        let set: Vec<_> = line.iter().map(|w| &w.genesis).chain([&release]).collect();
        assert_eq!(wheel(&look(first, &set), "1.0"), expected, "{length} realms");
    }
}

#[test]
fn a_cycle_ends_and_takes_nobody_out() {
    let team = realm("team", vec![publish("*", &key(6))]);
    let w = realm("firm", vec![to("*", team.realm), publish("*", &key(7))]);
    let back = team.successor(&team.genesis, &[&team.a, &team.b], |root| {
        root.grants.push(to("*", w.realm));
        root.grants.push(to("*", team.realm));
    });
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let view = look(&w, &[&team.genesis, &back, &m, &n]);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), ok(H1)));
}

#[test]
fn a_teams_own_revocation_cuts_its_key() {
    let team = realm("team", vec![publish("*", &key(6))]);
    let w = realm("firm", vec![to("*", team.realm)]);
    let (kept, lost) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.m]));
    let revoke = team.revoke(&w.m, &[&kept], &[&team.c]);
    let view = look(&w, &[&team.genesis, &kept, &lost, &revoke]);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), None));
    assert_eq!(why(&view, &lost), Some(derive::Fallen::Revoked(ids(&[&revoke]))));
}

#[test]
fn a_teams_revocation_cuts_nobody_who_is_granted_beside_it() {
    let team = realm("team", vec![publish("*", &key(6))]);
    let other = realm("other team", vec![publish("*", &key(6))]);
    let w = realm("firm", vec![to("*", team.realm), to("*", other.realm)]);
    let release = w.release("1.0", H1, &[&w.m]);
    let one = team.revoke(&w.m, &[], &[&team.c]);
    let held = [&team.genesis, &other.genesis, &release, &one];
    assert_eq!(wheel(&look(&w, &held), "1.0"), ok(H1), "the other team still trusts the key");
    let two = other.revoke(&w.m, &[], &[&other.c]);
    assert_eq!(wheel(&look(&w, &[&held[..], &[&two]].concat()), "1.0"), None);
    let own = w.revoke(&w.m, &[], &[&w.c]);
    assert_eq!(
        wheel(&look(&w, &[&held[..], &[&own]].concat()), "1.0"),
        None,
        "in the realm itself"
    );
}

#[test]
fn a_key_counts_by_the_way_on_which_nobody_has_revoked_it() {
    let team = realm("team", vec![publish("*", &key(6))]);
    let [one, two] = ["one", "two"].map(|title| realm(title, vec![to("*", team.realm)]));
    let w = realm("firm", vec![to("*", one.realm), to("*", two.realm)]);
    let release = w.release("1.0", H1, &[&w.m]);
    let set = [&team.genesis, &one.genesis, &two.genesis, &release];
    let (by_one, by_two) = (one.revoke(&w.m, &[], &[&w.a]), two.revoke(&w.m, &[], &[&w.a]));
    for revoke in [&by_one, &by_two] {
        assert_eq!(wheel(&look(&w, &[&set[..], &[revoke]].concat()), "1.0"), ok(H1));
    }
    let cut = look(&w, &[&set[..], &[&by_one, &by_two]].concat());
    assert_eq!(wheel(&cut, "1.0"), None);
    assert_eq!(why(&cut, &release), Some(derive::Fallen::Revoked(ids(&[&by_one, &by_two]))));
}

#[test]
fn a_teams_seals_and_needs_bind_nobody_else() {
    let mut two = publish("*", &key(6));
    two.need = 2;
    let team = realm("team", vec![two]);
    let w = realm("firm", vec![to("*", team.realm)]);
    let release = w.release("1.0", H1, &[&w.m]);
    assert_eq!(wheel(&look(&w, &[&team.genesis, &release]), "1.0"), ok(H1), "the realm asks for 1");
    let strange = w.release("1.0", H1, &[&w.z]);
    let seal = team.seal(&[&strange], &[&team.a, &team.b]);
    assert_eq!(wheel(&look(&w, &[&team.genesis, &strange, &seal]), "1.0"), None);
}

#[test]
fn an_exclusive_grant_of_the_team_keeps_its_broader_ones_out() {
    let mut narrow = publish("x", &key(7));
    narrow.exclusive = true;
    let team = realm("team", vec![publish("*", &key(6)), narrow]);
    let w = realm("firm", vec![to("*", team.realm)]);
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let view = look(&w, &[&team.genesis, &m, &n]);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (None, ok(H1)));
}

#[test]
fn a_team_that_forks_keeps_the_publishers_of_its_last_agreed_epoch() {
    let team = realm("team", vec![publish("*", &key(6))]);
    let w = realm("firm", vec![to("*", team.realm)]);
    let with = |title: &str, to: u8| {
        team.successor(&team.genesis, &[&team.a, &team.b], |root| {
            root.title = title.to_owned();
            root.grants = vec![publish("*", &key(to))];
            set_roots(root, &[&team.a, &team.b]);
        })
    };
    let (one, two) = (with("one", 7), with("two", 8));
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let set = [&team.genesis, &m, &n, &one, &two];
    let forked = look(&w, &set);
    assert_eq!((wheel(&forked, "1.0"), wheel(&forked, "1.1")), (ok(H1), None));
    // A pin on the own chain says nothing about the team's.
    assert_eq!(look_on(&w, &set, &[&w.genesis]).packages, forked.packages);
}

/// Ways are millions here, realms a few hundred: without a memo this does not end in a minute.
#[test]
fn teams_that_name_each_other_in_every_combination_cost_what_they_say() {
    let count = 150;
    let teams: Vec<_> = (0..count).map(|at| realm(&format!("team {at}"), vec![])).collect();
    let all: Vec<_> = teams.iter().map(|team| to("*", team.realm)).collect();
    let w = realm("firm", all.clone());
    let release = w.release("1.0", H1, &[&w.m]);
    let mut set = vec![w.genesis.clone(), release.clone()];
    for (at, team) in teams.iter().enumerate() {
        let next = team.successor(&team.genesis, &[&team.a, &team.b], |root| {
            root.grants.clone_from(&all);
            if at + 1 == count {
                root.grants.push(publish("x", &key(6)));
            }
        });
        set.extend([team.genesis.clone(), next]);
    }
    let see = |set: &[Verified]| {
        let view = derive::realm(set, w.realm, &AllPins::default(), &Lists::new());
        wheel(&view, "1.0")
    };
    assert_eq!(see(&set), ok(H1));
    // Who revokes somebody is told from the others on every way, and still nothing is widened.
    for team in &teams[count / 2..] {
        set.push(team.revoke(&w.z, &[], &[&team.a]));
    }
    assert_eq!(see(&set), ok(H1));
    set.push(teams[count - 1].revoke(&w.m, &[], &[&teams[count - 1].a]));
    assert_eq!(see(&set), None);
}
