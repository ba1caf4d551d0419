//! Every conflict case of the rule book, by its name, row by row.
//!
//! Where a case is about what a node does with a view (the age of news, what it asks a peer for),
//! the fact that it rests on is shown here, and the node's own tests show the rest.
//!
//! Source: trust.md section 7.

use crdt::derive::{Fallen, SlotState};
use crdt::realm::{ChainStatus, Claim};
use crdt::routes::{Ground, Source, Table};
use crdt::statement::{Beat, Body, Pattern};
use crdt::{PackageId, RealmId, Statement, Verified};

use crate::scene::{
    disputed, file_of, ids, kept, look, look_on, look_pinned, of_x, ok, rescue, rivals, set_roots,
    wheel, why,
};
use crate::world::{H1, H2, World, content, counter, keys, publish};

const SDIST: &str = "x.tar.gz";

fn foo() -> PackageId {
    PackageId::new("pypi", "foo")
}

fn claim(realm: RealmId) -> (RealmId, Claim) {
    let (format, pattern) = ("*".to_owned(), Pattern::parse("foo").unwrap());
    (realm, Claim { format, pattern })
}

/// Two realms of other people, and what a node of the first world's realm has confirmed.
fn others(claims: impl Fn(RealmId, RealmId) -> Vec<(RealmId, Claim)>) -> (World, World, Table) {
    let claiming = |title: &str| {
        World::with(|root| {
            root.title = title.to_owned();
            root.grants.push(publish("foo", &crate::world::key(6)));
        })
    };
    let (one, two) = (claiming("one"), claiming("two"));
    let own = World::new().realm;
    let claims = claims(one.realm, two.realm);
    let table = Table { own, site: own, own_rules: vec![], site_rules: vec![], claims };
    (one, two, table)
}

#[test]
fn two_realms_claim_foo() {
    let (one, two, table) = others(|one, two| vec![claim(one), claim(two)]);
    for world in [&one, &two] {
        let claims = look(world, &[]).authority.claims();
        assert_eq!(claims, [claim(world.realm).1], "shown when the realm is followed");
    }
    let decision = table.decide(&foo(), &[two.realm], false, None);
    assert_eq!(decision.source, Source::Realm { realm: one.realm }, "who was confirmed first");
    assert_eq!((decision.ground, decision.pending), (Ground::Claim, None));
}

#[test]
fn a_followed_realm_publishes_a_name_that_it_does_not_claim() {
    let (one, _, table) = others(|_, _| vec![]);
    let decision = table.decide(&foo(), &[one.realm], false, None);
    assert_eq!(decision.source, Source::Upstream { origin: None });
    assert_eq!(decision.ground, Ground::Default);
}

#[test]
fn the_own_realm_publishes_an_unrouted_name_that_the_upstream_is_known_to_have() {
    let (.., table) = others(|_, _| vec![]);
    let decision = table.decide(&foo(), &[table.own], true, None);
    let nobody = Source::Unrouted { realms: vec![table.own], upstream: true };
    assert_eq!((decision.source, decision.ground), (nobody, Ground::Published));
    let alone = table.decide(&foo(), &[table.own], false, None);
    assert_eq!(alone.source, Source::Realm { realm: table.own });
}

#[test]
fn two_teams_of_one_realm_want_foo() {
    let with = |change: &dyn Fn(&mut crdt::statement::Grant)| {
        let w = World::with(|root| {
            root.grants =
                vec![publish("*", &crate::world::key(6)), publish("x", &crate::world::key(7))];
            change(&mut root.grants[1]);
        });
        let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
        let both = w.release("2.0", H1, &[&w.m, &w.n]);
        let view = look(&w, &[&m, &n, &both]);
        (wheel(&view, "1.0"), wheel(&view, "2.0"))
    };
    assert_eq!(with(&|_| {}), (disputed(), ok(H1)), "both publish; the slot protects the file");
    assert_eq!(with(&|grant| grant.need = 2), (None, ok(H1)), "the highest need applies");
    assert_eq!(with(&|grant| grant.exclusive = true), (ok(H2), ok(H1)), "the broader is out");
}

