//! The lists of seals and revocations are fetched before anything that may hang on them.
//!
//! They are part of a realm's authority, so they come whatever the budget for artifacts is, as
//! long as there is room: 64 MB each at most, and only those that count or that a root key has
//! signed. What came is read by the store at once. Runs in the rounds of `keep`.
//!
//! Source: trust.md sections 3 and 12.

use crdt::statement::BlobRef;
use futures::{StreamExt as _, stream};

use super::keep::{KEEP_AT_ONCE, ROUND_MAX};
use super::{Error, Registry};
use crate::mesh::lane::Lane;

impl Registry {
    /// Fetches the lists of seals and revocations before anything that may hang on them. Says
    /// whether one came, and whether one still lacks.
    pub(super) async fn fetch_lists(&self) -> Result<(bool, bool), Error> {
        let wanted = self.inner.store.wanted_lists()?;
        let count = wanted.len();
        let fetches = wanted.into_iter().map(|blob| self.fetch_list(blob));
        let fetches = stream::iter(fetches).buffer_unordered(KEEP_AT_ONCE);
        let tried: Vec<_> = fetches.take_until(tokio::time::sleep(ROUND_MAX)).collect().await;
        let came = tried.into_iter().collect::<Result<Vec<bool>, _>>()?;
        let came = came.into_iter().filter(|came| *came).count();
        Ok((came > 0, came < count))
    }

    async fn fetch_list(&self, blob: BlobRef) -> Result<bool, Error> {
        let store = &self.inner.store;
        let Some(mesh) = self.mesh() else { return Ok(false) };
        if store.blob(&blob.digest)?.is_none() {
            if store.room()?.spare() < blob.size {
                tracing::warn!(digest = %blob.digest, "no room for the list of a seal");
                return Ok(false);
            }
            if let Err(error) = mesh.fetch_in(Lane::Authority, blob.digest, blob.size).await {
                tracing::debug!(%error, digest = %blob.digest, "a list has not come yet");
                return Ok(false);
            }
        }
        if let Err(error) = store.take_list(&blob.digest).await {
            tracing::warn!(%error, digest = %blob.digest, "a list cannot be read now");
        }
        Ok(!store.wanted_lists()?.contains(&blob))
    }
}
