//! The fixed scenarios of the reference model, row by row, each through `derive::realm` and beside
//! the model.
//!
//! Source: trust.md section 6, the table.

use crdt::Body;
use crdt::derive::{AllPins, Fallen, SlotState};
use crdt::realm::{ChainStatus, Lists};
use crdt::statement::Grantee;

use crate::scene::{
    disputed, file_of, ids, kept, look, look_on, look_pinned, look_with, of_x, ok, rescue, rivals,
    set_roots, wheel, why,
};
use crate::world::{H1, H2, World, file, grant, keys, meta, pin, publish, release, x};

const SDIST: &str = "x.tar.gz";

#[test]
fn m_signs_1_0() {
    let w = World::new();
    assert_eq!(wheel(&look(&w, &[&w.release("1.0", H1, &[&w.m])]), "1.0"), ok(H1));
}

#[test]
fn a_stranger_signs_1_1() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let view = look(&w, &[&one, &w.release("1.1", H1, &[&w.z])]);
    assert_eq!(view, look(&w, &[&one]));
}

#[test]
fn the_sdist_is_sealed_then_m_signs_a_wheel() {
    let w = World::new();
    let (sdist, wheel) = (w.file("1.0", SDIST, H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let seal = w.seal(&[&sdist], &[&w.a, &w.b]);
    let view = look(&w, &[&sdist, &wheel, &seal]);
    assert_eq!((file_of(&view, "1.0", SDIST), self::wheel(&view, "1.0")), (ok(H1), None));
    assert_eq!(why(&view, &wheel), Some(Fallen::Closed));
    let both = look(&w, &[&sdist, &wheel, &seal, &w.seal(&[&wheel], &[&w.b, &w.c])]);
    assert_eq!((file_of(&both, "1.0", SDIST), self::wheel(&both, "1.0")), (ok(H1), ok(H2)));
}

#[test]
fn m_and_n_sign_different_1_0_in_a_partition() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = look(&w, &[&one, &two]);
    assert_eq!(wheel(&view, "1.0"), disputed());
    assert_eq!(of_x(&view).unwrap().versions["1.0"].files["x.whl"].candidates.len(), 2);
}

#[test]
fn m_and_n_sign_different_1_0_on_a_node_that_pinned_h1() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    assert_eq!(wheel(&look_pinned(&w, &[&one, &two], H1), "1.0"), kept(H1));
}

#[test]
fn then_n_withdraws_his_own() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = look(&w, &[&one, &two, &w.withdraw(&two, &[&w.n])]);
    assert_eq!(wheel(&view, "1.0"), ok(H1));
}

#[test]
fn or_a_and_b_seal_h1() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = look(&w, &[&one, &two, &w.seal(&[&one], &[&w.a, &w.b])]);
    assert_eq!(wheel(&view, "1.0"), ok(H1));
    let alone = look(&w, &[&one, &two, &w.seal(&[&one], &[&w.a])]);
    assert_eq!(wheel(&alone, "1.0"), disputed(), "one root seals nothing");
}

#[test]
fn and_epoch_1_follows_without_a_word_about_seals() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let seal = w.seal(&[&one], &[&w.a, &w.b]);
    let next = w.successor(&w.genesis, &[&w.b, &w.c], |root| set_roots(root, &[&w.b, &w.c]));
    let view = look(&w, &[&one, &two, &seal, &next]);
    assert_eq!((view.authority.epoch(), wheel(&view, "1.0")), (1, ok(H1)));
}

#[test]
fn or_a_and_b_seal_h2_on_a_node_that_pinned_h1() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let set = [&one, &two, &w.seal(&[&two], &[&w.a, &w.b])];
    assert_eq!(wheel(&look_pinned(&w, &set, H1), "1.0"), kept(H1));
    assert_eq!(wheel(&look_pinned(&w, &set, H2), "1.0"), ok(H2), "after accept");
    assert_eq!(wheel(&look(&w, &set), "1.0"), ok(H2));
}

