//! Removes objects of the bucket that no node needs.
//!
//! An object goes when it is in no node's list and no node's claim, and every list was written a
//! grace (a day or more) after the object last changed. So a node that is silent for long holds
//! back all that came since its last list, and a person has to say that it is gone for good. The
//! order is what makes it safe beside nodes that go on working, see `names`: the sweep is announced
//! before the claims are read, those before the lists, and nothing is removed once the announcement
//! may count as over. A list that cannot be read ends the sweep before anything is removed.
//!
//! A crash leaves the announcement, which is over by itself after ten minutes.
//!
//! Source: docs/decisions/0006.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use crdt::Digest;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{Error as Why, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::kinds::Amount;
use super::super::{Error, Store};
use super::Remote;
use super::names::{HASH_BYTES, LEASE, MAGIC, OfNode};

/// The least grace.
pub const GRACE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// A node that wrote its list within this time is not forgotten: it is there.
const ALIVE: Duration = Duration::from_secs(24 * 60 * 60);
/// Objects that are judged in one sweep; the next one goes on.
const JUDGED_MAX: usize = 1_000_000;
/// How often it is told how far it is.
const TOLD_EVERY: u64 = 100;

/// What a person wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepOrder {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Nodes that are gone for good: what only they name may go.
    #[serde(default)]
    pub forget: Vec<String>,
    /// Seconds that an object stays after it last changed; a day, if that is more or none is said.
    #[serde(default)]
    pub grace: u64,
}

/// A node that shares the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketNode {
    /// Its name there.
    pub node: String,
    /// Whether it is this one.
    pub own: bool,
    /// Blobs that it names.
    pub names: u64,
    /// Seconds since it last wrote its list, by the bucket's time.
    pub silent: u64,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Objects that nobody named.
    pub removed: Amount,
    /// Objects that are too young to be judged, by the oldest list.
    pub young: Amount,
    /// Who shares the bucket.
    pub nodes: Vec<BucketNode>,
    /// Nodes that were forgotten.
    pub forgotten: Vec<String>,
}

/// A step of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SweepStep {
    /// So many objects are gone, of so many that go.
    Removed {
        /// Until now.
        objects: u64,
        /// In all.
        of: u64,
    },
    /// The end.
    Done(Swept),
}

/// What a node told, as it lies in the bucket.
#[derive(Debug, Default)]
struct Told {
    names: Option<SystemTime>,
    claims: BTreeSet<Digest>,
    keys: Vec<Path>,
}

/// Objects that may go: their size and time.
type Candidates = BTreeMap<Digest, (u64, SystemTime)>;

/// A sweep under way.
struct Sweep<'s> {
    remote: &'s Remote,
    own: String,
    announced: Path,
    /// When that was last said.
    since: Instant,
}

impl Store {
    /// Removes the objects that no node of the bucket needs, or says which would go.
    ///
    /// # Errors
    /// [`Error::NotSwept`] without a bucket, or when something cannot be read: nothing was removed
    /// then, unless the bucket fell silent in the middle.
    pub async fn sweep_bucket(
        &self,
        order: &SweepOrder,
        steps: Option<&mpsc::Sender<SweepStep>>,
    ) -> Result<Swept, Error> {
        let Some(remote) = &self.inner.remote else {
            let why = "the blobs of this node are in its home, and in no bucket".to_owned();
            return Err(Error::NotSwept { why });
        };
        // What is here since the last time is named, too.
        self.write_names(true).await?;
        let own = self.bucket_node();
        let announced = remote.sweeps().join(own.as_str());
        let sweep = Sweep { remote, own, announced, since: Instant::now() };
        let swept = sweep.run(order, steps).await;
        let swept = swept.map_err(|why| Error::NotSwept { why })?;
        if let Some(steps) = steps {
            // Who asked may have gone.
            let _ = steps.send(SweepStep::Done(swept.clone())).await;
        }
        Ok(swept)
    }
}

