//! What a publisher changes, decided and kept in one transaction.
//!
//! A publish is blobs, a release, tags and pins, and whether it may be depends on what is there: a
//! slot that is taken, a counter that has to go on. So the caller gives the staged blobs and a
//! decision. The decision is asked inside the transaction of the writer, with all that the calls
//! before it have changed, also those of the same commit; what it plans is kept together with the
//! blobs, all or nothing, in the one commit that concurrent calls share: see `batch`.
//!
//! Invariant: no plan has roots or revocations. What they change of a realm's authority counts from
//! the next commit on, and here it would have to count for the next call: they go through
//! `admission`.
//!
//! Does not judge: who may publish what is decided in `registry`. What survives a crash is what
//! `blob` says, for all of a publish at once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crdt::routes::Source;
use crdt::{Body, Content, PackageId, PackageView, RealmId, Verified};
use redb::{ReadTransaction, WriteTransaction};

use super::admission::Batch;
use super::batch::{Change, Kept};
use super::blob::Staged;
use super::changes::Scope;
use super::pins::{self, Slot};
use super::statements::{document_id, of_package};
use super::tables::{self, Tables};
use super::{Admission, Error, Inner, Store, lock, views};

/// What is to be kept, beside the blobs.
#[derive(Debug, Default)]
pub struct Plan {
    /// Statements to admit, no roots and no revocations.
    pub statements: Vec<Verified>,
    /// The source of a name, if it has none.
    pub source: Option<(PackageId, Source)>,
    /// Contents of slots that have none.
    pub pins: Vec<(Slot, Content)>,
    /// Slots whose content is forgotten.
    pub unpins: Vec<Slot>,
}

/// The records at one moment: what a decision goes by.
#[derive(Debug)]
pub struct Moment<'t> {
    rows: Rows<'t>,
}

enum Rows<'t> {
    Snapshot(ReadTransaction),
    /// With what is about to be committed.
    Writing(&'t WriteTransaction),
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot(_) => "Snapshot",
            Self::Writing(_) => "Writing",
        })
    }
}

impl Moment<'_> {
    /// Statements of one package of one realm, by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn package_statements(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Vec<Verified>, Error> {
        let document = document_id(realm, package);
        match &self.rows {
            Rows::Snapshot(txn) => of_package(txn, &document),
            Rows::Writing(txn) => of_package(*txn, &document),
        }
    }

    /// The derived view, also when no version is left.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn derived(
        &self,
        realm: &RealmId,
        package: &PackageId,
    ) -> Result<Option<PackageView>, Error> {
        let document = document_id(realm, package);
        match &self.rows {
            Rows::Snapshot(txn) => views::load(txn, &document),
            Rows::Writing(txn) => views::load(*txn, &document),
        }
    }

    /// The counter for a statement of this node that follows one with the counter `last`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_counter(&self, last: u64) -> Result<u64, Error> {
        match &self.rows {
            Rows::Snapshot(txn) => next_counter(txn, last),
            Rows::Writing(txn) => next_counter(*txn, last),
        }
    }
}

type Decide = dyn FnOnce(&Moment<'_>) -> Option<Plan> + Send;

/// What is asked inside the transaction.
pub(super) struct Decision(Box<Decide>);

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decision")
    }
}

impl Decision {
    /// Asks, and makes the changes; `None`: it was refused, and nothing has changed.
    pub(super) fn take(
        self,
        inner: &Inner,
        txn: &WriteTransaction,
    ) -> Result<Option<(Admission, Scope)>, Error> {
        let plan = (self.0)(&Moment { rows: Rows::Writing(txn) });
        plan.map(|plan| plan.apply(inner, txn)).transpose()
    }
}

impl Plan {
    /// Says what was admitted, and whose documents all of it concerns.
    fn apply(self, inner: &Inner, txn: &WriteTransaction) -> Result<(Admission, Scope), Error> {
        let is_authority =
            |it: &Verified| matches!(it.statement().body(), Body::Root(_) | Body::Revoke { .. });
        assert!(
            !self.statements.iter().any(is_authority),
            "roots and revocations have an admission of their own"
        );
        let (mut repinned, mut scope) = (BTreeSet::new(), Scope::none());
        for (slot, content) in self.pins {
            if pins::put_content(txn, &slot, &content, false)? {
                repinned.insert((slot.realm, slot.package));
            }
        }
        for slot in self.unpins {
            if pins::remove_content(txn, &slot)? {
                repinned.insert((slot.realm, slot.package));
            }
        }
        if let Some((package, source)) = &self.source {
            pins::put_source(txn, package, source, false)?;
            scope.join(Scope::of(package));
        }
        let done = Batch::admit_own(inner, txn, &self.statements)?;
        // Packages of statements were derived with their pins just now.
        for (realm, package) in repinned.difference(&done.derived) {
            pins::follow_up(inner, txn, realm, package)?;
        }
        repinned.iter().for_each(|(_, package)| scope.join(Scope::of(package)));
        scope.join(done.concerned);
        Ok((done.admission, scope))
    }
}

impl Store {
    /// What there is now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn moment(&self) -> Result<Moment<'static>, Error> {
        Ok(Moment { rows: Rows::Snapshot(self.read()?) })
    }

    /// Makes the staged files blobs and keeps what `decide` plans, in one commit: all of it or, if
    /// it refuses, nothing. Calls at the same time share the commit. Durable when it returns, with
    /// what `decide` gave and what was admitted. `decide` runs on the writer's thread, where others
    /// wait for it.
    ///
    /// # Errors
    /// What `decide` refuses with; when the disk, the database or the bucket does.
    pub async fn publish<T, E, F>(&self, blobs: Vec<Staged>, decide: F) -> Result<(T, Admission), E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Moment<'_>) -> Result<(Plan, T), E> + Send + 'static,
    {
        let decided = Arc::new(Mutex::new(None));
        let told = Arc::clone(&decided);
        let decision = Decision(Box::new(move |moment| {
            let (plan, outcome) = match decide(moment) {
                Ok((plan, value)) => (Some(plan), Ok(value)),
                Err(why) => (None, Err(why)),
            };
            *lock(&told) = Some(outcome);
            plan
        }));
        let copies: Vec<_> = blobs.iter().map(|staged| staged.info().clone()).collect();
        for staged in &blobs {
            self.send_first(staged.info(), staged.path(), false).await?;
        }
        let changes = blobs.into_iter().map(|staged| Change::Blob(Box::new(staged))).collect();
        let kept = self.keep_decided(changes, Some(decision)).await?;
        let outcome = lock(&decided).take();
        let value = outcome.unwrap_or_else(|| Err(Error::from(unasked()).into()))?;
        copies.iter().for_each(|copy| self.sent(copy, false));
        match kept {
            Kept::Admitted(admission) => Ok((value, *admission)),
            _ => Err(Error::from(unasked()).into()),
        }
    }
}

/// One that follows `last`, and never one that this node may have signed before its records went
/// back in time.
pub(super) fn next_counter(txn: &impl Tables, last: u64) -> Result<u64, Error> {
    Ok(last.max(txn.meta(tables::META_COUNTERS)?) + 1)
}

fn unasked() -> std::io::Error {
    std::io::Error::other("the node is stopping")
}