#[test]
fn m_signs_1_0_with_a_wheel_later_with_an_sdist() {
    let w = World::new();
    let view = look(&w, &[&w.release("1.0", H1, &[&w.m]), &w.file("1.0", SDIST, H2, &[&w.m])]);
    assert_eq!((wheel(&view, "1.0"), file_of(&view, "1.0", SDIST)), (ok(H1), ok(H2)));
    assert_eq!(of_x(&view).unwrap().versions["1.0"].state, SlotState::Ok);
}

#[test]
fn m_and_n_sign_different_wheels_of_one_name_and_one_sdist() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = look(&w, &[&one, &two, &w.file("1.0", SDIST, H1, &[&w.m])]);
    assert_eq!((wheel(&view, "1.0"), file_of(&view, "1.0", SDIST)), (disputed(), ok(H1)));
    assert_eq!(of_x(&view).unwrap().versions["1.0"].state, SlotState::Disputed);
}

#[test]
fn sealed_with_a_wheel_a_thief_of_m_adds_an_sdist() {
    let w = World::new();
    let (wheel, sdist) = (w.release("1.0", H1, &[&w.n]), w.file("1.0", SDIST, H2, &[&w.m]));
    let seal = w.seal(&[&wheel], &[&w.a, &w.b]);
    let view = look(&w, &[&wheel, &seal, &sdist]);
    assert_eq!((self::wheel(&view, "1.0"), file_of(&view, "1.0", SDIST)), (ok(H1), None));
    assert_eq!(why(&view, &sdist), Some(Fallen::Closed), "it waits, and is shown");
    let revoke = w.revoke(&w.m, &[], &[&w.c]);
    let gone = look(&w, &[&wheel, &seal, &sdist, &revoke]);
    assert_eq!(why(&gone, &sdist), Some(Fallen::Revoked(ids(&[&revoke]))), "it waits no longer");
    assert_eq!(of_x(&gone).unwrap().versions, of_x(&view).unwrap().versions);
}

#[test]
fn not_sealed_with_a_wheel_a_thief_of_m_adds_an_sdist() {
    let w = World::new();
    let (wheel, sdist) = (w.release("1.0", H1, &[&w.n]), w.file("1.0", SDIST, H2, &[&w.m]));
    let view = look(&w, &[&wheel, &sdist]);
    assert_eq!((self::wheel(&view, "1.0"), file_of(&view, "1.0", SDIST)), (ok(H1), ok(H2)));
    let files = &of_x(&view).unwrap().versions["1.0"].files;
    assert_eq!(files["x.whl"].candidates[0].signers, [w.n.public()]);
    assert_eq!(files[SDIST].candidates[0].signers, [w.m.public()], "who signed which");
    let gone = look(&w, &[&wheel, &sdist, &w.revoke(&w.m, &[], &[&w.c])]);
    assert_eq!((self::wheel(&gone, "1.0"), file_of(&gone, "1.0", SDIST)), (ok(H1), None));
}

#[test]
fn metas_of_extractors_2_and_3_for_the_same_bytes() {
    let w = World::new();
    let with = |version, key| {
        let mut wheel = file("x.whl", H1);
        wheel.meta = Some(meta(version, b"meta"));
        w.say(Body::Release(release("1.0", vec![wheel])), &[key])
    };
    let view = look(&w, &[&with(2, &w.m), &with(3, &w.n)]);
    assert_eq!(wheel(&view, "1.0"), ok(H1));
    let candidates = &of_x(&view).unwrap().versions["1.0"].files["x.whl"].candidates;
    assert_eq!(candidates[0].meta, Some(meta(3, b"meta")));
    // If n's does not come out of the bytes, this node leaves his release out: m's stands.
    let refused = look(&w, &[&with(2, &w.m)]);
    assert_eq!(wheel(&refused, "1.0"), ok(H1));
}

#[test]
fn everything_to_m_a_scope_to_n_then_exclusive() {
    let with = |exclusive| {
        World::with(|root| {
            root.grants = vec![publish("*", &crate::world::key(6))];
            root.grants.push(publish("x*", &crate::world::key(7)));
            root.grants[1].exclusive = exclusive;
        })
    };
    let w = with(false);
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let both = look(&w, &[&m, &n]);
    assert_eq!((wheel(&both, "1.0"), wheel(&both, "1.1")), (ok(H1), ok(H1)));
    let w = with(true);
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let alone = look(&w, &[&m, &n]);
    assert_eq!((wheel(&alone, "1.0"), wheel(&alone, "1.1")), (None, ok(H1)));
}

