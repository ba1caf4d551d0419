//! Where a publish goes, and who may send it there.
//!
//! Asked before a body is read, and again when the release is signed. The realm is the one that the
//! name is routed to, if it grants this node's key; an unrouted name goes to the site's realm
//! where that grants the key, else to the node's own. Source: trust.md section 11.

use crdt::routes::{Decision, Ground, Source};
use crdt::{Authority, PackageId, RealmId};

use super::{Error, Principal, Registry, Scope};

impl Registry {
    /// Whether this asker may publish the name, and the realm it would go to. Asked before a body
    /// is read.
    ///
    /// # Errors
    /// Unauthenticated, Forbidden (scope, pattern, grant, route), Invalid (name), NotHere
    /// (unrouted).
    pub async fn check_publish(
        &self,
        who: &Principal,
        format: &str,
        name: &str,
        realm: Option<RealmId>,
    ) -> Result<RealmId, Error> {
        who.require(Scope::Publish)?;
        let package = self.package_id(format, name)?;
        let rules = self.require_rules(format)?;
        (rules.publishable)(&package.name).map_err(Error::invalid)?;
        who.require_name(format, &package.name)?;
        let asked = match (realm, who.realm) {
            (Some(asked), Some(bound)) if asked != bound => {
                return Err(Error::forbidden(format!("the token publishes to {bound} alone")));
            }
            (asked, bound) => asked.or(bound),
        };
        let target = self.target_realm(&package, asked)?;
        self.require_grant(&package, &target)?;
        Ok(target)
    }

    /// Where a publish goes. Source: trust.md section 11.
    fn target_realm(&self, package: &PackageId, asked: Option<RealmId>) -> Result<RealmId, Error> {
        let decision = self.decide(package)?;
        match (&decision.source, asked) {
            (Source::Realm { realm }, None) => Ok(*realm),
            (Source::Realm { realm }, Some(asked)) if *realm == asked => Ok(asked),
            (Source::Upstream { .. } | Source::Deny, _) if decision.ground != Ground::Default => {
                Err(routed_elsewhere(package, &decision))
            }
            (Source::Realm { .. }, Some(_)) if decision.ground != Ground::Published => {
                Err(routed_elsewhere(package, &decision))
            }
            (_, Some(asked)) => Ok(asked),
            (Source::Unrouted { .. }, None) => Err(routed_elsewhere(package, &decision)),
            (_, None) => self.home_of_new_names(package),
        }
    }

    /// The site's realm where it grants this node's key, else the own realm.
    fn home_of_new_names(&self, package: &PackageId) -> Result<RealmId, Error> {
        let site = self.site_realm()?;
        let publishers = self.inner.store.publishers(&site, package)?;
        let granted = publishers.counts(&self.publisher_key());
        Ok(if granted { site } else { self.inner.own })
    }

    pub(super) fn require_grant(
        &self,
        package: &PackageId,
        realm: &RealmId,
    ) -> Result<Authority, Error> {
        let followed = self.inner.store.followed()?;
        if !followed.iter().any(|followed| followed.realm == *realm) {
            return Err(Error::forbidden(format!("{realm} is not followed here"))
                .with_hint(format!("griot follow {realm}")));
        }
        let authority = self.inner.store.authority(realm)?;
        let key = self.publisher_key();
        let publishers = self.inner.store.publishers(realm, package)?;
        if !publishers.counts(&key) {
            let PackageId { format, name } = package;
            return Err(Error::forbidden(format!(
                "{realm} does not let this node publish {format}:{name}"
            ))
            .with_hint(format!(
                "on a node with its root key: griot realm grant {format}:{name} {key}"
            )));
        }
        Ok(authority)
    }
}

fn routed_elsewhere(package: &PackageId, decision: &Decision) -> Error {
    let PackageId { format, name } = package;
    let place = match &decision.source {
        Source::Realm { realm } => format!("comes from {realm}"),
        Source::Upstream { .. } => "comes from the upstream".to_owned(),
        Source::Deny => "is denied".to_owned(),
        Source::Unrouted { .. } => "has several possible sources and no route".to_owned(),
    };
    Error::forbidden(format!("{name} {place} here, so it cannot be published elsewhere"))
        .with_hint(format!("griot route add {format}:{name} REALM"))
}