impl Sweep<'_> {
    async fn run(
        mut self,
        order: &SweepOrder,
        steps: Option<&mpsc::Sender<SweepStep>>,
    ) -> Result<Swept, String> {
        let now = match order.dry_run {
            true => self.time_of(&self.remote.names_of(&self.own)).await?,
            false => self.announce().await?,
        };
        let mut told = self.read_told().await?;
        let forgotten = self.forget(order, now, &mut told).await?;
        let grace = Duration::from_secs(order.grace).max(GRACE_MIN);
        let lists = told.values().map(|one| one.names.unwrap_or(SystemTime::UNIX_EPOCH));
        let oldest = lists.min().unwrap_or(SystemTime::UNIX_EPOCH).min(now);
        let (mut candidates, young) = self.candidates(oldest, grace).await?;
        let mut nodes = Vec::new();
        for (node, one) in told {
            candidates.retain(|digest, _| !one.claims.contains(digest));
            let names = match one.names {
                Some(_) => self.spare_named(&node, &mut candidates).await?,
                None => 0,
            };
            let silent = one.names.map_or(u64::MAX, |at| seconds_between(at, now));
            nodes.push(BucketNode { own: node == self.own, node, names, silent });
        }
        let removed = match order.dry_run {
            true => amount(&candidates),
            false => self.remove_all(candidates, steps).await?,
        };
        if !order.dry_run {
            self.remote.remove(&self.announced).await?;
        }
        Ok(Swept { removed, young, nodes, forgotten })
    }

    /// Says that a sweep is under way; gives the bucket's time.
    async fn announce(&mut self) -> Result<SystemTime, String> {
        self.since = Instant::now();
        self.remote.touch(&self.announced).await
    }

    async fn time_of(&self, path: &Path) -> Result<SystemTime, String> {
        let about = self.remote.answered(self.remote.bucket.objects.head(path).await)?;
        Ok(about.last_modified.into())
    }

    /// What all nodes told: their claims, and when they wrote their lists.
    async fn read_told(&self) -> Result<BTreeMap<String, Told>, String> {
        let mut told = BTreeMap::<String, Told>::new();
        let mut listed = self.remote.bucket.objects.list(Some(&self.remote.nodes()));
        while let Some(about) = listed.next().await {
            let about = self.remote.answered(about)?;
            let Some((node, kind)) = self.remote.of_node(&about.location) else { continue };
            let one = told.entry(node).or_default();
            match kind {
                OfNode::Names => one.names = Some(about.last_modified.into()),
                OfNode::Claim(digest) => drop(one.claims.insert(digest)),
            }
            one.keys.push(about.location);
        }
        Ok(told)
    }

    /// Takes out the nodes that a person says are gone for good.
    async fn forget(
        &self,
        order: &SweepOrder,
        now: SystemTime,
        told: &mut BTreeMap<String, Told>,
    ) -> Result<Vec<String>, String> {
        for node in &order.forget {
            let Some(one) = told.get(node) else {
                return Err(format!("no node {node} has told what it holds"));
            };
            let silent = one.names.map_or(u64::MAX, |at| seconds_between(at, now));
            if *node == self.own || silent < ALIVE.as_secs() {
                return Err(format!("{node} wrote its list within a day: it is not gone"));
            }
        }
        for node in &order.forget {
            let keys = told.remove(node).map(|one| one.keys).unwrap_or_default();
            for key in keys.iter().filter(|_| !order.dry_run) {
                self.remote.remove(key).await?;
            }
        }
        Ok(order.forget.clone())
    }

    /// Objects that every list is younger than by the grace; how much is not.
    async fn candidates(
        &self,
        oldest: SystemTime,
        grace: Duration,
    ) -> Result<(Candidates, Amount), String> {
        let (mut found, mut young) = (Candidates::new(), Amount::default());
        let prefix = &self.remote.bucket.prefix;
        let mut listed = self.remote.bucket.objects.list(Some(prefix));
        while let Some(about) = listed.next().await {
            let about = self.remote.answered(about)?;
            let Some(digest) = self.remote.digest_of(&about.location) else { continue };
            let changed = SystemTime::from(about.last_modified);
            if changed + grace > oldest {
                young.add(about.size);
            } else if found.len() < JUDGED_MAX {
                found.insert(digest, (about.size, changed));
            }
        }
        Ok((found, young))
    }

    /// Takes out what a node names; says how many that are.
    async fn spare_named(&self, node: &str, candidates: &mut Candidates) -> Result<u64, String> {
        let path = self.remote.names_of(node);
        let got = self.remote.answered(self.remote.bucket.objects.get(&path).await)?;
        let unreadable =
            || format!("the list of the node {node} cannot be read, so nothing was removed");
        let size = usize::try_from(got.meta.size).map_err(|_| unreadable())?;
        let names = size.checked_sub(MAGIC.len() + HASH_BYTES).ok_or_else(unreadable)?;
        let (mut reader, mut stream) = (ListReader::new(names), got.into_stream());
        while let Some(piece) = stream.next().await {
            let piece = self.remote.answered(piece)?;
            reader.take(&piece, |digest| {
                candidates.remove(&digest);
            });
        }
        if reader.is_sound() { Ok((names / 32) as u64) } else { Err(unreadable()) }
    }

    async fn remove_all(
        &mut self,
        candidates: Candidates,
        steps: Option<&mpsc::Sender<SweepStep>>,
    ) -> Result<Amount, String> {
        let (mut removed, of) = (Amount::default(), candidates.len() as u64);
        for (objects, (digest, (size, changed))) in (0..).zip(candidates) {
            if objects % TOLD_EVERY == 0
                && let Some(steps) = steps
            {
                let told = steps.send(SweepStep::Removed { objects, of }).await;
                told.map_err(|_| "nobody waits for its end any more".to_owned())?;
            }
            if self.since.elapsed() > LEASE / 4 {
                self.announce().await?;
            }
            if self.remove_one(&digest, changed).await? {
                tracing::info!(%digest, size, "removed an object that nobody names");
                removed.add(size);
            }
        }
        Ok(removed)
    }

    /// Removes an object that is as it was when it was judged.
    async fn remove_one(&self, digest: &Digest, changed: SystemTime) -> Result<bool, String> {
        let path = self.remote.path(digest);
        let about = match self.remote.bucket.objects.head(&path).await {
            Err(Why::NotFound { .. }) => return Ok(false),
            other => self.remote.answered(other)?,
        };
        // A list may say parts of a second, which an answer about one object never does.
        let same = whole_seconds(about.last_modified.into()) == whole_seconds(changed);
        if !same || self.since.elapsed() > LEASE / 2 {
            return Ok(false);
        }
        self.remote.remove(&path).await.map(|()| true)
    }
}

