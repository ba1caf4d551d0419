//! The attacks of `red-team.md` that the pure crate must withstand, by number; those on signatures
//! are in `forgery`, and number 7 in `laws`.

use crdt::derive::{Pins, SlotState};
use crdt::realm::ChainStatus;
use crdt::statement::{Envelope, Grantee, MAX_COUNTER, RouteSource};
use crdt::{Body, Error, Statement, routes};

use crate::world::{H1, H2, World, content, grant, key, keys, pin, publish, wheel, x};

#[test]
fn red_01_a_strangers_release_changes_no_byte_of_the_view() {
    let w = World::new();
    let honest = w.release("1.0", H1, &[&w.m]);
    let stranger = [
        w.release("1.1", H1, &[&w.z]),
        w.release("1.0", H2, &[&w.z]),
        w.release("1.0", H1, &[&w.z]),
    ];
    let before = format!("{:?}", w.view(&[&honest]));
    let after = w.view(&[&stranger[0], &stranger[1], &honest, &stranger[2]]);
    assert_eq!(format!("{after:?}"), before);
}

#[test]
fn red_04_another_realms_release_has_no_effect_and_lends_no_signature() {
    let w = World::new();
    let other = World::with(|root| root.title = "other".to_owned());
    let foreign = other.release("1.0", H1, &[&w.m]);
    assert!(w.view(&[&foreign]).versions.is_empty());
    let ours = w.release("1.0", H1, &[&w.m]).statement().clone();
    let replayed = Envelope { statement: ours, signatures: foreign.signatures().clone() };
    assert_eq!(replayed.verify(), Err(Error::BadSignature));
}

#[test]
fn red_05_cbor_that_is_not_canonical_is_refused() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let good = one.statement().payload();
    assert_eq!(good[..4], [0xa8, 0, 1, 1]);
    let realm_at = 3;
    let entry = |from: usize, to: usize| &good[from..to];
    let (v, realm, rest) = (entry(1, 3), entry(realm_at, 38), entry(38, good.len()));
    let bad = [
        ("a long integer", [&[0xa8, 0, 0x18, 1], realm, rest].concat()),
        ("a longer integer", [&[0xa8, 0, 0x19, 0, 1], realm, rest].concat()),
        ("a long key", [&[0xa8, 0x18, 0, 1], realm, rest].concat()),
        ("a long map head", [&[0xb8, 8], v, realm, rest].concat()),
        ("a long byte length", [&[0xa8], v, &[1, 0x59, 0, 32], &realm[3..], rest].concat()),
        ("an indefinite map", [&[0xbf], v, realm, rest, &[0xff]].concat()),
        ("indefinite bytes", [&[0xa8], v, &[1, 0x5f], &realm[1..], &[0xff], rest].concat()),
        ("a key twice", [&[0xa9], v, v, realm, rest].concat()),
        ("keys out of order", [&[0xa8], realm, v, rest].concat()),
        ("a byte too many", [good, &[0]].concat()),
        ("a field too many", [&[0xa9], &good[1..], &[0x18, 99, 1]].concat()),
        ("a tag", [&[0xa8, 0, 0xc1, 1], realm, rest].concat()),
        ("a float", [&[0xa8, 0, 0xf9, 0x3c, 0], realm, rest].concat()),
        ("null", [&[0xa8, 0, 0xf6], realm, rest].concat()),
        ("a byte too few", good[..good.len() - 1].to_vec()),
    ];
    for (what, bytes) in bad {
        assert!(Statement::decode("release", &bytes).is_err(), "{what}");
    }
    assert_eq!(Statement::decode("release", good).as_ref(), Ok(one.statement()));
}

#[test]
fn red_05_no_content_has_two_ids() {
    let w = World::new();
    let body = |order: [&crdt::SecretKey; 3]| {
        let Body::Root(root) = w.genesis.statement().body().clone() else { panic!("not a root") };
        let roots = order.map(|key| key.public()).to_vec();
        Statement::genesis(crdt::statement::Root { roots, ..root }).unwrap().id()
    };
    assert_eq!(body([&w.a, &w.b, &w.c]), body([&w.c, &w.a, &w.b]));
}

