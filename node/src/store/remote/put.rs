//! A staged file goes into the bucket before anything records it.
//!
//! An object of the blob's name and length that is there already is read back and hashed, and wins
//! if it is the blob; nothing is sent then (an old one is claimed first: see `names`). One that is
//! not is replaced: its name says what it should have been. A small file is one conditional
//! request, a larger one goes in parts, one part in memory at a time, and its object appears whole
//! or not at all; its length is asked for after.
//!
//! Source: DESIGN.md section 5.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use crdt::Digest;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{
    Error as Why, ObjectMeta, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};

use super::super::hashing::Hasher;
use super::super::{Error, Hashes, Inner, Store, lock};
use super::Remote;

/// The least that S3 takes as a part, and the most that is held of a file.
const PART_BYTES: u64 = 5 << 20;
/// S3 takes 10,000; a little room is left.
const PARTS_MAX: u64 = 9_500;

/// What goes up.
#[derive(Debug)]
pub(in super::super) struct Parcel {
    pub(in super::super) digest: Digest,
    pub(in super::super) size: u64,
    /// Complete; positions do not matter.
    pub(in super::super) file: File,
}

impl Store {
    /// Makes sure that the bucket has it; nothing to do without one.
    ///
    /// # Errors
    /// [`Error::NotSent`]: the bucket has nothing of it, or what it has is not known to be whole.
    pub(in super::super) async fn send(&self, parcel: Parcel) -> Result<(), Error> {
        let Some(remote) = &self.inner.remote else { return Ok(()) };
        let not_sent = |why| Error::NotSent { bucket: remote.bucket.url.clone(), why };
        remote.ask().map_err(not_sent)?;
        self.announce().await?;
        let (inner, node) = (Arc::clone(&self.inner), self.bucket_node());
        let sent = remote.sends.run(async move { upload(&inner, &node, &parcel).await });
        match sent.await {
            Ok(result) => result.map_err(not_sent),
            Err(_) => Err(not_sent("the node is stopping".to_owned())),
        }
    }
}

/// What the bucket has under the name of a blob.
enum Found {
    Nothing,
    /// Something else, of which the length or the hash tells.
    Other,
    It,
}

async fn upload(inner: &Inner, node: &str, parcel: &Parcel) -> Result<(), String> {
    let Some(remote) = &inner.remote else { return Ok(()) };
    let path = remote.path(&parcel.digest);
    let known =
        super::blob::record(&read(inner)?, &parcel.digest).map_err(|why| why.to_string())?;
    let is_right =
        !remote.is_unsent(&parcel.digest) || lock(&remote.right).contains(&parcel.digest);
    let known = known.is_some() && is_right;
    match remote.look(parcel, &path, (known, node)).await? {
        Found::It => Ok(()),
        Found::Nothing => remote.put(parcel, &path, PutMode::Create).await,
        Found::Other => {
            tracing::error!(digest = %parcel.digest, "an object is not its blob: it is replaced");
            remote.put(parcel, &path, PutMode::Overwrite).await
        }
    }
}

fn read(inner: &Inner) -> Result<redb::ReadTransaction, String> {
    inner.read().map_err(|why| why.to_string())
}

impl Remote {
    /// `known`: this node has sent or read it whole before, so that its length says enough. What
    /// has been there for long is claimed before it is relied on: it might just be removed.
    async fn look(
        &self,
        parcel: &Parcel,
        path: &Path,
        (known, node): (bool, &str),
    ) -> Result<Found, String> {
        let mut about = self.about(path).await?;
        if about.as_ref().is_some_and(|about| self.is_old(about)) {
            self.claim(node, &parcel.digest).await?;
            about = self.about(path).await?;
        }
        match about {
            None => Ok(Found::Nothing),
            Some(about) if about.size != parcel.size => Ok(Found::Other),
            Some(_) if known || self.is_it(parcel, path).await? => Ok(Found::It),
            Some(_) => Ok(Found::Other),
        }
    }

    async fn about(&self, path: &Path) -> Result<Option<ObjectMeta>, String> {
        match self.bucket.objects.head(path).await {
            Err(Why::NotFound { .. }) => Ok(None),
            other => self.answered(other).map(Some),
        }
    }

    /// Reads the object back.
    async fn is_it(&self, parcel: &Parcel, path: &Path) -> Result<bool, String> {
        let got = self.answered(self.bucket.objects.get(path).await)?;
        let (mut hasher, mut stream) = (Hasher::new(Hashes::default()), got.into_stream());
        while let Some(piece) = stream.next().await {
            hasher.update(&self.answered(piece)?);
        }
        let (size, digest, _) = hasher.finish();
        Ok(size == parcel.size && digest == parcel.digest)
    }

    /// Brings it there, whole.
    pub(super) async fn put(
        &self,
        parcel: &Parcel,
        path: &Path,
        mode: PutMode,
    ) -> Result<(), String> {
        if parcel.size > PART_BYTES {
            return self.put_parts(parcel, path).await;
        }
        let payload = PutPayload::from_bytes(part(parcel, 0, parcel.size)?);
        let options = |mode| PutOptions { mode, ..PutOptions::default() };
        let objects = &self.bucket.objects;
        let put = match objects.put_opts(path, payload.clone(), options(mode)).await {
            // A server that knows no conditions.
            Err(Why::NotImplemented { .. } | Why::NotSupported { .. }) => {
                objects.put_opts(path, payload, options(PutMode::Overwrite)).await
            }
            // Somebody was faster: theirs counts if it is the blob.
            Err(Why::AlreadyExists { .. } | Why::Precondition { .. }) => {
                if self.is_it(parcel, path).await? {
                    return Ok(());
                }
                objects.put_opts(path, payload, options(PutMode::Overwrite)).await
            }
            other => other,
        };
        self.answered(put).map(|_| ())
    }

    async fn put_parts(&self, parcel: &Parcel, path: &Path) -> Result<(), String> {
        let mut upload = self.answered(self.bucket.objects.put_multipart(path).await)?;
        let size = PART_BYTES.max(parcel.size.div_ceil(PARTS_MAX));
        let parts = async {
            let mut sent = 0;
            while sent < parcel.size {
                let bytes = part(parcel, sent, size)?;
                sent += bytes.len() as u64;
                self.answered(upload.put_part(PutPayload::from_bytes(bytes)).await)?;
            }
            self.answered(upload.complete().await).map(|_| ())
        };
        if let Err(why) = parts.await {
            // Else the parts stay until the bucket's own rules remove them.
            let _ = upload.abort().await;
            return Err(why);
        }
        let about = self.answered(self.bucket.objects.head(path).await)?;
        if about.size == parcel.size {
            Ok(())
        } else {
            Err(format!("{} bytes of {} arrived there", about.size, parcel.size))
        }
    }
}

/// At most `size` bytes of the file.
fn part(parcel: &Parcel, from: u64, size: u64) -> Result<Bytes, String> {
    let length = size.min(parcel.size - from);
    let mut bytes = vec![0; usize::try_from(length).map_err(|why| why.to_string())?];
    parcel.file.read_exact_at(&mut bytes, from).map_err(|why| why.to_string())?;
    Ok(bytes.into())
}
