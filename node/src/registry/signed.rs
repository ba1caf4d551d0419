//! The upstream's own signatures over versions: once an origin has shown a valid one, a document
//! that came on a mirror's word must have them too.
//!
//! A version without is not offered and not served, with the reason: else a mirror could strip them
//! and swap what they cover. What comes from the upstream itself rests on its TLS. That an origin
//! signs is a row of this node (kind `origin-signs`, key the origin) and never replicated.
//!
//! Source: trust.md section 10 (stripped signatures).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crdt::Digest;

use super::files::Described;
use super::freshness;
use super::rules::SignatureRules;
use super::side::Side;
use super::sought::Sought;
use super::{Error, Outline, Registry};
use crate::store::cached::{CachedBy, CachedDocument};
use crate::upstream::Progress;

/// The kind of row.
const ORIGIN_SIGNS: &str = "origin-signs";
/// Signed versions of a document that are tried to learn that the origin signs.
const TRIED_MAX: usize = 4;
/// How often the keys are asked of an origin whose documents carry signatures.
const KEYS_EVERY: Duration = Duration::from_secs(600);
/// Seconds after which an origin's keys are fetched anew, while it can be reached.
const KEYS_OLD_S: u64 = 24 * 60 * 60;
/// Bytes of a document with keys.
const KEYS_MAX: u64 = 1024 * 1024;
/// Documents whose unsigned versions are remembered.
const JUDGED_MAX: usize = 64;

/// What was found out lately.
#[derive(Debug, Default)]
pub(super) struct Signing {
    asked: Mutex<BTreeMap<Digest, Instant>>,
    judged: Mutex<Judged>,
}

/// (document, keys) → versions without a valid signature.
type Judged = BTreeMap<(Digest, Digest), Arc<BTreeSet<String>>>;

impl Registry {
    /// Versions of a document that lack a signature which they must have.
    pub(super) async fn unsigned(
        &self,
        sought: &Sought,
        held: &CachedDocument,
        outline: &Arc<Outline>,
    ) -> Result<Arc<BTreeSet<String>>, Error> {
        let (Some(rules), Some(digest)) = (sought.rules.signatures, held.body) else {
            return Ok(Arc::default());
        };
        if held.by == CachedBy::Upstream || !self.signs(sought)? {
            return Ok(Arc::default());
        }
        let keys = self.held_side(sought, &side_of(&rules)).await?.map(|side| side.bytes);
        let keys = keys.unwrap_or_default();
        let key = (digest, Digest::of(&keys));
        let judged = &self.inner.signing.judged;
        if let Some(known) = judged.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(known));
        }
        let (outline, name) = (Arc::clone(outline), sought.package.name.clone());
        let work = move || {
            let versions = outline.versions.iter();
            let lacks = versions.filter(|version| (rules.verify)(&name, version, &keys).is_err());
            lacks.map(|version| version.version.clone()).collect::<BTreeSet<_>>()
        };
        let lacks = tokio::task::spawn_blocking(work).await;
        let lacks = Arc::new(lacks.map_err(|_| Error::invalid("a signature broke the check"))?);
        let mut judged = judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.len() >= JUDGED_MAX {
            judged.clear();
        }
        judged.insert(key, Arc::clone(&lacks));
        Ok(lacks)
    }

    /// Refuses a file of a version that lacks a signature.
    pub(super) async fn require_signature(
        &self,
        sought: &Sought,
        described: &Described,
    ) -> Result<(), Error> {
        let unsigned = self.unsigned(sought, &described.document, &described.outline).await?;
        if !unsigned.contains(&described.version.version) {
            return Ok(());
        }
        let (name, written) = (&sought.package.name, &described.version.written);
        Err(Error::not_here(format!(
            "{name}@{written} is refused: its document came from a mirror without the signature of \
             the upstream, which signs its versions"
        ))
        .with_hint(format!("griot why {name} --format {}", sought.package.format)))
    }

    /// Whether the origin, or one that is the same, has ever shown a valid signature.
    pub(super) fn signs(&self, sought: &Sought) -> Result<bool, Error> {
        for origin in self.same_origins(&sought.package.format, &sought.origin())? {
            if self.inner.store.row(ORIGIN_SIGNS, &origin.to_hex())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers that the origin signs, if a version of the outline proves it, and keeps its keys.
    pub(super) async fn learn_signing(
        &self,
        sought: &Sought,
        outline: &Arc<Outline>,
    ) -> Result<(), Error> {
        let Some(rules) = sought.rules.signatures else { return Ok(()) };
        let signed = outline.versions.iter().filter(|version| !version.signatures.is_empty());
        let signed: Vec<_> = signed.rev().take(TRIED_MAX).cloned().collect();
        if signed.is_empty() || !self.keys_are_due(sought, &rules).await? {
            return Ok(());
        }
        let side = side_of(&rules);
        let (asked, progress) = ((&side, sought.subject("")), Progress::default());
        let keys = match self.fetch_side(&sought.endpoint, asked, progress).await {
            Ok(keys) => keys,
            Err(error) => {
                tracing::debug!(%error, "the keys of an origin that signs could not be had");
                return Ok(());
            }
        };
        let name = &sought.package.name;
        if signed.iter().any(|version| (rules.verify)(name, version, &keys.bytes).is_ok()) {
            let origin = sought.origin().to_hex();
            let when = freshness::now().to_string().into_bytes();
            if self.inner.store.row(ORIGIN_SIGNS, &origin)?.is_none() {
                self.inner.store.put_row(ORIGIN_SIGNS, &origin, when).await?;
            }
        }
        Ok(())
    }

    /// Whether the keys of the origin should be asked for now.
    async fn keys_are_due(&self, sought: &Sought, rules: &SignatureRules) -> Result<bool, Error> {
        if self.signs(sought)? {
            let held = self.held_side(sought, &side_of(rules)).await?;
            if held.is_some_and(|held| held.age < KEYS_OLD_S) {
                return Ok(false);
            }
        }
        let mut asked = self.inner.signing.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let last = asked.insert(sought.origin(), Instant::now());
        Ok(last.is_none_or(|last| last.elapsed() >= KEYS_EVERY))
    }
}

fn side_of(rules: &SignatureRules) -> Side<'static> {
    Side {
        key: rules.keys,
        path: rules.keys,
        accept: "application/json",
        never_html: true,
        limit: KEYS_MAX,
    }
}
