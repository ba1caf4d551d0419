//! A package of an upstream as the use-cases carry it along, and which place supplies a name.

use std::sync::PoisonError;

use crdt::routes::{Decision, Source, Table};
use crdt::statement::{RouteSource, Subject};
use crdt::{Digest, PackageId, RealmId};

use futures::FutureExt as _;
use url::Url;

use super::rules::Variant;
use super::{Door, Error, OutlineFile, Registry, Rules, UpstreamRules};
use crate::store::Hashes;
use crate::upstream::{Ask, Endpoint, Progress, Reach};

/// The largest file of an upstream, in bytes: as for what is published here.
pub(super) const FILE_BYTES_MAX: u64 = super::publish::ARTIFACT_MAX;
/// What a document's record is called that is a file: a receipt's variant.
pub(super) const FILE_VARIANT: &str = "file";

/// Who supplies a name behind a door.
#[derive(Debug)]
pub(super) enum Place {
    /// A realm.
    Realm(RealmId, Decision),
    /// An upstream.
    Upstream(Box<Sought>),
}

/// A package of an upstream.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    pub(super) endpoint: Endpoint,
    pub(super) package: PackageId,
    pub(super) decision: Decision,
    pub(super) format: Rules,
    pub(super) rules: UpstreamRules,
    pub(super) door: Door,
}

impl Sought {
    /// The id of the upstream.
    pub(super) const fn origin(&self) -> Digest {
        self.endpoint.origin
    }

    /// A document of the package, as it is kept and as a receipt names it.
    pub(super) fn subject(&self, variant: &str) -> Subject {
        Subject {
            origin: self.endpoint.origin,
            format: self.package.format.clone(),
            document: self.package.name.clone(),
            variant: variant.to_owned(),
        }
    }

    /// A file of the package, where its document has no strong checksum of it.
    pub(super) fn file_subject(&self, file: &str) -> Subject {
        let document = format!("{}/{file}", self.package.name);
        Subject { document, ..self.subject(FILE_VARIANT) }
    }

    /// The variant of that name.
    pub(super) fn variant(&self, name: &str) -> Result<Variant, Error> {
        let found = self.rules.variants.iter().find(|variant| variant.name == name);
        found.copied().ok_or_else(|| Error::invalid(format!("there is no form `{name:.40}`")))
    }

    /// The variants that may be answered for one, in the order of preference: it, then fuller ones.
    pub(super) fn answers(&self, asked: Variant) -> impl Iterator<Item = Variant> + '_ {
        let all = self.rules.variants;
        let at = all.iter().position(|variant| *variant == asked).unwrap_or(0);
        all[..=at.min(all.len().saturating_sub(1))].iter().rev().copied()
    }

    /// The variants that have less than the one asked for.
    pub(super) fn lesser(&self, asked: Variant) -> impl Iterator<Item = Variant> + '_ {
        self.rules.variants.iter().skip_while(move |variant| **variant != asked).skip(1).copied()
    }

    fn document_url(&self) -> String {
        format!("{}{}", self.endpoint.url, (self.rules.document)(&self.package.name))
    }

    /// The absolute URL of a file, as far as the package's document says it.
    pub(super) fn file_url(&self, moved: Option<&str>, file: &OutlineFile) -> Option<String> {
        self.absolute(moved, &file.url)
    }

    /// What a URL in a document of the package means, which lies where it was asked for or where
    /// redirects `moved` it; `None` for one that is empty.
    pub(super) fn absolute(&self, moved: Option<&str>, said: &str) -> Option<String> {
        let said = Some(said).filter(|url| !url.is_empty())?;
        let base = moved.map_or_else(|| self.document_url(), str::to_owned);
        let joined = Url::parse(&base).ok().and_then(|base| base.join(said).ok());
        // Whoever is asked for something that is no URL will say so.
        Some(joined.map_or_else(|| said.to_owned(), String::from))
    }

    /// A request for a document of the package, without validators.
    pub(super) fn ask(&self, variant: Variant, progress: Progress) -> Ask {
        Ask {
            url: self.document_url(),
            accept: variant.accept.to_owned(),
            etag: None,
            last_modified: None,
            hashes: Hashes::default(),
            limit: self.rules.document_bytes_max,
            never_html: !variant.accept.contains("html"),
            urgent: true,
            arrival: None,
            progress,
        }
    }
}

impl Registry {
    /// Who supplies the name behind a door, or the answer to give instead.
    pub(super) fn place(&self, door: Door, package: &PackageId) -> Result<Place, Error> {
        let decision = match door {
            Door::Upstream => self.upstream_decision(package)?,
            Door::Virtual | Door::Hosted => self.decide(package)?,
        };
        let has_upstreams = self.require_rules(&package.format)?.upstream.is_some();
        match &decision.source {
            Source::Realm { realm } => Ok(Place::Realm(*realm, decision)),
            Source::Unrouted { realms, upstream: true } if door == Door::Hosted => {
                match realms.as_slice() {
                    [realm] => Ok(Place::Realm(*realm, decision)),
                    _ => Err(self.no_place(package, &decision)?),
                }
            }
            Source::Upstream { .. } if door != Door::Hosted && has_upstreams => {
                self.sought(door, package, decision)
            }
            _ => Err(self.no_place(package, &decision)?),
        }
    }

