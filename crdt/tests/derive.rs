//! The fixed scenarios of the reference model that need neither revocations nor seals.

use crdt::derive::{Pins, SlotState};
use crdt::statement::{BlobRef, Body};
use crdt::{Digest, PackageId};

use crate::world::{H1, H2, World, content, file, meta, pin, publish, release, wheel};

#[test]
fn a_publishers_release_is_ok() {
    let w = World::new();
    let view = w.view(&[&w.release("1.0", H1, &[&w.m])]);
    assert_eq!(wheel(&view, "1.0"), (SlotState::Ok, Some(content(H1))));
    assert_eq!(view.versions["1.0"].state, SlotState::Ok);
}

#[test]
fn two_publishers_different_bytes_are_disputed_with_both_listed() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = w.view(&[&one, &two]);
    assert_eq!(wheel(&view, "1.0"), (SlotState::Disputed, None));
    let candidates = &view.versions["1.0"].files["x.whl"].candidates;
    let signers: Vec<_> = candidates.iter().map(|candidate| candidate.signers.clone()).collect();
    assert_eq!(signers, [vec![w.m.public()], vec![w.n.public()]]);
}

#[test]
fn a_node_that_pinned_one_side_of_a_dispute_keeps_it() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = w.pinned_view(&[&one, &two], &pin("1.0", H1));
    assert_eq!(wheel(&view, "1.0"), (SlotState::DisputedPinned, Some(content(H1))));
    assert_eq!(view.versions["1.0"].state, SlotState::DisputedPinned);
}

#[test]
fn withdrawing_one_side_ends_the_dispute() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = w.view(&[&one, &two, &w.withdraw(&two, &[&w.n])]);
    assert_eq!(wheel(&view, "1.0"), (SlotState::Ok, Some(content(H1))));
    assert!(view.versions["1.0"].withdrawn_others);
}

#[test]
fn a_withdraw_voids_only_its_signers_own_signature() {
    let w = World::new();
    let both = w.release("1.0", H1, &[&w.m, &w.n]);
    let view = w.view(&[&both, &w.withdraw(&both, &[&w.n]), &w.withdraw(&both, &[&w.z])]);
    let candidate = &view.versions["1.0"].files["x.whl"].candidates[0];
    assert_eq!(candidate.signers, [w.m.public()]);
}

#[test]
fn a_withdraw_filed_under_another_package_has_no_effect() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let body = Body::Withdraw { release: one.statement().id(), reason: String::new() };
    let astray = w.sign(Some(PackageId::new("pypi", "y")), body, &[&w.m]);
    assert_eq!(w.view(&[&one, &astray]), w.view(&[&one]));
}

#[test]
fn an_endorsement_keeps_a_release_that_its_first_signer_withdrew() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let endorsed = w.release("1.0", H1, &[&w.n]);
    assert_eq!(one.statement().id(), endorsed.statement().id());
    let view = w.view(&[&one, &w.withdraw(&one, &[&w.m]), &endorsed]);
    assert_eq!(wheel(&view, "1.0").0, SlotState::Ok);
}

#[test]
fn a_late_file_joins_its_version() {
    let w = World::new();
    let sdist = w.file("1.0", "x.tar.gz", H2, &[&w.m]);
    let view = w.view(&[&w.release("1.0", H1, &[&w.m]), &sdist]);
    assert_eq!(view.versions["1.0"].files.len(), 2);
    assert_eq!(view.versions["1.0"].state, SlotState::Ok);
    assert_eq!(view.versions["1.0"].releases.len(), 2);
}

#[test]
fn a_version_is_disputed_by_one_file_and_its_other_file_stays_ok() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let view = w.view(&[&one, &two, &w.file("1.0", "x.tar.gz", H1, &[&w.m])]);
    assert_eq!(view.versions["1.0"].state, SlotState::Disputed);
    assert_eq!(view.versions["1.0"].files["x.tar.gz"].state, SlotState::Ok);
}

#[test]
fn a_file_added_by_another_publisher_shows_its_signer() {
    let w = World::new();
    let view = w.view(&[&w.release("1.0", H1, &[&w.n]), &w.file("1.0", "x.tar.gz", H2, &[&w.m])]);
    let files = &view.versions["1.0"].files;
    assert_eq!(files["x.whl"].candidates[0].signers, [w.n.public()]);
    assert_eq!(files["x.tar.gz"].candidates[0].signers, [w.m.public()]);
}

