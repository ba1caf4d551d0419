//! A blob comes out of the bucket: hashed while it is written, and a copy in `blobs/` only when it
//! is what its name says.
//!
//! One flight a digest, whoever asks; it goes on when the first asker goes away, so that a second
//! try finds the copy. Who likes reads along ([`Store::follow_blob`]), and learns at the end
//! whether the bytes were right. An object that is not its blob is never kept: its record is
//! dropped, so that peers and upstreams are asked, and the next upload replaces it.

use std::time::{Duration, Instant};

use crdt::Digest;
use futures::StreamExt as _;
use object_store::Error as Why;
use object_store::ObjectStoreExt as _;
use redb::WriteTransaction;
use tokio::sync::watch;

use super::super::batch::{Change, Kept};
use super::super::{Arrival, BlobInfo, Error, Hashes, Inner, Store, lock};
use super::unsent::unsent_row;
use super::{Remote, blob, connection};

/// What became of a flight; nothing while it is in the air.
type Flown = Option<Result<Option<BlobInfo>, Failed>>;

/// If no piece comes for so long, what was gathered is written.
const QUIET_FOR: Duration = Duration::from_millis(50);
/// Nobody waits longer for the next piece.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A copy on its way out of the bucket; clones are the same one.
#[derive(Debug, Clone)]
pub struct Coming {
    digest: Digest,
    bucket: String,
    flown: watch::Receiver<Flown>,
    arrival: watch::Receiver<Arrival>,
}

/// A failure that many are told.
#[derive(Debug, Clone)]
enum Failed {
    Unreachable(String),
    Wrong,
    Full { free: u64, needed: u64 },
    Here(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Full { free, needed } => Self::Full { free, needed },
            Error::TooLarge { .. } | Error::WrongDigest { .. } => Self::Wrong,
            other => Self::Here(other.to_string()),
        }
    }
}

impl Store {
    /// Asks the bucket, if there is one, for a blob of this size that this node has no record of.
    /// Hashed before it is recorded; says whether it is held now.
    ///
    /// # Errors
    /// [`Error::NotFetched`] while the bucket cannot be asked. An object that is not the blob is
    /// none.
    pub async fn recall(&self, digest: &Digest, size: u64, hashes: Hashes) -> Result<bool, Error> {
        match self.fetch((*digest, size), hashes).await {
            Err(Error::WrongDigest { .. }) => Ok(false),
            other => other.map(|found| found.is_some()),
        }
    }

    /// A copy of a recorded blob, where a bucket has it; says whether there is one now.
    ///
    /// # Errors
    /// As [`Store::recall`], [`Error::Full`].
    pub(in super::super) async fn fetch_again(&self, info: &BlobInfo) -> Result<bool, Error> {
        self.recall(&info.digest, info.size, Hashes::default()).await
    }

    /// Makes a copy of it, whoever else waits for the same.
    ///
    /// # Errors
    /// [`Error::NotFetched`], [`Error::WrongDigest`], [`Error::Full`].
    pub(in super::super) async fn fetch(
        &self,
        (digest, size): (Digest, u64),
        hashes: Hashes,
    ) -> Result<Option<BlobInfo>, Error> {
        let Some(remote) = &self.inner.remote else { return Ok(None) };
        self.board(remote, (digest, size), hashes).info().await
    }

    /// The copy of a blob that the bucket may have and the home has not, on its way; nothing
    /// without a bucket, or where a whole copy is here.
    #[must_use]
    pub fn follow_blob(&self, (digest, size): (Digest, u64), hashes: Hashes) -> Option<Coming> {
        let remote = self.inner.remote.as_ref()?;
        let file = fs_err::metadata(self.inner.paths.blob(&digest));
        let is_here = file.is_ok_and(|file| file.len() == size);
        (!is_here).then(|| self.board(remote, (digest, size), hashes))
    }

    /// The flight of this digest, a new one if there is none.
    fn board(&self, remote: &Remote, (digest, size): (Digest, u64), hashes: Hashes) -> Coming {
        let mut flights = lock(&remote.flights);
        if let Some(coming) = flights.get(&digest) {
            return coming.clone();
        }
        let (tell, flown) = watch::channel(None);
        let (told, arrival) = watch::channel(Arrival::default());
        let coming = Coming { digest, bucket: remote.bucket.url.clone(), flown, arrival };
        flights.insert(digest, coming.clone());
        let landing = Landing { store: self.clone(), digest };
        // The runtime keeps the flight, not the asker: what it is told is in the channel.
        drop(remote.fetches.run(async move {
            let result = landing.store.land((digest, size), hashes, &told).await;
            drop(landing);
            tell.send_replace(Some(result));
        }));
        coming
    }

    /// Downloads it; what the bucket has not, or has wrong, is no blob of this node any more.
    async fn land(
        &self,
        (digest, size): (Digest, u64),
        hashes: Hashes,
        told: &watch::Sender<Arrival>,
    ) -> Result<Option<BlobInfo>, Failed> {
        let result = self.download((&digest, size), hashes, told).await;
        if matches!(result, Ok(None) | Err(Failed::Wrong)) {
            self.drop_lost(digest).await?;
        }
        result
    }

    /// Drops a record of which nobody has the bytes; one that has come meanwhile stays.
    async fn drop_lost(&self, digest: Digest) -> Result<(), Error> {
        let change = move |inner: &Inner, txn: &WriteTransaction| {
            let held = blob::record(txn, &digest)?;
            let is_lost = held.is_some_and(|held| !blob::is_whole(inner, &held));
            if is_lost {
                tracing::error!(%digest, "the bucket has lost a blob: its record is dropped");
                blob::unlist(inner, txn, &digest)?;
            }
            Ok(is_lost)
        };
        let after = move |inner: &Inner, is_lost: &bool| {
            if *is_lost {
                blob::erase(inner, &digest);
            }
        };
        self.write_if(|is_lost| *is_lost, change, after).await.map(|_| ())
    }