#[test]
fn a_grant_of_the_role_owner_to_m() {
    let w = World::with(|root| {
        let m = Grantee::Key(crate::world::key(6).public());
        root.grants = vec![grant("owner", "*", m)];
    });
    let before = look(&w, &[]);
    assert_eq!(look(&w, &[&w.release("1.0", H1, &[&w.m])]), before);
}

#[test]
fn rotated_out_roots_seal_a_new_release() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.z]);
    let seal = w.seal(&[&one], &[&w.a, &w.b]);
    let rotate = |change: &dyn Fn(&mut crdt::statement::Root)| {
        w.successor(&w.genesis, &[&w.a, &w.b, &w.d, &w.m], |root| {
            set_roots(root, &[&w.d, &w.m, &w.n]);
            change(root);
        })
    };
    let look = |root| wheel(&look(&w, &[&one, &seal, &root]), "1.0");
    assert_eq!(look(rotate(&|_| {})), ok(H1), "A and B were an epoch");
    assert_eq!(look(rotate(&|root| root.seals = Some(vec![]))), None);
    assert_eq!(look(rotate(&|root| root.cleared = ids(&[&seal]))), None);
    assert_eq!(look(rotate(&|root| root.seals = Some(ids(&[&seal])))), ok(H1));
}

#[test]
fn c_revokes_m_with_keep_1_0_while_m_publishes_1_1() {
    let w = World::new();
    let (kept, new) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.m]));
    let revoke = w.revoke(&w.m, &[&kept], &[&w.c]);
    let view = look(&w, &[&kept, &new, &revoke]);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), None));
    assert_eq!(why(&view, &new), Some(Fallen::Revoked(ids(&[&revoke]))));
}

#[test]
fn n_adds_his_signature_to_1_1() {
    let w = World::new();
    let (kept, new) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.m]));
    let set = [&kept, &new, &w.revoke(&w.m, &[&kept], &[&w.c]), &w.release("1.1", H1, &[&w.n])];
    let view = look(&w, &set);
    assert_eq!((wheel(&view, "1.0"), wheel(&view, "1.1")), (ok(H1), ok(H1)));
}

#[test]
fn a_second_revocation_of_m_with_keep_nothing() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let set = [&one, &w.revoke(&w.m, &[&one], &[&w.c]), &w.revoke(&w.m, &[], &[&w.a])];
    assert!(of_x(&look(&w, &set)).unwrap().versions.is_empty(), "the keep lists intersect");
}

#[test]
fn rogue_c_revokes_m_and_a_and_b_clear_it() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let revoke = w.revoke(&w.m, &[], &[&w.c]);
    assert_eq!(wheel(&look(&w, &[&one, &revoke]), "1.0"), None);
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |root| root.cleared = ids(&[&revoke]));
    assert_eq!(wheel(&look(&w, &[&one, &revoke, &next]), "1.0"), ok(H1));
}

#[test]
fn a_thief_of_m_revokes_himself_with_keep_nothing() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let revoke = w.revoke(&w.m, &[], &[&w.m]);
    assert_eq!(wheel(&look(&w, &[&one, &revoke]), "1.0"), None);
    let seal = w.seal(&[&one], &[&w.a, &w.b]);
    assert_eq!(wheel(&look(&w, &[&one, &revoke, &seal]), "1.0"), ok(H1), "unless sealed");
}

#[test]
fn sealed_1_0_withdrawn_and_signed_again_with_other_bytes() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let seal = w.seal(&[&one], &[&w.a, &w.b]);
    let view = look(&w, &[&one, &seal, &w.withdraw(&one, &[&w.m]), &two]);
    assert_eq!(wheel(&view, "1.0"), ok(H1));
}

