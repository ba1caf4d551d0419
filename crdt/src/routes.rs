//! A short name has exactly one source. The order of trust.md section 11, and nothing else.

use serde::{Deserialize, Serialize};

use crate::realm::Claim;
use crate::statement::{Counter, Pattern, RouteSource};
use crate::{PackageId, RealmId, Verified};

/// One rule: names of a format that match come from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule { /// format id
    pub format: String, /// names
    pub pattern: Pattern, /// source
    pub source: RouteSource, /// of a site's statement; zero for own rules
    pub counter: Counter, /// equal counters with different sources: deny, shown as contested
    pub contested: bool }

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source { /// a realm's packages
    Realm { /// which
        realm: RealmId }, /// the upstream of the format
    Upstream, /// nobody, on purpose
    Deny, /// nobody until a person decides
    Unrouted { /// realms that have it, sorted
        realms: Vec<RealmId>, /// whether a positive upstream answer is held
        upstream: bool } }

/// Which of the rules decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground { /// pinned by a first use
    Pin, /// this node's own route
    OwnRoute, /// the site's route statement
    SiteRoute, /// a confirmed claim of a followed realm
    Claim, /// published in the own or the site's realm
    Published, /// none of these
    Default }

/// The decision, with its ground, and what waits for `accept` because a pin holds it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision { /// source
    pub source: Source, /// ground
    pub ground: Ground, /// what the rules would say now, where that differs from the pin
    pub pending: Option<Source> }

/// Everything that routing depends on.
#[derive(Debug, Clone)]
pub struct Table { /// this node's own personal realm
    pub own: RealmId, /// the realm joined by invite; the own realm if none
    pub site: RealmId, /// own rules
    pub own_rules: Vec<Rule>, /// rules of the site's standing `route` statements: see [`site_rules`]
    pub site_rules: Vec<Rule>, /// confirmed claims of followed realms, in order of confirmation
    pub claims: Vec<(RealmId, Claim)> }

/// The standing route rules of a realm: signed by k of its current roots, newest counter for each
/// (format, pattern), ties with different sources contested.
#[must_use]
pub fn site_rules<'a>(authority: &crate::Authority, routes: impl IntoIterator<Item = &'a Verified>) -> Vec<Rule> { let _ = (authority, routes.into_iter().count()); todo!() }

impl Table {
    /// Decides. `published_in`: those of own and site's realm with a standing release of the name.
    /// `upstream_known`: a positive upstream answer for the name is stored here. `pin`: the pinned source.
    #[must_use]
    pub fn decide(&self, package: &PackageId, published_in: &[RealmId], upstream_known: bool, pin: Option<&Source>) -> Decision { let _ = (package, published_in, upstream_known, pin); todo!() }
    /// The rule-based decision where a publish of the name would go, before grants are asked:
    /// the routed realm, or None if unrouted (then: site if it grants the key, else own).
    #[must_use]
    pub fn routed_realm(&self, package: &PackageId) -> Option<Source> { let _ = package; todo!() }
}
