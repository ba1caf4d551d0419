//! What a realm looks like after a handful of statements, for scenarios and conflicts.
//!
//! Each look goes through `derive::realm`, and is compared with the reference model on the way.

use crdt::derive::{self, AllPins, Content, Fallen, PackageView, RealmView, SlotState};
use crdt::realm::Lists;
use crdt::statement::Root;
use crdt::{SecretKey, StatementId, Verified};

use crate::oracle::{Given, model, project};
use crate::world::{World, content, pin, x};

/// What everybody sees who has no pins.
pub(crate) fn look(w: &World, set: &[&Verified]) -> RealmView {
    look_with(w, set, &AllPins::default(), &Lists::new())
}

/// What a node sees that pinned x.whl of 1.0 with this content.
pub(crate) fn look_pinned(w: &World, set: &[&Verified], byte: u8) -> RealmView {
    let mut pins = AllPins::default();
    pins.contents.insert(x(), pin("1.0", byte));
    look_with(w, set, &pins, &Lists::new())
}

/// What a node sees that accepted this chain.
pub(crate) fn look_on(w: &World, set: &[&Verified], chain: &[&Verified]) -> RealmView {
    let mut pins = AllPins::default();
    pins.chains.insert(w.realm, chain.iter().map(|root| root.statement().id()).collect());
    look_with(w, set, &pins, &Lists::new())
}

pub(crate) fn look_with(w: &World, set: &[&Verified], pins: &AllPins, lists: &Lists) -> RealmView {
    let set: Vec<_> = set.iter().copied().chain([&w.genesis]).cloned().collect();
    let view = derive::realm(&set, w.realm, pins, lists);
    assert_eq!(project(&view), model(&Given::gather(&set, pins, lists), w.realm));
    view
}

/// The package x, if there is anything to show of it.
pub(crate) fn of_x(view: &RealmView) -> Option<&PackageView> {
    view.packages.get(&x())
}

/// How a file of a version of x stands, and what of it is served.
pub(crate) fn file_of(
    view: &RealmView,
    version: &str,
    name: &str,
) -> Option<(SlotState, Option<Content>)> {
    let file = of_x(view)?.versions.get(version)?.files.get(name)?;
    Some((file.state, file.serves.clone()))
}

/// The same of `x.whl`.
pub(crate) fn wheel(view: &RealmView, version: &str) -> Option<(SlotState, Option<Content>)> {
    file_of(view, version, "x.whl")
}

/// A file that is as it should be, with this content.
pub(crate) fn ok(byte: u8) -> Option<(SlotState, Option<Content>)> {
    Some((SlotState::Ok, Some(content(byte))))
}

/// A file that is kept as it was pinned.
pub(crate) fn kept(byte: u8) -> Option<(SlotState, Option<Content>)> {
    Some((SlotState::DisputedPinned, Some(content(byte))))
}

/// A file of which nothing is served by name.
pub(crate) fn disputed() -> Option<(SlotState, Option<Content>)> {
    Some((SlotState::Disputed, None))
}

/// Why a release of x does not stand.
pub(crate) fn why(view: &RealmView, release: &Verified) -> Option<Fallen> {
    let mut fallen = of_x(view)?.fallen.values().flatten();
    fallen.find(|one| one.release == release.statement().id()).map(|one| one.why.clone())
}

pub(crate) fn ids(of: &[&Verified]) -> Vec<StatementId> {
    let mut ids: Vec<_> = of.iter().map(|one| one.statement().id()).collect();
    ids.sort_unstable();
    ids
}

/// Puts these keys in the place of the roots, a majority of which acts.
pub(crate) fn set_roots(root: &mut Root, keys: &[&SecretKey]) {
    root.roots = keys.iter().map(|key| key.public()).collect();
    root.k = u32::try_from(keys.len() / 2 + 1).unwrap();
}

/// Two next epochs at once, the one without C, the other without A: B signed both.
pub(crate) fn rivals(w: &World) -> (Verified, Verified) {
    let without_c = w.successor(&w.genesis, &[&w.a, &w.b], |root| set_roots(root, &[&w.a, &w.b]));
    let without_a = w.successor(&w.genesis, &[&w.b, &w.c], |root| set_roots(root, &[&w.b, &w.c]));
    (without_c, without_a)
}

/// The recovery key P puts D in the place of the roots.
pub(crate) fn rescue(w: &World) -> Verified {
    w.successor(&w.genesis, &[&w.p, &w.d], |root| {
        set_roots(root, &[&w.d]);
        root.seals = Some(vec![]);
    })
}
