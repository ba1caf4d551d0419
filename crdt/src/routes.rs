//! A short name has exactly one source.
//!
//! The first of these that applies decides: a pin of an earlier use; this node's own route; the
//! site's `route` statements; a confirmed claim of a followed realm; publication in the own or
//! the site's realm; else the upstream. There is no fall-through from one source to another, and
//! nobody is asked in order to decide: everything is an argument. What the rules would say beside
//! a pin is shown as `pending` and waits for a person.
//!
//! Source: trust.md section 11, "Where a name comes from" and "Where a publish goes".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::realm::Claim;
use crate::statement::{Body, Counter, Pattern, RouteSource};
use crate::{Authority, PackageId, RealmId, Verified};

/// A counter above this has no effect. Source: trust.md section 3.
const COUNTER_MAX: u64 = 1 << 53;

/// One rule: names of a format that match come from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The format's id.
    pub format: String,
    /// The names.
    pub pattern: Pattern,
    /// The source.
    pub source: RouteSource,
    /// Of a site's statement; zero for a node's own rule.
    pub counter: Counter,
    /// Two statements with equal counters disagree: the rule denies.
    pub contested: bool,
}

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// The packages of a realm.
    Realm {
        /// The realm.
        realm: RealmId,
    },
    /// The upstream of the format.
    Upstream,
    /// Nobody, on purpose.
    Deny,
    /// Nobody, until a person decides.
    Unrouted {
        /// Realms that publish it, sorted.
        realms: Vec<RealmId>,
        /// Whether a positive answer of the upstream is held.
        upstream: bool,
    },
}

/// Which of the rules decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// Pinned by an earlier use.
    Pin,
    /// This node's own route.
    OwnRoute,
    /// A route statement of the site.
    SiteRoute,
    /// A confirmed claim of a followed realm.
    Claim,
    /// Published in the own or the site's realm.
    Published,
    /// None of these.
    Default,
}

/// A decision with its ground.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The one source.
    pub source: Source,
    /// What decided.
    pub ground: Ground,
    /// What the rules say now, where that differs from the pin.
    pub pending: Option<Source>,
}

/// Everything that routing depends on, apart from the name.
#[derive(Debug, Clone)]
pub struct Table {
    /// This node's personal realm.
    pub own: RealmId,
    /// The realm joined by an invite; the own realm if none.
    pub site: RealmId,
    /// This node's own rules.
    pub own_rules: Vec<Rule>,
    /// The site's rules: see [`site_rules`].
    pub site_rules: Vec<Rule>,
    /// Confirmed claims of followed realms, in the order of their confirmation.
    pub claims: Vec<(RealmId, Claim)>,
}

impl Table {
    /// Decides the source of a name.
    ///
    /// `published_in`: those of the own and the site's realm where a release of the name stands.
    /// `upstream_known`: a positive answer of the upstream for it is stored here. `pin`: the
    /// source of its first use.
    #[must_use]
    pub fn decide(
        &self,
        package: &PackageId,
        published_in: &[RealmId],
        upstream_known: bool,
        pin: Option<&Source>,
    ) -> Decision {
        let (source, ground) = self.by_rules(package, published_in, upstream_known);
        match pin {
            None => Decision { source, ground, pending: None },
            Some(pin) => {
                let pending = (source != *pin && ground != Ground::Default).then_some(source);
                Decision { source: pin.clone(), ground: Ground::Pin, pending }
            }
        }
    }

    fn by_rules(
        &self,
        package: &PackageId,
        published_in: &[RealmId],
        upstream_known: bool,
    ) -> (Source, Ground) {
        if let Some((source, ground)) = self.by_routes(package) {
            return (source, ground);
        }
        let mut realms = published_in.to_vec();
        realms.sort_unstable();
        realms.dedup();
        match (realms.as_slice(), upstream_known) {
            ([], _) => (Source::Upstream, Ground::Default),
            ([realm], false) => (Source::Realm { realm: *realm }, Ground::Published),
            (_, upstream) => (Source::Unrouted { realms, upstream }, Ground::Published),
        }
    }

