//! Which source a name has. The rules are `crdt::routes`; here they get their inputs.
//!
//! The table of rules is built from the followed realms, this node's own routes and the site's
//! `route` statements. It is kept until one of them changes: admissions of authority statements
//! and changes of what is followed are noticed when the table is next wanted.

use std::sync::{Arc, Mutex, PoisonError};

use crdt::derive::VersionView;
use crdt::realm::Claim;
use crdt::routes::{Decision, Ground, Rule, Source, Table, site_rules};
use crdt::statement::{Counter, Pattern, RouteSource};
use crdt::{Body, Collection, PackageId, RealmId, SlotState};
use tokio::sync::{broadcast, watch};

use super::{Door, Error, Registry};
use crate::store::{AcceptedMirror, Admission, FollowKind, Followed, Store};

/// The table, with the two channels that tell when it is out of date.
#[derive(Debug)]
pub(super) struct RoutingCache(Mutex<Cached>);

#[derive(Debug)]
struct Cached {
    table: Option<Arc<Table>>,
    admissions: broadcast::Receiver<Arc<Admission>>,
    follows: watch::Receiver<u64>,
}

impl RoutingCache {
    pub(super) fn new(store: &Store) -> Self {
        let admissions = store.subscribe();
        Self(Mutex::new(Cached { table: None, admissions, follows: store.watch_follows() }))
    }

    fn drop_table(&self, store: &Store) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).table = None;
        store.count_change();
    }

    fn table(&self, store: &Store, own: RealmId) -> Result<Arc<Table>, Error> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.is_stale() {
            cached.table = None;
        }
        if let Some(table) = &cached.table {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(build(store, own)?);
        cached.table = Some(Arc::clone(&table));
        Ok(table)
    }
}

impl Cached {
    /// Whether a followed realm or an authority statement came since the last look.
    fn is_stale(&mut self) -> bool {
        let mut stale = self.follows.has_changed().unwrap_or(false);
        self.follows.mark_unchanged();
        loop {
            match self.admissions.try_recv() {
                Ok(admission) => {
                    stale |= admission
                        .new
                        .iter()
                        .any(|new| matches!(new.collection, Collection::Authority(_)));
                }
                Err(broadcast::error::TryRecvError::Lagged(_)) => stale = true,
                Err(_) => return stale,
            }
        }
    }
}

fn build(store: &Store, own: RealmId) -> Result<Table, Error> {
    let mut followed = store.followed()?;
    followed.sort_by_key(|followed| followed.order);
    let site = followed
        .iter()
        .find(|followed| followed.kind == FollowKind::Site)
        .map_or(own, |followed| followed.realm);
    let authority = store.authority(&site)?;
    let routes = store.authority_of_kind(&site, "route")?;
    let claims = followed
        .into_iter()
        .flat_map(|Followed { realm, claims, .. }| claims.into_iter().map(move |c| (realm, c)))
        .collect();
    let site_rules = site_rules(&authority, &routes);
    Ok(Table { own, site, own_rules: store.routes()?, site_rules, claims })
}

impl Registry {
    pub(super) fn table(&self) -> Result<Arc<Table>, Error> {
        self.inner.routing.table(&self.inner.store, self.inner.own)
    }

    /// The realm whose routes and packages this node takes: the joined one, else its own.
    ///
    /// # Errors
    /// When the store fails.
    pub fn site_realm(&self) -> Result<RealmId, Error> {
        Ok(self.table()?.site)
    }

    /// Where the name comes from, and why.
    ///
    /// # Errors
    /// When the store fails.
    pub fn decide(&self, package: &PackageId) -> Result<Decision, Error> {
        let table = self.table()?;
        let mut published_in = Vec::new();
        for realm in [table.own, table.site] {
            if !published_in.contains(&realm) && self.published_in(&realm, package)? {
                published_in.push(realm);
            }
        }
        let pin = self.inner.store.pinned_source(package)?;
        // It matters for names that a realm has, and for no others.
        let upstream_known = !published_in.is_empty() && self.upstream_known(package)?;
        Ok(table.decide(package, &published_in, upstream_known, pin.as_ref()))
    }