#[test]
fn red_08_a_root_key_that_signs_two_successors_is_named() {
    let w = World::new();
    let release = w.release("1.0", H1, &[&w.m]);
    let one = w.successor(&w.genesis, &[&w.a, &w.b], |root| root.grants.clear());
    let two = w.successor(&w.genesis, &[&w.b, &w.c], |root| root.title = "two".to_owned());
    let forked = w.authority(&[&w.genesis, &one, &two]);
    assert_eq!((forked.status, forked.epoch()), (ChainStatus::Forked, 0));
    assert_eq!(forked.double_signers, keys(&[&w.b]));
    let mut rivals = vec![one.statement().id(), two.statement().id()];
    rivals.sort_unstable();
    assert_eq!(forked.evidence, rivals);
    assert_eq!(w.view_under(&forked, &[&release], &Pins::new()), w.view(&[&release]));
}

#[test]
fn red_09_a_root_that_breaks_a_rule_is_ignored() {
    let w = World::new();
    let replace = |roots: &[&crdt::SecretKey], k: u32, by: &[&crdt::SecretKey]| {
        w.successor(&w.genesis, by, |root| {
            root.roots = roots.iter().map(|key| key.public()).collect();
            root.k = k;
        })
    };
    let bad = [
        ("a minority", replace(&[&w.a], 1, &[&w.a])),
        ("without possession", replace(&[&w.d, &w.p], 2, &[&w.a, &w.b])),
        ("without all it needs", replace(&[&w.a, &w.d, &w.p], 2, &[&w.a, &w.b])),
        ("k no majority", replace(&[&w.a, &w.b, &w.c, &w.d], 2, &[&w.a, &w.b, &w.c, &w.d])),
        ("k above n", replace(&[&w.a, &w.b], 3, &[&w.a, &w.b])),
        ("nobody", replace(&[], 0, &[&w.a, &w.b, &w.c])),
        ("a skipped epoch", w.successor(&w.genesis, &[&w.a, &w.b], |root| root.epoch = 2)),
        ("strangers", replace(&[&w.z], 1, &[&w.z, &w.m, &w.n])),
    ];
    let before = w.authority(&[&w.genesis]);
    for (what, root) in &bad {
        assert_eq!(w.authority(&[&w.genesis, root]), before, "{what}");
    }
    let all: Vec<_> = bad.iter().map(|(_, root)| root).chain([&w.genesis]).collect();
    assert_eq!(w.authority(&all), before);
}

#[test]
fn red_12_a_thief_beside_the_old_file_disputes_it_and_pins_keep() {
    let w = World::new();
    let (old, new) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let pinned = w.pinned_view(&[&old, &new], &pin("1.0", H1));
    assert_eq!(wheel(&pinned, "1.0"), (SlotState::DisputedPinned, Some(content(H1))));
    let newcomer = w.view(&[&old, &new]);
    assert_eq!(wheel(&newcomer, "1.0"), (SlotState::Disputed, None));
    assert_eq!(newcomer.versions["1.0"].state, SlotState::Disputed);
}

#[test]
fn red_12_a_thief_who_withdrew_the_old_file_switches_no_pinned_node() {
    let w = World::new();
    let (old, new) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let set = [&old, &w.withdraw(&old, &[&w.m]), &new];
    let pinned = w.pinned_view(&set, &pin("1.0", H1));
    assert_eq!(wheel(&pinned, "1.0"), (SlotState::DisputedPinned, Some(content(H1))));
    let newcomer = w.view(&set);
    assert_eq!(wheel(&newcomer, "1.0"), (SlotState::Ok, Some(content(H2))));
    assert!(newcomer.versions["1.0"].withdrawn_others, "the note that others were signed");
    let accepted = w.pinned_view(&set, &pin("1.0", H2));
    assert_eq!(wheel(&accepted, "1.0"), (SlotState::Ok, Some(content(H2))));
}

#[test]
fn red_12_a_thiefs_further_file_changes_no_slot_and_shows_its_signer() {
    let w = World::new();
    let old = w.release("1.0", H1, &[&w.n]);
    let before = w.view(&[&old]);
    let view = w.view(&[&old, &w.file("1.0", "x.tar.gz", H2, &[&w.m])]);
    assert_eq!(view.versions["1.0"].files["x.whl"], before.versions["1.0"].files["x.whl"]);
    assert_eq!(view.versions["1.0"].files["x.tar.gz"].candidates[0].signers, [w.m.public()]);
    let revoked =
        w.successor(&w.genesis, &[&w.a, &w.b], |root| root.grants = vec![publish("*", &w.n)]);
    let authority = w.authority(&[&w.genesis, &revoked]);
    let set = [&old, &w.file("1.0", "x.tar.gz", H2, &[&w.m])];
    let after = w.view_under(&authority, &set, &Pins::new());
    assert_eq!(after, before, "gone once the key has lost its grant");
}

