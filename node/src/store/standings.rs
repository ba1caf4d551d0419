//! The standings of realms inside one write transaction: as they were before it, and as they are
//! with what it has changed so far.
//!
//! What did not change comes from the cache that all share; what did is computed from the
//! transaction and kept here alone, until the commit makes it true for everybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt::RealmId;
use redb::WriteTransaction;

use super::authority::{self, Standing};
use super::{Error, Inner};

/// See the module.
pub(super) struct Standings<'t> {
    inner: &'t Inner,
    txn: &'t WriteTransaction,
    /// Those that something has changed, as they were before.
    before: BTreeMap<RealmId, Arc<Standing>>,
    now: BTreeMap<RealmId, Arc<Standing>>,
}

impl<'t> Standings<'t> {
    pub(super) const fn new(inner: &'t Inner, txn: &'t WriteTransaction) -> Self {
        Self { inner, txn, before: BTreeMap::new(), now: BTreeMap::new() }
    }

    /// With what has changed so far.
    pub(super) fn now(&mut self, realm: &RealmId) -> Result<Arc<Standing>, Error> {
        if let Some(standing) = self.now.get(realm) {
            return Ok(Arc::clone(standing));
        }
        let standing = if self.before.contains_key(realm) {
            Arc::new(Standing::compute(self.txn, realm)?)
        } else {
            self.inner.standing(realm)?
        };
        self.now.insert(*realm, Arc::clone(&standing));
        Ok(standing)
    }

    /// Before the transaction.
    pub(super) fn before(&mut self, realm: &RealmId) -> Result<Arc<Standing>, Error> {
        match self.before.get(realm) {
            Some(standing) => Ok(Arc::clone(standing)),
            None => self.now(realm),
        }
    }

    /// What a realm's is computed from is about to change, or just did.
    pub(super) fn change(&mut self, realm: &RealmId) -> Result<(), Error> {
        if !self.before.contains_key(realm) {
            let before = self.inner.standing(realm)?;
            self.before.insert(*realm, before);
        }
        self.now.remove(realm);
        Ok(())
    }

    /// The realms of which something has changed.
    pub(super) fn changed(&self) -> Vec<RealmId> {
        self.before.keys().copied().collect()
    }

    /// A realm with those that it delegates to.
    pub(super) fn reached(&mut self, realm: &RealmId) -> Result<Vec<Arc<Standing>>, Error> {
        let first = self.now(realm)?;
        authority::reached(first, |realm| self.now(realm))
    }

    /// The same as it was before the transaction.
    pub(super) fn reached_before(&mut self, realm: &RealmId) -> Result<Vec<Arc<Standing>>, Error> {
        let first = self.before(realm)?;
        authority::reached(first, |realm| self.before(realm))
    }
}
