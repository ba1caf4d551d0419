//! What a publisher may say about a release afterwards: yank, tag, withdraw.
//!
//! Each is a statement by this node's publisher key in the realm that supplies the name. A yank
//! hides from new resolution and can be taken back; a withdrawal voids this node's own signature
//! for ever. Neither touches bytes. Each call is one commit, whatever the number of statements.

use std::collections::BTreeSet;

use crdt::derive::Candidate;
use crdt::routes::Source;
use crdt::statement::Counter;
use crdt::{Body, Digest, PackageId, RealmId, StatementId};

use super::{Door, Error, Principal, Registry, Scope};
use crate::store::{Plan, Slot};

impl Registry {
    /// Yanks a version with a reason, or (`None`) unyanks it: all its standing releases.
    ///
    /// # Errors
    /// Unauthenticated or Forbidden (scope, grant), NotFound (no such version).
    pub async fn yank(
        &self,
        who: &Principal,
        package: &PackageId,
        version: &str,
        yank: Option<&str>,
    ) -> Result<(), Error> {
        if !who.may(Scope::Publish) {
            who.require(Scope::Yank)?;
        }
        let (realm, releases) = self.changeable(who, package, version)?;
        let (package, yank) = (package.clone(), yank.map(ToOwned::to_owned));
        self.change(Vec::new(), move |registry, moment| {
            let view = moment.derived(&realm, &package)?;
            let counters = view.map(|view| view.yank_counters).unwrap_or_default();
            let epoch = registry.inner.store.authority(&realm)?.epoch();
            let mut plan = Plan::default();
            for release in releases {
                let last = counters.get(&release.to_string()).copied().unwrap_or_default();
                let counter = Counter { epoch, n: moment.next_counter(last.last_in(epoch))? };
                let reason = yank.clone().unwrap_or_default();
                let body = match yank {
                    Some(_) => Body::Yank { release, counter, reason },
                    None => Body::Unyank { release, counter, reason },
                };
                plan.statements.push(registry.sign(realm, &package, body)?);
            }
            Ok((plan, ()))
        })
        .await
    }

    /// Points a tag at a version, or removes it.
    ///
    /// # Errors
    /// Unauthenticated or Forbidden (scope, grant), NotFound (no such version).
    pub async fn set_tag(
        &self,
        who: &Principal,
        package: &PackageId,
        tag: &str,
        version: Option<&str>,
    ) -> Result<(), Error> {
        who.require(Scope::Publish)?;
        if version.is_some() {
            (self.require_rules(&package.format)?.tag_name)(tag).map_err(Error::invalid)?;
        }
        let (realm, release) = match version {
            None => (self.publishable(who, package)?, None),
            Some(version) => {
                let (realm, releases) = self.changeable(who, package, version)?;
                (realm, releases.first().copied())
            }
        };
        let (package, tag) = (package.clone(), tag.to_owned());
        self.change(Vec::new(), move |registry, moment| {
            let signed = registry.tag(moment, (realm, &package), (&tag, release))?;
            Ok((Plan { statements: vec![signed], ..Plan::default() }, ()))
        })
        .await
    }

    /// Withdraws this node's signature from the releases of a version that carry `file` (all of
    /// them, if `None`), and forgets its own pin of them: the publisher means it.
    ///
    /// # Errors
    /// Unauthenticated or Forbidden (scope, grant, somebody else's release), NotFound.
    pub async fn withdraw(
        &self,
        who: &Principal,
        package: &PackageId,
        (version, file): (&str, Option<&str>),
        reason: &str,
    ) -> Result<(), Error> {
        who.require(Scope::Publish)?;
        let (realm, releases) = self.changeable(who, package, version)?;
        let version = self.normal_version(package, version)?;
        let mut plan = Plan::default();
        for release in releases {
            let Some(files) = self.files_signed_here(&release)? else { continue };
            if file.is_some_and(|file| !files.iter().any(|name| name == file)) {
                continue;
            }
            let body = Body::Withdraw { release, reason: reason.to_owned() };
            plan.statements.push(self.sign(realm, package, body)?);
            plan.unpins.extend(slots(realm, package, &version, files));
        }
        if plan.statements.is_empty() {
            let view = self.inner.store.package(&realm, package)?;
            let found = view.as_ref().and_then(|view| view.versions.get(&version));
            let has = |file: &str| found.is_some_and(|found| found.files.contains_key(file));
            if let Some(file) = file.filter(|file| !has(file)) {
                let message = format!("{}@{version} has no file {file}", package.name);
                return Err(Error::not_found(message));
            }
            let file = file.unwrap_or("a release");
            return Err(Error::forbidden(format!(
                "{file} of {}@{version} was not signed by this node, so it cannot withdraw it",
                package.name
            )));
        }
        self.change(Vec::new(), move |_, _| Ok((plan, ()))).await
    }

