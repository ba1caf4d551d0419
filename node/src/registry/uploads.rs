//! Uploads in several requests: whose they are, and what they may hold.
//!
//! The bytes and their durability are the store's (`store::sessions`). An upload belongs to the
//! principal that started it and to one format; any principal needs the scope to publish. Where
//! the bytes go in the end is decided when they are published, as for every other upload.

use std::time::Duration;

use super::publish::ARTIFACT_MAX;
use super::{Error, Principal, Registry, Scope, Staged};
use crate::store::sessions::{NewSession, Owner, Session, SessionId, SessionWriter};

/// How often uploads that nobody goes on with are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

impl Registry {
    /// Starts an upload; the same label finds the one that was started before.
    ///
    /// # Errors
    /// Forbidden without the scope; Invalid for more than an artifact may have; Conflict when too
    /// many are under way; Unavailable when the disk is full.
    pub async fn start_upload(
        &self,
        who: &Principal,
        format: &str,
        label: Option<String>,
        size: Option<u64>,
    ) -> Result<Session, Error> {
        who.require(Scope::Publish)?;
        let hashes = self.require_rules(format)?.hashes;
        let (owner, purpose) = (who.name.clone(), format.to_owned());
        let new = NewSession { owner, purpose, label, hashes, limit: ARTIFACT_MAX, size };
        Ok(self.inner.store.start_session(new).await?)
    }

    /// What there is of an upload.
    ///
    /// # Errors
    /// Forbidden without the scope; NotFound.
    pub fn upload(&self, who: &Principal, format: &str, id: SessionId) -> Result<Session, Error> {
        who.require(Scope::Publish)?;
        let owner = Owner { name: &who.name, purpose: format };
        Ok(self.inner.store.session(id, owner)?)
    }

    /// Opens an upload where it ends, which must be `at` if that is given.
    ///
    /// # Errors
    /// As [`Registry::upload`]; Conflict when it ends elsewhere, or somebody else holds on to it.
    pub async fn resume_upload(
        &self,
        who: &Principal,
        format: &str,
        id: SessionId,
        at: Option<u64>,
    ) -> Result<SessionWriter, Error> {
        who.require(Scope::Publish)?;
        let owner = Owner { name: &who.name, purpose: format };
        let writer = self.inner.store.open_session(id, owner, at).await?;
        tracing::debug!(at = writer.written(), "an upload goes on");
        Ok(writer)
    }

    /// Holds the bytes of a finished upload until they are published, also over a restart.
    ///
    /// # Errors
    /// Unavailable when the disk is full.
    pub async fn hold_upload(&self, staged: &Staged) -> Result<(), Error> {
        Ok(self.inner.store.hold_for_upload(&staged.info().digest).await?)
    }

    /// Ends an upload without its bytes.
    ///
    /// # Errors
    /// As [`Registry::upload`].
    pub async fn cancel_upload(
        &self,
        who: &Principal,
        format: &str,
        id: SessionId,
    ) -> Result<(), Error> {
        who.require(Scope::Publish)?;
        let owner = Owner { name: &who.name, purpose: format };
        Ok(self.inner.store.cancel_session(id, owner).await?)
    }

    /// Removes uploads that nobody goes on with, now and every day.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn sweep_uploads(self) -> Result<(), Error> {
        loop {
            let removed = self.inner.store.sweep_sessions().await?;
            if removed > 0 {
                tracing::info!(removed, "uploads that nobody went on with were removed");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }
}
