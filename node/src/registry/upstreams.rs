//! Which upstream registries this node uses, and which of them a name is asked of.
//!
//! An upstream is *adopted* by a person or by `griot link`: its URL, what else is the same
//! registry, and a credential that never leaves this node. One of a format is its default; a
//! pattern makes it the source of those names alone, by an own route. Where this node has adopted
//! nothing, the site's `route` of `*` to an upstream is the default: who joins need not copy
//! anything. Nobody is asked here: see `upstream`.
//!
//! Own state: rows of kind `upstream`, key `FORMAT/ORIGIN`, JSON of [`Adopted`].
//!
//! Source: DESIGN sections 4 and 7; trust.md section 10 (origins).

use std::collections::BTreeSet;

use crdt::routes::{Decision, Rule, Source, Table};
use crdt::statement::RouteSource;
use crdt::{Digest, PackageId, origin};
use serde::{Deserialize, Serialize};

use super::{Error, Registry};
use crate::upstream::{Endpoint, Reach};

/// Kind of the rows that hold what was adopted.
const ROWS: &str = "upstream";
/// Bytes of a URL, as in a statement.
const URL_BYTES_MAX: usize = crdt::statement::MAX_TEXT_BYTES;
/// Bytes of a credential.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;
/// The scheme of a token where no format says another one.
const BEARER: &str = "Bearer";
/// Upstreams that one format may have here.
const UPSTREAMS_MAX: usize = 256;

/// An upstream that this node has adopted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Id of its normalised URL.
    pub origin: Digest,
    /// The format that it speaks.
    pub format: String,
    /// Normalised, with the slash at its end.
    pub url: String,
    /// Origins that a person has declared to be this registry, too.
    #[serde(default)]
    pub same_as: Vec<Digest>,
    /// The whole value of `Authorization`. It is never listed and never replicated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Whether it is the one that names of the format are asked of.
    pub default: bool,
    /// Grows with each adoption: of two defaults the later one counts.
    pub order: u64,
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adopted")
            .field("format", &self.format)
            .field("url", &self.url)
            .field("default", &self.default)
            .field("credential", &self.credential.is_some())
            .finish_non_exhaustive()
    }
}

impl Adopted {
    fn key(&self) -> String {
        key(&self.format, &self.origin)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { origin: self.origin, url: self.url.clone(), credential: self.credential.clone() }
    }

    fn row(&self) -> Result<(String, Vec<u8>), Error> {
        let bytes = serde_json::to_vec(self).map_err(|error| Error::invalid(error.to_string()))?;
        Ok((self.key(), bytes))
    }
}

/// What to adopt.
#[derive(Clone, Default)]
pub struct UpstreamChoice {
    /// The format that it speaks.
    pub format: String,
    /// Base URL, in any spelling.
    pub url: String,
    /// A token, or the whole value of `Authorization`; absent: the one that is known stays.
    pub credential: Option<String>,
    /// Origins that are this registry, too: they join those declared before.
    pub same_as: Vec<Digest>,
    /// Only for these names, by an own route: exact, or prefix and `*`.
    pub pattern: Option<String>,
    /// Whether it takes the place of the format's default; where there is none, not even the
    /// site's, one without a pattern is it anyway.
    pub default: bool,
}

impl std::fmt::Debug for UpstreamChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamChoice")
            .field("format", &self.format)
            .field("pattern", &self.pattern)
            .field("credential", &self.credential.is_some())
            .finish_non_exhaustive()
    }
}

/// An upstream as it is listed: without its credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRow {
    /// `own`: adopted here; `site`: known by a `route` statement of the site alone.
    pub of: String,
    /// Whether a `route` statement of the site names it: who joins asks it, too.
    pub site: bool,
    /// The format that it speaks.
    pub format: String,
    /// Id of the URL.
    pub origin: Digest,
    /// Normalised.
    pub url: String,
    /// Whether names of the format that nothing else claims are asked of it.
    pub default: bool,
    /// Patterns of names that are routed to it.
    pub patterns: Vec<String>,
    /// Origins declared to be the same registry.
    pub same_as: Vec<Digest>,
    /// Whether this node has a credential for it.
    pub credential: bool,
    /// Whether it answered when it was last asked; true if it never was.
    pub reachable: bool,
}