#[test]
fn one_file_of_a_version_different_bytes() {
    let w = World::new();
    let older = w.release("1.1.9", H1, &[&w.m]);
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let set = [&older, &one, &two];
    let view = look(&w, &set);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1.9")), (disputed(), ok(H1)));
    let candidates = &of_x(&view).unwrap().versions["1.0"].files["x.whl"].candidates;
    let who: Vec<_> = candidates.iter().map(|one| (one.content.size, &one.signers[..])).collect();
    assert_eq!(who, [(u64::from(H1), &[w.m.public()][..]), (u64::from(H2), &[w.n.public()])]);
    assert_eq!(wheel(&look_pinned(&w, &set, H2), "1.0"), kept(H2), "keeping what you have");
}

#[test]
fn a_file_joins_a_version() {
    let w = World::new();
    let (wheel, sdist) = (w.release("1.0", H1, &[&w.m]), w.file("1.0", SDIST, H2, &[&w.n]));
    let view = look(&w, &[&wheel, &sdist]);
    assert_eq!(of_x(&view).unwrap().versions["1.0"].state, SlotState::Ok);
    assert_eq!(file_of(&view, "1.0", SDIST), ok(H2));
    let waits = look(&w, &[&wheel, &sdist, &w.seal(&[&wheel], &[&w.a, &w.b])]);
    assert_eq!((file_of(&waits, "1.0", SDIST), why(&waits, &sdist)), (None, Some(Fallen::Closed)));
}

#[test]
fn publish_concurrent_with_a_revocation() {
    let w = World::new();
    let (before, beside) = (w.release("1.2", H1, &[&w.m]), w.release("1.3", H1, &[&w.m]));
    let revoke = w.revoke(&w.m, &[&before], &[&w.a]);
    let view = look(&w, &[&beside, &before, &revoke]);
    assert_eq!((wheel(&view, "1.2"), wheel(&view, "1.3")), (ok(H1), None));
    assert_eq!(why(&view, &beside), Some(Fallen::Revoked(ids(&[&revoke]))), "the sentence's facts");
    let endorsed = look(&w, &[&beside, &before, &revoke, &w.release("1.3", H1, &[&w.n])]);
    assert_eq!(wheel(&endorsed, "1.3"), ok(H1));
}

#[test]
fn two_roots_revoke_one_key_with_different_keep_lists() {
    let w = World::new();
    let [one, two, three] = ["1", "2", "3"].map(|version| w.release(version, H1, &[&w.m]));
    let by_a = w.revoke(&w.m, &[&one, &two], &[&w.a]);
    let by_b = w.revoke(&w.m, &[&two, &three], &[&w.b]);
    let view = look(&w, &[&one, &two, &three, &by_a, &by_b]);
    assert_eq!(of_x(&view).unwrap().versions.keys().collect::<Vec<_>>(), ["2"]);
    for lost in [&one, &three] {
        assert_eq!(why(&view, lost), Some(Fallen::Revoked(ids(&[&by_a, &by_b]))));
    }
}

#[test]
fn owners_remove_each_other_at_once() {
    let w = World::new();
    let (one, two) = rivals(&w);
    let release = w.release("1.0", H1, &[&w.m]);
    let view = look(&w, &[&one, &two, &release]);
    assert_eq!((view.authority.status, view.authority.epoch()), (ChainStatus::Forked, 0));
    assert_eq!(view.authority.double_signers, keys(&[&w.b]));
    assert_eq!(view.packages, look(&w, &[&release]).packages);
    // Without a double signature neither has a majority.
    let alone = |key, roots: [&crdt::SecretKey; 2]| {
        w.successor(&w.genesis, &[key], |root| set_roots(root, &roots))
    };
    let (one, two) = (alone(&w.a, [&w.a, &w.b]), alone(&w.c, [&w.b, &w.c]));
    assert_eq!(look(&w, &[&one, &two]), look(&w, &[]));
}

#[test]
fn a_minority_of_the_roots_acts() {
    let w = World::new();
    let coup = w.successor(&w.genesis, &[&w.c, &w.z], |root| set_roots(root, &[&w.c, &w.z]));
    let seal = w.seal(&[&w.release("1.0", H1, &[&w.z])], &[&w.c]);
    let release = w.release("1.0", H1, &[&w.z]);
    assert_eq!(look(&w, &[&coup, &seal, &release]), look(&w, &[]));
}

