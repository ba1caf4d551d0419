//! A big file of an upstream, or of a bucket, is passed on to its client while it arrives.
//!
//! The client gets every byte but the last as it comes; the last one only when the whole fits its
//! checksum and is kept. What turns out wrong breaks off, so nobody ever has a complete wrong file.
//! A small file, or one that is there at once, is simply waited for.
//!
//! Source: formats/README.md section 7, rules 6 and 7.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::flight::Landing;
use super::{Completion, Error, Outcome, VerifiedBytes};
use crate::store::Arrival;

/// Smaller ones are waited for.
const ALONG_MIN_BYTES: u64 = 1024 * 1024;
/// What arrives in this time is waited for.
const ALONG_AFTER: Duration = Duration::from_millis(300);
/// Bytes that are passed on at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// A file as [`super::Registry::obtain`] gives it.
#[derive(Debug)]
pub enum Obtained {
    /// Held, whole.
    Held(Box<VerifiedBytes>),
    /// On its way.
    Arriving(Box<Arriving>),
}

/// A file on its way.
#[derive(Debug)]
pub struct Arriving {
    /// Bytes, as its source says.
    pub size: u64,
    /// The name to save it under.
    pub filename: String,
    pub(super) completion: Option<Completion>,
    pub(super) arrival: watch::Receiver<Arrival>,
    /// Ends with the bytes there are, once the whole is judged.
    pub(super) landing: Landing<u64>,
    pub(super) file: Arc<std::fs::File>,
    pub(super) sent: u64,
}

/// Files that arrive now, by the key of their flight.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    open: Mutex<HashMap<String, watch::Receiver<Arrival>>>,
    opened: Notify,
}

impl Arrivals {
    /// What a flight tells of its progress.
    pub(super) fn open(&self, key: &str) -> watch::Sender<Arrival> {
        let (told, seen) = watch::channel(Arrival::default());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, seen| seen.has_changed().is_ok());
        open.insert(key.to_owned(), seen);
        drop(open);
        self.opened.notify_waiters();
        told
    }

    /// Waits for the flight of that key to begin.
    pub(super) async fn begun(&self, key: &str) -> watch::Receiver<Arrival> {
        loop {
            let opened = self.opened.notified();
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
            match open.filter(|seen| seen.has_changed().is_ok()) {
                Some(seen) => return seen,
                None => opened.await,
            }
        }
    }
}

/// Resolves when the file is big, on its way, and slow enough to be passed on; never otherwise.
pub(super) async fn worth_following(
    mut seen: watch::Receiver<Arrival>,
) -> (watch::Receiver<Arrival>, Arc<std::fs::File>, u64) {
    tokio::time::sleep(ALONG_AFTER).await;
    let big = |arrival: &Arrival| {
        arrival.file.is_some() && arrival.size.is_some_and(|size| size > ALONG_MIN_BYTES)
    };
    let found = seen.wait_for(big).await.ok();
    let found = found.and_then(|told| Some((Arc::clone(told.file.as_ref()?), told.size?)));
    match found {
        Some((file, size)) => (seen, file, size),
        None => std::future::pending().await,
    }
}

impl Arriving {
    /// The next bytes, in order; nothing when all were given.
    ///
    /// # Errors
    /// When the file turns out wrong, breaks off, or begins anew: nothing of it counts then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.sent >= self.size {
            return Ok(None);
        }
        loop {
            let readable = self.readable()?;
            // The last byte waits until the whole is known to be right.
            let end = readable.min(self.size - 1).min(self.sent + PIECE_BYTES);
            if end > self.sent {
                return self.read(end).await.map(Some);
            }
            if self.sent == self.size - 1 {
                self.landed().await?;
                return self.read(self.size).await.map(Some);
            }
            if self.arrival.changed().await.is_err() {
                // Nothing more is told: it has landed, one way or the other.
                let landed = self.landed_whole().await?;
                let end = landed.min(self.size - 1).min(self.sent + PIECE_BYTES);
                return self.read(end).await.map(Some);
            }
        }
    }

    fn readable(&mut self) -> Result<u64, Error> {
        let arrival = self.arrival.borrow_and_update();
        let same = arrival.file.as_ref().is_none_or(|file| Arc::ptr_eq(file, &self.file));
        if same { Ok(arrival.written) } else { Err(broken("it began anew")) }
    }

    async fn landed_whole(&self) -> Result<u64, Error> {
        let size = self.landing.clone().await?;
        if size == self.size { Ok(size) } else { Err(broken("its length was another")) }
    }

    /// Waits for the judgement, and pins what is pinned by a file that was received whole.
    async fn landed(&mut self) -> Result<(), Error> {
        self.landed_whole().await?;
        if let Some(completion) = self.completion.take() {
            completion.completed().await;
        }
        Ok(())
    }

    async fn read(&mut self, end: u64) -> Result<Bytes, Error> {
        use std::os::unix::fs::FileExt as _;
        let (file, at) = (Arc::clone(&self.file), self.sent);
        let length = usize::try_from(end - at).map_err(|_| broken("it is too long"))?;
        let work = move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        };
        let read = tokio::task::spawn_blocking(work).await;
        let bytes = read.map_err(|_| broken("the node is stopping"))?;
        let bytes = bytes.map_err(crate::store::Error::from)?;
        self.sent = end;
        Ok(bytes.into())
    }
}

fn broken(why: &str) -> Error {
    Error::new(Outcome::Corrupt, format!("the file broke off while it arrived: {why}"))
}
