//! Outlines of documents that were read lately, so that a big one is not parsed for each request.
//!
//! A cache by the digest of the bytes: it can never be out of date.

use std::collections::VecDeque;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};

use crdt::Digest;

use super::rules::UpstreamRules;
use super::{Error, Outcome, Outline, Registry};

/// Outlines kept at most.
const OUTLINES_MAX: usize = 256;
/// Versions in all of them: about 1 KiB of memory each.
const VERSIONS_MAX: usize = 20_000;

/// Newest use last.
#[derive(Debug, Default)]
pub(super) struct Outlines(Mutex<VecDeque<(Digest, Arc<Outline>)>>);

impl Outlines {
    fn get(&self, digest: &Digest) -> Option<Arc<Outline>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, _)| of == digest)?;
        let found = kept.remove(at)?;
        kept.push_back(found);
        kept.back().map(|(_, outline)| Arc::clone(outline))
    }

    pub(super) fn put(&self, digest: Digest, outline: &Arc<Outline>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != digest);
        kept.push_back((digest, Arc::clone(outline)));
        let mut versions: usize = kept.iter().map(|(_, outline)| outline.versions.len()).sum();
        while kept.len() > 1 && (kept.len() > OUTLINES_MAX || versions > VERSIONS_MAX) {
            let oldest = kept.pop_front();
            versions -= oldest.map_or(0, |(_, outline)| outline.versions.len());
        }
    }
}

/// Reads a document where blocking is allowed.
pub(super) async fn read(rules: UpstreamRules, file: std::fs::File) -> Result<Outline, String> {
    let work = move || (rules.outline)(&mut BufReader::new(file));
    let read = tokio::task::spawn_blocking(work).await;
    read.unwrap_or_else(|_| Err("it could not be read".to_owned()))
}

impl Registry {
    /// What is in a document that is held.
    pub(super) async fn outline(
        &self,
        rules: UpstreamRules,
        digest: &Digest,
    ) -> Result<Arc<Outline>, Error> {
        if let Some(outline) = self.inner.outlines.get(digest) {
            return Ok(outline);
        }
        let file = self.open_document(digest).await?.into_std().await;
        let outline = read(rules, file).await;
        let outline = Arc::new(outline.map_err(|why| Error::new(Outcome::Corrupt, why))?);
        self.inner.outlines.put(*digest, &outline);
        Ok(outline)
    }
}
