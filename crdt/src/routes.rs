//! A short name has exactly one source. The order of trust.md section 11, and nothing else.
//!
//! The first that applies decides, and there is no fall-through to a later one because the source
//! lacks the name or cannot be reached:
//!
//! 1. this node's own route;
//! 2. the site's `route` statements;
//! 3. a confirmed claim of a followed realm; one that overlaps an earlier realm's takes nothing;
//! 4. one of the own and the site's realm that publishes the name, but nobody if both do, or if a
//!    positive answer of the upstream is held;
//! 5. the upstream.
//!
//! Among the rules of one step the narrower pattern wins: exact, then longer prefix. A source that
//! is pinned by a first use outranks all but step 1; what the rules say otherwise is pending.
//!
//! A route names the upstream that it means by its origin; step 5 names none: it is whatever the
//! format's default is, and a pin to that stays while the default changes. So a rule that names an
//! origin, also that of the default, differs from such a pin, and so do two origins: it is a change
//! that waits for `accept`, because bytes would come from another place than at the first use.
//!
//! A site's route of `*` to an upstream says which upstream is the format's default. It belongs to
//! step 5: in step 2 it would take every name from the site's own realm. A route to an upstream
//! whose origin is not the id of its URL is as good as absent: it would name one place and ask
//! another.
//!
//! The upstream is never asked in order to decide: whether it knows the name is an input.
//!
//! Source: trust.md sections 4 and 11.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::realm::Claim;
use crate::statement::{Body, Counter, Pattern, RouteSource};
use crate::{Authority, Digest, PackageId, RealmId, Verified, origin};

/// One rule: names of a format that match come from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// A format's id, or `*`.
    pub format: String,
    /// The names.
    pub pattern: Pattern,
    /// Their source; deny where it is contested.
    pub source: RouteSource,
    /// That of a site's statement; zero for own rules.
    pub counter: Counter,
    /// Whether statements with equal counters name different sources.
    pub contested: bool,
}

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// A realm's packages.
    Realm {
        /// Which realm.
        realm: RealmId,
    },
    /// An upstream of the format.
    Upstream {
        /// Which one; absent for the format's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Digest>,
    },
    /// Nobody, on purpose.
    Deny,
    /// Nobody until a person decides.
    Unrouted {
        /// The realms that have it, sorted.
        realms: Vec<RealmId>,
        /// Whether a positive answer of the upstream is held.
        upstream: bool,
    },
}

impl From<&RouteSource> for Source {
    fn from(source: &RouteSource) -> Self {
        match source {
            RouteSource::Realm(realm) => Self::Realm { realm: *realm },
            RouteSource::Upstream { origin, .. } => Self::Upstream { origin: Some(*origin) },
            RouteSource::Deny => Self::Deny,
        }
    }
}

/// Which of the rules decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// Pinned by a first use.
    Pin,
    /// This node's own route.
    OwnRoute,
    /// The site's `route` statement.
    SiteRoute,
    /// A confirmed claim of a followed realm.
    Claim,
    /// Published in the own or the site's realm.
    Published,
    /// None of these.
    Default,
}

/// The decision, with its ground.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The one source.
    pub source: Source,
    /// Why it is this one.
    pub ground: Ground,
    /// What the rules would say now, where that differs from the pin: it waits for `accept`.
    pub pending: Option<Source>,
}

/// Everything that routing depends on.
#[derive(Debug, Clone)]
pub struct Table {
    /// This node's own personal realm.
    pub own: RealmId,
    /// The realm joined by invite; the own realm if none.
    pub site: RealmId,
    /// This node's own rules.
    pub own_rules: Vec<Rule>,
    /// Rules of the site's standing `route` statements: see [`site_rules`].
    pub site_rules: Vec<Rule>,
    /// Confirmed claims of followed realms, in order of confirmation.
    pub claims: Vec<(RealmId, Claim)>,
}

