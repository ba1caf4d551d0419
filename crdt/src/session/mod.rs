//! One peer's sync conversation, sans-IO: frames and events in, frames and requests out.
//!
//! ```text
//!  initiator                                  responder
//!  HELLO, LOBBY ──────────────────▶   ◀────────── HELLO, LOBBY
//!  PROOF, HIDDEN ─────────────────▶   ◀───────── PROOF, HIDDEN
//!  RESUME* ───────────────────────▶   ◀─────────────── RESUME*  known peers: what came since
//!  CHECK ─────────────────────────▶   ◀───────────────── CHECK  one line over all collections
//!                equal: in sync, the cursor moves; unequal:
//!  COLLS* ────────────────────────▶
//!                                     ◀─────── ALLIDS* or CELLS  of each unequal collection
//!  STATEMENTS*, DONE (one an ALLIDS) ▶ ◀── STATEMENTS*, CHECK
//!  STATEMENTS ────────────────────▶   ◀──────────── STATEMENTS  pushed at once when new
//! ```
//!
//! The caller's loop: [`Session::handle`] an input, then [`Session::poll`] until `None`, writing
//! frames out as they come. When [`Session::next_timeout`] has passed, and everything given out
//! has been written, feed `Input::Timeout`: a long answer goes out about 1 MiB at a time this way,
//! and a slow link holds it back. While [`Session::is_full`], read no further frame of the peer.
//!
//! *Who asks.* Only the initiator asks (CHECK, COLLS), one question at a time; the responder
//! answers each with a CHECK. So no two questions can cross.
//!
//! *What is keyed how.* Fingerprints and short ids are keyed with the HELLO key of the frame's
//! sender; names of collections with a key made of both.
//!
//! *Order.* Authority collections come first in every list, and what comes is admitted in order, so
//! a realm's authority is here before what depends on it.
//!
//! *The lobby* is shown at the start, and again when a shown realm that the peer does not follow
//! has changed, at most once in five seconds.
//!
//! *What leaves.* A receipt that a newer one has replaced is held no more: who still lists it gets
//! the newer one in the same round, and what comes too late is refused by the store, remembered and
//! not asked for again.
//!
//! Only realms that both sides follow are exchanged, and private ones only with their readers (see
//! `readers`); statements of others are neither sent nor looked at. Does not verify signatures,
//! does not store: that is the caller's. Nothing survives the stream but the cursor, which the
//! caller keeps.
//!
//! Source: index.md sections 5 and 7.7, mesh.md sections 5.2, 7 and 8.

mod answering;
mod answers;
mod cells;
mod index;
mod limits;
pub mod memory;
mod outgoing;
mod readers;
mod round;
mod shared;
mod timer;

use std::collections::{BTreeSet, VecDeque};

use answering::Answering;
pub use answers::names_of;
pub use cells::Sketches;
pub use index::Index;
use limits::{Bucket, Recent};
pub use memory::MemoryIndex;
use outgoing::Work;
pub use readers::{Bearer, Readers};
use readers::{Claims, Sight, Told};
use round::Asking;
use timer::Timer;

use crate::message::Frame;
use crate::{Collection, Envelope, Item, PublicKey, RealmId, StatementId};

/// Milliseconds of a monotonic clock that the caller owns.
pub type Millis = u64;

/// The version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// Unasked control frames of a peer: so many a second, and so many at once.
const CONTROL_PER_SECOND: u64 = 20;
/// See [`CONTROL_PER_SECOND`].
const CONTROL_BURST: u64 = 100;
/// Frames of freshly admitted statements that we push: well below what a peer accepts.
const PUSHES_PER_SECOND: u64 = 10;
/// See [`PUSHES_PER_SECOND`].
const PUSHES_BURST: u64 = 50;
/// Comparisons without waiting for the timer.
const QUESTIONS_PER_SECOND: u64 = 1;
/// See [`QUESTIONS_PER_SECOND`].
const QUESTIONS_BURST: u64 = 20;
/// Rounds that a responder answers: a little more than an initiator asks for.
const ANSWERS_PER_SECOND: u64 = 2;
/// See [`ANSWERS_PER_SECOND`].
const ANSWERS_BURST: u64 = 40;
/// Freshly admitted items that wait for being pushed; what is over it waits for the next CHECK.
const FRESH_MAX: usize = 16_384;
/// Between two showings of the lobby to one peer.
const LOBBY_PAUSE_MS: Millis = 5_000;
/// Admissions under way above which no further frame should be read.
const ADMITTING_MAX: usize = 8;

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// The stream is up.
    Start {
        /// 32 fresh random bytes.
        key: [u8; 32],
        /// Whether this side opened the stream.
        initiator: bool,
        /// (their store epoch, their sequence up to which we have their log).
        seen: Option<(u64, u64)>,
    },
    /// A frame arrived.
    Frame(Frame),
    /// What the oldest open `Output::Admit` asked for is done.
    Admitted {
        /// As it was given there.
        cursor: Option<(u64, u64)>,
    },
    /// Something new was admitted here: push it if the peer shares it and may lack it.
    New(Vec<(Collection, Item)>),
    /// The same, and another peer gave it to us: this one may hear it from there as well, so it is
    /// pushed a moment later, unless the peer pushes it meanwhile.
    Heard(Vec<(Collection, Item)>),
    /// What we follow has changed.
    FollowsChanged,
    /// A peer's announcement named statements that we lack: ask for them.
    Want(Vec<StatementId>),
    /// Compare now, not when the timer says so.
    Compare,
    /// Time passed.
    Timeout,
}