impl Registry {
    /// Adopts an upstream, or changes what is known of an adopted one. Returns it.
    ///
    /// # Errors
    /// [`super::Outcome::Invalid`] for an unknown format, a bad URL, pattern or credential.
    pub async fn upstream_add(&self, choice: UpstreamChoice) -> Result<Adopted, Error> {
        let rules = self.require_rules(&choice.format)?;
        let format = rules.format;
        let url = base_url(&choice.url)?;
        let scheme = rules.upstream.map_or(Some(BEARER), |upstream| upstream.token_scheme);
        let credential = choice.credential.as_deref();
        let credential = credential.map(|said| authorization(said, scheme)).transpose()?;
        let mut all = self.adopted(format)?;
        let order = all.iter().map(|one| one.order).max().unwrap_or(0) + 1;
        let origin = origin::id(&url);
        let at = all.iter().position(|one| one.origin == origin);
        let mut one = match at {
            Some(at) => all.swap_remove(at),
            None if all.len() >= UPSTREAMS_MAX => {
                let full = format!("{format} has {UPSTREAMS_MAX} upstreams already");
                return Err(Error::invalid(full).with_hint("griot upstream list"));
            }
            None => Adopted {
                origin,
                format: format.to_owned(),
                url,
                same_as: Vec::new(),
                credential: None,
                default: false,
                order,
            },
        };
        one.credential = credential.or(one.credential);
        one.same_as.extend(choice.same_as);
        one.same_as.retain(|same| *same != origin);
        one.same_as.sort_unstable();
        one.same_as.dedup();
        let first = choice.pattern.is_none() && self.default_endpoint(format)?.is_none();
        if choice.default || first {
            (one.default, one.order) = (true, order);
        }
        self.keep_adopted(&one, all).await?;
        if let Some(pattern) = &choice.pattern {
            let (format, url) = (one.format.clone(), one.url.clone());
            let source = RouteSource::Upstream { origin, format: format.clone(), url };
            self.route_add(&format, pattern, source).await?;
        }
        Ok(one)
    }

    /// One commit: the changed one, and the former defaults if it has taken their place.
    async fn keep_adopted(&self, one: &Adopted, others: Vec<Adopted>) -> Result<(), Error> {
        let mut rows = vec![one.row()?];
        for other in others.into_iter().filter(|other| one.default && other.default) {
            rows.push(Adopted { default: false, ..other }.row()?);
        }
        self.inner.store.put_rows(ROWS, rows).await?;
        Ok(())
    }

    /// Gives an adopted upstream up, with the own routes to it. Returns it if it was adopted.
    /// What the site's statements say stays.
    ///
    /// # Errors
    /// [`super::Outcome::Invalid`] when `which` is neither a URL nor an id.
    pub async fn upstream_remove(
        &self,
        format: &str,
        which: &str,
    ) -> Result<Option<Adopted>, Error> {
        let format = self.require_rules(format)?.format;
        let origin = origin_of(which)?;
        let Some(one) = self.adopted(format)?.into_iter().find(|one| one.origin == origin) else {
            return Ok(None);
        };
        for rule in &self.table()?.own_rules {
            if upstream_of(rule, format).is_some_and(|(of, _)| *of == origin) {
                self.route_remove(&rule.format, &rule.pattern.0).await?;
            }
        }
        self.inner.store.delete_row(ROWS, &one.key()).await?;
        Ok(Some(one))
    }