    /// Withdraws this node's signature from the releases of a version that hold something else
    /// where `digest` stands, too, and forgets its own pins of them. Says how many there were.
    ///
    /// # Errors
    /// Unauthenticated or Forbidden (scope, grant), NotFound.
    pub async fn withdraw_rivals(
        &self,
        who: &Principal,
        package: &PackageId,
        (version, digest): (&str, &Digest),
        reason: &str,
    ) -> Result<usize, Error> {
        who.require(Scope::Publish)?;
        let (realm, _) = self.changeable(who, package, version)?;
        let version = self.normal_version(package, version)?;
        let view = self.inner.store.package(&realm, package)?;
        let found = view.as_ref().and_then(|view| view.versions.get(&version));
        let (mut plan, mut seen) = (Plan::default(), BTreeSet::new());
        for file in found.iter().flat_map(|found| found.files.values()) {
            let of = |one: &&Candidate| one.content.blake3 == *digest;
            let Some(chosen) = file.candidates.iter().find(of) else { continue };
            let others = file.candidates.iter().filter(|one| !of(one));
            for release in others.flat_map(|one| &one.releases) {
                let is_chosen = chosen.releases.contains(release);
                if is_chosen || !seen.insert(*release) {
                    continue;
                }
                let Some(files) = self.files_signed_here(release)? else { continue };
                let body = Body::Withdraw { release: *release, reason: reason.to_owned() };
                plan.statements.push(self.sign(realm, package, body)?);
                plan.unpins.extend(slots(realm, package, &version, files));
            }
        }
        let count = plan.statements.len();
        if count > 0 {
            self.change(Vec::new(), move |_, _| Ok((plan, ()))).await?;
        }
        Ok(count)
    }

    /// File names of a release that carries this node's signature.
    fn files_signed_here(&self, release: &StatementId) -> Result<Option<Vec<String>>, Error> {
        let statement = self.inner.store.statement(release)?;
        Ok(statement.and_then(|statement| {
            let ours = statement.signatures().contains_key(&self.publisher_key());
            match statement.statement().body() {
                Body::Release(release) if ours => {
                    Some(release.files.iter().map(|file| file.name.clone()).collect())
                }
                _ => None,
            }
        }))
    }

    /// The realm that supplies the name, if this node's key is granted there.
    pub(super) fn publishable(
        &self,
        who: &Principal,
        package: &PackageId,
    ) -> Result<RealmId, Error> {
        who.require_name(&package.format, &package.name)?;
        let decision = self.decide(package)?;
        let Source::Realm { realm } = decision.source else {
            return Err(self
                .source_for(Door::Virtual, package)
                .map_or_else(|error| error, |_| absent(package, "")));
        };
        if let Some(bound) = who.realm.filter(|bound| *bound != realm) {
            return Err(Error::forbidden(format!("the token is for {bound} alone")));
        }
        self.require_grant(package, &realm)?;
        Ok(realm)
    }

    /// The realm and the standing releases of a version that this node may speak about.
    fn changeable(
        &self,
        who: &Principal,
        package: &PackageId,
        version: &str,
    ) -> Result<(RealmId, Vec<StatementId>), Error> {
        let realm = self.publishable(who, package)?;
        let normal = self.normal_version(package, version)?;
        let view = self.inner.store.package(&realm, package)?;
        let found = view.and_then(|mut view| view.versions.remove(&normal));
        match found {
            Some(found) if !found.releases.is_empty() => Ok((realm, found.releases)),
            _ => Err(absent(package, version)),
        }
    }

    /// Normal form of a version of the package's format.
    pub(crate) fn normal_version(
        &self,
        package: &PackageId,
        version: &str,
    ) -> Result<String, Error> {
        let rules = self.require_rules(&package.format)?;
        (rules.canonical_version)(version).map_err(Error::invalid)
    }
}

/// The slots that a release of this node fills: it means to let their pins go.
fn slots(
    realm: RealmId,
    package: &PackageId,
    version: &str,
    files: Vec<String>,
) -> impl Iterator<Item = Slot> {
    files.into_iter().map(move |file| {
        let (package, version) = (package.clone(), version.to_owned());
        Slot { realm, package, version, file }
    })
}

/// The answer for a version that the source of the name does not have.
pub(super) fn absent(package: &PackageId, version: &str) -> Error {
    let PackageId { format, name } = package;
    Error::not_found(format!("{name} has no version {version}"))
        .with_hint(format!("griot info {name} --format {format}"))
}
