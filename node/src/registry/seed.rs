//! What a rendering of a package is made from, as one hash: the same hash, the same bytes.
//!
//! It is over contents alone, never over a counter of this run, so that a document that was stored
//! before a restart is known to be the same after it without being rendered. What a release says
//! is in its id, which is a hash of it. Every field of a view is named here, so that a new one
//! cannot be forgotten.

use crdt::PackageView;
use crdt::derive::{Candidate, FileView, VersionView};
use serde::Serialize;

use super::{Error, Metadata};

impl Metadata {
    /// A hash of all that can be rendered of it.
    ///
    /// # Errors
    /// [`super::Outcome::Invalid`] if the view cannot be written down; nothing of it can be kept
    /// then.
    pub fn seed(&self) -> Result<[u8; 32], Error> {
        let Self { decision, view, offered, tags, hidden, revision, stamp: _, metas, reach } = self;
        let PackageView {
            realm,
            package,
            versions,
            tags: set,
            tag_counters,
            yank_counters,
            fallen: _,
        } = view;
        let mut hash = Hash::default();
        hash.add(&(&decision.source, realm, package, revision))?;
        hash.add(&(offered, tags, hidden, reach))?;
        hash.add(&(set, tag_counters, yank_counters))?;
        for (version, found) in versions {
            hash.version(version, found)?;
        }
        for ((version, file), meta) in metas {
            hash.add(&(version, file, blake3::hash(meta).as_bytes()))?;
        }
        Ok(*hash.0.finalize().as_bytes())
    }
}

#[derive(Default)]
struct Hash(blake3::Hasher);

impl Hash {
    fn version(&mut self, version: &str, found: &VersionView) -> Result<(), Error> {
        let VersionView {
            state,
            written,
            files,
            releases,
            yanked,
            claimed_time,
            extras,
            withdrawn_others,
        } = found;
        self.add(&(version, state, written, releases, yanked))?;
        self.add(&(claimed_time, extras, withdrawn_others, files.len()))?;
        for (file, slot) in files {
            let FileView { state, serves, candidates } = slot;
            self.add(&(file, state, serves, candidates.len()))?;
            for Candidate { content, signers, releases, sealed, meta: _ } in candidates {
                self.add(&(content, signers, releases, sealed))?;
            }
        }
        Ok(())
    }

    /// With its length before it, so that no two lists read the same.
    fn add(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let bytes = minicbor_serde::to_vec(value)
            .map_err(|why| Error::invalid(format!("a view cannot be written down: {why}")))?;
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        Ok(())
    }
}
