//! Work that outlives the request that asked for it: flights to upstreams, receipts to be signed,
//! comparisons.
//!
//! The daemon starts [`Registry::run_background`] as one task; everything else only hands it
//! futures, through queues with bounds. A job never waits for a flight: with every place taken by
//! those who wait, nobody would fly. What nobody waits for is done one after the other, so that it
//! leaves the processor to the install that brought it.
//!
//! Nothing of it survives a crash, and nothing needs to: what lacks is asked for again, and
//! receipts that were not signed yet are issued again at the next start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::{Error, Registry};

/// Jobs under way at a time.
const JOBS_AT_ONCE: usize = 128;
/// Jobs that wait; one more is refused.
const JOBS_WAITING_MAX: usize = 1024;
/// Comparisons that wait; one more is refused.
const QUIET_WAITING_MAX: usize = 4096;
/// How often receipts that wait are signed. Source: trust.md section 10.
const BATCH_EVERY: Duration = Duration::from_millis(200);
/// How often what was believed is looked at: its upstream may be back.
const REVIEW_EVERY: Duration = Duration::from_secs(10);

pub(super) type Job = BoxFuture<'static, ()>;

/// Both queues, with both ends.
#[derive(Debug)]
pub(super) struct Background {
    jobs: mpsc::Sender<Job>,
    quiet: mpsc::Sender<Job>,
    waiting: Mutex<Option<(mpsc::Receiver<Job>, mpsc::Receiver<Job>)>>,
}

impl Background {
    pub(super) fn new() -> Self {
        let (jobs, first) = mpsc::channel(JOBS_WAITING_MAX);
        let (quiet, second) = mpsc::channel(QUIET_WAITING_MAX);
        Self { jobs, quiet, waiting: Mutex::new(Some((first, second))) }
    }

    /// Hands a job over; false when too many wait.
    pub(super) fn take_on(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// The same for a job whose end nobody waits for: these are done one at a time.
    pub(super) fn take_on_quietly(&self, job: Job) -> bool {
        self.quiet.try_send(job).is_ok()
    }
}

impl Registry {
    /// Runs what was begun for clients and must not end with them. Until it runs, nothing arrives
    /// from an upstream.
    ///
    /// # Errors
    /// When it runs already.
    pub async fn run_background(self) -> Result<(), Error> {
        let taken = {
            let place = self.inner.background.waiting.lock();
            place.unwrap_or_else(PoisonError::into_inner).take()
        };
        let (mut waiting, mut quiet) = taken.ok_or_else(|| Error::invalid("it runs already"))?;
        self.find_out_all();
        self.reissue_lost();
        let mut under_way: FuturesUnordered<Job> = FuturesUnordered::new();
        let mut at_leisure: FuturesUnordered<Job> = FuturesUnordered::new();
        let mut batches = tokio::time::interval(BATCH_EVERY);
        let mut reviews = tokio::time::interval(REVIEW_EVERY);
        loop {
            tokio::select! {
                job = waiting.recv(), if under_way.len() < JOBS_AT_ONCE => match job {
                    Some(job) => under_way.push(job),
                    None => return Ok(()),
                },
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                Some(job) = quiet.recv(), if at_leisure.is_empty() => at_leisure.push(job),
                Some(()) = at_leisure.next(), if !at_leisure.is_empty() => {}
                _ = batches.tick() => if let Some(job) = self.receipts_to_sign() {
                    under_way.push(job);
                },
                _ = reviews.tick() => self.review_believed(),
            }
        }
    }
}