    /// Every upstream once: those adopted here in the order of their adoption, then the others
    /// that the site's statements name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn upstream_list(&self) -> Result<Vec<UpstreamRow>, Error> {
        let table = self.table()?;
        let mut rows = Vec::new();
        for rules in &self.inner.rules {
            let default = self.default_endpoint(rules.format)?.map(|endpoint| endpoint.origin);
            let mut adopted = self.adopted(rules.format)?;
            adopted.sort_by_key(|one| one.order);
            let site = of_site(&table, rules.format);
            for one in &adopted {
                let patterns = patterns_to(&table.own_rules, one);
                let named = site.iter().any(|site| site.origin == one.origin);
                let row = UpstreamRow { site: named, ..self.row(one, patterns) };
                rows.push(UpstreamRow { default: default == Some(one.origin), ..row });
            }
            let known = |one: &Adopted| adopted.iter().any(|own| own.origin == one.origin);
            for one in site.iter().filter(|one| !known(one)) {
                let row = self.row(one, patterns_to(&table.site_rules, one));
                let of = "site".to_owned();
                rows.push(UpstreamRow { of, default: default == Some(one.origin), ..row });
            }
        }
        Ok(rows)
    }

    fn row(&self, one: &Adopted, patterns: Vec<String>) -> UpstreamRow {
        UpstreamRow {
            of: "own".to_owned(),
            site: true,
            format: one.format.clone(),
            origin: one.origin,
            url: one.url.clone(),
            default: one.default,
            patterns,
            same_as: one.same_as.clone(),
            credential: one.credential.is_some(),
            reachable: self.inner.upstream.reach(&one.origin) != Reach::Down,
        }
    }

    /// The upstream that a package is asked of, by the decision about its name. One that names no
    /// upstream at all (behind the upstream door) means the format's default.
    ///
    /// # Errors
    /// [`super::Outcome::NotFound`] when no upstream is known, with the command that adopts one.
    pub fn endpoint(&self, package: &PackageId, decision: &Decision) -> Result<Endpoint, Error> {
        let format = package.format.as_str();
        let Source::Upstream { origin: Some(origin) } = &decision.source else {
            return self.default_endpoint(format)?.ok_or_else(|| no_upstream(package));
        };
        if let Some(one) = self.adopted_with(format, origin)? {
            return Ok(one.endpoint());
        }
        let table = self.table()?;
        let mut rules = table.own_rules.iter().chain(&table.site_rules);
        let found = rules.find_map(|rule| {
            upstream_of(rule, format).filter(|(of, _)| *of == origin).map(|(_, url)| url)
        });
        let gone = || {
            let hint = format!("griot upstream add {format} URL");
            let PackageId { name, .. } = package;
            let why = format!("{name} comes from an upstream of {format} that is not known here");
            Error::not_found(why).with_hint(hint)
        };
        let url = found.ok_or_else(gone)?.to_owned();
        Ok(Endpoint { origin: *origin, url, credential: None })
    }

    /// The upstream that names of the format are asked of when nothing else claims them: this
    /// node's, else the one that the site's statements name for `*`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn default_endpoint(&self, format: &str) -> Result<Option<Endpoint>, Error> {
        let adopted = self.adopted(format)?;
        let own = adopted.iter().filter(|one| one.default).max_by_key(|one| one.order);
        if let Some(one) = own {
            return Ok(Some(one.endpoint()));
        }
        let table = self.table()?;
        let everything = table.site_rules.iter().filter(|rule| rule.pattern.is_everything());
        // A rule of the format comes before one of `*`.
        let found = everything
            .filter_map(|rule| Some((rule.format != "*", upstream_of(rule, format)?)))
            .max_by_key(|(narrow, _)| *narrow);
        let Some((_, (origin, url))) = found else { return Ok(None) };
        let known = adopted.into_iter().find(|one| one.origin == *origin);
        let url = url.to_owned();
        let bare = || Endpoint { origin: *origin, url, credential: None };
        Ok(Some(known.map_or_else(bare, |one| one.endpoint())))
    }

    /// The origin and all that were declared to be the same registry, by whichever of them: a
    /// receipt for one counts for the others.
    ///
    /// # Errors
    /// When the store fails.
    pub fn same_origins(&self, format: &str, origin: &Digest) -> Result<BTreeSet<Digest>, Error> {
        let adopted = self.adopted(format)?;
        let mut same = BTreeSet::from([*origin]);
        loop {
            let before = same.len();
            for one in &adopted {
                if same.contains(&one.origin) || one.same_as.iter().any(|id| same.contains(id)) {
                    same.insert(one.origin);
                    same.extend(&one.same_as);
                }
            }
            if same.len() == before {
                return Ok(same);
            }
        }
    }

    fn adopted(&self, format: &str) -> Result<Vec<Adopted>, Error> {
        let rows = self.inner.store.rows(ROWS)?;
        let of = |key: &str| key.split_once('/').is_some_and(|(of, _)| of == format);
        let wanted = rows.into_iter().filter(|(key, _)| of(key));
        wanted.map(|(_, bytes)| decode(&bytes)).collect()
    }

    fn adopted_with(&self, format: &str, origin: &Digest) -> Result<Option<Adopted>, Error> {
        let bytes = self.inner.store.row(ROWS, &key(format, origin))?;
        bytes.map(|bytes| decode(&bytes)).transpose()
    }
}