#[test]
fn a_and_b_drop_c_while_b_and_c_drop_a() {
    let w = World::new();
    let release = w.release("1.0", H1, &[&w.m]);
    let (one, two) = rivals(&w);
    let view = look(&w, &[&release, &one, &two]);
    let authority = &view.authority;
    assert_eq!((authority.status, authority.epoch()), (ChainStatus::Forked, 0));
    assert_eq!(authority.double_signers, keys(&[&w.b]));
    assert_eq!(authority.evidence, ids(&[&one, &two]));
    assert_eq!(view.packages, look(&w, &[&release]).packages, "releases unchanged");
}

#[test]
fn the_fork_on_a_node_pinned_to_the_first_branch() {
    let w = World::new();
    let (one, two) = rivals(&w);
    let view = look_on(&w, &[&one, &two], &[&w.genesis, &one]);
    assert_eq!((view.authority.status, view.authority.epoch()), (ChainStatus::ForkPinned, 1));
    assert_eq!(view.authority.path[1], one.statement().id());
}

#[test]
fn p_signs_a_recovery_with_a_new_root_d() {
    let w = World::new();
    let (one, two) = rivals(&w);
    let rescue = rescue(&w);
    let set = [&one, &two, &rescue];
    let new = look(&w, &set).authority;
    assert_eq!((new.status, new.epoch()), (ChainStatus::Ok, 1));
    assert_eq!(new.path[1], rescue.statement().id());
    let pinned = look_on(&w, &set, &[&w.genesis, &one]).authority;
    assert_eq!((pinned.status, pinned.epoch()), (ChainStatus::RecoverPending, 1));
    assert_eq!(pinned.path[1], one.statement().id());
    assert_eq!(pinned.evidence, ids(&[&rescue]));
}

#[test]
fn a_alone_drops_b_and_c() {
    let w = World::new();
    let coup = w.successor(&w.genesis, &[&w.a], |root| set_roots(root, &[&w.a]));
    assert_eq!(look(&w, &[&coup]), look(&w, &[]));
}

#[test]
fn a_genesis_with_1_of_3() {
    let w = World::with(|root| root.k = 1);
    let view = look(&w, &[&w.release("1.0", H1, &[&w.m])]);
    assert_eq!(view.authority.status, ChainStatus::Invalid);
    assert!(view.packages.is_empty());
}

#[test]
fn a_list_that_is_not_held_is_not_yet_known_and_never_empty() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let (digest, known) = (crdt::Digest::of(one.statement().id().0.as_bytes()), ids(&[&one]));
    let list = crdt::statement::IdList::Blob { digest, count: 1 };
    let (key, keep, reason) = (w.m.public(), list.clone(), String::new());
    let revoke = w.sign(None, Body::Revoke { key, keep, reason }, &[&w.c]);
    let mut pins = AllPins::default();
    let set = [&one, &revoke];
    let lacking = look_with(&w, &set, &pins, &Lists::new());
    assert_eq!(why(&lacking, &one), Some(Fallen::NotYetKnown));
    assert_eq!(lacking.missing, [digest].into());
    let held = look_with(&w, &set, &pins, &[(digest, known.clone())].into());
    assert_eq!((wheel(&held, "1.0"), held.missing.len()), (ok(H1), 0));
    pins.contents.insert(x(), pin("1.0", H1));
    let pinned = look_with(&w, &set, &pins, &Lists::new());
    let unsupported = (SlotState::PinnedUnsupported, Some(crate::world::content(H1)));
    assert_eq!(wheel(&pinned, "1.0"), Some(unsupported), "pins go on");

    let strange = w.release("1.0", H2, &[&w.z]);
    let digest = crdt::Digest::of(strange.statement().id().0.as_bytes());
    let releases = crdt::statement::IdList::Blob { digest, count: 1 };
    let seal = w.sign(None, Body::Seal { releases }, &[&w.a, &w.b]);
    let lacking = look(&w, &[&strange, &seal]);
    assert_eq!((of_x(&lacking), &lacking.missing), (None, &[digest].into()));
    let lists = [(digest, ids(&[&strange]))].into();
    let held = look_with(&w, &[&strange, &seal], &AllPins::default(), &lists);
    assert_eq!(wheel(&held, "1.0"), ok(H2));
}
