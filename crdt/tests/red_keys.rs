//! Stolen keys and rewritten history: 10 to 13 of the red team's list, judged over whole realms.

use crdt::derive::{self, AllPins, Fallen, FileView, Pins, RealmView, SlotState};
use crdt::realm::{ChainStatus, Lists};
use crdt::statement::{Body, IdList};
use crdt::{Digest, PackageId, SecretKey, StatementId, Verified};

use crate::world::{H1, H2, World, content, file, key, keys, pin, release, x};

/// The realm as it is with these pins, in the given order and in the other.
fn look(w: &World, said: &[&Verified], pins: &AllPins) -> RealmView {
    let forwards: Vec<Verified> = said.iter().map(|one| (*one).clone()).collect();
    let backwards: Vec<Verified> = forwards.iter().rev().cloned().collect();
    let view = derive::realm(&forwards, w.realm, pins, &Lists::new());
    assert_eq!(view, derive::realm(&backwards, w.realm, pins, &Lists::new()), "order decides");
    view
}

fn newcomer(w: &World, said: &[&Verified]) -> RealmView {
    look(w, said, &AllPins::default())
}

/// A node that has served these contents of x.
fn pinned(w: &World, said: &[&Verified], pins: Pins) -> RealmView {
    look(w, said, &AllPins { contents: [(x(), pins)].into(), ..AllPins::default() })
}

fn wheel(view: &RealmView, version: &str) -> Option<FileView> {
    view.packages.get(&x())?.versions.get(version)?.files.get("x.whl").cloned()
}

#[track_caller]
fn serves(view: &RealmView, version: &str, state: SlotState, byte: Option<u8>) {
    let file = wheel(view, version).unwrap();
    assert_eq!((file.state, file.serves), (state, byte.map(content)));
}

fn why(view: &RealmView, fallen: &Verified) -> Option<Fallen> {
    let all = view.packages.get(&x())?.fallen.values().flatten();
    let id = fallen.statement().id();
    all.clone().find(|one| one.release == id).map(|one| one.why.clone())
}

/// A release that claims to be as old as its signer likes.
fn backdated(w: &World, version: &str, byte: u8, time: u64, by: &SecretKey) -> Verified {
    let mut body = release(version, vec![file("x.whl", byte)]);
    body.claimed_time = time;
    w.say(Body::Release(body), &[by])
}

#[test]
fn red_10_a_release_backdated_to_before_the_revocation_does_not_stand() {
    let w = World::new();
    let kept = backdated(&w, "1.0", H1, 1_700_000_000, &w.m);
    let revoked = w.revoke(&w.m, &[&kept], &[&w.a]);
    for time in [0, 1, 1_600_000_000, u64::MAX] {
        let late = backdated(&w, "0.9", H2, time, &w.m);
        let other = backdated(&w, "1.0", H2, time, &w.m);
        let view = newcomer(&w, &[&w.genesis, &kept, &revoked, &late, &other]);
        serves(&view, "1.0", SlotState::Ok, Some(H1));
        assert_eq!(wheel(&view, "0.9"), None, "claimed at {time}");
        let by = Fallen::Revoked(vec![revoked.statement().id()]);
        assert_eq!((why(&view, &late), why(&view, &other)), (Some(by.clone()), Some(by)));
    }
}

#[test]
fn red_11_a_thief_who_revokes_himself_and_withdraws_all_takes_nothing_sealed_and_no_pin() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("2.0", H2, &[&w.m]));
    let seal = w.seal(&[&one], &[&w.a, &w.b]);
    let gone = [w.revoke(&w.m, &[], &[&w.m]), w.withdraw(&one, &[&w.m]), w.withdraw(&two, &[&w.m])];
    let said = [&w.genesis, &one, &two, &seal, &gone[0], &gone[1], &gone[2]];
    let view = newcomer(&w, &said);
    serves(&view, "1.0", SlotState::Ok, Some(H1));
    assert_eq!(wheel(&view, "2.0"), None);
    let holder = pinned(&w, &said, pin("2.0", H2));
    serves(&holder, "1.0", SlotState::Ok, Some(H1));
    serves(&holder, "2.0", SlotState::PinnedUnsupported, Some(H2));
    let before = newcomer(&w, &[&w.genesis, &one, &two, &seal]);
    serves(&before, "2.0", SlotState::Ok, Some(H2));
}