fn key(format: &str, origin: &Digest) -> String {
    format!("{format}/{origin}")
}

fn decode(bytes: &[u8]) -> Result<Adopted, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the record of an upstream cannot be read: {error}");
        Error::new(super::Outcome::Unavailable, message)
    })
}

/// The upstream that a rule names, if it speaks the format and its URL is the one that was hashed.
fn upstream_of<'a>(rule: &'a Rule, format: &str) -> Option<(&'a Digest, &'a str)> {
    let RouteSource::Upstream { origin, format: speaks, url } = &rule.source else { return None };
    let covers = rule.format == "*" || rule.format == format;
    let sound = origin::normalise(url)
        .is_ok_and(|url_now| url_now == *url && origin::id(&url_now) == *origin);
    (covers && speaks == format && sound && !rule.contested).then_some((origin, url.as_str()))
}

fn patterns_to(rules: &[Rule], one: &Adopted) -> Vec<String> {
    let to = rules.iter().filter(|rule| {
        upstream_of(rule, &one.format).is_some_and(|(origin, _)| *origin == one.origin)
    });
    to.map(|rule| rule.pattern.0.clone()).collect()
}

/// The upstreams of a format that the site's statements name, each once.
fn of_site(table: &Table, format: &str) -> Vec<Adopted> {
    let mut seen = BTreeSet::new();
    let named = table.site_rules.iter().filter_map(|rule| upstream_of(rule, format));
    named
        .filter(|(origin, _)| seen.insert(**origin))
        .map(|(origin, url)| Adopted {
            origin: *origin,
            format: format.to_owned(),
            url: url.to_owned(),
            same_as: Vec::new(),
            credential: None,
            default: false,
            order: 0,
        })
        .collect()
}

/// The normalised URL, or why it is none.
fn base_url(text: &str) -> Result<String, Error> {
    // As cargo writes the URL of an index.
    let text = text.strip_prefix("sparse+").unwrap_or(text);
    let url = origin::normalise(text)?;
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Error::invalid("the URL of an upstream holds no user and no password")
            .with_hint("griot upstream add FORMAT URL --token-file FILE"));
    }
    let parsed = url::Url::parse(&url);
    if url.len() > URL_BYTES_MAX || !parsed.is_ok_and(|url| url.has_host()) {
        return Err(Error::invalid(format!("this is not the URL of an upstream: {text:.80}")));
    }
    Ok(url)
}

/// An origin by its id, or by a URL of it.
///
/// # Errors
/// [`super::Outcome::Invalid`] when it is neither.
pub fn origin_of(which: &str) -> Result<Digest, Error> {
    if let Ok(id) = which.parse() {
        return Ok(id);
    }
    let url = origin::normalise(which).map_err(|_| {
        Error::invalid(format!("{which:.80} is neither the URL nor the id of an upstream"))
            .with_hint("griot upstream list")
    })?;
    Ok(origin::id(&url))
}

/// The value of `Authorization`: a bare token gets the scheme that its format has.
fn authorization(credential: &str, scheme: Option<&str>) -> Result<String, Error> {
    let credential = credential.trim();
    let plain = credential.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if credential.is_empty() || !plain || credential.len() > CREDENTIAL_BYTES_MAX {
        return Err(Error::invalid("the credential is not one line of printable ASCII")
            .with_hint("a file with the token alone, or with `Basic …`, the value of a header"));
    }
    match scheme {
        Some(scheme) if !credential.contains(' ') => Ok(format!("{scheme} {credential}")),
        _ => Ok(credential.to_owned()),
    }
}

pub(super) fn no_upstream(package: &PackageId) -> Error {
    let PackageId { format, name } = package;
    Error::not_found(format!(
        "{name} is not published in a realm that this node takes names from, and no upstream is \
         configured for {format}"
    ))
    .with_hint(format!("griot upstream add {format} URL"))
}

#[cfg(test)]
#[path = "upstreams_tests.rs"]
mod tests;