    /// Whether the package is one of an upstream, as far as is known: nobody is asked.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_upstreams(&self, door: Door, package: &PackageId) -> Result<bool, Error> {
        if door != Door::Virtual {
            return Ok(door == Door::Upstream);
        }
        let decision = self.decide(package)?;
        let upstreams = matches!(decision.source, Source::Upstream { .. });
        Ok(upstreams && (decision.ground != Ground::Default || self.upstream_known(package)?))
    }

    /// Whether the realm has published the package: a version stands, or a granted key once signed
    /// one. A name whose releases were all withdrawn stays with its realm: else it would fall to
    /// another source, and whoever stole a publisher's key could choose when.
    fn published_in(&self, realm: &RealmId, package: &PackageId) -> Result<bool, Error> {
        let view = self.inner.store.package(realm, package)?;
        let stands = |version: &VersionView| version.state != SlotState::PinnedUnsupported;
        if view.is_some_and(|view| view.versions.values().any(stands)) {
            return Ok(true);
        }
        let statements = self.inner.store.package_statements(realm, package)?;
        let releases =
            statements.iter().filter(|s| matches!(s.statement().body(), Body::Release(_)));
        let signers: Vec<_> = releases.flat_map(|s| s.signatures().keys()).collect();
        if signers.is_empty() {
            return Ok(false);
        }
        let granted = self.inner.store.publishers(realm, package)?.keys;
        Ok(signers.into_iter().any(|key| granted.contains_key(key)))
    }

    /// The answer for a name that nobody supplies behind the door that was used.
    pub(super) fn no_place(
        &self,
        package: &PackageId,
        decision: &Decision,
    ) -> Result<Error, Error> {
        match &decision.source {
            Source::Upstream { .. } if decision.ground == Ground::Default => {
                self.unclaimed(package)
            }
            other => Ok(no_realm(package, other, decision.ground)),
        }
    }

    /// The answer for a name that no rule gives to anybody.
    fn unclaimed(&self, package: &PackageId) -> Result<Error, Error> {
        let PackageId { format, name } = package;
        let realms = self.inner.store.realms_with(package)?;
        let Some(realm) = realms.first() else {
            return Ok(no_realm(package, &Source::Upstream { origin: None }, Ground::Default));
        };
        let why = format!(
            "{name} is in the followed realm {realm}, but no claim or route gives it the name"
        );
        Ok(Error::not_found(why).with_hint(format!("griot route add {format}:{name} {realm}")))
    }

    /// Adds or replaces a route of this node alone; the site's routes are statements.
    ///
    /// # Errors
    /// [`super::Outcome::Invalid`] for a bad pattern or an unknown format.
    pub async fn route_add(
        &self,
        format: &str,
        pattern: &str,
        source: RouteSource,
    ) -> Result<(), Error> {
        let pattern = self.pattern(format, pattern)?;
        let rule = Rule {
            format: format.to_owned(),
            pattern,
            source,
            counter: Counter::default(),
            contested: false,
        };
        self.inner.store.set_route(rule).await?;
        self.inner.routing.drop_table(&self.inner.store);
        Ok(())
    }

    /// A pattern as names are compared; one in another spelling would cover nothing, in silence.
    fn pattern(&self, format: &str, text: &str) -> Result<Pattern, Error> {
        let parsed = Pattern::parse(text)?;
        if format == "*" {
            return Ok(parsed);
        }
        let rules = self.require_rules(format)?;
        if text.ends_with('*') {
            return Ok(parsed);
        }
        let name = (rules.canonical_name)(text).map_err(Error::invalid)?;
        Ok(Pattern::parse(&name)?)
    }

    /// Removes a route of this node; false if there was none.
    ///
    /// # Errors
    /// As [`Registry::route_add`].
    pub async fn route_remove(&self, format: &str, pattern: &str) -> Result<bool, Error> {
        let pattern = self.pattern(format, pattern)?;
        let removed = self.inner.store.remove_route(format, &pattern.0).await?;
        self.inner.routing.drop_table(&self.inner.store);
        Ok(removed)
    }

    /// Every rule with where it comes from: `own`, `site`, or the realm whose claim it is.
    ///
    /// # Errors
    /// When the store fails.
    pub fn route_list(&self) -> Result<Vec<(String, Rule)>, Error> {
        let table = self.table()?;
        let own = table.own_rules.iter().map(|rule| ("own".to_owned(), rule.clone()));
        let site = table.site_rules.iter().map(|rule| ("site".to_owned(), rule.clone()));
        let claims =
            table.claims.iter().map(|(realm, claim)| (realm.to_string(), rule_of(*realm, claim)));
        Ok(own.chain(site).chain(claims).collect())
    }

    /// Follows a realm with the claims that a person has confirmed. Its packages arrive by sync.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow(
        &self,
        realm: RealmId,
        kind: FollowKind,
        claims: Vec<Claim>,
        mirrors: Vec<AcceptedMirror>,
    ) -> Result<(), Error> {
        let followed = self.inner.store.followed()?;
        let order = followed.iter().map(|followed| followed.order).max().unwrap_or(0) + 1;
        self.inner.store.follow(Followed { realm, kind, claims, order, mirrors }).await?;
        self.inner.routing.drop_table(&self.inner.store);
        Ok(())
    }

    /// A person's word that the name comes from there from now on.
    ///
    /// # Errors
    /// [`super::Outcome::Invalid`] when it is no one place: a pin to nobody would outlive the route
    /// that settles it.
    pub async fn accept_source(&self, package: &PackageId, source: Source) -> Result<(), Error> {
        if let Source::Unrouted { realms, .. } = &source {
            let PackageId { format, name } = package;
            let places: Vec<_> = realms.iter().map(ToString::to_string).collect();
            return Err(Error::invalid(format!(
                "{name} has several possible sources: {}",
                places.join(" and ")
            ))
            .with_hint(format!("griot accept {name} --format {format} --source REALM")));
        }
        self.inner.store.pin_source(package, source, true).await?;
        Ok(())
    }
}