#[test]
fn red_12_a_sealed_file_outlives_its_withdrawal_and_another_in_its_place() {
    let w = World::new();
    let (old, new) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.m]));
    let (seal, gone) = (w.seal(&[&old], &[&w.a, &w.c]), w.withdraw(&old, &[&w.m]));
    for said in [vec![&w.genesis, &old, &seal, &new], vec![&w.genesis, &old, &seal, &gone, &new]] {
        serves(&newcomer(&w, &said), "1.0", SlotState::Ok, Some(H1));
        serves(&pinned(&w, &said, pin("1.0", H1)), "1.0", SlotState::Ok, Some(H1));
        assert_eq!(why(&newcomer(&w, &said), &new), Some(Fallen::Closed));
    }
    let unsealed = newcomer(&w, &[&w.genesis, &old, &gone, &new]);
    serves(&unsealed, "1.0", SlotState::Ok, Some(H2));
    assert!(unsealed.packages[&x()].versions["1.0"].withdrawn_others, "it is told");
}

#[test]
fn red_12_a_file_that_joins_a_sealed_version_waits_and_goes_with_its_key() {
    let w = World::new();
    let old = w.release("1.0", H1, &[&w.n]);
    let late = w.file("1.0", "x.tar.gz", H2, &[&w.m]);
    let seal = w.seal(&[&old], &[&w.a, &w.b]);
    let view = newcomer(&w, &[&w.genesis, &old, &late, &seal]);
    let files: Vec<_> = view.packages[&x()].versions["1.0"].files.keys().cloned().collect();
    assert_eq!(files, ["x.whl"], "nobody is served the late one");
    assert_eq!(why(&view, &late), Some(Fallen::Closed));
    let more = w.seal(&[&late], &[&w.b, &w.c]);
    let taken = newcomer(&w, &[&w.genesis, &old, &late, &seal, &more]);
    assert_eq!(taken.packages[&x()].versions["1.0"].files.len(), 2, "until it is sealed, too");
    let unsealed = newcomer(&w, &[&w.genesis, &old, &late]);
    let marked = &unsealed.packages[&x()].versions["1.0"].files["x.tar.gz"].candidates[0];
    assert_eq!((marked.signers.clone(), marked.sealed), (vec![w.m.public()], false));
    for said in [vec![&w.genesis, &old, &late, &seal], vec![&w.genesis, &old, &late]] {
        let revoked = w.revoke(&w.m, &[], &[&w.c]);
        let view = newcomer(&w, &said.into_iter().chain([&revoked]).collect::<Vec<_>>());
        assert_eq!(view.packages[&x()].versions["1.0"].files.len(), 1, "gone with its key");
    }
}

/// Roots A, B, C, who hand over to D and two more; then the old majority acts once again.
struct Rotated {
    w: World,
    next: Verified,
}

impl Rotated {
    fn new() -> Self {
        let w = World::new();
        let fresh = [key(4), key(20), key(21)];
        let next = w.successor(&w.genesis, &[&w.a, &w.b, &fresh[0], &fresh[1]], |root| {
            root.roots = fresh.iter().map(SecretKey::public).collect();
        });
        Self { w, next }
    }

    /// The epoch after the rotation, changed.
    fn after(&self, change: impl FnOnce(&mut crdt::statement::Root)) -> Verified {
        self.w.successor(&self.next, &[&key(4), &key(21)], change)
    }

    fn chain(&self) -> Vec<StatementId> {
        [&self.w.genesis, &self.next].map(|one| one.statement().id()).to_vec()
    }
}

#[test]
fn red_13_rotated_out_roots_fork_no_pinned_node_and_a_newcomer_is_warned() {
    let it = Rotated::new();
    let w = &it.w;
    let one = w.release("1.0", H1, &[&w.m]);
    let fork = w.successor(&w.genesis, &[&w.a, &w.b], |root| root.grants.clear());
    let said = [&w.genesis, &it.next, &one, &fork];
    let pins = AllPins { chains: [(w.realm, it.chain())].into(), ..AllPins::default() };
    let before = look(w, &said[..3], &pins);
    let after = look(w, &said, &pins);
    assert_eq!(
        (before.authority.status, after.authority.status),
        (ChainStatus::Ok, ChainStatus::ForkPinned)
    );
    assert_eq!(after.packages, before.packages, "what is served is the same");
    assert_eq!(after.authority.path, it.chain());
    assert_eq!(after.authority.double_signers, keys(&[&w.a, &w.b]), "and it is told who did it");
    let new = newcomer(w, &said);
    assert_eq!(new.authority.status, ChainStatus::Forked);
    assert_eq!(new.authority.evidence.len(), 2);
}

