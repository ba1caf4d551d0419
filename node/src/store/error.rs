//! Why the store could not do it.
//!
//! Variants are what a caller can act on: ask again with other bytes, free some disk, wait for
//! another download. redb's many error types meet here: a full disk is told apart, everything
//! else means that the database file cannot be used and keeps its text.

use std::io;

use crdt::Digest;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("disk: {0}")]
    Io(#[from] io::Error),
    /// No room; nothing was left behind.
    #[error("the disk is full: {free} bytes free, {needed} needed")]
    Full {
        /// Bytes free on the device when it was noticed.
        free: u64,
        /// Bytes that were to be written, with the reserve that the store keeps.
        needed: u64,
    },
    /// The quota for blobs is used up; nothing was left behind.
    #[error("the quota of {quota} bytes is used up: {held} bytes are held, {needed} more needed")]
    OverQuota {
        /// What blobs may take.
        quota: u64,
        /// What they take.
        held: u64,
        /// Bytes that were to come.
        needed: u64,
    },
    /// The database refused. If the disk did, the next call opens it again: see `database`.
    #[error("database: {0}")]
    Database(String),
    /// The bytes are not the ones that the digest names.
    #[error("the bytes do not have the digest {expected}")]
    WrongDigest {
        /// What they should have hashed to.
        expected: Digest,
    },
    /// A stream went past the size that was allowed for it.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The largest size that was accepted.
        limit: u64,
    },
    /// What `--blobs` or the environment says of a bucket cannot be used.
    #[error("the bucket {address}: {why}")]
    Address {
        /// As it was written.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bytes are in the bucket, if anywhere, and it cannot be asked now.
    #[error("the bytes are in {bucket}, which did not give them: {why}")]
    NotFetched {
        /// Which bucket.
        bucket: String,
        /// What it said, or that it did not answer.
        why: String,
    },
    /// The bucket has not taken the bytes, so nothing was recorded.
    #[error("{bucket} did not take the bytes, and nothing was kept: {why}")]
    NotSent {
        /// Which bucket.
        bucket: String,
        /// What it said, or that it did not answer.
        why: String,
    },
    /// Objects of a bucket were not removed, or not all that could be.
    #[error("the bucket was not cleared up: {why}")]
    NotSwept {
        /// What stood against it.
        why: String,
    },
    /// Two nodes on one home would corrupt it.
    #[error("another griot node runs on this home: stop it, or choose another home with --home")]
    Locked,
    /// One flight a digest: somebody in this process holds its half download.
    #[error("a download of {digest} is already under way")]
    Busy {
        /// The blob that is being downloaded.
        digest: Digest,
    },
    /// No session of this name, or another's.
    #[error("there is no such upload: it was finished, cancelled, or not used for a week")]
    NoSession,
    /// Bytes must go on where the session ends.
    #[error("the upload goes on at byte {at}")]
    Offset {
        /// Bytes that it has.
        at: u64,
    },
    /// Somebody writes to the session and does not let go.
    #[error("another request is writing to this upload")]
    SessionBusy,
    /// Too many sessions are under way.
    #[error("{limit} uploads are under way already")]
    TooManySessions {
        /// The most at a time.
        limit: usize,
    },
    /// The home was written by an earlier program, from whose layout no step leads here; nothing
    /// was touched.
    #[error("this home has schema {found}, which this griot (schema {known}) cannot bring further")]
    Older {
        /// The schema version of the files.
        found: u64,
        /// The only schema version of this program.
        known: u64,
    },
    /// The home was written by a later program; nothing was touched.
    #[error(
        "this home has schema {found}, this griot knows {known}: use {program} or a newer one, or \
         go back by the copy store.redb.before-{known} if the home still has it"
    )]
    Newer {
        /// The schema version of the files.
        found: u64,
        /// The newest schema version of this program.
        known: u64,
        /// The program that wrote it.
        program: String,
    },
    /// No chain of the realm goes through the root that a person accepts.
    #[error("no chain of the realm goes through {root}: {why}")]
    NoChain {
        /// The root.
        root: crdt::StatementId,
        /// What stands against it.
        why: &'static str,
    },
    /// A restore into this home was cut, or is under way.
    #[error(
        "a backup is being restored into this home, and that is not finished: \
         griot restore {folder} goes on with it"
    )]
    Restoring {
        /// The folder of the backup.
        folder: String,
    },
    /// A backup cannot be made, read or restored.
    #[error("{0}")]
    Backup(#[from] super::backup::Refusal),
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            other => Self::Database(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($source:ty),*) => {$(
        impl From<$source> for Error {
            fn from(error: $source) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

impl Error {
    /// What a record that does not decode is: the database holds bytes that we did not write.
    pub(super) fn unreadable(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Database(format!("unreadable {what}: {why}"))
    }

    /// Whether a write failed for want of room.
    pub(super) fn is_no_space(&self) -> bool {
        matches!(self, Self::Io(error) if is_no_space(error.kind()))
    }
}

/// What a system says when there is no room.
pub(super) fn is_no_space(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