fn rule_of(realm: RealmId, claim: &Claim) -> Rule {
    Rule {
        format: claim.format.clone(),
        pattern: claim.pattern.clone(),
        source: RouteSource::Realm(realm),
        counter: Counter::default(),
        contested: false,
    }
}

/// The answer for a name that no realm supplies.
pub(super) fn no_realm(package: &PackageId, source: &Source, ground: Ground) -> Error {
    let PackageId { format, name } = package;
    match source {
        Source::Unrouted { realms, upstream } => {
            let mut places: Vec<String> = realms.iter().map(ToString::to_string).collect();
            if *upstream {
                places.push("the upstream".to_owned());
            }
            Error::not_here(format!(
                "{name} has no source yet: it is in {}, and nobody has it until it is routed",
                places.join(" and in ")
            ))
            .with_hint(format!("griot route add {format}:{name} SOURCE"))
        }
        Source::Deny => Error::forbidden(format!("{name} is denied by a route of this site"))
            .with_hint(format!("griot why {name} --format {format}")),
        _ if ground == Ground::Default => Error::not_found(format!(
            "{name} is not published in a realm that this node takes names from, and no upstream \
             is configured for {format}"
        ))
        .with_hint(format!("griot search {name}")),
        _ => Error::not_found(format!(
            "{name} is routed to the upstream of {format}, and none is configured"
        ))
        .with_hint(format!("griot route add {format}:{name} REALM")),
    }
}
