//! Whether an origin answers: a pure machine over (now, event).
//!
//! Only connections that did not come about and silence count against an origin, and only if it
//! gave no byte to anybody meanwhile: a registry that refuses, throttles or fails is alive. Open,
//! it lets one request through every five seconds; any byte closes it. Times are spans of one
//! monotonic clock that begins anywhere, so that a wall clock that jumps changes nothing.
//!
//! Does not wait and does not ask: see `patience` and `client`.
//! Source: formats/README.md section 4.

use std::time::Duration;

use super::Reach;

/// How often one request is let through while an origin is down.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A person waits at least so long without a byte.
const QUIET_MIN: Duration = Duration::from_millis(1200);
/// And so many times what the origin usually needs until its first byte.
const QUIET_FACTOR: u32 = 4;
/// A first byte that comes later is taken for this: one odd document must not make all wait.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(5);
/// The weight of what was known against a new observation.
const SMOOTHING: u32 = 7;

/// What was seen of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// An answer began, so long after it was asked for.
    FirstByte {
        /// From the request to the first byte.
        after: Duration,
    },
    /// More of an answer came.
    Byte,
    /// A connection did not come about.
    NoConnection {
        /// When it was tried.
        begun: Duration,
    },
    /// Nothing came for longer than anybody waits.
    Silence {
        /// When the last byte came, or when the first was asked for.
        since: Duration,
    },
}

/// Whether a request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The origin is up.
    Free,
    /// The origin is down, and this is the request that finds out whether it still is.
    Probe,
    /// The origin is down.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Down {
    since: Duration,
    next_probe: Duration,
}

/// What is known of one origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    down: Option<Down>,
    first_byte: Option<Duration>,
    last_byte: Option<Duration>,
}

impl Breaker {
    /// Takes what was seen.
    pub(super) fn step(&mut self, now: Duration, event: Event) {
        match event {
            Event::FirstByte { after } => {
                let after = after.min(FIRST_BYTE_MAX);
                let known = self.first_byte.unwrap_or(after);
                self.first_byte = Some((known * SMOOTHING + after) / (SMOOTHING + 1));
                self.live(now);
            }
            Event::Byte => self.live(now),
            Event::NoConnection { begun: since } | Event::Silence { since } => {
                let alive = self.last_byte.is_some_and(|last| last > since);
                if !alive && self.down.is_none() {
                    self.down = Some(Down { since, next_probe: now + PROBE_EVERY });
                }
            }
        }
    }

    fn live(&mut self, now: Duration) {
        self.last_byte = Some(now);
        self.down = None;
    }

    /// Whether a request may go out; the one that finds out is given away once every few seconds.
    pub(super) fn pass(&mut self, now: Duration) -> Pass {
        match &mut self.down {
            None => Pass::Free,
            Some(down) if now >= down.next_probe => {
                down.next_probe = now + PROBE_EVERY;
                Pass::Probe
            }
            Some(_) => Pass::Refused,
        }
    }

    /// What is known.
    pub(super) fn reach(&self) -> Reach {
        match (&self.down, self.last_byte) {
            (Some(_), _) => Reach::Down,
            (None, Some(_)) => Reach::Up,
            (None, None) => Reach::Unknown,
        }
    }

    /// Since when the origin does not answer.
    pub(super) fn down_since(&self) -> Option<Duration> {
        self.down.as_ref().map(|down| down.since)
    }

    /// The last sign of life, or `begun` if that is later.
    pub(super) fn quiet_since(&self, begun: Duration) -> Duration {
        self.last_byte.map_or(begun, |last| last.max(begun))
    }

    /// How long a person bears silence.
    pub(super) fn quiet_limit(&self) -> Duration {
        self.first_byte.map_or(QUIET_MIN, |usual| (usual * QUIET_FACTOR).max(QUIET_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn down_at(at: u64) -> Breaker {
        let mut breaker = Breaker::default();
        breaker.step(ms(at), Event::NoConnection { begun: ms(at) });
        breaker
    }

    #[test]
    fn a_failed_connection_opens_it_and_any_byte_closes_it() {
        let mut breaker = down_at(100);
        assert_eq!((breaker.down_since(), breaker.pass(ms(200))), (Some(ms(100)), Pass::Refused));
        breaker.step(ms(300), Event::Byte);
        assert_eq!((breaker.down_since(), breaker.pass(ms(300))), (None, Pass::Free));
    }

    #[test]
    fn open_it_lets_one_request_through_every_five_seconds() {
        let mut breaker = down_at(0);
        let passes: Vec<Pass> =
            [4999, 5000, 5001, 9999, 10_000].map(|at| breaker.pass(ms(at))).to_vec();
        use Pass::{Probe, Refused};
        assert_eq!(passes, [Refused, Probe, Refused, Refused, Probe]);
        // A probe that fails leaves the time since when it is down.
        breaker.step(ms(10_100), Event::NoConnection { begun: ms(10_000) });
        assert_eq!(breaker.down_since(), Some(ms(0)));
    }

    #[test]
    fn silence_of_one_request_counts_only_if_the_origin_gave_nobody_a_byte() {
        let mut breaker = Breaker::default();
        breaker.step(ms(500), Event::Byte);
        breaker.step(ms(1300), Event::Silence { since: ms(100) });
        breaker.step(ms(1300), Event::NoConnection { begun: ms(100) });
        assert_eq!(breaker.down_since(), None);
        breaker.step(ms(1800), Event::Silence { since: breaker.quiet_since(ms(100)) });
        assert_eq!(breaker.down_since(), Some(ms(500)));
    }

    #[test]
    fn patience_grows_with_what_the_origin_usually_needs_but_not_for_ever() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.quiet_limit(), QUIET_MIN);
        breaker.step(ms(10), Event::FirstByte { after: ms(10) });
        assert_eq!(breaker.quiet_limit(), QUIET_MIN);
        for at in 0..40 {
            breaker.step(ms(at * 1000), Event::FirstByte { after: ms(900) });
        }
        let limit = breaker.quiet_limit();
        assert!(limit > ms(3400) && limit <= ms(3600), "{limit:?}");
        for at in 0..100 {
            breaker.step(ms(at * 1000), Event::FirstByte { after: ms(3_600_000) });
        }
        assert!(breaker.quiet_limit() <= ms(20_000));
    }
}
