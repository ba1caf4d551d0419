//! What a batch comes to: chains, rulings, delegates, and then each package that was touched.
//!
//! The order matters. A chain that grew is pinned, and every seal and revocation of its realm is
//! judged by it; then it is known who has a say, and so which realms are delegated to; then which
//! packages that moves. One more release, or one more signature, touches its package alone.
//!
//! Source: trust.md sections 5 and 6.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt::reconcile::Fingerprint;
use crdt::{Body, Collection, PackageId, RealmId, StatementId};

use super::super::authority::Standing;
use super::super::changes::Scope;
use super::super::statements::load_statement;
use super::super::tables;
use super::super::{
    Admission, Error, FollowKind, Inner, chains, collections, delegates, grounds, rulings, views,
};
use super::{Batch, room};

/// A batch that went through.
pub(in crate::store) struct Done {
    pub(in crate::store) admission: Admission,
    /// Whether there is anything to commit.
    changed: bool,
    /// Whose documents it concerns.
    pub(in crate::store) concerned: Scope,
    /// Realms whose standing may be another one.
    realms: Vec<RealmId>,
    /// Whether realms are followed, or not, for grants that came or went.
    follows: bool,
    /// Packages that were derived anew.
    pub(in crate::store) derived: BTreeSet<(RealmId, PackageId)>,
}

impl Done {
    pub(super) fn scope(&self) -> Option<Scope> {
        self.changed.then(|| self.concerned.clone())
    }

    /// Once it is durable: tells those who keep something in memory.
    pub(in crate::store) fn tell(&self, inner: &Inner) {
        inner.forget_standings(&self.realms);
        if self.follows {
            inner.follows.send_modify(|n| *n += 1);
        }
        if !self.admission.new.is_empty() {
            inner.told_upto(&self.admission);
            // Without subscribers there is nobody to tell.
            let _ = inner.admissions.send(Arc::new(self.admission.clone()));
        }
    }

    /// Tells of packages that are others now though no statement of theirs came.
    pub(in crate::store) fn tell_of_packages(&self, inner: &Inner) {
        let packages: BTreeSet<_> = self.derived.iter().map(|(_, package)| package).collect();
        packages.into_iter().for_each(|package| inner.changes.touched(package.clone()));
    }
}

impl Batch<'_> {
    /// The realm's authority, with the roots of this batch so far.
    pub(in crate::store) fn standing(&mut self, realm: &RealmId) -> Result<Arc<Standing>, Error> {
        self.standings.now(realm)
    }

    /// A root came, or a person chose another chain.
    pub(in crate::store) fn chain_changes(&mut self, realm: &RealmId) -> Result<(), Error> {
        self.chained.insert(*realm);
        self.standings.change(realm)
    }

    /// A seal or a revocation came, got a signature, or its list is known now.
    pub(in crate::store) fn judge_anew(&mut self, realm: RealmId, id: StatementId) {
        self.rulings.insert((realm, id));
    }

    /// All of a realm is about to go.
    pub(in crate::store) fn forgets(&mut self, realm: &RealmId) -> Result<(), Error> {
        self.standings.change(realm)
    }

    /// What is followed has changed.
    pub(in crate::store) fn refresh_delegates(&mut self) -> Result<bool, Error> {
        delegates::refresh(self.txn, &mut self.standings)
    }

    /// Whether grants of other realms reach this one.
    pub(in crate::store) fn is_delegated_to(&mut self, realm: &RealmId) -> Result<bool, Error> {
        delegates::is_wanted(self.txn, &mut self.standings, realm)
    }

    /// Every package of the realm is to be derived.
    pub(in crate::store) fn derive_all(&mut self, realm: &RealmId) -> Result<(), Error> {
        let all = grounds::of_realm(self.txn, realm)?;
        self.packages.extend(all.into_iter().map(|package| (*realm, package)));
        Ok(())
    }

    pub(super) fn state(&mut self, collection: &Collection) -> Result<&mut Fingerprint, Error> {
        if !self.states.contains_key(collection) {
            let state = collections::state(self.txn, collection)?;
            self.states.insert(collection.clone(), state);
        }
        Ok(self.states.entry(collection.clone()).or_insert_with(Fingerprint::empty))
    }

    /// Writes what was gathered and derives what was touched.
    pub(in crate::store) fn finish(mut self) -> Result<Done, Error> {
        for (collection, state) in &self.states {
            collections::set_state(self.txn, collection, state)?;
        }
        tables::set_meta(self.txn, tables::META_SEQUENCE, self.sequence)?;
        self.keep_taken()?;
        self.warn_of_limits();
        for realm in std::mem::take(&mut self.chained) {
            self.settle_chain(&realm)?;
        }
        for (realm, id) in std::mem::take(&mut self.rulings) {
            self.settle_ruling(&realm, &id)?;
        }
        let mut follows = false;
        if !self.standings.changed().is_empty() {
            follows = self.refresh_delegates()?;
            let bases = delegates::bases(self.txn)?;
            self.packages.extend(grounds::moved(self.txn, &mut self.standings, &bases)?);
        }
        let derived = self.derive()?;
        let Self { admission, changed, concerned, standings, .. } = self;
        let realms = standings.changed();
        Ok(Done { admission, changed, concerned, realms, follows, derived })
    }

    /// The chain may have another head: what it is judged by.
    fn settle_chain(&mut self, realm: &RealmId) -> Result<(), Error> {
        let after = self.standing(realm)?;
        chains::extend_pin(self.txn, after.authority())?;
        room::recognise(self.txn, realm, &after)?;
        for kind in rulings::KINDS {
            let all = rulings::of_kind(self.txn, realm, kind)?;
            self.rulings.extend(all.into_iter().map(|id| (*realm, id)));
        }
        Ok(())
    }

    /// Judges a seal or a revocation, and notes whom it moves.
    fn settle_ruling(&mut self, realm: &RealmId, id: &StatementId) -> Result<(), Error> {
        let authority = self.standing(realm)?;
        let judged = rulings::judge(self.inner, self.txn, authority.authority(), id)?;
        for release in judged.turned.iter().filter(|_| judged.is_seal) {
            let statement = load_statement(self.txn, release)?;
            let of_realm = statement
                .filter(|it| it.realm() == *realm && matches!(it.body(), Body::Release(_)));
            let package = of_realm.and_then(|statement| statement.package().cloned());
            self.packages.extend(package.map(|package| (*realm, package)));
        }
        if judged.changed && !judged.is_seal {
            self.standings.change(realm)?;
        }
        Ok(())
    }

    /// Derives what was touched, of realms that have views.
    fn derive(&mut self) -> Result<BTreeSet<(RealmId, PackageId)>, Error> {
        let mut derived = BTreeSet::new();
        for (realm, package) in std::mem::take(&mut self.packages) {
            if self.kind(&realm)?.is_some_and(|kind| kind != FollowKind::Delegate) {
                views::derive(self.inner, self.txn, &mut self.standings, (&realm, &package))?;
                derived.insert((realm, package));
            }
        }
        Ok(derived)
    }
}