    /// What routes and claims say; `None` for an unrouted name.
    fn by_routes(&self, package: &PackageId) -> Option<(Source, Ground)> {
        let own = best(&self.own_rules, package).map(|rule| (source_of(rule), Ground::OwnRoute));
        let site = || best(&self.site_rules, package).map(|r| (source_of(r), Ground::SiteRoute));
        let claim = || {
            let realm = self.claimant(package)?;
            Some((Source::Realm { realm }, Ground::Claim))
        };
        own.or_else(site).or_else(claim)
    }

    /// The realm whose claim was confirmed first among those that match. A claim that overlaps one
    /// confirmed before, of another realm, takes nothing.
    fn claimant(&self, package: &PackageId) -> Option<RealmId> {
        let matches =
            |claim: &Claim| claim.format == package.format && claim.pattern.matches(&package.name);
        let (index, (realm, claim)) =
            self.claims.iter().enumerate().find(|(_, (_, claim))| matches(claim))?;
        let overlaps = |(other, earlier): &(RealmId, Claim)| {
            other != realm
                && earlier.format == claim.format
                && earlier.pattern.overlaps(&claim.pattern)
        };
        if self.claims[..index].iter().any(overlaps) { None } else { Some(*realm) }
    }

    /// Where a publish of the name must go; `None` for an unrouted name.
    #[must_use]
    pub fn routed_realm(&self, package: &PackageId) -> Option<Source> {
        self.by_routes(package).map(|(source, _)| source)
    }
}

/// The most specific rule that matches.
fn best<'r>(rules: &'r [Rule], package: &PackageId) -> Option<&'r Rule> {
    rules
        .iter()
        .filter(|rule| rule.format == package.format && rule.pattern.matches(&package.name))
        .max_by_key(|rule| rule.pattern.specificity())
}

fn source_of(rule: &Rule) -> Source {
    match &rule.source {
        _ if rule.contested => Source::Deny,
        RouteSource::Realm(realm) => Source::Realm { realm: *realm },
        RouteSource::Upstream { .. } => Source::Upstream,
        RouteSource::Deny => Source::Deny,
    }
}

/// The standing route rules of a realm: each signed by k of its current roots, the newest counter
/// for each format and pattern, equal counters with different sources contested. Sorted.
#[must_use]
pub fn site_rules<'a>(
    authority: &Authority,
    routes: impl IntoIterator<Item = &'a Verified>,
) -> Vec<Rule> {
    let mut rules: BTreeMap<(String, Pattern), Rule> = BTreeMap::new();
    let mut routes: Vec<&Verified> = routes.into_iter().collect();
    // One order for one set, so that which of two equal counters is named first cannot matter.
    routes.sort_by_key(|route| route.statement().id());
    for verified in routes {
        let Body::Route { format, pattern, source, counter } = verified.statement().body() else {
            continue;
        };
        if !stands(authority, verified, counter) {
            continue;
        }
        let rule = Rule {
            format: format.clone(),
            pattern: pattern.clone(),
            source: source.clone(),
            counter: *counter,
            contested: false,
        };
        let slot = rules.entry((format.clone(), pattern.clone()));
        slot.and_modify(|held| newer(held, &rule)).or_insert(rule);
    }
    rules.into_values().collect()
}

/// k of the current roots signed it, and its counter is one that counts.
fn stands(authority: &Authority, verified: &Verified, counter: &Counter) -> bool {
    let Some(head) = &authority.head else { return false };
    let signed = head.roots.iter().filter(|key| verified.signatures().contains_key(key)).count();
    verified.statement().realm() == authority.realm
        && u32::try_from(signed).is_ok_and(|signed| signed >= head.k)
        && counter.epoch <= head.epoch
        && counter.n <= COUNTER_MAX
}

/// Replaces `held` by a newer rule; marks it contested by an equal one with another source.
fn newer(held: &mut Rule, rule: &Rule) {
    if rule.counter > held.counter {
        *held = rule.clone();
    } else if rule.counter == held.counter && rule.source != held.source {
        held.contested = true;
    }
}
