//! A file of an upstream from connected members, by what they say that they hold.
//!
//! Each hint may be a lie, from any number of peers, under any digest, and whoever made it may be
//! slow without end. So the hints are tried one beside the other, a lie costs one fetch, and what
//! led nowhere is neither tried nor offered again for a while. Nothing is kept that does not fit
//! the document's strong checksum: see `file_flights`.
//!
//! Source: trust.md section 10; DESIGN section 7.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use super::files::Described;
use super::sought::{FILE_BYTES_MAX, Sought};
use super::{Error, Outcome, Registry};
use crate::mesh::FileHint;
use crate::store::cached::CachedFile;

/// Peers' answers that are tried for one file.
const HINTS_TRIED_MAX: usize = 16;
/// A peer that takes longer is not waited for alone; more for a large file.
const PEERS_FIRST: Duration = Duration::from_secs(5);
/// Bytes a second of a peer that is not slow.
const PEER_PACE: u64 = 64 * 1024;
/// While there is nobody else; the mesh leaves those who give nothing before.
const PEERS_LAST: Duration = Duration::from_secs(3600);
/// How long a hint is not followed whose bytes were others.
const A_LIE: Duration = Duration::from_secs(3600);
/// And one whose bytes did not come.
const A_MISS: Duration = Duration::from_secs(30);

impl Registry {
    /// From whoever says that he has it; the checksum is strong enough to find out.
    pub(super) async fn file_from_peers(
        &self,
        sought: &Sought,
        described: &Described,
    ) -> Result<Option<CachedFile>, Error> {
        let Some(document) = &described.document.body else { return Ok(None) };
        let hints = self.hints(sought, document).await?;
        let (version, file) = (&described.version.version, &described.file.file);
        let of_it = hints.iter().filter(|hint| {
            let size = described.file.size.is_none_or(|size| size == hint.size);
            let it = hint.version == *version && hint.file == *file;
            it && size && hint.size <= FILE_BYTES_MAX
        });
        let of_it = of_it.filter(|hint| !self.inner.nearby.is_refuted(sought, hint)).collect();
        Ok(self.first_that_fits(sought, described, of_it).await)
    }

    /// Each of the hints may be a lie, and each liar may be slow: the next one is tried beside it
    /// then. With none left those under way are all there is while the upstream is away.
    async fn first_that_fits(
        &self,
        sought: &Sought,
        described: &Described,
        hints: Vec<&FileHint>,
    ) -> Option<CachedFile> {
        let mut under_way = FuturesUnordered::new();
        let mut left = hints.into_iter().take(HINTS_TRIED_MAX);
        loop {
            let next = left.next();
            if let Some(hint) = next {
                let offer = (hint.digest, hint.size);
                let landing = self.peer_flight(sought, described, offer, described.ground());
                under_way.push(async move { (hint, landing.await) });
            }
            let patience = match next {
                Some(hint) => PEERS_FIRST + Duration::from_secs(hint.size / PEER_PACE),
                None if self.is_away(&sought.origin()) => PEERS_LAST,
                None => return None,
            };
            while let Ok(Some((hint, end))) = timeout(patience, under_way.next()).await {
                match end {
                    Ok(got) => return Some(got),
                    Err(error) => self.led_nowhere(sought, hint, &error),
                }
            }
            next?;
        }
    }

    fn led_nowhere(&self, sought: &Sought, hint: &FileHint, error: &Error) {
        tracing::debug!(%error, package = %sought.package, "not from peers");
        let long = if error.outcome == Outcome::Corrupt { A_LIE } else { A_MISS };
        self.inner.nearby.refute(sought, hint, long);
    }
}