/// The standing route rules of a realm, sorted by pattern and format.
///
/// They are signed by k of its current roots; the newest counter counts for each format and
/// pattern, and equal counters with different sources are contested. Statements of other realms
/// and of other types are ignored, and so are upstreams whose origin is not that of their URL.
#[must_use]
pub fn site_rules<'a>(
    authority: &Authority,
    routes: impl IntoIterator<Item = &'a Verified>,
) -> Vec<Rule> {
    let mut signers = BTreeMap::<_, (_, BTreeSet<_>)>::new();
    for envelope in routes {
        let statement = envelope.statement();
        if statement.realm() == authority.realm {
            let joined = signers.entry(statement.id()).or_insert((statement, BTreeSet::new()));
            joined.1.extend(envelope.signatures().keys().copied());
        }
    }
    let mut rules = BTreeMap::<_, (Counter, BTreeSet<&RouteSource>)>::new();
    for (statement, signers) in signers.values() {
        let Body::Route { format, pattern, source, counter } = statement.body() else { continue };
        let counts = authority.admits(*counter) && authority.signed_by_roots(signers);
        if !counts || !names_its_url(source) {
            continue;
        }
        let (newest, sources) = rules.entry((pattern, format)).or_default();
        if *counter > *newest {
            sources.clear();
            *newest = *counter;
        }
        if *counter == *newest {
            sources.insert(source);
        }
    }
    rules
        .into_iter()
        .map(|((pattern, format), (counter, sources))| {
            let contested = sources.len() > 1;
            let only = sources.first().filter(|_| !contested);
            Rule {
                format: format.clone(),
                pattern: pattern.clone(),
                source: only.map_or(RouteSource::Deny, |source| (*source).clone()),
                counter,
                contested,
            }
        })
        .collect()
}

impl Table {
    /// Decides where a name comes from.
    ///
    /// `published_in`: those of the own and the site's realm with a standing release of the name.
    /// `upstream_known`: a positive answer of the upstream for the name is stored here. `pin`: the
    /// pinned source.
    #[must_use]
    pub fn decide(
        &self,
        package: &PackageId,
        published_in: &[RealmId],
        upstream_known: bool,
        pin: Option<&Source>,
    ) -> Decision {
        let (source, ground) = self
            .routed(package)
            .or_else(|| self.published(published_in, upstream_known))
            .unwrap_or((Source::Upstream { origin: None }, Ground::Default));
        // A person typed this node's own route; only what others say waits for an accept.
        match pin {
            _ if ground == Ground::OwnRoute => Decision { source, ground, pending: None },
            None => Decision { source, ground, pending: None },
            Some(pin) => Decision {
                pending: (source != *pin).then_some(source),
                source: pin.clone(),
                ground: Ground::Pin,
            },
        }
    }

    /// What routes and claims alone say of the name: where a publish of it would go.
    ///
    /// `None` if it is unrouted; a publish then goes to the site's realm if that grants the key,
    /// else to the own.
    #[must_use]
    pub fn routed_realm(&self, package: &PackageId) -> Option<Source> {
        self.routed(package).map(|(source, _)| source)
    }

    /// The upstream that the site says is a format's default; `None` where it says none, or where
    /// its routes are at odds. What this node adopted itself is not known here, and goes first.
    #[must_use]
    pub fn default_upstream(&self, format: &str) -> Option<&RouteSource> {
        let named = self.site_rules.iter().filter(|rule| rule.is_default_upstream_of(format));
        let own_format = named.clone().any(|rule| rule.format == format);
        let mut best = named.filter(|rule| (rule.format == format) == own_format);
        let first = &best.next()?.source;
        best.all(|rule| rule.source == *first).then_some(first)
    }