    /// Reads a blob out of the bucket past the copies here, unverified; says whether there is one.
    ///
    /// # Errors
    /// [`Error::NotFetched`]; what `each` says.
    pub(in super::super) async fn read_through(
        &self,
        digest: &Digest,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(remote) = &self.inner.remote else { return Ok(false) };
        let not_fetched = |why| Error::NotFetched { bucket: remote.bucket.url.clone(), why };
        let got = match remote.bucket.objects.get(&remote.path(digest)).await {
            Err(Why::NotFound { source, .. }) if !names_no_bucket(source.as_ref()) => {
                return Ok(false);
            }
            other => remote.answered(other).map_err(not_fetched)?,
        };
        let mut stream = got.into_stream();
        while let Some(piece) = stream.next().await {
            each(&remote.answered(piece).map_err(not_fetched)?)?;
        }
        Ok(true)
    }

    async fn download(
        &self,
        (digest, size): (&Digest, u64),
        hashes: Hashes,
        told: &watch::Sender<Arrival>,
    ) -> Result<Option<BlobInfo>, Failed> {
        let Some(remote) = &self.inner.remote else { return Ok(None) };
        remote.ask().map_err(Failed::Unreachable)?;
        let got = match remote.bucket.objects.get(&remote.path(digest)).await {
            Err(Why::NotFound { source, .. }) if !names_no_bucket(source.as_ref()) => {
                return Ok(None);
            }
            other => remote.answered(other).map_err(Failed::Unreachable)?,
        };
        if got.meta.size != size {
            tracing::error!(%digest, found = got.meta.size, size, "an object has another length");
            return Err(Failed::Wrong);
        }
        let is_old = remote.is_old(&got.meta);
        let mut writer = self.writer(hashes, size).await?;
        let mut shown = Arrival { size: Some(size), ..Arrival::default() };
        let mut stream = got.into_stream();
        let mut since = Instant::now();
        loop {
            match tokio::time::timeout(QUIET_FOR, stream.next()).await {
                Ok(Some(piece)) => {
                    since = Instant::now();
                    writer.write(remote.answered(piece).map_err(Failed::Unreachable)?).await?;
                }
                Ok(None) => break,
                Err(_) if since.elapsed() > SILENCE_MAX => {
                    let why = "it stopped in the middle of an answer".to_owned();
                    *lock(&remote.trouble) = Some((Instant::now(), why.clone()));
                    return Err(Failed::Unreachable(why));
                }
                // Who reads along gets what is here while the bucket takes its time.
                Err(_) => writer.flush().await?,
            }
            writer.tell(&mut shown, told).await?;
        }
        let staged = writer.finish().await?;
        if staged.info().digest != *digest {
            tracing::error!(%digest, "an object of the bucket is not its blob");
            return Err(Failed::Wrong);
        }
        told.send_replace(Arrival { written: size, ..shown });
        let info = staged.info().clone();
        // Nobody else knows yet that this node relies on it: until they do, the copy stays.
        let stays = is_old && blob::record(&self.read()?, digest)?.is_none();
        let unsent = stays.then(|| unsent_row(digest));
        let blob = Change::Blob(Box::new(staged));
        let kept = self.keep(std::iter::once(blob).chain(unsent).collect()).await?;
        if stays {
            lock(&remote.right).insert(*digest);
        }
        self.sent(&info, stays);
        Ok(Some(if let Kept::Blob(info) = kept { *info } else { info }))
    }
}

impl Coming {
    /// How far the copy is. Its bytes are not known to be right before it has landed.
    #[must_use]
    pub fn arrival(&self) -> watch::Receiver<Arrival> {
        self.arrival.clone()
    }

    /// Waits for the end of this very flight; says whether the copy is here, whole and right.
    ///
    /// # Errors
    /// As [`Store::recall`], and [`Error::WrongDigest`] for an object that is not the blob.
    pub async fn landed(self) -> Result<bool, Error> {
        self.info().await.map(|info| info.is_some())
    }

    async fn info(mut self) -> Result<Option<BlobInfo>, Error> {
        let flown = self.flown.wait_for(Option::is_some).await;
        let flown = flown.ok().and_then(|flown| flown.clone());
        let stopping = || Err(Failed::Here("the node is stopping".to_owned()));
        flown.unwrap_or_else(stopping).map_err(|failed| match failed {
            Failed::Unreachable(why) => Error::NotFetched { bucket: self.bucket, why },
            Failed::Wrong => Error::WrongDigest { expected: self.digest },
            Failed::Full { free, needed } => Error::Full { free, needed },
            Failed::Here(why) => std::io::Error::other(why).into(),
        })
    }
}

/// The flight is over, also if it panicked.
struct Landing {
    store: Store,
    digest: Digest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(remote) = &self.store.inner.remote {
            lock(&remote.flights).remove(&self.digest);
        }
    }
}

/// A bucket that is not there says nothing about its objects.
fn names_no_bucket(mut cause: &(dyn std::error::Error + 'static)) -> bool {
    loop {
        if connection::code_of(&cause.to_string()).as_deref() == Some("NoSuchBucket") {
            return true;
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return false,
        }
    }
}

impl std::fmt::Debug for Landing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Landing").field("digest", &self.digest).finish_non_exhaustive()
    }
}