fn whole_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Remote {
    /// The blob that an object is, by its key.
    fn digest_of(&self, key: &Path) -> Option<Digest> {
        let digest = key.filename()?.parse().ok()?;
        (self.path(&digest) == *key).then_some(digest)
    }
}

/// A list that comes in pieces.
struct ListReader {
    hash: blake3::Hasher,
    /// What is not taken apart yet: less than a digest, and the first bytes at first.
    rest: Vec<u8>,
    /// Bytes of names that are still to come.
    left: usize,
    is_begun: bool,
    is_wrong: bool,
}

impl ListReader {
    /// For so many bytes of names.
    fn new(names: usize) -> Self {
        let is_wrong = !names.is_multiple_of(32);
        let hash = blake3::Hasher::new();
        Self { hash, rest: Vec::new(), left: names, is_begun: false, is_wrong }
    }

    fn take(&mut self, piece: &[u8], mut each: impl FnMut(Digest)) {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        if !self.is_begun && self.rest.len() >= MAGIC.len() {
            self.is_begun = true;
            self.is_wrong |= !self.rest.starts_with(MAGIC);
            at = MAGIC.len();
        }
        while self.is_begun && self.left >= 32 && self.rest.len() - at >= 32 {
            let mut digest = [0; 32];
            digest.copy_from_slice(&self.rest[at..at + 32]);
            each(Digest::from_bytes(digest));
            (at, self.left) = (at + 32, self.left - 32);
        }
        self.hash.update(&self.rest[..at]);
        self.rest.drain(..at);
    }

    /// Whether all of it came, and as it was written.
    fn is_sound(&self) -> bool {
        let whole = self.is_begun && self.left == 0 && !self.is_wrong;
        whole && self.rest == self.hash.finalize().as_bytes()
    }
}

fn amount(candidates: &Candidates) -> Amount {
    let mut sum = Amount::default();
    candidates.values().for_each(|(size, _)| sum.add(*size));
    sum
}

fn seconds_between(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).map_or(0, |time| time.as_secs())
}