#[test]
fn red_13_a_seal_of_rotated_out_roots_counts_until_it_is_cut_and_then_never_did() {
    let it = Rotated::new();
    let w = &it.w;
    let (old, evil) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.z]));
    let seal = w.seal(&[&evil], &[&w.a, &w.b]);
    let id = seal.statement().id();
    let said = [&w.genesis, &it.next, &old, &evil, &seal];
    serves(&newcomer(w, &said), "1.0", SlotState::Ok, Some(H2));
    serves(&pinned(w, &said, pin("1.0", H1)), "1.0", SlotState::DisputedPinned, Some(H1));
    let without = newcomer(w, &said[..4]).packages;
    let cuts = [
        it.after(|root| root.cleared = vec![id]),
        it.after(|root| root.seals = Some(Vec::new())),
        it.after(|root| root.seals = Some(vec![old.statement().id()])),
    ];
    for cut in &cuts {
        let said: Vec<_> = said.into_iter().chain([cut]).collect();
        assert_eq!(newcomer(w, &said).packages, without, "as if it had never been");
        serves(&pinned(w, &said, pin("1.0", H1)), "1.0", SlotState::Ok, Some(H1));
    }
    let listed = it.after(|root| root.seals = Some(vec![id]));
    let said: Vec<_> = said.into_iter().chain([&listed]).collect();
    serves(&newcomer(w, &said), "1.0", SlotState::Ok, Some(H2));
}

#[test]
fn red_13_rotated_out_roots_bring_back_what_a_revocation_took_until_they_are_cut() {
    let it = Rotated::new();
    let w = &it.w;
    let stolen = w.release("3.0", H2, &[&w.m]);
    let revoked = w.revoke(&w.m, &[], &[&key(4)]);
    let seal = w.seal(&[&stolen], &[&w.b, &w.c]);
    let said = [&w.genesis, &it.next, &stolen, &revoked];
    assert_eq!(wheel(&newcomer(w, &said), "3.0"), None);
    let said = [&w.genesis, &it.next, &stolen, &revoked, &seal];
    serves(&newcomer(w, &said), "3.0", SlotState::Ok, Some(H2));
    let cut = it.after(|root| root.cleared = vec![seal.statement().id()]);
    let said = [&w.genesis, &it.next, &stolen, &revoked, &seal, &cut];
    assert_eq!(wheel(&newcomer(w, &said), "3.0"), None);
    // One who has left the roots revokes nothing.
    let theirs = w.revoke(&w.n, &[], &[&w.a]);
    let honest = w.release("4.0", H1, &[&w.n]);
    serves(&newcomer(w, &[&w.genesis, &it.next, &honest, &theirs]), "4.0", SlotState::Ok, Some(H1));
}

#[test]
fn red_07_a_list_that_is_not_held_is_not_known_and_never_empty() {
    let w = World::new();
    let (one, late) = (w.release("1.0", H1, &[&w.m]), w.release("2.0", H2, &[&w.m]));
    let mut ids: Vec<StatementId> =
        (0..501_u32).map(|n| StatementId(Digest::of(&n.to_le_bytes()))).collect();
    ids.push(one.statement().id());
    let (keep, blob) = IdList::of(ids).unwrap();
    let digest = keep.blob().unwrap().digest;
    let (key, reason) = (w.m.public(), String::new());
    let revoked = w.sign(None, Body::Revoke { key, keep, reason }, &[&w.a]);
    let said = [w.genesis.clone(), one.clone(), late.clone(), revoked];
    let at = |lists: &Lists| derive::realm(&said, w.realm, &AllPins::default(), lists);
    let unknown = at(&Lists::new());
    assert_eq!(unknown.missing, [digest].into());
    assert_eq!((wheel(&unknown, "1.0"), wheel(&unknown, "2.0")), (None, None));
    let both = (why(&unknown, &one), why(&unknown, &late));
    assert_eq!(both, (Some(Fallen::NotYetKnown), Some(Fallen::NotYetKnown)));
    let known = at(&[(digest, IdList::read(&blob.unwrap()).unwrap())].into());
    serves(&known, "1.0", SlotState::Ok, Some(H1));
    assert!(known.missing.is_empty() && matches!(why(&known, &late), Some(Fallen::Revoked(_))));
    assert_eq!(known.packages.keys().collect::<Vec<_>>(), [&PackageId::new("pypi", "x")]);
}