#[test]
fn metas_of_two_extractor_versions_are_one_content_with_the_newer_meta() {
    let w = World::new();
    let with = |version, bytes: &[u8], key| {
        let mut wheel = file("x.whl", H1);
        wheel.meta = Some(meta(version, bytes));
        w.say(Body::Release(release("1.0", vec![wheel])), &[key])
    };
    let (older, newer) = (with(2, b"old", &w.m), with(3, b"new", &w.n));
    let view = w.view(&[&older, &newer]);
    let slot = &view.versions["1.0"].files["x.whl"];
    assert_eq!((slot.state, slot.candidates.len()), (SlotState::Ok, 1));
    assert_eq!(slot.candidates[0].meta, Some(meta(3, b"new")));

    let (least, greatest) =
        if Digest::of(b"p") < Digest::of(b"q") { (b"p", b"q") } else { (b"q", b"p") };
    let view = w.view(&[&with(3, greatest, &w.m), &with(3, least, &w.n)]);
    assert_eq!(view.versions["1.0"].files["x.whl"].candidates[0].meta, Some(meta(3, least)));
}

#[test]
fn time_extras_and_spelling_are_no_content() {
    let w = World::new();
    let mut other = release("1.0", vec![file("x.whl", H1)]);
    other.written = "1.0.0".to_owned();
    other.claimed_time = 99;
    other.extras = Some(BlobRef { digest: Digest::of(b"readme"), size: 6 });
    let other = w.say(Body::Release(other), &[&w.n]);
    let view = w.view(&[&w.release("1.0", H1, &[&w.m]), &other]);
    let version = &view.versions["1.0"];
    assert_eq!((version.state, version.releases.len()), (SlotState::Ok, 2));
    assert_eq!((version.claimed_time, version.extras.is_some()), (0, true));
}

#[test]
fn another_checksum_is_another_content() {
    let w = World::new();
    let mut wheel = file("x.whl", H1);
    wheel.checksums.sha1 = Some([1; 20]);
    let other = w.say(Body::Release(release("1.0", vec![wheel])), &[&w.n]);
    let view = w.view(&[&w.release("1.0", H1, &[&w.m]), &other]);
    assert_eq!(view.versions["1.0"].state, SlotState::Disputed);
}

#[test]
fn a_pin_without_any_standing_release_is_unsupported() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let gone = w.withdraw(&one, &[&w.m]);
    let view = w.pinned_view(&[&one, &gone], &pin("1.0", H1));
    assert_eq!(wheel(&view, "1.0"), (SlotState::PinnedUnsupported, Some(content(H1))));
    assert_eq!(view.versions["1.0"].state, SlotState::PinnedUnsupported);
    assert!(w.view(&[&one, &gone]).versions.is_empty(), "without a pin there is no version");
}

#[test]
fn a_version_with_a_standing_file_beside_a_lost_pin_is_ok() {
    let w = World::new();
    let view = w.pinned_view(&[&w.file("1.0", "x.tar.gz", H2, &[&w.m])], &pin("1.0", H1));
    assert_eq!(wheel(&view, "1.0").0, SlotState::PinnedUnsupported);
    assert_eq!(view.versions["1.0"].state, SlotState::Ok);
}

#[test]
fn a_release_below_its_need_does_not_stand() {
    let w = World::with(|root| root.grants[0].need = 2);
    let by = |keys: &[&crdt::SecretKey]| w.release("1.0", H1, keys);
    assert!(w.view(&[&by(&[&w.m])]).versions.is_empty());
    assert!(w.view(&[&by(&[&w.m, &w.z])]).versions.is_empty());
    assert_eq!(w.view(&[&by(&[&w.m]), &by(&[&w.n])]).versions.len(), 1, "copies join");
}

#[test]
fn an_unknown_role_publishes_nothing() {
    let w =
        World::with(|root| root.grants.iter_mut().for_each(|grant| grant.role = "owner".into()));
    assert!(w.view(&[&w.release("1.0", H1, &[&w.m])]).versions.is_empty());
}

#[test]
fn a_new_epoch_takes_the_releases_of_a_dropped_key_with_it() {
    let w = World::new();
    let next =
        w.successor(&w.genesis, &[&w.a, &w.b], |root| root.grants = vec![publish("*", &w.n)]);
    let authority = w.authority(&[&w.genesis, &next]);
    let (m, n) = (w.release("1.0", H1, &[&w.m]), w.release("1.1", H1, &[&w.n]));
    let view = w.view_under(&authority, &[&m, &n], &Pins::new());
    assert_eq!(view.versions.keys().collect::<Vec<_>>(), ["1.1"]);
}

