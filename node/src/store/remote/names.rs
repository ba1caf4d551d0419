//! What this node tells the others that share its bucket: which blobs it has a record of.
//!
//! ```text
//! <prefix>/nodes/<node>/names            the digests of all records, sorted, and their hash
//! <prefix>/nodes/<node>/claim-<digest>   empty: an old object that this node relies on since
//! <prefix>/sweeps/<node>                 empty: this node removes objects at this moment
//! ```
//!
//! The list is written before this node first sends anything after a start, and then every six
//! hours. A sweep (`sweep`) removes only what every list is a day younger than, so what a node sent
//! or recorded since its list was written stays anyhow. One case is left: a node that finds an
//! object in the bucket which is old already. It writes a claim first, and then looks whether a
//! sweep is under way; the sweep says so first, and then reads the claims. So one of the two sees
//! the other, and whoever claims waits. All times are those of the bucket: no clock of a node is
//! asked.
//!
//! The node's name is the epoch of its store: a home that was restored is another node.
//!
//! Source: DESIGN.md section 5; docs/decisions/0006.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use crdt::Digest;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error as Why, ObjectMeta, ObjectStoreExt as _, PutMode, PutPayload};

use super::super::gc::step;
use super::super::{Error, Hashes, Store, blocking, lock};
use super::Remote;
use super::put::Parcel;

/// The first bytes of a list.
pub(super) const MAGIC: &[u8] = b"griot names 1\n";
/// Bytes of the hash at its end.
pub(super) const HASH_BYTES: usize = 32;
/// How often the list is written.
pub(super) const WRITTEN_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// An object that is so old, or older, is relied on by way of a claim. Less than any grace.
const RELIED_ON: Duration = Duration::from_secs(12 * 60 * 60);
/// A list takes no longer to be written, or it is begun anew.
const WRITING_MAX: Duration = Duration::from_secs(60 * 60);
/// A claim of what was never recorded goes after so long.
const CLAIM_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// So long after it was said that a sweep is under way, it is not.
pub(super) const LEASE: Duration = Duration::from_secs(10 * 60);
/// Who finds a sweep under way looks again so often, and then gives up.
const LOOKS: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 500 });
/// Records that are read at a time.
const STEP: usize = 4096;

/// When the bucket last told its time, and how long ago that was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    at: SystemTime,
    since: Instant,
}

/// What a key below `nodes/` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfNode {
    Names,
    Claim(Digest),
}

impl Remote {
    /// The folder of what nodes tell each other.
    pub(super) fn nodes(&self) -> Path {
        self.bucket.prefix.clone().join("nodes")
    }

    /// The list of a node.
    pub(super) fn names_of(&self, node: &str) -> Path {
        self.nodes().join(node).join("names")
    }

    fn claim_of(&self, node: &str, digest: &Digest) -> Path {
        self.nodes().join(node).join(format!("claim-{}", digest.to_hex()))
    }

    /// The folder in which sweeps are announced.
    pub(super) fn sweeps(&self) -> Path {
        self.bucket.prefix.clone().join("sweeps")
    }

    /// Node and kind of a key below `nodes/`, if it is one of ours.
    pub(super) fn of_node(&self, key: &Path) -> Option<(String, OfNode)> {
        let nodes = self.nodes();
        let mut parts = key.prefix_match(&nodes)?;
        let (node, name) = (parts.next()?, parts.next()?);
        let kind = match name.as_ref().strip_prefix("claim-") {
            Some(digest) => OfNode::Claim(digest.parse().ok()?),
            None if name.as_ref() == "names" => OfNode::Names,
            None => return None,
        };
        Some((node.as_ref().to_owned(), kind))
    }

    /// Whether this node has told what it holds since its start.
    pub(super) fn has_announced(&self) -> bool {
        lock(&self.told).is_some()
    }

    /// Whether the list is due again.
    pub(super) fn is_names_due(&self) -> bool {
        lock(&self.told).is_none_or(|told| told.since.elapsed() >= WRITTEN_EVERY)
    }

    /// Whether an object may be removed before this node's next list says that it is needed.
    pub(super) fn is_old(&self, about: &ObjectMeta) -> bool {
        let told = *lock(&self.told);
        told.is_none_or(|told| {
            let now = told.at + told.since.elapsed();
            SystemTime::from(about.last_modified) + RELIED_ON <= now
        })
    }

