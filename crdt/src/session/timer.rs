//! When the initiator compares again: 60 s, doubling to 15 min while nothing changes. And how long
//! what another peer gave us waits before it is pushed: 20 to 120 ms, so that of two who both heard
//! it one alone tells the other.
//!
//! The jitter of 20 % comes from the conversation's key, so that a node's many peers do not ask all
//! at once and a simulation repeats itself. Source: mesh.md section 5.2.

use super::Millis;

/// The first pause between two comparisons.
const FIRST_MS: Millis = 60_000;
/// The longest pause.
const LONGEST_MS: Millis = 15 * 60_000;
/// How long an answer may take before the peer counts as gone.
const SILENCE_MAX_MS: Millis = 5 * 60_000;
/// The shortest wait of what was heard, and how much longer it may be.
const COURTESY_MS: (Millis, Millis) = (20, 100);

/// How much longer that is where bytes are paid for, as such links are slow: up to 3.6 s.
const FRUGAL_FACTOR: u64 = 30;
/// What is new waits there for more of it.
const GATHERING_MS: Millis = 3_000;

#[derive(Debug, Default)]
pub(super) struct Timer {
    key: [u8; 32],
    pause_ms: Millis,
    round: u64,
    due: Option<Millis>,
    /// One silence has passed already.
    silent: bool,
}

impl Timer {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, pause_ms: FIRST_MS, round: 0, due: None, silent: false }
    }

    pub(super) const fn due(&self) -> Option<Millis> {
        self.due
    }

    /// A question was asked or something came in answer: only silence counts from now on.
    pub(super) fn waiting(&mut self, now: Millis) {
        self.due = Some(now + SILENCE_MAX_MS);
        self.silent = false;
    }

    /// The silence was too long; the first is forgiven, as our own frames may have been on a slow
    /// way for most of it.
    pub(super) fn is_gone(&mut self, now: Millis) -> bool {
        let gone = self.silent;
        self.waiting(now);
        self.silent = true;
        gone
    }

    /// Something changed: compare soon again.
    pub(super) fn changed(&mut self, now: Millis) {
        self.pause_ms = FIRST_MS;
        // Never later than planned: who changes all the time must still be compared.
        let planned = self.due;
        self.schedule(now);
        self.due = self.due.min(planned.or(self.due));
    }

    /// Nothing changed since the last comparison.
    pub(super) fn quiet(&mut self, now: Millis) {
        self.schedule(now);
        self.pause_ms = (self.pause_ms * 2).min(LONGEST_MS);
    }

    /// How long what is new waits: for more of it where bytes are paid for, and for the peer to
    /// push it itself if another peer gave it to us.
    pub(super) fn courtesy(&mut self, frugal: bool, heard: bool) -> Millis {
        let unit = if frugal { FRUGAL_FACTOR } else { 1 };
        let gathering = if frugal { GATHERING_MS } else { 0 };
        if !heard {
            return gathering;
        }
        gathering + unit * (COURTESY_MS.0 + COURTESY_MS.1 * self.draw() / u64::from(u16::MAX))
    }

    fn schedule(&mut self, now: Millis) {
        self.due = Some(now + self.pause_ms * (800 + self.draw() % 401) / 1000);
    }

    /// The conversation's own chance: 16 bits.
    fn draw(&mut self) -> u64 {
        self.round += 1;
        let hash = blake3::keyed_hash(&self.key, &self.round.to_le_bytes());
        u64::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]))
    }
}