    fn sought(&self, door: Door, package: &PackageId, decision: Decision) -> Result<Place, Error> {
        let rules = self.require_rules(&package.format)?;
        let Some(upstream) = rules.upstream else {
            return Err(self.no_place(package, &decision)?);
        };
        let endpoint = match self.endpoint(package, &decision) {
            Ok(endpoint) => endpoint,
            // A realm that is followed may have it: that is the better thing to say.
            Err(_) if !self.inner.store.realms_with(package)?.is_empty() => {
                return Err(self.no_place(package, &decision)?);
            }
            Err(error) => return Err(error),
        };
        Ok(Place::Upstream(Box::new(Sought {
            endpoint,
            package: package.clone(),
            decision,
            format: *rules,
            rules: upstream,
            door,
        })))
    }

    /// Behind the upstream door only routes to an upstream count.
    fn upstream_decision(&self, package: &PackageId) -> Result<Decision, Error> {
        let table = self.table()?;
        let upstreams = |rules: &[crdt::routes::Rule]| {
            let to_one = |rule: &&crdt::routes::Rule| {
                matches!(rule.source, RouteSource::Upstream { .. }) && !rule.contested
            };
            rules.iter().filter(to_one).cloned().collect()
        };
        let only = Table {
            own: table.own,
            site: table.site,
            own_rules: upstreams(&table.own_rules),
            site_rules: upstreams(&table.site_rules),
            claims: Vec::new(),
        };
        Ok(only.decide(package, &[], false, None))
    }

    /// Whether the format's default upstream has given a document of the name, to this node or to a
    /// mirror that is believed. It is never asked here.
    pub(super) fn upstream_known(&self, package: &PackageId) -> Result<bool, Error> {
        let Some(rules) = self.rules(&package.format).and_then(|rules| rules.upstream) else {
            return Ok(false);
        };
        let Some(endpoint) = self.default_endpoint(&package.format)? else { return Ok(false) };
        for variant in rules.variants {
            let subject = Subject {
                origin: endpoint.origin,
                format: package.format.clone(),
                document: package.name.clone(),
                variant: variant.name.to_owned(),
            };
            let held = self.inner.store.cached_document(&subject)?;
            if held.is_some_and(|held| held.body.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the name may be said to the format's default upstream: it comes from there. What
    /// comes from a realm is nobody's business outside, nor is what comes from another upstream.
    ///
    /// # Errors
    /// When the store fails.
    pub fn may_name(&self, package: &PackageId) -> Result<bool, Error> {
        Ok(match self.decide(package)?.source {
            Source::Upstream { origin: None } => true,
            Source::Upstream { origin: Some(origin) } => {
                let default = self.default_endpoint(&package.format)?;
                default.is_some_and(|default| default.origin == origin)
            }
            _ => false,
        })
    }

    /// Whether this node asks no upstream at all.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.inner.upstream.is_offline()
    }

    /// Whether the upstream is known to answer. Else it is asked for a sign of life behind: who
    /// reads what is held and fresh sends no other request that could tell that it is back.
    pub(super) fn is_near(&self, endpoint: &Endpoint) -> bool {
        let reach = self.inner.upstream.reach(&endpoint.origin);
        if reach != Reach::Up && !self.is_offline() {
            self.find_out(endpoint);
        }
        reach == Reach::Up
    }

    /// Learns behind whether an upstream answers.
    pub(super) fn find_out(&self, endpoint: &Endpoint) {
        let origin = endpoint.origin;
        if !self.inner.probed.lock().unwrap_or_else(PoisonError::into_inner).insert(origin) {
            return;
        }
        let (this, endpoint) = (self.clone(), endpoint.clone());
        let probe = async move {
            this.inner.upstream.probe(&endpoint).await;
            this.forget_probe(&origin);
        };
        if !self.inner.background.take_on(probe.boxed()) {
            self.forget_probe(&origin);
        }
    }

    fn forget_probe(&self, origin: &Digest) {
        self.inner.probed.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
    }

    /// Learns behind which of the default upstreams answer: at a start, before anybody asks.
    pub(super) fn find_out_all(&self) {
        for rules in self.inner.rules.iter().filter(|rules| rules.upstream.is_some()) {
            if let Ok(Some(endpoint)) = self.default_endpoint(rules.format) {
                self.find_out(&endpoint);
            }
        }
    }

    /// Whether the upstream is known not to answer.
    pub(super) fn is_away(&self, origin: &Digest) -> bool {
        self.inner.upstream.reach(origin) == Reach::Down
    }
}
