//! Who may read what a private realm publishes.
//!
//! Other users of this machine share its loopback, so packages of private realms are read with a
//! token that has the scope `read`, there too. Without one the answer is that of a name which no
//! realm has; an upstream is not asked instead. As long as no private realm is followed this costs
//! a look at one number, and for a token without bounds it never costs more.
//!
//! Source: trust.md section 16.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crdt::routes::{Ground, Source};
use crdt::{Digest, PackageId, RealmId};

use super::sources::no_realm;
use super::upstreams::no_upstream;
use super::{Door, Error, Principal, Registry, Scope};

/// The followed realms that are private, as of one revision of the index.
#[derive(Debug, Default)]
pub(super) struct PrivateRealms(Mutex<Option<(u64, Arc<BTreeSet<RealmId>>)>>);

impl Principal {
    /// Whether what a private realm says of a package may be read.
    #[must_use]
    pub fn may_read(&self, realm: &RealmId, package: &PackageId) -> bool {
        let of_realm = self.realm.is_none_or(|only| only == *realm);
        let named = self.require_name(&package.format, &package.name).is_ok();
        self.may(Scope::Read) && of_realm && named
    }
}

impl Registry {
    fn private_realms(&self) -> Result<Arc<BTreeSet<RealmId>>, Error> {
        let store = &self.inner.store;
        let revision = store.revision_of_readers();
        let mut known = self.inner.private.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, realms)) = known.as_ref().filter(|(as_of, _)| *as_of == revision) {
            return Ok(Arc::clone(realms));
        }
        let mut realms = BTreeSet::new();
        for followed in store.followed()? {
            if store.is_private(&followed.realm)? {
                realms.insert(followed.realm);
            }
        }
        let realms = Arc::new(realms);
        *known = Some((revision, Arc::clone(&realms)));
        Ok(realms)
    }

    /// Whether something here is hidden from who sends no token: a followed realm is private.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hides_some(&self) -> Result<bool, Error> {
        Ok(!self.private_realms()?.is_empty())
    }

    /// Refuses to tell of a package of a private realm who may not read it.
    ///
    /// # Errors
    /// NotFound, as for a name that no realm has; or the store fails.
    pub fn check_read(
        &self,
        who: &Principal,
        door: Door,
        package: &PackageId,
    ) -> Result<(), Error> {
        let private = self.private_realms()?;
        if private.is_empty() || private.iter().all(|realm| who.may_read(realm, package)) {
            return Ok(());
        }
        let hidden = |realm: &RealmId| private.contains(realm) && !who.may_read(realm, package);
        let decision = self.decide(package)?;
        let tells = match &decision.source {
            Source::Realm { realm } => door != Door::Upstream && hidden(realm),
            Source::Unrouted { realms, .. } => realms.iter().any(hidden),
            // An upstream's answer is its own; ours would name the realm.
            Source::Upstream { .. } => {
                let asks = door != Door::Hosted && self.endpoint(package, &decision).is_ok();
                !asks && self.inner.store.realms_with(package)?.iter().any(hidden)
            }
            Source::Deny => false,
        };
        if tells { Err(self.unknown(door, package)?) } else { Ok(()) }
    }

    /// The answer for a name that no realm has, where no upstream is asked.
    fn unknown(&self, door: Door, package: &PackageId) -> Result<Error, Error> {
        let asks = self.require_rules(&package.format)?.upstream.is_some();
        if asks && door != Door::Hosted && self.default_endpoint(&package.format)?.is_none() {
            return Ok(no_upstream(package));
        }
        Ok(no_realm(package, &Source::Upstream { origin: None }, Ground::Default))
    }

    /// The same for bytes that are asked for by their digest.
    ///
    /// # Errors
    /// NotFound, as for a digest that nobody names; or the store fails.
    pub fn check_read_digest(&self, who: &Principal, digest: &Digest) -> Result<(), Error> {
        let private = self.private_realms()?;
        let store = &self.inner.store;
        if private.is_empty() || who.may(Scope::Admin) {
            return Ok(());
        }
        let naming = store.naming(digest)?;
        let is_hidden = !naming.is_empty() && naming.iter().all(|realm| private.contains(realm));
        if !is_hidden || store.is_cached(digest)? {
            return Ok(());
        }
        let named = store.artifact(digest)?;
        if named.iter().any(|one| who.may_read(&one.realm, &one.package)) {
            return Ok(());
        }
        Err(super::artifact::nobody_names(digest))
    }

    /// Says of packages of followed realms whether they may be read, one after another.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn readable(
        &self,
        who: &Principal,
    ) -> Result<impl Fn(&RealmId, &PackageId) -> bool, Error> {
        let private = self.private_realms()?;
        Ok(move |realm: &RealmId, package: &PackageId| {
            !private.contains(realm) || who.may_read(realm, package)
        })
    }
}
