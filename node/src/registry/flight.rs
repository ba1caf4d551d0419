//! Single flight: who asks for what is on its way already waits for the same arrival.
//!
//! A flight is a job of the background, so a client that goes away ends nothing, and what arrives
//! is kept for the next one. Does not know what is fetched.
//!
//! Source: formats/README.md section 7, rule 7.

use std::collections::HashMap;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::background::Background;
use super::{Error, Outcome};
use crate::upstream::Progress;

/// The end of a flight; clones wait for the same one.
pub(super) type Landing<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

/// One that is under way; clones are of the same one.
#[derive(Debug)]
pub(super) struct Flight<T> {
    pub(super) landing: Landing<T>,
    /// What it waits for.
    pub(super) progress: Progress,
}

impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self { landing: self.landing.clone(), progress: self.progress.clone() }
    }
}

/// Flights of one kind, by what they bring.
#[derive(Debug)]
pub(super) struct Flights<T: Clone> {
    open: Arc<Mutex<HashMap<String, Flight<T>>>>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(super) fn new() -> Self {
        Self { open: Arc::default() }
    }

    /// Joins the flight of that key, or starts it.
    pub(super) fn board<F>(
        &self,
        background: &Background,
        key: String,
        start: impl FnOnce(Progress) -> F,
    ) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = open.get(&key) {
            return flight.clone();
        }
        let progress = Progress::default();
        let (done, landed) = oneshot::channel();
        let (flight, table, name) = (start(progress.clone()), Arc::clone(&self.open), key.clone());
        let job = async move {
            let result = flight.await;
            table.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            // Nobody may be left who waits for it.
            let _ = done.send(result);
        };
        if !background.take_on(job.boxed()) {
            return Flight { landing: ready(Err(busy())).boxed().shared(), progress };
        }
        let landing = landed.map(|end| end.unwrap_or_else(|_| Err(stopping()))).boxed().shared();
        let flight = Flight { landing, progress };
        open.insert(key, flight.clone());
        flight
    }
}

fn busy() -> Error {
    Error::new(Outcome::Unavailable, "too many requests to upstreams wait already")
        .with_hint("try again in a moment")
}

fn stopping() -> Error {
    Error::new(Outcome::Unavailable, "the node is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn what_nobody_runs_says_so_when_too_much_waits() {
        let (flights, background) = (Flights::<u32>::new(), Background::new());
        let started = Arc::new(AtomicU32::new(0));
        let fly = |key: &str| {
            let started = Arc::clone(&started);
            let flight = flights.board(&background, key.to_owned(), move |_| {
                started.fetch_add(1, Ordering::Relaxed);
                async { Ok(7) }
            });
            flight.landing
        };
        let (first, _second) = (fly("a"), fly("a"));
        assert_eq!(started.load(Ordering::Relaxed), 1);
        for n in 0..1023 {
            drop(fly(&format!("filler {n}")));
        }
        assert_eq!(fly("one more").await.unwrap_err().outcome, Outcome::Unavailable);
        drop(background);
        assert_eq!(first.await.unwrap_err(), stopping());
    }
}