    /// Makes sure that an old object stays: says so, and waits for a sweep that may not know it.
    pub(super) async fn claim(&self, node: &str, digest: &Digest) -> Result<(), String> {
        let path = self.claim_of(node, digest);
        let now = self.touch(&path).await?;
        for _ in 0..LOOKS {
            if !self.is_swept(now).await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("a node is removing objects from the bucket: try again in some minutes".to_owned())
    }

    /// Writes an empty object; gives its time, which is the bucket's.
    pub(super) async fn touch(&self, path: &Path) -> Result<SystemTime, String> {
        self.answered(self.bucket.objects.put(path, PutPayload::new()).await)?;
        let about = self.answered(self.bucket.objects.head(path).await)?;
        Ok(about.last_modified.into())
    }

    /// Whether a sweep has been announced and is not over.
    async fn is_swept(&self, now: SystemTime) -> Result<bool, String> {
        let mut sweeps = self.bucket.objects.list(Some(&self.sweeps()));
        while let Some(sweep) = sweeps.next().await {
            let announced = SystemTime::from(self.answered(sweep)?.last_modified);
            if announced + LEASE > now {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes an object; one that is gone already is as good.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), String> {
        match self.bucket.objects.delete(path).await {
            Err(Why::NotFound { .. }) => Ok(()),
            other => self.answered(other),
        }
    }
}

impl Store {
    /// The name under which this node is known in its bucket.
    pub(super) fn bucket_node(&self) -> String {
        format!("{:014x}", self.inner.epoch)
    }

    /// Tells what this node holds, unless it has since its start.
    ///
    /// # Errors
    /// [`Error::NotSent`].
    pub(super) async fn announce(&self) -> Result<(), Error> {
        match &self.inner.remote {
            Some(remote) if !remote.has_announced() => self.write_names(false).await,
            _ => Ok(()),
        }
    }

    /// Tells what this node holds; `again`: also if it has since its start.
    ///
    /// # Errors
    /// [`Error::NotSent`]: what is relied on from here on would not be known to be needed.
    pub(super) async fn write_names(&self, again: bool) -> Result<(), Error> {
        let Some(remote) = &self.inner.remote else { return Ok(()) };
        let not_sent = |why| Error::NotSent { bucket: remote.bucket.url.clone(), why };
        let store = self.clone();
        let written = remote.clerk.run(async move {
            let Some(remote) = &store.inner.remote else { return Ok(()) };
            if !again && remote.has_announced() {
                return Ok(());
            }
            store.put_names(remote).await
        });
        match written.await {
            Ok(result) => result.map_err(not_sent),
            Err(_) => Err(not_sent("the node is stopping".to_owned())),
        }
    }

    async fn put_names(&self, remote: &Remote) -> Result<(), String> {
        let (begun, node) = (Instant::now(), self.bucket_node());
        let mut claims = self.own_claims(remote, &node).await?;
        let written = self.list_records(&mut claims).await.map_err(|why| why.to_string())?;
        let path = remote.names_of(&node);
        remote.put(&written, &path, PutMode::Overwrite).await?;
        let about = remote.answered(remote.bucket.objects.head(&path).await)?;
        if begun.elapsed() > WRITING_MAX {
            return Err("the list of what this node holds took too long to write".to_owned());
        }
        let at = SystemTime::from(about.last_modified);
        *lock(&remote.told) = Some(Told { at, since: Instant::now() });
        for claim in claims.into_iter().filter(|claim| claim.is_over(at)) {
            remote.remove(&claim.path).await?;
        }
        Ok(())
    }

    async fn own_claims(&self, remote: &Remote, node: &str) -> Result<Vec<Claim>, String> {
        let listed = remote.bucket.objects.list(Some(&remote.nodes().join(node)));
        let listed: Vec<ObjectMeta> = remote.answered(listed.try_collect().await)?;
        let claims = listed.into_iter().filter_map(|about| {
            let (_, OfNode::Claim(digest)) = remote.of_node(&about.location)? else { return None };
            let at = about.last_modified.into();
            Some(Claim { digest, path: about.location, at, is_listed: false })
        });
        Ok(claims.collect())
    }

    /// Writes the list into a file, and marks the claims that are in it.
    async fn list_records(&self, claims: &mut [Claim]) -> Result<Parcel, Error> {
        let mut writer = self.writer(Hashes::default(), u64::MAX).await?;
        let mut hash = blake3::Hasher::new();
        hash.update(MAGIC);
        writer.write(Bytes::from_static(MAGIC)).await?;
        let mut after = None;
        loop {
            let inner = Arc::clone(&self.inner);
            let found = blocking(move || step(&inner.read()?, after, STEP)).await?;
            let Some(last) = found.last() else { break };
            after = Some(last.digest);
            let here: BTreeSet<Digest> = found.iter().map(|info| info.digest).collect();
            for claim in claims.iter_mut() {
                claim.is_listed |= here.contains(&claim.digest);
            }
            let bytes: Vec<u8> = found.iter().flat_map(|info| *info.digest.as_bytes()).collect();
            hash.update(&bytes);
            writer.write(bytes.into()).await?;
        }
        writer.write(Bytes::copy_from_slice(hash.finalize().as_bytes())).await?;
        let staged = writer.finish().await?;
        let (digest, size) = (staged.info().digest, staged.info().size);
        // The name of the file goes now, its bytes with the handle.
        Ok(Parcel { digest, size, file: staged.open()? })
    }
}

/// A claim of this node.
struct Claim {
    digest: Digest,
    path: Path,
    at: SystemTime,
    /// Whether the list that is being written has it.
    is_listed: bool,
}

impl Claim {
    /// Whether the list does its work, or nothing came of it.
    fn is_over(&self, now: SystemTime) -> bool {
        self.is_listed || self.at + CLAIM_KEPT <= now
    }
}