#[test]
fn thief_of_a_publisher_key_revokes_itself_withdraws_and_republishes_everything() {
    let w = World::new();
    let (sealed, open) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.m]));
    let seal = w.seal(&[&sealed], &[&w.b, &w.c]);
    let honest = [&sealed, &open, &seal];
    let theft = [
        w.withdraw(&sealed, &[&w.m]),
        w.withdraw(&open, &[&w.m]),
        w.release("1.0", H2, &[&w.m]),
        w.release("1.1", H2, &[&w.m]),
    ];
    let so_far: Vec<_> = honest.into_iter().chain(&theft).collect();
    let view = look(&w, &so_far);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), ok(H2)));
    assert!(of_x(&view).unwrap().versions["1.1"].withdrawn_others, "the note");
    let revoke = w.revoke(&w.m, &[], &[&w.m]);
    let all: Vec<_> = so_far.into_iter().chain([&revoke]).collect();
    let view = look(&w, &all);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), None));
    assert_eq!(why(&view, &theft[3]), Some(Fallen::Revoked(ids(&[&revoke]))));
    assert_eq!(wheel(&look_pinned(&w, &all, H1), "1.0"), ok(H1));
    let open_alone: Vec<_> = all.into_iter().filter(|one| *one != &seal).collect();
    let unsupported = Some((SlotState::PinnedUnsupported, Some(content(H1))));
    assert_eq!(wheel(&look_pinned(&w, &open_alone, H1), "1.0"), unsupported, "pins keep");
}

#[test]
fn one_rogue_root_revokes_everybody() {
    let w = World::new();
    let (sealed, open) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let seal = w.seal(&[&sealed], &[&w.a, &w.b]);
    let revokes = [w.revoke(&w.m, &[], &[&w.c]), w.revoke(&w.n, &[], &[&w.c])];
    let set = [&sealed, &open, &seal, &revokes[0], &revokes[1]];
    let meanwhile = look(&w, &set);
    assert_eq!((wheel(&meanwhile, "1.0"), wheel(&meanwhile, "1.1")), (ok(H1), None));
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |root| {
        set_roots(root, &[&w.a, &w.b]);
        root.cleared = ids(&[&revokes[0], &revokes[1]]);
    });
    let cleared = look(&w, &[&set[..], &[&next]].concat());
    assert_eq!((wheel(&cleared, "1.0"), wheel(&cleared, "1.1")), (ok(H1), ok(H1)));
}

#[test]
fn the_root_threshold_is_stolen() {
    let w = World::new();
    let coup = w.successor(&w.genesis, &[&w.a, &w.b, &w.z], |root| {
        set_roots(root, &[&w.z]);
        root.grants = vec![publish("*", &w.z)];
    });
    let theirs = w.release("1.0", H2, &[&w.z]);
    let stolen = look(&w, &[&coup, &theirs]);
    assert_eq!(wheel(&stolen, "1.0"), ok(H2));
    let rescue = rescue(&w);
    let set = [&coup, &theirs, &rescue];
    let recovered = look(&w, &set);
    assert_eq!(recovered.authority.path, [ids(&[&w.genesis]), ids(&[&rescue])].concat());
    assert_eq!(wheel(&recovered, "1.0"), None);
    let asked = look_on(&w, &set, &[&w.genesis, &coup]);
    assert_eq!(asked.authority.status, ChainStatus::RecoverPending, "never silent");
    let accepted = look_on(&w, &set, &[&w.genesis, &rescue]);
    assert_eq!(
        (accepted.authority.status, &accepted.packages),
        (ChainStatus::Ok, &recovered.packages)
    );
}

#[test]
fn roots_lost_no_recovery_key() {
    let w = World::with(|root| (root.recovery, root.rk) = (vec![], 0));
    let release = w.release("1.0", H1, &[&w.m]);
    let lost = [
        w.successor(&w.genesis, &[&w.p, &w.d], |root| set_roots(root, &[&w.d])),
        w.successor(&w.genesis, &[&w.m, &w.n, &w.d], |root| set_roots(root, &[&w.d])),
    ];
    let view = look(&w, &[&release, &lost[0], &lost[1]]);
    assert_eq!(view, look(&w, &[&release]), "the realm ends; what it published stays");
    let heir = World::with(|root| root.title = "the same people".to_owned());
    assert_ne!(heir.realm, w.realm, "a new realm has a new fingerprint");
}

/// A line of nine epochs after the genesis, and a fork at epoch 2 by roots that left at epoch 3.
fn rewritten(w: &World) -> (Vec<Verified>, Verified) {
    let mut line = vec![w.genesis.clone()];
    for epoch in 1..=9 {
        let next = w.successor(line.last().unwrap(), &[&w.a, &w.b, &w.d, &w.m], |root| {
            root.title = format!("epoch {epoch}");
            if epoch == 3 {
                set_roots(root, &[&w.d, &w.m]);
            }
        });
        line.push(next);
    }
    let fork = w.successor(&line[1], &[&w.a, &w.b, &w.z], |root| set_roots(root, &[&w.z]));
    (line, fork)
}

