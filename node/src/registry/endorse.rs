//! Endorsing: a publisher puts its name to a release that another one signed.
//!
//! An endorsement is a further signature on the same statement. It is how a release gets the
//! signatures that its names' grants need, and how one that only a revoked key signed stands again.
//! A release whose bytes contradict it here is never endorsed.
//!
//! Source: trust.md sections 2, 4 and 5.

use crdt::{Body, PackageId, StatementId, Verified};
use serde::{Deserialize, Serialize};

use super::artifact::REFUSED;
use super::change::absent;
use super::{Error, Principal, Registry, Scope};
use crate::store::Plan;

/// What an endorsement did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsed {
    /// The format's id.
    pub format: String,
    /// The normal name.
    pub name: String,
    /// The normal version.
    pub version: String,
    /// The releases that carry this node's signature now and did not before.
    pub releases: Vec<StatementId>,
    /// One sentence for each release of the version that does not stand all the same.
    pub lacking: Vec<String>,
}

impl Registry {
    /// Adds this node's signature to every release of a version that lacks it.
    ///
    /// # Errors
    /// Unauthenticated or Forbidden (scope, grant), NotFound (no such version), Conflict (all of
    /// them are signed, or refused here).
    pub async fn endorse(
        &self,
        who: &Principal,
        package: &PackageId,
        version: &str,
    ) -> Result<Endorsed, Error> {
        who.require(Scope::Publish)?;
        let realm = self.publishable(who, package)?;
        let version = self.normal_version(package, version)?;
        let signed = self.unsigned_releases(&realm, package, &version)?;
        let releases: Vec<_> = signed.iter().map(|one| one.statement().id()).collect();
        let plan = Plan { statements: signed, ..Plan::default() };
        self.change(Vec::new(), move |_, _| Ok((plan, ()))).await?;
        let view = self.inner.store.derived(&realm, package)?;
        let lacking = view.map(|view| super::sentences::of_all_fallen(&view, &version));
        let PackageId { format, name } = package.clone();
        Ok(Endorsed { format, name, version, releases, lacking: lacking.unwrap_or_default() })
    }

    /// The releases of a version that another granted key signed and this node did not, signed now.
    fn unsigned_releases(
        &self,
        realm: &crdt::RealmId,
        package: &PackageId,
        version: &str,
    ) -> Result<Vec<Verified>, Error> {
        let granted = self.inner.store.publishers(realm, package)?.keys;
        let own = self.publisher_key();
        let (mut found, mut known) = (Vec::new(), false);
        for verified in self.inner.store.package_statements(realm, package)? {
            let statement = verified.statement();
            let Body::Release(release) = statement.body() else { continue };
            let by_granted = verified.signatures().keys().any(|key| granted.contains_key(key));
            if release.version != version || !by_granted {
                continue;
            }
            known = true;
            let id = statement.id().to_string();
            let is_refused = self.inner.store.row(REFUSED, &id)?.is_some();
            if !is_refused && !verified.signatures().contains_key(&own) {
                found.push(Verified::sign(statement.clone(), &[&self.inner.publisher]));
            }
        }
        match (found.is_empty(), known) {
            (false, _) => Ok(found),
            (true, false) => Err(absent(package, version)),
            (true, true) => {
                let PackageId { format, name } = package;
                let message =
                    format!("every release of {name}@{version} is signed here, or refused");
                let hint = format!("griot why {name}@{version} --format {format}");
                Err(Error::conflict(message).with_hint(hint))
            }
        }
    }
}
