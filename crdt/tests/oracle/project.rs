//! A view of the code under test, in the model's form.
//!
//! What the view adds for people (how a version was written, times, extras, reasons) is no part of
//! the model.

use std::collections::BTreeSet;

use crdt::StatementId;
use crdt::derive::{Fallen, FileView, PackageView, RealmView};

use super::{Candidate, Model, Package, Slot};

pub(crate) fn project(view: &RealmView) -> Model {
    let authority = &view.authority;
    let packages = view.packages.iter().map(|(name, one)| (name.clone(), package(one)));
    Model {
        status: authority.status,
        path: authority.path.clone(),
        evidence: authority.evidence.iter().copied().collect(),
        double_signers: authority.double_signers.clone(),
        packages: packages.filter(|(_, one)| *one != Package::default()).collect(),
        missing: view.missing.clone(),
    }
}

fn package(view: &PackageView) -> Package {
    let mut package = Package { tags: view.tags.clone(), ..Package::default() };
    for (version, one) in &view.versions {
        package.versions.insert(version.clone(), one.state);
        if !one.releases.is_empty() {
            let releases = one.releases.iter().copied().collect();
            package.standing.insert(version.clone(), releases);
        }
        for (name, file) in &one.files {
            package.slots.insert((version.clone(), name.clone()), slot(file));
        }
        if one.yanked.is_some() {
            package.yanked.insert(version.clone());
        }
        if one.withdrawn_others {
            package.withdrawn_others.insert(version.clone());
        }
    }
    package.closed = fallen(view, &Fallen::Closed);
    package.not_yet_known = fallen(view, &Fallen::NotYetKnown);
    package
}

fn fallen(view: &PackageView, why: &Fallen) -> BTreeSet<StatementId> {
    let all = view.fallen.values().flatten();
    all.filter(|one| one.why == *why).map(|one| one.release).collect()
}

fn slot(file: &FileView) -> Slot {
    let candidates = file.candidates.iter().map(|one| Candidate {
        content: one.content.clone(),
        signers: one.signers.iter().copied().collect(),
        releases: one.releases.iter().copied().collect(),
        sealed: one.sealed,
        meta: one.meta.clone(),
    });
    Slot { state: file.state, serves: file.serves.clone(), candidates: candidates.collect() }
}