    /// The URL of an origin, if a route of this node or of the site names it.
    #[must_use]
    pub fn upstream_url(&self, origin: &Digest) -> Option<&str> {
        let rules = self.own_rules.iter().chain(&self.site_rules);
        rules.filter(|rule| !rule.contested).find_map(|rule| match &rule.source {
            RouteSource::Upstream { origin: named, url, .. }
                if named == origin && names_its_url(&rule.source) =>
            {
                Some(url.as_str())
            }
            _ => None,
        })
    }

    fn routed(&self, package: &PackageId) -> Option<(Source, Ground)> {
        let own = narrowest(&self.own_rules, package).map(|source| (source, Ground::OwnRoute));
        let site = || {
            let rules = self.site_rules.iter().filter(|rule| !rule.is_default_upstream());
            narrowest(rules, package).map(|source| (source, Ground::SiteRoute))
        };
        let claim = || {
            let realm = self.claimed(package)?;
            Some((Source::Realm { realm }, Ground::Claim))
        };
        own.or_else(site).or_else(claim)
    }

    /// The realm whose claim has the name; later claims over the same names do not count.
    fn claimed(&self, package: &PackageId) -> Option<RealmId> {
        let takes = |at: usize, realm: RealmId, claim: &Claim| {
            !claim.pattern.is_everything()
                && covers(&claim.format, &claim.pattern, package)
                && !self.claims[..at]
                    .iter()
                    .any(|(earlier, other)| *earlier != realm && overlap(claim, other))
        };
        let mut claims = self.claims.iter().enumerate();
        claims.find(|(at, (realm, claim))| takes(*at, *realm, claim)).map(|(_, (realm, _))| *realm)
    }

    fn published(&self, published_in: &[RealmId], upstream: bool) -> Option<(Source, Ground)> {
        let ours = |realm: &&RealmId| **realm == self.own || **realm == self.site;
        let realms: BTreeSet<_> = published_in.iter().filter(ours).copied().collect();
        let realms: Vec<_> = realms.into_iter().collect();
        let source = match realms.as_slice() {
            [] => return None,
            [realm] if !upstream => Source::Realm { realm: *realm },
            _ => Source::Unrouted { realms, upstream },
        };
        Some((source, Ground::Published))
    }
}

impl Rule {
    fn is_default_upstream(&self) -> bool {
        self.pattern.is_everything() && matches!(self.source, RouteSource::Upstream { .. })
    }

    fn is_default_upstream_of(&self, of: &str) -> bool {
        let speaks = matches!(&self.source, RouteSource::Upstream { format, .. } if format == of);
        let says = (self.format == "*" || self.format == of) && !self.contested;
        says && speaks && self.pattern.is_everything() && names_its_url(&self.source)
    }
}

/// Whether an upstream's origin is the id of its normalised URL; true for any other source.
fn names_its_url(source: &RouteSource) -> bool {
    let RouteSource::Upstream { origin: named, url, .. } = source else { return true };
    origin::normalise(url).is_ok_and(|url| origin::id(&url) == *named)
}

fn covers(format: &str, pattern: &Pattern, package: &PackageId) -> bool {
    (format == "*" || format == package.format) && pattern.matches(&package.name)
}

fn overlap(one: &Claim, two: &Claim) -> bool {
    let formats = one.format == "*" || two.format == "*" || one.format == two.format;
    formats && !two.pattern.is_everything() && one.pattern.overlaps(&two.pattern)
}

/// The source of the narrowest rule that covers the package; deny if equally narrow ones differ.
fn narrowest<'a>(rules: impl IntoIterator<Item = &'a Rule>, package: &PackageId) -> Option<Source> {
    let mut best = None;
    let mut source = Source::Deny;
    for rule in rules.into_iter().filter(|rule| covers(&rule.format, &rule.pattern, package)) {
        let rank = (rule.pattern.specificity(), rule.format != "*");
        let says = if rule.contested { Source::Deny } else { Source::from(&rule.source) };
        if best < Some(rank) {
            (best, source) = (Some(rank), says);
        } else if best == Some(rank) && source != says {
            source = Source::Deny;
        }
    }
    best.map(|_| source)
}