/// What a session wants done.
#[derive(Debug)]
pub enum Output {
    /// Write this frame.
    Send(Frame),
    /// Verify and admit these (envelopes are structurally checked, signatures are not), store the
    /// cursor with them, then feed `Input::Admitted`. In order: the next one after this one.
    Admit {
        /// Signatures that are held already are left out.
        envelopes: Vec<Envelope>,
        /// (their store epoch, their sequence).
        cursor: Option<(u64, u64)>,
    },
    /// Remember the cursor alone.
    Cursor {
        /// The peer's store epoch.
        epoch: u64,
        /// The peer's sequence up to which we have its log.
        sequence: u64,
    },
    /// The peer's realms for strangers, to be shown, never installed.
    Lobby(Vec<Envelope>),
    /// The peer follows these realms: those that it names, and the private ones that are shared.
    PeerFollows(Vec<RealmId>),
    /// The peer holds these keys.
    Proven(BTreeSet<PublicKey>),
    /// Both hold the same shared collections now; `behind` is then 0.
    InSync,
    /// About how many pairs we still lack from the peer.
    Behind(u64),
    /// The peer lacked these when both compared; they are being sent to it.
    Lacked(Vec<Item>),
    /// Drop the stream; nothing more comes.
    Close(&'static str),
}

/// How far the conversation is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Unstarted,
    Greeting,
    Open,
    Closed,
}

/// What the peer's CHECK said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checked {
    count: u64,
    fingerprint: [u8; 16],
    sequence: u64,
}

/// What is known of the peer since its HELLO.
#[derive(Debug, Default)]
struct Peer {
    key: [u8; 32],
    epoch: u64,
    frame_max_bytes: usize,
    reads_cells: bool,
    claims: Claims,
}

/// One conversation with one peer.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    initiator: bool,
    key: [u8; 32],
    /// Keys the names of collections.
    names: [u8; 32],
    bearer: Bearer,
    peer: Peer,
    sight: Sight,
    told: Told,
    /// (their epoch, their sequence): what a RESUME continues and a CHECK moves.
    cursor: Option<(u64, u64)>,
    out: VecDeque<Output>,
    work: VecDeque<Work>,
    /// Work was left over for the next time-out.
    overflow_at: Option<Millis>,
    /// Admissions under way, oldest first, with what they brought.
    admitting: VecDeque<Vec<(Collection, Item)>>,
    /// The peer's last CHECK, until it can be judged.
    checked: Option<Checked>,
    /// A CHECK has come: the peer's log is over.
    heard_check: bool,
    /// Our side of the questions, if we are the initiator.
    asking: Asking,
    /// Our side of the answers, if we are the responder.
    answering: Option<Answering>,
    timer: Timer,
    control: Bucket,
    pushes: Bucket,
    /// Rounds and comparisons that follow one another at once: asked, or answered.
    questions: Bucket,
    fresh: Vec<(Collection, Item)>,
    /// When that may be pushed.
    push_at: Millis,
    /// Realms that the peer was shown, and whether they have changed since.
    shown: BTreeSet<RealmId>,
    shown_is_old: bool,
    /// When the lobby may be shown again.
    show_again_at: Millis,
    /// Statements that we asked for by id and that have not come.
    wanted: u64,
    /// Items that the peer has sent or was sent.
    exchanged: Recent,
    /// Items that came and were not admitted: not asked for again.
    refused: Recent,
    /// Places for sketches, shared with other conversations.
    sketches: Sketches,
    /// Each byte is paid for, here or at the peer's.
    frugal: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self::new(Sketches::default())
    }
}

