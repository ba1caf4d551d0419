//! The writer's turn: one at a time, in the order in which they came, without a thread for each
//! that waits.
//!
//! Changes of the records wait as closures in a list; whoever finds nobody at work starts one
//! thread, which does them one after another and ends when there are none. So hundreds of writers
//! that wait hold no thread of the pool that reads go through, too. A change belongs to the list
//! and not to the future that waits for it: the turn is never given to somebody who is not polled,
//! and a change runs to its end when its caller goes away.
//!
//! The thread takes a ticket of the [`Turn`] for each change, as those do who write otherwise (the
//! shared commits of `batch`, removals): all of them are served in the order of their tickets, so
//! nobody starves behind a list that is never empty.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Inner, lock};

/// One at a time, first come, first served.
#[derive(Debug, Default)]
pub(super) struct Turn {
    tickets: Mutex<Tickets>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    served: u64,
}

/// The turn is over when it goes.
#[must_use]
#[derive(Debug)]
pub(super) struct Mine<'t>(&'t Turn);

impl Turn {
    /// Waits for it; only where blocking is allowed.
    pub(super) fn take(&self) -> Mine<'_> {
        let mut tickets = lock(&self.tickets);
        let ticket = tickets.next;
        tickets.next += 1;
        while tickets.served != ticket {
            tickets = self.moved.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        Mine(self)
    }

    /// How many wait for it.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u64 {
        let tickets = lock(&self.tickets);
        (tickets.next - tickets.served).saturating_sub(1)
    }
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        lock(&self.0.tickets).served += 1;
        self.0.moved.notify_all();
    }
}

/// Tells the caller how it ended.
type Answer = Box<dyn FnOnce() + Send>;
/// A change, for who has the turn.
type Work = Box<dyn FnOnce(&Inner) -> Answer + Send>;

/// Changes that wait, and whether a thread is at work on them.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Work>,
    is_served: bool,
}

/// Does `work` when its turn has come; a panic inside is a panic here.
pub(super) async fn run<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, told) = oneshot::channel();
    let work = move |inner: &Inner| {
        let worked = catch_unwind(AssertUnwindSafe(|| work(inner)));
        // Who went away does not want to know.
        Box::new(move || drop(done.send(worked))) as Answer
    };
    let starts = {
        let mut queue = lock(&inner.queue);
        queue.waiting.push_back(Box::new(work));
        !std::mem::replace(&mut queue.is_served, true)
    };
    if starts {
        let server = Server { inner: Some(Arc::clone(inner)) };
        tokio::task::spawn_blocking(move || server.serve());
    }
    match told.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(std::io::Error::other("the node is stopping").into()),
    }
}

/// The thread that is at work.
struct Server {
    /// Until there is nothing left to do.
    inner: Option<Arc<Inner>>,
}

impl Server {
    fn serve(mut self) {
        let mut last: Option<Answer> = None;
        while let Some(inner) = self.inner.as_ref() {
            let next = {
                let mut queue = lock(&inner.queue);
                let next = queue.waiting.pop_front();
                // Under one lock, or a change could come that nobody does.
                queue.is_served = next.is_some();
                next
            };
            match next {
                Some(work) => {
                    // The one before hears of it only now: see below.
                    last.take().into_iter().for_each(|answer| answer());
                    let _turn = inner.writer.take();
                    last = Some(work(inner));
                }
                // Before the answer: who drops the store after it may open the home again.
                None => self.inner = None,
            }
        }
        last.into_iter().for_each(|answer| answer());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It never ran: the node is stopping. Those who wait hear it.
        if let Some(inner) = self.inner.take() {
            let waiting = std::mem::take(&mut *lock(&inner.queue));
            drop(waiting);
        }
    }
}
