//! A file that lies only in a bucket is passed on while its copy comes.
//!
//! The same seam as for files of an upstream (`arriving`): one flight whoever asks, every byte but
//! the last as it comes, and the last one only when the whole has the digest that was asked for. An
//! object that is not its blob breaks off, is kept nowhere, and is an alarm. What is small or comes
//! quickly is waited for, and so is a part of a file: nothing of it may be sent unverified.
//!
//! Source: DESIGN sections 5 and 7.

use crdt::{Content, Digest, PackageId};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::arriving::{self, Arriving};
use super::{Completion, Error, Outcome, Registry};
use crate::store::{self, Coming, Hashes, Slot};

/// Which file is looked for in the bucket, and how it is handed over.
pub(super) struct InBucket {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// To be computed besides, where this node has no record of it yet.
    pub(super) hashes: Hashes,
    /// Who would hear of wrong bytes; absent for what was asked for by its digest.
    pub(super) package: Option<PackageId>,
    pub(super) filename: String,
    pub(super) completion: Option<Completion>,
}

impl Registry {
    /// Follows the copy of a file until it is worth passing on; `judge` is asked once it is whole.
    /// Nothing, if it is here or came meanwhile, or if the bucket cannot give it: what is to be
    /// done then is known to who holds whole files.
    pub(super) async fn read_along(
        &self,
        wanted: InBucket,
        judge: BoxFuture<'static, Result<(), Error>>,
    ) -> Option<Arriving> {
        let InBucket { digest, size, hashes, package, filename, completion } = wanted;
        let coming = self.inner.store.follow_blob((digest, size), hashes)?;
        let seen = coming.arrival();
        let (this, name) = (self.clone(), filename.clone());
        let landing = async move {
            this.judge_coming(coming, package.as_ref(), &name).await?;
            judge.await.map(|()| size)
        };
        let landing = landing.boxed().shared();
        tokio::select! {
            biased;
            _ = landing.clone() => None,
            (arrival, file, size) = arriving::worth_following(seen) => {
                Some(Arriving { size, filename, completion, landing, arrival, file, sent: 0 })
            }
        }
    }

    /// The verdict on the very bytes that were passed on.
    async fn judge_coming(
        &self,
        coming: Coming,
        package: Option<&PackageId>,
        filename: &str,
    ) -> Result<(), Error> {
        let broken = |why: &str| Error::new(Outcome::Corrupt, format!("{filename}: {why}"));
        match coming.landed().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(broken("the bucket has it no more")),
            Err(store::Error::WrongDigest { .. }) => {
                let why = "the object in the bucket has other bytes; nothing of it was kept";
                if let Some(package) = package {
                    self.raise(package, "bucket", &format!("{filename}: {why}"), None).await?;
                }
                Err(broken(why))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The same for a file that a realm signed for: its checksums are compared, too, and the
    /// archive is looked at if this node had not seen it before.
    pub(super) async fn follow_slot(
        &self,
        (slot, content): (&Slot, &Content),
        completion: Completion,
    ) -> Result<Option<Arriving>, Error> {
        let is_new = self.inner.store.blob(&content.blake3)?.is_none();
        let wanted = InBucket {
            digest: content.blake3,
            size: content.size,
            hashes: Hashes { sha512: content.checksums.sha512.is_some(), ..Hashes::default() },
            package: Some(slot.package.clone()),
            filename: slot.file.clone(),
            completion: Some(completion),
        };
        let (this, slot, content) = (self.clone(), slot.clone(), content.clone());
        let judge = async move {
            if is_new {
                this.fulfil(&content.blake3).await?;
                this.check_meta(&content.blake3).await?;
            }
            this.bring(&slot, &content).await
        };
        Ok(self.read_along(wanted, judge.boxed()).await)
    }

    /// The same for a file that is known by its digest, and needs no other judgement.
    pub(super) async fn follow_known(
        &self,
        digest: &Digest,
        (package, filename): (Option<&PackageId>, &str),
        completion: Option<Completion>,
    ) -> Result<Option<Arriving>, Error> {
        if !self.inner.store.has_bucket() {
            return Ok(None);
        }
        let Some(held) = self.inner.store.blob(digest)? else { return Ok(None) };
        let wanted = InBucket {
            digest: *digest,
            size: held.size,
            hashes: Hashes::default(),
            package: package.cloned(),
            filename: filename.to_owned(),
            completion,
        };
        Ok(self.read_along(wanted, async { Ok(()) }.boxed()).await)
    }
}