#[test]
fn releases_are_unchanged_while_the_chain_is_forked() {
    let w = World::new();
    let one = w.successor(&w.genesis, &[&w.a, &w.b], |root| root.title = "one".to_owned());
    let two = w.successor(&w.genesis, &[&w.b, &w.c], |root| root.grants.clear());
    let forked = w.authority(&[&w.genesis, &one, &two]);
    let release = w.release("1.0", H1, &[&w.m]);
    assert_eq!(w.view_under(&forked, &[&release], &Pins::new()), w.view(&[&release]));
}

#[test]
fn the_highest_yank_counter_wins_and_a_tie_is_yanked() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let yanked = |set: &[&crdt::Verified]| w.view(set).versions["1.0"].yanked.clone();
    let (yank, undo) = (w.yank(&one, (0, 1), &[&w.m]), w.unyank(&one, (0, 2), &[&w.n]));
    assert_eq!(yanked(&[&one, &yank]), Some("broken".to_owned()));
    assert_eq!(yanked(&[&one, &undo, &yank]), None);
    let again = w.yank(&one, (0, 2), &[&w.m]);
    assert_eq!(yanked(&[&one, &undo, &again]), Some("broken".to_owned()));
    let view = w.view(&[&one, &undo, &yank]);
    assert_eq!(view.yank_counters[&one.statement().id().to_string()].n, 2);
}

#[test]
fn a_version_is_yanked_when_all_its_releases_are() {
    let w = World::new();
    let (wheel, sdist) = (w.release("1.0", H1, &[&w.m]), w.file("1.0", "x.tar.gz", H2, &[&w.m]));
    let yank = w.yank(&wheel, (0, 1), &[&w.m]);
    assert_eq!(w.view(&[&wheel, &sdist, &yank]).versions["1.0"].yanked, None);
    let other = w.yank(&sdist, (0, 1), &[&w.m]);
    assert!(w.view(&[&wheel, &sdist, &yank, &other]).versions["1.0"].yanked.is_some());
}

#[test]
fn the_highest_tag_counter_wins_and_a_tie_unsets() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("2.0", H2, &[&w.m]));
    let first = w.tag("latest", Some(&one), (0, 1), &[&w.m]);
    let second = w.tag("latest", Some(&two), (0, 2), &[&w.n]);
    let rival = w.tag("latest", Some(&one), (0, 2), &[&w.m]);
    let latest = |set: &[&crdt::Verified]| w.view(set).tags.get("latest").cloned();
    assert_eq!(latest(&[&one, &two, &second, &first]).as_deref(), Some("2.0"));
    assert_eq!(latest(&[&one, &two, &second, &first, &rival]), None);
    let removed = w.tag("latest", None, (0, 3), &[&w.m]);
    let view = w.view(&[&one, &two, &second, &removed]);
    assert!(view.tags.is_empty());
    assert_eq!(view.tag_counters["latest"].n, 3);
}

#[test]
fn yank_wins_over_concurrent_tag() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let tag = w.tag("latest", Some(&one), (0, 1), &[&w.n]);
    assert_eq!(w.view(&[&one, &tag]).tags["latest"], "1.0");
    assert!(w.view(&[&one, &tag, &w.yank(&one, (0, 1), &[&w.m])]).tags.is_empty());
}

#[test]
fn a_tag_to_a_disputed_or_withdrawn_release_is_unset() {
    let w = World::new();
    let (one, two) = (w.release("1.0", H1, &[&w.m]), w.release("1.0", H2, &[&w.n]));
    let tag = w.tag("latest", Some(&one), (0, 1), &[&w.m]);
    assert!(w.view(&[&one, &two, &tag]).tags.is_empty());
    assert!(w.view(&[&one, &w.withdraw(&one, &[&w.m]), &tag]).tags.is_empty());
    assert!(w.view(&[&tag]).tags.is_empty(), "a release that is not held yet");
}

#[test]
fn yanks_and_tags_of_a_stranger_count_for_nothing() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let before = w.view(&[&one]);
    let yank = w.yank(&one, (0, 9), &[&w.z]);
    let tag = w.tag("latest", Some(&one), (0, 9), &[&w.z]);
    assert_eq!(w.view(&[&one, &yank, &tag]), before);
}

#[test]
fn a_realm_without_authority_has_no_packages() {
    let w = World::new();
    let one = w.release("1.0", H1, &[&w.m]);
    let unknown = w.authority(&[]);
    assert!(w.view_under(&unknown, &[&one], &pin("1.0", H1)).versions.is_empty());
}
