//! What is shared by all requests to one origin: its breaker, and turns for few at once.
//!
//! One dead upstream delays nothing else: each origin has its own. Hosts that an upstream points to
//! for its files are origins of their own here. Nothing survives a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crdt::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::Error;
use super::breaker::{Breaker, Event, Pass};

/// Requests to one origin at once; others wait for their turn.
const TURNS: usize = 16;
/// Origins that are remembered: upstreams may point anywhere for their files.
const LINES_MAX: usize = 512;

/// One origin.
#[derive(Debug)]
pub(super) struct Line {
    started: Instant,
    breaker: Mutex<Breaker>,
    turns: Arc<Semaphore>,
    /// One probe at a time, whoever waits.
    pub(super) probe: Semaphore,
    down: watch::Sender<bool>,
    /// Requests that wait for a byte now, and since when there is one.
    awaited: Mutex<(u32, Duration)>,
    /// For people: how it last failed.
    failed: Mutex<String>,
}

impl Line {
    fn new(started: Instant) -> Self {
        Self {
            started,
            breaker: Mutex::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            probe: Semaphore::new(1),
            down: watch::Sender::new(false),
            awaited: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Of the monotonic clock.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The instant of a time of [`Line::now`].
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.started + at
    }

    /// For reading; what is seen goes through [`Line::saw`].
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Plain values: a panic cannot leave them half changed.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the breaker.
    pub(super) fn saw(&self, event: Event) {
        let mut breaker = self.breaker();
        breaker.step(self.now(), event);
        let is_down = breaker.down_since().is_some();
        // Sent under the lock, or an older state could be sent last.
        self.down.send_if_modified(|was| std::mem::replace(was, is_down) != is_down);
    }

    /// Tells the breaker of a failure, and gives the error.
    pub(super) fn failed(&self, event: Event, why: String) -> Error {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&why);
        self.saw(event);
        self.unreachable(why)
    }

    /// A request begins to wait for a byte, or waits no longer.
    pub(super) fn awaited(&self, begins: bool) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        match (begins, awaited.0) {
            (true, 0) => *awaited = (1, self.now()),
            (true, _) => awaited.0 = awaited.0.saturating_add(1),
            (false, _) => awaited.0 = awaited.0.saturating_sub(1),
        }
    }

    /// Since when somebody waits for a byte; now, if nobody does.
    pub(super) fn awaited_since(&self) -> Duration {
        let (count, since) = *self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if count == 0 { self.now() } else { since }
    }

    /// How long the origin has not answered.
    pub(super) fn away(&self) -> Option<Duration> {
        self.breaker().down_since().map(|since| self.now().saturating_sub(since))
    }

    /// Returns when the breaker is open.
    pub(super) async fn until_down(&self) {
        let mut down = self.down.subscribe();
        // The sender lives as long as this line does.
        let _ = down.wait_for(|down| *down).await;
    }

    /// A turn, to be held until the answer was read; the request that finds out whether an origin
    /// is back needs none, because those before it may be stuck.
    pub(super) async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if self.pass()? == Pass::Probe {
            return Ok(None);
        }
        let turn = tokio::select! {
            biased;
            // Nobody closes it.
            turn = Arc::clone(&self.turns).acquire_owned() => turn.ok(),
            // Those before it may be stuck for long, and who waits here keeps others waiting.
            () = self.until_down() => None,
        };
        // While others were served, the origin may have gone away.
        self.pass()?;
        Ok(turn)
    }

    /// Whether a request may go out now; an error says since when the origin is away.
    pub(super) fn pass(&self) -> Result<Pass, Error> {
        let pass = self.breaker().pass(self.now());
        match pass {
            Pass::Refused => {
                let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(self.unreachable(failed))
            }
            Pass::Free | Pass::Probe => Ok(pass),
        }
    }

    /// With how long it has been so.
    pub(super) fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { since: age(self.away().unwrap_or_default()), why }
    }
}

/// All origins that were asked since the start.
#[derive(Debug)]
pub(super) struct Lines {
    started: Instant,
    lines: Mutex<BTreeMap<Digest, Arc<Line>>>,
}

impl Lines {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), lines: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line of an origin, if it was asked before.
    pub(super) fn find(&self, origin: &Digest) -> Option<Arc<Line>> {
        self.lock().get(origin).cloned()
    }

    /// The line of an origin.
    pub(super) fn line(&self, origin: &Digest) -> Arc<Line> {
        let mut lines = self.lock();
        if lines.len() >= LINES_MAX && !lines.contains_key(origin) {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let new = || Arc::new(Line::new(self.started));
        Arc::clone(lines.entry(*origin).or_insert_with(new))
    }
}

/// For people: the largest unit alone.
fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ ..60 => format!("{} s", seconds.max(1)),
        seconds @ ..3600 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let ages = [0, 59, 60, 7199, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["1 s", "59 s", "1 min", "1 h", "2 days"]);
    }

    #[test]
    fn origins_that_nobody_asks_make_room_for_others() {
        let lines = Lines::new();
        let kept = lines.line(&Digest::of(b"kept"));
        kept.saw(Event::NoConnection { begun: kept.now() });
        for number in 0..2 * LINES_MAX {
            lines.line(&Digest::of(&number.to_be_bytes()));
        }
        assert!(lines.lock().len() <= LINES_MAX + 1);
        assert!(lines.find(&Digest::of(b"kept")).is_some_and(|line| line.away().is_some()));
    }
}