#[test]
fn red_16_counters_out_of_bounds_have_no_effect() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let two = w.release("2.0", H2, &[&w.m]);
    let good = w.tag("latest", Some(&one), (0, 1), &[&w.m]);
    let before = w.view(&[&one, &two, &good]);
    for at in [(0, u64::MAX), (0, MAX_COUNTER + 1), (1, 1), (u64::MAX, 0)] {
        let tag = w.tag("latest", Some(&two), at, &[&w.m]);
        let yank = w.yank(&one, at, &[&w.m]);
        assert_eq!(w.view(&[&one, &two, &good, &tag, &yank]), before, "{at:?}");
        let route = w.route("x", RouteSource::Deny, at, &[&w.a, &w.b]);
        assert!(routes::site_rules(&w.authority(&[&w.genesis]), [&route]).is_empty());
    }
}

#[test]
fn red_16_the_next_epoch_outranks_a_counter_at_its_maximum() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("2.0", H2, &[&w.m]));
    let wasted = w.tag("latest", Some(&two), (0, MAX_COUNTER), &[&w.m]);
    let view = w.view(&[&one, &two, &wasted]);
    assert_eq!((view.tags["latest"].as_str(), view.tag_counters["latest"].n), ("2.0", MAX_COUNTER));
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |_| {});
    let cure = w.tag("latest", Some(&one), (1, 1), &[&w.m]);
    let authority = w.authority(&[&w.genesis, &next]);
    let view = w.view_under(&authority, &[&one, &two, &wasted, &cure], &Pins::new());
    assert_eq!((view.tags["latest"].as_str(), view.tag_counters["latest"].n), ("1.0", 1));
}

#[test]
fn red_17_no_grant_is_widened() {
    let other = World::with(|root| root.title = "other".to_owned()).realm;
    let (m, n) = (key(6), key(7));
    let with = |grants| {
        let w = World::with(|root| root.grants = grants);
        let authority = w.authority(&[&w.genesis]);
        let found = super::world::publishers(&authority, &x());
        (found.keys.into_keys().collect::<std::collections::BTreeSet<_>>(), found.need)
    };
    let delegated = with(vec![grant("publish", "*", Grantee::Realm(other)), publish("y*", &m)]);
    assert!(delegated.0.is_empty(), "a delegate realm yields nobody yet, a narrow grant no more");
    let mut roles = vec![publish("*", &m)];
    roles.extend(
        ["owner", "mirror", "admin", "beat"].map(|role| grant(role, "*", Grantee::Key(n.public()))),
    );
    assert_eq!(with(roles).0, keys(&[&m]), "roles that publish nothing");
    let mut narrow = publish("x", &n);
    narrow.need = 2;
    let both = with(vec![publish("*", &m), narrow.clone()]);
    assert_eq!(both, (keys(&[&m, &n]), 2), "the higher need applies");
    narrow.exclusive = true;
    let alone = with(vec![publish("*", &m), narrow.clone()]);
    assert_eq!(alone, (keys(&[&n]), 2), "the broad key is kept out");
    let mut broad = publish("*", &m);
    broad.exclusive = true;
    narrow.exclusive = false;
    let kept = with(vec![broad, narrow]);
    assert_eq!(kept.0, keys(&[&m, &n]), "a broad exclusive grant keeps nobody narrower out");
}

#[test]
fn red_17_a_delegation_to_oneself_ends_and_yields_nothing() {
    let w = World::new();
    let next = w.successor(&w.genesis, &[&w.a, &w.b], |root| {
        root.grants = vec![grant("publish", "*", Grantee::Realm(w.realm))];
    });
    let authority = w.authority(&[&w.genesis, &next]);
    assert!(super::world::may(&authority, "pypi", "x").is_empty());
    let view = w.view_under(&authority, &[&w.release("1.0", H1, &[&w.m])], &Pins::new());
    assert!(view.versions.is_empty());
}