#[test]
fn rotated_out_root_keys_stolen_fork_at_epoch_2_of_9() {
    let w = World::new();
    let (line, fork) = rewritten(&w);
    let set: Vec<_> = line.iter().chain([&fork]).collect();
    assert_eq!(look(&w, &set[..10]).authority.epoch(), 9);
    let new = look(&w, &set).authority;
    assert_eq!((new.status, new.epoch()), (ChainStatus::Forked, 1));
    assert_eq!(new.evidence, ids(&[&line[2], &fork]));
    assert_eq!(new.double_signers, keys(&[&w.a, &w.b]));
    let chain: Vec<_> = line.iter().collect();
    let pinned = look_on(&w, &set, &chain).authority;
    assert_eq!((pinned.status, pinned.epoch()), (ChainStatus::ForkPinned, 9));
    assert_eq!(pinned.evidence, new.evidence, "and shown");
}

#[test]
fn a_peer_hides_a_revocation() {
    let w = World::new();
    let (release, revoke) = (w.release("1.0", H1, &[&w.m]), w.revoke(&w.m, &[], &[&w.c]));
    let (whole, part) = (ids(&[&w.genesis, &release, &revoke]), ids(&[&w.genesis, &release]));
    let (said, ours) = (Beat::digest_of(&whole), Beat::digest_of(&part));
    assert_ne!(said, ours, "the set-digest cannot be reproduced");
    assert_eq!(said, Beat::digest_of(&ids(&[&revoke, &w.genesis, &release])));
}

#[test]
fn old_state_is_replayed() {
    let w = World::new();
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    let old = look_on(&w, &[], &[&w.genesis, &next]);
    assert_eq!(old.authority.epoch(), 0, "what is not held cannot be followed");
    let both = look_on(&w, &[&next], &[&w.genesis, &next]);
    assert_eq!((both.authority.status, both.authority.epoch()), (ChainStatus::Ok, 1));
    let beat = |at, time| {
        let (head, digest, counter) =
            (next.statement().id(), Beat::digest_of(&[]), counter((0, at)));
        let beat = Beat { head, counter, digest, count: 0, claimed_time: time };
        Statement::new(w.realm, None, Body::Beat(beat)).unwrap()
    };
    assert!(beat(2, 5).rank() > beat(1, 9).rank(), "the counter rises, whatever the time says");
    assert!(beat(u64::MAX, 9).rank().is_none(), "and a counter out of bounds replaces nothing");
}

#[test]
fn everybody_is_silent() {
    let w = World::new();
    let at = |claimed_time| {
        let mut release = crate::world::release("1.0", vec![crate::world::file("x.whl", H1)]);
        release.claimed_time = claimed_time;
        look(&w, &[&w.say(Body::Release(release), &[&w.m])])
    };
    // Nothing expires: no time is an input, and a claimed one judges nothing.
    for time in [0, 4_070_908_800, u64::MAX] {
        assert_eq!(wheel(&at(time), "1.0"), ok(H1));
        assert_eq!(of_x(&at(time)).unwrap().versions["1.0"].claimed_time, time, "shown");
    }
}

#[test]
fn a_laptop_restored_from_a_backup_reuses_a_counter() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.m]));
    let latest = |set: &[&Verified]| {
        let view = look(&w, set);
        of_x(&view).unwrap().tags.get("latest").cloned()
    };
    let (first, again) = (
        w.tag("latest", Some(&one), (0, 1), &[&w.m]),
        w.tag("latest", Some(&two), (0, 1), &[&w.m]),
    );
    assert_eq!(latest(&[&one, &two, &first]).as_deref(), Some("1.0"));
    assert_eq!(latest(&[&one, &two, &first, &again]), None, "a tie sets nothing");
    let next = w.tag("latest", Some(&two), (0, 2), &[&w.m]);
    assert_eq!(latest(&[&one, &two, &first, &again, &next]).as_deref(), Some("1.1"));
    let reused = w.release("1.0", H2, &[&w.m]);
    assert_eq!(wheel(&look(&w, &[&one, &reused]), "1.0"), disputed(), "so the tool refuses it");
}
