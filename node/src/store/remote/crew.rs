//! Work for the bucket, on a bounded number of threads.
//!
//! A job runs to its end even if the one who asked goes away, and it waits for a thread, never in
//! an async queue: there the turn could be given to a future that nobody polls. The threads are the
//! runtime's for blocking work; one ends when no job waits. Few of them, because a job needs other
//! such threads itself, to write its file.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::lock;

type Job = Box<dyn FnOnce() + Send>;

/// Some threads and what waits for them. Clones are one.
#[derive(Clone)]
pub(super) struct Crew {
    places: Arc<Mutex<Places>>,
    places_max: usize,
}

#[derive(Default)]
struct Places {
    waiting: VecDeque<Job>,
    taken: usize,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("places_max", &self.places_max).finish_non_exhaustive()
    }
}

impl Crew {
    /// So many jobs at a time.
    pub(super) fn new(places_max: usize) -> Self {
        Self { places: Arc::default(), places_max }
    }

    /// Runs it when a place is free. Nothing comes of the receiver if it panicked, or if the node
    /// stops.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, told) = oneshot::channel();
        let handle = Handle::current();
        let job: Job = Box::new(move || {
            // Who went away does not want to know.
            let _ = done.send(handle.block_on(work));
        });
        let mut places = lock(&self.places);
        places.waiting.push_back(job);
        if places.taken < self.places_max {
            places.taken += 1;
            let place = Place(Arc::clone(&self.places));
            tokio::task::spawn_blocking(move || place.work());
        }
        told
    }
}

/// A thread's place; given back when it ends.
struct Place(Arc<Mutex<Places>>);

impl Place {
    fn work(self) {
        while let Some(job) = self.next() {
            // What a job leaves half done is a temporary file of its own.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("work for the bucket has panicked");
            }
        }
    }

    /// The place is given back under the lock under which nothing was found to wait.
    fn next(&self) -> Option<Job> {
        let mut places = lock(&self.0);
        let job = places.waiting.pop_front();
        if job.is_none() {
            places.taken -= 1;
        }
        job
    }
}