impl Session {
    /// Nothing happens before `Input::Start`. All conversations of a node share its `sketches`.
    #[must_use]
    pub fn new(sketches: Sketches) -> Self {
        Self {
            phase: Phase::default(),
            initiator: false,
            key: [0; 32],
            names: [0; 32],
            bearer: Bearer::default(),
            peer: Peer::default(),
            sight: Sight::default(),
            told: Told::default(),
            cursor: None,
            out: VecDeque::new(),
            work: VecDeque::new(),
            overflow_at: None,
            admitting: VecDeque::new(),
            checked: None,
            heard_check: false,
            asking: Asking::default(),
            answering: None,
            timer: Timer::default(),
            control: Bucket::new(CONTROL_PER_SECOND, CONTROL_BURST),
            pushes: Bucket::new(PUSHES_PER_SECOND, PUSHES_BURST),
            questions: Bucket::new(QUESTIONS_PER_SECOND, QUESTIONS_BURST),
            fresh: Vec::new(),
            push_at: 0,
            shown: BTreeSet::new(),
            shown_is_old: false,
            show_again_at: 0,
            wanted: 0,
            exchanged: Recent::default(),
            refused: Recent::default(),
            sketches,
            frugal: false,
        }
    }

    /// Who we are to this peer; without it we are stranger to all private realms.
    #[must_use]
    pub fn bearing(self, bearer: Bearer) -> Self {
        Self { bearer, ..self }
    }

    /// Each byte is paid for: what is new waits a few seconds, so that changes share a frame and
    /// what the peer hears elsewhere meanwhile is not sent. The peer is told, and does the same.
    #[must_use]
    pub fn frugal(self, frugal: bool) -> Self {
        Self { frugal, ..self }
    }

    /// Takes an event. All reads of the index happen here.
    pub fn handle(&mut self, now: Millis, input: Input, index: &dyn Index) {
        if self.phase == Phase::Closed {
            return;
        }
        // What overflowed goes on once everything before it was written, whatever else comes: or a
        // peer that asks and does not read would draw a whole realm into our memory.
        let holds_back = self.overflow_at.is_some() && !matches!(input, Input::Timeout);
        let done = self.look(now, index).and_then(|()| match input {
            Input::Start { key, initiator, seen } => self.start(key, initiator, seen, index),
            Input::Frame(frame) => self.frame(now, frame, index),
            Input::Admitted { .. } => self.admitted(now, index),
            Input::New(items) => self.new_items((items, false), now),
            Input::Heard(items) => self.new_items((items, true), now),
            Input::FollowsChanged => self.follows_changed(now),
            Input::Want(ids) => self.want(&ids),
            Input::Compare => self.compare(now),
            Input::Timeout => self.timeout(now, index),
        });
        let done = done.map(|()| self.go_on(now, holds_back, index));
        if let Err(Violation(reason)) = done {
            self.close(reason);
        }
    }

    fn go_on(&mut self, now: Millis, holds_back: bool, index: &dyn Index) {
        self.judge(now, index);
        self.push_fresh(now);
        self.show_lobby(now, index);
        if !holds_back {
            self.pump(now, index);
        }
    }

    /// What to do next; call until `None` after each `handle`.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to feed `Input::Timeout`.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        if self.phase != Phase::Open {
            return None;
        }
        let push_at = self.pushes.ready_at().max(self.push_at);
        let push = (!self.fresh.is_empty()).then_some(push_at);
        let show = self.shown_is_old.then_some(self.show_again_at);
        let place = self.asking.place_at().into_iter().chain(self.answering_at());
        let others = [self.overflow_at, push, show, self.timer.due()].into_iter().flatten();
        others.chain(place).min()
    }

    /// Whether the caller should read no further frame before it has fed an `Input::Admitted`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.admitting.len() >= ADMITTING_MAX
    }

    fn close(&mut self, reason: &'static str) {
        self.out.push_back(Output::Send(Frame::GoAway { reason: reason.to_owned() }));
        self.end(reason);
    }

    fn end(&mut self, reason: &'static str) {
        self.out.push_back(Output::Close(reason));
        let (out, sketches) = (std::mem::take(&mut self.out), self.sketches.clone());
        *self = Self { phase: Phase::Closed, out, ..Self::new(sketches) };
    }
}

/// The peer broke the protocol: the conversation ends, with this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Violation(&'static str);

type Handled = Result<(), Violation>;
