//! Blobs that are only here although the store has a bucket: rows of the kind `unsent`.
//!
//! Three ways lead to one: the home had blobs before it had this bucket; the bucket did not answer
//! when something came that can be had again; or the bucket has it for so long that another node
//! might remove it, and is told first that it is needed here (`names`). The row is in the same
//! commit as the blob, so a crash forgets none; it goes when the bucket has the bytes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crdt::Digest;
use redb::{ReadableTable as _, WriteTransaction};

use super::super::batch::Change;
use super::super::tables::Tables as _;
use super::super::{BlobInfo, Error, Inner, Store, blocking, lock};
use super::put::Parcel;
use super::{blob, tables};

/// The kind of row that names an unsent blob.
const UNSENT: &str = "unsent";
/// The kind of row that names the bucket of this home.
const BUCKET: &str = "bucket";
/// Until the next try, when all is sent or when the bucket did not take one.
const PAUSE: Duration = Duration::from_secs(10);

/// What this home never sent to the bucket: everything, if it is new to it.
pub(super) fn prepare(inner: &Inner, url: &str) -> Result<BTreeSet<Digest>, Error> {
    let txn = inner.begin_write()?;
    let mut unsent = BTreeSet::new();
    {
        let mut rows = txn.open_table(tables::ROW)?;
        let known = rows.get((BUCKET, ""))?.is_some_and(|row| row.value() == url.as_bytes());
        if known {
            for row in rows.range((UNSENT, "")..)? {
                let (name, _) = row?;
                let (kind, digest) = name.value();
                if kind != UNSENT {
                    break;
                }
                unsent.extend(digest.parse::<Digest>());
            }
            return Ok(unsent);
        }
        for blob in txn.table(tables::BLOB)?.iter()? {
            let digest = Digest::from_bytes(*blob?.0.value());
            if inner.paths.blob(&digest).exists() {
                rows.insert((UNSENT, digest.to_hex().as_str()), [].as_slice())?;
                unsent.insert(digest);
            }
        }
        rows.insert((BUCKET, ""), url.as_bytes())?;
    }
    txn.commit()?;
    Ok(unsent)
}

/// A home whose blobs are in a bucket, opened without it, lacks all but the copies.
pub(super) fn warn_of_leaving(inner: &Inner) -> Result<(), Error> {
    let txn = inner.read()?;
    let rows = txn.table(tables::ROW)?;
    if let Some(row) = rows.get((BUCKET, ""))? {
        let bucket = String::from_utf8_lossy(row.value()).into_owned();
        tracing::warn!("the blobs of this home are in {bucket}: start it with --blobs {bucket}");
    }
    Ok(())
}

/// Recorded beside a blob that stays unsent.
pub(in super::super) fn note_unsent(txn: &WriteTransaction, digest: &Digest) -> Result<(), Error> {
    let name = digest.to_hex();
    txn.open_table(tables::ROW)?.insert((UNSENT, name.as_str()), [].as_slice())?;
    Ok(())
}

/// The same as a change.
pub(super) fn unsent_row(digest: &Digest) -> Change {
    Change::Named(Box::new((UNSENT.to_owned(), digest.to_hex(), Vec::new())))
}

impl Store {
    /// Sends a complete file whose blob is about to be recorded. Gives the row that the commit has
    /// to have beside it, if the bucket did not take it and it can be had `again`.
    ///
    /// # Errors
    /// [`Error::NotSent`] if it cannot.
    pub(in super::super) async fn send_first(
        &self,
        info: &BlobInfo,
        path: &Path,
        again: bool,
    ) -> Result<Option<Change>, Error> {
        if self.inner.remote.is_none() {
            return Ok(None);
        }
        let path = path.to_owned();
        let file = blocking(move || Ok(fs_err::File::open(path)?.into_parts().0)).await?;
        let digest = info.digest;
        match self.send(Parcel { digest, size: info.size, file }).await {
            Ok(()) => Ok(None),
            Err(why @ Error::NotSent { .. }) if again => {
                tracing::warn!(%digest, %why, "kept here, and sent later");
                Ok(Some(unsent_row(&digest)))
            }
            Err(why) => Err(why),
        }
    }

    /// The record is there. What `stays` unsent is not evicted.
    pub(in super::super) fn sent(&self, info: &BlobInfo, stays: bool) {
        let Some(remote) = &self.inner.remote else { return };
        if stays {
            lock(&remote.unsent).insert(info.digest);
        }
        remote.used(&self.inner, &info.digest, info.size);
    }

    /// Sends what is only here, and tells what this node holds, for ever. Without a bucket there is
    /// nothing to do.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn send_unsent(self) -> Result<(), Error> {
        let Some(remote) = &self.inner.remote else { return std::future::pending().await };
        loop {
            if remote.is_names_due()
                && let Err(why) = self.write_names(true).await
            {
                tracing::debug!(%why, "the others do not know yet what this node holds");
            }
            let waiting: Vec<Digest> = lock(&remote.unsent).iter().copied().collect();
            for digest in waiting {
                if let Err(why) = self.send_one(&digest).await {
                    tracing::debug!(%digest, %why, "not sent yet");
                    if matches!(why, Error::NotSent { .. }) {
                        break;
                    }
                    return Err(why);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends one, and forgets that it was not; also if it is no blob any more.
    async fn send_one(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.inner.paths.blob(digest);
        let opened = blocking(move || Ok(fs_err::File::open(path).ok())).await?;
        let held = blob::record(&self.read()?, digest)?;
        if let (Some(file), Some(info)) = (opened, held) {
            let file = file.into_parts().0;
            let parcel = Parcel { digest: *digest, size: info.size, file };
            self.send(parcel).await?;
        }
        self.delete_row(UNSENT, &digest.to_hex()).await?;
        if let Some(remote) = &self.inner.remote {
            lock(&remote.unsent).remove(digest);
            lock(&remote.right).remove(digest);
            remote.evict(&self.inner);
        }
        Ok(())
    }
}
